//! PostgreSQL: what the conformance suite cannot see. Servers are real, see `servers/postgres.rs`.

mod access;
mod failing;
mod frozen;
mod indexes;
mod large;
mod schema;
mod sharing;

use std::time::Duration;

use samplestore::{Query, RetryPolicy, Sample, Storage, Value, connect, data};

use crate::servers::postgres::shared;

/// For longer than a server takes to start.
const PATIENT: RetryPolicy = RetryPolicy::fixed(600, Duration::from_millis(100));

fn sample(id: &str) -> Sample {
    Sample::builder("weather")
        .id(id)
        .data(data! { "temp" => 71.6 })
        .build()
        .unwrap()
}

fn numbered(count: usize) -> Vec<Sample> {
    (0..count)
        .map(|number| sample(&format!("{number:06}")))
        .collect()
}

fn all(storage: &dyn Storage) -> Vec<Sample> {
    storage.list(&Query::new()).unwrap().samples
}

/// Does it again while the error says that this may help.
fn insist<T>(mut work: impl FnMut() -> samplestore::Result<T>) -> T {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match work() {
            Ok(answer) => return answer,
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                std::thread::sleep(PATIENT.delay_after(attempts, 0.0).unwrap());
            }
        }
    }
}

#[test]
fn it_works_inside_runtimes() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.schema());
    let work = || {
        let storage = connect(&url).unwrap();
        storage.store(&numbered(200)).unwrap();
        let read: Vec<_> = storage
            .iterate(&Query::new())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read, numbered_as(&read));
        storage.close().unwrap();
    };
    let single = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    single.block_on(async { work() });
    let many = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    many.block_on(async { work() });
}

/// The samples of [`numbered`] with the instants of those that were read.
fn numbered_as(read: &[Sample]) -> Vec<Sample> {
    let samples = numbered(200).into_iter().zip(read);
    let same = samples.map(|(sample, read)| {
        sample
            .into_builder()
            .created_at(read.created_at())
            .build()
            .unwrap()
    });
    same.collect()
}

#[test]
fn sql_finds_what_was_stored() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let storage = connect(&server.url(&schema)).unwrap();
    let odd = data! {
        "temp" => 71.5, "whole" => 7, "large" => 1e16, "minus" => -0.0, "nul" => "a\0b",
        "list" => vec![Value::from(1), Value::from(2)],
    };
    let stored = Sample::builder("C:\\weather")
        .id("nul\0")
        .created_at(chrono::DateTime::UNIX_EPOCH)
        .data(&odd)
        .build()
        .unwrap();
    storage.store(std::slice::from_ref(&stored)).unwrap();
    let asked = |what: &str| {
        let schema = schema.replace('"', "\"\"");
        server.sql(&format!(r#"SELECT {what} FROM "{schema}".samples"#))
    };
    assert_eq!(asked("pipeline || created_at_us"), r"C:\weather0");
    assert_eq!(asked("(data->>'temp')::float8 + 1"), "72.5");
    assert_eq!(asked("(data->'whole') || (data->'list')"), "[7, 1, 2]");
    assert_eq!(asked("data->'large'"), r#"{"$numberDouble": "1e+16"}"#);
    assert_eq!(asked("id = 'nul' || chr(26) || '0'"), "t");
    assert_eq!(storage.retrieve("nul\0").unwrap(), Some(stored));
}

#[test]
fn numbers_of_every_size_come_back_as_they_were() {
    let Some(server) = shared() else { return };
    let storage = connect(&server.url(&server.schema())).unwrap();
    let mut values = Vec::new();
    for exponent in -330..=309 {
        for digits in ["1", "-1", "1.5", "-9.007199254740993"] {
            let float: f64 = format!("{digits}e{exponent}").parse().unwrap();
            values.push(Value::from(float));
        }
    }
    for power in 0..64 {
        let whole = 1_u64 << power;
        for whole in [whole - 1, whole, whole + 1] {
            values.extend([
                Value::from(whole),
                Value::from(whole as f64),
                Value::from(-(whole as f64)),
            ]);
            values.push(Value::from((whole as i64).wrapping_neg()));
        }
    }
    let mut bits = 1_u64;
    for _ in 0..4_000 {
        bits = bits
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        values.push(Value::from(f64::from_bits(bits)));
    }
    let stored = Sample::builder("numbers")
        .data(data! { "values" => values })
        .build()
        .unwrap();
    storage.store(std::slice::from_ref(&stored)).unwrap();
    assert_eq!(storage.retrieve(stored.id()).unwrap(), Some(stored));
}

#[test]
fn a_batch_of_several_messages_is_one_transaction() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let storage = connect(&server.url(&schema)).unwrap();
    let mut batch = numbered(20_000);
    // The server refuses one of the last ones.
    let quoted = schema.replace('"', "\"\"");
    server.sql(&format!(
        r#"CREATE FUNCTION "{quoted}".refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON "{quoted}".samples FOR EACH ROW
            WHEN (NEW.id = '019999') EXECUTE FUNCTION "{quoted}".refuse()"#
    ));
    let error = storage.store(&batch).unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    assert_eq!(storage.count(&Query::new()).unwrap(), 0);
    server.sql(&format!(r#"DROP TRIGGER refuse ON "{quoted}".samples"#));

    let report = storage.store(&batch).unwrap();
    assert_eq!((report.inserted, report.replaced), (20_000, 0));
    batch.truncate(17_000);
    batch.extend(batch[..3].to_vec());
    batch.push(sample("new"));
    let report = storage.store(&batch).unwrap();
    assert_eq!((report.inserted, report.replaced), (1, 17_003));
    let ids: Vec<_> = storage
        .iterate(&Query::new())
        .unwrap()
        .map(|sample| sample.unwrap().id().to_owned())
        .collect();
    assert_eq!(ids.len(), 20_001);
}
