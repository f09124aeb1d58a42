//! Moving rows to another status, or to none: which counters change, and the planes.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::ReadableTable;
use roaring::RoaringBitmap;

use super::chunk::CHUNK_LEAVES;
use super::failure::Context;
use super::filter::first_row;
use super::mask::Mask;
use super::pipelines::decode_places;
use super::planes::Planes;
use super::record::status_code;
use super::schema::{COLUMN_ROWS, Kind, STATUS_ROWS, cell_key, cell_keys, missing};
use super::view::live_status;
use super::write::Transaction;
use crate::error::Result;
use crate::sample::Status;

/// How many rows each pipeline has, by status code, which has three bits.
type Counts = BTreeMap<u32, [i64; 8]>;

/// The planes of each leaf of a chunk that is looked at.
type ChunkPlanes = [Option<Arc<Planes>>];

/// A pipeline's bitmap costs about as much as so many leaves of the columns.
const BITMAP_LEAVES: u64 = 2;
/// Counting so many rows by the columns costs about as much as reading a leaf of them.
const LEAF_COUNTED_ROWS: u64 = 32;
/// Fewer rows of a chunk are looked at one by one.
const DENSE_ROWS_MIN: u64 = 4_096;

impl Transaction<'_> {
    /// Moves to the status `to` the rows of a chunk, all of which have a sample.
    pub(super) fn set_status(
        &mut self,
        chunk: u64,
        rows: &RoaringBitmap,
        to: Status,
    ) -> Result<()> {
        self.move_rows(chunk, rows, Some(to))
    }

    /// Removes the samples of these rows of a chunk, all of which have one. Columns, runs, bitmaps and pairs
    /// of ids keep what they say of a row without a sample: it is its status code of 0 that counts.
    pub(super) fn delete(&mut self, chunk: u64, rows: &RoaringBitmap) -> Result<()> {
        for place in rows {
            self.leave_record(first_row(chunk) + u64::from(place))?;
        }
        self.move_rows(chunk, rows, None)?;
        self.count_stale_ids(rows.len());
        Ok(())
    }

    fn move_rows(&mut self, chunk: u64, rows: &RoaringBitmap, to: Option<Status>) -> Result<()> {
        self.journal.r#move(chunk, rows, to.map_or(0, status_code));
        let mask = Mask::of_bitmap(rows);
        let mut leaves = Vec::with_capacity(CHUNK_LEAVES);
        for (index, words) in mask.leaves().iter().enumerate() {
            let leaf = chunk * CHUNK_LEAVES as u64 + index as u64;
            // Leaves behind the last row are not there.
            let is_wanted = words.iter().any(|word| *word != 0);
            let planes = is_wanted.then(|| {
                let table = self.tables.status.open()?;
                self.status.get(table, leaf).cloned()
            });
            leaves.push(planes.transpose()?);
        }
        let moves = self.count_moves(chunk, rows, &mask, &leaves)?;
        let is_wanted: Vec<bool> = leaves.iter().map(Option::is_some).collect();
        // What nobody else shares is changed where it is.
        drop(leaves);
        for (pipeline, by_code) in moves {
            for (code, count) in (0..).zip(by_code).filter(|(_, count)| *count > 0) {
                let from = live_status(first_row(chunk), code)?;
                self.count(chunk, pipeline, from, -count)?;
                if let Some(to) = to {
                    self.count(chunk, pipeline, to, count)?;
                }
            }
        }
        for (index, words) in mask.leaves().iter().enumerate() {
            if is_wanted[index] {
                let leaf = chunk * CHUNK_LEAVES as u64 + index as u64;
                let planes = self.status.get_mut(self.tables.status.open()?, leaf)?;
                planes.set_codes(words, to.map_or(0, status_code));
            }
        }
        Ok(())
    }

    /// Counts these rows of a chunk by pipeline and status code: by the bitmaps of its pipelines, when these
    /// are as they are on disk and cost less than the leaves of the columns that have the rows, and else row by row.
    fn count_moves(
        &mut self,
        chunk: u64,
        rows: &RoaringBitmap,
        mask: &Mask,
        leaves: &ChunkPlanes,
    ) -> Result<Counts> {
        let mut changed = self.pipeline_rows.range((chunk, 0)..=(chunk, u32::MAX));
        let are_on_disk = self.is_full(chunk) && changed.next().is_none();
        let by_bitmaps = self.dictionary.len() as u64 * BITMAP_LEAVES;
        let by_columns = || column_leaves(rows) + rows.len() / LEAF_COUNTED_ROWS;
        if are_on_disk && by_bitmaps < by_columns() {
            self.count_by_bitmaps(chunk, rows, mask, leaves)
        } else {
            self.count_by_columns(chunk, rows, leaves)
        }
    }

    fn count_by_bitmaps(
        &mut self,
        chunk: u64,
        rows: &RoaringBitmap,
        mask: &Mask,
        leaves: &ChunkPlanes,
    ) -> Result<Counts> {
        const OPERATION: &str = "count by pipeline";
        let mut counts = Counts::new();
        // Many rows are counted word by word, all of a code at once.
        let by_code = match rows.len() < DENSE_ROWS_MIN {
            true => Vec::new(),
            false => split_by_code(mask, leaves),
        };
        let mut counted = 0;
        for cell in self
            .tables
            .pipeline_rows
            .open()?
            .range(cell_keys(chunk))
            .context(OPERATION)?
        {
            let (key, sealed) = cell.context(OPERATION)?;
            let key = key.value();
            let places = decode_places(Kind::PipelineRows, key, sealed.value())?;
            // The low half of a key is the pipeline.
            let counts = counts.entry(key as u32).or_default();
            if by_code.is_empty() {
                let places = &places & rows;
                counted += places.len();
                places
                    .iter()
                    .for_each(|place| counts[code_of(leaves, place)] += 1);
            }
            for (code, rows) in &by_code {
                let moved = rows.intersection_len(&places);
                counts[*code] += moved as i64;
                counted += moved;
            }
        }
        // Every row is in the bitmap of one pipeline.
        if counted != rows.len() {
            return Err(missing(Kind::PipelineRows, cell_key(chunk, 0)));
        }
        Ok(counts)
    }

    fn count_by_columns(
        &mut self,
        chunk: u64,
        rows: &RoaringBitmap,
        leaves: &ChunkPlanes,
    ) -> Result<Counts> {
        let mut counts = Counts::new();
        let mut places = rows.iter().peekable();
        while let Some(first) = places.peek() {
            let leaf = (first_row(chunk) + u64::from(*first)) / COLUMN_ROWS;
            let columns = self.columns.get(self.tables.columns.open()?, leaf)?;
            let in_leaf =
                |place: &u32| (first_row(chunk) + u64::from(*place)) / COLUMN_ROWS == leaf;
            while let Some(place) = places.next_if(in_leaf) {
                let pipeline = columns.pipeline(u64::from(place));
                counts.entry(pipeline).or_default()[code_of(leaves, place)] += 1;
            }
        }
        Ok(counts)
    }
}

/// How many leaves of the columns have these rows of a chunk.
fn column_leaves(rows: &RoaringBitmap) -> u64 {
    let mut last = None;
    let leaves = rows.iter().map(|place| u64::from(place) / COLUMN_ROWS);
    leaves
        .filter(|leaf| last.replace(*leaf) != Some(*leaf))
        .count() as u64
}

/// Which of these rows have each status code that any has.
fn split_by_code(rows: &Mask, leaves: &ChunkPlanes) -> Vec<(usize, RoaringBitmap)> {
    let of_code = |code| {
        let mut of_code = Mask::empty();
        let words = of_code.leaves_mut().iter_mut().zip(rows.leaves());
        for ((out, rows), planes) in words.zip(leaves) {
            let Some(planes) = planes else { continue };
            let matching = planes.matching(1_u8 << code);
            for ((out, rows), matching) in out.iter_mut().zip(rows).zip(matching) {
                *out = rows & matching;
            }
        }
        (code, of_code.to_bitmap())
    };
    let by_code = (1..=6).map(of_code);
    by_code.filter(|(_, rows)| !rows.is_empty()).collect()
}

/// The status code of a place whose leaf was read; 0, which no sample has, when it was not.
fn code_of(leaves: &ChunkPlanes, place: u32) -> usize {
    let (leaf, row) = (u64::from(place) / STATUS_ROWS, u64::from(place));
    leaves[leaf as usize]
        .as_ref()
        .map_or(0, |planes| usize::from(planes.code(row)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::database::disk::memory::MemoryDisk;
    use crate::database::schema::CHUNK_ROWS;
    use crate::database::{Database, Durability};
    use crate::query::Query;
    use crate::sample::Sample;
    use crate::storage::Storage;

    const CHUNKS: u64 = 2;

    /// Two full chunks and some more, of which some samples are gone and some are of another pipeline than before.
    fn filled(disk: &Arc<MemoryDisk>) -> Database {
        let sample = |row: u64, pipeline: u64| {
            Sample::builder(format!("p{pipeline}"))
                .id(format!("{row:05}"))
                .status(Status::ALL[(row / 5 % 6) as usize])
                .build()
                .unwrap()
        };
        let database = Database::options()
            .durability(Durability::Immediate)
            .cache_bytes(1 << 20)
            .open_disk("memory".into(), Arc::clone(disk) as _)
            .unwrap();
        let rows = 0..CHUNKS * CHUNK_ROWS + 70;
        let samples: Vec<Sample> = rows.clone().map(|row| sample(row, row * row % 7)).collect();
        database.store(&samples).unwrap();
        let others: Vec<Sample> = rows.step_by(11).map(|row| sample(row, row % 3)).collect();
        database.store(&others).unwrap();
        let gone = Query::new().status(Status::Dlq).pipeline("p1");
        database.delete(&gone.into()).unwrap();
        database
    }

    /// The rows of a chunk that have a sample.
    fn live(transaction: &mut Transaction<'_>, chunk: u64) -> RoaringBitmap {
        let is_live = |place: &u32| {
            let row = first_row(chunk) + u64::from(*place);
            let planes = transaction
                .status
                .get(transaction.tables.status.open().unwrap(), row / STATUS_ROWS);
            planes.unwrap().code(row) != 0
        };
        (0..CHUNK_ROWS as u32).filter(is_live).collect()
    }

    fn planes_of(transaction: &mut Transaction<'_>, chunk: u64) -> Vec<Option<Arc<Planes>>> {
        let leaves = chunk * CHUNK_LEAVES as u64..(chunk + 1) * CHUNK_LEAVES as u64;
        let planes = leaves.map(|leaf| {
            let planes = transaction
                .status
                .get(transaction.tables.status.open().unwrap(), leaf);
            Some(Arc::clone(planes.unwrap()))
        });
        planes.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

        #[test]
        fn both_ways_of_counting_say_the_same(
            picks in prop::collection::vec((any::<u64>(), 1_u64..400), 8),
        ) {
            let database = filled(&Arc::default());
            database
                .engine
                .write("test", |transaction, _| {
                    for (number, (seed, step)) in picks.iter().enumerate() {
                        let chunk = number as u64 % CHUNKS;
                        let mixed = |place: u32| (u64::from(place) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                        let rows = live(transaction, chunk);
                        let rows: RoaringBitmap = rows.iter().filter(|place| mixed(*place) % step == 0).collect();
                        let leaves = planes_of(transaction, chunk);
                        let mask = Mask::of_bitmap(&rows);
                        let mut by_bitmaps = transaction.count_by_bitmaps(chunk, &rows, &mask, &leaves)?;
                        by_bitmaps.retain(|_, counts| *counts != [0; 8]);
                        let by_columns = transaction.count_by_columns(chunk, &rows, &leaves)?;
                        assert_eq!(by_bitmaps, by_columns);
                        let counted: i64 = by_columns.values().flatten().sum();
                        assert_eq!(counted, rows.len() as i64);
                        let of_leaf = |place: u32| u64::from(place) / COLUMN_ROWS;
                        let distinct: std::collections::BTreeSet<u64> = rows.iter().map(of_leaf).collect();
                        assert_eq!(column_leaves(&rows), distinct.len() as u64);
                    }
                    Ok(None::<()>)
                })
                .unwrap();
        }
    }

    /// What a transaction moved that came to nothing is seen by nobody, neither by readers nor by the next transaction.
    #[test]
    fn planes_that_are_shared_stay_as_they_are_behind_a_rollback() {
        let disk = Arc::default();
        let database = filled(&disk);
        let facets = || database.facets(&Query::new()).unwrap();
        let codes = || -> Vec<u8> {
            let view = database.engine.view("test").unwrap();
            let rows = 0..CHUNKS * CHUNK_ROWS;
            rows.map(|row| view.code(row).unwrap()).collect()
        };
        let (before, was) = (facets(), codes());
        let move_all = |ends: Result<Option<()>>| {
            database.engine.write("test", |transaction, _| {
                for chunk in 0..CHUNKS {
                    let rows = live(transaction, chunk);
                    transaction.set_status(chunk, &rows, Status::Skipped)?;
                    let planes = planes_of(transaction, chunk);
                    let is_moved = |place| {
                        code_of(&planes, place) == usize::from(status_code(Status::Skipped))
                    };
                    assert!(rows.iter().all(is_moved));
                }
                ends
            })
        };
        assert_eq!(move_all(Ok(None)).unwrap(), None);
        assert_eq!((facets(), codes()), (before.clone(), was.clone()));
        let error = crate::Error::closed("test");
        assert!(move_all(Err(error)).is_err());
        assert_eq!((facets(), codes()), (before.clone(), was.clone()));
        // A panic unwinds through the transaction.
        let panicked = database
            .engine
            .write("test", |transaction, _| -> Result<Option<()>> {
                let rows = live(transaction, 0);
                transaction.delete(0, &rows)?;
                panic!("on purpose")
            });
        assert!(panicked.is_err());
        assert_eq!((facets(), codes()), (before.clone(), was.clone()));
        // And a commit that did not reach the disk, of which nobody knows.
        disk.set_failing(true);
        assert!(move_all(Ok(Some(()))).is_err());
        disk.set_failing(false);
        assert_eq!((facets(), codes()), (before.clone(), was.clone()));
        drop(database);
        let database = Database::options()
            .open_disk("memory".into(), Arc::new(MemoryDisk::of(disk.bytes())) as _)
            .unwrap();
        let some = Query::new().status(Status::Ready).limit(30);
        assert_eq!(
            database
                .set_status(&some.into(), None, Status::Measured)
                .unwrap(),
            30
        );
        assert!(database.check(|_| ()).unwrap().is_sound());
    }
}
