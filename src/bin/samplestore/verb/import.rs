//! `import`: samples from CSV, JSON Lines, JSON arrays, Parquet and Arrow.
//!
//! The input is read record by record (`input`), each record becomes a sample or is rejected
//! (`mapping`, `cell`, `rejects`), and samples are stored in batches (`batch`), so memory is bounded by
//! one batch: of a record no more is held than of the largest sample. A batch is also stored when input from a pipe pauses. What is stored stays stored when the import ends early.

mod batch;
mod cell;
mod exported;
pub(crate) mod mapping;
mod once;
mod rejects;
mod size;
mod text_form;

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::HumanCount;
use samplestore::{Location, Storage, StoreReport};
use serde_json::{Value as Json, json};

use crate::arguments::refuse_dash;
use crate::failure::{Code, Failure, Outcome, Volume, answered, complaint, is_told, words};
use crate::identity::Identity;
use crate::input::{InputFormat, Records, Source};
use crate::interrupt;
use crate::opening::Db;
use crate::output::{counted, write_json};
use crate::progress::{ImportProgress, pace};
use batch::{Batch, OnConflict};
pub(crate) use cell::Cell;
use mapping::{Columns, Mapping};
pub(crate) use once::parse_once;
use rejects::{Rejects, would_overwrite};
use size::check_size;
pub(crate) use text_form::{check_whole_numbers, make_id, sample_of_text};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db import nyc-weather.csv --null NA \\
      --id-field origin --id-field time_hour --pipeline-field origin \\
      --created-at-field time_hour --status ready \\
      --measurement temp,humid,pressure
  samplestore -d a.db list --status ready | samplestore -d b.db import -
  samplestore -d events.db import events.json --pipeline clicks \\
      --rejects rejects.jsonl

A number in a CSV is what JSON would take for one: 0012, +1 and nan stay texts. An id or a pipeline is the text of its cell.

Rejects that are corrected are imported by jq -c '.fields // empty' rejects.jsonl | samplestore import - with the same flags \
under Fields; jq before 1.7 rounds whole numbers beyond 2^53. What is under cells did not fit the header or is too large, what is under text is no JSON, and \
neither is imported so.

A record or a row in the form that list and export write is read as the sample that it is, in every format; --pipeline and \
--status say of all samples what they are then, and the other flags under Fields are refused. A Parquet or Arrow file without \
the columns id and pipeline is a table of plain records, without those of its fields that are null; NaN is a value, and instants that have \
a time zone are in UTC. A column that was added to an \
exported CSV, Parquet or Arrow file is called data.NAME or measurements.NAME; what such a column says counts.";

/// What stands between the cells of other files that are called CSV.
const OTHER_DELIMITERS: [char; 3] = [';', '\t', '|'];
/// Progress is told each so many records.
const PROGRESS_RECORDS: u64 = 256;

/// Import samples from CSV, JSON Lines, JSON, Parquet or Arrow; creates the database if need be
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Import {
    /// The file to read; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// The format [default: by the file's extension; jsonl from standard input]
    #[arg(short, long, value_enum)]
    format: Option<InputFormat>,
    /// What stands between the cells of a CSV: one character, or tab [default: a comma; a tab where the file ends in .tsv]
    #[arg(long, value_name = "CHAR", value_parser = parse_delimiter)]
    delimiter: Option<u8>,
    /// How many samples are stored in one transaction; fewer when input from a pipe pauses
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// What to do when an id is stored already
    #[arg(long, value_enum, default_value_t = OnConflict::Replace)]
    on_conflict: OnConflict,
    /// Keep each rejected record in this file, as JSON Lines with its place and the reason; it is made at the first one
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Put the rejects in the place of a file that is there, if there are any
    #[arg(long, requires = "rejects")]
    overwrite: bool,
    /// Write the figures to standard output, too, as one JSON text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    mapping: Mapping,
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !b"\r\n\"".contains(byte) => Ok(*byte),
        _ => Err("a delimiter is one character, such as ; or |, or tab".to_owned()),
    }
}

impl Import {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let source = Source::named(&self.file);
        if matches!(source, Source::Stdin) && std::io::stdin().is_terminal() {
            return Err(Failure::usage("there is nothing to import")
                .with_hint("name a file, or pipe records into standard input"));
        }
        let format = self.format.map_or_else(|| source.format(), Ok)?;
        match format {
            // Their columns tell.
            InputFormat::Csv | InputFormat::Parquet | InputFormat::Arrow => {}
            InputFormat::Jsonl | InputFormat::Json => self.mapping.check(false)?,
        }
        if self.delimiter.is_some() && format != InputFormat::Csv {
            return Err(Failure::usage("--delimiter is for a CSV"));
        }
        if let Some(rejects) = &self.rejects {
            refuse_dash(rejects, "a file of rejects")?;
            refuse_overwriting(rejects, &source, db)?;
        }

        let mut rejects = Rejects::new(self.rejects.as_deref(), self.overwrite)?;

        let (mut records, progress) = source.open(format, self.delimiter)?;
        if let (Some([name]), None) = (records.header(), self.delimiter)
            && let Some(delimiter) = name.chars().find(|char| OTHER_DELIMITERS.contains(char))
        {
            let message = format!("the header of the CSV is one column, {name:?}");
            return Err(Failure::usage(message).with_hint(format!(
                "--delimiter {:?} splits it, --delimiter , takes it as it is",
                delimiter.to_string()
            )));
        }
        match records.has_samples() {
            Some(true) => self.mapping.check_exported(&source)?,
            Some(false) if self.mapping.is_text_form() => {
                let message = format!("{source} is a table without the columns id and pipeline");
                return Err(Failure::usage(message).with_hint(
                    "say what its columns are: --pipeline NAME, --id-field COLUMN, and what else is under Fields",
                ));
            }
            Some(false) => self.mapping.check(false)?,
            None => {}
        }
        let columns = records
            .header()
            .map(|header| self.mapping.columns(header))
            .transpose()?;
        let path = db.location().database()?.map(|(path, _)| path.to_owned());
        let db: Rc<dyn Storage> = db.write()?.into();
        // Only now is the file there for certain.
        rejects.spare(source.identity());
        rejects.spare(path.as_deref().and_then(Identity::at));
        let batch = Batch::new(Rc::clone(&db), self.batch as usize, self.on_conflict);
        let batch = Rc::new(RefCell::new(batch));
        let pausing = Rc::clone(&batch);
        records.on_pause(move || pausing.borrow_mut().settle());

        interrupt::watch()?;
        let started = Instant::now();
        let transfer = Transfer {
            mapping: &self.mapping,
            columns: columns.as_ref(),
            progress: &progress,
            sample_bytes_max: db.capabilities().sample_bytes_max,
            ends_at_conflict: self.on_conflict == OnConflict::Error,
        };
        let ended = transfer.run(&mut records, &batch, &mut rejects);
        // What is stored is to be durable, however it ended.
        let closed = close(&*db);
        drop(progress);
        rejects.finish();
        self.mapping.tell_absent();
        let elapsed = started.elapsed();
        let batch = batch.borrow();
        let figures = Figures {
            stored: batch.stored(),
            untold: batch.untold(),
            skipped: batch.skipped(),
            rejected: rejects.count(),
        };
        figures.tell(elapsed);
        let written = match self.json {
            true => write_json(&figures.report()),
            false => Ok(()),
        };
        answered(written, || {
            if rejects.count() > 0 && !is_told(Volume::Normal) {
                let rejected = counted(rejects.count(), "record");
                complaint(&format!("error: rejected {rejected}"));
            }
            ended.and(closed).map_err(|failure| {
                failure.or_hint_to_retry(match self.mapping.is_repeatable(columns.as_ref()) {
                    true => "what is stored stays; run it again for the rest",
                    false => "what is stored stays, and running it again stores it twice: records have no ids",
                })
            })?;
            // Whoever wrote into a pipe may have ended of it, too.
            if interrupt::is_asked() {
                return Err(Failure::interrupted("what is stored stays"));
            }
            Ok(match rejects.count() {
                0 => Code::Fine,
                _ => Code::Partly,
            })
        })
    }
}

/// What became of the records.
struct Figures {
    stored: StoreReport,
    /// Stored, too, but whether they were new is not known.
    untold: u64,
    skipped: u64,
    rejected: u64,
}

impl Figures {
    fn tell(&self, elapsed: Duration) {
        let Self {
            stored,
            untold,
            skipped,
            rejected,
        } = self;
        let one_or_the_other = match untold {
            0 => String::new(),
            _ => format!("one or the other {}, ", HumanCount(*untold)),
        };
        words(&format!(
            "inserted {}, replaced {}, {one_or_the_other}skipped {}, rejected {} {}",
            HumanCount(stored.inserted),
            HumanCount(stored.replaced),
            HumanCount(*skipped),
            HumanCount(*rejected),
            pace(self.stored() + skipped + rejected, elapsed),
        ));
    }

    /// All that is stored.
    fn stored(&self) -> u64 {
        self.stored.stored() + self.untold
    }

    fn report(&self) -> Json {
        json!({
            "stored": self.stored(),
            "inserted": self.stored.inserted,
            "replaced": self.stored.replaced,
            "skipped": self.skipped,
            "rejected": self.rejected,
        })
    }
}

/// What turns records into stored samples.
struct Transfer<'a> {
    mapping: &'a Mapping,
    columns: Option<&'a Columns>,
    progress: &'a ImportProgress,
    sample_bytes_max: usize,
    /// Whether a sample whose id is there ends the import.
    ends_at_conflict: bool,
}

impl Transfer<'_> {
    fn run(
        &self,
        records: &mut Records,
        batch: &RefCell<Batch>,
        rejects: &mut Rejects,
    ) -> Result<(), Failure> {
        let mut count = 0_u64;
        let ended = loop {
            let (place, record) = match records.next() {
                Ok(Some(next)) => next,
                Ok(None) => break Ok(()),
                // Input that only has an end when somebody ends it.
                Err(_) if interrupt::is_asked() => break Ok(()),
                Err(failure) => break Err(batch.borrow_mut().take_failure().unwrap_or(failure)),
            };
            count += 1;
            if count.is_multiple_of(PROGRESS_RECORDS) {
                self.progress.records(count);
            }
            // At each one: a few hundred may be gigabytes.
            if interrupt::is_asked() {
                break Ok(());
            }
            let sample = check_size(record, self.sample_bytes_max)
                .and_then(|()| self.mapping.sample(record, self.columns))
                .and_then(|sample| match sample.encoded_len() {
                    bytes if bytes > self.sample_bytes_max => Err(format!(
                        "the sample is {bytes} bytes; at most {} are allowed",
                        self.sample_bytes_max
                    )),
                    _ => Ok(sample),
                });
            match sample {
                Ok(sample) => batch.borrow_mut().add(place, sample)?,
                Err(reason) => {
                    // A conflict before this record ends the import before it is told of.
                    if self.ends_at_conflict {
                        batch.borrow_mut().store()?;
                    }
                    if let Some(hint) = self.mapping.hint(record, self.columns) {
                        rejects.hint(hint);
                    }
                    let kept = rejects.add(place, &reason, record, self.columns, self.progress);
                    if let Err(failure) = kept {
                        break Err(failure);
                    }
                }
            }
        };
        // Good records before one that cannot be read are stored.
        batch.borrow_mut().store().and(ended)
    }
}

fn close(db: &dyn Storage) -> Result<(), Failure> {
    db.flush()?;
    Ok(db.close()?)
}

/// Refuses a file of rejects that would overwrite what is read or written otherwise. What cannot be seen of it here,
/// [`Rejects`] sees when it makes the file.
fn refuse_overwriting(rejects: &Path, source: &Source, db: &Db) -> Result<(), Failure> {
    let location = Location::from(rejects.to_owned());
    let is_input = match source {
        Source::File(path) => location.is_same_place(&path.clone().into()),
        Source::Stdin => {
            let identity = source.identity();
            identity.is_some() && identity == Identity::at(rejects)
        }
    };
    match is_input || location.is_same_place(db.location()) {
        true => Err(would_overwrite(rejects)),
        false => Ok(()),
    }
}
