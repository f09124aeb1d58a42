//! What is changed without a question: nothing unless `--yes` is given, and with it what is there.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use samplestore::{Database, Sample, Status, Storage};

use super::Shell;

/// Verbs that change many samples, and that they would change in the six: one sample each.
const CHANGES: [&[&str]; 5] = [
    &["mark", "ready", "--from", "dlq"],
    &["rm", "--status", "dlq"],
    &["rm", "--where", "data.n = 5"],
    &["dlq", "retry", "--all"],
    &["prune", "--status", "dlq"],
];

#[test]
fn nothing_is_changed_without_a_yes_where_nobody_can_be_asked() {
    let shell = Shell::with_six();
    let before = shell.data(["list"]);
    for words in CHANGES {
        for input in ["", "y\n", "yes\n"] {
            let refused = shell.run_with(words.iter().copied(), input);
            assert_eq!(
                (refused.code, &*refused.data),
                (2, ""),
                "{words:?} {refused:?}"
            );
            for said in [
                "nobody can be asked",
                "--dry-run counts them, --yes does it",
            ] {
                assert!(refused.words.contains(said), "{words:?} {refused:?}");
            }
            assert_eq!(shell.data(["list"]), before, "{words:?}");
        }
        let counted = shell.data([words, &["--dry-run"]].concat());
        assert!(counted.contains("\"matched\":1"), "{words:?} {counted}");
        assert_eq!(shell.data(["list"]), before, "{words:?}");
        let done = Shell::with_six().data([words, &["--yes"]].concat());
        assert!(done.contains("\"matched\":1"), "{words:?} {done}");
    }
}

/// While others have the file it waits, and they write what matches, too.
#[test]
fn what_others_wrote_is_counted_again_and_changed_with_the_rest() {
    for words in CHANGES {
        let shell = Shell::with_six();
        let options = Database::options().shared_readers(true);
        let other = options.open(shell.db()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_samplestore"))
            .args(words)
            .args(["--yes", "--wait", "10m"])
            .env("SAMPLESTORE_DB", shell.db())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        stderr.read_line(&mut told).unwrap();
        assert_eq!(told, "matched: 1 sample (1 dlq)\n", "{words:?}");
        let late = |id: &str| {
            let sample = Sample::builder("even").id(id).status(Status::Dlq);
            sample
                .data(samplestore::data! { "n" => 5 })
                .build()
                .unwrap()
        };
        other.store(&[late("x"), late("y")]).unwrap();
        other.close().unwrap();
        told.clear();
        stderr.read_to_string(&mut told).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?} {told}");
        assert_eq!(
            told,
            "others wrote meanwhile, and nothing was changed yet\nmatched: 3 samples (3 dlq)\n",
            "{words:?}"
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["matched"], 3, "{words:?} {report}");
        assert_eq!(shell.data(["count", "--status", "dlq"]), "0\n", "{words:?}");
    }
}

/// Also where nothing is left to be changed by then.
#[test]
fn what_others_took_is_not_there_to_be_changed() {
    for words in CHANGES {
        let shell = Shell::with_six();
        let options = Database::options().shared_readers(true);
        let other = options.open(shell.db()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_samplestore"))
            .args(words)
            .args(["--yes", "--wait", "10m"])
            .env("SAMPLESTORE_DB", shell.db())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut String::new()).unwrap();
        other.delete(&"f".into()).unwrap();
        other.close().unwrap();
        let output = child.wait_with_output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["matched"], 0, "{words:?} {report}");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        drop(stderr);
        assert_eq!(shell.data(["count"]), "5\n", "{words:?}");
    }
}

#[cfg(feature = "files")]
#[test]
fn conditions_are_asked_of_documents_as_of_a_file() {
    let shell = Shell::with_six();
    let url = format!("file:{}", shell.path("documents").display());
    let db = shell.db();
    shell.data(["copy", db.to_str().unwrap(), &url]);
    let condition = ["--where", "data.n >= 2 and measurements.m < 5"];
    let both = |words: &[&str]| {
        let words = [words, &condition].concat();
        let of_documents = shell.data([&["-d", &url][..], &words].concat());
        assert_eq!(of_documents, shell.data(words.iter().copied()), "{words:?}");
        of_documents
    };
    assert_eq!(both(&["count"]), "3\n");
    for words in [
        &["list"][..],
        &["list", "-f", "csv"],
        &["facets"],
        &["hist", "hour"],
        &["schema"],
        &["export"],
        &["export", "-f", "csv"],
        &["tail"],
        &["mark", "dlq", "-n"],
        &["mark", "dlq", "--yes"],
        &["dlq", "list"],
        &["dlq", "group", "-f", "json"],
        &["dlq", "retry", "--all", "--yes"],
        &["rm", "-n"],
    ] {
        assert!(!both(words).is_empty(), "{words:?}");
    }
    let copy = shell.path("copy.db");
    let copy = copy.to_str().unwrap();
    shell.data([&["copy", &url, copy][..], &condition].concat());
    assert_eq!(shell.data(["-d", copy, "count"]), "3\n");
    assert!(both(&["rm", "--yes"]).contains("\"removed\":3"));
    assert_eq!(both(&["count"]), "0\n");
    assert_eq!(shell.data(["-d", &url, "count"]), "3\n");
}
