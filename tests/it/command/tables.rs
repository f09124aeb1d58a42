//! Parquet and Arrow files that other tools made of other things than samples, imported.

use std::fs::File;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder};
use arrow_array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use serde_json::{Value as Json, json};

use super::Shell;

/// More than are decoded at once.
const ROWS: i64 = 2_500;

/// A table of readings, of which each third has no temperature.
fn table() -> RecordBatch {
    let names = StringArray::from_iter_values((0..ROWS).map(|row| format!("s{row}")));
    let temps = (0..ROWS).map(|row| (row % 3 != 0).then_some(row as f64 / 2.0));
    let instants = (0..ROWS).map(|row| 1_370_044_800_000 + row * 1_000);
    let mut vectors = ListBuilder::new(Float64Builder::new());
    for row in 0..ROWS {
        vectors.values().append_slice(&[row as f64, f64::NAN]);
        vectors.append(true);
    }
    let micros = (0..ROWS).map(|row| 1_370_044_800_000_000 + row);
    let seen = TimestampMicrosecondArray::from_iter_values(micros.clone());
    let local = TimestampMicrosecondArray::from_iter_values(micros);
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5];
    let odd = (0..ROWS).map(|row| odd[row as usize % odd.len()]);
    let short = (0..ROWS).map(|row| if row == 0 { f32::NAN } else { 0.1 });
    let columns: [(&str, ArrayRef); 9] = [
        ("station", Arc::new(names)),
        ("temp", Arc::new(Float64Array::from_iter(temps))),
        (
            "at",
            Arc::new(TimestampMillisecondArray::from_iter_values(instants)),
        ),
        ("number", Arc::new(Int64Array::from_iter_values(0..ROWS))),
        ("vector", Arc::new(vectors.finish())),
        ("seen", Arc::new(seen.with_timezone("UTC"))),
        ("local", Arc::new(local.with_timezone("Europe/Berlin"))),
        ("odd", Arc::new(Float64Array::from_iter_values(odd))),
        ("short", Arc::new(Float32Array::from_iter_values(short))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn written(shell: &Shell, name: &str) -> String {
    written_of(shell, name, &table())
}

fn written_of(shell: &Shell, name: &str, batch: &RecordBatch) -> String {
    let path = shell.path(name);
    let file = File::create(&path).unwrap();
    if name.ends_with("parquet") {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
    } else {
        let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
        // A file may have no batch at all.
        if batch.num_rows() > 0 {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
    }
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_rows_of_any_table_are_imported_as_plain_records_are() {
    let flags = [
        "--pipeline",
        "weather",
        "--id-field",
        "station",
        "--created-at-field",
        "at",
        "--measurement",
        "temp",
    ];
    for name in ["readings.parquet", "readings.arrow"] {
        let shell = Shell::new();
        let file = written(&shell, name);
        let answer = shell.run(["import", &file].into_iter().chain(flags));
        assert_eq!(answer.code, 0, "{name}: {answer:?}");
        assert_eq!(shell.data(["count"]), format!("{ROWS}\n"), "{name}");
        let get = |id: &str| -> Json {
            serde_json::from_str(&shell.data(["get", id, "-f", "jsonl"])).unwrap()
        };
        let sample = get("s2002");
        assert_eq!(sample["pipeline"], "weather");
        assert_eq!(sample["created_at"], "2013-06-01T00:33:22Z");
        assert_eq!(sample["measurements"]["temp"], 1_001.0);
        assert_eq!(sample["data"]["number"], 2_002);
        assert_eq!(sample["data"]["vector"][0], 2_002.0);
        let double = |word: &str| json!({ "$numberDouble": word });
        assert_eq!(sample["data"]["vector"][1], double("NaN"));
        assert_eq!(sample["data"]["short"], 0.1);
        for name in ["seen", "local"] {
            assert_eq!(sample["data"][name], "2013-06-01T00:00:00.002002Z");
        }
        for (row, odd) in [
            (0, double("NaN")),
            (1, double("Infinity")),
            (2, double("-Infinity")),
            (3, json!(0.5)),
        ] {
            assert_eq!(get(&format!("s{row}"))["data"]["odd"], odd, "{name} {row}");
        }
        assert_eq!(get("s0")["data"]["short"], double("NaN"));
        // A null is a field that is not there.
        assert_eq!(get("s3").get("measurements"), None, "{name}");
    }
}

#[test]
fn a_table_without_flags_is_told_what_it_lacks() {
    let shell = Shell::new();
    for name in ["readings.parquet", "readings.arrow"] {
        let file = written(&shell, name);
        let answer = shell.run(["import", &file]);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.words.contains("--id-field COLUMN"), "{answer:?}");
        let answer = shell.run(["import", &file, "--id-field", "station"]);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.words.contains("--pipeline"), "{answer:?}");
        assert!(!shell.db().exists());
    }
}

#[test]
fn an_instant_in_utc_is_when_a_row_was_created() {
    let shell = Shell::new();
    for name in ["readings.parquet", "readings.arrow"] {
        let file = written(&shell, name);
        let flags = ["--pipeline", "p", "--id-field", "station"];
        let created = ["--created-at-field", "seen"];
        let answer = shell.run([&["import", &file], &flags[..], &created].concat());
        assert_eq!(answer.code, 0, "{name}: {answer:?}");
        let first = shell.data(["list", "--limit", "1", "-f", "csv"]);
        let row = first.lines().nth(1).unwrap();
        assert!(
            row.starts_with("s0,p,pending,2013-06-01T00:00:00Z,"),
            "{row}"
        );
    }
}

#[test]
fn a_table_without_rows_is_known_by_its_columns() {
    let shell = Shell::new();
    for name in ["none.parquet", "none.arrow"] {
        let file = written_of(&shell, name, &table().slice(0, 0));
        let flags = ["--pipeline", "p", "--id-field", "station", "--null", "NA"];
        let answer = shell.run([&["import", &file][..], &flags].concat());
        assert_eq!(answer.code, 0, "{name}: {answer:?}");
        assert!(answer.words.contains("inserted 0,"), "{answer:?}");
        let refused = shell.run(["import", &file]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.words.contains("--id-field COLUMN"), "{refused:?}");

        let exported = shell.path(&format!("exported-{name}"));
        let exported = exported.to_str().unwrap();
        shell.data(["export", exported]);
        assert_eq!(shell.run(["import", exported]).code, 0);
        let refused = shell.run(["import", exported, "--id-field", "id"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.words.contains("take no --id-field"), "{refused:?}");
    }
}
