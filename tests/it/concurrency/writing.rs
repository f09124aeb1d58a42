//! Those who write: batches of their own and of all, batches for tickets, and what keeps a file small.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;

use samplestore::{
    Backup, Database, ErrorKind, Prune, Query, Result, Sample, Status, Storage, Ticket, Writer,
};

use super::batch::{AT_TIMES_INDEXED, Batch, INSTANTS, Lane, SIZE, TICKETS};
use super::reading::check_all;
use super::{Run, Violation, failed};
use crate::crash::random::Random;

/// Batches that a writer has in the file at most.
const LIVE_BATCHES: usize = 50;
/// Batches that all writers store.
const SHARED_BATCHES: u64 = 3;
/// Batches of tickets that are kept, and tickets that wait at most.
const TICKET_BATCHES: u64 = 40;
const TICKETS_WAITING: usize = 16;

/// How batches are stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Store {
    Whole,
    /// In two commits, which must be found out.
    InHalves,
}

impl Store {
    fn store(self, database: &Database, samples: &[Sample]) -> Result<()> {
        match self {
            Self::Whole => database.store(samples).map(drop),
            Self::InHalves => {
                let (first, second) = samples.split_at(samples.len() / 2);
                database.store(first)?;
                database.store(second).map(drop)
            }
        }
    }
}

/// One writer.
pub(super) struct Writing<'a> {
    run: &'a Run<'a>,
    number: u64,
    random: Random,
    /// The batches of its own that are there, and how.
    live: BTreeMap<u64, Vec<Sample>>,
    /// The next batch, and the next version of any.
    next: u64,
}

impl<'a> Writing<'a> {
    pub(super) fn new(run: &'a Run<'a>, number: u64, random: Random) -> Self {
        Self {
            run,
            number,
            random,
            live: BTreeMap::new(),
            next: 0,
        }
    }

    fn batch(&self, lane: Lane, number: u64) -> Batch {
        let run = self.run.number;
        Batch { run, lane, number }
    }

    /// A version that no other writer has.
    fn version(&mut self) -> u64 {
        self.next += 1;
        self.next * super::WRITERS + self.number
    }

    /// Changes something, and sees that it is so.
    pub(super) fn step(&mut self) -> std::result::Result<(), Violation> {
        let database = self.run.database;
        let version = self.version();
        let status = self.random.pick(&Status::ALL);
        let lane = Lane::Of(self.number);
        let some = self.random.below(self.live.len().max(1) as u64) as usize;
        let some = self.live.keys().nth(some).copied();
        let kind = self.random.below(100);
        let (number, expected) = match (kind, some) {
            (90.., _) => {
                let number = self.random.below(SHARED_BATCHES);
                let batch = self.batch(Lane::Shared, number);
                let samples = batch.samples(version, status, number * 1_000);
                return self.run.store.store(database, &samples).map_err(failed);
            }
            (0..30, Some(number)) => {
                // Where it was in time, so that no walk meets it again.
                let first = self.live[&number][0].created_at();
                let micros = first.timestamp_micros() as u64;
                let samples = self.batch(lane, number).samples(version, status, micros);
                self.run.store.store(database, &samples).map_err(failed)?;
                (number, samples)
            }
            (30..55, Some(number)) => {
                let selection = self.batch(lane, number).query().into();
                let moved = database.set_status(&selection, None, status);
                if moved.map_err(failed)? != SIZE {
                    return Err(format!("not all of batch {number} could be moved"));
                }
                let moved = self.live[&number].iter().map(|sample| {
                    let sample = sample.clone().into_builder();
                    sample.status(status).build().unwrap()
                });
                (number, moved.collect())
            }
            (55..75, Some(number)) => self.delete(lane, number)?,
            _ if self.live.len() >= LIVE_BATCHES => self.delete(lane, some.unwrap_or_default())?,
            _ => {
                let micros = self.random.below(INSTANTS - SIZE);
                let samples = self.batch(lane, version).samples(version, status, micros);
                self.run.store.store(database, &samples).map_err(failed)?;
                (version, samples)
            }
        };
        // What was acknowledged is there for whoever reads next.
        let found = database.list(&self.batch(lane, number).query());
        if found.map_err(failed)?.samples != expected {
            return Err(format!("batch {number} is not as its writer left it"));
        }
        match expected.is_empty() {
            true => self.live.remove(&number),
            false => self.live.insert(number, expected),
        };
        Ok(())
    }

    fn delete(
        &self,
        lane: Lane,
        number: u64,
    ) -> std::result::Result<(u64, Vec<Sample>), Violation> {
        let selection = self.batch(lane, number).query().into();
        match self.run.database.delete(&selection).map_err(failed)? {
            SIZE => Ok((number, Vec::new())),
            deleted => Err(format!("{deleted} of batch {number} were deleted")),
        }
    }
}

/// Submits batches, and has somebody wait for their tickets.
pub(super) fn submit(run: &Run<'_>) {
    let writer = match Writer::new(run.database.clone()) {
        Ok(writer) => writer,
        Err(error) => return run.violate(failed(error)),
    };
    let (sender, tickets) = mpsc::sync_channel(TICKETS_WAITING);
    thread::scope(|scope| {
        scope.spawn(|| wait(run, tickets));
        for number in 0.. {
            if run.is_over() {
                break;
            }
            let batch = Batch {
                run: run.number,
                lane: Lane::Tickets,
                number,
            };
            let micros = ticket_instants(run.number, number);
            match writer.submit(batch.samples(number, Status::Pending, micros)) {
                Ok(ticket) => {
                    run.submitted.store(number + 1, Relaxed);
                    // Whoever waits has gone when a ticket failed, which is told.
                    let _ = sender.send((batch, ticket));
                }
                Err(error) => run.violate(failed(error)),
            }
        }
        drop(sender);
    });
}

/// Where the instants of a batch of tickets begin: later than those of all before it.
pub(super) fn ticket_instants(run: u64, number: u64) -> u64 {
    INSTANTS + (run << 40) + number * SIZE
}

/// Sees that what a ticket says is stored is there.
fn wait(run: &Run<'_>, tickets: mpsc::Receiver<(Batch, Ticket)>) {
    for (batch, ticket) in tickets {
        let waited = ticket.wait().map_err(failed).and_then(|receipt| {
            let found = run.database.count(&batch.query()).map_err(failed)?;
            match (receipt.samples(), found) {
                (SIZE, SIZE) => Ok(()),
                (samples, found) => Err(format!(
                    "a ticket says that {samples} samples are stored, and {found} are there"
                )),
            }
        });
        match waited {
            Ok(()) => run.tally.tickets.fetch_add(1, Relaxed),
            Err(violation) => return run.violate(violation),
        };
    }
}

/// Compacts, prunes the batches of tickets, flushes, makes or removes an index of a field, and now and then copies or checks the whole
/// file.
pub(super) fn keep(run: &Run<'_>, random: &mut Random) -> std::result::Result<(), Violation> {
    let database = run.database;
    // At least one in each mode.
    let is_to_copy = run.tally.copied.load(Relaxed) <= run.number;
    match if is_to_copy { 5 } else { random.below(12) } {
        0 => {
            let report = database.check(|_| ()).map_err(failed)?;
            match report.is_sound() {
                true => Ok(()),
                false => Err(format!("a check found {:?}", report.faults)),
            }
        }
        1 => match database.compact() {
            Ok(_) => Ok(()),
            // Somebody holds a snapshot.
            Err(error) if error.kind() == ErrorKind::InvalidArgument => Ok(()),
            Err(error) => Err(failed(error)),
        },
        2 => database.flush().map_err(failed),
        3 | 4 => index(run),
        5 | 6 => copy(run),
        _ => {
            let prune = Prune::new().pipeline(TICKETS);
            let prune = prune.keep_newest(TICKET_BATCHES * SIZE);
            database.prune(&prune).map_err(failed).map(drop)
        }
    }
}

/// Makes a copy, and sees that it has one state.
fn copy(run: &Run<'_>) -> std::result::Result<(), Violation> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("copy.redb");
    let backed_up = run.database.backup(&path, &Backup::new());
    let samples = backed_up.map_err(failed)?;
    let copy = Database::open(&path).map_err(failed)?;
    let count = copy.count(&Query::new()).map_err(failed)?;
    if count != samples {
        return Err(format!("a copy of {samples} samples has {count}"));
    }
    check_all(&copy)?;
    run.tally.copied.fetch_add(1, Relaxed);
    Ok(())
}

/// Makes an index of a field, or removes it if it is there, and sees that it is so.
fn index(run: &Run<'_>) -> std::result::Result<(), Violation> {
    let (database, field) = (run.database, AT_TIMES_INDEXED.parse().unwrap());
    // Nobody else makes or removes it.
    let is_there = || -> std::result::Result<bool, Violation> {
        let indexes = database.indexes().map_err(failed)?;
        let found = indexes.iter().find(|index| index.field == field);
        match found.is_none_or(|index| index.progress >= 1.0) {
            true => Ok(found.is_some()),
            false => Err(format!("there is a part of an index: {indexes:?}")),
        }
    };
    let was_there = is_there()?;
    let changed = match was_there {
        true => database.drop_index(&field),
        false => database.create_index(&field, |_| ()),
    };
    if !changed.map_err(failed)? || is_there()? == was_there {
        return Err(format!(
            "of {field} there is an index still, or none still: {was_there}"
        ));
    }
    run.tally.indexed.fetch_add(1, Relaxed);
    Ok(())
}
