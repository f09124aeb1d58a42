//! [`tell_unknown`]: when nothing matches, whether a condition asks for a field that no sample seems to have.
//!
//! A sample without the field is no error: it does not match. So nobody else says that a name was misspelt.

use std::collections::BTreeSet;

use samplestore::{Condition, Fields, Query, Result};

use crate::failure::words;
use crate::opening::Reader;

/// How many samples are looked at, the newest.
const LOOKED_AT: u64 = 1_000;

/// Tells which fields that conditions of `query` ask for are in none of the newest samples, and what they may have meant.
pub(crate) fn tell_unknown(reader: &Reader, query: &Query) -> Result<()> {
    let conditions = query.conditions().iter();
    let asked: BTreeSet<String> = conditions
        .flat_map(Condition::fields)
        .map(ToString::to_string)
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut fields = Fields::new();
    for sample in reader
        .list(&Query::new().newest_first().limit(LOOKED_AT))?
        .samples
    {
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
