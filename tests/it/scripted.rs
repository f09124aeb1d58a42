//! A storage that does as it is told, for tests of what stands in front of storages.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use samplestore::{
    Capabilities, Error, ErrorKind, MemoryStorage, Query, Result, Sample, Scan, Storage,
    StoreReport,
};

/// Keeps samples in memory. Its next stores answer as scripted, and keep what an error says is stored; apart from that, ids that begin with
/// `bad` are refused, and those that begin with `boom` make it panic. Its memory stays readable after
/// a close, which is only counted.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) memory: MemoryStorage,
    shared: Arc<Shared>,
    atomic: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Error>,
    /// The ids of each batch that was tried.
    batches: Vec<Vec<String>>,
    held: bool,
    waiting: usize,
    closes: usize,
    flushes: usize,
    close_fails: bool,
}

pub(crate) fn error(kind: ErrorKind, retryable: bool) -> Error {
    Error::new(kind, "store a batch").with_retryable(retryable)
}

/// The error of a batch of which these are stored, and which is worth another attempt.
pub(crate) fn partly(ids: &[&str]) -> Error {
    let ids = ids.iter().map(|id| (*id).to_owned());
    error(ErrorKind::Partial, true).with_stored_ids(ids.collect())
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self {
            memory: MemoryStorage::new(),
            shared: Arc::default(),
            atomic: true,
        }
    }

    /// Stores sample by sample, and says what it stored when one fails.
    pub(crate) fn not_atomic() -> Self {
        Self {
            atomic: false,
            ..Self::new()
        }
    }

    pub(crate) fn answer(self, answers: impl IntoIterator<Item = Error>) -> Self {
        self.shared.state.lock().unwrap().answers.extend(answers);
        self
    }

    pub(crate) fn failing_close(self) -> Self {
        self.shared.state.lock().unwrap().close_fails = true;
        self
    }

    /// From now on stores wait until `release`.
    pub(crate) fn hold(&self) {
        self.shared.state.lock().unwrap().held = true;
    }

    pub(crate) fn release(&self) {
        self.shared.state.lock().unwrap().held = false;
        self.shared.changed.notify_all();
    }

    /// Waits until a store waits for `release`.
    pub(crate) fn wait_until_held(&self) {
        let state = self.shared.state.lock().unwrap();
        drop(
            self.shared
                .changed
                .wait_while(state, |state| state.waiting == 0)
                .unwrap(),
        );
    }

    pub(crate) fn batches(&self) -> Vec<Vec<String>> {
        self.shared.state.lock().unwrap().batches.clone()
    }

    pub(crate) fn closes(&self) -> usize {
        self.shared.state.lock().unwrap().closes
    }

    pub(crate) fn flushes(&self) -> usize {
        self.shared.state.lock().unwrap().flushes
    }

    pub(crate) fn count(&self) -> u64 {
        self.memory.count(&Query::new()).unwrap()
    }
}

impl Storage for Scripted {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::full("scripted");
        capabilities.atomic_batches = self.atomic;
        capabilities
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        let answer = {
            let mut state = self.shared.state.lock().unwrap();
            let ids = batch.iter().map(|sample| sample.id().to_owned());
            state.batches.push(ids.collect());
            state.waiting += 1;
            self.shared.changed.notify_all();
            let mut state = self
                .shared
                .changed
                .wait_while(state, |state| state.held)
                .unwrap();
            state.waiting -= 1;
            state.answers.pop_front()
        };
        if let Some(error) = answer {
            let is_stored =
                |sample: &&Sample| error.stored_ids().iter().any(|id| id == sample.id());
            let part: Vec<_> = batch.iter().filter(is_stored).cloned().collect();
            self.memory.store(&part)?;
            return Err(error);
        }
        let begins = |text: &str| {
            batch
                .iter()
                .position(|sample| sample.id().starts_with(text))
        };
        assert!(begins("boom").is_none(), "the storage exploded");
        let Some(bad) = begins("bad") else {
            return self.memory.store(batch);
        };
        let error = error(ErrorKind::Backend, false).with_sample(bad, batch[bad].id());
        if self.atomic || bad == 0 {
            return Err(error);
        }
        self.memory.store(&batch[..bad])?;
        let stored = batch[..bad].iter().map(|sample| sample.id().to_owned());
        Err(Error::new(ErrorKind::Partial, "store a batch")
            .with_stored_ids(stored.collect())
            .with_cause(error))
    }

    fn flush(&self) -> Result<()> {
        self.shared.state.lock().unwrap().flushes += 1;
        self.memory.flush()
    }

    fn close(&self) -> Result<()> {
        let mut state = self.shared.state.lock().unwrap();
        state.closes += 1;
        match state.close_fails {
            true => Err(Error::new(ErrorKind::Io, "close the storage")),
            false => Ok(()),
        }
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        self.memory.retrieve(id)
    }

    fn scan(&self) -> Result<Scan<'_>> {
        self.memory.scan()
    }
}
