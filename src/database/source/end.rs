//! How many rows there are, and what the log has beyond the tables.

use std::sync::Arc;

use super::late::Late;
use super::strays::Strays;
use super::{LATE, OPERATION, Source, Table, gone};
use crate::database::failure::{Context, guard};
use crate::database::journal::{self, Operation};
use crate::database::log::Log;
use crate::database::schema::{Kind, STATUS_ROWS, key_of};
use crate::database::state::{State, read_state};

impl Source {
    /// Finds out how many rows there are, and what the log adds.
    pub(super) fn find_end(&mut self) {
        if self._database.is_none() {
            return;
        }
        let read = || read_state(self.summary.as_ref().ok_or_else(gone)?);
        match guard(OPERATION, read) {
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
            Ok((_, records, lost)) => {
                self.lost_commits = lost;
                records
            }
            Err(error) => {
                self.notes.push(format!("the log: {error}"));
                return;
            }
        };
        for record in records {
            if let Err(error) = self.late.apply(&record.payload) {
                let number = record.number;
                self.notes
                    .push(format!("commit {number} of the log: {error}"));
                self.lost_commits += 1;
            }
        }
    }

    /// Gathers all that the log has, since the tables do not say how much of it they have. What it did is done again then.
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
        let operations = records
            .iter()
            .flat_map(|record| journal::operations(&record.payload));
        let inserted: Vec<&[u8]> = operations
            .filter_map(|operation| match operation {
                Ok(Operation::Insert(sealed)) => Some(sealed),
                _ => None,
            })
            .collect();
        // Rows are given out in order, and a seal says whether a row is the right one.
        let rows = strays.rows().max().map_or(0, |row| row + 1) + inserted.len() as u64;
        let first_row = inserted
            .first()
            .map_or(Some(rows), |sealed| key_of(Kind::Row, sealed, 0..rows));
        let Some(first_row) = first_row else {
            self.notes.push("which rows the log is about".to_owned());
            return;
        };
        // The names that it has are the first only if it has every commit.
        let has_all = records.first().is_some_and(|record| record.number == 1);
        let first_name = if has_all { 0 } else { u64::from(u32::MAX) + 1 };
        self.late = Late::behind(first_row, first_name);
        self.late_doubt = Some(LATE);
        for record in records {
            if self.late.apply(&record.payload).is_err() {
                self.lost_commits += 1;
            }
        }
    }

    /// No row is greater, by the last keys that there are.
    fn rows_by_keys(&self) -> u64 {
        let last = |table: &Option<Table>| {
            let table = table.as_ref()?;
            let last = || {
                Ok(redb::ReadableTable::last(table)
                    .context(OPERATION)?
                    .map(|last| last.0.value()))
            };
            guard(OPERATION, last).ok().flatten()
        };
        let leaf_of_block = last(&self.blocks).map(|row| row / STATUS_ROWS);
        let leaf = last(&self.status).max(leaf_of_block);
        leaf.map_or(0, |leaf| (leaf + 1).saturating_mul(STATUS_ROWS))
    }
}
