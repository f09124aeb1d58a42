//! The status planes, and the columns of `created_at` and of pipeline numbers.
//!
//! Each table is one of leaves of a fixed size, addressed by row; this file knows where in a leaf a row
//! stands. [`Leaves`] gathers the changes of one transaction, so that each leaf is read and written
//! once. What the columns mean for a query is `chunk.rs`.

use std::collections::{BTreeMap, btree_map};

use redb::{ReadableTable, Table};

use super::failure::Context;
use super::schema::{
    COLUMN_ROWS, Kind, LEAF_BYTES, SEAL_BYTES, STATUS_ROWS, missing, seal, unseal_exact,
};
use crate::error::Result;

/// Words of one plane of a status leaf.
pub(super) const PLANE_WORDS: usize = STATUS_ROWS as usize / 64;

/// The status planes of 10,240 rows: bit `i` of plane `p` is bit `p` of the status code of row `i`.
/// On disk plane 0, plane 1, plane 2, each as 160 little-endian words.
#[derive(Clone)]
pub(super) struct Planes {
    words: [[u64; PLANE_WORDS]; 3],
}

impl Planes {
    pub(super) fn read(table: &impl ReadableTable<u64, &'static [u8]>, leaf: u64) -> Result<Self> {
        let guard = table.get(leaf).context("read the status of a sample")?;
        let guard = guard.ok_or_else(|| missing(Kind::Status, leaf))?;
        let bytes = unseal_exact::<LEAF_BYTES>(Kind::Status, leaf, guard.value())?;
        Ok(Self::from_bytes(bytes))
    }

    pub(super) fn from_bytes(bytes: &[u8; LEAF_BYTES]) -> Self {
        let mut words = [[0; PLANE_WORDS]; 3];
        let (chunks, _) = bytes.as_chunks::<8>();
        for (word, bytes) in words.as_flattened_mut().iter_mut().zip(chunks) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self { words }
    }

    /// The status code of the row at this place of the leaf.
    pub(super) fn code(&self, row: u64) -> u8 {
        let (word, bit) = plane_place(row);
        (0..3)
            .map(|plane| (((self.words[plane][word] >> bit) & 1) as u8) << plane)
            .sum()
    }

    /// For each word, which rows have one of the codes of `codes` (bit `c` for code `c`).
    pub(super) fn matching(&self, codes: u8) -> [u64; PLANE_WORDS] {
        let [zero, one, two] = &self.words;
        let mut out = [0; PLANE_WORDS];
        if codes == ANY_STATUS {
            for (word, out) in out.iter_mut().enumerate() {
                *out = zero[word] | one[word] | two[word];
            }
            return out;
        }
        for code in (1..=6_u8).filter(|code| codes & (1 << code) != 0) {
            let flip = |plane: u8| {
                if code & (1 << plane) == 0 {
                    u64::MAX
                } else {
                    0
                }
            };
            let (flip_0, flip_1, flip_2) = (flip(0), flip(1), flip(2));
            for (word, out) in out.iter_mut().enumerate() {
                *out |= (zero[word] ^ flip_0) & (one[word] ^ flip_1) & (two[word] ^ flip_2);
            }
        }
        out
    }
}

/// Every code that stands for a sample.
pub(super) const ANY_STATUS: u8 = 0b0111_1110;

fn plane_place(row: u64) -> (usize, u32) {
    let place = row % STATUS_ROWS;
    ((place / 64) as usize, (place % 64) as u32)
}

/// `created_at` and pipeline number of the 320 rows of a leaf. Rows that were never used have 0. On disk
/// the instants, then the numbers.
pub(super) struct Columns {
    pub(super) created: [i64; COLUMN_ROWS as usize],
    pub(super) pipelines: [u32; COLUMN_ROWS as usize],
}

impl Columns {
    pub(super) fn read(
        table: &impl ReadableTable<u64, &'static [u8]>,
        leaf: u64,
    ) -> Result<Box<Self>> {
        let guard = table.get(leaf).context("read the columns")?;
        let guard = guard.ok_or_else(|| missing(Kind::Columns, leaf))?;
        let bytes = unseal_exact::<LEAF_BYTES>(Kind::Columns, leaf, guard.value())?;
        Ok(Box::new(Self::from_bytes(bytes)))
    }

    fn from_bytes(bytes: &[u8; LEAF_BYTES]) -> Self {
        let (created, pipelines) = bytes.split_at(NUMBERS);
        let (created, pipelines) = (created.as_chunks().0, pipelines.as_chunks().0);
        Self {
            created: std::array::from_fn(|row| i64::from_le_bytes(created[row])),
            pipelines: std::array::from_fn(|row| u32::from_le_bytes(pipelines[row])),
        }
    }
}

/// Where the pipeline numbers of a leaf begin.
const NUMBERS: usize = COLUMN_ROWS as usize * 8;

/// The leaves of one table that a transaction has touched.
pub(super) struct Leaves {
    kind: Kind,
    rows_per_leaf: u64,
    loaded: BTreeMap<u64, Leaf>,
}

struct Leaf {
    bytes: Box<[u8; LEAF_BYTES]>,
    changed: bool,
}

impl Leaves {
    pub(super) fn new(kind: Kind, rows_per_leaf: u64) -> Self {
        Self {
            kind,
            rows_per_leaf,
            loaded: BTreeMap::new(),
        }
    }

    fn leaf(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        key: u64,
    ) -> Result<&mut Leaf> {
        match self.loaded.entry(key) {
            btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            btree_map::Entry::Vacant(entry) => {
                let bytes = match table.get(key).context("read an index leaf")? {
                    Some(guard) => Box::new(*unseal_exact(self.kind, key, guard.value())?),
                    None => Box::new([0; LEAF_BYTES]),
                };
                let changed = false;
                Ok(entry.insert(Leaf { bytes, changed }))
            }
        }
    }

    /// The status code of a row, in the table `status`.
    pub(super) fn code(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        row: u64,
    ) -> Result<u8> {
        let leaf = self.leaf(table, row / self.rows_per_leaf)?;
        Ok(code_in(&leaf.bytes, row))
    }

    /// Sets the status code of a row, in the table `status`.
    pub(super) fn set_code(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        row: u64,
        code: u8,
    ) -> Result<()> {
        let leaf = self.leaf(table, row / self.rows_per_leaf)?;
        let (at, bit) = plane_byte(row);
        for plane in 0..3 {
            let byte = &mut leaf.bytes[plane * PLANE_BYTES + at];
            *byte = (*byte & !(1 << bit)) | (((code >> plane) & 1) << bit);
        }
        leaf.changed = true;
        Ok(())
    }

    /// The status planes of a leaf of the table `status`.
    pub(super) fn planes(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        key: u64,
    ) -> Result<Planes> {
        Ok(Planes::from_bytes(&self.leaf(table, key)?.bytes))
    }

    /// Sets the status code of every row of a leaf whose bit is set in `rows`.
    pub(super) fn set_codes(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        key: u64,
        rows: &[u64; PLANE_WORDS],
        code: u8,
    ) -> Result<()> {
        let leaf = self.leaf(table, key)?;
        for (plane, bytes) in leaf.bytes.chunks_exact_mut(PLANE_BYTES).enumerate() {
            let is_set = code & (1 << plane) != 0;
            for (word, rows) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(rows) {
                let old = u64::from_le_bytes(*word);
                let new = if is_set { old | rows } else { old & !rows };
                *word = new.to_le_bytes();
            }
        }
        leaf.changed = true;
        Ok(())
    }

    /// A leaf of the table `columns`.
    pub(super) fn columns(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        key: u64,
    ) -> Result<Columns> {
        Ok(Columns::from_bytes(&self.leaf(table, key)?.bytes))
    }

    /// The instant of a row, in the table `columns`.
    pub(super) fn created(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        row: u64,
    ) -> Result<i64> {
        let at = (row % COLUMN_ROWS) as usize;
        let leaf = self.leaf(table, row / COLUMN_ROWS)?;
        Ok(i64::from_le_bytes(leaf.bytes[..NUMBERS].as_chunks().0[at]))
    }

    /// Sets the instant of a row, in the table `columns`.
    pub(super) fn set_created(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        row: u64,
        micros: i64,
    ) -> Result<()> {
        let at = (row % COLUMN_ROWS) as usize;
        let leaf = self.leaf(table, row / COLUMN_ROWS)?;
        leaf.bytes[..NUMBERS].as_chunks_mut().0[at] = micros.to_le_bytes();
        leaf.changed = true;
        Ok(())
    }

    /// The pipeline number of a row, in the table `columns`.
    pub(super) fn pipeline(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        row: u64,
    ) -> Result<u32> {
        let at = (row % COLUMN_ROWS) as usize;
        let leaf = self.leaf(table, row / COLUMN_ROWS)?;
        Ok(u32::from_le_bytes(leaf.bytes[NUMBERS..].as_chunks().0[at]))
    }

    /// Sets the pipeline number of a row, in the table `columns`.
    pub(super) fn set_pipeline(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        row: u64,
        number: u32,
    ) -> Result<()> {
        let at = (row % COLUMN_ROWS) as usize;
        let leaf = self.leaf(table, row / COLUMN_ROWS)?;
        leaf.bytes[NUMBERS..].as_chunks_mut().0[at] = number.to_le_bytes();
        leaf.changed = true;
        Ok(())
    }

    /// The status planes of each changed leaf.
    pub(super) fn changed_planes(&self) -> impl Iterator<Item = (u64, Planes)> + '_ {
        let changed = self.loaded.iter().filter(|(_, leaf)| leaf.changed);
        changed.map(|(key, leaf)| (*key, Planes::from_bytes(&leaf.bytes)))
    }

    /// Writes every changed leaf, sealed, in order of key.
    pub(super) fn flush(&mut self, table: &mut Table<'_, u64, &'static [u8]>) -> Result<()> {
        let mut sealed = Vec::with_capacity(LEAF_BYTES + SEAL_BYTES);
        for (key, leaf) in self.loaded.iter().filter(|(_, leaf)| leaf.changed) {
            sealed.clear();
            sealed.extend(*leaf.bytes);
            seal(self.kind, *key, &mut sealed);
            table
                .insert(key, sealed.as_slice())
                .context("write an index leaf")?;
        }
        Ok(())
    }
}

const PLANE_BYTES: usize = PLANE_WORDS * 8;

fn plane_byte(row: u64) -> (usize, u64) {
    let place = row % STATUS_ROWS;
    ((place / 8) as usize, place % 8)
}

/// The status code of a row in the bytes of its leaf.
fn code_in(leaf: &[u8; LEAF_BYTES], row: u64) -> u8 {
    let (at, bit) = plane_byte(row);
    (0..3)
        .map(|plane| ((leaf[plane * PLANE_BYTES + at] >> bit) & 1) << plane)
        .sum()
}
