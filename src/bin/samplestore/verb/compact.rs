//! `compact`: giving back the space of what is gone.

use std::io::Write;

use clap::Args;
use samplestore::Storage;
use serde_json::json;

use crate::failure::{Code, Outcome};
use crate::opening::Db;
use crate::output::{Output, ReportFormat};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db compact
  samplestore -d weather.db stats | jq .reclaimable_bytes";

/// Make the file smaller, without what was deleted or replaced
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Compact {
    /// How to write the sizes [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Compact {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let database = db.write_existing()?;
        let before = db.file_bytes()?;
        database.compact()?;
        database.close()?;
        let after = db.file_bytes()?;
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => {
                writeln!(output, "bytes before  {before}\nbytes after   {after}")?;
            }
            format => {
                let report = json!({ "bytes_before": before, "bytes_after": after });
                output.json(format, &report)?;
            }
        }
        output.finish()?;
        Ok(Code::Fine)
    }
}
