//! [`Late`]: what the log has beyond the tables, gathered in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::database::journal::{self, Operation};
use crate::database::record::status_of;
use crate::database::schema::CHUNK_ROWS;
use crate::database::state::State;
use crate::error::Result;

/// The commits of a log, applied one after the other. The log is a few megabytes, and so is this.
#[derive(Default)]
pub(super) struct Late {
    /// The next row that is new, and the first pipeline.
    next_row: u64,
    first_name: u64,
    /// Whether there are as many rows as that says, and no others may be spoken of.
    are_counted: bool,
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
        Self {
            are_counted: true,
            ..Self::behind(state.next_row, state.next_pipeline)
        }
    }

    /// Nothing, behind a state that has so many rows and pipelines.
    pub(super) fn behind(next_row: u64, first_name: u64) -> Self {
        Self {
            next_row,
            first_name,
            ..Self::default()
        }
    }

    /// Adds a commit, unless something of it cannot be: then nothing of it. `row_of` says which row a new sealed record has, by the one that
    /// is next and the record; `None` where that is not known, and how many of these there are is the answer.
    pub(super) fn apply(
        &mut self,
        payload: &[u8],
        mut row_of: impl FnMut(u64, &[u8]) -> Option<u64>,
    ) -> Result<u64> {
        let operations = journal::operations(payload).collect::<Result<Vec<_>>>()?;
        self.check(&operations)?;
        let mut unknown = 0;
        for operation in operations {
            match operation {
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
                    if let Some(of_code) = codes.get_mut(usize::from(code)) {
                        *of_code |= rows;
                    }
                }
            }
        }
        Ok(unknown)
    }

    /// Fails where opening the file would: for rows that were not given out, and statuses that there are not.
    fn check(&self, operations: &[Operation<'_>]) -> Result<()> {
        let mut next_row = self.next_row;
        for operation in operations {
            let end = match operation {
                Operation::Pipeline(_) => continue,
                Operation::Insert(_) => {
                    next_row += 1;
                    continue;
                }
                Operation::Replace(row, _) => row.checked_add(1),
                Operation::Move(chunk, rows, code) => {
                    status_of(*code).ok_or_else(journal::malformed)?;
                    let places = rows.max().map_or(0, |last| u64::from(last) + 1);
                    let first = chunk.checked_mul(CHUNK_ROWS);
                    first
                        .filter(|_| places <= CHUNK_ROWS)
                        .and_then(|first| first.checked_add(places))
                }
            };
            match end {
                Some(end) if end <= next_row || !self.are_counted => {}
                _ => return Err(journal::malformed()),
            }
        }
        Ok(())
    }

    /// The next row that is new.
    pub(super) fn next_row(&self) -> u64 {
        self.next_row
    }

    /// Forgets the names of pipelines that come from here on: which numbers they have is not known.
    pub(super) fn end_names(&mut self, known: usize) {
        self.names.truncate(known);
    }

    /// Adds names of pipelines that come behind those that it has.
    pub(super) fn add_names(&mut self, names: Vec<Arc<str>>) {
        self.names.extend(names);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::journal::Journal;
    use crate::error::ErrorKind;

    #[test]
    fn of_a_commit_that_says_what_cannot_be_nothing_is_carried_out() {
        let counted = || Late {
            next_row: 10,
            are_counted: true,
            ..Late::default()
        };
        let rows = |rows: &[u32]| RoaringBitmap::from_iter(rows);
        let impossible: [fn(&mut Journal); 4] = [
            |journal| journal.r#move(0, &RoaringBitmap::from([10]), 1),
            |journal| journal.r#move(0, &RoaringBitmap::from([9]), 9),
            |journal| journal.r#move(u64::MAX, &RoaringBitmap::from([0]), 1),
            |journal| journal.replace(10, b"record"),
        ];
        for add in impossible {
            let mut journal = Journal::default();
            journal.r#move(0, &rows(&[3]), 0);
            add(&mut journal);
            let mut late = counted();
            let refused = late.apply(journal.as_bytes(), |next, _| Some(next));
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Damaged);
            assert_eq!((late.balance, late.code(3)), (0, None));
        }
        // One that inserts them first may speak of them.
        let mut journal = Journal::default();
        journal.insert(b"record");
        journal.r#move(0, &rows(&[3, 10]), 0);
        let mut late = counted();
        late.apply(journal.as_bytes(), |next, _| Some(next))
            .unwrap();
        assert_eq!((late.balance, late.code(10)), (-1, Some(0)));
        // Where it is not known how many rows there are, only what no chunk has is refused.
        let places = CHUNK_ROWS as u32;
        for (place, is_right) in [(places - 1, true), (places, false)] {
            let mut journal = Journal::default();
            journal.r#move(7, &rows(&[place]), 2);
            let done = Late::behind(10, 0).apply(journal.as_bytes(), |next, _| Some(next));
            assert_eq!(done.is_ok(), is_right);
        }
    }
}
