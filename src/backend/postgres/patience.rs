//! [`Bound`]: how long an answer is waited for; [`undisturbed`]: how long other transactions are.
//!
//! A server that stands still keeps its connections open, and no timeout of TCP sees it. So each statement is bounded here. What
//! is not answered in time counts as a lost connection: nobody knows what became of it. The server is asked to cancel
//! it, should it be slow and not dead.

use std::future::Future;
use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Shared;
use super::failure::Failure;
use crate::backend::runtime::Attempts;
use crate::error::Result;
use crate::retry::RetryPolicy;

/// How long a transaction begins again that was in another's way.
const CONFLICTS: Duration = Duration::from_secs(30);
const PAUSES: RetryPolicy = RetryPolicy::exponential(u32::MAX, Duration::from_millis(2))
    .delay_max(Duration::from_millis(250));
/// How long a cancellation may take.
const CANCEL: Duration = Duration::from_secs(5);

/// How long the answer to a statement is waited for; without a limit if there is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound(pub(super) Option<Duration>);

impl Bound {
    /// Waits for an answer of the server.
    pub(super) async fn wait<T, E: Into<Failure>>(
        self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let Some(limit) = self.0 else {
            return answer.await.map_err(Into::into);
        };
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Failure::Silence(limit)),
        }
    }
}

/// Gives a connection back to the pool, unless it is lost: the pool might not know that yet.
pub(super) fn hand_back<T>(
    client: Object,
    cancelling: &MakeRustlsConnect,
    answer: Result<T, Failure>,
) -> Result<T, Failure> {
    if let Err(failure) = &answer
        && failure.is_lost()
    {
        if failure.is_silence() {
            let (token, tls) = (client.cancel_token(), cancelling.clone());
            // Whether it is heard or not, nobody waits for it.
            tokio::spawn(tokio::time::timeout(CANCEL, async move {
                token.cancel_query(tls).await
            }));
        }
        drop(Object::take(client));
    }
    answer
}

/// Begins again while other transactions are in the way; an attempt is told how many there were before it.
pub(super) async fn undisturbed<T, W: Future<Output = Result<T, Failure>>>(
    operation: &'static str,
    shared: &Shared,
    attempt: impl Fn(u32) -> W,
) -> Result<T> {
    let mut attempts = Attempts::within(PAUSES, CONFLICTS);
    loop {
        let failure = match attempt(attempts.failed()).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let is_conflict = failure.is_conflict();
        let error = failure.into_error(operation, &shared.shown);
        if !is_conflict {
            return Err(error);
        }
        attempts.pause(error).await?;
    }
}
