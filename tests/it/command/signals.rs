//! Being told to end, once and again: while the work cannot go on since nobody reads what it writes, while nothing matches, and while
//! others have the file.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use samplestore::{Database, Durability, Sample, Storage, data};

use super::Shell;
use super::listening::wait_to_listen;

/// Longer than signals are one wish.
const LATER: Duration = Duration::from_millis(500);
/// How often it is looked whether something has happened, and how often at most.
const PAUSE: Duration = Duration::from_millis(5);
const LOOKS_MAX: u32 = 24_000;

/// Runs the command about this database.
fn spawned(shell: &Shell, words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_samplestore"))
        .args(words)
        .env("SAMPLESTORE_DB", shell.db())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn tell_to_end(child: &Child) {
    let id = child.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status();
    assert!(told.unwrap().success());
}

/// The exit code, none when it was the signal that ended it, and what was told.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), words)
}

/// Waits until something has happened.
fn wait_until(mut has_happened: impl FnMut() -> bool) {
    assert!((0..LOOKS_MAX).any(|_| {
        let has_happened = has_happened();
        if !has_happened {
            thread::sleep(PAUSE);
        }
        has_happened
    }));
}

/// A follower that has more to write than a pipe holds, and the pipe, which nobody reads.
fn stuck(shell: &Shell) -> (Child, BufReader<ChildStdout>) {
    let mut child = spawned(shell, &["tail", "--follow", "--limit", "1", "-f", "jsonl"]);
    let mut pipe = BufReader::new(child.stdout.take().unwrap());
    // By then it listens to signals.
    assert!(pipe.read_line(&mut String::new()).unwrap() > 0);
    let text = "x".repeat(1_000);
    let line = |n| format!("{{\"id\":\"{n}\",\"pipeline\":\"p\",\"data\":{{\"x\":\"{text}\"}}}}\n");
    let text: String = (0..5_000).map(line).collect();
    assert_eq!(shell.run_with(["import", "--batch", "5000"], &text).code, 0);
    thread::sleep(2 * LATER);
    (child, pipe)
}

#[test]
fn two_signals_in_a_row_are_one() {
    let shell = Shell::with_six();
    let (mut child, mut pipe) = stuck(&shell);
    tell_to_end(&child);
    thread::sleep(Duration::from_millis(20));
    tell_to_end(&child);
    thread::sleep(LATER);
    assert_eq!(child.try_wait().unwrap(), None, "it ends after its step");
    let drained = std::io::copy(&mut pipe, &mut std::io::sink());
    assert!(drained.unwrap() > 0);
    let (code, words) = ended(child);
    assert_eq!(code, Some(130), "{words}");
    assert!(words.starts_with("new or changed: "), "{words}");
}

#[test]
fn a_later_one_ends_at_once_and_says_so() {
    let shell = Shell::with_six();
    let (child, pipe) = stuck(&shell);
    tell_to_end(&child);
    thread::sleep(LATER);
    tell_to_end(&child);
    let (code, words) = ended(child);
    assert_eq!(code, Some(130), "{words}");
    assert_eq!(words, "ended at once, before what was under way was done\n");
    drop(pipe);
}

/// Many samples, of which the first one has a text that is longer than a pipe holds.
fn many() -> Shell {
    const SAMPLES: u32 = 300_000;
    let shell = Shell::new();
    let options = Database::options().durability(Durability::Deferred);
    let database = options.open(shell.db()).unwrap();
    let sample = |n: u32| {
        let text = if n == 0 {
            "a".repeat(100_000)
        } else {
            format!("b{n}")
        };
        let sample = Sample::builder("p").id(n.to_string());
        sample.data(data! { "x" => text }).build().unwrap()
    };
    for first in (0..SAMPLES).step_by(10_000) {
        let batch: Vec<_> = (first..first + 10_000).map(sample).collect();
        database.store(&batch).unwrap();
    }
    database.close().unwrap();
    shell
}

#[test]
fn an_export_ends_at_once_and_leaves_no_file_however_little_matches() {
    let shell = many();
    let names = || -> Vec<_> {
        let entries = fs::read_dir(shell.path(".")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    for name in ["out.jsonl", "out.csv"] {
        let target = shell.path(name);
        let target = target.to_str().unwrap();
        let child = spawned(
            &shell,
            &["export", target, "--where", "data.x ~ 'nowhere$'"],
        );
        wait_until(|| {
            names()
                .iter()
                .any(|name| name.to_string_lossy().ends_with(".part"))
        });
        tell_to_end(&child);
        let (code, words) = ended(child);
        assert_eq!(
            (code, &*words),
            (Some(130), "interrupted; no file was made\n")
        );
        assert_eq!(names(), ["samples.db"]);
    }
}

#[test]
fn an_export_ends_at_once_behind_the_last_sample_that_matches() {
    let shell = many();
    let pipe = shell.path("pipe.jsonl");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let words = [
        "export",
        pipe.to_str().unwrap(),
        "--where",
        "data.x like 'a%'",
    ];
    let child = spawned(&shell, &words);
    let mut reader = File::open(&pipe).unwrap();
    // It is longer than what is gathered before it is written.
    reader.read_exact(&mut [0; 1]).unwrap();
    let drain = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
    tell_to_end(&child);
    let (code, words) = ended(child);
    assert_eq!(
        (code, &*words),
        (Some(130), "interrupted; no file was made\n")
    );
    drain.join().unwrap();
}

#[test]
fn nobody_waits_for_the_file_who_was_told_to_end() {
    let changed = Some("interrupted; nothing was changed\n");
    let stored = Some("interrupted; nothing was stored\n");
    for (words, shares, said, farewell) in [
        (
            &["dlq", "retry", "--all", "--yes"][..],
            true,
            "matched: ",
            changed,
        ),
        (&["rm", "--all", "--yes"], true, "matched: ", changed),
        (
            &["mark", "ready", "--all", "--yes"],
            true,
            "matched: ",
            changed,
        ),
        (
            &["prune", "--status", "dlq", "--yes"],
            true,
            "matched: ",
            changed,
        ),
        (&["index", "add", "data.n"], true, "", changed),
        (&["index", "drop", "data.n"], true, "", changed),
        (&["put", "--pipeline", "p"], true, "", stored),
        (&["import"], true, "", stored),
        // It reads, and ends as any program does.
        (&["tail", "--follow"], false, "", None),
    ] {
        let shell = Shell::with_six();
        let options = Database::options().shared_readers(shares);
        let holder = options.open(shell.db()).unwrap();
        let mut child = spawned(&shell, &[words, &["--wait", "1d"]].concat());
        let mut told = vec![0; said.len()];
        let stderr = child.stderr.as_mut().unwrap();
        stderr.read_exact(&mut told).unwrap();
        assert_eq!(String::from_utf8(told).unwrap(), said);
        if farewell.is_some() {
            wait_to_listen(child.id());
        }
        // By then it waits.
        thread::sleep(LATER);
        assert_eq!(child.try_wait().unwrap(), None, "{words:?}");
        tell_to_end(&child);
        let mut is_over = false;
        for _ in 0..LOOKS_MAX / 4 {
            is_over = child.try_wait().unwrap().is_some();
            if is_over {
                break;
            }
            thread::sleep(PAUSE);
        }
        child.kill().unwrap();
        let (code, rest) = ended(child);
        assert!(is_over, "{words:?} {rest}");
        assert_eq!(code, farewell.map(|_| 130), "{words:?} {rest}");
        assert!(
            rest.ends_with(farewell.unwrap_or_default()),
            "{words:?} {rest}"
        );
        holder.close().unwrap();
        assert_eq!(shell.data(["count"]), "6\n");
    }
}

#[test]
fn an_import_of_large_records_ends_after_the_one_that_is_read() {
    const RECORDS: u64 = 200;
    const RECORD_BYTES: u64 = 16 << 20;
    let shell = Shell::with_six();
    // What is not written of a file is read as zeros, which are no JSON.
    let path = shell.path("large.jsonl");
    let file = File::create(&path).unwrap();
    for record in 1..=RECORDS {
        file.write_all_at(b"\n", record * RECORD_BYTES).unwrap();
    }
    drop(file);
    let mut child = spawned(&shell, &["import", path.to_str().unwrap()]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    stderr.read_line(&mut told).unwrap();
    assert!(told.starts_with("rejected line 1: it is no JSON"), "{told}");
    tell_to_end(&child);
    stderr.read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{told}");
    let (_, rejected) = told.split_once("skipped 0, rejected ").unwrap();
    let rejected = rejected.split(' ').next().unwrap();
    assert!(rejected.parse::<u64>().unwrap() < RECORDS, "{told}");
}
