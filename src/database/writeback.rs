//! [`Writeback`]: redb's writes and syncs, done at once or, during a checkpoint, behind its back and in its
//! order.
//!
//! A durable commit of redb takes milliseconds, nearly all of it in syncs, and while it runs nobody can commit.
//! A checkpoint may take its time, since the log has all that it makes durable. So while this is *lazy*, a
//! sync returns at once: it, and every write after it, are queued, and one thread works the queue off in order.
//!
//! Why that is enough for redb. It asks for three things: that a write is seen by later reads; that when a
//! sync returns, what was written before is on the disk; and that nothing written after a sync began was on
//! the disk before it ended, *where redb waited for that sync*. The first holds: a read that meets a queued write
//! or resize waits for it. The third holds more strictly than redb needs: while anything is queued, a write, a
//! resize or a sync is either queued behind it or waits until the queue is empty, so the file sees exactly the order
//! in which redb asked, of all threads together. The second is what is given up, and only between the syncs
//! of a lazy commit and [`settle`](Writeback::settle): a commit of redb's counts from then on, and until
//! then the one before it does, whole. In particular
//!
//! - a two-phase commit is pages and secondary slot, sync, the header that makes the slot the primary one, sync. The header is
//!   queued behind the first sync, so it never points to a page that is not there;
//! - quick repair puts the allocator's state into the tree of the same commit: it is part of those pages;
//! - pages that this commit freed are still those of the commit before it, which is the one that counts until
//!   the queue is empty. redb takes them again for later commits, but in memory: what reaches the file, when its
//!   buffer overflows or with the next durable commit, is a write, which waits;
//! - a file that shrinks or grows in or after the commit does so in its turn, for the same reason.
//!
//! When the thread fails, the rest of its queue is dropped, as by a loss of power, and every later write,
//! resize, sync and [`settle`](Writeback::settle) fails.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::disk::Disk;

/// Bytes that may be queued. After its first sync a commit writes one page, unless the file grows in it, which
/// redb syncs too: then it writes all of them.
const QUEUED_BYTES_MAX: usize = 16 << 20;
/// What anything else counts for in the queue, so that there is a maximum of them too.
const JOB_BYTES: usize = 4_096;

#[derive(Debug)]
pub(super) struct Writeback {
    shared: Arc<Shared>,
    is_lazy: AtomicBool,
    worker: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    /// Whether something is queued or has failed: the one thing that a read looks at.
    is_busy: AtomicBool,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Syncs that were done behind redb's back.
    syncs: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    /// What is to be done; the first is being done.
    jobs: VecDeque<Job>,
    bytes: usize,
    failed: Option<(io::ErrorKind, String)>,
    is_closing: bool,
}

#[derive(Clone, Debug)]
enum Job {
    Write {
        offset: u64,
        bytes: Arc<[u8]>,
    },
    /// `kept` bytes are there before and after.
    SetLen {
        len: u64,
        kept: u64,
    },
    Sync,
}

impl Writeback {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            shared: Arc::new(Shared {
                disk,
                is_busy: AtomicBool::new(false),
                queue: Mutex::default(),
                changed: Condvar::new(),
                syncs: AtomicUsize::new(0),
            }),
            is_lazy: AtomicBool::new(false),
            worker: Mutex::default(),
        }
    }

    pub(super) fn set_lazy(&self, is_lazy: bool) {
        self.is_lazy.store(is_lazy, Ordering::Release);
    }

    fn is_lazy(&self) -> bool {
        self.is_lazy.load(Ordering::Acquire)
    }

    /// Reads what was written last, done or queued.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let shared = &*self.shared;
        if shared.is_busy.load(Ordering::Acquire) {
            let mut queue = shared.queue();
            while queue.jobs.iter().any(|job| job.meets(offset, out.len())) {
                queue = shared.wait(queue);
            }
        }
        shared.disk.read(offset, out)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let shared = &*self.shared;
        if shared.is_busy.load(Ordering::Acquire) {
            let mut queue = shared.queue();
            loop {
                queue.check()?;
                if queue.jobs.is_empty() {
                    break;
                }
                if self.is_lazy() && queue.bytes + bytes.len() <= QUEUED_BYTES_MAX {
                    let bytes = bytes.into();
                    shared.push(&mut queue, Job::Write { offset, bytes });
                    return Ok(());
                }
                queue = shared.wait(queue);
            }
        }
        shared.disk.write(offset, bytes)
    }

    /// The length that the file has when everything queued is done.
    pub(super) fn len(&self) -> io::Result<u64> {
        let shared = &*self.shared;
        if shared.is_busy.load(Ordering::Acquire) {
            let queue = shared.queue();
            let queued = queue.jobs.iter().rev().find_map(|job| match job {
                Job::SetLen { len, .. } => Some(*len),
                _ => None,
            });
            if let Some(len) = queued {
                return Ok(len);
            }
        }
        shared.disk.len()
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        if self.is_lazy() && !self.is_settled()? {
            let kept = len.min(self.len()?);
            return self.queue(Job::SetLen { len, kept });
        }
        self.settle()?;
        self.shared.disk.set_len(len)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_lazy() && self.has_worker() {
            return self.queue(Job::Sync);
        }
        self.settle()?;
        self.shared.disk.sync()
    }

    /// Queues what is small, once there is room.
    fn queue(&self, job: Job) -> io::Result<()> {
        let shared = &*self.shared;
        let mut queue = shared.queue();
        loop {
            queue.check()?;
            if queue.bytes + JOB_BYTES <= QUEUED_BYTES_MAX {
                shared.push(&mut queue, job);
                return Ok(());
            }
            queue = shared.wait(queue);
        }
    }

    /// Whether nothing is queued; an error when something failed.
    pub(super) fn is_settled(&self) -> io::Result<bool> {
        let queue = self.shared.queue();
        queue.check()?;
        Ok(queue.jobs.is_empty())
    }

    /// Syncs that were done behind redb's back.
    #[cfg(test)]
    pub(super) fn syncs(&self) -> usize {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// Returns once everything queued is done.
    pub(super) fn settle(&self) -> io::Result<()> {
        let shared = &*self.shared;
        if !shared.is_busy.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut queue = shared.queue();
        while !queue.jobs.is_empty() {
            queue = shared.wait(queue);
        }
        queue.check()
    }

    /// Does what is queued, and ends the thread.
    pub(super) fn close(&self) -> io::Result<()> {
        let settled = self.settle();
        self.shared.queue().is_closing = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker().take() {
            // It catches its panics.
            let _ = worker.join();
        }
        settled
    }

    fn worker(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a thread to do it, which is started when first needed.
    fn has_worker(&self) -> bool {
        let mut worker = self.worker();
        if worker.is_none() {
            let shared = Arc::clone(&self.shared);
            *worker = std::thread::Builder::new()
                .name("samplestore-sync".to_owned())
                .spawn(move || shared.work())
                .ok();
        }
        worker.is_some()
    }
}

impl Drop for Writeback {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "a sync behind a commit failed");
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'q>(&self, queue: MutexGuard<'q, Queue>) -> MutexGuard<'q, Queue> {
        self.changed
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, queue: &mut Queue, job: Job) {
        queue.bytes += job.weight();
        queue.jobs.push_back(job);
        self.is_busy.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// The thread: does one job after the other until the queue is empty and closed.
    fn work(&self) {
        let mut queue = self.queue();
        loop {
            let Some(job) = queue.jobs.front().cloned() else {
                if queue.is_closing {
                    return;
                }
                queue = self.wait(queue);
                continue;
            };
            drop(queue);
            let done = catch_unwind(AssertUnwindSafe(|| match &job {
                Job::Write { offset, bytes } => self.disk.write(*offset, bytes),
                Job::SetLen { len, .. } => self.disk.set_len(*len),
                Job::Sync => {
                    self.syncs.fetch_add(1, Ordering::Relaxed);
                    self.disk.sync()
                }
            }))
            .unwrap_or_else(|_| Err(io::Error::other("the disk panicked")));
            queue = self.queue();
            queue.jobs.pop_front();
            queue.bytes -= job.weight();
            if let Err(error) = done {
                queue.jobs.clear();
                queue.bytes = 0;
                queue.failed = Some((error.kind(), error.to_string()));
            } else if queue.jobs.is_empty() {
                self.is_busy.store(false, Ordering::Release);
            }
            self.changed.notify_all();
        }
    }
}

impl Queue {
    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some((kind, text)) => Err(io::Error::new(
                *kind,
                format!("an earlier sync behind a commit failed: {text}"),
            )),
            None => Ok(()),
        }
    }
}

impl Job {
    fn weight(&self) -> usize {
        match self {
            Self::Write { bytes, .. } => bytes.len(),
            Self::SetLen { .. } | Self::Sync => JOB_BYTES,
        }
    }

    /// Whether bytes in this place may be others before this is done.
    fn meets(&self, at: u64, len: usize) -> bool {
        match self {
            Self::Write { offset, bytes } => {
                *offset < at + len as u64 && at < offset + bytes.len() as u64
            }
            Self::SetLen { kept, .. } => at + len as u64 > *kept,
            Self::Sync => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::memory::{Done, MemoryDisk};
    use super::*;

    fn write(offset: u64, byte: u8) -> Done {
        let bytes = vec![byte; 4];
        Done::Write { offset, bytes }
    }

    #[test]
    fn nothing_overtakes_a_sync_and_reads_see_what_is_queued() {
        let disk = Arc::new(MemoryDisk::default());
        let writeback = Writeback::new(disk.clone());
        writeback.write(0, &[1; 4]).unwrap();
        let gate = disk.sync_gate.lock().unwrap();
        writeback.set_lazy(true);
        writeback.write(4, &[2; 4]).unwrap();
        writeback.sync().unwrap();
        writeback.write(0, &[3; 4]).unwrap();
        writeback.sync().unwrap();
        writeback.set_lazy(false);
        assert!(!writeback.is_settled().unwrap());
        assert_eq!(disk.take_done(), [write(0, 1), write(4, 2)]);
        // What is not queued is read at once.
        let mut bytes = [0; 4];
        writeback.read(4, &mut bytes).unwrap();
        assert_eq!(bytes, [2; 4]);

        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut bytes = [0; 4];
                writeback.read(2, &mut bytes).unwrap();
                bytes
            });
            let writer = scope.spawn(|| {
                writeback.write(8, &[4; 4]).unwrap();
                writeback.set_len(12).unwrap();
                writeback.sync().unwrap();
            });
            std::thread::yield_now();
            assert_eq!(disk.take_done(), []);
            drop(gate);
            assert_eq!(reader.join().unwrap(), [3, 3, 2, 2]);
            writer.join().unwrap();
        });
        let expected = [
            Done::Sync,
            write(0, 3),
            Done::Sync,
            write(8, 4),
            Done::SetLen(12),
            Done::Sync,
        ];
        assert_eq!(disk.take_done(), expected);
        assert!(writeback.is_settled().unwrap());
    }

    #[test]
    fn the_queue_has_a_maximum() {
        let disk = Arc::new(MemoryDisk::default());
        let writeback = Writeback::new(disk.clone());
        let gate = disk.sync_gate.lock().unwrap();
        writeback.set_lazy(true);
        writeback.sync().unwrap();
        writeback.set_len(2).unwrap();
        assert_eq!((writeback.len().unwrap(), disk.bytes().len()), (2, 0));
        drop(gate);
        let large = vec![7; QUEUED_BYTES_MAX + 1];
        writeback.write(0, &large).unwrap();
        for _ in 0..2 * QUEUED_BYTES_MAX / JOB_BYTES {
            writeback.sync().unwrap();
        }
        writeback.settle().unwrap();
        let done = disk.take_done();
        assert_eq!(done.len(), 3 + 2 * QUEUED_BYTES_MAX / JOB_BYTES);
        assert_eq!(done[..2], [Done::Sync, Done::SetLen(2)]);
        assert!(matches!(done[2], Done::Write { .. }));
    }

    #[test]
    fn after_an_error_nothing_more_is_done() {
        let disk = Arc::new(MemoryDisk::of(vec![0; 16]));
        let writeback = Writeback::new(disk.clone());
        let gate = disk.sync_gate.lock().unwrap();
        writeback.set_lazy(true);
        writeback.sync().unwrap();
        writeback.write(0, &[1; 4]).unwrap();
        writeback.set_lazy(false);
        disk.set_failing(true);
        drop(gate);
        let error = writeback.settle().unwrap_err();
        assert!(error.to_string().contains("made to fail"), "{error}");
        disk.set_failing(false);
        assert!(writeback.write(0, &[2; 4]).is_err());
        assert!(writeback.set_len(4).is_err());
        assert!(writeback.sync().is_err());
        writeback.set_lazy(true);
        assert!(writeback.sync().is_err());
        assert!(writeback.is_settled().is_err());
        writeback.read(0, &mut [0; 4]).unwrap();
        assert!(writeback.close().is_err());
        assert_eq!(disk.take_done(), []);
        assert_eq!(disk.bytes(), [0; 16]);
    }
}
