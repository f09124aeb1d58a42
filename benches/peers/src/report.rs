//! What was measured, collected: written to a file of JSON as it comes, and a table of ratios for the terminal.

use std::path::PathBuf;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use crate::engine::{Form, Kind, Result};
use crate::record::{FSYNC_FLOOR, Record, lines, shown_ratio};
use crate::samples::TimeOrder;

#[derive(Default)]
pub struct Report {
    records: Vec<Record>,
    json: Option<PathBuf>,
}

impl Report {
    /// A report that writes itself to this file.
    pub fn new(json: Option<PathBuf>) -> Self {
        Self {
            records: Vec::new(),
            json,
        }
    }

    /// Adds a record, and writes the file anew, so that what was measured outlives a run that is broken off.
    pub fn add(&mut self, record: Record) -> Result<()> {
        eprintln!(
            "  {:<34}{:<10}{:<22}{:>12}  {}",
            record.name(),
            record.order_name(),
            record.engine,
            record.shown(),
            record.note
        );
        self.records.push(record);
        if let Some(path) = &self.json {
            std::fs::write(path, serde_json::to_string_pretty(&self.records)? + "\n")?;
        }
        Ok(())
    }

    /// The first and the last floor that was measured, in seconds.
    pub fn fsync_floors(&self) -> [f64; 2] {
        let mut floors = self
            .records
            .iter()
            .filter(|record| record.workload == FSYNC_FLOOR)
            .filter_map(|record| record.median_s);
        let first = floors.next().unwrap_or(f64::NAN);
        [first, floors.next_back().unwrap_or(first)]
    }

    /// The table: a line for each workload, form and order; a column for each engine, with how many times ours it
    /// takes.
    pub fn table(&self, engines: &[Kind], samples: u64) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED);
        let mut header = vec!["workload".to_owned(), "order".to_owned()];
        header.extend(engines.iter().map(|kind| kind.name().to_owned()));
        header.extend(["SQLite's best".to_owned(), "at least".to_owned()]);
        let columns = header.len();
        table.set_header(header);
        for line in lines(&self.records) {
            let Some(named) = line.any() else { continue };
            let mut row = vec![named.name(), named.order_name().to_owned()];
            for kind in engines {
                let shown = line
                    .cell(samples, *kind)
                    .map_or(String::new(), Record::shown);
                row.push(match line.ratio(samples, *kind) {
                    Some(ratio) if *kind != kind.ours() => {
                        format!("{shown} ({})", shown_ratio(ratio))
                    }
                    _ => shown,
                });
            }
            let best = line
                .best_sqlite(samples)
                .and_then(|kind| line.ratio(samples, kind));
            row.push(best.map_or(String::new(), shown_ratio));
            row.push(
                match (target(&line.workload, line.form, line.order), best) {
                    (Some(target), Some(best)) if best < target => format!("{target} – missed"),
                    (Some(target), _) => target.to_string(),
                    (None, _) => String::new(),
                },
            );
            table.add_row(row);
        }
        for column in 2..columns {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }
}

/// SQLite's median over ours that is to be reached.
fn target(workload: &str, form: Option<Form>, order: Option<TimeOrder>) -> Option<f64> {
    Some(match (workload, form, order) {
        ("load_uuid4", ..) => 8.0,
        ("load_uuid7", ..) => 4.0,
        ("load_shuffled_time", ..) => 3.0,
        ("store_16_writers", ..) => 5.0,
        ("retrieve", Some(Form::Typed), _) | ("retrieve_missing", ..) => 1.5,
        ("list_status_range", Some(Form::Typed), _) => 2.5,
        ("list_status_range" | "scan_all", ..) | ("delete_10k", ..) => 2.0,
        (
            "list_newest_rare" | "list_newest_common" | "list_two_filters_page" | "replace_10k",
            ..,
        ) => 1.5,
        ("count_two_filters", ..) => 500.0,
        ("count_status_half_range", _, Some(TimeOrder::Ordered)) => 80.0,
        ("count_status_half_range", ..) => 2.0,
        ("facets", ..) => 2_000.0,
        ("mark_10k", ..) => 100.0,
        ("store_one" | "mark_one" | "open_clean" | "open_after_kill", ..) => 1.0,
        ("file_bytes_compacted" | "peak_memory", ..) => 1.0,
        _ => return None,
    })
}
