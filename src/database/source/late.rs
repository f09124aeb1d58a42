//! [`Late`]: what the log has beyond the tables, gathered in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::database::journal::{self, Operation};
use crate::database::schema::CHUNK_ROWS;
use crate::database::state::State;
use crate::error::Result;

/// The commits of a log, applied one after the other. The log is a few megabytes, and so is this.
#[derive(Default)]
pub(super) struct Late {
    /// The next row that is new, and the first pipeline.
    next_row: u64,
    first_name: u64,
    names: Vec<Arc<str>>,
    /// New rows and their sealed records.
    inserted: Vec<(u64, Box<[u8]>)>,
    /// The sealed records that rows have got since.
    replaced: BTreeMap<u64, Box<[u8]>>,
    /// How many samples more there are by these commits, or fewer.
    pub(super) balance: i64,
    /// By chunk, the places that have got each status code since, 0 when they were deleted.
    codes: BTreeMap<u64, [RoaringBitmap; 8]>,
}

impl Late {
    /// Nothing, behind this state.
    pub(super) fn new(state: &State) -> Self {
        Self::behind(state.next_row, state.next_pipeline)
    }

    /// Nothing, behind a state that has so many rows and pipelines.
    pub(super) fn behind(next_row: u64, first_name: u64) -> Self {
        Self {
            next_row,
            first_name,
            ..Self::default()
        }
    }

    /// Adds a commit. `row_of` says which row a new sealed record has, by the one that is next and the record; `None` where that is not known,
    /// and how many of these there are is the answer.
    pub(super) fn apply(
        &mut self,
        payload: &[u8],
        mut row_of: impl FnMut(u64, &[u8]) -> Option<u64>,
    ) -> Result<u64> {
        let mut unknown = 0;
        for operation in journal::operations(payload) {
            match operation? {
                Operation::Pipeline(name) => self.names.push(name.into()),
                Operation::Insert(record) => {
                    let Some(row) = row_of(self.next_row, record) else {
                        unknown += 1;
                        continue;
                    };
                    self.balance += 1;
                    self.next_row = row + 1;
                    self.inserted.push((row, record.into()));
                }
                Operation::Replace(row, record) => {
                    self.replaced.insert(row, record.into());
                    let place = (row % CHUNK_ROWS) as u32;
                    // It has the status that its record says.
                    for places in self.codes.entry(row / CHUNK_ROWS).or_default() {
                        places.remove(place);
                    }
                }
                Operation::Move(chunk, rows, code) => {
                    if code == 0 {
                        self.balance -= rows.len() as i64;
                    }
                    let codes = self.codes.entry(chunk).or_default();
                    codes.iter_mut().for_each(|places| *places -= &rows);
                    let of_code = codes.get_mut(usize::from(code));
                    *of_code.ok_or_else(journal::malformed)? |= rows;
                }
            }
        }
        Ok(unknown)
    }

    /// Forgets the names of pipelines that come from here on: which numbers they have is not known.
    pub(super) fn end_names(&mut self, known: usize) {
        self.names.truncate(known);
    }

    /// How many names of pipelines it has.
    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    /// The name of a new pipeline.
    pub(super) fn name(&self, number: u32) -> Option<&Arc<str>> {
        let index = u64::from(number).checked_sub(self.first_name)?;
        self.names.get(usize::try_from(index).ok()?)
    }

    /// The status code that a row has got since it was stored last.
    pub(super) fn code(&self, row: u64) -> Option<u8> {
        let codes = self.codes.get(&(row / CHUNK_ROWS))?;
        let place = (row % CHUNK_ROWS) as u32;
        let code = codes.iter().position(|places| places.contains(place))?;
        u8::try_from(code).ok()
    }

    /// The sealed record that a row of the tables has got since.
    pub(super) fn replaced(&self, row: u64) -> Option<&[u8]> {
        self.replaced.get(&row).map(|record| &**record)
    }

    /// Of these rows of the tables, those that have got a record since.
    pub(super) fn replaced_rows(&self, rows: Range<u64>) -> Vec<u64> {
        self.replaced.range(rows).map(|(row, _)| *row).collect()
    }

    /// Takes the new rows with their sealed records.
    pub(super) fn take_inserted(&mut self) -> Vec<(u64, Vec<u8>)> {
        let inserted = std::mem::take(&mut self.inserted).into_iter();
        inserted
            .map(|(row, record)| {
                let record = self.replaced.remove(&row).unwrap_or(record);
                (row, record.into_vec())
            })
            .collect()
    }
}
