//! Commits that are lost from the log, by damage to them or to one before them.

use std::sync::Arc;

use super::super::disk::memory::MemoryDisk;
use super::super::{Database, RepairOutcome};
use super::rescue::{all, on_disk, sample};
use super::salvage::PAGE_BYTES;
use crate::ErrorKind;
use crate::storage::Storage;

#[test]
fn commits_that_are_lost_from_the_log_are_told() {
    let disk = Arc::new(MemoryDisk::default());
    let database = Database::options()
        .cache_bytes(1 << 20)
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    for number in 0..5 {
        database.store(&[sample(number)]).unwrap();
    }
    let bytes = disk.bytes();
    drop(database);
    let page = |commit: usize| commit * PAGE_BYTES..(commit + 1) * PAGE_BYTES;
    // In the first of five commits, and in the second, which give numbers to names: in the name's length, in that of the record, behind
    // which nothing of the commit can be read, and within the record.
    let (both, odd, none): (&[&str], &[&str], &[&str]) = (&["even", "odd"], &["odd"], &[]);
    for (kept, at, names_lost) in [
        (0, 42, both),
        (0, 50, odd),
        (0, 60, none),
        (1, 42, odd),
        (1, 50, none),
        (1, 60, none),
    ] {
        let mut bytes = bytes.clone();
        bytes[page(1 + kept)][at] ^= 1;
        // What looks like the last commit, and is of another one: no commit has what stands for its checksum, or for that of the one before.
        let forged = bytes[page(4)].to_vec();
        bytes[page(6)].copy_from_slice(&forged);
        bytes[page(6)][8..24].copy_from_slice(&[[5, 0, 0, 0, 0, 0, 0, 0], [7; 8]].concat());
        let (folder, path) = on_disk(&bytes);
        let to = folder.path().join("to.redb");
        for _ in 0..2 {
            // Whoever could not open it has not closed it.
            let refused = Database::open(&path).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Damaged, "{refused}");
            let reading = Database::options().read_only(true).open(&path);
            assert_eq!(reading.unwrap_err().kind(), ErrorKind::NeedsRepair);
        }
        for _ in 0..2 {
            let report = Database::repair(&path, |_| ()).unwrap();
            assert_eq!(report.outcome, RepairOutcome::NeedsSalvage, "{report:?}");
        }
        let report = Database::salvage(&path, &to, |_| ()).unwrap();
        let lost = 5 - kept as u64;
        assert_eq!(
            (report.samples, report.lost_commits),
            (4, lost),
            "{report:?}"
        );
        assert_eq!(report.doubtful, lost - 1, "{report:?}");
        let expected = (0..5).filter(|number| *number != kept);
        let expected: Vec<_> = expected.map(sample).collect();
        let saved = all(&Database::open(&to).unwrap());
        assert_eq!(saved.len(), expected.len());
        for (saved, expected) in saved.iter().zip(&expected) {
            if names_lost.contains(&expected.pipeline()) {
                assert!(
                    saved.pipeline().starts_with("lost-pipeline-"),
                    "{kept} {at}"
                );
                assert_eq!((saved.id(), saved.data()), (expected.id(), expected.data()));
            } else {
                assert_eq!(saved, expected, "{kept} {at}");
            }
        }
    }
}
