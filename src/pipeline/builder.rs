//! [`PipelineBuilder`]: what a pipeline consists of, and its options.
//!
//! The builder's type says whether it has a source and a storage; only one that has both can be
//! built. Calling an option again replaces what it said; stages and measurements add up.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Pipeline;
use super::process::{Process, Sleep};
use super::report::Progress;
use super::source::{self, OpenSource, SourceItem};
use super::stage::{BoxError, Flow, Measurement, Named, Stage, named_value};
use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryPolicy;
use crate::sample::{Sample, check_pipeline};
use crate::storage::Storage;
use crate::value::{Map, Value};

/// How many threads stages may have.
pub(super) const THREADS_MAX: usize = 256;

/// In a [`PipelineBuilder`]'s type: no source yet, call `source` or `source_with`.
#[derive(Debug)]
pub struct NoSource(());

/// In a [`PipelineBuilder`]'s type: no storage yet, call `storage` or `storage_with`.
#[derive(Debug)]
pub struct NoStorage(());

/// In a [`PipelineBuilder`]'s type: it has a source.
pub struct WithSource<'a>(pub(super) OpenSource<'a>);

/// In a [`PipelineBuilder`]'s type: it has a storage.
pub struct WithStorage<'a>(pub(super) OpenStorage<'a>);

pub(super) type OpenStorage<'a> = Box<dyn FnOnce() -> Result<Arc<dyn Storage>> + 'a>;

/// What is called every so many samples.
pub(super) struct Watch<'a> {
    pub(super) every: u64,
    pub(super) call: Box<dyn FnMut(&Progress) + 'a>,
}

/// Everything but source and storage.
pub(super) struct Options<'a> {
    pub(super) name: String,
    pub(super) process: Process<'a>,
    pub(super) watch: Option<Watch<'a>>,
    pub(super) retry: RetryPolicy,
    pub(super) batch_samples_max: usize,
    pub(super) batch_bytes_max: usize,
    pub(super) threads: usize,
    pub(super) source_errors_max: usize,
    pub(super) failed_max: usize,
    pub(super) store_skipped: bool,
    pub(super) store_failed: bool,
    pub(super) background: bool,
    pub(super) keep_open: bool,
}

/// Puts a [`Pipeline`] together; see [`Pipeline::builder`].
///
/// Without a source or a storage there is nothing to build, which the compiler says:
///
/// ```compile_fail,E0599
/// use samplestore::{MemoryStorage, Pipeline};
///
/// let pipeline = Pipeline::builder("weather").storage(MemoryStorage::new()).build();
/// ```
///
/// ```compile_fail,E0599
/// use samplestore::{Pipeline, Sample};
///
/// let pipeline = Pipeline::builder("weather").source(Vec::<Sample>::new()).build();
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct PipelineBuilder<'a, Source = NoSource, Destination = NoStorage> {
    options: Options<'a>,
    source: Source,
    storage: Destination,
}

impl PipelineBuilder<'_> {
    pub(super) fn new(name: String) -> Self {
        let sleep: Sleep = Arc::new(thread::sleep);
        Self {
            options: Options {
                name,
                process: Process {
                    stages: Vec::new(),
                    measurements: Vec::new(),
                    retry: RetryPolicy::none(),
                    sleep,
                },
                watch: None,
                retry: RetryPolicy::default(),
                batch_samples_max: 1_000,
                batch_bytes_max: 16 << 20,
                threads: 1,
                source_errors_max: 0,
                failed_max: 10_000,
                store_skipped: true,
                store_failed: true,
                background: false,
                keep_open: false,
            },
            source: NoSource(()),
            storage: NoStorage(()),
        }
    }
}

impl<'a, Source, Destination> PipelineBuilder<'a, Source, Destination> {
    /// Takes samples from an iterator of [`Sample`]s or of `Result`s with any error. It is turned
    /// into an iterator, and read, once the storage is open.
    pub fn source<I>(self, samples: I) -> PipelineBuilder<'a, WithSource<'a>, Destination>
    where
        I: IntoIterator<Item: SourceItem + 'a, IntoIter: 'a> + 'a,
    {
        self.source_with(move || Ok::<_, BoxError>(samples))
    }

    /// Takes samples from what `open` gives, which is called once the storage is open (rule P1).
    ///
    /// ```
    /// use samplestore::{MemoryStorage, Pipeline, Sample};
    ///
    /// # fn main() -> Result<(), samplestore::BoxError> {
    /// let text = "a\nb\n";
    /// let report = Pipeline::builder("lines")
    ///     .source_with(|| Ok::<_, std::io::Error>(text.lines()
    ///         .map(|line| Sample::builder("lines").id(line).build())))
    ///     .storage(MemoryStorage::new())
    ///     .build()?
    ///     .run()?;
    /// assert_eq!(report.stored(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn source_with<I, E>(
        self,
        open: impl FnOnce() -> Result<I, E> + 'a,
    ) -> PipelineBuilder<'a, WithSource<'a>, Destination>
    where
        I: IntoIterator<Item: SourceItem + 'a, IntoIter: 'a>,
        E: Into<BoxError>,
    {
        PipelineBuilder {
            options: self.options,
            source: WithSource(source::opener(open)),
            storage: self.storage,
        }
    }

    /// Stores into an open storage, or an `Arc` of one. The run closes it at its end, for all its
    /// handles, unless told to [`keep_open`](Self::keep_open).
    pub fn storage(
        self,
        storage: impl Storage + 'static,
    ) -> PipelineBuilder<'a, Source, WithStorage<'a>> {
        self.storage_with(move || Ok(storage))
    }

    /// Stores into what `open` gives, which is called first of all (rule P1).
    pub fn storage_with<S: Storage + 'static>(
        self,
        open: impl FnOnce() -> Result<S> + 'a,
    ) -> PipelineBuilder<'a, Source, WithStorage<'a>> {
        let open = move || Ok(Arc::new(open()?) as Arc<dyn Storage>);
        PipelineBuilder {
            options: self.options,
            source: self.source,
            storage: WithStorage(Box::new(open)),
        }
    }

    /// Adds a stage: a closure that takes a sample and answers with a [`Flow`] or any error. Stages
    /// run in the order in which they are added.
    pub fn stage<F>(self, name: impl Into<String>, stage: F) -> Self
    where
        F: Fn(Sample) -> Result<Flow, BoxError> + Send + Sync + 'a,
    {
        let name = name.into();
        self.stage_with(Named { name, run: stage })
    }

    /// Adds a stage of its own type.
    pub fn stage_with(mut self, stage: impl Stage + 'a) -> Self {
        self.options.process.stages.push(Box::new(stage));
        self
    }

    /// Adds a measurement of one value, which is put among the sample's measurements under this name.
    /// A null, and so a `None`, adds nothing.
    pub fn measurement<F, V>(self, name: impl Into<String>, measure: F) -> Self
    where
        F: Fn(&Sample) -> Result<V, BoxError> + Send + Sync + 'a,
        V: Into<Value>,
    {
        let name = name.into();
        let key = name.clone();
        self.measurements(name, move |sample| Ok(named_value(&key, measure(sample)?)))
    }

    /// Adds a measurement of several values, all of which are put among the sample's measurements.
    pub fn measurements<F>(self, name: impl Into<String>, measure: F) -> Self
    where
        F: Fn(&Sample) -> Result<Map, BoxError> + Send + Sync + 'a,
    {
        let name = name.into();
        self.measurement_with(Named { name, run: measure })
    }

    /// Adds a measurement of its own type.
    pub fn measurement_with(mut self, measurement: impl Measurement + 'a) -> Self {
        self.options
            .process
            .measurements
            .push(Box::new(measurement));
        self
    }

    /// Runs stages and measurements on so many threads: 1 unless set, at most 256. Samples are stored
    /// in input order all the same, and at most 64 per thread are on their way at a time. The source
    /// and the progress callback stay on the calling thread.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = threads;
        self
    }

    /// Stores in batches of at most so many samples: 1,000 unless set.
    pub fn batch_samples_max(mut self, samples: usize) -> Self {
        self.options.batch_samples_max = samples;
        self
    }

    /// Ends a batch early once its samples have this many encoded bytes: 16 MiB unless set.
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.options.batch_bytes_max = bytes;
        self
    }

    /// Stores through a background [`Writer`](crate::Writer) of the run's own, so that stages go on
    /// while a batch is being committed. Off unless set. Up to four batches wait in its queue.
    pub fn background(mut self, background: bool) -> Self {
        self.options.background = background;
        self
    }

    /// How storing a batch is repeated when that may help: by default 3 attempts, 100 ms apart.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.options.retry = policy;
        self
    }

    /// How a stage or measurement that fails is repeated: not at all unless set. An
    /// [`Error`](crate::Error) of this crate is repeated only if it is retryable, any other error
    /// always, a panic never.
    pub fn stage_retry(mut self, policy: RetryPolicy) -> Self {
        self.options.process.retry = policy;
        self
    }

    /// How the run waits between attempts: `std::thread::sleep` unless set. For tests, and for
    /// waiting that can be broken off.
    pub fn sleep_with(mut self, sleep: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.options.process.sleep = Arc::new(sleep);
        self
    }

    /// Whether skipped samples are stored, as `skipped` with their reason: yes unless set.
    pub fn store_skipped(mut self, store: bool) -> Self {
        self.options.store_skipped = store;
        self
    }

    /// Whether samples that failed in a stage are stored, as `dlq` with their reason: yes unless set.
    pub fn store_failed(mut self, store: bool) -> Self {
        self.options.store_failed = store;
        self
    }

    /// How many errors of the source are passed over: 0 unless set, so that the first one ends the
    /// run. What was read before is stored, and the report has all of the errors.
    pub fn source_errors_max(mut self, errors: usize) -> Self {
        self.options.source_errors_max = errors;
        self
    }

    /// How many samples may fail to be stored before the run reads no more: 10,000 unless set. Those
    /// that are on their way then are stored or handed back too, so the report may have more: up to
    /// one batch, what the threads have in hand and, in the background, what is queued.
    pub fn failed_max(mut self, samples: usize) -> Self {
        self.options.failed_max = samples;
        self
    }

    /// Whether the storage stays open when the run ends: no unless set. It is flushed instead.
    pub fn keep_open(mut self, keep_open: bool) -> Self {
        self.options.keep_open = keep_open;
        self
    }

    /// Calls `watch` each time another `every` samples (0 is taken as 1) have been processed.
    pub fn progress(mut self, every: u64, watch: impl FnMut(&Progress) + 'a) -> Self {
        self.options.watch = Some(Watch {
            every: every.max(1),
            call: Box::new(watch),
        });
        self
    }
}

impl<'a> PipelineBuilder<'a, WithSource<'a>, WithStorage<'a>> {
    /// Checks the options and makes the pipeline. Nothing is opened yet.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when a batch may have no sample or byte, the
    /// threads are not 1 to 256, or a name of a stage or measurement is empty or there twice: a
    /// reason could not say which one it was. [`InvalidSample`](ErrorKind::InvalidSample) when the
    /// pipeline's own name is not 1 to 255 bytes.
    pub fn build(self) -> Result<Pipeline<'a>> {
        let options = self.options;
        check_pipeline(&options.name)?;
        let refuse = |message: String| {
            Err(Error::new(ErrorKind::InvalidArgument, "build a pipeline")
                .with_subject(&options.name)
                .with_message(message))
        };
        if !(1..=THREADS_MAX).contains(&options.threads) {
            return refuse(format!(
                "threads must be 1 to {THREADS_MAX}, not {}",
                options.threads
            ));
        }
        if options.batch_samples_max == 0 || options.batch_bytes_max == 0 {
            return refuse("a batch must be allowed at least one sample and one byte".to_owned());
        }
        let process = &options.process;
        let stages = process.stages.iter().map(Stage::name);
        let measurements = process.measurements.iter().map(Measurement::name);
        let mut seen = HashSet::new();
        for name in stages.chain(measurements) {
            if name.is_empty() {
                return refuse("a stage or measurement has an empty name".to_owned());
            }
            if !seen.insert(name) {
                return refuse(format!("two stages or measurements are named {name:?}"));
            }
        }
        Ok(Pipeline {
            options,
            source: self.source.0,
            storage: self.storage.0,
        })
    }
}
