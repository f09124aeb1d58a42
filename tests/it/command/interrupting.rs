//! Ctrl-C at any moment of what goes in steps: what is done stays and is told, and running it again does the rest.

use std::fs;
use std::thread;
use std::time::Duration;

use super::Shell;
use super::listening::interrupted;
use super::terminal::{ended, many, names, on_terminal};

const SAMPLES: u64 = 200_000;
const STEP: u64 = 10_000;

fn count(shell: &Shell, filters: &[&str]) -> u64 {
    let count = shell.data([&["count"], filters].concat());
    count.trim().parse().unwrap()
}

#[test]
fn what_was_interrupted_is_done_to_its_end_by_running_it_again() {
    let shell = many(SAMPLES as u32);
    let kept = Shell::new();
    for (words, left, figure) in [
        (&["rm", "--all"][..], &[][..], "removed"),
        // By ids, since a condition tells which.
        (&["rm", "--where", "data.n is missing"], &[], "removed"),
        (
            &["mark", "ready", "--where", "data.n is missing"],
            &["--status", "pending"],
            "marked",
        ),
        (&["prune", "--status", "pending"], &[], "removed"),
        // The last one: it leaves all of them failed.
        (&["dlq", "retry", "--all"], &["--status", "dlq"], "retried"),
    ] {
        let words = [words, &["--yes"]].concat();
        if figure == "retried" {
            shell.data(["mark", "dlq", "--all", "--yes"]);
        }
        fs::copy(shell.db(), kept.db()).unwrap();
        let text = interrupted(&shell, &words, || {
            fs::copy(kept.db(), shell.db()).unwrap();
        });
        assert!(
            text.contains("interrupted; what is done stays, run it again"),
            "{text}"
        );
        let rest = count(&shell, left);
        assert!(
            0 < rest && rest < SAMPLES && rest.is_multiple_of(STEP),
            "{words:?} {rest}"
        );
        assert_eq!(shell.run(["check"]).code, 0, "{words:?}");
        let done = shell.data(words.iter().copied());
        let done: serde_json::Value = serde_json::from_str(&done).unwrap();
        assert_eq!(
            (&done["matched"], &done[figure]),
            (&rest.into(), &rest.into()),
            "{words:?}"
        );
        assert_eq!(count(&shell, left), 0, "{words:?}");
        assert_eq!(shell.run(["check"]).code, 0, "{words:?}");
        fs::copy(kept.db(), shell.db()).unwrap();
    }
}

#[test]
fn where_there_is_a_limit_the_rest_of_it_is_named() {
    const LIMIT: u64 = 150_000;
    let shell = many(SAMPLES as u32);
    let kept = Shell::new();
    for (words, left) in [
        (&["rm"][..], &[][..]),
        (
            &["mark", "ready", "--where", "data.n is missing"],
            &["--status", "pending"],
        ),
        // The last one: it leaves some of them failed.
        (&["dlq", "retry", "--all"], &["--status", "dlq"]),
    ] {
        if words[0] == "dlq" {
            shell.data(["mark", "dlq", "--all", "--yes"]);
        }
        fs::copy(shell.db(), kept.db()).unwrap();
        let limited = |limit: u64| {
            let words = words.iter().map(|word| (*word).to_owned());
            let limit = ["--limit".to_owned(), limit.to_string(), "--yes".to_owned()];
            words.chain(limit).collect::<Vec<_>>()
        };
        let first = limited(LIMIT);
        let first: Vec<_> = first.iter().map(String::as_str).collect();
        let text = interrupted(&shell, &first, || {
            fs::copy(kept.db(), shell.db()).unwrap();
        });
        let said = "interrupted; what is done stays, run it again with --limit ";
        let (_, rest) = text.split_once(said).unwrap_or_else(|| panic!("{text}"));
        let (rest, _) = rest.split_once(" for the rest").unwrap();
        let rest: u64 = rest.parse().unwrap();
        assert!(0 < rest && rest <= LIMIT, "{words:?} {rest}");
        assert_eq!(count(&shell, left), SAMPLES - LIMIT + rest, "{words:?}");
        let again = limited(rest);
        shell.data(again.iter().map(String::as_str));
        assert_eq!(count(&shell, left), SAMPLES - LIMIT, "{words:?}");
        fs::copy(kept.db(), shell.db()).unwrap();
    }
}

#[test]
fn a_copy_ends_however_little_matches() {
    let shell = many(SAMPLES as u32);
    let (db, target) = (shell.db(), shell.path("target.db"));
    let (db, target) = (db.to_str().unwrap(), target.to_str().unwrap());
    let words = ["copy", db, target, "--where", "data.n = 1"];
    let text = interrupted(&shell, &words, || {
        let _ = fs::remove_file(target);
    });
    assert!(
        text.contains("what is copied stays, 0 samples; run it again"),
        "{text}"
    );
    assert_eq!(names(&shell), ["samples.db", "target.db"]);
    // It was closed, so that nothing is to be repaired.
    assert_eq!(shell.data(["-d", target, "count"]), "0\n");
    assert_eq!(shell.run(["-d", target, "check"]).code, 0);
}

#[test]
fn an_export_in_any_format_is_whole_or_not_there() {
    let shell = many(60_000);
    let mut formats = vec!["json"];
    if cfg!(feature = "arrow") {
        formats.extend(["parquet", "arrow"]);
    }
    for format in formats {
        let target = shell.path(&format!("out.{format}"));
        let words = ["export", target.to_str().unwrap()];
        let text = interrupted(&shell, &words, || {
            let _ = fs::remove_file(&target);
        });
        assert!(text.contains("interrupted; no file was made"), "{text}");
        assert_eq!(names(&shell), ["samples.db"], "{format}");
    }
}

#[test]
fn a_picture_is_whole_or_not_there() {
    let shell = many(30_000);
    let target = shell.path("out.svg");
    for attempt in 0..30 {
        let words = ["hist", "day", "--svg", target.to_str().unwrap()];
        let mut session = on_terminal(&shell, &words);
        thread::sleep(Duration::from_millis(attempt * 4));
        // There may be nobody any more.
        let _ = session.send_control('c');
        let (text, code) = ended(&mut session);
        assert!([0, 130].contains(&code), "{code} {text}");
        match fs::read_to_string(&target) {
            Ok(drawn) => assert!(drawn.trim_end().ends_with("</svg>"), "{drawn}"),
            Err(_) => assert_eq!(code, 130, "{text}"),
        }
        let _ = fs::remove_file(&target);
        assert_eq!(names(&shell), ["samples.db"], "{attempt}");
    }
}
