//! What backends make of a batch: of one id twice the later sample, and of a batch that is not atomic an
//! account of what was stored.

use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};
use crate::sample::Sample;

/// The samples of a batch with their positions: of one id twice the later one (rule W3), in the order in
/// which ids first stand there (rule R4).
pub(super) fn last_of_each_id(batch: &[Sample]) -> Vec<(usize, &Sample)> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(batch.len());
    let mut samples: Vec<(usize, &Sample)> = Vec::with_capacity(batch.len());
    for (position, sample) in batch.iter().enumerate() {
        let place = *places.entry(sample.id()).or_insert(samples.len());
        match samples.get_mut(place) {
            Some(earlier) => *earlier = (position, sample),
            None => samples.push((position, sample)),
        }
    }
    samples
}

// A backend whose batches are atomic has no use for it.
#[cfg_attr(not(any(feature = "files", feature = "kafka")), allow(dead_code))]
/// The answers, if all items have one; else the first error, with the ids of what was done nevertheless.
/// Each item is its position in the batch, its id, and its answer unless it was not begun.
pub(super) fn finished<'a, T>(
    operation: &'static str,
    answers: impl Iterator<Item = (usize, &'a str, Option<Result<T>>)>,
) -> Result<Vec<T>> {
    let mut done = Vec::new();
    let mut ids = Vec::new();
    let mut failure = None;
    for (position, id, answer) in answers {
        match answer {
            Some(Ok(answer)) => {
                done.push(answer);
                ids.push(id.to_owned());
            }
            Some(Err(error)) if failure.is_none() => failure = Some((position, id, error)),
            // Only the first is told, and not what was not begun for it.
            None | Some(Err(_)) => {}
        }
    }
    let Some((position, id, error)) = failure else {
        return Ok(done);
    };
    if ids.is_empty() {
        return Err(error.with_sample(position, id));
    }
    Err(Error::new(ErrorKind::Partial, operation)
        .with_sample(position, id)
        .with_stored_ids(ids)
        .with_retryable(error.is_retryable())
        .with_unreachable(error.is_unreachable())
        .with_cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_sample_stands_where_the_first_one_stood() {
        let sample = |id: &str| Sample::builder("weather").id(id).build();
        let batch = ["a", "b", "a", "c", "b"].map(|id| sample(id).unwrap());
        let kept: Vec<_> = last_of_each_id(&batch)
            .into_iter()
            .map(|(position, sample)| (position, sample.id()))
            .collect();
        assert_eq!(kept, [(2, "a"), (4, "b"), (3, "c")]);
    }

    #[test]
    fn the_first_error_is_told_with_what_was_done_nevertheless() {
        let failed = |retryable| {
            let error = Error::new(ErrorKind::Io, "store").with_retryable(retryable);
            Some(Err(error))
        };
        let done = [(0, "a", Some(Ok(7))), (1, "b", Some(Ok(8)))];
        assert_eq!(finished("store", done.into_iter()).unwrap(), [7, 8]);

        let none = [(0, "a", failed(true)), (1, "b", None)];
        let error = finished::<u8>("store", none.into_iter()).unwrap_err();
        assert_eq!((error.kind(), error.position()), (ErrorKind::Io, Some(0)));

        let some = [
            (0, "a", Some(Ok(7))),
            (1, "b", failed(true)),
            (2, "c", failed(false)),
            (3, "d", Some(Ok(9))),
        ];
        let error = finished("store", some.into_iter()).unwrap_err();
        assert_eq!(
            (error.kind(), error.sample_id(), error.is_retryable()),
            (ErrorKind::Partial, Some("b"), true)
        );
        assert_eq!(error.stored_ids(), ["a", "d"]);
    }
}
