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

/// That the workloads are of what the test above is for.
#[test]
fn chunks_fill_and_ids_are_merged_in_every_mode() {
    for mode in Mode::all() {
        let plan = Plan {
            seed: 7,
            ..plan(mode)
        };
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
        let (runs, ids) = (entries("created_runs"), entries("ids"));
        assert!(
            runs > 0 && ids > 0,
            "{mode:?}: {runs} of runs, {ids} of ids"
        );
        database.close().unwrap();
    }
}
