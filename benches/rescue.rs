//! How long it takes to open a file whose writer was killed, to check one, to repair it and to salvage it, and how that
//! grows: `cargo bench --bench rescue`, or for others than 100,000 and 1,000,000 samples, `cargo bench --bench rescue -- 300000`.
//!
//! The files were written just before, so that the system has their pages. A copy of a file that is open is what a killed
//! process leaves.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // what it has to say goes there

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use samplestore::{
    Database, Durability, Options, Query, RepairOutcome, Sample, Status, Storage, data,
};

const BATCH: u64 = 1_000;
/// Batches behind which a process is killed; a log of the largest size takes about so many.
const KILLS: u64 = 24;

/// A number for each number, spread evenly: the finaliser of `SplitMix64`.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn at(second: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_600_000_000 + second as i64, 0).unwrap()
}

/// Samples of about 300 bytes, with random ids.
fn batch(first: u64) -> Vec<Sample> {
    let sample = |number| {
        let random = mixed(number);
        Sample::builder(format!("pipeline-{}", random % 8))
            .id(format!("{random:016x}-{number}"))
            .status(Status::ALL[(random % 6) as usize])
            .created_at(at(number))
            .data(data! { "text" => format!("{random:0180}"), "number" => number })
            .build()
            .unwrap()
    };
    (first..first + BATCH).map(sample).collect()
}

fn load(path: &Path, samples: u64) {
    let options = Database::options().durability(Durability::Deferred);
    let database = options.open(path).unwrap();
    for first in (0..samples).step_by(BATCH as usize) {
        database.store(&batch(first)).unwrap();
    }
    database.close().unwrap();
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn row(what: &str, samples: u64, time: Duration) {
    let each = time.as_nanos() as f64 / samples as f64;
    let ms = time.as_secs_f64() * 1e3;
    println!("| {what} | {samples} | {ms:.1} ms | {each:.0} ns |");
}

/// Opens what a process leaves that is killed now, and closes it.
fn open_killed(open: &Path, options: Options, expected: u64) -> Duration {
    let killed = open.with_extension("killed");
    fs::copy(open, &killed).unwrap();
    // Else the opening waits for the copy to reach the disk.
    File::open(&killed).unwrap().sync_all().unwrap();
    let (time, database) = timed(|| options.open(&killed).unwrap());
    assert_eq!(database.count(&Query::new()).unwrap(), expected);
    drop(database);
    fs::remove_file(&killed).unwrap();
    time
}

/// The longest of the openings after kills behind some batches.
fn open_after_kills(path: &Path, options: &Options, samples: &mut u64) -> Duration {
    let database = options.clone().open(path).unwrap();
    let mut longest = Duration::ZERO;
    for kill in 0..KILLS {
        database.store(&batch(*samples)).unwrap();
        *samples += BATCH;
        if kill % 6 == 5 {
            longest = longest.max(open_killed(path, options.clone(), *samples));
        }
    }
    database.close().unwrap();
    longest
}

/// Damages the index of time: flips a byte of the first four instants of samples, which are there and in no record.
fn damage(path: &Path) {
    const PIECE_BYTES: usize = 1 << 20;
    let instants = (0..4).flat_map(|second| at(second).timestamp_micros().to_le_bytes());
    let wanted: Vec<u8> = instants.collect();
    let mut file = File::open(path).unwrap();
    let mut bytes = Vec::new();
    let mut start = 0;
    loop {
        let read = (&mut file)
            .take(PIECE_BYTES as u64)
            .read_to_end(&mut bytes)
            .unwrap();
        assert!(read > 0, "the index of time was not found");
        let found = bytes
            .windows(wanted.len())
            .position(|window| window == wanted);
        if let Some(found) = found {
            let mut file = OpenOptions::new().write(true).open(path).unwrap();
            file.seek(SeekFrom::Start(start + found as u64)).unwrap();
            file.write_all(&[!wanted[0]]).unwrap();
            return;
        }
        // What lies across two pieces is found too.
        let kept = bytes.split_off(bytes.len() - wanted.len() + 1);
        start += bytes.len() as u64;
        bytes = kept;
    }
}

fn rescue(samples: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    load(&path, samples);
    let loaded = samples;
    let mut samples = samples;

    let time = open_after_kills(&path, &Database::options(), &mut samples);
    row("open after a kill", loaded, time);
    let shared = Database::options().shared_readers(true);
    let time = open_after_kills(&path, &shared, &mut samples);
    row("open after a kill of a writer that shares", loaded, time);

    let database = Database::open(&path).unwrap();
    let (time, report) = timed(|| database.check(|_| ()).unwrap());
    assert!(report.is_sound() && report.samples == samples);
    row("check", samples, time);
    database.close().unwrap();

    let (time, report) = timed(|| Database::repair(&path, |_| ()).unwrap());
    assert_eq!(report.outcome, RepairOutcome::Sound);
    row("repair, nothing wrong", samples, time);
    damage(&path);
    let to = folder.path().join("salvaged.redb");
    let (time, report) = timed(|| Database::salvage(&path, &to, |_| ()).unwrap());
    assert_eq!(report.samples, samples);
    row("salvage", samples, time);
    fs::remove_file(&to).unwrap();
    let (time, report) = timed(|| Database::repair(&path, |_| ()).unwrap());
    assert_eq!(report.outcome, RepairOutcome::Rebuilt);
    row("repair that makes every index again", samples, time);

    // Compacting moves pages without a checkpoint, so that the pages are walked after a kill before the next one.
    let database = Database::open(&path).unwrap();
    database.compact().unwrap();
    let time = open_killed(&path, Database::options(), samples);
    row("open after a kill right behind compacting", samples, time);
}

fn main() {
    // What cargo itself says is not a number.
    let counts = std::env::args().filter_map(|argument| argument.parse().ok());
    let mut counts: Vec<u64> = counts.collect();
    if counts.is_empty() {
        counts = vec![100_000, 1_000_000];
    }
    println!("| what | samples | time | each sample |\n|---|--:|--:|--:|");
    for samples in counts {
        rescue(samples);
    }
}
