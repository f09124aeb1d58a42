//! The writer's queue: bounded by samples, first come, first served.
//!
//! Invariants: `samples` is the sum of the batches in `waiting`; `finished <= accepted`; once `closed`
//! nothing is accepted any more, and what was accepted still is taken.

use std::collections::VecDeque;

use super::ticket::Promise;
use crate::sample::Sample;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A batch on its way to the storage. Never empty.
pub(super) struct Submission {
    pub(super) batch: Vec<Sample>,
    pub(super) promise: Promise,
}

impl Submission {
    /// Takes back what was not accepted.
    pub(super) fn withdraw(self) -> Vec<Sample> {
        self.promise.withdraw();
        self.batch
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    /// Someone may be let in: room was made, or a turn has passed, or the queue was closed.
    admission: Condvar,
    /// The thread may have something to do.
    work: Condvar,
    /// `finished` has grown.
    progress: Condvar,
    samples_max: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Submission>,
    samples: usize,
    /// The turn that the next one to come in will have, and the turn that is let in next. A large
    /// batch keeps its turn until there is room for it, so that small ones cannot starve it.
    next_turn: u64,
    turn: u64,
    accepted: u64,
    finished: u64,
    closed: bool,
}

impl Queue {
    pub(super) fn new(samples_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            admission: Condvar::new(),
            work: Condvar::new(),
            progress: Condvar::new(),
            samples_max,
        }
    }

    /// Waits for its turn and for room; gives the submission back when the queue is closed.
    pub(super) fn push(&self, submission: Submission) -> Result<(), Submission> {
        let mut state = self.lock();
        let turn = state.next_turn;
        state.next_turn += 1;
        while !(state.closed || state.turn == turn && self.fits(&state, &submission)) {
            state = self
                .admission
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(submission);
        }
        state.turn += 1;
        self.accept(state, submission);
        Ok(())
    }

    /// Puts the submission in if that is possible now; else gives it back and says whether the queue
    /// is closed.
    pub(super) fn try_push(&self, submission: Submission) -> Result<(), (Submission, bool)> {
        let state = self.lock();
        let others_wait = state.turn != state.next_turn;
        if state.closed || others_wait || !self.fits(&state, &submission) {
            return Err((submission, state.closed));
        }
        self.accept(state, submission);
        Ok(())
    }

    /// Waits for work and takes a group: the first submission, and those behind it as long as all
    /// together have at most `samples_max` samples. `None` when the queue is closed and empty.
    pub(super) fn take(&self, samples_max: usize) -> Option<Vec<Submission>> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.closed {
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let first = state.waiting.pop_front()?;
        let mut samples = first.batch.len();
        let mut group = vec![first];
        while let Some(next) = state.waiting.pop_front() {
            let together = samples.saturating_add(next.batch.len());
            if together > samples_max {
                state.waiting.push_front(next);
                break;
            }
            samples = together;
            group.push(next);
        }
        state.samples -= samples;
        drop(state);
        self.admission.notify_all();
        Some(group)
    }

    /// Says that so many submissions have been resolved.
    pub(super) fn finish(&self, submissions: u64) {
        self.lock().finished += submissions;
        self.progress.notify_all();
    }

    /// Waits until everything that was accepted before this call has been resolved.
    pub(super) fn drain(&self) {
        let state = self.lock();
        let target = state.accepted;
        drop(
            self.progress
                .wait_while(state, |state| state.finished < target)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.admission.notify_all();
        self.work.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// A batch larger than the whole queue is let in when the queue is empty.
    fn fits(&self, state: &State, submission: &Submission) -> bool {
        let samples = state.samples.saturating_add(submission.batch.len());
        state.waiting.is_empty() || samples <= self.samples_max
    }

    fn accept(&self, mut state: MutexGuard<'_, State>, submission: Submission) {
        state.samples += submission.batch.len();
        state.accepted += 1;
        state.waiting.push_back(submission);
        drop(state);
        self.work.notify_one();
        self.admission.notify_all();
    }

    // Nothing here panics while the lock is held, so a poisoned state is a whole one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
