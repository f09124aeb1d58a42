//! The table in `src/docs/backends.md` of which rule each backend keeps is what the conformance suite says.
//!
//! ```text
//! cargo test --all-features --test it write_the_matrix -- --ignored    # writes it anew
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use samplestore::conformance::{Outcome, Report};

use crate::conformance::BACKENDS;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/backends.md");
const BEGIN: &str = "<!-- matrix: written by the conformance suite -->\n";
const END: &str = "<!-- end of the matrix -->";

/// The table, or `None` where a server is not installed. Every backend's suite passes on the way.
fn matrix() -> Option<String> {
    let reports: Vec<(&str, Report)> = BACKENDS
        .iter()
        .map(|(name, report)| Some((*name, report()?)))
        .collect::<Option<_>>()?;
    let mut table = String::from("| rule |");
    for (name, report) in &reports {
        println!("{report}");
        report.assert_passed();
        write!(table, " `{name}` |").unwrap();
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(reports.len()));
    let mut notes: Vec<String> = Vec::new();
    for (rule, _) in cells(&reports[0].1) {
        write!(table, "\n| {rule} |").unwrap();
        for (_, report) in &reports {
            let cell = &cells(report)[&rule];
            let marks: Vec<_> = cell
                .reasons
                .iter()
                .map(|reason| mark(&mut notes, reason))
                .collect();
            let kept = match (cell.passed, cell.skipped) {
                (_, 0) => "kept".to_owned(),
                (0, _) => "–".to_owned(),
                (passed, skipped) => format!("{passed} of {}", passed + skipped),
            };
            write!(table, " {} |", [vec![kept], marks].concat().join(" ")).unwrap();
        }
    }
    table.push_str("\n\n");
    for (at, note) in notes.iter().enumerate() {
        writeln!(table, "{}. {note}", at + 1).unwrap();
    }
    Some(table)
}

/// What a backend has of a rule.
#[derive(Default)]
struct Cell {
    passed: usize,
    skipped: usize,
    /// Why cases were skipped.
    reasons: Vec<String>,
}

/// By letter in the contract's order, and by number.
fn cells(report: &Report) -> BTreeMap<Rule, Cell> {
    let mut cells: BTreeMap<Rule, Cell> = BTreeMap::new();
    for entry in report.entries() {
        let cell = cells.entry(Rule::of(entry.rule)).or_default();
        match &entry.outcome {
            Outcome::Passed => cell.passed += 1,
            Outcome::Skipped(reason) => {
                cell.skipped += 1;
                if !cell.reasons.contains(reason) {
                    cell.reasons.push(reason.clone());
                }
            }
            Outcome::Failed(how) => panic!("{}: {how}", entry.rule),
        }
    }
    cells
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    theme: usize,
    number: u32,
}

const THEMES: [char; 4] = ['M', 'W', 'R', 'L'];

impl Rule {
    fn of(text: &str) -> Self {
        let (theme, number) = text.split_at(1);
        Self {
            theme: THEMES
                .iter()
                .position(|letter| theme.starts_with(*letter))
                .unwrap(),
            number: number.parse().unwrap(),
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", THEMES[self.theme], self.number)
    }
}

/// The number of a note, which is added if it is new.
fn mark(notes: &mut Vec<String>, reason: &str) -> String {
    let at = notes
        .iter()
        .position(|note| note == reason)
        .unwrap_or_else(|| {
            notes.push(reason.to_owned());
            notes.len() - 1
        });
    format!("({})", at + 1)
}

fn parts(text: &str) -> (&str, &str, &str) {
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    (before, table, after)
}

#[test]
fn the_matrix_is_up_to_date() {
    let Some(matrix) = matrix() else { return };
    let text = std::fs::read_to_string(DOCS).unwrap();
    assert_eq!(
        parts(&text).1,
        matrix,
        "cargo test --all-features --test it write_the_matrix -- --ignored"
    );
}

#[test]
#[ignore = "writes the chapter on backends"]
fn write_the_matrix() {
    let matrix = matrix().unwrap();
    let text = std::fs::read_to_string(DOCS).unwrap();
    let (before, _, after) = parts(&text);
    std::fs::write(DOCS, format!("{before}{BEGIN}{matrix}{END}{after}")).unwrap();
}
