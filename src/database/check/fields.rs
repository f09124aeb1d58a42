//! The indexes of fields in one chunk: that each key is that of the record, and the runs those of the keys.

use roaring::RoaringBitmap;

use super::chunk::{Rows, Run};
use super::{Check, FaultKind};
use crate::database::fields::{FieldKeys, key_of};
use crate::database::schema::FIELD_ROWS;
use crate::error::Result;

/// The keys of a chunk, by index, and by leaf. `None` where a leaf could not be read.
pub(super) type ChunkKeys = Vec<Vec<Option<FieldKeys>>>;

impl Check<'_> {
    /// Reads the keys of a chunk, of every index that is whole.
    pub(super) fn read_keys(&mut self, rows: &std::ops::Range<u64>) -> Result<ChunkKeys> {
        let mut keys = Vec::new();
        for index in self.view.indexes()?.iter() {
            let mut leaves = Vec::new();
            if index.is_complete() {
                let table = self.view.field_rows()?.table;
                for leaf in rows.start / FIELD_ROWS..rows.end.div_ceil(FIELD_ROWS) {
                    let row = Some(leaf * FIELD_ROWS);
                    let read = || index.keys_of(table, leaf);
                    leaves.push(self.report.read(FaultKind::FieldIndex, row, read)?);
                }
            }
            keys.push(leaves);
        }
        Ok(keys)
    }

    /// Checks the keys of a row against its record.
    pub(super) fn keys(
        &mut self,
        keys: &ChunkKeys,
        start: u64,
        row: u64,
        record: &[u8],
        id: &str,
    ) -> Result<()> {
        for (index, leaves) in self.view.indexes()?.iter().zip(keys) {
            let Some(keys) = leaf_of(leaves, start, row) else {
                continue;
            };
            let read = || key_of(&index.field, record);
            let expected = self.report.read(FaultKind::Record, Some(row), read)?;
            if expected.is_some_and(|expected| expected != keys.key(row)) {
                let message = format!("the key of {} is not that of the record", index.field);
                self.report
                    .note_of(FaultKind::FieldIndex, Some(row), Some(id), message);
            }
        }
        Ok(())
    }

    /// Checks the runs of a full chunk.
    pub(super) fn field_runs(&mut self, rows: &Rows, keys: &ChunkKeys) -> Result<()> {
        for (index, leaves) in self.view.indexes()?.iter().zip(keys) {
            if !index.is_complete() {
                continue;
            }
            let (table, chunk) = (self.view.field_rows()?.table, rows.chunk);
            let start = rows.rows.start;
            let read = || index.moved(table, chunk);
            let moved: Option<RoaringBitmap> =
                self.report.read(FaultKind::FieldIndex, Some(start), read)?;
            let Some(moved) = moved else { continue };
            self.run(
                rows,
                &moved,
                &Run {
                    kind: FaultKind::FieldIndex,
                    table,
                    series: index.runs(),
                    key_of: &|row| leaf_of(leaves, start, row).map(|keys| keys.key(row)),
                },
            )?;
        }
        Ok(())
    }

    /// Checks that the table has nothing that belongs to no index.
    pub(super) fn count_fields(&mut self) -> Result<()> {
        let Some(table) = self.view.field_table() else {
            return Ok(());
        };
        let full = self.view.full_chunks();
        let cleared = (0..full).filter(|chunk| self.is_cleared(*chunk)).count() as u64;
        let mut end = 0;
        for index in self.view.indexes()?.iter() {
            let keys = index.all();
            if end < keys.start {
                self.count_entries("fields", table, end..=keys.start - 1, 0)?;
            }
            if let Some(entries) = index.entries(self.view.state.next_row, cleared) {
                self.count_entries("fields", table, keys.start..=keys.end - 1, entries)?;
            }
            end = keys.end;
        }
        self.count_entries("fields", table, end..=u64::MAX, 0)
    }
}

/// The leaf of a row, in a chunk that begins at `start`.
fn leaf_of(leaves: &[Option<FieldKeys>], start: u64, row: u64) -> Option<&FieldKeys> {
    leaves.get(((row - start) / FIELD_ROWS) as usize)?.as_ref()
}
