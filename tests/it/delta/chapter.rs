//! The example of the chapter on backends for readers that are not ours, run as it stands there.

use std::collections::BTreeMap;

use samplestore::{DeltaTable, Query, Sample, Storage};
use serde_json::{Value as Json, json};

use super::{Folder, sample, weather};
use crate::servers::readers;
use crate::servers::s3::S3;

/// Its blocks of Python, of which the second one is about programs that are not here.
fn blocks() -> Vec<&'static str> {
    let chapter = include_str!("../../../src/docs/backends.md");
    let blocks = chapter.split("\n```python\n").skip(1);
    blocks
        .map(|rest| rest.split_once("\n```").unwrap().0)
        .collect()
}

fn temp(sample: &Sample) -> f64 {
    sample.measurements().get_as("temp").unwrap().unwrap()
}

#[test]
fn readers_of_the_chapter_find_what_the_tables_hold() {
    // One of its own, since the chapter says how the bucket is called.
    let Some(server) = S3::start() else { return };
    let made = server.request("PUT", "/bucket");
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    let folder = Folder::new();
    let url = server.url();
    let (_, options) = url.split_once('?').unwrap();
    let open = |url: String| DeltaTable::open(&url.parse().unwrap()).unwrap();
    let local = open(format!("{}/weather", folder.url()));
    let remote = open(format!("delta+s3://bucket/weather?{options}"));
    // The first one is older than what the chapter asks for; the other table has one that the first one has not.
    let old = sample("old", "JFK", "2013-05-31T23:59:59Z", 90.0);
    let other = sample("other", "EWR", "2013-06-03T00:00:00Z", 55.5);
    local.store(&[weather(), vec![old]].concat()).unwrap();
    remote.store(&[weather(), vec![other]].concat()).unwrap();

    let blocks = blocks();
    assert_eq!(blocks.len(), 2);
    let Some(found) = readers::example(blocks[0], folder.path(), &server.endpoint()) else {
        return;
    };
    let [by_polars, by_daft] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(sorted(by_polars, &["pipeline", "measurement_temp"]), {
        let june = Query::new().since("2013-06-01T00:00:00Z".parse().unwrap());
        let mut temps: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for sample in local.list(&june).unwrap().samples {
            let temps = temps.entry(sample.pipeline().to_owned()).or_default();
            temps.push(temp(&sample));
        }
        assert_eq!(temps.values().map(Vec::len).sum::<usize>(), 4);
        let means = temps.into_iter().map(|(pipeline, temps)| {
            let mean = temps.iter().sum::<f64>() / temps.len() as f64;
            json!([pipeline, mean])
        });
        means.collect::<Vec<_>>()
    });
    let columns = [
        "id",
        "pipeline",
        "date",
        "status",
        "data",
        "measurement_temp",
    ];
    assert_eq!(sorted(by_daft, &columns), {
        let mut samples = remote.list(&Query::new()).unwrap().samples;
        assert_eq!(samples.len(), 5);
        samples.sort_by(|one, other| one.id().cmp(other.id()));
        let rows = samples.iter().map(|sample| {
            json!([
                sample.id(),
                sample.pipeline(),
                sample.created_at().date_naive().to_string(),
                sample.status().as_str(),
                sample.to_json().unwrap()["data"].to_string(),
                temp(sample),
            ])
        });
        rows.collect::<Vec<_>>()
    });
}

/// Some columns of rows that come in any order, in that of the first column, a text.
fn sorted(rows: &Json, columns: &[&str]) -> Vec<Json> {
    let rows = rows.as_array().unwrap().iter();
    let mut rows: Vec<Json> = rows
        .map(|row| columns.iter().map(|column| row[column].clone()).collect())
        .collect();
    rows.sort_by_key(|row| row[0].as_str().unwrap().to_owned());
    rows
}

#[test]
fn what_was_not_tried_is_told_apart() {
    let blocks = blocks();
    for name in ["duckdb", "spark"] {
        assert!(!blocks[0].contains(name) && blocks[1].contains(name));
    }
    let chapter = include_str!("../../../src/docs/backends.md");
    let (before, _) = chapter.split_once(blocks[1]).unwrap();
    assert!(before.ends_with("DuckDB and Spark were not tried here:\n\n```python\n"));
}
