//! The database against [`MemoryStorage`], operation by operation: every access of the planner, both
//! orders, ties, replacements, status changes, deletions, colliding ids, and in between it is closed and opened
//! again, or killed, with the power or without.
//!
//! Chunks and leaves are small here (see `schema.rs`), so that a few thousand samples fill several.

mod damage;
mod rescue;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::disk::memory::MemoryDisk;
use super::plan::Access;
use super::{Database, Durability, Prune, pack};
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
    /// Prunes a status, what is older than this, all but so many of each pipeline.
    Prune(Option<Status>, Option<i64>, Option<u64>),
    Compact,
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

prop_compose! {
    fn queries()(
        pipelines in prop::collection::vec(0_u8..7, 0..3),
        statuses in prop::collection::vec(statuses(), 0..3),
        ids in prop::option::weighted(0.15, prop::collection::vec(0..IDS, 0..6)),
        bounds in prop::array::uniform4(prop::option::weighted(0.3, -30..SPAN + 10)),
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
        1 => (prop::option::of(statuses()), prop::option::of(0..SPAN), prop::option::of(0_u64..90))
            .prop_map(|(status, micros, keep)| Operation::Prune(status, micros, keep)),
        1 => Just(Operation::Compact),
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
            Operation::Prune(status, micros, keep) => self.prune(*status, *micros, *keep),
            Operation::Compact => {
                self.database.compact().unwrap();
                let view = self.database.engine.view("test").unwrap();
                assert_eq!(pack::dead_bytes(&view).unwrap(), 0);
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

    fn prune(&self, status: Option<Status>, micros: Option<i64>, keep: Option<u64>) {
        let (mut prune, mut query) = (Prune::new().pipeline("none"), Query::new());
        for pipeline in self.memory.facets(&query).unwrap().by_pipeline().keys() {
            prune = prune.pipeline(*pipeline);
        }
        if let Some(status) = status {
            (prune, query) = (prune.status(status), query.status(status));
        }
        if let Some(micros) = micros {
            prune = prune.older_than(at(micros));
        }
        if let Some(keep) = keep {
            prune = prune.keep_newest(keep);
        }
        let mut kept = std::collections::HashMap::new();
        let mut ids = Vec::new();
        for sample in self.memory.list(&query.newest_first()).unwrap().samples {
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
            if query.id_set().is_none() {
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

#[test]
fn every_generation_of_ids_is_found_while_it_is_merged() {
    for hash_bits in [64, 6] {
        let mut pair = Pair::new(hash_bits, Durability::Deferred);
        for _ in 0..40 {
            pair.run(&Operation::Load(100, Pattern::Shuffled));
        }
        let gone = Query::new().status(Status::Dlq);
        pair.check();
        pair.run(&Operation::Delete(gone));
        pair.check();
        pair.run(&Operation::Reopen);
        pair.check();
        for id in 0..IDS {
            let id = format!("s{id}");
            assert_eq!(
                pair.database.retrieve(&id).unwrap(),
                pair.memory.retrieve(&id).unwrap(),
                "{id}"
            );
        }
    }
}

#[test]
fn many_changed_instants_give_a_chunk_a_new_run() {
    let mut pair = Pair::new(64, Durability::Immediate);
    pair.run(&Operation::Load(2_000, Pattern::Ordered));
    for round in 0..6 {
        let specs: Vec<Spec> = (0..17)
            .map(|step| Spec {
                id: step * 40 + round,
                pipeline: (step % 5) as u8,
                status: Status::Ready,
                micros: i64::from(step * 7 + round) % SPAN,
            })
            .collect();
        pair.store(&specs);
        pair.compare(&Query::new().newest_first(), 33);
        pair.compare(
            &Query::new()
                .status(Status::Ready)
                .after(at(100))
                .before(at(300)),
            7,
        );
    }
}

/// Pairs of deleted samples stay until a merge sweeps them out; blocks go when nothing in them is needed.
#[test]
fn what_was_deleted_leaves_the_file_in_time() {
    let mut pair = Pair::new(64, Durability::Immediate);
    for _ in 0..12 {
        pair.run(&Operation::Load(100, Pattern::Ordered));
    }
    pair.run(&Operation::Delete(Query::new().before(at(380))));
    let blocks = |pair: &Pair| {
        let view = pair.database.engine.view("test").unwrap();
        let sizes = view.tables.sizes().unwrap();
        let entries = |name| sizes.iter().find(|table| table.0 == name).unwrap().1;
        (entries("blocks"), view.state.merged_ids)
    };
    let (left, _) = blocks(&pair);
    assert!(left <= 10, "{left} blocks for 60 samples");
    for _ in 0..28 {
        pair.run(&Operation::Load(100, Pattern::Ordered));
    }
    let (_, pairs) = blocks(&pair);
    assert!(
        pairs < 2_860,
        "{pairs} pairs for 2,860 samples, some gathered"
    );
    pair.check();
    pair.compare(&Query::new(), 50);
}

/// The power goes while a checkpoint is on its way, and again during the first one after that: the log, which then
/// has what counts in both halves, must not be written over before redb has it.
#[test]
fn a_checkpoint_that_is_lost_twice_loses_nothing() {
    let sample = |number: usize| {
        let sample = Sample::builder("p").id(format!("{number:04}"));
        sample.created_at(at(number as i64)).build().unwrap()
    };
    let mut disk = Arc::new(MemoryDisk::default());
    open(&disk, 64, Durability::Immediate).close().unwrap();
    let mut stored = 0;
    for life in 0..3 {
        disk = Arc::new(MemoryDisk::of(disk.bytes()));
        let database = open(&disk, 64, Durability::Immediate);
        for number in 0..stored {
            let found = database.retrieve(&format!("{number:04}")).unwrap();
            assert_eq!(found, Some(sample(number)), "in life {life}");
        }
        assert_eq!(database.count(&Query::new()).unwrap(), stored as u64);
        // The first ones sync before they write, since the file is opened, and grows.
        for _ in 0..if life == 0 { 4 } else { 1 } {
            database.store(&[sample(stored)]).unwrap();
            stored += 1;
        }
        let gate = disk.sync_gate.lock().unwrap();
        let acknowledged = AtomicUsize::new(stored);
        let bytes = std::thread::scope(|scope| {
            // At first some more than a half has room for, 16, so that it goes on in the other one.
            let numbers = stored..stored + if life == 0 { 15 } else { 70 };
            let storing = scope.spawn(|| {
                for number in numbers {
                    database.store(&[sample(number)]).unwrap();
                    acknowledged.store(number + 1, Ordering::SeqCst);
                }
            });
            // Until it waits for a sync, or is done.
            let mut before = usize::MAX;
            while before != acknowledged.load(Ordering::SeqCst) {
                before = acknowledged.load(Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            stored = before;
            let bytes = disk.after_power_loss(|| false);
            drop(gate);
            storing.join().unwrap();
            bytes
        });
        drop(database);
        disk = Arc::new(MemoryDisk::of(bytes));
    }
    assert!(stored > 32, "{stored} samples");
}

/// A process that opens a file and then moves samples one by one decodes the pairs of ids that are not merged yet
/// once, not at each commit.
#[test]
fn single_status_changes_decode_the_gathered_ids_once() {
    let disk = Arc::new(MemoryDisk::default());
    let ids: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
    let sample = |id: &String| Sample::builder("p").id(id.as_str()).build().unwrap();
    let samples: Vec<Sample> = ids.iter().map(sample).collect();
    let database = open(&disk, 64, Durability::Immediate);
    database.store(&samples).unwrap();
    database.close().unwrap();

    let database = open(&disk, 64, Durability::Immediate);
    let view = || database.engine.view("test").unwrap();
    let mut decoded = Vec::new();
    for id in &ids {
        let moved = database.set_status(&id.as_str().into(), None, Status::Ready);
        assert_eq!(moved.unwrap(), 1);
        decoded.push(view().gathered().map(|gathered| gathered as *const _));
    }
    assert_eq!(decoded[0], None, "a few look-ups need no decoding");
    let first = decoded.iter().position(Option::is_some).unwrap();
    assert!(decoded[first..].iter().all(|at| *at == decoded[first]));
    assert!(first < 5, "decoded at commit {first}");
}

/// A block that is kept stays as it is, whatever is committed and given up meanwhile.
#[test]
fn a_kept_block_outlives_its_view() {
    let disk = Arc::new(MemoryDisk::default());
    let database = open(&disk, 64, Durability::Immediate);
    let sample = |number: usize| {
        let sample = Sample::builder("p").id(format!("{number:04}"));
        sample
            .data(data! { "number" => number as i64 })
            .build()
            .unwrap()
    };
    let samples: Vec<Sample> = (0..200).map(sample).collect();
    database.store(&samples).unwrap();
    let view = database.engine.view("test").unwrap();
    let kept = view.kept_block(0).unwrap();
    let before = kept.value().to_vec();
    drop(view);
    database.delete(&Query::new().into()).unwrap();
    for _ in 0..5 {
        database.store(&samples).unwrap();
        database.flush().unwrap();
    }
    assert_eq!(kept.value(), before);
}

/// Compacting folds what was replaced into blocks, drops dead records and pairs, and changes nothing that is seen; what it
/// would win, and what a copy leaves out, is known before.
#[test]
fn compacting_leaves_nothing_that_is_not_needed() {
    let mut pair = Pair::new(64, Durability::Immediate);
    for _ in 0..30 {
        pair.run(&Operation::Load(100, Pattern::Shuffled));
    }
    let again: Vec<Spec> = (0..600)
        .map(|step| Spec {
            id: step * 3,
            pipeline: (step % 5) as u8,
            status: Status::Ready,
            micros: i64::from(step) % SPAN,
        })
        .collect();
    again.chunks(50).for_each(|specs| pair.store(specs));
    pair.run(&Operation::Delete(Query::new().status(Status::Skipped)));
    let seen = |pair: &Pair| {
        let view = pair.database.engine.view("test").unwrap();
        let sizes = view.tables.sizes().unwrap();
        let entries = |name| sizes.iter().find(|table| table.0 == name).unwrap().1;
        let dead = pack::dead_bytes(&view).unwrap();
        (
            entries("replaced"),
            entries("blocks"),
            dead,
            view.state.stale_ids,
        )
    };
    let (replaced, blocks, dead, stale) = seen(&pair);
    assert!(replaced > 400 && dead > 1_000 && stale > 100);
    let bytes = pair.disk.bytes().len();
    pair.run(&Operation::Compact);
    let after = seen(&pair);
    assert_eq!((after.0, after.2), (0, 0));
    assert!(after.1 < blocks, "{} of {blocks}", after.1);
    // Those that are not merged yet stay.
    assert!(after.3 < stale / 2, "{} of {stale}", after.3);
    assert!(pair.disk.bytes().len() < bytes);
    pair.compare(&Query::new(), 50);
    pair.run(&Operation::Kill(Some(7)));
    pair.compare(&Query::new().newest_first(), 50);
    // Again, there is nothing to do.
    let commit = |pair: &Pair| pair.database.engine.view("test").unwrap().state.mark.number;
    let number = commit(&pair);
    pair.run(&Operation::Compact);
    assert_eq!(commit(&pair), number);
    // And it goes on to be a database.
    for _ in 0..5 {
        pair.run(&Operation::Load(100, Pattern::Jittered));
    }
    again.chunks(50).for_each(|specs| pair.store(specs));
    pair.run(&Operation::Delete(Query::new().status(Status::Ready)));
    pair.compare(&Query::new(), 50);
}
