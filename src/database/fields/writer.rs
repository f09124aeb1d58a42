//! [`FieldWriter`]: the indexes of fields within one write transaction.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use redb::{Table, WriteTransaction};
use roaring::RoaringBitmap;

use super::{COMPLETE, FieldIndex, FieldKeys, INDEXES_MAX, Place, read_moved};
use crate::database::clear::remove_all;
use crate::database::failure::Context;
use crate::database::leaves::Leaves;
use crate::database::pipelines::write_places;
use crate::database::record;
use crate::database::runs::{MOVED_ROWS_MAX, RunCache, write_run};
use crate::database::schema::{CHUNK_ROWS, FIELD_ROWS, FIELDS, Kind, SEAL_BYTES};
use crate::database::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::query::{ABSENT, Field, Keys};

const OPERATION: &str = "write an index of a field";

/// The indexes of fields, while rows change.
pub(in crate::database) struct FieldWriter<'t> {
    table: Table<'t, u64, &'static [u8]>,
    indexes: Vec<Indexed>,
    /// Those before the transaction.
    base: Arc<Vec<FieldIndex>>,
    is_changed: bool,
}

/// An index, and what the transaction changes of it.
struct Indexed {
    index: FieldIndex,
    keys: Leaves<FieldKeys>,
    moved: BTreeMap<u64, RoaringBitmap>,
    /// Chunks with a new run.
    new_runs: Vec<u64>,
    is_redefined: bool,
}

impl Indexed {
    /// The next state of an index of a file of so many rows.
    fn of(index: &FieldIndex, rows: u64) -> Self {
        Self {
            index: FieldIndex {
                place: index.place,
                field: index.field.clone(),
                built: index.built,
                runs: index.runs.clone(),
                newest: OnceLock::new(),
            },
            keys: Leaves::based(rows.min(index.built), index.place.keys()),
            moved: BTreeMap::new(),
            new_runs: Vec::new(),
            is_redefined: false,
        }
    }

    /// The key of a sealed record.
    fn key_of(&self, sealed: &[u8]) -> Result<i64> {
        let (record, _seal) = sealed.split_at(sealed.len().saturating_sub(SEAL_BYTES));
        key_of(&self.index.field, record)
    }

    fn make_run(&mut self, table: &mut Table<'_, u64, &'static [u8]>, chunk: u64) -> Result<()> {
        let mut keys = Vec::with_capacity(CHUNK_ROWS as usize);
        let leaves = CHUNK_ROWS / FIELD_ROWS;
        for leaf in chunk * leaves..(chunk + 1) * leaves {
            keys.extend(self.keys.get(table, leaf)?.0);
        }
        write_run(table, self.index.place.runs(), chunk, &keys)?;
        self.new_runs.push(chunk);
        self.moved.insert(chunk, RoaringBitmap::new());
        Ok(())
    }
}

/// The key that a field has in a record without its seal.
pub(in crate::database) fn key_of(field: &Field, record: &[u8]) -> Result<i64> {
    let (data, measurements) = record::payloads(record)?;
    Ok(Keys::of(field.within(data, measurements)?.as_ref()))
}

impl<'t> FieldWriter<'t> {
    /// The indexes at the commit that `view` shows.
    pub(in crate::database) fn begin(
        transaction: &'t WriteTransaction,
        view: &View,
    ) -> Result<Self> {
        let (base, rows) = (view.indexes()?, view.state.next_row);
        Ok(Self {
            table: transaction.open_table(FIELDS).context("open a table")?,
            indexes: base.iter().map(|index| Indexed::of(index, rows)).collect(),
            base: Arc::clone(base),
            is_changed: false,
        })
    }

    /// Gives a new row the keys of its sealed record.
    pub(in crate::database) fn insert(&mut self, row: u64, sealed: &[u8]) -> Result<()> {
        for indexed in &mut self.indexes {
            if indexed.index.is_complete() {
                let key = indexed.key_of(sealed)?;
                indexed
                    .keys
                    .get_mut(&self.table, row / FIELD_ROWS)?
                    .set(row, key);
                self.is_changed = true;
            }
        }
        Ok(())
    }

    /// Gives a row the keys of another sealed record. `is_full` says whether its chunk has a run.
    pub(in crate::database) fn replace(
        &mut self,
        row: u64,
        sealed: &[u8],
        is_full: bool,
    ) -> Result<()> {
        for indexed in &mut self.indexes {
            let (key, leaf) = (indexed.key_of(sealed)?, row / FIELD_ROWS);
            if row >= indexed.index.built || indexed.keys.get(&self.table, leaf)?.key(row) == key {
                continue;
            }
            indexed.keys.get_mut(&self.table, leaf)?.set(row, key);
            self.is_changed = true;
            if is_full {
                let (chunk, in_chunk) = (row / CHUNK_ROWS, (row % CHUNK_ROWS) as u32);
                let moved = match indexed.moved.remove(&chunk) {
                    Some(moved) => moved,
                    None => read_moved(&self.table, indexed.index.place, chunk)?,
                };
                indexed.moved.entry(chunk).or_insert(moved).insert(in_chunk);
            }
        }
        Ok(())
    }

    /// Writes what a chunk gets once, when its last row is given out.
    pub(in crate::database) fn fill_chunk(&mut self, chunk: u64) -> Result<()> {
        for indexed in &mut self.indexes {
            if indexed.index.is_complete() {
                indexed.make_run(&mut self.table, chunk)?;
            }
        }
        Ok(())
    }

    /// Removes what is left of a full chunk without samples.
    pub(in crate::database) fn clear_chunk(&mut self, chunk: u64) -> Result<()> {
        for indexed in &mut self.indexes {
            for keys in indexed.index.place.of_chunk(chunk) {
                remove_all(&mut self.table, keys)?;
            }
            indexed.new_runs.push(chunk);
            self.is_changed = true;
        }
        Ok(())
    }

    /// Adds the rows of one more chunk to the index of a field, a new one unless there is one. Says how many rows it has then,
    /// or `None` when it had them all before.
    pub(in crate::database) fn build(&mut self, field: &Field, view: &View) -> Result<Option<u64>> {
        let rows = view.state.next_row;
        let known = self
            .indexes
            .iter()
            .position(|indexed| indexed.index.field == *field);
        let at = match known {
            Some(at) => at,
            None => self.define(field, rows)?,
        };
        let indexed = &mut self.indexes[at];
        if indexed.index.is_complete() {
            return Ok(None);
        }
        let first = indexed.index.built;
        let end = rows.min((first / CHUNK_ROWS + 1) * CHUNK_ROWS);
        let is_cleared = first < end && view.is_cleared(first / CHUNK_ROWS)?;
        let to_be_added = if is_cleared { end..end } else { first..end };
        for row in to_be_added.clone() {
            let key = match view.code(row)? {
                0 => ABSENT,
                _ => view.with_record(row, |record| key_of(field, record))?,
            };
            let leaf = indexed.keys.get_mut(&self.table, row / FIELD_ROWS)?;
            leaf.set(row, key);
        }
        if !to_be_added.is_empty() && end.is_multiple_of(CHUNK_ROWS) {
            indexed.make_run(&mut self.table, first / CHUNK_ROWS)?;
        }
        indexed.index.built = if end == rows { COMPLETE } else { end };
        indexed.is_redefined = true;
        self.is_changed = true;
        Ok(Some(end))
    }

    fn define(&mut self, field: &Field, rows: u64) -> Result<usize> {
        let numbers = self.indexes.iter().map(|indexed| indexed.index.place.0);
        let number = numbers.max().map_or(0, |number| number + 1);
        if self.indexes.len() >= INDEXES_MAX as usize || number >= 1 << 12 {
            return Err(Error::new(ErrorKind::InvalidArgument, OPERATION)
                .with_message(format!("a file has at most {INDEXES_MAX} indexes")));
        }
        let index = FieldIndex {
            place: Place(number),
            field: field.clone(),
            built: 0,
            runs: (0..rows / CHUNK_ROWS).map(|_| Arc::default()).collect(),
            newest: OnceLock::new(),
        };
        self.indexes.push(Indexed::of(&index, rows));
        Ok(self.indexes.len() - 1)
    }

    /// Removes the index of a field. Says whether there was one.
    pub(in crate::database) fn remove(
        &mut self,
        field: &Field,
        summary: &mut Table<'_, u64, &'static [u8]>,
    ) -> Result<bool> {
        let known = self
            .indexes
            .iter()
            .position(|indexed| indexed.index.field == *field);
        let Some(at) = known else { return Ok(false) };
        let place = self.indexes.remove(at).index.place;
        self.is_changed = true;
        self.table
            .retain_in(place.all(), |_, _| false)
            .context(OPERATION)?;
        let key = Kind::Field.summary_key(place.0.into());
        summary.remove(key).context(OPERATION)?;
        Ok(true)
    }

    /// Writes everything, and says what readers find, in a file of so many full chunks.
    pub(in crate::database) fn finish(
        mut self,
        summary: &mut Table<'_, u64, &'static [u8]>,
        full_chunks: u64,
    ) -> Result<Arc<Vec<FieldIndex>>> {
        if !self.is_changed {
            return Ok(self.base);
        }
        let table = &mut self.table;
        let indexes = self.indexes.into_iter().map(|mut indexed| {
            let is_due = |(chunk, moved): (&u64, &RoaringBitmap)| {
                (moved.len() > MOVED_ROWS_MAX).then_some(*chunk)
            };
            for chunk in indexed.moved.iter().filter_map(is_due).collect::<Vec<_>>() {
                indexed.make_run(table, chunk)?;
            }
            for (chunk, moved) in &indexed.moved {
                let key = indexed.index.place.moved(*chunk);
                write_places(table, Kind::Field, key, moved)?;
            }
            indexed.keys.flush(table)?;
            let mut index = indexed.index;
            if indexed.is_redefined {
                let key = Kind::Field.summary_key(index.place.0.into());
                let definition = index.definition();
                summary
                    .insert(key, definition.as_slice())
                    .context(OPERATION)?;
            }
            index.runs.resize_with(full_chunks as usize, Arc::default);
            for chunk in indexed.new_runs {
                if let Some(run) = index.runs.get_mut(chunk as usize) {
                    *run = Arc::new(RunCache::default());
                }
            }
            Ok(index)
        });
        indexes.collect::<Result<Vec<_>>>().map(Arc::new)
    }
}
