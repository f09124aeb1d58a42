//! [`Queue`]: what redb asked for and is not done yet, and the thread that does it.
//!
//! `tests/schedules` compiles this file a second time and runs it under many schedules.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::disk::Disk;
use super::image::{Cover, Image};
use super::room::Room;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The least that anything counts for in the queue, so that there is a maximum of jobs too.
pub(super) const JOB_BYTES: usize = 4_096;
/// So much is written between two syncs. Beside the syncs of 7 MB, appends of 350 KB to the log took 13 ms at worst
/// with one sync for all of it, and 5 ms with one for each MiB.
pub(super) const PIECE_BYTES: usize = if cfg!(test) { 64 << 10 } else { 1 << 20 };

#[derive(Debug)]
pub(super) struct Queue {
    disk: Arc<dyn Disk>,
    /// Bytes that may be queued; who writes more waits.
    bytes_max: usize,
    /// Whether something is queued or has failed: the one thing that a read looks at.
    is_busy: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    /// Syncs of redb's that were done behind its back.
    syncs: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
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

impl Queue {
    /// A queue of at most so many bytes.
    pub(super) fn new(disk: Arc<dyn Disk>, bytes_max: usize) -> Self {
        Self {
            disk,
            bytes_max,
            is_busy: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
            syncs: AtomicUsize::new(0),
        }
    }

    /// Reads what was written last, done or queued.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_busy.load(Ordering::Acquire) {
            let mut state = self.state();
            loop {
                match state.image.read(offset, out) {
                    Cover::All => return Ok(()),
                    Cover::None if !state.resizes_meet(offset, out.len()) => break,
                    Cover::None | Cover::Some => {}
                }
                state.check()?;
                state = self.wait(state);
            }
        }
        self.disk.read(offset, out)
    }

    /// The length that the file has when everything queued is done.
    pub(super) fn len(&self) -> io::Result<u64> {
        if !self.is_busy.load(Ordering::Acquire) {
            return self.disk.len();
        }
        self.state().len(&*self.disk)
    }

    /// Queues a write, which is to be no larger than the queue, once there is room.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let bytes = self.state().room.copy(bytes);
        self.push(Job::Write { offset, bytes })
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.push(Job::SetLen(len))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.push(Job::Sync)
    }

    fn push(&self, job: Job) -> io::Result<()> {
        let mut state = self.state();
        loop {
            state.check()?;
            if state.bytes + job.weight() <= self.bytes_max {
                break;
            }
            state = self.wait(state);
        }
        state.push(job, &*self.disk)?;
        self.is_busy.store(true, Ordering::Release);
        self.tell(&state);
        Ok(())
    }

    /// Returns once everything queued is done.
    pub(super) fn settle(&self) -> io::Result<()> {
        if !self.is_busy.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.state();
        while !state.jobs.is_empty() {
            state = self.wait(state);
        }
        state.check()
    }

    /// Lets the thread end when it has done what is queued.
    pub(super) fn close(&self) {
        self.state().is_closing = true;
        self.changed.notify_all();
    }

    /// Whether nothing is queued; an error when something failed.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> io::Result<bool> {
        let state = self.state();
        state.check()?;
        Ok(state.jobs.is_empty())
    }

    #[cfg(test)]
    pub(super) fn syncs(&self) -> usize {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Threads that wait for a change.
    #[cfg(test)]
    pub(super) fn sleepers(&self) -> usize {
        self.state().sleepers
    }

    /// Bytes that are queued, and whether reads would look for any.
    #[cfg(test)]
    pub(super) fn queued(&self) -> (usize, bool) {
        let state = self.state();
        (
            state.bytes,
            !state.image.0.is_empty() || !state.resizes.is_empty(),
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.sleepers += 1;
        let mut state = self
            .changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
        state.sleepers -= 1;
        state
    }

    /// Tells who waits that something changed.
    fn tell(&self, state: &State) {
        if state.sleepers > 0 {
            self.changed.notify_all();
        }
    }

    /// The thread: does what is queued until nothing is left and it is closed.
    pub(super) fn work(&self) {
        let mut unsynced = 0;
        let mut state = self.state();
        loop {
            let jobs = state.next_jobs();
            if jobs.is_empty() {
                if state.is_closing {
                    return;
                }
                state = self.wait(state);
                continue;
            }
            drop(state);
            let done = catch_unwind(AssertUnwindSafe(|| {
                jobs.iter().try_for_each(|job| self.run(job, &mut unsynced))
            }))
            .unwrap_or_else(|_| Err(io::Error::other("the disk panicked")));
            state = self.state();
            match done {
                Ok(()) => state.finish(jobs),
                Err(error) => state.fail(&error),
            }
            if state.jobs.is_empty() && state.failed.is_none() {
                self.is_busy.store(false, Ordering::Release);
            }
            self.tell(&state);
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

impl State {
    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some((kind, text)) => Err(io::Error::new(
                *kind,
                format!(
                    "an earlier sync behind a commit failed: {text}; close the file and open it again"
                ),
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
