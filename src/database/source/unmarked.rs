//! A file that does not say that it was made: either nobody came to the end of making it, and nothing was ever stored in it, or
//! the sector that says so is lost.
//!
//! Which of the two it is decides whether the file may be made anew, so it is not decided by the head alone: not every commit
//! goes to the log, and redb's part is there in both cases.

use std::path::Path;
use std::sync::Arc;

use super::{OPERATION, Source};
use crate::database::disk::Disk;
use crate::database::failure::damaged;
use crate::database::header::{self, Head};
use crate::database::state::State;
use crate::error::{Error, ErrorKind, Result};

/// What the first page of a file says that is to be opened.
///
/// # Errors
/// [`Damaged`](ErrorKind::Damaged) also where it says that nothing was ever stored, and something is there.
pub(in crate::database) fn head(disk: &Arc<dyn Disk>) -> Result<Head> {
    let head = header::read(&**disk)?;
    if head != Head::Unfinished {
        return Ok(head);
    }
    match Source::of_disk(Arc::clone(disk), Path::new("")) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotADatabase => return Ok(head),
        Err(error) => return Err(error),
    }
    // Unless whoever makes it has come to the end meanwhile.
    match header::read(&**disk)? {
        Head::Unfinished => Err(damaged(OPERATION, "the second sector is damaged")),
        head => Ok(head),
    }
}

pub(super) fn nothing_stored() -> Error {
    Error::new(ErrorKind::NotADatabase, OPERATION).with_message("nothing was ever stored in it")
}

impl Source {
    /// Whether a state tells of a commit, or a page anywhere of something that was stored.
    pub(super) fn has_anything(&mut self) -> Result<bool> {
        let has_commits = self.state.as_ref().is_some_and(State::has_commits);
        if has_commits || self.rows > 0 {
            return Ok(true);
        }
        self.look_everywhere(&|_| Ok(()))?;
        Ok(self
            .strays
            .as_ref()
            .is_some_and(|strays| strays.has_anything()))
    }
}
