//! Being told to end, once and again, while the work cannot go on: it writes into a pipe that nobody reads.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::Shell;

/// Longer than signals are one wish.
const LATER: Duration = Duration::from_millis(500);

/// More than a pipe holds.
fn shell() -> Shell {
    let shell = Shell::new();
    let text = "x".repeat(1_000);
    let line = |n| format!("{{\"id\":\"{n}\",\"pipeline\":\"p\",\"data\":{{\"x\":\"{text}\"}}}}\n");
    let text: String = (0..2_000).map(line).collect();
    assert_eq!(shell.run_with(["import"], &text).code, 0);
    shell
}

/// An export into a pipe that is open and full.
fn stuck(shell: &Shell, pipe: &Path) -> (Child, File) {
    let child = Command::new(env!("CARGO_BIN_EXE_samplestore"))
        .args(["export", pipe.to_str().unwrap()])
        .env("SAMPLESTORE_DB", shell.db())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = File::open(pipe).unwrap();
    // By then it listens to signals.
    reader.read_exact(&mut [0; 1]).unwrap();
    thread::sleep(LATER);
    (child, reader)
}

fn tell_to_end(child: &Child) {
    let id = child.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status();
    assert!(told.unwrap().success());
}

fn pipe(shell: &Shell) -> PathBuf {
    let pipe = shell.path("pipe.jsonl");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    pipe
}

fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), words)
}

#[test]
fn two_signals_in_a_row_are_one() {
    let shell = shell();
    let pipe = pipe(&shell);
    let (mut child, mut reader) = stuck(&shell, &pipe);
    tell_to_end(&child);
    thread::sleep(Duration::from_millis(20));
    tell_to_end(&child);
    thread::sleep(LATER);
    assert_eq!(child.try_wait().unwrap(), None, "it ends after its step");
    let drained = std::io::copy(&mut reader, &mut std::io::sink());
    assert!(drained.unwrap() > 0);
    let (code, words) = ended(child);
    assert_eq!(
        (code, words.as_str()),
        (Some(130), "interrupted; no file was made\n")
    );
}

#[test]
fn a_later_one_ends_at_once_and_says_so() {
    let shell = shell();
    let pipe = pipe(&shell);
    let (child, reader) = stuck(&shell, &pipe);
    tell_to_end(&child);
    thread::sleep(LATER);
    tell_to_end(&child);
    let (code, words) = ended(child);
    assert_eq!(code, Some(130), "{words}");
    assert_eq!(words, "ended at once, before what was under way was done\n");
    drop(reader);
}
