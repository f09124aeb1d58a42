//! [`Batch`]: samples that are stored, changed and deleted together, so that in every state all of them are there, alike, or none.

use chrono::{DateTime, Utc};
use samplestore::{Condition, Query, Sample, Status, Value, data};

use crate::crash::random::Random;

/// Samples of one batch.
pub(super) const SIZE: u64 = 20;
/// Instants of batches lie below this one, in microseconds, and those of tickets from it on.
pub(super) const INSTANTS: u64 = 1_000_000;

/// The pipeline of the samples that are there throughout.
pub(super) const STEADY: &str = "steady";
/// The pipeline of the batches that are submitted for a ticket.
pub(super) const TICKETS: &str = "tickets";
const PIPELINES: [&str; 3] = ["a", "b", "c"];

/// A field of which there is an index throughout, and one whose index comes and goes. Samples of batches have them, in several types.
pub(super) const ALWAYS_INDEXED: &str = "data.place";
pub(super) const AT_TIMES_INDEXED: &str = "data.version";

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

/// What the batches have at a place: numbers, and a string and a bool among them.
fn place(at: u64, version: u64) -> Value {
    match at {
        0 => Value::from("first"),
        1 => Value::from(version.is_multiple_of(2)),
        _ => Value::from(at),
    }
}

/// A condition of such fields: some that count the samples of whole batches alike, and some that do not.
pub(super) fn condition(version: u64, random: &mut Random) -> Condition {
    let place = random.below(SIZE);
    let text = match random.below(7) {
        0 => format!("{AT_TIMES_INDEXED} = {version}"),
        1 => format!("{AT_TIMES_INDEXED} between {version} and {}", version + 5),
        2 => format!("{AT_TIMES_INDEXED} is missing"),
        3 => format!("{ALWAYS_INDEXED} = {place}"),
        4 => format!("{ALWAYS_INDEXED} < 4 or {ALWAYS_INDEXED} = 'first'"),
        5 => format!("{ALWAYS_INDEXED} = true and {AT_TIMES_INDEXED} <= {version}"),
        _ => format!("{ALWAYS_INDEXED} is not null and not {AT_TIMES_INDEXED} = {version}"),
    };
    text.parse().unwrap()
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
                .data(data! {
                    "version" => version,
                    "place" => place(at as u64, version),
                    "text" => "x".repeat(at * 10),
                })
                .build()
                .unwrap()
        };
        self.ids()
            .enumerate()
            .map(|pair| sample((pair.0, pair.1)))
            .collect()
    }
}
