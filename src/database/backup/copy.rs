//! [`Copy`]: one view, written into another file value by value.

use redb::{ReadOnlyTable, ReadableTable, Table};

use super::hashes::{Hashes, TableHash};
use super::{OPERATION, Told};
use crate::database::chunk::Head;
use crate::database::clear::to_be_cleared;
use crate::database::failure::Context;
use crate::database::fields;
use crate::database::gathered::dead_pairs;
use crate::database::ids::swept_bucket;
use crate::database::leaves::Leaf;
use crate::database::log::Mark;
use crate::database::pack::Unit;
use crate::database::pipelines::Entry;
use crate::database::planes::Planes;
use crate::database::schema::{
    Kind, STATUS_ROWS, TablesMut, cell_chunk, column_chunk, missing, run_chunk, seal, unseal,
    unseal_exact,
};
use crate::database::state::STATE;
use crate::database::view::View;
use crate::error::Result;

/// A table of the copy while it is written.
struct Target<'a, 't> {
    table: &'a mut Table<'t, u64, &'static [u8]>,
    hash: TableHash,
}

impl<'a, 't> Target<'a, 't> {
    fn new(name: &'static str, table: &'a mut Table<'t, u64, &'static [u8]>) -> Self {
        let hash = TableHash::new(name);
        Self { table, hash }
    }

    fn insert(&mut self, key: u64, value: &[u8]) -> Result<()> {
        self.table.insert(key, value).context(OPERATION)?;
        self.hash.add(&key.to_le_bytes(), value);
        Ok(())
    }
}

/// What is written of a view.
pub(super) struct Copy<'a, 't> {
    pub(super) view: &'a View,
    pub(super) tables: TablesMut<'t>,
    /// Of a file that has indexes of fields.
    pub(super) fields: Option<Table<'t, u64, &'static [u8]>>,
    pub(super) hashes: Hashes,
}

impl Copy<'_, '_> {
    pub(super) fn all(&mut self, told: &mut Told<'_>) -> Result<()> {
        let (view, from) = (self.view, &self.view.tables);
        self.records(told)?;
        // Full chunks without samples are left behind, but for their planes.
        let cleared = to_be_cleared(view)?;
        let keeps = |chunk: u64| cleared.binary_search(&chunk).is_err();
        let mut is_live = |row| Ok(view.code(row)? != 0);
        let mut state = view.state.clone();
        state.stale_ids = dead_pairs(from.ids_gathered()?, &mut is_live)?;
        (state.swept_ids, state.merged_ids) = (0, 0);
        state.mark = Mark {
            number: state.mark.number,
            ..Mark::default()
        };

        let to = &mut self.tables;
        type ChunkOf = fn(u64) -> u64;
        for (of, from, to, chunk_of) in [
            (
                ("columns", Kind::Columns),
                from.columns()?,
                to.columns.open()?,
                column_chunk as ChunkOf,
            ),
            (
                ("created_runs", Kind::CreatedRun),
                from.created_runs()?,
                to.created_runs.open()?,
                run_chunk,
            ),
            (
                ("created_moved", Kind::CreatedMoved),
                from.created_moved()?,
                to.created_moved.open()?,
                |chunk| chunk,
            ),
            (
                ("pipeline_rows", Kind::PipelineRows),
                from.pipeline_rows()?,
                to.pipeline_rows.open()?,
                cell_chunk,
            ),
        ] {
            let is_kept = |key| keeps(chunk_of(key));
            self.hashes.push(&verbatim(of, from, to, is_kept, told)?);
        }
        let mut target = Target::new("ids", to.ids.open()?);
        let mut bucket = Vec::new();
        for entry in from.ids()?.iter().context(OPERATION)? {
            let (key, sealed) = entry.context(OPERATION)?;
            let pairs = swept_bucket(key.value(), sealed.value(), &mut is_live, &mut bucket)?;
            // Also without pairs: a bucket that is not there is damage.
            target.insert(key.value(), &bucket)?;
            state.merged_ids += pairs;
            told.entry()?;
        }
        self.hashes.push(&target.hash);
        self.hashes.push(&verbatim(
            ("ids_gathered", Kind::IdRun),
            from.ids_gathered()?,
            to.ids_gathered.open()?,
            |_| true,
            told,
        )?);
        let mut target = Target::new("summary", to.summary.open()?);
        for entry in from.summary()?.iter().context(OPERATION)? {
            let (key, sealed) = entry.context(OPERATION)?;
            let key = key.value();
            if key == Kind::State.summary_key(0) {
                target.insert(key, &state.encode())?;
                continue;
            }
            let is_of = |kind: &Kind| kind.summary_keys().contains(&key);
            let kinds = [Kind::Pipeline, Kind::Field];
            let kind = kinds.into_iter().find(is_of).unwrap_or(Kind::Chunk);
            let number = key ^ kind.summary_key(0);
            unseal(kind, number, sealed.value())?;
            match kind {
                Kind::Chunk if !keeps(number) => target.insert(key, &Head::EMPTY.encode(number))?,
                Kind::Pipeline if !cleared.is_empty() => {
                    // A number of a pipeline has 32 bits.
                    let mut entry = Entry::decode(number as u32, sealed.value())?;
                    cleared.iter().for_each(|chunk| {
                        entry.chunks.remove(*chunk as u32);
                    });
                    target.insert(key, &entry.encode(number as u32)?)?;
                }
                _ => target.insert(key, sealed.value())?,
            }
            told.entry()?;
        }
        self.hashes.push(&target.hash);
        if let (Some(from), Some(to)) = (view.field_table(), &mut self.fields) {
            let of = ("fields", Kind::Field);
            let is_kept = |key| keeps(fields::chunk_of(key));
            self.hashes.push(&verbatim(of, from, to, is_kept, told)?);
        }
        let mut meta = TableHash::new("meta");
        let state = state.encode();
        for entry in from.meta()?.iter().context(OPERATION)? {
            let (key, value) = entry.context(OPERATION)?;
            let copied = match key.value() {
                STATE => &state,
                _ => unseal(Kind::Meta, 0, value.value()).map(|_| value.value())?,
            };
            to.meta
                .open()?
                .insert(key.value(), copied)
                .context(OPERATION)?;
            meta.add(key.value().as_bytes(), copied);
        }
        self.hashes.push(&meta);
        Ok(())
    }

    /// Writes every record, packed, and the planes that say where it is.
    fn records(&mut self, told: &mut Told<'_>) -> Result<()> {
        let from = &self.view.tables;
        let mut blocks = Target::new("blocks", self.tables.blocks.open()?);
        let mut status = Target::new("status", self.tables.status.open()?);
        let mut bytes = Vec::new();
        for entry in from.status()?.iter().context(OPERATION)? {
            let (leaf, sealed) = entry.context(OPERATION)?;
            let leaf = leaf.value();
            let old = Planes::decode(unseal_exact(Kind::Status, leaf, sealed.value())?);
            let rows = leaf * STATUS_ROWS..((leaf + 1) * STATUS_ROWS).min(self.view.state.next_row);
            let mut new = old.clone();
            new.end_blocks(rows.clone());
            rows.clone().for_each(|row| new.set_replaced(row, false));
            let mut row = rows.start;
            while row < rows.end {
                let mut unit = Unit::default();
                row = unit.read(from.blocks()?, from.replaced()?, &old, row..rows.end)?;
                for block in &unit.packed {
                    let is_live = |row: &u64| old.code(*row) != 0;
                    for row in (block.first()..block.end()).filter(is_live) {
                        block.record(row).ok_or_else(|| missing(Kind::Row, row))??;
                    }
                    new.begin_block(block.first());
                    bytes.resize(block.encoded_len(), 0);
                    block.encode(&mut bytes);
                    blocks.insert(block.first(), &bytes)?;
                    told.entry()?;
                }
            }
            bytes.clear();
            new.encode(&mut bytes);
            seal(Kind::Status, leaf, &mut bytes);
            status.insert(leaf, &bytes)?;
            told.entry()?;
        }
        let (blocks, status) = (blocks.hash, status.hash);
        self.hashes.push(&blocks);
        self.hashes.push(&status);
        self.hashes.push(&TableHash::new("replaced"));
        Ok(())
    }
}

/// Copies the entries of a table as they are, every value's seal checked.
fn verbatim(
    (name, kind): (&'static str, Kind),
    from: &ReadOnlyTable<u64, &'static [u8]>,
    to: &mut Table<'_, u64, &'static [u8]>,
    is_kept: impl Fn(u64) -> bool,
    told: &mut Told<'_>,
) -> Result<TableHash> {
    let mut target = Target::new(name, to);
    for entry in from.iter().context(OPERATION)? {
        let (key, sealed) = entry.context(OPERATION)?;
        if is_kept(key.value()) {
            unseal(kind, key.value(), sealed.value())?;
            target.insert(key.value(), sealed.value())?;
        }
        told.entry()?;
    }
    Ok(target.hash)
}
