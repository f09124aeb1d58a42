//! Measuring: medians of runs, and what one durable write costs on this disk.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::engine::Result;

/// How long the pieces of work of one engine took.
#[derive(Clone, Debug, Default)]
pub struct Timing {
    /// Seconds a piece, averaged over each run.
    runs: Vec<f64>,
    /// Seconds of each piece.
    pieces: Vec<f64>,
    total_s: f64,
}

impl Timing {
    /// Adds a run of so many pieces of work.
    pub fn add_run(&mut self, pieces: &[f64]) {
        let total = pieces.iter().sum::<f64>();
        self.runs.push(total / pieces.len().max(1) as f64);
        self.pieces.extend(pieces);
        self.total_s += total;
    }

    /// Adds a run whose whole counts, with its pieces for their own sake.
    pub fn add_whole(&mut self, whole: f64, pieces: &[f64]) {
        self.runs.push(whole);
        self.pieces.extend(pieces);
        self.total_s += whole;
    }

    pub fn median(&self) -> f64 {
        quantile(&self.runs, 0.5)
    }

    pub fn p99(&self) -> f64 {
        quantile(&self.pieces, 0.99)
    }

    /// Seconds of all pieces, or of the whole runs where these were given.
    pub fn total_s(&self) -> f64 {
        self.total_s
    }

    pub fn runs(&self) -> usize {
        self.runs.len()
    }
}

/// Runs `work` and says how many seconds it took.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let answer = work()?;
    Ok((start.elapsed().as_secs_f64(), answer))
}

/// What one write of the floor appends.
pub const FLOOR_BYTES: usize = 4096;

/// A page appended to a file and synced, a hundred times: what no durable write on this disk can be faster than.
pub fn fsync_floor(folder: &Path) -> Result<Timing> {
    // With a name: a file without one skips a part of what a database pays.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let mut floor = Timing::default();
    for _ in 0..100 {
        let (seconds, ()) = timed(|| {
            file.write_all(&[0x5A; FLOOR_BYTES])?;
            Ok(file.as_file().sync_data()?)
        })?;
        floor.add_run(&[seconds]);
    }
    Ok(floor)
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = part * (values.len() - 1) as f64;
    let (low, high) = (
        values[middle.floor() as usize],
        values[middle.ceil() as usize],
    );
    if part == 0.5 {
        (low + high) / 2.0
    } else {
        high
    }
}
