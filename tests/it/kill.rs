//! A process killed with `kill -9` in the middle of a load leaves a file that opens with every
//! acknowledged batch whole and no partial one (rule W7).
//!
//! The child is this test binary again. It stores batches and says, on its standard output, which ones
//! were acknowledged.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use samplestore::{Database, Query, Sample, Storage, data};

const BATCH: u64 = 50;
const FILE: &str = "SAMPLESTORE_TEST_KILL_FILE";

fn batch(number: u64) -> Vec<Sample> {
    (0..BATCH)
        .map(|at| {
            Sample::builder(format!("batch-{number}"))
                .id(format!(
                    "{:x}-{at}",
                    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ))
                .data(data! { "batch" => number, "at" => at, "text" => "x".repeat(200) })
                .build()
                .unwrap()
        })
        .collect()
}

/// The child's part; nothing at all when the tests are run as usual.
#[test]
fn child_stores_until_it_is_killed() {
    let Ok(path) = std::env::var(FILE) else {
        return;
    };
    let database = Database::open(path).unwrap();
    let first = database.count(&Query::new()).unwrap() / BATCH;
    for number in first..first + 100_000 {
        database.store(&batch(number)).unwrap();
        println!("acknowledged {number}");
    }
}

#[test]
fn every_acknowledged_batch_survives_kill_9_and_no_partial_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.redb");
    let mut acknowledged = 0;
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "kill::child_stores_until_it_is_killed",
                "--exact",
                "--nocapture",
            ])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut of_round = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged = number.parse::<u64>().unwrap() + 1;
                of_round += 1;
                if of_round == 5 + round * 7 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(of_round > 0, "the child stored nothing in round {round}");

        let database = Database::open(&path).unwrap();
        let stored = database.facets(&Query::new()).unwrap().by_pipeline().len() as u64;
        assert!(
            stored >= acknowledged,
            "{stored} of {acknowledged} batches are there"
        );
        for number in 0..stored {
            for sample in batch(number) {
                let found = database.retrieve(sample.id()).unwrap().unwrap();
                assert_eq!(found.data(), sample.data());
            }
            let of_batch = Query::new().pipeline(format!("batch-{number}"));
            assert_eq!(
                database.count(&of_batch).unwrap(),
                BATCH,
                "batch {number} is partial"
            );
            assert_eq!(
                database.list(&of_batch).unwrap().samples.len() as u64,
                BATCH
            );
        }
        assert_eq!(database.count(&Query::new()).unwrap(), stored * BATCH);
        acknowledged = stored;
    }
}
