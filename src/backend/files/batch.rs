//! Doing the same to many objects until one fails.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::StreamExt;

use super::REQUESTS;
use crate::backend::runtime::each;
use crate::error::Result;

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
