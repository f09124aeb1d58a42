//! The writer's thread: takes groups from the queue, stores them, and resolves their tickets.

use super::queue::{Queue, Submission};
use super::ticket::Receipt;
use crate::error::{ErrorKind, Result};
use crate::panicked;
use crate::sample::Sample;
use crate::storage::{Storage, StoreReport};

/// Works until the queue is closed and empty.
pub(super) fn run(queue: &Queue, storage: &dyn Storage, commit_samples_max: usize) {
    while let Some(group) = queue.take(commit_samples_max) {
        let submissions = group.len() as u64;
        commit(storage, group);
        queue.finish(submissions);
    }
}

/// Stores a group as one batch in the order of submission, so that the last of an id wins (rule W3).
fn commit(storage: &dyn Storage, group: Vec<Submission>) {
    if group.len() == 1 {
        group
            .into_iter()
            .for_each(|alone| store_alone(storage, alone));
        return;
    }
    let samples: Vec<Sample> = group
        .iter()
        .flat_map(|submission| submission.batch.iter().cloned())
        .collect();
    match store(storage, &samples) {
        Ok(report) => {
            for submission in group {
                let samples = submission.batch.len() as u64;
                let receipt = Receipt::shared(samples, report);
                submission.promise.resolve(Ok(receipt));
            }
        }
        // Whether the group is stored is known only after opening again. A commit that succeeds now
        // could rest on pages that the failed one never wrote, so nothing is tried again.
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
            for submission in group {
                submission.promise.resolve(Err(error.clone()));
            }
        }
        // Nothing of the group is stored (rule W1); after a panic it may be, and storing it again is
        // an upsert. Whoever is at fault now fails alone.
        Err(error) => {
            tracing::warn!(name: "group_split", %error, submissions = group.len(), "a shared commit failed, storing each submission by itself");
            for submission in group {
                store_alone(storage, submission);
            }
        }
    }
}

fn store_alone(storage: &dyn Storage, submission: Submission) {
    let outcome = store(storage, &submission.batch).map(Receipt::exact);
    submission.promise.resolve(outcome);
}

fn store(storage: &dyn Storage, batch: &[Sample]) -> Result<StoreReport> {
    panicked::catch_error("store a batch", || storage.store(batch))
}
