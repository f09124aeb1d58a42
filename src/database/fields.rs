//! Indexes of fields: [`FieldIndex`], which rows have a value in a range of keys.
//!
//! A declared index keeps for each row the key of one field (see `query/condition/bounds.rs`), just as `created_at` is
//! kept: in leaves addressed by row, and for each full chunk in a run in order of key with the rows that have
//! moved since (`runs.rs`); the newest chunk is sorted in memory when it is asked. All of it is in the table `fields`, which only a
//! file with indexes has. An index narrows down the rows that `stream.rs` merges, and conditions are still asked of each record:
//! keys are rounded, and several values may have one. How keys are written is `fields/writer.rs`, how an index is made
//! `fields/create.rs`.

mod create;
mod writer;

use std::ops::{Range, RangeInclusive};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};
use roaring::RoaringBitmap;

pub use create::IndexStats;
pub(super) use create::index_stats;
pub(super) use writer::{FieldWriter, key_of};

use super::failure::{Context, damaged, wrap};
use super::leaves::{self, Leaf};
use super::mask::Mask;
use super::once::get_or_read;
use super::pipelines::decode_places;
use super::runs::{KeptLeaves, Newest, RunCache, RunReader, Series, Timeline};
use super::schema::{
    CHUNK_ROWS, FIELD_ROWS, FIELDS, Kind, LEAF_BYTES, RUN_LEAVES, missing, run_chunk, seal, unseal,
};
use crate::error::Result;
use crate::query::{ABSENT, Field, Keys};

const ROWS: usize = FIELD_ROWS as usize;

/// Indexes of one file.
const INDEXES_MAX: u32 = 64;

/// `built` of an index that has every row.
const COMPLETE: u64 = u64::MAX;

/// The keys of the 480 rows of a leaf. Rows without a sample have any.
#[derive(Clone)]
pub(super) struct FieldKeys([i64; ROWS]);

impl Leaf for FieldKeys {
    const KIND: Kind = Kind::Field;
    const ROWS: u64 = FIELD_ROWS;
    const EMPTY: Self = Self([ABSENT; ROWS]);

    fn decode(bytes: &[u8; LEAF_BYTES]) -> Self {
        let keys = bytes.as_chunks().0;
        Self(std::array::from_fn(|row| i64::from_le_bytes(keys[row])))
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.0
            .iter()
            .for_each(|key| bytes.extend(key.to_le_bytes()));
    }
}

impl FieldKeys {
    pub(super) fn key(&self, row: u64) -> i64 {
        self.0[(row % FIELD_ROWS) as usize]
    }

    fn set(&mut self, row: u64, key: i64) {
        self.0[(row % FIELD_ROWS) as usize] = key;
    }
}

/// Where in the table `fields` an index has what: its number, three kinds of entries, 2^40 of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32);

impl Place {
    fn base(self, kind: u64) -> u64 {
        (u64::from(self.0) << 44) | (kind << 40)
    }

    /// Row / 480 → keys.
    fn keys(self) -> u64 {
        self.base(0)
    }

    /// The runs of full chunks.
    fn runs(self) -> Series {
        Series {
            kind: Kind::Field,
            base: self.base(1),
        }
    }

    /// Full chunk → rows whose key is another than in the run.
    fn moved(self, chunk: u64) -> u64 {
        self.base(2) + chunk
    }

    fn all(self) -> Range<u64> {
        self.base(0)..Self(self.0 + 1).base(0)
    }

    /// The keys of all entries of a full chunk.
    fn of_chunk(self, chunk: u64) -> [RangeInclusive<u64>; 3] {
        let leaves = CHUNK_ROWS / FIELD_ROWS;
        let first = self.keys() + chunk * leaves;
        let runs = self.runs();
        [
            first..=first + leaves - 1,
            runs.key(chunk, 0)..=runs.key(chunk, u8::MAX.into()),
            self.moved(chunk)..=self.moved(chunk),
        ]
    }
}

/// The chunk that an entry of the table `fields` is of.
pub(super) fn chunk_of(key: u64) -> u64 {
    let offset = key & ((1 << 40) - 1);
    match (key >> 40) & 0xf {
        0 => offset / (CHUNK_ROWS / FIELD_ROWS),
        1 => run_chunk(offset),
        _ => offset,
    }
}

/// An index at one commit: its definition, and what has been decoded of it.
pub(super) struct FieldIndex {
    place: Place,
    pub(super) field: Field,
    /// Rows that it has, whole chunks of them, or [`COMPLETE`].
    built: u64,
    /// By full chunk.
    runs: Vec<Arc<RunCache>>,
    /// The keys of the newest chunk.
    newest: OnceLock<Newest>,
}

/// The table at one commit.
pub(super) type FieldTable = ReadOnlyTable<u64, &'static [u8]>;

/// The table, if the file has one.
pub(super) fn open_table(transaction: &ReadTransaction) -> Result<Option<FieldTable>> {
    match transaction.open_table(FIELDS) {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(other) => Err(wrap(other.into(), "open a table")),
    }
}

/// The indexes that a file has, by number.
pub(super) fn read_definitions(
    summary: &impl ReadableTable<u64, &'static [u8]>,
    full_chunks: u64,
) -> Result<Vec<FieldIndex>> {
    const OPERATION: &str = "read the indexes of fields";
    let entries = summary.range(Kind::Field.summary_keys());
    let entries = entries.context(OPERATION)?.map(|entry| {
        let (key, sealed) = entry.context(OPERATION)?;
        let number = key.value() ^ Kind::Field.summary_key(0);
        let bytes = unseal(Kind::Field, number, sealed.value())?;
        let wrong = || damaged(OPERATION, "a definition is malformed");
        let (built, field) = bytes.split_first_chunk().ok_or_else(wrong)?;
        let field = std::str::from_utf8(field).map_err(|_| wrong())?;
        Ok(FieldIndex {
            place: Place(u32::try_from(number).map_err(|_| wrong())?),
            field: field.parse().map_err(|_| wrong())?,
            built: u64::from_le_bytes(*built),
            runs: (0..full_chunks).map(|_| Arc::default()).collect(),
            newest: OnceLock::new(),
        })
    });
    entries.collect()
}

impl FieldIndex {
    /// Whether it has every row, so that it can be asked.
    pub(super) fn is_complete(&self) -> bool {
        self.built == COMPLETE
    }

    /// The share of rows that it has, 0 to 1.
    pub(super) fn progress(&self, rows: u64) -> f64 {
        match self.is_complete() {
            true => 1.0,
            false => self.built as f64 / rows.max(1) as f64,
        }
    }

    fn definition(&self) -> Vec<u8> {
        let mut bytes = self.built.to_le_bytes().to_vec();
        bytes.extend(self.field.to_string().as_bytes());
        seal(Kind::Field, u64::from(self.place.0), &mut bytes);
        bytes
    }

    /// Where its entries are in the table.
    pub(super) fn all(&self) -> Range<u64> {
        self.place.all()
    }

    pub(super) fn runs(&self) -> Series {
        self.place.runs()
    }

    /// How many entries it has in a file of so many rows, of whose chunks so many are cleared, if it is whole.
    pub(super) fn entries(&self, rows: u64, cleared: u64) -> Option<u64> {
        let full_chunks = rows / CHUNK_ROWS - cleared;
        let rows = rows - cleared * CHUNK_ROWS;
        // A run has a leaf more, its fences, and there is an entry of moved rows.
        let entries = rows.div_ceil(FIELD_ROWS) + full_chunks * (RUN_LEAVES as u64 + 2);
        self.is_complete().then_some(entries)
    }

    /// The rows of a full chunk that have moved.
    pub(super) fn moved(&self, table: &FieldTable, chunk: u64) -> Result<RoaringBitmap> {
        read_moved(table, self.place, chunk)
    }

    /// A leaf of keys.
    pub(super) fn keys_of(&self, table: &FieldTable, leaf: u64) -> Result<FieldKeys> {
        leaves::read(table, self.place.keys() + leaf)
    }

    fn timeline(&self, rows: &Rows<'_>, chunk: u64) -> Result<Timeline<'_>> {
        match self.runs.get(chunk as usize) {
            Some(cache) => Ok(Timeline::Run {
                chunk,
                fences: rows.reader(self).fences(chunk, cache)?,
                cache,
            }),
            None => get_or_read(&self.newest, || {
                let first = chunk * CHUNK_ROWS;
                let mut keys = Vec::with_capacity((rows.end - first) as usize);
                for leaf in first / FIELD_ROWS..rows.end.div_ceil(FIELD_ROWS) {
                    let of_leaf = self.keys_of(rows.table, leaf)?.0;
                    let wanted = rows.end - leaf * FIELD_ROWS;
                    keys.extend(&of_leaf[..ROWS.min(wanted as usize)]);
                }
                Ok(Newest::extend(None, &keys, &[]))
            })
            .map(Timeline::Newest),
        }
    }

    /// The positions in the timeline of a chunk that have these keys.
    fn positions(
        &self,
        rows: &Rows<'_>,
        timeline: &Timeline<'_>,
        keys: &Keys,
    ) -> Result<Vec<Range<usize>>> {
        let mut reader = rows.reader(self);
        let ranges = keys.ranges().iter().map(|keys| {
            let start = timeline.position(&mut reader, (*keys.start(), 0))?;
            let end = match keys.end().checked_add(1) {
                Some(end) => timeline.position(&mut reader, (end, 0))?,
                None => timeline.len(),
            };
            Ok(start..end.max(start))
        });
        ranges.collect()
    }

    /// The rows of a chunk whose key is among these, or `None` when that is more than half of them, so that looking at each
    /// costs about as much.
    pub(super) fn rows(
        &self,
        rows: &Rows<'_>,
        chunk: u64,
        keys: &Keys,
    ) -> Result<Option<RoaringBitmap>> {
        let timeline = self.timeline(rows, chunk)?;
        let positions = self.positions(rows, &timeline, keys)?;
        let count: usize = positions.iter().map(ExactSizeIterator::len).sum();
        if 2 * count > timeline.len() {
            return Ok(None);
        }
        let mut places = Mask::empty();
        let mut reader = rows.reader(self);
        for positions in positions {
            timeline.places(&mut reader, positions, |place| places.insert(place))?;
        }
        let mut places = places.to_bitmap();
        if (chunk as usize) < self.runs.len() {
            let moved = self.moved(rows.table, chunk)?;
            places -= &moved;
            for place in moved {
                let row = chunk * CHUNK_ROWS + u64::from(place);
                let key = self.keys_of(rows.table, row / FIELD_ROWS)?.key(row);
                if keys.ranges().iter().any(|range| range.contains(&key)) {
                    places.insert(place);
                }
            }
        }
        Ok(Some(places))
    }
}

/// The rows whose keys an index has, at one commit.
pub(super) struct Rows<'a> {
    pub(super) table: &'a FieldTable,
    /// Rows that were given out.
    pub(super) end: u64,
    pub(super) kept_leaves: &'a KeptLeaves,
    /// How many were read.
    pub(super) leaves_read: &'a AtomicU64,
}

impl<'a> Rows<'a> {
    fn reader(&self, index: &FieldIndex) -> RunReader<'a> {
        RunReader::new(
            self.table,
            index.place.runs(),
            self.kept_leaves,
            self.leaves_read,
        )
    }
}

/// The rows of a full chunk that have moved. There is an entry for each, so that none goes unnoticed.
fn read_moved(
    table: &impl ReadableTable<u64, &'static [u8]>,
    place: Place,
    chunk: u64,
) -> Result<RoaringBitmap> {
    let key = place.moved(chunk);
    let guard = table.get(key).context("read an index of a field")?;
    let guard = guard.ok_or_else(|| missing(Kind::Field, key))?;
    decode_places(Kind::Field, key, guard.value())
}
