//! [`Readers`]: threads that help to read.
//!
//! Records that lie apart cost a few microseconds each, most of it waiting for memory or for the disk, and
//! that is time in which another core can wait for another one. So whoever reads many gives the work away in
//! [parts](Work): the threads take part after part, and so does the caller once it needs the results, which
//! it therefore gets even if no thread ever comes to help.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use rayon_core::{ThreadPool, ThreadPoolBuilder};

/// The threads of one open file, started when they are first needed.
pub(super) struct Readers {
    threads: usize,
    /// `None` when no thread could be started.
    pool: OnceLock<Option<ThreadPool>>,
}

impl Readers {
    /// So many threads.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads,
            pool: OnceLock::new(),
        }
    }

    fn pool(&self) -> Option<&ThreadPool> {
        let pool = self.pool.get_or_init(|| {
            let builder = ThreadPoolBuilder::new()
                .num_threads(self.threads)
                .thread_name(|number| format!("samplestore-read-{number}"));
            builder.build().ok()
        });
        pool.as_ref()
    }

    /// How many threads read when the caller does too.
    pub(super) fn count(&self) -> usize {
        1 + self.threads
    }

    /// Has `read` done for each of these parts, by the threads and by the caller. It must not panic.
    pub(super) fn share<P, T>(&self, parts: Vec<P>, read: fn(P) -> T) -> Work<P, T>
    where
        P: Send + 'static,
        T: Send + 'static,
    {
        let others = parts.len().saturating_sub(1).min(self.threads);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                results: parts.iter().map(|_| None).collect(),
                parts: parts.into_iter().enumerate().collect(),
                running: 0,
            }),
            is_done: Condvar::new(),
            read,
        });
        if others > 0
            && let Some(pool) = self.pool()
        {
            for _ in 0..others {
                let shared = Arc::clone(&shared);
                pool.spawn(move || shared.help());
            }
        }
        Work { shared }
    }
}

/// Parts that are being read.
pub(super) struct Work<P, T> {
    shared: Arc<Shared<P, T>>,
}

struct Shared<P, T> {
    state: Mutex<State<P, T>>,
    is_done: Condvar,
    read: fn(P) -> T,
}

struct State<P, T> {
    /// Parts that nobody has taken, and their numbers.
    parts: VecDeque<(usize, P)>,
    /// By number of the part.
    results: Vec<Option<T>>,
    /// Parts that are being read.
    running: usize,
}

impl<P, T> Shared<P, T> {
    fn state(&self) -> MutexGuard<'_, State<P, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads parts until none is left. What a part holds is let go of before it counts as read.
    fn help(&self) {
        let mut state = self.state();
        while let Some((number, part)) = state.parts.pop_front() {
            state.running += 1;
            drop(state);
            let result = (self.read)(part);
            state = self.state();
            state.running -= 1;
            state.results[number] = Some(result);
            self.is_done.notify_all();
        }
    }

    /// Waits for the parts that are being read.
    fn wait(&self) -> MutexGuard<'_, State<P, T>> {
        let state = self.state();
        let done = self.is_done.wait_while(state, |state| state.running > 0);
        done.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P, T> Work<P, T> {
    /// The results, in order of the parts. Reads those that nobody has taken.
    pub(super) fn finish(self) -> Vec<T> {
        self.shared.help();
        let mut state = self.shared.wait();
        state.results.iter_mut().filter_map(Option::take).collect()
    }
}

/// What nobody has taken yet is not read, and when this returns nothing is being read.
impl<P, T> Drop for Work<P, T> {
    fn drop(&mut self) {
        let parts = std::mem::take(&mut self.shared.state().parts);
        drop(parts);
        drop(self.shared.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_once_and_in_its_place() {
        let readers = Readers::new(3);
        for parts in [0, 1, 2, 100] {
            let work = readers.share((0..parts).collect(), |part: u64| part * part);
            let squares: Vec<u64> = (0..parts).map(|part| part * part).collect();
            assert_eq!(work.finish(), squares);
        }
    }

    #[test]
    fn what_is_dropped_holds_nothing_any_more() {
        let readers = Readers::new(3);
        let held = Arc::new(());
        for _ in 0..200 {
            let parts = (0..5).map(|_| Arc::clone(&held)).collect();
            drop(readers.share(parts, |part: Arc<()>| {
                std::thread::yield_now();
                drop(part);
            }));
            assert_eq!(Arc::strong_count(&held), 1);
        }
    }
}
