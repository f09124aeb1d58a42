//! Full chunks without samples: what is left of them, and that nobody misses the rest.

use super::*;
use crate::database::clear::bytes_to_be_cleared;
use crate::database::{Backup, check, schema};

/// Rows of the three chunks that a pair of these tests begins with, and of the one it goes on in.
const LOADED: u16 = 3 * schema::CHUNK_ROWS as u16 + 200;
const FIELD: &str = "measurements.name";

/// Entries of the tables that have something of each row.
fn entries(database: &Database) -> Vec<(&'static str, u64)> {
    let of_rows = [
        "columns",
        "created_runs",
        "created_moved",
        "pipeline_rows",
        "fields",
    ];
    let view = database.engine.view("test").unwrap();
    let mut sizes = view.tables.sizes().unwrap();
    let fields = view.field_table().unwrap();
    sizes.push(schema::size_of("fields", fields).unwrap());
    let tables = sizes.into_iter().map(|(name, entries, ..)| (name, entries));
    tables.filter(|(name, _)| of_rows.contains(name)).collect()
}

fn of(entries: &[(&'static str, u64)], name: &str) -> u64 {
    entries.iter().find(|table| table.0 == name).unwrap().1
}

/// Three full chunks and a part, in order of time, with an index of a field and some that moved. The first two chunks have no samples.
fn pair() -> Pair {
    let mut pair = Pair::new(64, Durability::Immediate);
    pair.run(&Operation::Index(FIELD, true));
    pair.run(&Operation::Load(LOADED, Pattern::Ordered));
    let moved = (0..20).map(|step| Spec {
        id: step * 140,
        pipeline: 1,
        status: Status::Ready,
        micros: SPAN,
    });
    pair.run(&Operation::Store(moved.collect()));
    let gone = (0..2 * schema::CHUNK_ROWS).map(|id| format!("s{id}"));
    pair.run(&Operation::Delete(Query::new().ids(gone)));
    pair
}

fn compare(pair: &Pair) {
    pair.check();
    for query in [
        Query::new(),
        Query::new().newest_first(),
        Query::new().pipeline("p1"),
        Query::new().after(at(5)).before(at(700)),
        Query::new().pipeline("p2").after(at(5)).before(at(1_000)),
        Query::new().status(Status::Ready).since(at(SPAN)),
        Query::new().condition(format!("{FIELD} = 'n7'").parse().unwrap()),
        Query::new().ids(["s3", "s1919", "s1920", "s2500"]),
    ] {
        pair.compare(&query, 60);
    }
}

#[test]
fn a_chunk_without_samples_leaves_its_planes_and_no_more() {
    let mut pair = pair();
    let before = entries(&pair.database);
    let view = pair.database.engine.view("test").unwrap();
    assert_eq!(to_be_cleared(&view).unwrap(), [0, 1]);
    assert!(bytes_to_be_cleared(&view).unwrap() > 0);
    drop(view);
    // Whoever reads an older commit goes on to see it.
    let older = pair.database.snapshot().unwrap();
    let all = older.list(&Query::new()).unwrap().samples;
    let second = Query::new().after(at(700)).newest_first();
    let of_time = older.list(&second).unwrap().samples;
    pair.database.pack().unwrap();
    assert_eq!(older.list(&Query::new()).unwrap().samples, all);
    assert_eq!(older.list(&second).unwrap().samples, of_time);
    drop(older);

    let view = pair.database.engine.view("test").unwrap();
    assert!(to_be_cleared(&view).unwrap().is_empty());
    assert!(view.is_cleared(0).unwrap() && view.is_cleared(1).unwrap());
    assert!(!view.is_cleared(2).unwrap() && !view.is_cleared(3).unwrap());
    assert_eq!(bytes_to_be_cleared(&view).unwrap(), 0);
    drop(view);
    let after = entries(&pair.database);
    let per_chunk = schema::CHUNK_ROWS / schema::COLUMN_ROWS;
    assert_eq!(
        of(&after, "columns") + 2 * per_chunk,
        of(&before, "columns")
    );
    let run = schema::RUN_LEAVES as u64 + 1;
    assert_eq!(of(&after, "created_runs"), run);
    assert_eq!(of(&before, "created_runs"), 3 * run);
    let per_chunk = schema::CHUNK_ROWS / schema::FIELD_ROWS + run + 1;
    assert_eq!(of(&after, "fields") + 2 * per_chunk, of(&before, "fields"));
    assert_eq!(of(&after, "pipeline_rows"), 4);
    compare(&pair);
    for next in [
        Operation::Reopen,
        Operation::Kill(Some(3)),
        Operation::Compact,
    ] {
        pair.run(&next);
        compare(&pair);
    }
}

#[test]
fn samples_come_back_behind_cleared_chunks_and_are_found_by_old_and_new_indexes() {
    let mut pair = pair();
    pair.run(&Operation::Compact);
    pair.run(&Operation::Index("data.micros", true));
    let built = of(&entries(&pair.database), "fields");
    let again = (0..1_100).map(|id| Spec {
        id,
        pipeline: (id % 3) as u8,
        status: Status::Ready,
        micros: i64::from(id),
    });
    pair.run(&Operation::Store(again.collect()));
    assert!(of(&entries(&pair.database), "fields") > built);
    compare(&pair);
    let narrow = "data.micros between 100 and 120".parse().unwrap();
    pair.compare(&Query::new().condition(narrow), 7);
    pair.run(&Operation::Kill(None));
    compare(&pair);
    // Until nothing is left at all.
    pair.run(&Operation::Delete(Query::new()));
    pair.run(&Operation::Compact);
    compare(&pair);
    assert_eq!(of(&entries(&pair.database), "created_runs"), 0);
    pair.run(&Operation::Index(FIELD, false));
    pair.run(&Operation::Index(FIELD, true));
    compare(&pair);
}

#[test]
fn a_backup_leaves_behind_what_packing_would() {
    let folder = tempfile::tempdir().unwrap();
    let pair = pair();
    pair.database.close().unwrap();
    let path = folder.path().join("samples.redb");
    std::fs::write(&path, pair.disk.bytes()).unwrap();
    let database = Database::open(path).unwrap();
    let path = folder.path().join("copy.redb");
    database.backup(&path, &Backup::new()).unwrap();
    let copy = Database::open(&path).unwrap();
    let report = copy.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let view = copy.engine.view("test").unwrap();
    assert!(view.is_cleared(1).unwrap() && !view.is_cleared(2).unwrap());
    drop(view);
    let all = Query::new();
    let expected = pair.memory.list(&all).unwrap().samples;
    assert_eq!(copy.list(&all).unwrap().samples, expected);
    assert!(database.stats().unwrap().reclaimable_bytes > copy.stats().unwrap().reclaimable_bytes);
    database.pack().unwrap();
    assert_eq!(entries(&copy), entries(&database));
}

#[test]
fn what_is_left_in_a_cleared_chunk_is_a_fault() {
    let mut pair = pair();
    pair.run(&Operation::Compact);
    pair.database.close().unwrap();
    let bytes = pair.disk.bytes();
    let with = |change: &dyn Fn(&mut schema::TablesMut<'_>)| {
        let bytes = check::tests::tamper(&bytes, |tables| change(tables));
        check::tests::open(&bytes).check(|_| ()).unwrap()
    };
    assert!(with(&|_| ()).is_sound());
    let value = [7; schema::LEAF_BYTES + schema::SEAL_BYTES].as_slice();
    let of_run = schema::run_key(1, 3);
    let of_cell = schema::cell_key(1, 2);
    type Change<'a> = &'a dyn Fn(&mut schema::TablesMut<'_>);
    let changes: [(&str, Change<'_>); 5] = [
        ("columns", &|tables| {
            drop(tables.columns.insert(100, value).unwrap());
        }),
        ("created_runs", &|tables| {
            drop(tables.created_runs.insert(of_run, value).unwrap());
        }),
        ("created_moved", &|tables| {
            drop(tables.created_moved.insert(0, value).unwrap());
        }),
        ("pipeline_rows", &|tables| {
            drop(tables.pipeline_rows.insert(of_cell, value).unwrap());
        }),
        ("status", &|tables| {
            drop(tables.status.remove(0).unwrap());
        }),
    ];
    for (what, change) in changes {
        let report = with(change);
        assert!(!report.is_sound(), "{what}: {report:?}");
    }
}
