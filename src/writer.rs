//! The background [`Writer`]: a bounded queue and a thread in front of any storage (rule P7).
//!
//! Submitting gives a [`Ticket`] that is waited on or awaited; what is submitted while a commit is
//! under way shares the next one. The queue lives in `writer/queue.rs`, the thread's work in
//! `writer/commit.rs`, tickets in `writer/ticket.rs`. There is no async runtime, and no timer: the
//! thread never waits for more to come before it commits.

mod commit;
mod queue;
mod ticket;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

pub use ticket::{Receipt, Ticket};

use crate::error::{Error, ErrorKind, Result};
use crate::panicked;
use crate::query::{Facets, Page, Query, Selection};
use crate::sample::{Sample, Status};
use crate::storage::{Capabilities, Samples, Scan, Storage, StoreReport};
use queue::{Queue, Submission};
use ticket::Unclaimed;

/// How many samples may wait in the queue unless told otherwise.
const QUEUE_SAMPLES_MAX: usize = 16_384;
/// How many samples share a commit at most unless told otherwise.
const COMMIT_SAMPLES_MAX: usize = 8_192;

/// Stores in the background, in the order of submission, many submissions in one commit.
///
/// [`submit`](Writer::submit) takes a batch and gives a [`Ticket`] that resolves once the batch is as
/// durable as the storage behind makes it. Whatever has gathered while the thread was busy is stored
/// as one batch, so that many small submissions cost one commit; nothing ever waits for more to come.
/// When such a group fails, each of its submissions is stored by itself, so that a bad batch fails its
/// own ticket alone. Two cases differ: after an [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) nothing
/// is tried again, since a second commit that succeeds proves nothing about the first, and every
/// ticket of the group gets that error; and a storage whose batches are not atomic gets each
/// submission by itself from the start, since its half-stored group would have to be stored twice.
///
/// A writer is a [`Storage`] too. [`store`](Storage::store), `set_status` and `delete` wait for what was
/// accepted before them and then go to the storage behind on the calling thread: their place in the
/// order is kept, and so is the storage's own exact report (rule W5), which submissions that share a
/// commit cannot have (see [`Receipt::report`]). Reads go straight to the storage behind: they see what is committed, so
/// everything whose `store` returned or whose ticket resolved, and not what is still queued. Call
/// [`flush`](Storage::flush) in between to read what was submitted.
///
/// Clones are handles of one writer. [`close`](Storage::close) stores what was accepted and closes the
/// storage; dropping the last handle stores what was accepted and lets the storage go, without
/// closing it for others who hold it. An error whose ticket nobody looked at is not lost: the next
/// `flush` or `close` returns it.
///
/// ```
/// use samplestore::{MemoryStorage, Query, Sample, Storage, Writer};
///
/// let writer = Writer::new(MemoryStorage::new())?;
/// let tickets = (0..100)
///     .map(|_| writer.submit([Sample::builder("weather").build()?]))
///     .collect::<Result<Vec<_>, _>>()?;
/// for ticket in tickets {
///     assert_eq!(ticket.wait()?.samples(), 1);
/// }
/// assert_eq!(writer.count(&Query::new())?, 100);
/// writer.close()?;
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone)]
pub struct Writer {
    handle: Arc<Handle>,
}

/// What the clones share; dropping it stops the thread.
struct Handle {
    queue: Arc<Queue>,
    storage: Arc<dyn Storage>,
    unclaimed: Arc<Unclaimed>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
}

/// Options of a [`Writer`]; see [`Writer::builder`].
#[must_use = "a builder does nothing until `start` is called"]
pub struct WriterBuilder {
    storage: Arc<dyn Storage>,
    queue_samples_max: usize,
    commit_samples_max: usize,
}

/// What [`Writer::try_submit`] gives back: the batch, and why it was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The queue is full, or others wait before it.
    #[error("the writer's queue is full; wait, or use submit, which does")]
    Full(Vec<Sample>),
    /// The writer is closed.
    #[error("the writer is closed")]
    Closed(Vec<Sample>),
}

impl Refused {
    /// The batch that was not taken.
    #[must_use]
    pub fn into_batch(self) -> Vec<Sample> {
        match self {
            Self::Full(batch) | Self::Closed(batch) => batch,
        }
    }
}

impl WriterBuilder {
    /// How many samples may wait in the queue: 16,384 unless set, at least 1. A single batch that is
    /// larger is taken when the queue is empty. What is being committed is not counted, so at most
    /// this many and one commit's samples are held.
    pub fn queue_samples_max(mut self, samples: usize) -> Self {
        self.queue_samples_max = samples.max(1);
        self
    }

    /// How many samples share a commit at most: 8,192 unless set, at least 1, which means that
    /// nothing is shared. A single batch that is larger has a commit of its own.
    pub fn commit_samples_max(mut self, samples: usize) -> Self {
        self.commit_samples_max = samples.max(1);
        self
    }

    /// Starts the writer's thread.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) when the system gives no thread.
    pub fn start(self) -> Result<Writer> {
        let queue = Arc::new(Queue::new(self.queue_samples_max));
        let thread = {
            let (queue, storage) = (Arc::clone(&queue), Arc::clone(&self.storage));
            let commit_samples_max = match storage.capabilities().atomic_batches {
                true => self.commit_samples_max,
                false => 1,
            };
            thread::Builder::new()
                .name("samplestore-writer".to_owned())
                .spawn(move || commit::run(&queue, &*storage, commit_samples_max))
                .map_err(|cause| Error::io("start a thread", "the background writer", cause))?
        };
        let handle = Handle {
            queue,
            storage: self.storage,
            unclaimed: Arc::default(),
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        };
        Ok(Writer {
            handle: Arc::new(handle),
        })
    }
}

impl Writer {
    /// A writer with default options in front of `storage`: any storage, or an `Arc` of one.
    ///
    /// # Errors
    /// Those of [`WriterBuilder::start`].
    pub fn new(storage: impl Storage + 'static) -> Result<Self> {
        Self::builder(storage).start()
    }

    /// Starts the options of a writer in front of `storage`.
    ///
    /// ```
    /// use samplestore::{MemoryStorage, Writer};
    ///
    /// let writer = Writer::builder(MemoryStorage::new())
    ///     .queue_samples_max(1_000)
    ///     .commit_samples_max(500)
    ///     .start()?;
    /// # Ok::<(), samplestore::Error>(())
    /// ```
    pub fn builder(storage: impl Storage + 'static) -> WriterBuilder {
        WriterBuilder {
            storage: Arc::new(storage),
            queue_samples_max: QUEUE_SAMPLES_MAX,
            commit_samples_max: COMMIT_SAMPLES_MAX,
        }
    }

    /// Puts a batch into the queue; waits while the queue is full, first come, first served. An
    /// empty batch resolves at once.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) after, or while waiting at, a close: the batch is not stored.
    pub fn submit(&self, batch: impl Into<Vec<Sample>>) -> Result<Ticket> {
        self.check_not_within("submit a batch")?;
        let batch = batch.into();
        let (promise, ticket) = ticket::pair(&self.handle.unclaimed);
        if batch.is_empty() {
            self.check_open("submit a batch")?;
            promise.resolve(Ok(Receipt::exact(StoreReport::default())));
            return Ok(ticket);
        }
        self.handle
            .queue
            .push(Submission { batch, promise })
            .map_err(|submission| {
                submission.withdraw();
                Error::closed("submit a batch")
            })?;
        Ok(ticket)
    }

    /// Puts a batch into the queue if there is room now, and gives it back if not.
    ///
    /// # Errors
    /// [`Refused`], with the batch.
    pub fn try_submit(&self, batch: impl Into<Vec<Sample>>) -> Result<Ticket, Refused> {
        let (promise, ticket) = ticket::pair(&self.handle.unclaimed);
        let batch = batch.into();
        if batch.is_empty() && !self.handle.queue.is_closed() {
            promise.resolve(Ok(Receipt::exact(StoreReport::default())));
            return Ok(ticket);
        }
        let submission = Submission { batch, promise };
        match self.handle.queue.try_push(submission) {
            Ok(()) => Ok(ticket),
            Err((submission, closed)) => {
                let batch = submission.withdraw();
                Err(if closed {
                    Refused::Closed(batch)
                } else {
                    Refused::Full(batch)
                })
            }
        }
    }

    fn check_open(&self, operation: &'static str) -> Result<()> {
        match self.handle.queue.is_closed() {
            true => Err(Error::closed(operation)),
            false => Ok(()),
        }
    }

    /// Refuses what would make the writer's thread wait for itself.
    fn check_not_within(&self, operation: &'static str) -> Result<()> {
        if thread::current().id() == self.handle.thread_id {
            return Err(
                Error::new(ErrorKind::InvalidArgument, operation).with_message(
                    "called on the writer's own thread, by a waker or by the storage behind it",
                ),
            );
        }
        Ok(())
    }

    /// Waits for what was accepted so far.
    fn settle(&self, operation: &'static str) -> Result<()> {
        self.check_open(operation)?;
        self.check_not_within(operation)?;
        self.handle.queue.drain();
        Ok(())
    }
}

impl Handle {
    /// Takes no more, waits until what was accepted is stored, and ends the thread.
    fn stop(&self) {
        self.queue.close();
        // The last handle may be dropped by a waker: the thread then ends by itself.
        if thread::current().id() == self.thread_id {
            return;
        }
        // Held while joining, so that a second close waits as well.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // The thread catches every panic of the storage and of wakers; its own are our bugs and
            // have resolved the tickets in hand as `Panicked`.
            drop(thread.join());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Storage for Writer {
    fn capabilities(&self) -> Capabilities {
        self.handle.storage.capabilities()
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        self.settle("store a batch")?;
        panicked::catch_error("store a batch", || self.handle.storage.store(batch))
    }

    fn flush(&self) -> Result<()> {
        self.settle("flush")?;
        let flushed = self.handle.storage.flush();
        self.handle.unclaimed.take().map_or(flushed, Err)
    }

    fn close(&self) -> Result<()> {
        self.check_not_within("close the writer")?;
        self.handle.stop();
        let closed = self.handle.storage.close();
        self.handle.unclaimed.take().map_or(closed, Err)
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        self.check_open("retrieve a sample")?;
        self.handle.storage.retrieve(id)
    }

    fn scan(&self) -> Result<Scan<'_>> {
        self.check_open("read samples")?;
        self.handle.storage.scan()
    }

    fn list(&self, query: &Query) -> Result<Page> {
        self.check_open("list samples")?;
        self.handle.storage.list(query)
    }

    fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
        self.check_open("read samples")?;
        self.handle.storage.iterate(query)
    }

    fn count(&self, query: &Query) -> Result<u64> {
        self.check_open("count samples")?;
        self.handle.storage.count(query)
    }

    fn facets(&self, query: &Query) -> Result<Facets> {
        self.check_open("count samples")?;
        self.handle.storage.facets(query)
    }

    fn set_status(&self, selection: &Selection, from: Option<Status>, to: Status) -> Result<u64> {
        self.settle("set a status")?;
        self.handle.storage.set_status(selection, from, to)
    }

    fn delete(&self, selection: &Selection) -> Result<u64> {
        self.settle("delete samples")?;
        self.handle.storage.delete(selection)
    }

    fn unsupported(&self, operation: &'static str) -> Error {
        self.handle.storage.unsupported(operation)
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("storage", &&*self.handle.storage)
            .field("closed", &self.handle.queue.is_closed())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WriterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterBuilder")
            .field("storage", &&*self.storage)
            .field("queue_samples_max", &self.queue_samples_max)
            .field("commit_samples_max", &self.commit_samples_max)
            .finish()
    }
}
