//! [`Ticket`]: what a submission becomes, to be waited on or awaited, and the writer's side of it.
//!
//! No runtime is needed: the writer's thread wakes whoever polled last, and whoever waits.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::panicked;
use crate::storage::StoreReport;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a resolved [`Ticket`] says: the samples of this submission are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    samples: u64,
    report: Option<StoreReport>,
}

impl Receipt {
    /// The receipt of a submission that was stored by itself.
    pub(super) fn exact(report: StoreReport) -> Self {
        Self {
            samples: report.stored(),
            report: Some(report),
        }
    }

    /// The receipt of one of several submissions that were stored as one batch, with one report.
    pub(super) fn shared(samples: u64, group: StoreReport) -> Self {
        let report = match (group.inserted, group.replaced) {
            (_, 0) => Some(StoreReport::new(samples, 0)),
            (0, _) => Some(StoreReport::new(0, samples)),
            _ => None,
        };
        Self { samples, report }
    }

    /// How many samples were submitted and are stored.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// How many of them were inserted and how many replaced, where that is known.
    ///
    /// Submissions that share a commit get one report from the storage. It can be told apart when all
    /// of the commit was inserted, or all replaced; for a mixture this is `None` rather than a guess.
    #[must_use]
    pub fn report(&self) -> Option<StoreReport> {
        self.report
    }
}

/// A submission on its way: resolves once its samples are stored as durably as the storage does, or
/// have failed.
///
/// Await it, on any runtime, or [`wait`](Ticket::wait). Dropping it changes nothing about the samples;
/// should they fail after all, the next `flush` or `close` of the writer returns the error.
///
/// ```
/// use std::time::Duration;
///
/// use samplestore::{MemoryStorage, Sample, Writer};
///
/// let writer = Writer::new(MemoryStorage::new())?;
/// let ticket = writer.submit([Sample::builder("weather").build()?])?;
/// while ticket.wait_timeout(Duration::from_millis(10)).is_none() {
///     // Something else.
/// }
/// assert_eq!(ticket.wait()?.samples(), 1);
/// # Ok::<(), samplestore::Error>(())
/// ```
#[must_use = "the ticket says whether the samples are stored"]
pub struct Ticket {
    slot: Arc<Slot>,
}

struct Slot {
    state: Mutex<State>,
    resolved: Condvar,
    unclaimed: Arc<Unclaimed>,
}

#[derive(Default)]
struct State {
    outcome: Option<Result<Receipt>>,
    waker: Option<Waker>,
    /// Someone has looked at the outcome.
    seen: bool,
    /// The ticket is gone, and nobody has.
    abandoned: bool,
}

/// The writer's side of a ticket. Dropped without an outcome, it resolves as `Panicked`.
pub(super) struct Promise {
    slot: Option<Arc<Slot>>,
}

/// The first error whose ticket was dropped unseen.
#[derive(Debug, Default)]
pub(super) struct Unclaimed(Mutex<Option<Error>>);

/// A ticket and the promise that resolves it.
pub(super) fn pair(unclaimed: &Arc<Unclaimed>) -> (Promise, Ticket) {
    let slot = Arc::new(Slot {
        state: Mutex::default(),
        resolved: Condvar::new(),
        unclaimed: Arc::clone(unclaimed),
    });
    let promise = Promise {
        slot: Some(Arc::clone(&slot)),
    };
    (promise, Ticket { slot })
}

impl Ticket {
    /// Waits until the samples are stored or have failed.
    ///
    /// # Errors
    /// Those of the storage; [`Panicked`](ErrorKind::Panicked) when it panicked. After
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) the samples may be stored or not; storing them
    /// again once the storage was opened anew is safe, since a store is an upsert.
    pub fn wait(self) -> Result<Receipt> {
        let mut state = self.slot.lock();
        loop {
            if let Some(outcome) = state.look() {
                return outcome;
            }
            state = self
                .slot
                .resolved
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for at most `timeout`; `None` when there is no outcome yet, which changes nothing. With
    /// a timeout of zero it only looks.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<Receipt>> {
        let (mut state, _) = self
            .slot
            .resolved
            .wait_timeout_while(self.slot.lock(), timeout, |state| state.outcome.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.look()
    }
}

impl Future for Ticket {
    type Output = Result<Receipt>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.lock();
        match state.look() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        if state.seen {
            return;
        }
        state.abandoned = true;
        if let Some(Err(error)) = &state.outcome {
            self.slot.unclaimed.add(error);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.slot.lock();
        f.debug_struct("Ticket")
            .field("outcome", &state.outcome)
            .finish()
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolve(&self, outcome: Result<Receipt>) {
        let waker = {
            let mut state = self.lock();
            if let (Err(error), true) = (&outcome, state.abandoned) {
                self.unclaimed.add(error);
            }
            state.outcome = Some(outcome);
            state.waker.take()
        };
        self.resolved.notify_all();
        if let Some(waker) = waker {
            // A waker is the executor's code; its panic must not end the writer's thread.
            let _ = panicked::catch(|| waker.wake());
        }
    }
}

impl State {
    fn look(&mut self) -> Option<Result<Receipt>> {
        self.seen |= self.outcome.is_some();
        self.outcome.clone()
    }
}

impl Promise {
    pub(super) fn resolve(mut self, outcome: Result<Receipt>) {
        if let Some(slot) = self.slot.take() {
            slot.resolve(outcome);
        }
    }

    /// Gives the promise up: its submission was never accepted and its ticket goes to nobody.
    pub(super) fn withdraw(mut self) {
        self.slot = None;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let error = Error::new(ErrorKind::Panicked, "store a batch")
                .with_message("the writer's thread ended");
            slot.resolve(Err(error));
        }
    }
}

impl Unclaimed {
    fn add(&self, error: &Error) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| error.clone());
    }

    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
