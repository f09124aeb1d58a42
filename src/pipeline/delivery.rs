//! How batches get into the storage: retries, then sample by sample, with an account of all of it
//! (rules P5 and P6).
//!
//! A [`Delivery`] is put between a run and its storage, or between a run's background writer and its
//! storage; either way batches come one after the other in input order, and a batch is dealt with to
//! the end before the next one begins. That keeps rule W3 across batches: a sample that is stored by
//! itself after a failure can never overwrite a later one of its id.
//!
//! Sample by sample is for a batch in which some are at fault. Where the storage cannot be reached each of them would wait for it as
//! long as the batch did, so a few such errors, one behind the other and with the policy's pauses between them, are an end of it. What
//! may be about a sample or a statement, as a conflict or a timeout of the server's, does not count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::process::Sleep;
use super::report::FailedSample;
use crate::attempts::{self, Attempted};
use crate::error::{Error, ErrorKind, Result};
use crate::retry::{RetryPolicy, random};
use crate::sample::Sample;
use crate::storage::{Capabilities, Storage, StoreReport};

/// So many samples that fail one behind the other, since the storage cannot be reached, show that it is gone.
const GONE_AFTER: u32 = 3;

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
        let pause = |delay| (self.sleep)(delay);
        let attempted = attempts::store(&*self.storage, batch, &self.policy, pause);
        self.count(batch, &attempted);
        let Some((left, error)) = attempted.failure else {
            return;
        };
        // After an unknown outcome a store that succeeds proves nothing, so nothing is tried again
        // until the storage was opened anew. A batch of one has had its attempts.
        if error.kind() == ErrorKind::OutcomeUnknown || batch.len() == 1 {
            left.iter().for_each(|sample| self.fail(sample, &error));
            return;
        }
        tracing::warn!(name: "one_by_one", %error, samples = left.len(), "a batch failed, storing sample by sample");
        let mut gone = 0;
        let mut is_unreachable = error.is_unreachable();
        let mut samples = left.iter();
        while let Some(sample) = samples.next() {
            if is_unreachable {
                self.pause(gone + 1);
            }
            let alone = std::slice::from_ref(sample);
            let attempted = attempts::store(&*self.storage, alone, &RetryPolicy::none(), |_| ());
            self.count(alone, &attempted);
            let Some((_, error)) = attempted.failure else {
                (gone, is_unreachable) = (0, false);
                continue;
            };
            self.fail(sample, &error);
            is_unreachable = error.is_unreachable();
            gone = if is_unreachable { gone + 1 } else { 0 };
            if gone == GONE_AFTER {
                // None of these was tried, so that it is none of them that the error names.
                for sample in samples.by_ref() {
                    let error = match error.sample_id() {
                        Some(_) => error.clone().with_sample(0, sample.id()),
                        None => error.clone(),
                    };
                    self.fail(sample, &error);
                }
            }
        }
    }

    /// Waits as the policy has it behind so many failures, or behind its last ones.
    fn pause(&self, failures: u32) {
        let failures = failures.min(self.policy.attempts_max() - 1);
        let delay = self.policy.delay_after(failures, random());
        if let Some(delay) = delay.filter(|_| failures > 0) {
            (self.sleep)(delay);
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

    /// Counts what was stored of a batch.
    fn count(&self, batch: &[Sample], attempted: &Attempted<'_>) {
        let left = attempted.failure.as_ref().map_or(&[][..], |(left, _)| left);
        let mut account = self.account();
        account.retries += attempted.retries;
        account.report += attempted.report;
        account.stored += (batch.len() - left.len()) as u64;
        for sample in batch {
            account.stored_by_status[sample.status().index()] += 1;
        }
        for sample in left {
            account.stored_by_status[sample.status().index()] -= 1;
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
