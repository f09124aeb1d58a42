//! What comes from outside and means harm: names that look like paths, texts that steer a terminal, input that
//! nests or goes on without end.

use std::fs;
#[cfg(all(feature = "cli", target_os = "linux"))]
use std::io::Write;
#[cfg(all(feature = "cli", target_os = "linux"))]
use std::process::{Command, Stdio};

use samplestore::{Backup, Database, ErrorKind, Prune, Query, Sample, Storage, data};
#[cfg(all(feature = "cli", target_os = "linux"))]
use samplestore::{Reason, Status, Value};

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

/// Runs the command on a terminal of its own, which util-linux's `script` makes, and gives what it shows and its exit code; `None` where
/// there is no `script`.
#[cfg(all(feature = "cli", target_os = "linux"))]
fn on_terminal(words: &[&str], db: &std::path::Path) -> Option<(String, i32)> {
    let words = [&[env!("CARGO_BIN_EXE_samplestore")][..], words].concat();
    let line = shlex::try_join(words).unwrap();
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("SAMPLESTORE_DB", db)
        .env("TERM", "dumb")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => {
            let code = output.status.code().expect("script ended by itself");
            Some((String::from_utf8(output.stdout).unwrap(), code))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let words = "no terminal can be made without the command script of util-linux";
            let is_required = std::env::var_os("SAMPLESTORE_REQUIRE_SERVERS").is_some();
            assert!(!is_required, "{words}");
            // Not captured, other than `eprintln!`.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {words}");
            None
        }
        Err(error) => panic!("script: {error}"),
    }
}

/// What may steer a terminal, or change in which order it shows what.
#[cfg(all(feature = "cli", target_os = "linux"))]
fn is_unsafe(char: char) -> bool {
    (char.is_control() && !['\r', '\n'].contains(&char))
        || ('\u{202a}'..='\u{202e}').contains(&char)
        || ('\u{2066}'..='\u{2069}').contains(&char)
}

#[cfg(all(feature = "cli", target_os = "linux"))]
#[test]
fn no_verb_lets_a_sample_steer_the_terminal() {
    const ALL: &[&str] = &["table", "jsonl", "json", "csv"];
    const NO_CSV: &[&str] = &["table", "jsonl", "json"];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let nasty = NASTY[5].to_owned() + NASTY[6];
    let sample = Sample::builder(&*nasty)
        .id(&*nasty)
        .status(Status::Dlq)
        .reason(Reason::new(
            &*nasty,
            &*nasty,
            1,
            chrono::DateTime::UNIX_EPOCH,
        ))
        .data(data! { &*nasty => &*nasty, "list" => Value::List(vec![Value::from(&*nasty)]) })
        .build()
        .unwrap();
    let database = Database::open(&path).unwrap();
    database.store(std::slice::from_ref(&sample)).unwrap();
    drop(database);
    let piped = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_samplestore"))
            .args(words)
            .env("SAMPLESTORE_DB", &path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let group: serde_json::Value =
        serde_json::from_str(&piped(&["dlq", "group", "-f", "jsonl"])).unwrap();
    let group = group["group"].as_str().unwrap();
    let bad = folder.path().join("bad.jsonl");
    let text = serde_json::json!({ "id": &nasty, "pipeline": "p", "status": &nasty });
    fs::write(&bad, format!("{text}\n{{{nasty}\n")).unwrap();
    let bad = bad.to_str().unwrap();
    // In each format, and how that ends; of those that say nothing of a text there is nothing to be seen.
    let with_formats: [(&[&str], &[&str], bool); 12] = [
        (&["list"], ALL, true),
        (&["facets"], ALL, true),
        (&["stats"], NO_CSV, true),
        (&["explain"], NO_CSV, false),
        (&["get", &nasty], ALL, true),
        (&["tail"], &["table", "jsonl"], true),
        (&["schema"], ALL, true),
        (&["hist", "day"], ALL, false),
        (&["dlq", "list"], ALL, true),
        (&["dlq", "group"], ALL, true),
        (&["dlq", "show", group], ALL, true),
        (&["prune", "--keep-newest", "0", "--dry-run"], NO_CSV, true),
    ];
    let absent = format!("{nasty}x");
    let others: [(&[&str], i32, bool); 9] = [
        (
            &["mark", "ready", "--pipeline", &nasty, "--dry-run"],
            0,
            false,
        ),
        (
            &["mark", "ready", "--pipeline", &absent, "--dry-run"],
            0,
            true,
        ),
        (&["list", "--pipeline", &absent], 0, true),
        (&["get", &absent], 1, true),
        (&["dlq", "show", &nasty], 1, true),
        (&["count", "--where", &nasty], 2, true),
        (&["import", bad], 3, true),
        (&["import", &nasty], 2, true),
        (&["-d", &nasty, "count"], 1, true),
    ];
    let formatted = with_formats.iter().flat_map(|&(words, formats, is_shown)| {
        formats
            .iter()
            .map(move |&format| ([words, &["--format", format][..]].concat(), 0, is_shown))
    });
    let others = others
        .iter()
        .map(|&(words, code, is_shown)| (words.to_vec(), code, is_shown));
    for (words, code, is_shown) in formatted.chain(others) {
        let Some((shown, ended)) = on_terminal(&words, &path) else {
            return;
        };
        assert_eq!(ended, code, "{words:?} {shown:?}");
        let is_seen = shown.contains("u{1b}") || shown.contains("u001b");
        assert!(is_seen || !is_shown, "{words:?} {shown:?}");
        assert!(!shown.is_empty(), "{words:?}");
        assert!(!shown.chars().any(is_unsafe), "{words:?} {shown:?}");
    }
    // Into a pipe they go as they are, and come back.
    let listed = piped(&["list", "-f", "jsonl"]);
    assert_eq!(Sample::from_json_text(&listed).unwrap(), sample);
    assert!(piped(&["list", "-f", "csv"]).contains(&nasty));
}
