//! [`View`]: everything at one commit.
//!
//! All reads go through a view: the tables of one read transaction and what is kept decoded in memory
//! with them. The writer hands its own, already decoded, to the view that it publishes after a commit;
//! a view made from the file alone decodes when it is first asked. Which samples a query means is
//! `filter.rs`, in which order they come `stream.rs`.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use redb::{AccessGuard, ReadTransaction};

use super::blocks::Block;
use super::chunk::{CHUNK_LEAVES, Chunk, read_chunks};
use super::columns::Columns;
use super::failure::{Context, damaged, guard, wrap};
use super::fields::{self, FieldIndex, FieldTable};
use super::gathered::{Gathered, find_in_batches};
use super::ids::find_merged;
use super::kept_blocks::KeptBlocks;
use super::leaves;
use super::metrics::Counters;
use super::once::get_or_read;
use super::pipelines::Dictionary;
use super::planes::Planes;
use super::record;
use super::runs::{KeptLeaves, Newest, RunReader, Series, Timeline};
use super::schema::{
    CHUNK_ROWS, COLUMN_ROWS, Kind, STATUS_ROWS, Tables, definition, missing, unseal,
};
use super::state::{Identity, State, absent, read_identity, read_state};
use super::unreadable::Unreadable;
use super::walks::{Starts, Walks};
use crate::error::Result;
use crate::sample::{Sample, Status};

/// So many ids are looked up in the table of gathered pairs before these are decoded.
const UNDECODED_LOOKUPS_MAX: usize = if cfg!(test) { 2 } else { 8 };

/// One consistent state of the database.
pub(super) struct View {
    pub(super) tables: Tables,
    pub(super) identity: Identity,
    pub(super) state: State,
    dictionary: OnceLock<Arc<Dictionary>>,
    chunks: OnceLock<Arc<Vec<Arc<Chunk>>>>,
    indexes: OnceLock<Arc<Vec<FieldIndex>>>,
    /// The keys of indexed fields.
    field_table: Option<FieldTable>,
    /// Shared with every commit whose pairs are the same.
    gathered: Arc<OnceLock<Gathered>>,
    /// How many ids were looked up while that was not decoded.
    looked_up: Arc<AtomicUsize>,
    newest: OnceLock<Arc<Newest>>,
    /// What an earlier commit had as `newest`, when its rows are unchanged.
    newest_base: Option<Arc<Newest>>,
    kept_leaves: KeptLeaves,
    /// Every view of this opening has it.
    token: Arc<()>,
    kept_blocks: KeptBlocks,
    pub(super) walks: Walks,
    pub(super) starts: Starts,
    counters: Arc<Counters>,
}

/// What the writer keeps decoded from commit to commit.
#[derive(Clone)]
pub(super) struct Decoded {
    pub(super) dictionary: Arc<Dictionary>,
    pub(super) chunks: Arc<Vec<Arc<Chunk>>>,
    pub(super) indexes: Arc<Vec<FieldIndex>>,
    /// The gathered pairs of ids, decoded when they are first asked for.
    pub(super) gathered: Arc<OnceLock<Gathered>>,
    /// How many ids were looked up while they were not.
    pub(super) looked_up: Arc<AtomicUsize>,
    /// The rows of the newest chunk, or the first of them, if they are decoded.
    pub(super) newest: Option<Arc<Newest>>,
    pub(super) kept_leaves: KeptLeaves,
    pub(super) token: Arc<()>,
    pub(super) counters: Arc<Counters>,
}

impl View {
    /// The view of this transaction, decoded when it is asked.
    pub(super) fn read(transaction: ReadTransaction, counters: &Arc<Counters>) -> Result<Self> {
        let meta = transaction
            .open_table(definition::meta)
            .map_err(|error| match error {
                redb::TableError::TableDoesNotExist(_) => absent(),
                other => wrap(other.into(), "open the database"),
            })?;
        let identity = read_identity(&meta)?;
        let field_table = fields::open_table(&transaction)?;
        let tables = Tables::new(transaction);
        let state = read_state(tables.summary()?)?;
        Ok(Self {
            tables,
            identity,
            state,
            dictionary: OnceLock::new(),
            chunks: OnceLock::new(),
            indexes: OnceLock::new(),
            field_table,
            gathered: Arc::default(),
            looked_up: Arc::default(),
            newest: OnceLock::new(),
            newest_base: None,
            kept_leaves: KeptLeaves::default(),
            token: Arc::default(),
            kept_blocks: KeptBlocks::default(),
            walks: Walks::default(),
            starts: Starts::default(),
            counters: Arc::clone(counters),
        })
    }

    /// The view of this transaction, with what its writer has decoded already.
    pub(super) fn published(
        transaction: ReadTransaction,
        identity: Identity,
        state: State,
        decoded: Decoded,
    ) -> Result<Self> {
        let field_table = match decoded.indexes.is_empty() {
            true => None,
            false => fields::open_table(&transaction)?,
        };
        Ok(Self {
            tables: Tables::new(transaction),
            identity,
            state,
            dictionary: OnceLock::from(decoded.dictionary),
            chunks: OnceLock::from(decoded.chunks),
            indexes: OnceLock::from(decoded.indexes),
            field_table,
            gathered: decoded.gathered,
            looked_up: decoded.looked_up,
            newest: OnceLock::new(),
            newest_base: decoded.newest,
            kept_leaves: decoded.kept_leaves,
            token: decoded.token,
            kept_blocks: KeptBlocks::default(),
            walks: Walks::default(),
            starts: Starts::default(),
            counters: decoded.counters,
        })
    }

    pub(super) fn dictionary(&self) -> Result<&Arc<Dictionary>> {
        get_or_read(&self.dictionary, || {
            Dictionary::read(self.tables.summary()?, self.state.next_pipeline).map(Arc::new)
        })
    }

    /// All chunks that hold any row.
    pub(super) fn chunks(&self) -> Result<&Arc<Vec<Arc<Chunk>>>> {
        get_or_read(&self.chunks, || {
            let chunks = read_chunks(self.tables.summary()?)?;
            if chunks.len() as u64 != self.state.next_row.div_ceil(CHUNK_ROWS) {
                return Err(missing(Kind::Chunk, chunks.len() as u64));
            }
            Ok(Arc::new(chunks))
        })
    }

    pub(super) fn chunk(&self, chunk: u64) -> Result<&Chunk> {
        let found = self.chunks()?.get(chunk as usize);
        found
            .map(|chunk| &**chunk)
            .ok_or_else(|| missing(Kind::Chunk, chunk))
    }

    /// What `see` first makes of a row that gathered pairs have for a hash. Decoding them takes as long as some
    /// look-ups in the table, so that is done for whoever looks up more.
    fn find_gathered<T>(
        &self,
        hash: u64,
        mut see: impl FnMut(u64) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let table = || self.tables.ids_gathered();
        let is_decoded = self.gathered.get().is_some();
        if !is_decoded && self.looked_up.fetch_add(1, Relaxed) < UNDECODED_LOOKUPS_MAX {
            return find_in_batches(table()?, &self.state, hash, see);
        }
        let gathered = get_or_read(&self.gathered, || Gathered::read(table()?, &self.state))?;
        let mut rows = Vec::new();
        gathered.find(hash, &mut rows);
        for row in rows {
            if let Some(seen) = see(row)? {
                return Ok(Some(seen));
            }
        }
        Ok(None)
    }

    /// The gathered pairs, if they are decoded.
    #[cfg(test)]
    pub(super) fn gathered(&self) -> Option<&Gathered> {
        self.gathered.get()
    }

    /// How many bytes of decoded leaves of runs are kept by all views.
    #[cfg(test)]
    pub(super) fn kept_leaves(&self) -> usize {
        self.kept_leaves.bytes()
    }

    /// Whether no other view of this opening is alive: neither of a commit before nor of one after.
    pub(super) fn is_only_one(&self) -> bool {
        Arc::strong_count(&self.token) == 1
    }

    /// What the next commit starts from.
    pub(super) fn decoded(&self) -> Result<Decoded> {
        Ok(Decoded {
            dictionary: Arc::clone(self.dictionary()?),
            chunks: Arc::clone(self.chunks()?),
            indexes: Arc::clone(self.indexes()?),
            gathered: Arc::clone(&self.gathered),
            looked_up: Arc::clone(&self.looked_up),
            newest: self.newest.get().or(self.newest_base.as_ref()).cloned(),
            kept_leaves: self.kept_leaves.clone(),
            token: Arc::clone(&self.token),
            counters: Arc::clone(&self.counters),
        })
    }

    /// How many chunks are full; the next one, if it has rows, is the newest.
    pub(super) fn full_chunks(&self) -> u64 {
        self.state.next_row / CHUNK_ROWS
    }

    /// Whether nothing but the planes is left of a chunk.
    pub(super) fn is_cleared(&self, chunk: u64) -> Result<bool> {
        Ok(chunk < self.full_chunks() && self.chunk(chunk)?.head.is_cleared())
    }

    /// The rows of the newest chunk, which has no run and no bitmaps yet.
    pub(super) fn newest(&self) -> Result<&Newest> {
        let newest = get_or_read(&self.newest, || {
            let first_row = self.full_chunks() * CHUNK_ROWS;
            let base = self.newest_base.as_deref();
            let from = first_row + base.map_or(0, |base| base.created.len() as u64);
            let (mut created, mut pipelines) = (Vec::new(), Vec::new());
            let mut row = from;
            while row < self.state.next_row {
                let leaf = row / COLUMN_ROWS;
                let end = self.state.next_row.min((leaf + 1) * COLUMN_ROWS);
                let places = (row % COLUMN_ROWS) as usize..(end - leaf * COLUMN_ROWS) as usize;
                let columns: Columns = leaves::read(self.tables.columns()?, leaf)?;
                created.extend(&columns.created[places.clone()]);
                pipelines.extend(&columns.pipelines[places]);
                row = end;
            }
            Ok(Arc::new(Newest::extend(base, &created, &pipelines)))
        })?;
        Ok(newest)
    }

    /// The indexes of fields.
    pub(super) fn indexes(&self) -> Result<&Arc<Vec<FieldIndex>>> {
        get_or_read(&self.indexes, || {
            fields::read_definitions(self.tables.summary()?, self.full_chunks()).map(Arc::new)
        })
    }

    /// The keys of indexed fields, if the file has ever had such an index.
    pub(super) fn field_table(&self) -> Option<&FieldTable> {
        self.field_table.as_ref()
    }

    /// The rows whose keys the indexes of fields have. There is an index.
    pub(super) fn field_rows(&self) -> Result<fields::Rows<'_>> {
        Ok(fields::Rows {
            table: self.field_table().ok_or_else(|| missing(Kind::Field, 0))?,
            end: self.state.next_row,
            kept_leaves: &self.kept_leaves,
            leaves_read: &self.counters.leaves_read,
        })
    }

    /// The rows of a chunk in order of time.
    pub(super) fn timeline(&self, number: u64) -> Result<Timeline<'_>> {
        if number >= self.full_chunks() {
            return Ok(Timeline::Newest(self.newest()?));
        }
        let cache = &self.chunk(number)?.run;
        Ok(Timeline::Run {
            chunk: number,
            fences: self.run_reader()?.fences(number, cache)?,
            cache,
        })
    }

    pub(super) fn run_reader(&self) -> Result<RunReader<'_>> {
        Ok(RunReader::new(
            self.tables.created_runs()?,
            Series::CREATED,
            &self.kept_leaves,
            &self.counters.leaves_read,
        ))
    }

    /// The status planes of the leaf that a row is in.
    pub(super) fn planes(&self, row: u64) -> Result<&Planes> {
        let leaf = row / STATUS_ROWS;
        let chunk = self.chunk(leaf / CHUNK_LEAVES as u64)?;
        chunk.planes(self.tables.status()?, leaf)
    }

    /// The status code of a row, 0 when it has no sample.
    pub(super) fn code(&self, row: u64) -> Result<u8> {
        Ok(self.planes(row)?.code(row))
    }

    /// Shows `see` the record of a row that has a sample, its seal checked.
    pub(super) fn with_record<T>(
        &self,
        row: u64,
        see: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let planes = self.planes(row)?;
        if planes.is_replaced(row) {
            let sealed = self.tables.replaced()?.get(row).context("read a record")?;
            let sealed = sealed.ok_or_else(|| missing(Kind::Row, row))?;
            return see(unseal(Kind::Row, row, sealed.value())?);
        }
        let first = planes.block_of(row);
        let first = first.ok_or_else(|| missing(Kind::Row, row))?;
        let block = self.block(first)?;
        see(Block::new(first, block.value())?.record(row)?)
    }

    /// The bytes of the block that begins with a row.
    pub(super) fn block(&self, first: u64) -> Result<AccessGuard<'static, &'static [u8]>> {
        let block = self.tables.blocks()?.get(first).context("read a record")?;
        block.ok_or_else(|| missing(Kind::Row, first))
    }

    /// What `see` makes of the same, which is kept for the next who asks.
    pub(super) fn with_kept_block<T>(
        &self,
        first: u64,
        see: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let read = || {
            let block = self.tables.blocks()?.get_owned(first);
            let block = block.context("read a record")?;
            block.ok_or_else(|| missing(Kind::Row, first))
        };
        self.kept_blocks.with(&self.counters, first, read, see)
    }

    /// The row of this id and what `see` makes of its record.
    pub(super) fn locate<T>(
        &self,
        id: &str,
        see: impl Fn(u64, &[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        let hash = self.identity.hash(id);
        let see_if = |row| self.see_if(row, id, &see);
        let find_merged = || {
            let mut rows = Vec::new();
            find_merged(self.tables.ids()?, &self.state, hash, &mut rows)?;
            for row in rows {
                if let Some(found) = see_if(row)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        };
        // No two rows have the same id, so that it does not matter where it is found first. One bucket is read sooner than a run of each
        // batch that gathered.
        let is_decoded = self.gathered.get().is_some();
        let found = match is_decoded {
            true => self.find_gathered(hash, see_if)?,
            false => find_merged()?,
        };
        match (found, is_decoded) {
            (None, true) => find_merged(),
            (None, false) => self.find_gathered(hash, see_if),
            (found, _) => Ok(found),
        }
    }

    /// The row of this id, also when its record cannot be read.
    pub(super) fn row_of(&self, id: &str) -> Result<Option<u64>> {
        let hash = self.identity.hash(id);
        let mut unreadable = Unreadable::default();
        let mut see = |row| {
            let seen = guard("look up an id", || self.see_if(row, id, |row, _| Ok(row)));
            unreadable.pass(row, seen)
        };
        if let Some(row) = self.find_gathered(hash, &mut see)? {
            return Ok(Some(row));
        }
        let mut rows = Vec::new();
        find_merged(self.tables.ids()?, &self.state, hash, &mut rows)?;
        for row in rows {
            if let Some(row) = see(row)? {
                return Ok(Some(row));
            }
        }
        unreadable.row(self.identity)
    }

    /// What `see` makes of the record of a row, if it is of this id.
    fn see_if<T>(
        &self,
        row: u64,
        id: &str,
        see: impl Fn(u64, &[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        // A pair may be of a sample that is gone, or newer than this view. The planes are in memory.
        if row >= self.state.next_row || self.code(row)? == 0 {
            return Ok(None);
        }
        self.with_record(row, |record| match record::header(record)?.id == id {
            true => see(row, record).map(Some),
            false => Ok(None),
        })
    }

    /// The sample of this id.
    pub(super) fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        self.locate(id, |row, record| self.copied(row, self.code(row)?, record))
    }

    /// The sample of a row that has one.
    pub(super) fn sample(&self, row: u64) -> Result<Sample> {
        self.with_record(row, |record| self.copied(row, self.code(row)?, record))
    }

    /// The sample of a row, its status code and its record, which is copied.
    fn copied(&self, row: u64, code: u8, record: &[u8]) -> Result<Sample> {
        let record: Arc<[u8]> = Arc::from(record);
        record::decode(&record, &record, live_status(row, code)?, |number| {
            self.dictionary()?.name(number).cloned()
        })
    }
}

/// The status of a row that has a sample.
pub(super) fn live_status(row: u64, code: u8) -> Result<Status> {
    record::status_of(code).flatten().ok_or_else(|| {
        damaged(
            "read the status of a sample",
            "a row with a record has no status",
        )
        .with_subject(format!("row {row}"))
    })
}
