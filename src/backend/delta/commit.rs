//! [`Commit`]: one commit behind a state of the table, and what becomes of it when others come first.
//!
//! A commit that comes second is made behind the others if it would have been the same on the table that they left: then the files that were
//! written for it are not written again, so that a merge of many files ends beside a writer of small batches. Otherwise its files are
//! removed, and it is for the caller to begin again.

use std::collections::HashSet;
use std::sync::Arc;

use deltalake::DeltaTableError;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Transaction};
use deltalake::protocol::DeltaOperation;
use deltalake::table::state::DeltaTableState;
use object_store_0_13::path::Path;

use super::failure::{self, Failure};
use super::select::Selected;
use super::table::{RANKS, Table};
use super::upkeep::remove;

/// The name of what tells commits apart, in their information.
const NAME: &str = "samplestore.commit";
/// How a line of a commit begins that takes a file out of the table.
const TAKES_OUT: &[u8] = br#"{"remove""#;
/// Others that come first, one after the other, before a commit is given up.
const OTHERS_MAX: usize = 64;

/// What a change was decided by: as long as that stands, the change does.
#[derive(Default)]
pub(super) enum DecidedBy {
    /// All of the table.
    #[default]
    All,
    /// The rows of the files that it takes out.
    Files,
    /// And that these are all that is selected.
    Selected(Arc<Selected>),
}

/// What is to be written into the log.
pub(super) struct Commit {
    pub(super) actions: Vec<Action>,
    /// The rank of the next new sample, if it is another one afterwards.
    pub(super) next_rank: Option<i64>,
    pub(super) decided_by: DecidedBy,
    pub(super) kind: DeltaOperation,
}

/// What others have written behind a state.
#[derive(Default)]
struct Others {
    /// Whether a commit of the name that is asked for is among them.
    has_ours: bool,
    /// Whether they take files out.
    take_out: bool,
}

impl Commit {
    /// Writes it behind a state of the table, or behind what others have written meanwhile, and gives the state behind it.
    ///
    /// # Errors
    /// A conflict when it would have been another one behind them: it was not made then, and its files are gone.
    pub(super) async fn write(
        self,
        table: &Table,
        first: &DeltaTableState,
    ) -> Result<DeltaTableState, Failure> {
        let name = uuid::Uuid::new_v4().to_string();
        let mut newest = first.clone();
        let mut lost = None;
        for _ in 0..OTHERS_MAX {
            let error = match self.attempt(table, &newest, &name).await {
                Ok(newer) => return Ok(newer),
                Err(error) => error,
            };
            let newer = match table.newest().await {
                Ok(newer) => newer,
                Err(behind) => return Err(Failure::of_unknown_commit(error, behind)),
            };
            // Asked behind it, so that nothing that it has is missed. An answer may be lost, also of a commit that the client
            // asked for again and met itself, and a checkpoint may fail behind a commit that was made.
            let others = match others(table, first, &name).await {
                Ok(others) if others.has_ours => {
                    let made = table.newest().await;
                    return made.map_err(|behind| Failure::of_unknown_commit(error, behind));
                }
                Ok(others) if failure::is_conflict(&error) => others,
                Ok(_) => return Err(Failure::of_commit(error)),
                Err(behind) => return Err(Failure::of_unknown_commit(error, behind.into())),
            };
            lost = Some(error);
            match self.stands(table, first, &newer, &others).await {
                Ok(true) => newest = newer,
                Ok(false) | Err(_) => break,
            }
        }
        self.clean_up(table).await;
        let error = lost.unwrap_or(DeltaTableError::VersionAlreadyExists(first.version()));
        Err(Failure::of_commit(error))
    }

    async fn attempt(
        &self,
        table: &Table,
        state: &DeltaTableState,
        name: &str,
    ) -> Result<DeltaTableState, DeltaTableError> {
        let mut properties = CommitProperties::default()
            // What comes after a conflict is decided here.
            .with_max_retries(0)
            .with_metadata([(NAME.to_owned(), name.into())]);
        if let Some(next) = self.next_rank {
            properties = properties.with_application_transaction(Transaction::new(RANKS, next));
        }
        let committed = CommitBuilder::from(properties)
            .with_actions(self.actions.clone())
            .build(Some(state), Arc::clone(&table.log_store), self.kind.clone())
            .await?;
        Ok(committed.snapshot())
    }

    /// Whether it would be the same on a newer state, behind what others have written.
    async fn stands(
        &self,
        table: &Table,
        first: &DeltaTableState,
        newer: &DeltaTableState,
        others: &Others,
    ) -> Result<bool, Failure> {
        let there: HashSet<String> = paths(newer).collect();
        let are_there = self.actions.iter().all(|action| match action {
            Action::Remove(file) => there.contains(&file.path),
            // The columns may be others by now.
            Action::Metadata(_) => false,
            _ => true,
        });
        if !are_there || first.metadata().id() != newer.metadata().id() {
            return Ok(false);
        }
        match &self.decided_by {
            DecidedBy::All => Ok(false),
            DecidedBy::Files => Ok(true),
            // Samples that are new come as if it had been made before them.
            DecidedBy::Selected(_) if !others.take_out => Ok(true),
            DecidedBy::Selected(selected) => {
                let known: HashSet<String> = paths(first).collect();
                let came = there.into_iter().filter(|path| !known.contains(path));
                let selected = selected.in_files(came.collect());
                Ok(selected.rows(table, newer).await?.is_empty())
            }
        }
    }

    /// Removes the files that were written for it, as far as that goes: what stays, [`DeltaTable::vacuum`](super::DeltaTable::vacuum) removes.
    async fn clean_up(&self, table: &Table) {
        let added = self.actions.iter().filter_map(|action| match action {
            Action::Add(file) => Path::parse(&file.path).ok(),
            _ => None,
        });
        let _ = remove(table, added.collect()).await;
    }
}

/// The paths of the files of a state.
fn paths(state: &DeltaTableState) -> impl Iterator<Item = String> {
    let files = state.log_data();
    let paths: Vec<String> = files.iter().map(|file| file.path().into_owned()).collect();
    paths.into_iter()
}

/// What is in the log behind a state.
async fn others(
    table: &Table,
    state: &DeltaTableState,
    name: &str,
) -> Result<Others, DeltaTableError> {
    let mut others = Others::default();
    let mut version = state.version() + 1;
    while let Some(entry) = table.log_store.read_commit_entry(version).await? {
        let names = entry.windows(name.len());
        others.has_ours |= names.into_iter().any(|part| part == name.as_bytes());
        let mut lines = entry.split(|byte| *byte == b'\n');
        others.take_out |= lines.any(|line| line.starts_with(TAKES_OUT));
        version += 1;
    }
    Ok(others)
}
