//! `export`, and what `import` makes of it.

use std::fs;

use samplestore::{Database, Map, Payload, Query, Reason, Sample, Status, Storage, Value, data};

use super::repairing::damage;
use super::{Answer, Shell, six};

/// A sample with every kind of value, and more that try a format.
fn every_kind() -> Vec<Sample> {
    let at = |text: &str| text.parse().unwrap();
    let all = data! {
        "null" => Value::Null,
        "bool" => true,
        "least" => i64::MIN,
        "greatest" => u64::MAX,
        "float" => 0.1,
        "whole" => 2.0,
        "minus zero" => -0.0,
        "tiny" => 5e-324,
        "nan" => f64::NAN,
        "infinite" => f64::NEG_INFINITY,
        "text" => "a,\"b\"\n\u{1b}[31m\u{202e}\u{0}日本",
        "number as text" => "12",
        "empty" => "",
        "bytes" => Value::Bytes(vec![0, 255, 10]),
        "list" => Value::List(vec![Value::Null, 1.into(), "x".into(), Value::List(vec![])]),
        "map" => data! { "$numberDouble" => "NaN", "" => 1 },
        "" => 1,
        "a.b" => 2,
    };
    let build = |builder: samplestore::SampleBuilder| builder.build().unwrap();
    vec![
        build(
            Sample::builder("every, \"kind\"")
                .id("-a\u{7f}")
                .status(Status::Dlq)
                .created_at(at("1969-12-31T23:59:59.999999Z"))
                .measured_at(at("2013-06-01T12:00:00.5Z"))
                .data(&all)
                .measurements(&all)
                .reason(Reason::new(
                    "stage",
                    "",
                    u32::MAX,
                    at("2013-06-01T12:00:01Z"),
                )),
        ),
        build(
            Sample::builder("none")
                .id("b")
                .created_at(at("2013-06-01T12:00:00Z")),
        ),
    ]
}

fn stored(shell: &Shell, name: &str) -> Vec<Sample> {
    let database = Database::open(shell.path(name)).unwrap();
    database
        .iterate(&Query::new())
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Exports, and imports into another database.
fn there_and_back(shell: &Shell, name: &str) -> Answer {
    let file = shell.path(name);
    let file = file.to_str().unwrap();
    let answer = shell.run(["export", file]);
    assert_eq!((answer.code, answer.data.as_str()), (0, ""), "{answer:?}");
    let other = shell.path(&format!("{name}.db"));
    shell.run(["-d", other.to_str().unwrap(), "import", file])
}

#[test]
fn json_and_json_lines_hold_every_kind_of_value() {
    let shell = Shell::new();
    let samples = every_kind();
    let database = Database::open(shell.db()).unwrap();
    database.store(&samples).unwrap();
    database.close().unwrap();
    for name in ["all.jsonl", "all.ndjson", "all.json"] {
        let answer = there_and_back(&shell, name);
        assert_eq!(answer.code, 0, "{name} {answer:?}");
        assert_eq!(stored(&shell, &format!("{name}.db")), samples, "{name}");
    }
}

#[cfg(feature = "arrow")]
#[test]
fn parquet_and_arrow_hold_every_kind_of_value() {
    let shell = Shell::new();
    let mut samples = every_kind();
    // More than one batch, and measurements of several types under one name.
    samples.extend((0..20_000).map(|n| {
        let number: Value = if n % 3 == 0 {
            n.to_string().into()
        } else {
            n.into()
        };
        let sample = Sample::builder("many")
            .id(format!("{n:05}"))
            .measurement("number", number);
        let at = "2013-06-02T00:00:00Z".parse().unwrap();
        sample.created_at(at).build().unwrap()
    }));
    let database = Database::open(shell.db()).unwrap();
    database.store(&samples).unwrap();
    database.close().unwrap();
    for name in ["all.parquet", "all.arrow", "all.feather"] {
        let answer = there_and_back(&shell, name);
        assert_eq!(answer.code, 0, "{name} {answer:?}");
        assert_eq!(stored(&shell, &format!("{name}.db")), samples, "{name}");
    }
    for (name, format) in [("bad.parquet", "parquet"), ("bad.arrow", "arrow")] {
        let bad = shell.file(name, "no such format, but long enough to look for a footer");
        let answer = shell.run(["import", &bad]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.words.contains(name), "{answer:?}");
        let answer = shell.run(["import", "-", "--format", format]);
        assert_eq!(answer.code, 2, "{answer:?}");
    }
}

#[cfg(not(feature = "arrow"))]
#[test]
fn a_build_without_parquet_says_which_has_it() {
    let shell = Shell::with_six();
    let file = shell.path("x.parquet");
    for verb in ["export", "import"] {
        let answer = shell.run([verb, file.to_str().unwrap()]);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.words.contains("--features arrow"), "{answer:?}");
    }
    assert!(!file.exists());
}

#[test]
fn a_csv_holds_all_but_what_it_cannot_tell_apart() {
    let shell = Shell::new();
    let database = Database::open(shell.db()).unwrap();
    database.store(&every_kind()).unwrap();
    database.close().unwrap();
    let answer = there_and_back(&shell, "all.csv");
    assert_eq!(answer.code, 0, "{answer:?}");
    let mut expected = every_kind();
    let mut map = expected[0].data().to_map().unwrap();
    // An empty cell is an absent field, and a text that reads as a number is one.
    map.remove("null");
    map.remove("empty");
    map.insert("number as text".to_owned(), 12.into());
    expected[0] = expected[0]
        .clone()
        .into_builder()
        .data(&map)
        .measurements(&map)
        .build()
        .unwrap();
    assert_eq!(stored(&shell, "all.csv.db"), expected);
}

#[test]
fn a_csv_of_the_users_own_is_no_exported_one() {
    let shell = Shell::new();
    let file = shell.file(
        "own.csv",
        "id,pipeline,status,created_at,measured_at,other\na,p,ready,2013-06-01,,1\n",
    );
    let answer = shell.run(["import", &file]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.words.contains("--pipeline"), "{answer:?}");
    let plain = ["import", &file, "--pipeline-field", "pipeline"];
    assert_eq!(shell.run(plain).code, 0);
    shell.data(["rm", "--all", "--yes"]);
    let bad = shell.file(
        "bad.csv",
        "id,pipeline,status,created_at,measured_at,data.n\na,p,redy,2013-06-01T00:00:00Z,,1\nb,p,ready,2013-06-01T00:00:00Z,,1\nc,p\n",
    );
    let answer = shell.run(["import", &bad]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(
        answer.words.contains("line 2") && answer.words.contains("ready"),
        "{answer:?}"
    );
    assert!(answer.words.contains("line 4"), "{answer:?}");
    assert_eq!(shell.data(["count"]), "1\n");
}

#[test]
fn filters_and_formats_say_what_goes_where() {
    let shell = Shell::with_six();
    let all = shell.data(["export"]);
    assert_eq!(all, shell.data(["list", "-f", "jsonl"]));
    assert_eq!(all.lines().count(), six().lines().count());
    assert_eq!(
        shell
            .data(["export", "-", "--status", "ready", "-f", "json"])
            .lines()
            .count(),
        3
    );
    assert_eq!(
        shell
            .data(["export", "-f", "csv", "--limit", "2"])
            .lines()
            .count(),
        3
    );
    let some = shell.data(["export", "--newest", "--limit", "2"]);
    assert!(some.starts_with("{\"id\":\"f\""), "{some}");
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let shell = Shell::with_six();
    let file = shell.file("out.jsonl", "precious");
    let refused = shell.run(["export", &file]);
    assert_eq!(refused.code, 2);
    assert!(refused.words.contains("--overwrite"), "{refused:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let done = shell.run(["export", &file, "--overwrite"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.words.starts_with("6 samples in "), "{done:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), shell.data(["export"]));
    // Into the database that is read: never, by whichever name it is called.
    let db = shell.db();
    let into_itself = ["export", db.to_str().unwrap(), "-f", "csv", "--overwrite"];
    let into_itself = shell.run(into_itself);
    assert_eq!(into_itself.code, 2, "{into_itself:?}");
    assert!(
        into_itself.words.contains("the database itself"),
        "{into_itself:?}"
    );
    let nowhere = shell.path("none/x.csv");
    let answer = shell.run(["export", nowhere.to_str().unwrap()]);
    assert_eq!(answer.code, 1);
    let told = "none/x.csv: No such file or directory (os error 2)\n";
    assert!(answer.words.ends_with(told), "{answer:?}");
    // One that fails half-way: the query is fine, and the database is damaged behind its first record.
    let missing = Shell::new();
    let target = missing.path("x.jsonl");
    assert_eq!(missing.run(["export", target.to_str().unwrap()]).code, 1);
    let left: Vec<_> = fs::read_dir(missing.path(".")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let names = fs::read_dir(shell.path(".")).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["out.jsonl", "samples.db"], "no part is left");
}

/// Other than a file, neither is replaced by one.
#[cfg(unix)]
#[test]
fn pipes_are_written_to_and_links_are_followed() {
    let shell = Shell::with_six();
    let expected = shell.data(["export", "-f", "csv"]);
    let pipe = shell.path("pipe.csv");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for overwrite in [&[][..], &["--overwrite"]] {
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
        };
        let words = [&["export", pipe.to_str().unwrap()], overwrite].concat();
        let done = shell.run(words);
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(reader.join().unwrap(), expected);
        assert!(!fs::symlink_metadata(&pipe).unwrap().is_file());
    }
    let backup = ["backup", pipe.to_str().unwrap(), "--overwrite"];
    assert_eq!(shell.run(backup).code, 2);
    assert!(!fs::symlink_metadata(&pipe).unwrap().is_file());

    let (link, file) = (shell.path("link.csv"), shell.file("file.csv", "old"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let done = shell.run(["export", link.to_str().unwrap(), "--overwrite"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(file).unwrap(), expected);
}

#[cfg(unix)]
#[test]
fn an_exported_file_may_be_read_as_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let shell = Shell::with_six();
    let plain = shell.file("plain", "");
    let out = shell.path("out.csv");
    assert_eq!(shell.run(["export", out.to_str().unwrap()]).code, 0);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&out), mode(plain.as_ref()));
    // In the place of another one it is as that was, and one that may not be written stays.
    let allow = |bits| fs::set_permissions(&out, fs::Permissions::from_mode(bits)).unwrap();
    let over = ["export", out.to_str().unwrap(), "--overwrite"];
    allow(0o664);
    assert_eq!(shell.run(over).code, 0);
    assert_eq!(mode(&out) & 0o777, 0o664);
    allow(0o444);
    let refused = shell.run(over);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.words.contains("out.csv may not be written"),
        "{refused:?}"
    );
}

#[test]
fn tabs_stand_between_the_cells_of_a_tsv() {
    let shell = Shell::with_six();
    let file = shell.path("all.TSV");
    let file = file.to_str().unwrap();
    shell.data(["export", file]);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.starts_with("id\tpipeline\tstatus\t"), "{text}");
    let other = shell.path("other.db");
    let other = other.to_str().unwrap();
    shell.data(["-d", other, "import", file, "-f", "csv"]);
    assert_eq!(shell.data(["-d", other, "export"]), shell.data(["export"]));
}

#[test]
fn a_csv_with_texts_that_look_like_what_no_sample_holds_is_imported_again() {
    let texts = [
        "[18446744073709551616]",
        r#"{"$binary":5}"#,
        r#"{"$numberDouble":"zz"}"#,
        r#"{"deep":[{"$binary":{"base64":"?"}}]}"#,
        r#"{"a":1,"a":2}"#,
        &format!("{}{}", "[".repeat(70), "]".repeat(70)),
        &"[".repeat(1_000),
        "[1",
        "{}x",
    ];
    let samples = texts.iter().enumerate().map(|(number, text)| {
        let fields = data! { "text" => *text };
        let sample = Sample::builder("p").id(format!("{number}"));
        let sample = sample.data(&fields).measurements(&fields);
        sample.build().unwrap()
    });
    let samples: Vec<Sample> = samples.collect();
    let shell = Shell::new();
    let database = Database::open(shell.db()).unwrap();
    database.store(&samples).unwrap();
    database.close().unwrap();
    let answer = there_and_back(&shell, "texts.csv");
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(stored(&shell, "texts.csv.db"), samples);
}

#[test]
fn what_matches_is_written_before_all_is_read() {
    const SAMPLES: usize = 5_000;
    const LAST: &str = "zQ7xW!kJ#v9&Lp%2";
    let shell = Shell::new();
    let database = Database::open(shell.db()).unwrap();
    let sample = |n: usize| {
        let text = if n == SAMPLES - 1 {
            LAST.to_owned()
        } else {
            format!("{n}")
        };
        let sample = Sample::builder("p").id(n.to_string());
        sample
            .data(data! { "n" => n as u64, "text" => text })
            .build()
            .unwrap()
    };
    let samples: Vec<Sample> = (0..SAMPLES).map(sample).collect();
    database.store(&samples).unwrap();
    database.close().unwrap();
    // Whoever reads the last one fails.
    damage(&shell, LAST.as_bytes());
    for condition in [&[][..], &["--where", "data.n >= 0"]] {
        let export = shell.run([&["export"], condition].concat());
        assert_eq!(export.code, 5, "{:?}", export.words);
        let lines = export.data.lines().count();
        assert!(lines > SAMPLES / 2, "{condition:?} {lines}");
    }
}

#[test]
fn a_csv_has_no_more_columns_than_are_read_back() {
    /// Beside id, pipeline, status, `created_at` and `measured_at`.
    const FIELDS: usize = 16_384 - 5;
    let shell = Shell::new();
    let database = Database::open(shell.db()).unwrap();
    let fields = (0..FIELDS).map(|n| (format!("f{n:05}"), Value::from(n as u64)));
    let at = "2013-06-01T12:00:00Z".parse().unwrap();
    let build = |id: &str, fields| {
        let sample = Sample::builder("p").id(id).created_at(at);
        sample.data(fields).build().unwrap()
    };
    database
        .store(&[build("a", fields.collect::<Map>())])
        .unwrap();
    database.close().unwrap();
    let file = shell.path("wide.csv");
    let file = file.to_str().unwrap();
    shell.data(["export", file]);
    let back = shell.path("back.db");
    let back = back.to_str().unwrap();
    assert_eq!(shell.data(["-d", back, "import", file]), "");
    assert_eq!(shell.data(["-d", back, "export"]), shell.data(["export"]));

    shell.data([
        "put",
        "--id",
        "b",
        "--pipeline",
        "q",
        "--measurement",
        "other=1",
    ]);
    fs::remove_file(file).unwrap();
    for words in [
        &["export", file][..],
        &["export", "-f", "csv"],
        &["list", "-f", "csv"],
    ] {
        let refused = shell.run(words.iter().copied());
        assert_eq!(
            (refused.code, &*refused.data),
            (2, ""),
            "{:?}",
            refused.words
        );
        let said = "more fields than a CSV has columns, 16,384 at most";
        assert!(refused.words.contains(said), "{:?}", refused.words);
    }
    assert!(!shell.path("wide.csv").exists());
    let narrower = shell.data(["export", "-f", "csv", "--pipeline", "q"]);
    assert_eq!(narrower.lines().count(), 2);
    assert_eq!(shell.data(["export"]).lines().count(), 2);
}

/// A list of `false` and a text of control characters: of each byte there are six in JSON.
#[test]
fn a_sample_as_large_as_may_be_comes_back_from_every_format() {
    const FALSES: u32 = 11_500_000;
    let mut falses = vec![0x81, 0xa1, b'x', 0xdd];
    falses.extend(FALSES.to_be_bytes());
    falses.resize(falses.len() + FALSES as usize, 0xc2);
    let text = data! { "x" => "\u{1}".repeat((16 << 20) - 200) };
    for (data, formats) in [
        (Payload::from_bytes(&falses).unwrap(), &["jsonl", "csv"][..]),
        (Payload::from_map(&text).unwrap(), &["jsonl", "json", "csv"]),
    ] {
        let shell = Shell::new();
        let database = Database::open(shell.db()).unwrap();
        let sample = Sample::builder("p").id("a").data(&data).build().unwrap();
        database.store(std::slice::from_ref(&sample)).unwrap();
        database.close().unwrap();
        for format in formats {
            let file = shell.path(&format!("large.{format}"));
            let file = file.to_str().unwrap();
            shell.data(["export", file]);
            let name = format!("{format}.db");
            let back = shell.path(&name);
            let answer = shell.run(["-d", back.to_str().unwrap(), "import", file]);
            assert_eq!(answer.code, 0, "{format} {}", answer.words);
            assert_eq!(
                stored(&shell, &name)[0].data().as_bytes(),
                data.as_bytes(),
                "{format}"
            );
        }
    }
}
