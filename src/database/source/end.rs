//! How many rows there are, and what the log has beyond the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::late::Late;
use super::strays::Strays;
use super::{Found, LATE, OPERATION, Source, Table, UNDONE, gone};
use crate::database::blocks::Block;
use crate::database::failure::{Context, guard};
use crate::database::ids::ROWS_MAX;
use crate::database::journal::{self, Operation};
use crate::database::log::{Log, Lost};
use crate::database::schema::{CHUNK_ROWS, Kind, STATUS_ROWS, key_of, unseal};
use crate::database::state::{State, read_copied_state, read_state};
use crate::error::Result;

/// Rows on either side of the one that is expected, among which a record's is looked for first.
const SEARCHED_NEAR: u64 = 1 << 17;
/// Rows among which it is looked for at last, if the tables do not have more: a tenth of a second; and at most.
const SEARCHED_ROWS: u64 = 1 << 25;
const SEARCHED_ROWS_MAX: u64 = 1 << 28;
/// Records whose row is looked for; those behind one have the next ones.
const SEARCHES_MAX: u32 = 64;

impl Source {
    /// Finds out how many rows there are, and what the log adds.
    pub(super) fn find_end(&mut self) {
        if self._database.is_none() {
            return;
        }
        let read = || read_state(self.summary.as_ref().ok_or_else(gone)?);
        let copied = || read_copied_state(self.meta.as_ref().ok_or_else(gone)?);
        let copied = guard(OPERATION, copied).ok().flatten();
        // They are the same, unless one of the pages is damaged or an older one.
        let state = match (guard(OPERATION, read), copied) {
            (Ok(state), Some(copied)) if copied.mark.number > state.mark.number => Ok(copied),
            (Ok(state), _) | (Err(_), Some(state)) => Ok(state),
            (Err(error), None) => Err(error),
        };
        match state {
            Ok(state) => {
                self.rows = state.next_row;
                self.read_log(&state);
                self.state = Some(state);
            }
            Err(error) => {
                self.notes.push(format!("how many rows there are: {error}"));
                self.rows = self.rows_by_keys();
            }
        }
    }

    /// Gathers what the log has behind this state.
    fn read_log(&mut self, state: &State) {
        self.late = Late::new(state);
        let Some(layout) = self.layout else {
            return;
        };
        let records = match Log::read_all(Arc::clone(&self.disk), layout, state.mark) {
            Ok((records, lost)) => {
                self.lost_commits = lost;
                records
            }
            Err(error) => {
                self.notes.push(format!("the log: {error}"));
                return;
            }
        };
        for (at, record) in records.iter().enumerate() {
            if let Err(error) = self.late.apply(&record.payload, |next, _| Some(next)) {
                let number = record.number;
                self.notes
                    .push(format!("commit {number} of the log: {error}"));
                // What follows is of rows that this one would have given out.
                self.lost_commits += (records.len() - at) as u64;
                break;
            }
        }
    }

    /// Gathers all that the log has, since the tables do not say how much of it they have. Commits that went to the tables alone may be
    /// between those that it has, and behind them: so nothing in the tables gives way to it, and which row a record has its seal says.
    pub(super) fn read_log_without_mark(&mut self, strays: &Strays) {
        let Some(layout) = self.layout else {
            return;
        };
        let records = guard(OPERATION, || Log::find_all(Arc::clone(&self.disk), layout));
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                self.notes.push(format!("the log: {error}"));
                return;
            }
        };
        let rows = strays.rows().max().map_or(0, |row| row + 1).max(self.rows);
        let mut searches = SEARCHES_MAX;
        let mut row_of = |next: u64, sealed: &[u8]| {
            if unseal(Kind::Row, next, sealed).is_ok() {
                return Some(next);
            }
            searches = searches.checked_sub(1)?;
            // Rows are given out in order, so it is likely to be one that is near.
            let near = next.saturating_sub(SEARCHED_NEAR)..next + SEARCHED_NEAR;
            let all = 0..rows.clamp(SEARCHED_ROWS, SEARCHED_ROWS_MAX);
            key_of(Kind::Row, sealed, near).or_else(|| key_of(Kind::Row, sealed, all))
        };
        self.late = Late::behind(rows, 0);
        self.late_doubt = Some(LATE);
        let (mut number, mut unknown) = (0, 0);
        let mut names = None;
        for record in records {
            // The names that it has are the first ones only as far as it has every commit.
            number += 1;
            if record.number != number && names.is_none() {
                names = Some(self.late.names());
            }
            match self.late.apply(&record.payload, &mut row_of) {
                Ok(of_record) => unknown += of_record,
                Err(_) => self.lost_commits += 1,
            }
            if let Some(known) = names {
                self.late.end_names(known);
            }
        }
        if unknown > 0 {
            self.notes
                .push(format!("which rows {unknown} records of the log are of"));
        }
    }

    /// Shows `each` the new samples of the commits that are lost behind those that the log has, where their records are whole: each has a
    /// seal of its own.
    pub(in crate::database) fn undone(
        &mut self,
        each: &mut dyn FnMut(u64, Found) -> Result<()>,
    ) -> Result<()> {
        let (Some(layout), Some(state)) = (self.layout, &self.state) else {
            return Ok(());
        };
        let (disk, mark) = (Arc::clone(&self.disk), state.mark);
        let mut undone = Undone::behind(self.late.next_row());
        let looked = guard(OPERATION, || {
            Log::each_lost(disk, layout, mark, |commit| undone.add(commit))
        });
        if let Err(error) = looked {
            let note = format!("the commits that are lost: {error}");
            self.notes.push(note);
        }
        self.late.add_names(undone.names);
        for (row, sealed) in undone.records {
            let found = self.found(row, None, Ok(sealed), Some(UNDONE));
            each(row, found)?;
        }
        Ok(())
    }

    /// No row is greater, by the last leaves that there are.
    fn rows_by_keys(&self) -> u64 {
        let status = last_right(self.status.as_ref(), |leaf, value| {
            unseal(Kind::Status, leaf, value).is_ok()
        });
        let block = last_right(self.blocks.as_ref(), |first, value| {
            let block = Block::new(first, value).ok();
            block.is_some_and(|block| {
                block.len() <= STATUS_ROWS
                    && (first..first + block.len()).any(|row| block.record(row).is_ok())
            })
        });
        let leaf = status.max(block.map(|row| row / STATUS_ROWS));
        leaf.map_or(0, |leaf| (leaf + 1) * STATUS_ROWS)
    }
}

/// What is new by commits that are lost. They say nothing of what was there before them, since some of them may be missing.
struct Undone {
    /// The first row that none of the others has.
    first: u64,
    next: u64,
    searches: u32,
    /// Sealed records, by row.
    records: BTreeMap<u64, Vec<u8>>,
    /// The names of pipelines, as far as it is known which numbers they have.
    names: Vec<Arc<str>>,
    are_names_known: bool,
}

impl Undone {
    fn behind(first: u64) -> Self {
        Self {
            first,
            next: first,
            searches: SEARCHES_MAX,
            records: BTreeMap::new(),
            names: Vec::new(),
            are_names_known: true,
        }
    }

    fn add(&mut self, commit: &Lost<'_>) {
        self.are_names_known &= commit.follows;
        for operation in journal::operations(commit.payload) {
            match operation {
                Ok(Operation::Pipeline(name)) if self.are_names_known => {
                    self.names.push(name.into());
                }
                Ok(Operation::Insert(sealed)) => {
                    let row = self.row_of(sealed);
                    if let Some(row) = row {
                        self.records.insert(row, sealed.to_vec());
                    }
                    self.next = row.unwrap_or(self.next) + 1;
                }
                Ok(Operation::Replace(row, sealed)) => {
                    if row >= self.first && unseal(Kind::Row, row, sealed).is_ok() {
                        self.records.insert(row, sealed.to_vec());
                    }
                }
                Ok(Operation::Move(chunk, rows, 0)) if commit.is_whole => {
                    self.records.retain(|row, _| {
                        row / CHUNK_ROWS != chunk || !rows.contains((row % CHUNK_ROWS) as u32)
                    });
                }
                Ok(_) => {}
                Err(_) => self.are_names_known = false,
            }
        }
    }

    /// The row of a record. Rows are given out in order, so it is the next one, or near it where some were not seen.
    fn row_of(&mut self, sealed: &[u8]) -> Option<u64> {
        if unseal(Kind::Row, self.next, sealed).is_ok() {
            return Some(self.next);
        }
        self.searches = self.searches.checked_sub(1)?;
        key_of(Kind::Row, sealed, self.first..self.next + SEARCHED_NEAR)
    }
}

/// The last key of a table whose value is right: what says how much there is to be looked for is not believed without a seal.
fn last_right(table: Option<&Table>, is_right: impl Fn(u64, &[u8]) -> bool) -> Option<u64> {
    let look = || {
        let entries = table.ok_or_else(gone)?.range(..=ROWS_MAX);
        for entry in entries.context(OPERATION)?.rev() {
            let (key, value) = entry.context(OPERATION)?;
            if is_right(key.value(), value.value()) {
                return Ok(Some(key.value()));
            }
        }
        Ok(None)
    };
    guard(OPERATION, look).ok().flatten()
}
