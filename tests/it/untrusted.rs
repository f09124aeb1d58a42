//! What comes from outside and means harm: names that look like paths, texts that steer a terminal, input that
//! nests or goes on without end.

use std::fs;
use std::process::{Command, Stdio};

use samplestore::{Backup, Database, ErrorKind, Prune, Query, Sample, Storage, Value, data};

const NASTY: [&str; 7] = [
    "../../etc/passwd",
    "/tmp/absolute",
    "C:\\windows\\name",
    "a/b/../c",
    "nul\0byte",
    "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m",
    "\u{202e}txt.exe\r\n\u{2066}",
];

#[test]
fn ids_and_pipeline_names_are_never_paths() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let database = Database::open(inner.join("s.redb")).unwrap();
    for name in NASTY {
        let sample = Sample::builder(name).id(name).data(data! { name => name });
        database.store(&[sample.build().unwrap()]).unwrap();
    }
    for name in NASTY {
        let found = database.retrieve(name).unwrap().unwrap();
        assert_eq!((found.id(), found.pipeline()), (name, name));
        let query = Query::new().pipeline(name);
        assert_eq!(database.count(&query).unwrap(), 1);
        assert!(query.to_string().parse::<Query>().is_ok());
    }
    database
        .backup(inner.join("copy.redb"), &Backup::new())
        .unwrap();
    database.prune(&Prune::new().pipeline(NASTY[0])).unwrap();
    database.compact().unwrap();
    drop(database);
    let names = |path| {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.path()), ["inner"]);
    assert_eq!(names(&inner), ["copy.redb", "s.redb"]);
}

#[test]
fn hostile_text_is_refused_in_bounded_memory() {
    let deep = |open: &str, close: &str, depth: usize| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        format!("{{\"id\":\"x\",\"pipeline\":\"p\",\"data\":{{\"x\":{open}0{close}}}}}")
    };
    for (text, is_read) in [
        (deep("[", "]", 63), true),
        (deep("[", "]", 64), false),
        (deep("[", "]", 1_000_000), false),
        (deep("{\"a\":", "}", 63), true),
        (deep("{\"a\":", "}", 64), false),
        (deep("{\"a\":", "}", 1_000_000), false),
    ] {
        let sample = Sample::from_json_text(&text);
        assert_eq!(sample.is_ok(), is_read, "{}", &text[..60]);
    }
    let long = "x".repeat(10_000_000);
    for cursor in [&*long, "", "AAAA", "////", "\u{1b}[2J", &"A".repeat(2_048)] {
        let error = cursor.parse::<samplestore::Cursor>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidCursor);
        assert!(error.to_string().len() < 500);
    }
    for query in [
        &*long,
        &format!("--pipeline '{long}"),
        &"--id x ".repeat(9)[1..],
    ] {
        assert_eq!(
            query.parse::<Query>().unwrap_err().kind(),
            ErrorKind::InvalidQuery
        );
    }
}

/// Runs the command on a terminal of its own, which util-linux's `script` makes.
#[cfg(all(feature = "cli", target_os = "linux"))]
fn on_terminal(words: &[&str], db: &std::path::Path) -> Option<Vec<u8>> {
    let command = env!("CARGO_BIN_EXE_samplestore");
    let line = format!("{command} {}", words.join(" "));
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("SAMPLESTORE_DB", db)
        .env("TERM", "dumb")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Some(output.stdout),
        _ => {
            eprintln!("SKIPPED: no terminal can be made without the command script of util-linux");
            None
        }
    }
}

#[cfg(all(feature = "cli", target_os = "linux"))]
#[test]
fn no_format_lets_a_sample_steer_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let nasty = NASTY[5].to_owned() + NASTY[6];
    let sample = Sample::builder(&*nasty)
        .id(&*nasty)
        .data(data! { &*nasty => &*nasty, "list" => Value::List(vec![Value::from(&*nasty)]) })
        .build()
        .unwrap();
    let database = Database::open(&path).unwrap();
    database.store(std::slice::from_ref(&sample)).unwrap();
    drop(database);
    let is_unsafe = |char: char| {
        (char.is_control() && !['\r', '\n'].contains(&char))
            || ('\u{202a}'..='\u{202e}').contains(&char)
            || ('\u{2066}'..='\u{2069}').contains(&char)
    };
    for verb in ["list", "facets", "stats", "explain"] {
        for format in ["table", "jsonl", "json", "csv"] {
            if format == "csv" && ["stats", "explain"].contains(&verb) {
                continue;
            }
            let words = [verb, "--format", format];
            let Some(shown) = on_terminal(&words, &path) else {
                return;
            };
            let shown = String::from_utf8(shown).unwrap();
            let is_shown = shown.contains("u{1b}") || shown.contains("u001b");
            assert!(is_shown || verb == "explain", "{words:?} {shown:?}");
            assert!(!shown.chars().any(is_unsafe), "{words:?} {shown:?}");
        }
    }
    // Into a pipe they go as they are, and come back.
    let piped = |format: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_samplestore"))
            .args(["list", "-f", format])
            .env("SAMPLESTORE_DB", &path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(Sample::from_json_text(&piped("jsonl")).unwrap(), sample);
    assert!(piped("csv").contains(&nasty));
}
