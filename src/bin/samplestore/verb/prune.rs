//! `prune`: removing what need not be kept any longer.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use samplestore::{Facets, Prune as Selected, Query, Storage, parse_instant};
use serde_json::json;

use crate::failure::{Code, Failure, Outcome, words};
use crate::opening::Db;
use crate::output::{Output, ReportFormat, facets_json, facets_table};
use crate::progress::FractionProgress;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db prune --older-than 30d --status skipped --dry-run
  samplestore -d weather.db prune --older-than 30d --status skipped,dlq --yes
  samplestore -d weather.db prune --pipeline JFK --keep-newest 100000 --yes

Samples go in transactions of up to 10,000; when it is interrupted, run it again for the rest. The file
becomes smaller with samplestore compact.";

/// Remove samples that are old, or too many
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Prune {
    /// Only samples created longer ago than this (30d), or before this instant
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| parse_instant(text, Utc::now()))]
    older_than: Option<DateTime<Utc>>,
    /// Keep so many of each pipeline, the newest of the statuses named, however old they are
    #[arg(long, value_name = "N")]
    keep_newest: Option<u64>,
    /// Only samples of this pipeline; several by repeating it or with commas
    #[arg(long, value_name = "NAME")]
    pipeline: Vec<String>,
    /// Only samples of this status; several by repeating it or with commas
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Only count what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Remove it; without this nothing is removed
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// How to write the counts of what is removed [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Prune {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let selected = self.selected()?;
        if !self.yes && !self.dry_run {
            return Err(Failure::usage("prune removes samples for good")
                .with_hint("--dry-run counts them, --yes removes them"));
        }
        if self.dry_run {
            let facets = db.read_file()?.prunable(&selected)?;
            self.report(&facets)?;
            return Ok(Code::Fine);
        }
        let database = db.write_existing()?;
        let facets = database.prunable(&selected)?;
        let progress = FractionProgress::new("pruning");
        let removed = database.prune(&selected.on_progress(move |done| progress.set(done)))?;
        database.close()?;
        self.report(&facets)?;
        if removed != facets.total() {
            words(&format!("{removed} were removed: others wrote meanwhile"));
        }
        Ok(Code::Fine)
    }

    /// The pipelines and statuses are read as the filters of these names are.
    fn selected(&self) -> samplestore::Result<Selected> {
        let now = Utc::now();
        let named = |name| move |query: Query, value: &String| query.with_filter(name, value, now);
        let query = self
            .pipeline
            .iter()
            .try_fold(Query::new(), named("pipeline"))?;
        let query = self.status.iter().try_fold(query, named("status"))?;
        let mut selected = Selected::new();
        for name in query.pipelines() {
            selected = selected.pipeline(name);
        }
        for status in query.statuses() {
            selected = selected.status(*status);
        }
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
                let words = if self.dry_run {
                    "would be removed"
                } else {
                    "removed"
                };
                writeln!(output, "{words}:")?;
                facets_table(&mut output, facets)?;
            }
            format => {
                let mut report = json!({ "dry_run": self.dry_run });
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
