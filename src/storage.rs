//! The [`Storage`] trait that every backend has, and what goes with it.
//!
//! Only three methods are required. The other ones answer `Unsupported`, or do the right thing, if
//! slowly, on top of [`Storage::scan`]: that slow way is `storage/scan.rs`. The contract, rule by rule,
//! is the chapter [`crate::docs::contract`] of these docs.

mod forward;
mod scan;

use std::fmt;

use crate::error::{Error, Limit, Result};
use crate::query::{Facets, Page, Query, Selection};
use crate::sample::{SAMPLE_BYTES_MAX, Sample, Status};

#[cfg(any(feature = "delta", feature = "postgres"))]
pub(crate) use scan::{Position, decode as decode_position, encode as encode_position};
pub use scan::{Ranked, Scan};
#[cfg(feature = "files")]
pub(crate) use scan::{count as count_scan, facets as facets_scan, list as list_scan};
pub(crate) use scan::{in_status, iterate as iterate_scan};

/// Samples one by one, each read when it is asked for.
pub type Samples<'a> = Box<dyn Iterator<Item = Result<Sample>> + Send + 'a>;

/// A place that keeps samples.
///
/// The primary operation is [`store`](Storage::store), for a batch. Reading is optional: a backend that
/// cannot do it says so in its [`Capabilities`] and answers
/// [`Unsupported`](crate::ErrorKind::Unsupported) before any work is done. Handles may be used from
/// many threads at once.
///
/// Opening is each backend's own constructor. A minimal backend that can be read implements
/// `capabilities`, `store`, `close`, `retrieve` and `scan`, and inherits the rest;
/// `examples/custom_storage.rs` is one.
///
/// ```
/// use samplestore::{MemoryStorage, Query, Sample, Status, Storage, data};
///
/// let storage = MemoryStorage::new();
/// let sample = Sample::builder("weather").id("a").data(data! { "temp" => 71.6 }).build()?;
/// storage.store(&[sample])?;
///
/// let moved = storage.set_status(&"a".into(), Some(Status::Pending), Status::Ready)?;
/// assert_eq!(moved, 1);
/// assert_eq!(storage.count(&Query::new().status(Status::Ready))?, 1);
/// storage.close()?;
/// # Ok::<(), samplestore::Error>(())
/// ```
pub trait Storage: Send + Sync {
    /// What this backend can do. Constant for a handle, and good after `close` too.
    fn capabilities(&self) -> Capabilities;

    /// Stores a batch: each sample is inserted, or replaces the whole sample of its id; of one id
    /// twice in the batch the later sample wins. An empty batch is fine and touches nothing.
    ///
    /// When it returns under the default durability, the batch survives the loss of the process and
    /// of power, for a backend that is [`durable`](Capabilities::durable).
    ///
    /// # Errors
    /// [`InvalidSample`](crate::ErrorKind::InvalidSample) naming the sample, when one is too large or
    /// otherwise not to be kept; nothing is stored then. [`Partial`](crate::ErrorKind::Partial), with
    /// [`Error::stored_ids`], from backends whose batches are not atomic.
    /// [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when a commit failed half-way.
    fn store(&self, batch: &[Sample]) -> Result<StoreReport>;

    /// Makes durable what was stored under a deferred durability, and waits for accepted writes.
    ///
    /// Unless a backend has something to make durable this stores an empty batch, which touches
    /// nothing but is refused by a closed storage.
    ///
    /// # Errors
    /// Those of the backend.
    fn flush(&self) -> Result<()> {
        self.store(&[]).map(drop)
    }

    /// Waits for accepted writes and lets go of the storage. Deletes nothing. Closing again is fine;
    /// any other use afterwards is a [`Closed`](crate::ErrorKind::Closed) error.
    ///
    /// # Errors
    /// Those of the backend, when what was accepted could not be kept.
    fn close(&self) -> Result<()>;

    /// The sample of this id, or `None`.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) unless the backend offers
    /// [`retrieve`](Capabilities::retrieve).
    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        let _ = id;
        Err(self.unsupported("retrieve a sample"))
    }

    /// Every sample with its rank, in order of rank: the primitive from which the other reads are
    /// made unless a backend has better ways. Ranks grow in the order in which ids were first
    /// stored, are kept when a sample is replaced, and are never used again.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) unless the backend implements it.
    fn scan(&self) -> Result<Scan<'_>> {
        Err(self.unsupported("read samples"))
    }

    /// One page of what the query asks for, with a cursor while more may follow. Without a limit the
    /// page holds everything: use [`iterate`](Storage::iterate) where that may be much.
    ///
    /// # Errors
    /// [`InvalidCursor`](crate::ErrorKind::InvalidCursor) for a cursor that does not fit;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) unless the backend offers
    /// [`query`](Capabilities::query).
    fn list(&self, query: &Query) -> Result<Page> {
        scan::list(self.scan()?, query)
    }

    /// What the query asks for, one by one, from one consistent snapshot.
    ///
    /// # Errors
    /// As [`list`](Storage::list); each item may be an error of its own.
    fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
        scan::iterate(self.scan()?, query)
    }

    /// How many samples [`iterate`](Storage::iterate) would give, limit and cursor counted in.
    ///
    /// # Errors
    /// As [`list`](Storage::list).
    fn count(&self, query: &Query) -> Result<u64> {
        scan::count(self.scan()?, query)
    }

    /// How many of the samples that [`iterate`](Storage::iterate) would give are of each pipeline and
    /// status.
    ///
    /// # Errors
    /// As [`list`](Storage::list).
    fn facets(&self, query: &Query) -> Result<Facets> {
        scan::facets(self.scan()?, query)
    }

    /// Moves the selected samples to the status `to`, all or none, and says how many were moved. When
    /// `from` is given, it is one more filter of the selection: only samples now in it are moved, and
    /// only they count against a limit. Those already in `to` are counted, unless `from` leaves them
    /// out. Nothing else of a sample changes.
    ///
    /// What is inherited reads and then stores: another writer may come between the two. A backend of
    /// atomic batches that has several writers does it in one transaction of its own.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) unless the backend offers
    /// [`set_status`](Capabilities::set_status); else those of [`store`](Storage::store).
    fn set_status(&self, selection: &Selection, from: Option<Status>, to: Status) -> Result<u64> {
        if !self.capabilities().set_status {
            return Err(self.unsupported("set a status"));
        }
        let query = selection.to_query();
        let selected = self.iterate(&query.clone().limit(u64::MAX))?;
        let moved = in_status(selected, from, &query)
            .map(|sample| Ok(sample?.with_status(to)))
            .collect::<Result<Vec<_>>>()?;
        self.store(&moved)?;
        Ok(moved.len() as u64)
    }

    /// Removes the selected samples, all or none, and says how many there were.
    ///
    /// A backend that offers this and no [`query`](Capabilities::query) takes ids alone, and counts those
    /// that it was given.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) unless the backend offers
    /// [`delete`](Capabilities::delete). Of a backend whose batches are not atomic it tells which are removed nevertheless:
    /// [`Error::stored_ids`].
    fn delete(&self, selection: &Selection) -> Result<u64> {
        let _ = selection;
        Err(self.unsupported("delete samples"))
    }

    /// The error for an operation that this backend does not have.
    fn unsupported(&self, operation: &'static str) -> Error {
        Error::unsupported(operation, self.capabilities().name)
    }
}

impl fmt::Debug for dyn Storage + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({})", self.capabilities().name)
    }
}

/// What a backend can do. The conformance suite runs the cases that these allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The backend's name, one lower-case word.
    pub name: &'static str,
    /// A batch is stored whole or not at all (rule W1).
    pub atomic_batches: bool,
    /// What was stored is there after the process ends (rule W7).
    pub durable: bool,
    /// `retrieve` works.
    pub retrieve: bool,
    /// `list`, `iterate`, `count` and `facets` work.
    pub query: bool,
    /// `iterate` holds a bounded number of samples in memory (rule R9).
    pub streaming: bool,
    /// `set_status` works.
    pub set_status: bool,
    /// `delete` works.
    pub delete: bool,
    /// The largest sample it takes, in bytes of [`Sample::encoded_len`] (rule M8).
    pub sample_bytes_max: usize,
}

impl Capabilities {
    /// Everything, for a backend of this name; turn off what does not hold.
    #[must_use]
    pub const fn full(name: &'static str) -> Self {
        Self {
            name,
            atomic_batches: true,
            durable: true,
            retrieve: true,
            query: true,
            streaming: true,
            set_status: true,
            delete: true,
            sample_bytes_max: SAMPLE_BYTES_MAX,
        }
    }

    /// Storing alone, in durable batches that are not atomic, for a backend of this name.
    #[must_use]
    pub const fn write_only(name: &'static str) -> Self {
        Self {
            atomic_batches: false,
            retrieve: false,
            query: false,
            streaming: false,
            set_status: false,
            delete: false,
            ..Self::full(name)
        }
    }
}

/// What a store did. The two add up to the length of the batch: an id twice in one batch counts as
/// inserted and then replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreReport {
    /// Samples whose id was new.
    pub inserted: u64,
    /// Samples that replaced an older one.
    pub replaced: u64,
}

impl StoreReport {
    /// A report of so many.
    #[must_use]
    pub const fn new(inserted: u64, replaced: u64) -> Self {
        Self { inserted, replaced }
    }

    /// Both together.
    #[must_use]
    pub const fn stored(self) -> u64 {
        self.inserted + self.replaced
    }
}

impl std::ops::AddAssign for StoreReport {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.replaced += other.replaced;
    }
}

/// For backends: checks each sample of a batch against `sample_bytes_max`, the one limit that a sample
/// does not carry in itself (rules M8 and W6).
///
/// # Errors
/// [`InvalidSample`](crate::ErrorKind::InvalidSample) naming the first sample that is too large.
pub fn check_batch(batch: &[Sample], sample_bytes_max: usize) -> Result<()> {
    for (position, sample) in batch.iter().enumerate() {
        let bytes = sample.encoded_len();
        if bytes > sample_bytes_max {
            let limit = Limit::SampleBytes {
                bytes,
                max: sample_bytes_max,
            };
            return Err(Error::invalid_sample(limit).with_sample(position, sample.id()));
        }
    }
    Ok(())
}
