//! [`Batch`]: samples that are stored, changed and deleted together, so that in every state all of them are there, alike, or none.

use chrono::{DateTime, Utc};
use samplestore::{Query, Sample, Status, data};

/// Samples of one batch.
pub(super) const SIZE: u64 = 20;
/// Instants of batches lie below this one, in microseconds, and those of tickets from it on.
pub(super) const INSTANTS: u64 = 1_000_000;

/// The pipeline of the samples that are there throughout.
pub(super) const STEADY: &str = "steady";
/// The pipeline of the batches that are submitted for a ticket.
pub(super) const TICKETS: &str = "tickets";
const PIPELINES: [&str; 3] = ["a", "b", "c"];

/// Who stores a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// One writer alone.
    Of(u64),
    /// Every writer, as it comes.
    Shared,
    /// The one who waits for tickets.
    Tickets,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) run: u64,
    pub(super) lane: Lane,
    pub(super) number: u64,
}

pub(super) fn instant(micros: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros as i64).unwrap()
}

/// The batch that an id is of, as text.
pub(super) fn batch_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(batch, _)| batch)
}

/// The version with which a sample was stored, of those that are of a batch.
pub(super) fn version(sample: &Sample) -> Option<u64> {
    sample.data().get("version").unwrap()?.as_u64()
}

impl Batch {
    pub(super) fn ids(self) -> impl Iterator<Item = String> {
        let lane = match self.lane {
            Lane::Of(writer) => format!("w{writer}"),
            Lane::Shared => "shared".to_owned(),
            Lane::Tickets => TICKETS.to_owned(),
        };
        (0..SIZE).map(move |at| format!("{}-{lane}-{}-{at}", self.run, self.number))
    }

    pub(super) fn query(self) -> Query {
        Query::new().ids(self.ids())
    }

    /// Its samples in a version, from this instant on.
    pub(super) fn samples(self, version: u64, status: Status, micros: u64) -> Vec<Sample> {
        let sample = |(at, id): (usize, String)| {
            let pipeline = match self.lane {
                Lane::Tickets => TICKETS,
                // Another one each time, so that replacing moves between pipelines.
                Lane::Of(_) | Lane::Shared => PIPELINES[(at + version as usize) % 3],
            };
            Sample::builder(pipeline)
                .id(id)
                .status(status)
                .created_at(instant(micros + at as u64))
                .data(data! { "version" => version, "text" => "x".repeat(at * 10) })
                .build()
                .unwrap()
        };
        self.ids()
            .enumerate()
            .map(|pair| sample((pair.0, pair.1)))
            .collect()
    }
}
