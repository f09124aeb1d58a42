//! `count`: how many samples the filters leave.

use std::io::Write;

use clap::Args;
use serde_json::json;

use crate::arguments::{Filters, INSTANTS};
use crate::failure::{Code, Outcome};
use crate::fields::tell_unknown;
use crate::opening::Db;
use crate::output::{Format, Output, ReportFormat};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db count --status ready --pipeline JFK
  samplestore -d weather.db count --status skipped,dlq --since 2h";

/// Count samples, exactly; from indexes alone unless --id or --where asks for records
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Count {
    #[command(flatten)]
    filters: Filters,
    /// How to write the count: a plain number as table and jsonl
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

impl Count {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let query = self.filters.query()?;
        let reader = db.read()?;
        let busy = reader.busy(&query);
        let count = reader.count(&query)?;
        drop(busy);
        if count == 0 {
            tell_unknown(&reader, &query)?;
        }
        let mut output = Output::new();
        match output.format(self.format) {
            Format::Table | Format::Jsonl => writeln!(output, "{count}")?,
            Format::Json => output.json(ReportFormat::Json, &json!({ "count": count }))?,
            Format::Csv => writeln!(output, "count\n{count}")?,
        }
        output.finish()?;
        Ok(Code::Fine)
    }
}
