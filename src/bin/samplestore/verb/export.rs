//! `export`: samples into a file or a pipe, in constant memory.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use samplestore::{Cursor, Query, Sample};

use crate::arguments::{Filters, INSTANTS};
#[cfg(not(feature = "arrow"))]
use crate::failure::no_arrow;
use crate::failure::{Code, Failure, Outcome, words};
use crate::fields::tell_unknown;
use crate::input::delimiter;
use crate::interrupt;
use crate::listing::Listing;
use crate::opening::{Db, Reader};
#[cfg(feature = "arrow")]
use crate::output::{Columnar, ColumnarWriter};
use crate::output::{Columns, Format, Output, SampleWriter, counted};
use crate::progress::{SampleProgress, pace};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db export ready.jsonl --status ready --since 30d
  samplestore -d weather.db export train.parquet --status labeled
  samplestore -d weather.db export june.csv --since 2013-06 \\
      --before 2013-07 --overwrite
  samplestore -d weather.db export -f csv --pipeline JFK | gzip > jfk.csv.gz

JSON Lines, JSON, Parquet and Arrow hold every value exactly: samplestore import makes equal samples of them. A CSV has a \
column for each field, and tabs between them where the file ends in .tsv; import reads it back too, but a text that looks like a number or like JSON becomes one, and a field \
that is null or an empty text is left out. It may have 16,384 columns, and all samples are read once before the first line, to know them. Parquet and Arrow have data and measurements as JSON texts, and a column of \
floats for each measurement, too, null where it is no number, for the first 1,000 measurements by name: the JSON text has all of them. They need a build with the feature arrow.";

/// How often, in samples, progress is told.
const PROGRESS_SAMPLES: u64 = 256;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON text on each line
    Jsonl,
    /// One JSON text
    Json,
    /// Comma separated values under a header
    Csv,
    /// Parquet, compressed by Snappy
    Parquet,
    /// Arrow IPC, also known as Feather
    Arrow,
}

/// What writes samples.
enum Writer {
    Plain(SampleWriter),
    #[cfg(feature = "arrow")]
    Columnar(Box<ColumnarWriter>),
}

impl Writer {
    fn begin(
        output: &mut Output,
        format: ExportFormat,
        columns: impl FnOnce() -> Result<Columns, Failure>,
    ) -> Result<Self, Failure> {
        let plain = match format {
            ExportFormat::Jsonl => Format::Jsonl,
            ExportFormat::Json => Format::Json,
            ExportFormat::Csv => Format::Csv,
            #[cfg(feature = "arrow")]
            ExportFormat::Parquet | ExportFormat::Arrow => {
                let columnar = match format {
                    ExportFormat::Parquet => Columnar::Parquet,
                    _ => Columnar::Arrow,
                };
                let writer = ColumnarWriter::new(columnar, columns()?)?;
                return Ok(Self::Columnar(Box::new(writer)));
            }
            #[cfg(not(feature = "arrow"))]
            ExportFormat::Parquet | ExportFormat::Arrow => return Err(no_arrow()),
        };
        Ok(Self::Plain(SampleWriter::begin(output, plain, columns)?))
    }

    fn write(&mut self, output: &mut Output, sample: &Sample) -> Result<(), Failure> {
        match self {
            Self::Plain(writer) => writer.write(output, sample),
            #[cfg(feature = "arrow")]
            Self::Columnar(writer) => writer.write(output, sample),
        }
    }

    fn finish(self, output: &mut Output, next: Option<&Cursor>) -> Result<(), Failure> {
        match self {
            Self::Plain(writer) => Ok(writer.finish(output, next)?),
            #[cfg(feature = "arrow")]
            Self::Columnar(writer) => writer.finish(output),
        }
    }
}

/// Write samples to a file or to standard output
///
/// A file has its name when it is whole and not before. With a limit, the cursor of the next page goes to stderr while more may
/// follow; JSON has it as its field `next`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Export {
    /// The file to make; - is standard output
    #[arg(value_name = "FILE", default_value = "-")]
    to: PathBuf,
    #[command(flatten)]
    filters: Filters,
    /// The format [default: by the file's extension; jsonl to standard output]
    #[arg(short, long, value_enum)]
    format: Option<ExportFormat>,
    /// Put it in the place of a file that is there
    #[arg(long)]
    overwrite: bool,
}

impl Export {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let query = self.filters.query()?;
        let is_stdout = self.to.as_os_str() == "-";
        let format = match (self.format, is_stdout) {
            (Some(format), _) => format,
            (None, true) => ExportFormat::Jsonl,
            (None, false) => by_extension(&self.to)?,
        };
        #[cfg(not(feature = "arrow"))]
        if matches!(format, ExportFormat::Parquet | ExportFormat::Arrow) {
            return Err(no_arrow());
        }
        if !is_stdout {
            db.refuse_as_target(&self.to)?;
        } else if io::stdout().is_terminal() {
            check_is_text(format)?;
        }
        let reader = db.read()?;
        let (mut output, progress) = match is_stdout {
            // The same terminal may be where the data ends.
            true => (Output::new(), SampleProgress::hidden()),
            false => {
                let progress = SampleProgress::new(None);
                let shown = progress.clone();
                // Before there is anything to be removed, and however long it takes until a sample matches.
                interrupt::end_unless_made(move || {
                    shown.finish();
                    words("interrupted; no file was made");
                })?;
                let output = Output::file(&self.to, self.overwrite)?;
                match output.is_terminal() {
                    true => {
                        check_is_text(format)?;
                        (output, SampleProgress::hidden())
                    }
                    false => {
                        progress.set_total(reader.total(&query)?);
                        (output, progress)
                    }
                }
            }
        };
        let started = Instant::now();
        let delimiter = match is_stdout {
            true => b',',
            false => delimiter(&self.to),
        };
        let written = write(&reader, &query, &mut output, format, delimiter, &progress);
        progress.finish();
        let (writer, next, count) = written?;
        writer.finish(&mut output, next.as_ref())?;
        // When the file has its name Ctrl-C ends nothing any more, and this may take its time.
        if count == 0 {
            tell_unknown(&reader, &query)?;
        }
        output.finish()?;
        if let Some(next) = &next {
            words(&self.filters.next_page(next)?);
        }
        if !is_stdout {
            let to = self.to.display();
            let pace = pace(count, started.elapsed());
            words(&format!("{} in {to} {pace}", counted(count, "sample")));
        }
        Ok(Code::Fine)
    }
}

/// Writes what the query gives; not the end of it. Says where to go on behind it, and how many samples there were.
fn write(
    reader: &Reader,
    query: &Query,
    output: &mut Output,
    format: ExportFormat,
    delimiter: u8,
    progress: &SampleProgress,
) -> Result<(Writer, Option<Cursor>, u64), Failure> {
    // Which columns there are is known when all samples were looked at.
    let columns = || {
        let samples = reader.iterate(query)?;
        match format {
            #[cfg(feature = "arrow")]
            ExportFormat::Parquet | ExportFormat::Arrow => Columns::of_measurements(samples),
            _ => Ok(Columns::of(samples)?.delimited(delimiter)),
        }
    };
    let mut writer = Writer::begin(output, format, columns)?;
    let mut listing = Listing::new(reader, query)?;
    let mut count = 0_u64;
    for sample in &mut listing {
        writer.write(output, &sample?)?;
        count += 1;
        if count.is_multiple_of(PROGRESS_SAMPLES) {
            progress.samples(count);
        }
    }
    Ok((writer, listing.into_next(), count))
}

/// Refuses what is no text, where people would see it.
fn check_is_text(format: ExportFormat) -> Result<(), Failure> {
    match format {
        ExportFormat::Parquet | ExportFormat::Arrow => Err(Failure::usage(
            "Parquet and Arrow are no text for a terminal",
        )
        .with_hint("name a file, or send standard output into one")),
        _ => Ok(()),
    }
}

/// The format that a name tells.
pub(super) fn by_extension(path: &Path) -> Result<ExportFormat, Failure> {
    let extension = path.extension().map(OsStr::to_ascii_lowercase);
    match extension.as_ref().and_then(|text| text.to_str()) {
        Some("jsonl" | "ndjson") => Ok(ExportFormat::Jsonl),
        Some("json") => Ok(ExportFormat::Json),
        Some("csv" | "tsv") => Ok(ExportFormat::Csv),
        Some("parquet") => Ok(ExportFormat::Parquet),
        Some("arrow" | "feather") => Ok(ExportFormat::Arrow),
        _ => Err(Failure::usage(format!(
            "the name {:?} does not tell the format",
            path.display().to_string()
        ))
        .with_hint("give --format jsonl, json, csv, parquet or arrow")),
    }
}
