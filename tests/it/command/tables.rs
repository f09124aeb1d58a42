//! Parquet and Arrow files that other tools made of other things than samples, imported.

use std::fs::File;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder};
use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use serde_json::Value as Json;

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
        vectors.values().append_slice(&[row as f64, 0.5]);
        vectors.append(true);
    }
    let columns: [(&str, ArrayRef); 5] = [
        ("station", Arc::new(names)),
        ("temp", Arc::new(Float64Array::from_iter(temps))),
        (
            "at",
            Arc::new(TimestampMillisecondArray::from_iter_values(instants)),
        ),
        ("number", Arc::new(Int64Array::from_iter_values(0..ROWS))),
        ("vector", Arc::new(vectors.finish())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn written(shell: &Shell, name: &str) -> String {
    let (path, batch) = (shell.path(name), table());
    let file = File::create(&path).unwrap();
    if name.ends_with("parquet") {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    } else {
        let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
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
        let get =
            |id| -> Json { serde_json::from_str(&shell.data(["get", id, "-f", "jsonl"])).unwrap() };
        let sample = get("s2002");
        assert_eq!(sample["pipeline"], "weather");
        assert_eq!(sample["created_at"], "2013-06-01T00:33:22Z");
        assert_eq!(sample["measurements"]["temp"], 1_001.0);
        assert_eq!(sample["data"]["number"], 2_002);
        assert_eq!(sample["data"]["vector"][0], 2_002.0);
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
