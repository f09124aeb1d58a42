//! What is said about a command line: which word is wrong, and what was meant. Nothing that is given is repeated whole or raw.

use super::{Shell, six};

#[test]
fn what_matches_nothing_names_what_is_there() {
    let shell = Shell::with_six();
    let verbs: [&[&str]; 6] = [
        &["count"],
        &["list"],
        &["facets"],
        &["hist"],
        &["schema"],
        &["export"],
    ];
    for verb in verbs {
        let answer = shell.run([verb, &["--pipeline", "evn"]].concat());
        assert_eq!(answer.code, 0, "{answer:?}");
        assert_eq!(
            answer.words, "no sample is of the pipeline \"evn\" (did you mean \"even\"?)\n",
            "{verb:?}"
        );
        let quiet = shell.run([verb, &["--pipeline", "evn", "-q"]].concat());
        assert_eq!(quiet.words, "", "{verb:?}");
        let nothing = shell.run([verb, &["--pipeline", "even", "--since", "2014"]].concat());
        assert_eq!(nothing.words, "", "it is there");
    }
    let both = shell.run(["count", "--pipeline", "even, odd"]);
    assert_eq!((both.data.as_str(), both.words.as_str()), ("6\n", ""));
    let statuses = shell.data(["count", "--status", "ready , dlq"]);
    assert_eq!(statuses, "2\n");
    let moved = ["mark", "ready", "--from", "pending, dlq", "--yes", "-n"];
    assert_eq!(shell.run(moved).code, 2);
    let moved = shell.data(["mark", "ready", "--from", "pending, dlq", "-n"]);
    assert!(moved.contains("\"matched\":2"), "{moved}");

    let ids = shell.run(["list", "--id", "a,b"]);
    assert!(ids.words.contains("repeating --id"), "{ids:?}");
    let put = ["put", "--pipeline", "p", "--id", "a,b"];
    assert_eq!(shell.run(put).code, 0);
    let ids = shell.run(["count", "--id", "a,b"]);
    assert_eq!((ids.data.as_str(), ids.words.as_str()), ("1\n", ""));
}

#[test]
fn an_index_of_a_field_that_no_sample_has_is_made_and_told() {
    let shell = Shell::with_six();
    let misspelt = shell.run(["index", "add", "data.wrd"]);
    assert_eq!(misspelt.code, 0, "{misspelt:?}");
    assert!(
        misspelt.words.contains("(did you mean data.word?)"),
        "{misspelt:?}"
    );
    let right = shell.run(["index", "add", "data.word"]);
    assert_eq!(right.words, "made an index of data.word\n");
}

#[test]
fn an_error_names_the_flag_and_says_a_thing_once() {
    let shell = Shell::with_six();
    let first = shell.run(["list", "--limit", "1"]).words;
    let cursor = first.trim().rsplit(' ').next().unwrap();
    for (words, begin) in [
        (
            &["count", "--limit", "-1"][..],
            "--limit: \"-1\" is not a whole number",
        ),
        (&["list", "--cursor", "x"], "--cursor: "),
        (
            &["list", "--limit", "1", "--newest", "--cursor", cursor],
            "--cursor: it belongs to",
        ),
        (
            &["count", "--status", "redy"],
            "--status: \"redy\" is no status",
        ),
        (
            &["count", "--where", "data.n >"],
            "--where: expected a value",
        ),
        (
            &["count", "--wait", "soon"],
            "invalid value 'soon' for '--wait <TIME>': \"soon\" is no span",
        ),
        (
            &["put", "--pipeline", "p", "--created-at", "x"],
            "invalid value 'x' for '--created-at <WHEN>': \"x\" is no instant",
        ),
        (
            &["index", "add", "n"],
            "invalid value 'n' for '<FIELD>': expected data.",
        ),
    ] {
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, 2, "{answer:?}");
        let said = answer.words.strip_prefix("error: ");
        assert!(
            said.is_some_and(|said| said.starts_with(begin)),
            "{answer:?}"
        );
    }
    let rejected = shell.run_with(["import"], "x");
    let said = rejected.words.starts_with("rejected line 1: it is no JSON");
    assert!(said, "{rejected:?}");
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_can() {
    let shell = Shell::with_six();
    let db = shell.db();
    let db = db.to_str().unwrap();
    let out = shell.path("out.jsonl");
    for (words, said) in [
        (&["rm", "a"][..], "--id ID"),
        (&["mark", "ready", "a"], "--id ID"),
        (&["tail", "--newest"], "samplestore list --newest"),
        (&["backup", "-"], "name a file"),
        (&["salvage", "-"], "name a file"),
        (&["import", "--rejects", "-"], "name a file"),
        (&["-d", db, "copy", db, "memory:"], "takes no --db"),
        (&["copy", db, "memory:", "-d", db], "takes no --db"),
        (&["copy", db, out.to_str().unwrap()], "samplestore export"),
        (
            &["hist", "fortnight"],
            "error: invalid value 'fortnight' for '[INTERVAL]': there is no interval",
        ),
    ] {
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, 2, "{words:?} {answer:?}");
        assert!(answer.words.contains(said), "{words:?} {answer:?}");
    }
    assert!(!out.exists() && !std::path::Path::new("-").exists());
    let svg = shell.run(["hist", "--svg", "-"]);
    assert!(
        svg.data.starts_with("<svg ") && svg.words.is_empty(),
        "{svg:?}"
    );
}

/// The verbs that help a database file cannot help a folder.
#[cfg(feature = "files")]
#[test]
fn a_damaged_document_hints_at_nothing_that_refuses() {
    let shell = Shell::new();
    let folder = format!("file:{}", shell.path("f").display());
    assert_eq!(shell.run_with(["-d", &folder, "import"], &six()).code, 0);
    fn damage(folder: &std::path::Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => damage(&path),
                false if path.to_string_lossy().ends_with("/a.json") => {
                    std::fs::write(&path, "{").unwrap();
                }
                false => {}
            }
        }
    }
    damage(&shell.path("f"));
    let answer = shell.run(["-d", &folder, "get", "a"]);
    assert_eq!(answer.code, 5, "{answer:?}");
    assert!(!answer.words.contains("hint"), "{answer:?}");
}

#[test]
fn what_is_wrong_is_said_once() {
    let shell = Shell::with_six();
    let holder = samplestore::Database::open(shell.db()).unwrap();
    let locked = shell.run(["count"]);
    let db = shell.db();
    let said = format!("error: {} is locked by another process\n", db.display());
    assert_eq!(locked.code, 4, "{locked:?}");
    assert_eq!(
        locked.words,
        format!("{said} hint: --wait 30s waits for that to end\n")
    );
    drop(holder);
    // Neither is the kind of a failure beside its cause.
    let folder = shell.path("folder.jsonl");
    std::fs::create_dir(&folder).unwrap();
    let failed = shell.run(["import", folder.to_str().unwrap()]);
    let said = format!("error: could not read the input: {}: ", folder.display());
    assert!(failed.words.contains(&said), "{failed:?}");
    assert!(
        !failed.words.contains("input or output failed"),
        "{failed:?}"
    );
}

#[test]
fn waiting_takes_seconds_and_less() {
    let shell = Shell::with_six();
    for wait in ["60", "0", "200ms", "1m30s", "5 min"] {
        assert_eq!(shell.data(["count", "--wait", wait]), "6\n", "{wait}");
    }
    for wait in ["", "-1", "1.5", "1mo", "1M", "99999999999999999999"] {
        let wait = format!("--wait={wait}");
        assert_eq!(shell.run(["count", &wait]).code, 2, "{wait}");
    }
}

#[test]
fn what_is_given_is_told_without_control_characters_and_not_whole() {
    let shell = Shell::new();
    let raw = "\u{1b}[31mx\u{202e}\u{9b}2J\nerror: y";
    let flag = format!("--{raw}");
    let long = "x".repeat(100_000);
    let long_flag = format!("--{long}");
    for words in [
        &[raw][..],
        &["count", raw],
        &["count", &flag],
        &["count", "--format", raw],
        &["count", "--status", raw],
        &["count", "--limit", raw],
        &["count", "--where", raw],
        &["count", "--wait", raw],
        &["mark", raw],
        &["put", "--pipeline", "p", "--data", raw],
        &["index", "add", raw],
        &["index", "drop", raw],
        &["import", "--delimiter", raw],
        &["completions", raw],
        &["help", raw],
        &["man", raw],
        &[&long],
        &["count", &long],
        &["count", &long_flag],
        &["count", "--format", &long],
        &["count", "--status", &long],
        &["count", "--limit", &long],
        &["count", "--wait", &long],
        &["mark", &long],
        &["completions", &long],
    ] {
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.words.len() < 5_000, "{} bytes", answer.words.len());
        let is_raw = |char: char| "\u{1b}\u{202e}\u{9b}".contains(char);
        assert!(!answer.words.contains(is_raw), "{answer:?}");
        assert!(!answer.words.contains("\nerror: y"), "{answer:?}");
    }
}

/// Other systems have no such names.
#[cfg(target_os = "linux")]
#[test]
fn what_is_no_utf_8_is_told_safely_and_taken_for_a_path() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let shell = Shell::with_six();
    let bad = OsStr::from_bytes(b"a\xff\x1b[2J.jsonl");
    let path = shell.path(".").join(bad);
    let (bad, path, db) = (bad, path.as_os_str(), shell.db());
    let db = db.as_os_str();
    let word = OsStr::new;
    for (words, code) in [
        (vec![word("get"), bad], 2),
        (vec![word("count"), bad], 2),
        (vec![bad], 2),
        (vec![word("count"), word("--status"), bad], 2),
        (vec![word("count"), word("--id"), bad], 2),
        (vec![word("count"), word("--where"), bad], 2),
        (vec![word("put"), word("--pipeline"), bad], 2),
        (vec![word("index"), word("add"), bad], 2),
        (vec![word("count"), word("-d"), path], 1),
        (vec![word("import"), path], 1),
        (vec![word("export"), path], 0),
        (vec![word("import"), path, word("--rejects"), path], 2),
        (vec![word("export"), path], 2),
        (vec![word("copy"), db, path], 5),
        (vec![word("backup"), path], 2),
    ] {
        let output = shell.command().args(&words).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?} {output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            !told.is_empty() && !told.contains('\u{1b}'),
            "{words:?} {told:?}"
        );
    }
    let back = shell.path("back.db");
    let words = [word("-d"), back.as_os_str(), word("import"), path];
    assert!(
        shell
            .command()
            .args(words)
            .output()
            .unwrap()
            .status
            .success()
    );
    assert_eq!(
        shell.data(["-d", back.to_str().unwrap(), "list"]),
        shell.data(["list"])
    );
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_no_target() {
    let shell = Shell::with_six();
    let link = shell.path("link.jsonl");
    std::os::unix::fs::symlink(shell.path("gone.jsonl"), &link).unwrap();
    let link = link.to_str().unwrap();
    for words in [
        &["export", link][..],
        &["export", link, "--overwrite"],
        &["hist", "--svg", link],
    ] {
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, 2, "{answer:?}");
        let said = "gone.jsonl, which is not there";
        assert!(answer.words.contains(said), "{answer:?}");
        assert!(!shell.path("gone.jsonl").exists());
    }
}

#[cfg(unix)]
#[test]
fn a_device_or_a_pipe_is_no_database_and_is_named() {
    let shell = Shell::new();
    let pipe = shell.path("pipe");
    let pipe = pipe.to_str().unwrap();
    let made = std::process::Command::new("mkfifo").arg(pipe).status();
    assert!(made.unwrap().success());
    for path in ["/dev/null", pipe] {
        for (words, input) in [
            (&["count"][..], String::new()),
            (&["check"], String::new()),
            (&["import"], six()),
            (&["rm", "--all", "--yes"], String::new()),
        ] {
            let words = [words, &["-d", path]].concat();
            let answer = shell.run_with(words, &input);
            assert_eq!(answer.code, 5, "{answer:?}");
            let said = format!("error: {path} is a device or a pipe");
            assert!(answer.words.starts_with(&said), "{answer:?}");
        }
    }
}

/// What the filters are for is no field of a condition.
#[test]
fn a_condition_on_a_sample_itself_names_the_filter() {
    let shell = Shell::with_six();
    for (condition, said) in [
        ("id = 'a'", "--id"),
        ("status = 'ready'", "--status"),
        ("data.n = 1 and pipeline = 'even'", "--pipeline"),
        ("created_at > '2013'", "--since"),
        ("reason.stage = 'parse'", "samplestore dlq"),
    ] {
        let answer = shell.run(["count", "--where", condition]);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.words.contains(said), "{answer:?}");
        assert!(!answer.words.contains("did you mean"), "{answer:?}");
    }
    let names = shell.data(["schema", "-f", "csv"]);
    for name in names
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
    {
        let condition = format!("{name} is not missing");
        assert_eq!(
            shell.data(["count", "--where", &condition]),
            "6\n",
            "{name}"
        );
    }
}

#[test]
fn a_file_that_is_there_is_named_with_the_flag_that_replaces_it() {
    let shell = Shell::with_six();
    let there = shell.file("there.db", "x");
    let refused = shell.run(["backup", &there]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let said =
        format!("error: {there} is there already\n hint: --overwrite puts the copy in its place\n");
    assert_eq!(refused.words, said);
    assert_eq!(shell.run(["backup", &there, "--overwrite"]).code, 0);
}

#[test]
fn what_prune_does_not_take_is_told_before_it_asks() {
    let shell = Shell::with_six();
    for flags in [&["--limit", "3"][..], &["--newest"], &["--id", "a"]] {
        let refused = shell.run([&["prune", "--older-than", "30d"], flags].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        let hint = format!("samplestore rm takes {}", flags[0]);
        assert!(refused.words.contains(&hint), "{refused:?}");
    }
    assert_eq!(shell.data(["count"]), "6\n");
}

#[cfg(unix)]
#[test]
fn a_locked_file_is_named_as_it_was_given() {
    let shell = Shell::with_six();
    let _holder = samplestore::Database::open(shell.db()).unwrap();
    for words in [
        &["reindex"][..],
        &["repair"],
        &["count"],
        &["salvage", "new.db"],
    ] {
        let mut command = shell.command();
        command
            .current_dir(shell.path("."))
            .args(["-d", "samples.db"]);
        let locked = super::answer(command.args(words));
        assert_eq!(locked.code, 4, "{locked:?}");
        let said = "error: samples.db is locked by another process\n";
        assert!(locked.words.starts_with(said), "{words:?} {locked:?}");
    }
}

/// No file can be made there, whoever asks.
#[cfg(target_os = "linux")]
#[test]
fn an_export_that_cannot_be_made_is_told_by_its_own_name() {
    let shell = Shell::with_six();
    let refused = shell.run(["export", "/proc/ready.csv"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.words.contains("/proc/ready.csv: "), "{refused:?}");
    assert!(!refused.words.contains(".part"), "{refused:?}");
}

#[test]
fn a_folder_is_no_file_that_is_made() {
    let shell = Shell::with_six();
    let folder = shell.path("there");
    std::fs::create_dir(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    let said = format!("{folder} is a folder\n");
    let input = shell.file("in.jsonl", "{}\n");
    for words in [
        &["export", folder, "-f", "csv"][..],
        &["hist", "--svg", folder],
        &["backup", folder],
        &["import", &input, "--rejects", folder],
    ] {
        for overwrite in [&[][..], &["--overwrite"]] {
            let refused = shell.run([words, overwrite].concat());
            assert_eq!(refused.code, 2, "{words:?} {refused:?}");
            assert!(refused.words.contains(&said), "{refused:?}");
        }
    }
    assert_eq!(shell.data(["count"]), "6\n");
}
