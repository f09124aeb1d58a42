//! What a table needs now and then: small files merged, and files that no state has removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::DeltaOperation;
use deltalake::table::state::DeltaTableState;

use super::change::Change;
use super::file::FILE_BYTES;
use super::schema::Partition;
use super::{DeltaTable, commit};
use crate::error::Result;

/// Files that are smaller than this are merged with others of their partition.
const SMALL_BYTES: i64 = FILE_BYTES as i64 / 2;

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
                ..Change::default()
            };
            commit(OPTIMIZE, &table, &mut turn, &state, change, kind).await?;
            let files_after = table.newest().await?.log_data().num_files() as u64;
            Ok(Optimized {
                files_before,
                files_after,
            })
        })
    }

    /// Removes files that no state of the table has had since `keep` ago, and says how many; files of writers that
    /// were killed among them. Readers of older states, and iterators that began before, find their files
    /// missing afterwards: keep what the longest of them may need. A day is a good value; with less than an hour
    /// a writer that is at work may lose the files it is about to commit.
    ///
    /// # Errors
    /// Those of listing and removing.
    pub fn vacuum(&self, keep: Duration) -> Result<u64> {
        const VACUUM: &str = "remove files that are no longer used";
        let _open = self.shared.enter(VACUUM)?;
        self.run(VACUUM, move |table| async move {
            let _turn = table.writing.lock().await;
            let mut whole = deltalake::DeltaTable::new(Arc::clone(&table.log_store));
            whole.load().await?;
            let (_, removed) = whole
                .vacuum()
                .with_mode(VacuumMode::Full)
                // The folder of files is one, whatever their partitions.
                .parallel_scan(false)
                .with_enforce_retention_duration(false)
                .with_retention_period(
                    chrono::Duration::from_std(keep).unwrap_or(chrono::Duration::MAX),
                )
                .await?;
            Ok(removed.files_deleted.len() as u64)
        })
    }
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
