//! PostgreSQL's errors as our own [`Error`]s, and which of them another attempt may help.
//!
//! The one place that reads SQLSTATEs: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::Error as PgError;
use tokio_postgres::error::SqlState;

use crate::error::{Error, ErrorKind};

/// What went wrong, before it is known what was being done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server's answer, or the lack of one.
    Server(PgError),
    /// No connection was made, so nothing was sent.
    Connect(PgError),
    /// There is no connection to be had.
    Pool(PoolError),
    /// The server did not answer a statement for so long.
    Silence(Duration),
    /// A commit of which nobody knows what became.
    Commit(Box<Self>),
    /// An error of our own.
    Own(Error),
}

impl From<PgError> for Failure {
    fn from(error: PgError) -> Self {
        Self::Server(error)
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Connect(error),
            other => Self::Pool(other),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

/// What an SQLSTATE means here.
struct Meaning {
    kind: ErrorKind,
    retryable: bool,
    message: Option<&'static str>,
}

impl Meaning {
    const fn lasting(kind: ErrorKind, message: Option<&'static str>) -> Self {
        Self {
            kind,
            retryable: false,
            message,
        }
    }

    const fn passing(kind: ErrorKind, message: Option<&'static str>) -> Self {
        Self {
            kind,
            retryable: true,
            message,
        }
    }
}

/// Whether a statement was completed is not known, as clusters say it of a commit whose answer one of them has lost.
const UNKNOWN: &str = "40003";

const SILENCE: Meaning = Meaning::passing(
    ErrorKind::Io,
    Some("the server did not answer a statement in time; see the option statement_timeout"),
);

impl Failure {
    /// Of a commit. Before it whatever is lost is undone.
    pub(super) fn of_commit(self) -> Self {
        match self.is_lost() {
            true => Self::Commit(Box::new(self)),
            false => self,
        }
    }

    /// Whether nobody knows what became of a commit.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Commit(_))
    }

    /// Whether the server did not answer, and may go on with it.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Silence(_) => true,
            Self::Commit(failure) => failure.is_silence(),
            Self::Server(_) | Self::Connect(_) | Self::Pool(_) | Self::Own(_) => false,
        }
    }

    /// Whether another transaction was in the way: this one was undone whole, and may be tried again at
    /// once.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.state().map(SqlState::code), Some("40001" | "40P01"))
    }

    /// Whether somebody else made the same table, schema or row at the same moment.
    pub(super) fn is_made_meanwhile(&self) -> bool {
        let state = self.state().map(SqlState::code);
        matches!(state, Some("23505" | "42P06" | "42P07" | "42710"))
    }

    /// Whether a table or a schema is not there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.state().map(SqlState::code), Some("42P01" | "3F000"))
    }

    /// Whether a column is not there, as in a table of somebody else's.
    pub(super) fn is_missing_column(&self) -> bool {
        matches!(self.state().map(SqlState::code), Some("42703"))
    }

    /// Whether the server let nobody in by this name and password, or the password is missing.
    pub(super) fn is_of_login(&self) -> bool {
        matches!(self, Self::Server(error) | Self::Connect(error) if is_of_login(error))
    }

    /// Whether nobody knows what became of what was asked for: the connection is lost, or the server itself does not know. Such a
    /// connection is not used any more.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Server(error) => match error.code() {
                Some(state) => is_shutdown(state.code()) || state.code() == UNKNOWN,
                None => is_connection(error),
            },
            Self::Silence(_) | Self::Commit(_) => true,
            Self::Connect(_) | Self::Pool(_) | Self::Own(_) => false,
        }
    }

    fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Server(error) | Self::Connect(error) => error.code(),
            Self::Commit(failure) => failure.state(),
            Self::Pool(_) | Self::Silence(_) | Self::Own(_) => None,
        }
    }

    /// The error of `operation` on the server that is shown so.
    pub(super) fn into_error(self, operation: &'static str, server: &str) -> Error {
        let error = |meaning: Meaning| {
            let error = Error::new(meaning.kind, operation)
                .with_subject(server)
                .with_retryable(meaning.retryable);
            match meaning.message {
                Some(message) => error.with_message(message),
                None => error,
            }
        };
        match self {
            Self::Own(error) => error,
            Self::Commit(failure) => failure.into_error(operation, server),
            Self::Pool(PoolError::Closed) => Error::closed(operation),
            Self::Silence(limit) => {
                let cause = io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("nothing came back within {} s", limit.as_secs_f64()),
                );
                // It may be about this statement alone.
                error(SILENCE).with_unreachable(false).with_cause(cause)
            }
            Self::Pool(cause) => error(of_pool(&cause))
                .with_unreachable(true)
                .with_cause(cause),
            Self::Connect(cause) => error(of_server(&cause))
                .with_unreachable(true)
                .with_cause(cause),
            Self::Server(cause) => error(of_server(&cause)).with_cause(cause),
        }
    }
}

/// Whether the server let nobody in by this name and password, or the password is missing.
fn is_of_login(error: &PgError) -> bool {
    match error.code() {
        Some(state) => state.code().starts_with("28"),
        // The client has no code for it.
        None => error
            .source()
            .is_some_and(|cause| cause.to_string() == "password missing"),
    }
}

/// Whether a server that could be reached lets us in nowhere else: whom, or to which database.
pub(super) fn is_refusal(error: &PgError) -> bool {
    let state = error.code().map(SqlState::code);
    is_of_login(error) || state.is_some_and(|code| code.starts_with("3D"))
}

fn of_pool(error: &PoolError) -> Meaning {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => Meaning::passing(
            ErrorKind::Backend,
            Some(
                "all connections are in use, and each open iterator has one; see the option connections_max",
            ),
        ),
        _ => Meaning::lasting(ErrorKind::Backend, None),
    }
}

fn of_server(error: &PgError) -> Meaning {
    match error.code() {
        Some(state) => of_state(state.code()),
        None if is_connection(error) => {
            Meaning::passing(ErrorKind::Io, Some("there is no connection to the server"))
        }
        None => Meaning::lasting(ErrorKind::Backend, None),
    }
}

fn of_state(code: &str) -> Meaning {
    match code {
        _ if is_shutdown(code) => {
            Meaning::passing(ErrorKind::Io, Some("the server ended the connection"))
        }
        "53100" => Meaning::lasting(ErrorKind::Full, None),
        "40001" | "40P01" | "55P03" => Meaning::passing(
            ErrorKind::Backend,
            Some("another transaction was in the way"),
        ),
        UNKNOWN => Meaning::passing(
            ErrorKind::Backend,
            Some("the server does not know whether it was carried out"),
        ),
        "57014" => Meaning::passing(
            ErrorKind::Backend,
            Some("the statement was cancelled, as statement_timeout does"),
        ),
        "25006" => Meaning::lasting(ErrorKind::ReadOnly, None),
        "42501" => Meaning::lasting(ErrorKind::ReadOnly, Some("the role lacks a privilege")),
        "3D000" => Meaning::lasting(ErrorKind::NotFound, Some("there is no such database")),
        "42P01" | "3F000" => Meaning::lasting(
            ErrorKind::NotFound,
            Some("the tables of samplestore are not there any more"),
        ),
        // Too many connections, out of memory, and the like.
        _ if code.starts_with("53") || code.starts_with("58") => {
            Meaning::passing(ErrorKind::Backend, Some("the server lacks resources"))
        }
        _ => Meaning::lasting(ErrorKind::Backend, None),
    }
}

/// Whether the server goes away or is not yet there: 08, connection exceptions; 57P01 to 57P05, shutdowns,
/// starts and ends of sessions; 25P03 and 25P04, timeouts that end a session.
fn is_shutdown(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P0") || code == "25P03" || code == "25P04"
}

/// Whether an error that is no answer of the server is about the connection, and not about what came over
/// it, such as a certificate that is not trusted.
fn is_connection(error: &PgError) -> bool {
    let io = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    let is_refused = |io: &io::Error| {
        matches!(
            io.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
        )
    };
    error.is_closed() || io.is_some_and(|io| !is_refused(io))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_attempt_may_help() {
        for (code, kind, retryable) in [
            ("08006", ErrorKind::Io, true),
            ("57P01", ErrorKind::Io, true),
            ("57P03", ErrorKind::Io, true),
            ("57014", ErrorKind::Backend, true),
            ("40001", ErrorKind::Backend, true),
            ("40P01", ErrorKind::Backend, true),
            ("40003", ErrorKind::Backend, true),
            ("53300", ErrorKind::Backend, true),
            ("53100", ErrorKind::Full, false),
            ("28P01", ErrorKind::Backend, false),
            ("3D000", ErrorKind::NotFound, false),
            ("25006", ErrorKind::ReadOnly, false),
            ("22P02", ErrorKind::Backend, false),
        ] {
            let meaning = of_state(code);
            assert_eq!(
                (meaning.kind, meaning.retryable),
                (kind, retryable),
                "{code}"
            );
        }
    }
}
