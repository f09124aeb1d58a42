//! `schema`: which fields samples have.

use std::io::Write;

use clap::Args;
use indicatif::HumanCount;
use samplestore::{FieldSummary, Fields};
use serde_json::{Value as Json, json};

use crate::arguments::{Filters, INSTANTS};
use crate::failure::{Code, Failure, Outcome, words};
use crate::fields::tell_unknown;
use crate::opening::Db;
use crate::output::{
    Align, Cell, Column, Format, Output, ReportFormat, Shrinks, Table, counted, csv_record, plain,
};
use crate::progress::SampleProgress;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db schema
  samplestore -d weather.db schema --full --pipeline JFK -f json
  samplestore -d weather.db schema --status dlq --newest --limit 100";

/// So many samples are looked at unless told otherwise.
const SAMPLES_DEFAULT: u64 = 10_000;
const PROGRESS_SAMPLES: u64 = 256;

/// Show which fields samples have: types, how often present, least, greatest, examples
///
/// Looks at the newest 10,000 that match, or at the first 10,000 behind a --cursor, unless --full or --limit says otherwise.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Schema {
    #[command(flatten)]
    filters: Filters,
    /// Look at every sample that matches
    #[arg(long, conflicts_with = "limit")]
    full: bool,
    /// How to write the fields [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

impl Schema {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let mut query = self.filters.query()?;
        let reader = db.read()?;
        let looked_for = query.clone();
        // A cursor is of one order, which another one would not go on in.
        let goes_on = query.start().is_some();
        let samples_max = match self.full || query.limit_max().is_some() {
            true => u64::MAX,
            false => SAMPLES_DEFAULT,
        };
        let count = reader.known_count(&query)?;
        if samples_max < u64::MAX && count.is_none_or(|count| count > samples_max) {
            // One more, which tells that there are others.
            query = query.limit(samples_max + 1);
            if !goes_on {
                query = query.newest_first();
            }
        }
        let progress = SampleProgress::new(count.map(|count| count.min(samples_max)));
        let mut fields = Fields::new();
        let mut is_sampled = false;
        for sample in reader.iterate(&query)? {
            let sample = sample?;
            is_sampled = fields.samples() == samples_max;
            if is_sampled {
                break;
            }
            fields.add(&sample)?;
            if fields.samples().is_multiple_of(PROGRESS_SAMPLES) {
                progress.samples(fields.samples());
            }
        }
        progress.finish();
        if fields.samples() == 0 {
            tell_unknown(&reader, &looked_for)?;
        }
        let mut output = Output::new();
        match output.format(self.format) {
            Format::Table => table(&mut output, &fields)?,
            Format::Csv => {
                writeln!(output, "field,count,types,min,max,examples")?;
                for (path, field) in fields.iter() {
                    csv_record(&mut output, row(path, field)?.into_iter())?;
                }
            }
            Format::Json => {
                let list = fields.iter().map(|(path, field)| named(path, field));
                let list = list.collect::<Result<Vec<_>, _>>()?;
                let report = json!({ "samples": fields.samples(), "fields": list });
                output.json(ReportFormat::Json, &report)?;
            }
            Format::Jsonl => {
                for (path, field) in fields.iter() {
                    output.json(ReportFormat::Jsonl, &named(path, field)?)?;
                }
            }
        }
        output.finish()?;
        if is_sampled {
            let seen = counted(samples_max, "sample");
            let all = count.map_or_else(String::new, |count| format!(" of {}", HumanCount(count)));
            let which = match goes_on {
                true => "first",
                false => "newest",
            };
            words(&format!("of the {which} {seen}{all}; --full looks at all"));
        }
        if fields.dropped() > 0 {
            words("there are more fields than can be told apart");
        }
        Ok(Code::Fine)
    }
}

fn named(path: &str, field: &FieldSummary) -> Result<Json, Failure> {
    let mut json = serde_json::to_value(field)
        .map_err(|cause| Failure::new(Code::Error, cause.to_string()))?;
    if let Some(object) = json.as_object_mut() {
        object.insert("field".to_owned(), path.into());
    }
    Ok(json)
}

fn row(path: &str, field: &FieldSummary) -> Result<Vec<String>, Failure> {
    let json = named(path, field)?;
    let types = match field.types.len() {
        1 => field.types.keys().map(|name| (*name).to_owned()).collect(),
        _ => {
            let parts = field.types.iter();
            let parts: Vec<_> = parts
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            parts.join(", ")
        }
    };
    let examples = json["examples"].as_array().into_iter().flatten();
    let examples: Vec<_> = examples.map(|value| plain(Some(value))).collect();
    Ok(vec![
        path.to_owned(),
        field.count.to_string(),
        types,
        plain(json.get("min")),
        plain(json.get("max")),
        examples.join(", "),
    ])
}

fn table(output: &mut Output, fields: &Fields) -> Result<(), Failure> {
    let mut table = Table::new(vec![
        Column::new("field", Align::Left).shrinking(Shrinks::Key),
        Column::new("present", Align::Right),
        Column::new("types", Align::Left).shrinking(Shrinks::First),
        Column::new("min", Align::Right).shrinking(Shrinks::First),
        Column::new("max", Align::Right).shrinking(Shrinks::First),
        Column::new("examples", Align::Left).shrinking(Shrinks::First),
    ]);
    for (path, field) in fields.iter() {
        let mut row = row(path, field)?;
        let share = field.count as f64 / fields.samples().max(1) as f64;
        row[1] = match field.count == fields.samples() {
            true => "100 %".to_owned(),
            // Never rounded up to all of them.
            false => format!("{:.1} %", (share * 1_000.0).floor() / 10.0),
        };
        table.row(output, row.iter().map(Cell::new).collect())?;
    }
    table.finish(output)?;
    Ok(())
}
