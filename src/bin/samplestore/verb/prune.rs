//! `prune`: removing what need not be kept any longer.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::HumanCount;
use samplestore::{Facets, Prune as Selected, Storage};
use serde_json::json;

use super::mark::by_status;
use crate::arguments::{Consent, Filters, INSTANTS, parse_when};
use crate::failure::{Code, Failure, Outcome, words};
use crate::fields::tell_unknown;
use crate::interrupt;
use crate::opening::{Db, Reader};
use crate::output::{Output, ReportFormat, facets_json, facets_table};
use crate::progress::FractionProgress;
use crate::steps::Changed;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db prune --older-than 30d --status skipped --dry-run
  samplestore -d weather.db prune --older-than 30d --status skipped,dlq --yes
  samplestore -d weather.db prune --pipeline JFK --keep-newest 100000 --yes

Samples go in transactions of up to 10,000; when it is interrupted, run it again for the rest. The file
becomes smaller with samplestore compact.";

/// Remove samples that are old, or too many
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Prune {
    /// Only samples created longer ago than this (30d), or before this instant
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    older_than: Option<DateTime<Utc>>,
    /// Keep so many of each pipeline, the newest of the statuses named, however old they are
    #[arg(long, value_name = "N")]
    keep_newest: Option<u64>,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    consent: Consent,
    /// How to write the counts of what is removed [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Prune {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let selected = self.selected()?;
        self.consent.check("prune removes samples for good")?;
        let database = db.read_file()?;
        let facets = database.prunable(&selected)?;
        if facets.total() == 0 {
            tell_unknown(&Reader::File(database.snapshot()?), &self.filters.query()?)?;
        }
        drop(database);
        if self.consent.is_dry_run() || facets.total() == 0 {
            self.report(&facets)?;
            return Ok(Code::Fine);
        }
        let count = HumanCount(facets.total());
        let question = format!("Remove {count} samples for good ({})?", by_status(&facets));
        if !self.consent.ask(&question)? {
            return Ok(Code::Fine);
        }
        interrupt::watch()?;
        let database = db.write_existing()?;
        let progress = FractionProgress::new("pruning");
        let selected = selected
            .on_progress(move |done| {
                let _ = progress.set(done);
            })
            .stop_when(interrupt::is_asked);
        let removed = database.prune(&selected);
        drop(selected);
        database.close()?;
        let removed = removed?;
        if interrupt::is_asked() && removed < facets.total() {
            words(&format!("removed {} samples", HumanCount(removed)));
            let changed = Changed {
                samples: removed,
                is_interrupted: true,
            };
            return Ok(changed.code());
        }
        self.report(&facets)?;
        if removed != facets.total() {
            words(&format!("{removed} were removed: others wrote meanwhile"));
        }
        Ok(Code::Fine)
    }

    fn selected(&self) -> samplestore::Result<Selected> {
        let mut selected = Selected::new().matching(self.filters.query()?);
        if let Some(instant) = self.older_than {
            selected = selected.older_than(instant);
        }
        Ok(match self.keep_newest {
            Some(samples) => selected.keep_newest(samples),
            None => selected,
        })
    }

    fn report(&self, facets: &Facets) -> Result<(), Failure> {
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => {
                let words = if self.consent.is_dry_run() {
                    "would be removed"
                } else {
                    "removed"
                };
                writeln!(output, "{words}:")?;
                facets_table(&mut output, facets)?;
            }
            format => {
                let mut report = json!({ "dry_run": self.consent.is_dry_run() });
                if let (Some(report), Some(facets)) =
                    (report.as_object_mut(), facets_json(facets).as_object_mut())
                {
                    report.append(facets);
                }
                output.json(format, &report)?;
            }
        }
        Ok(output.finish()?)
    }
}
