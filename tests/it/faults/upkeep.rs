//! Looking after a file of which something cannot be read.

use std::sync::{Arc, Mutex};

use samplestore::Backup;

use super::disk::{Fault, FaultyDisk, What};
use super::start::{From, Start};
use super::{EIO, IMMEDIATE, assert_typed};

/// The share of a check that the pages are.
const PAGES_SHARE: f64 = 0.3;

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
    // Reads of which one alone failed without a trace.
    let mut needless = Vec::new();
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
            let told = Arc::new(Mutex::new(Vec::new()));
            let tell = {
                let (told, disk) = (Arc::clone(&told), Arc::clone(&disk));
                move |share: f64| told.lock().unwrap().push((share, disk.met_so_far()))
            };
            match database.check(tell) {
                Ok(report) if report.is_sound() => {
                    assert_eq!(report.samples, samples, "{fault:?}");
                    if disk.has_failed() {
                        // The pages are verified by a second redb, which closes what it had opened when all of them are right: what it
                        // cannot read then nobody asks for. It is before the first chunk, and nothing that comes behind can be missed.
                        assert!(!lasts, "{fault:?}");
                        let told = told.lock().unwrap();
                        let of_chunks = told.iter().rfind(|(share, _)| *share <= PAGES_SHARE);
                        let (_, before_chunks) = of_chunks.unwrap();
                        assert!(nth < *before_chunks, "{fault:?} of the chunks");
                        needless.push(nth);
                    }
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
    // Those of closing come one behind the other, and none of the pages before them is one.
    let is_next = |pair: &[usize]| pair[0] + 1 == pair[1];
    assert!(needless.windows(2).all(is_next), "{needless:?}");
    println!(
        "{checked} reads of a check, {} of them to close what is verified, and {copied} of a copy failed",
        needless.len()
    );
    assert!(checked > 40 && copied > 1, "{checked} {copied}");
}
