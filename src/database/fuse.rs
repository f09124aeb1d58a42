//! [`Fuse`]: a disk that takes nothing more once it has failed to make something durable.
//!
//! What a failed sync was to bring to the disk may be lost, and the next sync may succeed all the same: Linux drops
//! the pages it could not write, and tells it once (Rebello et al. 2020, "Can Applications Recover from fsync
//! Failures?"). The log and redb share the file, and neither knows what the other had written before, so that
//! behind a failed sync nothing may be written that relies on it, by either. What was durable then is what counts
//! after the next opening, as after a loss of power.

use std::io;
use std::sync::{Arc, OnceLock};

use super::disk::Disk;

#[derive(Debug)]
pub(super) struct Fuse {
    disk: Arc<dyn Disk>,
    /// Why something could not be made durable.
    blown: OnceLock<(io::ErrorKind, String)>,
}

impl Fuse {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            blown: OnceLock::new(),
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.blown.get() {
            Some((kind, text)) => Err(io::Error::new(
                *kind,
                format!("an earlier failure: {text}; close the file and open it again"),
            )),
            None => Ok(()),
        }
    }

    /// Takes nothing more, because of this.
    pub(super) fn blow(&self, error: &io::Error) {
        self.blown.get_or_init(|| (error.kind(), error.to_string()));
    }
}

impl Disk for Fuse {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        self.disk.write(offset, bytes)
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        self.disk
            .write_durable(offset, bytes)
            .inspect_err(|error| match error.kind() {
                // There was no room for these bytes, which says nothing of others.
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {}
                _ => self.blow(error),
            })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.disk.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.check()?;
        self.disk.sync().inspect_err(|error| self.blow(error))
    }

    fn below(&self) -> Option<&dyn Disk> {
        Some(&*self.disk)
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::memory::MemoryDisk;
    use super::*;

    #[test]
    fn behind_a_failed_sync_nothing_is_written() {
        let disk = Arc::new(MemoryDisk::of(vec![1; 8]));
        let fuse = Fuse::new(disk.clone());
        disk.set_failing(true);
        fuse.write(0, &[2]).unwrap_err();
        disk.set_failing(false);
        fuse.write(0, &[3]).unwrap();
        fuse.sync().unwrap();
        disk.set_failing(true);
        fuse.sync().unwrap_err();
        disk.set_failing(false);
        disk.take_done();
        fuse.write(0, &[4]).unwrap_err();
        fuse.write_durable(0, &[4]).unwrap_err();
        fuse.set_len(4).unwrap_err();
        let again = fuse.sync().unwrap_err();
        assert_eq!(disk.take_done(), []);
        assert!(again.to_string().contains("an earlier failure"));
        let mut bytes = [0; 2];
        fuse.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [3, 1]);
    }

    /// A disk that has room for what is written until it is synced, as one behind a network may.
    #[derive(Debug)]
    struct FullAtSync(MemoryDisk);

    impl Disk for FullAtSync {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write(offset, bytes)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn sync(&self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn behind_a_sync_that_finds_the_disk_full_nothing_is_written() {
        let disk = Arc::new(FullAtSync(MemoryDisk::default()));
        let fuse = Fuse::new(disk.clone());
        fuse.write_durable(0, &[1; 4]).unwrap_err();
        let error = fuse.write(4, &[1; 4]).unwrap_err();
        assert!(error.to_string().contains("an earlier failure"), "{error}");
        assert_eq!(disk.0.bytes(), [1; 4]);
    }

    #[test]
    fn a_full_disk_refuses_one_write_and_no_other() {
        let disk = Arc::new(MemoryDisk::default());
        let fuse = Fuse::new(disk.clone());
        disk.set_full_at(Some(4));
        let error = fuse.write_durable(0, &[1; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        fuse.write_durable(0, &[1; 4]).unwrap();
        assert_eq!(disk.bytes(), [1; 4]);
    }
}
