//! How batches get into the storage: retries, then sample by sample, with an account of all of it
//! (rules P5 and P6).
//!
//! A [`Delivery`] is put between a run and its storage, or between a run's background writer and its
//! storage; either way batches come one after the other in input order, and a batch is dealt with to
//! the end before the next one begins. That keeps rule W3 across batches: a sample that is stored by
//! itself after a failure can never overwrite a later one of its id.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::process::Sleep;
use super::report::FailedSample;
use crate::error::{Error, ErrorKind, Result};
use crate::panicked;
use crate::retry::RetryPolicy;
use crate::sample::Sample;
use crate::storage::{Capabilities, Storage, StoreReport};

pub(super) struct Delivery {
    storage: Arc<dyn Storage>,
    policy: RetryPolicy,
    sleep: Sleep,
    account: Mutex<Account>,
}

/// What was delivered and what was not.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) stored: u64,
    /// Of those, the ones that the storage told apart.
    pub(super) report: StoreReport,
    pub(super) stored_by_status: [u64; 6],
    pub(super) batches: u64,
    pub(super) retries: u64,
    pub(super) failed: Vec<FailedSample>,
}

impl Delivery {
    pub(super) fn new(storage: Arc<dyn Storage>, policy: RetryPolicy, sleep: Sleep) -> Self {
        Self {
            storage,
            policy,
            sleep,
            account: Mutex::default(),
        }
    }

    /// Stores what can be stored of the batch; the rest is in the account with its errors.
    pub(super) fn deliver(&self, batch: &[Sample]) {
        if batch.is_empty() {
            return;
        }
        self.account().batches += 1;
        let Err((left, error)) = self.store_with_retries(batch) else {
            return;
        };
        // After an unknown outcome a store that succeeds proves nothing, so nothing is tried again
        // until the storage was opened anew. A batch of one has had its attempts.
        if error.kind() == ErrorKind::OutcomeUnknown || batch.len() == 1 {
            left.iter().for_each(|sample| self.fail(sample, &error));
            return;
        }
        tracing::warn!(name: "one_by_one", %error, samples = left.len(), "a batch failed, storing sample by sample");
        for sample in &*left {
            match self.store(std::slice::from_ref(sample)) {
                Ok(report) => self.count(std::slice::from_ref(sample), report),
                Err(error) => self.fail(sample, &error),
            }
        }
    }

    /// How many samples could not be stored so far.
    pub(super) fn failed(&self) -> usize {
        self.account().failed.len()
    }

    /// How many samples are stored so far.
    pub(super) fn stored(&self) -> u64 {
        self.account().stored
    }

    /// Ends the account. What is delivered afterwards goes on a new one.
    pub(super) fn take_account(&self) -> Account {
        std::mem::take(&mut *self.account())
    }

    /// Puts a sample down as not stored.
    pub(super) fn fail(&self, sample: &Sample, error: &Error) {
        self.account().failed.push(FailedSample {
            sample: sample.clone(),
            error: error.clone(),
        });
    }

    /// Gives what is left to be stored when the policy has ended, and the last error.
    fn store_with_retries<'b>(
        &self,
        batch: &'b [Sample],
    ) -> Result<(), (Cow<'b, [Sample]>, Error)> {
        let mut left = Cow::Borrowed(batch);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.store(&left) {
                Ok(report) => {
                    self.count(&left, report);
                    return Ok(());
                }
                Err(error) => error,
            };
            if !error.stored_ids().is_empty() {
                let (stored, rest) = split(&left, error.stored_ids());
                self.count(&stored, StoreReport::default());
                left = Cow::Owned(rest);
                if left.is_empty() {
                    return Ok(());
                }
            }
            let Some(delay) = self.policy.delay_after_error(attempts, &error) else {
                return Err((left, error));
            };
            tracing::warn!(name: "retry", %error, attempts, ?delay, "storing failed, trying again");
            self.account().retries += 1;
            (self.sleep)(delay);
        }
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        panicked::catch_error("store a batch", || self.storage.store(batch))
    }

    fn count(&self, stored: &[Sample], report: StoreReport) {
        let mut account = self.account();
        account.stored += stored.len() as u64;
        account.report += report;
        for sample in stored {
            account.stored_by_status[sample.status().index()] += 1;
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a batch is stored by an error's word, and what is left. An id that the batch has twice is
/// left both times: the error does not say which of the two is stored, and storing again is safe.
fn split(batch: &[Sample], stored_ids: &[String]) -> (Vec<Sample>, Vec<Sample>) {
    let mut times: HashMap<&str, u32> = HashMap::with_capacity(batch.len());
    for sample in batch {
        *times.entry(sample.id()).or_default() += 1;
    }
    let stored: std::collections::HashSet<&str> = stored_ids.iter().map(String::as_str).collect();
    let is_stored = |sample: &&Sample| stored.contains(sample.id()) && times[sample.id()] == 1;
    batch.iter().cloned().partition(|sample| is_stored(&sample))
}

/// For the background writer alone: `store` always answers `Ok`, since the account says the rest, so
/// that the writer never tries anything by itself.
impl Storage for Delivery {
    fn capabilities(&self) -> Capabilities {
        self.storage.capabilities()
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        self.deliver(batch);
        Ok(StoreReport::default())
    }

    fn close(&self) -> Result<()> {
        self.storage.close()
    }
}
