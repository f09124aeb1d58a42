//! [`FileWriter`]: rows of one partition into files of Parquet, with what the log says of each.
//!
//! Files lie in a folder for each partition, and have names that no other file ever had.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use deltalake::arrow::array::{Array, AsArray, RecordBatch};
use deltalake::arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef};
use deltalake::datafusion::parquet::arrow::AsyncArrowWriter;
use deltalake::datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use deltalake::datafusion::parquet::basic::Compression;
use deltalake::datafusion::parquet::file::properties::WriterProperties;
use deltalake::kernel::Add;
use object_store_0_13::buffered::BufWriter;
use object_store_0_13::path::Path;
use object_store_0_13::{Error as StoreError, ObjectStore};
use serde_json::{Map as JsonMap, Value as Json, json};
use uuid::Uuid;

use super::failure::Failure;
use super::schema::{BYTES, CREATED_AT, CREATED_AT_US, DATA, MEASUREMENTS, Partition, REASON};
use crate::instant;

/// A file that is as large as this is not added to.
pub(super) const FILE_BYTES: usize = 128 << 20;
/// So much is gathered in memory for each file that is being written.
const GROUP_BYTES: usize = 32 << 20;

/// What names of files end in.
const ENDING: &str = ".parquet";

/// Whether a file may be one that a [`FileWriter`] wrote, by its name: a UUID of version 7.
pub(super) fn is_name(name: &str) -> bool {
    let uuid = name.strip_suffix(ENDING).and_then(|id| {
        let uuid = Uuid::parse_str(id).ok()?;
        // It reads other forms of one too.
        (uuid.to_string() == id).then_some(uuid)
    });
    uuid.is_some_and(|uuid| uuid.get_version_num() == 7)
}

/// Writes rows of a partition.
pub(super) struct FileWriter {
    store: Arc<dyn ObjectStore>,
    schema: SchemaRef,
    partition: Partition,
    folder: String,
    /// `false` for rows that are only moved together.
    data_change: bool,
    open: Option<OpenFile>,
    done: Vec<Add>,
}

struct OpenFile {
    path: Path,
    writer: AsyncArrowWriter<BufWriter>,
    statistics: Statistics,
}

impl FileWriter {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        schema: SchemaRef,
        partition: Partition,
        folder: String,
        data_change: bool,
    ) -> Self {
        Self {
            store,
            schema,
            partition,
            folder,
            data_change,
            open: None,
            done: Vec::new(),
        }
    }

    /// Writes rows, of the schema that files have.
    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut file = match self.open.take() {
            Some(file) => file,
            None => self.begin()?,
        };
        file.statistics.add(rows);
        file.writer.write(rows).await?;
        self.open = Some(file);
        if self.bytes() >= FILE_BYTES {
            self.end().await?;
        }
        Ok(())
    }

    /// The files that were written.
    pub(super) async fn finish(mut self) -> Result<Vec<Add>, Failure> {
        self.end().await?;
        Ok(self.done)
    }

    fn begin(&self) -> Result<OpenFile, Failure> {
        let name = format!("{}{ENDING}", Uuid::now_v7());
        // Its names are encoded already.
        let path = Path::parse(&self.folder)
            .map_err(StoreError::from)?
            .join(name);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .build();
        let object = BufWriter::new(Arc::clone(&self.store), path.clone());
        // Arrow's own types, of which texts are views, are nothing for other readers.
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let schema = Arc::clone(&self.schema);
        let writer = AsyncArrowWriter::try_new_with_options(object, schema, options)?;
        Ok(OpenFile {
            path,
            writer,
            statistics: Statistics::default(),
        })
    }

    fn bytes(&self) -> usize {
        let writer = self.open.as_ref().map(|file| &file.writer);
        writer.map_or(0, |writer| {
            writer.bytes_written() + writer.in_progress_size()
        })
    }

    async fn end(&mut self) -> Result<(), Failure> {
        let Some(mut file) = self.open.take() else {
            return Ok(());
        };
        file.writer.finish().await?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        self.done.push(Add {
            path: file.path.to_string(),
            partition_values: self.partition.values(),
            size: file.writer.bytes_written() as i64,
            modification_time: since_1970.map_or(0, |elapsed| elapsed.as_millis() as i64),
            data_change: self.data_change,
            stats: Some(file.statistics.to_json().to_string()),
            ..Add::default()
        });
        Ok(())
    }
}

/// What the log says of a file: how many rows it has, and between which values a column is.
///
/// <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics>
#[derive(Default)]
struct Statistics {
    rows: usize,
    columns: BTreeMap<String, Column>,
}

#[derive(Default)]
struct Column {
    nulls: usize,
    range: Option<Range>,
}

#[derive(Clone, Debug, PartialEq)]
enum Range {
    Text(String, String),
    Long(i64, i64),
    Double(f64, f64),
    /// A number that JSON has not, or a type without an order.
    Unknown,
}

impl Statistics {
    fn add(&mut self, rows: &RecordBatch) {
        self.rows += rows.num_rows();
        for (field, array) in rows.schema().fields().iter().zip(rows.columns()) {
            // Text that is JSON has no order that means anything.
            if [DATA, MEASUREMENTS, REASON].contains(&field.name().as_str()) {
                continue;
            }
            let column = self.columns.entry(field.name().clone()).or_default();
            column.nulls += array.null_count();
            column.range = match (column.range.take(), Range::of(array)) {
                (Some(one), Some(other)) => Some(one.and(other)),
                (one, other) => one.or(other),
            };
        }
    }

    fn to_json(&self) -> Json {
        let mut least = JsonMap::new();
        let mut greatest = JsonMap::new();
        let mut nulls = JsonMap::new();
        for (name, column) in &self.columns {
            nulls.insert(name.clone(), column.nulls.into());
            let (min, max) = match &column.range {
                Some(Range::Text(min, max)) => (json!(min), json!(max)),
                Some(Range::Long(min, max)) => (json!(min), json!(max)),
                Some(Range::Double(min, max)) => (json!(min), json!(max)),
                Some(Range::Unknown) | None => continue,
            };
            least.insert(name.clone(), min);
            greatest.insert(name.clone(), max);
        }
        if let Some((min, max)) = self.created_at() {
            least.insert(CREATED_AT.to_owned(), min.into());
            greatest.insert(CREATED_AT.to_owned(), max.into());
        }
        json!({
            "numRecords": self.rows,
            "minValues": least,
            "maxValues": greatest,
            "nullCount": nulls,
        })
    }

    /// The range of timestamps, which the log has in milliseconds.
    fn created_at(&self) -> Option<(String, String)> {
        let is_whole = self.columns.get(CREATED_AT)?.nulls == 0;
        let Some(Range::Long(min, max)) = self.columns.get(CREATED_AT_US)?.range else {
            return None;
        };
        let text = |millis: i64| {
            let instant = instant::from_micros(millis.checked_mul(1_000)?)?;
            Some(instant.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
        };
        let up = max.div_euclid(1_000) + i64::from(max.rem_euclid(1_000) > 0);
        match is_whole {
            true => Some((text(min.div_euclid(1_000))?, text(up)?)),
            false => None,
        }
    }
}

impl Range {
    fn of(array: &dyn Array) -> Option<Self> {
        match array.data_type() {
            DataType::Utf8View => {
                let texts = || array.as_string_view().iter().flatten();
                let (min, max) = (texts().min()?, texts().max()?);
                Some(Self::Text(min.to_owned(), max.to_owned()))
            }
            DataType::Int64 => {
                let longs = || array.as_primitive::<Int64Type>().iter().flatten();
                Some(Self::Long(longs().min()?, longs().max()?))
            }
            DataType::Float64 => {
                let doubles = || array.as_primitive::<Float64Type>().iter().flatten();
                doubles().next()?;
                let least = doubles().fold(f64::INFINITY, f64::min);
                let greatest = doubles().fold(f64::NEG_INFINITY, f64::max);
                match doubles().all(f64::is_finite) {
                    true => Some(Self::Double(least, greatest)),
                    false => Some(Self::Unknown),
                }
            }
            _ => Some(Self::Unknown),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Text(min, max), Self::Text(other_min, other_max)) => {
                Self::Text(min.min(other_min), max.max(other_max))
            }
            (Self::Long(min, max), Self::Long(other_min, other_max)) => {
                Self::Long(min.min(other_min), max.max(other_max))
            }
            (Self::Double(min, max), Self::Double(other_min, other_max)) => {
                Self::Double(min.min(other_min), max.max(other_max))
            }
            _ => Self::Unknown,
        }
    }
}

/// Between which values the ids of a file are, as the log says; `None` where it does not say.
pub(super) fn ids_between(statistics: Option<&str>) -> Option<(String, String)> {
    let statistics: Json = serde_json::from_str(statistics?).ok()?;
    let text = |which: &str| {
        let value = statistics.get(which)?.get(super::schema::ID)?;
        value.as_str().map(str::to_owned)
    };
    Some((text("minValues")?, text("maxValues")?))
}

/// The largest row of a file, in bytes, as the log says; `None` where it does not say.
pub(super) fn row_bytes_max(statistics: Option<&str>) -> Option<u64> {
    let statistics: Json = serde_json::from_str(statistics?).ok()?;
    statistics.get("maxValues")?.get(BYTES)?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::super::row::{self, Row};
    use super::super::schema::{columns, grown, in_files};
    use super::*;
    use crate::{Sample, Status};
    use deltalake::arrow::datatypes::Schema;
    use deltalake::kernel::StructType;
    use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;

    #[test]
    fn the_statistics_of_a_file() {
        let sample = |id: &str, micros: i64, temp: f64| {
            let sample = Sample::builder("p")
                .id(id)
                .created_at(instant::from_micros(micros).unwrap())
                .measurement("temp", temp)
                .measurement("odd", if id == "b" { f64::NAN } else { 1.0 });
            sample.status(Status::Ready).build().unwrap()
        };
        let samples = [sample("b", 1_001, 7.5), sample("a", -1_001, -0.5)];
        let rows: Vec<_> = samples
            .iter()
            .map(|sample| Row::of(sample).unwrap())
            .collect();
        let table = StructType::try_new(columns()).unwrap();
        let table = StructType::try_new(grown(&table, rows.iter()).unwrap()).unwrap();
        let table: Schema = (&table).try_into_arrow().unwrap();
        let schema = in_files(&table, &["pipeline".to_owned(), "date".to_owned()]);
        let mut statistics = Statistics::default();
        for (rank, row) in rows.iter().enumerate() {
            statistics.add(&row::write(&[(row, rank as i64)], &schema).unwrap());
        }
        let expected = json!({
            "numRecords": 2,
            "minValues": {
                "id": "a", "rank": 0, "status": "ready", "created_at_us": -1001,
                "created_at": "1969-12-31T23:59:59.998Z", "measurement_temp": -0.5, "bytes": 25,
            },
            "maxValues": {
                "id": "b", "rank": 1, "status": "ready", "created_at_us": 1001,
                "created_at": "1970-01-01T00:00:00.002Z", "measurement_temp": 7.5, "bytes": 44,
            },
            "nullCount": {
                "id": 0, "rank": 0, "status": 0, "created_at": 0, "created_at_us": 0, "bytes": 0,
                "measured_at": 2, "measured_at_us": 2, "measurement_odd": 0, "measurement_temp": 0,
            },
        });
        assert_eq!(statistics.to_json(), expected);
        let text = expected.to_string();
        assert_eq!(
            ids_between(Some(&text)),
            Some(("a".to_owned(), "b".to_owned()))
        );
        assert_eq!(row_bytes_max(Some(&text)), Some(44));
        assert_eq!(row_bytes_max(Some("{}")), None);
        assert_eq!(ids_between(Some("{}")), None);
        assert_eq!(ids_between(None), None);
    }
}
