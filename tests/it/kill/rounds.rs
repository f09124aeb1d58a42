//! Two hundred rounds: a child stores, replaces, moves, deletes, compacts, and makes and removes indexes of fields, and is killed at a random moment, also
//! while it opens what the one before left.
//!
//! Which operation comes next follows from its number (`crash/workload.rs`), so that the parent knows what the
//! child did. The parent looks at a copy of the file; the next child gets the file as it is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use samplestore::Durability;

use crate::crash::random::Random;
use crate::crash::record::{By, Mode};
use crate::crash::verify;
use crate::crash::workload::Operation;
use crate::crash::workload::model::Model;

const FILE: &str = "SAMPLESTORE_TEST_ROUNDS_FILE";
const FIRST: &str = "SAMPLESTORE_TEST_ROUNDS_FIRST";
const ROUNDS: u64 = 200;
const SEED: u64 = 11;
/// A child is killed within so many milliseconds after it began to open the file.
const LIFE_MS: u64 = 40;

/// How the file is written in a round. Without power to lose, deferred stores survive as others do.
fn mode(round: u64) -> Mode {
    let durability = match round % 3 {
        1 => Durability::Deferred,
        _ => Durability::Immediate,
    };
    Mode {
        durability,
        shared_readers: round % 3 == 2,
        by: By::One,
    }
}

/// The child's part; nothing at all when the tests are run as usual.
#[test]
fn child_works_until_it_is_killed() {
    let (Ok(path), Ok(first)) = (std::env::var(FILE), std::env::var(FIRST)) else {
        return;
    };
    let (round, first) = first.split_once(' ').unwrap();
    println!("opening");
    let database = mode(round.parse().unwrap()).options().open(path).unwrap();
    for number in first.parse().unwrap().. {
        let operation = Operation::nth(SEED, 0, number);
        operation.run(&database, &database).unwrap();
        println!("acknowledged {number}");
    }
}

/// Starts a child that goes on from operation `first`, kills it after so long, and says how many operations it had
/// acknowledged.
fn kill_after(life: Duration, path: &Path, round: u64, first: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "kill::rounds::child_works_until_it_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(FILE, path)
        .env(FIRST, format!("{round} {first}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let opening = lines
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.contains("opening"));
    assert!(opening.is_some(), "the child did not begin");
    std::thread::sleep(life);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "the child ended by itself: {status}");
    // What it said is in the pipe, which takes more than it can say meanwhile.
    let acknowledged = lines
        .map_while(Result::ok)
        .filter(|line| line.contains("acknowledged "));
    acknowledged.count() as u64
}

#[test]
fn two_hundred_kills_lose_nothing_acknowledged() {
    // In memory where there is such a place: what the process wrote is there either way.
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let path = folder.path().join("killed.redb");
    let copy = folder.path().join("copy.redb");
    let mut random = Random::new(SEED);
    let mut model = Model::default();
    let (mut done, mut in_doubt, mut with_index) = (0, 0, 0);
    for round in 0..ROUNDS {
        let life = Duration::from_millis(random.below(LIFE_MS));
        let acknowledged = kill_after(life, &path, round, done);
        for number in done..done + acknowledged {
            model.run(&Operation::nth(SEED, 0, number));
        }
        done += acknowledged;
        if !path.exists() {
            continue;
        }
        std::fs::copy(&path, &copy).unwrap();
        let open = || mode(round).options().open(&copy);
        let database = open().unwrap();
        let found = verify::state(&database).unwrap();
        if found != model.state() {
            // The one that it was at.
            model.run(&Operation::nth(SEED, 0, done));
            (done, in_doubt) = (done + 1, in_doubt + 1);
            assert!(
                found == model.state(),
                "round {round}: {} samples and the indexes {:?} after {done} operations",
                found.samples.len(),
                found.indexes
            );
        }
        with_index += usize::from(!found.indexes.is_empty());
        let checked = verify::check(&database, &found, &[0])
            .and_then(|()| verify::goes_on(database, &found, open))
            .and_then(|(database, samples)| verify::is_sound(&database, samples));
        checked.unwrap_or_else(|loss| panic!("round {round}: {loss}"));
    }
    println!(
        "{ROUNDS} kills, {done} operations, {in_doubt} of them in doubt, {with_index} files with indexes of fields"
    );
    assert!(with_index > 20, "{with_index} files with indexes of fields");
    assert!(done > ROUNDS, "{done} operations in {ROUNDS} rounds");
}
