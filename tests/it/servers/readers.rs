//! Readers of Delta Lake tables that are not ours: Polars, and Daft on Ray, from PyPI.

use std::path::Path;
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/readers.py");
const MODULES: &str = "import daft, deltalake, polars, ray";

/// What each reader finds in a table: its name, rows and counts, as `readers.py` prints them. `None` where they are not
/// installed.
pub(crate) fn read(table: &Path) -> Option<Vec<serde_json::Value>> {
    let is_there = Command::new("python3")
        .args(["-c", MODULES])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_there {
        super::skipped(
            "reader of Delta Lake tables",
            "pip install 'daft[ray]' deltalake polars",
        );
        return None;
    }
    let answer = Command::new("python3")
        .arg(SCRIPT)
        .arg(table)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{errors}");
    let lines = String::from_utf8(answer.stdout).unwrap();
    let lines = lines.lines().filter(|line| line.starts_with('['));
    Some(
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}
