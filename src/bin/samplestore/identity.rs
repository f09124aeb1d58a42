//! [`Identity`]: which file it is that is open, whatever it is called. Of paths,
//! [`Location::is_same_place`](samplestore::Location::is_same_place) tells it.

use std::fs::Metadata;
use std::path::Path;

use samplestore::Result;

use crate::opening::Db;

/// What tells a file from every other one; there is none where the system does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    number: u64,
}

impl Identity {
    /// Of a file; pipes and devices have none, since nothing in them is overwritten.
    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;

        metadata.is_file().then(|| Self {
            device: metadata.dev(),
            number: metadata.ino(),
        })
    }

    #[cfg(not(unix))]
    pub(crate) fn of(_: &Metadata) -> Option<Self> {
        None
    }

    /// Of what is at a path now.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        Self::of(&path.metadata().ok()?)
    }

    /// Of the file that a database is in now, if it is in one.
    pub(crate) fn of_database(db: &Db) -> Result<Option<Self>> {
        Ok(db
            .location()
            .database()?
            .and_then(|(path, _)| Self::at(path)))
    }

    /// Of what standard input reads.
    #[cfg(unix)]
    pub(crate) fn of_stdin() -> Option<Self> {
        use std::os::fd::AsFd;

        let file = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
        Self::of(&std::fs::File::from(file).metadata().ok()?)
    }

    #[cfg(not(unix))]
    pub(crate) fn of_stdin() -> Option<Self> {
        None
    }
}
