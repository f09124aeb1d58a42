//! `list`, `get`, `count`, `facets`, `explain` and `stats`: what they find and how they write it.

use super::{Shell, six};

fn ids(jsonl: &str) -> String {
    let id = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].clone();
    jsonl
        .lines()
        .map(|line| id(line).as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn filters_are_anded_and_values_of_one_are_ored() {
    let shell = Shell::with_six();
    for (filters, expected) in [
        ("", "abcdef"),
        ("--pipeline even", "ace"),
        ("--pipeline even,odd", "abcdef"),
        (
            "--pipeline even --pipeline odd --status ready,labeled",
            "cd",
        ),
        ("--pipeline even\\,odd", ""),
        ("--status ready --status dlq", "cf"),
        ("--id b --id e --id nope", "be"),
        ("--id b,e", ""),
        ("--after 2013-06-01T02:00:00Z", "def"),
        ("--since 2013-06-01T02:00:00Z", "cdef"),
        ("--before 2013-06-01T02:00:00Z", "ab"),
        ("--until 2013-06-01T02:00:00Z", "abc"),
        ("--until 2013-06-01", "a"),
        ("--since 2h", ""),
        ("--newest --limit 2", "fe"),
        ("--limit 0", ""),
        (
            "--newest --pipeline odd --until 2013-06-01T04:00:00+00:00",
            "db",
        ),
    ] {
        let words = || filters.split_whitespace();
        let listed = shell.data(["list"].into_iter().chain(words()));
        assert_eq!(ids(&listed), expected, "{filters}");
        let counted = shell.data(["count"].into_iter().chain(words()));
        assert_eq!(counted, format!("{}\n", expected.len()), "{filters}");
        let facets = shell.data(["facets", "-f", "json"].into_iter().chain(words()));
        let facets: serde_json::Value = serde_json::from_str(&facets).unwrap();
        assert_eq!(facets["total"], expected.len(), "{filters}");
    }
}

#[test]
fn json_lines_come_back_as_they_went_in() {
    let shell = Shell::with_six();
    let listed = shell.data(["list", "-f", "jsonl"]);
    assert_eq!(sorted_keys(&listed), sorted_keys(&six()));
    assert_eq!(shell.data(["list"]), listed, "the default in a pipe");
    for (format, input) in [
        ("jsonl", listed.clone()),
        ("json", shell.data(["list", "-f", "json"])),
    ] {
        let other = Shell::new();
        let answer = other.run_with(["import", "--format", format], &input);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert_eq!(other.data(["list"]), listed, "{format}");
    }
}

#[test]
fn every_kind_of_value_comes_back() {
    let values = r#"{"bytes":{"$binary":{"base64":"AAEC","subType":"00"}},"nan":{"$numberDouble":"NaN"},
        "low":{"$numberDouble":"-Infinity"},"map":{"$$binary":null},"zero":-0.0,"float":1.0,
        "max":18446744073709551615,"min":-9223372036854775808,"list":[null,true,"\u0000x",{"a":[]}]}"#
        .replace('\n', "");
    let line = format!(
        r#"{{"created_at":"1969-12-31T23:59:59.000001Z","data":{values},"id":"x\ny","measured_at":"2013-01-01T00:00:00.5Z","measurements":{values},"pipeline":"p,q","status":"pending"}}"#
    );
    let shell = Shell::new();
    assert_eq!(shell.run_with(["import"], &line).code, 0);
    let listed = shell.data(["list"]);
    let other = Shell::new();
    assert_eq!(other.run_with(["import"], &listed).code, 0);
    assert_eq!(other.data(["list"]), listed);
    assert!(listed.contains(r#""zero":-0.0"#), "{listed}");
    assert!(listed.contains(r#""max":18446744073709551615"#), "{listed}");
    let read = samplestore::Sample::from_json_text;
    assert_eq!(read(listed.trim()).unwrap(), read(&line).unwrap());
    let csv = other.data(["list", "--pipeline", "p\\,q", "-f", "csv"]);
    assert!(csv.contains(",NaN,"), "{csv}");
}

fn sorted_keys(jsonl: &str) -> Vec<serde_json::Value> {
    jsonl
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_walk_by_cursors_meets_everything_once() {
    let shell = Shell::with_six();
    for order in [vec![], vec!["--newest"]] {
        let mut met = String::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut words = vec!["list", "--limit", "2", "-f", "json"];
            words.extend(&order);
            words.extend(cursor.iter().flat_map(|token| ["--cursor", token]));
            let page = shell.run(words);
            let json: serde_json::Value = serde_json::from_str(&page.data).unwrap();
            for sample in json["samples"].as_array().unwrap() {
                met.push_str(sample["id"].as_str().unwrap());
            }
            cursor = json["next"].as_str().map(str::to_owned);
            match &cursor {
                Some(token) => assert!(page.words.contains(token), "{page:?}"),
                None => break,
            }
        }
        assert_eq!(met, if order.is_empty() { "abcdef" } else { "fedcba" });
    }

    let first = shell.run(["list", "--limit", "1", "-f", "json"]);
    let json: serde_json::Value = serde_json::from_str(&first.data).unwrap();
    let token = json["next"].as_str().unwrap();
    let misused = shell.run(["list", "--status", "dlq", "--cursor", token]);
    assert_eq!(misused.code, 2, "{misused:?}");
    assert!(misused.words.contains("hint:"), "{misused:?}");
}

#[test]
fn pages_of_any_size_are_the_same_list() {
    let shell = Shell::new();
    let records: String = (0..1_000)
        .map(|n| {
            format!(
                "{{\"id\":\"{n}\",\"pipeline\":\"p\",\"created_at\":\"2013-01-01T00:00:00Z\"}}\n"
            )
        })
        .collect();
    assert_eq!(shell.run_with(["import"], &records).code, 0);
    let all = shell.data(["list"]);
    for limit in ["999", "1000", "5000"] {
        let limited = shell.run(["list", "--limit", limit]);
        let expected: Vec<_> = all.lines().take(limit.parse().unwrap()).collect();
        assert_eq!(limited.data.lines().collect::<Vec<_>>(), expected);
        assert_eq!(
            limited.words.contains("--cursor"),
            limit == "999",
            "{limit}"
        );
    }
}

#[test]
fn csv_has_a_column_for_each_field() {
    let shell = Shell::with_six();
    let csv = shell.data(["list", "--status", "labeled,dlq", "-f", "csv"]);
    assert_eq!(
        csv,
        "id,pipeline,status,created_at,measured_at,\
         reason.stage,reason.message,reason.attempts,reason.at,measurements.m,data.n,data.word\n\
         d,odd,labeled,2013-06-01T03:00:00Z,,,,,,3.5,3,w3\n\
         f,odd,dlq,2013-06-01T05:00:00Z,,parse,\"no, \"\"sun\"\"\",3,2013-06-01T06:00:00Z,5.5,5,w5\n"
    );
    let empty = shell.data(["list", "--limit", "0", "-f", "csv"]);
    assert_eq!(empty, "id,pipeline,status,created_at,measured_at\n");
}

#[test]
fn a_table_is_aligned_and_cannot_steer_the_terminal() {
    let shell = Shell::with_six();
    let table = shell.data(["list", "-f", "table", "--status", "ready,labeled"]);
    let expected = "\
id  pipeline  status   created_at            measurements  data
c   even      ready    2013-06-01T02:00:00Z  m=2.5         n=2 word=w2
d   odd       labeled  2013-06-01T03:00:00Z  m=3.5         n=3 word=w3
";
    assert_eq!(table, expected);
    assert!(
        shell
            .data(["list", "-f", "table"])
            .contains("parse: no, \"sun\"")
    );

    let evil = r#"{"id":"\u001b[2Jx\u202e","pipeline":"p\n","data":{"\u0007":"\u009b31m"}}"#;
    assert_eq!(shell.run_with(["import"], evil).code, 0);
    for words in [
        vec!["list", "-f", "table", "--newest", "--limit", "1"],
        vec!["get", "-f", "table", "\u{1b}[2Jx\u{202e}"],
        vec!["facets", "-f", "table"],
        vec!["stats", "-f", "table"],
    ] {
        let text = shell.data(words.iter().copied());
        assert!(
            !text.contains(|char: char| char.is_control() && char != '\n'),
            "{text:?}"
        );
        assert!(!text.contains('\u{202e}'), "{text:?}");
        assert!(text.contains("p\\n"), "{text}");
    }
    let missing = shell.run(["get", "\u{1b}[31m"]);
    assert!(!missing.words.contains('\u{1b}'), "{missing:?}");
}

#[test]
fn get_gives_the_ids_in_order_and_is_1_when_one_is_not_there() {
    let shell = Shell::with_six();
    assert_eq!(ids(&shell.data(["get", "d", "a"])), "da");
    let answer = shell.run(["get", "b", "nope", "c"]);
    assert_eq!(answer.code, 1);
    assert_eq!(ids(&answer.data), "bc");
    assert_eq!(answer.words, "error: no sample has the id \"nope\"\n");
    let table = shell.data(["get", "f", "-f", "table"]);
    assert!(table.contains("reason.attempts  3"), "{table}");
    assert!(table.contains("data.word        w5"), "{table}");
    let json = shell.data(["get", "f", "-f", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["samples"][0]["id"], "f");
}

#[test]
fn counts_in_every_format() {
    let shell = Shell::with_six();
    assert_eq!(shell.data(["count", "-f", "table"]), "6\n");
    assert_eq!(shell.data(["count", "-f", "csv"]), "count\n6\n");
    assert_eq!(
        shell.data(["count", "-f", "json"]),
        "{\n  \"count\": 6\n}\n"
    );
}

#[test]
fn facets_in_every_format() {
    let shell = Shell::with_six();
    let words = ["facets", "--status", "ready,dlq"];
    let with = |format| shell.data(words.into_iter().chain(["-f", format]));
    assert_eq!(
        with("jsonl"),
        "{\"pipeline\":\"even\",\"status\":\"ready\",\"count\":1}\n\
         {\"pipeline\":\"odd\",\"status\":\"dlq\",\"count\":1}\n"
    );
    assert_eq!(
        with("csv"),
        "pipeline,status,count\neven,ready,1\nodd,dlq,1\n"
    );
    let expected = "\
pipeline  ready  dlq  total
even          1    0      1
odd           0    1      1
total         1    1      2
";
    assert_eq!(with("table"), expected);
    let json: serde_json::Value = serde_json::from_str(&with("json")).unwrap();
    assert_eq!(json["pipelines"]["odd"], 1);
    assert_eq!(json["statuses"]["ready"], 1);
    assert_eq!(json["facets"].as_array().unwrap().len(), 2);
    let by = ["facets", "--by", " pipeline , status"];
    assert_eq!(shell.data(by), shell.data(["facets"]));
}

#[test]
fn explain_shows_a_plan_in_every_format() {
    let shell = Shell::with_six();
    for filters in [
        "",
        "--pipeline even",
        "--status ready --after 2013-06-01",
        "--id a",
    ] {
        let with = |format| {
            let filters = filters.split_whitespace();
            shell.data(["explain", "-f", format].into_iter().chain(filters))
        };
        assert!(!with("table").trim().is_empty());
        for format in ["jsonl", "json"] {
            let json: serde_json::Value = serde_json::from_str(&with(format)).unwrap();
            assert!(json["plan"].is_string(), "{json}");
        }
        assert_eq!(with("jsonl").lines().count(), 1);
    }
    assert_eq!(shell.run(["explain", "-f", "csv"]).code, 2);
}

#[test]
fn stats_tell_what_is_in_the_file() {
    let shell = Shell::with_six();
    let stats: serde_json::Value = serde_json::from_str(&shell.data(["stats"])).unwrap();
    assert_eq!(stats["samples"], 6);
    assert_eq!(stats["pipelines"]["even"], 3);
    assert_eq!(stats["statuses"]["dlq"], 1);
    assert_eq!(stats["first"], "2013-06-01T00:00:00Z");
    assert_eq!(stats["last"], "2013-06-01T05:00:00Z");
    assert!(stats["format_version"].as_u64() >= Some(1));
    let bytes = std::fs::metadata(shell.db()).unwrap().len();
    assert_eq!(stats["file_bytes"], bytes);
    assert!(!stats["tables"].as_array().unwrap().is_empty());
    let table = shell.data(["stats", "-f", "table"]);
    for word in [
        "format version",
        "2013-06-01T05:00:00Z",
        "pipeline",
        "used bytes",
        "6",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
}
