//! Losses of power while chunks fill and ids are merged into their buckets: what a small log and a thousand samples reach here
//! alone (see `schema.rs`). The machinery is that of `tests/it/crash.rs`.

use self::machinery::bytes::Bytes;
use self::machinery::disk::RecordingDisk;
use self::machinery::image::{Way, images};
use self::machinery::lane::Lane;
use self::machinery::random::Random;
use self::machinery::record::{Mode, Plan};
use self::machinery::tally;
use crate::storage::Storage;

/// Operations of one workload in all its lanes: so many that a chunk fills.
const OPERATIONS: u64 = 180;

#[path = "../../../tests/it/crash"]
#[allow(dead_code)] // what other tests need of it
mod machinery {
    pub(crate) mod bytes;
    pub(crate) mod disk;
    pub(crate) mod image;
    pub(crate) mod lane;
    pub(crate) mod random;
    pub(crate) mod record;
    pub(crate) mod tally;
    pub(crate) mod verify;
    pub(crate) mod workload;
}

fn plan(mode: Mode) -> Plan {
    Plan {
        prune_samples: 0, // its steps are small here too
        ..Plan::of(mode, OPERATIONS / mode.lanes())
    }
}

#[test]
fn a_loss_of_power_while_chunks_fill_and_ids_are_merged_loses_nothing() {
    tally::nothing_is_lost(1_000, plan);
}

/// That the workloads are of what the test above is for. What fills retention may clear again, but not in each of a few of them.
#[test]
fn chunks_fill_and_ids_are_merged_in_every_mode() {
    for mode in Mode::all() {
        let ends: Vec<_> = (7..12).map(|seed| runs_and_ids(mode, seed)).collect();
        let is_met = |(runs, ids): &(u64, u64)| *runs > 0 && *ids > 0;
        assert!(
            ends.iter().any(is_met),
            "{mode:?}: {ends:?} of runs and ids"
        );
    }
}

/// The entries that the time index and the index of ids have at the end of a workload.
fn runs_and_ids(mode: Mode, seed: u64) -> (u64, u64) {
    let plan = Plan { seed, ..plan(mode) };
    let lanes = (0..mode.lanes()).map(|number| Lane::new(plan.seed, number, 0));
    let recording = plan.record(Bytes::default(), lanes.collect()).unwrap();
    let whole = (recording.done.len(), Way::Prefix);
    let start = &recording.start;
    let images = images(start, &recording.done, vec![whole], &mut Random::new(0));
    let disk = RecordingDisk::of(images[0].bytes.clone(), false);
    let database = mode.options().open_on(disk).unwrap();
    let sizes = database
        .engine
        .view("test")
        .unwrap()
        .tables
        .sizes()
        .unwrap();
    let entries = |name: &str| sizes.iter().find(|table| table.0 == name).unwrap().1;
    let both = (entries("created_runs"), entries("ids"));
    database.close().unwrap();
    both
}
