//! Every filter combination is answered by an index, and a list reads no record that it does not return:
//! counted, among a million samples.

use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use samplestore::{Database, Durability, Query, Sample, Status, Storage};
use tempfile::TempDir;

const SAMPLES: u64 = 1_000_000;

fn at(second: u64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second as i64)
}

/// A million samples, half of them loaded in order of time and half shuffled.
static MILLION: LazyLock<(TempDir, Database)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::options()
        .durability(Durability::Deferred)
        .open(folder.path().join("million.redb"))
        .unwrap();
    for first in (0..SAMPLES).step_by(5_000) {
        let batch: Vec<Sample> = (first..first + 5_000).map(sample).collect();
        database.store(&batch).unwrap();
    }
    (folder, database)
});

fn sample(number: u64) -> Sample {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let second = if number < SAMPLES / 2 {
        number
    } else {
        mixed % SAMPLES
    };
    let status = match mixed % 100 {
        0 => Status::Dlq,
        1..50 => Status::Ready,
        other => Status::ALL[other as usize % 5],
    };
    Sample::builder(format!("pipeline-{}", mixed % 8))
        .id(format!("{mixed:x}-{number}"))
        .status(status)
        .created_at(at(second))
        .build()
        .unwrap()
}

/// Every combination of the filters, in both orders.
fn combinations() -> Vec<Query> {
    let mut queries = vec![Query::new()];
    let mut cross = |filters: &[fn(Query) -> Query]| {
        queries = queries
            .iter()
            .flat_map(|query| filters.iter().map(|filter| filter(query.clone())))
            .collect();
    };
    cross(&[
        |q| q,
        |q| q.pipeline("pipeline-3"),
        |q| q.pipeline("pipeline-3").pipeline("none"),
    ]);
    cross(&[
        |q| q,
        |q| q.status(Status::Dlq),
        |q| q.status(Status::Ready).status(Status::Skipped),
    ]);
    cross(&[|q| q, |q| q.after(at(400_000)), |q| q.since(at(400_000))]);
    cross(&[|q| q, |q| q.before(at(600_000)), |q| q.until(at(400_010))]);
    cross(&[|q| q, |q| q.id("0-0").id("3c6ef372-1")]);
    cross(&[|q| q, Query::newest_first]);
    queries
}

#[test]
fn a_list_of_50_among_a_million_reads_50_records() {
    let database = &MILLION.1;
    let queries = combinations();
    assert_eq!(queries.len(), 3 * 3 * 3 * 3 * 2 * 2);
    for query in queries {
        let query = query.limit(50);
        let explained = database.explain(&query).unwrap();
        assert!(explained.uses_index(), "{explained}");
        match query.id_set() {
            None => assert_eq!(explained.records_read, explained.samples, "{explained}"),
            // An id is looked up by its record; there are two of them here.
            Some(ids) => assert!(
                explained.records_read <= 2 * ids.len() as u64,
                "{explained}"
            ),
        }
        assert!(explained.samples <= 50);
        assert_eq!(
            explained.samples,
            database.list(&query).unwrap().samples.len() as u64
        );
    }
}

#[test]
fn a_count_reads_no_record_and_equals_a_walk() {
    let database = &MILLION.1;
    for query in combinations().into_iter().step_by(7) {
        let counted = database.count(&query).unwrap();
        let mut walked = 0;
        let mut next = query.clone().limit(20_000);
        loop {
            let page = database.list(&next).unwrap();
            walked += page.samples.len() as u64;
            match page.next {
                Some(cursor) => next = next.cursor(cursor),
                None => break,
            }
        }
        assert_eq!(counted, walked, "{query}");
        assert_eq!(database.facets(&query).unwrap().total(), counted, "{query}");
    }
}
