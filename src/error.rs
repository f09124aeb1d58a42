//! What can go wrong: [`Error`], its [`ErrorKind`] and the [`Limit`]s that a sample must keep.
//!
//! Every fallible function of this crate returns this one type. Foreign errors are wrapped by the
//! named constructors here and stay reachable through [`std::error::Error::source`]; no other file
//! builds an `Error` from parts. Reading the text of an error is never needed to decide what to do:
//! match on the kind and ask [`Error::is_retryable`].

use std::fmt;
use std::sync::Arc;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A sample breaks a limit of the contract; see [`Error::limit`].
    InvalidSample,
    /// A query, a filter word or an instant that cannot be understood.
    InvalidQuery,
    /// A cursor that is damaged, or belongs to another query, order or database.
    InvalidCursor,
    /// An argument other than a sample or a query is out of range.
    InvalidArgument,
    /// The stored payload does not fit the type it was asked to become.
    Decode,
    /// The file or folder does not exist and was not to be created.
    NotFound,
    /// The backend does not have this operation; see
    /// [`Capabilities`](crate::Capabilities).
    Unsupported,
    /// The storage was closed.
    Closed,
    /// Another process holds the database.
    Locked,
    /// The file, the folder or the handle does not allow writing; or the file that is open was moved, replaced or removed, so that
    /// what is written to it would be lost.
    ReadOnly,
    /// The disk is full, or a quota is reached.
    Full,
    /// The file is not a samplestore database.
    NotADatabase,
    /// The file was written by a newer format version than this crate knows.
    FormatTooNew,
    /// The file is damaged.
    Damaged,
    /// The database must be repaired before it can be read, and this handle may not write.
    NeedsRepair,
    /// A commit failed half-way: whether the batch is stored is known only after opening again.
    OutcomeUnknown,
    /// Only a part of a batch was stored; see [`Error::stored_ids`].
    Partial,
    /// Whoever is told of the progress ended the work; see [`Proceed`](crate::Proceed).
    Interrupted,
    /// An input or output operation failed.
    Io,
    /// A panic was caught: in a stage, or in a library below this one.
    Panicked,
    /// A failure of a backend that is none of the others.
    Backend,
}

impl ErrorKind {
    /// The kind as words, as it begins an error's text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSample => "invalid sample",
            Self::InvalidQuery => "invalid query",
            Self::InvalidCursor => "invalid cursor",
            Self::InvalidArgument => "invalid argument",
            Self::Decode => "cannot decode",
            Self::NotFound => "not found",
            Self::Unsupported => "not supported",
            Self::Closed => "closed",
            Self::Locked => "locked by another process",
            Self::ReadOnly => "read-only",
            Self::Full => "no space left",
            Self::NotADatabase => "not a samplestore database",
            Self::FormatTooNew => "written by a newer version",
            Self::Damaged => "damaged",
            Self::NeedsRepair => "needs repair",
            Self::OutcomeUnknown => "outcome unknown",
            Self::Partial => "partly stored",
            Self::Interrupted => "interrupted",
            Self::Io => "input or output failed",
            Self::Panicked => "panicked",
            Self::Backend => "backend failed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The limit of the contract that a sample breaks; the cause of an
/// [`InvalidSample`](ErrorKind::InvalidSample) error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// `id` must be 1 to 512 bytes long.
    #[error("id is {bytes} bytes long; it must be 1 to 512")]
    IdLength {
        /// Its length.
        bytes: usize,
    },
    /// `pipeline` must be 1 to 255 bytes long.
    #[error("pipeline is {bytes} bytes long; it must be 1 to 255")]
    PipelineLength {
        /// Its length.
        bytes: usize,
    },
    /// A status is one of six words.
    #[error(
        "{found:?} is no status{}; it must be pending, measured, ready, labeled, skipped or dlq",
        .nearest.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default()
    )]
    UnknownStatus {
        /// What was given.
        found: String,
        /// The status that it is most like, if it is like one.
        nearest: Option<&'static str>,
    },
    /// `data` and `measurements` must be maps from string to value.
    #[error("{field} must be a map, not {found}")]
    NotAMap {
        /// `data` or `measurements`.
        field: &'static str,
        /// The type that was found.
        found: &'static str,
    },
    /// A payload holds something that is no value of the model.
    #[error("{field} holds {found}, which is no value a sample can keep")]
    NotAValue {
        /// `data` or `measurements`.
        field: &'static str,
        /// What was found, in words.
        found: String,
    },
    /// Lists and maps nest at most 64 deep.
    #[error("{field} nests more than 64 deep")]
    Depth {
        /// `data` or `measurements`.
        field: &'static str,
    },
    /// The whole sample is larger than the storage's `sample_bytes_max`.
    #[error("the sample is {bytes} bytes; at most {max} are allowed")]
    SampleBytes {
        /// Its encoded size.
        bytes: usize,
        /// The limit in force.
        max: usize,
    },
    /// A text field holds more than a backend or the model can keep.
    #[error("{field} {problem}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Limit {
    /// The name of the field that breaks the limit.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::IdLength { .. } => "id",
            Self::PipelineLength { .. } => "pipeline",
            Self::UnknownStatus { .. } => "status",
            Self::NotAMap { field, .. }
            | Self::NotAValue { field, .. }
            | Self::Depth { field }
            | Self::Field { field, .. } => field,
            Self::SampleBytes { .. } => "sample",
        }
    }
}

/// A failure: its kind, the operation and the thing that failed, and the cause.
///
/// `Display` prints one line without the cause, [`source`](std::error::Error::source) gives the
/// cause; printing the chain therefore repeats nothing. Cloning is cheap.
///
/// ```
/// use samplestore::{ErrorKind, Sample};
///
/// let error = Sample::builder("weather").id("x".repeat(513)).build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidSample);
/// assert_eq!(error.limit().unwrap().field(), "id");
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
    cause: Option<Cause>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    retryable: bool,
    /// Whether the storage cannot be reached; by its kind if it is not said.
    unreachable: Option<bool>,
    operation: &'static str,
    subject: Option<String>,
    message: Option<String>,
    position: Option<usize>,
    sample_id: Option<String>,
    limit: Option<Limit>,
    stored_ids: Vec<String>,
}

impl Error {
    /// An error of this kind in this operation (a verb phrase such as `"store a batch"`).
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self {
            inner: Arc::new(Inner {
                kind,
                retryable: false,
                unreachable: None,
                operation,
                subject: None,
                message: None,
                position: None,
                sample_id: None,
                limit: None,
                stored_ids: Vec::new(),
            }),
            cause: None,
        }
    }

    /// A sample that breaks `limit`.
    #[must_use]
    pub fn invalid_sample(limit: Limit) -> Self {
        let mut error = Self::new(ErrorKind::InvalidSample, "check a sample");
        error.edit().limit = Some(limit.clone());
        error.with_cause(limit)
    }

    /// An operation that the backend of this name does not have.
    #[must_use]
    pub fn unsupported(operation: &'static str, backend: &str) -> Self {
        Self::new(ErrorKind::Unsupported, operation)
            .with_message(format!("the {backend} backend does not offer it"))
    }

    /// Use after close.
    #[must_use]
    pub fn closed(operation: &'static str) -> Self {
        Self::new(ErrorKind::Closed, operation)
    }

    /// A failed input or output operation on `subject`, with the kind and the answer to
    /// [`is_retryable`](Self::is_retryable) that the I/O error stands for.
    #[must_use]
    pub fn io(operation: &'static str, subject: impl fmt::Display, cause: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match cause.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        let retryable = matches!(
            cause.kind(),
            Io::Interrupted
                | Io::TimedOut
                | Io::WouldBlock
                | Io::ResourceBusy
                | Io::ConnectionRefused
                | Io::ConnectionReset
                | Io::ConnectionAborted
                | Io::BrokenPipe
        );
        Self::new(kind, operation)
            .with_subject(subject)
            .with_retryable(retryable)
            .with_cause(cause)
    }

    /// Names what failed: a path, a table, a server.
    #[must_use]
    pub fn with_subject(mut self, subject: impl fmt::Display) -> Self {
        self.edit().subject = Some(subject.to_string());
        self
    }

    /// Says more than the kind does, and what to do about it where that is known.
    #[must_use]
    pub fn with_message(mut self, message: impl fmt::Display) -> Self {
        self.edit().message = Some(message.to_string());
        self
    }

    /// Says whether trying the same thing again may help.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.edit().retryable = retryable;
        self
    }

    /// Says whether the storage cannot be reached, whatever it is asked for, where the kind does not say it.
    #[allow(dead_code)] // not every set of features has servers
    #[must_use]
    pub(crate) fn with_unreachable(mut self, unreachable: bool) -> Self {
        self.edit().unreachable = Some(unreachable);
        self
    }

    /// Names the sample: its position in the batch, from 0, and its id.
    #[must_use]
    pub fn with_sample(mut self, position: usize, id: impl Into<String>) -> Self {
        let inner = self.edit();
        inner.position = Some(position);
        inner.sample_id = Some(id.into());
        self
    }

    /// Names the sample by its id alone.
    #[must_use]
    pub fn with_sample_id(mut self, id: impl Into<String>) -> Self {
        self.edit().sample_id = Some(id.into());
        self
    }

    /// Lists the ids that were stored before a batch failed (contract rule W1).
    #[must_use]
    pub fn with_stored_ids(mut self, ids: Vec<String>) -> Self {
        self.edit().stored_ids = ids;
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_cause(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether trying the same thing again, unchanged, may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.inner.retryable
    }

    /// Whether the storage cannot be reached for now, so that no sample is at fault: an input or output operation that may succeed
    /// later, unless its backend knows better.
    pub(crate) fn is_unreachable(&self) -> bool {
        let by_kind = self.inner.kind == ErrorKind::Io;
        self.inner.retryable && self.inner.unreachable.unwrap_or(by_kind)
    }

    /// The operation that failed, a verb phrase.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.inner.operation
    }

    /// What failed: a path, a table, a server.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.inner.subject.as_deref()
    }

    /// The position in its batch, from 0, of the sample at fault.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        self.inner.position
    }

    /// The id of the sample at fault.
    #[must_use]
    pub fn sample_id(&self) -> Option<&str> {
        self.inner.sample_id.as_deref()
    }

    /// The limit that the sample at fault breaks.
    #[must_use]
    pub fn limit(&self) -> Option<&Limit> {
        self.inner.limit.as_ref()
    }

    /// The ids of the batch that are stored although it failed, or of the samples that a status change or a deletion met before it
    /// failed. Empty for every backend whose batches are atomic.
    #[must_use]
    pub fn stored_ids(&self) -> &[String] {
        &self.inner.stored_ids
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.inner)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        write!(f, "{}: could not {}", inner.kind, inner.operation)?;
        if let Some(subject) = &inner.subject {
            write!(f, ": {subject}")?;
        }
        match (inner.position, &inner.sample_id) {
            (Some(position), Some(id)) => write!(f, ": sample {position} (id {id:?})")?,
            (Some(position), None) => write!(f, ": sample {position}")?,
            (None, Some(id)) => write!(f, ": sample with id {id:?}")?,
            (None, None) => {}
        }
        if let Some(message) = &inner.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause
            .as_deref()
            .map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.inner.kind)
            .field("operation", &self.inner.operation);
        if let Some(subject) = &self.inner.subject {
            out.field("subject", subject);
        }
        if let Some(position) = self.inner.position {
            out.field("position", &position);
        }
        if let Some(id) = &self.inner.sample_id {
            out.field("sample_id", id);
        }
        if let Some(message) = &self.inner.message {
            out.field("message", message);
        }
        if let Some(cause) = &self.cause {
            out.field("cause", cause);
        }
        out.finish()
    }
}
