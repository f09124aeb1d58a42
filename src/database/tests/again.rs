//! Salvage of a file in which an id was deleted and stored again: one of its rows is dead, and only the status planes say so.

use std::ops::Range;
use std::sync::Arc;

use super::super::Database;
use super::super::blocks::Block;
use super::super::disk::memory::MemoryDisk;
use super::super::leaves::Leaf;
use super::super::planes::Planes;
use super::super::record;
use super::super::schema::{Kind, unseal_exact};
use super::rescue::all;
use super::salvage::{PAGE_BYTES, assert_told, base, salvaged};
use crate::sample::{Sample, Status};
use crate::storage::Storage;
use crate::{data, instant};

fn sample(id: &str, step: usize) -> Sample {
    Sample::builder("p")
        .id(id)
        .status(Status::ALL[step])
        .created_at(instant::from_micros(step as i64).unwrap())
        .data(data! { "step" => step as u64 })
        .build()
        .unwrap()
}

/// What four processes leave, each of which closed it, and the samples in it.
fn file() -> (Vec<u8>, Vec<Sample>) {
    let disk = Arc::new(MemoryDisk::default());
    let mut whole = Vec::new();
    for step in 0..4 {
        let database = Database::options()
            .cache_bytes(1 << 20)
            .open_disk("memory".into(), Arc::clone(&disk) as _)
            .unwrap();
        let ids: &[&str] = match step {
            0 => &["x", "a0", "a1", "a2"],
            1 => &["b0", "b1", "b2"],
            2 => &[],
            _ => &["x", "c0", "c1", "c2"],
        };
        match ids {
            [] => assert_eq!(database.delete(&"x".into()).unwrap(), 1),
            ids => {
                let samples: Vec<Sample> = ids.iter().map(|id| sample(id, step)).collect();
                database.store(&samples).unwrap();
            }
        }
        whole = all(&database);
        database.close().unwrap();
    }
    (disk.bytes(), whole)
}

/// The values in pages that look like leaves whose keys are numbers, and where they lie.
fn values(bytes: &[u8]) -> Vec<(u64, Range<usize>)> {
    let mut values = Vec::new();
    for page in (base(bytes)..bytes.len()).step_by(PAGE_BYTES) {
        let [1, _, low, high, ..] = bytes[page..] else {
            continue;
        };
        let count = usize::from(u16::from_le_bytes([low, high]));
        let ends = page + 4;
        let keys = ends + 4 * count;
        let mut start = keys + 8 * count;
        for entry in 0..count {
            let end = bytes.get(ends + 4 * entry..ends + 4 * entry + 4);
            let key = bytes.get(keys + 8 * entry..keys + 8 * entry + 8);
            let (Some(end), Some(key)) = (end, key) else {
                break;
            };
            let end = page + u32::from_le_bytes(end.try_into().unwrap()) as usize;
            if end <= start || end > bytes.len() {
                break;
            }
            values.push((u64::from_le_bytes(key.try_into().unwrap()), start..end));
            start = end;
        }
    }
    values
}

/// Where every version of the leaf of the planes lies.
fn leaves(bytes: &[u8]) -> Vec<(usize, Planes)> {
    let values = values(bytes).into_iter();
    let leaves = values.filter_map(|(key, range)| {
        let planes = unseal_exact(Kind::Status, key, &bytes[range.clone()]).ok()?;
        Some((range.start, Planes::decode(planes)))
    });
    leaves.collect()
}

/// A record in a block, and a byte of it.
struct Record {
    row: u64,
    id: String,
    at: usize,
}

/// The records of every version of each block.
fn records(bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    for (first, range) in values(bytes) {
        let Ok(block) = Block::new(first, &bytes[range]) else {
            continue;
        };
        for row in first..first.saturating_add(block.len()) {
            if let Ok(record) = block.record(row) {
                let start = record.as_ptr().addr() - bytes.as_ptr().addr();
                records.push(Record {
                    row,
                    id: record::header(record).unwrap().id.to_owned(),
                    at: start + record.len() / 2,
                });
            }
        }
    }
    records
}

/// Whichever versions of the planes are damaged, and with them one record of any version of its block: what is readable
/// anywhere is saved, and counted as lost is at most that record.
#[test]
fn what_was_deleted_and_stored_again_is_saved_without_the_planes() {
    let (file, whole) = file();
    let (leaves, records) = (leaves(&file), records(&file));
    let everything: Vec<usize> = (0..leaves.len()).collect();
    let newest = newest(&leaves, &records);
    let single = everything.iter().map(|leaf| vec![*leaf]);
    let damages: Vec<Vec<usize>> = single.chain([newest, everything.clone()]).collect();
    let mut elsewhere = 0;
    for damage in &damages {
        for record in &records {
            let mut bytes = file.clone();
            damage.iter().for_each(|leaf| bytes[leaves[*leaf].0] ^= 1);
            bytes[record.at] ^= 1;
            let what = format!("leaves {damage:?} and row {} at {}", record.row, record.at);
            let (report, saved) = salvaged(&bytes).unwrap();
            let lost = assert_told(&whole, &saved, &report);
            let is_elsewhere = records
                .iter()
                .any(|other| other.row == record.row && other.at != record.at);
            elsewhere += usize::from(is_elsewhere);
            assert!(lost <= u64::from(!is_elsewhere), "{what}: {report:?}");
            assert!(report.lost <= 1, "{what}: {report:?}");
        }
    }
    assert!(elsewhere > 0, "no block is there in two versions");
}

/// Those that know of the last row.
fn newest(leaves: &[(usize, Planes)], records: &[Record]) -> Vec<usize> {
    let last = records.iter().map(|record| record.row).max().unwrap();
    let all = 0..leaves.len();
    let newest: Vec<usize> = all.filter(|leaf| leaves[*leaf].1.code(last) != 0).collect();
    assert!(!newest.is_empty());
    newest
}

/// Older planes do not know of the rows that came later, and an older block that is whole does not have them.
#[test]
fn rows_that_older_planes_do_not_know_are_saved_but_for_the_one_that_is_damaged() {
    let (file, whole) = file();
    let (leaves, records) = (leaves(&file), records(&file));
    let newest = newest(&leaves, &records);
    assert!(newest.len() < leaves.len(), "no older planes are left");
    let mut bytes = file.clone();
    newest.iter().for_each(|leaf| bytes[leaves[*leaf].0] ^= 1);
    let (report, saved) = salvaged(&bytes).unwrap();
    assert_eq!((report.lost, saved.len()), (0, whole.len()), "{report:?}");
    let of_one = records.iter().filter(|record| record.id == "c1");
    of_one.for_each(|record| bytes[record.at] ^= 1);
    let (report, saved) = salvaged(&bytes).unwrap();
    assert_eq!(assert_told(&whole, &saved, &report), 1);
    assert_eq!(
        (report.lost, saved.len()),
        (1, whole.len() - 1),
        "{report:?}"
    );
    assert!(saved.iter().all(|sample| sample.id() != "c1"));
}
