//! [`open_parquet`] and [`open_arrow`]: the batches of a file, some rows at a time, before anybody asks what their columns are.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, RecordBatchReader};
use arrow_cast::cast;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::{check_rows, ipc, unreadable, value_type};
use crate::input::malformed;

/// How many rows are decoded at once: as many texts of 64 MiB are the most that a column may have.
pub(crate) const ROWS_MAX: usize = 32;
/// What an Arrow file begins with, and what each message of an Arrow stream does.
const FILE_BEGIN: &[u8] = b"ARROW1";
pub(super) const MESSAGE_BEGIN: &[u8] = &[0xff; 4];

pub(super) type Batches = Box<dyn Iterator<Item = io::Result<RecordBatch>>>;

/// Opens a Parquet file. Its texts are read as such whose offsets end at 2 GiB, whatever type its writer had them in.
pub(super) fn open_parquet(file: File, rows_max: u64) -> io::Result<(SchemaRef, Batches)> {
    let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default());
    let found = found.map_err(unreadable)?;
    let rows = found.metadata().file_metadata().num_rows();
    check_rows(rows.max(0).unsigned_abs(), rows_max)?;
    let schema = found.schema();
    let fields = schema.fields().iter().map(short_field).collect::<Vec<_>>();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let options = ArrowReaderOptions::default().with_schema(Arc::new(schema));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options);
    let metadata = metadata.map_err(unreadable)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let reader = builder.with_batch_size(ROWS_MAX).build();
    let (schema, batches) = decoded(reader.map_err(unreadable)?);
    // Its reader does not look whether all that it calls a text is one.
    let sound = batches.map(|batch| {
        let batch = batch?;
        for column in batch
            .columns()
            .iter()
            .filter(|column| has_texts(column.data_type()))
        {
            column.to_data().validate_full().map_err(unreadable)?;
        }
        Ok(batch)
    });
    Ok((schema, Box::new(sound)))
}

fn has_texts(found: &DataType) -> bool {
    found.is_nested() || value_type(found) == Some(DataType::Utf8)
}

/// A field with texts and other bytes of which a column has 2 GiB at most, wherever they stand in it.
fn short_field(field: &FieldRef) -> FieldRef {
    let short = match field.data_type() {
        DataType::List(item) => DataType::List(short_field(item)),
        DataType::LargeList(item) => DataType::LargeList(short_field(item)),
        DataType::ListView(item) => DataType::ListView(short_field(item)),
        DataType::LargeListView(item) => DataType::LargeListView(short_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(short_field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(short_field).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(short_field(entries), *is_sorted),
        found => match short_type(found) {
            Some(short) => short,
            None => return Arc::clone(field),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(short))
}

/// The same for texts and other bytes, in a dictionary or not.
fn short_type(found: &DataType) -> Option<DataType> {
    match found {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Some(DataType::Binary),
        DataType::Dictionary(_, values) => short_type(values),
        _ => None,
    }
}

/// Opens an Arrow file or an Arrow stream in a file.
pub(super) fn open_arrow(mut file: File, rows_max: u64) -> io::Result<(SchemaRef, Batches)> {
    let mut begin = Vec::new();
    (&mut file).take(8).read_to_end(&mut begin)?;
    file.rewind()?;
    if begin.starts_with(FILE_BEGIN) {
        check_rows(ipc::check_file(&mut file)?, rows_max)?;
        let reader = FileReader::try_new(BufReader::new(file), None);
        return Ok(decoded(reader.map_err(unreadable)?));
    }
    if !begin.starts_with(MESSAGE_BEGIN) {
        return Err(malformed("it is neither an Arrow file nor an Arrow stream"));
    }
    check_rows(ipc::check_stream(&mut file)?, rows_max)?;
    let reader = StreamReader::try_new(BufReader::new(file), None);
    Ok(decoded(reader.map_err(unreadable)?))
}

/// The columns, and the batches in parts of so many rows as are read at once.
fn decoded(reader: impl RecordBatchReader + 'static) -> (SchemaRef, Batches) {
    let schema = reader.schema();
    let batches = reader.flat_map(|batch| {
        let (batch, failed) = match batch.and_then(|batch| with_short_dictionaries(&batch)) {
            Ok(batch) => (Some(batch), None),
            Err(error) => (None, Some(Err(unreadable(error)))),
        };
        let parts = batch.into_iter().flat_map(|batch| {
            let rows = batch.num_rows();
            let starts = (0..rows).step_by(ROWS_MAX);
            starts.map(move |start| Ok(batch.slice(start, ROWS_MAX.min(rows - start))))
        });
        parts.chain(failed)
    });
    (schema, Box::new(batches))
}

/// The same batch with dictionaries of short texts, since each part of it would have them cast once more.
fn with_short_dictionaries(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    recast(batch, |column| match column.data_type() {
        DataType::Dictionary(keys, values) => short_type(values)
            .filter(|short| short != values.as_ref())
            .map(|short| DataType::Dictionary(keys.clone(), Box::new(short))),
        _ => None,
    })
}

/// The same batch with those columns cast for which this gives another type.
pub(super) fn recast(
    batch: &RecordBatch,
    wanted: impl Fn(&ArrayRef) -> Option<DataType>,
) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let Some(wanted) = wanted(column) else {
            columns.push(Arc::clone(column));
            fields.push(Arc::clone(field));
            continue;
        };
        columns.push(cast(column, &wanted)?);
        // A value of a dictionary may be null where no key is.
        let field = field.as_ref().clone().with_nullable(true);
        fields.push(Arc::new(field.with_data_type(wanted)));
    }
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
}
