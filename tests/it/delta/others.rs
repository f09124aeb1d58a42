//! Programs that are not ours and read the table, or write it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use samplestore::{Reason, Value};

use super::*;

#[test]
fn others_may_merge() {
    let folder = Folder::new();
    let table = folder.open();
    table.store(&weather()).unwrap();
    if !crate::servers::readers::merge(folder.path()) {
        return;
    }
    // The table was made, the batch was stored, and the others merged.
    assert_eq!(folder.actions("commitInfo").len(), 3);

    let by_id = |id: &str| table.retrieve(id).unwrap().unwrap();
    assert_eq!(
        by_id("jfk-1"),
        weather()[0].clone().with_status(Status::Labeled)
    );
    let copied = weather()[1].clone().into_builder().id("merged");
    assert_eq!(by_id("merged"), copied.build().unwrap());
    assert_eq!(
        table.count(&Query::new().status(Status::Labeled)).unwrap(),
        1
    );

    // What is new has the ranks behind, and what the others wrote is replaced, moved and removed as ever.
    let last = sample("last", "JFK", "2013-06-01T18:00:00Z", 0.0);
    assert_eq!(table.store(&[last]).unwrap(), StoreReport::new(1, 0));
    let jfk = Query::new().pipeline("JFK");
    assert_eq!(
        ids(&table, &jfk),
        ["jfk-1", "jfk-2", "merged", "last", "jfk-3"]
    );
    let again = sample("merged", "JFK", "2013-06-01T18:00:00Z", 1.0);
    assert_eq!(table.store(&[again]).unwrap(), StoreReport::new(0, 1));
    assert_eq!(
        ids(&table, &jfk),
        ["jfk-1", "jfk-2", "merged", "last", "jfk-3"]
    );
    let moved = table.set_status(&"jfk-1".into(), Some(Status::Labeled), Status::Ready);
    assert_eq!(moved.unwrap(), 1);
    assert_eq!(table.delete(&jfk.into()).unwrap(), 5);
    assert_eq!(ids(&folder.open(), &Query::new()), ["lga-1"]);
}

#[test]
fn other_readers_find_the_same_rows_and_counts() {
    let folder = Folder::new();
    let table = folder.open();
    is_read_by_others(&table, folder.path().to_str().unwrap(), None);
}

/// Fills a table, and asserts that readers that are not ours find the same in it, at this path or URL, and this endpoint.
pub(super) fn is_read_by_others(table: &DeltaTable, at: &str, endpoint: Option<&str>) {
    table.store(&weather()).unwrap();
    // A file of before the column, rows replaced, moved and removed, files merged.
    let calm = Sample::builder("EWR")
        .id("calm")
        .created_at("2013-06-03T00:00:00Z".parse().unwrap())
        .measured_at("2013-06-03T00:00:01.500001Z".parse().unwrap())
        .measurements(data! { "wind" => 0, "gusts" => vec![Value::from(1), "none".into()] })
        .build()
        .unwrap();
    table.store(&[calm]).unwrap();
    table
        .store(&[sample("jfk-2", "JFK", "2013-06-02T18:00:00.000001Z", 75.25)])
        .unwrap();
    table
        .set_status(&"jfk-1".into(), None, Status::Labeled)
        .unwrap();
    let failed = table.retrieve("lga-1").unwrap().unwrap();
    let reason = Reason::new("check", "no \"wind\"", 2, failed.created_at());
    table
        .store(&[failed.with_status(Status::Dlq).with_reason(Some(reason))])
        .unwrap();
    table.delete(&"jfk-3".into()).unwrap();
    table.optimize().unwrap();
    let Some(found) = crate::servers::readers::read(at, endpoint) else {
        return;
    };

    let samples =
        ["jfk-1", "jfk-2", "lga-1", "calm"].map(|id| table.retrieve(id).unwrap().unwrap());
    let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, false);
    let rows: Vec<Json> = samples
        .iter()
        .map(|sample| {
            let json = sample.to_json().unwrap();
            let map = |name: &str| match &json[name] {
                Json::Null => "{}".to_owned(),
                map => map.to_string(),
            };
            let at = sample.created_at();
            json!([
                sample.id(),
                sample.pipeline(),
                at.date_naive().to_string(),
                sample.status().as_str(),
                instant(at),
                sample.measured_at().map(instant),
                map("data"),
                map("measurements"),
                sample.reason().map(|_| json["reason"].to_string()),
                sample.measurements().get_as::<f64>("temp").unwrap(),
            ])
        })
        .collect();
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for sample in &samples {
        let date = sample.created_at().date_naive().to_string();
        *counts
            .entry((sample.pipeline().to_owned(), date))
            .or_default() += 1;
    }
    let counts: Vec<Json> = counts
        .into_iter()
        .map(|((pipeline, date), count)| json!([pipeline, date, count]))
        .collect();
    let expected = ["by_polars", "by_daft_on_ray"].map(|reader| json!([reader, rows, counts]));
    assert_eq!(found, expected);
}
