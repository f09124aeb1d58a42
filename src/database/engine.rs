//! [`Engine`]: an open file. Who reads it, who writes it, and when it is let go of.
//!
//! Readers take the view of the last commit, under a lock that is held for that long; a handle that follows
//! another process makes a view for each read and keeps none. One thread at a time writes, and publishes
//! the next view after its commit. What is written is `write.rs`, what is read `snapshot.rs`, how a commit
//! becomes durable `commit.rs`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{ReadTransaction, ReadableDatabase};

use super::commit::Committer;
use super::failure::{Context, disk_failure, guard, wrap};
use super::group::Group;
use super::journal::Journal;
use super::log;
use super::metrics::Counters;
use super::options::Options;
use super::plan::Access;
use super::readers::Readers;
#[cfg(feature = "simulation")]
use super::simulation::Mutant;
use super::view::View;
use super::volume::Volume;
use super::write::Transaction;
use crate::error::{Error, ErrorKind, Result};

const COMPACT: &str = "compact the database";
/// How often commits ask whether the file is still at its path: each time would cost a durable write half of its time again, see
/// [`Log::append`](log::Log::append).
const PLACE_ASKED: Duration = Duration::from_secs(1);

/// An open file.
pub(super) struct Engine {
    pub(super) path: PathBuf,
    volume: Arc<Volume>,
    pub(super) sample_bytes_max: usize,
    /// Where redb's part of the file begins.
    pub(super) base: u64,
    /// What is open, until it is closed. Only who holds `writer` may keep the handle beyond this lock.
    open: RwLock<Option<Open>>,
    /// Whether it is closed, for whoever asks before each sample.
    is_closed: AtomicBool,
    /// Held by whoever writes.
    writer: Mutex<Writer>,
    pub(super) group: Group,
    pub(super) readers: Arc<Readers>,
    /// Overrides the planner, in tests.
    pub(super) forced: Mutex<Option<Access>>,
    /// What this engine does wrong, in simulations.
    #[cfg(feature = "simulation")]
    mutant: Option<Mutant>,
}

struct Writer {
    /// `None` for a handle that only reads.
    committer: Option<Committer>,
    place: Place,
    /// Whether a commit could not be published, so that `view` is not the last state.
    is_stale: bool,
    /// Room for the next journal.
    room: Vec<u8>,
}

/// Where the file was when it was opened. What is written to a file that was replaced or removed meanwhile is lost.
struct Place {
    /// Whatever the working directory is by now; `None` where that is not known.
    path: Option<PathBuf>,
    /// When it was last seen to be there.
    seen: Instant,
}

#[derive(Clone)]
struct Open {
    handle: Arc<Handle>,
    /// The last commit; `None` for a handle that follows another process, and for one that compacting failed for, which
    /// writes nothing more.
    view: Option<Arc<View>>,
}

/// What redb has open.
pub(super) enum Handle {
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

impl Engine {
    /// What was opened; without a view it follows another process.
    pub(super) fn new(
        path: PathBuf,
        volume: Arc<Volume>,
        options: &Options,
        base: u64,
        handle: Handle,
        view: Option<View>,
        committer: Option<Committer>,
    ) -> Self {
        let open = Open {
            handle: Arc::new(handle),
            view: view.map(Arc::new),
        };
        let place = Place {
            path: std::path::absolute(&path).ok(),
            seen: Instant::now(),
        };
        Self {
            path,
            volume,
            sample_bytes_max: options.sample_bytes_max,
            base,
            open: RwLock::new(Some(open)),
            is_closed: AtomicBool::new(false),
            writer: Mutex::new(Writer {
                committer,
                place,
                is_stale: false,
                room: Vec::new(),
            }),
            group: Group::default(),
            readers: Arc::new(Readers::new(options.read_threads)),
            forced: Mutex::new(None),
            #[cfg(feature = "simulation")]
            mutant: options.mutant,
        }
    }

    fn opened(&self, operation: &'static str) -> Result<Open> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| Error::closed(operation))
    }

    /// The state of the last commit.
    pub(super) fn view(&self, operation: &'static str) -> Result<Arc<View>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or_else(|| Error::closed(operation))?;
        match &open.view {
            Some(view) => Ok(Arc::clone(view)),
            // Another process may have written. Nothing is kept, since what a reader keeps the writer's
            // file must keep too.
            None => guard(operation, || {
                let transaction = open.handle.begin_read()?;
                View::read(transaction, self.volume.counters()).map(Arc::new)
            }),
        }
    }

    /// Fails when the database is closed, or the handle only reads.
    pub(super) fn check_writable(&self, operation: &'static str) -> Result<()> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        match open.as_ref().map(|open| &*open.handle) {
            None => Err(Error::closed(operation)),
            Some(Handle::Reads { .. }) => Err(self.read_only(operation)),
            Some(Handle::Writes { .. }) => Ok(()),
        }
    }

    /// Fails when the database is closed.
    pub(super) fn check_open(&self, operation: &'static str) -> Result<()> {
        match self.is_closed.load(Ordering::Acquire) {
            true => Err(Error::closed(operation)),
            false => Ok(()),
        }
    }

    fn publish(&self, view: &Arc<View>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.as_mut() {
            open.view = Some(Arc::clone(view));
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A commit that panicked is in doubt, which the committer knows.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in a write transaction and commits it, unless it wants nothing written.
    pub(super) fn write<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Transaction<'_>, &Arc<View>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let _span = tracing::debug_span!("commit", operation).entered();
        let mut writer = self.writer();
        let began = Instant::now();
        let open = self.opened(operation)?;
        let Writer {
            committer,
            place,
            is_stale,
            room,
        } = &mut *writer;
        let (Handle::Writes { database }, Some(committer)) = (&*open.handle, committer) else {
            return Err(self.read_only(operation));
        };
        let Some(view) = &open.view else {
            return Err(Error::new(ErrorKind::Io, operation)
                .with_subject(self.path.display())
                .with_message("compacting it failed; close the file and open it again"));
        };
        if *is_stale {
            return Err(unpublished(operation));
        }
        if place.seen.elapsed() >= PLACE_ASKED {
            self.check_place(place, operation)?;
        }
        guard(operation, || {
            let transaction = database.begin_write().context(operation)?;
            let mut all = Transaction::begin(&transaction, view)?;
            all.journal = Journal::in_room(std::mem::take(room));
            let Some(answer) = work(&mut all, view)? else {
                drop(all);
                transaction.abort().context(operation)?;
                return Ok(None);
            };
            let mut outcome = all.finish()?;
            #[cfg(feature = "simulation")]
            let withheld = match self.mutant {
                Some(mutant) => Some(mutant.withhold(database, &transaction)?),
                None => None,
            };
            let way = committer.commit(transaction, &mut outcome)?;
            let journal_bytes = outcome.journal.as_bytes().len();
            #[cfg(feature = "simulation")]
            if let Some(withheld) = withheld {
                withheld.commit(database, committer)?;
            }
            // From here on the batch is in the file: unless readers see it too, nobody may write on what
            // they see.
            *is_stale = true;
            *room = std::mem::take(&mut outcome.journal).into_room();
            let published = outcome.publish(database, view.identity);
            let view = published.map_err(|cause| unpublished(operation).with_cause(cause))?;
            self.publish(&Arc::new(view));
            *is_stale = false;
            let took = began.elapsed();
            self.counters().commit(way, log::padded(journal_bytes), took);
            tracing::debug!(name: "committed", ?way, journal_bytes, took_us = took.as_micros() as u64, "committed");
            Ok(Some(answer))
        })
        .map_err(|error| match error.kind() {
            // A panic in the commit or behind it.
            ErrorKind::Damaged if committer.is_in_doubt() || *is_stale => {
                unpublished(operation).with_cause(error)
            }
            _ => error,
        })
        .map_err(|error| match error.subject() {
            Some(_) => error,
            None => error.with_subject(self.path.display()),
        })
    }

    /// Fails when the file is no longer at its path.
    fn check_place(&self, place: &mut Place, operation: &'static str) -> Result<()> {
        let Some(path) = &place.path else {
            return Ok(());
        };
        // A folder that cannot be looked into any more says nothing of the file.
        if self.volume.disk().is_at(path).unwrap_or(true) {
            place.seen = Instant::now();
            return Ok(());
        }
        Err(Error::new(ErrorKind::ReadOnly, operation)
            .with_subject(self.path.display())
            .with_message(
                "the file was moved, replaced or removed while it was open; what was stored since is not at its path",
            ))
    }

    fn read_only(&self, operation: &'static str) -> Error {
        Error::new(ErrorKind::ReadOnly, operation)
            .with_subject(self.path.display())
            .with_message("it was opened for reading only")
    }

    /// What was done so far, counted.
    pub(super) fn counters(&self) -> &Counters {
        self.volume.counters()
    }

    /// The size of the file that is open, whatever is at its path by now.
    pub(super) fn file_bytes(&self, operation: &'static str) -> Result<u64> {
        let bytes = self.volume.disk().len();
        bytes.map_err(|error| disk_failure(operation, error))
    }

    /// Makes every commit so far durable.
    pub(super) fn flush(&self) -> Result<()> {
        const OPERATION: &str = "flush";
        let mut writer = self.writer();
        self.check_open(OPERATION)?;
        let Writer {
            committer, place, ..
        } = &mut *writer;
        match committer {
            Some(committer) => {
                guard(OPERATION, || committer.flush())?;
                self.check_place(place, OPERATION)
            }
            None => Ok(()),
        }
    }

    /// The state of the last commit, after showing it to `see` while everything of it is in redb's part of the
    /// file and nobody changes that; where the part lies is said unless another process may.
    pub(super) fn settled(
        &self,
        operation: &'static str,
        see: impl FnOnce(&View, Option<&Volume>) -> Result<()>,
    ) -> Result<Arc<View>> {
        let mut writer = self.writer();
        let open = self.opened(operation)?;
        if let (Handle::Writes { database }, Some(committer)) =
            (&*open.handle, &mut writer.committer)
        {
            guard(operation, || committer.settle(database))?;
        }
        let is_followed = open.view.is_none();
        drop(open);
        let view = self.view(operation)?;
        see(&view, (!is_followed).then_some(&*self.volume))?;
        Ok(view)
    }

    /// Makes redb durable up to here, so that pages that were given up are used again.
    pub(super) fn checkpoint(&self, operation: &'static str) -> Result<()> {
        let mut writer = self.writer();
        let open = self.opened(operation)?;
        match (&*open.handle, &mut writer.committer) {
            (Handle::Writes { database }, Some(committer)) => {
                guard(operation, || committer.settle(database))
            }
            _ => Ok(()),
        }
    }

    /// Fails unless the file can be compacted now, so that nothing is begun for nothing.
    pub(super) fn check_compactable(&self) -> Result<()> {
        // Whoever writes meanwhile holds a view, and lets go of it.
        let _writer = self.writer();
        self.check_writable(COMPACT)?;
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        match open.as_ref().and_then(|open| open.view.as_ref()) {
            Some(view) if Arc::strong_count(view) > 1 || !view.is_only_one() => Err(is_held()),
            _ => Ok(()),
        }
    }

    pub(super) fn compact(&self) -> Result<bool> {
        const OPERATION: &str = COMPACT;
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
            if let Some(committer) = &mut writer.committer {
                committer.settle(&database)?;
            }
            let compacted = database.compact().map_err(|error| match error {
                redb::CompactionError::TransactionInProgress => is_held(),
                other => wrap(other.into(), OPERATION),
            })?;
            // No checkpoint here: its pages would go to the end of the file, which doubles for them, and closing could
            // not take that back. An opening after a crash before the next one walks the whole file.
            Ok(compacted)
        });
        let handle = Handle::Writes { database };
        let view = guard(OPERATION, || {
            View::read(handle.begin_read()?, self.volume.counters()).map(Arc::new)
        });
        // Whatever failed, it is not closed before it is told to be.
        *open = Some(Open {
            handle: Arc::new(handle),
            view: view.as_ref().ok().cloned(),
        });
        compacted.and_then(|compacted| view.map(|_| compacted))
    }

    pub(super) fn close(&self) -> Result<()> {
        const OPERATION: &str = "close the database";
        let mut writer = self.writer();
        let open = self
            .open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.is_closed.store(true, Ordering::Release);
        let Some(Open { handle, view }) = open else {
            return Ok(());
        };
        drop(view);
        let flushed = match (&*handle, writer.committer.take()) {
            (Handle::Writes { database }, Some(committer)) => {
                guard("flush", || committer.close(database))
                    .and_then(|()| self.check_place(&mut writer.place, OPERATION))
            }
            _ => Ok(()),
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

/// The error for compacting while pages cannot move.
fn is_held() -> Error {
    Error::new(ErrorKind::InvalidArgument, COMPACT)
        .with_message("a snapshot or an iterator is held; drop it first")
        .with_retryable(true)
}

/// The error for a commit that may have succeeded and cannot be seen here.
fn unpublished(operation: &'static str) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, operation).with_message(
        "a commit could not be read back, and may have succeeded; open the file again",
    )
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(name: "close_failed", path = %self.path.display(), %error, "closing on drop failed");
        }
    }
}
