//! [`Exported`]: a CSV as `export` and `list` write it, read back.
//!
//! A cell is what it would be in any CSV (`cell.rs`), and also a list, a map or what JSON has no words for, when it is
//! such a JSON text. What CSV cannot tell apart is decided here: a text that reads as a number, a bool or JSON becomes
//! one, `NaN` and `Infinity` are numbers, and an empty cell means that the field is absent. JSON that no sample can hold, such as
//! `[18446744073709551616]`, was never more than a text, and stays one.

use std::borrow::Cow;
use std::convert::Infallible;

use csv::ByteRecord;
use samplestore::Sample;
use serde_json::{Map as JsonMap, Value as Json, json};

use super::cell::Cell;
use super::once::parse_once;
use super::text_form::check_whole_numbers;
use crate::failure::words_of;
use crate::output::{CSV_FIXED, field_of};

/// What each column holds.
pub(crate) struct Exported {
    columns: Vec<Column>,
}

enum Column {
    /// A field of the sample itself, as a text.
    Fixed(String),
    /// A field of one of its maps.
    Field(&'static str, String),
}

impl Exported {
    /// The columns of this header, if it has all those that `export` writes for each sample.
    ///
    /// # Errors
    /// The names of the columns that it has beside them, which are no fields of samples.
    pub(crate) fn of(header: &[String]) -> Option<Result<Self, Vec<String>>> {
        if !CSV_FIXED
            .iter()
            .all(|name| header.iter().any(|column| column == name))
        {
            return None;
        }
        let mut unknown = Vec::new();
        let mut columns = Vec::new();
        for name in header {
            if CSV_FIXED.contains(&name.as_str()) {
                columns.push(Column::Fixed(name.clone()));
            } else if let Some((group, field)) = field_of(name) {
                columns.push(Column::Field(group, field.to_owned()));
            } else {
                unknown.push(name.clone());
            }
        }
        Some(match unknown.is_empty() {
            true => Ok(Self { columns }),
            false => Err(unknown),
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The sample of a row, of which `change` may change the fields before, or why it is none.
    pub(crate) fn sample(
        &self,
        row: &ByteRecord,
        change: impl FnOnce(&mut JsonMap<String, Json>),
    ) -> Result<Sample, String> {
        if row.len() != self.columns.len() {
            let (found, expected) = (row.len(), self.columns.len());
            return Err(format!("it has {found} cells, the header has {expected}"));
        }
        let text_of = |bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::from(text)),
            Err(_) => Err("a cell is no UTF-8".to_owned()),
        };
        let mut sample = self.nested(row, text_of)?;
        if let Some(Json::Object(reason)) = sample.get_mut("reason") {
            // An empty text is one that CSV leaves out.
            for name in ["stage", "message"] {
                reason.entry(name).or_insert_with(|| "".into());
            }
        }
        change(&mut sample);
        Sample::from_json(sample.into()).map_err(|error| words_of(&error))
    }

    /// What a row that was rejected says, as JSON that can be corrected and read as a sample.
    pub(crate) fn rejected(&self, row: &ByteRecord) -> JsonMap<String, Json> {
        let text_of = |bytes| Ok::<_, Infallible>(String::from_utf8_lossy(bytes));
        match self.nested(row, text_of) {
            Ok(fields) => fields,
            Err(never) => match never {},
        }
    }

    /// The cells that are not empty, each in the map that its column names.
    fn nested<'a, E>(
        &self,
        row: &'a ByteRecord,
        text_of: impl Fn(&'a [u8]) -> Result<Cow<'a, str>, E>,
    ) -> Result<JsonMap<String, Json>, E> {
        let mut sample = JsonMap::new();
        for (column, bytes) in self.columns.iter().zip(row) {
            let text = text_of(bytes)?;
            if text.is_empty() {
                continue;
            }
            match column {
                Column::Fixed(name) => {
                    sample.insert(name.clone(), (*text).into());
                }
                Column::Field(group, name) => {
                    let value = match *group {
                        "reason" if name != "attempts" => (*text).into(),
                        _ => value(&text),
                    };
                    let map = sample.entry(*group);
                    // No column is called as a map is.
                    if let Json::Object(map) = map.or_insert_with(|| JsonMap::new().into()) {
                        map.insert(name.clone(), value);
                    }
                }
            }
        }
        Ok(sample)
    }
}

fn value(text: &str) -> Json {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return json!({ "$numberDouble": text });
    }
    if text.starts_with(['{', '['])
        && check_whole_numbers(text).is_ok()
        && parse_once(text).is_ok_and(can_be_held)
        // Once more, since two of what may be large are not held together.
        && let Ok(value) = parse_once(text)
    {
        return value;
    }
    serde_json::to_value(Cell::read(text)).unwrap_or_else(|_| text.into())
}

/// Whether a sample can hold this as a field, by its depth and by what extended JSON may say.
fn can_be_held(value: Json) -> bool {
    let mut sample = json!({ "id": "x", "pipeline": "x", "data": {} });
    sample["data"]["x"] = value;
    Sample::from_json(sample).is_ok()
}
