//! `mark`, `rm` and `put`.

use std::fmt::Write as _;

use super::Shell;

#[test]
fn mark_moves_what_matches_and_is_not_there_yet() {
    let shell = Shell::with_six();
    let counted = shell.data(["mark", "ready", "--all", "--dry-run"]);
    assert_eq!(
        counted,
        "{\"dry_run\":true,\"marked\":0,\"matched\":5,\"status\":\"ready\"}\n"
    );
    let table = shell.data(["mark", "ready", "--all", "-n", "-f", "table"]);
    assert_eq!(
        table,
        "would mark 5 samples ready (1 pending, 1 measured, 1 labeled, 1 skipped, 1 dlq)\n"
    );
    assert_eq!(shell.data(["count", "--status", "ready"]), "1\n");

    let done = shell.data([
        "mark",
        "ready",
        "--from",
        "measured,labeled",
        "--from",
        "dlq",
        "--pipeline",
        "odd",
        "--yes",
        "-f",
        "table",
    ]);
    assert_eq!(done, "marked 3 samples ready\n");
    let ready = shell.data(["list", "--status", "ready", "-f", "csv"]);
    let ids: Vec<_> = ready.lines().skip(1).map(|line| &line[..1]).collect();
    assert_eq!(ids, ["b", "c", "d", "f"]);
    // The reason of a sample stays.
    assert!(ready.contains("no, \"\"sun\"\""), "{ready}");
    for words in [
        &["mark", "ready", "--status", "ready", "--yes"][..],
        &["mark", "ready", "--id", "none", "--yes"],
        &["mark", "dlq", "--from", "dlq", "--all", "--yes"],
        // What is of another status stays there, named by its id or not.
        &["mark", "labeled", "--from", "labeled", "--id", "f", "--yes"],
        &[
            "mark", "labeled", "--status", "labeled", "--id", "f", "--yes",
        ],
    ] {
        let done = shell.data(words.iter().copied());
        assert!(done.contains("\"marked\":0,\"matched\":0"), "{done}");
    }
    assert_eq!(
        shell.data(["list", "--status", "ready", "-f", "csv"]),
        ready
    );
}

#[test]
fn a_limit_and_an_order_say_which_are_changed() {
    let shell = Shell::with_six();
    shell.data(["mark", "dlq", "--all", "--newest", "--limit", "3", "--yes"]);
    // f is in dlq already, so these are the newest three of the others.
    let ids = shell.data(["list", "--status", "dlq", "-f", "csv"]);
    let ids: Vec<_> = ids.lines().skip(1).map(|line| &line[..1]).collect();
    assert_eq!(ids, ["c", "d", "e", "f"]);
    shell.data(["rm", "--all", "--limit", "2", "--yes"]);
    assert_eq!(shell.run(["get", "a", "b"]).data, "");
    assert_eq!(shell.data(["count"]), "4\n");
}

#[test]
fn more_than_one_step_is_changed() {
    let shell = Shell::new();
    let mut text = String::new();
    for n in 0..25_000 {
        writeln!(text, r#"{{"id":"{n}","pipeline":"p"}}"#).unwrap();
    }
    assert_eq!(
        shell
            .run_with(["import", "-", "--batch", "10000"], &text)
            .code,
        0
    );
    let done = shell.data(["mark", "ready", "--all", "--limit", "24999", "--yes"]);
    assert!(done.contains("\"marked\":24999"), "{done}");
    let facets = shell.data(["facets", "--by", "status", "-f", "csv"]);
    assert_eq!(facets, "status,count\npending,1\nready,24999\n");
    let done = shell.data(["rm", "--status", "ready", "--yes"]);
    assert_eq!(
        done,
        "{\"dry_run\":false,\"matched\":24999,\"removed\":24999}\n"
    );
    assert_eq!(shell.data(["list", "-f", "jsonl"]).lines().count(), 1);
    assert_eq!(shell.run(["check"]).code, 0);
}

#[test]
fn rm_removes_what_matches() {
    let shell = Shell::with_six();
    let counted = shell.data(["rm", "--status", "skipped,dlq", "-n", "-f", "table"]);
    assert_eq!(counted, "would remove 2 samples (1 skipped, 1 dlq)\n");
    assert_eq!(shell.data(["count"]), "6\n");
    let done = shell.data(["rm", "--status", "skipped,dlq", "-y", "-f", "table"]);
    assert_eq!(done, "removed 2 samples\n");
    let done = shell.data(["rm", "--before", "2013-06-01T01:00:00Z", "--yes"]);
    assert_eq!(done, "{\"dry_run\":false,\"matched\":1,\"removed\":1}\n");
    assert_eq!(shell.data(["list"]).lines().count(), 3);
    let missing = Shell::new();
    for words in [
        &["rm", "--all", "--yes"][..],
        &["mark", "ready", "--all", "--yes"],
    ] {
        assert_eq!(missing.run(words.iter().copied()).code, 1);
        assert!(!missing.db().exists(), "nothing is created to be changed");
    }
}

#[test]
fn put_stores_one_sample_from_flags_or_from_a_text() {
    let shell = Shell::new();
    let answer = shell.run([
        "put",
        "--pipeline",
        "p",
        "--id",
        "a",
        "--status",
        "ready",
        "--created-at",
        "2013-06",
        "--measured-at",
        "2013-06-02",
        "--data",
        "n=12",
        "--data",
        "text=0012",
        "--data",
        "of={\"list\":[1,null]}",
        "--data",
        "none=null",
        "--data",
        "empty=",
        "--data",
        "quoted=\"12\"",
        "--data",
        "eq=a=b",
        "--measurement",
        "m=-0.5",
        "--measurement",
        "ok=true",
    ]);
    assert_eq!(
        (answer.code, answer.data.as_str()),
        (0, "a\n"),
        "{answer:?}"
    );
    assert_eq!(answer.words, "inserted \"a\"\n");
    assert_eq!(
        shell.data(["get", "a"]),
        concat!(
            r#"{"id":"a","pipeline":"p","status":"ready","created_at":"2013-06-01T00:00:00Z","#,
            r#""measured_at":"2013-06-02T00:00:00Z","data":{"empty":"","eq":"a=b","n":12,"none":null,"#,
            r#""of":{"list":[1,null]},"quoted":"12","text":"0012"},"measurements":{"m":-0.5,"ok":true}}"#,
            "\n"
        )
    );
    let text = r#" {"id":"a","pipeline":"q"} "#;
    let answer = shell.run_with(["put"], text);
    assert_eq!(
        (answer.code, answer.words.as_str()),
        (0, "replaced \"a\"\n")
    );
    assert_eq!(shell.data(["count", "--pipeline", "q"]), "1\n");
    let made = shell.data(["put", "--pipeline", "r"]);
    assert_eq!(made.len(), 37, "a new id: {made}");
    assert_eq!(shell.run(["get", made.trim_end()]).code, 0);
    for (text, word) in [
        ("", "JSON"),
        ("{}", "id"),
        (r#"{"id":"","pipeline":"p"}"#, "id"),
        (r#"{"id":"x","pipline":"p"}"#, "pipeline"),
    ] {
        let answer = shell.run_with(["put"], text);
        assert_eq!(answer.code, 1, "{text} {answer:?}");
        assert!(answer.words.contains(word), "{text} {answer:?}");
    }
    let long = "x".repeat(256);
    assert_eq!(shell.run(["put", "--pipeline", &long]).code, 2);
    for map in [r#"m={"a":1,"a":2}"#, r#"m=[{"b":{"a":1,"a":2}}]"#] {
        let twice = shell.run(["put", "--pipeline", "p", "--data", map]);
        assert_eq!(twice.code, 2, "{twice:?}");
        assert!(twice.words.contains("\"a\" is given twice"), "{twice:?}");
    }
    assert_eq!(shell.data(["count"]), "2\n");
}

#[test]
fn mark_and_rm_go_on_from_a_cursor_of_the_same_filters() {
    let shell = Shell::with_six();
    let cursor = |words: &[&str]| {
        let list = shell.data([&["list", "--limit", "1", "-f", "json"], words].concat());
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        list["next"].as_str().unwrap().to_owned()
    };
    let of_odd = cursor(&["--pipeline", "odd"]);
    let refused = shell.run([
        "mark",
        "ready",
        "--pipeline",
        "odd",
        "--cursor",
        &of_odd,
        "--yes",
    ]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused
            .words
            .contains("name the statuses that move, and not ready"),
        "{refused:?}"
    );
    let named = ["--status", "pending,measured,labeled"];
    let behind = cursor(&named);
    let words = ["mark", "ready", "--cursor", &behind, "--yes", "-f", "table"];
    assert_eq!(
        shell.data([&words[..], &named].concat()),
        "marked 2 samples ready\n"
    );
    // Of b, d and f all but the first.
    let removed = shell.data([
        "rm",
        "--pipeline",
        "odd",
        "--cursor",
        &of_odd,
        "--yes",
        "-f",
        "table",
    ]);
    assert_eq!(removed, "removed 2 samples\n");
    assert_eq!(
        shell
            .data(["list", "--pipeline", "odd", "-f", "csv"])
            .lines()
            .count(),
        2
    );
}

#[test]
fn ids_fields_and_nulls_may_begin_with_a_dash() {
    let shell = Shell::with_six();
    for id in ["-x", "-n", "--yes", "-1"] {
        let put = ["put", "--pipeline", "p", "--id", id];
        let fields = ["--data", "-k=1", "--measurement", "-m=-2"];
        assert_eq!(shell.data([&put[..], &fields].concat()), format!("{id}\n"));
        assert_eq!(shell.data(["count", "--id", id]), "1\n");
    }
    let none = shell.run(["rm", "--id", "-q", "--yes"]);
    assert_eq!(none.words, "no sample has the id \"-q\"\n");
    let removed = shell.data(["rm", "--id", "-n", "--id", "-x", "-y", "-f", "table"]);
    assert_eq!(removed, "removed 2 samples\n");
    let file = shell.file("null.csv", "id,n\nz,-999\n");
    let words = ["import", &file, "--pipeline", "p", "--id-field", "id"];
    shell.data([&words[..], &["--null", "-999", "-q"]].concat());
    let stored = shell.data(["get", "z"]);
    assert!(!stored.contains("999"), "{stored}");
    // What is forgotten is told.
    let forgotten = shell.run(["put", "--pipeline", "p", "--data", "--id", "a"]);
    assert_eq!(forgotten.code, 2, "{forgotten:?}");
}
