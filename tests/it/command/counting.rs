//! `hist`, `facets --by` and `schema`.

use std::fs;

use super::Shell;

#[test]
fn hist_counts_each_interval_in_every_format() {
    let shell = Shell::with_six();
    shell.data(["rm", "--id", "c", "--yes"]);
    assert_eq!(
        shell.data(["hist", "hour", "-f", "csv", "--split", "status"]),
        "\
start,count,status.pending,status.measured,status.labeled,status.skipped,status.dlq
2013-06-01T00:00:00Z,1,1,0,0,0,0
2013-06-01T01:00:00Z,1,0,1,0,0,0
2013-06-01T02:00:00Z,0,0,0,0,0,0
2013-06-01T03:00:00Z,1,0,0,1,0,0
2013-06-01T04:00:00Z,1,0,0,0,1,0
2013-06-01T05:00:00Z,1,0,0,0,0,1
"
    );
    assert_eq!(
        shell.data(["hist", "month", "--json"]),
        "{\n  \"buckets\": [\n    {\n      \"count\": 5,\n      \"start\": \"2013-06-01T00:00:00Z\"\n    }\n  ],\n  \"interval\": \"month\",\n  \"total\": 5\n}\n"
    );
    assert_eq!(
        shell.data(["hist", "week", "--split", "pipeline"]),
        "{\"count\":5,\"pipelines\":{\"even\":2,\"odd\":3},\"start\":\"2013-05-27T00:00:00Z\"}\n"
    );
    let bar = "█".repeat(60);
    assert_eq!(
        shell.data(["hist", "-f", "table"]),
        format!("2013-06-01  5  {bar}\n")
    );
    let split = shell.data(["hist", "-f", "table", "--split", "pipeline"]);
    let (odd, even) = ("█".repeat(36), "▓".repeat(24));
    assert_eq!(
        split,
        format!("█ odd  ▓ even\n2013-06-01  5  {odd}{even}\n")
    );
    let none = shell.data(["hist", "--status", "ready"]);
    assert_eq!(none, "");
    let minutes = shell.data(["hist", "minute", "-f", "csv", "--status", "dlq,pending"]);
    assert_eq!(minutes.lines().count(), 302, "a header, five hours and one");
}

#[test]
fn what_makes_fewer_bars_is_said_where_there_is_such() {
    let shell = Shell::new();
    let line = |id, year| {
        format!(
            "{{\"id\":\"{id}\",\"pipeline\":\"p\",\"created_at\":\"{year}-01-01T00:00:00Z\"}}\n"
        )
    };
    let text = line("a", "0001") + &line("b", "9999");
    assert_eq!(shell.run_with(["import"], &text).code, 0);
    for (interval, hint) in [
        (
            "week",
            "a wider interval, or --since and --before, make fewer",
        ),
        ("month", "--since and --before make fewer"),
    ] {
        let answer = shell.run(["hist", interval]);
        assert_eq!(answer.code, 2, "{answer:?}");
        let hint = format!(" hint: {hint}\n");
        assert!(answer.words.ends_with(&hint), "{answer:?}");
    }
}

#[test]
fn hist_has_every_pipeline_where_no_colours_tell_them_apart() {
    let shell = Shell::new();
    let names = [
        "(others)", "count", "start", "total", "a", "b", "c", "d", "e",
    ];
    let mut text = String::new();
    for (place, name) in names.iter().enumerate() {
        for n in 0..=place {
            text.push_str(&format!(
                "{{\"id\":\"{name}{n}\",\"pipeline\":\"{name}\",\"created_at\":\"2013-06-01T00:00:00Z\"}}\n"
            ));
        }
    }
    assert_eq!(shell.run_with(["import"], &text).code, 0);
    let hist = ["hist", "--split", "pipeline"];
    let bucket: serde_json::Value = serde_json::from_str(&shell.data(hist)).unwrap();
    let json = shell.data(hist.into_iter().chain(["--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["buckets"][0], bucket);
    assert_eq!(bucket["count"], 45);
    assert_eq!(bucket["start"], "2013-06-01T00:00:00Z");
    for (place, name) in names.iter().enumerate() {
        assert_eq!(bucket["pipelines"][name], place + 1, "{bucket}");
    }
    assert_eq!(
        shell.data(hist.into_iter().chain(["-f", "csv"])),
        "\
start,count,pipeline.e,pipeline.d,pipeline.c,pipeline.b,pipeline.a,pipeline.total,pipeline.start,pipeline.count,pipeline.(others)
2013-06-01T00:00:00Z,45,9,8,7,6,5,4,3,2,1
"
    );
    let bars = shell.data(hist.into_iter().chain(["-f", "table"]));
    assert!(
        bars.contains("# a  + total  : start  . (others)\n"),
        "{bars}"
    );
}

#[test]
fn hist_draws_a_picture() {
    let shell = Shell::with_six();
    let path = shell.path("hist.svg");
    let words = [
        "hist",
        "hour",
        "--split",
        "status",
        "--svg",
        path.to_str().unwrap(),
    ];
    let answer = shell.run(words);
    assert_eq!((answer.code, answer.data.as_str()), (0, ""), "{answer:?}");
    let svg = fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg xmlns="), "{svg}");
    assert!(svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("<title>").count(), 6);
    assert!(svg.contains("<title>2013-06-01 05:00: 1</title>"), "{svg}");
    assert!(svg.contains(">dlq</text>"), "{svg}");
    // Nothing that is there is replaced by the way, and the database never.
    let again = shell.run(words);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.words.contains("--overwrite"), "{again:?}");
    let words = [words.as_slice(), &["--overwrite"]].concat();
    assert_eq!(shell.run(words).code, 0);
    let db = shell.db();
    let into_itself = shell.run(["hist", "hour", "--svg", db.to_str().unwrap(), "--overwrite"]);
    assert_eq!(into_itself.code, 2, "{into_itself:?}");
    assert_eq!(shell.data(["count"]), "6\n");
}

#[test]
fn hist_refuses_more_bars_than_anyone_can_see() {
    let shell = Shell::with_six();
    shell.data(["put", "--pipeline", "p", "--created-at", "1900-01-01"]);
    let answer = shell.run(["hist", "minute"]);
    assert_eq!(answer.code, 2);
    assert!(answer.words.contains("wider"), "{answer:?}");
    assert_eq!(shell.data(["hist", "month"]).lines().count(), 1_362);
}

#[test]
fn facets_are_counted_by_one_field_or_by_both() {
    let shell = Shell::with_six();
    assert_eq!(
        shell.data(["facets", "--by", "pipeline", "-f", "csv"]),
        "pipeline,count\neven,3\nodd,3\n"
    );
    assert_eq!(
        shell.data(["facets", "--by", "status", "--pipeline", "odd"]),
        "{\"count\":1,\"status\":\"measured\"}\n{\"count\":1,\"status\":\"labeled\"}\n{\"count\":1,\"status\":\"dlq\"}\n"
    );
    assert_eq!(
        shell.data(["facets", "--by", "pipeline", "-f", "table"]),
        "pipeline  count\neven          3\nodd           3\n"
    );
    let json = shell.data(["facets", "--by", "pipeline", "-f", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["total"], 6);
    assert_eq!(
        json["facets"][1],
        serde_json::json!({"pipeline": "odd", "count": 3})
    );
    let both = shell.data(["facets", "--by", "pipeline,status"]);
    assert_eq!(both, shell.data(["facets"]));
}

#[test]
fn schema_looks_at_the_newest_and_says_whether_there_are_others() {
    let shell = Shell::new();
    let line = |n| format!("{{\"id\":\"{n}\",\"pipeline\":\"p\",\"data\":{{\"n\":{n}}}}}\n");
    let text: String = (0..10_001).map(line).collect();
    assert_eq!(
        shell.run_with(["import", "--batch", "10001"], &text).code,
        0
    );
    let looked_at = |words: &[&str]| {
        let schema = shell.run([&["schema", "-f", "json"], words].concat());
        assert_eq!(schema.code, 0, "{schema:?}");
        let report: serde_json::Value = serde_json::from_str(&schema.data).unwrap();
        let min = &report["fields"][0]["min"];
        (
            report["samples"].as_u64().unwrap(),
            min.as_u64().unwrap(),
            schema.words,
        )
    };
    let any = ["--where", "data.n >= 0"];
    for (words, samples, least, said) in [
        (
            vec![],
            10_000,
            1,
            "of the newest 10,000 samples of 10,001; --full looks at all\n",
        ),
        // To count these would be to read each.
        (
            any.to_vec(),
            10_000,
            1,
            "of the newest 10,000 samples; --full looks at all\n",
        ),
        (vec!["--where", "data.n > 0"], 10_000, 1, ""),
        (vec!["--full"], 10_001, 0, ""),
        ([&any[..], &["--full"]].concat(), 10_001, 0, ""),
        ([&any[..], &["--limit", "10001"]].concat(), 10_001, 0, ""),
    ] {
        assert_eq!(
            looked_at(&words),
            (samples, least, said.to_owned()),
            "{words:?}"
        );
    }
}

#[test]
fn schema_tells_fields_types_and_bounds() {
    let shell = Shell::with_six();
    let lines = r#"{"id":"x","pipeline":"even","created_at":"2013-06-02T00:00:00Z","data":{"n":2.5,"of":{"deep":[1]},"word":null}}"#;
    assert_eq!(shell.run_with(["import", "-"], lines).code, 0);
    assert_eq!(
        shell.data(["schema", "-f", "csv"]),
        "\
field,count,types,min,max,examples
data.n,7,\"float 1, integer 6\",0,5,\"0, 1, 2\"
data.of,1,map,,,
data.of.deep,1,list,,,
data.word,7,\"null 1, string 6\",w0,w5,\"w0, w1, w2\"
measurements.m,6,float,0.5,5.5,\"0.5, 1.5, 2.5\"
"
    );
    let table = shell.data(["schema", "-f", "table", "--pipeline", "even"]);
    assert!(table.contains("measurements.m   75.0 %  float"), "{table}");
    let first = shell.data(["schema", "--limit", "1"]);
    assert!(
        first.starts_with(
            r#"{"count":1,"examples":[0],"field":"data.n","max":0,"min":0,"types":{"integer":1}}"#
        ),
        "{first}"
    );
    let json = shell.data(["schema", "--full", "-f", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["samples"], 7);
}

#[test]
fn a_schema_of_many_samples_is_one_of_the_newest() {
    let shell = Shell::new();
    let mut text = String::from(
        "{\"id\":\"old\",\"pipeline\":\"p\",\"created_at\":\"2000-01-01T00:00:00Z\",\"data\":{\"rare\":1}}\n",
    );
    for n in 0..10_000 {
        text.push_str(&format!("{{\"id\":\"{n}\",\"pipeline\":\"p\"}}\n"));
    }
    assert_eq!(shell.run_with(["import", "-"], &text).code, 0);
    let answer = shell.run(["schema"]);
    assert_eq!(answer.data, "");
    assert!(
        answer.words.contains("newest 10,000 samples of 10,001"),
        "{answer:?}"
    );
    let answer = shell.run(["schema", "--full", "-f", "csv"]);
    assert_eq!(
        answer.data,
        "field,count,types,min,max,examples\ndata.rare,1,integer,1,1,1\n"
    );
    assert_eq!(answer.words, "");
}
