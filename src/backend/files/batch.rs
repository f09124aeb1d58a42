//! Doing the same to many objects: until one fails, and with an account of what was done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::StreamExt;

use super::REQUESTS;
use crate::backend::runtime::each;
use crate::error::{Error, ErrorKind, Result};
use crate::sample::Sample;

/// Does the same to each item until one fails; those that were not begun by then have no answer.
pub(super) async fn all_or_some<I, T, W>(
    operation: &'static str,
    items: impl IntoIterator<Item = I, IntoIter: Send>,
    work: impl Fn(I) -> W + Send + Sync + 'static,
) -> Vec<Option<Result<T>>>
where
    I: Send + 'static,
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let has_failed = Arc::new(AtomicBool::new(false));
    let guarded = move |item| {
        let has_failed = Arc::clone(&has_failed);
        let begun = (!has_failed.load(Relaxed)).then(|| work(item));
        async move {
            let Some(begun) = begun else { return Ok(None) };
            let answer = begun.await;
            has_failed.fetch_or(answer.is_err(), Relaxed);
            Ok(Some(answer))
        }
    };
    each(operation, REQUESTS, items, guarded)
        // A panic is the answer of its item.
        .map(|answer| answer.unwrap_or_else(|error| Some(Err(error))))
        .collect()
        .await
}

/// The answers, if all items have one; else the first error, with the ids of what was done nevertheless.
pub(super) fn finished<'a, T>(
    operation: &'static str,
    answers: impl Iterator<Item = (usize, &'a Sample, Option<Result<T>>)>,
) -> Result<Vec<T>> {
    let mut done = Vec::new();
    let mut ids = Vec::new();
    let mut failure = None;
    for (position, sample, answer) in answers {
        match answer {
            Some(Ok(answer)) => {
                done.push(answer);
                ids.push(sample.id().to_owned());
            }
            Some(Err(error)) if failure.is_none() => failure = Some((position, sample, error)),
            // Only the first is told, and not what was not begun for it.
            None | Some(Err(_)) => {}
        }
    }
    let Some((position, sample, error)) = failure else {
        return Ok(done);
    };
    if ids.is_empty() {
        return Err(error.with_sample(position, sample.id()));
    }
    Err(Error::new(ErrorKind::Partial, operation)
        .with_sample(position, sample.id())
        .with_stored_ids(ids)
        .with_retryable(error.is_retryable())
        .with_cause(error))
}
