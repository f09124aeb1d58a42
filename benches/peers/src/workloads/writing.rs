//! Writes to a loaded database, each durable. What a run changes is either undone outside its timing, or taken from another
//! place in the next run, so that every run finds the same kind of work.

use samplestore::Status;

use super::answers::same;
use super::{Bench, samples_of};
use crate::engine::{Ask, Engine, Kind, Result};
use crate::samples::{COMMON, Row};
use crate::timing::{Timing, timed};

/// Samples that are moved, deleted or replaced in one transaction; fewer in a small database.
const MANY: u64 = 10_000;
/// Single writes in a run: enough for SQLite's checkpoints, one in about a hundred, to have their share.
const SINGLES: u64 = 100;
const WRITERS: u64 = 16;
/// Samples that each writer stores in a run.
const BY_EACH: u64 = 8;

/// The samples of the common status, in order of time: instant and number.
type Common = Vec<(i64, u64)>;

impl Bench<'_> {
    pub(super) fn write_all(&mut self) -> Result<()> {
        const NAMES: [&str; 6] = [
            "mark_10k",
            "mark_one",
            "replace_10k",
            "store_one",
            "store_16_writers",
            "delete_10k",
        ];
        if !NAMES.iter().any(|name| self.wants(name)) {
            return Ok(());
        }
        let samples = samples_of(self.samples.order, self.samples.count);
        let count = samples.count;
        let many = MANY.min(count / 10);
        let about = about(many);
        let common = self.common();
        let common_places = common.len() as u64;

        self.write("mark_10k", &about, |engine, run| {
            let (ask, numbers) = window(&common, run * many % (common_places / 3), many);
            let (seconds, moved) = timed(|| engine.set_status(&ask, Status::Skipped))?;
            let ids: Vec<String> = numbers
                .iter()
                .map(|(_, number)| samples.row(*number, 0).id)
                .collect();
            if moved != ids.len() as u64 || engine.set_status_of(&ids, COMMON)? != moved {
                return Err(format!("{moved} of {} samples were moved", ids.len()).into());
            }
            Ok((vec![seconds], moved))
        })?;
        self.write("mark_one", "", |engine, run| {
            let places = (0..SINGLES).map(|at| (run * SINGLES + at) * 7_919 % common_places);
            let ids: Vec<String> = places
                .map(|place| samples.row(common[place as usize].1, 0).id)
                .collect();
            let mut all = Vec::new();
            for id in &ids {
                let (seconds, moved) =
                    timed(|| engine.set_status_of(std::slice::from_ref(id), Status::Pending))?;
                if moved != 1 {
                    return Err(format!("{moved} samples were moved").into());
                }
                all.push(seconds);
            }
            engine.set_status_of(&ids, COMMON)?;
            Ok((all, SINGLES))
        })?;
        self.write("replace_10k", &about, |engine, run| {
            let step = count / many;
            let rows: Vec<Row> = (0..many)
                .map(|at| samples.row(at * step + run % step, run + 1))
                .collect();
            let (seconds, ()) = timed(|| engine.store(&rows))?;
            Ok((vec![seconds], many))
        })?;
        self.write("store_one", "", |engine, run| {
            let first = count + run * SINGLES;
            let mut all = Vec::new();
            for row in samples.batch(first..first + SINGLES) {
                all.push(timed(|| engine.store(std::slice::from_ref(&row)))?.0);
            }
            Ok((all, SINGLES))
        })?;
        let about = format!("{WRITERS} threads, per sample");
        self.write("store_16_writers", &about, |engine, run| {
            let first = count + 100_000 + run * WRITERS * BY_EACH;
            let rows = samples.batch(first..first + WRITERS * BY_EACH);
            let (seconds, ()) = timed(|| store_side_by_side(engine, &rows))?;
            Ok((vec![seconds / rows.len() as f64], rows.len() as u64))
        })?;
        // What is gone stays gone, so all runs together take half of the common samples.
        let many = MANY.min(count / 20);
        let about = self::about(many);
        self.write("delete_10k", &about, |engine, run| {
            let place = common_places / 3 + run * many % (common_places / 2);
            let (ask, _) = window(&common, place, many);
            let (seconds, deleted) = timed(|| engine.delete(&ask))?;
            Ok((vec![seconds], deleted))
        })
    }

    /// Times writes. `work` gets the number of the run, and gives the seconds of each piece and how many samples it wrote,
    /// which is compared.
    fn write(
        &mut self,
        name: &str,
        note: &str,
        work: impl Fn(&dyn Engine, u64) -> Result<(Vec<f64>, u64)>,
    ) -> Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        let mut timings = vec![Timing::default(); self.engines.len()];
        for run in 0..self.arguments.runs {
            // When one engine is out of time, all stop: they are to stay the same.
            if timings
                .iter()
                .any(|timing| timing.total_s() > self.arguments.seconds())
            {
                break;
            }
            let mut written: Vec<(Kind, u64)> = Vec::new();
            for at in self.turns(run) {
                let opened = &self.engines[at];
                let (seconds, count) = work(opened.engine()?, run as u64)?;
                timings[at].add_run(&seconds);
                written.push((opened.kind, count));
            }
            same(name, &written)?;
        }
        for (at, timing) in timings.iter().enumerate() {
            self.add_timing(name, None, self.engines[at].kind, timing, note)?;
        }
        Ok(())
    }

    fn common(&self) -> Common {
        let of_sample = |number| (self.samples.status_and_instant(number), number);
        let mut common: Common = (0..self.samples.count)
            .map(of_sample)
            .filter(|((status, _), _)| *status == COMMON)
            .map(|((_, created_at), number)| (created_at, number))
            .collect();
        common.sort_unstable();
        common
    }
}

/// What a note says of transactions that are smaller than their workload's name has it.
fn about(many: u64) -> String {
    if many == MANY {
        String::new()
    } else {
        format!("only {many} samples")
    }
}

/// A query for about `many` samples of the common status from a place on, and these samples. Ties at its ends belong to it.
fn window(common: &Common, place: u64, many: u64) -> (Ask, &[(i64, u64)]) {
    let (mut first, mut last) = (
        place as usize,
        ((place + many) as usize).min(common.len()) - 1,
    );
    while first > 0 && common[first - 1].0 == common[first].0 {
        first -= 1;
    }
    while last + 1 < common.len() && common[last + 1].0 == common[last].0 {
        last += 1;
    }
    let range = Some((common[first].0, common[last].0));
    (
        Ask {
            status: Some(COMMON),
            range,
            ..Ask::default()
        },
        &common[first..=last],
    )
}

fn store_side_by_side(engine: &dyn Engine, rows: &[Row]) -> Result<()> {
    std::thread::scope(|scope| {
        let writers: Vec<_> = rows
            .chunks(BY_EACH as usize)
            .map(|rows| {
                scope.spawn(move || {
                    rows.iter()
                        .try_for_each(|row| engine.store(std::slice::from_ref(row)))
                })
            })
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().map_err(|_| "a writer panicked")?)
    })
}
