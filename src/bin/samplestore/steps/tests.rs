use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use clap::Parser;
use samplestore::{Database, ErrorKind, Location, Status, data};

use super::*;

const SAMPLES: u32 = 100;

/// A file of which every fourth sample has `data.x` = 1.
fn stored(folder: &tempfile::TempDir) -> Db {
    let path = folder.path().join("samples.db");
    let database = Database::open(&path).unwrap();
    let sample = |n: u32| {
        let sample = Sample::builder("p").id(n.to_string());
        sample.data(data! { "x" => n % 4 }).build().unwrap()
    };
    let samples: Vec<_> = (0..SAMPLES).map(sample).collect();
    database.store(&samples).unwrap();
    database.close().unwrap();
    Db::new(Location::from(path), Duration::ZERO)
}

/// Marks what a query gives ready, and tells how many that were and what each step was given.
fn steps_of(db: &Db, query: &Query, are_as_found: bool) -> (u64, Vec<Selection>) {
    let matched = Matched::find(&db.read().unwrap(), query, false).unwrap();
    let total = matched.facets.total();
    let steps = RefCell::new(Vec::new());
    let source = db.change().unwrap();
    let done = matched.change(query, are_as_found, |selection| {
        steps.borrow_mut().push(selection.clone());
        let storage = source.storage();
        storage.set_status(selection, None, Status::Ready)
    });
    let done = done.unwrap();
    assert_eq!((done.samples, done.is_interrupted), (total, false));
    (total, steps.into_inner())
}

#[test]
fn no_step_asks_conditions_of_records_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let db = stored(&folder);
    let pending = Query::new().status(Status::Pending);
    let query = pending.clone().condition("data.x = 1".parse().unwrap());
    let (count, steps) = steps_of(&db, &query, true);
    assert_eq!((count, steps.len()), (25, 3));
    let mut ids = BTreeSet::new();
    for step in &steps {
        let Selection::Ids(of_step) = step else {
            panic!("it is asked once more: {step:?}");
        };
        assert!(of_step.len() as u64 <= STEP_SAMPLES);
        assert!(of_step.iter().all(|id| ids.insert(id.clone())), "{step:?}");
    }
    let expected = (0..SAMPLES).filter(|n| n % 4 == 1);
    assert_eq!(ids, expected.map(|n| n.to_string()).collect());
    // Others come from the indexes, and no more of them than are asked for.
    let (count, steps) = steps_of(&db, &pending.limit(35), true);
    assert_eq!((count, steps.len()), (35, 4));
}

#[test]
fn what_others_may_have_changed_is_asked_again_of_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let db = stored(&folder);
    let query = Query::new().condition("data.x = 1".parse().unwrap());
    let (count, steps) = steps_of(&db, &query.clone().newest_first().limit(12), false);
    assert_eq!((count, steps.len()), (12, 2));
    for step in steps {
        let step = step.to_query();
        assert_eq!(step.conditions(), query.conditions());
        assert!((1..=10).contains(&step.id_set().unwrap().len()));
    }
    let reader = db.read().unwrap();
    let ready = reader.iterate(&Query::new().status(Status::Ready)).unwrap();
    let ready = ready.map(|sample| sample.unwrap().id().parse::<u32>().unwrap());
    let ready: BTreeSet<u32> = ready.collect();
    // Those that were stored last.
    assert_eq!(ready, (53..SAMPLES).step_by(4).collect());
}

#[test]
fn who_is_not_asked_comes_to_an_end_however_often_others_write() {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        consent: Consent,
    }
    let folder = tempfile::tempdir().unwrap();
    let db = stored(&folder);
    let query = Query::new().condition("data.x = 1".parse().unwrap());
    let Flags { consent } = Flags::parse_from(["", "--yes"]);
    let looks = Cell::new(0);
    let find = |reader: &Reader| {
        looks.set(looks.get() + 1);
        assert!(looks.get() < 10, "it is counted again and again");
        let matched = Matched::find(reader, &query, false)?;
        // Whoever can writes before anything is changed.
        let options = Database::options().shared_readers(true);
        if let Ok(other) = options.open(folder.path().join("samples.db")) {
            let sample = Sample::builder("p").id(format!("late-{}", looks.get()));
            other.store(&[sample.data(data! { "x" => 1 }).build()?])?;
            other.close()?;
        }
        Ok(matched)
    };
    let question = |count: &str, parts: &str| format!("{count} {parts}");
    let step = |storage: &dyn Storage, selection: &Selection| storage.delete(selection);
    let done = change(&db, &query, consent, find, question, step);
    let (facets, changed) = done.unwrap().unwrap();
    assert_eq!((facets.total(), changed.samples, looks.get()), (26, 26, 2));
    assert_eq!(db.read().unwrap().count(&query).unwrap(), 0);
}

#[test]
fn what_a_step_changed_that_failed_is_counted() {
    let error = Error::new(ErrorKind::Partial, "delete samples");
    assert_eq!(done_of(&error), 0);
    let error = error.with_stored_ids(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(done_of(&error), 2);
}
