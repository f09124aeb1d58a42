//! A batch in as many attempts as a policy allows (rule P5): [`RetryPolicy::store`], and [`store`] for those who go on with what is left.
//!
//! What an attempt stored before it failed is not stored once more: a stream would have it twice, and others would say that it
//! took the place of something. Nothing sleeps here: the caller's `pause` does.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::panicked;
use crate::proceed::Proceed;
use crate::retry::RetryPolicy;
use crate::sample::Sample;
use crate::storage::{Storage, StoreReport};

/// What became of a batch.
pub(crate) struct Attempted<'b> {
    batch: &'b [Sample],
    /// What was inserted and what was replaced, as far as the storage said: what an attempt stored before it failed is not told
    /// apart.
    pub(crate) report: StoreReport,
    /// How often it was tried again.
    pub(crate) retries: u64,
    /// What is not stored, and the last error.
    pub(crate) failure: Option<(Cow<'b, [Sample]>, Error)>,
}

impl RetryPolicy {
    /// Stores a batch, and tries again where that may help, behind a `pause` of the length that it is told. What an attempt stored
    /// before it failed, by [`Error::stored_ids`], is left out of the next one.
    ///
    /// The report adds up the attempts, to less than the batch where one of them stored a part: whether that was new, its error does
    /// not say. A `pause` that answers [`Break`](std::ops::ControlFlow::Break) is the end of it, with the last error. A panic in
    /// the storage is an error, too.
    ///
    /// ```
    /// use std::thread;
    ///
    /// use samplestore::{MemoryStorage, RetryPolicy, Sample, StoreReport};
    ///
    /// let storage = MemoryStorage::new();
    /// let batch = [Sample::builder("weather").id("a").build()?];
    /// let report = RetryPolicy::default().store(&storage, &batch, thread::sleep)?;
    /// assert_eq!(report, StoreReport::new(1, 0));
    /// # Ok::<(), samplestore::Error>(())
    /// ```
    ///
    /// # Errors
    /// The storage's last one, with the ids that all attempts stored.
    pub fn store<P: Proceed>(
        &self,
        storage: &dyn Storage,
        batch: &[Sample],
        pause: impl FnMut(Duration) -> P,
    ) -> Result<StoreReport> {
        store(storage, batch, self, pause).into_result()
    }
}

/// Stores a batch as [`RetryPolicy::store`] does.
pub(crate) fn store<'b, P: Proceed>(
    storage: &dyn Storage,
    batch: &'b [Sample],
    policy: &RetryPolicy,
    mut pause: impl FnMut(Duration) -> P,
) -> Attempted<'b> {
    let mut attempted = Attempted {
        batch,
        report: StoreReport::default(),
        retries: 0,
        failure: None,
    };
    let mut left = Cow::Borrowed(batch);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match panicked::catch_error("store a batch", || storage.store(&left)) {
            Ok(report) => {
                attempted.report += report;
                return attempted;
            }
            Err(error) => error,
        };
        if !error.stored_ids().is_empty() {
            left = Cow::Owned(without(&left, error.stored_ids()));
            if left.is_empty() {
                return attempted;
            }
        }
        let goes_on = policy.delay_after_error(attempts, &error).is_some_and(|delay| {
            tracing::warn!(name: "retry", %error, attempts, ?delay, "storing failed, trying again");
            pause(delay).proceeds()
        });
        if !goes_on {
            attempted.failure = Some((left, error));
            return attempted;
        }
        attempted.retries += 1;
    }
}

impl Attempted<'_> {
    /// The report, or the last error as one of the whole batch.
    pub(crate) fn into_result(self) -> Result<StoreReport> {
        let Some((left, error)) = self.failure else {
            return Ok(self.report);
        };
        if left.len() == self.batch.len() {
            return Err(error);
        }
        // The last attempt may have been of a part, and told of that alone.
        let ids: HashSet<&str> = left.iter().map(Sample::id).collect();
        let stored = self.batch.iter().map(Sample::id);
        let stored = stored.filter(|id| !ids.contains(id)).map(str::to_owned);
        let error = error.with_stored_ids(stored.collect());
        let id = error.position().and(error.sample_id()).map(str::to_owned);
        let is_it = |sample: &Sample| id.as_deref() == Some(sample.id());
        Err(match (self.batch.iter().rposition(is_it), &id) {
            (Some(position), Some(id)) => error.with_sample(position, id),
            _ => error,
        })
    }
}

/// What of a batch is not stored by an error's word. An id that the batch has twice is left both times: the error does not say
/// which of the two is stored, and storing again is safe.
fn without(batch: &[Sample], stored_ids: &[String]) -> Vec<Sample> {
    let mut times: HashMap<&str, u32> = HashMap::with_capacity(batch.len());
    for sample in batch {
        *times.entry(sample.id()).or_default() += 1;
    }
    let stored: HashSet<&str> = stored_ids.iter().map(String::as_str).collect();
    let is_left = |sample: &&Sample| !stored.contains(sample.id()) || times[sample.id()] > 1;
    batch.iter().filter(is_left).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::ops::ControlFlow;
    use std::sync::Mutex;

    use super::*;
    use crate::error::ErrorKind;
    use crate::memory::MemoryStorage;
    use crate::query::Query;
    use crate::storage::Capabilities;

    /// Fails as often as it is told to, each time behind the samples of these ids.
    struct Partly {
        memory: MemoryStorage,
        failures: Mutex<VecDeque<&'static [&'static str]>>,
        batches: Mutex<Vec<Vec<String>>>,
    }

    impl Partly {
        fn new(failures: impl IntoIterator<Item = &'static [&'static str]>) -> Self {
            Self {
                memory: MemoryStorage::new(),
                failures: Mutex::new(failures.into_iter().collect()),
                batches: Mutex::default(),
            }
        }

        fn batches(&self) -> Vec<String> {
            let batches = self.batches.lock().unwrap();
            batches.iter().map(|ids| ids.join(" ")).collect()
        }
    }

    impl Storage for Partly {
        fn capabilities(&self) -> Capabilities {
            self.memory.capabilities()
        }

        fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
            let ids = batch.iter().map(|sample| sample.id().to_owned());
            self.batches.lock().unwrap().push(ids.collect());
            let Some(stored) = self.failures.lock().unwrap().pop_front() else {
                return self.memory.store(batch);
            };
            assert!(stored != ["boom"], "the storage exploded");
            let is_stored = |sample: &&Sample| stored.contains(&sample.id());
            let part: Vec<_> = batch.iter().filter(is_stored).cloned().collect();
            self.memory.store(&part)?;
            let at = batch.len() - 1;
            Err(Error::new(ErrorKind::Partial, "store a batch")
                .with_sample(at, batch[at].id())
                .with_stored_ids(stored.iter().map(|id| (*id).to_owned()).collect())
                .with_retryable(true))
        }

        fn close(&self) -> Result<()> {
            self.memory.close()
        }
    }

    fn batch() -> Vec<Sample> {
        let ids = ["a", "b", "c", "b", "d"];
        let samples = ids.map(|id| Sample::builder("p").id(id).build().unwrap());
        samples.into()
    }

    const AT_ONCE: RetryPolicy = RetryPolicy::fixed(3, Duration::ZERO);

    #[test]
    fn what_is_stored_is_not_stored_again() {
        let storage = Partly::new([&["a", "c"][..], &["b"]]);
        let batch = batch();
        let attempted = store(&storage, &batch, &AT_ONCE, |_| ());
        assert_eq!(attempted.retries, 2);
        let report = attempted.into_result().unwrap();
        // Of `b` nobody knows which of the two is stored.
        assert_eq!(storage.batches(), ["a b c b d", "b b d", "b b d"]);
        assert_eq!((report.inserted, report.replaced), (1, 2));
        assert_eq!(storage.memory.count(&Query::new()).unwrap(), 4);
    }

    #[test]
    fn all_that_is_stored_is_an_end_whatever_the_error() {
        let storage = Partly::new([&["a"][..], &["d"]]);
        let batch = [batch().remove(0), batch().remove(4)];
        let report = AT_ONCE.store(&storage, &batch, |_| ()).unwrap();
        assert_eq!(report.stored(), 0);
        assert_eq!(storage.batches(), ["a d", "d"]);
    }

    #[test]
    fn the_last_error_is_of_the_whole_batch() {
        let storage = Partly::new([&["a"][..], &["c"], &[]]);
        let error = AT_ONCE.store(&storage, &batch(), |_| ()).unwrap_err();
        assert_eq!(storage.batches(), ["a b c b d", "b c b d", "b b d"]);
        assert_eq!(error.stored_ids(), ["a", "c"]);
        assert_eq!((error.position(), error.sample_id()), (Some(4), Some("d")));
    }

    #[test]
    fn a_pause_may_be_the_end_and_a_panic_is() {
        let storage = Partly::new([&[][..]]);
        let ended = AT_ONCE.store(&storage, &batch(), |_| ControlFlow::Break(()));
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Partial);
        assert_eq!(storage.batches().len(), 1);

        let storage = Partly::new([&["boom"][..]]);
        let panicked = AT_ONCE.store(&storage, &batch(), |_| ());
        assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Panicked);
        assert_eq!(storage.batches().len(), 1);
    }
}
