//! [`MemoryStorage`]: the reference implementation, the simplest code that is right.
//!
//! Samples in a map by rank, ranks in a map by id; every read scans. No index lives here: what the
//! embedded database answers is tested against what this one answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{Error, Result};
use crate::query::{Query, Selection};
use crate::sample::{SAMPLE_BYTES_MAX, Sample, Status};
use crate::storage::{self, Capabilities, Ranked, Scan, Storage, StoreReport, check_batch};

/// Samples in memory, gone with the process.
///
/// Clones are handles of one storage. A read sees the samples as they were when it began, at the cost
/// of copying the maps (not the payloads) when a write comes in between.
///
/// ```
/// use samplestore::{MemoryStorage, Query, Sample, Storage};
///
/// let storage = MemoryStorage::new();
/// storage.store(&[Sample::builder("weather").build()?])?;
/// assert_eq!(storage.count(&Query::new().pipeline("weather"))?, 1);
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    identity: u64,
    sample_bytes_max: usize,
    shared: Arc<RwLock<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    samples: Arc<Samples>,
    closed: bool,
}

#[derive(Clone, Debug, Default)]
struct Samples {
    by_rank: BTreeMap<u64, Sample>,
    ranks: HashMap<String, u64>,
    next_rank: u64,
}

impl MemoryStorage {
    /// An empty storage that takes samples of up to 16 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self::with_sample_bytes_max(SAMPLE_BYTES_MAX)
    }

    /// An empty storage with another limit on the encoded size of a sample, in bytes.
    #[must_use]
    pub fn with_sample_bytes_max(sample_bytes_max: usize) -> Self {
        Self {
            identity: uuid::Uuid::now_v7().as_u64_pair().1,
            sample_bytes_max,
            shared: Arc::default(),
        }
    }

    // A panic while a lock is held leaves the maps whole: each change is the last step of its call.
    fn read(&self, operation: &'static str) -> Result<RwLockReadGuard<'_, Shared>> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        match shared.closed {
            true => Err(Error::closed(operation)),
            false => Ok(shared),
        }
    }

    fn write(&self, operation: &'static str) -> Result<RwLockWriteGuard<'_, Shared>> {
        let shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        match shared.closed {
            true => Err(Error::closed(operation)),
            false => Ok(shared),
        }
    }

    /// The selected samples, under the caller's lock.
    fn select(&self, shared: &Shared, query: &Query) -> Result<Vec<Sample>> {
        storage::iterate_scan(self.scan_of(&shared.samples), query)?.collect()
    }

    fn scan_of<'a>(&self, samples: &Arc<Samples>) -> Scan<'a> {
        let samples = Arc::clone(samples);
        let mut next_rank = 0;
        Scan {
            identity: self.identity,
            samples: Box::new(std::iter::from_fn(move || {
                let (&rank, sample) = samples.by_rank.range(next_rank..).next()?;
                next_rank = rank + 1;
                let sample = sample.clone();
                Some(Ok(Ranked { rank, sample }))
            })),
        }
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl Samples {
    /// Stores one sample and says whether its id was new.
    fn put(&mut self, sample: &Sample) -> bool {
        let known = self.ranks.get(sample.id()).copied();
        let rank = known.unwrap_or_else(|| {
            let rank = self.next_rank;
            self.next_rank += 1;
            self.ranks.insert(sample.id().to_owned(), rank);
            rank
        });
        self.by_rank.insert(rank, sample.clone());
        known.is_none()
    }

    fn remove(&mut self, id: &str) {
        if let Some(rank) = self.ranks.remove(id) {
            self.by_rank.remove(&rank);
        }
    }
}

impl Storage for MemoryStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: false,
            streaming: false,
            sample_bytes_max: self.sample_bytes_max,
            ..Capabilities::full("memory")
        }
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        let mut shared = self.write("store a batch")?;
        check_batch(batch, self.sample_bytes_max)?;
        let mut report = StoreReport::default();
        if !batch.is_empty() {
            let samples = Arc::make_mut(&mut shared.samples);
            for sample in batch {
                match samples.put(sample) {
                    true => report.inserted += 1,
                    false => report.replaced += 1,
                }
            }
        }
        Ok(report)
    }

    fn flush(&self) -> Result<()> {
        self.read("flush").map(drop)
    }

    fn close(&self) -> Result<()> {
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        shared.closed = true;
        Ok(())
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        let shared = self.read("retrieve a sample")?;
        let samples = &shared.samples;
        Ok(samples
            .ranks
            .get(id)
            .and_then(|rank| samples.by_rank.get(rank))
            .cloned())
    }

    fn scan(&self) -> Result<Scan<'_>> {
        let shared = self.read("read samples")?;
        Ok(self.scan_of(&shared.samples))
    }

    fn set_status(&self, selection: &Selection, from: Option<Status>, to: Status) -> Result<u64> {
        let mut shared = self.write("set a status")?;
        let query = selection.to_query();
        let all = self.select(&shared, &query.clone().limit(u64::MAX))?;
        let selected = storage::in_status(all.into_iter().map(Ok), from, &query);
        let selected = selected.collect::<Result<Vec<_>>>()?;
        let samples = Arc::make_mut(&mut shared.samples);
        let count = selected.len() as u64;
        for sample in selected {
            samples.put(&sample.with_status(to));
        }
        Ok(count)
    }

    fn delete(&self, selection: &Selection) -> Result<u64> {
        let mut shared = self.write("delete samples")?;
        let selected = self.select(&shared, &selection.to_query())?;
        let samples = Arc::make_mut(&mut shared.samples);
        for sample in &selected {
            samples.remove(sample.id());
        }
        Ok(selected.len() as u64)
    }
}
