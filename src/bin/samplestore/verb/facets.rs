//! `facets`: how many samples there are of each pipeline and status.

use std::io::Write;

use clap::Args;

use crate::arguments::{Filters, INSTANTS};
use crate::failure::{Code, Outcome};
use crate::opening::Db;
use crate::output::{Format, Output, ReportFormat, csv_record, facets_json, facets_table};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db facets
  samplestore -d weather.db facets --since 1d -f json";

/// Count samples per pipeline and status
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Facets {
    #[command(flatten)]
    filters: Filters,
    /// How to write the counts [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

impl Facets {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let query = self.filters.query()?;
        let facets = db.read()?.facets(&query)?;
        let mut output = Output::new();
        match output.format(self.format) {
            Format::Table => facets_table(&mut output, &facets)?,
            Format::Json => output.json(ReportFormat::Json, &facets_json(&facets))?,
            Format::Jsonl => {
                for facet in facets.iter() {
                    let json = serde_json::to_string(&facet).map_err(std::io::Error::from)?;
                    output.json_text(&json)?;
                    writeln!(output)?;
                }
            }
            Format::Csv => {
                writeln!(output, "pipeline,status,count")?;
                for facet in facets.iter() {
                    let count = facet.count.to_string();
                    let row = [facet.pipeline, facet.status.to_string(), count];
                    csv_record(&mut output, row.into_iter())?;
                }
            }
        }
        output.finish()?;
        Ok(Code::Fine)
    }
}
