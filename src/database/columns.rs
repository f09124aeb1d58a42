//! [`Columns`]: `created_at` and pipeline number of each row, beside the records, for whoever needs only
//! these. What they mean for a query is `filter.rs`.

use super::leaves::Leaf;
use super::schema::{COLUMN_ROWS, Kind, LEAF_BYTES};

const ROWS: usize = COLUMN_ROWS as usize;

/// `created_at` and pipeline number of the 320 rows of a leaf. Rows that were never used have 0. On disk
/// the instants, then the numbers.
#[derive(Clone)]
pub(super) struct Columns {
    /// Microseconds since 1970.
    pub(super) created: [i64; ROWS],
    pub(super) pipelines: [u32; ROWS],
}

impl Leaf for Columns {
    const KIND: Kind = Kind::Columns;
    const ROWS: u64 = COLUMN_ROWS;
    const EMPTY: Self = Self {
        created: [0; ROWS],
        pipelines: [0; ROWS],
    };

    fn decode(bytes: &[u8; LEAF_BYTES]) -> Self {
        let (created, pipelines) = bytes.split_at(ROWS * 8);
        let (created, pipelines) = (created.as_chunks().0, pipelines.as_chunks().0);
        Self {
            created: std::array::from_fn(|row| i64::from_le_bytes(created[row])),
            pipelines: std::array::from_fn(|row| u32::from_le_bytes(pipelines[row])),
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.resize(start + LEAF_BYTES, 0);
        let (created, pipelines) = bytes[start..].split_at_mut(ROWS * 8);
        let (created, pipelines) = (created.as_chunks_mut().0, pipelines.as_chunks_mut().0);
        for (bytes, micros) in created.iter_mut().zip(self.created) {
            *bytes = micros.to_le_bytes();
        }
        for (bytes, number) in pipelines.iter_mut().zip(self.pipelines) {
            *bytes = number.to_le_bytes();
        }
    }
}

impl Columns {
    /// The instant of a row.
    pub(super) fn created_at(&self, row: u64) -> i64 {
        self.created[place(row)]
    }

    /// The pipeline number of a row.
    pub(super) fn pipeline(&self, row: u64) -> u32 {
        self.pipelines[place(row)]
    }

    /// Gives a row its instant and pipeline number.
    pub(super) fn set(&mut self, row: u64, micros: i64, pipeline: u32) {
        self.created[place(row)] = micros;
        self.pipelines[place(row)] = pipeline;
    }
}

/// Where in its leaf a row stands.
fn place(row: u64) -> usize {
    (row % COLUMN_ROWS) as usize
}
