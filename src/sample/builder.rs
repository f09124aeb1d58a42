//! [`SampleBuilder`]: fields one by one, checked at the end.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Reason, Sample, Status, check_id, check_pipeline};
use crate::error::Result;
use crate::instant;
use crate::payload::Payload;
use crate::value::{Map, Value};

/// Builds a [`Sample`]; see [`Sample::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SampleBuilder {
    id: Option<String>,
    pipeline: Arc<str>,
    status: Status,
    created_at: Option<DateTime<Utc>>,
    measured_at: Option<DateTime<Utc>>,
    data: Result<Payload>,
    measurements: Result<Payload>,
    added_measurements: Map,
    reason: Option<Reason>,
}

impl SampleBuilder {
    pub(super) fn new(pipeline: String) -> Self {
        Self {
            id: None,
            pipeline: pipeline.into(),
            status: Status::default(),
            created_at: None,
            measured_at: None,
            data: Ok(Payload::default()),
            measurements: Ok(Payload::default()),
            added_measurements: Map::new(),
            reason: None,
        }
    }

    pub(super) fn from_sample(sample: Sample) -> Self {
        Self {
            id: Some((*sample.id).to_owned()),
            pipeline: sample.pipeline,
            status: sample.status,
            created_at: Some(sample.created_at),
            measured_at: sample.measured_at,
            data: Ok(sample.data),
            measurements: Ok(sample.measurements),
            added_measurements: Map::new(),
            reason: sample.reason.map(|reason| *reason),
        }
    }

    /// Sets the id, 1 to 512 bytes. Without one a new UUIDv7 is made, which grows with time.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the pipeline, 1 to 255 bytes.
    pub fn pipeline(mut self, pipeline: impl Into<String>) -> Self {
        self.pipeline = pipeline.into().into();
        self
    }

    /// Sets the status; `pending` when it is not called.
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Sets the instant of creation; now when it is not called. Digits finer than a microsecond are
    /// cut.
    pub fn created_at(mut self, at: DateTime<Utc>) -> Self {
        self.created_at = Some(instant::cut(at));
        self
    }

    /// Sets the instant of measurement. Digits finer than a microsecond are cut.
    pub fn measured_at(mut self, at: DateTime<Utc>) -> Self {
        self.measured_at = Some(instant::cut(at));
        self
    }

    /// Sets `data` from anything that serde serialises to a map with string keys: a struct, a
    /// [`data!`](crate::data) map, `serde_json::json!({...})`, a `HashMap<String, _>`. What cannot be kept
    /// is reported by [`build`](Self::build).
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = Payload::encode("data", &data);
        self
    }

    /// Sets `data` to a payload that is encoded already.
    pub fn data_payload(mut self, data: Payload) -> Self {
        self.data = Ok(data);
        self
    }

    /// Sets `measurements`, from what [`data`](Self::data) takes.
    pub fn measurements(mut self, measurements: impl Serialize) -> Self {
        self.measurements = Payload::encode("measurements", &measurements);
        self.added_measurements.clear();
        self
    }

    /// Sets `measurements` to a payload that is encoded already.
    pub fn measurements_payload(mut self, measurements: Payload) -> Self {
        self.measurements = Ok(measurements);
        self.added_measurements.clear();
        self
    }

    /// Adds one measurement, in place of an earlier one of that name.
    pub fn measurement(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.added_measurements.insert(name.into(), value.into());
        self
    }

    /// Says why the sample was skipped or failed.
    pub fn reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Checks everything and makes the sample.
    ///
    /// # Errors
    /// [`InvalidSample`](crate::ErrorKind::InvalidSample) with the [`Limit`](crate::Limit) that is
    /// broken: the length of the id or the pipeline, a payload that is not a map, holds what is no
    /// [`Value`], or nests more than 64 deep.
    pub fn build(self) -> Result<Sample> {
        let id = self.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        check_id(&id)?;
        check_pipeline(&self.pipeline)?;
        let named = |error: crate::Error| error.with_sample_id(&*id);
        let data = self.data.map_err(named)?;
        let mut measurements = self.measurements.map_err(named)?;
        if !self.added_measurements.is_empty() {
            let mut map = measurements.to_map().map_err(named)?;
            map.extend(self.added_measurements);
            measurements = Payload::encode("measurements", &map).map_err(named)?;
        }
        Ok(Sample {
            id: id.as_str().into(),
            pipeline: self.pipeline,
            status: self.status,
            created_at: self.created_at.unwrap_or_else(instant::now),
            measured_at: self.measured_at,
            data,
            measurements,
            reason: self.reason.map(Box::new),
        })
    }
}
