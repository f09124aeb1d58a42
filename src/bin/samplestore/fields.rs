//! [`tell_unknown`]: when nothing matches, whether a filter asks for a field or a pipeline that no sample seems to have.
//!
//! A sample without the field is no error: it does not match. So nobody else says that a name was misspelt.

use std::collections::BTreeSet;

use samplestore::{Condition, Field, Fields, Query, Result, Sample};

use crate::failure::words;
use crate::opening::Reader;
use crate::output::counted;

/// How many samples are looked at, the newest.
const LOOKED_AT: u64 = 1_000;

/// So many ids that no sample has are told.
const IDS_TOLD: u64 = 5;

/// Tells which pipelines, ids and fields that `query` asks for are in no sample, or none of the newest, and what they may have meant.
pub(crate) fn tell_unknown(reader: &Reader, query: &Query) -> Result<()> {
    tell_unknown_pipelines(reader, query)?;
    tell_unknown_ids(reader, query)?;
    let conditions = query.conditions().iter();
    tell_unknown_fields(reader, conditions.flat_map(Condition::fields))
}

/// Tells which ids that `query` asks for no sample has.
pub(crate) fn tell_unknown_ids(reader: &Reader, query: &Query) -> Result<()> {
    let mut unknown = 0;
    for id in query.id_set().into_iter().flatten() {
        if reader.retrieve(id)?.is_some() {
            continue;
        }
        unknown += 1;
        let hint = match id.contains(',') {
            true => "; several are given by repeating --id",
            false => "",
        };
        if unknown <= IDS_TOLD {
            words(&format!("no sample has the id {id:?}{hint}"));
        }
    }
    if unknown > IDS_TOLD {
        words(&format!("nor {} more", counted(unknown - IDS_TOLD, "id")));
    }
    Ok(())
}

fn tell_unknown_pipelines(reader: &Reader, query: &Query) -> Result<()> {
    if query.pipelines().is_empty() {
        return Ok(());
    }
    let (known, samples): (BTreeSet<String>, _) = match reader {
        // Counters tell all of them.
        Reader::File(snapshot) => {
            let facets = snapshot.facets(&Query::new())?;
            let names = facets.by_pipeline().into_keys();
            (names.map(str::to_owned).collect(), "no sample".to_owned())
        }
        Reader::Other(_) => {
            let newest = newest(reader)?;
            let names = newest.iter().map(|sample| sample.pipeline().to_owned());
            (names.collect(), none_of_newest(newest.len() as u64))
        }
    };
    for name in query.pipelines() {
        if known.is_empty() || known.contains(name) {
            continue;
        }
        let near = nearest(name, known.iter().map(String::as_str));
        let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near:?}?)"));
        words(&format!("{samples} is of the pipeline {name:?}{hint}"));
    }
    Ok(())
}

fn newest(reader: &Reader) -> Result<Vec<Sample>> {
    let newest = Query::new().newest_first().limit(LOOKED_AT);
    Ok(reader.list(&newest)?.samples)
}

/// `none of the newest 100 samples`; where there is one alone, there is no other.
fn none_of_newest(count: u64) -> String {
    match count {
        1 => "no sample".to_owned(),
        count => format!("none of the newest {}", counted(count, "sample")),
    }
}

/// Tells which of these fields are in none of the newest samples, and what they may have meant.
pub(crate) fn tell_unknown_fields<'a>(
    reader: &Reader,
    asked: impl Iterator<Item = &'a Field>,
) -> Result<()> {
    let asked: BTreeSet<String> = asked.map(ToString::to_string).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut fields = Fields::new();
    for sample in newest(reader)? {
        fields.add(&sample)?;
    }
    for field in asked {
        // What is within a list is not told there.
        if fields.samples() == 0 || field.contains('[') || fields.get(&field).is_some() {
            continue;
        }
        // Of data or measurements: what is behind that is compared.
        let name = |path: &'_ str| path.split_once('.').map(|(_, name)| name.to_owned());
        let names: Vec<_> = fields.iter().filter_map(|(path, _)| name(path)).collect();
        let near = name(&field)
            .and_then(|name| nearest(&name, names.iter().map(String::as_str)).map(str::to_owned));
        let near = fields
            .iter()
            .find(|(path, _)| near.is_some() && name(path) == near);
        let hint = near.map_or_else(String::new, |(path, _)| format!(" (did you mean {path}?)"));
        let samples = none_of_newest(fields.samples());
        words(&format!("{samples} has {field}{hint}"));
    }
    Ok(())
}

/// The name that is most like this one, if any is much like it. Of a short one a single slip is much, and so it is asked for
/// by itself.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let likeness = |known: &&str| {
        let known = known.to_lowercase();
        let likeness = match strsim::damerau_levenshtein(&name, &known) {
            1 if name.chars().count() > 2 => 1.0,
            _ => strsim::jaro_winkler(&name, &known),
        };
        (likeness * 1e6) as u64
    };
    let near = known.max_by_key(likeness)?;
    (likeness(&near) > 800_000).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_in_a_short_name_is_seen_through() {
        let known = || ["EWR", "JFK", "LGA"].into_iter();
        for name in ["JKF", "jfk", "JFKK", "JF"] {
            assert_eq!(nearest(name, known()), Some("JFK"), "{name}");
        }
        assert_eq!(nearest("weather", known()), None);
    }
}
