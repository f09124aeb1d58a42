//! [`tell_unknown`]: when nothing matches, whether a filter asks for a field or a pipeline that no sample seems to have.
//!
//! A sample without the field is no error: it does not match. So nobody else says that a name was misspelt.

use std::collections::BTreeSet;

use samplestore::{Condition, Field, Fields, Query, Result, Sample};

use crate::failure::words;
use crate::opening::Reader;

/// How many samples are looked at, the newest.
const LOOKED_AT: u64 = 1_000;

/// Tells which pipelines and fields that `query` asks for are in no sample, or none of the newest, and what they may have meant.
pub(crate) fn tell_unknown(reader: &Reader, query: &Query) -> Result<()> {
    tell_unknown_pipelines(reader, query)?;
    for id in query.id_set().into_iter().flatten() {
        if id.contains(',') && reader.retrieve(id)?.is_none() {
            words(&format!(
                "no sample has the id {id:?}; several are given by repeating --id"
            ));
        }
    }
    let conditions = query.conditions().iter();
    tell_unknown_fields(reader, conditions.flat_map(Condition::fields))
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
            let samples = format!("none of the newest {} samples", newest.len());
            (names.collect(), samples)
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
        // What is within a list, or in quotes, is written otherwise there.
        if fields.samples() == 0 || field.contains(['[', '"']) || fields.get(&field).is_some() {
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
        let looked_at = fields.samples();
        words(&format!(
            "none of the newest {looked_at} samples has {field}{hint}"
        ));
    }
    Ok(())
}

/// The name that is most like this one, if any is much like it.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &&str| {
        let likeness = strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
        (likeness * 1e6) as u64
    };
    let near = known.max_by_key(likeness)?;
    (likeness(&near) > 800_000).then_some(near)
}
