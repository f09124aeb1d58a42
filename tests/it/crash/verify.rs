//! What must hold of a database that was opened after a crash: it has the samples of one of the states that it may
//! have, every index agrees with them, and it goes on.

use std::fmt;

use samplestore::{Database, Facets, Query, Sample, Status, Storage};

use super::lane::{Lane, Reached};
use super::workload::{self, instant};

/// What is wrong with a database, and with what of it.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    /// It does not open.
    Opening(String),
    /// What was acknowledged is missing, or something is there in part.
    Samples(String),
    /// An index does not agree with the samples.
    Index(String),
    /// It takes nothing more, or forgets it.
    GoingOn(String),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening(what) => write!(f, "it does not open: {what}"),
            Self::Samples(what) => write!(f, "samples are lost: {what}"),
            Self::Index(what) => write!(f, "an index is wrong: {what}"),
            Self::GoingOn(what) => write!(f, "it does not go on: {what}"),
        }
    }
}

/// Everything in the database, in order of time.
pub(crate) fn samples(database: &Database) -> Result<Vec<Sample>, Loss> {
    let page = database.list(&Query::new());
    Ok(page.map_err(|error| Loss::Samples(text(&error)))?.samples)
}

/// How far each lane has come in the database, between these steps.
pub(crate) fn reached(
    found: &[Sample],
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
    match found.iter().all(|sample| is_of_lane(&sample)) {
        true => Ok(known),
        false => Err(Loss::Samples("there are samples of no lane".to_owned())),
    }
}

/// That every way to ask gives these samples, in order of time, and no others.
pub(crate) fn check(database: &Database, expected: &[Sample], lanes: &[Lane]) -> Result<(), Loss> {
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

/// Filters that every index has a part in.
fn queries(expected: &[Sample], lanes: &[Lane]) -> Vec<Query> {
    // Of no effect but that a time range is counted by other means than everything.
    let always = || Query::new().since(instant(0, 0));
    let mut queries = vec![Query::new(), always()];
    for status in Status::ALL {
        queries.push(Query::new().status(status));
        queries.push(always().status(status));
    }
    for lane in lanes {
        queries.extend(workload::pipelines(lane.number).map(|name| Query::new().pipeline(name)));
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
    match report.is_sound() && report.pages_verified && report.samples == samples as u64 {
        true => Ok(()),
        false => Err(Loss::Index(format!("the check found {report:?}"))),
    }
}

/// That another batch can be stored, and is there, also after closing and opening again; gives what was opened again, and how
/// many samples it has.
pub(crate) fn goes_on(
    database: Database,
    expected: &[Sample],
    reopen: impl FnOnce() -> samplestore::Result<Database>,
) -> Result<(Database, usize), Loss> {
    let failed = |error: samplestore::Error| Loss::GoingOn(text(&error));
    let batch: Vec<Sample> = (0..3)
        .map(|number| {
            Sample::builder("another")
                .id(format!("another-{number}"))
                .created_at(instant(0, u64::from(u32::MAX) + number))
                .build()
        })
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let all: Vec<&Sample> = expected.iter().chain(&batch).collect();
    let is_all = |database: &Database| -> Result<(), Loss> {
        let found = database.list(&Query::new()).map_err(failed)?.samples;
        match found.iter().eq(all.iter().copied()) {
            true => Ok(()),
            false => Err(Loss::GoingOn(format!(
                "{} samples instead of {}",
                found.len(),
                all.len()
            ))),
        }
    };
    database.store(&batch).map_err(failed)?;
    is_all(&database)?;
    database.close().map_err(failed)?;
    drop(database);
    let database = reopen().map_err(failed)?;
    is_all(&database)?;
    Ok((database, all.len()))
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
