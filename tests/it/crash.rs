//! Crashes: a loss of power at any moment of a workload leaves a database that opens, in which every
//! acknowledged batch is whole and no batch is there in part, whose indexes agree with its samples, and which goes on.
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

use samplestore::Durability;
use samplestore::simulation::Mutant;

use self::record::{By, Mode, Plan};
use self::tally::{Lost, Tally, WORKLOAD_IMAGES, number_in};
use self::verify::Loss;

/// Operations of one workload, in each lane.
const OPERATIONS: u64 = 36;
/// Makes a process the one whose disk lies.
const LIAR_SEED: &str = "SAMPLESTORE_CRASH_LIAR_SEED";

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

/// Not a test of its own: what [`a_disk_that_lies_about_what_is_durable_is_caught`] runs in another process, since
/// redb's destructors may panic on what such a disk leaves while it is panicking already, which aborts the process.
#[test]
fn child_has_a_disk_that_lies() {
    let Some(seed) = number_in(LIAR_SEED) else {
        return;
    };
    for (mode, seed) in Mode::all().into_iter().zip(seed..) {
        let lost = losses(WORKLOAD_IMAGES, seed, |_| Plan {
            disk_lies: true,
            ..Plan::of(mode, OPERATIONS)
        });
        let losses = lost.iter().map(|lost| &lost.loss);
        let of_samples = losses.filter(|loss| matches!(loss, Loss::Samples(_)));
        println!("samples lost {}", of_samples.count());
    }
}

#[test]
fn a_disk_that_lies_about_what_is_durable_is_caught() {
    let lost_by_child = |seed: u64| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "crash::child_has_a_disk_that_lies",
                "--exact",
                "--nocapture",
            ])
            .env(LIAR_SEED, seed.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(child.stdout).unwrap();
        let counts = text
            .lines()
            .filter_map(|line| line.split_once("samples lost "));
        counts
            .map(|(_, count)| count.parse::<u64>().unwrap())
            .sum::<u64>()
    };
    // One that was aborted has not told of all.
    let seeds = (0..5).map(|round| 1 + 100 * round);
    let mut of_samples = 0;
    for seed in seeds {
        of_samples += lost_by_child(seed);
        if of_samples > 20 {
            return;
        }
    }
    panic!("{of_samples} images of samples that were lost");
}

#[test]
fn an_index_that_follows_in_a_second_transaction_is_caught() {
    for shared_readers in [false, true] {
        let mode = Mode {
            durability: Durability::Immediate,
            shared_readers,
            by: By::One,
        };
        let lost = losses(600, 1, |_| Plan {
            mutant: Some(Mutant::CountsInSecondTransaction),
            ..Plan::of(mode, OPERATIONS)
        });
        let of_index = lost
            .iter()
            .filter(|lost| matches!(lost.loss, Loss::Index(_)))
            .count();
        assert!(of_index > 20, "{of_index} of {}", lost.len());
    }
}
