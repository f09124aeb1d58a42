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

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

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

/// Parts of a file, by where they begin. No two overlap.
#[derive(Debug, Default)]
struct Image(BTreeMap<u64, Part>);

#[derive(Clone, Debug)]
struct Part {
    end: u64,
    /// Bytes of a write, of which the first that belong here are those at `from`.
    bytes: Arc<[u8]>,
    from: usize,
}

/// How much of a range an [`Image`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    None,
    Some,
    All,
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
            let bytes = bytes.into();
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
            tracing::warn!(%error, "a sync behind a commit failed");
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
                Ok(()) => queue.finish(&jobs),
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
    fn finish(&mut self, jobs: &[Job]) {
        self.jobs.drain(..jobs.len());
        for job in jobs {
            self.bytes -= job.weight();
            match job {
                Job::Write { offset, bytes } => self.image.remove(*offset, bytes),
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

impl Image {
    fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, part)| part.end)
    }

    /// Puts the bytes of a write in their place, over what is there.
    fn write(&mut self, offset: u64, bytes: &Arc<[u8]>) {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset == end {
            return;
        }
        self.cut(offset, end);
        let bytes = Arc::clone(bytes);
        let from = 0;
        self.0.insert(offset, Part { end, bytes, from });
    }

    /// Takes out what is left of this write.
    fn remove(&mut self, offset: u64, bytes: &Arc<[u8]>) {
        let end = offset.saturating_add(bytes.len() as u64);
        let parts = self.0.range(offset..end);
        let mine = parts.filter(|(_, part)| Arc::ptr_eq(&part.bytes, bytes));
        for start in mine.map(|(start, _)| *start).collect::<Vec<_>>() {
            self.0.remove(&start);
        }
    }

    /// Takes out whatever is in this range.
    fn cut(&mut self, start: u64, end: u64) {
        let mut behind = None;
        if let Some((&before, part)) = self.0.range_mut(..start).next_back()
            && part.end > start
        {
            behind = part.behind(before, end);
            part.end = start;
        }
        while let Some((&begin, _)) = self.0.range(start..end).next() {
            behind = self
                .0
                .remove(&begin)
                .and_then(|part| part.behind(begin, end));
        }
        if let Some(part) = behind {
            self.0.insert(end, part);
        }
    }

    /// Reads what there is of this range. Unless that is all, `out` has no meaning after it.
    fn read(&self, at: u64, out: &mut [u8]) -> Cover {
        let end = at.saturating_add(out.len() as u64);
        let before = self.0.range(..at).next_back();
        let before = before.filter(|(_, part)| part.end > at);
        let first = before.map_or(at, |(start, _)| *start);
        let (mut covered, mut cover) = (at, Cover::None);
        for (&start, part) in self.0.range(first..end) {
            cover = Cover::Some;
            if start > covered {
                return cover;
            }
            let until = part.end.min(end);
            let from = part.from + (covered - start) as usize;
            let bytes = &part.bytes[from..from + (until - covered) as usize];
            out[(covered - at) as usize..(until - at) as usize].copy_from_slice(bytes);
            covered = until;
        }
        match covered == end {
            true => Cover::All,
            false => cover,
        }
    }
}

impl Part {
    /// What of this part, which begins at `start`, lies at `place` and behind it.
    fn behind(&self, start: u64, place: u64) -> Option<Self> {
        (self.end > place).then(|| Self {
            end: self.end,
            bytes: Arc::clone(&self.bytes),
            from: self.from + (place - start) as usize,
        })
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

    /// Waits until so many threads wait for a change of the queue.
    fn wait_for_sleepers(writeback: &Writeback, count: usize) {
        while writeback.shared.queue().sleepers != count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn nothing_overtakes_a_sync_and_reads_see_what_is_queued() {
        let disk = Arc::new(MemoryDisk::default());
        let writeback = Writeback::new(disk.clone());
        writeback.write(0, &[1; 4]).unwrap();
        writeback.set_len(16).unwrap();
        let gate = disk.sync_gate.lock().unwrap();
        writeback.set_lazy(true);
        writeback.sync().unwrap();
        writeback.write(4, &[2; 4]).unwrap();
        writeback.sync().unwrap();
        writeback.write(0, &[3; 4]).unwrap();
        writeback.sync().unwrap();
        writeback.set_lazy(false);
        assert!(!writeback.is_settled().unwrap());
        assert_eq!(disk.take_done(), [write(0, 1), Done::SetLen(16)]);
        // What is not queued is read at once, and so is what is, in one piece or two.
        let mut bytes = [9; 4];
        writeback.read(8, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 4]);
        writeback.read(4, &mut bytes).unwrap();
        assert_eq!(bytes, [2; 4]);
        writeback.read(2, &mut bytes).unwrap();
        assert_eq!(bytes, [3, 3, 2, 2]);

        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut bytes = [9; 4];
                writeback.read(6, &mut bytes).unwrap();
                bytes
            });
            let writer = scope.spawn(|| {
                writeback.write(8, &[4; 4]).unwrap();
                writeback.set_len(12).unwrap();
                writeback.sync().unwrap();
            });
            wait_for_sleepers(&writeback, 2);
            assert_eq!(disk.take_done(), []);
            drop(gate);
            let bytes = reader.join().unwrap();
            assert_eq!(bytes[..2], [2, 2]);
            writer.join().unwrap();
        });
        let expected = [
            Done::Sync,
            write(4, 2),
            Done::Sync,
            write(0, 3),
            Done::Sync,
            write(8, 4),
            Done::SetLen(12),
            Done::Sync,
        ];
        assert_eq!(disk.take_done(), expected);
        assert!(writeback.is_settled().unwrap());
        assert_eq!(writeback.syncs(), 3);
    }

    #[test]
    fn reads_among_thousands_of_queued_writes_and_resizes_do_not_wait() {
        let disk = Arc::new(MemoryDisk::of(vec![0; 64]));
        let writeback = Writeback::new(disk.clone());
        let gate = disk.sync_gate.lock().unwrap();
        writeback.set_lazy(true);
        writeback.sync().unwrap();
        writeback.set_len(16 * 2_000).unwrap();
        for round in 0..3 {
            for at in 0..2_000 {
                writeback.write(16 * at, &[(at + round) as u8; 16]).unwrap();
            }
        }
        writeback.set_len(16 * 1_900).unwrap();
        assert_eq!(writeback.len().unwrap(), 16 * 1_900);
        let mut bytes = [0; 24];
        for at in 0..1_898 {
            writeback.read(16 * at, &mut bytes).unwrap();
            assert_eq!(bytes[..16], [(at + 2) as u8; 16]);
            assert_eq!(bytes[16..], [(at + 3) as u8; 8]);
        }
        std::thread::scope(|scope| {
            // The file no longer has this when all is done.
            let beyond = scope.spawn(|| writeback.read(16 * 1_900, &mut [0]));
            wait_for_sleepers(&writeback, 1);
            drop(gate);
            assert!(beyond.join().unwrap().is_err());
        });
        writeback.settle().unwrap();
        assert_eq!(disk.bytes().len(), 16 * 1_900);
        assert!(writeback.shared.queue().image.0.is_empty());
        assert!(writeback.shared.queue().resizes.is_empty());
    }

    #[test]
    fn a_sync_follows_every_piece_and_none_is_doubled() {
        let disk = Arc::new(MemoryDisk::default());
        let writeback = Writeback::new(disk.clone());
        let count = PIECE_BYTES / 4_096;
        writeback.set_lazy(true);
        for page in 0..3 * count {
            let offset = 4_096 * (page as u64 * 7 % 100);
            writeback.write(offset, &[page as u8; 4_096]).unwrap();
        }
        writeback.sync().unwrap();
        writeback.settle().unwrap();
        let done = disk.take_done();
        let syncs = done.iter().enumerate();
        let syncs = syncs.filter(|(_, done)| **done == Done::Sync);
        let syncs: Vec<_> = syncs.map(|(place, _)| place).collect();
        assert_eq!(syncs, [count, 2 * count + 1, 3 * count + 2]);
        assert_eq!(writeback.syncs(), 1);
        let writes = done.iter().filter_map(|done| match done {
            Done::Write { offset, bytes } => Some((*offset / 4_096, bytes[0])),
            _ => None,
        });
        assert!(writes.eq((0..3 * count).map(|page| (page as u64 * 7 % 100, page as u8))));
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
        let large = vec![7; QUEUED_BYTES_MAX / 4];
        for _ in 0..3 {
            writeback.write(0, &large).unwrap();
        }
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| writeback.write(0, &large));
            wait_for_sleepers(&writeback, 1);
            assert!(writeback.shared.queue().bytes <= QUEUED_BYTES_MAX);
            assert_eq!(disk.take_done(), []);
            drop(gate);
            writer.join().unwrap().unwrap();
        });
        // What no queue can hold is written when it is empty.
        let large = vec![8; QUEUED_BYTES_MAX + 1];
        writeback.write(0, &large).unwrap();
        assert!(writeback.is_settled().unwrap());
        let done = disk.take_done();
        assert_eq!(done[..2], [Done::Sync, Done::SetLen(2)]);
        assert!(matches!(done.last(), Some(Done::Write { bytes, .. }) if bytes == &large));
        assert_eq!(writeback.shared.queue().bytes, 0);
        // Of small jobs too.
        let disk = Arc::new(MemoryDisk::default());
        let writeback = Writeback::new(disk.clone());
        writeback.set_lazy(true);
        for _ in 0..2 * QUEUED_BYTES_MAX / JOB_BYTES {
            writeback.sync().unwrap();
        }
        writeback.settle().unwrap();
        assert_eq!(disk.take_done().len(), 2 * QUEUED_BYTES_MAX / JOB_BYTES);
    }

    #[test]
    fn after_an_error_nothing_more_is_done_and_reads_see_what_was_queued() {
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
        for is_lazy in [false, true] {
            writeback.set_lazy(is_lazy);
            assert!(writeback.write(0, &[2; 4]).is_err());
            assert!(writeback.set_len(4).is_err());
            assert!(writeback.sync().is_err());
            assert!(writeback.is_settled().is_err());
        }
        let mut bytes = [9; 4];
        writeback.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [1; 4]);
        writeback.read(4, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 4]);
        assert!(writeback.read(2, &mut bytes).is_err());
        assert_eq!(writeback.len().unwrap(), 16);
        assert!(writeback.close().is_err());
        assert_eq!(disk.take_done(), []);
        assert_eq!(disk.bytes(), [0; 16]);
    }

    #[test]
    fn an_error_of_a_sync_between_pieces_is_not_lost() {
        let disk = Arc::new(MemoryDisk::default());
        let writeback = Writeback::new(disk.clone());
        let gate = disk.sync_gate.lock().unwrap();
        writeback.set_lazy(true);
        writeback.write(0, &vec![1; PIECE_BYTES]).unwrap();
        writeback.write(0, &[2; 4]).unwrap();
        while disk.bytes().is_empty() {
            std::thread::yield_now();
        }
        disk.set_failing(true);
        drop(gate);
        assert!(writeback.settle().is_err());
        disk.set_failing(false);
        assert!(writeback.sync().is_err());
        assert_eq!(writeback.syncs(), 0);
        assert_eq!(disk.bytes(), vec![1; PIECE_BYTES]);
    }

    #[test]
    fn an_image_has_the_last_write_of_each_place() {
        const LEN: u64 = 60;
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut image = Image::default();
        let mut writes = VecDeque::<(u64, Arc<[u8]>)>::new();
        // The number of the write that each byte is of, and the byte.
        let mut expected = [None; LEN as usize];
        for number in 0..20_000 {
            match random(8) {
                0..4 => {
                    let offset = random(LEN - 20);
                    let bytes: Arc<[u8]> = (0..random(20)).map(|_| random(256) as u8).collect();
                    image.write(offset, &bytes);
                    for (place, byte) in (offset..).zip(bytes.iter()) {
                        expected[place as usize] = Some((number, *byte));
                    }
                    writes.push_back((number << 8 | offset, bytes));
                }
                4..7 => {
                    if let Some((key, bytes)) = writes.pop_front() {
                        image.remove(key & 0xff, &bytes);
                        for byte in &mut expected {
                            *byte = byte.filter(|(number, _)| *number != key >> 8);
                        }
                    }
                }
                _ => {
                    let start = random(LEN);
                    image.cut(start, u64::MAX);
                    expected[start as usize..].fill(None);
                }
            }
            let end = expected.iter().rposition(Option::is_some);
            assert_eq!(image.end(), end.map_or(0, |last| last as u64 + 1));
            for _ in 0..4 {
                let (at, mut out) = (random(LEN - 8), [0; 8]);
                let range = &expected[at as usize..][..8];
                let cover = match range.iter().flatten().count() {
                    0 => Cover::None,
                    8 => Cover::All,
                    _ => Cover::Some,
                };
                assert_eq!(image.read(at, &mut out), cover);
                if cover == Cover::All {
                    assert!(range.iter().flatten().map(|(_, byte)| byte).eq(&out));
                }
            }
        }
    }
}
