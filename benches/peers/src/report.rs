//! What was measured: rows for a file of JSON, and a table of ratios for people.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};

use crate::engine::{Kind, Result};

/// One cell of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub workload: String,
    /// `typed` or `raw`, where a workload has both forms.
    pub form: Option<String>,
    /// `ordered` or `shuffled`: how the samples came in time.
    pub order: String,
    pub engine: String,
    pub samples: u64,
    /// The median of the runs, in seconds a piece of work; absent where an engine cannot do it.
    pub median_s: Option<f64>,
    /// The 99th of a hundred pieces of work (of all runs).
    pub p99_s: Option<f64>,
    pub bytes: Option<u64>,
    pub note: String,
}

impl Record {
    /// What is compared: seconds or bytes, the less the better.
    fn value(&self) -> Option<f64> {
        self.median_s.or(self.bytes.map(|bytes| bytes as f64))
    }

    fn shown(&self) -> String {
        match (self.median_s, self.bytes) {
            (Some(seconds), _) => shown_seconds(seconds),
            (None, Some(bytes)) => format!("{:.1} MB", bytes as f64 / 1e6),
            (None, None) => "–".to_owned(),
        }
    }
}

#[derive(Default)]
pub struct Report {
    records: Vec<Record>,
}

impl Report {
    pub fn add(&mut self, record: Record) {
        let form = record.form.as_deref().unwrap_or("");
        eprintln!(
            "  {:<26}{form:<7}{:<10}{:<22}{:>12}  {}",
            record.workload,
            record.order,
            record.engine,
            record.shown(),
            record.note
        );
        self.records.push(record);
    }

    pub fn write_json(&self, path: &Path) -> Result<()> {
        Ok(std::fs::write(
            path,
            serde_json::to_string_pretty(&self.records)? + "\n",
        )?)
    }

    /// The table: a line for each workload, form and order; a column for each engine, with how many times ours it
    /// takes.
    pub fn table(&self, engines: &[Kind]) -> String {
        let mut lines: Vec<(String, Option<String>, String)> = Vec::new();
        let mut cells: BTreeMap<(usize, &str), &Record> = BTreeMap::new();
        for record in &self.records {
            let key = (
                record.workload.clone(),
                record.form.clone(),
                record.order.clone(),
            );
            let line = lines
                .iter()
                .position(|line| *line == key)
                .unwrap_or_else(|| {
                    lines.push(key);
                    lines.len() - 1
                });
            cells.insert((line, record.engine.as_str()), record);
        }
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED);
        let mut header = vec!["workload".to_owned(), "order".to_owned()];
        header.extend(engines.iter().map(|kind| kind.name().to_owned()));
        header.extend(["SQLite's best".to_owned(), "at least".to_owned()]);
        let columns = header.len();
        table.set_header(header);
        for (number, (workload, form, order)) in lines.iter().enumerate() {
            let cell = |kind: Kind| cells.get(&(number, kind.name())).copied();
            let ratio = |theirs: Kind, ours: Kind| {
                let (theirs, ours) = (cell(theirs)?.value()?, cell(ours)?.value()?);
                Some(theirs / ours)
            };
            let name = match form {
                Some(form) => format!("{workload}, {form}"),
                None => workload.clone(),
            };
            let mut row = vec![name, order.clone()];
            for kind in engines {
                let ours = if kind.is_relaxed() {
                    Kind::SamplestoreDeferred
                } else {
                    Kind::Samplestore
                };
                let shown = cell(*kind).map_or(String::new(), Record::shown);
                row.push(match ratio(*kind, ours) {
                    Some(ratio) if *kind != ours => format!("{shown} ({})", shown_ratio(ratio)),
                    _ => shown,
                });
            }
            let sqlite =
                [Kind::SqliteJson, Kind::SqliteBlob].map(|kind| ratio(kind, Kind::Samplestore));
            let best = sqlite.into_iter().flatten().reduce(f64::min);
            row.push(best.map_or(String::new(), shown_ratio));
            row.push(match (target(workload, form.as_deref(), order), best) {
                (Some(target), Some(best)) if best < target => format!("{target} – missed"),
                (Some(target), _) => target.to_string(),
                (None, _) => String::new(),
            });
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
fn target(workload: &str, form: Option<&str>, order: &str) -> Option<f64> {
    Some(match (workload, form, order) {
        ("load_uuid4", ..) => 8.0,
        ("load_uuid7", ..) => 4.0,
        ("load_shuffled_time", ..) => 3.0,
        ("store_16_writers", ..) => 5.0,
        ("retrieve", Some("typed"), _) | ("retrieve_missing", ..) => 1.5,
        ("list_status_range", Some("typed"), _) => 2.5,
        ("list_status_range" | "scan_all", ..) | ("delete_10k", ..) => 2.0,
        (
            "list_newest_rare" | "list_newest_common" | "list_two_filters_page" | "replace_10k",
            ..,
        ) => 1.5,
        ("count_two_filters", ..) => 500.0,
        ("count_status_half_range", _, "ordered") => 80.0,
        ("count_status_half_range", ..) => 2.0,
        ("facets", ..) => 2_000.0,
        ("mark_10k", ..) => 100.0,
        ("store_one" | "mark_one" | "open_clean" | "open_after_kill", ..) => 1.0,
        ("file_bytes_compacted" | "peak_memory", ..) => 1.0,
        _ => return None,
    })
}

fn shown_ratio(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 100.0 => format!("{ratio:.0}×"),
        ratio if ratio >= 10.0 => format!("{ratio:.1}×"),
        ratio => format!("{ratio:.2}×"),
    }
}

pub fn shown_seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds if seconds >= 1e-3 => format!("{:.2} ms", seconds * 1e3),
        seconds if seconds >= 1e-6 => format!("{:.2} µs", seconds * 1e6),
        seconds => format!("{:.0} ns", seconds * 1e9),
    }
}
