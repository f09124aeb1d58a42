//! Loads in durable batches of 1,000, and the size of the files they leave.
//!
//! Making the batches is outside the timing; encoding their payloads and, at the end, the checkpoint are inside.
//!
//! At ten million samples some engines would take the better part of an hour for each load. There, an engine that is over
//! its time stores the rest of each of [`PARTS`] equal parts without syncing and outside the timing, which makes the same
//! database; the timed batches of each part, which always come first in it, stand for all of it. The note says how many
//! they were.

use std::path::Path;

use super::disk::folder_bytes;
use super::{BATCH_SAMPLES, Bench, Opened};
use crate::engine::{Engine, Kind, Result};
use crate::samples::{Samples, TimeOrder};
use crate::timing::{Timing, timed};

/// Parts of a load that may be timed in part.
const PARTS: u64 = 20;
/// Durable batches that are not timed after others were stored without syncing: these may still find the disk busy.
const SETTLING: u64 = 3;
/// Samples in a transaction that is not measured.
const FILL_SAMPLES: u64 = 10_000;

/// The name of the row with the slowest batch.
pub fn worst_batch(load: &str) -> String {
    format!("{load}_worst_batch")
}

/// What a load took.
struct Load {
    total_s: f64,
    /// Seconds of each timed batch.
    batches_s: Vec<f64>,
    batches: u64,
}

impl Bench<'_> {
    /// Loads every engine, run by run, and keeps the databases of the last run if they are needed.
    pub(super) fn load(&mut self, name: &str, samples: Samples, is_kept: bool) -> Result<()> {
        let is_large = self.is_large();
        let default_runs = if is_large { 1 } else { self.arguments.runs };
        let runs = self.arguments.load_runs.unwrap_or(default_runs).max(1);
        let seconds = self.arguments.seconds();
        let kinds = self.arguments.engines.clone();
        let mut timings = vec![(Timing::default(), Timing::default()); kinds.len()];
        let mut parts = vec![String::new(); kinds.len()];
        let mut engines: Vec<Option<Opened>> = kinds.iter().map(|_| None).collect();
        for run in 0..runs {
            for turn in 0..kinds.len() {
                let at = (turn + run) % kinds.len();
                // One that is slow has fewer runs, and at least one.
                if timings[at].0.total_s() > seconds {
                    continue;
                }
                // The database of the run before goes first: disk.
                engines[at] = None;
                let opened = Opened::new(kinds[at])?;
                let bound = (is_large && !self.arguments.whole_loads).then_some(seconds);
                let load = load(opened.engine()?, &samples, bound)?;
                timings[at].0.add_whole(load.total_s, &load.batches_s);
                let worst = load.batches_s.iter().copied().fold(0.0, f64::max);
                // The 99th of a hundred batches stands beside the slowest.
                timings[at].1.add_whole(worst, &load.batches_s);
                let timed = load.batches_s.len() as u64;
                if timed < load.batches {
                    parts[at] = format!(
                        "timed: {timed} of {} batches, spread over the load, and scaled up",
                        load.batches
                    );
                }
                let held: u64 = engines
                    .iter()
                    .flatten()
                    .chain([&opened])
                    .map(|opened| Ok(folder_bytes(opened.path())?.1))
                    .sum::<Result<u64>>()?;
                self.see_disk(held);
                engines[at] = Some(opened).filter(|_| is_kept);
            }
        }
        self.engines = engines.into_iter().flatten().collect();
        let worst_name = worst_batch(name);
        for ((kind, (total, worst)), part) in kinds.into_iter().zip(timings).zip(parts) {
            let rate = format!("{:.0} samples/s", samples.count as f64 / total.median());
            let end = if part.is_empty() { "" } else { "; " };
            if self.wants(name) {
                self.add_timing(name, None, kind, &total, &format!("{rate}{end}{part}"))?;
            }
            if self.wants(&worst_name) {
                let note = format!("p99 is that of all batches{end}{part}");
                self.add_timing(&worst_name, None, kind, &worst, &note)?;
            }
        }
        Ok(())
    }

    /// Makes the databases when their load is not what is measured.
    pub(super) fn fill(&mut self) -> Result<()> {
        for kind in self.arguments.engines.clone() {
            // Ours sets how it syncs when it is opened.
            let filling = match kind {
                Kind::Samplestore => Kind::SamplestoreDeferred,
                other => other,
            };
            let mut opened = Opened::new(filling)?;
            let engine = opened.engine()?;
            engine.set_synced(false)?;
            store_all(engine, &self.samples, 0..self.samples.count)?;
            engine.set_synced(true)?;
            engine.finish_load()?;
            if filling != kind {
                opened.close();
                opened.kind = kind;
                opened.open()?;
            }
            self.engines.push(opened);
        }
        Ok(())
    }

    /// The size of the closed files as loaded, and of a compacted copy.
    pub(super) fn file_bytes(&mut self) -> Result<()> {
        if !self.wants("file_bytes") && !self.wants("file_bytes_compacted") {
            return Ok(());
        }
        // Minutes for each engine, and as long a file for samples in the other order.
        let is_compacted_already = self.is_large()
            && self.samples.order == TimeOrder::Shuffled
            && self.arguments.order.all().len() > 1;
        self.engines.iter_mut().for_each(Opened::close);
        for at in 0..self.engines.len() {
            let kind = self.engines[at].kind;
            // Its strict twin has the same file.
            if kind.is_relaxed() {
                continue;
            }
            let path = self.engines[at].path().to_owned();
            let (bytes, on_disk) = folder_bytes(&path)?;
            if self.wants("file_bytes") {
                let note = format!("{:.1} MB on disk", on_disk as f64 / 1e6);
                self.add_bytes("file_bytes", kind, Some(bytes), &note)?;
            }
            if self.wants("file_bytes_compacted") && !is_compacted_already {
                let (compacted, copied) = compacted_bytes(kind, &path)?;
                self.add_bytes("file_bytes_compacted", kind, Some(compacted), "")?;
                let mut held = copied;
                for opened in &self.engines {
                    held += folder_bytes(opened.path())?.1;
                }
                self.see_disk(held);
            }
        }
        self.engines.iter_mut().try_for_each(Opened::open)
    }
}

/// Loads a database; in no more than about `bound` timed seconds, when there is a bound and the engine can be bounded.
fn load(engine: &dyn Engine, samples: &Samples, bound: Option<f64>) -> Result<Load> {
    let count = samples.count;
    let batches = count.div_ceil(BATCH_SAMPLES);
    // Asks by setting what is set already.
    let bound = match bound {
        Some(bound) if engine.set_synced(true)? => bound / PARTS as f64,
        _ => f64::INFINITY,
    };
    let mut load = Load {
        total_s: 0.0,
        batches_s: Vec::new(),
        batches,
    };
    let mut settling = 0;
    for part in 0..PARTS {
        let (start, end) = (part * batches / PARTS, (part + 1) * batches / PARTS);
        let (mut at, mut timed_batches, mut spent_s) = (start, 0, 0.0);
        while at < end && spent_s < bound {
            let first = at * BATCH_SAMPLES;
            let batch = samples.batch(first..(first + BATCH_SAMPLES).min(count));
            let (seconds, ()) = timed(|| engine.store(&batch))?;
            if at >= start + settling {
                load.batches_s.push(seconds);
                spent_s += seconds;
                timed_batches += 1;
            }
            at += 1;
        }
        load.total_s += spent_s / f64::from(timed_batches.max(1)) * (end - start) as f64;
        settling = 0;
        if at == end {
            continue;
        }
        settling = SETTLING;
        engine.set_synced(false)?;
        let rest = at * BATCH_SAMPLES..(end * BATCH_SAMPLES).min(count);
        store_all(engine, samples, rest)?;
        engine.set_synced(true)?;
    }
    let (end_s, ()) = timed(|| engine.finish_load())?;
    load.total_s += end_s;
    Ok(load)
}

/// Stores the samples of these numbers in large batches.
fn store_all(engine: &dyn Engine, samples: &Samples, numbers: std::ops::Range<u64>) -> Result<()> {
    for first in numbers.clone().step_by(FILL_SAMPLES as usize) {
        engine.store(&samples.batch(first..(first + FILL_SAMPLES).min(numbers.end)))?;
    }
    Ok(())
}

/// The size after compaction, tried on a copy, and what the copy took on disk.
fn compacted_bytes(kind: Kind, folder: &Path) -> Result<(u64, u64)> {
    let copy = tempfile::Builder::new().prefix("peers-").tempdir()?;
    let is_copied = kind.open(folder)?.copy_compacted(copy.path())?;
    let mut copied = 0;
    if !is_copied {
        copy_folder(folder, copy.path())?;
        copied = folder_bytes(copy.path())?.1;
        kind.open(copy.path())?.compact()?;
    }
    let (bytes, on_disk) = folder_bytes(copy.path())?;
    Ok((bytes, copied.max(on_disk)))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
