//! `repair`: whatever can be done for a file without losing a sample.

use std::io::Write;
use std::sync::Arc;

use clap::Args;
use samplestore::{Database, RepairOutcome, RepairReport};
use serde_json::json;

use super::check;
use crate::failure::{Code, Failure, Outcome, answered, complaint};
use crate::interrupt::{self, UNCHANGED};
use crate::opening::{Db, FILE_ALONE};
use crate::output::{Output, ReportFormat, escape};
use crate::progress::FractionProgress;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db repair
  samplestore -d weather.db repair -f json | jq .outcome";

/// Finish what a killed writer left, check, and rebuild indexes and counters if they are wrong
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{FILE_ALONE}"))]
pub(crate) struct Repair {
    /// How to write the report [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Repair {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let progress = Arc::new(FractionProgress::new("repairing"));
        interrupt::watch()?;
        let path = db.path_to_write()?;
        let repaired = db.while_locked(|| {
            let progress = Arc::clone(&progress);
            Database::repair(path, move |fraction| progress.set(fraction))
        });
        drop(progress);
        let report = repaired.map_err(|error| interrupt::ended(error, UNCHANGED))?;
        answered(self.write(&report), || {
            if report.outcome != RepairOutcome::NeedsSalvage {
                return Ok(Code::Fine);
            }
            let reason = report.reason.as_deref().unwrap_or_default();
            complaint(&format!("error: {reason}"));
            complaint(" hint: samplestore salvage copies what can be read into a new file");
            Ok(Code::Damaged)
        })
    }

    fn write(&self, report: &RepairReport) -> Result<(), Failure> {
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => table(&mut output, report)?,
            format => output.json(format, &json!(report))?,
        }
        Ok(output.finish()?)
    }
}

fn table(output: &mut Output, report: &RepairReport) -> Result<(), Failure> {
    let outcome = match report.outcome {
        RepairOutcome::Sound => "nothing is wrong",
        RepairOutcome::Rebuilt => "indexes and counters were rebuilt; no sample is lost",
        _ => "samples cannot be read; the others are as they were",
    };
    writeln!(output, "{:<16}  {outcome}", "outcome")?;
    if let Some(reason) = &report.reason {
        writeln!(output, "{:<16}  {}", "reason", escape(reason))?;
    }
    match &report.found {
        Some(found) => check::table(output, found),
        None => Ok(()),
    }
}
