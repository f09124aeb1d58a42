//! Errors of Delta Lake, of DataFusion and of object stores as our own [`Error`]s, and which of them another
//! attempt may help.

use std::error::Error as StdError;
use std::io;

use delta_kernel::Error as KernelError;
use deltalake::DeltaTableError;
use deltalake::arrow::error::ArrowError;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::parquet::errors::ParquetError;
use deltalake::kernel::transaction::TransactionError;
use object_store_0_13::Error as StoreError;

use crate::backend::answer::{is_away, is_lasting, is_lasting_in, is_not_found};
use crate::error::{Error, ErrorKind};

/// How a store says, in texts, that it does not allow something.
const NOT_ALLOWED: [&str; 2] = [
    "lacked the necessary privileges",
    "lacked valid authentication credentials",
];

/// What went wrong, before it is known what was being done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The log, or a store of objects.
    Delta(DeltaTableError),
    /// A commit that may have been made, or may still be: what was told of it is not that another writer's came first, or it could not
    /// be looked for in the log.
    Commit(DeltaTableError),
    /// A query.
    Query(DataFusionError),
    /// A file of Parquet.
    Parquet(ParquetError),
    /// An error of our own.
    Own(Error),
}

impl From<DeltaTableError> for Failure {
    fn from(error: DeltaTableError) -> Self {
        Self::Delta(error)
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Self::Query(error)
    }
}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Self {
        Self::Query(error.into())
    }
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Delta(error.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl Failure {
    /// Of a commit that is not in the log.
    pub(super) fn of_commit(error: DeltaTableError) -> Self {
        match is_conflict(&error) {
            true => Self::Delta(error),
            false => Self::Commit(error),
        }
    }

    /// Of a commit that could not be looked for in the log, and why not.
    pub(super) fn of_unknown_commit(error: DeltaTableError, behind: Self) -> Self {
        match (is_conflict(&error), behind) {
            // The one that came first may be this one.
            (true, Self::Delta(behind)) => Self::Commit(behind),
            _ => Self::Commit(error),
        }
    }

    /// Whether another writer's commit came first: this one was not made, and may be begun again at once.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Delta(error) if is_conflict(error))
    }

    /// The error of `operation` on the table that is shown so.
    pub(super) fn into_error(self, operation: &'static str, table: &str) -> Error {
        let is_conflict = self.is_conflict();
        match self {
            Self::Own(error) => error,
            Self::Delta(cause) => wrapped(&cause, is_conflict, operation, table).with_cause(cause),
            Self::Commit(cause) => wrapped(&cause, false, operation, table).with_cause(cause),
            Self::Query(cause) => wrapped(&cause, false, operation, table).with_cause(cause),
            Self::Parquet(cause) => wrapped(&cause, false, operation, table).with_cause(cause),
        }
    }
}

/// Whether another writer's commit came first.
pub(super) fn is_conflict(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } => matches!(
            source,
            TransactionError::MaxCommitAttempts(_)
                | TransactionError::CommitConflict(_)
                | TransactionError::VersionAlreadyExists(_)
        ),
        _ => false,
    }
}

fn wrapped(
    cause: &(dyn StdError + 'static),
    is_conflict: bool,
    operation: &'static str,
    table: &str,
) -> Error {
    let of_kind = |kind| Error::new(kind, operation).with_subject(table);
    if is_conflict {
        return of_kind(ErrorKind::Backend)
            .with_retryable(true)
            .with_message("other writers were in the way each time");
    }
    match root(cause) {
        // What kind of failure of a disk this is, and whether it may pass, is known there.
        Some(Root::Io(io)) => {
            let known = Error::io(operation, table, io::Error::from(io.kind()));
            of_kind(known.kind()).with_retryable(known.is_retryable())
        }
        Some(Root::NotFound) => of_kind(ErrorKind::NotFound)
            .with_message("there is no such bucket, or an object of the log went away"),
        Some(Root::NotAllowed) => {
            of_kind(ErrorKind::Backend).with_message("the server does not allow it")
        }
        Some(Root::Server { is_away }) => of_kind(ErrorKind::Backend)
            .with_retryable(true)
            .with_unreachable(is_away),
        Some(Root::Data) => of_kind(ErrorKind::Backend)
            .with_retryable(true)
            .with_message("a file of rows cannot be read; vacuum may have removed it meanwhile"),
        Some(Root::Refused) | None => of_kind(ErrorKind::Backend),
    }
}

/// What lies below an error.
enum Root<'a> {
    Io(&'a io::Error),
    NotFound,
    NotAllowed,
    /// What a server refuses, as it would the next time.
    Refused,
    /// A server that cannot be reached, is too busy or has a fault of its own, for the most part.
    Server {
        is_away: bool,
    },
    /// A file of Parquet that a query could not get at. The newest state may have others.
    Data,
}

fn root<'a>(error: &'a (dyn StdError + 'static)) -> Option<Root<'a>> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(
                found
                    .filter(|found| matches!(found, Root::Data))
                    .unwrap_or(Root::Io(io)),
            );
        } else if let Some(kernel) = error.downcast_ref::<KernelError>() {
            match kernel {
                // It does not name them as its sources.
                KernelError::ObjectStore(store) => next = Some(store),
                KernelError::IOError(io) => return Some(Root::Io(io)),
                KernelError::FileNotFound(_) => return Some(Root::NotFound),
                _ => {}
            }
        } else if let Some(store) = error.downcast_ref::<StoreError>() {
            found = found.or(match store {
                StoreError::NotFound { .. } => Some(Root::NotFound),
                // Whatever was to be read: the newest state is not allowed either.
                StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                    return Some(Root::NotAllowed);
                }
                // A bucket whose objects were to be listed.
                StoreError::Generic { source, .. } if is_not_found(&**source) => {
                    Some(Root::NotFound)
                }
                StoreError::Generic { source, .. } if is_lasting(&**source) => {
                    return Some(Root::Refused);
                }
                StoreError::Generic { source, .. } => Some(Root::Server {
                    is_away: is_away(&**source),
                }),
                _ => None,
            });
        } else if let Some(text) = text_of_data(error) {
            // A store's own error, which says more, may follow.
            found = Some(Root::Data);
            if NOT_ALLOWED.iter().any(|words| text.contains(words)) {
                return Some(Root::NotAllowed);
            }
            if is_lasting_in(&text) {
                return Some(Root::Refused);
            }
        }
    }
    found
}

/// The text of an error of a store that came up through readers of Parquet, most of which keep no more of it.
fn text_of_data(error: &(dyn StdError + 'static)) -> Option<String> {
    let text = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(ParquetError::External(error)), _) => return Some(error.to_string()),
        (Some(ParquetError::General(text)), _) | (_, Some(ArrowError::ParquetError(text))) => text,
        _ => return None,
    };
    let is_of_store = text.starts_with("External: ") || text.contains("Object Store error: ");
    is_of_store.then(|| text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_attempt_may_help() {
        let generic = |source: io::Error| StoreError::Generic {
            store: "S3",
            source: Box::new(source),
        };
        let not_found = StoreError::NotFound {
            path: "samples/a".into(),
            source: "gone".into(),
        };
        let busy = || StoreError::Generic {
            store: "S3",
            source: "busy".into(),
        };
        let expired = || StoreError::Generic {
            store: "S3",
            source: "Server returned non-2xx status code: 400 Bad Request: ExpiredToken".into(),
        };
        let refused = || StoreError::PermissionDenied {
            path: "a.parquet".into(),
            source: "Server returned non-2xx status code: 403 Forbidden: ".into(),
        };
        let gone = || StoreError::NotFound {
            path: "a.parquet".into(),
            source: "Server returned non-2xx status code: 404 Not Found: ".into(),
        };
        // As readers of files of rows have it.
        let rows = |error: StoreError| ParquetError::External(Box::new(error));
        let text = |error: StoreError| ArrowError::ParquetError(rows(error).to_string());
        for (failure, kind, retryable) in [
            (Failure::from(rows(gone())), ErrorKind::Backend, true),
            (rows(busy()).into(), ErrorKind::Backend, true),
            (rows(refused()).into(), ErrorKind::Backend, false),
            (rows(expired()).into(), ErrorKind::Backend, false),
            (text(gone()).into(), ErrorKind::Backend, true),
            (text(busy()).into(), ErrorKind::Backend, true),
            (text(refused()).into(), ErrorKind::Backend, false),
            (text(expired()).into(), ErrorKind::Backend, false),
            (Failure::from(busy()), ErrorKind::Backend, true),
            (Failure::from(expired()), ErrorKind::Backend, false),
            (Failure::from(not_found), ErrorKind::NotFound, false),
            (
                generic(io::Error::from(io::ErrorKind::StorageFull)).into(),
                ErrorKind::Full,
                false,
            ),
            (
                DeltaTableError::VersionAlreadyExists(3).into(),
                ErrorKind::Backend,
                true,
            ),
            (DeltaTableError::NoSchema.into(), ErrorKind::Backend, false),
            (
                DeltaTableError::from(KernelError::ObjectStore(busy())).into(),
                ErrorKind::Backend,
                true,
            ),
            (
                DeltaTableError::from(KernelError::FileNotFound("a".into())).into(),
                ErrorKind::NotFound,
                false,
            ),
            (
                ArrowError::ParquetError("External: not found".into()).into(),
                ErrorKind::Backend,
                true,
            ),
            (
                ArrowError::ParquetError("EOF".into()).into(),
                ErrorKind::Backend,
                false,
            ),
        ] {
            let error = failure.into_error("test", "table");
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable));
        }
    }
}
