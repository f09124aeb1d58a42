//! [`copy`]: samples from one storage into another, of whatever kind.
//!
//! Knows storages only through the [`Storage`] trait. What is copied is what one iterator of the source
//! gives, in batches; what is compared in the end is read anew.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread;

use crate::attempts;
use crate::error::Result;
use crate::proceed::{Proceed, told};
use crate::query::Query;
use crate::retry::RetryPolicy;
use crate::sample::Sample;
use crate::storage::{Storage, StoreReport};

const OPERATION: &str = "copy samples";
/// A batch is stored before its samples take more than this many bytes, however few they are.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// How many ids of samples that are not equal are told at most.
const TOLD_MAX: usize = 100;

/// How [`copy`] does it: start with [`CopyOptions::new`].
#[derive(Clone)]
#[must_use = "options do nothing until `copy` is called"]
pub struct CopyOptions {
    batch_samples_max: usize,
    verify: bool,
    retry: RetryPolicy,
    progress: Option<Arc<dyn Fn(u64) -> bool + Send + Sync>>,
}

impl CopyOptions {
    /// Batches of 1,000 samples, retried as a pipeline's are; counts are compared in the end.
    pub fn new() -> Self {
        Self {
            batch_samples_max: 1_000,
            verify: false,
            retry: RetryPolicy::default(),
            progress: None,
        }
    }

    /// How many samples are stored at once at most; 1,000 unless set. Fewer when they are large: a batch
    /// has 64 MiB at most.
    pub fn batch_samples_max(mut self, samples: usize) -> Self {
        self.batch_samples_max = samples.max(1);
        self
    }

    /// Whether every sample is read again from both in the end and compared. Off by default.
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// How a batch is tried again when that may help; [`RetryPolicy::default`] unless set.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Is told after each batch how many samples were copied so far, and on the way through the closing
    /// comparison how many were compared.
    /// It may end the copying there.
    pub fn on_progress<P: Proceed>(
        mut self,
        progress: impl Fn(u64) -> P + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Arc::new(move |count| progress(count).proceeds()));
        self
    }

    fn tell(&self, count: u64) -> Result<()> {
        match &self.progress {
            Some(progress) => told(OPERATION, progress(count)),
            None => Ok(()),
        }
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CopyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOptions")
            .field("batch_samples_max", &self.batch_samples_max)
            .field("verify", &self.verify)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// What a [`copy`] did and what the closing comparison found. `Display` puts it into a line or two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the comparison may have found that the copy is not whole"]
pub struct CopyReport {
    /// How many samples the source gave.
    pub copied: u64,
    /// Of these, what was new to the target and what was not, as far as it said: of what an attempt stored before it failed it does
    /// not, so the two may add up to less.
    pub stored: StoreReport,
    /// How often a batch was tried again.
    pub retries: u64,
    /// How many samples the target has under the same filters; `None` when it cannot be asked.
    pub in_target: Option<u64>,
    /// How many it had before; `None` when it cannot be asked.
    pub in_target_before: Option<u64>,
    /// What the comparison sample by sample found, when it was asked for and the target can be read.
    pub verified: Option<Verified>,
}

/// What a comparison sample by sample found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// How many samples are the same in both.
    pub equal: u64,
    /// How many of the source's are not in the target.
    pub missing: u64,
    /// How many are another sample there.
    pub different: u64,
    /// The ids of those that are missing or different, 100 at most.
    pub ids: Vec<String>,
}

impl CopyReport {
    /// Whether the target has as many samples as were copied, or more, and as many as it had before and those that were new to
    /// it; and whether no comparison found one that is missing or different. A target that cannot be read is taken at its word.
    ///
    /// Counts are inexact where others write to the target meanwhile: what they remove seems to be missing, and what they
    /// store may stand in for what is. A comparison ([`CopyOptions::verify`]) knows.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let samples = self.verified.as_ref();
        self.fewer() == 0 && samples.is_none_or(|found| found.missing == 0 && found.different == 0)
    }

    /// How many samples the target should have that it has not, by the counts.
    fn fewer(&self) -> u64 {
        let before = self.in_target_before.unwrap_or(0);
        let least = self.copied.max(before + self.stored.inserted);
        self.in_target
            .map_or(0, |count| least.saturating_sub(count))
    }
}

impl fmt::Display for CopyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StoreReport { inserted, replaced } = self.stored;
        write!(
            f,
            "copied {}: {inserted} inserted, {replaced} replaced",
            self.copied
        )?;
        let untold = self.copied.saturating_sub(self.stored.stored());
        if untold > 0 {
            write!(f, ", {untold} one or the other")?;
        }
        if self.retries > 0 {
            write!(f, ", {} retries", self.retries)?;
        }
        match self.in_target {
            Some(count) => write!(f, "; the target has {count}")?,
            None => write!(f, "; the target cannot be read to compare")?,
        }
        let fewer = self.fewer();
        if fewer > 0 {
            write!(f, ", {fewer} fewer than it should")?;
        }
        if let Some(found) = &self.verified {
            let (missing, different) = (found.missing, found.different);
            write!(
                f,
                "; {} equal, {missing} missing, {different} different",
                found.equal
            )?;
        }
        Ok(())
    }
}

/// Copies what the query gives from one storage into another, batch by batch in constant memory (of a
/// source that streams), and compares in the end. What the target has under the same filters is counted before and
/// afterwards.
///
/// Samples keep all they have. Copied oldest first, as a query has it unless told otherwise, samples of one
/// instant also keep their order in a target that did not have them. It is safe to do it again, after an
/// error or with newer samples: what the target has is replaced by what the source has, and nothing is
/// removed.
///
/// ```
/// use samplestore::{CopyOptions, MemoryStorage, Query, Sample, Storage, copy};
///
/// let (source, target) = (MemoryStorage::new(), MemoryStorage::new());
/// source.store(&[Sample::builder("weather").id("a").build()?])?;
/// let report = copy(&source, &target, &Query::new(), &CopyOptions::new().verify(true))?;
/// assert!(report.is_whole());
/// assert_eq!(report.verified.map(|found| found.equal), Some(1));
/// # Ok::<(), samplestore::Error>(())
/// ```
///
/// # Errors
/// Those of the two storages, and [`Interrupted`](crate::ErrorKind::Interrupted). What was stored by then stays.
pub fn copy(
    source: &dyn Storage,
    target: &dyn Storage,
    query: &Query,
    options: &CopyOptions,
) -> Result<CopyReport> {
    let mut report = CopyReport::default();
    let can_be_asked = target.capabilities().query;
    let all = query.clone().without_paging();
    if can_be_asked {
        report.in_target_before = Some(target.count(&all)?);
    }
    batches(source, query, options, |batch| {
        let attempted = attempts::store(target, batch, &options.retry, thread::sleep);
        report.retries += attempted.retries;
        report.stored += attempted.into_result()?;
        report.copied += batch.len() as u64;
        options.tell(report.copied)
    })?;
    target.flush()?;
    if !can_be_asked {
        return Ok(report);
    }
    report.in_target = Some(target.count(&all)?);
    if options.verify {
        let mut found = Verified::default();
        let mut seen = 0;
        batches(source, query, options, |batch| {
            compare(target, batch, &mut found)?;
            seen += batch.len() as u64;
            options.tell(seen)
        })?;
        report.verified = Some(found);
    }
    Ok(report)
}

/// Gives what the query asks for, batch by batch.
fn batches(
    source: &dyn Storage,
    query: &Query,
    options: &CopyOptions,
    mut work: impl FnMut(&[Sample]) -> Result<()>,
) -> Result<()> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for sample in source.iterate(query)? {
        let sample = sample?;
        let more = sample.encoded_len();
        let is_full = batch.len() >= options.batch_samples_max || bytes + more > BATCH_BYTES_MAX;
        if is_full && !batch.is_empty() {
            work(&batch)?;
            batch.clear();
            bytes = 0;
        }
        bytes += more;
        batch.push(sample);
    }
    match batch.is_empty() {
        true => Ok(()),
        false => work(&batch),
    }
}

fn compare(target: &dyn Storage, batch: &[Sample], found: &mut Verified) -> Result<()> {
    let ids = batch.iter().map(Sample::id);
    let there = target.list(&Query::new().ids(ids))?.samples;
    let there: HashMap<_, _> = there.iter().map(|sample| (sample.id(), sample)).collect();
    for sample in batch {
        match there.get(sample.id()) {
            Some(other) if *other == sample => {
                found.equal += 1;
                continue;
            }
            Some(_) => found.different += 1,
            None => found.missing += 1,
        }
        if found.ids.len() < TOLD_MAX {
            found.ids.push(sample.id().to_owned());
        }
    }
    Ok(())
}
