//! The tables of `src/docs/performance.md`, made of what `--json` wrote.
//!
//! Each stands in the chapter between two comments, `<!-- peers: NAME -->` and `<!-- peers: end of NAME -->`, and nothing
//! between these is written by hand. Those of a run that has a name have that behind `NAME`.

use std::fmt::{self, Display, Write};
use std::path::Path;

use crate::engine::{Kind, Result};
use crate::record::{
    FSYNC_FLOOR, Line, Record, lines, shown_ratio, shown_samples, shown_seconds, sizes,
};
use crate::samples::TimeOrder;

/// A difference that is none: medians of five runs vary by more.
const SAME: f64 = 0.995;

pub struct Tables {
    /// Name and text of each.
    blocks: [(&'static str, String); 3],
}

impl Tables {
    pub fn new(records: &[Record]) -> Self {
        let (lines, sizes) = (lines(records), sizes(records));
        Self {
            blocks: [
                ("ratios", ratios(records, &lines, &sizes)),
                ("deferred", deferred(&lines, &sizes)),
                ("faster", faster(&lines, &sizes)),
            ],
        }
    }

    /// Replaces the tables in a file of Markdown that has markers for all of them; of a run with a name, those that it has markers for.
    pub fn put_into(&self, path: &Path, run: Option<&str>) -> Result<()> {
        let mut text = std::fs::read_to_string(path)?;
        let mut replaced = 0;
        for (name, block) in &self.blocks {
            let (begin, end) = match run {
                Some(run) => markers(&format!("{name} {run}")),
                None => markers(name),
            };
            let place = text.find(&begin).and_then(|from| {
                let from = from + begin.len();
                Some(from..from + text[from..].find(&end)?)
            });
            match place {
                Some(place) => {
                    text.replace_range(place, &format!("\n\n{}\n\n", block.trim_end()));
                    replaced += 1;
                }
                None if run.is_some() => {}
                None => {
                    return Err(format!("{} has no line {begin} … {end}", path.display()).into());
                }
            }
        }
        match replaced {
            0 => Err(format!("{} has no tables of this run", path.display()).into()),
            _ => Ok(std::fs::write(path, text)?),
        }
    }
}

impl Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, block) in &self.blocks {
            let (begin, end) = markers(name);
            writeln!(f, "{begin}\n\n{}\n\n{end}\n", block.trim_end())?;
        }
        Ok(())
    }
}

fn markers(name: &str) -> (String, String) {
    (
        format!("<!-- peers: {name} -->"),
        format!("<!-- peers: end of {name} -->"),
    )
}

/// Ours, and SQLite's better over ours, for each workload and size; with what ours grows with.
fn ratios(records: &[Record], lines: &[Line], sizes: &[u64]) -> String {
    let mut text = table_head(&["workload", "samples come"], sizes, &["ours grows with"]);
    let (mut has_short, mut rows) = (false, 0);
    for line in lines {
        let cells: Vec<String> = sizes
            .iter()
            .map(|samples| {
                let Some(ours) = line.cell(*samples, Kind::Samplestore) else {
                    return "–".to_owned();
                };
                let best = line.best_sqlite(*samples);
                let ratio = best.and_then(|kind| line.ratio(*samples, kind));
                let ratio = ratio.map_or("–".to_owned(), shown_ratio);
                let theirs = best.and_then(|kind| line.cell(*samples, kind));
                let is_short = ours.is_short() || theirs.is_some_and(Record::is_short);
                has_short |= is_short;
                let mark = if is_short { " *" } else { "" };
                format!("{} / {ratio}{mark}", ours.shown())
            })
            .collect();
        if cells.iter().all(|cell| cell == "–") {
            continue;
        }
        rows += 1;
        add_row(
            &mut text,
            line,
            &cells,
            &[grows_with(&line.workload, line.order)],
        );
    }
    if rows == 0 {
        return "Nothing of samplestore is in these files.".to_owned();
    }
    if has_short {
        text.push_str(
            "\n\\* One of the two has fewer than five runs, is a load of which parts were timed, or writes fewer than \
             10,000 samples.\n",
        );
    }
    let floors: Vec<String> = sizes
        .iter()
        .filter_map(|samples| {
            let of_size =
                |record: &&Record| record.workload == FSYNC_FLOOR && record.samples == *samples;
            let floors: Vec<String> = records
                .iter()
                .filter(of_size)
                .filter_map(|record| record.median_s.map(shown_seconds))
                .collect();
            let shown = format!("{} at {}", floors.join(", "), shown_samples(*samples));
            (!floors.is_empty()).then_some(shown)
        })
        .collect();
    if !floors.is_empty() {
        let _ = write!(
            text,
            "\nA page appended to a file and synced, before and after each run: {}.\n",
            floors.join("; ")
        );
    }
    text
}

/// `Durability::Deferred` beside `synchronous=NORMAL`.
fn deferred(lines: &[Line], sizes: &[u64]) -> String {
    let mut text = table_head(&["workload", "samples come"], sizes, &[]);
    let mut rows = 0;
    for line in lines {
        let cells: Vec<String> = sizes
            .iter()
            .map(|samples| {
                let ours = line.cell(*samples, Kind::SamplestoreDeferred);
                let ratio = line.ratio(*samples, Kind::SqliteBlobNormal);
                match (ours, ratio) {
                    (Some(ours), Some(ratio)) => {
                        format!("{} / {}", ours.shown(), shown_ratio(ratio))
                    }
                    _ => "–".to_owned(),
                }
            })
            .collect();
        if cells.iter().any(|cell| cell != "–") {
            rows += 1;
            add_row(&mut text, line, &cells, &[]);
        }
    }
    match rows {
        0 => "Neither was measured in these files.".to_owned(),
        _ => text,
    }
}

/// Every row in which another engine is faster or smaller than ours at the same durability.
fn faster(lines: &[Line], sizes: &[u64]) -> String {
    let mut text =
        "| workload | samples come | samples | engine | ours | theirs | theirs over ours |\n\
                    |---|---|--:|---|--:|--:|--:|\n"
            .to_owned();
    let mut rows = 0;
    for line in lines {
        for samples in sizes {
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != kind.ours()) {
                let (Some(ratio), Some(ours), Some(theirs)) = (
                    line.ratio(*samples, kind),
                    line.cell(*samples, kind.ours()),
                    line.cell(*samples, kind),
                ) else {
                    continue;
                };
                if ratio < SAME {
                    rows += 1;
                    let _ = writeln!(
                        text,
                        "| `{}` | {} | {} | {} | {} | {} | {} |",
                        theirs.name(),
                        theirs.order_name(),
                        shown_samples(*samples),
                        kind.name(),
                        ours.shown(),
                        theirs.shown(),
                        shown_ratio(ratio)
                    );
                }
            }
        }
    }
    match rows {
        0 => "No engine was faster than ours in any row.".to_owned(),
        _ => text,
    }
}

fn table_head(first: &[&str], sizes: &[u64], last: &[&str]) -> String {
    let names = sizes.iter().map(|samples| shown_samples(*samples));
    let names: Vec<String> = first
        .iter()
        .map(|name| (*name).to_owned())
        .chain(names)
        .chain(last.iter().map(|name| (*name).to_owned()))
        .collect();
    let rules =
        "---|".repeat(first.len()) + &"--:|".repeat(sizes.len()) + &"---|".repeat(last.len());
    format!("| {} |\n|{rules}\n", names.join(" | "))
}

fn add_row(text: &mut String, line: &Line, cells: &[String], last: &[&str]) {
    let Some(named) = line.any() else { return };
    let _ = write!(
        text,
        "| `{}` | {} | {} |",
        named.name(),
        named.order_name(),
        cells.join(" | ")
    );
    for cell in last {
        let _ = write!(text, " {cell} |");
    }
    text.push('\n');
}

/// What the time or size of ours grows with, by how it is built. `n` is the number of samples.
fn grows_with(workload: &str, order: Option<TimeOrder>) -> &'static str {
    let is_shuffled = order == Some(TimeOrder::Shuffled);
    match workload {
        "load_uuid7" | "load_shuffled_time" => "n",
        "load_uuid4" => "n, and the buckets of ids that a merge passes",
        "retrieve" | "retrieve_missing" => "the depth of two trees: log n",
        name if name.ends_with("_worst_batch") => {
            "what one checkpoint writes: about 4 MB of the log, and the buckets of ids merged since the last"
        }
        "list_status_range" if is_shuffled => {
            "the results (here 0.5 % of n), and the chunks, n / 61,440"
        }
        "list_status_range" => "the results (here 0.5 % of n)",
        "list_newest_rare" | "list_newest_common" | "list_two_filters_page" if is_shuffled => {
            "the results, and the chunks, n / 61,440"
        }
        "list_newest_rare" | "list_newest_common" | "list_two_filters_page" => "the results",
        "count_two_filters" | "facets" => "the pipelines, not n",
        "count_status_half_range" if is_shuffled => "the chunks, n / 61,440: the range cuts each",
        "count_status_half_range" => "the chunks that the range cuts, two",
        "mark_10k" | "mark_one" => "the rows moved, and the leaves of 6,144 rows they are in",
        "replace_10k" => "the rows, and the depth of two trees",
        "delete_10k" => "the rows, the blocks and the leaves of 6,144 rows they are in",
        "store_one" | "store_16_writers" => "the depth of two trees: log n",
        "open_clean" => "the batches of ids that are not merged yet: some tens, or 1,640 where samples are stored one by one",
        "open_after_kill" => "the log, at most 8 MB of it, and the pages of the file: one bit each",
        "scan_all" | "file_bytes" | "file_bytes_compacted" => "n",
        "peak_memory" => "the cache, and the chunks, n / 61,440",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(workload: &str, engine: &str, samples: u64, seconds: f64) -> Record {
        Record {
            workload: workload.to_owned(),
            form: None,
            order: Some(TimeOrder::Ordered),
            engine: engine.to_owned(),
            samples,
            median_s: Some(seconds),
            p99_s: None,
            bytes: None,
            note: String::new(),
        }
    }

    #[test]
    fn the_better_of_sqlite_counts_and_who_is_faster_is_named() {
        let records = [
            record("facets", "samplestore", 100_000, 0.002),
            record("facets", "sqlite-json", 100_000, 0.008),
            record("facets", "sqlite-blob", 100_000, 0.006),
            record("facets", "lmdb", 100_000, 0.001),
        ];
        let text = Tables::new(&records).to_string();
        assert!(
            text.contains("| `facets` | ordered | 2.00 ms / 3.00× |"),
            "{text}"
        );
        let faster = "| `facets` | ordered | 100 k | lmdb | 2.00 ms | 1.00 ms | 0.50× |";
        assert!(text.contains(faster), "{text}");
    }

    #[test]
    fn tables_replace_what_is_between_their_markers() {
        let tables = Tables::new(&[record("facets", "samplestore", 100_000, 0.002)]);
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("before\n\n{tables}after\n")).expect("written");
        for _ in 0..2 {
            tables.put_into(file.path()).expect("replaced");
        }
        let text = std::fs::read_to_string(file.path()).expect("text");
        assert_eq!(text, format!("before\n\n{tables}after\n"));
    }
}
