//! [`Records`]: what is imported, record by record, in constant memory.
//!
//! Readers here split their input and know where each record stands; what a record means is
//! `verb/import/mapping.rs`. Input is not trusted: a record longer than [`RECORD_BYTES_MAX`] is never
//! held whole, and what cannot be read is one record rejected and not the end, wherever the next one
//! can be found.

mod array;
#[cfg(feature = "arrow")]
mod columnar;
#[cfg(feature = "arrow")]
pub(crate) mod confined;
mod lines;
mod pausing;
mod rows;

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use samplestore::Error;

use crate::failure::Failure;
use crate::identity::Identity;
use crate::progress::ImportProgress;
use array::ArrayReader;
pub(crate) use array::begins_array;
use lines::LineReader;
use pausing::{OnPause, Pausing};
pub(crate) use rows::COLUMNS_MAX;
use rows::RowReader;

/// How large a sample may be, in bytes as it is encoded, unless its storage was told otherwise.
pub(crate) const SAMPLE_BYTES_MAX: usize = 16 << 20;
/// How many times as long as a sample its text may be. A list of empty byte strings is the worst: of each there are two bytes, 41 of JSON,
/// and 51 in a CSV, where ten quotes are doubled. Of `false`, and of control characters in a text, it is six.
const TEXT_BYTES_PER_BYTE: usize = 26;
/// The longest record, in bytes: any sample has room in it.
pub(crate) const RECORD_BYTES_MAX: usize = TEXT_BYTES_PER_BYTE * SAMPLE_BYTES_MAX;
/// How many bytes are read at a time.
const BUFFER_BYTES: usize = 128 << 10;

/// What the input is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// Comma separated values under a header
    Csv,
    /// One JSON object on each line
    Jsonl,
    /// One JSON array of objects, or what `list -f json` writes
    Json,
    /// Parquet, as `export` writes it
    Parquet,
    /// Arrow IPC, as `export` writes it
    Arrow,
}

impl InputFormat {
    /// Whether it is one of columns, which is not read from its beginning to its end.
    fn is_columnar(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// Where input comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Source {
    /// The source that an argument names.
    pub(crate) fn named(name: &Path) -> Self {
        match name.as_os_str() == "-" {
            true => Self::Stdin,
            false => Self::File(name.to_owned()),
        }
    }

    /// The format that its name tells; standard input has JSON Lines, as `list` writes into a pipe.
    ///
    /// # Errors
    /// A usage failure for a name that tells nothing.
    pub(crate) fn format(&self) -> Result<InputFormat, Failure> {
        let Self::File(path) = self else {
            return Ok(InputFormat::Jsonl);
        };
        match extension(path).as_deref() {
            Some("csv" | "tsv") => Ok(InputFormat::Csv),
            Some("jsonl" | "ndjson") => Ok(InputFormat::Jsonl),
            Some("json") => Ok(InputFormat::Json),
            Some("parquet") => Ok(InputFormat::Parquet),
            Some("arrow" | "feather") => Ok(InputFormat::Arrow),
            _ => Err(Failure::usage(format!(
                "the name {:?} does not tell the format",
                path.display().to_string()
            ))
            .with_hint("give --format csv, jsonl, json, parquet or arrow")),
        }
    }

    /// Which file it is, if it is one.
    pub(crate) fn identity(&self) -> Option<Identity> {
        match self {
            Self::Stdin => Identity::of_stdin(),
            Self::File(path) => Identity::at(path),
        }
    }

    /// What stands between the cells of a CSV of this name.
    fn delimiter(&self) -> u8 {
        match self {
            Self::File(path) => delimiter(path),
            Self::Stdin => b',',
        }
    }

    /// Opens it and reads the header, if the format has one.
    ///
    /// `delimiter` stands between the cells of a CSV, unless its name tells.
    pub(crate) fn open(
        &self,
        format: InputFormat,
        delimiter: Option<u8>,
    ) -> Result<(Records, ImportProgress), Failure> {
        if format.is_columnar() {
            return self.open_columnar(format);
        }
        let on_pause = OnPause::default();
        let pausing = || on_pause.clone();
        let (reader, bytes): (Box<dyn Read>, _) = match self {
            Self::Stdin => (Box::new(Pausing::new(io::stdin(), pausing())), None),
            Self::File(path) => {
                let file = File::open(path).map_err(|cause| self.failed(cause))?;
                let metadata = file.metadata().map_err(|cause| self.failed(cause))?;
                match metadata.is_file() {
                    true => (Box::new(file), Some(metadata.len())),
                    false => (Box::new(Pausing::new(file, pausing())), None),
                }
            }
        };
        let progress = ImportProgress::new(bytes);
        let reader: Box<dyn Read> = Box::new(progress.wrap(reader));
        let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        let split = match format {
            InputFormat::Csv => {
                let delimiter = delimiter.unwrap_or_else(|| self.delimiter());
                RowReader::new(reader, RECORD_BYTES_MAX, delimiter).map(Split::Rows)
            }
            InputFormat::Json => ArrayReader::new(reader, RECORD_BYTES_MAX).map(Split::Array),
            _ if bytes.is_some() => LineReader::of_file(reader, RECORD_BYTES_MAX).map(Split::Lines),
            _ => Ok(Split::Lines(LineReader::new(reader, RECORD_BYTES_MAX))),
        };
        let records = Records {
            source: self.clone(),
            split: split.map_err(|cause| self.failed(cause))?,
            on_pause,
        };
        Ok((records, progress))
    }

    /// Opens a file that is not read from its beginning to its end.
    #[cfg(feature = "arrow")]
    fn open_columnar(&self, format: InputFormat) -> Result<(Records, ImportProgress), Failure> {
        let Self::File(path) = self else {
            return Err(Failure::usage(
                "Parquet and Arrow are read from a file, not from standard input",
            ));
        };
        let opened = File::open(path).and_then(|file| confined::Confined::new(file, format));
        let split = Split::Batches(opened.map_err(|cause| self.failed(cause))?);
        let records = Records {
            source: self.clone(),
            split,
            on_pause: OnPause::default(),
        };
        Ok((records, ImportProgress::new(None)))
    }

    #[cfg(not(feature = "arrow"))]
    #[allow(clippy::unused_self)]
    fn open_columnar(&self, _: InputFormat) -> Result<(Records, ImportProgress), Failure> {
        Err(crate::failure::no_arrow())
    }

    fn failed(&self, cause: io::Error) -> Failure {
        Error::io("read the input", self, cause).into()
    }
}

/// What stands between the cells of a CSV at this path.
pub(crate) fn delimiter(path: &Path) -> u8 {
    match extension(path).as_deref() {
        Some("tsv") => b'\t',
        _ => b',',
    }
}

fn extension(path: &Path) -> Option<String> {
    let extension = path.extension().map(OsStr::to_ascii_lowercase)?;
    extension.into_string().ok()
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Where in the input a record stands, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The line it begins on.
    Line(u64),
    /// Its number in the array.
    Record(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Record(number) => write!(f, "record {number}"),
        }
    }
}

/// One record, as it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    /// The cells of a row, under the header's columns.
    Row(&'a csv::ByteRecord),
    /// One JSON text.
    Json(&'a [u8]),
    /// More than [`RECORD_BYTES_MAX`] bytes, which were passed over.
    TooLong,
}

/// Records of an open source.
pub(crate) struct Records {
    source: Source,
    split: Split,
    on_pause: OnPause,
}

enum Split {
    Rows(RowReader<Input>),
    Lines(LineReader<Input>),
    Array(ArrayReader<Input>),
    #[cfg(feature = "arrow")]
    Batches(confined::Confined),
}

type Input = BufReader<Box<dyn Read>>;

impl Records {
    /// The names of the columns, if the format has them.
    pub(crate) fn header(&self) -> Option<&[String]> {
        match &self.split {
            Split::Rows(rows) => Some(rows.header()),
            _ => None,
        }
    }

    /// Whether the columns of a table are those of samples, if it has columns that tell.
    pub(crate) fn has_samples(&self) -> Option<bool> {
        match &self.split {
            #[cfg(feature = "arrow")]
            Split::Batches(batches) => Some(batches.has_samples()),
            _ => None,
        }
    }

    /// From here on this is done when input from a pipe or a terminal pauses, within [`next`](Self::next).
    pub(crate) fn on_pause(&self, work: impl FnMut() -> io::Result<()> + 'static) {
        self.on_pause.set(work);
    }

    /// The next record, or none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(Place, Record<'_>)>, Failure> {
        let next = match &mut self.split {
            Split::Rows(rows) => rows.next(),
            Split::Lines(lines) => lines.next(),
            Split::Array(array) => array.next(),
            #[cfg(feature = "arrow")]
            Split::Batches(batches) => batches.next(),
        };
        next.map_err(|cause| self.source.failed(cause))
    }
}

/// Input that cannot be read on from here.
fn malformed(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

/// The next byte, left where it is.
fn peek(reader: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        match reader.fill_buf() {
            Ok(bytes) => return Ok(bytes.first().copied()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use samplestore::{MemoryStorage, Sample, Storage, Value, data};

    use super::*;

    #[test]
    fn the_text_of_any_sample_has_room_in_a_record() {
        assert_eq!(
            MemoryStorage::new().capabilities().sample_bytes_max,
            SAMPLE_BYTES_MAX
        );
        let map = |name: &str, value: Value| Value::Map([(name.to_owned(), value)].into());
        let mut most = 0.0_f64;
        for value in [
            Value::Bytes(Vec::new()),
            Value::Bytes(vec![0]),
            Value::Null,
            false.into(),
            (-32).into(),
            i64::MIN.into(),
            f64::NAN.into(),
            f64::NEG_INFINITY.into(),
            (-f64::MIN_POSITIVE).into(),
            "".into(),
            "\u{1}".into(),
            "\"".into(),
            "\u{1}\"\\".repeat(1_000).into(),
            Vec::<Value>::new().into(),
            Value::Map([].into()),
            map("", Value::Null),
            map("", Value::Bytes(Vec::new())),
            map("$", Value::Null),
            map("$binary", Value::Null),
            map("$numberDouble", Value::Null),
            map("\u{1}", vec![Value::Bytes(Vec::new()); 9].into()),
        ] {
            let sample = Sample::builder("p").id("\u{1}");
            let sample = sample.data(data! { "x" => vec![value.clone(); 1_000] });
            let sample = sample.build().unwrap();
            let json = sample.to_json_text().unwrap();
            // In the cells of a CSV quotes are doubled.
            let text_bytes = json.len() + json.matches('"').count();
            most = most.max(text_bytes as f64 / sample.encoded_len() as f64);
            assert!(
                text_bytes <= TEXT_BYTES_PER_BYTE * sample.encoded_len(),
                "{value:?}"
            );
        }
        assert!(most > 0.9 * TEXT_BYTES_PER_BYTE as f64, "{most}");
    }
}
