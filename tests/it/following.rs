//! What changed between two commits, and how many samples there are over time.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use samplestore::{
    Database, ErrorKind, Histogram, Interval, Query, Sample, Selection, Snapshot, Status, Storage,
    data,
};

fn sample(id: u32, number: i64) -> Sample {
    Sample::builder(["a", "b"][id as usize % 2])
        .id(format!("{id:05}"))
        .status(Status::ALL[number.rem_euclid(6) as usize])
        .created_at(DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(number * 7 + i64::from(id)))
        .data(data! { "number" => number })
        .build()
        .unwrap()
}

fn changed(now: &Snapshot, earlier: &Snapshot) -> Vec<Sample> {
    let samples = now.changed_since(earlier).unwrap();
    samples.map(Result::unwrap).collect()
}

fn all(snapshot: &Snapshot) -> BTreeMap<String, Sample> {
    let samples = snapshot.iterate(&Query::new()).unwrap().map(Result::unwrap);
    samples
        .map(|sample| (sample.id().to_owned(), sample))
        .collect()
}

#[derive(Clone, Debug)]
enum Step {
    Store(Vec<(u32, i64)>),
    Mark(u32, u32, Status),
    Delete(u32, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::collection::vec((0_u32..40, 0_i64..4), 0..12).prop_map(Step::Store),
        1 => (0_u32..40, 0_u32..10, prop::sample::select(Status::ALL.to_vec()))
            .prop_map(|(from, count, to)| Step::Mark(from, from + count, to)),
        1 => (0_u32..40, 0_u32..6).prop_map(|(from, count)| Step::Delete(from, from + count)),
    ];
    prop::collection::vec(step, 1..12)
}

fn ids(from: u32, end: u32) -> Selection {
    Selection::ids((from..end).map(|id| format!("{id:05}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_changed_is_what_differs(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("samples.redb")).unwrap();
        let mut snapshots = vec![database.snapshot().unwrap()];
        for step in &steps {
            match step {
                Step::Store(batch) => {
                    let batch: Vec<_> = batch.iter().map(|(id, number)| sample(*id, *number)).collect();
                    database.store(&batch).unwrap();
                }
                Step::Mark(from, end, to) => {
                    database.set_status(&ids(*from, *end), None, *to).unwrap();
                }
                Step::Delete(from, end) => {
                    database.delete(&ids(*from, *end)).unwrap();
                }
            }
            snapshots.push(database.snapshot().unwrap());
        }
        for (index, earlier) in snapshots.iter().enumerate() {
            let before = all(earlier);
            for later in &snapshots[index..] {
                let now = all(later);
                let found: BTreeMap<_, _> =
                    changed(later, earlier).into_iter().map(|sample| (sample.id().to_owned(), sample)).collect();
                // All that differs is told. What was deleted and stored again may be told though it is as it was.
                for (id, sample) in &now {
                    if before.get(id) != Some(sample) {
                        prop_assert_eq!(found.get(id), Some(sample));
                    }
                }
                for (id, sample) in &found {
                    prop_assert_eq!(now.get(id), Some(sample));
                }
            }
        }
    }

    #[test]
    fn a_histogram_counts_what_a_walk_counts(
        batch in prop::collection::vec((0_u32..400, -9_000_i64..9_000), 0..120),
        interval in prop::sample::select(Interval::ALL.to_vec()),
        status in prop::option::of(prop::sample::select(Status::ALL.to_vec())),
        since in prop::option::of(-9_000_i64..9_000),
        limit in prop::option::of(0_u64..50),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("samples.redb")).unwrap();
        let batch: Vec<_> = batch.iter().map(|(id, number)| sample(*id, *number)).collect();
        database.store(&batch).unwrap();
        let mut query = status.into_iter().fold(Query::new().pipeline("a"), Query::status);
        if let Some(minutes) = since {
            query = query.since(DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes));
        }
        if let Some(limit) = limit {
            query = query.newest_first().limit(limit);
        }
        let counted = database.histogram(&query, interval).unwrap();
        let walked = Histogram::of(database.iterate(&query).unwrap(), interval).unwrap();
        prop_assert_eq!(&counted, &walked);
        prop_assert_eq!(counted.total(), database.count(&query).unwrap());
    }
}

#[test]
fn each_change_is_told_once_and_in_the_order_of_first_storing() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("samples.redb")).unwrap();
    let batch: Vec<_> = (0..70_000).map(|id| sample(id, 0)).collect();
    for batch in batch.chunks(10_000) {
        database.store(batch).unwrap();
    }
    let first = database.snapshot().unwrap();
    assert!(changed(&first, &first).is_empty());
    // One in each of the two chunks, twice, and one as it was.
    database
        .store(&[sample(69_000, 1), sample(5, 1), sample(6, 0)])
        .unwrap();
    database.store(&[sample(5, 2), sample(70_000, 3)]).unwrap();
    database.delete(&"00007".into()).unwrap();
    database
        .set_status(&"00008".into(), None, Status::Ready)
        .unwrap();
    let second = database.snapshot().unwrap();
    let found: Vec<_> = changed(&second, &first);
    let expected = [
        sample(5, 2),
        sample(8, 0).with_status(Status::Ready),
        sample(69_000, 1),
        sample(70_000, 3),
    ];
    assert_eq!(found, expected);
    // What was replaced before is told when it changes again, and only then.
    database.store(&[sample(5, 4)]).unwrap();
    let third = database.snapshot().unwrap();
    assert_eq!(changed(&third, &second), [sample(5, 4)]);
    drop((first, second));
    let fourth_of = |third: &Snapshot| changed(&database.snapshot().unwrap(), third);
    assert!(fourth_of(&third).is_empty());
}

#[test]
fn packing_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.redb");
    let open = || {
        Database::options()
            .shared_readers(true)
            .open(&path)
            .unwrap()
    };
    let database = open();
    let batch: Vec<_> = (0..5_000).map(|id| sample(id, 0)).collect();
    database.store(&batch).unwrap();
    let batch: Vec<_> = (0..2_000).map(|id| sample(id * 2, 1)).collect();
    database.store(&batch).unwrap();
    let reader = Database::options()
        .shared_readers(true)
        .read_only(true)
        .open(&path)
        .unwrap();
    let before = reader.snapshot().unwrap();
    // Blocks are packed. Pages cannot move while the reader has its snapshot.
    let refused = database.compact().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    let after = reader.snapshot().unwrap();
    assert_eq!(changed(&after, &before), []);
    database.store(&[sample(4, 2)]).unwrap();
    assert_eq!(changed(&reader.snapshot().unwrap(), &after), [sample(4, 2)]);
}

#[test]
fn snapshots_of_two_databases_or_in_the_wrong_order_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let one = Database::open(folder.path().join("one.redb")).unwrap();
    let other = Database::open(folder.path().join("other.redb")).unwrap();
    let empty = one.snapshot().unwrap();
    one.store(&[sample(1, 1)]).unwrap();
    let later = one.snapshot().unwrap();
    for (now, earlier) in [(&later, &other.snapshot().unwrap()), (&empty, &later)] {
        let Err(error) = now.changed_since(earlier) else {
            panic!("it is no earlier one");
        };
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
