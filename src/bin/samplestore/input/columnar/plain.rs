//! [`PlainRows`]: the rows of a table of something else than samples, each as a JSON text of its columns.
//!
//! `arrow-json` writes them, but for two kinds of values, wherever they stand, also within lists and maps: a float that JSON has
//! no words for would be null there, and is `{"$numberDouble":"NaN"}` as in the text form of samples; an instant with a time zone would need the
//! tables of all zones, and is written in UTC, which it is kept in.

use std::io;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowTimestampType, Float16Type, Float32Type, Float64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_json::writer::{LineDelimited, NullableEncoder};
use arrow_json::{Encoder, EncoderFactory, EncoderOptions, WriterBuilder};
use arrow_schema::{ArrowError, DataType, FieldRef, TimeUnit};
use serde::Serialize;

use super::{double, unreadable};
use crate::output::instant;

/// How many bytes of texts are written at once, unless a single row has more.
const BYTES_MAX: usize = 64 << 20;

/// Rows of a batch, which are written some at a time.
pub(super) struct PlainRows {
    batch: RecordBatch,
    /// The texts of the rows from [`first`](Self::first) on.
    texts: Vec<Vec<u8>>,
    first: usize,
}

impl PlainRows {
    pub(super) fn new(batch: RecordBatch) -> Self {
        Self {
            batch,
            texts: Vec::new(),
            first: 0,
        }
    }

    /// The text of a row, of which each has so many bytes of texts.
    pub(super) fn text(&mut self, row: usize, bytes: &[usize]) -> io::Result<Vec<u8>> {
        let is_there = row
            .checked_sub(self.first)
            .is_some_and(|at| at < self.texts.len());
        if !is_there {
            let mut sum = 0_usize;
            let fitting = bytes[row..].iter().take_while(|bytes| {
                sum = sum.saturating_add(**bytes);
                sum <= BYTES_MAX
            });
            let count = fitting.count().max(1);
            self.texts = texts(&self.batch.slice(row, count))?;
            self.first = row;
        }
        let text = self.texts.get_mut(row - self.first);
        Ok(text.map(std::mem::take).unwrap_or_default())
    }
}

/// The text of each row, without the columns that are null in it.
fn texts(batch: &RecordBatch) -> io::Result<Vec<Vec<u8>>> {
    let builder = WriterBuilder::new().with_encoder_factory(Arc::new(Values));
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    let written = writer.write(batch).and_then(|()| writer.finish());
    written.map_err(unreadable)?;
    let texts = writer.into_inner();
    let lines = texts.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec);
    Ok(lines.collect())
}

/// Makes the encoders for what is written in another way here.
#[derive(Debug)]
struct Values;

impl EncoderFactory for Values {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder = match array.data_type() {
            DataType::Float16 => {
                let floats = array.as_primitive::<Float16Type>();
                by(move |row, text| write_float(f32::from(floats.value(row)), text))
            }
            DataType::Float32 => {
                let floats = array.as_primitive::<Float32Type>();
                by(move |row, text| write_float(floats.value(row), text))
            }
            DataType::Float64 => {
                let floats = array.as_primitive::<Float64Type>();
                by(move |row, text| write_float(floats.value(row), text))
            }
            DataType::Timestamp(unit, Some(_)) => match unit {
                TimeUnit::Second => instants::<TimestampSecondType>(array),
                TimeUnit::Millisecond => instants::<TimestampMillisecondType>(array),
                TimeUnit::Microsecond => instants::<TimestampMicrosecondType>(array),
                TimeUnit::Nanosecond => instants::<TimestampNanosecondType>(array),
            },
            _ => return Ok(None),
        };
        let nulls = array.nulls().cloned();
        Ok(Some(NullableEncoder::new(encoder, nulls)))
    }
}

/// Encodes by a function of the row.
struct By<F>(F);

impl<F: FnMut(usize, &mut Vec<u8>)> Encoder for By<F> {
    fn encode(&mut self, row: usize, text: &mut Vec<u8>) {
        (self.0)(row, text);
    }
}

fn by<'a>(encode: impl FnMut(usize, &mut Vec<u8>) + 'a) -> Box<dyn Encoder + 'a> {
    Box::new(By(encode))
}

/// Encodes instants; what is none of the calendar as the number that it is.
fn instants<T: ArrowTimestampType>(array: &dyn Array) -> Box<dyn Encoder + '_> {
    let instants = array.as_primitive::<T>();
    by(move |row, text| match instants.value_as_datetime(row) {
        Some(at) => write(&instant(at.and_utc()), text),
        None => write(&instants.value(row), text),
    })
}

/// Writes a float with as many digits as its type needs.
fn write_float<T: Copy + Into<f64> + Serialize>(float: T, text: &mut Vec<u8>) {
    let value = float.into();
    match value.is_finite() {
        true => write(&float, text),
        false => write(&double(value), text),
    }
}

fn write(value: &impl Serialize, text: &mut Vec<u8>) {
    let _ = serde_json::to_writer(text, value); // a Vec takes it
}
