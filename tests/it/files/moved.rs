//! A file that others move, replace or remove while it is open, and how a backup is restored so that nothing is lost.

use std::fs;
use std::path::Path;

use samplestore::{Backup, Database, Durability, ErrorKind, Query, Storage};

use super::samples;

/// What is stored in it is lost to whoever opens the path: by the next commit behind a second at the latest that is told.
#[cfg(unix)]
#[test]
fn a_file_that_was_moved_replaced_or_removed_while_it_is_open_takes_nothing_more() {
    type Change = fn(&Path, &Path);
    let changes: [(&str, Change); 3] = [
        ("moved", |path, other| fs::rename(path, other).unwrap()),
        ("replaced", |path, other| {
            fs::copy(path, other).unwrap();
            fs::rename(other, path).unwrap();
        }),
        ("removed", |path, _| fs::remove_file(path).unwrap()),
    ];
    for durability in [Durability::Immediate, Durability::Deferred] {
        for (what, change) in changes {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("s.redb");
            let database = Database::options()
                .durability(durability)
                .open(&path)
                .unwrap();
            database.store(&samples(10)).unwrap();
            database.flush().unwrap();
            change(&path, &folder.path().join("other.redb"));
            assert_eq!(
                database.flush().unwrap_err().kind(),
                ErrorKind::ReadOnly,
                "{what}"
            );
            std::thread::sleep(std::time::Duration::from_millis(1_100));
            let stored = database.store(&samples(20)).unwrap_err();
            assert_eq!(stored.kind(), ErrorKind::ReadOnly, "{what}");
            assert!(
                stored
                    .to_string()
                    .contains("was moved, replaced or removed"),
                "{stored}"
            );
            // What is in it can be read, and saved: it may be all that is left.
            assert_eq!(database.count(&Query::new()).unwrap(), 10, "{what}");
            let saved = folder.path().join("saved.redb");
            assert_eq!(
                database.backup(&saved, &Backup::new()).unwrap(),
                10,
                "{what}"
            );
            if what == "moved" {
                fs::rename(folder.path().join("other.redb"), &path).unwrap();
                database.store(&samples(20)).unwrap();
                database.close().unwrap();
                let found = Database::open(&path).unwrap().count(&Query::new());
                assert_eq!(found.unwrap(), 20);
                continue;
            }
            assert_eq!(
                database.close().unwrap_err().kind(),
                ErrorKind::ReadOnly,
                "{what}"
            );
        }
    }
}

/// A backup is put over the file that somebody writes once that is closed, and then nothing is lost.
#[test]
fn a_backup_is_restored_once_nobody_writes_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (
        folder.path().join("s.redb"),
        folder.path().join("copy.redb"),
    );
    let database = Database::open(&path).unwrap();
    database.store(&samples(10)).unwrap();
    database.backup(&copy, &Backup::new()).unwrap();
    database.store(&samples(30)).unwrap();
    let saved = Database::options().read_only(true).open(&copy).unwrap();
    let over = Backup::new().overwrite(true);
    let refused = saved.backup(&path, &over).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    database.close().unwrap();
    assert_eq!(saved.backup(&path, &over).unwrap(), 10);
    let restored = Database::open(&path).unwrap();
    assert_eq!(restored.count(&Query::new()).unwrap(), 10);
}
