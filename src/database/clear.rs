//! Clearing: of a full chunk without samples nothing is left but its planes.
//!
//! Rows are never given out twice, so where samples come and go, chunks are left behind in which nobody will ever look for anything. Their
//! columns, runs and bitmaps are removed, in every index, and their head becomes [`Head::EMPTY`], which no other full chunk has: it says so,
//! and no time range meets it. No sample, row or commit changes, so no journal says anything of it, as of packing, of
//! which it is a part.

use std::ops::RangeInclusive;

use redb::{ReadableTable, Table};

use super::Database;
use super::chunk::Head;
use super::failure::Context;
use super::header::PAGE_BYTES;
use super::schema::{
    CHUNK_ROWS, COLUMN_ROWS, FIELD_ROWS, RUN_LEAVES, cell_keys, column_keys, run_keys,
};
use super::view::View;
use super::write::Transaction;
use crate::error::Result;

const OPERATION: &str = "pack the database";

/// Chunks cleared in one transaction: each is some hundred leaves.
const STEP_CHUNKS: usize = if cfg!(test) { 2 } else { 16 };

/// The full chunks of a file that are to be cleared.
pub(super) fn to_be_cleared(view: &View) -> Result<Vec<u64>> {
    let full = (0..view.full_chunks()).zip(view.chunks()?.iter());
    let found = full.filter(|(_, chunk)| chunk.head.is_to_be_cleared());
    Ok(found.map(|(number, _)| number).collect())
}

/// How many bytes of leaves clearing removes, about.
pub(super) fn bytes_to_be_cleared(view: &View) -> Result<u64> {
    let indexes = view.indexes()?.iter();
    let indexes = indexes.filter(|index| index.is_complete()).count() as u64;
    let leaves = CHUNK_ROWS / COLUMN_ROWS + RUN_LEAVES as u64;
    let of_index = CHUNK_ROWS / FIELD_ROWS + RUN_LEAVES as u64;
    let chunks = to_be_cleared(view)?.len() as u64;
    Ok(chunks * (leaves + indexes * of_index) * PAGE_BYTES)
}

impl Transaction<'_> {
    /// Clears a full chunk without samples.
    fn clear_chunk(&mut self, chunk: u64) -> Result<()> {
        let mut pipelines = Vec::new();
        let cells = self.tables.pipeline_rows.open()?.range(cell_keys(chunk));
        for cell in cells.context(OPERATION)? {
            let (key, _) = cell.context(OPERATION)?;
            // The low half of a key is the pipeline.
            pipelines.push(key.value() as u32);
        }
        for number in pipelines {
            self.entry(number)?.chunks.remove(chunk as u32);
        }
        let tables = &mut self.tables;
        remove_all(tables.pipeline_rows.open()?, cell_keys(chunk))?;
        remove_all(tables.columns.open()?, column_keys(chunk))?;
        remove_all(tables.created_runs.open()?, run_keys(chunk))?;
        remove_all(tables.created_moved.open()?, chunk..=chunk)?;
        if let Some(fields) = &mut self.fields {
            fields.clear_chunk(chunk)?;
        }
        self.new_runs.push(chunk);
        *self.head(chunk) = Head::EMPTY;
        Ok(())
    }
}

impl Database {
    /// Clears every full chunk without samples, while others read and write.
    pub(super) fn clear_chunks(&self) -> Result<()> {
        loop {
            let cleared = self.engine.write(OPERATION, |transaction, view| {
                let mut chunks = to_be_cleared(view)?;
                chunks.truncate(STEP_CHUNKS);
                for chunk in &chunks {
                    transaction.clear_chunk(*chunk)?;
                }
                Ok((!chunks.is_empty()).then_some(()))
            })?;
            match cleared {
                Some(()) => self.engine.checkpoint(OPERATION)?,
                None => return Ok(()),
            }
        }
    }
}

/// Removes all entries of some keys.
pub(super) fn remove_all(
    table: &mut Table<'_, u64, &'static [u8]>,
    keys: RangeInclusive<u64>,
) -> Result<()> {
    table.retain_in(keys, |_, _| false).context(OPERATION)
}
