//! What a pipeline does to a sample: [`Stage`] and [`Measurement`], as traits and as closures.

use crate::sample::Sample;
use crate::value::{Map, Value};

/// Any error, as the closures of a pipeline return it: `?` turns every error into one, and so does
/// `"some text".into()`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where a sample goes after a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// On to the next stage, as the stage has changed it.
    Continue(Sample),
    /// Out of the pipeline on purpose: the sample that came in is stored as `skipped`.
    Skip {
        /// Why, for the sample's reason.
        message: String,
    },
}

impl Flow {
    /// Skips the sample, saying why.
    #[must_use]
    pub fn skip(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Skip { message }
    }
}

impl From<Sample> for Flow {
    fn from(sample: Sample) -> Self {
        Self::Continue(sample)
    }
}

/// One step of a pipeline. A closure does as well: see
/// [`PipelineBuilder::stage`](crate::PipelineBuilder::stage).
///
/// ```
/// use samplestore::{BoxError, Flow, MemoryStorage, Pipeline, Sample, Stage, Status, data};
///
/// struct Above {
///     field: &'static str,
///     least: f64,
/// }
///
/// impl Stage for Above {
///     fn name(&self) -> &str {
///         "above"
///     }
///     fn process(&self, sample: Sample) -> Result<Flow, BoxError> {
///         let value: Option<f64> = sample.data().get_as(self.field)?;
///         match value {
///             Some(value) if value >= self.least => Ok(sample.with_status(Status::Ready).into()),
///             Some(value) => Ok(Flow::skip(format!("{} is only {value}", self.field))),
///             None => Err(format!("{} is missing", self.field).into()),
///         }
///     }
/// }
///
/// let report = Pipeline::builder("warm hours")
///     .source([71.6, 41.0].map(|temp| Sample::builder("JFK").data(data! { "temp" => temp }).build()))
///     .stage_with(Above { field: "temp", least: 60.0 })
///     .storage(MemoryStorage::new())
///     .build()?
///     .run()?;
/// assert_eq!(report.stored_by_status()[&Status::Ready], 1);
/// assert_eq!(report.skipped(), 1);
/// # Ok::<(), samplestore::Error>(())
/// ```
pub trait Stage: Send + Sync {
    /// The name that the reasons of skipped and failed samples carry.
    fn name(&self) -> &str;

    /// Takes one sample and says where it goes. May be called from several threads at once, and
    /// again with the same sample when it fails and the pipeline repeats failed stages.
    ///
    /// # Errors
    /// Whatever it meets; the sample that came in is then stored as `dlq`, as after a panic.
    fn process(&self, sample: Sample) -> Result<Flow, BoxError>;
}

/// Something that is measured on a sample that came through all stages. A closure does as well: see
/// [`PipelineBuilder::measurement`](crate::PipelineBuilder::measurement).
pub trait Measurement: Send + Sync {
    /// The name that the reasons of failed samples carry.
    fn name(&self) -> &str;

    /// The values measured, by name; they are added to the sample's measurements, in place of those
    /// that have the same name.
    ///
    /// # Errors
    /// Whatever it meets; the sample is then stored as `dlq`, as after a panic.
    fn measure(&self, sample: &Sample) -> Result<Map, BoxError>;
}

impl<S: Stage + ?Sized> Stage for Box<S> {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn process(&self, sample: Sample) -> Result<Flow, BoxError> {
        (**self).process(sample)
    }
}

impl<M: Measurement + ?Sized> Measurement for Box<M> {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn measure(&self, sample: &Sample) -> Result<Map, BoxError> {
        (**self).measure(sample)
    }
}

/// A closure with a name.
pub(super) struct Named<F> {
    pub(super) name: String,
    pub(super) run: F,
}

impl<F> Stage for Named<F>
where
    F: Fn(Sample) -> Result<Flow, BoxError> + Send + Sync,
{
    fn name(&self) -> &str {
        &self.name
    }
    fn process(&self, sample: Sample) -> Result<Flow, BoxError> {
        (self.run)(sample)
    }
}

impl<F> Measurement for Named<F>
where
    F: Fn(&Sample) -> Result<Map, BoxError> + Send + Sync,
{
    fn name(&self) -> &str {
        &self.name
    }
    fn measure(&self, sample: &Sample) -> Result<Map, BoxError> {
        (self.run)(sample)
    }
}

/// The map of one named value; a null adds nothing.
pub(super) fn named_value(name: &str, value: impl Into<Value>) -> Map {
    match value.into() {
        Value::Null => Map::new(),
        value => Map::from([(name.to_owned(), value)]),
    }
}
