//! Chunks: what is known of 61,440 rows without looking at them, and which of them a filter lets
//! through.
//!
//! A [`Head`] (least and greatest instant, exact counts per status) decides whether a chunk is wholly
//! inside a time range, wholly outside, or has to be looked at. A [`Chunk`] is a head and what has been
//! decoded of the chunk's indexes; commits that leave a chunk alone share it. Sets of rows are roaring
//! bitmaps of places within the chunk, 0 to 61,439; status planes and time ranges are turned into one
//! by way of a [`Mask`].

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use redb::{ReadableTable, Table};
use roaring::RoaringBitmap;

use super::failure::Context;
use super::leaves;
use super::mask::Mask;
use super::once::get_or_read;
use super::planes::Planes;
use super::runs::{Entry, RunCache};
use super::schema::{CHUNK_ROWS, Kind, STATUS_ROWS, missing, seal, unseal_exact};
use crate::error::Result;
use crate::query::{Order, TimeRange};

const HEAD_BYTES: usize = 16 + 6 * 4 + 4;

/// Status leaves of a chunk.
pub(super) const CHUNK_LEAVES: usize = (CHUNK_ROWS / STATUS_ROWS) as usize;

/// What is known of a chunk at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// No instant of the chunk is less. Deleting does not narrow it.
    pub(super) first: i64,
    /// No instant of the chunk is greater. Deleting does not narrow it.
    pub(super) last: i64,
    /// Exactly how many samples are in each status.
    pub(super) counts: [u32; 6],
    /// How many rows the chunk has in `created_moved`.
    pub(super) moved: u32,
}

/// How a chunk lies to a time range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// No row of the chunk is in the range.
    None,
    /// Some may be.
    Some,
    /// All are.
    All,
}

impl Head {
    pub(super) const EMPTY: Self = Self {
        first: i64::MAX,
        last: i64::MIN,
        counts: [0; 6],
        moved: 0,
    };

    /// Whether nothing but the planes is left of the full chunk: see `clear.rs`.
    pub(super) fn is_cleared(&self) -> bool {
        *self == Self::EMPTY
    }

    /// Whether the full chunk has no sample, and something that is not needed any more.
    pub(super) fn is_to_be_cleared(&self) -> bool {
        self.counts == [0; 6] && !self.is_cleared()
    }

    /// How many samples are in a status whose code is in `codes`.
    pub(super) fn in_statuses(&self, codes: u8) -> u64 {
        (0..6)
            .filter(|status| codes & (2 << status) != 0)
            .map(|status| u64::from(self.counts[status]))
            .sum()
    }

    pub(super) fn overlap(&self, range: TimeRange) -> Overlap {
        let (first, last) = (self.first, self.last);
        if first > last || range.is_empty() || last < range.first || first > range.last {
            Overlap::None
        } else if range.first <= first && last <= range.last {
            Overlap::All
        } else {
            Overlap::Some
        }
    }

    pub(super) fn widen(&mut self, micros: i64) {
        self.first = self.first.min(micros);
        self.last = self.last.max(micros);
    }

    pub(super) fn read(table: &impl ReadableTable<u64, &'static [u8]>, chunk: u64) -> Result<Self> {
        let key = Kind::Chunk.summary_key(chunk);
        let guard = table.get(key).context("read the heads of chunks")?;
        let guard = guard.ok_or_else(|| missing(Kind::Chunk, chunk))?;
        Self::decode(chunk, guard.value())
    }

    fn decode(chunk: u64, sealed: &[u8]) -> Result<Self> {
        let bytes = unseal_exact::<HEAD_BYTES>(Kind::Chunk, chunk, sealed)?;
        let (spans, numbers) = bytes.split_at(16);
        let (spans, numbers) = (spans.as_chunks::<8>().0, numbers.as_chunks::<4>().0);
        Ok(Self {
            first: i64::from_le_bytes(spans[0]),
            last: i64::from_le_bytes(spans[1]),
            counts: std::array::from_fn(|status| u32::from_le_bytes(numbers[status])),
            moved: u32::from_le_bytes(numbers[6]),
        })
    }

    /// Its value in `summary`, sealed.
    pub(super) fn encode(&self, chunk: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 8);
        bytes.extend(self.first.to_le_bytes());
        bytes.extend(self.last.to_le_bytes());
        for count in self.counts {
            bytes.extend(count.to_le_bytes());
        }
        bytes.extend(self.moved.to_le_bytes());
        seal(Kind::Chunk, chunk, &mut bytes);
        bytes
    }

    /// Writes the head of `chunk`.
    pub(super) fn write(
        &self,
        table: &mut Table<'_, u64, &'static [u8]>,
        chunk: u64,
    ) -> Result<()> {
        let bytes = self.encode(chunk);
        table
            .insert(Kind::Chunk.summary_key(chunk), bytes.as_slice())
            .context("write the head of a chunk")?;
        Ok(())
    }
}

/// A chunk at one commit: its head, and what has been decoded of it so far.
pub(super) struct Chunk {
    pub(super) head: Head,
    pub(super) run: Arc<RunCache>,
    planes: [OnceLock<Arc<Planes>>; CHUNK_LEAVES],
    /// The rows that filters meant lately.
    rows: RwLock<VecDeque<(RowsKey, Arc<Rows>)>>,
}

/// A filter, time left aside: status codes and pipeline numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowsKey {
    pub(super) codes: u8,
    pub(super) pipelines: Option<Box<[u32]>>,
}

/// Filters whose rows a chunk keeps, at most 16 KB each.
const KEPT_ROWS_MAX: usize = 4;

/// Rows of a chunk, as a bitmap and, where they are tested one by one, as a mask.
pub(super) struct Rows {
    pub(super) bitmap: RoaringBitmap,
    mask: OnceLock<Mask>,
    /// The oldest and the newest of them, if a list has found it.
    ends: [OnceLock<Entry>; 2],
}

impl Rows {
    pub(super) fn mask(&self) -> &Mask {
        self.mask.get_or_init(|| Mask::of_bitmap(&self.bitmap))
    }

    /// The first of them in an order, if a list has found it.
    pub(super) fn first(&self, order: Order) -> Option<Entry> {
        self.ends[order as usize].get().copied()
    }

    /// Notes the first of them in an order; says whether that is new.
    pub(super) fn note_first(&self, order: Order, first: Entry) -> bool {
        self.ends[order as usize].set(first).is_ok()
    }
}

impl From<RoaringBitmap> for Rows {
    fn from(bitmap: RoaringBitmap) -> Self {
        Self {
            bitmap,
            mask: OnceLock::new(),
            ends: Default::default(),
        }
    }
}

impl Chunk {
    pub(super) fn new(head: Head) -> Self {
        Self {
            head,
            run: Arc::default(),
            planes: Default::default(),
            rows: RwLock::default(),
        }
    }

    /// The chunk after a commit that gave it this head and these status leaves, numbered within the
    /// chunk, and a new time run or not.
    pub(super) fn changed(
        &self,
        head: Head,
        leaves: Vec<(usize, Arc<Planes>)>,
        has_new_run: bool,
    ) -> Self {
        let mut chunk = Self {
            head,
            run: match has_new_run {
                true => Arc::default(),
                false => Arc::clone(&self.run),
            },
            planes: self.planes.clone(),
            rows: RwLock::default(),
        };
        for (leaf, planes) in leaves {
            chunk.planes[leaf] = OnceLock::from(planes);
        }
        chunk
    }

    /// The planes of a status leaf, numbered over the whole table, if they are decoded.
    pub(super) fn decoded_planes(&self, leaf: u64) -> Option<Arc<Planes>> {
        self.planes[leaf as usize % CHUNK_LEAVES].get().cloned()
    }

    /// The planes of a status leaf, numbered over the whole table, of this chunk.
    pub(super) fn planes(
        &self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        leaf: u64,
    ) -> Result<&Planes> {
        let cell = &self.planes[leaf as usize % CHUNK_LEAVES];
        get_or_read(cell, || leaves::read(table, leaf).map(Arc::new)).map(|planes| &**planes)
    }

    /// The rows that a filter means, if they are kept.
    pub(super) fn kept_rows(&self, key: &RowsKey) -> Option<Arc<Rows>> {
        let kept = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let (_, rows) = kept.iter().find(|(kept, _)| kept == key)?;
        Some(Arc::clone(rows))
    }

    /// The rows that a filter means, found by `find` unless they are kept.
    pub(super) fn rows(
        &self,
        key: &RowsKey,
        find: impl FnOnce() -> Result<RoaringBitmap>,
    ) -> Result<Arc<Rows>> {
        if let Some(rows) = self.kept_rows(key) {
            return Ok(rows);
        }
        let rows = Arc::new(Rows::from(find()?));
        let mut kept = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_ROWS_MAX {
            kept.pop_front();
        }
        kept.push_back((key.clone(), Arc::clone(&rows)));
        Ok(rows)
    }
}

/// The chunks of a commit, none decoded yet.
pub(super) fn read_chunks(
    table: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<Vec<Arc<Chunk>>> {
    let mut chunks = Vec::new();
    let entries = table.range(Kind::Chunk.summary_keys());
    for entry in entries.context("read the heads of chunks")? {
        let (key, sealed) = entry.context("read the heads of chunks")?;
        let chunk = chunks.len() as u64;
        if key.value() != Kind::Chunk.summary_key(chunk) {
            return Err(missing(Kind::Chunk, chunk));
        }
        chunks.push(Arc::new(Chunk::new(Head::decode(chunk, sealed.value())?)));
    }
    Ok(chunks)
}
