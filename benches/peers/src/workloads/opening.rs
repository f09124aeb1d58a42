//! Opening a database that was closed, and one whose process was killed while it stored; and the memory that a process takes.
//!
//! An open is over when a sample has been retrieved by its id, so that what an engine puts off is in it.

use std::cell::RefCell;

use super::children::{Killed, killed_while_storing, memory_of_load, memory_of_loaded};
use super::{Bench, Opened, PEAK_MEMORY};
use crate::engine::{Form, Result};
use crate::timing::{Timing, timed};

const CLEAN: &str = "up to the first retrieve";
const MEMORY: &str = "with pages of mapped files, if there are any";

impl Bench<'_> {
    pub(super) fn open_all(&mut self) -> Result<()> {
        if self.wants("open_clean") {
            self.time_opens("open_clean", |_, _| Ok(None))?;
        }
        if self.wants("open_after_kill") {
            let samples = self.samples;
            self.time_opens("open_after_kill", |opened, run| {
                // Each run stores other samples than the ones before.
                let first = 2 * samples.count + 1_000_000 * (run as u64 + 1);
                killed_while_storing(opened.kind, opened.path(), &samples, first).map(Some)
            })?;
        }
        Ok(())
    }

    /// Times opens. `before` is done while the database is closed, and says which samples are surely there that were not
    /// before.
    fn time_opens(
        &mut self,
        name: &str,
        before: impl Fn(&Opened, usize) -> Result<Option<Killed>>,
    ) -> Result<()> {
        let id = self.samples.row(self.samples.count - 1, 0).id;
        let mut timings = vec![Timing::default(); self.engines.len()];
        let kills: Vec<RefCell<Vec<Killed>>> =
            self.engines.iter().map(|_| RefCell::default()).collect();
        for run in 0..self.arguments.runs {
            for at in self.turns(run) {
                if timings[at].total_s() > self.arguments.seconds() {
                    continue;
                }
                let opened = &mut self.engines[at];
                let there = opened.engine()?.facets()?.total();
                opened.close();
                let killed = before(opened, run)?;
                let (seconds, _) = timed(|| {
                    opened.open()?;
                    opened.engine()?.retrieve(&id, Form::Typed)
                })?;
                timings[at].add_run(&[seconds]);
                let found = opened.engine()?.facets()?.total();
                let stored = killed.map_or(0, |killed| killed.durable);
                if found < there + stored {
                    let (kind, lost) = (opened.kind.name(), there + stored - found);
                    return Err(format!(
                        "{name}: {kind} lost {lost} samples that it had said were durable"
                    )
                    .into());
                }
                kills[at].borrow_mut().extend(killed);
            }
        }
        for (at, timing) in timings.iter().enumerate() {
            let note = match &*kills[at].borrow() {
                kills if kills.is_empty() => CLEAN.to_owned(),
                kills => after_kill(kills),
            };
            self.add_timing(name, None, self.engines[at].kind, timing, &note)?;
        }
        Ok(())
    }

    /// The memory of processes that load a database and read it.
    pub(super) fn peak_memory(&mut self) -> Result<()> {
        for kind in self.arguments.engines.clone() {
            if !kind.is_relaxed() {
                let bytes = memory_of_load(kind, &self.samples)?;
                let note = format!("VmHWM of a process that loads and reads; {MEMORY}");
                self.add_bytes(PEAK_MEMORY, kind, Some(bytes), &note)?;
            }
        }
        Ok(())
    }

    /// The memory of processes that store into the databases that are there and read them, each of which is removed then:
    /// another load of each would take as long as all of its rows.
    pub(super) fn peak_memory_of_loaded(&mut self) -> Result<()> {
        for mut opened in std::mem::take(&mut self.engines) {
            opened.close();
            let bytes = memory_of_loaded(opened.kind, &self.samples, opened.path())?;
            let note = format!(
                "VmHWM of a process that opens the loaded database, stores 200 batches and reads; {MEMORY}"
            );
            self.add_bytes(PEAK_MEMORY, opened.kind, Some(bytes), &note)?;
        }
        Ok(())
    }
}

/// How the processes died.
fn after_kill(kills: &[Killed]) -> String {
    let inside = kills.iter().filter(|killed| killed.was_storing).count();
    let durable: u64 = kills.iter().map(|killed| killed.durable).sum();
    let since = kills
        .iter()
        .map(|killed| killed.since_last_s)
        .fold(0.0, f64::max);
    format!(
        "SIGKILL of another process in the middle of storing a batch of 1,000 ({inside} of {} times inside it), at most \
         {:.1} ms after it said that the batch before was durable; {} batches a time acknowledged, none lost; up to the \
         first retrieve",
        kills.len(),
        since * 1e3,
        durable / super::BATCH_SAMPLES / kills.len() as u64,
    )
}
