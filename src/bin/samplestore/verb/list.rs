//! `list`: samples in order, page by page or all of them.

use clap::Args;

use crate::arguments::{Filters, INSTANTS};
use crate::failure::{Code, Outcome, words};
use crate::fields::tell_unknown;
use crate::listing::Listing;
use crate::opening::Db;
use crate::output::{Columns, Format, Output, SampleWriter};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db list --status ready --newest --limit 20
  samplestore -d weather.db list --pipeline JFK,LGA \\
      --after 2013-06-01 -f csv > june.csv
  samplestore -d weather.db list --status dlq --since 2h | jq .reason.message
  samplestore -d a.db list | samplestore -d b.db import -";

/// A table on a terminal shows so many samples unless a limit is given.
const LIMIT_ON_TERMINAL: u64 = 100;

/// List samples, oldest first
///
/// With a limit, the cursor of the next page goes to stderr while more may follow; JSON has it as
/// its field `next`. JSON Lines can be imported again unchanged.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct List {
    #[command(flatten)]
    filters: Filters,
    /// How to write the samples [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

impl List {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let mut query = self.filters.query()?;
        let mut output = Output::new();
        let format = output.format(self.format);
        let is_glance =
            format == Format::Table && output.is_terminal() && query.limit_max().is_none();
        if is_glance {
            query = query.limit(LIMIT_ON_TERMINAL);
        }
        let reader = db.read()?;
        let seeking = reader.seeking(&query);
        let mut listing = Listing::new(&reader, &query)?;
        let columns = || Columns::of(Listing::new(&reader, &query)?);
        let mut writer = SampleWriter::begin(&mut output, format, columns)?;
        let mut count = 0_u64;
        for sample in &mut listing {
            writer.write(&mut output, &sample?)?;
            count += 1;
            if let Some(seeking) = &seeking {
                seeking.found(count);
            }
        }
        let next = listing.into_next();
        writer.finish(&mut output, next.as_ref())?;
        output.finish()?;
        drop(seeking);
        if count == 0 {
            tell_unknown(&reader, &query)?;
        }
        if let Some(next) = next {
            if is_glance {
                words(&format!(
                    "These are the first {LIMIT_ON_TERMINAL}; --limit N gives more."
                ));
            }
            words(&self.filters.next_page(&next)?);
        }
        Ok(Code::Fine)
    }
}
