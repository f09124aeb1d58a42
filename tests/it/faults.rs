//! Disks that fail: whichever read, write, resize or sync fails, once or from then on, is a typed error and never a panic,
//! and when the database is opened again nothing that was acknowledged is missing and nothing that was refused is there.
//!
//! A workload is repeated until no operation is left that did not fail in it once: on a file that was closed, on those of writers
//! that were killed, and on a disk on which there is none yet (`faults/start.rs`). What is there afterwards (`faults/model.rs`) is
//! looked at twice: as the process left it, and as a loss of power right behind it would.

mod disk;
mod model;
mod start;
mod tickets;
mod upkeep;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use samplestore::{Database, Durability, Error, ErrorKind, Query, Sample, Storage};

use crate::crash::bytes::Bytes;
use crate::crash::disk::RecordingDisk;
use crate::crash::image::{Way, images};
use crate::crash::random::Random;
use crate::crash::record::{By, Mode};
use crate::crash::verify;
use crate::crash::workload::Operation;
use crate::crash::workload::fields::conditions;
use crate::crash::workload::model::State;
use disk::{Fault, FaultyDisk, What};
use model::{Model, operation};
use start::{From, Start};

const EIO: i32 = 5;
const EBADF: i32 = 9;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

const IMMEDIATE: Mode = mode(Durability::Immediate, false);
const MODES: [Mode; 3] = [
    IMMEDIATE,
    mode(Durability::Deferred, false),
    mode(Durability::Immediate, true),
];

const fn mode(durability: Durability, shared_readers: bool) -> Mode {
    Mode {
        durability,
        shared_readers,
        by: By::One,
    }
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

/// Opens what is there now in the same life of the machine, where what the system has in memory is not all on the disk and some of it
/// never will be, and stores: behind that, everything that was seen survives a loss of power.
fn assert_becomes_durable(start: &Start, disk: &RecordingDisk, fault: Fault) {
    let failed = |error: &Error| -> ! {
        panic!(
            "{fault:?} in {:?}, {:?}: {}",
            start.mode,
            start.from,
            verify::text(error)
        )
    };
    let disk = RecordingDisk::after(disk.bytes(), disk.done());
    let options = || start.mode.options();
    let database = options()
        .open_on(disk.clone())
        .unwrap_or_else(|error| failed(&error));
    let mut expected = verify::state(&database).unwrap();
    let batch = verify::another_batch().unwrap();
    let stored = database
        .store(&batch)
        .and_then(|_| match start.mode.durability {
            Durability::Deferred => database.flush(),
            _ => Ok(()),
        });
    stored.unwrap_or_else(|error| failed(&error));
    expected.samples.extend(batch);
    let done = disk.done();
    drop(database);
    let cuts = [Way::Durable, Way::Torn].map(|way| (done.len(), way));
    for image in images(
        &start.base,
        &done,
        cuts.to_vec(),
        &mut Random::new(fault.nth as u64),
    ) {
        let disk = RecordingDisk::of(image.bytes, false);
        let database = options()
            .open_on(disk)
            .unwrap_or_else(|error| failed(&error));
        let found = verify::state(&database).unwrap();
        assert!(
            found == expected,
            "{fault:?}: {} samples instead of {} behind a loss of power",
            found.samples.len(),
            expected.samples.len()
        );
    }
}

/// Carries out operations while the disk fails; says whether it could be opened.
fn run(start: &Start, disk: &Arc<FaultyDisk>, model: &mut Model, fault: Fault) -> bool {
    // With next to no cache, so that there is something to read.
    let options = start.mode.options().cache_bytes(128 << 10);
    let database = match options.open_on(disk.clone()) {
        Ok(database) => database,
        Err(error) => {
            assert_typed(&error, fault);
            assert_first(&error, fault);
            return false;
        }
    };
    for number in start.from.operations() {
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
                if makes_durable || start.mode.durability == Durability::Immediate {
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
    true
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

/// What a sweep met.
struct Swept {
    /// Operations on the disk, each of which failed once.
    met: usize,
    /// So many of them are of opening, which failed with them.
    of_opening: usize,
}

/// Repeats the workload with this fault at every operation that it meets.
fn sweep(start: &Start, what: What, lasts: bool, errno: i32) -> Swept {
    let mode = start.mode;
    let mut of_opening = 0;
    for nth in 0.. {
        let fault = Fault {
            what,
            nth,
            lasts,
            errno,
        };
        let disk = FaultyDisk::of(start.disk(), fault);
        let mut model = start.model.clone();
        let ran = catch_unwind(AssertUnwindSafe(|| run(start, &disk, &mut model, fault)));
        let Ok(is_opened) = ran else {
            panic!("{fault:?} in {mode:?}, {:?}", start.from);
        };
        of_opening += usize::from(!is_opened);
        assert_kept(mode, disk.disk.bytes(), &model, false, fault);
        let done = disk.disk.done();
        // What a read that fails leads to is nothing that the power has to do with.
        let ways: &[Way] = match (what, start.from) {
            (What::Reads, _) => &[],
            (_, From::Closed) if errno == EIO => &[Way::Durable, Way::Torn],
            // By turns.
            _ if nth.is_multiple_of(2) => &[Way::Durable],
            _ => &[Way::Torn],
        };
        let cuts = ways.iter().map(|way| (done.len(), *way)).collect();
        for image in images(&start.base, &done, cuts, &mut Random::new(nth as u64)) {
            assert_kept(mode, image.bytes, &model, true, fault);
        }
        if what == What::Syncs || what != What::Reads && nth % 8 == 3 {
            assert_becomes_durable(start, &disk.disk, fault);
        }
        if !disk.has_failed() {
            assert!(is_opened, "nothing failed");
            return Swept {
                met: nth,
                of_opening,
            };
        }
    }
    unreachable!("there is an end to what a workload does");
}

/// Every operation of one kind fails, once, from then on or both, in each of these modes, and there are at least so many of them.
fn sweep_modes(
    modes: &[Mode],
    from: From,
    what: What,
    errno: i32,
    lasts: &[bool],
    at_least: usize,
) {
    for mode in modes {
        let start = Start::of(*mode, from);
        for lasts in lasts {
            let Swept { met, of_opening } = sweep(&start, what, *lasts, errno);
            println!(
                "{met} {what:?} of a file {from:?}, {of_opening} of them of opening it, in {mode:?}, error {errno}, from then on: {lasts}"
            );
            assert!(met >= at_least, "only {met} of {what:?} in {mode:?}");
            let opens = from.is_closed() || what == What::Resizes || of_opening > 0;
            assert!(opens, "no {what:?} of opening failed in {mode:?}");
        }
    }
}

/// The least number of operations of each kind that are met.
struct AtLeast {
    reads: usize,
    writes: usize,
    syncs: usize,
    resizes: usize,
}

/// Every fault there is, in every mode.
fn sweep_everything(from: From, at_least: &AtLeast) {
    const BOTH: [bool; 2] = [false, true];
    let AtLeast {
        reads,
        writes,
        syncs,
        resizes,
    } = *at_least;
    sweep_modes(&MODES, from, What::Reads, EIO, &BOTH, reads);
    sweep_modes(&MODES, from, What::Writes, EIO, &BOTH, writes);
    sweep_modes(&MODES, from, What::Syncs, EIO, &BOTH, syncs);
    sweep_modes(&MODES, from, What::Resizes, EIO, &BOTH, resizes);
    sweep_modes(&MODES, from, What::Writes, ENOSPC, &BOTH, writes);
    sweep_modes(&MODES, from, What::Resizes, ENOSPC, &BOTH, resizes);
    for errno in [EBADF, EROFS] {
        sweep_modes(
            &MODES,
            from,
            What::Changes,
            errno,
            &[true],
            writes + syncs + resizes,
        );
    }
}

#[test]
fn the_workload_has_every_operation() {
    let names: std::collections::BTreeSet<_> = From::Closed
        .operations()
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
    sweep_modes(&MODES, From::Closed, What::Reads, EIO, &[false, true], 200);
}

#[test]
fn every_write_fails() {
    sweep_modes(&MODES, From::Closed, What::Writes, EIO, &[false, true], 150);
}

#[test]
fn every_sync_fails() {
    sweep_modes(&MODES, From::Closed, What::Syncs, EIO, &[false, true], 20);
}

#[test]
fn every_resize_fails() {
    sweep_modes(&MODES, From::Closed, What::Resizes, EIO, &[false, true], 4);
}

#[test]
fn the_disk_is_full_at_every_write_and_resize() {
    for (what, at_least, of_little) in [(What::Writes, 150, 60), (What::Resizes, 4, 1)] {
        let (first, others) = MODES.split_at(1);
        let both = [false, true];
        sweep_modes(first, From::Closed, what, ENOSPC, &both, at_least);
        sweep_modes(
            others,
            From::ClosedForLittle,
            what,
            ENOSPC,
            &both,
            of_little,
        );
    }
}

#[test]
fn the_handle_turns_read_only_at_every_change() {
    for errno in [EBADF, EROFS] {
        let (first, others) = MODES.split_at(1);
        let what = What::Changes;
        sweep_modes(first, From::Closed, what, errno, &[true], 174);
        sweep_modes(others, From::ClosedForLittle, what, errno, &[true], 70);
    }
}

#[test]
fn everything_fails_while_a_file_is_made() {
    let at_least = AtLeast {
        reads: 6,
        writes: 30,
        syncs: 10,
        resizes: 2,
    };
    sweep_everything(From::Nothing, &at_least);
}

#[test]
fn everything_fails_while_a_log_is_replayed() {
    let at_least = AtLeast {
        reads: 40,
        writes: 10,
        syncs: 6,
        resizes: 0,
    };
    sweep_everything(From::Killed, &at_least);
}

#[test]
fn everything_fails_while_every_page_is_looked_at() {
    let at_least = AtLeast {
        reads: 30,
        writes: 12,
        syncs: 9,
        resizes: 0,
    };
    sweep_everything(From::KilledBehindCompacting, &at_least);
}

/// What the sweeps rely on: what is left to whoever opens such a file is more than to open it.
#[test]
fn files_of_writers_that_were_killed_are_repaired() {
    for mode in MODES {
        for from in [From::Closed, From::Killed, From::KilledBehindCompacting] {
            let is_told = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&is_told);
            let options = mode.options();
            let options = options.on_repair(move |_| told.store(true, Ordering::SeqCst));
            options.open_on(Start::of(mode, from).disk()).unwrap();
            // Beside readers there is no log.
            let is_repaired = match from {
                From::Killed => !mode.shared_readers,
                from => from == From::KilledBehindCompacting,
            };
            let is_told = is_told.load(Ordering::SeqCst);
            assert_eq!(is_told, is_repaired, "{from:?} in {mode:?}");
        }
    }
}
