//! [`Volume`]: one file with two parts, the log at its head and redb's storage behind it.
//!
//! To redb it is a storage that begins at 0; redb locks, and before it reads anything the head is read and
//! checked here, or made. What the head says is `header.rs`, in what order things reach the file
//! `writeback.rs`, what is in the log `log.rs`.

mod known_len;

use std::io;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use redb::{BackendError, StorageBackend};

use self::known_len::KnownLen;
use super::branch::{self, Regions};
use super::disk::{self, Access, Disk};
use super::failure::{damaged, disk_failure};
use super::fuse::Fuse;
use super::guard::Guard;
use super::header::{self, Head, Layout};
use super::held::Held;
use super::metrics::Counters;
use super::source;
use super::writeback::Writeback;
use crate::error::{Error, ErrorKind, Result};

const OPERATION: &str = "open the database";

/// The byte that a writer beside readers has locked as long as it has the file open: redb's `WRITER_BYTE`.
const WRITER_LOCK: disk::Range = (Bound::Included(1 << 62), Bound::Excluded((1 << 62) + 1));

#[derive(Debug)]
pub(super) struct Volume {
    disk: Arc<dyn Disk>,
    /// What `disk` writes to.
    fuse: Arc<Fuse>,
    /// What `disk` is, for the mark that the file is open.
    held: Arc<Held>,
    access: Access,
    /// Bytes of each half of the log, in a file that is made.
    half_bytes: u64,
    /// What the head says, once it was read.
    layout: OnceLock<Layout>,
    is_new: AtomicBool,
    /// Whether whoever wrote it last has closed it, once the head was read.
    was_closed: AtomicBool,
    /// Whether nobody but who has this volume open looks at the file.
    is_alone: bool,
    /// Whether nothing was written yet, and what redb writes first may be held back.
    is_untouched: AtomicBool,
    /// Whether what the file has is not all taken over yet by whoever opens it, so that it does not count as closed.
    is_opening: AtomicBool,
    /// Whether pages that are read may not be on the disk: see [`Backend::read`].
    is_doubtful: AtomicBool,
    /// Why the head was refused. redb only hears of an I/O error.
    refusal: Mutex<Option<Error>>,
    writeback: Writeback,
    guard: Guard,
    known_len: KnownLen,
    /// Whether the length was asked for since the volume was opened.
    was_asked: AtomicBool,
    /// What is done with it.
    counters: Arc<Counters>,
}

/// What redb owns of a volume.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<Volume>);

impl Volume {
    /// A volume on `disk`, which nobody has looked at yet: redb does, after it has locked it. If it is to be made, its
    /// log gets halves of so many bytes.
    pub(super) fn new(disk: Arc<dyn Disk>, access: Access, half_bytes: u64) -> Self {
        let fuse = Arc::new(Fuse::new(disk));
        let held = Arc::new(Held::new(fuse.clone()));
        let disk: Arc<dyn Disk> = held.clone();
        Self {
            writeback: Writeback::new(Arc::clone(&disk)),
            disk,
            fuse,
            held,
            access,
            half_bytes,
            layout: OnceLock::new(),
            is_new: AtomicBool::new(false),
            was_closed: AtomicBool::new(false),
            is_alone: false,
            is_untouched: AtomicBool::new(false),
            is_opening: AtomicBool::new(false),
            is_doubtful: AtomicBool::new(false),
            refusal: Mutex::default(),
            guard: Guard::default(),
            known_len: KnownLen::default(),
            was_asked: AtomicBool::new(false),
            counters: Arc::default(),
        }
    }

    /// Says that nobody reads along, who would have to be told at once that the file is open: see `held.rs`.
    pub(super) fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// What is done with it, counted.
    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Where the log lies; `None` before redb has opened the volume.
    pub(super) fn layout(&self) -> Option<Layout> {
        self.layout.get().copied()
    }

    /// What lies below, for the log.
    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Whether the file was made by this volume and is not finished yet.
    pub(super) fn is_new(&self) -> bool {
        self.is_new.load(Ordering::Acquire)
    }

    /// Whether whoever wrote the file last has closed it, as redb's header said when it was opened: that it is open is said there, and
    /// synced, before anything else is written.
    pub(super) fn was_closed(&self) -> bool {
        self.was_closed.load(Ordering::Acquire)
    }

    /// Says that opening is over: what the log had is carried out.
    pub(super) fn opened(&self) {
        self.is_opening.store(false, Ordering::Release);
        self.is_doubtful.store(false, Ordering::Release);
    }

    /// Sees what redb's header says, while the file is opened that was not closed.
    fn see_flags(&self, header: &[u8]) {
        if self.is_opening.load(Ordering::Acquire) {
            let is_two_phase = (header.get(branch::FLAGS_AT))
                .is_some_and(|flags| flags & branch::IS_TWO_PHASE != 0);
            self.is_doubtful.store(!is_two_phase, Ordering::Release);
        }
    }

    /// Says that a new file is made. What it begins with must be durable by now.
    pub(super) fn finish(&self) -> Result<()> {
        let finished = match self.layout.get() {
            Some(layout) => header::finish(&*self.disk, layout),
            None => Err(io::Error::other("the volume is not open")),
        };
        finished.map_err(|error| disk_failure(OPERATION, error))?;
        self.is_new.store(false, Ordering::Release);
        Ok(())
    }

    /// Takes no more writes: who could not open the file leaves it as it is, and redb would note in it that it was closed.
    pub(super) fn give_up(&self) {
        self.fuse.blow(&io::Error::other("opening the file failed"));
    }

    /// Why the head was refused, if that is why redb could not open the volume.
    pub(super) fn take_refusal(&self) -> Option<Error> {
        self.refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Makes redb's writes and syncs return at once, or no more: see `writeback.rs`. For one durable commit, with
    /// [`wait_settled`](Self::wait_settled) before anything relies on it.
    pub(super) fn set_lazy(&self, is_lazy: bool) {
        self.writeback.set_lazy(is_lazy);
    }

    /// Returns once every sync that redb asked for is done.
    pub(super) fn wait_settled(&self) -> Result<()> {
        self.writeback
            .settle()
            .map_err(|error| disk_failure("sync the database", error))
    }

    /// The layout, after reading or making the head when that was not done yet.
    fn mount(&self) -> io::Result<&Layout> {
        if let Some(layout) = self.layout.get() {
            return Ok(layout);
        }
        match self.read_or_make_head() {
            Ok(layout) => Ok(self.layout.get_or_init(|| layout)),
            Err(error) => {
                let text = error.to_string();
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(io::Error::other(text))
            }
        }
    }

    fn read_or_make_head(&self) -> Result<Layout> {
        if let Head::Made(layout) = source::head(&self.disk)? {
            self.check_whole(&layout)?;
            return Ok(layout);
        }
        if self.access == Access::Read && self.has_writer()? {
            return Err(Error::new(ErrorKind::Locked, OPERATION)
                .with_message("its writer is making it")
                .with_retryable(true));
        }
        if self.access != (Access::Write { create: true }) {
            return Err(Error::new(ErrorKind::NotADatabase, OPERATION)
                .with_message("it is empty, and was not to be made"));
        }
        let layout = header::begin(&*self.disk, self.half_bytes)
            .map_err(|error| disk_failure(OPERATION, error))?;
        self.is_new.store(true, Ordering::Release);
        Ok(layout)
    }

    /// Whether another handle has the file open to write it and to be read along.
    fn has_writer(&self) -> Result<bool> {
        match self.disk.is_locked(WRITER_LOCK) {
            Ok(is_locked) => Ok(is_locked),
            Err(BackendError::Unsupported) => Ok(false),
            Err(error) => Err(disk_failure(OPERATION, error.into())),
        }
    }

    /// Refuses a file that is shorter than it was when it was closed, which to redb looks like one that was not.
    fn check_whole(&self, layout: &Layout) -> Result<()> {
        let failed = |error| disk_failure(OPERATION, error);
        let mut header = [[0; branch::HEADER_BYTES]; 2];
        self.disk
            .read(layout.base, &mut header[0])
            .map_err(failed)?;
        let len = self.disk.len().map_err(failed)?;
        let whole =
            Regions::len_when_closed(&header[0]).and_then(|len| layout.base.checked_add(len));
        self.was_closed.store(whole.is_some(), Ordering::Release);
        self.is_opening.store(whole.is_none(), Ordering::Release);
        let may_hold = whole.is_some() && self.is_alone;
        self.is_untouched.store(may_hold, Ordering::Release);
        if let Some(whole) = whole
            && len < whole
        {
            // Somebody who reads along may have come between a writer and its end.
            self.disk
                .read(layout.base, &mut header[1])
                .map_err(failed)?;
            if header[0] == header[1] {
                return Err(damaged(
                    OPERATION,
                    format!("the file is cut off: {len} of {whole} bytes are there"),
                ));
            }
        }
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.writeback.read(self.place(offset)?, out)
    }

    /// Where a place in redb's storage lies on the disk. A place beyond what 64 bits count lies beyond the end.
    fn place(&self, offset: u64) -> io::Result<u64> {
        Ok(self.mount()?.base.saturating_add(offset))
    }
}

/// The bytes of so many that are whole pages: redb's storage has no others, and what something else has put behind it is none of it.
pub(super) fn whole_pages(bytes: u64) -> u64 {
    bytes - bytes % branch::PAGE_BYTES
}

impl StorageBackend for Backend {
    // The first call that redb makes after it has locked: what is done here nobody else does meanwhile.
    fn len(&self) -> io::Result<u64> {
        let volume = &*self.0;
        let base = volume.mount()?.base;
        if let Some(len) = volume.known_len.get() {
            return Ok(len);
        }
        let len = whole_pages(volume.writeback.len()?.saturating_sub(base));
        // Later whoever resizes it says so, and nobody else: what was asked may be over by the time it is noted.
        if volume.access != Access::Read && !volume.was_asked.swap(true, Ordering::AcqRel) {
            volume.known_len.set(len);
        }
        Ok(len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let volume = &*self.0;
        volume.read(offset, out)?;
        volume.counters.read(out.len());
        if offset == 0 {
            let is_shared = volume.access == Access::Read;
            volume.guard.see_header(out, is_shared);
            volume.see_flags(out);
            return Ok(());
        }
        // Of a commit in one phase, as redb makes them while it compacts, header and pages are synced together. If that sync failed they may
        // be in the system's memory alone, where redb reads them and takes the commit for whole. So they are written once more.
        if volume.is_doubtful.load(Ordering::Acquire) && branch::is_of_tree(out) {
            volume.writeback.write(volume.place(offset)?, out)?;
        }
        let end = if branch::is_leading(out) {
            self.len()?
        } else {
            0
        };
        let can_be_there = |page: &Range<u64>| page.end <= end;
        let read = |offset, out: &mut [u8]| volume.read(offset, out);
        volume.guard.check(offset, out, end, can_be_there, read)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.is_untouched.store(false, Ordering::Release);
        self.0.known_len.forget();
        self.0.writeback.set_len(self.0.place(len)?)?;
        if self.0.access != Access::Read {
            self.0.known_len.set(len);
        }
        self.0.guard.cut(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.0.held.is_holding() {
            true => Ok(()),
            false => self.0.writeback.sync(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.guard.written(offset, data.len());
        let place = self.0.place(offset)?;
        if self.0.is_untouched.swap(false, Ordering::AcqRel) && offset == 0 {
            self.0.held.hold(place, data);
            return Ok(());
        }
        if offset == 0 && self.0.is_opening.load(Ordering::Acquire) {
            // redb closes a file whose pages it had to look at, and opens it again. What is in the log is not carried out by
            // then, and is looked for only in a file that was not closed.
            let mut header = data.to_vec();
            if let Some(flags) = header.get_mut(branch::FLAGS_AT) {
                *flags |= branch::IS_OPEN;
            }
            return self.0.writeback.write(place, &header);
        }
        self.0.writeback.write(place, data)?;
        self.0
            .known_len
            .reach(offset.saturating_add(data.len() as u64));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        let settled = self.0.writeback.close();
        settled.and(self.0.disk.close())
    }

    // Locks are names, not places: they keep redb's numbers, which lie where no file has bytes, but for the
    // one of its header, which here is the one of ours.
    fn try_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.0.disk.try_lock((start, end), false)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.0.disk.try_lock((start, end), true)
    }

    fn lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        self.0.disk.lock((start, end), false)
    }

    fn lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        self.0.disk.lock((start, end), true)
    }

    fn unlock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        self.0.disk.unlock((start, end))
    }

    fn query_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.0.disk.is_locked((start, end))
    }
}

#[cfg(test)]
mod tests;
