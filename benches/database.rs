//! Our own hot paths, quick enough to run before each change: `cargo bench`, or in half the time, with wider errors,
//! `cargo bench --bench database -- --quick`. A word after `--` runs what has it in its name: `-- count`.
//!
//! 200,000 samples of about 300 bytes, so that chunks are full and ids are gathered. Times are of this
//! machine and moment: compare with `--save-baseline` and `--baseline`, and with other engines through
//! `benches/peers`. Counts of instructions, which a busy machine leaves alone, are in `benches/instructions`.

#![allow(missing_docs, clippy::unwrap_used)] // what criterion's macros make has no docs

use std::hint::black_box;

use chrono::{DateTime, Utc};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use samplestore::{Database, Durability, Query, Sample, Selection, Status, Storage};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

const SAMPLES: u64 = 200_000;
const BATCH: u64 = 1_000;

#[derive(Serialize, Deserialize)]
struct Data {
    text: String,
    number: f64,
    word: String,
}

/// A number for each number, spread evenly: the finaliser of `SplitMix64`.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn at(second: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_600_000_000 + second as i64, 0).unwrap()
}

fn sample(number: u64, shuffled: bool) -> Sample {
    let random = mixed(number);
    let status = match random % 100 {
        0 => Status::Dlq,
        1..50 => Status::Ready,
        _ => Status::Measured,
    };
    let second = if shuffled { random % SAMPLES } else { number };
    Sample::builder(format!("pipeline-{}", random % 8))
        .id(format!("{random:016x}-{number}"))
        .status(status)
        .created_at(at(second))
        .data(Data {
            text: format!("{random:0180}"),
            number: random as f64,
            word: "word".to_owned(),
        })
        .build()
        .unwrap()
}

fn empty() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::options()
        .durability(Durability::Deferred)
        .open(folder.path().join("bench.redb"))
        .unwrap();
    (folder, database)
}

fn filled(shuffled: bool) -> (TempDir, Database) {
    let (folder, database) = empty();
    for first in (0..SAMPLES).step_by(BATCH as usize) {
        let batch: Vec<_> = (first..first + BATCH)
            .map(|n| sample(n, shuffled))
            .collect();
        database.store(&batch).unwrap();
    }
    (folder, database)
}

fn writing(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    let (_folder, database) = filled(false);
    let mut next = SAMPLES;
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("store 1,000 new", |b| {
        b.iter_batched(
            || {
                next += BATCH;
                (next..next + BATCH)
                    .map(|n| sample(n, false))
                    .collect::<Vec<_>>()
            },
            |batch| database.store(&batch).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("store one", |b| {
        b.iter_batched(
            || {
                next += 1;
                [sample(next, false)]
            },
            |batch| database.store(&batch).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let range = Query::new().since(at(1_000)).before(at(11_000));
    let [there, back] = [
        [Status::Ready, Status::Labeled],
        [Status::Labeled, Status::Ready],
    ];
    group.bench_function("move a status in 10,000 seconds there and back", |b| {
        b.iter(|| {
            for [from, to] in [there, back] {
                let selection = Selection::Query(range.clone().status(from));
                database.set_status(&selection, None, to).unwrap();
            }
        });
    });
    let ids: Vec<String> = (0..1_000)
        .map(|n| sample(mixed(n) % SAMPLES, false).id().to_owned())
        .collect();
    let mut turn = 0;
    group.bench_function("move one by id there and back", |b| {
        b.iter(|| {
            turn = (turn + 1) % ids.len();
            let one = Selection::ids(&ids[turn..=turn]);
            let to = database.retrieve(&ids[turn]).unwrap().unwrap().status();
            for to in [Status::Labeled, to] {
                database.set_status(&one, None, to).unwrap();
            }
        });
    });
    let old: Vec<Sample> = (0..BATCH).map(|n| sample(n * 97, false)).collect();
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("store 1,000 again", |b| {
        b.iter(|| database.store(&old).unwrap());
    });
    let gone = Query::new().since(at(150_000)).before(at(150_000 + BATCH));
    let back: Vec<Sample> = (150_000..150_000 + BATCH)
        .map(|n| sample(n, false))
        .collect();
    group.bench_function("delete 1,000", |b| {
        b.iter_batched(
            || database.store(&back).unwrap(),
            |_| assert_eq!(database.delete(&gone.clone().into()).unwrap(), BATCH),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn reading(c: &mut Criterion) {
    for (order, shuffled) in [("ordered", false), ("shuffled", true)] {
        let (_folder, database) = filled(shuffled);
        let mut group = c.benchmark_group(order);
        let ids: Vec<String> = (0..1_000)
            .map(|n| sample(mixed(n) % SAMPLES, shuffled).id().to_owned())
            .collect();
        let mut turn = 0;
        group.bench_function("retrieve", |b| {
            b.iter(|| {
                turn = (turn + 1) % ids.len();
                database.retrieve(&ids[turn]).unwrap().unwrap()
            });
        });
        group.bench_function("retrieve what is not there", |b| {
            b.iter(|| assert!(database.retrieve(black_box("none")).unwrap().is_none()));
        });
        let decoded = |query: &Query| {
            let samples = database.list(query).unwrap().samples;
            let numbers = samples
                .iter()
                .map(|sample| sample.data_as::<Data>().unwrap().number);
            black_box(numbers.sum::<f64>())
        };
        let range = Query::new()
            .status(Status::Ready)
            .since(at(80_000))
            .before(at(82_000));
        group.bench_function("list 1 % of time, decoded", |b| b.iter(|| decoded(&range)));
        group.bench_function("list 1 % of time, raw", |b| {
            b.iter(|| database.list(&range).unwrap());
        });
        let rare = Query::new().status(Status::Dlq).newest_first().limit(50);
        group.bench_function("newest 50 of a rare status", |b| b.iter(|| decoded(&rare)));
        let page = Query::new()
            .pipeline("pipeline-3")
            .status(Status::Ready)
            .limit(100);
        group.bench_function("page of 100 by two filters", |b| b.iter(|| decoded(&page)));
        let first = database.list(&page.clone().limit(5_000)).unwrap();
        let later = page.clone().cursor(first.next.unwrap());
        group.bench_function("page of 100 behind 5,000", |b| b.iter(|| decoded(&later)));
        let all = Query::new().limit(20_000);
        group.throughput(Throughput::Elements(20_000));
        group.bench_function("iterate 20,000, decoded", |b| {
            b.iter(|| {
                let samples = database.iterate(&all).unwrap();
                let numbers =
                    samples.map(|sample| sample.unwrap().data_as::<Data>().unwrap().number);
                black_box(numbers.sum::<f64>())
            });
        });
        group.throughput(Throughput::Elements(1));
        let two = Query::new().pipeline("pipeline-3").status(Status::Ready);
        group.bench_function("count two filters", |b| {
            b.iter(|| database.count(&two).unwrap());
        });
        let half = Query::new().status(Status::Ready).before(at(SAMPLES / 2));
        group.bench_function("count half of time", |b| {
            b.iter(|| database.count(&half).unwrap());
        });
        group.bench_function("facets", |b| {
            b.iter(|| database.facets(&Query::new()).unwrap());
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = writing, reading
}
criterion_main!(benches);
