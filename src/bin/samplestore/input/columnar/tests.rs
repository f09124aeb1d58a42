//! Files that are made to harm: what they say of themselves is an error or is passed over, before room is made for it.

use std::io::Seek;

use arrow_array::builder::{Float64Builder, ListBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    DictionaryArray, Float64Array, Int32Array, LargeStringArray, NullArray, StringArray,
    TimestampNanosecondArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::data_type::ByteArrayType;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

const ALL: [Made; 3] = [Made::Parquet, Made::File, Made::Stream];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Parquet,
    File,
    Stream,
}

/// A file of these columns.
fn written(kind: Made, columns: &[(&str, ArrayRef)]) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .iter()
            .map(|(name, column)| (*name, Arc::clone(column), true)),
    );
    let batch = batch.unwrap();
    let mut bytes = Vec::new();
    let lz4 = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .unwrap();
    match kind {
        Made::Parquet => {
            let properties = WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_dictionary_page_size_limit(1 << 30);
            let properties = Some(properties.build());
            let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), properties).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        }
        Made::File => {
            let writer = FileWriter::try_new_with_options(&mut bytes, &batch.schema(), lz4);
            let mut writer = writer.unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
        }
        Made::Stream => {
            let writer = StreamWriter::try_new_with_options(&mut bytes, &batch.schema(), lz4);
            let mut writer = writer.unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
        }
    }
    bytes
}

/// Calls `see` with the text of each record, until it has seen this many, or with none for one that is too long.
fn read(
    kind: Made,
    bytes: &[u8],
    records_max: usize,
    mut see: impl FnMut(Option<&[u8]>),
) -> io::Result<()> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    let format = match kind {
        Made::Parquet => InputFormat::Parquet,
        Made::File | Made::Stream => InputFormat::Arrow,
    };
    let mut reader = BatchReader::new(file, format)?;
    for _ in 0..records_max {
        match reader.next()? {
            Some((_, Record::Json(text))) => see(Some(text)),
            Some((_, record)) => {
                assert!(matches!(record, Record::TooLong), "{record:?}");
                see(None);
            }
            None => break,
        }
    }
    Ok(())
}

/// The same text in so many rows, of which the file holds one.
fn again(text: &str, rows: usize) -> ArrayRef {
    let values = Arc::new(StringArray::from(vec![text]));
    let keys = Int32Array::from(vec![0; rows]);
    Arc::new(DictionaryArray::<Int32Type>::new(keys, values))
}

fn numbered(rows: usize) -> ArrayRef {
    let ids = (0..rows).map(|row| row.to_string());
    Arc::new(StringArray::from_iter_values(ids))
}

#[test]
fn a_text_that_each_row_says_again_is_read() {
    // In all rows together it is longer than any column of texts may be.
    const ROWS: usize = 1_024;
    const SEEN: usize = ROWS_MAX + 1;
    let text = "x".repeat(4 << 20);
    for kind in ALL {
        for names in [["id", "pipeline", "data"], ["one", "two", "three"]] {
            let columns = [numbered(ROWS), again("p", ROWS), again(&text, ROWS)];
            let columns: Vec<_> = names.into_iter().zip(columns).collect();
            let bytes = written(kind, &columns);
            let mut seen = 0;
            let end = read(kind, &bytes, SEEN, |record| {
                assert!(record.is_some_and(|record| record.len() > text.len()));
                seen += 1;
            });
            end.unwrap();
            assert_eq!(seen, SEEN, "{kind:?} {names:?}");
        }
    }
}

#[test]
fn a_row_that_is_longer_than_any_record_is_passed_over() {
    let text = "x".repeat(16 << 20);
    let columns = RECORD_BYTES_MAX / text.len() + 1;
    let names: Vec<_> = (0..columns).map(|n| format!("data.{n}")).collect();
    let long: ArrayRef = Arc::new(StringArray::from(vec![None, Some(text.as_str()), None]));
    for first in [["id", "pipeline"], ["one", "two"]] {
        let mut table = vec![(first[0], numbered(3)), (first[1], again("p", 3))];
        table.extend(names.iter().map(|name| (name.as_str(), Arc::clone(&long))));
        let bytes = written(Made::Stream, &table);
        let mut seen = Vec::new();
        let end = read(Made::Stream, &bytes, usize::MAX, |record| {
            seen.push(record.is_some());
        });
        end.unwrap();
        assert_eq!(seen, [true, false, true], "{first:?}");
    }
}

#[test]
fn no_room_is_made_for_what_a_buffer_says_that_it_takes() {
    const LENGTH: u64 = 100_003;
    let text = "x".repeat(LENGTH as usize);
    let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
    for kind in [Made::File, Made::Stream] {
        let bytes = written(kind, &[("a", Arc::clone(&text))]);
        // Behind it a frame of LZ4 begins.
        let prefix = [&LENGTH.to_le_bytes()[..], &[0x04, 0x22, 0x4d, 0x18]].concat();
        let at = bytes
            .windows(prefix.len())
            .position(|bytes| bytes == prefix);
        let at = at.unwrap();
        for said in [1_u64 << 33, 1 << 50, i64::MAX as u64] {
            let mut bytes = bytes.clone();
            bytes[at..at + 8].copy_from_slice(&said.to_le_bytes());
            let refused = read(kind, &bytes, 1, |_| {}).unwrap_err().to_string();
            assert!(refused.contains("write it in smaller batches"), "{refused}");
        }
    }
}

#[test]
#[allow(clippy::print_stdout)]
fn whatever_byte_is_another_one_it_ends_with_an_error_or_with_rows() {
    for kind in ALL {
        let bytes = written(
            kind,
            &[
                ("id", numbered(3)),
                ("pipeline", again("p", 3)),
                (
                    "data",
                    Arc::new(StringArray::from(vec![Some("{}"), None, Some("[")])),
                ),
                (
                    "data.x",
                    Arc::new(Float64Array::from(vec![1.5, f64::NAN, 0.0])),
                ),
            ],
        );
        let (mut errors, mut rows) = (0, 0);
        for at in 0..bytes.len() {
            for other in [bytes[at] ^ 0x01, bytes[at] ^ 0x80, !bytes[at], 0] {
                if other == bytes[at] {
                    continue;
                }
                let mut bytes = bytes.clone();
                bytes[at] = other;
                match read(kind, &bytes, 1_000, |_| {}) {
                    Ok(()) => rows += 1,
                    Err(_) => errors += 1,
                }
            }
        }
        println!(
            "{kind:?}: {} bytes, {errors} errors, {rows} read",
            bytes.len()
        );
        assert!(errors > 0 && rows > 0, "{kind:?}");
        for length in 0..bytes.len() {
            let cut = read(kind, &bytes[..length], 1_000, |_| {});
            // A stream may end with any of its messages.
            assert!(cut.is_err() || kind == Made::Stream, "{kind:?} {length}");
        }
    }
}

#[test]
fn what_is_null_in_a_dictionary_is_null() {
    let values: [ArrayRef; 2] = [
        Arc::new(StringArray::from(vec![Some("yes"), None])),
        Arc::new(LargeStringArray::from(vec![Some("yes"), None])),
    ];
    for kind in ALL {
        for values in &values {
            let keys = Int32Array::from(vec![Some(0), Some(1), None]);
            let labels = DictionaryArray::<Int32Type>::new(keys, Arc::clone(values));
            let columns: [(&str, ArrayRef); 3] = [
                ("id", numbered(3)),
                ("pipeline", again("p", 3)),
                ("data.label", Arc::new(labels)),
            ];
            let mut labelled = Vec::new();
            let end = read(kind, &written(kind, &columns), 9, |record| {
                let record: Json = serde_json::from_slice(record.unwrap()).unwrap();
                labelled.push(record["data"]["label"].clone());
            });
            end.unwrap();
            assert_eq!(labelled, [json!("yes"), Json::Null, Json::Null], "{kind:?}");
        }
    }
}

#[test]
fn so_it_is_in_tables_of_something_else() {
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("yes"), None]));
    for kind in ALL {
        for (values, first) in [(&numbers, json!(7)), (&texts, json!("yes"))] {
            let keys = Int32Array::from(vec![Some(0), Some(1), None]);
            let column = DictionaryArray::<Int32Type>::new(keys, Arc::clone(values));
            let columns: [(&str, ArrayRef); 2] = [("n", numbered(3)), ("v", Arc::new(column))];
            let mut seen = Vec::new();
            let end = read(kind, &written(kind, &columns), 9, |record| {
                let record: Json = serde_json::from_slice(record.unwrap()).unwrap();
                seen.push(record["v"].clone());
            });
            end.unwrap();
            assert_eq!(seen, [first, Json::Null, Json::Null], "{kind:?}");
        }
    }
}

#[test]
fn rows_of_a_large_batch_are_not_taken_for_all_of_it() {
    const ROWS: usize = 300;
    const ITEMS: usize = 200_000;
    // As long as no row may be, in all of them together.
    let mut lists = ListBuilder::new(Float64Builder::new());
    let items = vec![0.0; ITEMS];
    for _ in 0..ROWS {
        lists.values().append_slice(&items);
        lists.append(true);
    }
    assert!(ROWS * ITEMS * size_of::<f64>() > RECORD_BYTES_MAX);
    let columns: [(&str, ArrayRef); 2] = [("n", numbered(ROWS)), ("v", Arc::new(lists.finish()))];
    let mut seen = 0;
    let end = read(Made::File, &written(Made::File, &columns), 3, |record| {
        assert!(record.is_some_and(|record| record.len() > ITEMS));
        seen += 1;
    });
    end.unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn what_is_called_a_text_and_is_none_is_an_error() {
    for (bytes, is_text) in [(&b"{}"[..], true), (&[b'{', 0xff, 0xfe, b'}'][..], false)] {
        let schema = "message m { required binary id (UTF8); required binary pipeline (UTF8);
                      required binary data (JSON); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut file = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::default()).unwrap();
        let mut rows = writer.next_row_group().unwrap();
        for value in [&b"a"[..], b"p", bytes] {
            let mut column = rows.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed
                .write_batch(&[value.to_vec().into()], None, None)
                .unwrap();
            column.close().unwrap();
        }
        rows.close().unwrap();
        writer.close().unwrap();
        let mut seen = 0;
        let end = read(Made::Parquet, &file, 9, |_| seen += 1);
        assert_eq!(
            (end.is_ok(), seen),
            (is_text, u32::from(is_text)),
            "{end:?}"
        );
    }
}

#[test]
fn more_rows_than_any_file_of_its_length_has_are_refused_before_the_first() {
    // In the file they are a number.
    let null = |rows| -> ArrayRef { Arc::new(NullArray::new(rows)) };
    for kind in [Made::File, Made::Stream] {
        let bytes = written(kind, &[("a", null(1 << 40))]);
        let end = read(kind, &bytes, 1, |_| panic!("a row was read"));
        let told = end.unwrap_err().to_string();
        assert!(told.contains("1099511627776 rows or more"), "{told}");
    }
    // A table of constants is read.
    const ROWS: usize = 1_200_000;
    for kind in ALL {
        let ones: ArrayRef = Arc::new(Int32Array::from(vec![1; ROWS]));
        let bytes = written(kind, &[("one", ones), ("pipeline", again("p", ROWS))]);
        let mut seen = 0;
        read(kind, &bytes, 3, |_| seen += 1).unwrap();
        assert_eq!(seen, 3, "{kind:?} of {} bytes", bytes.len());
    }
}

#[test]
fn a_column_that_is_given_twice_is_refused() {
    for twice in ["id", "data", "data.x", "created_at"] {
        let values: ArrayRef = match twice {
            "created_at" => Arc::new(TimestampNanosecondArray::from(vec![0; 3])),
            _ => numbered(3),
        };
        let mut columns = vec![("id", numbered(3)), ("pipeline", again("p", 3))];
        columns.retain(|(name, _)| *name != twice);
        columns.extend([(twice, Arc::clone(&values)), (twice, values)]);
        let end = read(Made::Stream, &written(Made::Stream, &columns), 9, |_| {});
        let told = end.unwrap_err().to_string();
        assert!(
            told.contains(&format!("{twice:?} is given twice")),
            "{told}"
        );
    }
}

#[test]
fn instants_are_cut_and_not_rounded() {
    let nanos = vec![-1, -1_000, 999, -1_001];
    let columns: [(&str, ArrayRef); 3] = [
        ("id", numbered(4)),
        ("pipeline", again("p", 4)),
        (
            "created_at",
            Arc::new(TimestampNanosecondArray::from(nanos)),
        ),
    ];
    for kind in ALL {
        let mut seen = Vec::new();
        let end = read(kind, &written(kind, &columns), 9, |record| {
            let record: Json = serde_json::from_slice(record.unwrap()).unwrap();
            seen.push(record["created_at"].as_str().unwrap().to_owned());
        });
        end.unwrap();
        let before = "1969-12-31T23:59:59.999999Z";
        let at = "1970-01-01T00:00:00Z";
        assert_eq!(
            seen,
            [before, before, at, "1969-12-31T23:59:59.999998Z"],
            "{kind:?}"
        );
    }
}

#[test]
fn what_is_behind_a_stream_that_is_cut_off_is_no_message() {
    let columns = [("id", numbered(3)), ("pipeline", again("p", 3))];
    let mut bytes = written(Made::Stream, &columns);
    // Its end: what stands before a message, and that there is none.
    bytes.truncate(bytes.len() - 8);
    bytes.push(b'\n');
    let mut seen = 0;
    read(Made::Stream, &bytes, 9, |_| seen += 1).unwrap();
    assert_eq!(seen, 3);
}
