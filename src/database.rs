//! [`Database`]: the embedded file, samples on disk with indexes by pipeline, status and time.
//!
//! The files below, from the bottom up: `schema.rs` (tables and keys) and `failure.rs` (redb's errors as ours);
//! `record.rs`, `state.rs`, `columns.rs`, `runs.rs`, `pipelines.rs` and `ids.rs` (what each table holds);
//! `chunk.rs` and `view.rs` (all of it at one commit); `filter.rs`, `plan.rs`, `stream.rs` (from a query to rows);
//! `fetch.rs` (from rows to samples), `snapshot.rs`, `explain.rs`, `stats.rs` (reading); `write.rs` and `group.rs` (writing);
//! `options.rs` (opening).

mod chunk;
mod columns;
mod explain;
mod failure;
mod fetch;
mod filter;
mod group;
mod ids;
mod options;
mod pipelines;
mod plan;
mod record;
mod runs;
mod schema;
mod snapshot;
mod state;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod view;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use redb::{ReadTransaction, ReadableDatabase};

pub use explain::Explain;
pub use options::{Durability, Options};
pub use snapshot::Snapshot;
pub use stats::{Stats, TableStats};

use crate::error::{Error, ErrorKind, Result};
use crate::query::{Facets, Page, Query, Selection};
use crate::sample::{Sample, Status};
use crate::storage::{Capabilities, Samples, Storage, StoreReport, check_batch};
use failure::{Context, commit_failure, guard};
use group::Group;
use plan::Access;
use view::View;
use write::Transaction;

/// With deferred durability, one commit in so many is durable all the same, since redb frees no page
/// in between.
const DEFERRED_COMMITS_MAX: u32 = 64;

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
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    durability: Durability,
    sample_bytes_max: usize,
    /// What is open, until it is closed. Only who holds `writer` may keep the handle beyond this lock.
    open: RwLock<Option<Open>>,
    /// Held by whoever writes.
    writer: Mutex<Writer>,
    group: Group,
    /// Overrides the planner, in tests.
    forced: Mutex<Option<Access>>,
}

#[derive(Default)]
struct Writer {
    /// Commits since the last durable one.
    deferred_commits: u32,
    /// Whether a commit could not be published, so that `view` is not the last state.
    is_stale: bool,
}

#[derive(Clone)]
struct Open {
    handle: Arc<Handle>,
    /// The last commit; `None` for a handle that follows another process.
    view: Option<Arc<View>>,
}

/// What redb has open.
enum Handle {
    Writes { database: redb::Database },
    Reads { database: redb::ReadOnlyDatabase },
}

impl Handle {
    fn begin_read(&self) -> Result<ReadTransaction> {
        match self {
            Self::Writes { database } => database.begin_read(),
            Self::Reads { database } => database.begin_read(),
        }
        .context("begin to read")
    }
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

    fn new(path: PathBuf, options: &Options, handle: Handle, view: Option<View>) -> Self {
        let open = Open {
            handle: Arc::new(handle),
            view: view.map(Arc::new),
        };
        Self {
            inner: Arc::new(Inner {
                path,
                durability: options.durability,
                sample_bytes_max: options.sample_bytes_max,
                open: RwLock::new(Some(open)),
                writer: Mutex::default(),
                group: Group::default(),
                forced: Mutex::new(None),
            }),
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// One consistent state, to read from several times.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) after [`close`](Storage::close).
    pub fn snapshot(&self) -> Result<Snapshot> {
        let view = self.inner.view("read samples")?;
        let forced = *self
            .inner
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
    /// [`Closed`](ErrorKind::Closed), [`Io`](ErrorKind::Io), [`Damaged`](ErrorKind::Damaged).
    pub fn stats(&self) -> Result<Stats> {
        const OPERATION: &str = "measure the database";
        let view = self.inner.view(OPERATION)?;
        let snapshot = Snapshot::new(Arc::clone(&view), self.clone(), None);
        let file = std::fs::metadata(&self.inner.path)
            .map_err(|cause| Error::io(OPERATION, self.inner.path.display(), cause))?;
        guard(OPERATION, || stats::stats(&view, &snapshot, file.len()))
    }

    /// Moves pages together and cuts the file off behind them; says whether it became smaller. Takes
    /// time in proportion to the file, and everybody else waits meanwhile. What it does is durable, and
    /// it may be interrupted at any moment.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) while a [`Snapshot`] or an iterator is held, since
    /// its pages cannot move; [`ReadOnly`](ErrorKind::ReadOnly), [`Closed`](ErrorKind::Closed),
    /// [`Full`](ErrorKind::Full), [`Io`](ErrorKind::Io).
    pub fn compact(&self) -> Result<bool> {
        self.inner.compact()
    }

    #[cfg(test)]
    fn force(&self, access: Option<Access>) {
        *self
            .inner
            .forced
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = access;
    }
}

impl Inner {
    fn opened(&self, operation: &'static str) -> Result<Open> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| Error::closed(operation))
    }

    /// The state of the last commit.
    fn view(&self, operation: &'static str) -> Result<Arc<View>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or_else(|| Error::closed(operation))?;
        match &open.view {
            Some(view) => Ok(Arc::clone(view)),
            // Another process may have written. Nothing is kept, since what a reader keeps the writer's
            // file must keep too.
            None => guard(operation, || {
                let transaction = open.handle.begin_read()?;
                View::read(&transaction).map(Arc::new)
            }),
        }
    }

    /// Fails when the database is closed, or the handle only reads.
    fn check_writable(&self, operation: &'static str) -> Result<()> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        match open.as_ref().map(|open| &*open.handle) {
            None => Err(Error::closed(operation)),
            Some(Handle::Reads { .. }) => Err(self.read_only(operation)),
            Some(Handle::Writes { .. }) => Ok(()),
        }
    }

    /// Fails when the database is closed.
    fn check_open(&self, operation: &'static str) -> Result<()> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref()
            .map(drop)
            .ok_or_else(|| Error::closed(operation))
    }

    fn publish(&self, view: &Arc<View>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.as_mut() {
            open.view = Some(Arc::clone(view));
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A commit that panicked changed nothing here.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in a write transaction and commits it, unless it wants nothing written.
    fn write<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Transaction<'_>, &Arc<View>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut writer = self.writer();
        let open = self.opened(operation)?;
        let (Handle::Writes { database }, Some(view)) = (&*open.handle, &open.view) else {
            return Err(self.read_only(operation));
        };
        if writer.is_stale {
            return Err(unpublished(operation));
        }
        guard(operation, || {
            let is_durable = self.durability == Durability::Immediate
                || writer.deferred_commits + 1 >= DEFERRED_COMMITS_MAX;
            let mut transaction = database.begin_write().context(operation)?;
            if !is_durable {
                let _ = transaction.set_durability(redb::Durability::None);
            }
            let mut all = Transaction::begin(&transaction, view)?;
            let Some(answer) = work(&mut all, view)? else {
                drop(all);
                transaction.abort().context(operation)?;
                return Ok(None);
            };
            let outcome = all.finish()?;
            transaction.commit().map_err(commit_failure)?;
            writer.deferred_commits = if is_durable {
                0
            } else {
                writer.deferred_commits + 1
            };
            // From here on the batch is in the file: unless readers see it too, nobody may write on what
            // they see.
            writer.is_stale = true;
            outcome.publish();
            let published = open.handle.begin_read().and_then(|transaction| {
                let (state, decoded) = (outcome.state, outcome.decoded);
                View::published(&transaction, view.identity, state, decoded)
            });
            let view = published.map_err(|cause| unpublished(operation).with_cause(cause))?;
            self.publish(&Arc::new(view));
            writer.is_stale = false;
            Ok(Some(answer))
        })
        .map_err(|error| match error.subject() {
            Some(_) => error,
            None => error.with_subject(self.path.display()),
        })
    }

    fn read_only(&self, operation: &'static str) -> Error {
        Error::new(ErrorKind::ReadOnly, operation)
            .with_subject(self.path.display())
            .with_message("it was opened for reading only")
    }

    /// Makes every commit so far durable.
    fn flush(&self, writer: &mut Writer, database: &redb::Database) -> Result<()> {
        if writer.deferred_commits > 0 {
            let transaction = database.begin_write().context("flush")?;
            transaction.commit().map_err(commit_failure)?;
            writer.deferred_commits = 0;
        }
        Ok(())
    }

    fn compact(&self) -> Result<bool> {
        const OPERATION: &str = "compact the database";
        let mut writer = self.writer();
        self.check_writable(OPERATION)?;
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(Open { handle, view }) = open.take() else {
            return Err(Error::closed(OPERATION));
        };
        drop(view);
        let Some(Handle::Writes { mut database }) = Arc::into_inner(handle) else {
            return Err(Error::closed(OPERATION));
        };
        let compacted = guard(OPERATION, || {
            self.flush(&mut writer, &database)?;
            database.compact().map_err(|error| match error {
                redb::CompactionError::TransactionInProgress => {
                    Error::new(ErrorKind::InvalidArgument, OPERATION)
                        .with_message("a snapshot or an iterator is held; drop it first")
                        .with_retryable(true)
                }
                other => failure::wrap(other.into(), OPERATION),
            })
        });
        let handle = Handle::Writes { database };
        let view = guard(OPERATION, || View::read(&handle.begin_read()?))?;
        *open = Some(Open {
            handle: Arc::new(handle),
            view: Some(Arc::new(view)),
        });
        compacted
    }

    fn close(&self) -> Result<()> {
        const OPERATION: &str = "close the database";
        let mut writer = self.writer();
        let open = self
            .open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(Open { handle, view }) = open else {
            return Ok(());
        };
        drop(view);
        let flushed = match &*handle {
            Handle::Writes { database } => guard("flush", || self.flush(&mut writer, database)),
            Handle::Reads { .. } => Ok(()),
        };
        // Nobody else has the handle: reads use it under the lock that it was taken from, and writes
        // under the one that is held here.
        let closed = guard(OPERATION, || match Arc::into_inner(handle) {
            Some(Handle::Writes { database }) => database.close().context(OPERATION),
            Some(Handle::Reads { database }) => database.close().context(OPERATION),
            None => Ok(()),
        });
        flushed.and(closed)
    }
}

/// The error for a commit that succeeded and cannot be seen here.
fn unpublished(operation: &'static str) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, operation)
        .with_message("a commit succeeded but could not be read back; open the file again")
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "closing on drop failed");
        }
    }
}

impl Storage for Database {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            sample_bytes_max: self.inner.sample_bytes_max,
            ..Capabilities::full("redb")
        }
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        const OPERATION: &str = "store a batch";
        self.inner.check_writable(OPERATION)?;
        check_batch(batch, self.inner.sample_bytes_max)?;
        if batch.is_empty() {
            return Ok(StoreReport::default());
        }
        self.inner.group.store(batch, |batches| {
            let reports = self.inner.write(OPERATION, |transaction, _| {
                let reports = batches.iter().map(|batch| transaction.store(batch));
                reports.collect::<Result<Vec<_>>>().map(Some)
            })?;
            Ok(reports.unwrap_or_default())
        })
    }

    fn flush(&self) -> Result<()> {
        let mut writer = self.inner.writer();
        let open = self.inner.opened("flush")?;
        match &*open.handle {
            Handle::Writes { database } => {
                guard("flush", || self.inner.flush(&mut writer, database))
            }
            Handle::Reads { .. } => Ok(()),
        }
    }

    fn close(&self) -> Result<()> {
        self.inner.close()
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
        let changed = self.inner.write(operation, |transaction, view| {
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
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}
