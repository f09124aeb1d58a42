//! How many instructions three hot paths take – storing a batch of 1,000, listing 1,000 typed samples by status and time,
//! counting by pipeline, status and half of the time –, which a busy machine cannot change:
//!
//! ```sh
//! cargo bench --manifest-path benches/instructions/Cargo.toml
//! ```
//!
//! It needs Valgrind (`apt-get install valgrind`), takes a few minutes, and fails where a count is more than 5 % above its
//! baseline below. Ids, instants and payloads are fixed, so two runs of one build differ by 1 or 2 %: what is left
//! is the seeds of hash maps; but for the list, as its baseline says. Another compiler, or another release of redb, may move a count: then run the parent commit
//! with it, and set the baseline to what that gives. A change that makes a path cheaper lowers its baseline.
//!
//! Only what happens between the start and the end of a measured function counts. The file is a temporary one,
//! and system calls have no instructions here: times are for `benches/database.rs`.

use std::hint::black_box;

use chrono::{DateTime, Utc};
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use samplestore::{Database, Durability, Query, Sample, Status, Storage};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// Instructions on x86-64, Rust 1.95, in the bench profile.
const STORE_1000: u64 = 7_280_474;
/// The most of four runs, of which the least was 3,111,869: what the thread that helps to read takes over is not counted.
const LIST_1000: u64 = 3_904_000;
const COUNT_HALF_ORDERED: u64 = 489_500;
const COUNT_HALF_SHUFFLED: u64 = 49_421_981;

/// One full chunk of 61,440 rows, and a part of the next.
const SAMPLES: u64 = 64_000;
const BATCH: u64 = 1_000;
/// Counts that are measured together: of one alone, the seed of a hash map would be more than 1 %.
const COUNTS: u64 = 100;

#[derive(Serialize, Deserialize)]
struct Data {
    text: String,
    number: f64,
    word: String,
}

/// The limit of a path: 5 % above its baseline.
fn at_most(baseline: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, baseline + baseline / 20)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// A number for each number, spread evenly: the finaliser of `SplitMix64`.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn at(second: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_600_000_000 + second as i64, 0).expect("an instant")
}

/// Half of the samples are ready; one comes each second, in this order or in none.
fn sample(number: u64, shuffled: bool) -> Sample {
    let random = mixed(number);
    // A factor without a common divisor: each second comes once.
    let second = if shuffled {
        number * 40_503 % SAMPLES
    } else {
        number
    };
    let status = match random % 100 {
        0 => Status::Dlq,
        1..=50 => Status::Ready,
        _ => Status::Measured,
    };
    Sample::builder(format!("pipeline-{}", random % 8))
        .id(format!("{random:016x}-{number:08}"))
        .status(status)
        .created_at(at(second))
        .data(Data {
            text: format!("{random:0180}"),
            number: random as f64,
            word: "word".to_owned(),
        })
        .build()
        .expect("a sample")
}

fn batch(first: u64, shuffled: bool) -> Vec<Sample> {
    (first..first + BATCH)
        .map(|number| sample(number, shuffled))
        .collect()
}

fn filled(shuffled: bool) -> (TempDir, Database) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::options()
        .durability(Durability::Deferred)
        .open(folder.path().join("bench.redb"))
        .expect("a database");
    for first in (0..SAMPLES).step_by(BATCH as usize) {
        database.store(&batch(first, shuffled)).expect("stored");
    }
    (folder, database)
}

/// A filled database and a batch that it has not seen.
fn before_store() -> (TempDir, Database, Vec<Sample>) {
    let (folder, database) = filled(false);
    (folder, database, batch(SAMPLES, false))
}

/// A filled database whose caches are warm.
fn before_read(query: Query, shuffled: bool) -> (TempDir, Database, Query) {
    let (folder, database) = filled(shuffled);
    black_box(database.list(&query.clone().limit(10)).expect("a page"));
    black_box(database.count(&query).expect("a count"));
    (folder, database, query)
}

fn before_list() -> (TempDir, Database, Query) {
    let query = Query::new()
        .status(Status::Ready)
        .since(at(SAMPLES / 4))
        .before(at(SAMPLES / 4 * 3))
        .limit(1_000);
    before_read(query, false)
}

fn before_count(shuffled: bool) -> (TempDir, Database, Query) {
    let query = Query::new()
        .pipeline("pipeline-3")
        .status(Status::Ready)
        .since(at(SAMPLES / 4))
        .before(at(SAMPLES / 4 * 3));
    before_read(query, shuffled)
}

// Each gives back what it was given, so that closing the file is not counted.

#[library_benchmark(config = at_most(STORE_1000))]
#[bench::into_64_000(before_store())]
fn store_1000(
    (folder, database, batch): (TempDir, Database, Vec<Sample>),
) -> (TempDir, Database, Vec<Sample>) {
    black_box(database.store(&batch)).expect("stored");
    (folder, database, batch)
}

#[library_benchmark(config = at_most(LIST_1000))]
#[bench::of_64_000(before_list())]
fn list_1000_typed(
    (folder, database, query): (TempDir, Database, Query),
) -> (TempDir, Database, f64) {
    let page = database.list(&query).expect("a page");
    assert_eq!(page.samples.len(), 1_000);
    let sum = page
        .samples
        .iter()
        .map(|sample| sample.data_as::<Data>().expect("data").number)
        .sum();
    (folder, database, black_box(sum))
}

#[library_benchmark]
#[bench::ordered(args = (before_count(false)), config = at_most(COUNT_HALF_ORDERED))]
#[bench::shuffled(args = (before_count(true)), config = at_most(COUNT_HALF_SHUFFLED))]
fn count_half_range(
    (folder, database, query): (TempDir, Database, Query),
) -> (TempDir, Database, u64) {
    let count = (0..COUNTS)
        .map(|_| database.count(black_box(&query)).expect("a count"))
        .sum();
    (folder, database, black_box(count))
}

library_benchmark_group!(
    name = paths,
    benchmarks = [store_1000, list_1000_typed, count_half_range]
);
main!(library_benchmark_groups = paths);
