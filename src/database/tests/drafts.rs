//! Files that are made under another name first, on a disk that fails: whichever write, sync or resize it is, once or from then on, what
//! comes of it is an error and no file, or a whole one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::disk::memory::MemoryDisk;
use super::super::draft::failing::{Fault, What};
use super::super::{Backup, Database};
use super::damage::{assert_no_own_panics, watch_panics};
use super::rescue::{all, assert_alone, sample};
use crate::query::Query;
use crate::sample::{Sample, Status};
use crate::storage::Storage;
use crate::{ErrorKind, Result};

/// After so many faults the work is done once more without any.
const AGAIN_EVERY: usize = 8;

/// A small file that has something of everything.
fn file() -> Vec<u8> {
    let disk = Arc::new(MemoryDisk::default());
    let database = Database::options()
        .cache_bytes(1 << 20)
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    let samples: Vec<Sample> = (0..120).map(sample).collect();
    for batch in samples.chunks(30) {
        database.store(batch).unwrap();
    }
    let field = "data.number".parse().unwrap();
    database.create_index(&field, |_| ()).unwrap();
    database.store(&samples[5..9]).unwrap();
    let gone = Query::new().status(Status::Dlq).pipeline("odd");
    database.delete(&gone.into()).unwrap();
    database.close().unwrap();
    disk.bytes()
}

/// A folder with the file, and the name that a new one gets.
struct Place {
    folder: tempfile::TempDir,
    path: PathBuf,
    to: PathBuf,
}

/// What makes a file, and which one that is.
struct Work {
    name: &'static str,
    /// Whether there is a file of this name, which the new one takes the place of.
    overwrites: bool,
    is_in_place: bool,
    run: fn(&Database, &Path, &Path) -> Result<()>,
}

const WORKS: [Work; 4] = [
    Work {
        name: "backup",
        overwrites: false,
        is_in_place: false,
        run: |database, _, to| database.backup(to, &Backup::new()).map(drop),
    },
    Work {
        name: "backup over a file",
        overwrites: true,
        is_in_place: false,
        run: |database, _, to| {
            let backup = Backup::new().overwrite(true);
            database.backup(to, &backup).map(drop)
        },
    },
    Work {
        name: "reindex",
        overwrites: false,
        is_in_place: true,
        run: |_, path, _| Database::reindex(path, |_| ()).map(drop),
    },
    Work {
        name: "salvage",
        overwrites: false,
        is_in_place: false,
        run: |_, path, to| Database::salvage(path, to, |_| ()).map(drop),
    },
];

impl Work {
    /// What is there before, anew.
    fn prepare(&self, place: &Place, bytes: &[u8]) {
        fs::write(&place.path, bytes).unwrap();
        match self.overwrites {
            true => fs::write(&place.to, b"what was there").unwrap(),
            false => drop(fs::remove_file(&place.to)),
        }
    }

    /// What is there is what was, and nothing else.
    fn assert_untouched(&self, place: &Place, bytes: &[u8], what: &str) {
        assert!(fs::read(&place.path).unwrap() == bytes, "{what}");
        match self.overwrites {
            true => {
                assert_eq!(fs::read(&place.to).unwrap(), b"what was there", "{what}");
                assert_alone(place.folder.path(), &["s.redb", "to.redb"]);
            }
            false => assert_alone(place.folder.path(), &["s.redb"]),
        }
    }

    /// The new file is whole, and nothing else is new.
    fn assert_made(&self, place: &Place, bytes: &[u8], whole: &[Sample], what: &str) {
        let made = match self.is_in_place {
            true => &place.path,
            false => &place.to,
        };
        let database = Database::options().create(false).open(made).unwrap();
        assert_eq!(all(&database), whole, "{what}");
        let report = database.check(|_| ()).unwrap();
        assert!(report.is_sound(), "{what}: {report:?}");
        database.close().unwrap();
        match self.is_in_place {
            true => assert_alone(place.folder.path(), &["s.redb"]),
            false => {
                assert!(fs::read(&place.path).unwrap() == bytes, "{what}");
                assert_alone(place.folder.path(), &["s.redb", "to.redb"]);
            }
        }
    }
}

fn sweep(what: What, at_least: usize) {
    watch_panics();
    let bytes = file();
    let memory = Arc::new(MemoryDisk::of(bytes.clone()));
    let options = Database::options().cache_bytes(1 << 20);
    let database = options.open_disk("memory".into(), memory).unwrap();
    let whole = all(&database);
    // In memory where there is such a place.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.unwrap();
    let (path, to) = (folder.path().join("s.redb"), folder.path().join("to.redb"));
    let place = Place { folder, path, to };
    for work in &WORKS {
        for lasts in [false, true] {
            let mut refused = 0;
            for nth in 0.. {
                let fault = Fault::new(what, nth, lasts);
                let told = format!("{}: {fault:?}", work.name);
                work.prepare(&place, &bytes);
                let run = || (work.run)(&database, &place.path, &place.to);
                match fault.during(run) {
                    Ok(()) => work.assert_made(&place, &bytes, &whole, &told),
                    Err(error) => {
                        refused += 1;
                        assert!(fault.has_failed(), "{told}: {error}");
                        assert_eq!(error.kind(), ErrorKind::Io, "{told}: {error:?}");
                        work.assert_untouched(&place, &bytes, &told);
                        if nth.is_multiple_of(AGAIN_EVERY) {
                            run().unwrap_or_else(|error| panic!("{told}: again: {error:?}"));
                            work.assert_made(&place, &bytes, &whole, &told);
                        }
                    }
                }
                if !fault.has_failed() {
                    break;
                }
            }
            assert!(refused >= at_least, "{}: {refused} of {what:?}", work.name);
        }
    }
    assert_eq!(all(&database), whole);
    assert_no_own_panics();
}

#[test]
fn every_write_of_a_draft_fails() {
    sweep(What::Writes, 10);
}

#[test]
fn every_sync_of_a_draft_fails() {
    sweep(What::Syncs, 2);
}

#[test]
fn every_resize_of_a_draft_fails() {
    sweep(What::Resizes, 1);
}
