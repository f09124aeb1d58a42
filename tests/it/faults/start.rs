//! [`Start`]: what is on a disk before it fails.

use std::ops::Range;
use std::sync::Arc;

use samplestore::{Durability, Storage};

use super::model::{Model, operation};
use crate::crash::bytes::Bytes;
use crate::crash::disk::{Done, RecordingDisk};
use crate::crash::record::Mode;
use crate::crash::workload::Operation;

/// So many operations come before the disk fails.
const BEFORE: u64 = 8;

/// What became of whoever wrote before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// It closed the file.
    Closed,
    /// The same, and little is to be done while the disk fails.
    ClosedForLittle,
    /// It was killed, with records in the log that are to be carried out again.
    Killed,
    /// It was killed right behind compacting, so that every page is to be looked at.
    KilledBehindCompacting,
    /// There was nobody, and the file is to be made.
    Nothing,
}

/// A disk before it fails, and what the database on it has.
pub(super) struct Start {
    pub(super) mode: Mode,
    pub(super) from: From,
    /// What was on it before whatever a loss of power may still take was done.
    pub(super) base: Bytes,
    bytes: Bytes,
    done: Vec<Done>,
    pub(super) model: Model,
}

impl From {
    /// The numbers of the operations that are carried out while the disk fails: a few, where opening is what it is about.
    pub(super) fn operations(self) -> Range<u64> {
        match self {
            Self::Closed => BEFORE..BEFORE + 10,
            Self::ClosedForLittle => BEFORE..BEFORE + 4,
            Self::Killed | Self::KilledBehindCompacting => BEFORE..BEFORE + 1,
            Self::Nothing => 0..1,
        }
    }

    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Closed | Self::ClosedForLittle)
    }

    /// The operations that come before.
    fn before(self) -> Vec<Operation> {
        let mut before: Vec<_> = (0..BEFORE).map(operation).collect();
        match self {
            Self::Closed | Self::ClosedForLittle => {}
            // Whatever else there is ends with an empty log.
            Self::Killed => before.extend(
                (100..)
                    .map(operation)
                    .filter(|operation| !operation.makes_durable())
                    .take(4),
            ),
            Self::KilledBehindCompacting => before.push(Operation::Compact),
            Self::Nothing => before.clear(),
        }
        before
    }
}

impl Start {
    pub(super) fn of(mode: Mode, from: From) -> Self {
        let before = from.before();
        let is_durable = |operation: &Operation| {
            mode.durability == Durability::Immediate || operation.makes_durable()
        };
        let mut start = Self {
            mode,
            from,
            base: Bytes::default(),
            bytes: Bytes::default(),
            done: Vec::new(),
            model: Model::new(before.iter().cloned()),
        };
        let durable = before.iter().rposition(is_durable);
        start.model.durable = durable.map_or(0, |last| last + 1);
        if from == From::Nothing {
            return start;
        }
        let disk = RecordingDisk::of(Bytes::default(), false);
        let database = mode.options().open_on(disk.clone()).unwrap();
        for operation in &before {
            operation.run(&database, &database).unwrap();
        }
        // As the disk is before whoever drops it closes it.
        (start.bytes, start.done) = (disk.bytes(), disk.done());
        database.close().unwrap();
        if from.is_closed() {
            start.model.durable = before.len();
            start.base = disk.bytes();
            (start.bytes, start.done) = (disk.bytes(), Vec::new());
        }
        start
    }

    /// The disk, with what of it a loss of power may still take.
    pub(super) fn disk(&self) -> Arc<RecordingDisk> {
        RecordingDisk::after(self.bytes.clone(), self.done.clone())
    }
}
