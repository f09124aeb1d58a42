//! [`Batch`]: samples gathered to be stored together, and what happens to ids that are there already.

use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::thread;

use clap::ValueEnum;
use samplestore::{RetryPolicy, Sample, Storage, StoreReport};

use crate::failure::{Code, Failure};
use crate::input::Place;
use crate::interrupt;

/// A batch is stored before its samples take more than this many bytes, however few they are.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// What to do with a sample whose id is stored already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnConflict {
    /// The new sample replaces the whole old one
    Replace,
    /// The old sample stays
    Skip,
    /// The import ends there; what came before it is stored
    Error,
}

/// Samples on their way into the database.
pub(super) struct Batch {
    db: Rc<dyn Storage>,
    samples_max: usize,
    on_conflict: OnConflict,
    samples: Vec<(Place, Sample)>,
    bytes: usize,
    stored: StoreReport,
    untold: u64,
    skipped: u64,
    /// Why they could not be stored while input paused.
    failure: Option<Failure>,
}

impl Batch {
    pub(super) fn new(db: Rc<dyn Storage>, samples_max: usize, on_conflict: OnConflict) -> Self {
        Self {
            db,
            samples_max,
            on_conflict,
            samples: Vec::new(),
            bytes: 0,
            stored: StoreReport::default(),
            untold: 0,
            skipped: 0,
            failure: None,
        }
    }

    /// What was stored so far, and is known to be new or to have replaced something.
    pub(super) fn stored(&self) -> StoreReport {
        self.stored
    }

    /// How many were stored of which that is not known.
    pub(super) fn untold(&self) -> u64 {
        self.untold
    }

    /// How many were left out because their id is there.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Adds one sample, and stores all when they are enough.
    pub(super) fn add(&mut self, place: Place, sample: Sample) -> Result<(), Failure> {
        let bytes = sample.encoded_len();
        if self.bytes + bytes > BATCH_BYTES_MAX {
            self.store()?;
        }
        self.bytes += bytes;
        self.samples.push((place, sample));
        match self.samples.len() < self.samples_max {
            true => Ok(()),
            false => self.store(),
        }
    }

    /// Stores what there is while nothing more comes. Whoever reads is told that this failed, and why is in
    /// [`take_failure`](Self::take_failure).
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.store().map_err(|failure| {
            self.failure = Some(failure);
            io::Error::other("what was read could not be stored")
        })
    }

    /// Why [`settle`](Self::settle) failed, if it did.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Stores what there is.
    pub(super) fn store(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        let samples = std::mem::take(&mut self.samples);
        if samples.is_empty() {
            return Ok(());
        }
        let mut batch = Vec::with_capacity(samples.len());
        let mut conflict = None;
        if self.on_conflict == OnConflict::Replace {
            batch.extend(samples.into_iter().map(|(_, sample)| sample));
        } else {
            // A file is written by this process alone, so what it lacks now it lacks later.
            let mut ids = HashSet::new();
            for (place, sample) in samples {
                let is_new = !ids.contains(sample.id()) && self.db.retrieve(sample.id())?.is_none();
                if is_new {
                    ids.insert(sample.id().to_owned());
                    batch.push(sample);
                } else if self.on_conflict == OnConflict::Skip {
                    self.skipped += 1;
                } else {
                    conflict = Some((place, sample));
                    break;
                }
            }
        }
        self.store_all(&batch)?;
        match conflict {
            None => Ok(()),
            Some((place, sample)) => Err(Failure::new(
                Code::Error,
                format!("{place}: the id {:?} is stored already", sample.id()),
            )
            .with_hint("what came before it is stored; --on-conflict skip or replace goes on")),
        }
    }

    /// Stores a batch, and what of it is not stored again where that may help, as a pipeline and a copy do.
    fn store_all(&mut self, batch: &[Sample]) -> samplestore::Result<()> {
        let stored = RetryPolicy::default().store(&*self.db, batch, |delay| {
            let answer = interrupt::answer();
            if answer.is_continue() {
                thread::sleep(delay);
            }
            answer
        });
        let (report, count) = match &stored {
            Ok(report) => (*report, batch.len()),
            Err(error) => (StoreReport::default(), error.stored_ids().len()),
        };
        self.stored += report;
        let untold = (count as u64).saturating_sub(report.stored());
        match self.on_conflict {
            OnConflict::Replace => self.untold += untold,
            // It was asked for, and not there.
            OnConflict::Skip | OnConflict::Error => self.stored += StoreReport::new(untold, 0),
        }
        stored.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Mutex;

    use samplestore::{Capabilities, Error, ErrorKind, MemoryStorage, Query, Result};

    use super::*;

    /// A storage that fails some times before it stores all.
    struct Failing {
        storage: MemoryStorage,
        failures: Mutex<Cell<u32>>,
        /// How many samples it stores when it fails.
        part: usize,
        kind: ErrorKind,
        is_retryable: bool,
    }

    impl Storage for Failing {
        fn capabilities(&self) -> Capabilities {
            self.storage.capabilities()
        }

        fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
            let failures = self.failures.lock().unwrap();
            if failures.get() == 0 {
                return self.storage.store(batch);
            }
            failures.set(failures.get() - 1);
            let part = &batch[..self.part];
            self.storage.store(part)?;
            let ids = part.iter().map(|sample| sample.id().to_owned());
            Err(Error::new(self.kind, "store a batch")
                .with_stored_ids(ids.collect())
                .with_retryable(self.is_retryable))
        }

        fn close(&self) -> Result<()> {
            self.storage.close()
        }

        fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
            self.storage.retrieve(id)
        }

        fn count(&self, query: &Query) -> Result<u64> {
            self.storage.count(query)
        }
    }

    #[test]
    fn storing_is_tried_again_where_that_may_help() {
        for (failures, kind, is_retryable, is_stored) in [
            (0, ErrorKind::Io, true, true),
            (2, ErrorKind::Io, true, true),
            (3, ErrorKind::Io, true, false),
            (1, ErrorKind::Io, false, false),
            (1, ErrorKind::OutcomeUnknown, true, false),
        ] {
            let db: Rc<dyn Storage> = Rc::new(Failing {
                storage: MemoryStorage::new(),
                failures: Mutex::new(Cell::new(failures)),
                part: 0,
                kind,
                is_retryable,
            });
            let mut batch = Batch::new(Rc::clone(&db), 10, OnConflict::Replace);
            let sample = Sample::builder("p").id("a").build().unwrap();
            batch.add(Place::Line(1), sample).unwrap();
            assert_eq!(batch.store().is_ok(), is_stored, "{failures} {kind}");
            assert_eq!(db.count(&Query::new()).unwrap(), u64::from(is_stored));
        }
    }
    #[test]
    fn what_is_stored_in_part_is_not_told_as_replaced() {
        for (on_conflict, failures, count, told) in [
            (OnConflict::Replace, 1, 4, (2, 1, 1)),
            (OnConflict::Skip, 1, 4, (4, 0, 0)),
            // As often as it is tried.
            (OnConflict::Replace, 3, 3, (0, 0, 3)),
        ] {
            let storage = MemoryStorage::new();
            let sample = |id: &str| Sample::builder("p").id(id).build().unwrap();
            if on_conflict == OnConflict::Replace {
                storage.store(&[sample("c")]).unwrap();
            }
            let db: Rc<dyn Storage> = Rc::new(Failing {
                storage,
                failures: Mutex::new(Cell::new(failures)),
                part: 1,
                kind: ErrorKind::Partial,
                is_retryable: true,
            });
            let mut batch = Batch::new(Rc::clone(&db), 10, on_conflict);
            for id in ["a", "b", "c", "d"] {
                batch.add(Place::Line(1), sample(id)).unwrap();
            }
            assert_eq!(batch.store().is_ok(), count == 4, "{on_conflict:?}");
            let report = batch.stored();
            assert_eq!((report.inserted, report.replaced, batch.untold()), told);
            assert_eq!(db.count(&Query::new()).unwrap(), count);
        }
    }
}
