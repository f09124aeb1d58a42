//! `salvage`: what can be read of a damaged file, in a new one.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use samplestore::{Database, SalvageReport, SalvagedRow};
use serde_json::json;

use crate::arguments::refuse_dash;
use crate::failure::{Code, Failure, Outcome, answered, complaint, full_at};
use crate::interrupt;
use crate::opening::{Db, FILE_ALONE};
use crate::output::{Output, ReportFormat, escape};
use crate::progress::FractionProgress;

const EXAMPLES: &str = "\
Examples:
  samplestore -d damaged.db salvage saved.db
  samplestore -d damaged.db salvage saved.db -f json | jq .lost_rows";

/// Rows of each kind that the table has.
const ROWS_MAX: usize = 20;

/// Copy what can be read of a damaged database into a new file, and list what is lost
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{FILE_ALONE}"))]
pub(crate) struct Salvage {
    /// The new file, which must not be there
    #[arg(value_name = "FILE")]
    to: PathBuf,
    /// How to write the report [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Salvage {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        refuse_dash(&self.to, "a database")?;
        let progress = FractionProgress::new("salvaging");
        interrupt::watch_making(&self.to)?;
        let path = db.path()?;
        let salvaged = db
            .while_locked(|| Database::salvage(path, &self.to, |fraction| progress.set(fraction)));
        drop(progress);
        let report = salvaged
            .map_err(|failure| full_at(&self.to, failure))
            .map_err(|error| interrupt::ended(error, "no new file was made"))?;
        answered(self.write(&report), || {
            if report.is_whole() {
                return Ok(Code::Fine);
            }
            complaint("error: not everything could be saved; the damaged file is as it was");
            Ok(Code::Partly)
        })
    }

    fn write(&self, report: &SalvageReport) -> Result<(), Failure> {
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => table(&mut output, report)?,
            format => output.json(format, &json!(report))?,
        }
        Ok(output.finish()?)
    }
}

fn table(output: &mut Output, report: &SalvageReport) -> Result<(), Failure> {
    // Of what could not be read nobody knows how many it is.
    let at_least = match report.notes.is_empty() {
        true => "",
        false => "at least ",
    };
    for (name, count) in [
        ("saved", report.samples.to_string()),
        ("lost", format!("{at_least}{}", report.lost)),
        (
            "lost commits",
            match report.lost_commits {
                0 => "0".to_owned(),
                commits => format!("at least {commits}"),
            },
        ),
        ("doubtful", report.doubtful.to_string()),
    ] {
        writeln!(output, "{name:<16}  {count}")?;
    }
    for note in report.notes.iter().take(ROWS_MAX) {
        writeln!(output, "unreadable: {}", escape(note))?;
    }
    if let more @ 1.. = report.notes.len().saturating_sub(ROWS_MAX) {
        writeln!(output, "unreadable: {more} more, which -f json lists")?;
    }
    for (word, rows) in [
        ("lost", &report.lost_rows),
        ("doubtful", &report.doubtful_rows),
    ] {
        for row in rows.iter().take(ROWS_MAX) {
            writeln!(output, "{word}: {}", line(row))?;
        }
        if let more @ 1.. = rows.len().saturating_sub(ROWS_MAX) {
            writeln!(output, "{word}: {more} more, which -f json lists")?;
        }
    }
    Ok(())
}

fn line(row: &SalvagedRow) -> String {
    let id = row.id.as_deref().map(|id| format!(" id {}", escape(id)));
    let id = id.unwrap_or_default();
    format!("row {}{id}: {}", row.row, escape(&row.message))
}
