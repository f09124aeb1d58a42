//! One sample's way through stages and measurements, with retries, reasons and caught panics.
//!
//! Knows neither sources nor storages nor threads: a [`Process`] turns a sample into a sample and its
//! [`Fate`].

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use super::stage::{BoxError, Flow, Measurement, Stage};
use crate::error::Error;
use crate::instant;
use crate::panicked;
use crate::payload::Payload;
use crate::retry::{RetryPolicy, random};
use crate::sample::{Reason, Sample, Status};
use crate::value::Map;

/// Longest message of a reason, in bytes of UTF-8; what is longer is cut.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// How many causes of an error are told at most.
const CAUSES_MAX: usize = 16;

/// How a pipeline waits between attempts: `thread::sleep`, unless it is given another way.
pub(super) type Sleep = Arc<dyn Fn(Duration) + Send + Sync>;

pub(super) struct Process<'a> {
    pub(super) stages: Vec<Box<dyn Stage + 'a>>,
    pub(super) measurements: Vec<Box<dyn Measurement + 'a>>,
    pub(super) retry: RetryPolicy,
    pub(super) sleep: Sleep,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It came through.
    Kept,
    /// A stage skipped it.
    Skipped,
    /// A stage or a measurement failed.
    Failed,
}

pub(super) struct Processed {
    pub(super) sample: Sample,
    pub(super) fate: Fate,
    /// How often a stage or a measurement was tried again.
    pub(super) retries: u64,
}

/// The end of the attempts at one stage or measurement: its answer, or what it complained of last.
struct Attempted<T> {
    answer: Result<T, String>,
    attempts: u32,
}

impl Process<'_> {
    /// Never panics, whatever stages and measurements do (rule P4).
    pub(super) fn run(&self, mut sample: Sample) -> Processed {
        let mut retries = 0;
        for stage in &self.stages {
            let Attempted { answer, attempts } = self.attempt(|| stage.process(sample.clone()));
            retries += u64::from(attempts - 1);
            // A sample is put aside as it came into the stage that gave it up.
            let (fate, message) = match answer {
                Ok(Flow::Continue(next)) => {
                    sample = next;
                    continue;
                }
                Ok(Flow::Skip { message }) => (Fate::Skipped, message),
                Err(message) => (Fate::Failed, message),
            };
            return put_aside(sample, fate, stage.name(), message, attempts, retries);
        }
        let mut measured = Vec::with_capacity(self.measurements.len());
        for measurement in &self.measurements {
            let Attempted { answer, attempts } = self.attempt(|| measurement.measure(&sample));
            retries += u64::from(attempts - 1);
            match answer {
                Ok(map) => measured.push((measurement.name(), map)),
                Err(message) => {
                    let name = measurement.name();
                    return put_aside(sample, Fate::Failed, name, message, attempts, retries);
                }
            }
        }
        match with_measurements(sample.clone(), &measured) {
            Ok(sample) => Processed {
                sample,
                fate: Fate::Kept,
                retries,
            },
            Err(error) => {
                let name = culprit(&measured);
                put_aside(sample, Fate::Failed, name, describe(&error), 1, retries)
            }
        }
    }

    /// Tries until it works, the policy ends, or trying again cannot help: after a panic, and after
    /// an error of this crate that says so.
    fn attempt<T>(&self, mut once: impl FnMut() -> Result<T, BoxError>) -> Attempted<T> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            // Told inside, since a foreign error's `Display` is foreign code as well.
            let told = panicked::catch(|| {
                once().map_err(|error| (describe(&*error), may_try_again(&*error)))
            });
            let (message, again) = match told {
                Ok(Ok(answer)) => {
                    let answer = Ok(answer);
                    return Attempted { answer, attempts };
                }
                Ok(Err(complaint)) => complaint,
                Err(words) => (bounded(format!("panicked: {words}")), false),
            };
            match self.retry.delay_after(attempts, random()) {
                Some(delay) if again => (self.sleep)(delay),
                _ => {
                    let answer = Err(message);
                    return Attempted { answer, attempts };
                }
            }
        }
    }
}

/// Only errors of this crate say whether it helps; of others the policy alone decides.
fn may_try_again(error: &(dyn StdError + 'static)) -> bool {
    error
        .downcast_ref::<Error>()
        .is_none_or(Error::is_retryable)
}

fn put_aside(
    sample: Sample,
    fate: Fate,
    stage: &str,
    message: String,
    attempts: u32,
    retries: u64,
) -> Processed {
    let status = match fate {
        Fate::Kept => sample.status(),
        Fate::Skipped => Status::Skipped,
        Fate::Failed => Status::Dlq,
    };
    let reason = Reason::new(stage, bounded(message), attempts, instant::now());
    let sample = sample.with_status(status).with_reason(Some(reason));
    Processed {
        sample,
        fate,
        retries,
    }
}

/// Adds what was measured. Where that is something, `measured_at` becomes now, and a sample that is
/// still `pending` becomes `measured`.
fn with_measurements(sample: Sample, measured: &[(&str, Map)]) -> Result<Sample, Error> {
    if measured.iter().all(|(_, map)| map.is_empty()) {
        return Ok(sample);
    }
    let status = match sample.status() {
        Status::Pending => Status::Measured,
        set => set,
    };
    let mut builder = sample.into_builder().status(status);
    for (name, value) in measured.iter().flat_map(|(_, map)| map) {
        builder = builder.measurement(name, value.clone());
    }
    builder.measured_at(instant::now()).build()
}

/// Which measurement gave a map that no sample can keep: the first that does not encode by itself.
fn culprit<'a>(measured: &[(&'a str, Map)]) -> &'a str {
    measured
        .iter()
        .find(|(_, map)| Payload::from_map(map).is_err())
        .or(measured.last())
        .map_or("measurements", |(name, _)| name)
}

/// An error and its causes in one line. Causes that the text before them tells already are left out.
fn describe(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(error) = cause else { break };
        let told = error.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    bounded(text)
}

fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Limit};

    #[test]
    fn errors_are_told_with_their_causes_once() {
        let cause = Limit::Depth { field: "data" };
        let error = Error::new(ErrorKind::Backend, "call the model").with_cause(cause);
        assert_eq!(
            describe(&error),
            "backend failed: could not call the model: data nests more than 64 deep"
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        for extra in 0..4 {
            let message = bounded("x".repeat(extra) + &"é".repeat(MESSAGE_BYTES_MAX));
            assert!(message.len() <= MESSAGE_BYTES_MAX);
            assert!(message.len() > MESSAGE_BYTES_MAX - 4);
            assert!(message.ends_with('…'));
        }
        assert_eq!(bounded("short".to_owned()), "short");
    }
}
