//! Repair and reindex of files that are damaged, or were not closed. Salvage is `salvage.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::check::FaultKind;
use super::super::check::tests::{changes, file, open, tamper, with_counters_too_high};
use super::super::disk::{Access, FileDisk};
use super::super::{Backup, Database, Prune, RepairOutcome};
use crate::query::Query;
use crate::sample::{Sample, Status};
use crate::storage::Storage;
use crate::{ErrorKind, data, instant};

pub(super) fn all(database: &Database) -> Vec<Sample> {
    database.list(&Query::new()).unwrap().samples
}

/// A folder, and in it a file of these bytes.
pub(super) fn on_disk(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

pub(super) fn assert_alone(folder: &Path, names: &[&str]) {
    let mut found: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

pub(super) fn sample(number: usize) -> Sample {
    Sample::builder(["even", "odd"][number % 2])
        .id(format!("s{number}"))
        .status(Status::ALL[number % 6])
        .created_at(instant::from_micros(number as i64 / 3).unwrap())
        .data(data! { "number" => number as u64 })
        .build()
        .unwrap()
}

#[test]
fn an_opening_tells_how_far_it_is_when_the_last_process_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, killed) = (folder.path().join("s.redb"), folder.path().join("killed"));
    let database = Database::open(&path).unwrap();
    for number in 0..10 {
        database.store(&[sample(number)]).unwrap();
    }
    fs::copy(&path, &killed).unwrap();
    database.close().unwrap();
    let told_of = |path: &Path| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let options = Database::options().on_repair(move |share| tell.lock().unwrap().push(share));
        let database = options.open(path).unwrap();
        assert_eq!(database.count(&Query::new()).unwrap(), 10);
        std::mem::take(&mut *told.lock().unwrap())
    };
    assert_eq!(told_of(&path), [0.0; 0]);
    // Of the pages, since there was no checkpoint yet; and then before each commit in the log, and behind the last.
    let told = told_of(&killed);
    let (of_pages, of_log) = told.split_at(told.len() - 11);
    assert!(of_pages[0] == 0.0 && of_pages.is_sorted(), "{told:?}");
    assert!(of_log.is_sorted_by(|a, b| a < b), "{told:?}");
    assert_eq!((of_log[0], of_log[10]), (0.0, 1.0));
}

/// Whoever had opened a file before another one was put in its place writes to that one, and nothing of it is lost.
#[test]
fn a_file_that_was_replaced_before_it_is_locked_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("s.redb"), folder.path().join("o.redb"));
    for (path, number) in [(&path, 1), (&other, 2)] {
        let database = Database::open(path).unwrap();
        database.store(&[sample(number)]).unwrap();
        database.close().unwrap();
    }
    let write = Access::Write { create: true };
    let options = Database::options();
    let disk = || FileDisk::open(&path, write, true).unwrap();
    let (old, gone) = (disk(), disk());
    let opened = options.open_unless_replaced(&path, disk()).unwrap();
    assert_eq!(opened.unwrap().unwrap().count(&Query::new()).unwrap(), 1);
    fs::rename(&other, &path).unwrap();
    assert!(options.open_unless_replaced(&path, old).unwrap().is_none());
    let database = options.clone().open(&path).unwrap();
    assert!(database.retrieve("s2").unwrap().is_some());
    drop(database);
    fs::remove_file(&path).unwrap();
    assert!(options.open_unless_replaced(&path, gone).unwrap().is_none());
}

/// The same by chance: a file is rebuilt again and again while another opens it, stores and closes it.
#[test]
fn what_is_stored_between_two_rebuilds_stays() {
    const STORES: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    Database::open(&path).unwrap().close().unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let rebuilder = scope.spawn(|| {
            let mut rebuilt = 0;
            while !is_over.load(Relaxed) {
                match Database::reindex(&path, |_| ()) {
                    Ok(_) => rebuilt += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Locked, "{error}"),
                }
            }
            rebuilt
        });
        for number in 0..STORES {
            let options = Database::options().lock_timeout(Duration::from_secs(60));
            let database = options.open(&path).unwrap();
            database.store(&[sample(number)]).unwrap();
            assert_eq!(database.count(&Query::new()).unwrap(), number as u64 + 1);
            database.close().unwrap();
            std::thread::yield_now();
        }
        is_over.store(true, Relaxed);
        assert!(rebuilder.join().unwrap() > 0);
    });
    assert_alone(folder.path(), &["s.redb"]);
}

#[test]
fn repair_rebuilds_whatever_costs_no_sample_and_leaves_the_rest_alone() {
    let file = file();
    let expected = all(&open(&file));
    let mut left_alone = 0;
    for (what, kind, change) in changes() {
        let bytes = tamper(&file, change);
        let (folder, path) = on_disk(&bytes);
        let report = Database::repair(&path, |_| ()).unwrap();
        if report.outcome == RepairOutcome::NeedsSalvage {
            assert!(kind.is_primary(), "{what}: {report:?}");
            assert!(report.reason.is_some());
            left_alone += 1;
            assert!(Database::salvage(&path, folder.path().join("to"), |_| ()).is_ok());
            fs::remove_file(folder.path().join("to")).unwrap();
        } else if what != "another status" {
            assert_eq!(report.outcome, RepairOutcome::Rebuilt, "{what}: {report:?}");
            let database = Database::open(&path).unwrap();
            assert_eq!(all(&database), expected, "{what}");
            let report = database.check(|_| ()).unwrap();
            assert!(report.is_sound(), "{what}: {report:?}");
            assert_eq!(report.samples, expected.len() as u64);
            drop(database);
            let again = Database::repair(&path, |_| ()).unwrap();
            assert_eq!(again.outcome, RepairOutcome::Sound);
        }
        assert_alone(folder.path(), &["s.redb"]);
    }
    // All changes of records, planes and names but the block with one too many.
    assert_eq!(left_alone, 7);
}

/// A sample whose record cannot be read can be given another status, stored again and deleted by its id, also when that is done
/// again from the log; and when none is left nothing is wrong.
#[test]
fn damaged_records_are_marked_replaced_and_deleted_by_their_ids() {
    let file = file();
    let whole = all(&open(&file));
    let changes = changes().into_iter();
    let mut damaging = 0;
    for (what, _, change) in changes.filter(|(_, kind, _)| *kind == FaultKind::Record) {
        let (folder, path) = on_disk(&tamper(&file, change));
        let options = || Database::options().create(false);
        let database = options().open(&path).unwrap();
        let (mut expected, mut damaged) = (Vec::new(), 0);
        for sample in &whole {
            match database.retrieve(sample.id()) {
                Ok(found) => {
                    assert_eq!(found.as_ref(), Some(sample), "{what}");
                    expected.push(sample.clone());
                    continue;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}"),
            }
            damaged += 1;
            let other = match sample.status() {
                Status::Dlq => Status::Skipped,
                _ => Status::Dlq,
            };
            let of_other = Query::new().status(other);
            let before = database.count(&of_other).unwrap();
            let marked = database.set_status(&sample.id().into(), None, other);
            assert_eq!(marked.unwrap(), 1, "{what}");
            assert_eq!(database.count(&of_other).unwrap(), before + 1, "{what}");
            if damaged % 2 == 0 {
                assert_eq!(database.delete(&sample.id().into()).unwrap(), 1, "{what}");
                continue;
            }
            let again = sample.clone().into_builder();
            let again = again.data(data! { "again" => damaged }).build().unwrap();
            let report = database.store(std::slice::from_ref(&again)).unwrap();
            assert_eq!((report.inserted, report.replaced), (0, 1), "{what}");
            expected.push(again);
        }
        if damaged == 0 {
            // One record too many is in nobody's way.
            continue;
        }
        damaging += 1;
        let killed = folder.path().join("killed");
        fs::copy(&path, &killed).unwrap();
        for database in [database, options().open(&killed).unwrap()] {
            assert_eq!(all(&database), expected, "{what}");
            database.store(&[sample(9_999)]).unwrap();
            assert!(database.retrieve("s9999").unwrap().is_some(), "{what}");
            let report = database.check(|_| ()).unwrap();
            assert!(report.is_sound(), "{what}: {report:?}");
        }
    }
    assert_eq!(damaging, 4);
}

/// Counters that are too high are no reason to remove what is to be kept.
#[test]
fn nothing_is_pruned_by_counters_that_are_too_high() {
    // From the newest one on, and from the oldest one on.
    for keep in [5_000, 60_000] {
        let database = open(&with_counters_too_high());
        let before = all(&database);
        let prune = Prune::new().keep_newest(keep);
        for failed in [
            database.prunable(&prune).map(drop),
            database.prune(&prune).map(drop),
        ] {
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Damaged, "{keep}");
        }
        assert_eq!(all(&database), before);
    }
}

/// Whatever is lost of the index of ids, looking one up comes to an end.
#[test]
fn ids_are_looked_up_in_a_damaged_index_or_that_is_an_error() {
    let file = file();
    let whole = all(&open(&file));
    let changes = changes().into_iter();
    let mut errors = 0;
    for (what, _, change) in changes.filter(|(_, kind, _)| *kind == FaultKind::IdIndex) {
        let bytes = tamper(&file, change);
        for sample in whole.iter().step_by(whole.len() / 20) {
            // The first to look something up does not decode what was gathered.
            match open(&bytes).retrieve(sample.id()) {
                Ok(found) => assert_eq!(found.as_ref(), Some(sample), "{what}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{what}");
                    errors += 1;
                }
            }
        }
    }
    // At the least for those that are in no bucket yet, when every run is gone.
    assert!(errors >= 5, "{errors}");
}

/// A link to a file is a name of it, for what puts another file in its place too.
#[cfg(unix)]
#[test]
fn a_file_is_rebuilt_where_it_is_and_not_where_a_link_to_it_is() {
    use std::os::unix::fs::{MetadataExt, symlink};

    let counter = |what: &str| what == "a pipeline that counts wrongly";
    let change = changes().into_iter().find(|(what, ..)| counter(what));
    let damaged = tamper(&file(), change.unwrap().2);
    for is_repair in [false, true] {
        let (folder, path) = on_disk(&damaged);
        let places = folder.path().join("links");
        fs::create_dir(&places).unwrap();
        let link = places.join("link.redb");
        symlink("../s.redb", &link).unwrap();
        let before = fs::metadata(&path).unwrap();
        match is_repair {
            true => {
                let report = Database::repair(&link, |_| ()).unwrap();
                assert_eq!(report.outcome, RepairOutcome::Rebuilt);
            }
            false => assert!(Database::reindex(&link, |_| ()).unwrap() > 0),
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let after = fs::metadata(&path).unwrap();
        assert_ne!(after.ino(), before.ino());
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        let database = Database::open(&path).unwrap();
        assert!(database.check(|_| ()).unwrap().is_sound());
        assert_alone(&places, &["link.redb"]);
    }
}

/// Who may hand files to others, as root may, leaves a file to its owner.
#[cfg(unix)]
#[test]
fn a_file_that_is_rebuilt_keeps_its_owner() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    let (_folder, path) = on_disk(&file());
    if chown(&path, Some(4_321), Some(1_234)).is_err() {
        // Nobody but root may, and only then is there anything to keep. Not captured, other than `eprintln!`.
        let words = "SKIPPED: giving a file to another user needs root";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), words.as_bytes());
        return;
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    Database::reindex(&path, |_| ()).unwrap();
    let copy = path.with_file_name("copy.redb");
    let database = Database::open(&path).unwrap();
    database.backup(&copy, &Backup::new()).unwrap();
    for path in [path, copy] {
        let rebuilt = fs::metadata(path).unwrap();
        assert_eq!((rebuilt.uid(), rebuilt.gid()), (4_321, 1_234));
        assert_eq!(rebuilt.mode() & 0o777, 0o640);
    }
}

#[test]
fn nothing_is_rebuilt_of_a_file_that_is_open() {
    let (_folder, path) = on_disk(&file());
    let database = Database::open(&path).unwrap();
    let locked = |error: crate::Error| assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    locked(Database::reindex(&path, |_| ()).unwrap_err());
    locked(Database::repair(&path, |_| ()).unwrap_err());
    locked(Database::salvage(&path, path.with_extension("to"), |_| ()).unwrap_err());
    drop(database);
    let reader = Database::options().read_only(true).open(&path).unwrap();
    locked(Database::reindex(&path, |_| ()).unwrap_err());
    assert!(Database::salvage(&path, path.with_extension("to"), |_| ()).is_ok());
    drop(reader);
    assert!(Database::reindex(&path, |_| ()).is_ok());
}
