//! Ctrl-C at one moment after the other, while the command listens to it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rexpect::session::PtySession;
use tempfile::NamedTempFile;

use super::Shell;
use super::terminal::{TIMEOUT_MS, begun, ended};

/// Runs again and again, and presses Ctrl-C at one moment after the other, until it was while there was something to end;
/// `undo` makes good what a run that was done before has done. Gives what was written.
pub(super) fn interrupted(shell: &Shell, words: &[&str], undo: impl Fn()) -> String {
    for attempt in 0..200 {
        let mut session = listening(shell, words);
        // Early and late by turns, and more often early: it takes from milliseconds to seconds, by what else the machine does.
        thread::sleep(Duration::from_secs_f64(0.001 * 1.4_f64.powi(attempt % 24)));
        // There may be nobody any more.
        let _ = session.send_control('c');
        let (text, code) = ended(&mut session);
        let is_told = text.contains("interrupted;");
        // Where it was not waited for, it ends as any program does before it listens.
        let is_so = code == 0 || code == 130 && (is_told || !cfg!(target_os = "linux"));
        assert!(is_so, "{words:?} {code} {text}");
        // Before it has begun there is nothing to end.
        if is_told && !text.contains("interrupted; nothing was ") {
            assert_eq!(code, 130, "{text}");
            return text;
        }
        undo();
    }
    panic!("{words:?} was never interrupted");
}

/// Runs the command on a terminal, and waits until it listens to Ctrl-C.
fn listening(shell: &Shell, words: &[&str]) -> PtySession {
    // Not over the terminal, which is read ten times a second: some work is done by then.
    let told = NamedTempFile::new().unwrap();
    let tell = format!("echo $$ >'{}';", told.path().display());
    let session = begun(shell, words, 60, &tell);
    let begun = Instant::now();
    let id = loop {
        let text = fs::read_to_string(told.path()).unwrap();
        if let Some(id) = text.strip_suffix('\n') {
            break id.parse().unwrap();
        }
        assert!(begun.elapsed() < Duration::from_millis(TIMEOUT_MS));
        thread::sleep(Duration::from_millis(1));
    };
    wait_to_listen(id);
    session
}

/// Waits until the command, as which a process goes on, listens to signals, or has ended. Where that cannot be seen nobody waits.
pub(super) fn wait_to_listen(id: u32) {
    // SIGHUP, SIGINT and SIGTERM.
    const SIGNALS: u64 = 0x4003;
    let begun = Instant::now();
    while let Ok(status) = fs::read_to_string(format!("/proc/{id}/status")) {
        let field = |name: &str| {
            let mut lines = status.lines();
            let field = lines.find_map(|line| line.strip_prefix(name));
            field.unwrap_or_default().trim().to_owned()
        };
        let caught = u64::from_str_radix(&field("SigCgt:"), 16).unwrap_or_default();
        let listens = field("Name:") == "samplestore" && caught & SIGNALS == SIGNALS;
        if listens || field("State:").starts_with('Z') {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_millis(TIMEOUT_MS),
            "{status}"
        );
        thread::sleep(Duration::from_millis(1));
    }
}
