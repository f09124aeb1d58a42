//! Several processes at one file: readers that follow a writer, a second writer, a writer that is killed.
//!
//! The children are this test binary again. A child opens the file as it is told, does what the lines on its
//! standard input say, and answers each with one line.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use samplestore::{Database, ErrorKind, Options, Query, Sample, Status, Storage, data};

const FILE: &str = "SAMPLESTORE_TEST_PROCESSES_FILE";
const ROLE: &str = "SAMPLESTORE_TEST_PROCESSES_ROLE";
/// Samples of one batch.
const SIZE: u64 = 40;

/// What a child opens the file for.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// To write it, and to share it with readers.
    SharedWriter,
    /// To read it beside a writer.
    SharedReader,
    /// To write it, alone.
    Writer,
    /// To read it beside other readers.
    Reader,
}

impl Role {
    const ALL: [Self; 4] = [
        Self::SharedWriter,
        Self::SharedReader,
        Self::Writer,
        Self::Reader,
    ];

    fn options(self) -> Options {
        let options = Database::options();
        match self {
            Self::SharedWriter => options.shared_readers(true),
            Self::SharedReader => options.shared_readers(true).read_only(true),
            Self::Writer => options,
            Self::Reader => options.read_only(true),
        }
    }
}

fn batch(number: u64) -> Vec<Sample> {
    (0..SIZE)
        .map(|at| {
            Sample::builder(format!("batch-{number}"))
                .id(format!("{number}-{at}"))
                .status(Status::ALL[(at % 6) as usize])
                .created_at(DateTime::UNIX_EPOCH + TimeDelta::seconds((number + at) as i64))
                .data(data! { "batch" => number, "at" => at, "text" => "x".repeat(200) })
                .build()
                .unwrap()
        })
        .collect()
}

/// How many batches the database has; each must be whole.
fn batches(database: &Database) -> u64 {
    let snapshot = database.snapshot().unwrap();
    let facets = snapshot.facets(&Query::new()).unwrap();
    let by_pipeline = facets.by_pipeline();
    for (pipeline, samples) in &by_pipeline {
        assert_eq!(*samples, SIZE, "{pipeline} is partial");
    }
    let stored = by_pipeline.len() as u64;
    assert_eq!(snapshot.count(&Query::new()).unwrap(), stored * SIZE);
    if let Some(last) = stored.checked_sub(1) {
        let last = batch(last);
        for sample in [&last[0], &last[SIZE as usize - 1]] {
            assert_eq!(
                snapshot.retrieve(sample.id()).unwrap().as_ref(),
                Some(sample)
            );
        }
    }
    stored
}

/// The child's part; nothing at all when the tests are run as usual.
#[test]
fn child_does_as_it_is_told() {
    let (Ok(path), Ok(role)) = (std::env::var(FILE), std::env::var(ROLE)) else {
        return;
    };
    let role = Role::ALL
        .into_iter()
        .find(|known| format!("{known:?}") == role);
    let database = role.unwrap().options().open(path).unwrap();
    let mut held = None;
    println!("answer open");
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "store" => {
                let number = batches(&database);
                database.store(&batch(number)).unwrap();
                println!("answer {}", number + 1);
            }
            // Until it is killed.
            "store on" => {
                for number in batches(&database)..u64::MAX {
                    database.store(&batch(number)).unwrap();
                    println!("answer {}", number + 1);
                }
            }
            "batches" => println!("answer {}", batches(&database)),
            "hold" => {
                held = Some(database.snapshot().unwrap());
                println!("answer held");
            }
            "held" => {
                let count = held.as_ref().unwrap().count(&Query::new()).unwrap();
                println!("answer {}", count / SIZE);
            }
            line => panic!("{line}?"),
        }
    }
    database.close().unwrap();
    println!("answer closed");
}

/// A child, which ends when its test does.
struct Process {
    child: Child,
    told: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a child and waits until it has the file.
    fn start(path: &Path, role: Role) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "processes::child_does_as_it_is_told",
                "--exact",
                "--nocapture",
            ])
            .env(FILE, path)
            .env(ROLE, format!("{role:?}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Self {
            told: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        };
        assert_eq!(process.answer().as_deref(), Some("open"));
        process
    }

    fn answer(&mut self) -> Option<String> {
        // The name of the test stands before the first one.
        self.answers
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, answer) = line.split_once("answer ")?;
                Some(answer.to_owned())
            })
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.told.as_mut().unwrap(), "{line}").unwrap();
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer().expect("the child ended")
    }

    fn number(&mut self, line: &str) -> u64 {
        self.ask(line).parse().unwrap()
    }

    /// Lets the child close the file and end.
    fn end(mut self) {
        drop(self.told.take());
        assert_eq!(self.answer().as_deref(), Some("closed"));
        assert!(self.child.wait().unwrap().success());
    }

    /// Kills the child, and gives the last number that it answered.
    fn kill(mut self) -> u64 {
        self.child.kill().unwrap();
        let mut last = 0;
        while let Some(answer) = self.answer() {
            last = answer.parse().unwrap();
        }
        self.child.wait().unwrap();
        last
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn locked(role: Role, path: &Path) {
    let error = role.options().open(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "{role:?} {error}");
    assert!(error.is_retryable());
}

#[test]
fn readers_in_other_processes_follow_a_writers_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let mut writer = Process::start(&path, Role::SharedWriter);
    assert_eq!(writer.number("store"), 1);
    let mut readers = [(); 3].map(|()| Process::start(&path, Role::SharedReader));
    assert_eq!(readers[0].ask("hold"), "held");
    for stored in 2..22 {
        assert_eq!(writer.number("store"), stored);
        for reader in &mut readers {
            assert_eq!(reader.number("batches"), stored);
        }
        assert_eq!(readers[0].number("held"), 1);
    }
    // Readers that come and go.
    let mut late = Process::start(&path, Role::SharedReader);
    assert_eq!(late.number("batches"), 21);
    late.end();
    // Who does not share it is kept out.
    for role in [Role::SharedWriter, Role::Writer, Role::Reader] {
        locked(role, &path);
    }
    // The writer goes, and another one comes; its readers stay.
    writer.end();
    for reader in &mut readers {
        assert_eq!(reader.number("batches"), 21);
    }
    locked(Role::Writer, &path);
    // Readers of both kinds among themselves.
    Process::start(&path, Role::Reader).end();
    let mut writer = Process::start(&path, Role::SharedWriter);
    assert_eq!(writer.number("store"), 22);
    for mut reader in readers {
        assert_eq!(reader.number("batches"), 22);
        reader.end();
    }
    writer.end();
}

#[test]
fn a_writer_that_does_not_share_keeps_everybody_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let mut writer = Process::start(&path, Role::Writer);
    assert_eq!(writer.number("store"), 1);
    for role in Role::ALL {
        locked(role, &path);
    }
    writer.end();
    // Readers among themselves.
    let readers = [(); 2].map(|()| Process::start(&path, Role::Reader));
    Process::start(&path, Role::SharedReader).end();
    for role in [Role::Writer, Role::SharedWriter] {
        locked(role, &path);
    }
    for mut reader in readers {
        assert_eq!(reader.number("batches"), 1);
        reader.end();
    }
    Process::start(&path, Role::Writer).end();
}

#[test]
fn a_second_writer_waits_until_its_timeout_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    for role in [Role::SharedWriter, Role::Writer] {
        let mut writer = Process::start(&path, role);
        let stored = writer.number("store");
        let waiting = |timeout| role.options().lock_timeout(timeout).open(&path);
        let (start, timeout) = (Instant::now(), Duration::from_millis(250));
        assert_eq!(waiting(timeout).unwrap_err().kind(), ErrorKind::Locked);
        assert!(start.elapsed() >= timeout);

        std::thread::scope(|scope| {
            let second = scope.spawn(|| waiting(Duration::from_secs(300)));
            std::thread::sleep(timeout);
            // It waits still, and what is stored meanwhile it will find.
            assert_eq!(writer.number("store"), stored + 1);
            assert!(!second.is_finished());
            writer.end();
            let second = second.join().unwrap().unwrap();
            assert_eq!(batches(&second), stored + 1);
            second.store(&batch(stored + 1)).unwrap();
            assert_eq!(batches(&second), stored + 2);
        });
    }
}

#[test]
fn a_timeout_is_for_locks_and_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Database::options().lock_timeout(Duration::from_secs(3_600));
    let missing = options().create(false).open(folder.path().join("s.redb"));
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "just a note").unwrap();
    assert_eq!(
        options().open(&path).unwrap_err().kind(),
        ErrorKind::NotADatabase
    );
}

#[test]
fn a_reader_beside_a_killed_writer_reads_on_and_follows_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let mut first = Process::start(&path, Role::SharedWriter);
    assert_eq!(first.number("store"), 1);
    let mut reader = Process::start(&path, Role::SharedReader);
    assert_eq!(reader.ask("hold"), "held");
    first.end();
    for round in 0..5 {
        let mut writer = Process::start(&path, Role::SharedWriter);
        let before = reader.number("batches");
        writer.tell("store on");
        // In the middle of its work.
        while reader.number("batches") < before + 3 + round {}
        let acknowledged = writer.kill();
        // All that it said is there, and at most one batch more. `batches` looks whether each is whole.
        let stored = reader.number("batches");
        assert!(
            stored == acknowledged || stored == acknowledged + 1,
            "{stored} after {acknowledged}"
        );
        assert_eq!(reader.number("held"), 1);
        // Somebody repairs it beside the reader. A commit that was durable, and not yet what readers look at, counts from then on.
        let next = Role::SharedWriter.options().open(&path).unwrap();
        let repaired = batches(&next);
        assert!(
            repaired == stored || repaired == acknowledged + 1,
            "{repaired} after {stored} and {acknowledged}"
        );
        next.store(&batch(repaired)).unwrap();
        assert_eq!(reader.number("batches"), repaired + 1);
        assert_eq!(reader.number("held"), 1);
    }
    reader.end();
}
