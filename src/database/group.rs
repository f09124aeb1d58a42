//! Group commit: stores that come at the same time share one transaction.
//!
//! Whoever finds nobody storing leads: it stores its own batch and those that wait, and tells them what
//! became of theirs. Those that come meanwhile wait for the next round, so that sixteen threads that
//! store one sample each need two commits and not sixteen. The idea is as old as durable logs (`DeWitt`
//! et al. 1984, "Implementation techniques for main memory database systems").

use crate::error::{Error, ErrorKind, Result};
use crate::sample::Sample;
use crate::storage::StoreReport;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A group takes no further batch once it has so many samples.
const GROUP_SAMPLES_MAX: usize = 16_384;
/// Nor once its samples are so many bytes.
const GROUP_BYTES_MAX: usize = 64 << 20;

/// The stores that wait, and whether somebody leads.
#[derive(Default)]
pub(super) struct Group {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    is_led: bool,
    /// One for each thread that waits, so no more than the process has threads.
    waiting: Vec<Arc<Submission>>,
}

struct Submission {
    batch: Vec<Sample>,
    outcome: Mutex<Option<Result<StoreReport>>>,
    /// Wakes its thread, when there is an outcome or nobody leads.
    changed: Condvar,
}

impl Group {
    /// Stores `batch`, with others or alone. `commit` stores batches in one transaction, in order, and
    /// reports on each.
    pub(super) fn store(
        &self,
        batch: &[Sample],
        commit: impl Fn(&[&[Sample]]) -> Result<Vec<StoreReport>>,
    ) -> Result<StoreReport> {
        let mut queue = lock(&self.queue);
        if !queue.is_led {
            queue.is_led = true;
            let others = take_group(&mut queue.waiting, batch.len());
            drop(queue);
            return self.lead(Some(batch), &others, commit);
        }
        let submission = Arc::new(Submission {
            batch: batch.to_vec(),
            outcome: Mutex::new(None),
            changed: Condvar::new(),
        });
        queue.waiting.push(Arc::clone(&submission));
        loop {
            if let Some(outcome) = lock(&submission.outcome).take() {
                return outcome;
            }
            if queue.is_led {
                queue = submission
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            } else {
                queue.is_led = true;
                let group = take_group(&mut queue.waiting, 0);
                drop(queue);
                // What becomes of the own batch is in its submission, if the group had room for it.
                let _ = self.lead(None, &group, &commit);
                queue = lock(&self.queue);
            }
        }
    }

    /// Stores the own batch and the group's, hands out the outcomes, and wakes the first that waits, to lead.
    fn lead(
        &self,
        own: Option<&[Sample]>,
        group: &[Arc<Submission>],
        commit: impl Fn(&[&[Sample]]) -> Result<Vec<StoreReport>>,
    ) -> Result<StoreReport> {
        let others = group.iter().map(|submission| submission.batch.as_slice());
        let batches: Vec<&[Sample]> = own.into_iter().chain(others).collect();
        let mut outcomes = outcomes(&batches, commit).into_iter();
        let of_own = match own {
            Some(_) => outcomes.next().unwrap_or_else(|| Err(no_report())),
            None => Ok(StoreReport::default()),
        };
        let mut queue = lock(&self.queue);
        for (submission, outcome) in group.iter().zip(outcomes) {
            *lock(&submission.outcome) = Some(outcome);
        }
        queue.is_led = false;
        let next = queue.waiting.first().cloned();
        drop(queue);
        for submission in next.iter().chain(group) {
            submission.changed.notify_one();
        }
        of_own
    }
}

/// Stores the batches in one transaction. When that fails before anything was committed, each is stored
/// by itself, so that a batch fails for its own reasons only.
fn outcomes(
    batches: &[&[Sample]],
    commit: impl Fn(&[&[Sample]]) -> Result<Vec<StoreReport>>,
) -> Vec<Result<StoreReport>> {
    match commit(batches) {
        Ok(reports) => {
            let reports = reports.into_iter().map(Ok);
            let missing = std::iter::repeat_with(|| Err(no_report()));
            reports.chain(missing).take(batches.len()).collect()
        }
        Err(error) if batches.len() == 1 || error.kind() == ErrorKind::OutcomeUnknown => {
            batches.iter().map(|_| Err(error.clone())).collect()
        }
        Err(_) => batches
            .iter()
            .map(|batch| commit(&[batch])?.first().copied().ok_or_else(no_report))
            .collect(),
    }
}

/// The batches that come first and fit into a group which has so many samples already; one at least.
fn take_group(waiting: &mut Vec<Arc<Submission>>, mut samples: usize) -> Vec<Arc<Submission>> {
    let (mut taken, mut bytes) = (0, 0);
    for submission in waiting.iter() {
        samples += submission.batch.len();
        bytes += submission
            .batch
            .iter()
            .map(Sample::encoded_len)
            .sum::<usize>();
        if taken > 0 && (samples > GROUP_SAMPLES_MAX || bytes > GROUP_BYTES_MAX) {
            break;
        }
        taken += 1;
    }
    waiting.drain(..taken).collect()
}

fn no_report() -> Error {
    Error::new(ErrorKind::Backend, "store a batch").with_message("the commit gave no report")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the mutexes here protect is changed by single assignments.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    //! What is decided without waiting; how threads wait for each other is in `tests/schedules`.

    use super::*;

    fn batch(samples: usize) -> Vec<Sample> {
        let sample = Sample::builder("p").id("a").build().unwrap();
        vec![sample; samples]
    }

    #[test]
    fn a_bad_batch_fails_alone_unless_nobody_knows_what_became_of_it() {
        let (good, bad) = (batch(1), batch(2));
        let batches: [&[Sample]; 3] = [&good, &bad, &good];
        let commit = |kind| {
            move |batches: &[&[Sample]]| {
                let is_bad = batches.iter().any(|batch| batch.len() == 2);
                let reports = batches.iter().map(|_| StoreReport::new(1, 0));
                if is_bad {
                    Err(Error::new(kind, "commit"))
                } else {
                    Ok(reports.collect())
                }
            }
        };
        let kinds = |outcomes: Vec<Result<StoreReport>>| -> Vec<Option<ErrorKind>> {
            let kinds = outcomes
                .into_iter()
                .map(|outcome| outcome.err().map(|error| error.kind()));
            kinds.collect()
        };
        let damaged = ErrorKind::Damaged;
        assert_eq!(
            kinds(outcomes(&batches, commit(damaged))),
            [None, Some(damaged), None]
        );
        let unknown = ErrorKind::OutcomeUnknown;
        assert_eq!(
            kinds(outcomes(&batches, commit(unknown))),
            [Some(unknown); 3]
        );
    }

    #[test]
    fn a_group_is_bounded_but_never_empty() {
        let submission = |samples| {
            Arc::new(Submission {
                batch: batch(samples),
                outcome: Mutex::new(None),
                changed: Condvar::new(),
            })
        };
        let mut waiting = vec![submission(GROUP_SAMPLES_MAX + 1), submission(1)];
        assert_eq!(take_group(&mut waiting, 0).len(), 1);
        assert_eq!(take_group(&mut waiting, 0).len(), 1);
        assert!(waiting.is_empty());
    }
}
