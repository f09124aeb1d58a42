//! Doing the same to many objects until one fails, and what may be done again then.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::StreamExt;

use super::REQUESTS;
use crate::backend::runtime::each;
use crate::error::{Error, ErrorKind, Result};

/// Does the same to each item until one fails; those that were not begun by then have no answer.
pub(super) async fn all_or_some<I, T, W>(
    operation: &'static str,
    shown: impl fmt::Display + Send,
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
    each(operation, shown, REQUESTS, items, guarded)
        // A panic is the answer of its item.
        .map(|answer| answer.unwrap_or_else(|error| Some(Err(error))))
        .collect()
        .await
}

/// The error of a change of what a query selects. Of one with a limit it is not worth another attempt once a request may have been
/// carried out: the next one would be about other samples.
pub(super) fn of_change(error: Error, is_limited: bool) -> Error {
    if !is_limited || !error.is_retryable() {
        return error;
    }
    let ids = error.stored_ids().to_vec();
    let unknown = Error::new(ErrorKind::OutcomeUnknown, error.operation())
        .with_message(
            "a part of it was done or may have been; doing it again may do it to other samples",
        )
        .with_stored_ids(ids);
    let unknown = match error.subject() {
        Some(subject) => unknown.with_subject(subject),
        None => unknown,
    };
    unknown.with_cause(error)
}
