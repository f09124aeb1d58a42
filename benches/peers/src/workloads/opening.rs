//! Opening a database that was closed, and one whose process was killed while it stored; and the memory that a process takes.

use super::children::{killed_while_storing, peak_memory};
use super::{Bench, PEAK_MEMORY};
use crate::engine::{Ask, Result};
use crate::samples::{COMMON, PIPELINES};
use crate::timing::{Timing, timed};

const FIRST_COUNT: Ask = Ask {
    pipeline: Some(PIPELINES[0]),
    status: Some(COMMON),
    range: None,
    newest: false,
    limit: None,
};
const NOTE: &str = "up to the first count";

impl Bench<'_> {
    pub(super) fn open_all(&mut self) -> Result<()> {
        self.engines.retain(|opened| !opened.kind.is_relaxed());
        if self.wants("open_clean") {
            self.time_opens("open_clean", |_, _| Ok(0))?;
        }
        if self.wants("open_after_kill") {
            let samples = self.samples;
            self.time_opens("open_after_kill", |opened, run| {
                // Each run stores other samples than the ones before.
                let first = 2 * samples.count + 1_000_000 * (run as u64 + 1);
                killed_while_storing(opened.kind, opened.path(), &samples, first)
            })?;
        }
        Ok(())
    }

    /// Times opens. `before` is done while the database is closed, and says how many samples are surely there that were not
    /// before.
    fn time_opens(
        &mut self,
        name: &str,
        before: impl Fn(&super::Opened, usize) -> Result<u64>,
    ) -> Result<()> {
        let mut timings = vec![Timing::default(); self.engines.len()];
        for run in 0..self.arguments.runs {
            for at in self.turns(run) {
                let opened = &mut self.engines[at];
                let there = opened.engine()?.facets()?.total();
                opened.close();
                let stored = before(opened, run)?;
                let (seconds, _) = timed(|| {
                    opened.open()?;
                    opened.engine()?.count(&FIRST_COUNT)
                })?;
                timings[at].add_run(&[seconds]);
                let found = opened.engine()?.facets()?.total();
                if found < there + stored {
                    let (kind, lost) = (opened.kind.name(), there + stored - found);
                    return Err(format!(
                        "{name}: {kind} lost {lost} samples that it had said were durable"
                    )
                    .into());
                }
            }
        }
        for (at, timing) in timings.iter().enumerate() {
            self.add_timing(name, None, self.engines[at].kind, timing, NOTE);
        }
        Ok(())
    }

    pub(super) fn peak_memory(&mut self) -> Result<()> {
        for kind in self.arguments.engines.clone() {
            if !kind.is_relaxed() {
                let bytes = peak_memory(kind, &self.samples)?;
                let note = "VmHWM of a process that loads and reads; with pages of mapped files, if there are any";
                self.add_bytes(PEAK_MEMORY, kind, Some(bytes), note);
            }
        }
        Ok(())
    }
}
