//! What is in the files that are damaged, and [`Model`]: what is right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ID_STRIDE, is_long, options};
use crate::database::Database;
use crate::database::disk::memory::MemoryDisk;
use crate::query::{Histogram, Interval, Query};
use crate::sample::{Reason, Sample, Status};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Facets, MemoryStorage, data, instant};

pub(super) fn sample(number: u64) -> Sample {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let status = Status::ALL[(mixed % 6) as usize];
    let sample = Sample::builder(["even", "odd", "third"][(mixed / 6 % 3) as usize])
        .id(format!("s{number}"))
        .status(status)
        .created_at(instant::from_micros((mixed % 9_000) as i64).unwrap())
        .data(data! { "number" => number })
        .measurements(data! { "half" => number as f64 / 2.0 });
    let sample = match status {
        Status::Dlq => sample.reason(Reason::new(
            "stage",
            "no",
            3,
            instant::from_micros(5).unwrap(),
        )),
        _ => sample,
    };
    sample.build().unwrap()
}

/// Samples that give a full chunk and a second one, and ids in buckets, being merged and gathered.
pub(super) const LARGE: u64 = 1_100;

/// Fills a database, and memory with the same: samples of every status, replaced, moved and deleted ones. Gives how many
/// samples there are.
fn fill(database: &Database, memory: &MemoryStorage, samples: u64) -> u64 {
    let both = |batch: &[Sample]| {
        database.store(batch).unwrap();
        memory.store(batch).unwrap();
    };
    let all: Vec<Sample> = (0..samples).map(sample).collect();
    all.chunks(100).for_each(both);
    let again: Vec<Sample> = (0..12)
        .map(|step| step * 37)
        .filter(|number| *number < samples)
        .map(|number| {
            let sample = sample(number + 5).into_builder().id(format!("s{number}"));
            sample.build().unwrap()
        })
        .collect();
    both(&again);
    for (from, to) in [
        (Status::Pending, Status::Ready),
        (Status::Skipped, Status::Labeled),
    ] {
        let some = Query::new()
            .pipeline("odd")
            .before(instant::from_micros(4_000).unwrap());
        database
            .set_status(&some.clone().into(), Some(from), to)
            .unwrap();
        memory.set_status(&some.into(), Some(from), to).unwrap();
    }
    // Of some rows of a chunk that is full, and of what comes after.
    let field = "measurements.half".parse().unwrap();
    assert!(database.create_index(&field, |_| ()).unwrap());
    let gone = Query::new().pipeline("third").status(Status::Measured);
    database.delete(&gone.clone().into()).unwrap();
    memory.delete(&gone.into()).unwrap();
    memory.count(&Query::new()).unwrap()
}

/// A closed file in which so many samples were stored, and memory with the same.
pub(super) fn closed(samples: u64) -> (Arc<Vec<u8>>, MemoryStorage) {
    let disk = Arc::new(MemoryDisk::default());
    let memory = MemoryStorage::new();
    let database = options()
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    assert!(fill(&database, &memory, samples) * 10 >= samples * 7);
    for status in Status::ALL {
        assert!(memory.count(&Query::new().status(status)).unwrap() > 0);
    }
    database.close().unwrap();
    (Arc::new(disk.bytes()), memory)
}

fn queries() -> Vec<Query> {
    let at = |micros| instant::from_micros(micros).unwrap();
    vec![
        Query::new(),
        Query::new().newest_first().limit(70),
        Query::new().pipeline("even"),
        Query::new().pipeline("nobody"),
        Query::new().status(Status::Ready).newest_first(),
        Query::new().pipeline("odd").status(Status::Dlq).limit(5),
        Query::new().since(at(2_000)).before(at(2_100)),
        Query::new()
            .pipeline("third")
            .after(at(1_000))
            .until(at(7_000))
            .newest_first(),
        Query::new().id("s3").id("s1099").id("nobody"),
        Query::new().condition("measurements.half > 11.5".parse().unwrap()),
        Query::new()
            .status(Status::Labeled)
            .condition("data.number < 30".parse().unwrap()),
    ]
}

/// What is right: every answer to [`queries`], and every sample there is and some that are not.
pub(super) struct Model {
    answers: Vec<Answer>,
    samples: BTreeMap<String, Option<Sample>>,
}

/// What is right to say to a query.
struct Answer {
    query: Query,
    samples: Vec<Sample>,
    facets: Facets,
    histogram: Histogram,
}

impl Answer {
    fn of(memory: &MemoryStorage, query: Query) -> Self {
        let samples = memory.list(&query).unwrap().samples;
        let mut histogram = Histogram::new(Interval::Minute);
        for sample in &samples {
            histogram.add(sample.created_at(), sample.pipeline(), sample.status());
        }
        Self {
            facets: memory.facets(&query).unwrap(),
            query,
            samples,
            histogram,
        }
    }

    fn ask(&self, database: &Database, failed: impl Fn(Error)) {
        let query = &self.query;
        let count = self.samples.len() as u64;
        let samples = |found: Result<Vec<Sample>, Error>, how: &str| match found {
            Ok(found) => assert_eq!(found, self.samples, "wrong: {how} {query}"),
            Err(error) => failed(error),
        };
        samples(database.list(query).map(|page| page.samples), "list");
        let all = database.iterate(query).and_then(Iterator::collect);
        samples(all, "iterate");
        match database.count(query) {
            Ok(found) => assert_eq!(found, count, "wrong: count {query}"),
            Err(error) => failed(error),
        }
        match database.facets(query) {
            Ok(found) => assert_eq!(found, self.facets, "wrong: facets {query}"),
            Err(error) => failed(error),
        }
        match database.histogram(query, Interval::Minute) {
            Ok(found) => assert_eq!(found, self.histogram, "wrong: histogram {query}"),
            Err(error) => failed(error),
        }
        match database.explain(query) {
            Ok(explain) => assert_eq!(explain.samples, count, "wrong: explain {query}"),
            Err(error) => failed(error),
        }
    }
}

impl Model {
    pub(super) fn of(memory: &MemoryStorage) -> Self {
        let answers = queries().into_iter();
        let answers = answers.map(|query| Answer::of(memory, query));
        let stored = memory.count(&Query::new()).unwrap();
        let stride = match is_long() || stored < 100 {
            true => 1,
            false => ID_STRIDE,
        };
        // Those that were deleted are asked for, too, and some that never were.
        let ids = (0..stored + stored / 8 + 20).step_by(stride);
        let ids = ids.map(|number| format!("s{number}"));
        Self {
            answers: answers.collect(),
            samples: ids
                .map(|id| (id.clone(), memory.retrieve(&id).unwrap()))
                .collect(),
        }
    }

    /// Asks everything; how many answers were errors. Panics at a wrong one.
    pub(super) fn ask(&self, database: &Database) -> u64 {
        let errors = AtomicU64::new(0);
        let failed = |error: Error| {
            // redb answers nothing more after a read that failed, and that is told as an I/O error.
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::Damaged | ErrorKind::Io),
                "{error}"
            );
            errors.fetch_add(1, Ordering::Relaxed);
        };
        for (id, expected) in &self.samples {
            match database.retrieve(id) {
                Ok(found) => assert_eq!(&found, expected, "wrong: retrieve {id}"),
                Err(error) => failed(error),
            }
        }
        for answer in &self.answers {
            answer.ask(database, failed);
        }
        let (all, instants) = (&self.answers[0], |sample: &Sample| sample.created_at());
        match database.stats() {
            Ok(stats) => {
                assert_eq!(stats.samples, all.samples.len() as u64, "wrong: stats");
                assert_eq!(stats.facets, all.facets, "wrong: stats");
                assert_eq!(
                    stats.first,
                    all.samples.first().map(instants),
                    "wrong: stats"
                );
                assert_eq!(stats.last, all.samples.last().map(instants), "wrong: stats");
            }
            Err(error) => failed(error),
        }
        errors.into_inner()
    }
}
