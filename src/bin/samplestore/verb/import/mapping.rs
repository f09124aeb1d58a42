//! [`Mapping`]: which field of a record becomes what of a sample.
//!
//! A record in the form that `list` and `export` write is the sample that it is, of which `--pipeline` and `--status` say what
//! all are; the other flags cannot be about it. Every other record is plain: one field each for what the flags name, and all others
//! are `data`. A field is taken out of the data when the sample holds its value whole: as the pipeline, as
//! the status, as `created_at`, or as the id unless that is joined from several. Of a plain JSON record,
//! values may use the extended JSON of the text form.

mod plain;
mod shape;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Display;

use chrono::{DateTime, Utc};
use clap::Args;
use samplestore::{Sample, Status, parse_instant};
use serde_json::{Map as JsonMap, Value as Json};

use super::exported::Exported;
use super::once::parse_once;
use super::text_form::{check_whole_numbers, make_id, sample_of_text};
use crate::arguments::{one_status, parse_status};
use crate::failure::{Failure, words, words_of};
use crate::fields::nearest;
use crate::input::{RECORD_BYTES_MAX, Record};
use crate::output::{field_of, instant as in_data};
use plain::PlainColumns;
use shape::Shape;

/// What to do about records that are no samples.
const HINT_PLAIN: &str = "with --pipeline NAME or --pipeline-field FIELD records may have any fields, and --id-field, \
    --created-at-field, --status-field and --measurement say what some of them are";
/// What to do about samples without an id.
const HINT_IDS: &str =
    "--make-ids gives new ids to samples that have none; done twice, it stores them twice";

/// What to do about a row that goes over several lines and does not fit the header.
const HINT_QUOTE: &str =
    "a row that goes over several lines and does not fit may begin with a quote that is not closed";

/// What to do about flags that name fields of samples.
const HINT_EXPORTED: &str =
    "leave them out; --pipeline and --status say of all samples what they are";
/// So many names of fields are remembered, to name one that is like a measurement that no record has.
const NAMES_MAX: usize = 1_000;
/// What joins the parts of an id.
const ID_JOINT: &str = "-";

/// The flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Fields")]
pub(crate) struct Mapping {
    /// The field that holds the id; several by repeating it are joined with - [default: a new UUIDv7]
    #[arg(long = "id-field", value_name = "FIELD")]
    id_fields: Vec<String>,
    /// Give a new UUIDv7 to samples in the form that list writes that have no id: importing them again stores them again
    #[arg(long, conflicts_with = "id_fields")]
    make_ids: bool,
    /// The pipeline of all samples, also of those that say another one
    #[arg(long, value_name = "NAME", conflicts_with = "pipeline_field")]
    pipeline: Option<String>,
    /// The field that holds the pipeline
    #[arg(long, value_name = "FIELD")]
    pipeline_field: Option<String>,
    /// The field that holds the instant of creation, RFC 3339 or a date, cut to microseconds
    /// [default: now]
    #[arg(long, value_name = "FIELD")]
    created_at_field: Option<String>,
    /// The status of all samples, also of those that say another one [default: pending]
    #[arg(long, value_name = "STATUS", conflicts_with = "status_field", value_parser = one_status())]
    status: Option<Status>,
    /// The field that holds the status
    #[arg(long, value_name = "FIELD")]
    status_field: Option<String>,
    /// A field that is a measurement and not data; several by repeating it or with commas
    #[arg(long = "measurement", value_name = "FIELD", value_delimiter = ',', value_parser = field_name)]
    measurements: Vec<String>,
    /// A text that means that there is no value, such as NA; several by repeating it. Empty cells of
    /// CSV always mean that
    #[arg(long = "null", value_name = "TEXT", allow_hyphen_values = true)]
    nulls: Vec<String>,
    /// What was seen of the measurements in plain JSON records.
    #[arg(skip)]
    seen: RefCell<Seen>,
}

/// Which measurements were in any record, and what else was. Only as long as one was in none.
#[derive(Clone, Debug, Default)]
struct Seen {
    found: BTreeSet<String>,
    names: BTreeSet<String>,
}

/// What the rows of a CSV are, as its header tells.
pub(crate) enum Columns {
    /// Samples, as they were exported.
    Exported(Exported),
    /// Plain rows.
    Plain(PlainColumns),
}

impl Columns {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Exported(columns) => columns.len(),
            Self::Plain(columns) => columns.len(),
        }
    }
}

impl Mapping {
    /// Whether JSON records can only be samples in their text form: of a plain one nothing tells the pipeline.
    pub(crate) fn is_text_form(&self) -> bool {
        self.pipeline.is_none() && self.for_plain().is_empty()
    }

    /// The flags given that are about plain records.
    fn for_plain(&self) -> Vec<&'static str> {
        let flags = [
            ("--id-field", !self.id_fields.is_empty()),
            ("--pipeline-field", self.pipeline_field.is_some()),
            ("--created-at-field", self.created_at_field.is_some()),
            ("--status-field", self.status_field.is_some()),
            ("--measurement", !self.measurements.is_empty()),
            ("--null", !self.nulls.is_empty()),
        ];
        let given = flags.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(flag, _)| flag).collect()
    }

    /// Says of a sample in its text form what the flags say of all.
    fn change(&self, sample: &mut JsonMap<String, Json>) {
        if self.make_ids {
            make_id(sample);
        }
        if let Some(pipeline) = &self.pipeline {
            sample.insert("pipeline".to_owned(), pipeline.as_str().into());
        }
        if let Some(status) = self.status {
            sample.insert("status".to_owned(), status.as_str().into());
        }
    }

    /// Whether importing the same again stores nothing twice: whether every record says its id.
    pub(crate) fn is_repeatable(&self, columns: Option<&Columns>) -> bool {
        let has_form = match columns {
            Some(columns) => matches!(columns, Columns::Exported(_)),
            None => self.is_text_form(),
        };
        !self.make_ids && (has_form || !self.id_fields.is_empty())
    }

    /// Checks that no flag is about plain records where `what` holds samples as `export` writes them.
    pub(crate) fn check_exported(&self, what: impl Display) -> Result<(), Failure> {
        let flags = self.for_plain();
        if flags.is_empty() {
            return Ok(());
        }
        let flags = flags.join(", ");
        let message = format!("{what} has samples as export writes them, which take no {flags}");
        Err(Failure::usage(message).with_hint(HINT_EXPORTED))
    }

    /// Checks that plain records have all they need.
    pub(crate) fn check(&self, has_rows: bool) -> Result<(), Failure> {
        let has_pipeline = self.pipeline.is_some() || self.pipeline_field.is_some();
        if has_pipeline || (self.is_text_form() && !has_rows) {
            return Ok(());
        }
        let what = if has_rows { "a CSV" } else { "a plain record" };
        Err(
            Failure::usage(format!("{what} does not say the pipeline of its samples"))
                .with_hint("give --pipeline NAME or --pipeline-field FIELD"),
        )
    }

    /// Finds the fields among the columns of a CSV.
    pub(crate) fn columns(&self, header: &[String]) -> Result<Columns, Failure> {
        let mut known = HashSet::new();
        if let Some(twice) = header.iter().find(|name| !known.insert(*name)) {
            let message = format!("two columns of the CSV are named {twice:?}");
            return Err(Failure::usage(message));
        }
        match Exported::of(header) {
            None => {}
            Some(Ok(exported)) => {
                self.check_exported("the CSV")?;
                return Ok(Columns::Exported(exported));
            }
            // Whoever names fields or has none of those of samples has rows of their own.
            Some(Err(unknown)) => {
                let is_plain =
                    self.pipeline.is_some() && !header.iter().any(|name| field_of(name).is_some());
                if let (Some(name), true) =
                    (unknown.first(), self.for_plain().is_empty() && !is_plain)
                {
                    return Err(Failure::usage(format!("the column {name:?} is none of a sample"))
                        .with_hint(format!("it must be called data.{name}; with --pipeline-field pipeline rows may have \
                             any columns")));
                }
            }
        }
        self.check(true)?;
        Ok(Columns::Plain(PlainColumns::of(self, header)?))
    }

    /// The sample that a record stands for, or the reason why it is none. `columns` are those of a CSV.
    pub(crate) fn sample(
        &self,
        record: Record<'_>,
        columns: Option<&Columns>,
    ) -> Result<Sample, String> {
        match (record, columns) {
            (Record::Row(row), Some(Columns::Exported(columns))) => {
                columns.sample(row, |sample| self.change(sample))
            }
            (Record::Row(row), Some(Columns::Plain(columns))) => columns.sample(row, self),
            (Record::Row(_), None) => Err("it has no header".to_owned()),
            (Record::Json(text), _) => {
                let text = std::str::from_utf8(text).map_err(|_| "it is no UTF-8".to_owned())?;
                match self.is_text_form() {
                    true => sample_of_text(text, |sample| self.change(sample))
                        .map_err(|error| words_of(&error)),
                    false => self.sample_of_object(text),
                }
            }
            (Record::TooLong, _) => {
                Err(format!("it is longer than {} MiB", RECORD_BYTES_MAX >> 20))
            }
        }
    }

    /// What to do about a record that was rejected, where another flag would take it.
    pub(crate) fn hint(
        &self,
        record: Record<'_>,
        columns: Option<&Columns>,
    ) -> Option<&'static str> {
        let text = match (record, columns) {
            (Record::Json(text), _) => text,
            (Record::Row(row), Some(columns)) => {
                let has_lines = row.iter().any(|cell| cell.contains(&b'\n'));
                return (row.len() != columns.len() && has_lines).then_some(HINT_QUOTE);
            }
            _ => return None,
        };
        let shape: Shape = serde_json::from_slice(text).ok()?;
        if !self.is_text_form() {
            let is_refused = shape.is_text_form() && !self.for_plain().is_empty();
            return is_refused.then_some(HINT_EXPORTED);
        }
        match (shape.is_absent("pipeline"), shape.is_absent("id")) {
            (true, _) => Some(HINT_PLAIN),
            (false, true) if !self.make_ids => Some(HINT_IDS),
            (false, _) => None,
        }
    }

    /// Remembers which measurements a plain record has, and what it has where one was in none so far.
    fn see(&self, record: &JsonMap<String, Json>) {
        let mut seen = self.seen.borrow_mut();
        let is_found = |name: &String| seen.found.contains(name);
        if self.measurements.iter().all(is_found) {
            return;
        }
        let found = self
            .measurements
            .iter()
            .filter(|name| record.contains_key(*name));
        seen.found.extend(found.cloned());
        let room = NAMES_MAX.saturating_sub(seen.names.len());
        seen.names.extend(record.keys().take(room).cloned());
    }

    /// Tells which measurements were in none of the plain JSON records, and what they may have meant.
    pub(crate) fn tell_absent(&self) {
        let seen = self.seen.borrow();
        let absent = self
            .measurements
            .iter()
            .filter(|name| !seen.found.contains(*name));
        for name in absent.filter(|_| !seen.names.is_empty()) {
            let near = nearest(name, seen.names.iter().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near:?}?)"));
            words(&format!("no record has the measurement {name:?}{hint}"));
        }
    }

    /// Whether a sample holds the value of this field whole, outside its data.
    fn is_taken(&self, name: &str) -> bool {
        let is = |field: &Option<String>| field.as_deref() == Some(name);
        is(&self.pipeline_field)
            || is(&self.created_at_field)
            || is(&self.status_field)
            || (self.id_fields.len() == 1 && self.id_fields[0] == name)
    }

    fn is_null(&self, text: &str) -> bool {
        self.nulls.iter().any(|null| null == text)
    }

    fn sample_of_object(&self, text: &str) -> Result<Sample, String> {
        check_whole_numbers(text)?;
        let mut object = match parse_once(text) {
            Ok(Json::Object(object)) => object,
            Ok(_) => return Err("it is no JSON object".to_owned()),
            Err(cause) if cause.is_data() => return Err(cause.to_string()),
            Err(cause) => return Err(format!("it is no JSON object: {cause}")),
        };
        if Shape::of(&object).is_text_form() {
            if self.for_plain().is_empty() {
                self.change(&mut object);
                return Sample::from_json(object.into()).map_err(|error| words_of(&error));
            }
            if object.contains_key("data") || object.contains_key("measurements") {
                let flags = self.for_plain().join(", ");
                return Err(format!(
                    "it is a sample as export writes it, which takes no {flags}"
                ));
            }
        }
        self.see(&object);
        object.retain(|_, value| !value.as_str().is_some_and(|text| self.is_null(text)));

        let mut parts = JsonMap::new();
        let mut measurements = JsonMap::new();
        for name in &self.measurements {
            if let Some(value) = object.get(name) {
                measurements.insert(name.clone(), value.clone());
            }
        }
        let id = match self.id_fields.is_empty() {
            true => uuid::Uuid::now_v7().to_string(),
            false => {
                let texts = self.id_fields.iter().map(|name| text_of(&object, name));
                texts.collect::<Result<Vec<_>, _>>()?.join(ID_JOINT)
            }
        };
        parts.insert("id".to_owned(), id.into());
        let pipeline = match &self.pipeline_field {
            Some(name) => text_of(&object, name)?,
            None => self.pipeline.clone().unwrap_or_default(),
        };
        parts.insert("pipeline".to_owned(), pipeline.into());
        if let Some(name) = &self.created_at_field {
            let at = instant(name, &text_of(&object, name)?)?;
            parts.insert("created_at".to_owned(), in_data(at).into());
        }
        let status = match &self.status_field {
            Some(name) => parse_status(text_of(&object, name)?.trim())?,
            None => self.status.unwrap_or_default(),
        };
        parts.insert("status".to_owned(), status.as_str().into());
        object.retain(|name, _| !self.is_taken(name) && !self.measurements.contains(name));
        parts.insert("data".to_owned(), object.into());
        parts.insert("measurements".to_owned(), measurements.into());
        Sample::from_json(parts.into()).map_err(|error| words_of(&error))
    }
}

/// The name of a field, without the spaces that stand beside commas.
fn field_name(text: &str) -> Result<String, String> {
    Ok(text.trim().to_owned())
}

/// The text of a field that must be there; numbers and bools as JSON writes them.
fn text_of(object: &JsonMap<String, Json>, name: &str) -> Result<String, String> {
    match object.get(name) {
        None | Some(Json::Null) => Err(absent(name)),
        Some(Json::String(text)) => Ok(text.clone()),
        Some(value @ (Json::Number(_) | Json::Bool(_))) => Ok(value.to_string()),
        Some(Json::Array(_)) => Err(format!("field {name:?} is a list and no text")),
        Some(Json::Object(_)) => Err(format!("field {name:?} is a map and no text")),
    }
}

fn absent(name: &str) -> String {
    format!("field {name:?} is absent")
}

/// Reads an instant of a record: in figures, from the year on. What is counted from now is none there.
fn instant(name: &str, text: &str) -> Result<DateTime<Utc>, String> {
    let figures = text.trim();
    let is_of_figures = |byte: u8| byte.is_ascii_digit() || b"-:.+ TtZz".contains(&byte);
    let year = figures.trim_start_matches(['-', '+']);
    let (year, _) = year.split_once('-').unwrap_or_default();
    let is_exact = !year.is_empty()
        && year.bytes().all(|byte| byte.is_ascii_digit())
        && figures.bytes().all(is_of_figures);
    let at = is_exact.then(|| parse_instant(figures, DateTime::UNIX_EPOCH).ok());
    at.flatten().ok_or_else(|| {
        format!("field {name:?} is {text:?}, which is no instant such as 2013-06-01T12:00:00Z")
    })
}
