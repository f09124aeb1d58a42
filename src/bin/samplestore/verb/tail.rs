//! `tail`: the newest samples, and then those that are stored or changed as they are committed.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use samplestore::{Query, Sample};

use crate::arguments::{Filters, INSTANTS};
use crate::failure::{Code, Failure, Outcome, answered, words};
use crate::fields::tell_unknown;
use crate::identity::Identity;
use crate::interrupt;
use crate::opening::{Db, Reader};
use crate::output::{Columns, Format, Output, SampleWriter, counted, wait};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db tail
  samplestore -d weather.db tail --follow --status dlq
  samplestore -d weather.db tail --follow --limit 0 -f jsonl \\
      | jq .reason.message

Another process may write meanwhile if it shares the file with readers, as this command does and Options::shared_readers \
of the library. While it follows, the file cannot be compacted. Ctrl-C ends it. --follow is for a database file, and takes no other URL.";

/// How many samples are shown at first.
const LIMIT_DEFAULT: u64 = 10;
/// They are held in memory, so no more than this.
const LIMIT_MAX: u64 = 10_000;
/// How often commits are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often, in samples, those that do not match among them, Ctrl-C is looked for within one commit.
const PROGRESS_SAMPLES: u64 = 256;

/// How samples are written, which come one by one and have no last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailFormat {
    /// Aligned columns, for people
    Table,
    /// One JSON text on each line
    Jsonl,
}

/// Show the newest samples, oldest of them first, and go on with new and changed ones
///
/// --limit says how many are shown at first: 10 unless given; with a --cursor of list, which goes from old to new, those behind it
/// alone. A sample that changes is shown again, as it is then; one that
/// changes several times between two looks at the file, ten of which are taken each second, is shown once.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Tail {
    /// Go on with samples that are stored or changed, until Ctrl-C
    #[arg(short = 'F', long)]
    follow: bool,
    #[command(flatten)]
    filters: Filters,
    /// How to write the samples [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<TailFormat>,
}

impl Tail {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        if self.filters.has("newest") {
            return Err(
                Failure::usage("tail shows the newest samples, oldest of them first")
                    .with_hint("samplestore list --newest begins with the newest"),
            );
        }
        let query = self.filters.query()?;
        let limit = query.limit_max().unwrap_or(LIMIT_DEFAULT);
        if limit > LIMIT_MAX {
            return Err(
                Failure::usage(format!("tail shows {LIMIT_MAX} samples at first at most"))
                    .with_hint("samplestore list shows more"),
            );
        }
        let mut output = Output::new();
        let format = match self.format {
            Some(TailFormat::Table) => Format::Table,
            Some(TailFormat::Jsonl) => Format::Jsonl,
            None => output.format(None),
        };
        let no_columns = || Columns::of(std::iter::empty());
        let mut writer = SampleWriter::begin(&mut output, format, no_columns)?;
        if !self.follow {
            let reader = db.read()?;
            let newest = newest(&reader, &query, limit)?;
            for sample in &newest {
                writer.write(&mut output, sample)?;
            }
            writer.finish(&mut output, None)?;
            output.finish()?;
            if newest.is_empty() {
                tell_unknown(&reader, &query)?;
            }
            return Ok(Code::Fine);
        }
        let path = db.path()?;
        let identity = Identity::at(path);
        let database = db.read_file()?;
        let mut seen = database.snapshot()?;
        let reader = Reader::File(seen.clone());
        let newest = newest(&reader, &query, limit)?;
        for sample in &newest {
            writer.write(&mut output, sample)?;
        }
        if newest.is_empty() {
            tell_unknown(&reader, &query)?;
        }
        drop((reader, newest));
        let filters = query.without_paging();
        let mut count = 0_u64;
        // Until here there is nothing to say of what was done, however long it took.
        interrupt::watch()?;
        while !interrupt::is_asked() {
            writer.settle(&mut output)?;
            output.flush()?;
            wait(POLL_INTERVAL)?;
            let now = database.snapshot()?;
            for (looked_at, sample) in (1_u64..).zip(now.changed_since(&seen)?) {
                let sample = sample?;
                if filters.matches(&sample)? {
                    writer.write(&mut output, &sample)?;
                    count += 1;
                }
                if looked_at.is_multiple_of(PROGRESS_SAMPLES) && interrupt::is_asked() {
                    break;
                }
            }
            seen = now;
            if Identity::at(path) != identity {
                return answered(ending(writer, output), || {
                    let message = format!(
                        "{} was removed, or another file is in its place",
                        path.display()
                    );
                    let failure = Failure::new(Code::Error, message);
                    Err(failure.with_hint("what is stored there now is followed from a new start"))
                });
            }
        }
        answered(ending(writer, output), || {
            words(&format!("new or changed: {}", counted(count, "sample")));
            Ok(Code::Interrupted)
        })
    }
}

fn ending(writer: SampleWriter, mut output: Output) -> io::Result<()> {
    writer.finish(&mut output, None)?;
    output.finish()
}

/// The newest samples of a query, oldest of them first.
fn newest(reader: &Reader, query: &Query, limit: u64) -> Result<VecDeque<Sample>, Failure> {
    let _busy = reader.busy(query);
    if query.start().is_none() {
        let page = reader.list(&query.clone().newest_first().limit(limit))?;
        return Ok(page.samples.into_iter().rev().collect());
    }
    // A cursor goes from old to new, so the newest behind it are known when all of these were met.
    let mut newest = VecDeque::new();
    for sample in reader.iterate(&query.clone().limit(u64::MAX))? {
        newest.push_back(sample?);
        if newest.len() as u64 > limit {
            newest.pop_front();
        }
    }
    Ok(newest)
}
