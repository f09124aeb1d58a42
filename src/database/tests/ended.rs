//! Long work that is ended by whoever is told of its progress.

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::super::check::tests::{changes, file, tamper};
use super::super::{Backup, Database};
use super::rescue::{assert_alone, on_disk};
use crate::query::Query;
use crate::storage::Storage;
use crate::{ErrorKind, Result};

/// Answers that end the work when it tells for this time, counted from 0.
#[derive(Clone)]
struct Answers {
    until: u64,
    told: Arc<AtomicU64>,
}

impl Answers {
    fn next(&self) -> ControlFlow<()> {
        match self.told.fetch_add(1, SeqCst) == self.until {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Ends the work at the first time it tells, the second, the third, the fifth and so on, until it is done before that.
fn end_again_and_again(work: impl Fn(Answers) -> Result<()>, after_each: impl Fn()) {
    let (mut until, mut ended) = (0, 0);
    loop {
        let answers = Answers {
            until,
            told: Arc::default(),
        };
        let Err(error) = work(answers.clone()) else {
            break;
        };
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error:?}");
        assert!(!error.is_retryable());
        assert_eq!(answers.told.load(SeqCst), until + 1, "told again");
        after_each();
        ended += 1;
        until += until / 2 + 1;
    }
    assert!(ended >= 2, "{ended}");
}

#[test]
fn what_is_to_be_rebuilt_stays_as_it_is() {
    let mut changes = changes().into_iter();
    let change = changes.find(|(what, ..)| *what == "a pipeline that counts wrongly");
    let damaged = tamper(&file(), change.unwrap().2);
    let (folder, path) = on_disk(&damaged);
    let target = path.with_file_name("new.redb");
    // That it is done is told, too, and then it is too late.
    let is_untouched = || {
        assert!(fs::read(&path).unwrap() == damaged);
        assert_alone(folder.path(), &["s.redb"]);
    };
    end_again_and_again(
        |answers| Database::salvage(&path, &target, |_| answers.next()).map(drop),
        is_untouched,
    );
    assert_alone(folder.path(), &["new.redb", "s.redb"]);
    fs::remove_file(target).unwrap();
    end_again_and_again(
        |answers| Database::repair(&path, move |_| answers.next()).map(drop),
        // It was opened, but no more than that.
        || {
            assert_alone(folder.path(), &["s.redb"]);
            let database = Database::open(&path).unwrap();
            assert!(!database.check(|_| ()).unwrap().is_sound());
        },
    );
    fs::write(&path, &damaged).unwrap();
    end_again_and_again(
        |answers| Database::reindex(&path, |_| answers.next()).map(drop),
        is_untouched,
    );
    let database = Database::open(&path).unwrap();
    assert!(database.check(|_| ()).unwrap().is_sound());
}

#[test]
fn an_open_database_goes_on() {
    let (folder, path) = on_disk(&file());
    let database = Database::open(&path).unwrap();
    let count = database.count(&Query::new()).unwrap();
    end_again_and_again(
        |answers| database.check(move |_| answers.next()).map(drop),
        || (),
    );
    let copy = path.with_file_name("copy.redb");
    end_again_and_again(
        |answers| {
            let backup = Backup::new().on_progress(move |_| answers.next());
            database.backup(&copy, &backup).map(drop)
        },
        || assert_alone(folder.path(), &["s.redb"]),
    );
    assert_eq!(
        Database::open(&copy).unwrap().count(&Query::new()).unwrap(),
        count
    );
    let field = "data.other".parse().unwrap();
    let ended = database.create_index(&field, |_| ControlFlow::Break(()));
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Interrupted);
    let indexes = database.indexes().unwrap();
    let done = indexes
        .iter()
        .find(|index| index.field == field)
        .unwrap()
        .progress;
    assert!(done > 0.0 && done < 1.0, "{done}");
    let mut told = Vec::new();
    let is_new = database.create_index(&field, |share| told.push(share));
    assert!(is_new.unwrap());
    assert!(told[0] > done, "{told:?} {done}: it goes on");
    assert!(database.check(|_| ()).unwrap().is_sound());
}
