//! What keeps a file in order, of each two at the same time, beside those who store and ask: none of it goes in one transaction, so each
//! finds what the others made between two of its steps.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use super::*;
use crate::error::{ErrorKind, Result};
use crate::query::Field;
use crate::{Backup, Error};

/// Samples of a batch, and how many a writer stores.
const BATCH: u16 = 60;
const BATCHES: u16 = 120;
/// The pipeline of samples that are pruned, and of no others.
const PRUNED: u8 = 9;

/// The batches of a writer in order, of which each replaces a few samples of the one before, and what it deletes behind each.
fn rounds(writer: u16) -> impl Iterator<Item = (Vec<Sample>, Selection)> {
    (0..BATCHES).map(move |batch| {
        let spec = |number: u16| {
            let id = writer * 10_000 + batch * (BATCH - 5) + number;
            let micros = i64::from(number) * 31 % SPAN + i64::from(batch);
            let status = Status::ALL[usize::from(id) % 4];
            let pipeline = (id % 5) as u8;
            Spec {
                id,
                pipeline,
                status,
                micros,
            }
            .sample()
        };
        let samples: Vec<Sample> = (0..BATCH).map(spec).collect();
        let gone = samples.iter().step_by(3).map(Sample::id);
        let gone = Selection::ids(gone);
        (samples, gone)
    })
}

/// Tells the others that a writer is done, also where it panics: they would go on for ever.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Until nobody has a snapshot that it would have to wait for.
fn when_possible<T>(mut work: impl FnMut() -> Result<T>) -> T {
    let is_held =
        |error: &Error| error.kind() == ErrorKind::InvalidArgument && error.is_retryable();
    loop {
        match work() {
            Err(error) if is_held(&error) => thread::sleep(Duration::from_millis(1)),
            done => break done.unwrap(),
        }
    }
}

#[test]
fn what_keeps_a_file_in_order_goes_on_beside_itself_and_all_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.redb");
    let database = Database::open(&path).unwrap();
    let fields: Vec<Field> = FIELDS.map(|field| field.parse().unwrap()).into();
    let memory = MemoryStorage::new();
    // Whoever has no work of its own goes on until the writers have done theirs.
    let writing = AtomicUsize::new(2);
    let until_written = |work: &dyn Fn(usize)| {
        let mut round = 0;
        while writing.load(Relaxed) > 0 || round < 2 {
            work(round);
            round += 1;
        }
    };
    let prune = Prune::new().pipeline(format!("p{PRUNED}")).keep_newest(0);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (database, memory, writing) = (&database, &memory, &writing);
            scope.spawn(move || {
                let _done = Done(writing);
                for (samples, gone) in rounds(writer) {
                    database.store(&samples).unwrap();
                    let deleted = database.delete(&gone).unwrap();
                    memory.store(&samples).unwrap();
                    assert_eq!(memory.delete(&gone).unwrap(), deleted);
                }
            });
        }
        for copy in 0..2_u16 {
            let (database, fields, prune) = (&database, &fields, &prune);
            let until_written = &until_written;
            scope.spawn(move || {
                until_written(&|_| {
                    when_possible(|| database.compact());
                });
            });
            scope.spawn(move || {
                until_written(&|round| {
                    let field = &fields[round % fields.len()];
                    database.create_index(field, |_| ()).unwrap();
                    let condition = format!("{field} >= 10").parse().unwrap();
                    database.count(&Query::new().condition(condition)).unwrap();
                    database.drop_index(field).unwrap();
                });
            });
            scope.spawn(move || {
                until_written(&|round| {
                    let spec = |number: u16| Spec {
                        id: 40_000 + copy * 10_000 + round as u16 % 20 * 300 + number,
                        pipeline: PRUNED,
                        status: Status::Dlq,
                        micros: i64::from(number),
                    };
                    let samples: Vec<Sample> =
                        (0..250).map(|number| spec(number).sample()).collect();
                    database.store(&samples).unwrap();
                    database.prune(prune).unwrap();
                });
            });
        }
        // These hold a snapshot for long, which compacting waits for: with a pause, so that it is not all they do.
        scope.spawn(|| {
            until_written(&|round| {
                let target = folder.path().join(format!("copy-{round}.redb"));
                database.backup(&target, &Backup::new()).unwrap();
                let report = database.check(|_| ()).unwrap();
                assert!(report.is_sound(), "{report:?}");
                std::fs::remove_file(target).unwrap();
                thread::sleep(Duration::from_millis(50));
            });
        });
    });
    database.prune(&prune).unwrap();
    let is_as_in_memory = |database: &Database| {
        // Which of two writers was first of an instant is nobody's business.
        let by_id = |storage: &dyn Storage| {
            let mut samples = storage.list(&Query::new()).unwrap().samples;
            samples.sort_by(|a, b| a.id().cmp(b.id()));
            samples
        };
        assert_eq!(by_id(database), by_id(&memory));
        let report = database.check(|_| ()).unwrap();
        assert!(report.is_sound(), "{report:?}");
    };
    is_as_in_memory(&database);
    database.close().unwrap();
    is_as_in_memory(&Database::open(&path).unwrap());
}
