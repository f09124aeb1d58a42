//! Samples to rows, and rows to samples.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltalake::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray, new_null_array,
};
use deltalake::arrow::compute::cast;
use deltalake::arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::failure::Failure;
use super::schema::{
    BYTES, CREATED_AT, CREATED_AT_US, DATA, DATE, ID, MEASURED_AT, MEASURED_AT_US, MEASUREMENT,
    MEASUREMENTS, PIPELINE, RANK, REASON, STATUS, date, days, timestamp,
};
use crate::error::{Error, ErrorKind, Result};
use crate::instant;
use crate::payload::Payload;
use crate::sample::{self, Reason, Sample};
use crate::value::{self, Value};

const READ: &str = "read a row";

/// A sample as it is written.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) pipeline: String,
    pub(super) created_at_us: i64,
    /// Its measurements that are numbers.
    pub(super) numbers: BTreeMap<String, f64>,
    status: &'static str,
    measured_at_us: Option<i64>,
    data: String,
    measurements: String,
    reason: Option<String>,
}

impl Row {
    pub(super) fn of(sample: &Sample) -> Result<Self> {
        let named = |error: Error| error.with_sample_id(sample.id());
        let measurements = sample.measurements().to_map().map_err(named)?;
        let numbers = measurements.iter().filter_map(|(name, value)| {
            let number = match value {
                Value::Float(float) => *float,
                Value::Int(_) => value.as_f64()?,
                _ => return None,
            };
            Some((name.clone(), number))
        });
        let data = sample.data().to_map().map_err(named)?;
        Ok(Self {
            id: sample.id().to_owned(),
            pipeline: sample.pipeline().to_owned(),
            created_at_us: instant::floor_micros(sample.created_at()),
            numbers: numbers.collect(),
            status: sample.status().as_str(),
            measured_at_us: sample.measured_at().map(instant::floor_micros),
            data: value::map_to_json(&data).to_string(),
            measurements: value::map_to_json(&measurements).to_string(),
            reason: sample
                .reason()
                .map(|reason| sample::reason_to_json(reason).to_string()),
        })
    }

    /// Bytes of JSON text.
    pub(super) fn bytes(&self) -> usize {
        self.data.len() + self.measurements.len() + self.reason.as_ref().map_or(0, String::len)
    }
}

/// Rows with their ranks as the columns of a file. Columns that are not ours are null.
pub(super) fn write(rows: &[(&Row, i64)], schema: &SchemaRef) -> Result<RecordBatch, Failure> {
    let texts = |of: fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|(row, _)| of(row))
                .collect::<StringViewArray>(),
        )
    };
    let longs = |of: fn(&Row) -> Option<i64>| rows.iter().map(move |(row, _)| of(row));
    let instants = |of: fn(&Row) -> Option<i64>| -> ArrayRef {
        let instants = longs(of).map(|micros| micros.and_then(timestamp));
        Arc::new(
            instants
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        )
    };
    let created: fn(&Row) -> Option<i64> = |row| Some(row.created_at_us);
    let measured: fn(&Row) -> Option<i64> = |row| row.measured_at_us;
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            ID => texts(|row| Some(&row.id)),
            RANK => Arc::new(rows.iter().map(|(_, rank)| *rank).collect::<Int64Array>()),
            PIPELINE => texts(|row| Some(&row.pipeline)),
            DATE => {
                let dates = rows
                    .iter()
                    .map(|(row, _)| Some(days(date(row.created_at_us))));
                Arc::new(dates.collect::<Date32Array>())
            }
            STATUS => texts(|row| Some(row.status)),
            CREATED_AT => instants(created),
            CREATED_AT_US => Arc::new(longs(created).collect::<Int64Array>()),
            MEASURED_AT => instants(measured),
            MEASURED_AT_US => Arc::new(longs(measured).collect::<Int64Array>()),
            DATA => texts(|row| Some(&row.data)),
            MEASUREMENTS => texts(|row| Some(&row.measurements)),
            REASON => texts(|row| row.reason.as_deref()),
            BYTES => Arc::new(longs(|row| Some(row.bytes() as i64)).collect::<Int64Array>()),
            name => match (name.strip_prefix(MEASUREMENT), field.data_type()) {
                (Some(name), DataType::Float64) => {
                    let numbers = rows.iter().map(|(row, _)| row.numbers.get(name).copied());
                    Arc::new(numbers.collect::<Float64Array>())
                }
                (_, other) => new_null_array(other, rows.len()),
            },
        }
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

/// The columns that [`read`] needs.
pub(super) const COLUMNS: [&str; 9] = [
    ID,
    PIPELINE,
    STATUS,
    CREATED_AT_US,
    MEASURED_AT_US,
    DATA,
    MEASUREMENTS,
    REASON,
    RANK,
];

/// A sample as it was read.
pub(super) struct Found {
    pub(super) sample: Sample,
    pub(super) created_at_us: i64,
    pub(super) rank: i64,
}

/// Reads rows. They may have been written by others, so everything is checked.
pub(super) fn read(batch: &RecordBatch) -> Result<Vec<Found>, Failure> {
    let [ids, pipelines, statuses] = [ID, PIPELINE, STATUS].map(|name| texts(batch, name));
    let (ids, pipelines, statuses) = (ids?, pipelines?, statuses?);
    let [data, measurements, reasons] = [DATA, MEASUREMENTS, REASON].map(|name| texts(batch, name));
    let (data, measurements, reasons) = (data?, measurements?, reasons?);
    let [created, measured, ranks] =
        [CREATED_AT_US, MEASURED_AT_US, RANK].map(|name| longs(batch, name));
    let (created, measured, ranks) = (created?, measured?, ranks?);
    let read = |at: usize| -> Result<Found> {
        let id = there(&ids, at, ID)?;
        let found = || -> Result<Found> {
            let mut builder = Sample::builder(there(&pipelines, at, PIPELINE)?)
                .id(id)
                .status(there(&statuses, at, STATUS)?.parse()?)
                .created_at(instant_of(long(&created, at, CREATED_AT_US)?)?)
                .data_payload(payload(DATA, there(&data, at, DATA)?)?)
                .measurements_payload(payload(
                    MEASUREMENTS,
                    there(&measurements, at, MEASUREMENTS)?,
                )?);
            if measured.is_valid(at) {
                builder = builder.measured_at(instant_of(measured.value(at))?);
            }
            if reasons.is_valid(at) {
                builder = builder.reason(reason(reasons.value(at))?);
            }
            Ok(Found {
                sample: builder.build()?,
                created_at_us: created.value(at),
                rank: long(&ranks, at, RANK)?,
            })
        };
        found().map_err(|cause| {
            let error = Error::new(ErrorKind::Damaged, READ).with_sample_id(id);
            error.with_cause(cause)
        })
    };
    let rows = (0..batch.num_rows()).map(read);
    Ok(rows.collect::<Result<Vec<_>>>()?)
}

/// A column of texts.
pub(super) fn texts(batch: &RecordBatch, name: &'static str) -> Result<StringViewArray, Failure> {
    Ok(column(batch, name, &DataType::Utf8View)?
        .as_string_view()
        .clone())
}

/// A column of whole numbers.
pub(super) fn longs(batch: &RecordBatch, name: &'static str) -> Result<Int64Array, Failure> {
    let column = column(batch, name, &DataType::Int64)?;
    Ok(column.as_primitive::<Int64Type>().clone())
}

fn column(batch: &RecordBatch, name: &'static str, of: &DataType) -> Result<ArrayRef, Failure> {
    let column = batch.column_by_name(name).ok_or_else(|| missing(name))?;
    Ok(cast(column, of)?)
}

fn there<'a>(column: &'a StringViewArray, at: usize, name: &'static str) -> Result<&'a str> {
    match column.is_valid(at) {
        true => Ok(column.value(at)),
        false => Err(missing(name)),
    }
}

fn long(column: &Int64Array, at: usize, name: &'static str) -> Result<i64> {
    match column.is_valid(at) {
        true => Ok(column.value(at)),
        false => Err(missing(name)),
    }
}

fn missing(name: &'static str) -> Error {
    Error::new(ErrorKind::Damaged, READ).with_message(format!("there is no {name}"))
}

fn instant_of(micros: i64) -> Result<chrono::DateTime<chrono::Utc>> {
    instant::from_micros(micros).ok_or_else(|| {
        Error::new(ErrorKind::Decode, "read an instant")
            .with_message(format!("{micros} µs from 1970 is no instant"))
    })
}

fn payload(field: &'static str, text: &str) -> Result<Payload> {
    match value::parse_json(text)? {
        serde_json::Value::Object(object) if object.is_empty() => Ok(Payload::default()),
        serde_json::Value::Object(object) => {
            Payload::encode(field, &value::map_from_json(field, object)?)
        }
        _ => Err(no_object()),
    }
}

fn reason(text: &str) -> Result<Reason> {
    match value::parse_json(text)? {
        serde_json::Value::Object(object) => sample::reason_from_json(object),
        _ => Err(no_object()),
    }
}

fn no_object() -> Error {
    Error::new(ErrorKind::Decode, READ).with_message("its JSON is no object")
}

#[cfg(test)]
mod tests {
    use deltalake::arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::maps;

    /// All columns, as a table without partitions has them in its files.
    fn schema() -> SchemaRef {
        let text = |name: &str| Field::new(name, DataType::Utf8View, true);
        let long = |name: &str| Field::new(name, DataType::Int64, true);
        let texts = [ID, PIPELINE, STATUS, DATA, MEASUREMENTS, REASON].map(text);
        let longs = [CREATED_AT_US, MEASURED_AT_US, RANK].map(long);
        Arc::new(Schema::new([texts.to_vec(), longs.to_vec()].concat()))
    }

    proptest! {
        #[test]
        fn every_payload_comes_back(data in maps(), measurements in maps()) {
            let sample = Sample::builder("p\0/")
                .id("\u{10ffff}\0")
                .data_payload(Payload::from_map(&data).unwrap())
                .measurements_payload(Payload::from_map(&measurements).unwrap())
                .build()
                .unwrap();
            let row = Row::of(&sample).unwrap();
            let batch = write(&[(&row, 7)], &schema()).unwrap();
            let found = read(&batch).unwrap().remove(0);
            prop_assert_eq!(&found.sample, &sample);
            prop_assert_eq!(found.rank, 7);
            prop_assert_eq!(found.created_at_us, instant::floor_micros(sample.created_at()));
        }
    }

    #[test]
    fn a_row_that_is_no_sample_names_itself() {
        let row = Row {
            data: "[]".to_owned(),
            ..Row::of(&Sample::builder("p").id("odd").build().unwrap()).unwrap()
        };
        let batch = write(&[(&row, 0)], &schema()).unwrap();
        let Err(Failure::Own(error)) = read(&batch) else {
            panic!("it was read");
        };
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert_eq!(error.sample_id(), Some("odd"));
    }
}
