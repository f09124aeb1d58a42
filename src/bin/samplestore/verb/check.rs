//! `check`: whether everything in the file agrees with everything else.

use std::io::Write;

use clap::Args;
use samplestore::{CheckReport, Database};
use serde_json::json;

use crate::failure::{Code, Failure, Outcome, answered, complaint, words};
use crate::opening::{Db, FILE_ALONE};
use crate::output::{Output, ReportFormat, escape};
use crate::progress::FractionProgress;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db check
  samplestore -d weather.db check -f json | jq .counts";

/// Check every page, record, index and counter; change nothing
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{FILE_ALONE}"))]
pub(crate) struct Check {
    /// How to write the report [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Check {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let database = db.read_alone()?;
        let report = check(&database)?;
        answered(self.write(&report), || Ok(tell(&report)))
    }

    fn write(&self, report: &CheckReport) -> Result<(), Failure> {
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => table(&mut output, report)?,
            format => output.json(format, &json!(report))?,
        }
        Ok(output.finish()?)
    }
}

/// Checks, with a bar.
fn check(database: &Database) -> Result<CheckReport, Failure> {
    let progress = FractionProgress::new("checking");
    Ok(database.check(move |fraction| progress.set(fraction))?)
}

/// Says in words what is to be done about a report, and gives its exit code.
fn tell(report: &CheckReport) -> Code {
    if report.is_sound() {
        if !report.pages_verified {
            words("the checksums of pages were not verified: another process writes the file");
        }
        return Code::Fine;
    }
    complaint(&format!("error: damaged: {} faults", report.total()));
    if report.has_primary_faults() {
        complaint(" hint: samplestore salvage copies what can be read into a new file");
        return Code::Damaged;
    }
    if !report.is_complete {
        complaint(
            " hint: not everything could be looked at; samplestore repair tries to rebuild it",
        );
        return Code::Damaged;
    }
    complaint(
        " hint: samplestore repair rebuilds indexes and counters; where that could cost a sample it changes nothing, and samplestore salvage helps",
    );
    Code::Rebuildable
}

/// Writes a report as lines.
pub(crate) fn table(output: &mut Output, report: &CheckReport) -> Result<(), Failure> {
    writeln!(output, "{:<16}  {}", "samples", report.samples)?;
    let pages = match report.pages_verified {
        true => "verified",
        false => "not verified",
    };
    writeln!(output, "{:<16}  {pages}", "pages")?;
    writeln!(output, "{:<16}  {}", "faults", report.total())?;
    for (kind, count) in &report.counts {
        writeln!(output, "  {:<14}  {count}", kind.as_str())?;
    }
    for fault in &report.faults {
        let row = fault.row.map(|row| format!(" row {row}"));
        let id = fault.id.as_deref().map(|id| format!(" id {}", escape(id)));
        writeln!(
            output,
            "{}{}{}: {}",
            fault.kind,
            row.unwrap_or_default(),
            id.unwrap_or_default(),
            escape(&fault.message)
        )?;
    }
    Ok(())
}
