//! Programs for Delta Lake tables that are not ours: Polars, Daft on Ray, and delta-rs, from PyPI.

use std::path::Path;
use std::process::{Command, Stdio};

const READERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/readers.py");
const MERGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/merge.py");
const MODULES: &str = "import daft, deltalake, polars, ray";

/// What each reader finds in a table at this path or, with the endpoint of a server, URL: its name, rows and counts, as `readers.py`
/// prints them. `None` where they are not installed.
pub(crate) fn read(table: &str, endpoint: Option<&str>) -> Option<Vec<serde_json::Value>> {
    let words: Vec<_> = [table].into_iter().chain(endpoint).collect();
    let lines = run(READERS, &words)?;
    let lines = lines.lines().filter(|line| line.starts_with('['));
    Some(
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

/// Changes a table as `merge.py` says; `false` where what it needs is not installed.
pub(crate) fn merge(table: &Path) -> bool {
    run(MERGE, &[table.to_str().unwrap()]).is_some()
}

/// What a script prints.
fn run(script: &str, words: &[&str]) -> Option<String> {
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
        .arg(script)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{errors}");
    Some(String::from_utf8(answer.stdout).unwrap())
}
