//! `mark`: another status for all samples that the filters leave.

use std::io::Write;

use clap::Args;
use samplestore::{Facets, Query, Status};
use serde_json::json;

use crate::arguments::{Consent, Filters, INSTANTS, one_status};
use crate::failure::{Code, Failure, Outcome, answered};
use crate::opening::Db;
use crate::output::{Output, ReportFormat, counted, facets_words};
use crate::steps::{Changed, change_matching};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db mark ready --from measured --pipeline JFK
  samplestore -d weather.db mark pending --status dlq --since yesterday \\
      --dry-run
  samplestore -d weather.db mark labeled --id JFK-2013-06-01T12:00:00Z --yes

Samples move in transactions of up to 10,000; when it is interrupted, run it again for the rest, and with a --limit as it says then. Nothing but the status of a \
sample changes: its reason, too, stays.";

/// Give all samples that match another status
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Mark {
    /// The new status
    #[arg(value_name = "STATUS", value_parser = one_status())]
    to: Status,
    /// Only samples that are in this status now; several by repeating it or with commas
    #[arg(long, value_name = "STATUS", value_parser = one_status(), value_delimiter = ',', conflicts_with = "status")]
    from: Vec<Status>,
    /// Every sample there is, when no filter is given
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    consent: Consent,
    /// How to write what was done [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Mark {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let query = self.query()?;
        self.consent.check("mark changes samples")?;
        let question = |count: &str, parts: &str| format!("Mark {count} {} ({parts})?", self.to);
        let done = change_matching(db, &query, self.consent, question, |storage, selection| {
            storage.set_status(selection, None, self.to)
        })?;
        match done {
            Some((matched, changed)) => self.report(&matched, changed),
            None => Ok(Code::Fine),
        }
    }

    /// What moves: samples of the statuses asked for, but none that is where it shall be.
    fn query(&self) -> Result<Query, Failure> {
        if self.filters.is_everything() && self.from.is_empty() && !self.all {
            return Err(Failure::usage("no filter says which samples are meant")
                .with_hint("--all means every sample there is"));
        }
        let asked = match self.from.is_empty() {
            true => self.filters.statuses()?,
            false => self.from.clone(),
        };
        let named = asked.len();
        let asked = match named {
            0 => Status::ALL.to_vec(),
            _ => asked,
        };
        let moving: Vec<_> = asked.into_iter().filter(|from| *from != self.to).collect();
        let query = self.filters.query_in(&moving)?;
        // A cursor is of one query, and this one would be another than the one that was listed.
        if query.start().is_some() && moving.len() != named {
            let message = format!(
                "with --cursor, name the statuses that move, and not {}",
                self.to
            );
            return Err(Failure::usage(message)
                .with_hint("a cursor of list --status pending goes with mark --status pending"));
        }
        Ok(match moving.is_empty() {
            // All that could move is there.
            true => query.only_ids(Vec::<String>::new()),
            false => query,
        })
    }

    fn report(&self, matched: &Facets, changed: Changed) -> Outcome {
        answered(self.write(matched, changed), || {
            Ok(changed.code(matched.total(), self.filters.has("limit")))
        })
    }

    fn write(&self, matched: &Facets, changed: Changed) -> Result<(), Failure> {
        let mut output = Output::new();
        let is_dry_run = self.consent.is_dry_run();
        match output.report_format(self.format) {
            ReportFormat::Table if is_dry_run => {
                let count = counted(matched.total(), "sample");
                writeln!(
                    output,
                    "would mark {count} {} ({})",
                    self.to,
                    facets_words(matched)
                )?;
            }
            ReportFormat::Table => {
                let count = counted(changed.samples, "sample");
                writeln!(output, "marked {count} {}", self.to)?;
            }
            format => {
                let report = json!({
                    "dry_run": is_dry_run,
                    "status": self.to,
                    "matched": matched.total(),
                    "marked": changed.samples,
                });
                output.json(format, &report)?;
            }
        }
        Ok(output.finish()?)
    }
}
