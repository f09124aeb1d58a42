//! [`Writeback`]: redb's writes and syncs, done at once or, during a checkpoint, behind its back and in its
//! order.
//!
//! A durable commit of redb takes milliseconds, most of it in syncs and the rest in one write for each page, and
//! while it runs nobody can commit. A checkpoint may take its time, since the log has all that it makes durable.
//! So while this is *lazy*, every write, resize and sync is queued and returns at once, and one thread works the
//! queue off in order. What the commit pays for is a copy of its pages.
//!
//! Why that is enough for redb. It asks for three things: that a write is seen by later reads; that when a
//! sync returns, what was written before is on the disk; and that nothing written after a sync began was on
//! the disk before it ended, *where redb waited for that sync*. The first holds: a read gets the bytes that were
//! queued last where they cover all of it, and waits for what is queued where they cover a part. The third holds
//! more strictly than redb needs: while anything is queued, a write, a resize or a sync is either queued behind it or
//! waits until the queue is empty, so the file sees exactly the order in which redb asked, of all threads together.
//! The second is what is given up, and only between the syncs of a lazy commit and
//! [`settle`](Writeback::settle): a commit of redb's counts from then on, and until then the one before it does,
//! whole. In particular
//!
//! - a two-phase commit is pages and secondary slot, sync, the header that makes the slot the primary one, sync. The header is
//!   queued behind the first sync, so it never points to a page that is not there;
//! - quick repair puts the allocator's state into the tree of the same commit: it is part of those pages;
//! - pages that this commit freed are still those of the commit before it, which is the one that counts until
//!   the queue is empty. redb takes them again for later commits, but in memory: what reaches the file, when its
//!   buffer overflows or with the next durable commit, is a write, which waits;
//! - a file that shrinks or grows in or after the commit does so in its turn, for the same reason.
//!
//! The thread syncs more often than redb asks: before it writes on when it has written [`PIECE_BYTES`] since the
//! last sync. The log appends meanwhile, durably, and the disk takes one thing after the other, so that an append
//! may wait for as much as a sync has to bring there. A sync more than redb asked for only makes durable early what any loss
//! of power might have left there anyway.
//!
//! When the thread fails, the rest of its queue is not done, as by a loss of power, and every later write,
//! resize, sync and [`settle`](Writeback::settle) fails. Reads still get the bytes that were queued: a transaction
//! that goes on reading never meets what should have been written over.

mod image;
mod room;

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use self::image::{Cover, Image};
use self::room::Room;
use super::disk::Disk;

/// Bytes that may be queued; who writes more waits. A checkpoint of a few thousand samples has 4 to 8 MB.
const QUEUED_BYTES_MAX: usize = 32 << 20;
/// The least that anything counts for in the queue, so that there is a maximum of jobs too.
const JOB_BYTES: usize = 4_096;
/// So much is written between two syncs. Beside the syncs of 7 MB, appends of 350 KB to the log took 13 ms at worst
/// with one sync for all of it, and 5 ms with one for each MiB.
const PIECE_BYTES: usize = if cfg!(test) { 64 << 10 } else { 1 << 20 };

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
    /// Syncs of redb's that were done behind its back.
    syncs: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    /// What is to be done; the first ones are being done.
    jobs: VecDeque<Job>,
    bytes: usize,
    /// What the jobs write, where each place has the last.
    image: Image,
    /// The resizes among the jobs.
    resizes: VecDeque<Resize>,
    /// Where writes are copied to.
    room: Room,
    failed: Option<(io::ErrorKind, String)>,
    is_closing: bool,
    /// Threads that wait for a change. To tell them takes a call of the system even if there are none.
    sleepers: usize,
}

#[derive(Clone, Debug)]
enum Job {
    Write { offset: u64, bytes: Arc<[u8]> },
    SetLen(u64),
    Sync,
}

#[derive(Clone, Copy, Debug)]
struct Resize {
    len: u64,
    /// So many bytes are there before and after.
    kept: u64,
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

    /// Whether what redb asks for is queued.
    fn is_queueing(&self) -> bool {
        self.is_lazy.load(Ordering::Acquire) && self.has_worker()
    }

    /// Reads what was written last, done or queued.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let shared = &*self.shared;
        if shared.is_busy.load(Ordering::Acquire) {
            let mut queue = shared.queue();
            loop {
                match queue.image.read(offset, out) {
                    Cover::All => return Ok(()),
                    Cover::None if !queue.resizes_meet(offset, out.len()) => break,
                    Cover::None | Cover::Some => {}
                }
                queue.check()?;
                queue = shared.wait(queue);
            }
        }
        shared.disk.read(offset, out)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.is_queueing() && bytes.len() <= QUEUED_BYTES_MAX {
            let bytes = self.shared.queue().room.copy(bytes);
            return self.queue(Job::Write { offset, bytes });
        }
        self.settle()?;
        self.shared.disk.write(offset, bytes)
    }

    /// The length that the file has when everything queued is done.
    pub(super) fn len(&self) -> io::Result<u64> {
        let shared = &*self.shared;
        if !shared.is_busy.load(Ordering::Acquire) {
            return shared.disk.len();
        }
        shared.queue().len(&*shared.disk)
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        if self.is_queueing() {
            return self.queue(Job::SetLen(len));
        }
        self.settle()?;
        self.shared.disk.set_len(len)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_queueing() {
            return self.queue(Job::Sync);
        }
        self.settle()?;
        self.shared.disk.sync()
    }

    /// Queues what the queue can hold, once there is room.
    fn queue(&self, job: Job) -> io::Result<()> {
        let shared = &*self.shared;
        let mut queue = shared.queue();
        loop {
            queue.check()?;
            if queue.bytes + job.weight() <= QUEUED_BYTES_MAX {
                break;
            }
            queue = shared.wait(queue);
        }
        queue.push(job, &*shared.disk)?;
        shared.is_busy.store(true, Ordering::Release);
        shared.tell(&queue);
        Ok(())
    }

    /// Whether nothing is queued; an error when something failed.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> io::Result<bool> {
        let queue = self.shared.queue();
        queue.check()?;
        Ok(queue.jobs.is_empty())
    }

    /// Syncs of redb's that were done behind its back.
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
            tracing::warn!(name: "sync_failed", %error, "a sync behind a commit failed");
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'q>(&self, mut queue: MutexGuard<'q, Queue>) -> MutexGuard<'q, Queue> {
        queue.sleepers += 1;
        let mut queue = self
            .changed
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
        queue.sleepers -= 1;
        queue
    }

    /// Tells who waits that something changed.
    fn tell(&self, queue: &Queue) {
        if queue.sleepers > 0 {
            self.changed.notify_all();
        }
    }

    /// The thread: does what is queued until the queue is empty and closed.
    fn work(&self) {
        let mut unsynced = 0;
        let mut queue = self.queue();
        loop {
            let jobs = queue.next_jobs();
            if jobs.is_empty() {
                if queue.is_closing {
                    return;
                }
                queue = self.wait(queue);
                continue;
            }
            drop(queue);
            let done = catch_unwind(AssertUnwindSafe(|| {
                jobs.iter().try_for_each(|job| self.run(job, &mut unsynced))
            }))
            .unwrap_or_else(|_| Err(io::Error::other("the disk panicked")));
            queue = self.queue();
            match done {
                Ok(()) => queue.finish(jobs),
                Err(error) => queue.fail(&error),
            }
            if queue.jobs.is_empty() && queue.failed.is_none() {
                self.is_busy.store(false, Ordering::Release);
            }
            self.tell(&queue);
        }
    }

    /// Does one job. `unsynced` are the bytes that were written since the last sync.
    fn run(&self, job: &Job, unsynced: &mut usize) -> io::Result<()> {
        match job {
            Job::Write { offset, bytes } => {
                // Here and not behind the write before, where a sync of redb's may follow. And while this job is
                // queued nobody takes the queue for done, nor its errors.
                if *unsynced >= PIECE_BYTES {
                    self.disk.sync()?;
                    *unsynced = 0;
                }
                *unsynced += bytes.len();
                self.disk.write(*offset, bytes)
            }
            Job::SetLen(len) => self.disk.set_len(*len),
            Job::Sync => {
                self.syncs.fetch_add(1, Ordering::Relaxed);
                *unsynced = 0;
                self.disk.sync()
            }
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

    /// The length that the file on `disk` has when everything queued is done.
    fn len(&self, disk: &dyn Disk) -> io::Result<u64> {
        let len = match self.resizes.back() {
            Some(resize) => resize.len,
            None => disk.len()?,
        };
        Ok(len.max(self.image.end()))
    }

    fn push(&mut self, job: Job, disk: &dyn Disk) -> io::Result<()> {
        match &job {
            Job::Write { offset, bytes } => self.image.write(*offset, bytes),
            Job::SetLen(len) => {
                let kept = self.len(disk)?.min(*len);
                self.resizes.push_back(Resize { len: *len, kept });
                self.image.cut(*len, u64::MAX);
            }
            Job::Sync => {}
        }
        self.bytes += job.weight();
        self.jobs.push_back(job);
        Ok(())
    }

    /// What to do next: some writes, or one of the others.
    fn next_jobs(&self) -> Vec<Job> {
        let mut bytes = 0;
        let writes = self.jobs.iter().take_while(|job| {
            let is_next = matches!(job, Job::Write { .. }) && bytes < PIECE_BYTES;
            bytes += job.weight();
            is_next
        });
        let jobs: Vec<_> = writes.cloned().collect();
        match jobs.is_empty() {
            true => self.jobs.front().cloned().into_iter().collect(),
            false => jobs,
        }
    }

    /// Takes the first jobs out, which are done.
    fn finish(&mut self, jobs: Vec<Job>) {
        self.jobs.drain(..jobs.len());
        for job in jobs {
            self.bytes -= job.weight();
            match job {
                Job::Write { offset, bytes } => {
                    self.image.remove(offset, &bytes);
                    self.room.give_back(bytes);
                }
                Job::SetLen(_) => drop(self.resizes.pop_front()),
                Job::Sync => {}
            }
        }
    }

    /// Leaves all jobs undone, but keeps for reads what they wrote.
    fn fail(&mut self, error: &io::Error) {
        self.jobs.clear();
        self.bytes = 0;
        self.failed = Some((error.kind(), error.to_string()));
    }

    /// Whether a resize decides what is in this place.
    fn resizes_meet(&self, at: u64, len: usize) -> bool {
        let end = at.saturating_add(len as u64);
        self.resizes.iter().any(|resize| end > resize.kept)
    }
}

impl Job {
    fn weight(&self) -> usize {
        match self {
            Self::Write { bytes, .. } => bytes.len().max(JOB_BYTES),
            Self::SetLen(_) | Self::Sync => JOB_BYTES,
        }
    }
}

#[cfg(test)]
mod tests;
