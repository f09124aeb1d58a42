//! Programs for Delta Lake tables that are not ours: Polars, Daft on Ray, and delta-rs, from PyPI.

use std::path::Path;
use std::process::{Command, Stdio};

const READERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/readers.py");
const MERGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/merge.py");
#[cfg(feature = "s3")]
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/example.py");
const MODULES: &str = "import daft, deltalake, polars, ray";

/// What each reader finds in a table at this path or, with the endpoint of a server, URL: its name, rows and counts, as `readers.py`
/// prints them. `None` where they are not installed.
pub(crate) fn read(table: &str, endpoint: Option<&str>) -> Option<Vec<serde_json::Value>> {
    let words = [table].into_iter().chain(endpoint);
    Some(lists(&run(python(READERS).args(words))?))
}

/// The rows that an example in Python gives, line by line, as `example.py` prints them, where this folder is the current one and
/// the variables name a server. `None` where the readers are not installed.
#[cfg(feature = "s3")]
pub(crate) fn example(text: &str, folder: &Path, endpoint: &str) -> Option<Vec<serde_json::Value>> {
    let mut command = python(EXAMPLE);
    command.arg(text).current_dir(folder);
    command
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "tests")
        .env("AWS_SECRET_ACCESS_KEY", "of-no-value");
    Some(lists(&run(&mut command)?))
}

/// Changes a table as `merge.py` says; `false` where what it needs is not installed.
pub(crate) fn merge(table: &Path) -> bool {
    run(python(MERGE).arg(table)).is_some()
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(script);
    command
}

/// The lines that are lists in JSON.
fn lists(text: &str) -> Vec<serde_json::Value> {
    let lines = text.lines().filter(|line| line.starts_with('['));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a script prints.
fn run(command: &mut Command) -> Option<String> {
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
    let answer = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{errors}");
    Some(String::from_utf8(answer.stdout).unwrap())
}
