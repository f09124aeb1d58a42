//! Where records lie: in *blocks*, many of which are read and written at once.
//!
//! Rows are given out in order, so the records of a batch lie side by side: up to 16 KB of them are one
//! value of the table `blocks`, under the first row. A list of neighbours costs one look-up per block, a
//! load one insert. A block ends where a leaf of the status planes does, and the planes say where each
//! begins. A sample that is stored again leaves its old record where it is, and the new one goes to the
//! table `replaced`, by row, so that a block is not rewritten for each. Records that nobody needs any
//! more stay until half of a block's are such; then it is written without them, and again at half of
//! that, so that each byte is moved a bounded number of times and dead ones are never more than about half.
//!
//! Here is the block itself, and [`BlockWriter`], the one that a transaction is filling. Which records a
//! transaction writes is `write.rs`.

use std::ops::Range;

use redb::{ReadableTable, Table};

use super::failure::{Context, damaged};
use super::schema::{Kind, missing, unseal};
use crate::error::Result;

/// Bytes of a block, unless a single record is longer: what fits into four pages of 4 KiB beside redb's own
/// bytes.
pub(super) const BLOCK_BYTES: usize = if cfg!(test) { 1 << 10 } else { (16 << 10) - 32 };

const NUMBER_BYTES: usize = 4;

/// A block: how many records, where each ends, counted from the first one, and the records, sealed. One
/// that is gone has no bytes.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    first: u64,
    ends: &'a [[u8; NUMBER_BYTES]],
    records: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block that begins with the row `first`.
    pub(super) fn new(first: u64, bytes: &'a [u8]) -> Result<Self> {
        let parse = || {
            let (count, rest) = bytes.split_first_chunk::<NUMBER_BYTES>()?;
            let count = u32::from_le_bytes(*count) as usize;
            let (ends, records) = rest.split_at_checked(count.checked_mul(NUMBER_BYTES)?)?;
            Some(Self {
                first,
                ends: ends.as_chunks().0,
                records,
            })
        };
        parse().ok_or_else(|| {
            damaged("read a record", "a block is cut off").with_subject(format!("row {first}"))
        })
    }

    /// How many rows it has records of, or had.
    pub(super) fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    /// All its records, one behind the other.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.records
    }

    fn range(&self, index: usize) -> Option<Range<usize>> {
        let end = |index: usize| {
            let end = self.ends.get(index)?;
            Some(u32::from_le_bytes(*end) as usize)
        };
        let start = match index.checked_sub(1) {
            None => 0,
            Some(before) => end(before)?,
        };
        Some(start..end(index)?)
    }

    /// The record of a row with its seal, unless it is gone.
    pub(super) fn get(&self, row: u64) -> Option<&'a [u8]> {
        let index = row.checked_sub(self.first)?;
        let range = self.range(usize::try_from(index).ok()?)?;
        self.records.get(range).filter(|sealed| !sealed.is_empty())
    }

    /// The record of a row with its seal.
    pub(super) fn sealed(&self, row: u64) -> Result<&'a [u8]> {
        self.get(row).ok_or_else(|| missing(Kind::Row, row))
    }

    /// The record of a row, its seal checked.
    pub(super) fn record(&self, row: u64) -> Result<&'a [u8]> {
        unseal(Kind::Row, row, self.sealed(row)?)
    }
}

/// The block that new rows go to.
#[derive(Default)]
pub(super) struct BlockWriter {
    first: u64,
    ends: Vec<u32>,
    records: Vec<u8>,
    is_changed: bool,
}

impl BlockWriter {
    /// The block that begins with `first`, to be gone on with at the row `next`; nothing if it is not there, is damaged or
    /// does not reach so far.
    pub(super) fn resume(
        table: &impl ReadableTable<u64, &'static [u8]>,
        first: u64,
        next: u64,
    ) -> Result<Option<Self>> {
        let Some(guard) = table.get(first).context("read a record")? else {
            return Ok(None);
        };
        let Ok(block) = Block::new(first, guard.value()) else {
            return Ok(None);
        };
        let ends = block.ends.iter().map(|end| u32::from_le_bytes(*end));
        let ends: Vec<u32> = ends.collect();
        // Where these are damaged, new records shall not be lost with the old ones.
        let is_whole =
            ends.is_sorted() && ends.last().map_or(0, |end| *end as usize) == block.records.len();
        if first + block.len() != next || !is_whole {
            return Ok(None);
        }
        Ok(Some(Self {
            first,
            ends,
            records: block.records.to_vec(),
            is_changed: false,
        }))
    }

    /// An empty block that begins with `first`.
    pub(super) fn begin(first: u64) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }

    /// Begins a new block with `first`.
    pub(super) fn restart(&mut self, first: u64) {
        self.first = first;
        self.ends.clear();
        self.records.clear();
    }

    /// The row that it begins with.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The row behind the last one.
    pub(super) fn end(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    /// Whether a record of so many bytes fits.
    pub(super) fn has_room(&self, record_bytes: usize) -> bool {
        self.has_room_behind(0, record_bytes)
    }

    /// Whether one does behind so many rows without a record.
    pub(super) fn has_room_behind(&self, rows: u64, record_bytes: usize) -> bool {
        let ends = (self.ends.len() + rows as usize + 2) * NUMBER_BYTES;
        self.ends.is_empty() || ends + self.records.len() + record_bytes <= BLOCK_BYTES
    }

    /// Adds the sealed record of the next row, or no record.
    pub(super) fn push(&mut self, sealed: &[u8]) {
        self.records.extend(sealed);
        // No record is longer than 1 GiB, and only one that is alone is longer than a block.
        self.ends.push(self.records.len() as u32);
        self.is_changed = true;
    }

    /// The record of a row, if it is one of this block.
    pub(super) fn record(&self, row: u64) -> Option<Result<&[u8]>> {
        let index = usize::try_from(row.checked_sub(self.first)?).ok()?;
        let end = *self.ends.get(index)? as usize;
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        Some(unseal(Kind::Row, row, &self.records[start..end]))
    }

    /// Writes the block, if it is not as it was.
    pub(super) fn write(&mut self, table: &mut Table<'_, u64, &'static [u8]>) -> Result<()> {
        if !std::mem::take(&mut self.is_changed) {
            return Ok(());
        }
        let mut value = table
            .insert_reserve(self.first, self.encoded_len())
            .context("write records")?;
        self.encode(value.as_mut());
        Ok(())
    }

    /// Bytes of the block.
    pub(super) fn encoded_len(&self) -> usize {
        NUMBER_BYTES + self.ends.len() * NUMBER_BYTES + self.records.len()
    }

    /// Writes the block to `out`, which has just the room.
    pub(super) fn encode(&self, out: &mut [u8]) {
        let ends_bytes = self.ends.len() * NUMBER_BYTES;
        let (count, rest) = out.split_at_mut(NUMBER_BYTES);
        count.copy_from_slice(&(self.ends.len() as u32).to_le_bytes());
        let (ends, records) = rest.split_at_mut(ends_bytes);
        for (bytes, end) in ends.as_chunks_mut().0.iter_mut().zip(&self.ends) {
            *bytes = end.to_le_bytes();
        }
        records.copy_from_slice(&self.records);
    }
}

/// Writes a block again without the records of rows that `is_needed` does not name.
pub(super) fn rewrite(
    table: &mut Table<'_, u64, &'static [u8]>,
    first: u64,
    mut is_needed: impl FnMut(u64) -> bool,
) -> Result<()> {
    let mut writer = BlockWriter::begin(first);
    {
        let guard = table.get(first).context("rewrite records")?;
        let guard = guard.ok_or_else(|| missing(Kind::Row, first))?;
        let block = Block::new(first, guard.value())?;
        for row in first..first + block.len() {
            writer.push(if is_needed(row) {
                block.sealed(row)?
            } else {
                &[]
            });
        }
    }
    writer.write(table)
}

/// Whether a block for `span` rows is to be rewritten when of its records `before` were needed and
/// now `after` are: at a half, a quarter, an eighth and so on.
pub(super) fn is_due(span: u64, before: u64, after: u64) -> bool {
    let halvings = |needed: u64| (span / needed.max(1)).max(1).ilog2();
    halvings(after) > halvings(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_rewritten_at_each_halving() {
        let due: Vec<u64> = (0..54)
            .rev()
            .filter(|after| is_due(54, after + 1, *after))
            .collect();
        assert_eq!(due, [27, 13, 6, 3, 1]);
        assert!(is_due(54, 54, 5));
        assert!(!is_due(54, 54, 54));
    }

    #[test]
    fn damaged_blocks_are_errors() {
        for bytes in [
            &[][..],
            &[1, 0, 0],
            &[1, 0, 0, 0],
            &[255, 255, 255, 255, 0, 0, 0, 0],
            &[1, 0, 0, 0, 9, 0, 0, 0, 1],
            &[2, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 7],
        ] {
            let read = Block::new(5, bytes).and_then(|block| block.record(6).map(drop));
            assert!(read.is_err(), "{bytes:?}");
        }
    }
}
