//! Looking after a file of which something cannot be read.

use samplestore::Backup;

use super::disk::{Fault, FaultyDisk, What};
use super::start::{From, Start};
use super::{EIO, IMMEDIATE, assert_typed};

/// What a check or a copy meets that cannot be read is told, and never passed over.
#[test]
fn reads_fail_while_a_file_is_looked_after() {
    let start = Start::of(IMMEDIATE, From::Closed);
    let samples = start.model.states.last().unwrap().samples.len() as u64;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.redb");
    let open = |fault: Fault| {
        let disk = FaultyDisk::of(start.disk(), fault);
        // With next to no cache, so that there is something to read.
        let options = start.mode.options().cache_bytes(128 << 10);
        options
            .open_on(disk.clone())
            .map(|database| (disk, database))
    };
    let (mut checked, mut copied) = (0, 0);
    for lasts in [false, true] {
        for nth in 0.. {
            let fault = Fault {
                what: What::Reads,
                nth,
                lasts,
                errno: EIO,
            };
            let Ok((disk, database)) = open(fault) else {
                continue;
            };
            match database.check(|_| ()) {
                // When one read alone failed, it may be one behind all that is checked, of redb that closes what it had opened.
                Ok(report) if report.is_sound() => {
                    let has_read_all = !disk.has_failed() || !lasts;
                    assert!(has_read_all && report.samples == samples, "{fault:?}");
                }
                Ok(report) => assert!(disk.has_failed(), "{fault:?}: {report:?}"),
                Err(error) => assert_typed(&error, fault),
            }
            let check_has_failed = disk.has_failed();
            drop(database);

            let (disk, database) = open(fault).unwrap();
            match database.backup(&path, &Backup::new()) {
                Ok(stored) => {
                    assert_eq!(stored, samples, "{fault:?}");
                    assert!(!disk.has_failed(), "{fault:?}");
                    std::fs::remove_file(&path).unwrap();
                }
                Err(error) => assert_typed(&error, fault),
            }
            let copy_has_failed = disk.has_failed();
            let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
            assert!(left.is_empty(), "{fault:?}: {left:?}");
            drop(database);

            checked += usize::from(check_has_failed);
            copied += usize::from(copy_has_failed);
            if !check_has_failed && !copy_has_failed {
                break;
            }
        }
    }
    println!("{checked} reads of a check and {copied} of a copy failed");
    assert!(checked > 40 && copied > 1, "{checked} {copied}");
}
