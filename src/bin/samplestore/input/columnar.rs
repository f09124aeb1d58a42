//! Parquet and Arrow IPC files (feature `arrow`), read as `output/columnar.rs` writes them: each row becomes the JSON
//! text of its sample.

use std::fs::File;
use std::io::{self, BufReader};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::FileReader;
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, SecondsFormat};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map as JsonMap, Value as Json};

use super::{InputFormat, Place, Record, malformed};

/// How many rows are decoded at once.
const ROWS_MAX: usize = 1_024;
const WORDS: [&str; 3] = ["id", "pipeline", "status"];
const INSTANTS: [&str; 2] = ["created_at", "measured_at"];
const TEXTS: [&str; 3] = ["data", "measurements", "reason"];

/// Reads rows.
pub(super) struct BatchReader {
    batches: Box<dyn Iterator<Item = io::Result<RecordBatch>>>,
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    row: usize,
    number: u64,
    text: Vec<u8>,
}

impl BatchReader {
    /// Opens a file of one of the two formats.
    pub(super) fn new(file: File, format: InputFormat) -> io::Result<Self> {
        let batches: Box<dyn Iterator<Item = io::Result<RecordBatch>>> = match format {
            InputFormat::Parquet => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
                let reader = builder
                    .with_batch_size(ROWS_MAX)
                    .build()
                    .map_err(unreadable)?;
                Box::new(reader.map(|batch| batch.map_err(unreadable)))
            }
            _ => {
                let reader = FileReader::try_new(BufReader::new(file), None).map_err(unreadable)?;
                Box::new(reader.map(|batch| batch.map_err(unreadable)))
            }
        };
        Ok(Self {
            batches,
            batch: None,
            row: 0,
            number: 0,
            text: Vec::new(),
        })
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(Place, Record<'_>)>> {
        while self
            .batch
            .as_ref()
            .is_none_or(|batch| self.row == batch.num_rows())
        {
            let Some(batch) = self.batches.next().transpose()? else {
                return Ok(None);
            };
            check(&batch)?;
            (self.batch, self.row) = (Some(batch), 0);
        }
        let Some(batch) = &self.batch else {
            return Ok(None);
        };
        self.text = text(batch, self.row)?;
        self.row += 1;
        self.number += 1;
        Ok(Some((Place::Record(self.number), Record::Json(&self.text))))
    }
}

/// Whether a batch has the columns that samples need, each of the type that it must have.
fn check(batch: &RecordBatch) -> io::Result<()> {
    for name in WORDS.into_iter().chain(INSTANTS).chain(TEXTS) {
        let is_instant = INSTANTS.contains(&name);
        match batch.column_by_name(name).map(Array::data_type) {
            Some(DataType::Utf8) if !is_instant => {}
            Some(DataType::Timestamp(TimeUnit::Microsecond, _)) if is_instant => {}
            Some(other) => return Err(malformed(format!("column {name:?} is of type {other}"))),
            None if name == "id" || name == "pipeline" => {
                return Err(malformed(format!(
                    "there is no column {name:?}; is it an export of samplestore?"
                )));
            }
            None => {}
        }
    }
    Ok(())
}

/// The JSON text of a row's sample.
fn text(batch: &RecordBatch, row: usize) -> io::Result<Vec<u8>> {
    let mut sample = JsonMap::new();
    let there = |name| {
        let column = batch.column_by_name(name);
        column.filter(|column| column.is_valid(row))
    };
    for name in WORDS {
        if let Some(column) = there(name) {
            let word = column.as_string::<i32>().value(row);
            sample.insert(name.to_owned(), word.into());
        }
    }
    for name in INSTANTS {
        if let Some(column) = there(name) {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let at = DateTime::from_timestamp_micros(micros);
            let at = at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
            // What is no instant of the calendar is told of as what it is.
            sample.insert(
                name.to_owned(),
                at.map_or_else(|| micros.into(), Json::from),
            );
        }
    }
    for name in TEXTS {
        if let Some(column) = there(name) {
            let text = column.as_string::<i32>().value(row);
            // A text that is no JSON stays one, which is no map: this record is rejected.
            let value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
            sample.insert(name.to_owned(), value);
        }
    }
    serde_json::to_vec(&sample).map_err(io::Error::from)
}

fn unreadable(cause: impl std::fmt::Display) -> io::Error {
    malformed(cause.to_string())
}
