//! The command on a terminal: questions, progress, colours. How tables fit is `widths.rs`.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

use super::Shell;
use super::listening::interrupted;

/// Longer than any of it takes on a machine that is busy.
pub(super) const TIMEOUT_MS: u64 = 120_000;

/// Runs the command on a terminal of 60 columns, as [`on_narrow_terminal`] does.
pub(super) fn on_terminal(shell: &Shell, words: &[&str]) -> PtySession {
    on_narrow_terminal(shell, words, 60)
}

/// Runs the command on a terminal so many columns wide, where Ctrl-C does what it does to a program that says nothing of it: in
/// what `nohup` or a shell runs behind its back it is ignored, by the command too.
pub(super) fn on_narrow_terminal(shell: &Shell, words: &[&str], columns: u16) -> PtySession {
    begun(shell, words, columns, "")
}

/// The same behind this line of a shell.
pub(super) fn begun(shell: &Shell, words: &[&str], columns: u16, before: &str) -> PtySession {
    let mut command = Command::new("sh");
    let signals = match cfg!(target_os = "linux") {
        true => "env --default-signal=INT",
        false => "",
    };
    command
        .args([
            "-c",
            &format!("stty cols {columns} rows 24; {before} exec {signals} \"$0\" \"$@\""),
        ])
        .arg(env!("CARGO_BIN_EXE_samplestore"))
        .args(words)
        .env("SAMPLESTORE_DB", shell.db())
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR");
    spawn_command(command, Some(TIMEOUT_MS)).unwrap()
}

/// What was written, of which `rexpect` takes each byte for a character.
pub(super) fn text_of(bytes: &str) -> String {
    let bytes = bytes
        .chars()
        .map(|char| u8::try_from(u32::from(char)).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

/// Waits for the end, and gives what was written until then and the exit code.
pub(super) fn ended(session: &mut PtySession) -> (String, i32) {
    let rest = text_of(&session.exp_eof().unwrap());
    match session.process().wait().unwrap() {
        WaitStatus::Exited(_, code) => (rest, code),
        // As a shell tells it.
        WaitStatus::Signaled(_, signal, _) => (rest, 128 + signal as i32),
        other => panic!("{other:?}"),
    }
}

/// What the command shows on a terminal, and its exit code.
pub(super) fn seen(shell: &Shell, words: &[&str]) -> (String, i32) {
    ended(&mut on_terminal(shell, words))
}

/// So many pending samples.
pub(super) fn many(count: u32) -> Shell {
    let shell = Shell::new();
    let mut text = String::new();
    for n in 0..count {
        writeln!(text, r#"{{"id":"{n}","pipeline":"p"}}"#).unwrap();
    }
    assert_eq!(
        shell
            .run_with(["import", "-", "--batch", "20000"], &text)
            .code,
        0
    );
    shell
}

#[test]
fn what_changes_many_samples_asks_first() {
    let shell = Shell::with_six();
    for (words, question, answer, words_after, left) in [
        (
            &["rm", "--status", "dlq"][..],
            "Remove 1 sample for good (1 dlq)? [y/N] ",
            "n",
            "nothing was changed",
            6,
        ),
        (
            &["rm", "--status", "dlq"],
            "Remove 1 sample",
            "",
            "nothing was changed",
            6,
        ),
        (
            &["rm", "--status", "dlq"],
            "Remove 1 sample",
            "yes",
            "removed 1 sample",
            5,
        ),
        (
            &["prune", "--status", "skipped"],
            "Remove 1 sample for good",
            "y",
            "removed:",
            4,
        ),
        (
            &["mark", "dlq", "--id", "a"],
            "Mark 1 sample dlq (1 pending)?",
            "Y",
            "marked 1 sample dlq",
            4,
        ),
        (
            &["dlq", "retry", "--all"],
            "Put 1 sample back to pending?",
            "y",
            "put 1 sample back",
            4,
        ),
        // Nothing matches, so there is nothing to ask.
    ] {
        let mut session = on_terminal(&shell, words);
        session.exp_string(question).unwrap();
        session.send_line(answer).unwrap();
        let (rest, code) = ended(&mut session);
        assert!(rest.contains(words_after), "{words:?} {rest}");
        assert_eq!(code, 0, "{words:?} {rest}");
        assert_eq!(shell.data(["count"]), format!("{left}\n"), "{words:?}");
    }
    assert_eq!(
        shell
            .data(["get", "a", "-f", "csv"])
            .lines()
            .nth(1)
            .unwrap()
            .split(',')
            .nth(2),
        Some("pending")
    );
    let (text, code) = seen(&shell, &["rm", "--status", "dlq"]);
    assert_eq!((text.trim(), code), ("removed 0 samples", 0));
}

#[test]
fn ctrl_c_at_a_question_changes_nothing() {
    let shell = Shell::with_six();
    let mut session = on_terminal(&shell, &["rm", "--all"]);
    session.exp_string("[y/N] ").unwrap();
    session.send_control('c').unwrap();
    let (text, code) = ended(&mut session);
    assert_eq!(code, 130, "{text}");
    // In a line of its own.
    assert!(
        text.contains("\ninterrupted; nothing was changed"),
        "{text}"
    );
    assert_eq!(shell.data(["count"]), "6\n");
}

#[test]
fn ctrl_c_ends_between_two_steps_and_the_rest_can_be_done_later() {
    const SAMPLES: u64 = 400_000;
    let shell = many(SAMPLES as u32);
    let text = interrupted(&shell, &["mark", "ready", "--all", "--yes"], || {
        shell.data(["mark", "pending", "--all", "--yes"]);
    });
    assert!(text.contains("interrupted; what is done stays"), "{text}");
    let (_, done) = text.split_once("marked ").unwrap();
    let done = done.chars().take_while(|char| *char != ' ');
    let done: String = done.filter(char::is_ascii_digit).collect();
    let done: u64 = done.parse().unwrap();
    assert!(done < SAMPLES && done.is_multiple_of(10_000), "{done}");
    assert_eq!(
        shell.data(["count", "--status", "ready"]),
        format!("{done}\n")
    );
    let rest = shell.data(["mark", "ready", "--all", "--yes"]);
    assert!(
        rest.contains(&format!("\"marked\":{},", SAMPLES - done)),
        "{rest}"
    );

    // A CSV has its columns from a first look at all samples, which ends, too.
    for name in ["out.jsonl", "out.csv"] {
        let target = shell.path(name);
        let words = ["export", target.to_str().unwrap()];
        let text = interrupted(&shell, &words, || {
            let _ = fs::remove_file(&target);
        });
        assert!(text.contains("no file was made"), "{text}");
        assert_eq!(names(&shell), ["samples.db"]);
    }

    let words = ["prune", "--status", "ready", "--yes"];
    let left = || -> u64 { shell.data(["count"]).trim().parse().unwrap() };
    let text = interrupted(&shell, &words, || {
        let input = shell.path("again.jsonl");
        let mut text = String::new();
        (0..SAMPLES).for_each(|n| {
            writeln!(text, r#"{{"id":"{n}","pipeline":"p","status":"ready"}}"#).unwrap();
        });
        fs::write(&input, text).unwrap();
        shell.data(["import", input.to_str().unwrap(), "--batch", "20000"]);
    });
    let left = left();
    assert!(left > 0 && left.is_multiple_of(10_000), "{left}");
    assert!(text.contains(" samples of 400,000"), "{text}");
    assert_eq!(shell.run(["check"]).code, 0);
}

/// The files beside the database, and itself.
pub(super) fn names(shell: &Shell) -> Vec<String> {
    let names = fs::read_dir(shell.path(".")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn ctrl_c_leaves_no_file_that_is_not_whole_and_says_what_is_done() {
    const SAMPLES: u32 = 150_000;
    let shell = many(SAMPLES);
    let (input, target) = (shell.path("input.jsonl"), shell.path("target.db"));
    shell.data(["export", input.to_str().unwrap()]);
    let (db, input) = (shell.db(), input.to_str().unwrap());
    let (db, named) = (db.to_str().unwrap(), target.to_str().unwrap());
    for (words, said, is_kept) in [
        (vec!["reindex"], "the file is as it was", false),
        (vec!["backup", named], "no copy was made", false),
        (vec!["salvage", named], "no new file was made", false),
        (
            vec!["index", "add", "data.n"],
            " % are indexed; run it again",
            false,
        ),
        (vec!["copy", db, named], "what is copied stays, ", true),
        (
            vec!["-d", named, "import", input],
            "what is stored stays",
            true,
        ),
    ] {
        let text = interrupted(&shell, &words, || {
            let _ = fs::remove_file(&target);
            shell.run(["index", "drop", "data.n"]);
        });
        assert!(text.contains(said), "{words:?}: {text}");
        if is_kept {
            let count = shell.data(["-d", named, "count"]);
            assert!(count.trim().parse::<u32>().unwrap() < SAMPLES, "{words:?}");
            fs::remove_file(&target).unwrap();
        }
        assert_eq!(names(&shell), ["input.jsonl", "samples.db"], "{words:?}");
        assert_eq!(shell.data(["count"]), format!("{SAMPLES}\n"));
        assert_eq!(shell.run(["check"]).code, 0, "{words:?}");
    }
}

#[test]
fn what_is_said_when_compact_is_ended_is_true() {
    let shell = many(100_000);
    let undo = || {
        shell.data(["mark", "ready", "--all", "--yes"]);
        shell.data(["mark", "pending", "--all", "--yes"]);
    };
    undo();
    let text = interrupted(&shell, &["compact"], undo);
    assert!(text.contains("repair finishes what was begun"), "{text}");
    assert_eq!(shell.run(["repair"]).code, 0);
    assert_eq!(shell.run(["check"]).code, 0);
    assert_eq!(shell.data(["count"]), "100000\n");
}

#[test]
fn ctrl_c_twice_leaves_no_part_of_an_export() {
    let shell = many(30_000);
    let target = shell.path("out.csv");
    for attempt in 0..20 {
        let mut session = on_terminal(&shell, &["export", target.to_str().unwrap()]);
        thread::sleep(Duration::from_millis(attempt * 20));
        for _ in 0..2 {
            // There may be nobody any more.
            let _ = session.send_control('c');
        }
        ended(&mut session);
        let _ = fs::remove_file(&target);
        assert_eq!(names(&shell), ["samples.db"], "{attempt}");
    }
}

#[test]
fn progress_is_shown_on_a_terminal_unless_it_is_to_be_quiet() {
    let shell = many(30_000);
    let (text, code) = seen(&shell, &["mark", "ready", "--all", "--yes"]);
    assert_eq!(code, 0);
    assert!(text.contains("/30,000 samples"), "{text}");
    let (text, _) = seen(&shell, &["mark", "pending", "--all", "--yes", "-q"]);
    assert_eq!(text.trim(), "marked 30,000 samples pending");
    let piped = shell.run(["mark", "ready", "--all", "--yes"]);
    assert_eq!(piped.words, "matched: 30,000 samples (30,000 pending)\n");
}

#[test]
fn tables_have_colours_and_fit() {
    let shell = Shell::with_six();
    shell.data([
        "put",
        "--pipeline",
        "p",
        "--id",
        "\u{1b}[31mred\u{9b}2J",
        "--data",
        "text=\u{202e}evil",
    ]);
    let (text, code) = seen(&shell, &["list"]);
    assert_eq!(code, 0);
    assert!(text.contains("\u{1b}[32mready\u{1b}[0m"), "{text}");
    assert!(
        text.contains("\\u{1b") && !text.contains("\u{1b}[31mred"),
        "{text}"
    );
    assert!(
        !text.contains('\u{9b}') && !text.contains('\u{202e}'),
        "{text}"
    );
    for words in [
        &["list"][..],
        &["schema"],
        &["dlq", "group"],
        &["hist", "--split", "status"],
    ] {
        let words = [words, &["--color", "never", "-q"]].concat();
        let (text, code) = seen(&shell, &words);
        assert_eq!(code, 0, "{text}");
        assert!(!text.contains('\u{1b}'), "{words:?} {text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 60, "{words:?} {line:?}");
        }
    }
    // Where it is empty it is as if it were not set.
    for (value, has_colors) in [("1", false), ("", true)] {
        for (words, word) in [(["list", "-q"], "ready"), (["get", "none"], "error:")] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_samplestore"));
            command
                .args(words)
                .env("SAMPLESTORE_DB", shell.db())
                .env("TERM", "xterm-256color")
                .env_remove("CLICOLOR")
                .env("NO_COLOR", value);
            let (text, _) = ended(&mut spawn_command(command, Some(TIMEOUT_MS)).unwrap());
            assert!(text.contains(word), "{text}");
            assert_eq!(text.contains('\u{1b}'), has_colors, "{value:?} {text}");
        }
    }
}

#[test]
fn tail_follows_on_a_terminal_until_ctrl_c() {
    let shell = Shell::with_six();
    let mut session = on_terminal(&shell, &["tail", "--follow", "--limit", "1"]);
    session.exp_string("2013-06-01").unwrap();
    shell.data(["put", "--pipeline", "later", "--id", "g"]);
    session.exp_string("later").unwrap();
    session.send_control('c').unwrap();
    let (text, code) = ended(&mut session);
    assert_eq!(code, 130);
    assert!(text.contains("new or changed: 1 sample"), "{text}");
}

#[test]
fn no_progress_is_in_the_way_of_what_is_exported() {
    let shell = many(30_000);
    let pipe = format!(
        "'{}' export | tail -n 1; '{0}' export -f csv",
        env!("CARGO_BIN_EXE_samplestore")
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &pipe])
        .env("SAMPLESTORE_DB", shell.db());
    let (text, _) = ended(&mut spawn_command(command, Some(TIMEOUT_MS)).unwrap());
    assert!(text.contains("\"id\":\"29999\""), "{text}");
    assert!(!text.contains("samples") && !text.contains('\u{1b}'));
    let to = shell.path("out.jsonl");
    let (text, _) = seen(&shell, &["export", to.to_str().unwrap()]);
    assert!(text.contains("/30,000 samples"), "{text}");
}

#[cfg(feature = "arrow")]
#[test]
fn what_is_no_text_is_not_written_to_a_terminal() {
    let shell = Shell::with_six();
    for format in ["parquet", "arrow"] {
        for to in ["-", "/dev/stdout", "/dev/tty"] {
            let (text, code) = seen(&shell, &["export", to, "-f", format]);
            assert_eq!(code, 2, "{to} {text}");
            assert!(text.contains("name a file"), "{to} {text}");
        }
    }
}

#[test]
fn a_terminal_that_is_named_is_one() {
    let shell = Shell::with_six();
    let put = ["put", "--pipeline", "p", "--id", "\u{1b}[31mred\u{9b}2J"];
    shell.data(put);
    for to in ["/dev/stdout", "/dev/tty"] {
        for format in ["csv", "jsonl"] {
            let (text, code) = seen(&shell, &["export", to, "-f", format]);
            assert_eq!(code, 0, "{to} {text}");
            assert!(
                text.contains("red") && !text.contains(['\u{1b}', '\u{9b}']),
                "{to} {text}"
            );
        }
    }
}

#[test]
fn the_name_of_a_field_cannot_steer_the_terminal() {
    let shell = Shell::with_six();
    for verb in ["add", "drop"] {
        let (text, code) = seen(&shell, &["index", verb, "data.a\u{1b}[2J\nerror: faked"]);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains("\\u{1b}[2J\\nerror: faked"), "{text}");
        assert!(
            !text.contains("\u{1b}[2J") && !text.contains("\nerror: faked"),
            "{text}"
        );
    }
}

#[test]
fn the_name_of_an_index_cannot_steer_the_terminal() {
    let shell = Shell::with_six();
    let field = r#"data."\u009b2J\u202e\u200b""#;
    shell.data(["index", "add", field, "-q"]);
    for words in [
        &["index", "list", "-f", "table"][..],
        &["stats", "-f", "table"],
    ] {
        let (text, code) = seen(&shell, words);
        assert_eq!(code, 0, "{text}");
        assert!(
            text.contains(r#"data."\u{9b}2J\u{202e}\u{200b}""#),
            "{text}"
        );
        assert!(!text.contains(['\u{9b}', '\u{202e}', '\u{200b}']), "{text}");
    }
}
