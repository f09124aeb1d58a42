//! redb's errors and panics as our own [`Error`]s.
//!
//! The one place that reads foreign error types, so that every other file of the database can use
//! `?` through [`Context::context`].

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Adds what was being done to a foreign error.
pub(super) trait Context<T> {
    fn context(self, operation: &'static str) -> Result<T>;
}

impl<T, E: Into<redb::Error>> Context<T> for Result<T, E> {
    fn context(self, operation: &'static str) -> Result<T> {
        self.map_err(|error| wrap(error.into(), operation))
    }
}

pub(super) fn wrap(error: redb::Error, operation: &'static str) -> Error {
    use redb::Error as Redb;
    match error {
        Redb::Io(io) => disk_failure(operation, io),
        Redb::Corrupted(message) => damaged(operation, message),
        Redb::DatabaseClosed => Error::closed(operation),
        // Whoever has the whole file locked, as to rebuild it, seems to lock it another way.
        Redb::DatabaseAlreadyOpen | Redb::LockProtocolMismatch => {
            Error::new(ErrorKind::Locked, operation)
                .with_message("another process, or another handle of this one, has it open")
                .with_retryable(true)
        }
        Redb::RepairAborted => Error::new(ErrorKind::NeedsRepair, operation)
            .with_message("it was not closed; open it once for writing to repair it"),
        Redb::UpgradeRequired(version) => Error::new(ErrorKind::NotADatabase, operation)
            .with_message(format!("its pages are of redb's old file format {version}")),
        Redb::PreviousIo => Error::new(ErrorKind::Io, operation)
            .with_message("an earlier operation on the file failed; close it and open it again"),
        error @ (Redb::TableDoesNotExist(_)
        | Redb::TableTypeMismatch { .. }
        | Redb::TypeDefinitionChanged { .. }
        | Redb::TableIsMultimap(_)) => {
            damaged(operation, "a table is missing or of another type").with_cause(error)
        }
        error => Error::new(ErrorKind::Backend, operation).with_cause(error),
    }
}

/// A failure to open a file, which may be no file.
pub(super) fn file_failure(operation: &'static str, path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::IsADirectory => Error::new(ErrorKind::NotADatabase, operation)
            .with_subject(path.display())
            .with_message("it is a folder, of which file: and delta+file: make storages"),
        _ => Error::io(operation, path.display(), error),
    }
}

/// A failure to read or write the file.
pub(super) fn disk_failure(operation: &'static str, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            damaged(operation, "the file is cut off").with_cause(error)
        }
        _ => Error::io(operation, "database file", error),
    }
}

/// A failure to commit: unless the transaction was refused before it began to write, nobody knows
/// whether it is in the file until the file is opened again.
pub(super) fn commit_failure(error: redb::CommitError) -> Error {
    const OPERATION: &str = "commit";
    match error {
        redb::CommitError::TransactionPoisoned => {
            Error::new(ErrorKind::Backend, OPERATION).with_message("the transaction was poisoned")
        }
        other => {
            let cause = wrap(other.into(), OPERATION);
            Error::new(ErrorKind::OutcomeUnknown, OPERATION)
                .with_message(
                    "what was committed may or may not be there; open the file again to see",
                )
                .with_cause(cause)
        }
    }
}

/// A failure while a file was made that is to be called `path`, and is thrown away now: nothing about it is unknown.
pub(super) fn of_draft(error: Error, path: &Path) -> Error {
    let cause = match error.kind() {
        ErrorKind::OutcomeUnknown => std::error::Error::source(&error),
        _ => None,
    };
    match cause.and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(cause) => cause.clone().with_subject(path.display()),
        None => error,
    }
}

/// A failure to open the file at `path`.
pub(super) fn open_failure(error: redb::DatabaseError, path: &Path) -> Error {
    const OPERATION: &str = "open the database";
    let subject = path.display();
    match redb::Error::from(error) {
        // Whose file it is the header has said by now.
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => {
            damaged(OPERATION, "redb's part of it has other content")
                .with_subject(subject)
                .with_cause(io)
        }
        redb::Error::Io(io) if io.kind() != std::io::ErrorKind::UnexpectedEof => {
            Error::io(OPERATION, subject, io)
        }
        other => wrap(other, OPERATION).with_subject(subject),
    }
}

/// The file says something that cannot be.
pub(super) fn damaged(operation: &'static str, message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Damaged, operation).with_message(message)
}

/// Runs `work` and turns a panic into an error: on a damaged file redb may panic where it trusts a
/// page, and a library must not take its caller down (contract rule L5).
pub(super) fn guard<T>(operation: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safety: what `work` shares with later calls is published as its last step, so a panic
    // leaves it as it was before.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(damaged(
            operation,
            format!("redb gave it up: {}", panic_text(&*panic)),
        ))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// The error of work in steps, with how many samples those before it changed.
pub(super) fn behind(error: Error, operation: &'static str, samples: u64, did: &str) -> Error {
    match samples {
        0 => error,
        _ => Error::new(error.kind(), operation)
            .with_message(format!("it {did} {samples} samples before"))
            .with_cause(error),
    }
}
