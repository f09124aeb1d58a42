//! What a table needs now and then: small files merged, and files that no state has removed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::DeltaOperation;
use deltalake::table::state::DeltaTableState;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store_0_13::path::Path;
use object_store_0_13::{Error as StoreError, ObjectStore};

use super::change::Change;
use super::commit::DecidedBy;
use super::disk;
use super::failure::Failure;
use super::file::{self, FILE_BYTES};
use super::schema::Partition;
use super::table::Table;
use super::{DeltaTable, make};
use crate::backend::DELTA_LOG;
use crate::error::Result;

/// Files that are smaller than this are merged with others of their partition.
const SMALL_BYTES: i64 = FILE_BYTES as i64 / 2;

/// What stands in the paths of files in the log of another table, below this one.
const INNER_LOG: &str = "/_delta_log/";

/// What [`DeltaTable::optimize`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Optimized {
    /// Files of the table before it.
    pub files_before: u64,
    /// Files of the table after it.
    pub files_after: u64,
}

impl DeltaTable {
    /// Merges small files: those below 64 MiB, of a partition that has more than one. No sample changes. Every store
    /// makes a file for each partition that it touches, and reads open each file, so this is worth doing after many
    /// small batches.
    ///
    /// The old files stay for readers of earlier states until [`vacuum`](Self::vacuum) removes them.
    ///
    /// # Errors
    /// Those of writing; nothing is changed then.
    pub fn optimize(&self) -> Result<Optimized> {
        const OPTIMIZE: &str = "merge small files";
        let _open = self.shared.enter(OPTIMIZE)?;
        self.write(OPTIMIZE, |table| async move {
            let mut turn = table.writing.lock().await;
            let state = table.newest().await?;
            let merge = small_files(&state);
            let files_before = state.log_data().num_files() as u64;
            if merge.is_empty() {
                return Ok(Optimized {
                    files_before,
                    files_after: files_before,
                });
            }
            let kind = DeltaOperation::Optimize {
                predicate: None,
                target_size: FILE_BYTES as i64,
            };
            let change = Change {
                merge,
                decided_by: DecidedBy::Files,
                ..Change::default()
            };
            make(OPTIMIZE, &table, &mut turn, &state, change, kind).await?;
            let files_after = table.newest().await?.log_data().num_files() as u64;
            Ok(Optimized {
                files_before,
                files_after,
            })
        })
    }

    /// Removes files of rows that no state of the table has had since `keep` ago, and says how many. Readers of older
    /// states, and iterators that began before, find their files missing afterwards: keep what the longest of them may
    /// need. A day is a good value; with less than an hour a writer that is at work may lose the files it is about to commit.
    ///
    /// Two kinds of files go: those of which the log says that they were taken out of the table, whoever wrote them; and, of
    /// writers that were killed before their commit or whose log has forgotten, those that are in the folder of a partition
    /// and have a name that only this crate gives, `pipeline=…/date=…/UUID.parquet` with a UUID of version 7. Whatever else
    /// lies in the table's folder stays, other tables too. What stays therefore are the files that other programs' writers
    /// left behind when they were killed: their own vacuum removes them. In a folder of a disk, what such a file or a part of the log was
    /// first written as, `NAME#NUMBER`, goes too where a writer that was killed has left it; nothing of it is ever read.
    ///
    /// # Errors
    /// Those of listing and removing.
    pub fn vacuum(&self, keep: Duration) -> Result<u64> {
        const VACUUM: &str = "remove files that are no longer used";
        let _open = self.shared.enter(VACUUM)?;
        self.run(VACUUM, move |table| async move {
            let _turn = table.writing.lock().await;
            let keep = chrono::Duration::from_std(keep).unwrap_or(chrono::Duration::MAX);
            let until = Utc::now().checked_sub_signed(keep);
            // The files first, and the log then: what is committed meanwhile is known to it.
            let (own, staged) = match until {
                Some(until) => (
                    own_files(&table, until).await?,
                    remove_staged(&table, until).await?,
                ),
                None => (HashSet::new(), 0),
            };
            let mut whole = deltalake::DeltaTable::new(Arc::clone(&table.log_store));
            whole.load().await?;
            let unknown = unknown_to(whole.snapshot()?, &table, own).await?;
            // `VacuumMode::Full` would take all that is not in the log, foreign files too.
            let (_, removed) = whole
                .vacuum()
                .with_mode(VacuumMode::Lite)
                .with_enforce_retention_duration(false)
                .with_retention_period(keep)
                .await?;
            let removed = removed.files_deleted.len() as u64;
            Ok(staged + removed + remove(&table, unknown).await?)
        })
    }
}

/// Removes what writers left in a folder when they were killed while they wrote a file, and says how many files that were.
async fn remove_staged(table: &Table, until: DateTime<Utc>) -> Result<u64, Failure> {
    let Some(folder) = &table.folder else {
        return Ok(0);
    };
    let partition_by = table.partition_by.clone();
    // The log, and pipelines with long names, have a folder of their own.
    let depth_max = partition_by.len().max(1);
    let is_own = move |folder: &str, name: &str| match folder {
        DELTA_LOG => is_log(name),
        _ => file::is_name(name) && Partition::is_folder(folder, &partition_by),
    };
    let removed = disk::remove_staged(folder.clone(), depth_max, until.into(), is_own).await?;
    Ok(removed)
}

/// Whether a file is a part of a log, by its name: a commit or a checkpoint, or what says which checkpoint is the last one.
fn is_log(name: &str) -> bool {
    let is_numbered = name.split_once('.').is_some_and(|(number, _)| {
        number.len() == 20 && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    is_numbered || name == "_last_checkpoint"
}

/// The files below the table that its own writers made, by their names, and that are no younger than `until`.
async fn own_files(table: &Table, until: DateTime<Utc>) -> Result<HashSet<Path>, Failure> {
    let mut own = HashSet::new();
    let mut inner = HashSet::new();
    let mut files = table.log_store.object_store(None).list(None);
    while let Some(file) = files.try_next().await? {
        let path = file.location.as_ref();
        if let Some((root, _)) = path.split_once(INNER_LOG) {
            inner.insert(root.to_owned());
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if file.last_modified <= until
            && file::is_name(name)
            && Partition::is_folder(folder, &table.partition_by)
        {
            own.insert(file.location);
        }
    }
    // A table of somebody's in the folder of a partition has its own log.
    own.retain(|file| {
        let ends = file.as_ref().match_indices('/').map(|(at, _)| at);
        !ends
            .into_iter()
            .any(|end| inner.contains(&file.as_ref()[..end]))
    });
    Ok(own)
}

/// Those of these files of which the log says nothing.
async fn unknown_to(
    state: &DeltaTableState,
    table: &Table,
    mut files: HashSet<Path>,
) -> Result<HashSet<Path>, Failure> {
    for file in state.log_data().iter() {
        files.remove(&file.object_store_path());
    }
    let mut taken_out = state.all_tombstones(&table.log_store);
    while let Some(file) = taken_out.try_next().await? {
        let path = file.path();
        // As the log's own readers have it: what is encoded in a name stays so.
        files.remove(&Path::parse(&*path).unwrap_or_else(|_| Path::from(&*path)));
    }
    Ok(files)
}

/// Removes files, and says how many were there.
pub(super) async fn remove(table: &Table, files: HashSet<Path>) -> Result<u64, Failure> {
    let files = stream::iter(files.into_iter().map(Ok)).boxed();
    let mut answers = table.log_store.object_store(None).delete_stream(files);
    let mut removed = 0;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(_) => removed += 1,
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(removed)
}

/// The paths of files that can be merged with another one.
fn small_files(state: &DeltaTableState) -> Vec<String> {
    let mut small: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
    for file in state.log_data().iter() {
        if file.size() < SMALL_BYTES {
            let partition = Partition::of_file(file.partition_values_map());
            small
                .entry(partition)
                .or_default()
                .push(file.path().into_owned());
        }
    }
    let several = small.into_values().filter(|files| files.len() > 1);
    several.flatten().collect()
}
