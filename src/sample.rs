//! A [`Sample`] and what it is made of: [`Status`], [`Reason`], and the limits M1–M8 of the contract.
//!
//! A sample is valid by construction: [`SampleBuilder::build`] checks every limit but the size of the
//! whole, which is an option of the storage. Payloads are encoded when the sample is built and stay
//! encoded until someone looks (see [`Payload`]). The JSON text form lives in `sample/json.rs`.

mod builder;
mod json;
mod status;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;

pub use builder::SampleBuilder;
#[cfg(any(feature = "delta", feature = "postgres"))]
pub(crate) use json::{reason_from_json, reason_to_json};
pub use status::Status;

use crate::error::{Error, Limit, Result};
use crate::instant;
use crate::payload::Payload;
use crate::slice::Text;

/// Longest id, in bytes of UTF-8.
pub const ID_BYTES_MAX: usize = 512;
/// Longest pipeline name, in bytes of UTF-8.
pub const PIPELINE_BYTES_MAX: usize = 255;
/// Largest encoded sample that a storage takes by default: 16 MiB.
pub const SAMPLE_BYTES_MAX: usize = 16 << 20;

/// Why a sample was skipped or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    stage: String,
    message: String,
    attempts: u32,
    at: DateTime<Utc>,
}

impl Reason {
    /// A reason given by `stage` after `attempts` tries (1 when it was tried once), at `at`, of
    /// which digits finer than a microsecond are cut.
    #[must_use]
    pub fn new(
        stage: impl Into<String>,
        message: impl Into<String>,
        attempts: u32,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            stage: stage.into(),
            message: message.into(),
            attempts,
            at: instant::cut(at),
        }
    }

    /// The stage that gave up on the sample.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// What it said.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How often it was tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When that was.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

/// One sample of a pipeline.
///
/// Cloning is cheap: payloads are shared. Two samples are equal when all their fields are, payloads
/// by value and not by encoding.
///
/// ```
/// use samplestore::{Sample, Status, data};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Weather<'a> {
///     station: &'a str,
///     temp: f64,
/// }
///
/// // From any type that serde can serialise to a map …
/// let typed = Sample::builder("weather")
///     .id("JFK-2013-06-01")
///     .status(Status::Ready)
///     .data(Weather { station: "JFK", temp: 71.6 })
///     .measurement("celsius", 22.0)
///     .build()?;
/// // … or from maps; `serde_json::json!({...})` does as well.
/// let mapped = Sample::builder("weather").data(data! { "temp" => 71.6 }).build()?;
///
/// // One field, the whole map, or straight into a type, borrowing from the sample.
/// assert_eq!(mapped.data().get("temp")?.unwrap().as_f64(), Some(71.6));
/// assert_eq!(typed.data().to_map()?.len(), 2);
/// assert_eq!(typed.data_as::<Weather>()?.station, "JFK");
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    id: Text,
    pipeline: Arc<str>,
    status: Status,
    created_at: DateTime<Utc>,
    measured_at: Option<DateTime<Utc>>,
    data: Payload,
    measurements: Payload,
    reason: Option<Box<Reason>>,
}

/// The fields of a sample in storage's hands: already valid, payloads already encoded.
pub(crate) struct SampleParts {
    pub(crate) id: Text,
    pub(crate) pipeline: Arc<str>,
    pub(crate) status: Status,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) measured_at: Option<DateTime<Utc>>,
    pub(crate) data: Payload,
    pub(crate) measurements: Payload,
    pub(crate) reason: Option<Box<Reason>>,
}

impl Sample {
    /// Starts a sample of this pipeline (1 to 255 bytes).
    ///
    /// Unless told otherwise it gets a new UUIDv7 as its id, the status `pending`, the current
    /// instant as `created_at`, and empty `data` and `measurements`.
    pub fn builder(pipeline: impl Into<String>) -> SampleBuilder {
        SampleBuilder::new(pipeline.into())
    }

    /// Its id, 1 to 512 bytes.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The pipeline that made it, 1 to 255 bytes.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// When it was created.
    #[must_use]
    pub fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// When it was measured, if it was.
    #[must_use]
    pub fn measured_at(&self) -> Option<DateTime<Utc>> {
        self.measured_at
    }

    /// What the pipeline made: a map that is decoded only where it is looked at.
    #[must_use]
    pub fn data(&self) -> &Payload {
        &self.data
    }

    /// What was measured: a map that is decoded only where it is looked at.
    #[must_use]
    pub fn measurements(&self) -> &Payload {
        &self.measurements
    }

    /// Why it was skipped or failed, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_deref()
    }

    /// Decodes `data` straight into `T`, which may borrow from the sample.
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode) when the payload does not fit `T`.
    pub fn data_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        self.data
            .decode()
            .map_err(|error| error.with_sample_id(&*self.id))
    }

    /// Decodes `measurements` straight into `T`, which may borrow from the sample.
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode) when the payload does not fit `T`.
    pub fn measurements_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        self.measurements
            .decode()
            .map_err(|error| error.with_sample_id(&*self.id))
    }

    /// The same sample with another status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// The same sample with a reason, or with none.
    #[must_use]
    pub fn with_reason(mut self, reason: Option<Reason>) -> Self {
        self.reason = reason.map(Box::new);
        self
    }

    /// The same sample without its data and measurements, where only the rest counts.
    #[cfg(feature = "files")]
    pub(crate) fn without_payloads(mut self) -> Self {
        self.data = Payload::default();
        self.measurements = Payload::default();
        self
    }

    /// A builder that starts from this sample, to change any field.
    pub fn into_builder(self) -> SampleBuilder {
        SampleBuilder::from_sample(self)
    }

    /// The size that counts against a storage's `sample_bytes_max`, in bytes: its texts and its
    /// encoded payloads, and 64 for the rest.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let reason = self
            .reason()
            .map_or(0, |reason| reason.stage.len() + reason.message.len());
        64 + self.id.len()
            + self.pipeline.len()
            + self.data.len()
            + self.measurements.len()
            + reason
    }

    pub(crate) fn from_parts(parts: SampleParts) -> Self {
        Self {
            id: parts.id,
            pipeline: parts.pipeline,
            status: parts.status,
            created_at: parts.created_at,
            measured_at: parts.measured_at,
            data: parts.data,
            measurements: parts.measurements,
            reason: parts.reason,
        }
    }
}

/// Checks rule M1.
pub(crate) fn check_id(id: &str) -> Result<()> {
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(Error::invalid_sample(Limit::IdLength { bytes: id.len() }));
    }
    Ok(())
}

/// Checks rule M2.
pub(crate) fn check_pipeline(pipeline: &str) -> Result<()> {
    if pipeline.is_empty() || pipeline.len() > PIPELINE_BYTES_MAX {
        return Err(Error::invalid_sample(Limit::PipelineLength {
            bytes: pipeline.len(),
        }));
    }
    Ok(())
}
