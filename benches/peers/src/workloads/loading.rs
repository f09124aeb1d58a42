//! Loads in durable batches of 1,000, and the size of the files they leave.
//!
//! Making the batches is outside the timing; encoding their payloads and, at the end, the checkpoint are inside.

use std::path::Path;

use super::{BATCH_SAMPLES, Bench, Opened};
use crate::engine::{Kind, Result};
use crate::samples::Samples;
use crate::timing::{Timing, timed};

/// From so many samples on, one run of each load is enough unless said otherwise.
const ONE_RUN_FROM: u64 = 500_000;

impl Bench<'_> {
    /// Loads every engine, run by run, and keeps the databases of the last run.
    pub(super) fn load(&mut self, name: &str, samples: Samples) -> Result<()> {
        let worst_name = format!("{name}_worst_batch");
        let is_wanted = self.wants(name) || self.wants(&worst_name);
        let default_runs = if samples.count >= ONE_RUN_FROM { 1 } else { 3 };
        let runs = self.arguments.load_runs.unwrap_or(default_runs).max(1);
        let runs = if is_wanted { runs } else { 1 };
        let kinds = &self.arguments.engines;
        let mut timings = vec![(Timing::default(), Timing::default()); kinds.len()];
        let mut engines: Vec<Option<Opened>> = kinds.iter().map(|_| None).collect();
        for run in 0..runs {
            for turn in 0..kinds.len() {
                let at = (turn + run) % kinds.len();
                // The database of the run before goes first: disk.
                engines[at] = None;
                let opened = Opened::new(kinds[at])?;
                let (total, batches) = load(&opened, &samples)?;
                timings[at].0.add_whole(total, &batches);
                let worst = batches.iter().copied().fold(0.0, f64::max);
                timings[at].1.add_whole(worst, &[worst]);
                engines[at] = Some(opened);
            }
        }
        self.engines = engines.into_iter().flatten().collect();
        if is_wanted {
            let kinds = kinds.clone();
            for (kind, (total, worst)) in kinds.into_iter().zip(timings) {
                let rate = format!("{:.0} samples/s", samples.count as f64 / total.median());
                self.add_timing(name, None, kind, &total, &rate);
                self.add_timing(&worst_name, None, kind, &worst, "");
            }
        }
        Ok(())
    }

    /// The size of the closed files as loaded, and of a compacted copy.
    pub(super) fn file_bytes(&mut self) -> Result<()> {
        for at in 0..self.engines.len() {
            self.engines[at].close();
        }
        if self.wants("file_bytes") || self.wants("file_bytes_compacted") {
            for at in 0..self.engines.len() {
                let kind = self.engines[at].kind;
                let path = self.engines[at].path().to_owned();
                let (bytes, on_disk) = folder_bytes(&path)?;
                self.add_bytes(
                    "file_bytes",
                    kind,
                    Some(bytes),
                    &format!("{:.1} MB on disk", on_disk as f64 / 1e6),
                );
                let compacted = compacted_bytes(kind, &path)?;
                let note = if compacted.is_some() {
                    ""
                } else {
                    "no public way to compact yet"
                };
                self.add_bytes("file_bytes_compacted", kind, compacted, note);
            }
        }
        self.engines.iter_mut().try_for_each(Opened::open)
    }
}

/// Loads a database: the seconds of it all, and of each batch.
fn load(opened: &Opened, samples: &Samples) -> Result<(f64, Vec<f64>)> {
    let engine = opened.engine()?;
    let mut batches = Vec::new();
    for first in (0..samples.count).step_by(BATCH_SAMPLES as usize) {
        let batch = samples.batch(first..(first + BATCH_SAMPLES).min(samples.count));
        let (seconds, ()) = timed(|| engine.store(&batch))?;
        batches.push(seconds);
    }
    let (end, ()) = timed(|| engine.finish_load())?;
    Ok((batches.iter().sum::<f64>() + end, batches))
}

/// The size after compaction, tried on a copy.
fn compacted_bytes(kind: Kind, folder: &Path) -> Result<Option<u64>> {
    let copy = tempfile::Builder::new().prefix("peers-").tempdir()?;
    copy_folder(folder, copy.path())?;
    let mut engine = kind.open(copy.path())?;
    let is_compacted = engine.compact()?;
    drop(engine);
    Ok(is_compacted.then_some(folder_bytes(copy.path())?.0))
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

/// The length of all files in a folder, and what they take on disk.
fn folder_bytes(folder: &Path) -> Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut on_disk) = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let of_entry = if metadata.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            (metadata.len(), metadata.blocks() * 512)
        };
        bytes += of_entry.0;
        on_disk += of_entry.1;
    }
    Ok((bytes, on_disk))
}
