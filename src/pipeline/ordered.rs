//! Processing on one thread or on several, input order kept, in bounded memory.
//!
//! The calling thread reads the source and takes the results, so neither needs to be `Send`; only
//! stages and measurements run on the workers. At most [`WINDOW_PER_THREAD`] samples per worker are on
//! their way at a time: a slow sample holds those behind it back, but never lets them pile up.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use super::process::{Process, Processed};
use crate::error::{Error, Result};
use crate::sample::Sample;

/// How many samples are on their way per worker.
const WINDOW_PER_THREAD: usize = 64;

/// Whether more samples are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    No,
}

/// Takes samples from `next` until it has none or `take` wants no more, and gives each, processed and
/// in order, to `take`. Everything that was read is given.
///
/// # Errors
/// When the system gives no thread; nothing was read then.
pub(super) fn run(
    process: &Process<'_>,
    threads: usize,
    mut next: impl FnMut() -> Option<Sample>,
    mut take: impl FnMut(Processed) -> More,
) -> Result<()> {
    if threads <= 1 {
        while let Some(sample) = next() {
            if take(process.run(sample)) == More::No {
                break;
            }
        }
        return Ok(());
    }
    run_on_threads(process, threads, next, take)
}

fn run_on_threads(
    process: &Process<'_>,
    threads: usize,
    mut next: impl FnMut() -> Option<Sample>,
    mut take: impl FnMut(Processed) -> More,
) -> Result<()> {
    let window = threads * WINDOW_PER_THREAD;
    let (give, work) = mpsc::sync_channel::<(u64, Sample)>(window);
    let (done, results) = mpsc::channel();
    let work = Mutex::new(work);
    thread::scope(|scope| {
        // Owned in here, so that the workers end when this closure does, be it by a panic of `take`.
        let give = give;
        for _ in 0..threads {
            let (work, done) = (&work, done.clone());
            thread::Builder::new()
                .name("samplestore-stage".to_owned())
                .spawn_scoped(scope, move || {
                    while let Some((place, sample)) = receive(work) {
                        if done.send((place, process.run(sample))).is_err() {
                            break;
                        }
                    }
                })
                .map_err(|cause| Error::io("start a thread", "a stage worker", cause))?;
        }
        drop(done);

        // The samples at the places from `first` on; `None` while a worker has it.
        let mut under_way: VecDeque<Option<Processed>> = VecDeque::with_capacity(window);
        let mut first = 0_u64;
        let mut reading = true;
        loop {
            while reading && under_way.len() < window {
                match next() {
                    Some(sample) => {
                        let place = first + under_way.len() as u64;
                        give.send((place, sample)).expect(WORKERS_LIVE);
                        under_way.push_back(None);
                    }
                    None => reading = false,
                }
            }
            if under_way.is_empty() {
                return Ok(());
            }
            let (place, processed) = results.recv().expect(WORKERS_LIVE);
            under_way[(place - first) as usize] = Some(processed);
            while let Some(Some(_)) = under_way.front() {
                if let Some(processed) = under_way.pop_front().flatten() {
                    first += 1;
                    if take(processed) == More::No {
                        reading = false;
                    }
                }
            }
        }
    })
}

/// `Process::run` catches every panic, so a worker ends only when there is no more work.
const WORKERS_LIVE: &str = "workers outlive their work";

fn receive(work: &Mutex<mpsc::Receiver<(u64, Sample)>>) -> Option<(u64, Sample)> {
    work.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}
