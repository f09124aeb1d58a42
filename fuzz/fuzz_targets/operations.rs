//! Whole databases against a `BTreeMap`: stores, status changes, deletions, retention, compacting and indexes of fields, in between it is closed or
//! killed and opened again, in the same way or another, and the disk fails. What was acknowledged is there, what was refused is not, and what nobody
//! knows the outcome of is there whole or not at all. Conditions have the answer of the map, with an index and without.

#![no_main]

#[path = "operations/disk.rs"]
mod disk;
#[path = "operations/step.rs"]
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use samplestore::simulation::Disk;
use samplestore::{Database, Durability, ErrorKind, Order, Prune, Query, Sample, Status, Storage};

use disk::{Fault, Memory, What};
use step::{Asked, FIELDS, Operation, Retention, Step, at, field_of, pipeline_of, status_of};

type Model = BTreeMap<String, Sample>;

struct Run {
    disk: Arc<Memory>,
    database: Database,
    /// What may be there: one state, or two when nobody knows whether the last change is.
    states: Vec<Model>,
    /// Fields of which there is an index, or not; of those that are missing here nobody knows.
    indexes: BTreeMap<&'static str, bool>,
    loaded: usize,
    mode: Mode,
}

/// How the file is opened.
type Mode = (Durability, bool);

const MODES: [Mode; 3] = [
    (Durability::Immediate, false),
    (Durability::Deferred, false),
    (Durability::Immediate, true),
];

fn open(disk: &Arc<Memory>, (durability, shared_readers): Mode) -> Database {
    let options = Database::options()
        .durability(durability)
        .shared_readers(shared_readers)
        .log_half_bytes(64 << 10)
        .cache_bytes(4 << 20);
    let disk: Arc<dyn Disk> = Arc::<Memory>::clone(disk);
    options.open_on(disk).expect("whatever happened, it opens")
}

impl Run {
    fn new() -> Self {
        let disk = Memory::of(Vec::new());
        Self {
            database: open(&disk, MODES[0]),
            disk,
            mode: MODES[0],
            states: vec![Model::new()],
            indexes: FIELDS.map(|field| (field, false)).into(),
            loaded: 0,
        }
    }

    /// Leaves the handle as it is and goes on with what is on the disk.
    fn reopen(&mut self) {
        let bytes = self.disk.bytes().clone();
        self.disk = Memory::of(bytes);
        self.database = open(&self.disk, self.mode);
        self.compare();
    }

    /// Changes the database, and the model as far as that worked. Says whether the handle is still good.
    fn change<T>(
        &mut self,
        work: impl FnOnce(&Database) -> samplestore::Result<T>,
        model: impl Fn(&mut Model),
    ) -> bool {
        let mut after = self.states[0].clone();
        model(&mut after);
        match work(&self.database) {
            Ok(_) => {
                self.states = vec![after];
                true
            }
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::Damaged, "{error}");
                if error.kind() == ErrorKind::OutcomeUnknown {
                    self.states.push(after);
                }
                false
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Operation(operation) => self.apply(operation),
            Step::CreateIndex(field) => self.index(field_of(field), true),
            Step::DropIndex(field) => self.index(field_of(field), false),
            Step::Ask(asked) => self.ask(asked),
            Step::Prune(retention) => self.prune(retention),
            Step::Compact => {
                if !self.change(Database::compact, |_| ()) {
                    self.reopen();
                }
            }
            Step::OpenAs(mode) => {
                self.mode = MODES[usize::from(mode) % MODES.len()];
                self.reopen();
            }
            Step::FailOnly {
                syncs,
                lasts,
                after,
            } => self.disk.fail(Fault {
                what: if syncs { What::Syncs } else { What::Writes },
                left: after.into(),
                lasts,
            }),
        }
    }

    /// Removes what is too old. What is newest of equal instants the database says.
    fn prune(&mut self, retention: Retention) {
        let pipeline = pipeline_of(retention.pipeline);
        let keep = retention.keep_newest % 8;
        let mut prune = Prune::new().pipeline(&*pipeline).keep_newest(keep.into());
        if let Some(micros) = retention.older_than {
            prune = prune.older_than(at(micros));
        }
        let newest = Query::new().pipeline(&*pipeline).newest_first();
        let Ok(newest) = self.database.list(&newest) else {
            return self.reopen();
        };
        let is_old = |sample: &&Sample| {
            let micros = retention.older_than;
            micros.is_none_or(|micros| sample.created_at() < at(micros))
        };
        let gone = newest.samples.iter().skip(keep.into()).filter(is_old);
        let gone: BTreeSet<&str> = gone.map(Sample::id).collect();
        let before = self.states.clone();
        let remove = |model: &mut Model| model.retain(|id, _| !gone.contains(&**id));
        let is_good = self.change(|database| database.prune(&prune), remove);
        if !is_good {
            // What was removed may be gone although what would have made that durable has failed.
            self.states = before;
            let mut after = self.states[0].clone();
            remove(&mut after);
            self.states.push(after);
            self.reopen();
        }
    }

    /// Makes or removes an index. When that fails nobody knows whether it is there.
    fn index(&mut self, field: &'static str, is_made: bool) {
        let parsed = field.parse().expect("a field");
        let changed = match is_made {
            true => self.database.create_index(&parsed, |_| ()),
            false => self.database.drop_index(&parsed),
        };
        let was_there = self.indexes.remove(field);
        match changed {
            Ok(is_changed) => {
                assert!(was_there.is_none_or(|was_there| is_changed == (was_there != is_made)));
                self.indexes.insert(field, is_made);
            }
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::Damaged, "{error}");
                self.reopen();
            }
        }
    }

    /// A condition has the answer that the samples have.
    fn ask(&self, asked: Asked) {
        let condition = asked.condition();
        let model = &self.states[0];
        let matching = model
            .values()
            .filter(|sample| condition.matches(sample).expect("payloads"));
        let expected: BTreeMap<&str, &Sample> =
            matching.map(|sample| (sample.id(), sample)).collect();
        let query = Query::new().condition(condition.clone());
        let listed = self.database.list(&query).expect("a list").samples;
        let found = listed.iter().map(|sample| (sample.id(), sample));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "{condition}");
        let count = self.database.count(&query).expect("a count");
        assert_eq!(count, expected.len() as u64, "{condition}");
        assert_eq!(listed.len(), expected.len(), "{condition}");
    }

    /// The indexes are those that were made, each whole, and what they say is so.
    fn compare_indexes(&mut self) {
        let indexes = self.database.indexes().expect("indexes");
        for field in FIELDS {
            let found = indexes
                .iter()
                .find(|index| index.field.to_string() == field);
            assert!(found.is_none_or(|index| index.progress == 1.0), "{field}");
            let is_there = *self.indexes.entry(field).or_insert(found.is_some());
            assert_eq!(found.is_some(), is_there, "{field}");
        }
        for (field, kind) in (0..FIELDS.len() as u8).flat_map(|field| [(field, 1), (field, 4)]) {
            let value = self.loaded as u8;
            self.ask(Asked { field, kind, value });
        }
    }

    /// Everything in the file agrees. It brings everything into the tables, so that it comes at the end.
    fn check(&self) {
        let report = self.database.check(|_| ()).expect("a check");
        assert!(report.is_sound(), "{:?}", report.faults);
    }

    fn apply(&mut self, operation: Operation) {
        let is_good = match operation {
            Operation::Store(specs) => {
                let batch: Vec<Sample> = specs
                    .iter()
                    .map(|spec| spec.sample(format!("s{}", spec.id)))
                    .collect();
                self.store(&batch)
            }
            Operation::Load(count, spec) => {
                let first = self.loaded;
                self.loaded += usize::from(count);
                let ids = (first..self.loaded).map(|number| format!("n{number}"));
                let batch: Vec<Sample> = ids.map(|id| spec.sample(id)).collect();
                self.store(&batch)
            }
            Operation::SetStatus { which, from, to } => {
                let (from, to) = (from.map(status_of), status_of(to));
                self.change(
                    |database| database.set_status(&which.selection(), from, to),
                    |model| {
                        for sample in model.values_mut() {
                            let is_from = from.is_none_or(|from| sample.status() == from);
                            if which.matches(sample) && is_from {
                                *sample = sample.clone().with_status(to);
                            }
                        }
                    },
                )
            }
            Operation::Delete(which) => self.change(
                |database| database.delete(&which.selection()),
                |model| model.retain(|_, sample| !which.matches(sample)),
            ),
            Operation::Flush => self.change(Database::flush, |_| ()),
            Operation::Close => {
                let _ = self.database.close();
                false
            }
            Operation::Kill => false,
            Operation::Fail(after) => {
                self.disk.fail(Fault {
                    what: What::Changes,
                    left: after.into(),
                    lasts: true,
                });
                true
            }
        };
        if !is_good {
            self.reopen();
        }
    }

    fn store(&mut self, batch: &[Sample]) -> bool {
        self.change(
            |database| database.store(batch),
            |model| {
                for sample in batch {
                    model.insert(sample.id().to_owned(), sample.clone());
                }
            },
        )
    }

    /// Everything that can be asked has one answer, and it is that of one of the states.
    fn compare(&mut self) {
        let all: Vec<Sample> = self
            .database
            .iterate(&Query::new())
            .expect("it can be read")
            .collect::<samplestore::Result<_>>()
            .expect("to the end");
        assert!(all.is_sorted_by_key(Sample::created_at));
        let found: Model = all
            .iter()
            .map(|sample| (sample.id().to_owned(), sample.clone()))
            .collect();
        assert_eq!(found.len(), all.len(), "no sample comes twice");
        assert!(self.states.contains(&found), "a state that nobody made");
        let facets = self.database.facets(&Query::new()).expect("counts");
        for status in Status::ALL {
            let expected = found.values().filter(|sample| sample.status() == status);
            let expected = expected.count() as u64;
            let query = Query::new().status(status);
            assert_eq!(self.database.count(&query).expect("a count"), expected);
            assert_eq!(
                facets.by_status().get(&status).copied().unwrap_or(0),
                expected
            );
            let listed = self
                .database
                .list(&query.order(Order::Newest))
                .expect("a list");
            assert_eq!(listed.samples.len() as u64, expected);
        }
        for (id, sample) in &found {
            let retrieved = self.database.retrieve(id).expect("by id");
            assert_eq!(retrieved.as_ref(), Some(sample));
        }
        self.states = vec![found];
        self.compare_indexes();
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let mut run = Run::new();
    for step in steps.into_iter().take(40) {
        run.step(step);
    }
    run.reopen();
    run.check();
});
