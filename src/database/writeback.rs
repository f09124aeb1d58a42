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
mod queue;
mod room;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use self::queue::Queue;
use super::disk::Disk;

/// Bytes that may be queued. A checkpoint of a few thousand samples has 4 to 8 MB.
const QUEUED_BYTES_MAX: usize = 32 << 20;

#[derive(Debug)]
pub(super) struct Writeback {
    disk: Arc<dyn Disk>,
    queue: Arc<Queue>,
    is_lazy: AtomicBool,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl Writeback {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            queue: Arc::new(Queue::new(Arc::clone(&disk), QUEUED_BYTES_MAX)),
            disk,
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
        self.queue.read(offset, out)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.is_queueing() && bytes.len() <= QUEUED_BYTES_MAX {
            return self.queue.write(offset, bytes);
        }
        self.settle()?;
        self.disk.write(offset, bytes)
    }

    /// The length that the file has when everything queued is done.
    pub(super) fn len(&self) -> io::Result<u64> {
        self.queue.len()
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        if self.is_queueing() {
            return self.queue.set_len(len);
        }
        self.settle()?;
        self.disk.set_len(len)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_queueing() {
            return self.queue.sync();
        }
        self.settle()?;
        self.disk.sync()
    }

    /// Whether nothing is queued; an error when something failed.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> io::Result<bool> {
        self.queue.is_settled()
    }

    /// Syncs of redb's that were done behind its back.
    #[cfg(test)]
    pub(super) fn syncs(&self) -> usize {
        self.queue.syncs()
    }

    /// Returns once everything queued is done.
    pub(super) fn settle(&self) -> io::Result<()> {
        self.queue.settle()
    }

    /// Does what is queued, and ends the thread.
    pub(super) fn close(&self) -> io::Result<()> {
        let settled = self.settle();
        self.queue.close();
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
            let queue = Arc::clone(&self.queue);
            *worker = std::thread::Builder::new()
                .name("samplestore-sync".to_owned())
                .spawn(move || queue.work())
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

#[cfg(test)]
mod tests;
