//! What a run says afterwards, and while it goes on: [`RunReport`], [`RunOutcome`], [`Progress`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::delivery::Account;
use crate::error::{Error, ErrorKind, Result};
use crate::sample::{Sample, Status};
use crate::storage::StoreReport;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunOutcome {
    /// The source was read to its end without an error, every sample came through or was skipped on
    /// purpose, and what was to be stored is stored.
    Complete,
    /// As complete, but stages or measurements failed for some samples, which went to `dlq`.
    DeadLetters,
    /// The source had errors, some samples could not be stored, or the storage did not close well.
    Incomplete,
}

/// A sample that could not be stored, handed back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedSample {
    /// The sample, as it was to be stored.
    pub sample: Sample,
    /// Why it is not stored. After [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) it may be stored or
    /// not, which shows when the storage is opened anew; storing it again then is safe.
    pub error: Error,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Samples processed so far, in input order.
    pub processed: u64,
    /// Of those, skipped by a stage.
    pub skipped: u64,
    /// Of those, failed in a stage or a measurement.
    pub dlq: u64,
    /// Samples stored so far; those of the batch being filled or written are not yet among them.
    pub stored: u64,
    /// Samples that could not be stored so far.
    pub failed: u64,
    /// Since the run began.
    pub elapsed: Duration,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            processed: 0,
            skipped: 0,
            dlq: 0,
            stored: 0,
            failed: 0,
            elapsed: Duration::ZERO,
        }
    }
}

/// What a run did. It has a report also when things went wrong: ask [`outcome`](RunReport::outcome),
/// or turn failures into an error with [`into_result`](RunReport::into_result).
///
/// Its `Display` is one line.
#[derive(Debug)]
#[must_use = "the report says whether the run was complete"]
pub struct RunReport {
    pub(super) pipeline: String,
    pub(super) read: u64,
    pub(super) skipped: u64,
    pub(super) dlq: u64,
    pub(super) stage_retries: u64,
    pub(super) source_errors: Vec<Error>,
    pub(super) account: Account,
    pub(super) close_error: Option<Error>,
    pub(super) elapsed: Duration,
}

impl RunReport {
    /// The name of the run's pipeline.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// How the run ended.
    #[must_use]
    pub fn outcome(&self) -> RunOutcome {
        let stored_all = self.account.failed.is_empty();
        if !stored_all || !self.source_errors.is_empty() || self.close_error.is_some() {
            RunOutcome::Incomplete
        } else if self.dlq > 0 {
            RunOutcome::DeadLetters
        } else {
            RunOutcome::Complete
        }
    }

    /// Whether the outcome is [`RunOutcome::Complete`]: no failure of any kind.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.outcome() == RunOutcome::Complete
    }

    /// An error unless the run was complete, with the first failure as its cause; the report stays.
    ///
    /// # Errors
    /// [`Partial`](ErrorKind::Partial), saying how many samples failed where.
    pub fn check(&self) -> Result<()> {
        if self.is_complete() {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Partial, "complete the run")
            .with_subject(&self.pipeline)
            .with_message(self.troubles().join(", "));
        let first_failed = self.account.failed.first().map(|failed| &failed.error);
        let mut causes = first_failed
            .into_iter()
            .chain(&self.source_errors)
            .chain(&self.close_error);
        Err(match causes.next() {
            Some(cause) => error.with_cause(cause.clone()),
            None => error,
        })
    }

    /// The report of a complete run, or the error of [`check`](Self::check). Failed samples are lost
    /// with it: take them from a report that you keep.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn into_result(self) -> Result<Self> {
        self.check()?;
        Ok(self)
    }

    /// How many samples the source gave.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read
    }

    /// How many samples stages skipped, stored or not.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How many samples failed in a stage or a measurement, stored as `dlq` or not.
    #[must_use]
    pub fn dlq(&self) -> u64 {
        self.dlq
    }

    /// How many samples are stored.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.account.stored
    }

    /// How many of them were inserted and how many replaced, as far as the storage said: a batch
    /// that was stored in part is not told apart, so the two may add up to less than
    /// [`stored`](Self::stored).
    #[must_use]
    pub fn store_report(&self) -> StoreReport {
        self.account.report
    }

    /// How many of the stored samples are in each status, statuses without any left out.
    #[must_use]
    pub fn stored_by_status(&self) -> BTreeMap<Status, u64> {
        Status::ALL
            .into_iter()
            .zip(self.account.stored_by_status)
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// How many batches the storage was given, repeated ones counted once.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.account.batches
    }

    /// How often a batch was tried again.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.account.retries
    }

    /// How often a stage or a measurement was tried again.
    #[must_use]
    pub fn stage_retried(&self) -> u64 {
        self.stage_retries
    }

    /// The samples that could not be stored, in input order, with their errors. Their number is
    /// bounded: see [`failed_max`](crate::PipelineBuilder::failed_max).
    #[must_use]
    pub fn failed(&self) -> &[FailedSample] {
        &self.account.failed
    }

    /// The same, to own: they can be the source of another run.
    #[must_use]
    pub fn into_failed(self) -> Vec<FailedSample> {
        self.account.failed
    }

    /// The errors that the source gave; the last of them ended the run when there are more than
    /// [`source_errors_max`](crate::PipelineBuilder::source_errors_max), or when it is a panic.
    #[must_use]
    pub fn source_errors(&self) -> &[Error] {
        &self.source_errors
    }

    /// What went wrong when the storage was closed, or flushed where it was to be kept open.
    #[must_use]
    pub fn close_error(&self) -> Option<&Error> {
        self.close_error.as_ref()
    }

    /// How long the run took, opening and closing included.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What was not as it should be, in words.
    fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        let mut tell = |count: usize, what: &str| {
            if count > 0 {
                troubles.push(format!("{count} {what}"));
            }
        };
        tell(self.account.failed.len(), "not stored");
        tell(
            usize::try_from(self.dlq).unwrap_or(usize::MAX),
            "failed in a stage",
        );
        tell(self.source_errors.len(), "not given by the source");
        if self.close_error.is_some() {
            troubles.push("the storage did not close well".to_owned());
        }
        troubles
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} read, {} stored",
            self.pipeline,
            self.read,
            self.stored()
        )?;
        let statuses: Vec<String> = self
            .stored_by_status()
            .into_iter()
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        if !statuses.is_empty() {
            write!(f, " ({})", statuses.join(", "))?;
        }
        // Stored ones have been told by their status.
        if self.skipped > 0 && self.account.stored_by_status[Status::Skipped.index()] == 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        for trouble in self.troubles() {
            write!(f, ", {trouble}")?;
        }
        Ok(())
    }
}
