//! [`Database`]: the embedded file, samples on disk with indexes by pipeline, status and time.
//!
//! The files below, from the bottom up: `schema.rs` (tables, keys, seals), `failure.rs` (redb's errors as ours),
//! `once.rs` and `mask.rs`;
//! `disk.rs`, `fuse.rs`, `header.rs`, `writeback.rs`, `branch.rs`, `depths.rs`, `sums.rs`, `guard.rs`, `volume.rs` and `log.rs` (the file below redb);
//! `record.rs`, `blocks.rs`, `leaves.rs`, `planes.rs`, `columns.rs`, `runs.rs`, `pipelines.rs`, `gathered.rs`, `ids.rs` and
//! `state.rs` (what each table holds);
//! `fields.rs` (indexes of fields, from the table to `create_index`); `chunk.rs`, `kept_blocks.rs`, `unreadable.rs` and `view.rs` (all of it at
//! one commit); `filter.rs`, `plan.rs`, `merge.rs`, `walks.rs`, `stream.rs` (from a query to rows);
//! `readers.rs`, `fetch.rs`, `matching.rs` (from rows to samples), `snapshot.rs`, `histogram.rs`, `changes.rs`, `explain.rs`, `stats.rs`, `metrics.rs` (reading, and what was done); `journal.rs`, `write.rs`, `moves.rs`,
//! `commit.rs` and `group.rs` (writing); `prune.rs`, `clear.rs` and `pack.rs` (what is not needed any more); `backup.rs`;
//! `overlay.rs` and `check.rs` (whether all of it agrees); `source.rs`, `fresh.rs`, `reindex.rs`, `salvage.rs` and `repair.rs`
//! (what is done when not); `engine.rs` and `options.rs` (opening and closing);
//! `simulation.rs` (a disk of the caller's, and engines that do something wrong, for tests).

mod backup;
mod blocks;
mod branch;
mod changes;
mod check;
mod chunk;
mod clear;
mod columns;
mod commit;
mod depths;
mod disk;
mod draft;
mod engine;
mod explain;
mod failure;
mod fetch;
mod fields;
mod filter;
mod fresh;
mod fuse;
mod gathered;
mod group;
mod guard;
mod header;
mod held;
mod histogram;
mod ids;
mod journal;
mod kept_blocks;
mod leaves;
mod log;
mod mask;
mod matching;
mod merge;
mod metrics;
mod moves;
mod once;
mod options;
mod overlay;
mod pack;
mod pipelines;
mod plan;
mod planes;
mod prune;
mod readers;
mod record;
mod reindex;
mod repair;
mod runs;
mod salvage;
mod schema;
#[cfg(feature = "simulation")]
pub mod simulation;
mod snapshot;
mod source;
mod state;
mod stats;
mod stream;
mod sums;
#[cfg(test)]
mod tests;
mod unreadable;
mod view;
mod volume;
mod walks;
mod write;
mod writeback;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError};

pub use backup::Backup;
pub use check::{CheckReport, Fault, FaultKind};
pub use explain::Explain;
pub use fields::IndexStats;
pub use metrics::{Distribution, Metrics};
pub use options::{Durability, Options};
pub use prune::Prune;
pub use repair::{RepairOutcome, RepairReport};
pub use salvage::{SalvageReport, SalvagedRow};
pub use snapshot::Snapshot;
pub use stats::{Stats, TableStats};

use crate::error::Result;
use crate::query::{Facets, Page, Query, Selection};
use crate::sample::{Sample, Status};
use crate::storage::{Capabilities, Samples, Storage, StoreReport, check_batch};
use engine::Engine;
use failure::guard;
#[cfg(test)]
use plan::Access;
use write::Transaction;

/// Samples in one file, found by id, pipeline, status and time.
///
/// A handle is cheap to clone; all clones are one database. Reads never wait: each sees the state of the
/// last commit when it began. Stores from many threads share commits. One process writes a file at a
/// time; see [`Options::shared_readers`] for reading it meanwhile.
///
/// ```
/// use samplestore::{Database, Query, Sample, Status, Storage, data};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("samples.redb");
///
/// let database = Database::open(&path)?;
/// let sample = Sample::builder("weather")
///     .id("JFK-2013-06-01")
///     .status(Status::Ready)
///     .created_at("2013-06-01T12:00:00Z".parse()?)
///     .data(data! { "temp" => 71.6 })
///     .build()?;
/// database.store(&[sample])?;
/// database.close()?;
///
/// let database = Database::open(&path)?;
/// let june = Query::new()
///     .status(Status::Ready)
///     .since("2013-06-01T00:00:00Z".parse()?)
///     .before("2013-07-01T00:00:00Z".parse()?);
/// assert_eq!(database.count(&june)?, 1);
/// assert_eq!(database.list(&june)?.samples[0].id(), "JFK-2013-06-01");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Database {
    engine: Arc<Engine>,
}

impl Database {
    /// Opens the file at `path`, and makes it unless it is there; see [`Options`] for other ways.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// The options to open a file with.
    pub fn options() -> Options {
        Options::default()
    }

    fn new(engine: Engine) -> Self {
        Self {
            engine: Arc::new(engine),
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.engine.path
    }

    /// One consistent state, to read from several times.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) after [`close`](Storage::close).
    pub fn snapshot(&self) -> Result<Snapshot> {
        let view = self.engine.view("read samples")?;
        let forced = *self
            .engine
            .forced
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Snapshot::new(view, self.clone(), forced))
    }

    /// How a query is answered; see [`Snapshot::explain`].
    ///
    /// # Errors
    /// As [`Storage::list`].
    pub fn explain(&self, query: &Query) -> Result<Explain> {
        self.snapshot()?.explain(query)
    }

    /// What the database holds and how large it is. Looks at every page of the indexes and tables,
    /// so its cost grows with the file.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed), [`Io`](crate::ErrorKind::Io), [`Damaged`](crate::ErrorKind::Damaged).
    pub fn stats(&self) -> Result<Stats> {
        const OPERATION: &str = "measure the database";
        let view = self.engine.view(OPERATION)?;
        let snapshot = Snapshot::new(Arc::clone(&view), self.clone(), None);
        let file_bytes = self.engine.file_bytes(OPERATION)?;
        guard(OPERATION, || {
            stats::stats(&view, &snapshot, file_bytes, self.engine.base)
        })
    }

    /// Drops what deletions and replacements left in the file, moves pages together and cuts the file off behind them;
    /// says whether it became smaller, by about [`Stats::reclaimable_bytes`]. Takes time in proportion to the file.
    ///
    /// The first part goes in transactions of some megabytes, others read and write in between; during the second one
    /// they wait. What is done is durable, and it may be interrupted at any moment.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) while a [`Snapshot`] or an iterator is held, since
    /// its pages cannot move; [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Closed`](crate::ErrorKind::Closed),
    /// [`Full`](crate::ErrorKind::Full), [`Io`](crate::ErrorKind::Io): after these two the file must be opened again
    /// to be written.
    pub fn compact(&self) -> Result<bool> {
        self.engine.check_compactable()?;
        self.pack()?;
        self.engine.compact()
    }

    #[cfg(test)]
    fn force(&self, access: Option<Access>) {
        *self
            .engine
            .forced
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = access;
    }
}

impl Storage for Database {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            sample_bytes_max: self.engine.sample_bytes_max,
            ..Capabilities::full("redb")
        }
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        const OPERATION: &str = "store a batch";
        self.engine.check_writable(OPERATION)?;
        check_batch(batch, self.engine.sample_bytes_max)?;
        if batch.is_empty() {
            return Ok(StoreReport::default());
        }
        self.engine.group.store(batch, |batches| {
            let reports = self.engine.write(OPERATION, |transaction, _| {
                let reports = batches.iter().map(|batch| transaction.store(batch));
                reports.collect::<Result<Vec<_>>>().map(Some)
            })?;
            let samples = batches.iter().map(|batch| batch.len());
            self.engine.counters().stored(samples);
            Ok(reports.unwrap_or_default())
        })
    }

    fn flush(&self) -> Result<()> {
        self.engine.flush()
    }

    fn close(&self) -> Result<()> {
        self.engine.close()
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        self.snapshot()?.retrieve(id)
    }

    fn list(&self, query: &Query) -> Result<Page> {
        self.snapshot()?.list(query)
    }

    fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
        self.snapshot()?.iterate(query)
    }

    fn count(&self, query: &Query) -> Result<u64> {
        self.snapshot()?.count(query)
    }

    fn facets(&self, query: &Query) -> Result<Facets> {
        self.snapshot()?.facets(query)
    }

    fn set_status(&self, selection: &Selection, from: Option<Status>, to: Status) -> Result<u64> {
        self.change(
            "set a status",
            selection,
            from,
            |transaction, chunk, rows| transaction.set_status(chunk, rows, to),
        )
    }

    // The method itself is bound to one lifetime of the transaction.
    #[allow(clippy::redundant_closure_for_method_calls)]
    fn delete(&self, selection: &Selection) -> Result<u64> {
        self.change(
            "delete samples",
            selection,
            None,
            |transaction, chunk, rows| transaction.delete(chunk, rows),
        )
    }
}

impl Database {
    /// Changes the selected rows, chunk by chunk, in one transaction, and says how many there were.
    fn change(
        &self,
        operation: &'static str,
        selection: &Selection,
        from: Option<Status>,
        change: impl Fn(&mut Transaction<'_>, u64, &roaring::RoaringBitmap) -> Result<()>,
    ) -> Result<u64> {
        let query = selection.to_query();
        let changed = self.engine.write(operation, |transaction, view| {
            let snapshot = Snapshot::new(Arc::clone(view), self.clone(), None);
            let selected = snapshot.select(&query, from)?;
            for (chunk, rows) in &selected {
                change(transaction, *chunk, rows)?;
            }
            let count: u64 = selected.values().map(roaring::RoaringBitmap::len).sum();
            Ok((count > 0).then_some(count))
        })?;
        Ok(changed.unwrap_or(0))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.engine.path)
            .finish_non_exhaustive()
    }
}
