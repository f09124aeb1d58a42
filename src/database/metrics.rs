//! [`Metrics`]: what a handle has done since it was opened.
//!
//! Counters are relaxed atomics, changed where a commit, a lock or a read of the file costs far more. What a cache answers
//! from a cell without a lock is not counted, since counting would cost more than the answer; what had to be read is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::ser::SerializeStruct;

use super::Database;
use super::commit::Way;

/// Values of 0, and of each number of bits.
const BUCKETS: usize = 65;

/// What a handle of a database and its clones have done since the file was opened, in this process.
///
/// Other processes at the same file have figures of their own, and nothing of it is kept in the file: so the command's
/// `stats`, which opens a file to look at it, does not have them. Each figure is exact; taken while others work, figures
/// may be of different moments. Serialized, names are those of the fields.
///
/// ```
/// use samplestore::{Database, Sample, Storage};
///
/// let folder = tempfile::tempdir()?;
/// let database = Database::open(folder.path().join("samples.redb"))?;
/// database.store(&[Sample::builder("weather").build()?, Sample::builder("weather").build()?])?;
///
/// let metrics = database.metrics();
/// assert_eq!((metrics.commit_us.count(), metrics.batch_samples.max()), (1, 2));
/// println!("half of the commits took {} µs or less", metrics.commit_us.quantile(0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Milliseconds since it was opened.
    pub open_ms: u64,
    /// Of each transaction that was committed, the microseconds from when it was its turn to write until readers saw it.
    pub commit_us: Distribution,
    /// Bytes that each of them wrote to the log: a record, in whole pages of 4 KiB. What a commit changes of the file's pages comes
    /// on top, with a checkpoint; a direct commit writes these alone, and is not counted here.
    pub logged_bytes: Distribution,
    /// Commits that made a checkpoint of the log, which goes on behind their back.
    pub checkpoints: u64,
    /// Commits that went past the log: because they were too large for it, or other processes read along.
    pub direct_commits: u64,
    /// Samples of each batch that was stored.
    pub batch_samples: Distribution,
    /// Batches in each commit that stored some: those of threads that store at the same time share it.
    pub group_batches: Distribution,
    /// Blocks of records that short lists found kept from earlier ones.
    pub kept_block_hits: u64,
    /// Blocks that these lists read.
    pub kept_block_misses: u64,
    /// Leaves of indexes that were read and decoded; found decoded, they are not counted.
    pub leaves_read: u64,
    /// Pages that were read from the file since the cache, [`Options::cache_bytes`](super::Options::cache_bytes), did not have them.
    pub pages_read: u64,
    /// Their bytes.
    pub pages_read_bytes: u64,
}

/// How many values there were, how large and how they are distributed, to a factor of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    sum: u64,
    max: u64,
    /// By number of bits.
    buckets: [u64; BUCKETS],
}

impl Distribution {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The greatest of them; 0 when there was none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Their mean; 0 when there was none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count().max(1) as f64
    }

    /// A value that this share of them, 0 to 1, does not exceed: at most twice the least such value, and never more than
    /// [`max`](Self::max). 0 when there was none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share.clamp(0.0, 1.0)).ceil();
        let mut below = 0;
        for (last, count) in self.buckets() {
            below += count;
            if below as f64 >= wanted {
                return last.min(self.max);
            }
        }
        self.max
    }

    /// How many values there were up to each power of two: the greatest value that belongs there, and how many do which do not belong
    /// to the one before. Up to the last one that has any.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let used = self.buckets.iter().rposition(|count| *count > 0);
        let buckets = self.buckets[..used.map_or(0, |last| last + 1)].iter();
        buckets.enumerate().map(|(bits, count)| {
            let last = u64::MAX.checked_shr(64 - bits as u32).unwrap_or(0);
            (last, *count)
        })
    }
}

impl Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Distribution", 6)?;
        out.serialize_field("count", &self.count())?;
        out.serialize_field("sum", &self.sum)?;
        out.serialize_field("max", &self.max)?;
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            out.serialize_field(name, &self.quantile(share))?;
        }
        out.end()
    }
}

/// A distribution that is being counted.
#[derive(Debug)]
pub(super) struct Counted {
    sum: AtomicU64,
    max: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counted {
    pub(super) fn add(&self, value: u64) {
        self.sum.fetch_add(value, Relaxed);
        self.max.fetch_max(value, Relaxed);
        let bits = u64::BITS - value.leading_zeros();
        self.buckets[bits as usize].fetch_add(1, Relaxed);
    }

    fn taken(&self) -> Distribution {
        Distribution {
            sum: self.sum.load(Relaxed),
            max: self.max.load(Relaxed),
            buckets: std::array::from_fn(|bits| self.buckets[bits].load(Relaxed)),
        }
    }
}

/// Counts of an open file.
#[derive(Debug)]
pub(super) struct Counters {
    opened: Instant,
    commit_us: Counted,
    logged_bytes: Counted,
    checkpoints: AtomicU64,
    direct_commits: AtomicU64,
    batch_samples: Counted,
    group_batches: Counted,
    pub(super) kept_block_hits: AtomicU64,
    pub(super) kept_block_misses: AtomicU64,
    pub(super) leaves_read: AtomicU64,
    pages_read: AtomicU64,
    pages_read_bytes: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            commit_us: Counted::default(),
            logged_bytes: Counted::default(),
            checkpoints: AtomicU64::new(0),
            direct_commits: AtomicU64::new(0),
            batch_samples: Counted::default(),
            group_batches: Counted::default(),
            kept_block_hits: AtomicU64::new(0),
            kept_block_misses: AtomicU64::new(0),
            leaves_read: AtomicU64::new(0),
            pages_read: AtomicU64::new(0),
            pages_read_bytes: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// A page that had to be read from the file.
    pub(super) fn read(&self, bytes: usize) {
        self.pages_read.fetch_add(1, Relaxed);
        self.pages_read_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// A commit that readers see now, and what its record takes in the log, if it is there.
    pub(super) fn commit(&self, way: Way, record_bytes: Option<u64>, took: Duration) {
        self.commit_us
            .add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        match way {
            Way::Logged => {}
            Way::Checkpoint => drop(self.checkpoints.fetch_add(1, Relaxed)),
            Way::Direct => drop(self.direct_commits.fetch_add(1, Relaxed)),
        }
        if let (Some(bytes), Way::Logged | Way::Checkpoint) = (record_bytes, way) {
            self.logged_bytes.add(bytes);
        }
    }

    /// Batches of so many samples that were stored in one commit.
    pub(super) fn stored(&self, batches: impl ExactSizeIterator<Item = usize>) {
        self.group_batches.add(batches.len() as u64);
        for samples in batches {
            self.batch_samples.add(samples as u64);
        }
    }
}

impl Database {
    /// What this handle and its clones have done since the file was opened: how long commits took, how large batches were,
    /// what was found in memory and what was read. Takes no lock and reads nothing.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let counters = self.engine.counters();
        let open_ms = counters.opened.elapsed().as_millis();
        Metrics {
            open_ms: u64::try_from(open_ms).unwrap_or(u64::MAX),
            commit_us: counters.commit_us.taken(),
            logged_bytes: counters.logged_bytes.taken(),
            checkpoints: counters.checkpoints.load(Relaxed),
            direct_commits: counters.direct_commits.load(Relaxed),
            batch_samples: counters.batch_samples.taken(),
            group_batches: counters.group_batches.taken(),
            kept_block_hits: counters.kept_block_hits.load(Relaxed),
            kept_block_misses: counters.kept_block_misses.load(Relaxed),
            leaves_read: counters.leaves_read.load(Relaxed),
            pages_read: counters.pages_read.load(Relaxed),
            pages_read_bytes: counters.pages_read_bytes.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_exact_to_a_factor_of_two() {
        let counted = Counted::default();
        assert_eq!(counted.taken().quantile(0.5), 0);
        assert_eq!(counted.taken().buckets().count(), 0);
        for value in [0, 1, 2, 3, 4, 100, 1_000] {
            counted.add(value);
        }
        let taken = counted.taken();
        assert_eq!((taken.count(), taken.sum(), taken.max()), (7, 1_110, 1_000));
        assert!((taken.mean() - 1_110.0 / 7.0).abs() < 1e-9);
        let some = taken.buckets().filter(|(_, count)| *count > 0);
        assert_eq!(
            some.collect::<Vec<_>>(),
            [(0, 1), (1, 1), (3, 2), (7, 1), (127, 1), (1_023, 1)]
        );
        let quantiles = [0.0, 0.14, 0.5, 0.7, 0.8, 1.0].map(|share| taken.quantile(share));
        assert_eq!(quantiles, [0, 0, 3, 7, 127, 1_000]);
        counted.add(u64::MAX);
        assert_eq!(counted.taken().buckets().last(), Some((u64::MAX, 1)));
        let json = serde_json::to_value(taken).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "count": 7, "sum": 1_110, "max": 1_000, "p50": 3, "p90": 1_000, "p99": 1_000 })
        );
    }
}
