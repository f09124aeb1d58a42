//! The text form of a query: the command line's own words. Instants as people write them are `query/when.rs`.
//!
//! One table, [`FILTERS`], names every filter; the command, [`Query::with_filter`] and
//! `Display`/`FromStr` all read it, so a filter cannot be known to one and ignored by another
//! (rule R10).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::when::parse_instant;
use super::{Condition, Cursor, Order, Query};
use crate::error::{Error, ErrorKind, Result};
use crate::instant;
use crate::sample::Status;

/// One filter of the text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Its name: `pipeline` for `--pipeline`.
    pub name: &'static str,
    /// What its value is called in help texts; `None` when it takes none.
    pub value: Option<&'static str>,
    /// Whether it may be given several times.
    pub is_repeatable: bool,
    /// Whether one value may hold several, joined by commas, beside which spaces may stand. A comma within one is written `\,`.
    pub is_list: bool,
    /// One line of help.
    pub help: &'static str,
}

impl Filter {
    const fn flag(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            value: None,
            is_repeatable: false,
            is_list: false,
            help,
        }
    }

    const fn one(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self {
            value: Some(value),
            ..Self::flag(name, help)
        }
    }

    const fn several(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self {
            is_repeatable: true,
            ..Self::one(name, value, help)
        }
    }

    const fn list(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self {
            is_list: true,
            ..Self::several(name, value, help)
        }
    }
}

/// Every filter that text interfaces know, in the order in which they are written.
pub const FILTERS: &[Filter] = &[
    Filter::list("pipeline", "NAME", "Only samples of this pipeline"),
    Filter::list("status", "STATUS", "Only samples of this status"),
    // An id may hold any character, so commas do not part it.
    Filter::several(
        "id",
        "ID",
        "Only the sample of this id, which a comma is part of",
    ),
    Filter::one("after", "WHEN", "Only samples created later than this"),
    Filter::one("before", "WHEN", "Only samples created earlier than this"),
    Filter::one(
        "since",
        "WHEN",
        "Only samples created at this instant or later",
    ),
    Filter::one(
        "until",
        "WHEN",
        "Only samples created at this instant or earlier",
    ),
    Filter::several(
        "where",
        "CONDITION",
        "Only samples of whose fields this is true: measurements.temp > 30",
    ),
    Filter::flag("newest", "Newest first"),
    Filter::one("limit", "N", "At most so many samples"),
    Filter::one("cursor", "TOKEN", "Go on behind the end of an earlier page"),
];

impl Query {
    /// Adds a filter by its name in [`FILTERS`]. `newest` takes `true` or the empty text, and
    /// `false` for oldest first; `now` is what `2h` and the like are counted back from.
    ///
    /// # Errors
    /// [`InvalidQuery`](ErrorKind::InvalidQuery) for an unknown name, naming the nearest known one,
    /// and for a value that cannot be understood; an unknown status likewise.
    pub fn with_filter(self, name: &str, value: &str, now: DateTime<Utc>) -> Result<Self> {
        let when =
            || parse_instant(value, now).map_err(|error| error.with_subject(format!("--{name}")));
        Ok(match name {
            "pipeline" => {
                split(value)
                    .into_iter()
                    .try_fold(self, |query, name| match name.as_str() {
                        "" => Err(misread("pipeline", &name, "the name of a pipeline")),
                        _ => Ok(query.pipeline(name)),
                    })?
            }
            "status" => split(value).iter().try_fold(self, |query, word| {
                Ok::<_, Error>(query.status(parse_status(word)?))
            })?,
            "id" => self.id(value),
            "after" => self.after(when()?),
            "before" => self.before(when()?),
            "since" => self.since(when()?),
            "until" => self.until(when()?),
            "where" => {
                let condition = value.parse::<Condition>();
                self.condition(condition.map_err(|error| error.with_subject("--where"))?)
            }
            "newest" => match value {
                "" | "true" => self.order(Order::Newest),
                "false" => self.order(Order::Oldest),
                other => return Err(misread("newest", other, "true or false")),
            },
            "limit" => match value.parse() {
                Ok(limit) => self.limit(limit),
                Err(_) => return Err(misread("limit", value, "a whole number from 0")),
            },
            "cursor" => {
                let cursor = value.parse::<Cursor>();
                self.cursor(cursor.map_err(|error| error.with_subject("--cursor"))?)
            }
            unknown => return Err(unknown_filter(unknown)),
        })
    }
}

/// Splits at commas; `\,` is a comma within a value. Spaces beside a comma that splits are of no value: a name that begins with
/// one stands first.
fn split(value: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut chars = value.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            ',' => {
                part.truncate(part.trim_end().len());
                parts.push(std::mem::take(&mut part));
                while chars.next_if(|char| char.is_whitespace()).is_some() {}
            }
            '\\' => part.push(chars.next_if_eq(&',').unwrap_or('\\')),
            char => part.push(char),
        }
    }
    parts.push(part);
    parts
}

fn parse_status(word: &str) -> Result<Status> {
    word.parse().map_err(|cause: Error| match cause.limit() {
        Some(limit) => invalid(limit).with_subject("--status"),
        None => cause,
    })
}

impl fmt::Display for Query {
    /// Writes the query in the command line's own words, quoted for a shell where need be. Two
    /// values are not shown as they were given but as they act: instants in full.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<(&str, String)> = Vec::new();
        for pipeline in &self.pipelines {
            words.push(("pipeline", pipeline.replace(',', "\\,")));
        }
        for status in &self.statuses {
            words.push(("status", status.to_string()));
        }
        for id in self.ids.iter().flatten() {
            words.push(("id", id.clone()));
        }
        for (name, instant) in [
            ("after", self.after),
            ("before", self.before),
            ("since", self.since),
            ("until", self.until),
        ] {
            if let Some(instant) = instant {
                words.push((name, instant::to_text(instant)));
            }
        }
        for condition in &self.conditions {
            words.push(("where", condition.to_string()));
        }
        if self.order == Order::Newest {
            words.push(("newest", String::new()));
        }
        if let Some(limit) = self.limit {
            words.push(("limit", limit.to_string()));
        }
        if let Some(cursor) = &self.cursor {
            words.push(("cursor", cursor.to_string()));
        }
        for (index, (name, value)) in words.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}--{name}")?;
            if *name != "newest" {
                // A shell word cannot hold NUL; it is shown as a sign that no filter matches.
                let value = value.replace('\0', "\u{fffd}");
                let quoted = shlex::try_quote(&value).map_err(|_| fmt::Error)?;
                // `--name=value` keeps a value that begins with a dash from being read as a flag.
                let joint = if quoted.starts_with('-') { "=" } else { " " };
                write!(f, "{joint}{quoted}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Query {
    type Err = Error;

    /// Reads what `Display` writes; values may also be joined by `=`, pipelines, statuses and ids
    /// may be repeated.
    fn from_str(text: &str) -> Result<Self> {
        let now = instant::now();
        let words = shlex::split(text).ok_or_else(|| invalid("a quote is not closed"))?;
        let mut words = words.into_iter();
        let mut query = Self::new();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--") else {
                return Err(invalid(format!(
                    "{word:?} is no filter; filters begin with --"
                )));
            };
            let (name, joined) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let Some(filter) = FILTERS.iter().find(|filter| filter.name == name) else {
                return Err(unknown_filter(name));
            };
            let value = match (filter.value, joined) {
                (_, Some(value)) => value,
                (None, None) => String::new(),
                (Some(what), None) => words
                    .next()
                    .ok_or_else(|| invalid(format!("--{name} has no {what}")))?,
            };
            query = query.with_filter(name, &value, now)?;
        }
        Ok(query)
    }
}

/// The known word most like `word`, which is of either case, if one is like it at all (Damerau–Levenshtein distance of at
/// most a third of its length, and 1 at least), or begins so.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance_max = (word.chars().count() / 3).max(1);
    let distance = |candidate: &str| match word.len() > 2 && candidate.starts_with(&word) {
        true => 1,
        false => strsim::damerau_levenshtein(&word, candidate),
    };
    known
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn unknown_filter(name: &str) -> Error {
    let names = FILTERS.iter().map(|filter| filter.name);
    match nearest(name, names) {
        Some(near) => invalid(format!("there is no filter {name:?}; did you mean {near}?")),
        None => {
            let names: Vec<_> = FILTERS.iter().map(|filter| filter.name).collect();
            invalid(format!(
                "there is no filter {name:?}; there are {}",
                names.join(", ")
            ))
        }
    }
}

fn misread(name: &str, value: &str, expected: &str) -> Error {
    invalid(format!("{value:?} is not {expected}")).with_subject(format!("--{name}"))
}

pub(super) fn invalid(message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidQuery, "read a query").with_message(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instants() -> impl Strategy<Value = DateTime<Utc>> {
        (-62_135_596_800_000_000_i64..253_402_300_799_999_999)
            .prop_map(|micros| instant::from_micros(micros).unwrap())
    }

    prop_compose! {
        fn queries()(
            pipelines in prop::collection::vec("[^\0]{1,12}", 0..3),
            statuses in prop::collection::vec(prop::sample::select(Status::ALL.to_vec()), 0..3),
            ids in prop::option::of(prop::collection::vec("[^\0]{0,12}", 1..3)),
            bounds in prop::array::uniform4(prop::option::of(instants())),
            conditions in prop::collection::vec(prop::sample::select(vec![
                "data.a = 1", "measurements.\"b c\" like '%x' or data.d is null", "not data.e[3] > -2.5e10",
            ]), 0..3),
            newest: bool,
            limit: Option<u64>,
        ) -> Query {
            let mut query = Query::new();
            query.pipelines.extend(pipelines);
            query.statuses.extend(statuses);
            query.ids = ids.map(|ids| ids.into_iter().collect());
            [query.after, query.before, query.since, query.until] = bounds;
            query.order = if newest { Order::Newest } else { Order::Oldest };
            query.conditions = conditions.iter().map(|text| text.parse().unwrap()).collect();
            query.limit = limit;
            query
        }
    }

    proptest! {
        #[test]
        fn the_text_form_reads_back(query in queries()) {
            prop_assert_eq!(query.to_string().parse::<Query>().unwrap(), query);
        }

        #[test]
        fn the_serde_form_reads_back(query in queries()) {
            let json = serde_json::to_string(&query).unwrap();
            prop_assert_eq!(serde_json::from_str::<Query>(&json).unwrap(), query);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let _ = text.parse::<Query>();
            let _ = parse_instant(&text, instant::now());
        }
    }

    #[test]
    fn commas_split_unless_escaped() {
        for (value, parts) in [
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            (r"a\,b,c", vec!["a,b", "c"]),
            (r"a\b", vec![r"a\b"]),
            (",", vec!["", ""]),
            ("a, b", vec!["a", "b"]),
            (" a ,\tb c ", vec![" a", "b c "]),
            (r"a\, b", vec!["a, b"]),
            ("", vec![""]),
        ] {
            assert_eq!(split(value), parts, "{value}");
        }
    }

    #[test]
    fn an_unknown_filter_names_the_nearest() {
        let error = "--pipline JFK".parse::<Query>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidQuery);
        assert!(
            error.to_string().contains("did you mean pipeline?"),
            "{error}"
        );
        let error = "--status reday".parse::<Query>().unwrap_err();
        assert!(error.to_string().contains("did you mean ready?"), "{error}");
        for text in ["--status READY", "--status read"] {
            let error = text.parse::<Query>().unwrap_err();
            assert!(error.to_string().contains("did you mean ready?"), "{error}");
        }
        let error = "--cursor x".parse::<Query>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidCursor);
        assert!(error.to_string().contains("--cursor"), "{error}");
        for text in [
            "JFK",
            "--limit",
            "--limit -1",
            "--limit x",
            "--newest=maybe",
            "--after 'x",
        ] {
            let error = text.parse::<Query>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidQuery, "{text}");
        }
    }
}
