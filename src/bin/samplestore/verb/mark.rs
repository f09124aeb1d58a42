//! `mark`: another status for all samples that the filters leave.

use std::io::Write;

use clap::Args;
use indicatif::HumanCount;
use samplestore::{Facets, Query, Selection, Status};
use serde_json::json;

use crate::arguments::{Consent, Filters, INSTANTS, one_status};
use crate::failure::{Code, Failure, Outcome};
use crate::fields::{tell_unknown, tell_unknown_ids};
use crate::interrupt;
use crate::opening::Db;
use crate::output::{Output, ReportFormat, counted};
use crate::steps::{Changed, in_steps};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db mark ready --from measured --pipeline JFK
  samplestore -d weather.db mark pending --status dlq --since yesterday \\
      --dry-run
  samplestore -d weather.db mark labeled --id JFK-2013-06-01T12:00:00Z --yes

Samples move in transactions of up to 10,000; when it is interrupted, run it again for the rest. Nothing but the status of a \
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
        let reader = db.read()?;
        let matched = reader.facets(&query)?;
        match matched.total() {
            0 => tell_unknown(&reader, &query)?,
            _ => tell_unknown_ids(&reader, &query)?,
        }
        drop(reader);
        if self.consent.is_dry_run() {
            return self.report(&matched, Changed::default());
        }
        if matched.total() == 0 {
            return self.report(&matched, Changed::default());
        }
        let (count, parts) = (counted(matched.total(), "sample"), by_status(&matched));
        let question = format!("Mark {count} {} ({parts})?", self.to);
        if !self.consent.ask(&format!("{count} ({parts})"), &question)? {
            return Ok(Code::Fine);
        }
        interrupt::watch()?;
        let storage = db.change()?;
        let changed = in_steps(matched.total(), |samples_max| {
            let selection = Selection::from(query.clone().limit(samples_max));
            storage.set_status(&selection, None, self.to)
        });
        let closed = storage.close();
        let changed = changed?;
        closed?;
        self.report(&matched, changed)
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
            true => query.ids(Vec::<String>::new()),
            false => query,
        })
    }

    fn report(&self, matched: &Facets, changed: Changed) -> Outcome {
        let mut output = Output::new();
        let is_dry_run = self.consent.is_dry_run();
        match output.report_format(self.format) {
            ReportFormat::Table if is_dry_run => {
                let count = counted(matched.total(), "sample");
                writeln!(
                    output,
                    "would mark {count} {} ({})",
                    self.to,
                    by_status(matched)
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
        output.finish()?;
        Ok(changed.code())
    }
}

/// `1,000 pending, 20 dlq`.
pub(super) fn by_status(facets: &Facets) -> String {
    let counts = facets.by_status();
    let parts: Vec<_> = counts
        .into_iter()
        .map(|(status, count)| format!("{} {status}", HumanCount(count)))
        .collect();
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(", "),
    }
}
