//! Where samples come from: any iterator of samples, or of results of samples.

use std::fmt;

use super::stage::BoxError;
use crate::error::{Error, ErrorKind, Result};
use crate::panicked;
use crate::sample::Sample;

/// What the iterator of a source gives: a [`Sample`], or a `Result` of one with any error.
pub trait SourceItem {
    /// The sample, or the error that stands in its place.
    ///
    /// # Errors
    /// The one that the source met.
    fn into_sample(self) -> Result<Sample, BoxError>;
}

impl SourceItem for Sample {
    fn into_sample(self) -> Result<Sample, BoxError> {
        Ok(self)
    }
}

impl<E: Into<BoxError>> SourceItem for Result<Sample, E> {
    fn into_sample(self) -> Result<Sample, BoxError> {
        self.map_err(Into::into)
    }
}

/// An opened source: items are errors of ours.
type Items<'a> = Box<dyn Iterator<Item = Result<Sample, BoxError>> + 'a>;

/// A source that is not opened yet.
pub(super) type OpenSource<'a> = Box<dyn FnOnce() -> Result<Items<'a>, BoxError> + 'a>;

pub(super) fn opener<'a, I, E>(open: impl FnOnce() -> Result<I, E> + 'a) -> OpenSource<'a>
where
    I: IntoIterator<Item: SourceItem + 'a, IntoIter: 'a>,
    E: Into<BoxError>,
{
    Box::new(move || {
        let items = open().map_err(Into::into)?;
        Ok(Box::new(items.into_iter().map(SourceItem::into_sample)) as Items<'a>)
    })
}

/// A source being read: passes over some errors and ends at the next one, or at a panic.
pub(super) struct Reading<'a> {
    /// `None` once the source has ended: it is not asked again.
    items: Option<Items<'a>>,
    pub(super) read: u64,
    /// At most `errors_max + 1`.
    pub(super) errors: Vec<Error>,
    errors_max: usize,
}

impl<'a> Reading<'a> {
    pub(super) fn open(open: OpenSource<'a>, errors_max: usize) -> Result<Self> {
        let items = panicked::catch_error("open the source", || open().map_err(open_error))?;
        Ok(Self {
            items: Some(items),
            read: 0,
            errors: Vec::new(),
            errors_max,
        })
    }

    /// The next sample, errors passed over as far as they may be.
    pub(super) fn next(&mut self) -> Option<Sample> {
        while let Some(items) = &mut self.items {
            match panicked::catch(|| items.next()) {
                Ok(Some(Ok(sample))) => {
                    self.read += 1;
                    return Some(sample);
                }
                Ok(Some(Err(error))) => {
                    if self.errors.len() >= self.errors_max {
                        self.items = None;
                    }
                    self.errors.push(wrap("read the source", error));
                }
                Ok(None) => self.items = None,
                // An iterator that has panicked is not asked again, whatever is allowed.
                Err(words) => {
                    self.items = None;
                    self.errors.push(
                        Error::new(ErrorKind::Panicked, "read the source").with_message(words),
                    );
                }
            }
        }
        None
    }
}

fn open_error(error: BoxError) -> Error {
    wrap("open the source", error)
}

/// One of our errors as it is, any other as the cause of one.
fn wrap(operation: &'static str, error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => *ours,
        Err(foreign) => Error::new(ErrorKind::Io, operation).with_cause(Foreign(foreign)),
    }
}

/// A boxed error as an error that can be a cause.
struct Foreign(BoxError);

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Foreign {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
