//! What an index of a field is for, and what it costs: queries with conditions with and without one, what they read, how long
//! it takes to make, how much larger the file gets and how much longer a batch takes to store:
//! `cargo bench --bench conditions`, or for others than 1,000,000 samples, `cargo bench --bench conditions -- 300000`.
//!
//! A query that reads a record that it does not give, or does not read, ends it. The file was written just before, so that the
//! system has its pages; times are medians of five.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // what it has to say goes there

use std::time::{Duration, Instant};

use chrono::DateTime;
use samplestore::{Database, Explain, Query, Sample, Status, Storage, data};

const BATCH: u64 = 1_000;
/// Batches that are timed, without an index and with two.
const TIMED_BATCHES: u64 = 50;
const RUNS: usize = 5;
const FIELDS: [&str; 2] = ["measurements.temp", "data.station"];

/// Of a million samples about 10, 1,000, 10,000, 20 and, of one pipeline in eight, 1,250.
const CONDITIONS: [(&str, Option<&str>); 5] = [
    ("measurements.temp = 333.33", None),
    ("measurements.temp >= 999", None),
    ("measurements.temp between 500 and 509.99", None),
    ("data.station = 'station-4711'", None),
    (
        "measurements.temp between 500 and 509.99",
        Some("pipeline-3"),
    ),
];

/// A number for each number, spread evenly: the finaliser of `SplitMix64`.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Samples of about 300 bytes, whose fields are in no order.
fn batch(first: u64) -> Vec<Sample> {
    let sample = |number| {
        let random = mixed(number);
        Sample::builder(format!("pipeline-{}", random % 8))
            .id(format!("{random:016x}-{number}"))
            .status(Status::ALL[(random % 6) as usize])
            .created_at(DateTime::from_timestamp(1_600_000_000 + number as i64, 0).unwrap())
            .data(data! {
                "text" => format!("{random:0180}"),
                "station" => format!("station-{}", mixed(random) % 50_000),
            })
            .measurements(data! { "temp" => (mixed(!random) % 100_000) as f64 / 100.0 })
            .build()
            .unwrap()
    };
    (first..first + BATCH).map(sample).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn queries() -> Vec<Query> {
    let queries = CONDITIONS.iter().map(|(condition, pipeline)| {
        let query = Query::new().condition(condition.parse().unwrap());
        pipeline
            .iter()
            .fold(query, |query, name| query.pipeline(*name))
    });
    queries.collect()
}

/// How a query is answered, and how long a list of all that matches takes.
fn ask(database: &Database, query: &Query) -> (Explain, Duration) {
    let explain = database.explain(query).unwrap();
    let times = (0..RUNS).map(|_| {
        let (time, page) = timed(|| database.list(query).unwrap());
        assert_eq!(page.samples.len() as u64, explain.samples);
        time
    });
    let time = median(times.collect());
    (explain, time)
}

/// Stores the next batches, each durable; the median time of one.
fn store(database: &Database, samples: &mut u64) -> Duration {
    let times = (0..TIMED_BATCHES).map(|_| {
        let batch = batch(*samples);
        *samples += BATCH;
        timed(|| database.store(&batch).unwrap()).0
    });
    median(times.collect())
}

fn conditions(mut samples: u64) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("s.redb")).unwrap();
    for first in (0..samples).step_by(BATCH as usize) {
        database.store(&batch(first)).unwrap();
    }
    let stored_without = store(&database, &mut samples);
    let queries = queries();
    let without: Vec<_> = queries.iter().map(|query| ask(&database, query)).collect();

    println!(
        "| index of | samples | made in | bytes in the file | each sample |\n|---|--:|--:|--:|--:|"
    );
    let mut bytes_before = 0;
    for field in FIELDS {
        let (time, is_new) = timed(|| {
            let field = field.parse().unwrap();
            database.create_index(&field, |_| ()).unwrap()
        });
        assert!(is_new);
        let stats = database.stats().unwrap();
        let table = stats.tables.iter().find(|table| table.name == "fields");
        let bytes = table.unwrap().allocated_bytes - bytes_before;
        bytes_before += bytes;
        let (mb, each) = (bytes as f64 / 1e6, bytes as f64 / samples as f64);
        println!(
            "| `{field}` | {samples} | {} | {mb:.1} MB | {each:.1} |",
            ms(time)
        );
    }

    println!(
        "\n| condition | matches | records read | list | without an index | records read | list |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (query, (scan, scan_time)) in queries.iter().zip(without) {
        let (explain, time) = ask(&database, query);
        assert_eq!(explain.samples, scan.samples);
        assert_eq!(explain.records_read, explain.samples, "{query}");
        assert!(!explain.field_indexes.is_empty() && scan.field_indexes.is_empty());
        println!(
            "| `{query}` | {} | {} | {} | {:.0}× | {} | {} |",
            explain.samples,
            explain.records_read,
            ms(time),
            scan_time.as_secs_f64() / time.as_secs_f64(),
            scan.records_read,
            ms(scan_time),
        );
    }

    let stored_with = store(&database, &mut samples);
    println!("\n| storing a batch of {BATCH}, durable | |\n|---|--:|");
    println!("| without an index | {} |", ms(stored_without));
    println!("| with {} | {} |", FIELDS.len(), ms(stored_with));
}

fn main() {
    // What cargo itself says is not a number.
    let counts = std::env::args().filter_map(|argument| argument.parse().ok());
    let mut counts: Vec<u64> = counts.collect();
    if counts.is_empty() {
        counts = vec![1_000_000];
    }
    for samples in counts {
        conditions(samples);
    }
}
