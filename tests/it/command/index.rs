//! `--where`, and `index`.

use std::ops::ControlFlow;

use samplestore::{Database, Durability, ErrorKind, Sample, Storage, data};

use super::{Shell, bare};

const MILLION: u64 = 1_000_000;

fn numbers(count: usize) -> String {
    let line = |number: usize| {
        format!(
            r#"{{"id":"n{number}","pipeline":"p","measurements":{{"temp":{}}},"data":{{"name":"x{}"}}}}"#,
            number as f64 / 2.0,
            number % 10
        )
    };
    (0..count).map(|number| line(number) + "\n").collect()
}

#[test]
fn an_index_is_made_used_listed_and_dropped() {
    let shell = Shell::new();
    let answer = shell.run_with(["import", "-"], &numbers(2_000));
    assert_eq!(answer.code, 0, "{answer:?}");
    let condition = "measurements.temp >= 990 and measurements.temp < 995";
    let explain = |shell: &Shell| {
        let report = shell.data(["explain", "--where", condition, "-f", "json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let fields = report["field_indexes"].as_array().unwrap().len();
        (
            report["samples"].as_u64(),
            report["records_read"].as_u64(),
            fields,
        )
    };
    assert_eq!(explain(&shell), (Some(10), Some(2_000), 0));

    let made = shell.run(["index", "add", "measurements.temp"]);
    assert_eq!(
        (made.code, made.words.as_str()),
        (0, "made an index of measurements.temp\n")
    );
    let again = shell.run(["index", "add", "measurements.temp"]);
    assert_eq!(
        again.words,
        "there is an index of measurements.temp already\n"
    );
    assert_eq!(explain(&shell), (Some(10), Some(10), 1));
    assert_eq!(shell.data(["count", "--where", condition]), "10\n");
    assert_eq!(
        shell.data(["index", "list"]),
        "{\"indexes\":[{\"field\":\"measurements.temp\",\"progress\":1.0}]}\n"
    );
    assert_eq!(
        shell.data(["index", "list", "-f", "table"]),
        "measurements.temp  100 %\n"
    );
    assert!(
        shell
            .data(["stats", "-f", "table"])
            .contains("index           measurements.temp 100 %\n")
    );
    assert_eq!(shell.run(["check"]).code, 0);
    let copy = shell.path("copy.db");
    let copy = copy.to_str().unwrap();
    assert_eq!(shell.run(["backup", copy]).code, 0);
    assert_eq!(shell.run(["-d", copy, "check"]).code, 0);
    assert_eq!(
        shell.data(["-d", copy, "count", "--where", condition]),
        "10\n"
    );

    let other = shell.run(["index", "drop", "data.name"]);
    assert_eq!(other.code, 2);
    assert!(
        other.words.contains("there is no index of data.name"),
        "{other:?}"
    );
    assert!(
        other.words.contains("there are measurements.temp"),
        "{other:?}"
    );
    let dropped = shell.run(["index", "drop", "measurements.temp"]);
    assert_eq!(
        (dropped.code, dropped.words.as_str()),
        (0, "dropped the index of measurements.temp\n")
    );
    assert_eq!(explain(&shell), (Some(10), Some(2_000), 0));
    assert_eq!(shell.data(["index", "list", "-f", "table"]), "");
}

#[test]
fn an_index_that_is_not_whole_is_not_rounded_up() {
    const SAMPLES: u32 = 110_000;
    let shell = Shell::new();
    let options = Database::options().durability(Durability::Deferred);
    let database = options.open(shell.db()).unwrap();
    for first in (0..SAMPLES).step_by(10_000) {
        let sample = |n: u32| Sample::builder("p").id(n.to_string()).build().unwrap();
        let batch: Vec<Sample> = (first..first + 10_000).map(sample).collect();
        database.store(&batch).unwrap();
    }
    let field = "data.x".parse().unwrap();
    // One step, of 61,440 rows: 55.85 hundredths.
    let ended = database.create_index(&field, |_| -> ControlFlow<()> { ControlFlow::Break(()) });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Interrupted);
    database.close().unwrap();
    assert_eq!(
        shell.data(["index", "list", "-f", "table"]),
        "data.x  55 %\n"
    );
    let stats = shell.data(["stats", "-f", "table"]);
    assert!(stats.contains("index           data.x 55 %\n"), "{stats}");
}

/// A million samples whose temperature is in no order: each of 100,000 ten times.
fn fill_a_million(shell: &Shell) {
    let options = Database::options().durability(Durability::Deferred);
    let database = options.open(shell.db()).unwrap();
    let sample = |number: u64| {
        let mixed = number * 7_919 % 100_000;
        Sample::builder("p")
            .id(format!("{number:07}"))
            .measurements(data! { "temp" => mixed as f64 / 100.0 })
            .build()
            .unwrap()
    };
    for first in (0..MILLION).step_by(5_000) {
        let batch: Vec<Sample> = (first..first + 5_000).map(sample).collect();
        database.store(&batch).unwrap();
    }
    database.close().unwrap();
}

#[test]
fn of_a_million_samples_an_index_reads_those_that_match() {
    let shell = Shell::new();
    fill_a_million(&shell);
    let read_and_matching = |condition: &str| {
        let report = shell.data(["explain", "--where", condition, "-f", "json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        (
            report["records_read"].as_u64().unwrap(),
            report["samples"].as_u64().unwrap(),
        )
    };
    let equality = "measurements.temp = 333.33";
    assert_eq!(read_and_matching(equality), (MILLION, 10));
    assert_eq!(shell.run(["index", "add", "measurements.temp"]).code, 0);
    for (condition, samples) in [
        (equality, 10),
        ("measurements.temp in (1, 2.5, 1000)", 20),
        ("measurements.temp >= 999", 1_000),
        ("measurements.temp between 500 and 509.99", 10_000),
        ("measurements.temp > 1000", 0),
    ] {
        assert_eq!(
            read_and_matching(condition),
            (samples, samples),
            "{condition}"
        );
        let listed = shell.data(["list", "--where", condition, "-f", "jsonl"]);
        assert_eq!(listed.lines().count() as u64, samples, "{condition}");
    }
}

/// What a report of JSON says in one place.
fn in_report(text: &str, pointer: &str) -> Option<u64> {
    let report: serde_json::Value = serde_json::from_str(text).unwrap();
    report.pointer(pointer)?.as_u64()
}

#[test]
fn conditions_go_with_every_verb_that_has_filters() {
    let shell = Shell::new();
    let failed = r#","status":"dlq","reason":{"stage":"s","message":"m","attempts":1,"at":"2013-06-01T00:00:00Z"}}"#;
    let failed = numbers(100).replace("}}\n", &format!("}}{failed}\n"));
    assert_eq!(shell.run_with(["import", "-"], &failed).code, 0);
    let some = [
        "--where",
        "data.name in ('x1', 'x2')",
        "--where",
        "measurements.temp < 20",
    ];
    let with = |words: &str| {
        let words = words.split(' ').chain(some);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let data = |words: &str| shell.data(with(words).iter().map(String::as_str));
    let groups = shell.data(["dlq", "group", "-f", "json"]);
    let groups: serde_json::Value = serde_json::from_str(&groups).unwrap();
    let group = groups["groups"][0]["group"].as_str().unwrap();
    let db = shell.db();
    // Each verb, how it is asked, and where its report says how many samples it was about: none where it writes them itself.
    let asked = [
        ("list", "-f jsonl".to_owned(), ""),
        ("count", "-f json".to_owned(), "/count"),
        ("facets", "-f json".to_owned(), "/total"),
        ("explain", "-f json".to_owned(), "/samples"),
        ("export", "-f jsonl".to_owned(), ""),
        ("tail", "-f jsonl".to_owned(), ""),
        ("hist", "-f json".to_owned(), "/total"),
        ("schema", "-f json".to_owned(), "/samples"),
        ("mark", "ready --dry-run -f json".to_owned(), "/matched"),
        ("rm", "--dry-run -f json".to_owned(), "/matched"),
        ("prune", "--dry-run -f json".to_owned(), "/matched"),
        (
            "copy",
            format!("{} memory: --json", db.display()),
            "/copied",
        ),
        ("dlq list", "-f jsonl".to_owned(), ""),
        ("dlq group", "-f json".to_owned(), "/groups/0/count"),
        ("dlq show", format!("{group} -f jsonl"), ""),
        (
            "dlq retry",
            "--all --dry-run -f json".to_owned(),
            "/matched",
        ),
    ];
    for (verb, words, pointer) in &asked {
        let found = data(&format!("{verb} {words}"));
        let count = match *pointer {
            "" => Some(found.lines().count() as u64),
            pointer => in_report(&found, pointer),
        };
        assert_eq!(count, Some(8), "{verb} {words}: {found}");
    }
    let verbs = asked.each_ref().map(|(verb, ..)| *verb);
    assert_eq!(verbs, super::WITH_FILTERS);

    assert_eq!(
        in_report(&data("dlq retry --all --yes -f json"), "/retried"),
        Some(8)
    );
    assert_eq!(
        in_report(&data("mark ready --yes -f json"), "/marked"),
        Some(8)
    );
    assert_eq!(shell.data(["count", "--status", "ready"]), "8\n");
    assert_eq!(
        in_report(&data("prune --keep-newest 6 --yes -f json"), "/removed"),
        Some(2)
    );
    assert_eq!(in_report(&data("rm --yes -f json"), "/removed"), Some(6));
    assert_eq!(shell.data(["count"]), "92\n");
}

#[test]
fn a_field_that_no_sample_has_is_told_with_the_nearest_when_nothing_matches() {
    let shell = Shell::new();
    shell.run_with(["import", "-"], &numbers(20));
    let told =
        "none of the newest 20 samples has measurements.tmp (did you mean measurements.temp?)\n";
    let condition = ["--where", "measurements.tmp > 3 and data.name = 'x1'"];
    for words in [
        &["count"][..],
        &["list", "-f", "jsonl"],
        &["mark", "ready", "--yes"],
        &["rm", "--yes"],
        &["prune", "--older-than", "1s", "--yes"],
    ] {
        let answer = shell.run([words, &condition].concat());
        assert_eq!(
            (answer.code, answer.words.as_str()),
            (0, told),
            "{answer:?}"
        );
    }
    for (condition, told) in [
        (
            "data.temp > 3",
            "none of the newest 20 samples has data.temp (did you mean measurements.temp?)\n",
        ),
        (
            "data.zzz = 1",
            "none of the newest 20 samples has data.zzz\n",
        ),
        ("measurements.temp > 1000", ""),
        (
            "data.zzz is missing and measurements.temp < 0",
            "none of the newest 20 samples has data.zzz\n",
        ),
    ] {
        let answer = shell.run(["count", "--where", condition]);
        assert_eq!(
            (answer.data.as_str(), answer.words.as_str()),
            ("0\n", told),
            "{condition}"
        );
    }
    assert_eq!(
        shell.run(["count", "-q", "--where", "data.zzz = 1"]).words,
        ""
    );
    assert_eq!(
        shell.run(["count", "--where", "data.zzz is missing"]).words,
        ""
    );
}

#[test]
fn a_condition_that_is_none_is_told_with_its_place() {
    let shell = Shell::with_six();
    let answer = shell.run(["count", "--where", "data.n > 1 adn data.n < 5"]);
    assert_eq!((answer.code, answer.data.as_str()), (2, ""));
    let place = "expected and, or, or the end at character 12: data.n > 1 »adn data.n < 5 (did you mean and?)";
    assert!(answer.words.contains(place), "{answer:?}");
    let field = shell.run(["index", "add", "temp"]);
    assert_eq!(field.code, 2);
    assert!(
        field.words.contains("data.FIELD or measurements.FIELD"),
        "{field:?}"
    );
    let nothing = super::answer(bare().args(["index", "list"]));
    assert_eq!(nothing.code, 2);
}

#[test]
fn prune_removes_what_conditions_leave_and_keeps_the_newest_of_these() {
    let shell = Shell::new();
    shell.run_with(["import", "-"], &numbers(100));
    let prune = |words: &[&'static str]| {
        let condition = ["--where", "measurements.temp < 5", "-f", "json"];
        shell.run([&["prune"], words, &condition].concat())
    };
    let dry = prune(&["--dry-run"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    let total = |answer: &super::Answer| {
        let report: serde_json::Value = serde_json::from_str(&answer.data).unwrap();
        report["total"].as_u64()
    };
    assert_eq!(total(&dry), Some(10));
    shell.data(["index", "add", "measurements.temp"]);
    let kept = prune(&["--keep-newest", "3", "--yes"]);
    assert_eq!((kept.code, total(&kept)), (0, Some(7)), "{kept:?}");
    assert_eq!(shell.data(["count"]), "93\n");
    let all = prune(&["--yes"]);
    assert_eq!((all.code, total(&all)), (0, Some(3)), "{all:?}");
    let left = shell.data(["count", "--where", "measurements.temp < 5"]);
    assert_eq!((left.as_str(), &*shell.data(["count"])), ("0\n", "90\n"));
}
