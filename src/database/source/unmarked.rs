//! A file that does not say that it was made: either nobody came to the end of making it, and nothing was ever stored in it, or
//! the sector that says so is lost.
//!
//! Which of the two it is decides whether the file may be made anew, so it is not decided by the head alone: not every commit
//! goes to the log, and redb's part is there in both cases.

use std::path::Path;
use std::sync::Arc;

use super::{OPERATION, Source};
use crate::database::disk::Disk;
use crate::database::failure::{damaged, disk_failure};
use crate::database::header::{self, Head};
use crate::database::state::State;
use crate::error::{Error, ErrorKind, Result};

/// So much at a time is read of a file that is looked at whole.
const WINDOW_BYTES: usize = 1 << 20;

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
        Err(error) if error.kind() == ErrorKind::NotADatabase => {
            check_readable(&**disk)?;
            return Ok(head);
        }
        Err(error) => return Err(error),
    }
    // Unless whoever makes it has come to the end meanwhile.
    match header::read(&**disk)? {
        Head::Unfinished => Err(damaged(OPERATION, "the second sector is damaged")),
        head => Ok(head),
    }
}

/// Fails when a part cannot be read, which looks like one that has nothing.
fn check_readable(disk: &dyn Disk) -> Result<()> {
    let failed = |error| disk_failure(OPERATION, error);
    let mut window = vec![0; WINDOW_BYTES];
    let len = disk.len().map_err(failed)?;
    for start in (0..len).step_by(WINDOW_BYTES) {
        let bytes = (len - start).min(WINDOW_BYTES as u64);
        disk.read(start, &mut window[..bytes as usize])
            .map_err(failed)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::database::Database;
    use crate::database::disk::memory::MemoryDisk;
    use crate::sample::Sample;
    use crate::storage::Storage;

    /// A disk of which nothing can be read behind the first page.
    #[derive(Debug)]
    struct Unreadable(MemoryDisk);

    impl Disk for Unreadable {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            match offset + out.len() as u64 <= 4_096 {
                true => self.0.read(offset, out),
                false => Err(io::Error::other("a bad sector")),
            }
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write(offset, bytes)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn sync(&self) -> io::Result<()> {
            self.0.sync()
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let disk = Arc::new(MemoryDisk::default());
        let open = |disk| Database::options().open_disk("memory".into(), disk);
        let database = open(disk.clone()).unwrap();
        database
            .store(&[Sample::builder("p").id("a").build().unwrap()])
            .unwrap();
        drop(database);
        let mut bytes = disk.bytes();
        // The mark that it was made.
        bytes[512..1_024].fill(0);
        let damaged = open(Arc::new(MemoryDisk::of(bytes.clone()))).unwrap_err();
        assert_eq!(damaged.kind(), ErrorKind::Damaged);
        let disk = Arc::new(Unreadable(MemoryDisk::of(bytes.clone())));
        let error = open(disk.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(disk.0.bytes() == bytes);
    }
}
