//! [`Disk`]: the bytes below everything, a file or, in tests, memory.
//!
//! What lies where in them is `volume.rs`; what a record of the log is, `log.rs`. Nothing here knows
//! either.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// A range of bytes to lock, as redb gives it.
pub(super) type Range = (Bound<u64>, Bound<u64>);

/// Bytes that outlive the process. What was written survives the loss of power once
/// [`write_durable`](Self::write_durable) of it, or a [`sync`](Self::sync) after it, has returned; what
/// was not may be there after that in any part.
pub(super) trait Disk: fmt::Debug + Send + Sync + 'static {
    fn len(&self) -> io::Result<u64>;

    /// Fills `out`; an error of the kind `UnexpectedEof` where the bytes end before.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes, beyond the end too.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes, and returns once these bytes are on the disk; says nothing of any others.
    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)?;
        self.sync().map_err(of_sync)
    }

    /// Cuts off, or adds zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns once everything written before is on the disk.
    fn sync(&self) -> io::Result<()>;

    /// The disk that this one is laid over, which has its locks and its name; `None` for one that has its own.
    fn below(&self) -> Option<&dyn Disk> {
        None
    }

    /// Takes a lock of redb's, or says `false` when another has one that conflicts.
    fn try_lock(&self, range: Range, shared: bool) -> Result<bool, BackendError> {
        let below = self.below().ok_or(BackendError::Unsupported)?;
        below.try_lock(range, shared)
    }

    /// Takes a lock of redb's, and waits for it.
    fn lock(&self, range: Range, shared: bool) -> Result<(), BackendError> {
        let below = self.below().ok_or(BackendError::Unsupported)?;
        below.lock(range, shared)
    }

    fn unlock(&self, range: Range) -> Result<(), BackendError> {
        let below = self.below().ok_or(BackendError::Unsupported)?;
        below.unlock(range)
    }

    /// Whether another has a lock that conflicts with an exclusive one.
    fn is_locked(&self, range: Range) -> Result<bool, BackendError> {
        let below = self.below().ok_or(BackendError::Unsupported)?;
        below.is_locked(range)
    }

    /// Gives back every lock.
    fn close(&self) -> io::Result<()> {
        self.below().map_or(Ok(()), Disk::close)
    }

    /// Whether this is the file at `path`. To be asked once it is locked: whoever had the lock before may have put
    /// another file there, as [`reindex`](super::Database::reindex) does, and what is written to this one then is lost.
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.below().map_or(Ok(true), |below| below.is_at(path))
    }
}

/// The error of a sync behind a write. Of a write alone a full disk says that there was no room for these bytes; where a sync meets one,
/// others may be lost too.
fn of_sync(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            io::Error::other(format!("a sync failed: {error}"))
        }
        _ => error,
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// For writing, and made unless it is there.
    Write {
        create: bool,
    },
}

/// A file: redb's own backend for reading, writing and locking, and beside it, where the system has such
/// a thing, a handle whose writes are durable when they return.
///
/// That second handle syncs the bytes it writes and no others: with 200 changed pages elsewhere in
/// the file, 4 KiB take it 0.4 ms, and a sync of the file 7 ms. redb's locks belong to the first handle alone
/// (they are of its open file description), so that the second neither has nor loses any.
#[derive(Debug)]
pub(super) struct FileDisk {
    backend: FileBackend,
    durable: Option<File>,
    identity: Identity,
}

/// Which file it is, whatever its name; the same for every file on systems that do not replace one that is open.
type Identity = Option<(u64, u64)>;

fn identity(metadata: &Metadata) -> Identity {
    #[cfg(unix)]
    return Some((
        std::os::unix::fs::MetadataExt::dev(metadata),
        std::os::unix::fs::MetadataExt::ino(metadata),
    ));
    #[cfg(not(unix))]
    {
        let _ = metadata;
        None
    }
}

impl FileDisk {
    /// Opens the file at `path`; `has_log` asks for the second handle.
    pub(super) fn open(path: &Path, access: Access, has_log: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        if let Access::Write { create } = access {
            options.write(true).create(create);
        }
        let file = options.open(path)?;
        let durable = match access {
            Access::Write { .. } if has_log => open_durable(path, &file)?,
            _ => None,
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            // To write it cannot be opened, and to read it can.
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let identity = identity(&metadata);
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Self {
            backend,
            durable,
            identity,
        })
    }

    /// Locks the whole file, if nobody has a lock that conflicts; where the file system has no locks nobody has.
    pub(super) fn try_lock_whole(&self, shared: bool) -> io::Result<bool> {
        let locked = self.try_lock((Bound::Unbounded, Bound::Unbounded), shared);
        match locked.map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
            locked => locked,
        }
    }

    /// A file that is open.
    pub(super) fn of(file: File) -> io::Result<Self> {
        let identity = identity(&file.metadata()?);
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Self {
            backend,
            durable: None,
            identity,
        })
    }
}

#[cfg(target_os = "linux")]
fn open_durable(path: &Path, file: &File) -> io::Result<Option<File>> {
    use std::os::unix::fs::OpenOptionsExt;
    let durable = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DSYNC)
        .open(path)?;
    // Somebody may have put another file there between the two.
    let is_same = identity(&file.metadata()?) == identity(&durable.metadata()?);
    Ok(is_same.then_some(durable))
}

#[cfg(not(target_os = "linux"))]
fn open_durable(_path: &Path, _file: &File) -> io::Result<Option<File>> {
    Ok(None)
}

impl Disk for FileDisk {
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(identity(&metadata) == self.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.backend.write(offset, bytes)
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(file) = &self.durable {
            return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
        }
        debug_assert!(self.durable.is_none());
        self.write(offset, bytes)?;
        self.sync().map_err(of_sync)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn try_lock(&self, (start, end): Range, shared: bool) -> Result<bool, BackendError> {
        match shared {
            true => self.backend.try_lock_shared_range(start, end),
            false => self.backend.try_lock_range(start, end),
        }
    }

    fn lock(&self, (start, end): Range, shared: bool) -> Result<(), BackendError> {
        match shared {
            true => self.backend.lock_shared_range(start, end),
            false => self.backend.lock_range(start, end),
        }
    }

    fn unlock(&self, (start, end): Range) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn is_locked(&self, (start, end): Range) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }
}

/// Bytes in memory, for tests: they outlive every handle, may be looked at and damaged, and every write, resize and sync
/// is recorded in the order in which it was done.
#[cfg(test)]
pub(super) mod memory {
    use std::io;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::Disk;

    /// One thing done to a [`MemoryDisk`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(in super::super) enum Done {
        Write { offset: u64, bytes: Vec<u8> },
        WriteDurable { offset: u64, bytes: Vec<u8> },
        SetLen(u64),
        Sync,
    }

    #[derive(Clone, Debug, Default)]
    struct Content {
        bytes: Vec<u8>,
        done: Vec<Done>,
        /// The bytes at the last sync, and what was done after it.
        synced: Vec<u8>,
        unsynced: Vec<Done>,
        /// No byte is written at or behind this one.
        full_at: Option<u64>,
        is_failing: bool,
    }

    #[derive(Debug, Default)]
    pub(in super::super) struct MemoryDisk {
        content: Mutex<Content>,
        /// Held by a test to keep syncs waiting.
        pub(in super::super) sync_gate: Mutex<()>,
    }

    impl MemoryDisk {
        pub(in super::super) fn of(bytes: Vec<u8>) -> Self {
            let disk = Self::default();
            disk.content().synced.clone_from(&bytes);
            disk.content().bytes = bytes;
            disk
        }

        pub(in super::super) fn bytes(&self) -> Vec<u8> {
            self.content().bytes.clone()
        }

        /// What may be there after a loss of power: what is durable, and of the rest what `survives` says.
        pub(in super::super) fn after_power_loss(
            &self,
            mut survives: impl FnMut() -> bool,
        ) -> Vec<u8> {
            let content = self.content();
            let mut bytes = content.synced.clone();
            for done in &content.unsynced {
                match done {
                    Done::WriteDurable { offset, bytes: new } => put(&mut bytes, *offset, new),
                    Done::Write { offset, bytes: new } if survives() => {
                        put(&mut bytes, *offset, new);
                    }
                    Done::SetLen(len) if survives() => bytes.resize(*len as usize, 0),
                    _ => {}
                }
            }
            bytes
        }

        /// What was done since this was last asked.
        pub(in super::super) fn take_done(&self) -> Vec<Done> {
            std::mem::take(&mut self.content().done)
        }

        pub(in super::super) fn set_full_at(&self, offset: Option<u64>) {
            self.content().full_at = offset;
        }

        /// From now on every write, resize and sync fails, or none.
        pub(in super::super) fn set_failing(&self, is_failing: bool) {
            self.content().is_failing = is_failing;
        }

        fn content(&self) -> MutexGuard<'_, Content> {
            self.content.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn put(&self, offset: u64, bytes: &[u8], is_durable: bool) -> io::Result<()> {
            let mut content = self.content();
            content.check()?;
            let end = offset + bytes.len() as u64;
            if content.full_at.is_some_and(|full_at| end > full_at) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            put(&mut content.bytes, offset, bytes);
            let bytes = bytes.to_vec();
            content.push(match is_durable {
                true => Done::WriteDurable { offset, bytes },
                false => Done::Write { offset, bytes },
            });
            Ok(())
        }
    }

    fn put(bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
        let (offset, end) = (offset as usize, offset as usize + new.len());
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(new);
    }

    impl Content {
        fn push(&mut self, done: Done) {
            self.unsynced.push(done.clone());
            self.done.push(done);
        }

        fn check(&self) -> io::Result<()> {
            match self.is_failing {
                true => Err(io::Error::other("this disk is made to fail")),
                false => Ok(()),
            }
        }
    }

    impl Disk for MemoryDisk {
        fn len(&self) -> io::Result<u64> {
            Ok(self.content().bytes.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let content = self.content();
            let bytes = usize::try_from(offset)
                .ok()
                .and_then(|offset| content.bytes.get(offset..)?.get(..out.len()))
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.put(offset, bytes, false)
        }

        fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.put(offset, bytes, true)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            let mut content = self.content();
            content.check()?;
            content.bytes.resize(len as usize, 0);
            content.push(Done::SetLen(len));
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            let _gate = self
                .sync_gate
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let mut content = self.content();
            content.check()?;
            content.done.push(Done::Sync);
            let Content { bytes, synced, .. } = &mut *content;
            synced.clone_from(bytes);
            content.unsynced.clear();
            Ok(())
        }
    }
}
