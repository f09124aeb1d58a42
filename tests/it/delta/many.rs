//! Many ids, pipelines and samples that meet a condition: more than would fit into a list that is taken apart by recursion.

use samplestore::{Query, Sample, Selection, Status, Storage, data};

use super::Folder;

const COUNT: u32 = 12_000;

fn sample(number: u32) -> Sample {
    Sample::builder(format!("p{}", number % 6_000))
        .id(format!("{number:05}"))
        .created_at("2013-06-01T00:00:00Z".parse().unwrap())
        .measurements(data! { "number" => number })
        .build()
        .unwrap()
}

#[test]
fn what_names_or_meets_thousands_is_answered() {
    let folder = Folder::new();
    let url = format!("{}?partition_by=none", folder.url());
    let table = samplestore::DeltaTable::open(&url.parse().unwrap()).unwrap();
    let samples: Vec<Sample> = (0..COUNT).map(sample).collect();
    for batch in samples.chunks(6_000) {
        table.store(batch).unwrap();
    }
    // Every other one, and some that are not there.
    let ids = (0..COUNT + 1_000)
        .step_by(2)
        .map(|number| format!("{number:05}"));
    let by_ids = Query::new().ids(ids);
    assert_eq!(table.count(&by_ids).unwrap(), 6_000);
    let expected: Vec<&Sample> = samples.iter().step_by(2).collect();
    let found = table.list(&by_ids).unwrap().samples;
    assert!(found.iter().eq(expected.iter().copied()));
    let mut by_pipelines = Query::new();
    for number in (0..6_000).step_by(2) {
        by_pipelines = by_pipelines.pipeline(format!("p{number}"));
    }
    assert_eq!(table.count(&by_pipelines).unwrap(), 6_000);
    assert_eq!(
        table
            .count(&by_pipelines.clone().newest_first().limit(7))
            .unwrap(),
        7
    );

    let meets = Query::new().condition("measurements.number < 9000".parse().unwrap());
    assert_eq!(table.count(&meets).unwrap(), 9_000);
    assert_eq!(table.facets(&meets).unwrap().total(), 9_000);
    let moved = table.set_status(&meets.clone().into(), None, Status::Ready);
    assert_eq!(moved.unwrap(), 9_000);
    assert_eq!(table.delete(&Selection::from(by_ids)).unwrap(), 6_000);
    assert_eq!(table.count(&meets).unwrap(), 4_500);
    assert_eq!(
        table.count(&Query::new().status(Status::Ready)).unwrap(),
        4_500
    );
}
