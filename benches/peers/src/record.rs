//! [`Record`]: one thing that was measured, its row in a file of JSON, and how its figures are written for people.
//!
//! A row has seven fields. Form and order of time, which some workloads have several of, stand first in its note:
//! `"typed, shuffled; about 5000 samples"`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::{Form, Kind, Result};
use crate::samples::TimeOrder;

/// What the disk does without any engine, measured beside them under this name.
pub const FSYNC_FLOOR: &str = "fsync_floor";

/// One cell of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "JsonRow", from = "JsonRow")]
pub struct Record {
    pub workload: String,
    /// Where a workload has both.
    pub form: Option<Form>,
    /// How the samples came in time.
    pub order: Option<TimeOrder>,
    pub engine: String,
    pub samples: u64,
    /// The median of the runs, in seconds a piece of work; absent where an engine cannot do it.
    pub median_s: Option<f64>,
    /// The 99th of a hundred pieces of work (of all runs).
    pub p99_s: Option<f64>,
    pub bytes: Option<u64>,
    pub note: String,
}

#[derive(Serialize, Deserialize)]
struct JsonRow {
    workload: String,
    engine: String,
    samples: u64,
    median_s: Option<f64>,
    p99_s: Option<f64>,
    bytes: Option<u64>,
    note: String,
}

impl From<Record> for JsonRow {
    fn from(record: Record) -> Self {
        let words: Vec<&str> = [
            record.form.map(Form::name),
            record.order.map(TimeOrder::name),
        ]
        .into_iter()
        .flatten()
        .collect();
        let parts = [words.join(", "), record.note];
        let parts: Vec<&str> = parts
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        Self {
            workload: record.workload,
            engine: record.engine,
            samples: record.samples,
            median_s: record.median_s,
            p99_s: record.p99_s,
            bytes: record.bytes,
            note: parts.join("; "),
        }
    }
}

impl From<JsonRow> for Record {
    fn from(row: JsonRow) -> Self {
        let (words, rest) = row.note.split_once("; ").unwrap_or((&row.note, ""));
        let words: Vec<&str> = words.split(", ").collect();
        let form = [Form::Typed, Form::Raw]
            .into_iter()
            .find(|form| words.contains(&form.name()));
        let order = [TimeOrder::Ordered, TimeOrder::Shuffled]
            .into_iter()
            .find(|order| words.contains(&order.name()));
        let known = usize::from(form.is_some()) + usize::from(order.is_some());
        // A note that happens to have one of the words in it is a note.
        let (form, order, note) = if known == words.len() {
            (form, order, rest)
        } else {
            (None, None, row.note.as_str())
        };
        Self {
            form,
            order,
            note: note.to_owned(),
            workload: row.workload,
            engine: row.engine,
            samples: row.samples,
            median_s: row.median_s,
            p99_s: row.p99_s,
            bytes: row.bytes,
        }
    }
}

impl Record {
    /// What is compared: seconds or bytes, the less the better.
    pub fn value(&self) -> Option<f64> {
        self.median_s.or(self.bytes.map(|bytes| bytes as f64))
    }

    pub fn shown(&self) -> String {
        match (self.median_s, self.bytes) {
            (Some(seconds), _) => shown_seconds(seconds),
            (None, Some(bytes)) => shown_bytes(bytes as f64),
            (None, None) => "–".to_owned(),
        }
    }

    /// The workload with its form, where it has several: `retrieve, typed`.
    pub fn name(&self) -> String {
        match self.form {
            Some(form) => format!("{}, {}", self.workload, form.name()),
            None => self.workload.clone(),
        }
    }

    pub fn order_name(&self) -> &'static str {
        self.order.map_or("", TimeOrder::name)
    }

    /// Whether the median is of fewer runs than others, was scaled up from a part of the work, or is of less work.
    pub fn is_short(&self) -> bool {
        let parts: Vec<&str> = self.note.split("; ").collect();
        ["runs: ", "timed: ", "only "]
            .iter()
            .any(|start| parts.iter().any(|part| part.starts_with(start)))
    }
}

/// A line of a table: a workload in one form and one order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub workload: String,
    pub form: Option<Form>,
    pub order: Option<TimeOrder>,
    /// By the number of samples and the name of the engine.
    pub cells: BTreeMap<(u64, String), Record>,
}

impl Line {
    pub fn cell(&self, samples: u64, kind: Kind) -> Option<&Record> {
        self.cells.get(&(samples, kind.name().to_owned()))
    }

    /// How many times what ours takes `theirs` takes.
    pub fn ratio(&self, samples: u64, theirs: Kind) -> Option<f64> {
        let ours = self.cell(samples, theirs.ours())?.value()?;
        Some(self.cell(samples, theirs)?.value()? / ours)
    }

    /// The better of SQLite's two ways to keep a payload.
    pub fn best_sqlite(&self, samples: u64) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_sqlite())
            .filter_map(|kind| Some((self.cell(samples, kind)?.value()?, kind)))
            .min_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, kind)| kind)
    }

    /// The cell by which the line is named.
    pub fn any(&self) -> Option<&Record> {
        self.cells.values().next()
    }
}

/// Records as lines, in the order in which each line came first. Of the same cell twice, the later counts.
pub fn lines(records: &[Record]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for record in records {
        if record.workload == FSYNC_FLOOR {
            continue;
        }
        let is_of = |line: &Line| {
            (&line.workload, line.form, line.order) == (&record.workload, record.form, record.order)
        };
        let at = lines.iter().position(is_of).unwrap_or_else(|| {
            lines.push(Line {
                workload: record.workload.clone(),
                form: record.form,
                order: record.order,
                cells: BTreeMap::new(),
            });
            lines.len() - 1
        });
        let key = (record.samples, record.engine.clone());
        lines[at].cells.insert(key, record.clone());
    }
    lines
}

/// Reads files that `--json` wrote, one after the other.
pub fn read_all(paths: &[impl AsRef<Path>]) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let of_file: Vec<Record> = serde_json::from_str(&text)
            .map_err(|error| format!("{} is not what --json writes: {error}", path.display()))?;
        records.extend(of_file);
    }
    if records.is_empty() {
        return Err("there are no rows in these files".into());
    }
    Ok(records)
}

/// Sizes of the databases in these records, smallest first.
pub fn sizes(records: &[Record]) -> Vec<u64> {
    let mut sizes: Vec<u64> = records.iter().map(|record| record.samples).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

pub fn shown_ratio(ratio: f64) -> String {
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

pub fn shown_bytes(bytes: f64) -> String {
    if bytes >= 1e9 {
        format!("{:.2} GB", bytes / 1e9)
    } else {
        format!("{:.1} MB", bytes / 1e6)
    }
}

/// 100,000 as `100 k`.
pub fn shown_samples(samples: u64) -> String {
    match samples {
        samples if samples >= 1_000_000 && samples.is_multiple_of(100_000) => {
            format!("{} M", samples as f64 / 1e6)
        }
        samples if samples >= 1_000 && samples.is_multiple_of(100) => {
            format!("{} k", samples as f64 / 1e3)
        }
        samples => samples.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_row_of_json() {
        for (form, order) in [
            (None, None),
            (Some(Form::Raw), Some(TimeOrder::Shuffled)),
            (None, Some(TimeOrder::Ordered)),
        ] {
            for note in ["", "newest 50, typed", "a; b"] {
                let record = Record {
                    workload: "retrieve".to_owned(),
                    form,
                    order,
                    engine: "lmdb".to_owned(),
                    samples: 20_000,
                    median_s: Some(0.1),
                    p99_s: None,
                    bytes: None,
                    note: note.to_owned(),
                };
                let json = serde_json::to_value(&record).expect("JSON");
                assert_eq!(json.as_object().map(serde_json::Map::len), Some(7));
                let back: Record = serde_json::from_value(json).expect("a record");
                assert_eq!(back, record);
            }
        }
    }
}
