//! Crashes: a loss of power at any moment of a workload leaves a database that opens, in which every
//! acknowledged batch is whole and no batch is there in part, which has the indexes of fields that were declared, whose indexes
//! agree with its samples, and which goes on.
//!
//! A workload runs on a disk in memory that records every write, resize and sync (`crash/disk.rs`,
//! `crash/record.rs`). Of the recording *images* are made (`crash/image.rs`): what may be on the disk when the power goes
//! at some moment. Each is opened and compared with the states that the samples may have then (`crash/lane.rs`,
//! `crash/verify.rs`, `crash/tally.rs`). For some, the opening and what comes after it is recorded too, and cut off again.
//!
//! The same is done in the library's own tests (`src/database/tests/crash.rs`), where chunks are so small that they fill.
//!
//! `SAMPLESTORE_CRASH_IMAGES` says how many images, 5,000 unless set; `SAMPLESTORE_CRASH_SEED` repeats a run, as far as
//! the threads in it meet in the same way.

pub(crate) mod bytes;
pub(crate) mod disk;
pub(crate) mod image;
pub(crate) mod lane;
pub(crate) mod random;
pub(crate) mod record;
pub(crate) mod tally;
pub(crate) mod verify;
pub(crate) mod workload;

use std::process::Command;

use samplestore::simulation::Mutant;
use samplestore::{Durability, Query};

use self::bytes::Bytes;
use self::disk::RecordingDisk;
use self::image::{Way, images};
use self::random::Random;
use self::record::{By, Mode, Plan};
use self::tally::{Lost, Tally, WORKLOAD_IMAGES, number_in};
use self::verify::Loss;
use self::workload::model::State;
use self::workload::{Operation, fields};

/// Operations of one workload, in each lane.
const OPERATIONS: u64 = 36;
/// Images that must show in each mode that the disk lies.
const LIES_SEEN: usize = 5;
/// Seeds and images of runs that lost one once. The file had been made shorter, and of the pages of the last commit there were the header's and
/// a root.
const LOST_ONCE: [(u64, usize); 1] = [(2_521_070_882, 2 * WORKLOAD_IMAGES)];
/// Make a process the one whose disk lies, and say in which mode.
const LIAR_SEED: &str = "SAMPLESTORE_CRASH_LIAR_SEED";
const LIAR_MODE: &str = "SAMPLESTORE_CRASH_LIAR_MODE";

#[test]
fn whatever_a_loss_of_power_leaves_has_all_that_was_acknowledged() {
    tally::nothing_is_lost(5_000, |mode| Plan::of(mode, OPERATIONS));
}

/// The losses among so many images of plans that must have some.
fn losses(count: usize, seed: u64, plan: impl Fn(u64) -> Plan + Sync) -> Vec<Lost> {
    let tally = Tally::default();
    tally.run(count, seed, plan);
    tally.lost.into_inner().unwrap()
}

/// Runs of which one image was lost once, as long as workloads are what they were then.
#[test]
fn what_was_lost_once_is_not_again() {
    let modes = Mode::all();
    for (seed, images) in LOST_ONCE {
        let mode = |number: u64| modes[number as usize % modes.len()];
        let lost = losses(images, seed, |number| Plan::of(mode(number), OPERATIONS));
        assert!(lost.is_empty(), "seed {seed}: {}", lost[0]);
    }
}

/// Not a test of its own: what [`a_disk_that_lies_about_what_is_durable_is_caught`] runs in another process, since
/// redb's destructors may panic on what such a disk leaves while it is panicking already, which aborts the process.
#[test]
fn child_has_a_disk_that_lies() {
    let (Some(seed), Some(mode)) = (number_in(LIAR_SEED), number_in(LIAR_MODE)) else {
        return;
    };
    let mode = Mode::all()[mode as usize];
    let lost = losses(WORKLOAD_IMAGES, seed, |_| Plan {
        disk_lies: true,
        ..Plan::of(mode, OPERATIONS)
    });
    println!("samples lost {}", lost.iter().filter(is_of_samples).count());
}

fn is_of_samples(lost: &&Lost) -> bool {
    matches!(lost.loss, Loss::Samples(_))
}

#[test]
fn a_disk_that_lies_about_what_is_durable_is_caught_in_every_mode() {
    let lost_by_child = |mode: usize, seed: u64| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "crash::child_has_a_disk_that_lies",
                "--exact",
                "--nocapture",
            ])
            .env(LIAR_SEED, seed.to_string())
            .env(LIAR_MODE, mode.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(child.stdout).unwrap();
        let mut counts = text
            .lines()
            .filter_map(|line| line.split_once("samples lost "));
        // One that was aborted says nothing.
        counts
            .next()
            .map_or(0, |(_, count)| count.parse::<usize>().unwrap())
    };
    for (number, mode) in Mode::all().into_iter().enumerate() {
        let mut of_samples = 0;
        let mut seeds = (0..8).map(|round| 1 + 100 * round + number as u64);
        while of_samples < LIES_SEEN {
            let Some(seed) = seeds.next() else {
                panic!("{of_samples} images of samples that were lost in {mode:?}");
            };
            of_samples += lost_by_child(number, seed);
        }
        println!("{of_samples} lies seen in {mode:?}");
    }
}

/// That workloads of a mutant lose what `is_its` of it, whoever writes, and whether other processes read along or not.
fn assert_caught(mutant: Mutant, is_its: impl Fn(&Loss) -> bool) {
    for (durability, shared_readers, by, images, at_least) in [
        (Durability::Immediate, false, By::One, 600, 21),
        (Durability::Immediate, true, By::One, 600, 21),
        (Durability::Deferred, false, By::One, 240, 11),
        (Durability::Immediate, false, By::Threads, 240, 11),
        (Durability::Immediate, true, By::Tickets, 240, 11),
    ] {
        let mode = Mode {
            durability,
            shared_readers,
            by,
        };
        let lost = losses(images, 1, |_| Plan {
            mutant: Some(mutant),
            ..Plan::of(mode, OPERATIONS)
        });
        let its = lost.iter().filter(|lost| is_its(&lost.loss)).count();
        println!("{its} of {} losses of {mutant:?} in {mode:?}", lost.len());
        assert!(its >= at_least, "{its} of {} in {mode:?}", lost.len());
    }
}

#[test]
fn an_index_that_follows_in_a_second_transaction_is_caught() {
    assert_caught(Mutant::CountsInSecondTransaction, |loss| {
        matches!(loss, Loss::Index(_))
    });
}

#[test]
fn an_index_of_a_field_that_follows_in_a_second_transaction_is_caught() {
    assert_caught(Mutant::FieldsInSecondTransaction, |loss| {
        matches!(loss, Loss::Field(_))
    });
}

/// What the checks of images rely on: conditions are answered by an index where there is one.
#[test]
fn conditions_of_the_workload_use_the_indexes_that_it_has() {
    let disk = RecordingDisk::of(Bytes::default(), false);
    let database = Mode::all()[0].options().open_on(disk).unwrap();
    let (mut asked, mut used) = (0, 0);
    for number in 0..200 {
        Operation::nth(5, 0, number)
            .run(&database, &database)
            .unwrap();
        let indexes = State::of(&database).unwrap().indexes;
        for condition in fields::conditions(0, number) {
            let explain = database
                .explain(&Query::new().condition(condition))
                .unwrap();
            assert!(explain.field_indexes.iter().all(|field| indexes[field]));
            asked += usize::from(!indexes.is_empty());
            used += usize::from(!explain.field_indexes.is_empty());
        }
    }
    assert!(asked > 200 && used > asked / 5, "{used} of {asked}");
}

/// Whoever is told that there is an index already, while another is about to make it durable.
#[test]
fn an_index_that_was_acknowledged_survives_also_when_another_has_made_it() {
    for durability in [Durability::Immediate, Durability::Deferred] {
        let mode = Mode {
            durability,
            ..Mode::all()[0]
        };
        let disk = RecordingDisk::of(Bytes::default(), false);
        let database = mode.options().open_on(disk.clone()).unwrap();
        for number in 0..6 {
            Operation::nth(5, 0, number)
                .run(&database, &database)
                .unwrap();
        }
        let field = fields::parse("data.n0");
        let mut places = Vec::new();
        database
            .create_index(&field, |_| {
                assert!(!database.create_index(&field, |_| ()).unwrap());
                places.push((disk.place(), Way::Durable));
            })
            .unwrap();
        let images = images(&Bytes::default(), &disk.done(), places, &mut Random::new(0));
        let crashed = RecordingDisk::of(images[0].bytes.clone(), false);
        let found = State::of(&mode.options().open_on(crashed).unwrap()).unwrap();
        assert_eq!(found.indexes.get("data.n0"), Some(&true), "{durability:?}");
    }
}
