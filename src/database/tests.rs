//! The database against [`MemoryStorage`], operation by operation: every access of the planner, both
//! orders, ties, replacements, status changes, deletions, colliding ids, and in between it is closed and opened
//! again, or killed, with the power or without.
//!
//! Losses of power at any moment of such operations are in `tests/crash.rs`; what a database does beside, over many commits, in
//! `tests/upkeep.rs`, `tests/cleared.rs` and `tests/walks.rs`; damage and what is done for it in `tests/damage.rs`,
//! `tests/rescue.rs`, `tests/salvage.rs`, `tests/lost.rs`, `tests/again.rs` and `tests/drafts.rs`.
//!
//! Chunks and leaves are small here (see `schema.rs`), so that a few thousand samples fill several.

mod again;
mod cleared;
#[cfg(feature = "simulation")]
mod crash;
mod damage;
mod drafts;
mod ended;
mod fields;
mod lost;
mod rescue;
mod salvage;
mod together;
mod upkeep;
mod versions;
mod walks;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::chunk::CHUNK_LEAVES;
use super::clear::to_be_cleared;
use super::disk::memory::MemoryDisk;
use super::plan::Access;
use super::planes::Planes;
use super::schema::STATUS_ROWS;
use super::{Database, Durability, Prune, leaves, pack};
use crate::query::{Order, Query, Selection};
use crate::sample::{Sample, Status};
use crate::storage::Storage;
use crate::{MemoryStorage, data, instant};

/// What a sample of these tests is made from.
#[derive(Clone, Debug)]
struct Spec {
    id: u16,
    pipeline: u8,
    status: Status,
    micros: i64,
}

impl Spec {
    fn sample(&self) -> Sample {
        Sample::builder(format!("p{}", self.pipeline))
            .id(format!("s{}", self.id))
            .status(self.status)
            .created_at(at(self.micros))
            .data(data! { "pipeline" => self.pipeline, "micros" => self.micros })
            .measurements(data! { "name" => format!("n{}", self.micros % 50), "half" => self.micros as f64 / 2.0 })
            .build()
            .unwrap()
    }
}

fn at(micros: i64) -> DateTime<Utc> {
    instant::from_micros(micros).unwrap()
}

#[derive(Clone, Debug)]
enum Operation {
    Store(Vec<Spec>),
    /// So many new samples, by a pattern of time.
    Load(u16, Pattern),
    SetStatus(Query, Option<Status>, Status),
    Delete(Query),
    /// Prunes what filters of status and fields leave, what is older than this, all but so many of each pipeline.
    Prune(Query, Option<i64>, Option<u64>),
    Compact,
    /// Makes an index of a field, or drops it.
    Index(&'static str, bool),
    Reopen,
    /// The process ends without closing; the power goes with it or not, and what was not durable then
    /// survives by this pattern.
    Kill(Option<u64>),
    Ask(Query, u64),
}

#[derive(Clone, Copy, Debug)]
enum Pattern {
    Ordered,
    Shuffled,
    Jittered,
}

/// Fields that indexes are made of.
const FIELDS: [&str; 4] = [
    "data.pipeline",
    "data.micros",
    "measurements.name",
    "measurements.half",
];

const IDS: u16 = 4_000;
const SPAN: i64 = 3_000;

fn statuses() -> impl Strategy<Value = Status> {
    prop::sample::select(Status::ALL.to_vec())
}

fn specs() -> impl Strategy<Value = Spec> {
    (0..IDS, 0_u8..5, statuses(), -20..SPAN).prop_map(|(id, pipeline, status, micros)| Spec {
        id,
        pipeline,
        status,
        micros,
    })
}

fn conditions() -> impl Strategy<Value = String> {
    let micros = || -30..SPAN + 10;
    prop_oneof![
        (0..6).prop_map(|pipeline| format!("data.pipeline = {pipeline}")),
        (micros(), 0_i64..90).prop_map(|(first, span)| {
            format!("data.micros between {first} and {}", first + span)
        }),
        (micros(), 0..60).prop_map(|(micros, name)| {
            format!(
                "measurements.half > {} and measurements.name = 'n{name}'",
                micros / 2
            )
        }),
        (0..60, 0..60).prop_map(|(a, b)| format!("measurements.name in ('n{a}', 'n{b}', 5)")),
        (micros(), 0..6).prop_map(|(micros, pipeline)| {
            format!("measurements.half <= {micros} or data.pipeline = {pipeline}")
        }),
        micros()
            .prop_map(|micros| format!("not data.micros < {micros} and data.absent is missing")),
    ]
}

prop_compose! {
    fn queries()(
        pipelines in prop::collection::vec(0_u8..7, 0..3),
        statuses in prop::collection::vec(statuses(), 0..3),
        ids in prop::option::weighted(0.15, prop::collection::vec(0..IDS, 0..6)),
        bounds in prop::array::uniform4(prop::option::weighted(0.3, -30..SPAN + 10)),
        condition in prop::option::weighted(0.3, conditions()),
        newest: bool,
    ) -> Query {
        let mut query = Query::new();
        for pipeline in pipelines {
            query = query.pipeline(format!("p{pipeline}"));
        }
        for status in statuses {
            query = query.status(status);
        }
        if let Some(ids) = ids {
            query = query.ids(ids.iter().map(|id| format!("s{id}")));
        }
        let [after, before, since, until] = bounds.map(|bound| bound.map(at));
        if let Some(after) = after {
            query = query.after(after);
        }
        if let Some(before) = before {
            query = query.before(before);
        }
        if let Some(since) = since {
            query = query.since(since);
        }
        if let Some(until) = until {
            query = query.until(until);
        }
        if let Some(condition) = condition {
            query = query.condition(condition.parse().unwrap());
        }
        query.order(if newest { Order::Newest } else { Order::Oldest })
    }
}

fn selections() -> impl Strategy<Value = Query> {
    (queries(), prop::option::of(0_u64..40)).prop_map(|(query, limit)| match limit {
        Some(limit) => query.limit(limit),
        None => query,
    })
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => prop::collection::vec(specs(), 0..60).prop_map(Operation::Store),
        2 => (0_u16..900, prop::sample::select(vec![
            Pattern::Ordered, Pattern::Shuffled, Pattern::Jittered,
        ])).prop_map(|(count, pattern)| Operation::Load(count, pattern)),
        2 => (selections(), prop::option::of(statuses()), statuses())
            .prop_map(|(query, from, to)| Operation::SetStatus(query, from, to)),
        1 => selections().prop_map(Operation::Delete),
        2 => (
            prop::option::of(statuses()),
            prop::option::of(conditions()),
            prop::option::of(0..SPAN),
            prop::option::of(0_u64..90),
        )
            .prop_map(|(status, condition, micros, keep)| {
                let query = status.into_iter().fold(Query::new(), Query::status);
                let condition = condition.iter().map(|text| text.parse().unwrap());
                Operation::Prune(condition.fold(query, Query::condition), micros, keep)
            }),
        1 => Just(Operation::Compact),
        1 => (prop::sample::select(FIELDS.to_vec()), prop::bool::weighted(0.8))
            .prop_map(|(field, is_made)| Operation::Index(field, is_made)),
        1 => Just(Operation::Reopen),
        2 => prop::option::of(any::<u64>()).prop_map(Operation::Kill),
        4 => (queries(), 1_u64..70).prop_map(|(query, limit)| Operation::Ask(query, limit)),
    ]
}

struct Pair {
    disk: Arc<MemoryDisk>,
    database: Database,
    memory: MemoryStorage,
    hash_bits: u8,
    durability: Durability,
    next_id: u16,
}

fn open(disk: &Arc<MemoryDisk>, hash_bits: u8, durability: Durability) -> Database {
    let disk = Arc::clone(disk);
    Database::options()
        .hash_bits(hash_bits)
        .durability(durability)
        // A small one, so that pages reach the disk between checkpoints too.
        .cache_bytes(1 << 20)
        .open_disk("memory".into(), disk)
        .unwrap()
}

impl Pair {
    fn new(hash_bits: u8, durability: Durability) -> Self {
        let disk = Arc::default();
        Self {
            database: open(&disk, hash_bits, durability),
            disk,
            memory: MemoryStorage::new(),
            hash_bits,
            durability,
            next_id: 0,
        }
    }

    /// Goes on with what is on this disk.
    fn reopen(&mut self, disk: MemoryDisk) {
        self.disk = Arc::new(disk);
        self.database = open(&self.disk, self.hash_bits, self.durability);
    }

    fn load(&mut self, count: u16, pattern: Pattern) -> Vec<Spec> {
        let first = self.next_id;
        self.next_id = (first + count).min(IDS);
        (first..self.next_id)
            .map(|id| {
                let mixed = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                let micros = match pattern {
                    Pattern::Ordered => i64::from(id) / 3,
                    Pattern::Shuffled => mixed as i64 % SPAN,
                    Pattern::Jittered => i64::from(id) / 3 + mixed as i64 % 5,
                };
                Spec {
                    id,
                    pipeline: (mixed % 4) as u8,
                    status: Status::ALL[(mixed / 7) as usize % 6],
                    micros,
                }
            })
            .collect()
    }

    fn run(&mut self, operation: &Operation) {
        self.carry_out(operation);
        self.check_planes();
    }

    /// What the next commit starts from is what the file has, of each leaf of the planes that is decoded.
    fn check_planes(&self) {
        let view = self.database.engine.view("test").unwrap();
        for leaf in 0..view.state.next_row.div_ceil(STATUS_ROWS) {
            let chunk = view.chunk(leaf / CHUNK_LEAVES as u64).unwrap();
            if let Some(decoded) = chunk.decoded_planes(leaf) {
                let read: Planes = leaves::read(view.tables.status().unwrap(), leaf).unwrap();
                assert_eq!(*decoded, read, "leaf {leaf}");
            }
        }
    }

    fn carry_out(&mut self, operation: &Operation) {
        match operation {
            Operation::Store(specs) => self.store(specs),
            Operation::Load(count, pattern) => {
                let specs = self.load(*count, *pattern);
                specs.chunks(100).for_each(|specs| self.store(specs));
            }
            Operation::SetStatus(query, from, to) => {
                let selection = Selection::Query(query.clone());
                let moved = self.database.set_status(&selection, *from, *to).unwrap();
                assert_eq!(
                    moved,
                    self.memory.set_status(&selection, *from, *to).unwrap()
                );
            }
            Operation::Delete(query) => {
                let selection = Selection::Query(query.clone());
                let deleted = self.database.delete(&selection).unwrap();
                assert_eq!(deleted, self.memory.delete(&selection).unwrap());
            }
            Operation::Prune(query, micros, keep) => self.prune(query, *micros, *keep),
            Operation::Compact => {
                self.database.compact().unwrap();
                let view = self.database.engine.view("test").unwrap();
                assert_eq!(pack::dead_bytes(&view).unwrap(), 0);
                assert!(to_be_cleared(&view).unwrap().is_empty());
            }
            Operation::Index(field, is_made) => {
                let field = field.parse().unwrap();
                let had = self.database.indexes().unwrap();
                let had = had.iter().any(|index| index.field == field);
                match is_made {
                    true => assert_eq!(self.database.create_index(&field, |_| ()).unwrap(), !had),
                    false => assert_eq!(self.database.drop_index(&field).unwrap(), had),
                }
                let has = self.database.indexes().unwrap();
                let whole = has.iter().find(|index| index.field == field);
                assert_eq!(whole.map(|index| index.progress), is_made.then_some(1.0));
            }
            Operation::Reopen => {
                self.database.close().unwrap();
                let bytes = self.disk.bytes();
                self.reopen(MemoryDisk::of(bytes));
            }
            Operation::Kill(power) => {
                let mut seed = power.unwrap_or_default();
                let survives = || {
                    seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    seed >> 63 == 1
                };
                let bytes = match (power, self.durability) {
                    (Some(_), Durability::Immediate) => self.disk.after_power_loss(survives),
                    _ => self.disk.bytes(),
                };
                self.reopen(MemoryDisk::of(bytes));
                self.check();
            }
            Operation::Ask(query, limit) => self.compare(query, *limit),
        }
    }

    fn prune(&self, query: &Query, micros: Option<i64>, keep: Option<u64>) {
        let mut prune = Prune::new().matching(query.clone()).pipeline("none");
        let facets = self.memory.facets(&Query::new()).unwrap();
        for pipeline in facets.by_pipeline().keys() {
            prune = prune.pipeline(*pipeline);
        }
        if let Some(micros) = micros {
            prune = prune.older_than(at(micros));
        }
        if let Some(keep) = keep {
            prune = prune.keep_newest(keep);
        }
        let mut kept = std::collections::HashMap::new();
        let mut ids = Vec::new();
        let newest_first = query.clone().newest_first();
        for sample in self.memory.list(&newest_first).unwrap().samples {
            let kept: &mut u64 = kept.entry(sample.pipeline().to_owned()).or_default();
            *kept += 1;
            let is_old = micros.is_none_or(|micros| sample.created_at() < at(micros));
            if is_old && *kept > keep.unwrap_or(0) {
                ids.push(sample.id().to_owned());
            }
        }
        assert_eq!(
            self.database.prunable(&prune).unwrap().total(),
            ids.len() as u64
        );
        assert_eq!(self.database.prune(&prune).unwrap(), ids.len() as u64);
        self.memory.delete(&Selection::ids(ids)).unwrap();
    }

    fn store(&self, specs: &[Spec]) {
        let samples: Vec<Sample> = specs.iter().map(Spec::sample).collect();
        let report = self.database.store(&samples).unwrap();
        assert_eq!(report, self.memory.store(&samples).unwrap());
    }

    /// The full check finds nothing, and every sample.
    fn check(&self) {
        let report = self.database.check(|_| ()).unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert!(report.pages_verified);
        assert_eq!(report.samples, self.memory.count(&Query::new()).unwrap());
    }

    fn compare(&self, query: &Query, limit: u64) {
        // Each page and count reads what conditions are asked of.
        let limit = match query.conditions() {
            [] => limit,
            _ => 12 * limit,
        };
        let expected = self.memory.list(query).unwrap().samples;
        assert_eq!(
            self.database.count(query).unwrap(),
            expected.len() as u64,
            "count of {query}"
        );
        assert_eq!(
            self.database.facets(query).unwrap(),
            self.memory.facets(query).unwrap(),
            "facets of {query}"
        );
        let limited = query.clone().limit(limit);
        assert_eq!(
            self.database.facets(&limited).unwrap(),
            self.memory.facets(&limited).unwrap(),
            "facets of {limited}"
        );
        for access in [None, Some(Access::Scan), Some(Access::Sort)] {
            self.database.force(access);
            let found = self.database.list(query).unwrap().samples;
            assert_same(&found, &expected, query, access);
            let mut paged = Vec::new();
            let mut next = limited.clone();
            loop {
                let page = self.database.list(&next).unwrap();
                assert!(page.samples.len() as u64 <= limit);
                let left = (expected.len() - paged.len()) as u64;
                assert_eq!(self.database.count(&next).unwrap(), left.min(limit));
                paged.extend(page.samples);
                match page.next {
                    Some(cursor) => next = limited.clone().cursor(cursor),
                    None => break,
                }
            }
            assert_same(&paged, &expected, &limited, access);
            let explained = self.database.explain(&limited).unwrap();
            assert!(explained.uses_index());
            assert_eq!(explained.samples, limit.min(expected.len() as u64));
            if query.id_set().is_none() && query.conditions().is_empty() {
                assert_eq!(explained.records_read, explained.samples);
            }
        }
        self.database.force(None);
    }
}

fn assert_same(found: &[Sample], expected: &[Sample], query: &Query, access: Option<Access>) {
    let ids = |samples: &[Sample]| -> Vec<String> {
        let ids = samples
            .iter()
            .map(|sample| format!("{}@{}", sample.id(), sample.created_at()));
        ids.collect()
    };
    assert_eq!(ids(found), ids(expected), "{query} by {access:?}");
    assert_eq!(found, expected, "{query} by {access:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_database_answers_as_memory_does(
        hash_bits in prop::sample::select(vec![64_u8, 64, 9]),
        durability in prop::sample::select(vec![Durability::Immediate, Durability::Deferred]),
        operations in prop::collection::vec(operations(), 1..24),
        last in prop::collection::vec((queries(), 1_u64..70), 3),
    ) {
        let mut pair = Pair::new(hash_bits, durability);
        for operation in &operations {
            pair.run(operation);
        }
        for (query, limit) in &last {
            pair.compare(query, *limit);
        }
        pair.compare(&Query::new(), 50);
        pair.compare(&Query::new().newest_first(), 50);
        pair.check();
        for id in 0..pair.next_id {
            let id = format!("s{id}");
            prop_assert_eq!(pair.database.retrieve(&id).unwrap(), pair.memory.retrieve(&id).unwrap());
        }
    }
}
