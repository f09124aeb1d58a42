//! Whole databases against a `BTreeMap`: stores, status changes, deletions and indexes of fields, in between it is closed or killed
//! and opened again, and the disk fails. What was acknowledged is there, what was refused is not, and what nobody knows the
//! outcome of is there whole or not at all. Conditions have the answer of the map, with an index and without.

#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arbitrary::{Arbitrary, Unstructured};
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use samplestore::simulation::Disk;
use samplestore::{
    Condition, Database, ErrorKind, Map, Order, Query, Sample, Selection, Status, Storage, Value,
};

/// A file in memory whose operations fail from some moment on.
#[derive(Debug)]
struct Memory {
    bytes: Mutex<Vec<u8>>,
    /// Changes that still succeed; `u32::MAX` for all.
    left: AtomicU32,
}

impl Memory {
    fn of(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            bytes: Mutex::new(bytes),
            left: AtomicU32::new(u32::MAX),
        })
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().expect("not poisoned")
    }

    fn change(&self) -> io::Result<()> {
        let taken = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                u32::MAX => Some(left),
                _ => left.checked_sub(1),
            });
        let failed = |_| io::Error::new(io::ErrorKind::StorageFull, "no space left");
        taken.map(drop).map_err(failed)
    }
}

impl Disk for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes();
        let found = bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        self.change()?;
        let mut bytes = self.bytes();
        let end = offset as usize + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(new);
        Ok(())
    }

    fn write_durable(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        self.write(offset, new)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?;
        self.bytes().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.change()
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Spec {
    id: u8,
    pipeline: u8,
    status: u8,
    micros: i16,
    bytes: u16,
}

/// Of the four bytes that choose an operation the uppermost bits say which, as `arbitrary` derives it. Where the lowest is one of
/// the last, it is one of those that came later, so that what older inputs do stays mostly as it was.
#[derive(Debug)]
enum Step {
    Operation(Operation),
    CreateIndex(u8),
    DropIndex(u8),
    /// Asks a condition of a field.
    Ask(Asked),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Asked {
    field: u8,
    kind: u8,
    value: u8,
}

/// The lowest bytes from this one on choose among what came later.
const LATER: u8 = 0xe0;

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u.peek_bytes(1) {
            Some(&[lowest]) if lowest >= LATER => {
                let _tag: u32 = u.arbitrary()?;
                match lowest % 4 {
                    0 | 1 => Self::CreateIndex(u.arbitrary()?),
                    2 => Self::DropIndex(u.arbitrary()?),
                    _ => Self::Ask(u.arbitrary()?),
                }
            }
            _ => Self::Operation(u.arbitrary()?),
        })
    }
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Store(Vec<Spec>),
    /// So many samples with new ids.
    Load(u8, Spec),
    SetStatus {
        which: Which,
        from: Option<u8>,
        to: u8,
    },
    Delete(Which),
    Flush,
    Close,
    Kill,
    /// Everything that changes the disk fails after so many that succeed.
    Fail(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Which {
    Id(u8),
    Pipeline(u8),
    Status(u8),
    Since(i16),
    All,
}

impl Which {
    fn selection(self) -> Selection {
        match self {
            Self::Id(id) => Selection::ids([format!("s{id}")]),
            Self::Pipeline(pipeline) => Query::new().pipeline(pipeline_of(pipeline)).into(),
            Self::Status(status) => Query::new().status(status_of(status)).into(),
            Self::Since(micros) => Query::new().since(at(micros)).into(),
            Self::All => Query::new().into(),
        }
    }

    fn matches(self, sample: &Sample) -> bool {
        match self {
            Self::Id(id) => sample.id() == format!("s{id}"),
            Self::Pipeline(pipeline) => sample.pipeline() == pipeline_of(pipeline),
            Self::Status(status) => sample.status() == status_of(status),
            Self::Since(micros) => sample.created_at() >= at(micros),
            Self::All => true,
        }
    }
}

fn status_of(status: u8) -> Status {
    Status::ALL[usize::from(status) % Status::ALL.len()]
}

fn pipeline_of(pipeline: u8) -> String {
    format!("p{}", pipeline % 4)
}

fn at(micros: i16) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_micros(micros.into()).expect("an instant")
}

impl Spec {
    fn sample(self, id: String) -> Sample {
        let text = "x".repeat(usize::from(self.bytes));
        let mut data = Map::from([("text".to_owned(), Value::from(text))]);
        let value = match self.bytes % 8 {
            0 => None,
            1 => Some(Value::from(format!("t{}", self.micros % 4))),
            2 => Some(Value::from(self.micros % 2 == 0)),
            3 => Some(Value::from(f64::from(self.micros) / 2.0)),
            4 => Some(Value::Null),
            _ => Some(Value::from(i64::from(self.micros))),
        };
        data.extend(value.map(|value| ("value".to_owned(), value)));
        Sample::builder(pipeline_of(self.pipeline))
            .id(id)
            .status(status_of(self.status))
            .created_at(at(self.micros))
            .data(data)
            .measurements(Map::from([("id".to_owned(), Value::from(self.id))]))
            .build()
            .expect("a sample")
    }
}

/// The fields of which there may be indexes; no sample has the last.
const FIELDS: [&str; 4] = ["data.value", "measurements.id", "data.text", "data.absent"];

fn field_of(field: u8) -> &'static str {
    FIELDS[usize::from(field) % FIELDS.len()]
}

impl Asked {
    fn condition(self) -> Condition {
        let (field, value) = (field_of(self.field), self.value);
        let text = match self.kind % 8 {
            0 => format!("{field} = {value}"),
            1 => format!("{field} between -{value} and {value}.5"),
            2 => format!("{field} < -{value} or {field} >= {value}"),
            3 => format!("{field} = 't{}'", value % 4),
            4 => format!("{field} in (true, {value}, 't-{}')", value % 4),
            5 => format!("{field} is null"),
            6 => format!("{field} is missing"),
            _ => format!("{field} is not null and not {field} = {value}"),
        };
        text.parse().expect("a condition")
    }
}

type Model = BTreeMap<String, Sample>;

struct Run {
    disk: Arc<Memory>,
    database: Database,
    /// What may be there: one state, or two when nobody knows whether the last change is.
    states: Vec<Model>,
    /// Fields of which there is an index, or not; of those that are missing here nobody knows.
    indexes: BTreeMap<&'static str, bool>,
    loaded: usize,
}

fn open(disk: &Arc<Memory>) -> Database {
    let options = Database::options()
        .log_half_bytes(64 << 10)
        .cache_bytes(4 << 20);
    let disk: Arc<dyn Disk> = Arc::<Memory>::clone(disk);
    options.open_on(disk).expect("whatever happened, it opens")
}

impl Run {
    fn new() -> Self {
        let disk = Memory::of(Vec::new());
        Self {
            database: open(&disk),
            disk,
            states: vec![Model::new()],
            indexes: FIELDS.map(|field| (field, false)).into(),
            loaded: 0,
        }
    }

    /// Leaves the handle as it is and goes on with what is on the disk.
    fn reopen(&mut self) {
        let bytes = self.disk.bytes().clone();
        self.disk = Memory::of(bytes);
        self.database = open(&self.disk);
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
                self.disk.left.store(after.into(), Ordering::SeqCst);
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
