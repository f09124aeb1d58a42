//! `backup`: a copy of the database, whole and checked.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use samplestore::Backup as Copying;
use serde_json::json;

use crate::arguments::refuse_dash;
use crate::failure::{Code, Failure, Outcome, full_at};
use crate::interrupt;
use crate::opening::{Db, FILE_ALONE};
use crate::output::{Output, ReportFormat, escape, refuse_folder};
use crate::progress::FractionProgress;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db backup weather-2026-01-31.db
  samplestore -d weather.db backup nightly.db --overwrite
  samplestore -d nightly.db backup weather.db --overwrite

The copy is a database like any other. To restore it, back it up over the first one, as the last example does: that is refused while somebody writes there, where to move the copy into its place would lose what is stored meanwhile.";

/// Copy the database, compact and checked, while others read and write it
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{FILE_ALONE}"))]
pub(crate) struct Backup {
    /// The file to make
    #[arg(value_name = "FILE")]
    to: PathBuf,
    /// Put it in the place of a file that is there
    #[arg(long)]
    overwrite: bool,
    /// How to write the figures [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Backup {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        refuse_dash(&self.to, "a database")?;
        // Before it is copied for nothing; the library looks again.
        refuse_folder(&self.to)?;
        if !self.overwrite && self.to.exists() {
            let message = format!("{} is there already", self.to.display());
            return Err(Failure::usage(message).with_hint("--overwrite puts the copy in its place"));
        }
        db.refuse_as_target(&self.to)?;
        let progress = FractionProgress::new("copying");
        let copying = Copying::new()
            .overwrite(self.overwrite)
            .on_progress(move |done| progress.set(done));
        let database = db.read_file()?;
        interrupt::watch_making(&self.to)?;
        let samples = database
            .backup(&self.to, &copying)
            .map_err(|error| full_at(&self.to, error))
            .map_err(|error| interrupt::ended(error, "no copy was made"))?;
        let bytes = std::fs::metadata(&self.to)
            .map_err(|error| Failure::new(Code::Error, format!("the copy is gone: {error}")))?
            .len();
        let to = self.to.display().to_string();
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => {
                writeln!(output, "file     {}", escape(&to))?;
                writeln!(output, "samples  {samples}\nbytes    {bytes}")?;
            }
            format => {
                let report = json!({ "file": to, "samples": samples, "bytes": bytes });
                output.json(format, &report)?;
            }
        }
        output.finish()?;
        Ok(Code::Fine)
    }
}
