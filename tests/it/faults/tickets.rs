//! A background writer on a disk that fails.

use std::sync::Arc;

use samplestore::{Durability, ErrorKind, Query, Sample, Storage, Ticket, Writer};

use super::disk::{Fault, FaultyDisk, What};
use super::start::{From, Start};
use super::{EIO, MODES, assert_typed};
use crate::crash::disk::RecordingDisk;

/// What a background writer's tickets say when the disk fails: that it is stored, that it is not, or that nobody
/// knows; and each time the truth.
#[test]
fn tickets_say_when_nobody_knows() {
    for mode in MODES {
        let start = Start::of(mode, From::Closed);
        let mut unknown = 0;
        for what in [What::Writes, What::Syncs, What::Changes] {
            for lasts in [true, false] {
                for nth in 0.. {
                    let errno = EIO;
                    let fault = Fault {
                        what,
                        nth,
                        lasts,
                        errno,
                    };
                    let disk = FaultyDisk::of(start.disk(), fault);
                    unknown += submit_and_compare(&start, &disk, fault);
                    if !disk.has_failed() {
                        break;
                    }
                }
            }
        }
        println!("tickets of {mode:?}: {unknown} with an unknown outcome");
        assert!(unknown > 0, "{mode:?}");
    }
}

/// Stores batches by a writer, and compares what their tickets said with what is there when it is opened again. Says how many
/// were of unknown outcome.
fn submit_and_compare(start: &Start, disk: &Arc<FaultyDisk>, fault: Fault) -> usize {
    const BATCHES: u64 = 8;
    let batch = |number: u64| -> Vec<Sample> {
        (0..4)
            .map(|at| {
                let sample = Sample::builder("tickets").id(format!("t-{number}-{at}"));
                sample.build().unwrap()
            })
            .collect()
    };
    let Ok(database) = start.mode.options().open_on(disk.clone()) else {
        return 0;
    };
    let writer = Writer::new(database.clone()).unwrap();
    let tickets: Vec<_> = (0..BATCHES)
        .map(|number| writer.submit(batch(number)).unwrap())
        .collect();
    let outcomes: Vec<_> = tickets.into_iter().map(Ticket::wait).collect();
    drop((writer, database));

    let reopened = RecordingDisk::of(disk.disk.bytes(), false);
    let database = start.mode.options().open_on(reopened).unwrap();
    // A deferred commit may be lost with a sync that failed, and then all behind it.
    let may_be_lost = start.mode.durability == Durability::Deferred && disk.has_failed();
    let (mut stored, mut unknown, mut is_lost) = (0, 0, false);
    for (number, outcome) in outcomes.iter().enumerate() {
        let found = batch(number as u64)
            .iter()
            .filter(|sample| database.retrieve(sample.id()).unwrap().is_some())
            .count();
        stored += found;
        match outcome {
            Ok(receipt) => {
                assert_eq!(receipt.samples(), 4, "{fault:?}");
                is_lost |= may_be_lost && found == 0;
                let expected = if is_lost { 0 } else { 4 };
                assert_eq!(found, expected, "{fault:?}: batch {number}");
            }
            Err(error) => {
                assert_typed(error, fault);
                let is_unknown = error.kind() == ErrorKind::OutcomeUnknown;
                unknown += usize::from(is_unknown);
                assert!(found == 0 || is_unknown && found == 4, "{fault:?}: {found}");
            }
        }
    }
    let before = start.model.states.last().unwrap().samples.len();
    let count = database.count(&Query::new()).unwrap();
    assert_eq!(count, (before + stored) as u64, "{fault:?}");
    unknown
}
