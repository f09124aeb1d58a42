//! [`Gate`]: many readers or one writer at a time, and nobody once it is closed.
//!
//! Objects are written one by one, so a reader that came in the middle of a batch would see a part of it.
//! Handles of one storage in a process take turns at a lock. On a local disk processes do as well, by the
//! system's lock (`flock`, `LockFileEx`) on the file that marks the folder. With a server there is no such
//! lock: another process's batch may be seen half-written (rule R7).

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{Error, Result};

/// Who may come in.
#[derive(Debug)]
pub(super) struct Gate {
    is_closed: RwLock<bool>,
    /// The file that processes lock.
    file: Option<PathBuf>,
}

/// Lets go of the file before the lock of the process.
pub(super) struct Entered<G> {
    _file: Option<File>,
    _guard: G,
}

impl Gate {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self {
            is_closed: RwLock::new(false),
            file,
        }
    }

    pub(super) fn read(
        &self,
        operation: &'static str,
    ) -> Result<Entered<RwLockReadGuard<'_, bool>>> {
        let guard = self
            .is_closed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if *guard {
            return Err(Error::closed(operation));
        }
        Ok(Entered {
            _file: self.lock(operation, File::lock_shared)?,
            _guard: guard,
        })
    }

    pub(super) fn write(
        &self,
        operation: &'static str,
    ) -> Result<Entered<RwLockWriteGuard<'_, bool>>> {
        let guard = self
            .is_closed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if *guard {
            return Err(Error::closed(operation));
        }
        Ok(Entered {
            _file: self.lock(operation, File::lock)?,
            _guard: guard,
        })
    }

    /// Waits for those inside, and lets nobody in afterwards.
    pub(super) fn close(&self) {
        *self
            .is_closed
            .write()
            .unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Each turn opens the file anew: locks belong to what was opened, and readers of one process would
    /// otherwise let go of each other's.
    fn lock(
        &self,
        operation: &'static str,
        lock: fn(&File) -> io::Result<()>,
    ) -> Result<Option<File>> {
        let Some(path) = &self.file else {
            return Ok(None);
        };
        let locked = File::open(path).and_then(|file| match lock(&file) {
            // Some file systems of networks have no locks; processes are on their own there.
            Err(cause) if cause.kind() == io::ErrorKind::Unsupported => Ok(file),
            other => other.map(|()| file),
        });
        locked
            .map(Some)
            .map_err(|cause| Error::io(operation, path.display(), cause))
    }
}
