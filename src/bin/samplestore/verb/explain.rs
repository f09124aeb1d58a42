//! `explain`: how the database would find what the filters ask for.

use std::io::Write;

use clap::Args;

use crate::arguments::{Filters, INSTANTS};
use crate::failure::{Code, Failure, Outcome};
use crate::fields::tell_unknown;
use crate::opening::{Db, FILE_ALONE, Reader};
use crate::output::{Output, ReportFormat, escape};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db explain --status ready --after 2013-06-01
  samplestore -d weather.db explain --pipeline JFK --newest --limit 50 -f json";

/// Carry out a query and show its plan: which indexes it uses and what it reads
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{FILE_ALONE}\n\n{INSTANTS}"))]
pub(crate) struct Explain {
    #[command(flatten)]
    filters: Filters,
    /// How to write the plan [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Explain {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let query = self.filters.query()?;
        let database = db.read_file()?;
        let reader = Reader::File(database.snapshot()?);
        let busy = reader.busy(&query);
        let explain = database.explain(&query)?;
        drop(busy);
        if explain.samples == 0 {
            tell_unknown(&reader, &query)?;
        }
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => {
                for line in explain.to_string().trim_end().lines() {
                    writeln!(output, "{}", escape(line))?;
                }
            }
            format => {
                let json = serde_json::to_value(&explain)
                    .map_err(|cause| Failure::new(Code::Error, cause.to_string()))?;
                output.json(format, &json)?;
            }
        }
        output.finish()?;
        Ok(Code::Fine)
    }
}
