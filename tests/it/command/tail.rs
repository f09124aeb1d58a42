//! `tail`, beside another process that writes.

use super::Shell;

#[test]
fn tail_shows_the_newest_oldest_first() {
    let shell = Shell::with_six();
    let ids = |answer: String| -> Vec<String> {
        answer.lines().map(|line| line[7..8].to_owned()).collect()
    };
    assert_eq!(ids(shell.data(["tail", "--limit", "2"])), ["e", "f"]);
    assert_eq!(ids(shell.data(["tail"])), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(
        ids(shell.data(["tail", "--limit", "1", "--status", "ready"])),
        ["c"]
    );
    assert_eq!(shell.data(["tail", "--limit", "0"]), "");
    let table = shell.data(["tail", "-f", "table", "--limit", "1"]);
    assert_eq!(table.lines().count(), 2, "{table}");
}

#[cfg(unix)]
mod following {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::Duration;

    use super::Shell;

    /// Longer than it takes on a machine that is busy.
    const TIMEOUT: Duration = Duration::from_secs(300);

    struct Follower {
        child: Child,
        lines: Receiver<String>,
    }

    impl Follower {
        fn new(shell: &Shell, words: &[&str]) -> Self {
            let mut child = Command::new(env!("CARGO_BIN_EXE_samplestore"))
                .env("SAMPLESTORE_DB", shell.db())
                .args(["tail", "--follow", "-q"])
                .args(words)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let stdout = BufReader::new(child.stdout.take().unwrap());
            let (sender, lines) = channel();
            thread::spawn(move || {
                for line in stdout.lines() {
                    if sender.send(line.unwrap()).is_err() {
                        break;
                    }
                }
            });
            Self { child, lines }
        }

        fn next_id(&self) -> String {
            let line = self.lines.recv_timeout(TIMEOUT).unwrap();
            let sample: serde_json::Value = serde_json::from_str(&line).unwrap();
            sample["id"].as_str().unwrap().to_owned()
        }

        /// Presses Ctrl-C, and gives the exit code and whatever came before it.
        fn interrupt(mut self) -> (Option<i32>, Vec<String>) {
            let pid = self.child.id().to_string();
            assert!(
                Command::new("kill")
                    .args(["-INT", &pid])
                    .status()
                    .unwrap()
                    .success()
            );
            let code = self.child.wait().unwrap().code();
            (code, self.lines.iter().collect())
        }
    }

    #[test]
    fn each_of_100_000_samples_is_shown_once_while_another_process_stores_them() {
        const SAMPLES: usize = 100_000;
        let shell = Shell::with_six();
        let follower = Follower::new(&shell, &["--limit", "1"]);
        // From here on it follows.
        assert_eq!(follower.next_id(), "f");
        let mut text = String::new();
        for n in 0..SAMPLES {
            writeln!(text, r#"{{"id":"n{n}","pipeline":"p","data":{{"n":{n}}}}}"#).unwrap();
        }
        let mut seen = BTreeMap::<String, u32>::new();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let importing = scope.spawn(|| {
                let import = shell.run_with(["import", "-", "--batch", "500"], &text);
                is_over.store(true, SeqCst);
                import
            });
            for number in 0..SAMPLES {
                let id = follower.next_id();
                assert!(number > 0 || !is_over.load(SeqCst), "it is seen in the end");
                *seen.entry(id).or_default() += 1;
            }
            let import = importing.join().unwrap();
            assert_eq!(import.code, 0, "{import:?}");
        });
        assert_eq!(seen.len(), SAMPLES);
        assert!(seen.values().all(|count| *count == 1));

        // Changed ones come again, as they are now; others do not.
        shell.data(["mark", "labeled", "--id", "n7", "--id", "a", "--yes"]);
        assert_eq!(follower.next_id(), "a");
        assert_eq!(follower.next_id(), "n7");
        let again = r#"{"id":"n8","pipeline":"p","data":{"n":-8}}"#;
        assert_eq!(shell.run_with(["put"], again).code, 0);
        assert_eq!(follower.next_id(), "n8");
        let again = again.replace("-8", "-9");
        assert_eq!(shell.run_with(["put"], &again).code, 0);
        let line = follower.lines.recv_timeout(TIMEOUT).unwrap();
        assert!(line.contains("\"n\":-9"), "{line}");
        shell.data(["rm", "--id", "n9", "--yes"]);
        let (code, rest) = follower.interrupt();
        assert_eq!(code, Some(130));
        assert_eq!(rest, Vec::<String>::new());
    }

    #[test]
    fn a_file_that_is_removed_or_replaced_is_not_followed_any_more() {
        let others = Shell::with_six();
        for is_replaced in [false, true] {
            let shell = Shell::with_six();
            let mut follower = Follower::new(&shell, &["--limit", "1"]);
            assert_eq!(follower.next_id(), "f");
            match is_replaced {
                true => std::fs::rename(others.db(), shell.db()).unwrap(),
                false => std::fs::remove_file(shell.db()).unwrap(),
            }
            assert_eq!(follower.child.wait().unwrap().code(), Some(1));
            let mut words = String::new();
            let mut stderr = follower.child.stderr.take().unwrap();
            stderr.read_to_string(&mut words).unwrap();
            assert!(
                words.contains("samples.db was removed, or another"),
                "{words}"
            );
        }
    }

    #[test]
    fn only_what_the_filters_leave_is_shown() {
        let shell = Shell::with_six();
        let follower = Follower::new(&shell, &["--status", "dlq", "--limit", "9"]);
        assert_eq!(follower.next_id(), "f");
        shell.data(["mark", "skipped", "--id", "a", "--yes"]);
        shell.data(["mark", "dlq", "--id", "b", "--yes"]);
        assert_eq!(follower.next_id(), "b");
        assert_eq!(follower.interrupt(), (Some(130), vec![]));
    }

    #[test]
    fn a_closed_pipe_ends_it_without_a_word() {
        let shell = Shell::with_six();
        let follow = format!(
            "'{}' tail --follow 2>&1 | head -n 6; sleep 0",
            env!("CARGO_BIN_EXE_samplestore")
        );
        let mut child = Command::new("sh")
            .args(["-c", &follow])
            .env("SAMPLESTORE_DB", shell.db())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = stdout.lines();
        for id in ["a", "b", "c", "d", "e", "f"] {
            assert!(
                lines
                    .next()
                    .unwrap()
                    .unwrap()
                    .starts_with(&format!("{{\"id\":\"{id}\""))
            );
        }
        // There is no other sample to notice it by.
        assert!(lines.next().is_none());
        assert!(child.wait().unwrap().success());
    }
}
