//! [`PlainRows`]: the rows of a table of something else than samples, each as a JSON text of its columns.
//!
//! `arrow-json` writes them, but for two kinds of values, wherever they stand, also within lists and maps: a float that JSON has
//! no words for would be null there, and is `{"$numberDouble":"NaN"}` as in the text form of samples; an instant with a time zone would need the
//! tables of all zones, and is written in UTC, which it is kept in.

use std::io;
use std::mem;
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

use super::batches::recast;
use super::{RECORD_BYTES_MAX, double, unreadable};
use crate::output::instant;

/// How large rows are in memory that are written at once, in bytes.
const BYTES_MAX: usize = 64 << 20;

/// The rows of a batch.
pub(super) enum PlainRows {
    /// As their texts, of which those that were read are empty.
    Texts(Vec<Vec<u8>>),
    /// Large ones, of which each is written when it is asked for.
    Large(RecordBatch),
}

impl PlainRows {
    pub(super) fn of(batch: &RecordBatch) -> io::Result<Self> {
        let batch = without_null_values(batch).map_err(unreadable)?;
        Ok(match bytes(&batch)? > BYTES_MAX {
            true => Self::Large(batch),
            false => Self::Texts(texts(&batch)?),
        })
    }

    /// The text of a row, once, unless it is too long.
    pub(super) fn text(&mut self, row: usize) -> io::Result<Option<Vec<u8>>> {
        let text = match self {
            Self::Texts(texts) => texts.get_mut(row).map(mem::take),
            Self::Large(batch) => texts(&batch.slice(row, 1))?.pop(),
        };
        Ok(text.filter(|text| text.len() <= RECORD_BYTES_MAX))
    }
}

/// The same batch with dictionaries written out that have a null among their values, which `arrow-json` would take for a value.
fn without_null_values(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    recast(batch, |column| {
        let values = column.as_any_dictionary_opt()?.values();
        (values.null_count() > 0).then(|| values.data_type().clone())
    })
}

/// How many bytes the rows of a batch have in memory, roughly: what is behind lists counts whole, what dictionaries share for each row.
fn bytes(batch: &RecordBatch) -> io::Result<usize> {
    let mut sum = 0_usize;
    for column in batch.columns() {
        let bytes = match column.data_type() {
            // Views are counted without what they are of.
            DataType::Utf8View => lengths(column.as_string_view().lengths()),
            DataType::BinaryView => lengths(column.as_binary_view().lengths()),
            _ => {
                let data = column.to_data();
                data.get_slice_memory_size().map_err(unreadable)?
            }
        };
        let times = match is_shared(column.data_type()) {
            true => batch.num_rows(),
            false => 1,
        };
        sum = sum.saturating_add(bytes.saturating_mul(times));
    }
    Ok(sum)
}

fn lengths(lengths: impl Iterator<Item = u32>) -> usize {
    lengths.map(|length| length as usize).sum()
}

/// Whether several values of such a column may be the same bytes, and are not counted by themselves.
fn is_shared(found: &DataType) -> bool {
    match found {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_shared(item.data_type())
        }
        DataType::Map(entries, _) => is_shared(entries.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| is_shared(field.data_type())),
        DataType::Dictionary(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Union(..) => true,
        _ => false,
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
