//! [`Pipeline`]: source → stages → measurements → storage (rules P1–P8).
//!
//! Knows storages only through the [`Storage`] trait. What a run does is put together here; its parts
//! are a file each: reading in `source.rs`, one sample's way in `process.rs`, threads in `ordered.rs`,
//! storing in `delivery.rs`. What failed, in groups, is `failures.rs`.
//!
//! There is no schedule, no graph and no state between runs: a pipeline is one line of steps, run once.

mod builder;
mod delivery;
mod failures;
mod ordered;
mod process;
mod report;
mod source;
mod stage;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use builder::{NoSource, NoStorage, PipelineBuilder, WithSource, WithStorage};
pub use failures::{FailureGroup, Failures};
pub use report::{FailedSample, Progress, RunOutcome, RunReport};
pub use source::SourceItem;
pub use stage::{BoxError, Flow, Measurement, Stage};

use crate::error::Result;
use crate::panicked;
use crate::sample::Sample;
use crate::storage::Storage;
use crate::writer::Writer;
use builder::{OpenStorage, Options, Watch};
use delivery::Delivery;
use ordered::More;
use process::{Fate, Processed};
use source::{OpenSource, Reading};

/// How many batches wait in the queue of a background writer.
const BATCHES_QUEUED_MAX: usize = 4;

/// A source, stages, measurements and a storage, put together and ready to run.
///
/// A run opens the storage, reads the source, takes each sample through the stages in turn, measures
/// those that come through, stores all in batches in input order, and closes the storage, also when it
/// ends in an error. It holds a bounded number of samples at a time.
///
/// What becomes of a sample:
/// - A stage gives it on, maybe changed, with any status it likes ([`Sample::with_status`]). When
///   anything was measured its `measured_at` is set, and if no stage has given it a status, so that it
///   is still `pending`, it becomes `measured`.
/// - A stage skips it: it is stored as `skipped`, as it came into that stage, with a
///   [`Reason`](crate::Reason) that names the stage, what it said, and the number of attempts.
/// - A stage or a measurement fails or panics: it is stored as `dlq` in the same way, and the run
///   goes on.
///
/// A batch that the storage refuses is tried again where that may help, and then stored sample by
/// sample; what cannot be stored is in the [`RunReport`], with its errors. After
/// [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) nothing is tried again, and where the storage cannot be reached for three samples in a
/// row, with the pauses of the policy between them, the rest of the batch is not tried.
///
/// ```
/// use samplestore::{BoxError, Flow, MemoryStorage, Pipeline, Query, Sample, Status, Storage, data};
///
/// # fn main() -> Result<(), BoxError> {
/// let fahrenheit = [Some(71.6), None, Some(32.0)];
/// let storage = MemoryStorage::new();
/// let report = Pipeline::builder("weather")
///     .source(fahrenheit.map(|temp| Sample::builder("JFK").data(data! { "temp" => temp }).build()))
///     .stage("has a temperature", |sample| match sample.data().get_as::<Option<f64>>("temp")? {
///         Some(Some(_)) => Ok(Flow::Continue(sample)),
///         _ => Ok(Flow::skip("temp is missing")),
///     })
///     .measurement("celsius", |sample| {
///         let temp: f64 = sample.data().get_as("temp")?.unwrap_or(f64::NAN);
///         Ok((temp - 32.0) / 1.8)
///     })
///     .storage(storage.clone())
///     .keep_open(true)
///     .build()?
///     .run()?
///     .into_result()?;
///
/// assert_eq!((report.read(), report.stored(), report.skipped()), (3, 3, 1));
/// assert_eq!(storage.count(&Query::new().status(Status::Measured))?, 2);
/// let skipped = storage.list(&Query::new().status(Status::Skipped))?.samples;
/// assert_eq!(skipped[0].reason().unwrap().message(), "temp is missing");
/// # Ok(())
/// # }
/// ```
pub struct Pipeline<'a> {
    options: Options<'a>,
    source: OpenSource<'a>,
    storage: OpenStorage<'a>,
}

impl Pipeline<'_> {
    /// Starts a pipeline of this name, 1 to 255 bytes: the name of the run, in its report and its
    /// errors. Samples keep the pipeline that they carry.
    pub fn builder<'a>(name: impl Into<String>) -> PipelineBuilder<'a> {
        PipelineBuilder::new(name.into())
    }

    /// Runs it to the end of the source.
    ///
    /// # Errors
    /// Those of opening the storage, opening the source, and starting threads: no sample was read
    /// then, and an opened storage was closed. Whatever happens later is in the report.
    pub fn run(self) -> Result<RunReport> {
        let began = Instant::now();
        let options = self.options;
        let _span = tracing::debug_span!("run", pipeline = options.name).entered();
        let storage = Closing {
            storage: (self.storage)()?,
            keep_open: options.keep_open,
            closed: false,
        };
        let mut reading = Reading::open(self.source, options.source_errors_max)?;
        let mut batching = Batching::new(&options, Arc::clone(&storage.storage))?;
        let mut watch = options.watch;
        let mut counts = Progress::new();
        let mut stage_retries = 0;
        ordered::run(
            &options.process,
            options.threads,
            || reading.next(),
            |Processed {
                 sample,
                 fate,
                 retries,
             }| {
                stage_retries += retries;
                counts.processed += 1;
                counts.skipped += u64::from(fate == Fate::Skipped);
                counts.dlq += u64::from(fate == Fate::Failed);
                let keep = match fate {
                    Fate::Kept => true,
                    Fate::Skipped => options.store_skipped,
                    Fate::Failed => options.store_failed,
                };
                if keep {
                    batching.add(sample);
                }
                if let Some(Watch { every, call }) = &mut watch
                    && counts.processed.is_multiple_of(*every)
                {
                    counts.stored = batching.delivery.stored();
                    counts.failed = batching.delivery.failed() as u64;
                    counts.elapsed = began.elapsed();
                    call(&counts);
                }
                match batching.delivery.failed() > options.failed_max {
                    true => More::No,
                    false => More::Yes,
                }
            },
        )?;
        let delivery = batching.finish();
        let close_error = storage.close().err();
        let report = RunReport {
            pipeline: options.name,
            read: reading.read,
            skipped: counts.skipped,
            dlq: counts.dlq,
            stage_retries,
            source_errors: reading.errors,
            account: delivery.take_account(),
            close_error,
            elapsed: began.elapsed(),
        };
        tracing::debug!(name: "run_ended", %report, "a run has ended");
        Ok(report)
    }
}

/// Gathers samples into batches and sends them on, directly or through a writer.
struct Batching {
    batch: Vec<Sample>,
    bytes: usize,
    samples_max: usize,
    bytes_max: usize,
    delivery: Arc<Delivery>,
    writer: Option<Writer>,
}

impl Batching {
    fn new(options: &Options<'_>, storage: Arc<dyn Storage>) -> Result<Self> {
        let sleep = Arc::clone(&options.process.sleep);
        let delivery = Arc::new(Delivery::new(storage, options.retry, sleep));
        let writer = options.background.then(|| {
            Writer::builder(Arc::clone(&delivery))
                .queue_samples_max(options.batch_samples_max.saturating_mul(BATCHES_QUEUED_MAX))
                // A batch of the run is a batch of the storage, as it is without a writer.
                .commit_samples_max(options.batch_samples_max)
                .start()
        });
        Ok(Self {
            batch: Vec::new(),
            bytes: 0,
            samples_max: options.batch_samples_max,
            bytes_max: options.batch_bytes_max,
            delivery,
            writer: writer.transpose()?,
        })
    }

    fn add(&mut self, sample: Sample) {
        self.bytes = self.bytes.saturating_add(sample.encoded_len());
        self.batch.push(sample);
        if self.batch.len() >= self.samples_max || self.bytes >= self.bytes_max {
            self.send();
        }
    }

    fn send(&mut self) {
        self.bytes = 0;
        match &self.writer {
            None => {
                self.delivery.deliver(&self.batch);
                self.batch.clear();
            }
            Some(writer) => {
                let batch = std::mem::take(&mut self.batch);
                // The ticket has nothing to say that the delivery's account does not; and the writer
                // is the run's own, so nobody else can have closed it.
                drop(writer.submit(batch).expect("the run's writer is open"));
            }
        }
    }

    /// Sends the last batch and waits until everything has been dealt with.
    fn finish(mut self) -> Arc<Delivery> {
        self.send();
        // Dropping the writer stores what it has accepted.
        self.writer = None;
        Arc::clone(&self.delivery)
    }
}

/// Closes the storage when the run ends, however it ends (rule P8).
struct Closing {
    storage: Arc<dyn Storage>,
    keep_open: bool,
    closed: bool,
}

impl Closing {
    fn close(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        match self.keep_open {
            true => panicked::catch_error("flush the storage", || self.storage.flush()),
            false => panicked::catch_error("close the storage", || self.storage.close()),
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(name: "close_failed", %error, "closing the storage of a run that failed");
        }
    }
}

impl fmt::Debug for Pipeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("name", &self.options.name)
            .finish_non_exhaustive()
    }
}
