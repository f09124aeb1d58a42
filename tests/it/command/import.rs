//! `import`: what becomes of CSV, JSON Lines and JSON arrays.

use serde_json::{Value as Json, json};

use super::{Shell, weather};

fn get(shell: &Shell, id: &str) -> Json {
    serde_json::from_str(&shell.data(["get", id])).unwrap()
}

/// The figures of the last line on stderr: inserted, replaced, skipped, rejected.
pub(super) fn figures(words: &str) -> [u64; 4] {
    let line = words
        .lines()
        .find(|line| line.starts_with("inserted"))
        .unwrap();
    let mut numbers = line.split(' ').filter_map(|word| {
        word.trim_end_matches(',')
            .replace(',', "")
            .parse::<u64>()
            .ok()
    });
    std::array::from_fn(|_| numbers.next().unwrap())
}

#[test]
fn the_weather_is_counted_as_a_script_counts_it() {
    // The status is not in the file: each line gets it as the examples define it.
    let mut rows = Vec::new();
    let mut csv = String::new();
    for (number, line) in weather().lines().enumerate() {
        let cells: Vec<_> = line.split(',').collect();
        let status = match (cells[5], cells[7], cells[12]) {
            _ if number == 0 => "status",
            ("NA", _, _) => "skipped",
            (_, "NA", _) | (_, _, "NA") => "measured",
            _ => "ready",
        };
        csv.push_str(&format!("{line},{status}\n"));
        rows.push((status, cells[0].to_owned(), cells[14].to_owned()));
    }
    let shell = Shell::new();
    let file = shell.file("weather.csv", csv);
    let flags = "--id-field origin --id-field time_hour --pipeline-field origin \
                 --created-at-field time_hour --status-field status --measurement temp,humid \
                 --measurement pressure --null NA";
    let import = || {
        shell.run(
            ["import", &file]
                .into_iter()
                .chain(flags.split_whitespace()),
        )
    };
    let answer = import();
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(figures(&answer.words), [26_115, 0, 0, 0]);
    assert_eq!(answer.data, "");

    let june = "--status ready --pipeline JFK --after 2013-06-01 --before 2013-07-01";
    let counted = rows.iter().filter(|(status, origin, time)| {
        *status == "ready"
            && origin == "JFK"
            && time.as_str() > "2013-06-01T00:00:00Z"
            && time.as_str() < "2013-07-01T00:00:00Z"
    });
    let expected = format!("{}\n", counted.count());
    assert_eq!(
        shell.data(["count"].into_iter().chain(june.split(' '))),
        expected
    );
    for (status, count) in [("ready", 23_386), ("measured", 2_728), ("skipped", 1)] {
        assert_eq!(
            shell.data(["count", "--status", status]),
            format!("{count}\n")
        );
    }
    for (pipeline, count) in [("EWR", 8_703), ("JFK", 8_706), ("LGA", 8_706)] {
        assert_eq!(
            shell.data(["count", "--pipeline", pipeline]),
            format!("{count}\n")
        );
    }
    assert_eq!(
        get(&shell, "EWR-2013-01-01T06:00:00Z"),
        json!({
            "id": "EWR-2013-01-01T06:00:00Z",
            "pipeline": "EWR",
            "status": "ready",
            "created_at": "2013-01-01T06:00:00Z",
            "measurements": {"temp": 39.02, "humid": 59.37, "pressure": 1012},
            "data": {
                "year": 2013, "month": 1, "day": 1, "hour": 1, "dewp": 26.06, "wind_dir": 270,
                "wind_speed": 10.357_019_999_999_999, "precip": 0, "visib": 10
            },
        })
    );
    assert_eq!(figures(&import().words), [0, 26_115, 0, 0]);
}

#[test]
fn cells_become_what_they_look_like() {
    let shell = Shell::new();
    let csv = "id,code,int,float,flag,nan,empty,na,text\n\
               x,0012,-7,1.50,true,nan,,NA,\"a, \"\"b\"\"\nc\"\n";
    let file = shell.file("cells.CSV", csv);
    let answer = shell.run([
        "import",
        &file,
        "--pipeline",
        "p",
        "--id-field",
        "id",
        "--null",
        "NA",
    ]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let sample = get(&shell, "x");
    assert_eq!(
        sample["data"],
        json!({
            "code": "0012", "int": -7, "float": 1.5, "flag": true, "nan": "nan",
            "text": "a, \"b\"\nc",
        })
    );
    assert_eq!(sample["status"], "pending");
}

#[test]
fn fields_leave_the_data_when_the_sample_holds_them_whole() {
    let shell = Shell::new();
    let csv = "user,session,at,pipe,state,n\nu,1,2013-06-01 12:30,p,ready,5\n";
    let file = shell.file("a.csv", csv);
    let flags = "--id-field user --id-field session --pipeline-field pipe --created-at-field at \
                 --status-field state";
    shell.data(
        ["import", &file]
            .into_iter()
            .chain(flags.split_whitespace()),
    );
    let sample = get(&shell, "u-1");
    assert_eq!(sample["created_at"], "2013-06-01T12:30:00Z");
    assert_eq!(sample["data"], json!({"user": "u", "session": 1, "n": 5}));

    // The same from a plain JSON record, whose nested values stay as they are.
    let record = r#"[{"user":"u","session":2,"at":"2013-06-01","pipe":"p","state":"dlq",
                      "n":{"deep":[1,null,{"$numberDouble":"NaN"}]},"na":"NA"}]"#;
    let file = shell.file("a.json", record);
    let words = [
        "import",
        &file,
        "--null",
        "NA",
        "--measurement",
        "absent, n",
    ];
    shell.data(words.into_iter().chain(flags.split_whitespace()));
    let sample = get(&shell, "u-2");
    assert_eq!(sample["data"], json!({"user": "u", "session": 2}));
    assert_eq!(
        sample["measurements"]["n"]["deep"][2],
        json!({"$numberDouble": "NaN"})
    );
    assert_eq!(sample["status"], "dlq");
}

#[test]
fn without_an_id_field_samples_get_ids_of_their_own() {
    let shell = Shell::new();
    let file = shell.file("a.csv", "n\n1\n2\n");
    for total in ["2\n", "4\n"] {
        shell.data(["import", &file, "--pipeline", "p"]);
        assert_eq!(shell.data(["count"]), total);
    }
    shell.data([
        "import",
        &shell.file("a.ndjson", "{\"n\":1}\n\n{\"n\":2}"),
        "--pipeline",
        "p",
    ]);
    assert_eq!(shell.data(["count"]), "6\n");
}

#[test]
fn bad_records_are_rejected_and_the_others_stored() {
    let shell = Shell::new();
    let long = "x".repeat(513);
    let csv =
        format!("id,state,n\na,ready,1\nb,reday,2\n{long},ready,3\n,ready,4\nc,ready\nd,dlq,5\n");
    let file = shell.file("a.csv", csv);
    let rejects = shell.path("rejects.jsonl");
    let words = [
        "import",
        &file,
        "--pipeline",
        "p",
        "--id-field",
        "id",
        "--status-field",
        "state",
    ];
    let answer = shell.run(
        words
            .into_iter()
            .chain(["--rejects", rejects.to_str().unwrap()]),
    );
    assert_eq!(answer.code, 3, "{answer:?}");
    assert_eq!(figures(&answer.words), [2, 0, 0, 4]);
    let lines: Vec<Json> = std::fs::read_to_string(&rejects)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (line, (number, reason)) in lines.iter().zip([
        (3, "did you mean ready?"),
        (4, "513 bytes"),
        (5, "\"id\" is absent"),
        (6, "2 cells"),
    ]) {
        assert_eq!(line["line"], number);
        assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
    }
    assert_eq!(
        lines[0]["fields"],
        json!({"id": "b", "state": "reday", "n": 2})
    );
    assert_eq!(lines[3]["cells"], json!(["c", "ready"]));

    let told = shell.run(words);
    assert!(told.words.contains("rejected line 3: "), "{told:?}");
    assert_eq!(figures(&told.words), [0, 2, 0, 4]);
}

#[test]
fn json_that_is_no_sample_is_rejected_line_by_line() {
    let shell = Shell::new();
    let deep = |lists: usize| {
        format!(
            r#"{{"id":"x{lists}","pipeline":"p","data":{{"a":{}{}}}}}"#,
            "[".repeat(lists),
            "]".repeat(lists)
        )
    };
    let lines = [
        r#"{"id":"a","pipeline":"p"}"#.to_owned(),
        r#"{"id":"b","pipeline":"p","data":{"a":NaN}}"#.to_owned(),
        r#"{"id":"c"}"#.to_owned(),
        r#"{"id":"c","pipeline":"p","stauts":"ready"}"#.to_owned(),
        "[1]".to_owned(),
        deep(63),
        deep(64),
        deep(100_000),
        r#"{"id":"d","pipeline":"p","created_at":"2h"}"#.to_owned(),
    ];
    let answer = shell.run_with(
        ["import", "--rejects", shell.path("r").to_str().unwrap()],
        &lines.join("\n"),
    );
    assert_eq!(answer.code, 3, "{answer:?}");
    assert_eq!(figures(&answer.words), [2, 0, 0, 7]);
    let rejects = std::fs::read_to_string(shell.path("r")).unwrap();
    for reason in [
        "no JSON",
        "\\\"pipeline\\\"",
        "did you mean status?",
        "an object",
        "nests more than 64",
        "RFC 3339",
    ] {
        assert!(rejects.contains(reason), "{reason}: {rejects}");
    }
    // An array is split before its records are read, so it ends no sooner.
    let array = format!("[{}]", lines.join(","));
    let answer = Shell::new().run_with(["import", "--format", "json"], &array);
    assert_eq!(figures(&answer.words), [2, 0, 0, 7]);
    assert!(answer.words.contains("rejected record 2: "), "{answer:?}");
    assert!(answer.words.contains("rejected 2 more"), "{answer:?}");
}

#[test]
fn conflicts_are_settled_as_asked() {
    let shell = Shell::new();
    let old = shell.file("old.jsonl", r#"{"id":"b","pipeline":"old"}"#);
    let new = shell.file("new.csv", "id\na\nb\nc\na\n");
    let import = |how| {
        shell.run([
            "import",
            &new,
            "--pipeline",
            "new",
            "--id-field",
            "id",
            "--on-conflict",
            how,
        ])
    };
    shell.data(["import", &old]);
    let stopped = import("error");
    assert_eq!(stopped.code, 1, "{stopped:?}");
    assert!(
        stopped.words.contains("line 3: the id \"b\""),
        "{stopped:?}"
    );
    assert_eq!(figures(&stopped.words), [1, 0, 0, 0]);
    assert_eq!(shell.data(["count"]), "2\n");

    let skipping = import("skip");
    assert_eq!((skipping.code, figures(&skipping.words)), (0, [1, 0, 3, 0]));
    assert_eq!(get(&shell, "b")["pipeline"], "old");

    let replacing = import("replace");
    assert_eq!(
        (replacing.code, figures(&replacing.words)),
        (0, [0, 4, 0, 0])
    );
    assert_eq!(get(&shell, "b")["pipeline"], "new");
}

#[test]
fn batches_of_any_size_store_the_same() {
    let csv: String = (0..57).fold("id\n".to_owned(), |csv, n| format!("{csv}{n}\n"));
    for batch in ["1", "7", "57", "1000"] {
        let shell = Shell::new();
        let file = shell.file("a.csv", &csv);
        shell.data([
            "import",
            &file,
            "--pipeline",
            "p",
            "--id-field",
            "id",
            "--batch",
            batch,
        ]);
        assert_eq!(shell.data(["count"]), "57\n", "{batch}");
    }
}

#[test]
fn input_that_cannot_be_read_creates_no_database() {
    let shell = Shell::new();
    let many_columns: Vec<String> = (0..16_385).map(|number| format!("c{number}")).collect();
    let many_columns = many_columns.join(",") + "\n1\n";
    for (name, content, code, hint) in [
        ("twice.csv", "a,a\n1,2\n", 2, "two columns"),
        ("many.csv", &many_columns, 1, "more than 16384 columns"),
        ("near.csv", "ID,n\n1,2\n", 2, "did you mean \"ID\"?"),
        ("empty.csv", "", 2, "hint: it is empty"),
        ("array.jsonl", "\n[\n{\"id\":1}]", 1, "--format json"),
        ("list.jsonl", "{\"samples\":[\n{}]}", 1, "--format json"),
        ("object.json", "{\"id\":1}", 1, "--format jsonl"),
        ("empty.json", "", 1, "no JSON array"),
    ] {
        let file = shell.file(name, content);
        let words = ["import", &file, "--pipeline", "p", "--id-field", "id"];
        let words = if name == "twice.csv" {
            &words[..4]
        } else {
            &words[..]
        };
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, code, "{answer:?}");
        assert!(answer.words.contains(hint), "{answer:?}");
    }
    let missing = shell.run(["import", "/no/such.jsonl"]);
    assert_eq!(missing.code, 1);
    assert!(missing.words.contains("/no/such.jsonl"), "{missing:?}");
    assert!(!shell.db().exists());

    let file = shell.file("own.jsonl", "{}");
    let overwriting = shell.run(["import", &file, "--rejects", &file]);
    assert_eq!(overwriting.code, 2, "{overwriting:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}");
}

#[test]
fn good_records_before_a_broken_end_are_stored() {
    let shell = Shell::new();
    let array = r#"[{"id":"a","pipeline":"p"},{"id":"b","pipeline":"p"},{"id":"c""#;
    let answer = shell.run_with(["import", "--format", "json"], array);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.words.contains("ends within record 3"), "{answer:?}");
    assert_eq!(shell.data(["count"]), "2\n");
}

#[test]
fn samples_without_an_id_get_one_when_that_is_asked_for() {
    let shell = Shell::new();
    let text = "{\"pipeline\":\"p\"}\n{\"id\":\"a\",\"pipeline\":\"p\"}\n";
    let refused = shell.run_with(["import"], text);
    assert_eq!(figures(&refused.words), [1, 0, 0, 1]);
    assert!(refused.words.contains("hint: --make-ids"), "{refused:?}");
    let made = shell.run_with(["import", "--make-ids"], text);
    assert_eq!((made.code, figures(&made.words)), (0, [1, 1, 0, 0]));
    let again = shell.run_with(["import", "--make-ids"], text);
    assert_eq!(figures(&again.words), [1, 1, 0, 0], "stored once more");
    let both = ["import", "--make-ids", "--pipeline", "p", "--id-field", "a"];
    assert_eq!(shell.run(both).code, 2);

    // One sample is put on purpose, and its id is told.
    let put = shell.run_with(["put"], "{\"pipeline\":\"q\",\"data\":{\"n\":1}}");
    assert_eq!(put.code, 0, "{put:?}");
    assert_eq!(get(&shell, put.data.trim())["data"], json!({"n": 1}));
}

#[test]
fn whole_numbers_that_would_lose_digits_are_refused() {
    const BEYOND: &str = "18446744073709551616";
    let shell = Shell::new();
    let sample = format!(r#"{{"id":"a","pipeline":"p","data":{{"n":{BEYOND}}}}}"#);
    for (words, input) in [
        (&["import"][..], &sample),
        (&["import", "--pipeline", "p"], &sample),
        (&["import", "--format", "json"], &format!("[{sample}]")),
        (&["put"], &sample),
    ] {
        let answer = shell.run_with(words.iter().copied(), input);
        assert!([1, 3].contains(&answer.code), "{words:?} {answer:?}");
        let named = answer
            .words
            .contains(&format!("{BEYOND} is beyond 64 bits"));
        assert!(named, "{words:?} {answer:?}");
    }
    let list = format!("n=[{BEYOND}]");
    let put = shell.run(["put", "--pipeline", "p", "--data", &list]);
    assert_eq!(put.code, 2, "{put:?}");
    let fits = sample.replace(BEYOND, "18446744073709551615");
    assert_eq!(shell.run_with(["put"], &fits).code, 0);
    assert_eq!(get(&shell, "a")["data"]["n"], u64::MAX);
    let float = sample.replace(BEYOND, "18446744073709551616.0");
    assert_eq!(shell.run_with(["put"], &float).code, 0);
}

#[test]
fn a_field_that_is_put_has_a_name_and_is_given_once() {
    let shell = Shell::new();
    let put = ["put", "--pipeline", "p", "--id", "a"];
    for (fields, said) in [
        (&["--data", "=1"][..], "no name"),
        (&["--measurement", "=1"], "no name"),
        (
            &["--data", "a=1", "--data", "a=2"],
            "--data gives \"a\" twice",
        ),
        (
            &["--measurement", "a=1", "--measurement", "a=1"],
            "--measurement gives \"a\" twice",
        ),
    ] {
        let answer = shell.run([&put, fields].concat());
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.words.contains(said), "{answer:?}");
    }
    assert!(!shell.db().exists());
    shell.data([&put[..], &["--data", "a=1", "--measurement", "a=2"]].concat());
}

#[test]
fn an_array_is_no_json_lines_and_nothing_of_it_is_stored() {
    let shell = Shell::with_six();
    let [first, second] = ["x", "y"].map(|id| format!(r#"{{"id":"{id}","pipeline":"p"}}"#));
    for text in [
        format!("[\n{first},\n{second}\n]\n"),
        format!("{{\"samples\":[\n{first},\n{second}\n],\"next\":null}}\n"),
    ] {
        let refused = shell.run_with(["import", "-"], &text);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.words.contains("--format json"), "{refused:?}");
        assert_eq!(shell.data(["count"]), "6\n");
        let put = shell.run_with(["put"], &text);
        assert_eq!(put.code, 1, "{put:?}");
        assert!(
            put.words.contains("hint: samplestore import -f json - "),
            "{put:?}"
        );
    }
    let several = shell.run_with(["put"], &format!("{first}\n{second}\n"));
    assert_eq!(several.code, 1, "{several:?}");
    assert!(
        several.words.contains("hint: samplestore import - "),
        "{several:?}"
    );
    let broken = shell.run_with(["put"], &format!("{first}x"));
    assert!(!broken.words.contains("hint: "), "{broken:?}");
    assert_eq!(shell.data(["count"]), "6\n");
}
