//! Disks that fail: whichever read, write, resize or sync fails, once or from then on, is a typed error and never a panic,
//! and when the database is opened again nothing that was acknowledged is missing and nothing that was refused is there.
//!
//! A workload is repeated until no operation is left that did not fail in it once. What is there afterwards is
//! looked at twice: as the process left it, and as a loss of power right behind it would.

mod disk;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use samplestore::{Database, Durability, Error, ErrorKind, Query, Sample, Storage, Ticket, Writer};

use crate::crash::bytes::Bytes;
use crate::crash::disk::RecordingDisk;
use crate::crash::image::{Way, images};
use crate::crash::random::Random;
use crate::crash::record::{By, Mode};
use crate::crash::verify;
use crate::crash::workload::Operation;
use crate::crash::workload::fields::conditions;
use crate::crash::workload::model::{self, State};
use disk::{Fault, FaultyDisk, What};

/// So many operations come before the disk fails, and so many while it does.
const BEFORE: u64 = 8;
const OPERATIONS: u64 = 10;
const SEED: u64 = 10_221;

const EIO: i32 = 5;
const EBADF: i32 = 9;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

fn mode(durability: Durability, shared_readers: bool) -> Mode {
    Mode {
        durability,
        shared_readers,
        by: By::One,
    }
}

/// What there is, and what else there may be.
struct Model {
    done: Vec<Operation>,
    /// What there is before the first operation that was acknowledged, and after each.
    states: Vec<State>,
    /// Up to this state everything survives a loss of power.
    durable: usize,
    /// What there is if the operation has taken effect of which nobody knows.
    in_doubt: Option<State>,
    /// Fields of which nobody knows whether there is an index: making it or removing it has failed since it was last done.
    unsure: BTreeSet<String>,
    /// What failed, and how, in words.
    failed: Vec<String>,
}

impl Model {
    /// After the operations that come before the disk fails.
    fn new() -> Self {
        let done: Vec<_> = (0..BEFORE).map(operation).collect();
        Self {
            states: vec![after(&done)],
            done,
            durable: 0,
            in_doubt: None,
            unsure: BTreeSet::new(),
            failed: Vec::new(),
        }
    }

    fn acknowledge(&mut self, operation: Operation) {
        if let Operation::CreateIndex(field) | Operation::DropIndex(field) = &operation {
            self.unsure.remove(field);
        }
        self.done.push(operation);
        self.states.push(after(&self.done));
    }

    /// What there is if this operation takes effect too.
    fn with(&self, operation: &Operation) -> State {
        let done: Vec<_> = self.done.iter().chain([operation]).cloned().collect();
        after(&done)
    }

    /// Whether there may be what was found, after a loss of power or without. Every index is whole, one of which nobody knows
    /// too.
    fn may_be(&self, found: &State, is_power_lost: bool) -> bool {
        let first = match is_power_lost {
            true => self.durable,
            false => self.states.len() - 1,
        };
        let mut possible = self.states[first..].iter().chain(&self.in_doubt);
        found.indexes.values().all(|is_whole| *is_whole)
            && possible.any(|state| self.is_same(state, found))
    }

    /// Whether two states are the same but for what nobody knows.
    fn is_same(&self, one: &State, other: &State) -> bool {
        let known = |state: &State| {
            let mut indexes = state.indexes.clone();
            indexes.retain(|field, _| !self.unsure.contains(field));
            indexes
        };
        one.samples == other.samples && known(one) == known(other)
    }
}

fn operation(number: u64) -> Operation {
    Operation::nth(SEED, 0, number)
}

fn after(operations: &[Operation]) -> State {
    let mut model = model::Model::default();
    operations.iter().for_each(|operation| model.run(operation));
    model.state()
}

/// A database with some samples, closed.
fn start(mode: Mode) -> Bytes {
    let disk = RecordingDisk::of(Bytes::default(), false);
    let database = mode.options().open_on(disk.clone()).unwrap();
    for number in 0..BEFORE {
        operation(number).run(&database, &database).unwrap();
    }
    database.close().unwrap();
    disk.bytes()
}

/// The kind of error that a fault is.
fn kind_of(fault: Fault) -> ErrorKind {
    match fault.errno {
        ENOSPC => ErrorKind::Full,
        EROFS => ErrorKind::ReadOnly,
        _ => ErrorKind::Io,
    }
}

/// An error is one of the disk's, or says that nobody knows and has one as its cause, or says that an earlier one was; and was never
/// a panic.
fn assert_typed(error: &Error, fault: Fault) {
    const OF_EARLIER: [&str; 4] = [
        "an earlier operation on the file failed",
        "an earlier commit failed",
        "a commit could not be read back",
        "compacting it failed",
    ];
    let text = verify::text(error);
    let of_disk = kind_of(fault);
    let is_of_earlier = OF_EARLIER.iter().any(|earlier| text.contains(earlier));
    let is_typed = match error.kind() {
        ErrorKind::OutcomeUnknown => text.contains(of_disk.as_str()) || is_of_earlier,
        ErrorKind::Io => of_disk == ErrorKind::Io || is_of_earlier,
        kind => kind == of_disk,
    };
    assert!(is_typed && !text.contains("panick"), "{fault:?}: {text}");
}

/// The first error of an operation says itself or by its causes what the disk said.
fn assert_first(error: &Error, fault: Fault) {
    let text = verify::text(error);
    assert!(text.contains(kind_of(fault).as_str()), "{fault:?}: {text}");
}

/// Opens what is there now, and checks it against what may be.
fn assert_kept(mode: Mode, bytes: Bytes, model: &Model, is_power_lost: bool, fault: Fault) {
    let disk = RecordingDisk::of(bytes, false);
    let open = || mode.options().open_on(disk.clone());
    let database = open().unwrap_or_else(|error| panic!("{fault:?}: {}", verify::text(&error)));
    let found = verify::state(&database).unwrap();
    assert!(
        model.may_be(&found, is_power_lost),
        "{fault:?}: {} samples and the indexes {:?} after {} operations, power lost: {is_power_lost}, failed: {:#?}",
        found.samples.len(),
        found.indexes,
        model.states.len() - 1,
        model.failed,
    );
    let checked = verify::check(&database, &found, &[0])
        .and_then(|()| verify::goes_on(database, &found, open))
        .and_then(|(database, samples)| verify::is_sound(&database, samples));
    checked.unwrap_or_else(|loss| panic!("{fault:?}: {loss}"));
}

/// Carries out operations while the disk fails.
fn run(mode: Mode, disk: &std::sync::Arc<FaultyDisk>, model: &mut Model, fault: Fault) {
    // With next to no cache, so that there is something to read.
    let opened = mode.options().cache_bytes(128 << 10).open_on(disk.clone());
    let database = match opened {
        Ok(database) => database,
        Err(error) => return assert_typed(&error, fault),
    };
    for number in BEFORE..BEFORE + OPERATIONS {
        let operation = operation(number);
        match operation.run(&database, &database) {
            Ok(()) => {
                let makes_durable = operation.makes_durable();
                model.acknowledge(operation);
                // But for one that changes nothing.
                let [.., before, after] = &*model.states else {
                    unreachable!("there is a state before the first operation");
                };
                assert!(
                    model.in_doubt.is_none() || model.is_same(before, after),
                    "{fault:?}: something was taken behind what nobody knows"
                );
                if makes_durable || mode.durability == Durability::Immediate {
                    model.durable = model.states.len() - 1;
                }
            }
            Err(error) => {
                assert_typed(&error, fault);
                if model.failed.is_empty() {
                    assert_first(&error, fault);
                }
                let what = format!("{}: {}", operation.name(), verify::text(&error));
                model.failed.push(what);
                let pruned = has_pruned(&operation, &database, model);
                let is_unknown = error.kind() == ErrorKind::OutcomeUnknown || pruned.is_none();
                if let Operation::CreateIndex(field) | Operation::DropIndex(field) = &operation {
                    model.unsure.insert(field.clone());
                } else if is_unknown && model.in_doubt.is_none() {
                    model.in_doubt = Some(model.with(&operation));
                } else if pruned == Some(true) {
                    model.acknowledge(operation);
                }
            }
        }
        match State::of(&database) {
            Ok(found) => {
                let may_be = model.may_be(&found, false);
                assert!(may_be, "{fault:?}: after operation {number}");
                assert_answers(&database, &found.samples, number, fault);
            }
            Err(error) => assert_typed(&error, fault),
        }
    }
    match database.close() {
        Ok(()) => model.durable = model.states.len() - 1,
        Err(error) => assert_typed(&error, fault),
    }
}

/// Conditions count these samples, or fail.
fn assert_answers(database: &Database, samples: &[Sample], number: u64, fault: Fault) {
    for condition in conditions(0, number) {
        let matching = samples
            .iter()
            .filter(|sample| condition.matches(sample).unwrap());
        let expected = matching.count() as u64;
        match database.count(&Query::new().condition(condition.clone())) {
            Ok(count) => assert_eq!(count, expected, "{fault:?}: `{condition}`"),
            Err(error) => assert_typed(&error, fault),
        }
    }
}

/// Whether an operation that failed is a prune of which what was removed is gone, which it may be: only what would have made
/// that durable has failed. `None` if that cannot be seen.
fn has_pruned(operation: &Operation, database: &Database, model: &Model) -> Option<bool> {
    let Operation::Prune(_) = operation else {
        return Some(false);
    };
    let page = database.list(&Query::new()).ok()?;
    Some(page.samples == model.with(operation).samples)
}

/// Repeats the workload with this fault at every operation that it meets; says how many there are.
fn sweep(mode: Mode, what: What, lasts: bool, errno: i32) -> usize {
    let start = start(mode);
    for nth in 0.. {
        let fault = Fault {
            what,
            nth,
            lasts,
            errno,
        };
        let disk = FaultyDisk::of(start.clone(), fault);
        let mut model = Model::new();
        let ran = catch_unwind(AssertUnwindSafe(|| run(mode, &disk, &mut model, fault)));
        assert!(ran.is_ok(), "{fault:?} in {mode:?}");
        assert_kept(mode, disk.disk.bytes(), &model, false, fault);
        let done = disk.disk.done();
        // What a read that fails leads to is nothing that the power has to do with.
        let cuts = match what {
            What::Reads => Vec::new(),
            _ => vec![(done.len(), Way::Durable), (done.len(), Way::Torn)],
        };
        for image in images(&start, &done, cuts, &mut Random::new(nth as u64)) {
            assert_kept(mode, image.bytes, &model, true, fault);
        }
        if !disk.has_failed() {
            return nth;
        }
    }
    unreachable!("there is an end to what a workload does");
}

/// Every operation of one kind fails, once and from then on, in every mode.
fn sweep_modes(what: What, errno: i32, at_least: usize) {
    for mode in [
        mode(Durability::Immediate, false),
        mode(Durability::Deferred, false),
        mode(Durability::Immediate, true),
    ] {
        for lasts in [false, true] {
            let met = sweep(mode, what, lasts, errno);
            println!("{met} {what:?} in {mode:?}, from then on: {lasts}");
            assert!(met >= at_least, "only {met} of {what:?} in {mode:?}");
        }
    }
}

#[test]
fn the_workload_has_every_operation() {
    let names: std::collections::BTreeSet<_> = (BEFORE..BEFORE + OPERATIONS)
        .map(|number| operation(number).name())
        .collect();
    let all = [
        "compact",
        "create an index",
        "delete",
        "drop an index",
        "flush",
        "prune",
        "set a status",
        "store",
    ];
    assert!(names.iter().copied().eq(all), "{names:?}");
}

#[test]
fn every_read_fails() {
    sweep_modes(What::Reads, EIO, 20);
}

#[test]
fn every_write_fails() {
    sweep_modes(What::Writes, EIO, 50);
}

#[test]
fn every_sync_fails() {
    sweep_modes(What::Syncs, EIO, 5);
}

#[test]
fn every_resize_fails() {
    sweep_modes(What::Resizes, EIO, 1);
}

#[test]
fn the_disk_is_full_at_every_write_and_resize() {
    for what in [What::Writes, What::Resizes] {
        for lasts in [false, true] {
            let met = sweep(mode(Durability::Immediate, false), what, lasts, ENOSPC);
            println!("{met} {what:?} on a full disk, from then on: {lasts}");
        }
    }
}

#[test]
fn the_handle_turns_read_only_at_every_change() {
    for errno in [EBADF, EROFS] {
        let mode = mode(Durability::Immediate, false);
        let met = sweep(mode, What::Changes, true, errno);
        println!("{met} changes from which on the handle is read-only, error {errno}");
    }
}

/// What a background writer's tickets say when the disk fails: that it is stored, that it is not, or that nobody
/// knows; and each time the truth.
#[test]
fn tickets_say_when_nobody_knows() {
    const BATCHES: u64 = 8;
    let mode = mode(Durability::Immediate, false);
    let start = start(mode);
    let before = Model::new().states.remove(0);
    let batch = |number: u64| -> Vec<Sample> {
        (0..4)
            .map(|at| {
                let sample = Sample::builder("tickets").id(format!("t-{number}-{at}"));
                sample.build().unwrap()
            })
            .collect()
    };
    let mut unknown = 0;
    for nth in 0.. {
        let fault = Fault {
            what: What::Writes,
            nth,
            lasts: true,
            errno: EIO,
        };
        let disk = FaultyDisk::of(start.clone(), fault);
        let Ok(database) = mode.options().open_on(disk.clone()) else {
            continue;
        };
        let writer = Writer::new(database.clone()).unwrap();
        let tickets: Vec<_> = (0..BATCHES)
            .map(|number| writer.submit(batch(number)).unwrap())
            .collect();
        let outcomes: Vec<_> = tickets.into_iter().map(Ticket::wait).collect();
        drop((writer, database));

        let reopened = RecordingDisk::of(disk.disk.bytes(), false);
        let database = mode.options().open_on(reopened).unwrap();
        let mut stored = 0;
        for (number, outcome) in outcomes.iter().enumerate() {
            let found = batch(number as u64)
                .iter()
                .filter(|sample| database.retrieve(sample.id()).unwrap().is_some())
                .count();
            stored += found;
            match outcome {
                Ok(receipt) => assert_eq!((receipt.samples(), found), (4, 4), "{fault:?}"),
                Err(error) => {
                    assert_typed(error, fault);
                    let is_unknown = error.kind() == ErrorKind::OutcomeUnknown;
                    unknown += usize::from(is_unknown);
                    assert!(found == 0 || is_unknown && found == 4, "{fault:?}: {found}");
                }
            }
        }
        let count = database.count(&Query::new()).unwrap();
        assert_eq!(count, (before.samples.len() + stored) as u64);
        if !disk.has_failed() {
            break;
        }
    }
    assert!(unknown > 0);
}
