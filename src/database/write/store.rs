//! Storing samples in a transaction, and doing again what the log says: rows, records, and what the indexes are
//! told of them. Where a record lies is `blocks.rs`.

use std::collections::BTreeMap;

use redb::ReadableTable;
use roaring::RoaringBitmap;

use super::Transaction;
use crate::database::blocks::{Block, BlockWriter};
use crate::database::failure::Context;
use crate::database::filter::first_row;
use crate::database::ids::{ROWS_MAX, find_merged};
use crate::database::journal::{self, Journal, Operation};
use crate::database::record::{self, status_code};
use crate::database::runs::{Series, write_run};
use crate::database::schema::{CHUNK_ROWS, COLUMN_ROWS, Kind, STATUS_ROWS, missing, seal, unseal};
use crate::database::unreadable::Unreadable;
use crate::database::view::live_status;
use crate::error::{Error, ErrorKind, Result};
use crate::instant;
use crate::sample::{Sample, Status};
use crate::storage::StoreReport;

/// What is stored of a sample.
struct Stored<'a> {
    id: &'a str,
    /// Sealed for its row.
    record: &'a [u8],
    pipeline: u32,
    micros: i64,
    status: Status,
}

impl<'a> Stored<'a> {
    /// What the sealed record of a row says.
    fn read(row: u64, record: &'a [u8]) -> Result<Self> {
        let header = record::header(unseal(Kind::Row, row, record)?)?;
        Ok(Self {
            id: header.id,
            record,
            pipeline: header.pipeline,
            micros: header.created_at,
            status: header.status,
        })
    }
}

impl Transaction<'_> {
    /// Stores a batch whose samples were checked.
    pub(in crate::database) fn store(&mut self, batch: &[Sample]) -> Result<StoreReport> {
        let mut report = StoreReport::default();
        let mut record = Vec::new();
        self.new_pairs.reserve(batch.len());
        self.fresh.reserve(batch.len());
        for sample in batch {
            let hash = self.identity.hash(sample.id());
            let is_beyond = *sample.id() > *self.state.greatest_id;
            let found = match is_beyond {
                true => None,
                false => self.locate(sample.id(), hash)?,
            };
            let row = found.map_or(self.state.next_row, |(row, _)| row);
            let pipeline = self.pipeline(sample.pipeline())?;
            record.clear();
            record::encode(sample, pipeline, &mut record)?;
            seal(Kind::Row, row, &mut record);
            let stored = Stored {
                id: sample.id(),
                record: &record,
                pipeline,
                micros: instant::floor_micros(sample.created_at()),
                status: sample.status(),
            };
            match found {
                None => {
                    self.insert(&stored, hash)?;
                    report.inserted += 1;
                }
                Some((row, old_pipeline)) => {
                    self.replace(&stored, row, old_pipeline)?;
                    report.replaced += 1;
                }
            }
        }
        Ok(report)
    }

    /// Does again what a commit did to the state that this transaction began with.
    pub(in crate::database) fn replay(&mut self, journal: &[u8]) -> Result<()> {
        self.is_replay = true;
        self.journal = Journal::off();
        for operation in journal::operations(journal) {
            match operation? {
                Operation::Pipeline(name) => {
                    self.pipeline(name)?;
                }
                Operation::Insert(record) => {
                    let stored = Stored::read(self.state.next_row, record)?;
                    self.insert(&stored, self.identity.hash(stored.id))?;
                }
                Operation::Replace(row, record) => {
                    let stored = Stored::read(row, record)?;
                    self.check_rows(row, 1)?;
                    let columns = self
                        .columns
                        .get(self.tables.columns.open()?, row / COLUMN_ROWS)?;
                    let old_pipeline = columns.pipeline(row);
                    self.replace(&stored, row, old_pipeline)?;
                }
                Operation::Move(chunk, rows, code) => {
                    let end = rows.max().map_or(0, |last| u64::from(last) + 1);
                    let first = chunk.checked_mul(CHUNK_ROWS);
                    self.check_rows(first.ok_or_else(journal::malformed)?, end)?;
                    match record::status_of(code).ok_or_else(journal::malformed)? {
                        Some(to) => self.set_status(chunk, &rows, to)?,
                        None => self.delete(chunk, &rows)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Fails unless so many rows from this one on were given out.
    fn check_rows(&self, first: u64, rows: u64) -> Result<()> {
        match first.checked_add(rows) {
            Some(end) if end <= self.state.next_row && rows <= CHUNK_ROWS => Ok(()),
            _ => Err(journal::malformed()),
        }
    }

    /// The row of an id and the pipeline of its record, or the one that the columns have when the record cannot be read.
    fn locate(&mut self, id: &str, hash: u64) -> Result<Option<(u64, u32)>> {
        let mut rows = Vec::new();
        let mut unreadable = Unreadable::default();
        self.fresh.find(hash, &mut rows);
        self.gathered()?.find(hash, &mut rows);
        for row in rows.drain(..) {
            let found = self.record_of(row, id);
            if let Some(pipeline) = unreadable.pass(row, found)? {
                return Ok(Some((row, pipeline)));
            }
        }
        // Other pairs are not merged before the end of the transaction.
        find_merged(self.tables.ids.open()?, &self.state, hash, &mut rows)?;
        for row in rows {
            let found = self.record_of(row, id);
            if let Some(pipeline) = unreadable.pass(row, found)? {
                return Ok(Some((row, pipeline)));
            }
        }
        let Some(row) = unreadable.row(self.identity)? else {
            return Ok(None);
        };
        let columns = self
            .columns
            .get(self.tables.columns.open()?, row / COLUMN_ROWS)?;
        Ok(Some((row, columns.pipeline(row))))
    }

    /// The pipeline of the record of a row, if it is of this id.
    fn record_of(&mut self, row: u64, id: &str) -> Result<Option<u32>> {
        // A pair may be of a sample that is gone. The planes are looked at in memory.
        let planes = self
            .status
            .get(self.tables.status.open()?, row / STATUS_ROWS)?;
        if planes.code(row) == 0 {
            return Ok(None);
        }
        let pipeline = |record| {
            let header = record::header(record)?;
            Ok((header.id == id).then_some(header.pipeline))
        };
        if planes.is_replaced(row) {
            let sealed = self
                .tables
                .replaced
                .open()?
                .get(row)
                .context("read a record")?;
            let sealed = sealed.ok_or_else(|| missing(Kind::Row, row))?;
            return pipeline(unseal(Kind::Row, row, sealed.value())?);
        }
        if let Some(record) = self.last_block.as_ref().and_then(|block| block.record(row)) {
            return pipeline(record?);
        }
        let first = planes.block_of(row);
        let first = first.ok_or_else(|| missing(Kind::Row, row))?;
        let block = self
            .tables
            .blocks
            .open()?
            .get(first)
            .context("read a record")?;
        let block = block.ok_or_else(|| missing(Kind::Row, row))?;
        pipeline(Block::new(first, block.value())?.record(row)?)
    }

    fn insert(&mut self, stored: &Stored<'_>, hash: u64) -> Result<()> {
        let row = self.state.next_row;
        if row >= ROWS_MAX {
            return Err(Error::new(ErrorKind::Full, "store a sample").with_message(
                "2^40 samples were stored before, and that is all a file can tell apart",
            ));
        }
        self.journal.insert(stored.record);
        self.append_record(row, stored.record)?;
        if let Some(fields) = &mut self.fields {
            fields.insert(row, stored.record)?;
        }
        self.state.next_row += 1;
        let planes = self
            .status
            .get_mut(self.tables.status.open()?, row / STATUS_ROWS)?;
        planes.set_code(row, status_code(stored.status));
        let columns = self
            .columns
            .get_mut(self.tables.columns.open()?, row / COLUMN_ROWS)?;
        columns.set(row, stored.micros, stored.pipeline);
        self.head(row / CHUNK_ROWS).widen(stored.micros);
        self.count(row / CHUNK_ROWS, stored.pipeline, stored.status, 1)?;
        if *stored.id > *self.state.greatest_id {
            self.state.greatest_id.clear();
            self.state.greatest_id.push_str(stored.id);
        }
        self.new_pairs.push((hash, row));
        // No id is looked up in a replay.
        if !self.is_replay {
            self.fresh.add((hash, row));
        }
        if self.state.next_row.is_multiple_of(CHUNK_ROWS) {
            self.fill_chunk(row / CHUNK_ROWS)?;
        }
        Ok(())
    }

    /// Writes the record of the next row to the last block, or to a new one if that has no room.
    fn append_record(&mut self, row: u64, record: &[u8]) -> Result<()> {
        let begins_leaf = row.is_multiple_of(STATUS_ROWS);
        if self.last_block.is_none() && !begins_leaf {
            let planes = self
                .status
                .get(self.tables.status.open()?, row / STATUS_ROWS)?;
            if let Some(first) = planes.block_of(row - 1) {
                self.last_block = BlockWriter::resume(self.tables.blocks.open()?, first, row)?;
            }
        }
        if let Some(block) = &mut self.last_block {
            if !begins_leaf && block.has_room(record.len()) {
                block.push(record);
                return Ok(());
            }
            block.write(self.tables.blocks.open()?)?;
        }
        let planes = self
            .status
            .get_mut(self.tables.status.open()?, row / STATUS_ROWS)?;
        planes.begin_block(row);
        let block = self.last_block.get_or_insert_default();
        block.restart(row);
        block.push(record);
        Ok(())
    }

    /// Gives up the record of a row that has a sample: it is removed, or its block takes note.
    pub(in crate::database) fn leave_record(&mut self, row: u64) -> Result<()> {
        let planes = self
            .status
            .get(self.tables.status.open()?, row / STATUS_ROWS)?;
        if planes.is_replaced(row) {
            // Should it be gone already, that is what is wanted.
            self.tables
                .replaced
                .open()?
                .remove(row)
                .context("remove a record")?;
            let planes = self
                .status
                .get_mut(self.tables.status.open()?, row / STATUS_ROWS)?;
            planes.set_replaced(row, false);
            return Ok(());
        }
        let first = planes.block_of(row);
        let first = first.ok_or_else(|| missing(Kind::Row, row))?;
        // Rows may have been added to the block since it was first left.
        let needed = planes.in_block(planes.block_rows(first));
        let before = self.left_blocks.entry(first).or_default();
        *before = needed.max(*before);
        Ok(())
    }

    fn replace(&mut self, stored: &Stored<'_>, row: u64, old_pipeline: u32) -> Result<()> {
        let chunk = row / CHUNK_ROWS;
        self.journal.replace(row, stored.record);
        let planes = self
            .status
            .get(self.tables.status.open()?, row / STATUS_ROWS)?;
        let old_status = live_status(row, planes.code(row))?;
        if !planes.is_replaced(row) {
            self.leave_record(row)?;
        }
        self.tables
            .replaced
            .open()?
            .insert(row, stored.record)
            .context("write a record")?;
        let planes = self
            .status
            .get_mut(self.tables.status.open()?, row / STATUS_ROWS)?;
        planes.set_replaced(row, true);
        planes.set_code(row, status_code(stored.status));
        let is_full = self.is_full(chunk);
        if let Some(fields) = &mut self.fields {
            fields.replace(row, stored.record, is_full)?;
        }
        self.count(chunk, old_pipeline, old_status, -1)?;
        self.count(chunk, stored.pipeline, stored.status, 1)?;

        let columns = self
            .columns
            .get(self.tables.columns.open()?, row / COLUMN_ROWS)?;
        let has_moved = columns.created_at(row) != stored.micros;
        let has_pipeline_changed = old_pipeline != stored.pipeline;
        if has_moved || has_pipeline_changed {
            let columns = self
                .columns
                .get_mut(self.tables.columns.open()?, row / COLUMN_ROWS)?;
            columns.set(row, stored.micros, stored.pipeline);
            if !self.is_full(chunk) {
                self.newest_changed = true;
            }
        }
        let place = (row % CHUNK_ROWS) as u32;
        if has_moved {
            self.head(chunk).widen(stored.micros);
            if self.is_full(chunk) {
                self.moved_of(chunk)?.insert(place);
            }
        }
        if has_pipeline_changed && self.is_full(chunk) {
            self.rows_of(chunk, old_pipeline)?.remove(place);
            self.rows_of(chunk, stored.pipeline)?.insert(place);
            self.entry(stored.pipeline)?.chunks.insert(chunk as u32);
        }
        Ok(())
    }

    /// Takes note of so many samples whose pairs are left in the index of ids.
    pub(in crate::database) fn count_stale_ids(&mut self, pairs: u64) {
        self.state.stale_ids += pairs;
    }

    /// Writes what a chunk gets once, when its last row is given out: its time run and its bitmaps.
    fn fill_chunk(&mut self, chunk: u64) -> Result<()> {
        self.make_run(chunk)?;
        if let Some(fields) = &mut self.fields {
            fields.fill_chunk(chunk)?;
        }
        let mut rows: BTreeMap<u32, RoaringBitmap> = BTreeMap::new();
        let leaves = CHUNK_ROWS / COLUMN_ROWS;
        for leaf in 0..leaves {
            let columns = self
                .columns
                .get(self.tables.columns.open()?, chunk * leaves + leaf)?;
            for (place, pipeline) in (leaf * COLUMN_ROWS..).zip(columns.pipelines) {
                rows.entry(pipeline).or_default().insert(place as u32);
            }
        }
        for (pipeline, mut rows) in rows {
            rows.optimize();
            self.entry(pipeline)?.chunks.insert(chunk as u32);
            self.pipeline_rows.insert((chunk, pipeline), rows);
        }
        Ok(())
    }

    pub(super) fn make_run(&mut self, chunk: u64) -> Result<()> {
        let mut instants = Vec::with_capacity(CHUNK_ROWS as usize);
        let first = first_row(chunk) / COLUMN_ROWS;
        for leaf in first..first + CHUNK_ROWS / COLUMN_ROWS {
            let columns = self.columns.get(self.tables.columns.open()?, leaf)?;
            instants.extend(columns.created);
        }
        write_run(
            self.tables.created_runs.open()?,
            Series::CREATED,
            chunk,
            &instants,
        )?;
        self.new_runs.push(chunk);
        Ok(())
    }
}
