//! Questions that wait while others write: what is changed is what was asked about.

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

#[test]
fn failures_that_came_while_it_was_asked_are_not_retried() {
    let shell = Shell::with_six();
    let mut session = on_terminal(&shell, &["dlq", "retry", "--all"]);
    session.exp_string("Put 1 sample back").unwrap();
    let put = ["put", "--pipeline", "p", "--status", "dlq", "--id", "late"];
    shell.data(put.into_iter().chain(["--created-at", "1990-01-01"]));
    session.send_line("y").unwrap();
    let (text, code) = ended(&mut session);
    assert!(
        text.contains("put 1 sample back to pending") && code == 0,
        "{text}"
    );
    assert!(shell.data(["list", "--status", "dlq"]).contains("\"late\""));
    assert_eq!(shell.data(["count", "--status", "dlq"]), "1\n");
}
