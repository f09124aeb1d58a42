//! Parquet and Arrow IPC files (feature `arrow`), read as `output/columnar.rs` writes them, and as other tools write them again:
//! each row becomes the JSON text of its sample. Where there are no columns `id` and `pipeline` it is a table of something else,
//! and each row becomes a JSON object of its columns, without those that are null in it (`columnar/plain.rs`).
//!
//! Texts and instants may have any of the types that stand for them. A column `data.label` or `measurements.temp` is a field
//! of that map, as in a CSV: what it says counts, unless it is the same number as in the JSON text of the map, which has
//! more digits. A null in it says nothing.
//!
//! A file of some kilobytes may say the same text of megabytes in each row: few rows are decoded at once, and the texts of a column in
//! them end at 2 GiB, as those of a column of `Utf8` do. A row with more than [`RECORD_BYTES_MAX`] bytes is passed over, as in the other
//! formats. What lists and maps of one row share, and what the readers of these formats make room for, is bounded by the process that reads
//! (`confined.rs`).
//!
//! A JSON text that would not come back as it is, such as one with a whole number beyond 64 bits, is passed on as it is, and
//! so is an instant that microseconds do not reach: whoever takes the row refuses it, as it does in every other format.

mod batches;
mod ipc;
mod plain;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use chrono::DateTime;
use serde_json::{Map as JsonMap, Value as Json, json};

pub(super) use batches::ROWS_MAX;
use batches::{Batches, open_arrow, open_parquet};
use plain::PlainRows;

use super::{InputFormat, Place, RECORD_BYTES_MAX, Record, malformed};
use crate::output::{field_of, instant, number};
use crate::verb::import::{check_whole_numbers, parse_once};

const WORDS: [&str; 3] = ["id", "pipeline", "status"];
const INSTANTS: [&str; 2] = ["created_at", "measured_at"];
const TEXTS: [&str; 3] = ["data", "measurements", "reason"];
/// How many rows a file may have for each of its bytes, and however short it is. A table of constant columns has some hundreds in Parquet; a
/// column that is null throughout takes no bytes at all, whatever the file says how many there are.
const ROWS_PER_BYTE: u64 = 1 << 14;
const ROWS_ANY: u64 = 1 << 20;
/// What instants are read as.
const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Reads rows.
pub(super) struct BatchReader {
    batches: Batches,
    rows: Rows,
    number: u64,
    rows_max: u64,
    text: Vec<u8>,
}

/// The rows of a batch, and how many of them were read.
struct Rows {
    kind: Kind,
    rows: usize,
    read: usize,
}

/// What rows are.
enum Kind {
    /// Samples.
    Samples(Columns),
    /// Others.
    Plain(PlainRows),
}

/// The columns of a batch, each of the type that it is read as.
#[derive(Default)]
struct Columns {
    words: Vec<(&'static str, ArrayRef)>,
    instants: Vec<(&'static str, Instants)>,
    texts: Vec<(&'static str, ArrayRef)>,
    fields: Vec<(&'static str, String, ArrayRef)>,
}

/// Instants as they are read, and as they are in the file.
struct Instants {
    micros: ArrayRef,
    given: ArrayRef,
}

impl BatchReader {
    /// Opens a file of one of the two formats.
    pub(super) fn new(file: File, format: InputFormat) -> io::Result<Self> {
        let rows_max = file.metadata()?.len().saturating_mul(ROWS_PER_BYTE);
        let rows_max = rows_max.max(ROWS_ANY);
        let (schema, batches) = given_up(|| match format {
            InputFormat::Parquet => open_parquet(file, rows_max),
            _ => open_arrow(file, rows_max),
        })?;
        let mut reader = Self {
            batches,
            // What the rows are the columns tell, also where there are no rows.
            rows: given_up(|| Rows::of(&RecordBatch::new_empty(schema)))?,
            number: 0,
            rows_max,
            text: Vec::new(),
        };
        // Columns that it cannot have are told of before anything is stored.
        reader.turn()?;
        Ok(reader)
    }

    /// Goes on to the next batch that has rows, and says whether there is one.
    fn turn(&mut self) -> io::Result<bool> {
        while self.rows.are_read() {
            let Some(batch) = given_up(|| self.batches.next().transpose())? else {
                return Ok(false);
            };
            self.rows = given_up(|| Rows::of(&batch))?;
        }
        Ok(true)
    }

    /// Whether the rows are samples as export writes them.
    pub(super) fn has_samples(&self) -> bool {
        matches!(self.rows.kind, Kind::Samples(_))
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(Place, Record<'_>)>> {
        if !self.turn()? {
            return Ok(None);
        }
        // There may be more than it said at first.
        check_rows(self.number + 1, self.rows_max)?;
        self.number += 1;
        let record = match given_up(|| self.rows.text())? {
            Some(text) => {
                self.text = text;
                Record::Json(&self.text)
            }
            None => Record::TooLong,
        };
        Ok(Some((Place::Record(self.number), record)))
    }
}

impl Rows {
    fn of(batch: &RecordBatch) -> io::Result<Self> {
        let schema = batch.schema();
        let has = |name| schema.column_with_name(name).is_some();
        let kind = match has("id") && has("pipeline") {
            true => Kind::Samples(Columns::of(batch)?),
            false => Kind::Plain(PlainRows::of(batch)?),
        };
        Ok(Self {
            kind,
            rows: batch.num_rows(),
            read: 0,
        })
    }

    fn are_read(&self) -> bool {
        self.read == self.rows
    }

    /// The next row, unless it is too long.
    fn text(&mut self) -> io::Result<Option<Vec<u8>>> {
        let row = self.read;
        self.read += 1;
        match &mut self.kind {
            Kind::Samples(columns) if columns.bytes(row) > RECORD_BYTES_MAX => Ok(None),
            Kind::Samples(columns) => columns.text(row).map(Some),
            Kind::Plain(rows) => rows.text(row),
        }
    }
}

impl Columns {
    /// Finds the columns of samples in a batch.
    fn of(batch: &RecordBatch) -> io::Result<Self> {
        let mut columns = Self::default();
        let mut names = HashSet::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let name = field.name().as_str();
            if !names.insert(name.to_owned()) {
                return Err(malformed(format!("the column {name:?} is given twice")));
            }
            let known = |names: &[&'static str]| names.iter().copied().find(|known| *known == name);
            let no_such = |column: &ArrayRef| {
                let found = column.data_type();
                malformed(format!("column {name:?} is of type {found}"))
            };
            let read_as = |read_as: Option<DataType>| match read_as {
                Some(read_as) => read(column, &read_as).map_err(unreadable),
                None => Err(no_such(column)),
            };
            if let Some(known) = known(&WORDS) {
                columns.words.push((known, read_as(text_type(column))?));
            } else if let Some(known) = known(&TEXTS) {
                columns.texts.push((known, read_as(text_type(column))?));
            } else if let Some(known) = known(&INSTANTS) {
                let Some(given) = instants(column).transpose().map_err(unreadable)? else {
                    return Err(no_such(column));
                };
                let micros = micros(&given).map_err(unreadable)?;
                columns.instants.push((known, Instants { micros, given }));
            } else if let Some((group, field)) = field_of(name) {
                let column = read_as(value_type(column.data_type()))?;
                columns.fields.push((group, field.to_owned(), column));
            } else {
                return Err(malformed(format!(
                    "the column {name:?} is none of a sample; it must be called data.{name}"
                )));
            }
        }
        Ok(columns)
    }

    /// How many bytes of texts a row has.
    fn bytes(&self, row: usize) -> usize {
        let named = self.words.iter().chain(&self.texts);
        let columns = named.map(|(_, column)| column);
        let fields = self.fields.iter().map(|(_, _, column)| column);
        let texts = columns
            .chain(fields)
            .filter_map(|column| column.as_string_opt::<i32>());
        texts.map(|texts| texts.value_length(row) as usize).sum()
    }

    /// The text form of a row's sample.
    fn text(&self, row: usize) -> io::Result<Vec<u8>> {
        let mut sample = JsonMap::new();
        for (name, column) in valid(&self.words, row) {
            sample.insert(name.to_owned(), column.as_string::<i32>().value(row).into());
        }
        for (name, column) in &self.instants {
            if let Some(at) = column.at(row)? {
                sample.insert((*name).to_owned(), at);
            }
        }
        let mut inexact = Vec::new();
        for (name, column) in valid(&self.texts, row) {
            let text = column.as_string::<i32>().value(row);
            let value = match parse_once(text) {
                Ok(value) if check_whole_numbers(text).is_ok() => value,
                // A text that is no JSON stays one, which is no map: this record is rejected.
                Err(cause) if !cause.is_data() => text.into(),
                _ => {
                    inexact.push((name, text));
                    continue;
                }
            };
            sample.insert(name.to_owned(), value);
        }
        for (group, name, column) in &self.fields {
            if inexact.iter().any(|(known, _)| known == group) {
                continue;
            }
            let Some(value) = value(column, row) else {
                continue;
            };
            let map = sample.entry(*group);
            if let Json::Object(map) = map.or_insert_with(|| JsonMap::new().into()) {
                let bits = |value| number(value).map(f64::to_bits);
                let is_same = |old| bits(old).is_some() && bits(old) == bits(&value);
                if !map.get(name).is_some_and(is_same) {
                    map.insert(name.clone(), value);
                }
            }
        }
        let is_empty = sample.is_empty();
        let mut text = serde_json::to_vec(&sample)?;
        for (place, (name, inexact)) in inexact.into_iter().enumerate() {
            text.pop(); // what ends the sample
            let comma = if is_empty && place == 0 { "" } else { "," };
            write!(text, "{comma}\"{name}\":{inexact}}}")?;
        }
        Ok(text)
    }
}

impl Instants {
    /// The instant of a row, if it has one; what is none of the calendar as the number that it is.
    fn at(&self, row: usize) -> io::Result<Option<Json>> {
        if self.given.is_null(row) {
            return Ok(None);
        }
        if self.micros.is_valid(row) {
            let micros = self.micros.as_primitive::<TimestampMicrosecondType>();
            let micros = micros.value(row);
            let at = DateTime::from_timestamp_micros(micros);
            return Ok(Some(
                at.map_or_else(|| micros.into(), |at| instant(at).into()),
            ));
        }
        let given = cast(&self.given.slice(row, 1), &DataType::Int64).map_err(unreadable)?;
        Ok(Some(given.as_primitive::<Int64Type>().value(0).into()))
    }
}

/// A column as one of this type.
fn read(column: &ArrayRef, read_as: &DataType) -> Result<ArrayRef, ArrowError> {
    match (column.as_string_opt::<i64>(), read_as) {
        // Where these begin behind 2 GiB of others, a cast would leave them there.
        (Some(texts), DataType::Utf8) => Ok(Arc::new(texts.iter().collect::<StringArray>())),
        _ => cast(column, read_as),
    }
}

/// The columns that have something in this row.
fn valid<'a>(
    columns: &'a [(&'static str, ArrayRef)],
    row: usize,
) -> impl Iterator<Item = (&'static str, &'a ArrayRef)> {
    let columns = columns.iter().map(|(name, column)| (*name, column));
    columns.filter(move |(_, column)| column.is_valid(row))
}

/// What a column of texts is read as, if it is one.
fn text_type(column: &ArrayRef) -> Option<DataType> {
    match value_type(column.data_type())? {
        text @ DataType::Utf8 => Some(text),
        // One that is empty throughout.
        DataType::Null => Some(DataType::Utf8),
        _ => None,
    }
}

/// A column of instants, if it is one, as what can be cast to microseconds: what these do not reach becomes null.
/// Without a time zone they are of UTC.
fn instants(column: &ArrayRef) -> Option<Result<ArrayRef, ArrowError>> {
    match column.data_type() {
        DataType::Timestamp(..) | DataType::Date32 => Some(Ok(Arc::clone(column))),
        // By itself it would overflow.
        DataType::Date64 => Some(cast(
            column,
            &DataType::Timestamp(TimeUnit::Millisecond, None),
        )),
        // One that is empty throughout.
        DataType::Null => Some(cast(column, &MICROS)),
        _ => None,
    }
}

/// Instants in microseconds, cut and not rounded, also before 1970.
fn micros(instants: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match instants.as_primitive_opt::<TimestampNanosecondType>() {
        Some(nanos) => Ok(Arc::new(
            nanos.unary::<_, TimestampMicrosecondType>(|nanos| nanos.div_euclid(1_000)),
        )),
        None => cast(instants, &MICROS),
    }
}

/// What a column of a field is read as, if a field has such values.
fn value_type(found: &DataType) -> Option<DataType> {
    Some(match found {
        DataType::Null => DataType::Null,
        DataType::Boolean => DataType::Boolean,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, values) => value_type(values)?,
        found if found.is_signed_integer() => DataType::Int64,
        found if found.is_unsigned_integer() => DataType::UInt64,
        found if found.is_floating() => DataType::Float64,
        _ => return None,
    })
}

/// The value of a field in a row, if there is one.
fn value(column: &ArrayRef, row: usize) -> Option<Json> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float64 => double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        _ => return None,
    })
}

/// A float as the text form of samples has it.
fn double(value: f64) -> Json {
    match value {
        value if value.is_finite() => value.into(),
        value if value.is_nan() => json!({ "$numberDouble": "NaN" }),
        value if value > 0.0 => json!({ "$numberDouble": "Infinity" }),
        _ => json!({ "$numberDouble": "-Infinity" }),
    }
}

/// Fails for more rows than are read of a file of its length.
fn check_rows(rows: u64, rows_max: u64) -> io::Result<()> {
    match rows > rows_max {
        true => Err(malformed(format!(
            "it says that it has {rows} rows or more, and of a file of its length {rows_max} are read at most"
        ))),
        false => Ok(()),
    }
}

/// Does what the libraries of these formats have a part in. That they panic on what is damaged, or on a type that they do not know, is
/// an error of the file.
fn given_up<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().copied();
        let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let words = words.unwrap_or("its reader gave it up");
        Err(malformed(format!(
            "it is damaged, or holds what is not read: {words}"
        )))
    })
}

fn unreadable(cause: impl std::fmt::Display) -> io::Error {
    let cause = cause.to_string();
    malformed(match cause.contains("zstd") {
        true => format!(
            "{cause}; a build with the feature delta has that, and every build snappy and lz4"
        ),
        false => cause,
    })
}
