//! `import` of files that `export` wrote: with flags, changed by hand, and written again by other tools.

use std::fs;

use super::Shell;

#[cfg(feature = "arrow")]
const FORMATS: [&str; 5] = ["jsonl", "json", "csv", "parquet", "arrow"];
#[cfg(not(feature = "arrow"))]
const FORMATS: [&str; 3] = ["jsonl", "json", "csv"];

/// Exports the six into a file of this name.
fn exported(shell: &Shell, name: &str) -> String {
    let file = shell.path(name).to_str().unwrap().to_owned();
    shell.data(["export", &file, "-q"]);
    file
}

#[test]
fn flags_say_what_all_samples_are_in_every_format() {
    let shell = Shell::with_six();
    let expected = shell.data(["export"]);
    let changed = |text: &str| {
        let mut text = text
            .replace("\"even\"", "\"new\"")
            .replace("\"odd\"", "\"new\"");
        for status in ["pending", "measured", "ready", "skipped", "dlq"] {
            let [old, new] = [status, "labeled"].map(|word| format!("\"status\":\"{word}\""));
            text = text.replace(&old, &new);
        }
        text
    };
    for format in FORMATS {
        let file = exported(&shell, &format!("all.{format}"));
        let other = shell.path(&format!("{format}.db"));
        let other = other.to_str().unwrap();
        let import = |flags: &[&str]| shell.run([&["-d", other, "import", &file], flags].concat());
        let all = || shell.data(["-d", other, "export"]);

        let done = import(&["--status", "labeled"]);
        assert_eq!(done.code, 0, "{format} {done:?}");
        assert_eq!(
            shell.data(["-d", other, "count", "--status", "labeled"]),
            "6\n"
        );
        let done = import(&["--pipeline", "new", "--status", "labeled"]);
        assert_eq!(done.code, 0, "{format} {done:?}");
        assert_eq!(all(), changed(&expected), "{format}");
        for flags in [
            &["--pipeline", "p", "--id-field", "id"][..],
            &["--pipeline", "p", "--measurement", "m"],
            &[
                "--pipeline-field",
                "pipeline",
                "--created-at-field",
                "created_at",
            ],
            &["--pipeline", "p", "--null", "NA"],
        ] {
            let refused = import(flags);
            assert!([2, 3].contains(&refused.code), "{format} {refused:?}");
            let said = format!("no {}", flags[if flags[0] == "--pipeline" { 2 } else { 0 }]);
            assert!(refused.words.contains(&said), "{format} {refused:?}");
            assert!(
                refused.words.contains("hint: leave them out"),
                "{refused:?}"
            );
            assert_eq!(all(), changed(&expected), "{format}");
        }
    }
}

#[test]
fn records_that_say_less_are_samples_too_and_others_plain() {
    let shell = Shell::new();
    let text = "{\"id\":\"a\",\"pipeline\":\"p\"}\n";
    assert_eq!(
        shell.run_with(["import", "--status", "ready"], text).code,
        0
    );
    assert_eq!(shell.run_with(["import", "--pipeline", "q"], text).code, 0);
    let stored = shell.data(["export"]);
    assert!(
        stored.starts_with("{\"id\":\"a\",\"pipeline\":\"q\",\"status\":\"pending\""),
        "{stored}"
    );
    // Where it has a field that no sample has, or a flag names its fields, a record is plain.
    let plain = "{\"id\":\"b\",\"pipeline\":\"p\",\"n\":1}\n";
    let words = ["import", "--pipeline", "q", "--id-field", "id"];
    assert_eq!(shell.run_with(words, plain).code, 0);
    let mapped = ["import", "--pipeline-field", "pipeline", "--id-field", "id"];
    assert_eq!(shell.run_with(mapped, text).code, 0);
    assert_eq!(shell.data(["count", "--where", "data.n = 1"]), "1\n");
    let rejected = shell.run_with(["import", "--status", "ready"], "{\"n\":1}\n");
    assert_eq!(rejected.code, 3, "{rejected:?}");
    assert!(rejected.words.contains("--pipeline NAME"), "{rejected:?}");
}

#[test]
fn a_column_that_was_added_is_a_field_or_refused_by_name() {
    let shell = Shell::with_six();
    let file = exported(&shell, "all.csv");
    let text = fs::read_to_string(&file).unwrap();
    let with = |name: &str| {
        let lines = text.lines().enumerate();
        let lines = lines.map(|(number, line)| match number {
            0 => format!("{line},{name}\n"),
            _ => format!("{line},yes\n"),
        });
        shell.file("with.csv", lines.collect::<String>())
    };
    for flags in [&[][..], &["--status", "ready"], &["--pipeline", "p"]] {
        let refused = shell.run([&["import", &with("label")], flags].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(
            refused.words.contains("\"label\" is none of a sample"),
            "{refused:?}"
        );
        assert!(refused.words.contains("data.label"), "{refused:?}");
    }
    assert_eq!(shell.run(["import", &with("data.label")]).code, 0);
    assert_eq!(
        shell.data(["count", "--where", "data.label = 'yes'"]),
        "6\n"
    );
}

#[test]
fn a_measurement_that_no_record_has_is_told() {
    let shell = Shell::new();
    let flags = ["import", "--pipeline", "p", "--measurement", "tmp,humid"];
    let told = shell.run_with(flags, "{\"id\":\"1\",\"temp\":3}\n{\"humid\":1}\n");
    assert_eq!(told.code, 0, "{told:?}");
    let said = "no record has the measurement \"tmp\" (did you mean \"temp\"?)\n";
    assert!(told.words.starts_with(said), "{told:?}");
    assert!(!told.words.contains("\"humid\""), "{told:?}");
}

#[test]
fn a_name_that_is_given_twice_is_rejected() {
    let shell = Shell::new();
    for (flags, text) in [
        (&[][..], r#"{"id":"a","pipeline":"p","data":{"a":1,"a":2}}"#),
        (&["--pipeline", "p"], r#"{"a":1,"a":2}"#),
        (&["--pipeline", "p"], r#"{"b":[{"a":1,"a":2}]}"#),
    ] {
        let refused = shell.run_with([&["import"], flags].concat(), text);
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(
            refused.words.contains("\"a\" is given twice"),
            "{refused:?}"
        );
    }
}

#[test]
fn cells_may_be_apart_by_other_characters() {
    let shell = Shell::new();
    let import = |name: &str, text: &str, flags: &[&str]| {
        let file = shell.file(name, text);
        shell.run([&["import", &file, "--pipeline", "p"], flags].concat())
    };
    assert_eq!(import("a.tsv", "a\tb\n1\t2\n", &[]).code, 0);
    assert_eq!(import("b.csv", "a;b\n1;2\n", &["--delimiter", ";"]).code, 0);
    assert_eq!(
        import("c.csv", "a\tb\n1\t2\n", &["--delimiter", "tab"]).code,
        0
    );
    assert_eq!(
        shell.data(["count", "--where", "data.a = 1 and data.b = 2"]),
        "3\n"
    );
    let refused = import("d.csv", "a;b\n1;2\n", &[]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.words.contains("--delimiter \";\" splits it"),
        "{refused:?}"
    );
    assert_eq!(import("d.csv", "a;b\n1;2\n", &["--delimiter", ","]).code, 0);
    for (name, delimiter) in [
        ("e.csv", "ab"),
        ("e.csv", ""),
        ("e.csv", "\""),
        ("e.jsonl", ";"),
    ] {
        assert_eq!(import(name, "a\n", &["--delimiter", delimiter]).code, 2);
    }
}

#[cfg(feature = "arrow")]
mod columnar {
    use std::fs::File;
    use std::sync::Arc;

    use arrow_array::{
        Array, ArrayRef, Date32Array, Date64Array, Float64Array, RecordBatch, StringArray,
        TimestampSecondArray,
    };
    use arrow_cast::cast;
    use arrow_ipc::reader::FileReader;
    use arrow_ipc::writer::{FileWriter, StreamWriter};
    use arrow_schema::{DataType, Field, Schema, TimeUnit};
    use parquet::arrow::ArrowWriter;

    use super::*;

    /// Reads an export, and writes it again with other columns.
    fn rewritten(
        shell: &Shell,
        name: &str,
        change: impl Fn(&str, &ArrayRef) -> ArrayRef,
        more: &[(&str, ArrayRef)],
    ) -> String {
        let read = File::open(exported(shell, "all.arrow")).unwrap();
        let batch = FileReader::try_new(read, None)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        fs::remove_file(shell.path("all.arrow")).unwrap();
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns =
            columns.map(|(field, column)| (field.name().as_str(), change(field.name(), column)));
        let columns: Vec<_> = columns.chain(more.iter().cloned()).collect();
        let fields = columns.iter();
        let fields: Vec<_> = fields
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
            .collect();
        let columns = columns.into_iter().map(|(_, column)| column);
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        let path = shell.path(name);
        let file = File::create(&path).unwrap();
        if name.ends_with("parquet") {
            let mut writer = ArrowWriter::try_new(file, schema, None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        } else if name.starts_with("stream") {
            let mut writer = StreamWriter::try_new(file, &schema).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
        } else {
            let mut writer = FileWriter::try_new(file, &schema).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
        }
        path.to_str().unwrap().to_owned()
    }

    fn as_it_is(_: &str, column: &ArrayRef) -> ArrayRef {
        Arc::clone(column)
    }

    #[test]
    fn the_types_that_other_tools_write_are_read() {
        let shell = Shell::with_six();
        let expected = shell.data(["export"]);
        let dictionary =
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::LargeUtf8));
        let text_types = [DataType::LargeUtf8, DataType::Utf8View, dictionary];
        let units = [
            TimeUnit::Nanosecond,
            TimeUnit::Millisecond,
            TimeUnit::Second,
        ];
        for (texts, unit) in text_types.iter().zip(units) {
            for name in ["a.parquet", "a.arrow", "stream.arrow"] {
                let change = |_: &str, column: &ArrayRef| match column.data_type() {
                    DataType::Utf8 => cast(column, texts).unwrap(),
                    DataType::Timestamp(_, zone) => {
                        cast(column, &DataType::Timestamp(unit, zone.clone())).unwrap()
                    }
                    _ => Arc::clone(column),
                };
                let file = rewritten(&shell, name, change, &[]);
                let other = shell.path("other.db");
                let other = other.to_str().unwrap();
                let done = shell.run(["-d", other, "import", &file]);
                assert_eq!(done.code, 0, "{texts} {name} {done:?}");
                assert_eq!(
                    shell.data(["-d", other, "export"]),
                    expected,
                    "{texts} {name}"
                );
                fs::remove_file(other).unwrap();
            }
        }
        for (bytes, told) in [
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
                "goes on behind its end",
            ),
            (b"id,pipeline\n", "neither an Arrow file nor"),
            (b"ARROW1\0\0", "ends too early"),
        ] {
            let bad = shell.file("bad.arrow", bytes);
            let refused = shell.run(["import", &bad]);
            assert_eq!(refused.code, 1, "{refused:?}");
            assert!(refused.words.contains(told), "{refused:?}");
        }
    }

    #[test]
    fn columns_that_were_changed_or_added_count() {
        let shell = Shell::with_six();
        for name in ["a.parquet", "a.arrow"] {
            let change = |column: &str, as_is: &ArrayRef| match column {
                "measurements.m" => {
                    let numbers = [
                        Some(999.0),
                        None,
                        Some(2.5),
                        Some(3.5),
                        Some(4.5),
                        Some(f64::NAN),
                    ];
                    Arc::new(Float64Array::from(numbers.to_vec()))
                }
                _ => Arc::clone(as_is),
            };
            let labels = [Some("yes"), None, Some("12"), None, None, None];
            let labels: ArrayRef = Arc::new(StringArray::from(labels.to_vec()));
            let file = rewritten(&shell, name, change, &[("data.label", Arc::clone(&labels))]);
            let other = shell.path("other.db");
            let other = other.to_str().unwrap();
            let done = shell.run(["-d", other, "import", &file]);
            assert_eq!(done.code, 0, "{done:?}");
            for (condition, ids) in [
                ("measurements.m = 999", "a"),
                // A null says nothing.
                ("measurements.m = 1.5", "b"),
                ("data.label = 'yes'", "a"),
                // A text stays one.
                ("data.label = '12'", "c"),
            ] {
                let csv = shell.data(["-d", other, "list", "-f", "csv", "--where", condition]);
                assert!(
                    csv.lines().nth(1).unwrap().starts_with(ids),
                    "{condition} {csv}"
                );
            }
            let last = shell.data(["-d", other, "get", "f"]);
            assert!(
                last.contains("{\"m\":{\"$numberDouble\":\"NaN\"}}"),
                "{last}"
            );
            fs::remove_file(other).unwrap();

            let file = rewritten(&shell, name, as_it_is, &[("label", labels)]);
            let refused = shell.run(["-d", other, "import", &file]);
            assert_eq!(refused.code, 1, "{refused:?}");
            assert!(
                refused.words.contains("it must be called data.label"),
                "{refused:?}"
            );
            assert!(!shell.path("other.db").exists());
        }
    }

    /// The text columns hold what JSON Lines would refuse.
    #[test]
    fn what_json_lines_refuse_is_refused_in_columns() {
        let shell = Shell::with_six();
        let six = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; 6])) };
        for (column, text, said) in [
            (
                "data",
                r#"{"n":123456789012345678901234567890}"#,
                "beyond 64 bits",
            ),
            (
                "measurements",
                r#"{"m":[18446744073709551616]}"#,
                "beyond 64 bits",
            ),
            ("data", r#"{"a":1,"a":2}"#, "is given twice"),
            ("data", "{", "must be a map"),
        ] {
            for name in ["a.parquet", "a.arrow"] {
                let change = |found: &str, as_is: &ArrayRef| match found == column {
                    true => six(text),
                    false => Arc::clone(as_is),
                };
                let file = rewritten(&shell, name, change, &[]);
                let rejects = shell.path("rejects");
                let other = shell.path("other.db");
                let flags = ["--rejects", rejects.to_str().unwrap(), "--overwrite"];
                let words = ["-d", other.to_str().unwrap(), "import", &file];
                let refused = shell.run([&words[..], &flags].concat());
                assert_eq!(refused.code, 3, "{text} {refused:?}");
                let kept = fs::read_to_string(&rejects).unwrap();
                assert_eq!(kept.matches(said).count(), 6, "{kept}");
                // To the last digit.
                assert!(text == "{" || kept.contains(text), "{kept}");
                fs::remove_file(other).unwrap();
            }
        }
    }

    #[test]
    fn an_instant_that_microseconds_do_not_reach_is_rejected_and_not_now() {
        let shell = Shell::with_six();
        let seconds = TimestampSecondArray::from(vec![Some(1 << 60); 6]);
        let days = Date32Array::from(vec![i32::MAX; 6]);
        let millis = Date64Array::from(vec![i64::MIN; 6]);
        let columns: [ArrayRef; 3] = [Arc::new(seconds), Arc::new(days), Arc::new(millis)];
        for column in columns {
            for name in ["created_at", "measured_at"] {
                let change = |found: &str, as_is: &ArrayRef| match found == name {
                    true => Arc::clone(&column),
                    false => Arc::clone(as_is),
                };
                let file = rewritten(&shell, "a.parquet", change, &[]);
                let other = shell.path("other.db");
                let refused = shell.run(["-d", other.to_str().unwrap(), "import", &file]);
                assert_eq!(refused.code, 3, "{} {refused:?}", column.data_type());
                assert!(refused.words.contains("rejected 6 "), "{refused:?}");
                assert!(refused.words.contains(name), "{refused:?}");
                fs::remove_file(other).unwrap();
            }
        }
    }
}
