//! `rm`: all samples that the filters leave, removed.

use std::io::Write;

use clap::Args;
use samplestore::{Facets, Selection};
use serde_json::json;

use super::mark::by_status;
use crate::arguments::{Consent, Filters, INSTANTS};
use crate::failure::{Code, Failure, Outcome};
use crate::fields::{tell_unknown, tell_unknown_ids};
use crate::interrupt;
use crate::opening::Db;
use crate::output::{Output, ReportFormat, counted};
use crate::steps::{Changed, in_steps};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db rm --status dlq --before 30d --dry-run
  samplestore -d weather.db rm --pipeline scratch --yes
  samplestore -d weather.db rm --id JFK-2013-06-01T12:00:00Z

Samples go in transactions of up to 10,000; when it is interrupted, run it again for the rest. The file becomes smaller \
with samplestore compact; samplestore prune keeps the newest of each pipeline.";

/// Remove all samples that match
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Rm {
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

impl Rm {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        if self.filters.is_everything() && !self.all {
            return Err(Failure::usage("no filter says which samples are meant")
                .with_hint("--all means every sample there is"));
        }
        let query = self.filters.query()?;
        self.consent.check("rm removes samples for good")?;
        let reader = db.read()?;
        let matched = reader.facets(&query)?;
        match matched.total() {
            0 => tell_unknown(&reader, &query)?,
            _ => tell_unknown_ids(&reader, &query)?,
        }
        drop(reader);
        if self.consent.is_dry_run() || matched.total() == 0 {
            return self.report(&matched, Changed::default());
        }
        let (count, parts) = (counted(matched.total(), "sample"), by_status(&matched));
        let question = format!("Remove {count} for good ({parts})?");
        if !self.consent.ask(&format!("{count} ({parts})"), &question)? {
            return Ok(Code::Fine);
        }
        interrupt::watch()?;
        let storage = db.change()?;
        let changed = in_steps(matched.total(), |samples_max| {
            storage.delete(&Selection::from(query.clone().limit(samples_max)))
        });
        let closed = storage.close();
        let changed = changed?;
        closed?;
        self.report(&matched, changed)
    }

    fn report(&self, matched: &Facets, changed: Changed) -> Outcome {
        let mut output = Output::new();
        let is_dry_run = self.consent.is_dry_run();
        match output.report_format(self.format) {
            ReportFormat::Table if is_dry_run => {
                let count = counted(matched.total(), "sample");
                writeln!(output, "would remove {count} ({})", by_status(matched))?;
            }
            ReportFormat::Table => {
                writeln!(output, "removed {}", counted(changed.samples, "sample"))?;
            }
            format => {
                let report = json!({
                    "dry_run": is_dry_run,
                    "matched": matched.total(),
                    "removed": changed.samples,
                });
                output.json(format, &report)?;
            }
        }
        output.finish()?;
        Ok(changed.code())
    }
}
