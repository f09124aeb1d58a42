//! What must hold of a database that was opened after a crash: it has the samples and the indexes of fields of one of the states
//! that it may have, every index agrees with the samples, and it goes on.

use std::fmt;

use samplestore::{Database, Facets, FaultKind, Query, Sample, Status, Storage, data};

use super::lane::{Lane, Reached};
use super::workload::model::State;
use super::workload::{self, fields, instant};

/// What is wrong with a database, and with what of it.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    /// It does not open.
    Opening(String),
    /// What was acknowledged is missing, or something is there in part.
    Samples(String),
    /// An index does not agree with the samples.
    Index(String),
    /// An index of a field does not, or a condition has another answer than theirs.
    Field(String),
    /// It takes nothing more, or forgets it.
    GoingOn(String),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening(what) => write!(f, "it does not open: {what}"),
            Self::Samples(what) => write!(f, "samples are lost: {what}"),
            Self::Index(what) => write!(f, "an index is wrong: {what}"),
            Self::Field(what) => write!(f, "an index of a field is wrong: {what}"),
            Self::GoingOn(what) => write!(f, "it does not go on: {what}"),
        }
    }
}

/// Everything in the database.
pub(crate) fn state(database: &Database) -> Result<State, Loss> {
    State::of(database).map_err(|error| Loss::Samples(text(&error)))
}

/// How far each lane has come in the database, between these steps.
pub(crate) fn reached(
    found: &State,
    lanes: &[Lane],
    steps: impl Fn(&Lane) -> std::ops::RangeInclusive<usize>,
) -> Result<Vec<Reached>, Loss> {
    let known = lanes
        .iter()
        .map(|lane| lane.find(found, steps(lane)).map_err(Loss::Samples))
        .collect::<Result<Vec<_>, _>>()?;
    // Whoever has another prefix is of no lane.
    let is_of_lane = |sample: &&Sample| {
        let mut prefixes = lanes.iter().map(|lane| workload::prefix(lane.number));
        prefixes.any(|prefix| sample.id().starts_with(&prefix))
    };
    let of_lanes: Vec<_> = lanes
        .iter()
        .flat_map(|lane| fields::fields(lane.number))
        .collect();
    let is_known = found.samples.iter().all(|sample| is_of_lane(&sample))
        && found.indexes.keys().all(|field| of_lanes.contains(field));
    match is_known {
        true => Ok(known),
        false => Err(Loss::Samples(
            "there are samples or indexes of no lane".to_owned(),
        )),
    }
}

/// That every way to ask gives the samples of this state, in order of time, and no others. What is asked is of these lanes.
pub(crate) fn check(database: &Database, state: &State, lanes: &[u64]) -> Result<(), Loss> {
    let expected = &state.samples;
    // Of the fields of one lane alone, by turns.
    if let Some(lane) = lanes.get(expected.len() % lanes.len().max(1)) {
        check_fields(database, state, *lane)?;
    }
    for query in queries(expected, lanes) {
        let matching = expected
            .iter()
            .filter(|sample| query.matches(sample).unwrap());
        let listed = database
            .list(&query)
            .map_err(|error| wrong(&query, "list", &text(&error)))?;
        if !listed.samples.iter().eq(matching.clone()) {
            return Err(wrong(&query, "list", "it is another one"));
        }
        let count = database
            .count(&query)
            .map_err(|error| wrong(&query, "count", &text(&error)))?;
        if count != matching.clone().count() as u64 {
            let real = matching.count();
            return Err(wrong(
                &query,
                "count",
                &format!("{count} instead of {real}"),
            ));
        }
        let mut facets = Facets::new();
        for sample in matching {
            facets.add(sample.pipeline(), sample.status(), 1);
        }
        let found = database
            .facets(&query)
            .map_err(|error| wrong(&query, "facets", &text(&error)))?;
        if found != facets {
            return Err(wrong(
                &query,
                "facets",
                &format!("{found:?} instead of {facets:?}"),
            ));
        }
    }
    let newest = database
        .list(&Query::new().newest_first())
        .map_err(|error| Loss::Index(text(&error)))?;
    if !newest.samples.iter().eq(expected.iter().rev()) {
        return Err(Loss::Index("newest first is another order".to_owned()));
    }
    for sample in expected {
        match database.retrieve(sample.id()) {
            Ok(Some(found)) if found == *sample => {}
            Ok(found) => {
                let id = sample.id();
                return Err(Loss::Index(format!("the id {id} gives {found:?}")));
            }
            Err(error) => return Err(Loss::Index(text(&error))),
        }
    }
    Ok(())
}

/// The same of conditions of a lane's fields, whether there is an index of them or not.
fn check_fields(database: &Database, state: &State, lane: u64) -> Result<(), Loss> {
    let number = state.samples.len() as u64;
    for (at, condition) in (number..).zip(fields::conditions(lane, number)) {
        let matching = state
            .samples
            .iter()
            .filter(|sample| condition.matches(sample).unwrap());
        let query = Query::new().condition(condition.clone());
        // By turns, since each asks the condition of many records.
        let answer = match at.is_multiple_of(2) {
            true => database
                .list(&query)
                .map(|page| page.samples.iter().eq(matching)),
            false => database
                .count(&query)
                .map(|count| count == matching.count() as u64),
        };
        let what = match answer {
            Ok(true) => continue,
            Ok(false) => "it is another one".to_owned(),
            Err(error) => text(&error),
        };
        let asked = if at.is_multiple_of(2) {
            "list"
        } else {
            "count"
        };
        let indexes = &state.indexes;
        return Err(Loss::Field(format!(
            "the {asked} of `{condition}`, with the indexes {indexes:?}: {what}"
        )));
    }
    Ok(())
}

/// Filters that every index has a part in.
fn queries(expected: &[Sample], lanes: &[u64]) -> Vec<Query> {
    // Of no effect but that a time range is counted by other means than everything.
    let always = || Query::new().since(instant(0, 0));
    let mut queries = vec![Query::new(), always()];
    for status in Status::ALL {
        queries.push(Query::new().status(status));
        queries.push(always().status(status));
    }
    for lane in lanes {
        queries.extend(workload::pipelines(*lane).map(|name| Query::new().pipeline(name)));
    }
    if let Some(middle) = expected.get(expected.len() / 2) {
        let status = middle.status();
        queries.push(Query::new().after(middle.created_at()));
        queries.push(Query::new().until(middle.created_at()).status(status));
        queries.push(
            Query::new()
                .before(middle.created_at())
                .pipeline(middle.pipeline()),
        );
    }
    queries
}

/// That the full check finds these many samples, and nothing wrong.
pub(crate) fn is_sound(database: &Database, samples: usize) -> Result<(), Loss> {
    let report = database
        .check(|_| ())
        .map_err(|error| Loss::Index(text(&error)))?;
    let is_of_field = |kind| kind == FaultKind::FieldIndex;
    match report.is_sound() && report.pages_verified && report.samples == samples as u64 {
        true => Ok(()),
        false if report.faults.iter().any(|fault| is_of_field(fault.kind)) => {
            Err(Loss::Field(format!("the check found {report:?}")))
        }
        false => Err(Loss::Index(format!("the check found {report:?}"))),
    }
}

/// That another batch can be stored, and is there, also after closing and opening again; gives what was opened again, and how
/// many samples it has.
pub(crate) fn goes_on(
    database: Database,
    state: &State,
    reopen: impl FnOnce() -> samplestore::Result<Database>,
) -> Result<(Database, usize), Loss> {
    let failed = |error: samplestore::Error| Loss::GoingOn(text(&error));
    let batch = another_batch().map_err(failed)?;
    let mut expected = state.clone();
    expected.samples.extend(batch.iter().cloned());
    let is_all = |database: &Database| -> Result<(), Loss> {
        let found = State::of(database).map_err(failed)?;
        match found == expected {
            true => Ok(()),
            false => Err(Loss::GoingOn(format!(
                "{} samples with {:?} instead of {} with {:?}",
                found.samples.len(),
                found.indexes,
                expected.samples.len(),
                expected.indexes,
            ))),
        }
    };
    database.store(&batch).map_err(failed)?;
    is_all(&database)?;
    database.close().map_err(failed)?;
    drop(database);
    let database = reopen().map_err(failed)?;
    is_all(&database)?;
    check_fields(&database, &expected, 0)?;
    Ok((database, expected.samples.len()))
}

/// Samples behind all others, which have the fields of the first lane.
pub(crate) fn another_batch() -> samplestore::Result<Vec<Sample>> {
    (0..3)
        .map(|number| {
            let sample = Sample::builder("another")
                .id(format!("another-{number}"))
                .created_at(instant(0, u64::from(u32::MAX) + number));
            match number {
                0 => sample.build(),
                _ => {
                    let (data, measurements) = (data! { "n0" => number }, data! { "m0" => "t1" });
                    sample.data(data).measurements(measurements).build()
                }
            }
        })
        .collect()
}

fn wrong(query: &Query, what: &str, instead: &str) -> Loss {
    Loss::Index(format!("the {what} of {query:?}: {instead}"))
}

/// An error with its causes.
pub(crate) fn text(error: &samplestore::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
