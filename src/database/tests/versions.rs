//! Salvage and repair of files in which something is as it was at an earlier commit, or leads elsewhere: what nobody's seal tells.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::super::check::tests::{file, open, tamper};
use super::super::disk::memory::MemoryDisk;
use super::super::schema::Kind;
use super::super::state::STATE;
use super::super::{Database, RepairOutcome};
use super::rescue::{all, on_disk, sample};
use super::salvage::{PAGE_BYTES, assert_told, base, killed_file, salvaged};
use crate::ErrorKind;
use crate::query::Query;
use crate::sample::{Sample, Status};
use crate::storage::Storage;

/// What repair does never costs or changes a sample, or is not done.
fn assert_repaired(what: &str, bytes: &[u8], whole: &[Sample]) {
    let (_folder, path) = on_disk(bytes);
    match Database::repair(&path, |_| ()) {
        Ok(report) if report.outcome == RepairOutcome::NeedsSalvage => {}
        Ok(report) => {
            let repaired = all(&Database::open(&path).unwrap());
            let is_same = repaired.len() == whole.len()
                && whole.iter().all(|sample| repaired.contains(sample));
            assert!(is_same, "{what}: {report:?}");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotADatabase, "{what}: {error}"),
    }
}

/// The keys of a leaf whose keys are numbers.
fn keys(page: &[u8]) -> Option<Vec<u64>> {
    let count = usize::from(u16::from_le_bytes([page[2], page[3]]));
    let keys = page.get(4 + 4 * count..4 + 12 * count)?;
    (page[0] == 1 && count > 0).then(|| {
        let keys = keys.as_chunks().0.iter();
        keys.map(|key| u64::from_le_bytes(*key)).collect()
    })
}

/// A disk that lost a write gives back what a page was before. All of its seals hold.
#[test]
fn a_page_as_it_was_before_is_not_taken_for_what_it_is() {
    let disk = Arc::new(MemoryDisk::of(file()));
    let database = Database::options()
        .cache_bytes(1 << 20)
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    for round in 0..4 {
        let again = sample(40 * round).into_builder().id("s80");
        database.store(&[again.build().unwrap()]).unwrap();
        let some = Query::new().ids((0..9).map(|id| format!("s{}", 11 * id + round)));
        let to = Status::ALL[round % 6];
        database.set_status(&some.into(), None, to).unwrap();
        database
            .delete(&format!("s{}", 300 + round).as_str().into())
            .unwrap();
        database.compact().unwrap();
        database.store(&[sample(9_000 + round)]).unwrap();
        database.engine.checkpoint("test").unwrap();
    }
    let whole = all(&database);
    database.close().unwrap();
    let bytes = disk.bytes();
    let base = base(&bytes);
    let mut versions: BTreeMap<Vec<u64>, Vec<usize>> = BTreeMap::new();
    for (number, page) in bytes[base..].chunks_exact(PAGE_BYTES).enumerate() {
        if let Some(keys) = keys(page) {
            versions
                .entry(keys)
                .or_default()
                .push(base + number * PAGE_BYTES);
        }
    }
    let (mut tried, mut told) = (0, 0);
    for places in versions.into_values() {
        for (from, to) in places
            .windows(2)
            .flat_map(|pair| [(pair[0], pair[1]), (pair[1], pair[0])])
        {
            let (old, new) = (&bytes[from..from + PAGE_BYTES], &bytes[to..to + PAGE_BYTES]);
            if old == new {
                continue;
            }
            let mut stale = bytes.clone();
            stale[to..to + PAGE_BYTES].copy_from_slice(old);
            let what = format!("the page at {from} over the one at {to}");
            let (report, saved) = salvaged(&stale).unwrap();
            assert_told(&whole, &saved, &report);
            assert!(!report.is_whole() || saved == whole, "{what}: {report:?}");
            assert_repaired(&what, &stale, &whole);
            tried += 1;
            told += usize::from(!report.is_whole());
        }
    }
    assert!(tried > 10 && told > 1, "{tried}, {told}");
}

/// Bits of the file, also of numbers of pages, which then lead anywhere.
#[test]
fn whichever_bit_is_another_salvage_and_repair_say_what_it_costs() {
    let closed = file();
    let of_closed = all(&open(&closed));
    for (file, whole) in [(closed, of_closed), killed_file()] {
        flip_bits(&file, &whole);
    }
}

fn flip_bits(file: &[u8], whole: &[Sample]) {
    let base = base(file);
    let mut bits: Vec<(usize, u8)> = Vec::new();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..100 {
        seed = seed
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let at = base + (seed >> 20) as usize % (file.len() - base);
        bits.push((at, 1 << (seed >> 60 & 7)));
    }
    // redb's header, and of branches the numbers of the first child.
    bits.extend((base..base + 320).step_by(3).map(|at| (at, 1)));
    let pages = (base + PAGE_BYTES..file.len()).step_by(PAGE_BYTES);
    let branches: Vec<usize> = pages.filter(|page| file[*page] == 2).collect();
    for page in branches.iter().step_by(branches.len().div_ceil(16)) {
        let (page, keys) = (*page, usize::from(file[*page + 2]));
        if keys > 0 {
            let number = page + 8 + 16 * (keys + 1);
            bits.extend((3..8).flat_map(|byte| [(number + byte, 2), (number + byte, 0x80)]));
        }
    }
    for (at, bit) in bits {
        let mut bytes = file.to_vec();
        bytes[at] ^= bit;
        let what = format!("bit {bit} at {at}");
        let (report, saved) = salvaged(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_told(whole, &saved, &report);
        assert!(!report.is_whole() || saved == whole, "{what}: {report:?}");
        assert_repaired(&what, &bytes, whole);
    }
}

/// A file with a small log, so that larger batches go to the tables alone; all do beside shared readers.
fn opened(path: &Path, shared: bool) -> Database {
    let mut options = Database::options()
        .cache_bytes(1 << 20)
        .shared_readers(shared);
    options.log_half_bytes = 4 * PAGE_BYTES as u64;
    options.open(path).unwrap()
}

/// Commits by the log and beside it, in turns, and then the process is killed: what the log has is not all that the tables do not have, and the tables have
/// some of it.
#[test]
fn the_log_is_not_taken_for_newer_than_tables_that_do_not_say_so() {
    for seed in 0..40_u64 {
        let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: u64| {
            mixed = mixed
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            (mixed >> 33) % below
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.redb");
        let (mut whole, mut bytes) = (Vec::new(), Vec::new());
        let mut new = 0;
        for session in 0..2 + next(3) {
            let database = opened(&path, next(3) == 0);
            for _ in 0..next(8) + 1 {
                let some = format!("s{}", next(new.max(1)));
                match next(6) {
                    0 | 1 => {
                        // Of 200 the journal is larger than a half of the log.
                        let count = [1, 3, 200][next(3) as usize];
                        let batch: Vec<Sample> = (new..new + count)
                            .map(|id| {
                                let sample = sample(id as usize).into_builder();
                                sample
                                    .pipeline(format!("p{}", (session + id) % 7))
                                    .build()
                                    .unwrap()
                            })
                            .collect();
                        new += count;
                        database.store(&batch).unwrap();
                    }
                    2 => {
                        let again = sample(next(500) as usize).into_builder().id(some.as_str());
                        database.store(&[again.build().unwrap()]).unwrap();
                    }
                    3 => drop(database.delete(&some.as_str().into()).unwrap()),
                    4 => {
                        let to = Status::ALL[next(6) as usize];
                        database
                            .set_status(&some.as_str().into(), None, to)
                            .unwrap();
                    }
                    _ => {
                        let some = Query::new().status(Status::ALL[next(6) as usize]);
                        let to = Status::ALL[next(6) as usize];
                        database.set_status(&some.into(), None, to).unwrap();
                    }
                }
            }
            whole = all(&database);
            if next(2) == 0 {
                database.close().unwrap();
            }
            // Else as if it was killed.
            bytes = fs::read(&path).unwrap();
            drop(database);
            fs::write(&path, &bytes).unwrap();
        }
        let without = |copy_too: bool| {
            tamper(&bytes, |tables| {
                let garbage = [7; 100].as_slice();
                let key = Kind::State.summary_key(0);
                tables.summary.insert(key, garbage).unwrap();
                if copy_too {
                    tables.meta.insert(STATE, garbage).unwrap();
                }
            })
        };
        // One of the two states is as good as both.
        let (report, saved) = salvaged(&without(false)).unwrap();
        assert!(
            report.is_whole() && saved == whole,
            "seed {seed}: {report:?}"
        );
        for (what, bytes) in [
            ("neither state", without(true)),
            ("no tables", bytes[..base(&bytes)].to_vec()),
            ("no roots", {
                let (base, mut bytes) = (base(&bytes), bytes.clone());
                bytes[base..base + PAGE_BYTES].fill(0);
                bytes
            }),
        ] {
            match salvaged(&bytes) {
                Ok((report, saved)) => {
                    assert_told(&whole, &saved, &report);
                    assert!(!report.is_whole(), "seed {seed}, {what}: {report:?}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "seed {seed}, {what}");
                    assert!(
                        what == "no tables" || whole.is_empty(),
                        "seed {seed}, {what}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn samples_that_only_the_log_has_are_saved_without_any_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let database = opened(&path, true);
    let samples: Vec<Sample> = (0..2_000).map(sample).collect();
    database.store(&samples).unwrap();
    database.close().unwrap();
    let database = opened(&path, false);
    let late: Vec<Sample> = (5_000..5_020).map(sample).collect();
    for late in &late {
        database.store(std::slice::from_ref(late)).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    drop(database);
    let (report, saved) = salvaged(&bytes[..base(&bytes)]).unwrap();
    let kept = late
        .iter()
        .filter(|late| saved.iter().any(|saved| saved.id() == late.id()));
    assert!(kept.count() >= 2, "{report:?}");
    assert_eq!(report.doubtful, report.samples);
}

/// Neither our first bytes nor those of redb's commits make a file one that is nobody's.
#[test]
fn a_file_whose_first_bytes_are_others_is_salvaged() {
    let file = file();
    let whole = all(&open(&file));
    let base = base(&file);
    for (at, bytes) in [(0, 1), (3, 1), (0, 512), (base + 64, 1), (base + 192, 1)] {
        let mut damaged = file.clone();
        damaged[at..at + bytes]
            .iter_mut()
            .for_each(|byte| *byte ^= 1);
        let (report, saved) = salvaged(&damaged).unwrap();
        assert_eq!(assert_told(&whole, &saved, &report), 0, "{at}: {report:?}");
        assert!(!report.notes.is_empty(), "{at}: {report:?}");
    }
    // What is somebody else's is left alone.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    fs::write(&path, [b'x'; 20_000]).unwrap();
    let to = folder.path().join("to.redb");
    let error = Database::salvage(&path, &to, |_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotADatabase);
}

/// How many rows there are is looked for in the tables when no state says so, and not believed without a seal.
#[test]
fn a_key_without_a_right_value_says_nothing_of_how_many_rows_there_are() {
    let file = file();
    let whole = all(&open(&file));
    let bytes = tamper(&file, |tables| {
        let garbage = [7; 100].as_slice();
        for key in [u64::MAX, 1 << 39] {
            tables.status.insert(key, garbage).unwrap();
            tables.blocks.insert(key, garbage).unwrap();
        }
        let key = Kind::State.summary_key(0);
        tables.summary.insert(key, garbage).unwrap();
        tables.meta.insert(STATE, garbage).unwrap();
    });
    let (report, saved) = salvaged(&bytes).unwrap();
    assert_eq!(assert_told(&whole, &saved, &report), 0, "{report:?}");
}
