//! `stats`: what is in the file, and what takes its space.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use crate::failure::{Code, Failure, Outcome};
use crate::opening::{Db, FILE_ALONE};
use crate::output::{
    Align, Cell, Column, Output, ReportFormat, Shrinks, Table, escape, facets_json, facets_table,
    instant, percent,
};
use samplestore::Stats as Figures;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db stats
  samplestore -d weather.db stats -f json";

/// Show what a database holds: samples, time span, bytes per table, format version
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{FILE_ALONE}"))]
pub(crate) struct Stats {
    /// How to write the figures [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Stats {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let figures = db.read_file()?.stats()?;
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => table(&mut output, db, &figures)?,
            format => output.json(format, &report(&figures))?,
        }
        output.finish()?;
        Ok(Code::Fine)
    }
}

fn report(figures: &Figures) -> serde_json::Value {
    let tables = figures.tables.iter().map(|table| {
        json!({
            "name": table.name,
            "entries": table.entries,
            "used_bytes": table.used_bytes,
            "allocated_bytes": table.allocated_bytes,
        })
    });
    let facets = facets_json(&figures.facets);
    json!({
        "samples": figures.samples,
        "pipelines": facets["pipelines"],
        "statuses": facets["statuses"],
        "facets": facets["facets"],
        "first": figures.first.map(instant),
        "last": figures.last.map(instant),
        "indexes": figures.indexes,
        "format_version": figures.format_version,
        "file_bytes": figures.file_bytes,
        "reclaimable_bytes": figures.reclaimable_bytes,
        "tables": tables.collect::<Vec<_>>(),
    })
}

fn table(output: &mut Output, db: &Db, figures: &Figures) -> Result<(), Failure> {
    let or_none = |at: Option<DateTime<Utc>>| at.map_or_else(|| "none".to_owned(), instant);
    for (name, value) in [
        ("file", escape(&db.location().to_string()).into_owned()),
        ("format version", figures.format_version.to_string()),
        ("file bytes", figures.file_bytes.to_string()),
        ("reclaimable", figures.reclaimable_bytes.to_string()),
        ("samples", figures.samples.to_string()),
        ("first", or_none(figures.first)),
        ("last", or_none(figures.last)),
    ] {
        writeln!(output, "{name:<14}  {value}")?;
    }
    for index in &figures.indexes {
        let (field, share) = (index.field.to_string(), percent(index.progress));
        writeln!(output, "{:<14}  {} {share}", "index", escape(&field))?;
    }
    writeln!(output)?;
    facets_table(output, &figures.facets)?;
    writeln!(output)?;
    let mut table = Table::new(vec![
        Column::new("table", Align::Left).shrinking(Shrinks::Key),
        Column::new("entries", Align::Right).shrinking(Shrinks::Whole),
        Column::new("used bytes", Align::Right),
        Column::new("allocated bytes", Align::Right).shrinking(Shrinks::Whole),
    ]);
    for stats in &figures.tables {
        let figures = [stats.entries, stats.used_bytes, stats.allocated_bytes];
        let mut row = vec![Cell::new(stats.name)];
        row.extend(figures.iter().map(|figure| Cell::new(figure.to_string())));
        table.row(output, row)?;
    }
    table.finish(output)?;
    Ok(())
}
