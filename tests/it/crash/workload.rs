//! [`Operation`]: what is done to a database while it is recorded, failed or killed.
//!
//! Which operation is the `n`-th of a lane follows from a seed alone, so that a child process and its parent, or a
//! test and its repetition, need nothing else to agree. A *lane* has ids, pipelines, instants and fields of its own,
//! so that what several threads do at once can be told apart. What is asked of fields is `workload/fields.rs`, what
//! operations make of samples and indexes `workload/model.rs`.

pub(crate) mod fields;
pub(crate) mod model;

use std::time::Duration;

use chrono::{DateTime, Utc};
use samplestore::{
    Database, ErrorKind, Map, Prune, Query, Reason, Result, Sample, Selection, Status, Storage,
    data,
};

use super::random::Random;

/// Lanes at most; the instants of each are those with its remainder.
pub(crate) const LANES_MAX: u64 = 8;
const PIPELINES: u64 = 3;
/// Microseconds in which the samples of one operation lie.
const STEP: u64 = 100;

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// New samples, and some in place of others.
    Store(Vec<Sample>),
    SetStatus(Query, Option<Status>, Status),
    Delete(Query),
    /// Retention, of a lane's pipelines.
    Prune(Retention),
    Compact,
    Flush,
    /// Declares an index of a field.
    CreateIndex(String),
    DropIndex(String),
}

/// What is kept of the samples of a lane: the newest of each pipeline, and what is not older than an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    lane: u64,
    older_than: Option<DateTime<Utc>>,
    keep_newest: Option<u64>,
}

impl Retention {
    fn random(lane: u64, number: u64, random: &mut Random) -> Self {
        // All but the last operations' samples, or some of each pipeline.
        let older_than = instant(lane, number.saturating_sub(12) * STEP);
        let keep_newest = random.below(60);
        let by_age = random.chance(70);
        Self {
            lane,
            older_than: by_age.then_some(older_than),
            keep_newest: (!by_age || random.chance(30)).then_some(keep_newest),
        }
    }

    fn prune(self) -> Prune {
        let mut prune = pipelines(self.lane).fold(Prune::new(), Prune::pipeline);
        if let Some(instant) = self.older_than {
            prune = prune.older_than(instant);
        }
        match self.keep_newest {
            Some(samples) => prune.keep_newest(samples),
            None => prune,
        }
    }

    fn prune_model(self, model: &dyn Storage) {
        for pipeline in pipelines(self.lane) {
            let newest = Query::new().pipeline(pipeline).newest_first();
            let samples = model.list(&newest).unwrap().samples;
            let gone = samples
                .iter()
                .skip(self.keep_newest.unwrap_or(0) as usize)
                .filter(|sample| self.older_than.is_none_or(|at| sample.created_at() < at));
            let gone = Selection::ids(gone.map(Sample::id));
            model.delete(&gone).unwrap();
        }
    }
}

impl Operation {
    /// The `number`-th operation of a lane.
    pub(crate) fn nth(seed: u64, lane: u64, number: u64) -> Self {
        let mut random =
            Random::new(seed ^ (lane << 56) ^ number.wrapping_mul(0x5851_f42d_4c95_7f2d));
        match random.below(100) {
            0..60 => Self::Store(batch(lane, number, &mut random)),
            60..72 => {
                let (from, to) = (random.pick(&Status::ALL), random.pick(&Status::ALL));
                let from = random.chance(50).then_some(from);
                Self::SetStatus(some(lane, number, &mut random), from, to)
            }
            72..77 => Self::Delete(some(lane, number, &mut random)),
            77..82 => Self::Prune(Retention::random(lane, number, &mut random)),
            82..85 => Self::Compact,
            85..89 => Self::Flush,
            89..96 => Self::CreateIndex(field(lane, &mut random)),
            _ => Self::DropIndex(field(lane, &mut random)),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Store(_) => "store",
            Self::SetStatus(..) => "set a status",
            Self::Delete(_) => "delete",
            Self::Prune(_) => "prune",
            Self::Compact => "compact",
            Self::Flush => "flush",
            Self::CreateIndex(_) => "create an index",
            Self::DropIndex(_) => "drop an index",
        }
    }

    /// Does it.
    pub(crate) fn run(&self, storage: &dyn Storage, database: &Database) -> Result<()> {
        match self {
            Self::Store(samples) => storage.store(samples).map(drop),
            Self::SetStatus(query, from, to) => storage
                .set_status(&Selection::Query(query.clone()), *from, *to)
                .map(drop),
            Self::Delete(query) => storage.delete(&Selection::Query(query.clone())).map(drop),
            Self::Prune(retention) => database.prune(&retention.prune()).map(drop),
            Self::Compact => compact(database),
            Self::Flush => storage.flush(),
            Self::CreateIndex(field) => database
                .create_index(&fields::parse(field), |_| ())
                .map(drop),
            Self::DropIndex(field) => database.drop_index(&fields::parse(field)).map(drop),
        }
    }

    /// Does what it does to samples.
    fn run_on_samples(&self, model: &dyn Storage) {
        match self {
            Self::Store(samples) => drop(model.store(samples).unwrap()),
            Self::SetStatus(query, from, to) => {
                let selection = Selection::Query(query.clone());
                model.set_status(&selection, *from, *to).unwrap();
            }
            Self::Delete(query) => {
                model.delete(&Selection::Query(query.clone())).unwrap();
            }
            Self::Prune(retention) => retention.prune_model(model),
            Self::Compact | Self::Flush | Self::CreateIndex(_) | Self::DropIndex(_) => {}
        }
    }

    /// Whether it is the database's alone, so that a background writer knows nothing of it.
    pub(crate) fn is_of_database(&self) -> bool {
        matches!(
            self,
            Self::Compact | Self::Prune(_) | Self::CreateIndex(_) | Self::DropIndex(_)
        )
    }

    /// Whether everything before it is durable once it has returned, whatever the durability of stores.
    pub(crate) fn makes_durable(&self) -> bool {
        self.is_of_database() || matches!(self, Self::Flush)
    }
}

/// Compacts, once no other thread looks at what it is about to prune.
fn compact(database: &Database) -> Result<()> {
    for _ in 0..1_000 {
        match database.compact() {
            Err(error) if error.kind() == ErrorKind::InvalidArgument && error.is_retryable() => {
                std::thread::sleep(Duration::from_millis(1));
            }
            compacted => return compacted.map(drop),
        }
    }
    database.compact().map(drop)
}

pub(crate) fn pipelines(lane: u64) -> impl Iterator<Item = String> {
    (0..PIPELINES).map(move |pipeline| format!("l{lane}-p{pipeline}"))
}

/// What an id of this lane begins with.
pub(crate) fn prefix(lane: u64) -> String {
    format!("l{lane}-")
}

/// Everything of a lane.
fn all(lane: u64) -> Query {
    pipelines(lane).fold(Query::new(), Query::pipeline)
}

/// Some of a lane's samples.
fn some(lane: u64, number: u64, random: &mut Random) -> Query {
    match random.below(4) {
        0 => all(lane).status(random.pick(&Status::ALL)),
        1 => Query::new().pipeline(format!("l{lane}-p{}", random.below(PIPELINES))),
        2 => {
            let first = number.saturating_sub(random.below(10)) * STEP;
            let range = instant(lane, first)..instant(lane, first + random.below(3 * STEP));
            all(lane).since(range.start).before(range.end)
        }
        _ => all(lane).ids((0..random.below(20)).map(|_| id(lane, number, random))),
    }
}

pub(crate) fn instant(lane: u64, step: u64) -> DateTime<Utc> {
    let micros = step * LANES_MAX + lane;
    DateTime::from_timestamp_micros(micros as i64).unwrap()
}

/// One of a lane's fields.
fn field(lane: u64, random: &mut Random) -> String {
    let [one, other] = fields::fields(lane);
    if random.below(2) == 0 { one } else { other }
}

/// An id that may be new or not; the later the operation, the higher.
fn id(lane: u64, number: u64, random: &mut Random) -> String {
    // Scattered, so that neighbours in time are none in the index of ids.
    let mixed = Random::new(number * 12 + random.below(160)).next();
    format!("{}{:016x}", prefix(lane), mixed)
}

fn batch(lane: u64, number: u64, random: &mut Random) -> Vec<Sample> {
    // Now and then more than a small log can take.
    let (count, text_bytes) = match random.below(12) {
        0 => (40, 3_000),
        1..4 => (1, 200),
        _ => (1 + random.below(30), 300),
    };
    (0..count)
        .map(|_| sample(lane, number, text_bytes, random))
        .collect()
}

fn sample(lane: u64, number: u64, text_bytes: u64, random: &mut Random) -> Sample {
    let status = random.pick(&Status::ALL);
    let created_at = instant(lane, number * STEP + random.below(STEP));
    let text = "x".repeat(random.below(text_bytes) as usize);
    let mut data = data! { "number" => number, "text" => text };
    fields::add(&mut data, fields::of_data(lane), random);
    let mut measurements = Map::new();
    if random.chance(40) {
        fields::add(&mut measurements, fields::of_measurements(lane), random);
    }
    let mut sample = Sample::builder(format!("l{lane}-p{}", random.below(PIPELINES)))
        .id(id(lane, number, random))
        .status(status)
        .created_at(created_at)
        .data(data);
    if !measurements.is_empty() {
        sample = sample.measured_at(created_at).measurements(measurements);
    }
    if matches!(status, Status::Skipped | Status::Dlq) {
        sample = sample.reason(Reason::new("stage", "message", 3, created_at));
    }
    sample.build().unwrap()
}
