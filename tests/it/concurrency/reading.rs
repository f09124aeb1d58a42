//! Those who read, and what must hold of each state that they see.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use samplestore::{Database, Facets, Query, Sample, Snapshot, Status, Storage};

use super::batch::{self, SIZE, STEADY, TICKETS, batch_of, instant, version};
use super::writing::ticket_instants;
use super::{ROWS_BEFORE, Run, STEADY_EVERY, Violation, failed};
use crate::crash::random::Random;

/// Samples that are there throughout.
pub(super) const STEADY_SAMPLES: u64 = ROWS_BEFORE.div_ceil(STEADY_EVERY);
/// How long a snapshot is held, at most.
const HELD_MS: u64 = 60;

/// Reads one state in every way, and sees that all agree.
pub(super) fn read(database: &Database, random: &mut Random) -> Result<(), Violation> {
    let snapshot = database.snapshot().map_err(failed)?;
    let all = samples(&snapshot, &Query::new())?;
    whole_batches(&all)?;
    counts(&snapshot, &all)?;
    counts_by_fields(&snapshot, &all)?;
    if !all.is_sorted_by_key(Sample::created_at) {
        return Err("a list is not in order of time".to_owned());
    }
    for _ in 0..3 {
        let query = some(&all, random);
        let expected: Vec<&Sample> = all
            .iter()
            .filter(|sample| query.matches(sample).unwrap())
            .collect();
        let listed = snapshot.list(&query).map_err(failed)?.samples;
        let counted = snapshot.count(&query).map_err(failed)?;
        if !listed.iter().eq(expected.iter().copied()) || counted != expected.len() as u64 {
            return Err(format!("`{query}` has another answer than a scan"));
        }
    }
    let one = &all[random.below(all.len() as u64) as usize];
    match snapshot.retrieve(one.id()).map_err(failed)? {
        Some(found) if found == *one => Ok(()),
        found => Err(format!("{one:?} is retrieved as {found:?}")),
    }
}

/// The same of a state in which nothing happens.
pub(super) fn check_all(database: &Database) -> Result<(), Violation> {
    read(database, &mut Random::new(1))?;
    let report = database.check(|_| ()).map_err(failed)?;
    match report.is_sound() {
        true => Ok(()),
        false => Err(format!("a check found {:?}", report.faults)),
    }
}

fn samples(snapshot: &Snapshot, query: &Query) -> Result<Vec<Sample>, Violation> {
    let samples = snapshot.iterate(query).map_err(failed)?;
    samples.map(|sample| sample.map_err(failed)).collect()
}

/// That of each batch all samples are there, in one version and one status.
fn whole_batches(all: &[Sample]) -> Result<(), Violation> {
    let mut batches: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    let of_batches = all.iter().filter(|sample| sample.pipeline() != STEADY);
    for sample in of_batches {
        batches
            .entry(batch_of(sample.id()))
            .or_default()
            .push(sample);
    }
    for (batch, samples) in &batches {
        let alike = |sample: &&Sample| (version(sample), sample.status());
        let first = alike(&samples[0]);
        if samples.len() as u64 != SIZE || samples.iter().any(|sample| alike(sample) != first) {
            let found: Vec<_> = samples.iter().map(alike).collect();
            return Err(format!("batch {batch} is torn: {found:?}"));
        }
    }
    let steady = all.len() - batches.len() * SIZE as usize;
    match steady as u64 == STEADY_SAMPLES {
        true => Ok(()),
        false => Err(format!(
            "{steady} samples instead of {STEADY_SAMPLES} are steady"
        )),
    }
}

/// That counts are the sums of their parts, whichever they are.
fn counts(snapshot: &Snapshot, all: &[Sample]) -> Result<(), Violation> {
    let mut expected = Facets::new();
    for sample in all {
        expected.add(sample.pipeline(), sample.status(), 1);
    }
    let facets = snapshot.facets(&Query::new()).map_err(failed)?;
    if facets != expected {
        return Err(format!("facets are {facets:?}, not {expected:?}"));
    }
    let count = |query: Query| snapshot.count(&query).map_err(failed);
    let total = count(Query::new())?;
    let mut by_status = 0;
    for status in Status::ALL {
        by_status += count(Query::new().status(status))?;
    }
    let mut by_pipeline = 0;
    for pipeline in expected.by_pipeline().keys() {
        by_pipeline += count(Query::new().pipeline(*pipeline))?;
    }
    let middle = all[all.len() / 2].created_at();
    let by_time = count(Query::new().before(middle))? + count(Query::new().since(middle))?;
    match [total, by_status, by_pipeline, by_time].map(|sum| sum == all.len() as u64) {
        [true, true, true, true] => Ok(()),
        _ => Err(format!(
            "of {} samples {total} are counted, {by_status} by status, {by_pipeline} by pipeline, {by_time} by time",
            all.len()
        )),
    }
}

/// That as many samples are counted by their fields as there are batches, of which each has one at each place.
fn counts_by_fields(snapshot: &Snapshot, all: &[Sample]) -> Result<(), Violation> {
    let batches = (all.len() as u64 - STEADY_SAMPLES) / SIZE;
    let count = |text: String| {
        let query = Query::new().condition(text.parse().unwrap());
        snapshot.count(&query).map_err(failed)
    };
    let place = batch::ALWAYS_INDEXED;
    let first = count(format!("{place} = 'first'"))?;
    let middle = count(format!("{place} between 7 and 8.5"))?;
    let bools = count(format!("{place} = true or {place} = false"))?;
    let absent = count(format!("{} is missing", batch::AT_TIMES_INDEXED))?;
    match (first, middle, bools, absent) == (batches, 2 * batches, batches, STEADY_SAMPLES) {
        true => Ok(()),
        false => Err(format!(
            "of {batches} batches, fields count {first} first samples, {middle} in the middle, {bools} with bools, and {absent} \
             without"
        )),
    }
}

/// A query that some of these samples are of.
fn some(all: &[Sample], random: &mut Random) -> Query {
    let mut pick = || &all[random.below(all.len() as u64) as usize];
    let (one, other, third) = (pick(), pick(), pick());
    let of_fields = batch::condition(version(one).unwrap_or_default(), random);
    let mut query = Query::new();
    if random.chance(50) {
        query = query.pipeline(one.pipeline());
    }
    if random.chance(50) {
        query = query.status(other.status());
    }
    if random.chance(50) {
        query = query.condition(of_fields);
    }
    match random.below(3) {
        0 => query.after(third.created_at()),
        1 => query.until(third.created_at()),
        _ => query,
    }
}

/// Walks over everything page by page while others write: what is there throughout is met once, and nothing twice.
pub(super) fn walk(run: &Run<'_>, random: &mut Random) -> Result<(), Violation> {
    // Tickets come behind each other; what comes behind the end of this walk is none of it.
    let end = ticket_instants(run.number, run.submitted.load(Relaxed));
    let mut query = Query::new().before(instant(end));
    if random.chance(50) {
        query = query.newest_first();
    }
    query = query.limit(1 + random.below(400));
    let mut met: BTreeMap<String, u64> = BTreeMap::new();
    let mut steady = 0;
    loop {
        let page = run.database.list(&query).map_err(failed)?;
        for sample in page.samples {
            steady += u64::from(sample.pipeline() == STEADY);
            let id = sample.id().to_owned();
            *met.entry(id).or_default() += 1;
        }
        match page.next {
            Some(next) => query = query.cursor(next),
            None => break,
        }
    }
    if let Some((id, times)) = met.iter().find(|(_, times)| **times > 1) {
        return Err(format!("a walk met {id} {times} times"));
    }
    match steady == STEADY_SAMPLES {
        true => Ok(()),
        false => Err(format!("a walk met {steady} of {STEADY_SAMPLES} samples")),
    }
}

/// Holds a snapshot for a while: it does not move.
pub(super) fn hold(database: &Database, random: &mut Random) -> Result<(), Violation> {
    let snapshot = database.snapshot().map_err(failed)?;
    let query = match random.below(5) {
        3.. => Query::new().condition(batch::condition(random.below(200), random)),
        0 => Query::new().pipeline(TICKETS),
        1 => Query::new().status(random.pick(&Status::ALL)),
        _ => Query::new(),
    };
    let state = || -> Result<_, Violation> {
        let all = samples(&snapshot, &query)?;
        let count = snapshot.count(&query).map_err(failed)?;
        Ok((all, count, snapshot.facets(&query).map_err(failed)?))
    };
    let before = state()?;
    thread::sleep(Duration::from_millis(random.below(HELD_MS)));
    match state()? == before {
        true => Ok(()),
        false => Err(format!("a snapshot has moved: `{query}`")),
    }
}
