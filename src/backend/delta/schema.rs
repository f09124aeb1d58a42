//! The table's columns, and how it is divided.
//!
//! | column | type | |
//! |---|---|---|
//! | `id` | string | |
//! | `rank` | long | the place among all samples in the order of first storing |
//! | `pipeline` | string | a partition |
//! | `date` | date | a partition: the day of `created_at`, in UTC |
//! | `status` | string | |
//! | `created_at_us`, `measured_at_us` | long | microseconds since 1970 |
//! | `created_at`, `measured_at` | timestamp | the same, null outside of the years 1 to 9999 |
//! | `data`, `measurements`, `reason` | string | JSON text |
//! | `bytes` | long | how long these three are together; the log's range of it tells how many rows may be read at a time |
//! | `measurement_NAME` | double | a measurement of this name, where it is a number |
//!
//! Samples have instants that neither dates nor timestamps of other engines hold: before the year 1 and behind
//! 9999 `date` stands at its end, which keeps it in order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use deltalake::arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use deltalake::kernel::{DataType, StructField, StructType};

use super::row::Row;
use crate::backend::address::decode;
use crate::instant;

pub(super) const ID: &str = "id";
pub(super) const RANK: &str = "rank";
pub(super) const PIPELINE: &str = "pipeline";
pub(super) const DATE: &str = "date";
pub(super) const STATUS: &str = "status";
pub(super) const CREATED_AT: &str = "created_at";
pub(super) const CREATED_AT_US: &str = "created_at_us";
pub(super) const MEASURED_AT: &str = "measured_at";
pub(super) const MEASURED_AT_US: &str = "measured_at_us";
pub(super) const DATA: &str = "data";
pub(super) const MEASUREMENTS: &str = "measurements";
pub(super) const REASON: &str = "reason";
pub(super) const BYTES: &str = "bytes";
/// What the names of columns of single measurements begin with.
pub(super) const MEASUREMENT: &str = "measurement_";

/// What the option `partition_by` may be; the first is what it is without it.
pub(super) const PARTITIONS: [&str; 4] = ["pipeline,date", "pipeline", "date", "none"];

/// No more columns than this are made of single measurements; the others are in the JSON text alone.
const MEASUREMENT_COLUMNS_MAX: usize = 100;
/// The longest name of a folder, in bytes: file systems take no longer ones.
const PART_BYTES_MAX: usize = 255;
/// The folder of files of pipelines whose names are longer.
const LONG: &str = "long";
/// The longest name of a measurement that has a column.
const NAME_BYTES_MAX: usize = 64;

/// The columns of a new table.
pub(super) fn columns() -> Vec<StructField> {
    vec![
        StructField::not_null(ID, DataType::STRING),
        StructField::not_null(RANK, DataType::LONG),
        StructField::not_null(PIPELINE, DataType::STRING),
        StructField::not_null(DATE, DataType::DATE),
        StructField::not_null(STATUS, DataType::STRING),
        StructField::nullable(CREATED_AT, DataType::TIMESTAMP),
        StructField::not_null(CREATED_AT_US, DataType::LONG),
        StructField::nullable(MEASURED_AT, DataType::TIMESTAMP),
        StructField::nullable(MEASURED_AT_US, DataType::LONG),
        StructField::not_null(DATA, DataType::STRING),
        StructField::not_null(MEASUREMENTS, DataType::STRING),
        StructField::nullable(REASON, DataType::STRING),
        StructField::nullable(BYTES, DataType::LONG),
    ]
}

/// A table's columns with those that new rows need in addition; `None` when they need none.
pub(super) fn grown<'a>(
    table: &StructType,
    rows: impl Iterator<Item = &'a Row>,
) -> Option<Vec<StructField>> {
    let mut columns: Vec<StructField> = table.fields().cloned().collect();
    let before = columns.len();
    // Engines compare names without regard to case.
    let mut names: HashSet<String> = columns
        .iter()
        .map(|column| column.name().to_ascii_lowercase())
        .collect();
    let is_single = |name: &&String| name.starts_with(MEASUREMENT);
    let mut room = MEASUREMENT_COLUMNS_MAX.saturating_sub(names.iter().filter(is_single).count());
    for name in rows.flat_map(|row| row.numbers.keys()) {
        if room == 0 {
            break;
        }
        let column = format!("{MEASUREMENT}{name}");
        if is_column_name(name) && names.insert(column.to_ascii_lowercase()) {
            columns.push(StructField::nullable(column, DataType::DOUBLE));
            room -= 1;
        }
    }
    (columns.len() > before).then_some(columns)
}

/// Whether a measurement of this name may have a column: every engine takes such names, unquoted too.
fn is_column_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

/// The columns as they are in files: without those of the partition, texts as views.
pub(super) fn in_files(table: &Schema, partition_by: &[String]) -> SchemaRef {
    let fields = table.fields().iter();
    let fields = fields.filter(|field| !partition_by.contains(field.name()));
    let fields = fields.map(|field| match field.data_type() {
        ArrowType::Utf8 | ArrowType::LargeUtf8 => {
            Field::new(field.name(), ArrowType::Utf8View, field.is_nullable())
        }
        other => Field::new(field.name(), other.clone(), field.is_nullable()),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The values of a partition by its columns, as the log has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition(BTreeMap<String, Option<String>>);

impl Partition {
    /// The one that a row belongs to.
    pub(super) fn of(row: &Row, partition_by: &[String]) -> Self {
        let values = partition_by.iter().map(|column| {
            let value = match column.as_str() {
                PIPELINE => Some(row.pipeline.clone()),
                DATE => Some(date(row.created_at_us).to_string()),
                _ => None,
            };
            (column.clone(), value)
        });
        Self(values.collect())
    }

    /// As a file in the log has it.
    pub(super) fn of_file(values: HashMap<String, Option<String>>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The folder of its files, as Hive names folders. The log has the values too, but some readers take them from
    /// there. A pipeline whose name is too long for a folder has none.
    pub(super) fn folder(&self, partition_by: &[String]) -> String {
        let part = |column: &String| {
            let value = self.0.get(column)?.as_ref()?;
            let part = format!("{column}={}", escape(value));
            (part.len() <= PART_BYTES_MAX).then_some(part)
        };
        let parts: Option<Vec<String>> = partition_by.iter().map(part).collect();
        parts.map_or_else(|| LONG.to_owned(), |parts| parts.join("/"))
    }

    /// Whether a folder may be one of those that [`folder`](Self::folder) gives.
    pub(super) fn is_folder(folder: &str, partition_by: &[String]) -> bool {
        let is_part = |(part, column): (&str, &String)| {
            let value = part.strip_prefix(column.as_str());
            let value = value.and_then(|value| value.strip_prefix('='));
            value.is_some_and(|value| match column.as_str() {
                DATE => value.parse::<NaiveDate>().is_ok(),
                _ => decode(value).is_some_and(|decoded| escape(&decoded) == value),
            })
        };
        let parts = folder.split('/').filter(|part| !part.is_empty());
        let parts: Vec<&str> = parts.collect();
        let is_long = folder == LONG && partition_by.iter().any(|column| column == PIPELINE);
        let is_same_length = parts.len() == partition_by.len();
        is_long || (is_same_length && parts.into_iter().zip(partition_by).all(is_part))
    }

    pub(super) fn values(&self) -> HashMap<String, Option<String>> {
        self.0.clone().into_iter().collect()
    }
}

/// Percent-encoding of all that is not plain everywhere.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'-' | b'.' | b'_' => escaped.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// The day of an instant, not before the year 1 and not behind 9999.
pub(super) fn date(micros: i64) -> NaiveDate {
    let (first, last) = ends();
    let instant = instant::from_micros(micros);
    let date = match instant {
        Some(instant) => instant.date_naive(),
        None if micros < 0 => first,
        None => last,
    };
    date.clamp(first, last)
}

/// An instant as a timestamp of other engines, if it is one.
pub(super) fn timestamp(micros: i64) -> Option<i64> {
    let instant = instant::from_micros(micros)?;
    (1..=9999).contains(&instant.year()).then_some(micros)
}

/// The first day and the last one.
fn ends() -> (NaiveDate, NaiveDate) {
    let of_year = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
    (of_year(1), of_year(10_000) - Days::new(1))
}

/// Days since 1970, as Arrow has dates.
pub(super) fn days(date: NaiveDate) -> i32 {
    let epoch = DateTime::<Utc>::UNIX_EPOCH.date_naive();
    i32::try_from((date - epoch).num_days()).unwrap_or_default()
}

/// What the option `partition_by` says.
pub(super) fn partition_by(word: Option<&str>) -> Vec<String> {
    match word.unwrap_or(PARTITIONS[0]) {
        "none" => Vec::new(),
        columns => columns.split(',').map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;

    #[test]
    fn dates_are_in_order_over_the_whole_range() {
        let text = |instant: DateTime<Utc>| {
            let micros = instant::floor_micros(instant);
            (date(micros).to_string(), timestamp(micros).is_some())
        };
        let of = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        for (instant, expected) in [
            (DateTime::<Utc>::MIN_UTC, ("0001-01-01", false)),
            (of("0001-01-01T00:00:00Z"), ("0001-01-01", true)),
            (of("1969-12-31T23:59:59.999999Z"), ("1969-12-31", true)),
            (of("2013-06-01T00:00:00Z"), ("2013-06-01", true)),
            (of("9999-12-31T23:59:59Z"), ("9999-12-31", true)),
            (DateTime::<Utc>::MAX_UTC, ("9999-12-31", false)),
        ] {
            assert_eq!(text(instant), (expected.0.to_owned(), expected.1));
        }
        assert_eq!(date(i64::MIN).to_string(), "0001-01-01");
        assert_eq!(date(i64::MAX).to_string(), "9999-12-31");
        assert_eq!(days(date(-1)), -1);
    }

    #[test]
    fn every_partition_has_a_folder() {
        let by = ["pipeline".to_owned(), "date".to_owned()];
        let folder = |pipeline: &str| {
            let sample = Sample::builder(pipeline).created_at(DateTime::UNIX_EPOCH);
            let row = Row::of(&sample.build().unwrap()).unwrap();
            Partition::of(&row, &by).folder(&by)
        };
        assert_eq!(folder("JFK"), "pipeline=JFK/date=1970-01-01");
        assert_eq!(folder("../é\0"), "pipeline=..%2F%C3%A9%00/date=1970-01-01");
        assert_eq!(folder(&"p".repeat(247)), LONG);
        assert_eq!(folder(&"é".repeat(100)), LONG);
        let row = Row::of(&Sample::builder("p").build().unwrap()).unwrap();
        assert_eq!(Partition::of(&row, &[]).folder(&[]), "");
        for pipeline in ["JFK", "../é\0", "a=b/c d%", &"p".repeat(247)] {
            assert!(Partition::is_folder(&folder(pipeline), &by), "{pipeline}");
        }
        assert!(Partition::is_folder("", &[]));
        for other in [
            "",
            "notes",
            "pipeline=JFK",
            "date=1970-01-01/pipeline=JFK",
            "pipeline=JFK/date=today",
            "pipeline=a b/date=1970-01-01",
            "inner/pipeline=JFK/date=1970-01-01",
            "pipeline=JFK/date=1970-01-01/inner",
            "long/inner",
        ] {
            assert!(!Partition::is_folder(other, &by), "{other}");
        }
        assert!(!Partition::is_folder(LONG, &by[1..]));
    }

    #[test]
    fn numbers_have_columns_and_other_measurements_have_none() {
        let row = |name: &str, value: crate::Value| {
            let sample = Sample::builder("p").measurement(name, value);
            Row::of(&sample.build().unwrap()).unwrap()
        };
        let rows = [
            row("temp", 71.6.into()),
            row("Temp", 1.into()),
            row("wind speed", 1.into()),
            row("sky", "clear".into()),
            row("n", u64::MAX.into()),
        ];
        let table = StructType::try_new(columns()).unwrap();
        let wider = grown(&table, rows.iter()).unwrap();
        let names: Vec<_> = wider
            .iter()
            .skip(columns().len())
            .map(|column| &**column.name())
            .collect();
        assert_eq!(names, ["measurement_temp", "measurement_n"]);
        let table = StructType::try_new(wider).unwrap();
        assert_eq!(grown(&table, rows.iter()), None);
        let many: Vec<_> = (0..200).map(|n| row(&format!("m{n}"), n.into())).collect();
        let widest = grown(&table, many.iter()).unwrap();
        assert_eq!(widest.len(), columns().len() + MEASUREMENT_COLUMNS_MAX);
    }
}
