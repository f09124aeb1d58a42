//! Questions that wait while others write: what is changed is what was asked about.

use std::fs;
use std::process::{Command, Stdio};

use super::Shell;
use super::terminal::{ended, on_terminal};

/// Stores samples that would match, too, while a question waits.
fn others_write(shell: &Shell, db: &str) {
    for (id, created_at) in [
        ("x", "2030-01-01"),
        ("y", "2030-01-02"),
        ("z", "1990-01-01"),
    ] {
        let created_at = format!("{created_at}T00:00:00Z");
        let sample = format!(
            r#"{{"id":"{id}","pipeline":"p","status":"skipped","created_at":"{created_at}"}}"#
        );
        let answer = shell.run_with(["-d", db, "import", "-"], &sample);
        assert_eq!(answer.code, 0, "{answer:?}");
    }
}

#[test]
fn what_others_wrote_while_it_was_asked_is_asked_about_again() {
    for (words, question, again, said) in [
        (
            &["rm", "--status", "skipped"][..],
            "Remove 1 sample ",
            "Remove 4 samples ",
            "removed 4 samples",
        ),
        (
            &["mark", "ready", "--from", "skipped"],
            "Mark 1 sample ",
            "Mark 4 samples ",
            "marked 4 samples",
        ),
        (
            &["prune", "--status", "skipped"],
            "Remove 1 sample ",
            "Remove 4 samples ",
            "removed:",
        ),
        // As many, and others.
        (
            &["rm", "--newest", "--limit", "1"],
            "Remove 1 sample ",
            "Remove 1 sample ",
            "removed 1 sample",
        ),
    ] {
        for answer in ["n", "y"] {
            let shell = Shell::with_six();
            let mut session = on_terminal(&shell, words);
            session.exp_string(question).unwrap();
            others_write(&shell, shell.db().to_str().unwrap());
            let before = shell.data(["list"]);
            session.send_line("y").unwrap();
            session.exp_string("others wrote meanwhile").unwrap();
            session.exp_string(again).unwrap();
            assert_eq!(shell.data(["list"]), before, "{words:?}");
            session.send_line(answer).unwrap();
            let (text, code) = ended(&mut session);
            assert_eq!(code, 0, "{words:?} {text}");
            assert_eq!(text.contains(said), answer == "y", "{words:?} {text}");
            assert_eq!(shell.data(["list"]) != before, answer == "y", "{words:?}");
        }
    }
}

/// A file that is put in its place has as many commits.
#[test]
fn another_file_in_its_place_is_asked_about_anew() {
    for (words, question, again) in [
        (
            &["rm", "--status", "dlq"][..],
            "Remove 1 sample ",
            "Remove 2 samples ",
        ),
        (
            &["prune", "--status", "dlq"],
            "Remove 1 sample ",
            "Remove 2 samples ",
        ),
        (
            &["dlq", "retry", "--all"],
            "Put 1 sample back",
            "Put 2 samples back",
        ),
    ] {
        let shell = Shell::with_six();
        let other = Shell::new();
        let text = super::six().replace("skipped", "dlq");
        assert_eq!(other.run_with(["import", "-"], &text).code, 0);
        let mut session = on_terminal(&shell, words);
        session.exp_string(question).unwrap();
        fs::rename(other.db(), shell.db()).unwrap();
        session.send_line("y").unwrap();
        session.exp_string("others wrote meanwhile").unwrap();
        session.exp_string(again).unwrap();
        session.send_line("n").unwrap();
        assert_eq!(ended(&mut session).1, 0, "{words:?}");
        assert_eq!(shell.data(["count", "--status", "dlq"]), "2\n", "{words:?}");
    }
}

#[cfg(feature = "files")]
#[test]
fn elsewhere_those_are_changed_that_were_asked_about() {
    let shell = Shell::with_six();
    let documents = format!("file:{}", shell.path("documents").display());
    shell.data(["copy", shell.db().to_str().unwrap(), &documents]);
    let count = |filters: &[&str]| {
        let words = [&["-d", &documents, "count"], filters].concat();
        shell.data(words).trim().parse::<u32>().unwrap()
    };
    let newest = shell.data(["-d", &documents, "list", "--newest", "--limit", "2"]);
    for (words, question, said) in [
        (
            &["mark", "dlq", "--status", "skipped"][..],
            "Mark 1 sample ",
            "marked 1 sample",
        ),
        (
            &["rm", "--newest", "--limit", "2"],
            "Remove 2 samples ",
            "removed 2 samples",
        ),
    ] {
        let mut session = on_terminal(&shell, &[&["-d", &documents], words].concat());
        session.exp_string(question).unwrap();
        others_write(&shell, &documents);
        session.send_line("y").unwrap();
        let (text, code) = ended(&mut session);
        assert!(text.contains(said) && code == 0, "{words:?} {text}");
        assert_eq!(count(&["--id", "x", "--id", "y", "--id", "z"]), 3);
        assert_eq!(count(&["--status", "skipped"]), 3);
        shell.data(["-d", &documents, "rm", "--status", "skipped", "--yes"]);
    }
    for sample in newest.lines() {
        let sample: serde_json::Value = serde_json::from_str(sample).unwrap();
        assert_eq!(count(&["--id", sample["id"].as_str().unwrap()]), 0);
    }
}

/// Stores a sample that failed for this reason.
fn put_failed(shell: &Shell, db: &str, id: &str, message: &str) {
    let reason = format!(
        r#"{{"at":"2013-06-01T06:00:00Z","attempts":1,"message":"{message}","stage":"parse"}}"#
    );
    let sample = format!(
        r#"{{"id":"{id}","pipeline":"p","status":"dlq","created_at":"1990-01-01T00:00:00Z","reason":{reason}}}"#
    );
    let answer = shell.run_with(["-d", db, "put"], &sample);
    assert_eq!(answer.code, 0, "{answer:?}");
}

/// Three samples that failed for one reason, and the name of their group.
fn failed(shell: &Shell, db: &str) -> String {
    for id in ["x", "y", "z"] {
        put_failed(shell, db, id, "out of range");
    }
    let groups = shell.data(["-d", db, "dlq", "group", "-f", "json"]);
    let groups: serde_json::Value = serde_json::from_str(&groups).unwrap();
    let groups = groups["groups"].as_array().unwrap();
    let of_three = groups.iter().find(|group| group["count"] == 3).unwrap();
    of_three["group"].as_str().unwrap().to_owned()
}

#[test]
fn what_failed_anew_while_it_was_asked_is_asked_about_again() {
    let shell = Shell::with_six();
    let path = shell.db();
    let db = path.to_str().unwrap();
    let group = failed(&shell, db);
    for (words, again) in [
        (&["dlq", "retry", &group][..], "Put 2 samples back"),
        (&["dlq", "retry", "--all"], "Put 4 samples back"),
    ] {
        let mut session = on_terminal(&shell, words);
        let first = if words[2] == "--all" { 4 } else { 3 };
        session
            .exp_string(&format!("Put {first} samples back"))
            .unwrap();
        put_failed(&shell, db, "x", "of another kind");
        let before = shell.data(["list"]);
        session.send_line("y").unwrap();
        session.exp_string("others wrote meanwhile").unwrap();
        session.exp_string(again).unwrap();
        assert_eq!(shell.data(["list"]), before);
        session.send_line("n").unwrap();
        assert_eq!(ended(&mut session).1, 0);
        assert_eq!(shell.data(["list"]), before);
        put_failed(&shell, db, "x", "out of range");
    }
}

#[cfg(feature = "files")]
#[test]
fn elsewhere_those_are_retried_that_failed_as_they_had() {
    let shell = Shell::with_six();
    let documents = format!("file:{}", shell.path("documents").display());
    shell.data(["copy", shell.db().to_str().unwrap(), &documents]);
    let group = failed(&shell, &documents);
    let statuses = |ids: [&str; 4]| {
        ids.map(|id| {
            let sample = shell.data(["-d", &documents, "get", id]);
            let sample: serde_json::Value = serde_json::from_str(&sample).unwrap();
            sample["status"].as_str().unwrap().to_owned()
        })
    };
    let mut session = on_terminal(&shell, &["-d", &documents, "dlq", "retry", &group]);
    session.exp_string("Put 3 samples back").unwrap();
    put_failed(&shell, &documents, "x", "of another kind");
    put_failed(&shell, &documents, "late", "out of range");
    session.send_line("y").unwrap();
    let (text, code) = ended(&mut session);
    assert!(
        text.contains("put 2 samples back to pending") && code == 0,
        "{text}"
    );
    assert_eq!(
        statuses(["x", "y", "z", "late"]),
        ["dlq", "pending", "pending", "dlq"]
    );
}

/// How `copy` ends when a sample that was copied is another one in the source by the time all are compared.
#[test]
fn a_copy_of_what_changed_meanwhile_is_not_equal() {
    let shell = Shell::new();
    let line = |n| format!("{{\"id\":\"{n}\",\"pipeline\":\"p\"}}\n");
    let text: String = (0..3_000).map(line).collect();
    assert_eq!(shell.run_with(["import"], &text).code, 0);
    let target = shell.path("target.db");
    let target = target.to_str().unwrap();
    let copy = Command::new(env!("CARGO_BIN_EXE_samplestore"))
        .args(["copy", shell.db().to_str().unwrap(), target])
        .args(["--verify", "--batch", "1", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Then the first one is in it, whose commit is the first.
    loop {
        let count = shell.run(["-d", target, "count"]);
        if count.code == 0 && count.data != "0\n" {
            break;
        }
    }
    // Each of the others is a commit of its own, so this is done long before they are.
    shell.data([
        "put",
        "--id",
        "0",
        "--pipeline",
        "other",
        "--created-at",
        "1990",
    ]);
    let output = copy.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(
        words.contains("2,999 equal, 0 missing, 1 different"),
        "{words}"
    );
    assert!(words.contains("not equal: \"0\"\n"), "{words}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verified"]["different"], 1);
    assert_eq!(report["verified"]["ids"], serde_json::json!(["0"]));
}
