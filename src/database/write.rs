//! The write transaction: rows and every index of them, in one commit.
//!
//! A [`Transaction`] takes batches, moves and deletions one after the other and writes the indexes when it
//! is finished, so that each leaf is written once however many rows of it change. Nothing is seen by
//! readers, and nothing that is kept in memory changes, before redb's commit has succeeded. How samples are stored is
//! `write/store.rs`, how statuses move `moves.rs`, how it ends `write/finish.rs`; who may write when, and how submissions
//! share a transaction, is `group.rs`.

mod finish;
mod store;

use std::collections::{BTreeMap, HashMap, btree_map};
use std::sync::Arc;

use redb::{ReadableDatabase, WriteTransaction};
use roaring::RoaringBitmap;

use super::blocks::BlockWriter;
use super::chunk::{CHUNK_LEAVES, Head};
use super::columns::Columns;
use super::failure::Context;
use super::fields::FieldWriter;
use super::gathered::{Pair, Pairs};
use super::journal::Journal;
use super::leaves::Leaves;
use super::pipelines::{self, Dictionary, read_moved, read_rows};
use super::planes::Planes;
use super::schema::{CHUNK_ROWS, TablesMut};
use super::state::{Identity, State};
use super::view::{Decoded, View};
use crate::error::Result;
use crate::query::Field;
use crate::sample::Status;

/// One write transaction on every table.
pub(super) struct Transaction<'t> {
    pub(super) tables: TablesMut<'t>,
    transaction: &'t WriteTransaction,
    /// The indexes of fields, if there are any.
    pub(super) fields: Option<FieldWriter<'t>>,
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
    pub(super) new_runs: Vec<u64>,
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

impl Outcome {
    /// The view behind the commit. Takes note of what readers find in memory.
    pub(super) fn publish(self, database: &redb::Database, identity: Identity) -> Result<View> {
        if let Some(gathered) = self.decoded.gathered.get() {
            gathered.add(&self.new_pairs);
        }
        let transaction = database.begin_read().context("read a commit")?;
        View::published(transaction, identity, self.state, self.decoded)
    }
}

impl<'t> Transaction<'t> {
    /// Begins at the commit that `view` shows.
    pub(super) fn begin(transaction: &'t WriteTransaction, view: &View) -> Result<Self> {
        let base = view.decoded()?;
        let chunks = Arc::clone(&base.chunks);
        let known = move |leaf| {
            let chunk = chunks.get((leaf / CHUNK_LEAVES as u64) as usize)?;
            chunk.decoded_planes(leaf)
        };
        Ok(Self {
            tables: TablesMut::new(transaction),
            transaction,
            fields: match view.indexes()?.is_empty() {
                true => None,
                false => Some(FieldWriter::begin(transaction, view)?),
            },
            identity: view.identity,
            state: view.state.clone(),
            base_newest: view.full_chunks(),
            dictionary: Arc::clone(&base.dictionary),
            base,
            status: Leaves::knowing(view.state.next_row, known),
            columns: Leaves::new(view.state.next_row),
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

    fn fields(&mut self, view: &View) -> Result<&mut FieldWriter<'t>> {
        let fields = match self.fields.take() {
            Some(fields) => fields,
            None => FieldWriter::begin(self.transaction, view)?,
        };
        Ok(self.fields.insert(fields))
    }

    /// As [`FieldWriter::build`].
    pub(super) fn build_index(&mut self, field: &Field, view: &View) -> Result<Option<u64>> {
        self.fields(view)?.build(field, view)
    }

    /// As [`FieldWriter::remove`].
    pub(super) fn drop_index(&mut self, field: &Field) -> Result<bool> {
        match &mut self.fields {
            Some(fields) => fields.remove(field, self.tables.summary.open()?),
            None => Ok(false),
        }
    }

    pub(super) fn is_full(&self, chunk: u64) -> bool {
        chunk < self.state.next_row / CHUNK_ROWS
    }

    pub(super) fn head(&mut self, chunk: u64) -> &mut Head {
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

    pub(super) fn entry(&mut self, pipeline: u32) -> Result<&mut pipelines::Entry> {
        match self.entries.entry(pipeline) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => Ok(entry.insert(
                pipelines::Entry::read(self.tables.summary.open()?, pipeline)?,
            )),
        }
    }

    fn moved_of(&mut self, chunk: u64) -> Result<&mut RoaringBitmap> {
        let count = self.head(chunk).moved;
        match self.moved.entry(chunk) {
            btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            btree_map::Entry::Vacant(entry) => {
                Ok(entry.insert(read_moved(self.tables.created_moved.open()?, chunk, count)?))
            }
        }
    }

    fn rows_of(&mut self, chunk: u64, pipeline: u32) -> Result<&mut RoaringBitmap> {
        let is_there = self.entry(pipeline)?.chunks.contains(chunk as u32);
        match self.pipeline_rows.entry((chunk, pipeline)) {
            btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            btree_map::Entry::Vacant(entry) => {
                let rows = match is_there {
                    true => read_rows(self.tables.pipeline_rows.open()?, chunk, pipeline)?,
                    false => RoaringBitmap::new(),
                };
                Ok(entry.insert(rows))
            }
        }
    }
}
