//! [`Held`]: a disk whose first write is held back until there is a second one.
//!
//! redb writes into its header that somebody has the file open, and syncs that, whenever it opens one for writing. Until something else
//! is written that says nothing that anybody must know: the file is as whoever closed it has left it. So the mark is kept
//! here, and written and synced before whatever is written or synced next. Opening waits for no disk, and a process
//! that ends before it has stored anything leaves a file that is closed.
//!
//! That sync is one of the whole file, as redb's was: who opens a file that was copied a moment ago relies on all of it with
//! the first commit, and not only on what it wrote by itself.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Disk;

#[derive(Debug)]
pub(super) struct Held {
    disk: Arc<dyn Disk>,
    /// Whether there is a mark, for whoever asks before each read and write.
    is_holding: AtomicBool,
    mark: Mutex<Option<Mark>>,
}

/// What is to be written, and where.
#[derive(Debug)]
struct Mark {
    offset: u64,
    bytes: Vec<u8>,
}

impl Held {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            is_holding: AtomicBool::new(false),
            mark: Mutex::default(),
        }
    }

    /// Takes a write that is done before the next one. Nothing may have been written to the disk before.
    pub(super) fn hold(&self, offset: u64, bytes: &[u8]) {
        *self.mark() = Some(Mark {
            offset,
            bytes: bytes.to_vec(),
        });
        self.is_holding.store(true, Ordering::Release);
    }

    /// Whether nothing was written but what is held.
    pub(super) fn is_holding(&self) -> bool {
        self.is_holding.load(Ordering::Acquire)
    }

    fn mark(&self) -> MutexGuard<'_, Option<Mark>> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the mark durable. When that fails it stays held, and nothing goes past it.
    fn release(&self) -> io::Result<()> {
        if !self.is_holding() {
            return Ok(());
        }
        let mut mark = self.mark();
        if let Some(Mark { offset, bytes }) = &*mark {
            self.disk.write(*offset, bytes)?;
            self.disk.sync()?;
        }
        *mark = None;
        self.is_holding.store(false, Ordering::Release);
        Ok(())
    }
}

impl Disk for Held {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)?;
        if self.is_holding()
            && let Some(mark) = &*self.mark()
        {
            let from = mark.offset.max(offset);
            let to = (mark.offset + mark.bytes.len() as u64).min(offset + out.len() as u64);
            if from < to {
                let held = (from - mark.offset) as usize..(to - mark.offset) as usize;
                out[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&mark.bytes[held]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.release()?;
        self.disk.write(offset, bytes)
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.release()?;
        self.disk.write_durable(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.release()?;
        self.disk.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.release()?;
        self.disk.sync()
    }

    fn below(&self) -> Option<&dyn Disk> {
        Some(&*self.disk)
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::memory::{Done, MemoryDisk};
    use super::*;

    fn write(offset: u64, bytes: &[u8]) -> Done {
        Done::Write {
            offset,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn a_mark_is_seen_at_once_and_durable_before_anything_else_is_written() {
        let behind: [fn(&Held) -> io::Result<()>; 4] = [
            |held| held.write(0, &[8]),
            |held| held.write_durable(0, &[8]),
            |held| held.set_len(7),
            Disk::sync,
        ];
        for behind in behind {
            let disk = Arc::new(MemoryDisk::of((0..8).collect()));
            let held = Held::new(disk.clone());
            held.hold(2, &[9, 9, 9]);
            for (from, to) in [(0, 8), (0, 2), (0, 3), (3, 4), (4, 8), (5, 8)] {
                let mut out = vec![0; to - from];
                held.read(from as u64, &mut out).unwrap();
                assert_eq!(out, [0, 1, 9, 9, 9, 5, 6, 7][from..to]);
            }
            assert!(held.is_holding());
            assert_eq!(disk.take_done(), []);
            behind(&held).unwrap();
            assert!(!held.is_holding());
            let done = disk.take_done();
            assert_eq!(done[..2], [write(2, &[9, 9, 9]), Done::Sync]);
            assert_eq!(done.len(), 3);
            held.write(1, &[7]).unwrap();
            assert_eq!(disk.take_done(), [write(1, &[7])]);
        }
    }

    #[test]
    fn nothing_goes_past_a_mark_that_cannot_be_written() {
        let disk = Arc::new(MemoryDisk::of(vec![0; 8]));
        let held = Held::new(disk.clone());
        held.hold(2, &[9]);
        disk.set_failing(true);
        held.write(0, &[1]).unwrap_err();
        held.sync().unwrap_err();
        disk.set_failing(false);
        assert_eq!(disk.bytes(), [0; 8]);
        held.write(0, &[1]).unwrap();
        assert_eq!(disk.bytes(), [1, 0, 9, 0, 0, 0, 0, 0]);
    }
}
