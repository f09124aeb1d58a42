//! Two hundred rounds: a child stores, replaces, moves, deletes, compacts, and makes and removes indexes of fields, and is killed at a random moment, also
//! while it opens what the one before left. By turns one thread does it, three that share commits, and a background writer.
//!
//! Which operation comes next follows from its number (`crash/workload.rs`), so that the parent knows what the
//! child did: the child says when each begins and when it is acknowledged. The parent looks at a copy of the file; the next child gets the file as it is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use samplestore::{Database, Durability, Storage, Ticket, Writer};

use crate::crash::lane::Lane;
use crate::crash::random::Random;
use crate::crash::record::{By, Mode};
use crate::crash::verify;
use crate::crash::workload::Operation;

const FILE: &str = "SAMPLESTORE_TEST_ROUNDS_FILE";
const FIRST: &str = "SAMPLESTORE_TEST_ROUNDS_FIRST";
const ROUNDS: u64 = 200;
const SEED: u64 = 11;
/// A child is killed within so many milliseconds after it began to open the file.
const LIFE_MS: u64 = 40;
/// Lanes of all rounds: those of several threads.
const LANES: u64 = 3;

/// How the file is written in a round. Without power to lose, deferred stores survive as others do.
fn mode(round: u64) -> Mode {
    let durability = match round % 3 {
        1 => Durability::Deferred,
        _ => Durability::Immediate,
    };
    Mode {
        durability,
        shared_readers: round % 3 == 2,
        by: match round / 3 % 3 {
            0 => By::One,
            1 => By::Threads,
            _ => By::Tickets,
        },
    }
}

/// The child's part; nothing at all when the tests are run as usual.
#[test]
fn child_works_until_it_is_killed() {
    let (Ok(path), Ok(first)) = (std::env::var(FILE), std::env::var(FIRST)) else {
        return;
    };
    let mut numbers = first.split(' ').map(|number| number.parse().unwrap());
    let mode = mode(numbers.next().unwrap());
    println!("opening");
    let database = mode.options().open(path).unwrap();
    if mode.by == By::Tickets {
        return by_tickets(&database, numbers.next().unwrap());
    }
    std::thread::scope(|scope| {
        for (lane, first) in (0..mode.lanes()).zip(numbers) {
            let database = &database;
            scope.spawn(move || {
                for number in first.. {
                    let operation = Operation::nth(SEED, lane, number);
                    println!("began {lane} {number}");
                    operation.run(database, database).unwrap();
                    println!("acknowledged {lane} {number}");
                }
            });
        }
    });
}

/// Stores are submitted, and somebody else waits for their tickets.
fn by_tickets(database: &Database, first: u64) {
    let writer = Writer::new(database.clone()).unwrap();
    let (sender, tickets) = mpsc::channel::<(u64, Ticket)>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (number, ticket) in tickets {
                ticket.wait().unwrap();
                println!("acknowledged 0 {number}");
            }
        });
        for number in first.. {
            let operation = Operation::nth(SEED, 0, number);
            println!("began 0 {number}");
            if let Operation::Store(samples) = operation {
                sender
                    .send((number, writer.submit(samples).unwrap()))
                    .unwrap();
                continue;
            }
            if operation.is_of_database() {
                writer.flush().unwrap();
            }
            operation.run(&writer, database).unwrap();
            println!("acknowledged 0 {number}");
        }
    });
}

/// How many operations of a lane a child has begun, and how many of them, from the first one on, were acknowledged.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    begun: u64,
    acknowledged: u64,
}

/// Starts a child that goes on from these operations of each lane, kills it after so long, and says what it said of each.
fn kill_after(life: Duration, path: &Path, round: u64, first: &[u64]) -> Vec<Said> {
    let numbers: Vec<String> = first.iter().map(u64::to_string).collect();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "kill::rounds::child_works_until_it_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(FILE, path)
        .env(FIRST, format!("{round} {}", numbers.join(" ")))
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
    let mut said = vec![Said::default(); first.len()];
    for line in lines.map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        // The last line may be there in part, of what nobody has been told.
        let [what, lane, number] = words[..] else {
            continue;
        };
        let (Ok(lane), Ok(number)) = (lane.parse::<usize>(), number.parse::<u64>()) else {
            continue;
        };
        let Some(count) = (number + 1).checked_sub(first[lane]) else {
            continue;
        };
        match what {
            "began" => said[lane].begun = said[lane].begun.max(count),
            "acknowledged" => said[lane].acknowledged = said[lane].acknowledged.max(count),
            _ => {}
        }
    }
    said
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
    let mut lanes: Vec<Lane> = (0..LANES).map(|lane| Lane::new(SEED, lane, 0)).collect();
    let all: Vec<u64> = (0..LANES).collect();
    let (mut in_doubt, mut with_index) = (0, 0);
    let mut done = [0; 3];
    for round in 0..ROUNDS {
        let life = Duration::from_millis(random.below(LIFE_MS));
        let first: Vec<u64> = lanes.iter().map(|lane| lane.first).collect();
        let said = kill_after(life, &path, round, &first);
        if !path.exists() {
            continue;
        }
        std::fs::copy(&path, &copy).unwrap();
        let open = || mode(round).options().open(&copy);
        let database = open().unwrap();
        let found = verify::state(&database).unwrap();
        for (
            lane,
            Said {
                begun,
                acknowledged,
            },
        ) in lanes.iter_mut().zip(said)
        {
            for _ in 0..begun {
                let operation = Operation::nth(SEED, lane.number, lane.next());
                lane.begin(&operation, 0, usize::MAX);
            }
            let steps = lane.steps_from(acknowledged as usize);
            let reached = lane
                .find(&found, steps)
                .unwrap_or_else(|loss| panic!("round {round}, {:?}: {loss}", mode(round)));
            // Those that were under way when it was killed, and are there.
            in_doubt += reached.step as u64 - acknowledged + u64::from(reached.and_a_part);
            done[(round / 3 % 3) as usize] += reached.step;
            if begun > 0 {
                *lane = lane.at(SEED, reached, &found);
            }
        }
        with_index += usize::from(!found.indexes.is_empty());
        let checked = verify::check(&database, &found, &all)
            .and_then(|()| verify::goes_on(database, &found, open))
            .and_then(|(database, samples)| verify::is_sound(&database, samples));
        checked.unwrap_or_else(|loss| panic!("round {round}: {loss}"));
    }
    let [of_one, of_threads, of_tickets] = done;
    let all = done.iter().sum::<usize>();
    println!(
        "{ROUNDS} kills, {all} operations ({of_one} of one thread, {of_threads} of three, {of_tickets} by tickets), {in_doubt} of them in doubt, {with_index} files with indexes of fields"
    );
    assert!(with_index > 20, "{with_index} files with indexes of fields");
    assert!(
        done.iter().all(|done| *done > 20) && all > ROUNDS as usize,
        "{done:?} operations in {ROUNDS} rounds"
    );
}
