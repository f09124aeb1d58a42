//! Parquet files that are made to harm: their readers make room for what the files say of themselves, and end where there is none.
//! They are processes of their own, so that `import` ends with an error.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Shell;
use super::listening::interrupted;
use super::terminal::{many, names};

/// A Parquet file of nothing but metadata.
fn parquet(metadata: &[u8]) -> Vec<u8> {
    let length = u32::try_from(metadata.len()).unwrap().to_le_bytes();
    [b"PAR1", metadata, &length[..], b"PAR1"].concat()
}

/// What metadata begin with: a version, and a schema of so many elements, which follow.
fn schema(elements: u32) -> Vec<u8> {
    let mut metadata = vec![0x15, 0x02, 0x19, 0xfc];
    let mut left = elements;
    while left >= 0x80 {
        metadata.push(left as u8 | 0x80);
        left >>= 7;
    }
    metadata.push(left as u8);
    metadata
}

#[test]
fn a_file_that_ends_its_reader_is_an_error() {
    // No rows, in as many groups as a list may have.
    let mut groups = schema(1);
    groups.extend([0x48, 0x01, b'm', 0x00]);
    groups.extend([0x16, 0x00, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07]);
    let groups = parquet(&groups);
    assert!(groups.len() < 40);
    // Each element is the only child of the one before it.
    const DEPTH: u32 = 500_000;
    let mut deep = schema(DEPTH);
    for _ in 1..DEPTH {
        deep.extend([0x48, 0x01, b'g', 0x15, 0x02, 0x00]);
    }
    deep.extend([0x15, 0x02, 0x38, 0x01, b'l', 0x00]);
    deep.extend([0x16, 0x00, 0x19, 0x0c, 0x00]);
    for (name, bytes) in [("groups.parquet", groups), ("deep.parquet", parquet(&deep))] {
        let shell = Shell::with_six();
        let file = shell.file(name, bytes);
        let refused = shell.run(["import", &file, "--pipeline", "p"]);
        assert_eq!(refused.code, 1, "{name} {refused:?}");
        let words = &refused.words;
        assert!(
            words.contains(name) && words.contains("it is damaged, or takes more memory"),
            "{words}"
        );
        assert_eq!(shell.data(["count"]), "6\n");
        assert_eq!(shell.run(["check"]).code, 0);
    }
}

/// Many samples in a Parquet file.
fn exported() -> Shell {
    let shell = many(SAMPLES);
    let file = shell.path("all.parquet");
    shell.data(["export", file.to_str().unwrap(), "-q"]);
    shell
}

const SAMPLES: u32 = 100_000;

#[test]
fn an_import_that_is_interrupted_is_done_by_running_it_again() {
    let shell = exported();
    let file = shell.path("all.parquet");
    let other = shell.path("other.db");
    let words = [
        "-d",
        other.to_str().unwrap(),
        "import",
        file.to_str().unwrap(),
    ];
    let text = interrupted(&shell, &words, || {
        let _ = fs::remove_file(&other);
    });
    assert!(text.contains("interrupted; "), "{text}");
    assert_eq!(names(&shell), ["all.parquet", "other.db", "samples.db"]);
    let count = || {
        let count = shell.data(["-d", other.to_str().unwrap(), "count"]);
        count.trim().parse::<u32>().unwrap()
    };
    assert!(count() <= SAMPLES);
    assert_eq!(shell.run(words).code, 0);
    assert_eq!(count(), SAMPLES);
}

/// An import, and the process that reads for it.
fn importing(shell: &Shell) -> (Child, u32) {
    let mut import = Command::new(env!("CARGO_BIN_EXE_samplestore"))
        .arg("-d")
        .arg(shell.path("other.db"))
        .arg("import")
        .arg(shell.path("all.parquet"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    loop {
        // It is made when the reader has greeted.
        let is_open = shell.path("other.db").exists();
        if let Some(reader) = child_of(import.id()).filter(|_| is_open) {
            return (import, reader);
        }
        let ended = import.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?} before a reader was seen");
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no reader begins"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// A field of what Linux tells of a process, counted behind its name: 0 is its state, 1 its parent, 2 its group.
fn told(process: u32, field: usize) -> Option<String> {
    let told = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = told.rsplit_once(") ")?;
    fields.split(' ').nth(field).map(str::to_owned)
}

/// The process that reads for this one.
fn child_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.find(|process| {
        let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        told(*process, 1) == Some(parent.to_string())
            && words.starts_with(b"samplestore\0__read-columnar\0")
    })
}

fn kill(process: u32) {
    let words = ["-KILL", &process.to_string()];
    assert!(Command::new("kill").args(words).status().unwrap().success());
}

#[test]
fn whoever_ends_the_reader_ends_the_import_with_an_error() {
    let shell = exported();
    let (import, reader) = importing(&shell);
    assert_ne!(
        told(reader, 2),
        told(import.id(), 2),
        "of Ctrl-C it knows nothing"
    );
    kill(reader);
    let done = import.wait_with_output().unwrap();
    let words = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{words}");
    assert!(words.contains("the reader ended with signal: 9"), "{words}");
}

#[test]
fn a_reader_ends_with_the_import_that_it_reads_for() {
    let shell = exported();
    let (mut import, reader) = importing(&shell);
    import.kill().unwrap();
    import.wait().unwrap();
    let begun = Instant::now();
    // Nobody may have asked how it ended.
    while told(reader, 0).is_some_and(|state| state != "Z") {
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let shell = Shell::new();
    for (path, told) in [
        (".", "is a directory"),
        ("/dev/zero", "are read from a file"),
    ] {
        let refused = shell.run(["import", path, "-f", "parquet"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.words.contains(told), "{refused:?}");
    }
    // Nobody means to start this process but the command itself.
    let alone = shell.run(["__read-columnar", "csv"]);
    assert_ne!(alone.code, 0, "{alone:?}");
}
