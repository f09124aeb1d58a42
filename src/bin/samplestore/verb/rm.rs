//! `rm`: all samples that the filters leave, removed.

use std::io::Write;

use clap::Args;
use samplestore::Facets;
use serde_json::json;

use crate::arguments::{Consent, Filters, INSTANTS};
use crate::failure::{Code, Failure, Outcome, answered};
use crate::opening::Db;
use crate::output::{Output, ReportFormat, counted, facets_words};
use crate::steps::{Changed, change_matching};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db rm --status dlq --before 30d --dry-run
  samplestore -d weather.db rm --pipeline scratch --yes
  samplestore -d weather.db rm --id JFK-2013-06-01T12:00:00Z

Samples go in transactions of up to 10,000; when it is interrupted, run it again for the rest, and with a --limit as it says then. The file becomes smaller \
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
        let question = |count: &str, parts: &str| format!("Remove {count} for good ({parts})?");
        let done = change_matching(db, &query, self.consent, question, |storage, selection| {
            storage.delete(selection)
        })?;
        match done {
            Some((matched, changed)) => self.report(&matched, changed),
            None => Ok(Code::Fine),
        }
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
                writeln!(output, "would remove {count} ({})", facets_words(matched))?;
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
        Ok(output.finish()?)
    }
}
