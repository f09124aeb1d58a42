//! [`Proceed`]: whether long work goes on, as whoever is told of its progress says.

use std::ops::ControlFlow;

use crate::error::{Error, ErrorKind, Result};

/// What a function that is told of progress gives back: `()` when it only listens, or a [`ControlFlow`], by which it can end the work.
///
/// Work that is ended gives an [`Interrupted`](ErrorKind::Interrupted) error, as soon as that can be without harm. What
/// it leaves behind is what each function says of errors: no temporary file, and nothing half-done under a name of its own.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use samplestore::{Backup, Database, ErrorKind};
///
/// let folder = tempfile::tempdir()?;
/// let database = Database::open(folder.path().join("samples.redb"))?;
/// let path = folder.path().join("copy.redb");
/// let backup = Backup::new().on_progress(|_| ControlFlow::Break(()));
/// let error = database.backup(&path, &backup).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Interrupted);
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Proceed {
    /// Whether the work is to go on.
    fn proceeds(self) -> bool;
}

impl Proceed for () {
    fn proceeds(self) -> bool {
        true
    }
}

impl Proceed for ControlFlow<()> {
    fn proceeds(self) -> bool {
        self.is_continue()
    }
}

/// The error of work that is not to go on, by the answer of whoever was told.
pub(crate) fn told(operation: &'static str, proceeds: bool) -> Result<()> {
    match proceeds {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Interrupted, operation)),
    }
}
