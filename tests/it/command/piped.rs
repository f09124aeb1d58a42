//! `import` from a pipe whose writer takes its time.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Shell;

/// Longer than any of it takes on a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(120);

fn import(shell: &Shell, words: &[&str]) -> (Child, ChildStdin) {
    let mut child = Command::new("env")
        // In what runs behind a shell's back Ctrl-C may be ignored.
        .args(cfg!(target_os = "linux").then_some("--default-signal=INT"))
        .args([env!("CARGO_BIN_EXE_samplestore"), "import", "-"])
        .args(words)
        .env("SAMPLESTORE_DB", shell.db())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = child.stdin.take().unwrap();
    (child, input)
}

fn wait_for(shell: &Shell, count: &str) {
    let begun = Instant::now();
    loop {
        let answer = shell.run(["count"]);
        if answer.data.trim() == count {
            return;
        }
        assert!(begun.elapsed() < TIMEOUT, "{answer:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_has_come_is_stored_while_input_pauses() {
    for (format, parts, end) in [
        ("jsonl", ["{\"n\":1}\n{\"n\":2}\n{\"n\"", ":3}\n"], ""),
        ("csv", ["n,m\n1,1\n2,2\n3", ",3\n"], ""),
        (
            "json",
            ["[{\"n\":1},{\"n\":2},{", "\"n\":3},"],
            "{\"n\":4}]",
        ),
    ] {
        let shell = Shell::new();
        let words = ["--format", format, "--pipeline", "p"];
        let (mut child, mut input) = import(&shell, &words);
        // The last record is not whole yet.
        for (part, count) in parts.into_iter().zip(["2", "3"]) {
            input.write_all(part.as_bytes()).unwrap();
            wait_for(&shell, count);
        }
        input.write_all(end.as_bytes()).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success(), "{format}");
        assert_eq!(shell.run(["check"]).code, 0);
    }
}

#[test]
fn what_comes_slowly_and_never_pauses_is_stored_meanwhile() {
    let shell = Shell::new();
    let (mut child, mut input) = import(&shell, &["--pipeline", "p"]);
    let begun = Instant::now();
    let mut written = 0;
    // Fewer than a batch has.
    while written < 900 {
        input.write_all(b"{\"n\":1}\n").unwrap();
        written += 1;
        thread::sleep(Duration::from_millis(50));
        let stored = shell.run(["count"]);
        if stored.code == 0 && stored.data != "0\n" {
            break;
        }
    }
    println!("some of {written} are stored after {:?}", begun.elapsed());
    assert!(written < 900);
    drop(input);
    assert!(child.wait().unwrap().success());
    assert_eq!(shell.data(["count"]), format!("{written}\n"));
}

#[test]
fn ctrl_c_ends_an_import_that_waits() {
    let shell = Shell::new();
    let (mut child, mut input) = import(&shell, &["--pipeline", "p"]);
    input.write_all(b"{\"n\":1}\n{\"n\"").unwrap();
    wait_for(&shell, "1");
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    // The writer is still there.
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut words = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut words).unwrap();
    assert!(words.contains("inserted 1,"), "{words}");
    assert!(
        words.contains("interrupted; what is stored stays"),
        "{words}"
    );
    assert_eq!(shell.data(["count"]), "1\n");
    drop(input);
}

#[test]
fn what_cannot_be_stored_while_input_pauses_ends_the_import() {
    let shell = Shell::new();
    assert_eq!(
        shell
            .run_with(["put", "--pipeline", "p", "--id", "a"], "")
            .code,
        0
    );
    let (mut child, mut input) = import(&shell, &["--on-conflict", "error"]);
    input
        .write_all(b"{\"id\":\"b\",\"pipeline\":\"p\"}\n{\"id\":\"a\",\"pipeline\":\"p\"}\n")
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut words = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut words).unwrap();
    assert!(words.contains("line 2: the id \"a\""), "{words}");
    assert_eq!(shell.data(["count"]), "2\n");
    drop(input);
}
