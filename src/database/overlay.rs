//! [`Overlay`]: redb's part of a file, as it is, to be looked at by a second redb that changes nothing.
//!
//! redb checks a file by repairing it. So what it writes goes to memory here, page by page, and is forgotten
//! with the overlay; that is its header, and the state of its allocator. The file must stay as it is meanwhile.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::io;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

use super::disk::Disk;
use super::guard::Guard;
use super::sums::Sums;
use super::volume::whole_pages;

/// The unit in which what was written is kept.
const PIECE_BYTES: usize = 4_096;

/// Is told how many bytes were read so far, and says whether reading goes on.
pub(super) type OnRead = Box<dyn Fn(u64) -> io::Result<()> + Send + Sync>;

/// redb's storage on a disk from some byte on; what is written lies over it.
pub(super) struct Overlay {
    disk: Arc<dyn Disk>,
    base: u64,
    written: Mutex<Written>,
    /// Whether what lies beyond the end, and what cannot be read, is zeros instead of an error.
    is_padded: bool,
    read_bytes: AtomicU64,
    on_read: OnRead,
    guard: Guard,
}

#[derive(Debug)]
struct Written {
    len: u64,
    pieces: BTreeMap<u64, Box<[u8; PIECE_BYTES]>>,
}

impl Overlay {
    /// What lies on `disk` from the byte `base` on.
    pub(super) fn new(disk: Arc<dyn Disk>, base: u64, on_read: OnRead) -> io::Result<Self> {
        let len = whole_pages(disk.len()?.saturating_sub(base));
        Ok(Self {
            disk,
            base,
            is_padded: false,
            read_bytes: AtomicU64::new(0),
            on_read,
            guard: Guard::default(),
            written: Mutex::new(Written {
                len,
                pieces: BTreeMap::new(),
            }),
        })
    }

    /// The same, but that what lies beyond the end, and what cannot be read, is zeros: redb does not read on after an error.
    pub(super) fn padded(mut self) -> Self {
        self.is_padded = true;
        self
    }

    /// The same, with the checksums of pages looked at.
    pub(super) fn with_sums(mut self, sums: Sums) -> Self {
        self.guard = Guard::with_sums(sums);
        self
    }

    /// Tells of what was read.
    fn count(&self, read: &[u8]) -> io::Result<()> {
        let bytes = read.len() as u64;
        (self.on_read)(self.read_bytes.fetch_add(bytes, Relaxed) + bytes)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was written over what lies below.
    fn read_through(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        let end = offset.checked_add(out.len() as u64);
        if !self.is_padded && end.is_none_or(|end| end > written.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_below(offset, out)?;
        let len = out.len();
        let mut rest = out;
        for (piece, range) in pieces(offset, len) {
            let (part, behind) = rest.split_at_mut(range.len());
            if let Some(bytes) = written.pieces.get(&piece) {
                part.copy_from_slice(&bytes[range]);
            }
            rest = behind;
        }
        Ok(())
    }

    /// Fills `out` from the disk, and with zeros where it ends.
    fn read_below(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = self.base.saturating_add(offset);
        let there = self.disk.len()?.saturating_sub(start);
        let there = out.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let (below, behind) = out.split_at_mut(there);
        behind.fill(0);
        if below.is_empty() {
            return Ok(());
        }
        match self.disk.read(start, below) {
            Err(_) if self.is_padded => {
                for (at, piece) in (start..)
                    .step_by(PIECE_BYTES)
                    .zip(below.chunks_mut(PIECE_BYTES))
                {
                    if self.disk.read(at, piece).is_err() {
                        piece.fill(0);
                    }
                }
                Ok(())
            }
            read => read,
        }
    }
}

/// The pieces that a range of bytes touches: the number of each, and the range within it.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let piece_bytes = PIECE_BYTES as u64;
    let end = offset.saturating_add(len as u64);
    let mut at = offset;
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let piece = at / piece_bytes;
            let start = (at % piece_bytes) as usize;
            let stop = end.min((piece + 1).saturating_mul(piece_bytes));
            let range = start..start + (stop - at) as usize;
            at = stop;
            (piece, range)
        })
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_through(offset, out)?;
        if offset == 0 {
            self.guard.see_header(out, false);
            return self.count(out);
        }
        let there = self.written().len;
        // Of a file that was cut off, what is left is wanted: no more than that no page is larger than the file.
        let can_be_there = |page: &Range<u64>| match self.is_padded {
            true => page.end - page.start <= there,
            false => page.end <= there,
        };
        let read = |offset, out: &mut [u8]| self.read_through(offset, out);
        self.guard.check(offset, out, there, can_be_there, read)?;
        self.count(out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // What is cut off and added again must be zeros, which what lies below is not.
        let mut written = self.written();
        match len >= written.len {
            true => written.len = len,
            false => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.guard.written(offset, data.len());
        let mut written = self.written();
        let mut rest = data;
        for (number, range) in pieces(offset, data.len()) {
            let (part, behind) = rest.split_at(range.len());
            let piece = match written.pieces.entry(number) {
                btree_map::Entry::Occupied(entry) => entry.into_mut(),
                btree_map::Entry::Vacant(entry) => {
                    let mut bytes = Box::new([0; PIECE_BYTES]);
                    self.read_below(number * PIECE_BYTES as u64, &mut *bytes)?;
                    entry.insert(bytes)
                }
            };
            piece[range].copy_from_slice(part);
            rest = behind;
        }
        let end = offset + data.len() as u64;
        written.len = written.len.max(end);
        Ok(())
    }

    // Nobody else has the overlay, so every lock is there to be had, and whoever made it has locked the file.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay")
            .field("disk", &self.disk)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}
