//! Samples as Parquet and as Arrow IPC files (feature `arrow`).
//!
//! What all samples have is a column each. `data`, `measurements` and `reason` are JSON texts in the form that samples
//! have in JSON, so that every value comes back equal; and a measurement that is a number is also a column of floats,
//! `measurements.temp`, for whoever computes with it; the first 1,000 by name, since each column takes memory.
//! `input/columnar.rs` reads the former, and of the latter what was changed.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::{Float64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use indicatif::HumanCount;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use samplestore::Sample;
use serde_json::Value as Json;

use super::{Columns, Output, counted};
use crate::failure::{Code, Failure, words};

/// How many samples are encoded at once.
const ROWS_MAX: usize = 8_192;
/// How many numbers are, so that a wide table has fewer rows.
const NUMBERS_AT_ONCE_MAX: usize = 1 << 20;
/// How many bytes of texts are, about.
const BYTES_MAX: usize = 8 << 20;
/// A row group of Parquet is written before it holds more than this.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// And before it takes more than this to write it, as each column takes some.
const GROUP_MEMORY_BYTES_MAX: usize = 24 << 20;
/// How many columns of numbers have dictionaries.
const DICTIONARIES_MAX: usize = 100;
/// How many measurements have a column of their own.
const NUMBERS_MAX: usize = 1_000;

/// A file being written.
pub(crate) struct ColumnarWriter {
    encoder: Encoder,
    encoded: Shared,
    schema: SchemaRef,
    rows: Rows,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columnar {
    Parquet,
    Arrow,
}

enum Encoder {
    Parquet(Box<ArrowWriter<Shared>>),
    Arrow(Box<FileWriter<Shared>>),
}

/// What is encoded and not yet written.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut encoded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        encoded.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The columns of a batch, as they grow.
struct Rows {
    count: usize,
    count_max: usize,
    bytes: usize,
    /// Of `id`, `pipeline` and `status`.
    words: [StringBuilder; 3],
    created_at: TimestampMicrosecondBuilder,
    measured_at: TimestampMicrosecondBuilder,
    /// Of `data`, `measurements` and `reason`.
    texts: [StringBuilder; 3],
    numbers: Vec<(String, Float64Builder)>,
}

const WORDS: [&str; 3] = ["id", "pipeline", "status"];
const TEXTS: [&str; 3] = ["data", "measurements", "reason"];

impl ColumnarWriter {
    /// Begins a file with a column for each of these measurements.
    pub(crate) fn new(columnar: Columnar, columns: Columns) -> Result<Self, Failure> {
        let (mut names, is_cut) = columns.into_names();
        if let more @ 1.. = names.len().saturating_sub(NUMBERS_MAX) {
            words(&format!(
                "without a column of floats: {}{} behind the first {} by name; the column measurements has all",
                if is_cut { "more than " } else { "" },
                counted(more as u64, "measurement"),
                HumanCount(NUMBERS_MAX as u64)
            ));
            names.truncate(NUMBERS_MAX);
        }
        let rows = Rows::new(names);
        let schema = Arc::new(rows.schema());
        let encoded = Shared::default();
        let encoder = match columnar {
            Columnar::Parquet => {
                let properties = Some(properties(rows.numbers.len()));
                let writer = ArrowWriter::try_new(encoded.clone(), Arc::clone(&schema), properties);
                Encoder::Parquet(Box::new(writer.map_err(failed)?))
            }
            Columnar::Arrow => {
                let writer = FileWriter::try_new(encoded.clone(), &schema);
                Encoder::Arrow(Box::new(writer.map_err(failed)?))
            }
        };
        Ok(Self {
            encoder,
            encoded,
            schema,
            rows,
        })
    }

    pub(crate) fn write(&mut self, output: &mut Output, sample: &Sample) -> Result<(), Failure> {
        self.rows.add(sample)?;
        match self.rows.count < self.rows.count_max && self.rows.bytes < BYTES_MAX {
            true => Ok(()),
            false => self.encode(output),
        }
    }

    fn encode(&mut self, output: &mut Output) -> Result<(), Failure> {
        let columns = self.rows.finish();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(failed)?;
        match &mut self.encoder {
            Encoder::Parquet(writer) => {
                writer.write(&batch).map_err(failed)?;
                if writer.in_progress_size() > GROUP_BYTES_MAX
                    || writer.memory_size() > GROUP_MEMORY_BYTES_MAX
                {
                    writer.flush().map_err(failed)?;
                }
            }
            Encoder::Arrow(writer) => writer.write(&batch).map_err(failed)?,
        }
        output.write_all(&self.encoded.take())?;
        Ok(())
    }

    pub(crate) fn finish(mut self, output: &mut Output) -> Result<(), Failure> {
        if self.rows.count > 0 {
            self.encode(output)?;
        }
        match self.encoder {
            Encoder::Parquet(writer) => drop(writer.close().map_err(failed)?),
            Encoder::Arrow(mut writer) => writer.finish().map_err(failed)?,
        }
        output.write_all(&self.encoded.take())?;
        Ok(())
    }
}

/// How a Parquet file is written that has so many columns of numbers. The dictionary of a column takes 72 KiB before it has
/// anything in it.
fn properties(numbers: usize) -> WriterProperties {
    let mut properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    if numbers > DICTIONARIES_MAX {
        properties = properties
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Chunk);
        for name in WORDS {
            properties = properties.set_column_dictionary_enabled(name.into(), true);
        }
    }
    properties.build()
}

impl Rows {
    /// With a column of numbers for each of these measurements.
    fn new(names: Vec<String>) -> Self {
        let instants = || TimestampMicrosecondBuilder::new().with_timezone("UTC");
        let count_max = ROWS_MAX.min(NUMBERS_AT_ONCE_MAX / names.len().max(1));
        let numbers = names.into_iter().map(|name| (name, Float64Builder::new()));
        let numbers = numbers.collect();
        Self {
            count: 0,
            count_max,
            bytes: 0,
            words: Default::default(),
            created_at: instants(),
            measured_at: instants(),
            texts: Default::default(),
            numbers,
        }
    }

    fn schema(&self) -> Schema {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let mut fields: Vec<_> = WORDS
            .map(|name| Field::new(name, DataType::Utf8, false))
            .into();
        fields.push(Field::new("created_at", instant.clone(), false));
        fields.push(Field::new("measured_at", instant, true));
        fields.extend(TEXTS.map(|name| Field::new(name, DataType::Utf8, true)));
        let numbers = self.numbers.iter();
        fields.extend(
            numbers.map(|(name, _)| {
                Field::new(format!("measurements.{name}"), DataType::Float64, true)
            }),
        );
        Schema::new(fields)
    }

    fn add(&mut self, sample: &Sample) -> Result<(), Failure> {
        let json = sample.to_json()?;
        let words = [sample.id(), sample.pipeline(), sample.status().as_str()];
        for (column, word) in self.words.iter_mut().zip(words) {
            column.append_value(word);
        }
        self.created_at
            .append_value(sample.created_at().timestamp_micros());
        let measured_at = sample.measured_at().map(|at| at.timestamp_micros());
        self.measured_at.append_option(measured_at);
        for (column, name) in self.texts.iter_mut().zip(TEXTS) {
            let text = json.get(name).map(Json::to_string);
            self.bytes += text.as_ref().map_or(0, String::len);
            column.append_option(text);
        }
        let measurements = json.get("measurements");
        for (name, column) in &mut self.numbers {
            let value = measurements.and_then(|fields| fields.get(name.as_str()));
            column.append_option(value.and_then(number));
        }
        self.count += 1;
        Ok(())
    }

    /// What has been added, after which there is nothing.
    fn finish(&mut self) -> Vec<ArrayRef> {
        (self.count, self.bytes) = (0, 0);
        let mut columns: Vec<ArrayRef> = Vec::new();
        for column in &mut self.words {
            columns.push(Arc::new(column.finish()));
        }
        columns.push(Arc::new(self.created_at.finish()));
        columns.push(Arc::new(self.measured_at.finish()));
        for column in &mut self.texts {
            columns.push(Arc::new(column.finish()));
        }
        for (_, column) in &mut self.numbers {
            columns.push(Arc::new(column.finish()));
        }
        columns
    }
}

/// A JSON value that is a number; whole ones are rounded where a float is not exact.
pub(crate) fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::Object(object) => match object.get("$numberDouble")?.as_str()? {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn failed(cause: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Error, format!("could not encode samples: {cause}"))
}
