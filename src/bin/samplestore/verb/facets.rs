//! `facets`: how many samples there are of each pipeline and status.

use std::io::Write;

use clap::builder::{EnumValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use samplestore::Facets as Counts;
use serde_json::json;

use crate::arguments::{Filters, INSTANTS, Known};
use crate::failure::{Code, Outcome};
use crate::fields::tell_unknown;
use crate::opening::Db;
use crate::output::{
    Align, Cell, Column, Format, Output, ReportFormat, Shrinks, Table, csv_record, facets_json,
    facets_table,
};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db facets
  samplestore -d weather.db facets --since 1d -f json
  samplestore -d weather.db facets --by status";

/// What is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    Pipeline,
    Status,
}

/// Count samples per pipeline and status
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Facets {
    #[command(flatten)]
    filters: Filters,
    /// What to count by: pipeline, status, or both
    #[arg(
        long,
        value_name = "FIELD",
        value_parser = one_field(),
        value_delimiter = ',',
        default_value = "pipeline,status"
    )]
    by: Vec<By>,
    /// How to write the counts [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

/// Reads one of the fields.
fn one_field() -> Known<impl TypedValueParser<Value = By>> {
    Known::new(EnumValueParser::<By>::new(), || {
        let fields = By::value_variants().iter();
        fields.filter_map(ValueEnum::to_possible_value).collect()
    })
}

impl Facets {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let query = self.filters.query()?;
        let reader = db.read()?;
        let busy = reader.busy(&query);
        let facets = reader.facets(&query)?;
        drop(busy);
        if facets.total() == 0 {
            tell_unknown(&reader, &query)?;
        }
        let has = |by| self.by.contains(&by);
        if has(By::Pipeline) && has(By::Status) {
            return self.by_both(&facets);
        }
        let (field, counts): (_, Vec<(String, u64)>) = match has(By::Status) {
            true => {
                let counts = facets.by_status().into_iter();
                (
                    "status",
                    counts
                        .map(|(status, count)| (status.to_string(), count))
                        .collect(),
                )
            }
            false => {
                let counts = facets.by_pipeline().into_iter();
                (
                    "pipeline",
                    counts
                        .map(|(name, count)| (name.to_owned(), count))
                        .collect(),
                )
            }
        };
        self.by_one(field, &counts)
    }

    fn by_both(&self, facets: &Counts) -> Outcome {
        let mut output = Output::new();
        match output.format(self.format) {
            Format::Table => facets_table(&mut output, facets)?,
            Format::Json => output.json(ReportFormat::Json, &facets_json(facets))?,
            Format::Jsonl => {
                for facet in facets.iter() {
                    // In the order that a facet has its fields.
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

    fn by_one(&self, field: &str, counts: &[(String, u64)]) -> Outcome {
        let mut output = Output::new();
        let facets = counts
            .iter()
            .map(|(name, count)| json!({ field: name, "count": count }));
        match output.format(self.format) {
            Format::Table => {
                let mut table = Table::new(vec![
                    Column::new(field, Align::Left).shrinking(Shrinks::Key),
                    Column::new("count", Align::Right),
                ]);
                for (name, count) in counts {
                    table.row(
                        &mut output,
                        vec![Cell::new(name), Cell::new(count.to_string())],
                    )?;
                }
                table.finish(&mut output)?;
            }
            Format::Json => {
                let total: u64 = counts.iter().map(|(_, count)| count).sum();
                let facets: Vec<_> = facets.collect();
                output.json(
                    ReportFormat::Json,
                    &json!({ "total": total, "facets": facets }),
                )?;
            }
            Format::Jsonl => {
                for facet in facets {
                    output.json(ReportFormat::Jsonl, &facet)?;
                }
            }
            Format::Csv => {
                writeln!(output, "{field},count")?;
                for (name, count) in counts {
                    csv_record(&mut output, [name.clone(), count.to_string()].into_iter())?;
                }
            }
        }
        output.finish()?;
        Ok(Code::Fine)
    }
}
