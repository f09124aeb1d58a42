//! Samples in every format, one after the other.
//!
//! JSON Lines and JSON hold the whole sample in its text form and read back equal. CSV has a column for
//! each field of `data` (`data.temp`), `measurements` and `reason`; nested values are JSON texts in their
//! cell, and NaN and the infinities their words. On a terminal no text of a sample can steer it, in any format. A table is for the eye: its last columns are cut to fit, or left out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use console::Style;
use indicatif::HumanCount;
use samplestore::{Cursor, Sample, Status};
use serde::de::IgnoredAny;
use serde_json::{Map as JsonMap, Value as Json};

use super::{Align, Cell, Column, Format, Output, Shrinks, Table, escape};
use crate::failure::{Code, Failure};
use crate::input::COLUMNS_MAX;

/// The columns that every CSV begins with.
pub(crate) const CSV_FIXED: [&str; 5] = ["id", "pipeline", "status", "created_at", "measured_at"];
/// The maps whose fields have a column each: `data.temp`.
pub(crate) const CSV_GROUPS: [&str; 3] = ["reason", "measurements", "data"];
/// The map and the field that a column of this name holds: `data.temp` is `temp` of `data`.
pub(crate) fn field_of(column: &str) -> Option<(&'static str, &str)> {
    let (group, field) = column.split_once('.')?;
    let group = CSV_GROUPS.into_iter().find(|known| *known == group)?;
    Some((group, field))
}

/// The columns of a reason, when any sample has one.
const CSV_REASON: [&str; 4] = ["stage", "message", "attempts", "at"];

/// So much room the reason of a failure has in a table while there are other columns but the id.
const REASON_WIDTH: usize = 24;

/// Writes samples in one format.
pub(crate) enum SampleWriter {
    Table(Table),
    Jsonl,
    /// How many were written.
    Json(u64),
    Csv(Columns),
}

/// The columns of a CSV.
pub(crate) struct Columns {
    /// Those behind the fixed ones: a group and a field each.
    fields: Vec<(&'static str, String)>,
    /// Whether there are more than these.
    #[cfg(feature = "arrow")]
    is_cut: bool,
    delimiter: u8,
}

impl SampleWriter {
    /// Begins. Only a CSV needs its columns, and asks for them.
    pub(crate) fn begin(
        output: &mut Output,
        format: Format,
        columns: impl FnOnce() -> Result<Columns, Failure>,
    ) -> Result<Self, Failure> {
        Ok(match format {
            Format::Table => Self::Table(Table::new(vec![
                Column::new("id", Align::Left).shrinking(Shrinks::Key),
                Column::new("pipeline", Align::Left).shrinking(Shrinks::Last),
                Column::new("status", Align::Left).shrinking(Shrinks::Finally),
                Column::of_instants("created_at", Shrinks::Finally),
                Column::new("reason", Align::Left)
                    .shrinking(Shrinks::First)
                    .keeping(REASON_WIDTH)
                    .optional(),
                Column::new("measurements", Align::Left)
                    .shrinking(Shrinks::First)
                    .optional(),
                Column::new("data", Align::Left)
                    .shrinking(Shrinks::First)
                    .optional(),
            ])),
            Format::Jsonl => Self::Jsonl,
            Format::Json => {
                output.write_all(b"{\"samples\":[")?;
                Self::Json(0)
            }
            Format::Csv => {
                let columns = columns()?;
                columns.write_header(output)?;
                Self::Csv(columns)
            }
        })
    }

    /// Writes one sample.
    pub(crate) fn write(&mut self, output: &mut Output, sample: &Sample) -> Result<(), Failure> {
        match self {
            Self::Jsonl => {
                output.json_text(&sample.to_json_text()?)?;
                writeln!(output)?;
            }
            Self::Json(count) => {
                let comma = if *count == 0 { "" } else { "," };
                *count += 1;
                writeln!(output, "{comma}")?;
                output.json_text(&sample.to_json_text()?)?;
            }
            Self::Csv(columns) => {
                let json = sample.to_json()?;
                columns.check(&json)?;
                columns.write_row(output, &json)?;
            }
            Self::Table(table) => table.row(output, table_row(sample, &sample.to_json()?))?,
        }
        Ok(())
    }

    /// Writes what is held back, for whoever waits for it.
    pub(crate) fn settle(&mut self, output: &mut Output) -> io::Result<()> {
        match self {
            Self::Table(table) => table.settle(output),
            Self::Jsonl | Self::Json(_) | Self::Csv(_) => Ok(()),
        }
    }

    /// Ends. Only JSON has room for the place where the next page starts.
    pub(crate) fn finish(self, output: &mut Output, next: Option<&Cursor>) -> io::Result<()> {
        match self {
            Self::Table(table) => table.finish(output),
            Self::Json(_) => {
                let next = next.map_or(Json::Null, |cursor| cursor.as_str().into());
                writeln!(output, "\n],\"next\":{next}}}")
            }
            Self::Jsonl | Self::Csv(_) => Ok(()),
        }
    }
}

impl Columns {
    /// The fields that any of `samples` has, by name within their group.
    ///
    /// # Errors
    /// A usage failure when they are more than a CSV may have, as soon as that is known: what nobody reads back is not made, and so many
    /// names are not held.
    pub(crate) fn of(
        samples: impl Iterator<Item = samplestore::Result<Sample>>,
    ) -> Result<Self, Failure> {
        let mut data = BTreeSet::new();
        let mut measurements = BTreeSet::new();
        let mut has_reason = false;
        for sample in samples {
            let sample = sample?;
            gather(&mut data, sample.data_as()?);
            gather(&mut measurements, sample.measurements_as()?);
            has_reason |= sample.reason().is_some();
            let of_reason = if has_reason { CSV_REASON.len() } else { 0 };
            let count = CSV_FIXED.len() + of_reason + measurements.len() + data.len();
            if count > COLUMNS_MAX {
                return Err(too_many());
            }
        }
        let reason = CSV_REASON.iter().filter(|_| has_reason);
        let columns = reason
            .map(|field| ("reason", (*field).to_owned()))
            .chain(measurements.into_iter().map(|name| ("measurements", name)))
            .chain(data.into_iter().map(|name| ("data", name)));
        Ok(Self {
            fields: columns.collect(),
            #[cfg(feature = "arrow")]
            is_cut: false,
            delimiter: b',',
        })
    }

    /// The measurements that any of `samples` has, by name; of more than a CSV may have, the first ones, and whether there are others.
    #[cfg(feature = "arrow")]
    pub(crate) fn of_measurements(
        samples: impl Iterator<Item = samplestore::Result<Sample>>,
    ) -> Result<Self, Failure> {
        let mut measurements = BTreeSet::new();
        let mut is_cut = false;
        for sample in samples {
            gather(&mut measurements, sample?.measurements_as()?);
            while measurements.len() > COLUMNS_MAX {
                measurements.pop_last();
                is_cut = true;
            }
        }
        let columns = measurements.into_iter().map(|name| ("measurements", name));
        Ok(Self {
            fields: columns.collect(),
            is_cut,
            delimiter: b',',
        })
    }

    /// The same with this between the cells, instead of a comma.
    pub(crate) fn delimited(self, delimiter: u8) -> Self {
        Self { delimiter, ..self }
    }

    /// The names of the fields, without their groups, and whether there are others behind them.
    #[cfg(feature = "arrow")]
    pub(crate) fn into_names(self) -> (Vec<String>, bool) {
        let names = self.fields.into_iter().map(|(_, name)| name);
        (names.collect(), self.is_cut)
    }

    fn write_header(&self, output: &mut Output) -> io::Result<()> {
        let fixed = CSV_FIXED.iter().map(|name| (*name).to_owned());
        let others = self.fields.iter();
        let others = others.map(|(group, name)| format!("{group}.{name}"));
        record(output, self.delimiter, fixed.chain(others))
    }

    /// Fails where a sample has a field that has no column: others stored it behind the look at all samples that tells the columns.
    fn check(&self, sample: &Json) -> Result<(), Failure> {
        let fields = |group: &str| sample.get(group).and_then(Json::as_object);
        let mut left: usize = CSV_GROUPS
            .iter()
            .filter_map(|group| fields(group))
            .map(JsonMap::len)
            .sum();
        for (group, name) in &self.fields {
            if fields(group).is_some_and(|map| map.contains_key(name)) {
                left -= 1;
            }
        }
        if left == 0 {
            return Ok(());
        }
        let message = format!(
            "others wrote meanwhile: the sample {} has a field that has no column",
            plain(sample.get("id"))
        );
        Err(Failure::new(Code::Error, message)
            .with_hint("run it again, or write JSON, which needs no columns"))
    }

    fn write_row(&self, output: &mut Output, json: &Json) -> io::Result<()> {
        let fixed = CSV_FIXED.iter().map(|name| json.get(name));
        let others = self
            .fields
            .iter()
            .map(|(group, name)| json.get(group).and_then(|fields| fields.get(name)));
        record(output, self.delimiter, fixed.chain(others).map(plain))
    }
}

fn too_many() -> Failure {
    let columns = HumanCount(COLUMNS_MAX as u64);
    Failure::usage(format!(
        "these samples have more fields than a CSV has columns, {columns} at most"
    ))
    .with_hint("JSON Lines, JSON, Parquet and Arrow take any number; other filters may leave fewer")
}

fn gather(names: &mut BTreeSet<String>, fields: BTreeMap<&str, IgnoredAny>) {
    for name in fields.into_keys() {
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
    }
}

/// One line of CSV, quoted where need be. CSV has no escapes: into a pipe or a file texts go as they are, control characters and
/// all, and on a terminal as in a table.
pub(crate) fn csv_record(
    output: &mut Output,
    fields: impl Iterator<Item = String>,
) -> io::Result<()> {
    record(output, b',', fields)
}

fn record(
    output: &mut Output,
    delimiter: u8,
    fields: impl Iterator<Item = String>,
) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .from_writer(Vec::new());
    for field in fields {
        let field = match output.is_terminal() {
            true => escape(&field),
            false => field.as_str().into(),
        };
        writer.write_field(&*field).map_err(io::Error::from)?;
    }
    writer
        .write_record(None::<&[u8]>)
        .map_err(io::Error::from)?;
    let line = writer
        .into_inner()
        .map_err(csv::IntoInnerError::into_error)?;
    output.write_all(&line)
}

/// A value as people would write it in a cell.
pub(crate) fn plain(value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(Json::Object(object)) if object.len() == 1 => match object.get("$numberDouble") {
            Some(Json::String(word)) => word.clone(),
            _ => Json::Object(object.clone()).to_string(),
        },
        Some(other) => other.to_string(),
    }
}

fn table_row(sample: &Sample, json: &Json) -> Vec<Cell> {
    let fields = |name| Cell::new(assignments(json.get(name)));
    vec![
        Cell::new(sample.id()),
        Cell::new(sample.pipeline()),
        Cell::styled(sample.status().as_str(), status_style(sample.status())),
        Cell::instant(plain(json.get("created_at"))),
        Cell::new(sample.reason().map_or_else(String::new, |reason| {
            format!("{}: {}", reason.stage(), reason.message())
        })),
        fields("measurements"),
        fields("data"),
    ]
}

/// `temp=71.6 wind_dir=270`.
fn assignments(fields: Option<&Json>) -> String {
    let empty = JsonMap::new();
    let fields = fields.and_then(Json::as_object).unwrap_or(&empty);
    let parts = fields.iter().map(|(name, value)| {
        let value = match value {
            Json::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
                value.to_string()
            }
            Json::Null => "null".to_owned(),
            value => plain(Some(value)),
        };
        format!("{name}={value}")
    });
    parts.collect::<Vec<_>>().join(" ")
}

fn status_style(status: Status) -> Style {
    match status {
        Status::Ready | Status::Labeled => Style::new().green(),
        Status::Measured => Style::new().cyan(),
        Status::Skipped => Style::new().yellow(),
        Status::Dlq => Style::new().red(),
        Status::Pending => Style::new(),
    }
}

/// Writes one sample as lines of field and value.
pub(crate) fn write_details(output: &mut Output, sample: &Sample) -> Result<(), Failure> {
    let json = sample.to_json()?;
    let mut table = Table::new(vec![
        Column::new("field", Align::Left),
        Column::new("value", Align::Left),
    ]);
    for name in CSV_FIXED {
        if let Some(value) = json.get(name) {
            let cell = match name {
                "status" => Cell::styled(sample.status().as_str(), status_style(sample.status())),
                _ => Cell::new(plain(Some(value))),
            };
            table.row(output, vec![Cell::new(name), cell])?;
        }
    }
    for group in CSV_GROUPS {
        for (name, value) in json
            .get(group)
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
        {
            let value = match value {
                Json::Null => "null".to_owned(),
                value => plain(Some(value)),
            };
            let row = vec![Cell::new(format!("{group}.{name}")), Cell::new(value)];
            table.row(output, row)?;
        }
    }
    table.finish(output)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sample_that_was_stored_behind_the_first_look_loses_no_field() {
        let sample = |names: &[&str], has_reason: bool| {
            let mut sample = json!({ "id": "x", "pipeline": "p", "measurements": { "m": 1 } });
            for name in names {
                sample["data"][*name] = 1.into();
            }
            if has_reason {
                sample["reason"] = json!({ "stage": "s", "message": "m", "attempts": 1, "at": "2013-06-01T00:00:00Z" });
            }
            Sample::from_json(sample).unwrap()
        };
        let seen = [sample(&["a", "b"], false), sample(&["c"], false)];
        let columns = Columns::of(seen.into_iter().map(Ok)).unwrap();
        let refused = |sample: &Sample| columns.check(&sample.to_json().unwrap()).err();
        for whole in [sample(&["a", "c"], false), sample(&[], false)] {
            assert!(refused(&whole).is_none(), "{whole:?}");
        }
        for more in [sample(&["a", "d"], false), sample(&["a"], true)] {
            let failure = refused(&more).unwrap();
            assert!(
                format!("{failure:?}").contains("others wrote meanwhile"),
                "{failure:?}"
            );
        }
    }
}
