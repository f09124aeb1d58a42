//! Async clients behind the sync trait: one runtime for all of them, retries, bounded parallelism.
//!
//! The caller's thread waits on a channel while threads of our own runtime do the work, and never enters
//! a runtime itself. So a storage may be used from anywhere: from a plain thread, and from inside a tokio
//! runtime of the caller's, a single-threaded one too, which waits like any thread that blocks. The
//! runtime begins with the first use and lasts as long as the process.

use std::fmt;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryPolicy;

/// Threads that drive connections. They wait more than they work: what is heavy is the servers' to do.
const THREADS: usize = 2;

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::result::Result<Runtime, std::io::Error>> = OnceLock::new();
    let begun = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("samplestore-io")
            .enable_all()
            .build()
    });
    begun.as_ref().map_err(|cause| {
        Error::new(ErrorKind::Io, "start threads for input and output")
            .with_message(cause)
            .with_retryable(true)
    })
}

/// Does async work and waits for it. A panic in it is an error of the kind `Panicked` in `operation` on what is `shown` so.
pub(super) fn wait<T: Send + 'static>(
    operation: &'static str,
    shown: impl fmt::Display,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (done, is_done) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        // Nobody waits any more when this fails.
        let _ = done.send(work.await);
    });
    is_done
        .recv()
        .unwrap_or_else(|_| Err(panicked(operation, shown)))
}

/// Attempts at one thing, each behind a pause.
pub(super) struct Attempts {
    policy: RetryPolicy,
    /// When there are no more of them, whatever the policy says.
    until: Option<Instant>,
    failed: u32,
}

// No backend has use for all of it.
#[cfg_attr(not(all(feature = "files", feature = "postgres")), allow(dead_code))]
impl Attempts {
    /// As many as the policy says.
    pub(super) const fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            until: None,
            failed: 0,
        }
    }

    /// As many as the policy says, and none behind so long a time.
    pub(super) fn within(policy: RetryPolicy, time: Duration) -> Self {
        Self {
            until: Instant::now().checked_add(time),
            ..Self::new(policy)
        }
    }

    /// How many failed.
    pub(super) const fn failed(&self) -> u32 {
        self.failed
    }

    /// Begins anew: what is tried next is another thing.
    pub(super) const fn succeeded(&mut self) {
        self.failed = 0;
    }

    /// Waits before the next attempt. Where the policy, the time or the error says that there is no use, this is the error.
    pub(super) async fn pause(&mut self, error: Error) -> Result<()> {
        self.failed = self.failed.saturating_add(1);
        let attempts = self.failed;
        let delay = match self.until {
            Some(until) if Instant::now() > until => None,
            _ => self.policy.delay_after_error(attempts, &error),
        };
        let Some(delay) = delay else {
            return Err(error);
        };
        tracing::debug!(name: "retry_request", %error, attempts, ?delay, "trying again");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

// PostgreSQL's begins again for other reasons.
#[cfg_attr(not(any(feature = "delta", feature = "files")), allow(dead_code))]
/// Tries until it succeeds, or the policy or the error says that there is no use.
pub(super) async fn retrying<T, W: Future<Output = Result<T>>>(
    policy: RetryPolicy,
    mut attempt: impl FnMut() -> W,
) -> Result<T> {
    let mut attempts = Attempts::new(policy);
    loop {
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(error) => attempts.pause(error).await?,
        }
    }
}

// Backends whose server does the work have no use for it.
#[cfg_attr(not(any(feature = "delta", feature = "files")), allow(dead_code))]
/// Does the same to each item, to at most `bound` of them at a time, and gives the answers in the order of
/// the items. Only as many items are taken as are worked on or wait for the answer before them.
pub(super) fn each<I, T, W>(
    operation: &'static str,
    shown: impl fmt::Display + Send,
    bound: usize,
    items: I,
    work: impl Fn(I::Item) -> W + Send + 'static,
) -> impl stream::Stream<Item = Result<T>> + Send
where
    I: IntoIterator<IntoIter: Send>,
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    // As tasks of their own, so that parsing goes on while others wait.
    let tasks = stream::iter(items.into_iter().map(move |item| tokio::spawn(work(item))));
    tasks
        .buffered(bound.max(1))
        .map(move |joined| joined.unwrap_or_else(|_| Err(panicked(operation, &shown))))
}

fn panicked(operation: &'static str, shown: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Panicked, operation)
        .with_subject(shown)
        .with_message("a thread for input and output panicked")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

    use super::*;

    const OPERATION: &str = "test";
    const SHOWN: &str = "s3://bucket/prefix";

    #[test]
    fn it_works_outside_and_inside_every_kind_of_runtime() {
        let answer = || {
            wait(OPERATION, SHOWN, async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(7)
            })
        };
        assert_eq!(answer().unwrap(), 7);
        let single = Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(single.block_on(async { answer() }).unwrap(), 7);
        let many = Builder::new_multi_thread().enable_all().build().unwrap();
        assert_eq!(many.block_on(async { answer() }).unwrap(), 7);
        let spawned = many.spawn(async move { answer() });
        assert_eq!(many.block_on(spawned).unwrap().unwrap(), 7);
    }

    #[test]
    fn a_panic_is_an_error() {
        let error = wait::<()>(OPERATION, SHOWN, async { panic!("boom") }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert_eq!(error.subject(), Some(SHOWN));
        let each = |bound| async move {
            let work = |item: u32| async move {
                assert!(item != 2, "boom");
                Ok(item)
            };
            Ok(each(OPERATION, SHOWN, bound, 0..4, work)
                .collect::<Vec<_>>()
                .await)
        };
        let answers = wait(OPERATION, SHOWN, each(2)).unwrap();
        let kinds: Vec<_> = answers
            .iter()
            .map(|answer| answer.as_ref().map_err(Error::kind).copied())
            .collect();
        assert_eq!(kinds, [Ok(0), Ok(1), Err(ErrorKind::Panicked), Ok(3)]);
    }

    #[test]
    fn retries_end_with_the_policy_and_with_errors_that_stay() {
        let failing = |retryable: bool| {
            let tried = Arc::new(AtomicU32::new(0));
            let counted = Arc::clone(&tried);
            let error = wait::<()>(OPERATION, SHOWN, async move {
                let policy = RetryPolicy::fixed(3, Duration::from_millis(1));
                retrying(policy, || async {
                    counted.fetch_add(1, SeqCst);
                    Err(Error::new(ErrorKind::Backend, OPERATION).with_retryable(retryable))
                })
                .await
            });
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Backend);
            tried.load(SeqCst)
        };
        assert_eq!(failing(true), 3);
        assert_eq!(failing(false), 1);
    }

    #[test]
    fn attempts_within_a_time_end_with_it() {
        let (failed, error) = wait(OPERATION, SHOWN, async {
            let endless = RetryPolicy::fixed(u32::MAX, Duration::from_millis(5));
            let mut attempts = Attempts::within(endless, Duration::from_millis(100));
            let failure = || Error::new(ErrorKind::Backend, OPERATION).with_retryable(true);
            loop {
                if let Err(error) = attempts.pause(failure()).await {
                    return Ok((attempts.failed(), error));
                }
            }
        })
        .unwrap();
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(failed > 0);
    }

    #[test]
    fn no_more_at_a_time_than_the_bound_and_in_order() {
        let at_once = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (working, seen) = (Arc::clone(&at_once), Arc::clone(&most));
        let answers = wait(OPERATION, SHOWN, async move {
            let work = move |item: u64| {
                let (working, seen) = (Arc::clone(&working), Arc::clone(&seen));
                async move {
                    seen.fetch_max(working.fetch_add(1, SeqCst) + 1, SeqCst);
                    tokio::time::sleep(Duration::from_millis(20 - item)).await;
                    working.fetch_sub(1, SeqCst);
                    Ok(item)
                }
            };
            let answers = each(OPERATION, SHOWN, 4, 0..20, work)
                .collect::<Vec<_>>()
                .await;
            answers.into_iter().collect::<Result<Vec<_>>>()
        });
        assert_eq!(answers.unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(most.load(SeqCst), 4);
    }
}
