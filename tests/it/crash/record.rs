//! Recordings: operations carried out on a database whose disk remembers everything.

use std::sync::Arc;
use std::sync::mpsc;

use samplestore::simulation::Mutant;
use samplestore::{Database, Durability, Options, Result, Storage, Ticket, Writer};

use super::bytes::Bytes;
use super::disk::{Done, RecordingDisk};
use super::lane::Lane;
use super::random::Random;
use super::workload::Operation;

/// How a database is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) durability: Durability,
    pub(crate) shared_readers: bool,
    pub(crate) by: By,
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// One thread, operation after operation.
    One,
    /// Several threads, whose stores share commits.
    Threads,
    /// A background writer; what is known to be durable its tickets say.
    Tickets,
}

/// Durability, and whether readers share the file.
const OPENINGS: [(Durability, bool); 3] = [
    (Durability::Immediate, false),
    (Durability::Deferred, false),
    (Durability::Immediate, true),
];

impl Mode {
    /// Every durability with every way to share commits.
    pub(crate) fn all() -> Vec<Self> {
        let mut modes = Vec::new();
        for by in [By::One, By::Threads, By::Tickets] {
            for (durability, shared_readers) in OPENINGS {
                modes.push(Self {
                    durability,
                    shared_readers,
                    by,
                });
            }
        }
        modes
    }

    /// The same file opened otherwise, or in the same way.
    pub(crate) fn reopened(self, random: &mut Random) -> Self {
        let (durability, shared_readers) = random.pick(&OPENINGS);
        Self {
            durability,
            shared_readers,
            by: self.by,
        }
    }

    /// Whether two modes open a file in the same way.
    pub(crate) fn opens_as(self, other: Self) -> bool {
        self.durability == other.durability && self.shared_readers == other.shared_readers
    }

    pub(crate) fn lanes(self) -> u64 {
        match self.by {
            By::Threads => 3,
            By::One | By::Tickets => 1,
        }
    }

    /// A small log and a small cache, so that checkpoints come often and pages reach the disk between them.
    pub(crate) fn options(self) -> Options {
        Database::options()
            .durability(self.durability)
            .shared_readers(self.shared_readers)
            .cache_bytes(1 << 20)
            .log_half_bytes(64 << 10)
    }

    fn is_immediate(self) -> bool {
        self.durability == Durability::Immediate
    }
}

/// What was done to a disk, and what of it was acknowledged when.
pub(crate) struct Recording {
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    pub(crate) start: Bytes,
    pub(crate) done: Vec<Done>,
    pub(crate) lanes: Vec<Lane>,
    /// How many things had been done when the database was open.
    pub(crate) opened: usize,
}

/// How a recording is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    /// How many operations each lane has.
    pub(crate) operations: u64,
    pub(crate) mutant: Option<Mutant>,
    /// Whether the disk lies about what is durable.
    pub(crate) disk_lies: bool,
    /// Retention that removes more samples than this may be several commits.
    pub(crate) prune_samples: usize,
}

impl Plan {
    /// So many operations, and nothing that is wrong.
    pub(crate) fn of(mode: Mode, operations: u64) -> Self {
        Self {
            mode,
            seed: 0,
            operations,
            mutant: None,
            disk_lies: false,
            prune_samples: usize::MAX,
        }
    }

    /// Opens what is on the bytes, carries out operations, and closes it; half of them in a second session.
    pub(crate) fn record(self, start: Bytes, mut lanes: Vec<Lane>) -> Result<Recording> {
        let disk = RecordingDisk::of(start.clone(), self.disk_lies);
        let mut opened = None;
        for operations in [self.operations.div_ceil(2), self.operations / 2] {
            let mut options = self.mode.options();
            if let Some(mutant) = self.mutant {
                options = options.mutant(mutant);
            }
            let database = options.open_on(disk.clone())?;
            opened.get_or_insert_with(|| disk.place());
            match self.mode.by {
                By::Tickets => self.run_by_tickets(&database, &disk, &mut lanes[0], operations)?,
                By::One | By::Threads => std::thread::scope(|scope| {
                    let threads: Vec<_> = lanes
                        .iter_mut()
                        .map(|lane| scope.spawn(|| self.run(&database, &disk, lane, operations)))
                        .collect();
                    threads
                        .into_iter()
                        .try_for_each(|thread| thread.join().unwrap())
                })?,
            }
            database.close()?;
            for lane in &mut lanes {
                let last = *lane.steps_from(0).end();
                lane.is_durable(last, disk.place());
            }
        }
        Ok(Recording {
            mode: self.mode,
            seed: self.seed,
            start,
            done: disk.done(),
            lanes,
            opened: opened.unwrap_or_default(),
        })
    }

    fn run(
        self,
        database: &Database,
        disk: &RecordingDisk,
        lane: &mut Lane,
        operations: u64,
    ) -> Result<()> {
        for _ in 0..operations {
            let operation = Operation::nth(self.seed, lane.number, lane.next());
            let step = lane.begin(&operation, disk.place(), self.prune_samples);
            operation.run(database, database)?;
            if self.mode.is_immediate() || operation.makes_durable() {
                lane.is_durable(step, disk.place());
            }
        }
        Ok(())
    }

    /// Stores are submitted, and somebody else waits for their tickets.
    fn run_by_tickets(
        self,
        database: &Database,
        disk: &Arc<RecordingDisk>,
        lane: &mut Lane,
        operations: u64,
    ) -> Result<()> {
        let writer = Writer::new(database.clone())?;
        let (sender, tickets) = mpsc::channel::<(usize, Ticket)>();
        let waiter = std::thread::spawn({
            let disk = Arc::clone(disk);
            move || -> Result<Vec<(usize, usize)>> {
                let resolved = tickets.into_iter().map(|(step, ticket)| {
                    ticket.wait()?;
                    Ok((step, disk.place()))
                });
                resolved.collect()
            }
        });
        let mut acknowledged = Vec::new();
        for _ in 0..operations {
            let operation = Operation::nth(self.seed, lane.number, lane.next());
            let step = lane.begin(&operation, disk.place(), self.prune_samples);
            if let Operation::Store(samples) = operation {
                // The waiter has gone when a ticket failed, which it says in the end.
                let _ = sender.send((step, writer.submit(samples)?));
                continue;
            }
            if operation.is_of_database() {
                writer.flush()?;
            }
            operation.run(&writer, database)?;
            if self.mode.is_immediate() || operation.makes_durable() {
                acknowledged.push((step, disk.place()));
            }
        }
        drop(sender);
        let of_tickets = waiter.join().unwrap()?;
        if self.mode.is_immediate() {
            acknowledged.extend(of_tickets);
        }
        acknowledged.sort_unstable_by_key(|(_, place)| *place);
        for (step, place) in acknowledged {
            lane.is_durable(step, place);
        }
        Ok(())
    }
}
