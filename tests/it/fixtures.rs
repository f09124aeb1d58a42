//! Files of every format version, as they were written then: each opens, and everything in it is what it should be.
//!
//! A fixture is a file without its empty pages: the length (`u64`, little-endian), and then the number of each page that is not
//! all zeros (`u32`) and its 4,096 bytes; in gzip, where its name ends in `.gz`. `cargo test --test it fixtures::make -- --ignored`
//! and the same of `fixtures::large::make` write those of the version that this crate writes; they are run when a version is new,
//! and never again.

mod large;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use samplestore::{
    Backup, Cursor, Database, ErrorKind, Map, MemoryStorage, Options, Query, Reason, Sample,
    Status, Storage, Value, data,
};

use crate::files::write_format;

const PAGE_BYTES: usize = 4_096;
const PIPELINES: [&str; 4] = ["weather", "a,b", "überlang 日本", "\u{1b}[31m"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn pack(file: &Path, fixture: &Path) {
    let bytes = fs::read(file).unwrap();
    let mut packed = (bytes.len() as u64).to_le_bytes().to_vec();
    for (number, page) in bytes.chunks(PAGE_BYTES).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            packed.extend((number as u32).to_le_bytes());
            packed.extend(page);
        }
    }
    if is_zipped(fixture) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&packed).unwrap();
        packed = encoder.finish().unwrap();
    }
    fs::write(fixture, packed).unwrap();
}

fn is_zipped(fixture: &Path) -> bool {
    fixture
        .extension()
        .is_some_and(|extension| extension == "gz")
}

fn unpack(fixture: &str, file: &Path) {
    let fixture = folder().join(fixture);
    let mut packed = fs::read(&fixture).unwrap();
    if is_zipped(&fixture) {
        let zipped = std::mem::take(&mut packed);
        GzDecoder::new(&*zipped).read_to_end(&mut packed).unwrap();
    }
    let (len, pages) = packed.split_first_chunk().unwrap();
    let mut bytes = vec![0; u64::from_le_bytes(*len) as usize];
    for page in pages.chunks(4 + PAGE_BYTES) {
        let (number, page) = page.split_first_chunk().unwrap();
        let start = u32::from_le_bytes(*number) as usize * PAGE_BYTES;
        bytes[start..start + page.len()].copy_from_slice(page);
    }
    fs::write(file, bytes).unwrap();
}

/// Three samples at each instant, half of them before 1970.
fn instant(number: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::microseconds((number / 3 - 50) * 1_000_003)
}

/// A sample with every kind of value.
fn sample(number: i64, word: &str) -> Sample {
    let status = Status::ALL[(number / 2 % 6) as usize];
    let mut builder = Sample::builder(PIPELINES[(number * number % 9 % 4) as usize])
        .id(format!(
            "{word}-{}",
            number.wrapping_mul(0x9e37_79b9) % 100_003
        ))
        .status(status)
        .created_at(instant(number))
        .data(data! {
            "null" => Value::Null,
            "bool" => number % 2 == 0,
            "small" => number,
            "least" => i64::MIN + number,
            "greatest" => u64::MAX - number as u64,
            "float" => number as f64 / 7.0,
            "zero" => -0.0,
            "infinite" => f64::NEG_INFINITY,
            "text" => format!("{word} {number} grün 日本 \u{0}"),
            "bytes" => vec![0_u8, 255, number as u8],
            "list" => Value::List(vec![Value::from(number), Value::from("x"), Value::Null]),
            "map" => Value::Map(Map::from([("$binary".to_owned(), Value::from(number))])),
        });
    if number % 3 == 0 {
        builder = builder
            .measured_at(instant(number + 9))
            .measurements(data! { "temp" => number as f64 / 10.0 });
    }
    if matches!(status, Status::Skipped | Status::Dlq) {
        let reason = Reason::new("parse", format!("no {number}"), 3, instant(number + 1));
        builder = builder.reason(reason);
    }
    builder.build().unwrap()
}

/// What the fixture went through before it was closed.
fn live(storage: &dyn Storage) {
    let numbers: Vec<i64> = (0..300).collect();
    for numbers in numbers.chunks(30) {
        let batch: Vec<Sample> = numbers
            .iter()
            .map(|number| sample(*number, "first"))
            .collect();
        storage.store(&batch).unwrap();
    }
    // Stored again, with other instants, pipelines and statuses.
    let again = (0..40).map(|number| {
        let id = sample(number * 5, "first").id().to_owned();
        let other = sample(number * 7 + 1, "again");
        Sample::builder(other.pipeline())
            .id(id)
            .status(other.status())
            .created_at(other.created_at())
            .data(other.data().clone())
            .build()
            .unwrap()
    });
    storage.store(&again.collect::<Vec<_>>()).unwrap();
    let skipped = Query::new().status(Status::Skipped).limit(20);
    storage.delete(&skipped.into()).unwrap();
    let pending = Query::new().pipeline("weather").status(Status::Pending);
    storage
        .set_status(&pending.into(), None, Status::Labeled)
        .unwrap();
}

/// And behind that, before its process ended without closing it.
fn live_on(storage: &dyn Storage) {
    let batch: Vec<Sample> = (300..330).map(|number| sample(number, "late")).collect();
    storage.store(&batch).unwrap();
    storage
        .store(&[sample(301, "late"), sample(7, "first")])
        .unwrap();
    let measured = Query::new()
        .status(Status::Measured)
        .newest_first()
        .limit(5);
    storage
        .set_status(&measured.into(), None, Status::Dlq)
        .unwrap();
    storage.delete(&sample(302, "late").id().into()).unwrap();
}

fn query() -> Query {
    Query::new().newest_first().status(Status::Ready).limit(10)
}

#[test]
#[ignore = "writes the fixtures of a new format version"]
fn make_the_fixtures() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("s.samplestore");
    let database = Database::open(&path).unwrap();
    live(&database);
    database.compact().unwrap();
    // So that there are records in `replaced`, and dead ones in blocks.
    database
        .store(&[sample(11, "first"), sample(12, "first")])
        .unwrap();
    let next = database.list(&query()).unwrap().next.unwrap();
    database.close().unwrap();
    pack(&path, &folder().join("format-1.pages"));
    fs::write(folder().join("format-1.cursor"), next.as_str()).unwrap();
    let database = Database::open(&path).unwrap();
    live_on(&database);
    pack(&path, &folder().join("format-1-killed.pages"));
}

#[test]
#[ignore = "writes the fixture of a writer beside readers, of a new format version"]
fn make_the_fixture_of_shared_readers() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("s.samplestore");
    let database = shared().open(&path).unwrap();
    live(&database);
    database
        .store(&[sample(11, "first"), sample(12, "first")])
        .unwrap();
    live_on(&database);
    pack(&path, &folder().join("format-1-shared.pages.gz"));
}

fn shared() -> Options {
    Database::options().shared_readers(true)
}

/// Fields that have an index in the fixture of these, and conditions that ask it.
const INDEXED: [(&str, &str); 2] = [
    ("measurements.temp", "measurements.temp between 3 and 12.3"),
    ("data.bool", "data.bool = true and data.small < 100"),
];

#[test]
#[ignore = "writes the fixture of indexes of fields, of a new format version"]
fn make_the_fixture_of_indexes() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("s.samplestore");
    let database = Database::open(&path).unwrap();
    live(&database);
    for (field, _) in INDEXED {
        database
            .create_index(&field.parse().unwrap(), |_| ())
            .unwrap();
    }
    // What comes behind them is in the log alone.
    live_on(&database);
    pack(&path, &folder().join("format-1-fields.pages"));
}

fn assert_same(database: &Database, memory: &MemoryStorage) {
    let mut queries = vec![Query::new(), Query::new().newest_first()];
    for pipeline in PIPELINES {
        queries.push(Query::new().pipeline(pipeline));
        for status in Status::ALL {
            let query = Query::new().pipeline(pipeline).status(status);
            queries.push(query.clone().since(instant(40)).before(instant(200)));
            queries.push(query);
        }
    }
    for query in queries {
        let expected = memory.list(&query).unwrap().samples;
        assert_eq!(database.list(&query).unwrap().samples, expected, "{query}");
        assert_eq!(database.count(&query).unwrap(), expected.len() as u64);
        let facets = memory.facets(&query).unwrap();
        assert_eq!(database.facets(&query).unwrap(), facets, "{query}");
    }
    for sample in memory.list(&Query::new()).unwrap().samples {
        let found = database.retrieve(sample.id()).unwrap();
        assert_eq!(found.as_ref(), Some(&sample));
    }
    assert_eq!(database.retrieve(sample(302, "late").id()).unwrap(), None);
}

fn format_of(path: &Path) -> u32 {
    let bytes = fs::read(path).unwrap();
    u32::from_le_bytes(bytes[12..16].try_into().unwrap())
}

#[test]
fn format_1_opens_with_all_that_is_in_it() {
    let temporary = tempfile::tempdir().unwrap();
    for (fixture, is_killed) in [
        ("format-1.pages", false),
        ("format-1-killed.pages", true),
        ("format-1-shared.pages.gz", true),
    ] {
        let path = temporary.path().join(fixture);
        unpack(fixture, &path);
        assert_eq!(format_of(&path), 1);
        let memory = MemoryStorage::new();
        live(&memory);
        memory
            .store(&[sample(11, "first"), sample(12, "first")])
            .unwrap();
        if is_killed {
            live_on(&memory);
        } else {
            let reader = Database::options().read_only(true).open(&path).unwrap();
            assert_same(&reader, &memory);
            let cursor = fs::read_to_string(folder().join("format-1.cursor")).unwrap();
            let cursor: Cursor = cursor.parse().unwrap();
            let all = memory.list(&query().limit(1_000)).unwrap().samples;
            let rest = reader.list(&query().limit(1_000).cursor(cursor)).unwrap();
            assert_eq!(rest.samples, all[10..]);
        }
        let database = Database::open(&path).unwrap();
        assert_eq!(database.stats().unwrap().format_version, 1);
        assert_same(&database, &memory);
        // It is written on, in its own format.
        for storage in [&database as &dyn Storage, &memory] {
            let batch: Vec<Sample> = (200..500).map(|number| sample(number, "new")).collect();
            storage.store(&batch).unwrap();
            let dlq = Query::new().status(Status::Dlq);
            storage.delete(&dlq.into()).unwrap();
        }
        assert_same(&database, &memory);
        database.compact().unwrap();
        drop(database);
        assert_eq!(format_of(&path), 1);
        assert_same(&Database::open(&path).unwrap(), &memory);
    }
}

#[test]
fn format_1_has_its_indexes_of_fields() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("s.samplestore");
    unpack("format-1-fields.pages", &path);
    let memory = MemoryStorage::new();
    live(&memory);
    live_on(&memory);
    let database = Database::open(&path).unwrap();
    let indexes = database.indexes().unwrap();
    let indexes: Vec<_> = indexes
        .iter()
        .map(|index| (index.field.to_string(), index.progress))
        .collect();
    assert_eq!(indexes, INDEXED.map(|(field, _)| (field.to_owned(), 1.0)));
    for _ in 0..2 {
        assert_same(&database, &memory);
        for (field, condition) in INDEXED {
            let query = Query::new().condition(condition.parse().unwrap());
            let expected = memory.list(&query).unwrap().samples;
            assert!(expected.len() > 10, "{query}");
            assert_eq!(database.list(&query).unwrap().samples, expected, "{query}");
            assert_eq!(database.explain(&query).unwrap().field_indexes, [field]);
        }
        assert!(database.check(|_| ()).unwrap().is_sound());
        // They are written on, in their own format.
        let batch: Vec<Sample> = (0..150).map(|number| sample(number * 3, "first")).collect();
        for storage in [&database as &dyn Storage, &memory] {
            storage.store(&batch).unwrap();
        }
    }
}

#[test]
fn format_1_of_a_writer_beside_readers_opens_as_it_was_left() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("s.samplestore");
    unpack("format-1-shared.pages.gz", &path);
    let bytes = fs::read(&path).unwrap();
    // Nothing was ever in the log, which ends where redb's part begins.
    let base = u64::from_le_bytes(bytes[24..32].try_into().unwrap()) as usize;
    assert!(bytes[PAGE_BYTES..base].iter().all(|byte| *byte == 0));
    let memory = MemoryStorage::new();
    live(&memory);
    memory
        .store(&[sample(11, "first"), sample(12, "first")])
        .unwrap();
    live_on(&memory);
    let reader = || shared().read_only(true).open(&path);
    assert_eq!(reader().unwrap_err().kind(), ErrorKind::NeedsRepair);
    let database = shared().open(&path).unwrap();
    assert_same(&database, &memory);
    let reader = reader().unwrap();
    assert_same(&reader, &memory);
    assert!(database.check(|_| ()).unwrap().is_sound());
    for storage in [&database as &dyn Storage, &memory] {
        storage.store(&[sample(500, "new")]).unwrap();
    }
    assert_same(&reader, &memory);
    assert_same(&database, &memory);
}

#[test]
fn a_newer_format_is_refused_by_everybody_and_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("s.samplestore");
    unpack("format-1.pages", &path);
    for version in [2, 3, u32::MAX] {
        write_format(&path, version);
        let before = fs::read(&path).unwrap();
        for options in [
            Database::options(),
            Database::options().read_only(true),
            Database::options().shared_readers(true),
        ] {
            let error = options.open(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FormatTooNew);
            let text = error.to_string();
            assert!(text.contains(&format!("format {version}")), "{text}");
            assert!(text.contains("up to 1"), "{text}");
            assert!(
                error
                    .subject()
                    .is_some_and(|file| file.contains("s.samplestore"))
            );
        }
        assert!(fs::read(&path).unwrap() == before);
    }
    write_format(&path, 0);
    let error = Database::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}
