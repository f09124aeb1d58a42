//! The write transaction: rows and every index of them, in one commit.
//!
//! A [`Transaction`] takes batches, moves and deletions one after the other and writes the indexes when it
//! is finished, so that each leaf is written once however many rows of it change. Nothing is seen by
//! readers, and nothing that is kept in memory changes, before redb's commit has succeeded. How statuses move is `moves.rs`; who may
//! write when, and how submissions share a transaction, is `group.rs`.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, WriteTransaction};
use roaring::RoaringBitmap;

use super::blocks::{self, Block, BlockWriter};
use super::chunk::{CHUNK_LEAVES, Chunk, Head};
use super::columns::Columns;
use super::failure::Context;
use super::filter::first_row;
use super::gathered::{Gathered, Pair, Pairs, append_runs};
use super::ids::{IdTables, ROWS_MAX};
use super::journal::{self, Journal, Operation};
use super::leaves::Leaves;
use super::pipelines::{self, Dictionary, read_moved, read_rows, write_moved, write_rows};
use super::planes::Planes;
use super::record::{self, status_code};
use super::runs::{MOVED_ROWS_MAX, write_run};
use super::schema::{CHUNK_ROWS, COLUMN_ROWS, Kind, STATUS_ROWS, TablesMut, missing, seal, unseal};
use super::state::{Identity, State};
use super::view::{Decoded, View};
use crate::error::{Error, ErrorKind, Result};
use crate::instant;
use crate::sample::{Sample, Status};
use crate::storage::StoreReport;

/// One write transaction on every table.
pub(super) struct Transaction<'t> {
    pub(super) tables: TablesMut<'t>,
    identity: Identity,
    state: State,
    base: Decoded,
    /// The newest chunk before this transaction.
    base_newest: u64,
    pub(super) dictionary: Arc<Dictionary>,
    pub(super) status: Leaves<Planes>,
    pub(super) columns: Leaves<Columns>,
    /// The block that new rows go to, from the first insert on.
    last_block: Option<BlockWriter>,
    /// Blocks with records that are needed no more, and how many were before.
    left_blocks: BTreeMap<u64, u64>,
    heads: BTreeMap<u64, Head>,
    entries: HashMap<u32, pipelines::Entry>,
    moved: BTreeMap<u64, RoaringBitmap>,
    pub(super) pipeline_rows: BTreeMap<(u64, u32), RoaringBitmap>,
    /// Chunks whose time run this transaction makes.
    new_runs: Vec<u64>,
    new_pairs: Vec<Pair>,
    /// The same pairs, to be found by hash.
    fresh: Pairs,
    /// Whether a row that the newest chunk had before has changed.
    newest_changed: bool,
    /// Whether this does again what the log says.
    is_replay: bool,
    /// What was done, to be done again after a crash.
    pub(super) journal: Journal,
}

/// What a finished transaction makes of the state, to be published once it is committed.
pub(super) struct Outcome {
    pub(super) state: State,
    decoded: Decoded,
    new_pairs: Vec<Pair>,
    pub(super) journal: Journal,
}

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

impl Outcome {
    /// The view behind the commit. Takes note of what readers find in memory.
    pub(super) fn publish(self, database: &redb::Database, identity: Identity) -> Result<View> {
        if let Some(gathered) = &self.decoded.gathered {
            gathered.add(&self.new_pairs);
        }
        let transaction = database.begin_read().context("read a commit")?;
        View::published(&transaction, identity, self.state, self.decoded)
    }
}

impl<'t> Transaction<'t> {
    /// Opens every table, at the commit that `view` shows.
    pub(super) fn begin(transaction: &'t WriteTransaction, view: &View) -> Result<Self> {
        let base = view.decoded()?;
        Ok(Self {
            tables: TablesMut::open(transaction)?,
            identity: view.identity,
            state: view.state.clone(),
            base_newest: view.full_chunks(),
            dictionary: Arc::clone(&base.dictionary),
            base,
            status: Leaves::new(),
            columns: Leaves::new(),
            last_block: None,
            left_blocks: BTreeMap::new(),
            heads: BTreeMap::new(),
            entries: HashMap::new(),
            moved: BTreeMap::new(),
            pipeline_rows: BTreeMap::new(),
            new_runs: Vec::new(),
            new_pairs: Vec::new(),
            fresh: Pairs::default(),
            newest_changed: false,
            is_replay: false,
            journal: Journal::default(),
        })
    }

    /// Stores a batch whose samples were checked.
    pub(super) fn store(&mut self, batch: &[Sample]) -> Result<StoreReport> {
        let mut report = StoreReport::default();
        let mut record = Vec::new();
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
    pub(super) fn replay(&mut self, journal: &[u8]) -> Result<()> {
        self.is_replay = true;
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
                    let columns = self.columns.get(&self.tables.columns, row / COLUMN_ROWS)?;
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

    /// The row of an id and the pipeline of its record.
    fn locate(&mut self, id: &str, hash: u64) -> Result<Option<(u64, u32)>> {
        let mut rows = Vec::new();
        self.fresh.find(hash, &mut rows);
        self.gathered()?.find(hash, &mut rows);
        for row in rows.drain(..) {
            if let Some(pipeline) = self.record_of(row, id)? {
                return Ok(Some((row, pipeline)));
            }
        }
        // Other pairs are not merged before the end of the transaction.
        self.state
            .id_buckets
            .find(&self.tables.ids, hash, &mut rows)?;
        for row in rows {
            if let Some(pipeline) = self.record_of(row, id)? {
                return Ok(Some((row, pipeline)));
            }
        }
        Ok(None)
    }

    /// The pipeline of the record of a row, if it is of this id.
    fn record_of(&mut self, row: u64, id: &str) -> Result<Option<u32>> {
        // A pair may be of a sample that is gone. The planes are looked at in memory.
        let planes = self.status.get(&self.tables.status, row / STATUS_ROWS)?;
        if planes.code(row) == 0 {
            return Ok(None);
        }
        let pipeline = |record| {
            let header = record::header(record)?;
            Ok((header.id == id).then_some(header.pipeline))
        };
        if planes.is_replaced(row) {
            let sealed = self.tables.replaced.get(row).context("read a record")?;
            let sealed = sealed.ok_or_else(|| missing(Kind::Row, row))?;
            return pipeline(unseal(Kind::Row, row, sealed.value())?);
        }
        if let Some(record) = self.last_block.as_ref().and_then(|block| block.record(row)) {
            return pipeline(record?);
        }
        let first = planes.block_of(row);
        let first = first.ok_or_else(|| missing(Kind::Row, row))?;
        let block = self.tables.blocks.get(first).context("read a record")?;
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
        self.state.next_row += 1;
        let planes = self
            .status
            .get_mut(&self.tables.status, row / STATUS_ROWS)?;
        planes.set_code(row, status_code(stored.status));
        let columns = self
            .columns
            .get_mut(&self.tables.columns, row / COLUMN_ROWS)?;
        columns.set(row, stored.micros, stored.pipeline);
        self.head(row / CHUNK_ROWS).widen(stored.micros);
        self.count(row / CHUNK_ROWS, stored.pipeline, stored.status, 1)?;
        if *stored.id > *self.state.greatest_id {
            self.state.greatest_id.clear();
            self.state.greatest_id.push_str(stored.id);
        }
        self.new_pairs.push((hash, row));
        self.fresh.add((hash, row));
        if self.state.next_row.is_multiple_of(CHUNK_ROWS) {
            self.fill_chunk(row / CHUNK_ROWS)?;
        }
        Ok(())
    }

    /// Writes the record of the next row to the last block, or to a new one if that has no room.
    fn append_record(&mut self, row: u64, record: &[u8]) -> Result<()> {
        let begins_leaf = row.is_multiple_of(STATUS_ROWS);
        if self.last_block.is_none() && !begins_leaf {
            let planes = self.status.get(&self.tables.status, row / STATUS_ROWS)?;
            if let Some(first) = planes.block_of(row - 1) {
                self.last_block = BlockWriter::resume(&self.tables.blocks, first, row)?;
            }
        }
        if let Some(block) = &mut self.last_block {
            if !begins_leaf && block.has_room(record.len()) {
                block.push(record);
                return Ok(());
            }
            block.write(&mut self.tables.blocks)?;
        }
        let planes = self
            .status
            .get_mut(&self.tables.status, row / STATUS_ROWS)?;
        planes.begin_block(row);
        self.last_block.insert(BlockWriter::begin(row)).push(record);
        Ok(())
    }

    /// Gives up the record of a row that has a sample: it is removed, or its block takes note.
    pub(super) fn leave_record(&mut self, row: u64) -> Result<()> {
        let planes = self.status.get(&self.tables.status, row / STATUS_ROWS)?;
        if planes.is_replaced(row) {
            let removed = self
                .tables
                .replaced
                .remove(row)
                .context("remove a record")?;
            removed.ok_or_else(|| missing(Kind::Row, row))?;
            let planes = self
                .status
                .get_mut(&self.tables.status, row / STATUS_ROWS)?;
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
        let planes = self.status.get(&self.tables.status, row / STATUS_ROWS)?;
        let old_status = super::view::live_status(row, planes.code(row))?;
        if !planes.is_replaced(row) {
            self.leave_record(row)?;
        }
        self.tables
            .replaced
            .insert(row, stored.record)
            .context("write a record")?;
        let planes = self
            .status
            .get_mut(&self.tables.status, row / STATUS_ROWS)?;
        planes.set_replaced(row, true);
        planes.set_code(row, status_code(stored.status));
        self.count(chunk, old_pipeline, old_status, -1)?;
        self.count(chunk, stored.pipeline, stored.status, 1)?;

        let columns = self.columns.get(&self.tables.columns, row / COLUMN_ROWS)?;
        let has_moved = columns.created_at(row) != stored.micros;
        let has_pipeline_changed = old_pipeline != stored.pipeline;
        if has_moved || has_pipeline_changed {
            let columns = self
                .columns
                .get_mut(&self.tables.columns, row / COLUMN_ROWS)?;
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
    pub(super) fn count_stale_ids(&mut self, pairs: u64) {
        self.state.stale_ids += pairs;
    }

    pub(super) fn is_full(&self, chunk: u64) -> bool {
        chunk < self.state.next_row / CHUNK_ROWS
    }

    fn head(&mut self, chunk: u64) -> &mut Head {
        let base = &self.base.chunks;
        self.heads.entry(chunk).or_insert_with(|| {
            base.get(chunk as usize)
                .map_or(Head::EMPTY, |chunk| chunk.head)
        })
    }

    /// Adds to every counter of a pipeline and a status.
    pub(super) fn count(
        &mut self,
        chunk: u64,
        pipeline: u32,
        status: Status,
        by: i64,
    ) -> Result<()> {
        let at = status.index();
        let head = self.head(chunk);
        head.counts[at] = head.counts[at].wrapping_add_signed(by as i32);
        self.state.totals[at] = self.state.totals[at].wrapping_add_signed(by);
        let entry = self.entry(pipeline)?;
        entry.counts[at] = entry.counts[at].wrapping_add_signed(by);
        Ok(())
    }

    /// The number of a pipeline, a new one unless it is known.
    fn pipeline(&mut self, name: &str) -> Result<u32> {
        if let Some(number) = self.dictionary.number(name) {
            return Ok(number);
        }
        self.journal.pipeline(name);
        let name: Arc<str> = name.into();
        let number = Arc::make_mut(&mut self.dictionary).add(Arc::clone(&name));
        self.state.next_pipeline = u64::from(number) + 1;
        self.entries.insert(number, pipelines::Entry::new(name));
        Ok(number)
    }

    fn entry(&mut self, pipeline: u32) -> Result<&mut pipelines::Entry> {
        match self.entries.entry(pipeline) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                Ok(entry.insert(pipelines::Entry::read(&self.tables.summary, pipeline)?))
            }
        }
    }

    fn moved_of(&mut self, chunk: u64) -> Result<&mut RoaringBitmap> {
        match self.moved.entry(chunk) {
            btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            btree_map::Entry::Vacant(entry) => {
                Ok(entry.insert(read_moved(&self.tables.created_moved, chunk)?))
            }
        }
    }

    fn rows_of(&mut self, chunk: u64, pipeline: u32) -> Result<&mut RoaringBitmap> {
        match self.pipeline_rows.entry((chunk, pipeline)) {
            btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            btree_map::Entry::Vacant(entry) => {
                let rows = read_rows(&self.tables.pipeline_rows, chunk, pipeline)?;
                Ok(entry.insert(rows))
            }
        }
    }

    /// Writes what a chunk gets once, when its last row is given out: its time run and its bitmaps.
    fn fill_chunk(&mut self, chunk: u64) -> Result<()> {
        self.make_run(chunk)?;
        let mut rows: BTreeMap<u32, RoaringBitmap> = BTreeMap::new();
        let leaves = CHUNK_ROWS / COLUMN_ROWS;
        for leaf in 0..leaves {
            let columns = self
                .columns
                .get(&self.tables.columns, chunk * leaves + leaf)?;
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

    fn make_run(&mut self, chunk: u64) -> Result<()> {
        let mut instants = Vec::with_capacity(CHUNK_ROWS as usize);
        let first = first_row(chunk) / COLUMN_ROWS;
        for leaf in first..first + CHUNK_ROWS / COLUMN_ROWS {
            let columns = self.columns.get(&self.tables.columns, leaf)?;
            instants.extend(columns.created);
        }
        write_run(&mut self.tables.created_runs, chunk, &instants)?;
        self.new_runs.push(chunk);
        Ok(())
    }

    /// Writes every index, and says what the database is like once this is committed. What is left to be
    /// written is the state, with the mark of the commit.
    pub(super) fn finish(mut self) -> Result<Outcome> {
        let gathered = self.finish_ids()?;
        self.finish_moved()?;
        self.finish_blocks()?;
        self.status.flush(&mut self.tables.status)?;
        self.columns.flush(&mut self.tables.columns)?;
        for ((chunk, pipeline), rows) in &self.pipeline_rows {
            write_rows(&mut self.tables.pipeline_rows, *chunk, *pipeline, rows)?;
        }
        for (number, entry) in &self.entries {
            entry.write(&mut self.tables.summary, *number)?;
        }
        for (chunk, head) in &self.heads {
            head.write(&mut self.tables.summary, *chunk)?;
        }
        let chunks = self.publish_chunks();
        let is_same_chunk = self.state.next_row / CHUNK_ROWS == self.base_newest;
        let keeps_newest = is_same_chunk && !self.newest_changed;
        Ok(Outcome {
            state: self.state,
            decoded: Decoded {
                dictionary: self.dictionary,
                chunks: Arc::new(chunks),
                gathered,
                looked_up: self.base.looked_up,
                newest: self.base.newest.filter(|_| keeps_newest),
                kept_leaves: self.base.kept_leaves,
            },
            new_pairs: self.new_pairs,
            journal: self.journal,
        })
    }

    /// The pairs that were gathered before, decoded when they are first asked for.
    fn gathered(&mut self) -> Result<&Gathered> {
        match &mut self.base.gathered {
            Some(gathered) => Ok(gathered),
            none => {
                let read = Gathered::read(&self.tables.ids_gathered, &self.state)?;
                Ok(none.insert(read))
            }
        }
    }

    /// Adds the new pairs to those that were gathered, and merges some of these. What is gathered from now on is
    /// known unless nobody asked.
    fn finish_ids(&mut self) -> Result<Option<Gathered>> {
        if self.new_pairs.is_empty() {
            return Ok(self.base.gathered.take());
        }
        // A replay is not to be slow, and merges are in no journal: the next commits do them.
        let gathered = match self.is_replay {
            true => None,
            false => Some(self.gathered()?.clone()),
        };
        let mut ids = IdTables {
            ids: &mut self.tables.ids,
            ids_gathered: &mut self.tables.ids_gathered,
        };
        let (status, table) = (&mut self.status, &self.tables.status);
        let mut is_live = |row| Ok(status.get(table, row / STATUS_ROWS)?.code(row) != 0);
        let new_pairs = self.new_pairs.len();
        let advanced = match &gathered {
            Some(gathered) => ids.advance(gathered, &mut self.state, new_pairs, &mut is_live)?,
            None => None,
        };
        append_runs(ids.ids_gathered, &mut self.state, &mut self.new_pairs)?;
        Ok(advanced.or(gathered))
    }

    /// Writes the last block, and those again of which too little is needed.
    fn finish_blocks(&mut self) -> Result<()> {
        if let Some(mut block) = self.last_block.take() {
            block.write(&mut self.tables.blocks)?;
        }
        for (first, before) in std::mem::take(&mut self.left_blocks) {
            let planes = self.status.get(&self.tables.status, first / STATUS_ROWS)?;
            let rows = planes.block_rows(first);
            let span = rows.end.min(self.state.next_row) - first;
            let after = planes.in_block(rows);
            if after == 0 {
                let removed = self.tables.blocks.remove(first).context("remove records")?;
                removed.ok_or_else(|| missing(Kind::Row, first))?;
            } else if blocks::is_due(span, before, after) {
                let is_needed = |row| planes.code(row) != 0 && !planes.is_replaced(row);
                blocks::rewrite(&mut self.tables.blocks, first, is_needed)?;
            }
        }
        Ok(())
    }

    fn finish_moved(&mut self) -> Result<()> {
        let mut moved = std::mem::take(&mut self.moved);
        for (chunk, rows) in &mut moved {
            if rows.len() > MOVED_ROWS_MAX {
                self.make_run(*chunk)?;
                rows.clear();
            }
            // At most 61,440.
            self.head(*chunk).moved = rows.len() as u32;
            write_moved(&mut self.tables.created_moved, *chunk, rows)?;
        }
        Ok(())
    }

    /// The chunks after the commit; those that it leaves alone are shared.
    fn publish_chunks(&self) -> Vec<Arc<Chunk>> {
        let mut leaves: BTreeMap<u64, Vec<(usize, Planes)>> = BTreeMap::new();
        for (leaf, planes) in self.status.changed() {
            let chunk = leaf / CHUNK_LEAVES as u64;
            let in_chunk = leaf as usize % CHUNK_LEAVES;
            let leaves = leaves.entry(chunk).or_default();
            leaves.push((in_chunk, planes.clone()));
        }
        let mut chunks = (*self.base.chunks).clone();
        for (number, head) in &self.heads {
            let changed = leaves.remove(number).unwrap_or_default();
            let has_new_run = self.new_runs.contains(number);
            let empty = Chunk::new(Head::EMPTY);
            let old = chunks
                .get(*number as usize)
                .map_or(&empty, |chunk| &**chunk);
            let chunk = old.changed(*head, &changed, has_new_run);
            match chunks.get_mut(*number as usize) {
                Some(old) => *old = Arc::new(chunk),
                None => chunks.push(Arc::new(chunk)),
            }
        }
        chunks
    }
}
