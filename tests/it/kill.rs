//! A process killed with `kill -9` in the middle of a load leaves a file that opens with every
//! acknowledged batch whole and no partial one (rule W7).
//!
//! The child is this test binary again. It stores batches and says, on its standard output, which ones
//! were acknowledged. Here it only loads, until so much was stored, and makes an index of a field meanwhile; in `kill/rounds.rs` it
//! does everything else too.

mod rounds;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use std::path::Path;

use samplestore::{Database, Durability, Query, Sample, Storage, data};

const FILE: &str = "SAMPLESTORE_TEST_KILL_FILE";
const SIZE: &str = "SAMPLESTORE_TEST_KILL_BATCH";
const DEFERRED: &str = "SAMPLESTORE_TEST_KILL_DEFERRED";
/// The field of which the child makes an index.
const INDEXED: &str = "data.at";

fn batch(number: u64, size: u64) -> Vec<Sample> {
    (0..size)
        .map(|at| {
            Sample::builder(format!("batch-{number}"))
                .id(format!(
                    "{:x}-{at}",
                    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ))
                .data(data! { "batch" => number, "at" => at, "text" => "x".repeat(20) })
                .build()
                .unwrap()
        })
        .collect()
}

fn open(path: &Path, durability: Durability) -> Database {
    Database::options()
        .durability(durability)
        .open(path)
        .unwrap()
}

/// The child's part; nothing at all when the tests are run as usual.
#[test]
fn child_stores_until_it_is_killed() {
    let (Ok(path), Ok(size)) = (std::env::var(FILE), std::env::var(SIZE)) else {
        return;
    };
    let size: u64 = size.parse().unwrap();
    let durability = match std::env::var_os(DEFERRED) {
        Some(_) => Durability::Deferred,
        None => Durability::Immediate,
    };
    let database = open(Path::new(&path), durability);
    let first = database.count(&Query::new()).unwrap() / size;
    let indexing = database.clone();
    std::thread::spawn(move || {
        indexing
            .create_index(&INDEXED.parse().unwrap(), |_| ())
            .unwrap();
        println!("there is an index");
    });
    for number in first..first + 100_000 {
        database.store(&batch(number, size)).unwrap();
        println!("acknowledged {number}");
    }
}

/// Starts a child that stores batches, kills it when so many were acknowledged, and says how many were
/// in all, and whether the index was.
fn kill_after(acknowledged: u64, path: &Path, size: u64, durability: Durability) -> (u64, bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "kill::child_stores_until_it_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(FILE, path)
        .env(SIZE, size.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if durability == Durability::Deferred {
        command.env(DEFERRED, "yes");
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut of_round, mut last, mut has_index) = (0, None, false);
    for line in lines.map_while(Result::ok) {
        has_index |= line.contains("there is an index");
        // The first line has the name of the test before it.
        if let Some((_, number)) = line.split_once("acknowledged ") {
            last = Some(number.parse::<u64>().unwrap());
            of_round += 1;
            if of_round == acknowledged {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    (last.expect("the child stored nothing") + 1, has_index)
}

/// Checks that the index is there if it must be, and that conditions find what is stored, whether it is or not. Says whether it is
/// whole.
fn check_index(database: &Database, size: u64, stored: u64, must_be_whole: bool) -> bool {
    let indexes = database.indexes().unwrap();
    println!("{stored} batches, indexes: {indexes:?}");
    let is_whole = indexes.iter().any(|index| index.progress >= 1.0);
    assert!(is_whole || !must_be_whole, "{indexes:?}");
    let newest = format!("data.at > {} and data.batch = {}", size - 3, stored - 1);
    for (condition, expected) in [
        (format!("data.at = {}", size - 1), stored),
        (
            format!("data.at < 2 or data.at >= {}", size - 1),
            3 * stored,
        ),
        (newest, 2),
    ] {
        let query = Query::new().condition(condition.parse().unwrap());
        assert_eq!(database.count(&query).unwrap(), expected, "{condition}");
        let used = database.explain(&query).unwrap().field_indexes;
        assert_eq!(used.len(), usize::from(is_whole), "{condition}");
    }
    assert!(database.check(|_| ()).unwrap().is_sound());
    is_whole
}

/// Checks that the file holds batches from the first on, each whole, and says how many.
fn whole_batches(database: &Database, size: u64, from: u64) -> u64 {
    let by_pipeline = database.facets(&Query::new()).unwrap();
    let by_pipeline = by_pipeline.by_pipeline();
    let stored = by_pipeline.len() as u64;
    for number in 0..stored {
        let name = format!("batch-{number}");
        assert_eq!(
            by_pipeline.get(name.as_str()),
            Some(&size),
            "{name} is partial"
        );
    }
    for number in from..stored {
        let of_batch = Query::new().pipeline(format!("batch-{number}"));
        let listed = database.list(&of_batch).unwrap().samples;
        assert_eq!(listed.len() as u64, size, "batch {number} is partial");
        for sample in batch(number, size) {
            let found = database.retrieve(sample.id()).unwrap().unwrap();
            assert_eq!(found.data(), sample.data());
        }
    }
    assert_eq!(database.count(&Query::new()).unwrap(), stored * size);
    stored
}

#[test]
fn every_acknowledged_batch_survives_kill_9_and_no_partial_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.redb");
    let mut is_indexed = false;
    for round in 0..6 {
        let (acknowledged, has_index) = kill_after(5 + round * 7, &path, 50, Durability::Immediate);
        let database = open(&path, Durability::Immediate);
        let stored = whole_batches(&database, 50, 0);
        is_indexed = check_index(&database, 50, stored, is_indexed || has_index);
        assert!(
            stored >= acknowledged,
            "{stored} of {acknowledged} batches are there"
        );
    }
    assert!(is_indexed);
}

#[test]
fn so_it_is_while_chunks_fill_and_ids_are_merged() {
    const SIZE: u64 = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.redb");
    // Ids begin to be merged at 262,144 and a chunk fills at 307,200; both lie ahead.
    let mut from = 250_000 / SIZE;
    let database = open(&path, Durability::Deferred);
    for number in 0..from {
        database.store(&batch(number, SIZE)).unwrap();
    }
    database.close().unwrap();
    let mut is_indexed = false;
    for round in 0..7 {
        let (acknowledged, has_index) = kill_after(3 + round, &path, SIZE, Durability::Immediate);
        let database = open(&path, Durability::Immediate);
        let stored = whole_batches(&database, SIZE, from);
        is_indexed = check_index(&database, SIZE, stored, is_indexed || has_index);
        assert!(
            stored >= acknowledged,
            "{stored} of {acknowledged} batches are there"
        );
        from = stored;
    }
    assert!(is_indexed);
    assert!(
        from * SIZE > 310_000,
        "the chunk did not fill: {from} batches"
    );
}

#[test]
fn deferred_stores_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.redb");
    let (mut before, mut is_indexed) = (0, false);
    for round in 0..4 {
        let (acknowledged, has_index) =
            kill_after(70 + round * 31, &path, 20, Durability::Deferred);
        let database = open(&path, Durability::Deferred);
        let stored = whole_batches(&database, 20, 0);
        is_indexed = check_index(&database, 20, stored, is_indexed || has_index);
        assert!(
            stored > before && stored >= acknowledged,
            "{stored} of {acknowledged}"
        );
        before = stored;
    }
    assert!(is_indexed);
}
