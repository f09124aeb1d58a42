//! W1, W8, R7 and L4 as other threads see them: snapshots, whole batches, writers that queue.
//!
//! These cases find what breaks often, not what breaks once in a million; they count what was seen
//! and never measure how long it took.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::case::{Case, Failure, Need, Trial, Verdict, case, ensure, ensure_eq, same_samples};
use super::make::{at, sample, series};
use crate::data;
use crate::query::Query;
use crate::sample::{Sample, Status};
use crate::value::Value;

use Need::{Atomic, Delete, Query as Queries, SetStatus};

pub(super) const CASES: &[Case] = &[
    case(
        "W1",
        "readers see a batch whole or not at all",
        &[Atomic, Queries],
        batches_seen_whole,
    ),
    case(
        "W8",
        "readers see all samples moved or none",
        &[Atomic, SetStatus, Queries],
        moves_seen_whole,
    ),
    case(
        "W8",
        "of concurrent moves each sample is moved once",
        &[Atomic, SetStatus, Queries],
        moved_once,
    ),
    case(
        "R7",
        "an iterator keeps to its snapshot while others write",
        &[Queries],
        iterator_snapshot,
    ),
    case(
        "R7",
        "a list sees one snapshot beside a writer",
        &[Atomic, Queries],
        list_snapshot,
    ),
    case(
        "L4",
        "writers of many threads queue without error",
        &[],
        writers_queue,
    ),
    case(
        "L4",
        "writers of one id make one sample of it",
        &[Queries],
        writers_of_one_id,
    ),
    case(
        "L4",
        "many readers run beside a writer",
        &[Queries],
        readers_beside_writer,
    ),
    case(
        "L4",
        "deleting and storing by turns keeps the counts",
        &[Delete, Queries],
        deleters_beside_writers,
    ),
];

/// How long a writer may be kept by an open iterator before it is taken to wait for ever.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// How often a reader looks beside a writer, at the least.
const LOOKS: usize = 100;

/// How many turns of a writer a reader looks beside, at the least: looks can all be over before the
/// writer's thread has begun.
const TURNS: usize = 5;

/// Runs `write` turn by turn in a thread of its own, and looks meanwhile in this one: until it has
/// looked often enough beside turns enough, or the turns are over, and once more in the end.
fn beside(
    turns: usize,
    write: impl Fn(usize) -> Verdict + Send + Sync,
    mut look: impl FnMut() -> Verdict,
) -> Verdict {
    let enough = AtomicBool::new(false);
    let written = AtomicUsize::new(0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut turns = (0..turns).take_while(|_| !enough.load(Relaxed));
            turns.try_for_each(|turn| {
                write(turn)?;
                written.fetch_add(1, Relaxed);
                Ok(())
            })
        });
        let goes_on = |look| look < LOOKS || written.load(Relaxed) < TURNS;
        let mut looks = (0..).take_while(|look| goes_on(*look) && !writer.is_finished());
        let seen = looks.try_for_each(|_| look());
        enough.store(true, Relaxed);
        joined(writer)?;
        seen?;
        look()
    })
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Verdict<T>>) -> Verdict<T> {
    thread.join().unwrap_or_else(|panic| {
        Err(Failure::new(super::case::panic_text(&*panic)).within("in a thread"))
    })
}

fn batches_seen_whole(trial: &Trial<'_>) -> Verdict {
    const SIZE: u64 = 25;
    let storage = trial.open()?;
    let storage = &*storage;
    let write = |turn| {
        storage.store(&series(&format!("batch {turn}"), SIZE as usize)?)?;
        Ok(())
    };
    beside(200, write, || {
        let count = storage.count(&Query::new())?;
        ensure!(
            count.is_multiple_of(SIZE),
            "{count} samples are seen, of batches of {SIZE}"
        );
        let listed = storage.list(&Query::new().newest_first())?.samples.len() as u64;
        ensure!(
            listed.is_multiple_of(SIZE),
            "{listed} samples are listed, of batches of {SIZE}"
        );
        Ok(())
    })
}

fn moves_seen_whole(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&series("a", 30)?)?;
    let storage = &*storage;
    let write = |turn| {
        let [to, from] = match turn % 2 {
            0 => [Status::Ready, Status::Pending],
            _ => [Status::Pending, Status::Ready],
        };
        let moved = storage.set_status(&Query::new().into(), Some(from), to)?;
        ensure_eq!(moved, 30, "moved in turn {turn}");
        Ok(())
    };
    beside(1_000, write, || {
        let ready = storage.count(&Query::new().status(Status::Ready))?;
        ensure!(
            ready == 0 || ready == 30,
            "{ready} of 30 samples are seen moved"
        );
        let by_status = storage.facets(&Query::new())?.by_status();
        ensure!(
            by_status.len() == 1,
            "facets see samples of both statuses: {by_status:?}"
        );
        Ok(())
    })
}

fn moved_once(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&series("a", 60)?)?;
    let storage = &*storage;
    let batch = Query::new().status(Status::Pending).limit(7);
    // Each thread claims a few samples at a time, as workers of a queue would.
    let claim = || {
        let mut claimed = 0;
        loop {
            match storage.set_status(&batch.clone().into(), Some(Status::Pending), Status::Ready)? {
                0 => return Ok(claimed),
                more => claimed += more,
            }
        }
    };
    let claimed = thread::scope(|scope| {
        let claimers: Vec<_> = (0..4).map(|_| scope.spawn(claim)).collect();
        claimers.into_iter().map(joined).sum::<Verdict<u64>>()
    })?;
    ensure_eq!(claimed, 60, "claims, by four threads, of 60 samples");
    ensure_eq!(
        storage.count(&Query::new().status(Status::Ready))?,
        60,
        "samples that are ready"
    );
    Ok(())
}

fn iterator_snapshot(trial: &Trial<'_>) -> Verdict {
    let samples = series("a", 50)?;
    for query in [
        Query::new(),
        Query::new()
            .newest_first()
            .pipeline("JFK")
            .status(Status::Pending),
    ] {
        let storage = trial.open_with(&samples)?;
        let storage = &*storage;
        let can = trial.capabilities;
        let expected = storage.list(&query)?.samples;
        let mut items = storage.iterate(&query)?;
        let mut found: Vec<Sample> = items.by_ref().take(2).collect::<Result<_, _>>()?;
        let write = || {
            storage.store(&[
                sample("before").created_at(at(-1)).build()?,
                sample("among").created_at(at(20)).build()?,
                sample("a-30").pipeline("LGA").build()?,
                sample("a-10").created_at(at(99)).build()?,
                sample("a-40").created_at(at(-5)).build()?,
            ])?;
            if can.delete {
                storage.delete(&crate::Selection::ids(["a-25", "a-26", "a-0", "a-49"]))?;
            }
            if can.set_status {
                storage.set_status(&Query::new().into(), None, Status::Dlq)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let (done, is_done) = mpsc::channel();
            let writer = scope.spawn(move || {
                let written = write();
                let _ = done.send(());
                written
            });
            // Without this a storage whose writers wait for its iterators would hang here.
            let stuck = is_done.recv_timeout(STUCK_AFTER) == Err(mpsc::RecvTimeoutError::Timeout);
            if !stuck {
                for item in items {
                    found.push(item?);
                }
            } else {
                drop(items);
            }
            joined(writer)?;
            ensure!(!stuck, "a writer waits for as long as an iterator is open");
            same_samples(
                &found,
                &expected,
                &format!("iterate of `{query}`, begun before the writes"),
            )
        })?;
    }
    Ok(())
}

fn list_snapshot(trial: &Trial<'_>) -> Verdict {
    let round = |round: u64| -> Verdict<Vec<Sample>> {
        let samples = series("a", 20)?.into_iter().map(|sample| {
            let changed = sample.into_builder().data(data! { "round" => round });
            Ok(changed.created_at(at(round as i64)).build()?)
        });
        samples.collect()
    };
    let storage = trial.open_with(&round(0)?)?;
    let storage = &*storage;
    let write = |turn| Ok(storage.store(&round(turn as u64)?).map(drop)?);
    let same_round = |samples: &[Sample], what: &str| {
        ensure_eq!(samples.len(), 20, "{what}: samples");
        let rounds = samples.iter().map(|sample| Ok(sample.data().get("round")?));
        let mut rounds = rounds.collect::<Verdict<Vec<Option<Value>>>>()?;
        rounds.dedup();
        ensure!(
            rounds.len() == 1,
            "{what}: samples of different writes, {rounds:?}"
        );
        Ok(())
    };
    beside(1_000, write, || {
        same_round(&storage.list(&Query::new())?.samples, "list")?;
        let iterated: Vec<_> = storage
            .iterate(&Query::new().newest_first())?
            .collect::<Result<_, _>>()?;
        same_round(&iterated, "iterate")?;
        ensure_eq!(storage.count(&Query::new().pipeline("JFK"))?, 20, "count");
        ensure_eq!(
            storage.facets(&Query::new())?.total(),
            20,
            "total of the facets"
        );
        Ok(())
    })
}

fn writers_queue(trial: &Trial<'_>) -> Verdict {
    const THREADS: u64 = 8;
    let storage = trial.open()?;
    let handle = &*storage;
    let stored = thread::scope(|scope| {
        let write = |thread: u64| {
            let mut stored = 0;
            for batch in 0..6 {
                stored += handle
                    .store(&series(&format!("{thread}/{batch}"), 5)?)?
                    .stored();
                handle.flush()?;
            }
            Ok(stored)
        };
        let writers: Vec<_> = (0..THREADS)
            .map(|n| scope.spawn(move || write(n)))
            .collect();
        writers.into_iter().map(joined).sum::<Verdict<u64>>()
    })?;
    ensure_eq!(stored, THREADS * 30, "stored, by all reports together");
    if trial.capabilities.query {
        ensure_eq!(
            storage.count(&Query::new())?,
            THREADS * 30,
            "samples in the end"
        );
        ensure_eq!(
            storage.list(&Query::new())?.samples.len(),
            240,
            "samples in the list"
        );
    }
    Ok(())
}

fn writers_of_one_id(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open()?;
    let handle = &*storage;
    let ids = ["a", "b", "c"].map(sample);
    let inserted = thread::scope(|scope| {
        let write = || {
            let mut inserted = 0;
            for _ in 0..10 {
                let batch = ids.clone().map(crate::SampleBuilder::build);
                let batch = batch.into_iter().collect::<Result<Vec<_>, _>>()?;
                inserted += handle.store(&batch)?.inserted;
            }
            Ok(inserted)
        };
        let writers: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
        writers.into_iter().map(joined).sum::<Verdict<u64>>()
    })?;
    ensure_eq!(inserted, 3, "inserted, by all reports on three ids");
    ensure_eq!(storage.count(&Query::new())?, 3, "samples in the end");
    Ok(())
}

fn readers_beside_writer(trial: &Trial<'_>) -> Verdict {
    let steady = series("steady", 10)?;
    let storage = trial.open_with(&steady)?;
    let handle = &*storage;
    let write = || {
        for batch in 0..20 {
            let late = series(&format!("late {batch}"), 5)?.into_iter();
            let late = late.map(|sample| sample.into_builder().pipeline("LGA").build());
            handle.store(&late.collect::<Result<Vec<_>, _>>()?)?;
        }
        Ok(())
    };
    let read = || {
        for _ in 0..25 {
            let found = handle.list(&Query::new().pipeline("JFK"))?.samples;
            same_samples(&found, &steady, "read beside a writer")?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
        let writer = scope.spawn(write);
        readers.into_iter().chain([writer]).try_for_each(joined)
    })?;
    let late = storage.count(&Query::new().pipeline("LGA"))?;
    ensure_eq!(late, 100, "samples written beside");
    Ok(())
}

fn deleters_beside_writers(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open()?;
    let handle = &*storage;
    let balance = thread::scope(|scope| {
        let turns = |thread: i64| {
            let mut balance = 0;
            for turn in 0..15 {
                let batch = [
                    sample("shared").build()?,
                    sample(&format!("{thread} {turn}")).build()?,
                ];
                balance += handle.store(&batch)?.inserted as i64;
                balance -= handle.delete(&"shared".into())? as i64;
            }
            Ok(balance)
        };
        let workers: Vec<_> = (0..3).map(|n| scope.spawn(move || turns(n))).collect();
        workers.into_iter().map(joined).sum::<Verdict<i64>>()
    })?;
    let count = storage.count(&Query::new())? as i64;
    ensure_eq!(
        count,
        balance,
        "samples in the end, beside inserted less deleted"
    );
    ensure_eq!(
        storage.facets(&Query::new())?.total() as i64,
        balance,
        "total of the facets"
    );
    Ok(())
}
