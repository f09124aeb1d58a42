//! The code of ours on which threads wait, under many schedules.
//!
//! The files are the library's own, compiled here a second time with shuttle's mutexes and condition variables
//! in place of the standard library's (`sync`, below): shuttle runs one thread at a time and decides at each
//! lock, wait and wake who is next. A schedule in which nobody can go on is reported as a deadlock, with what is needed
//! to run it again (`shuttle::replay`). Burckhardt et al., *A Randomized Scheduler with Probabilistic Guarantees of
//! Finding Bugs*, ASPLOS 2010, is what `check_pct` does.

// Some of what the library needs is not needed here.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

/// Stores that share a commit.
mod database;
/// What a checkpoint writes behind its back.
mod writeback;
/// The background writer.
mod writer;

#[path = "../../src/panicked.rs"]
mod panicked;

/// The operations of the library's trait that are needed here.
mod disk {
    use std::fmt::Debug;
    use std::io;

    pub trait Disk: Debug + Send + Sync + 'static {
        fn len(&self) -> io::Result<u64>;
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
        fn set_len(&self, len: u64) -> io::Result<()>;
        fn sync(&self) -> io::Result<()>;
    }
}

mod error {
    pub use samplestore::{Error, ErrorKind, Result};
}

mod sample {
    pub use samplestore::Sample;
}

mod storage {
    pub use samplestore::{Storage, StoreReport};
}

mod sync {
    pub use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};
    pub use std::sync::PoisonError;
}

use samplestore::Sample;

/// Schedules that each case runs under, with each of two ways to choose them.
const SCHEDULES: usize = 3_000;

/// Runs `case` under schedules drawn at random and by priorities that change a few times.
fn check(case: fn()) {
    shuttle::check_random(case, SCHEDULES);
    shuttle::check_pct(case, SCHEDULES, 3);
}

fn batch(id: &str, samples: usize) -> Vec<Sample> {
    vec![Sample::builder("p").id(id).build().unwrap(); samples]
}
