//! The end of a transaction: every index is written, and what readers find in memory afterwards is made.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::{Outcome, Transaction};
use crate::database::blocks;
use crate::database::chunk::{CHUNK_LEAVES, Chunk, Head};
use crate::database::failure::Context;
use crate::database::gathered::{Gathered, append_batch};
use crate::database::ids::IdTables;
use crate::database::once::get_or_read;
use crate::database::pipelines::{write_moved, write_rows};
use crate::database::planes::Planes;
use crate::database::runs::MOVED_ROWS_MAX;
use crate::database::schema::{CHUNK_ROWS, STATUS_ROWS};
use crate::database::view::Decoded;
use crate::error::{ErrorKind, Result};

impl Transaction<'_> {
    /// Writes every index, and says what the database is like once this is committed. What is left to be
    /// written is the state, with the mark of the commit.
    pub(in crate::database) fn finish(mut self) -> Result<Outcome> {
        let gathered = self.finish_ids()?;
        self.finish_moved()?;
        self.finish_blocks()?;
        self.status.flush(self.tables.status.open()?)?;
        self.columns.flush(self.tables.columns.open()?)?;
        for ((chunk, pipeline), rows) in &self.pipeline_rows {
            write_rows(self.tables.pipeline_rows.open()?, *chunk, *pipeline, rows)?;
        }
        for (number, entry) in &self.entries {
            entry.write(self.tables.summary.open()?, *number)?;
        }
        for (chunk, head) in &self.heads {
            head.write(self.tables.summary.open()?, *chunk)?;
        }
        let full_chunks = self.state.next_row / CHUNK_ROWS;
        let indexes = match self.fields.take() {
            Some(fields) => fields.finish(self.tables.summary.open()?, full_chunks)?,
            None => Arc::default(),
        };
        let chunks = self.publish_chunks();
        let is_same_chunk = self.state.next_row / CHUNK_ROWS == self.base_newest;
        let keeps_newest = is_same_chunk && !self.newest_changed;
        Ok(Outcome {
            state: self.state,
            decoded: Decoded {
                dictionary: self.dictionary,
                chunks: Arc::new(chunks),
                indexes,
                gathered,
                looked_up: self.base.looked_up,
                newest: self.base.newest.filter(|_| keeps_newest),
                kept_leaves: self.base.kept_leaves,
                token: self.base.token,
                counters: self.base.counters,
            },
            new_pairs: self.new_pairs,
            journal: self.journal,
        })
    }

    /// The pairs that were gathered before, decoded when they are first asked for.
    pub(super) fn gathered(&mut self) -> Result<&Gathered> {
        get_or_read(&self.base.gathered, || {
            Gathered::read(self.tables.ids_gathered.open()?, &self.state)
        })
    }

    /// Adds the new pairs to those that were gathered, and merges some of these. What is gathered from now on is
    /// known unless nobody asked.
    fn finish_ids(&mut self) -> Result<Arc<OnceLock<Gathered>>> {
        if self.new_pairs.is_empty() {
            return Ok(Arc::clone(&self.base.gathered));
        }
        // A replay is not to be slow, and merges are in no journal: the next commits do them.
        let gathered = match self.is_replay {
            true => None,
            false => Some(self.gathered()?.clone()),
        };
        let mut ids = IdTables {
            ids: &mut self.tables.ids,
            ids_gathered: self.tables.ids_gathered.open()?,
        };
        let (status, table) = (&mut self.status, self.tables.status.open()?);
        let mut is_live = |row| Ok(status.get(table, row / STATUS_ROWS)?.code(row) != 0);
        let new_pairs = self.new_pairs.len();
        let advanced = match &gathered {
            Some(gathered) => ids.advance(gathered, &mut self.state, new_pairs, &mut is_live)?,
            None => None,
        };
        append_batch(ids.ids_gathered, &mut self.state, &mut self.new_pairs)?;
        let gathered = advanced.or(gathered);
        Ok(Arc::new(
            gathered.map_or_else(OnceLock::new, OnceLock::from),
        ))
    }

    /// Removes pairs of samples that are gone from the table of ids: some buckets, from the one with the key `from` on. Says
    /// where to go on, and how many went.
    pub(in crate::database) fn sweep_ids(&mut self, from: u64) -> Result<(Option<u64>, u64)> {
        let mut ids = IdTables {
            ids: &mut self.tables.ids,
            ids_gathered: self.tables.ids_gathered.open()?,
        };
        let (status, table) = (&mut self.status, self.tables.status.open()?);
        let mut is_live = |row| Ok(status.get(table, row / STATUS_ROWS)?.code(row) != 0);
        ids.sweep(from, &mut self.state, &mut is_live)
    }

    /// Has the chunk published with the leaves that changed, although none of its counts did.
    pub(in crate::database) fn touch(&mut self, chunk: u64) {
        self.head(chunk);
    }

    /// Writes the last block, and those again of which too little is needed.
    fn finish_blocks(&mut self) -> Result<()> {
        if let Some(mut block) = self.last_block.take() {
            block.write(self.tables.blocks.open()?)?;
        }
        for (first, before) in std::mem::take(&mut self.left_blocks) {
            let planes = self
                .status
                .get(self.tables.status.open()?, first / STATUS_ROWS)?;
            let rows = planes.block_rows(first);
            let span = rows.end.min(self.state.next_row) - first;
            let after = planes.in_block(rows);
            if after == 0 {
                // Should it be gone already, that is what is wanted.
                self.tables
                    .blocks
                    .open()?
                    .remove(first)
                    .context("remove records")?;
            } else if blocks::is_due(span, before, after) {
                let is_needed = |row| planes.code(row) != 0 && !planes.is_replaced(row);
                match blocks::rewrite(self.tables.blocks.open()?, first, is_needed) {
                    // It stays as it is: what of it can be read is wanted, and nothing else needs this.
                    Err(error) if error.kind() == ErrorKind::Damaged => {}
                    rewritten => rewritten?,
                }
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
            write_moved(self.tables.created_moved.open()?, *chunk, rows)?;
        }
        Ok(())
    }

    /// The chunks after the commit; those that it leaves alone are shared.
    fn publish_chunks(&self) -> Vec<Arc<Chunk>> {
        let mut leaves: BTreeMap<u64, Vec<(usize, Arc<Planes>)>> = BTreeMap::new();
        for (leaf, planes) in self.status.changed() {
            let chunk = leaf / CHUNK_LEAVES as u64;
            let in_chunk = leaf as usize % CHUNK_LEAVES;
            let leaves = leaves.entry(chunk).or_default();
            leaves.push((in_chunk, Arc::clone(planes)));
        }
        let mut chunks = (*self.base.chunks).clone();
        for (number, head) in &self.heads {
            let changed = leaves.remove(number).unwrap_or_default();
            let has_new_run = self.new_runs.contains(number);
            let empty = Chunk::new(Head::EMPTY);
            let old = chunks
                .get(*number as usize)
                .map_or(&empty, |chunk| &**chunk);
            let chunk = old.changed(*head, changed, has_new_run);
            match chunks.get_mut(*number as usize) {
                Some(old) => *old = Arc::new(chunk),
                None => chunks.push(Arc::new(chunk)),
            }
        }
        chunks
    }
}
