//! [`Mismatch`]: why bytes do not become the type that was asked for.

use std::fmt;
use std::str::Utf8Error;

use rmp::Marker;

use crate::payload::wire::Fault;

/// Why bytes do not become the type that was asked for.
///
/// One pointer, since every step of decoding hands on a result with it.
#[derive(Debug)]
pub(in crate::payload) struct Mismatch(Box<Problem>);

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the bytes are cut off")]
    CutOff,
    #[error("wrong msgpack marker {0:?}")]
    Marker(Marker),
    #[error("array had incorrect length, expected {0}")]
    Length(usize),
    #[error("depth limit exceeded")]
    Depth,
    #[error("string found to be invalid utf8: {0}")]
    Utf8(Utf8Error),
    /// What a visitor says.
    #[error("{0}")]
    Said(String),
}

impl Mismatch {
    #[cold]
    pub(super) fn cut_off() -> Self {
        Problem::CutOff.into()
    }

    #[cold]
    pub(super) fn marker(found: Marker) -> Self {
        Problem::Marker(found).into()
    }

    #[cold]
    pub(super) fn length(expected: usize) -> Self {
        Problem::Length(expected).into()
    }

    #[cold]
    pub(super) fn depth() -> Self {
        Problem::Depth.into()
    }

    #[cold]
    pub(super) fn utf8(error: Utf8Error) -> Self {
        Problem::Utf8(error).into()
    }
}

impl From<Problem> for Mismatch {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Fault> for Mismatch {
    #[cold]
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::CutOff => Self::cut_off(),
            Fault::Type(marker) => Self::marker(marker),
            other => Problem::Said(other.found()).into(),
        }
    }
}

impl serde::de::Error for Mismatch {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Problem::Said(message.to_string()).into()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Mismatch {}
