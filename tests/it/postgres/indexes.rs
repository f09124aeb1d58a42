//! Every filter is answered by an index, as the server counts what the storage's own statements read.

use std::thread;
use std::time::{Duration, Instant};

use samplestore::{Query, Sample, Status, Storage, connect};

use super::shared;

const SAMPLES: i64 = 6_000;
/// The server counts what a session has read when it ends, and older ones a moment later.
const COUNTED_WITHIN: Duration = Duration::from_secs(30);

fn instant(micros: i64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp_micros(micros).unwrap()
}

/// One of a hundred pipelines, and one in a hundred of another status.
fn sample(number: i64) -> Sample {
    let status = match number % 97 {
        0 => Status::Dlq,
        _ => Status::Ready,
    };
    Sample::builder(format!("p{}", number % 100))
        .id(format!("s-{number}"))
        .created_at(instant(number * 7 % SAMPLES))
        .status(status)
        .build()
        .unwrap()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < COUNTED_WITHIN, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_filter_has_an_index() {
    type Ask = Box<dyn Fn(&dyn Storage)>;
    let list = |query: Query| -> Ask {
        Box::new(move |storage: &dyn Storage| {
            assert!(!storage.list(&query).unwrap().samples.is_empty());
        })
    };
    let count = |query: Query| -> Ask {
        Box::new(move |storage: &dyn Storage| assert!(storage.count(&query).unwrap() > 0))
    };
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let url = format!("{}&application_name=indexed", server.url(&schema));
    let number = |sql: &str| server.sql(sql).parse::<u64>().unwrap();
    let of_index = |index: &str| {
        number(&format!(
            "SELECT idx_scan FROM pg_stat_user_indexes
            WHERE schemaname = '{schema}' AND indexrelname = '{index}'"
        ))
    };
    let of_table = |column: &str| {
        number(&format!(
            "SELECT {column} FROM pg_stat_user_tables
            WHERE schemaname = '{schema}' AND relname = 'samples'"
        ))
    };
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'indexed'";
    let ended = || wait_until("sessions end", || number(sessions) == 0);

    let storage = connect(&url).unwrap();
    let samples: Vec<_> = (0..SAMPLES).map(sample).collect();
    storage.store(&samples).unwrap();
    let first_page = storage.list(&Query::new().limit(20)).unwrap();
    drop(storage);
    ended();
    wait_until("all is counted", || of_table("n_tup_ins") == SAMPLES as u64);
    let quoted = schema.replace('"', "\"\"");
    server.sql(&format!(r#"ANALYZE "{quoted}".samples"#));

    let of_pipeline = || Query::new().pipeline("p7");
    let of_status = || Query::new().status(Status::Dlq);
    let late = || Query::new().since(instant(SAMPLES - 50));
    let next_page = Query::new().cursor(first_page.next.unwrap()).limit(20);
    let one: Ask =
        Box::new(|storage: &dyn Storage| assert!(storage.retrieve("s-17").unwrap().is_some()));
    for (what, index, ask) in [
        (
            "list of a pipeline",
            "samples_pipeline",
            list(of_pipeline().limit(20)),
        ),
        (
            "count of a pipeline",
            "samples_pipeline",
            count(of_pipeline()),
        ),
        (
            "list of a status",
            "samples_status",
            list(of_status().limit(20)),
        ),
        ("count of a status", "samples_status", count(of_status())),
        ("list of a time", "samples_created", list(late().limit(20))),
        ("count of a time", "samples_created", count(late())),
        ("list behind a cursor", "samples_created", list(next_page)),
        (
            "list of ids",
            "samples_pkey",
            list(Query::new().ids(["s-1", "s-2"])),
        ),
        ("retrieve", "samples_pkey", one),
    ] {
        let (before, whole_before) = (of_index(index), of_table("seq_scan"));
        let storage = connect(&url).unwrap();
        ask(&*storage);
        drop(storage);
        ended();
        wait_until(&format!("{what}: {index}"), || of_index(index) > before);
        assert_eq!(of_table("seq_scan"), whole_before, "{what}");
    }
}
