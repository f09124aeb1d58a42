//! `list`: samples in order, page by page or all of them.

use clap::Args;
use samplestore::{Cursor, Page, Query, Result, Sample, Samples};

use crate::arguments::{Filters, INSTANTS};
use crate::failure::{Code, Outcome, words};
use crate::fields::tell_unknown;
use crate::opening::{Db, Reader};
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
/// How many samples are read at a time while the place behind them must be known.
const PAGE_MAX: u64 = 256;

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
        let mut listing = Listing::new(&reader, &query)?;
        let columns = || Columns::of(Listing::new(&reader, &query)?);
        let mut writer = SampleWriter::begin(&mut output, format, columns)?;
        let mut is_empty = true;
        for sample in &mut listing {
            is_empty = false;
            writer.write(&mut output, &sample?)?;
        }
        writer.finish(&mut output, listing.next.as_ref())?;
        output.finish()?;
        if is_empty {
            tell_unknown(&reader, &query)?;
        }
        if let Some(next) = &listing.next {
            if is_glance {
                words(&format!(
                    "These are the first {LIMIT_ON_TERMINAL}; --limit N gives more."
                ));
            }
            words(&format!("next page: --cursor {next}"));
        }
        Ok(Code::Fine)
    }
}

/// What a query gives, one by one, and where to go on when there was a limit.
struct Listing<'a> {
    reader: &'a Reader,
    query: Query,
    samples: Samples<'a>,
    /// How many may come after those in `samples`.
    rest: u64,
    next: Option<Cursor>,
}

impl<'a> Listing<'a> {
    fn new(reader: &'a Reader, query: &Query) -> Result<Self> {
        let mut listing = Self {
            reader,
            query: query.clone(),
            samples: Box::new(std::iter::empty()),
            rest: 0,
            next: None,
        };
        match query.limit_max() {
            None => listing.samples = reader.iterate(query)?,
            Some(limit) => {
                listing.rest = limit;
                listing.turn(query.clone())?;
            }
        }
        Ok(listing)
    }

    /// Reads one page.
    fn turn(&mut self, query: Query) -> Result<()> {
        let limit = self.rest.min(PAGE_MAX);
        let Page { samples, next, .. } = self.reader.list(&query.limit(limit))?;
        self.rest -= limit;
        self.next = next;
        self.samples = Box::new(samples.into_iter().map(Ok));
        Ok(())
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<Sample>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(sample) = self.samples.next() {
                return Some(sample);
            }
            if self.rest == 0 {
                return None;
            }
            let query = self.query.clone().cursor(self.next.clone()?);
            if let Err(error) = self.turn(query) {
                self.rest = 0;
                return Some(Err(error));
            }
        }
    }
}
