//! Packing: what deletions and replacements left behind goes, without moving any row.
//!
//! Blocks of records are written again without those that nobody needs, and with those that lie in `replaced`;
//! buckets of ids without the pairs of samples that are gone; chunks without samples are cleared (`clear.rs`). No sample, row or index changes, so no journal says
//! anything of it: the log replays the same on a packed file and on one that is not. It goes in transactions of a few
//! megabytes, each durable before the next one. Moving redb's pages together is `engine.rs`; when it is done is up to whoever
//! compacts.

use std::ops::Range;

use redb::ReadableTable;

use super::Database;
use super::blocks::{Block, BlockWriter};
use super::chunk::CHUNK_LEAVES;
use super::failure::Context;
use super::planes::Planes;
use super::schema::{Kind, STATUS_ROWS, missing};
use super::view::View;
use super::write::Transaction;
use crate::error::Result;

const OPERATION: &str = "pack the database";

/// Bytes of records that are packed at once, within one leaf of the planes.
const UNIT_BYTES: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };
/// Bytes of records written in one transaction, about.
const STEP_BYTES: usize = if cfg!(test) { 16 << 10 } else { 8 << 20 };
/// Rows looked at in one transaction.
const STEP_ROWS: u64 = if cfg!(test) { 2_000 } else { 1_000_000 };
/// A block goes on over so many rows without a record; each costs it 4 bytes.
const GAP_ROWS_MAX: u64 = 64;

/// Makes blocks of records that come in order of row.
#[derive(Default)]
struct Packer {
    block: Option<BlockWriter>,
}

impl Packer {
    /// Adds a sealed record, and gives the block before it if that is full.
    fn push(&mut self, row: u64, sealed: &[u8]) -> Option<BlockWriter> {
        let has_room = |block: &BlockWriter| {
            let gap = row - block.end();
            gap <= GAP_ROWS_MAX && block.has_room_behind(gap, sealed.len())
        };
        let full = self.block.take_if(|block| !has_room(block));
        let block = self.block.get_or_insert_with(|| BlockWriter::begin(row));
        while block.end() < row {
            block.push(&[]);
        }
        block.push(sealed);
        full
    }

    /// The last block.
    fn finish(self) -> Option<BlockWriter> {
        self.block
    }
}

/// Some neighbouring blocks of a leaf, packed anew.
#[derive(Default)]
pub(super) struct Unit {
    /// The first rows of the blocks that there are.
    old: Vec<u64>,
    /// Rows whose record lies apart from its block.
    replaced: Vec<u64>,
    pub(super) packed: Vec<BlockWriter>,
    record_bytes: usize,
    /// Whether a block has a record that nobody needs.
    has_dead: bool,
}

impl Unit {
    /// Reads the records of the blocks from a row on, and says where it ends.
    pub(super) fn read(
        &mut self,
        blocks: &impl ReadableTable<u64, &'static [u8]>,
        replaced: &impl ReadableTable<u64, &'static [u8]>,
        planes: &Planes,
        rows: Range<u64>,
    ) -> Result<u64> {
        let mut packer = Packer::default();
        let mut first = rows.start;
        while first < rows.end && self.record_bytes < UNIT_BYTES {
            let end = planes.block_rows(first).end.min(rows.end);
            let guard = match planes.block_of(first) == Some(first) {
                true => blocks.get(first).context(OPERATION)?,
                // Before the first block of a leaf no row has a sample.
                false => None,
            };
            let block = guard.as_ref().map(|guard| Block::new(first, guard.value()));
            let block = block.transpose()?;
            self.old.extend(block.map(|_| first));
            for row in first..end {
                let in_block = block.and_then(|block| block.get(row));
                if planes.code(row) == 0 {
                    self.has_dead |= in_block.is_some();
                    continue;
                }
                let full = if planes.is_replaced(row) {
                    self.replaced.push(row);
                    let sealed = replaced.get(row).context(OPERATION)?;
                    let sealed = sealed.ok_or_else(|| missing(Kind::Row, row))?;
                    self.record_bytes += sealed.value().len();
                    packer.push(row, sealed.value())
                } else {
                    let sealed = in_block.ok_or_else(|| missing(Kind::Row, row))?;
                    self.record_bytes += sealed.len();
                    packer.push(row, sealed)
                };
                self.packed.extend(full);
            }
            first = end;
        }
        self.packed.extend(packer.finish());
        Ok(first)
    }

    /// Whether enough is won by it. Fewer blocks alone are enough when they are half as many: units do not begin where they did
    /// the last time, so there is often one less.
    fn is_due(&self) -> bool {
        let is_sparse = 2 * self.packed.len() <= self.old.len();
        self.has_dead || !self.replaced.is_empty() || is_sparse && !self.old.is_empty()
    }
}

impl Transaction<'_> {
    /// Packs some rows from the one given on, or from the first one of its block, all of one leaf of the planes; says where to go
    /// on, and how many bytes of records were written.
    fn pack(&mut self, row: u64, end: u64) -> Result<(u64, usize)> {
        let leaf = row / STATUS_ROWS;
        let end = end.min((leaf + 1) * STATUS_ROWS);
        let planes = self.status.get(self.tables.status.open()?, leaf)?;
        // Where one transaction ended a block began, until somebody else packed what lies before and behind it.
        let row = planes.block_of(row).unwrap_or(row);
        if planes.in_block(row..end) == end - row {
            return Ok((end, 0));
        }
        let mut unit = Unit::default();
        let next = unit.read(
            self.tables.blocks.open()?,
            self.tables.replaced.open()?,
            planes,
            row..end,
        )?;
        if !unit.is_due() {
            return Ok((next, 0));
        }
        for first in unit.old {
            let removed = self
                .tables
                .blocks
                .open()?
                .remove(first)
                .context(OPERATION)?;
            removed.ok_or_else(|| missing(Kind::Row, first))?;
        }
        for row in &unit.replaced {
            let removed = self
                .tables
                .replaced
                .open()?
                .remove(row)
                .context(OPERATION)?;
            removed.ok_or_else(|| missing(Kind::Row, *row))?;
        }
        let planes = self.status.get_mut(self.tables.status.open()?, leaf)?;
        planes.end_blocks(row..next);
        for row in unit.replaced {
            planes.set_replaced(row, false);
        }
        for block in &mut unit.packed {
            planes.begin_block(block.first());
            block.write(self.tables.blocks.open()?)?;
        }
        self.touch(leaf / CHUNK_LEAVES as u64);
        Ok((next, unit.record_bytes))
    }
}

impl Database {
    /// Packs the whole database, while others read and write.
    pub(super) fn pack(&self) -> Result<()> {
        let mut row = 0_u64;
        let mut is_over = false;
        while !is_over {
            let packed = self.engine.write(OPERATION, |transaction, view| {
                let end = view.state.next_row;
                let stop = row.saturating_add(STEP_ROWS).min(end);
                let mut bytes = 0;
                while row < stop && bytes < STEP_BYTES {
                    let (next, written) = transaction.pack(row, end)?;
                    row = next;
                    bytes += written;
                }
                is_over = row >= end;
                Ok((bytes > 0).then_some(()))
            })?;
            if packed.is_some() {
                self.engine.checkpoint(OPERATION)?;
            }
        }
        self.clear_chunks()?;
        let mut next = Some(0);
        while let Some(from) = next {
            let swept = self.engine.write(OPERATION, |transaction, _| {
                let (behind, removed) = transaction.sweep_ids(from)?;
                next = behind;
                Ok((removed > 0).then_some(()))
            })?;
            if swept.is_some() {
                self.engine.checkpoint(OPERATION)?;
            }
        }
        Ok(())
    }
}

/// How many bytes of records nobody needs: those in blocks whose row has no sample, or has its record elsewhere.
pub(super) fn dead_bytes(view: &View) -> Result<u64> {
    let mut dead = 0;
    let end_row = view.state.next_row;
    let mut row = 0;
    while row < end_row {
        let planes = view.planes(row)?;
        let end = end_row.min(row - row % STATUS_ROWS + STATUS_ROWS);
        let mut first = row;
        while first < end {
            let rows = first..planes.block_rows(first).end.min(end);
            let is_whole = planes.in_block(rows.clone()) == rows.end - rows.start;
            let guard = match is_whole || planes.block_of(first) != Some(first) {
                true => None,
                false => view.tables.blocks()?.get(first).context(OPERATION)?,
            };
            if let Some(guard) = guard {
                let block = Block::new(first, guard.value())?;
                let is_dead = |row: &u64| planes.code(*row) == 0 || planes.is_replaced(*row);
                let records = rows
                    .clone()
                    .filter(is_dead)
                    .filter_map(|row| block.get(row));
                dead += records.map(|record| record.len() as u64).sum::<u64>();
            }
            first = rows.end;
        }
        row = end;
    }
    Ok(dead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Selection;
    use crate::sample::Sample;
    use crate::storage::Storage;
    use crate::{Database, data};

    #[test]
    fn two_that_pack_at_the_same_time_do_not_trip_over_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("samples.redb")).unwrap();
        let id = |number: u64| format!("s{number}");
        let sample = |number| {
            let text = "x".repeat(60);
            let sample = Sample::builder("p").id(id(number));
            sample.data(data! { "text" => text }).build().unwrap()
        };
        database
            .store(&(0..STATUS_ROWS).map(sample).collect::<Vec<_>>())
            .unwrap();
        let delete = |numbers: &mut dyn Iterator<Item = u64>| {
            let ids: Vec<String> = numbers.map(id).collect();
            database.delete(&Selection::ids(ids)).unwrap();
        };
        let pack = |row| {
            let packed = |transaction: &mut Transaction<'_>, view: &std::sync::Arc<View>| {
                transaction.pack(row, view.state.next_row).map(Some)
            };
            database.engine.write(OPERATION, packed).unwrap().unwrap()
        };
        delete(&mut (0..STATUS_ROWS).step_by(2));
        let (stopped, _) = pack(0);
        assert!(stopped < STATUS_ROWS);
        // Another one, which has to do with other records.
        delete(&mut (1..STATUS_ROWS).step_by(6));
        database.pack().unwrap();
        let view = database.engine.view("test").unwrap();
        let block = view.planes(stopped).unwrap().block_of(stopped);
        assert!(block.is_some_and(|first| first < stopped), "{block:?}");
        // The first one goes on.
        assert!(pack(stopped).0 > stopped);
        assert!(database.check(|_| ()).unwrap().is_sound());
        let left = (0..STATUS_ROWS).filter(|number| number % 2 == 1 && number % 6 != 1);
        for number in left {
            assert_eq!(
                database.retrieve(&id(number)).unwrap().unwrap().id(),
                id(number)
            );
        }
    }
}
