//! Everything at once: writers, tickets, readers, walks by cursors and snapshots that are held, while others compact, prune, check, copy, and
//! make and remove indexes of fields, and whatever any of them sees is one consistent state.
//!
//! What is stored goes in batches that are whole in every state (`concurrency/batch.rs`). What writers and readers do, and
//! what must hold of what they see, is in `concurrency/writing.rs` and `concurrency/reading.rs`.
//!
//! `SAMPLESTORE_CONCURRENCY_SECONDS` says how long it goes on, 3 seconds unless set, in three modes by turns.

mod batch;
mod reading;
mod writing;

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use samplestore::{Database, Durability, Options, Query, Sample, Status, Storage};

use crate::crash::random::Random;
use crate::crash::verify;
use batch::STEADY;
use writing::Store;

/// Rows that are given out before, so that a chunk of 61,440 fills meanwhile; of each hundred one sample stays.
const ROWS_BEFORE: u64 = 61_000;
const STEADY_EVERY: u64 = 100;
/// Threads that write batches of their own, and those of all.
const WRITERS: u64 = 2;
const READERS: u64 = 2;
const WALKERS: u64 = 2;
const HOLDERS: u64 = 2;

/// What somebody saw that cannot be, in words.
type Violation = String;

// For `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn failed(error: samplestore::Error) -> Violation {
    verify::text(&error)
}

/// What the threads of one run share.
struct Run<'a> {
    database: &'a Database,
    /// Which run of the test it is, so that its batches are its own.
    number: u64,
    until: Instant,
    store: Store,
    /// Batches submitted for a ticket so far.
    submitted: AtomicU64,
    tally: &'a Tally,
}

/// What was done so far, of each kind, and what was wrong.
#[derive(Default)]
struct Tally {
    writes: AtomicU64,
    tickets: AtomicU64,
    reads: AtomicU64,
    walks: AtomicU64,
    held: AtomicU64,
    kept: AtomicU64,
    /// Times that an index of a field was made or removed; these are `kept` too.
    indexed: AtomicU64,
    /// Copies; these are `kept` too.
    copied: AtomicU64,
    violations: Mutex<Vec<Violation>>,
}

impl Tally {
    fn operations(&self) -> u64 {
        let counts = [
            &self.writes,
            &self.tickets,
            &self.reads,
            &self.walks,
            &self.held,
            &self.kept,
        ];
        counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    fn violations(&self) -> Vec<Violation> {
        self.violations.lock().unwrap().clone()
    }
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until || !self.tally.violations.lock().unwrap().is_empty()
    }

    /// Does something again and again, and counts it, until the time is over or something is wrong.
    fn repeat(&self, count: &AtomicU64, mut work: impl FnMut() -> Result<(), Violation>) {
        while !self.is_over() {
            match work() {
                Ok(()) => count.fetch_add(1, Relaxed),
                Err(violation) => return self.violate(violation),
            };
        }
    }

    fn violate(&self, violation: Violation) {
        self.tally.violations.lock().unwrap().push(violation);
    }

    /// Starts everybody, and waits until the time is over.
    fn go(&self) {
        let tally = self.tally;
        let random = |role: u64, number: u64| Random::new(self.number << 32 | role << 16 | number);
        thread::scope(|scope| {
            for number in 0..WRITERS {
                let mut writer = writing::Writing::new(self, number, random(1, number));
                scope.spawn(move || self.repeat(&tally.writes, || writer.step()));
            }
            scope.spawn(|| writing::submit(self));
            scope.spawn(|| {
                let mut random = random(2, 0);
                self.repeat(&tally.kept, || writing::keep(self, &mut random));
            });
            for number in 0..READERS {
                let mut random = random(3, number);
                scope.spawn(move || {
                    self.repeat(&tally.reads, || reading::read(self.database, &mut random));
                });
            }
            for number in 0..WALKERS {
                let mut random = random(4, number);
                scope.spawn(move || {
                    self.repeat(&tally.walks, || reading::walk(self, &mut random));
                });
            }
            for number in 0..HOLDERS {
                let mut random = random(5, number);
                scope.spawn(move || {
                    self.repeat(&tally.held, || reading::hold(self.database, &mut random));
                });
            }
        });
    }
}

/// Each mode by which a file is written.
fn modes() -> [Options; 3] {
    [
        Database::options(),
        Database::options().durability(Durability::Deferred),
        Database::options().shared_readers(true),
    ]
}

/// Gives out rows, and leaves the samples that stay.
fn prepare(path: &Path) {
    let database = Database::options()
        .durability(Durability::Deferred)
        .open(path)
        .unwrap();
    let samples: Vec<Sample> = (0..ROWS_BEFORE)
        .map(|number| {
            let pipeline = match number.is_multiple_of(STEADY_EVERY) {
                true => STEADY,
                false => "before",
            };
            Sample::builder(pipeline)
                .id(format!("{STEADY}-{number}-0"))
                .status(Status::Labeled)
                .created_at(batch::instant(number * batch::INSTANTS / ROWS_BEFORE))
                .build()
                .unwrap()
        })
        .collect();
    for batch in samples.chunks(5_000) {
        database.store(batch).unwrap();
    }
    let gone = Query::new().pipeline("before");
    assert!(database.delete(&gone.into()).unwrap() > 0);
    assert_eq!(
        database.count(&Query::new()).unwrap(),
        reading::STEADY_SAMPLES
    );
    database
        .create_index(&batch::ALWAYS_INDEXED.parse().unwrap(), |_| ())
        .unwrap();
    database.close().unwrap();
}

/// Everything at once, in each mode for a third of the time.
fn run(seconds: u64, store: Store) -> Tally {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    prepare(&path);
    let tally = Tally::default();
    for (number, options) in (0..).zip(modes()) {
        let database = options.clone().open(&path).unwrap();
        Run {
            database: &database,
            number,
            until: Instant::now() + Duration::from_secs(seconds) / 3,
            store,
            submitted: AtomicU64::new(0),
            tally: &tally,
        }
        .go();
        database.close().unwrap();
        let database = options.open(&path).unwrap();
        let checked = reading::check_all(&database);
        tally.violations.lock().unwrap().extend(checked.err());
        database.close().unwrap();
    }
    tally
}

#[test]
fn whatever_is_seen_while_all_go_on_is_one_state() {
    let seconds = std::env::var("SAMPLESTORE_CONCURRENCY_SECONDS")
        .map_or(3, |seconds| seconds.parse().expect("a number"));
    let tally = run(seconds, Store::Whole);
    let count = |count: &AtomicU64| count.load(Relaxed);
    let violations = tally.violations();
    // Seen although the test passes.
    let line = format!(
        "concurrency: {} operations in {seconds} s: {} writes, {} tickets, {} states read, {} walks by cursors, {} snapshots \
         held, {} compactions, prunes, checks, indexes ({} of these) and copies ({}); {} violations\n",
        tally.operations(),
        count(&tally.writes),
        count(&tally.tickets),
        count(&tally.reads),
        count(&tally.walks),
        count(&tally.held),
        count(&tally.kept),
        count(&tally.indexed),
        count(&tally.copied),
        violations.len()
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(violations.is_empty(), "{violations:#?}");
    for count in [
        &tally.writes,
        &tally.tickets,
        &tally.reads,
        &tally.walks,
        &tally.held,
        &tally.kept,
    ] {
        assert!(count.load(Relaxed) > 3);
    }
    assert!(tally.indexed.load(Relaxed) > 0);
    assert!(tally.copied.load(Relaxed) > 0);
}

/// The test itself: whoever stores a batch in two commits is found out.
#[test]
fn a_batch_that_is_stored_in_two_halves_is_caught() {
    let violations = run(3, Store::InHalves).violations();
    assert!(
        violations
            .iter()
            .any(|violation| violation.contains("torn")),
        "{violations:#?}"
    );
}
