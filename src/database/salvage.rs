//! [`Database::salvage`]: what can be read of a damaged file, in a new one, and a list of what is lost.

use std::path::Path;

use serde::Serialize;

use super::Database;
use super::fresh::Fresh;
use super::source::{Found, Source};
use crate::error::Result;
use crate::proceed::{Proceed, told};

const OPERATION: &str = "salvage a database";

/// Samples that a report lists; all are counted.
const LISTED_MAX: usize = 10_000;

/// A sample that is lost, or doubtful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SalvagedRow {
    /// Its row in the damaged file.
    pub row: u64,
    /// Its id, where it is known.
    pub id: Option<String>,
    /// What is wrong, in words.
    pub message: String,
}

/// What [`Database::salvage`] could read, and what not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Samples in the new file.
    pub samples: u64,
    /// Samples that are lost, as far as they are known.
    pub lost: u64,
    /// Commits that were in the log and are lost, at least.
    pub lost_commits: u64,
    /// Samples that have the status they were last stored with, since their true one is lost; some of
    /// them may have been deleted.
    pub doubtful: u64,
    /// What could not be read at all, so that nobody knows which samples it is about.
    pub notes: Vec<String>,
    /// The first 10,000 lost samples.
    pub lost_rows: Vec<SalvagedRow>,
    /// The first 10,000 doubtful samples.
    pub doubtful_rows: Vec<SalvagedRow>,
}

impl SalvageReport {
    /// Whether everything there was is in the new file, as it was.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.lost_commits == 0 && self.doubtful == 0 && self.notes.is_empty()
    }

    fn note(&mut self, row: u64, id: Option<String>, message: String, is_lost: bool) {
        let (count, list) = match is_lost {
            true => (&mut self.lost, &mut self.lost_rows),
            false => (&mut self.doubtful, &mut self.doubtful_rows),
        };
        *count += 1;
        if list.len() < LISTED_MAX {
            list.push(SalvagedRow { row, id, message });
        }
    }
}

impl Database {
    /// Copies every sample that can be read of the damaged file at `from` into a new one at `to`, and says what is lost.
    /// `progress` is told how far it has come, from 0 to 1.
    ///
    /// The damaged file is only read, also when it was not closed: what its log has is copied too. No index is needed, only records, status planes and
    /// the names of pipelines, and for want of planes the status that each record was last stored with.
    /// What it cannot do: find records when the branches of redb's tree above them are damaged, or both of its headers.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when there is a file at `to`, or is one in the end; [`Damaged`](crate::ErrorKind::Damaged) when not even the
    /// roots of the tables can be read; [`Locked`](crate::ErrorKind::Locked) while another process writes the file;
    /// [`NotFound`](crate::ErrorKind::NotFound), [`NotADatabase`](crate::ErrorKind::NotADatabase), [`Full`](crate::ErrorKind::Full), [`Io`](crate::ErrorKind::Io),
    /// [`Interrupted`](crate::ErrorKind::Interrupted).
    pub fn salvage<P: Proceed>(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        progress: impl Fn(f64) -> P,
    ) -> Result<SalvageReport> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let mut source = Source::open(from, false)?;
        let mut fresh = Fresh::create(to, false, OPERATION)?;
        fresh.fields = source.fields();
        let mut report = SalvageReport::default();
        let mut add = |row, found| match found {
            Found::Sample(sample) => fresh.add(sample),
            Found::Doubtful(sample) => {
                let message = "its status is the one it was last stored with".to_owned();
                report.note(row, Some(sample.id().to_owned()), message, false);
                fresh.add(sample)
            }
            Found::Lost(id, error) => {
                report.note(row, id, error.to_string(), true);
                Ok(())
            }
        };
        let leaves = source.leaves();
        for leaf in 0..leaves {
            told(OPERATION, progress(leaf as f64 / leaves as f64).proceeds())?;
            source.leaf(leaf, &mut add)?;
        }
        source.late(&mut add)?;
        report.samples = fresh.finish(from, OPERATION)?;
        report.lost_commits = source.lost_commits;
        report.notes = std::mem::take(&mut source.notes);
        // It is there, whatever the answer is.
        let _ = progress(1.0);
        Ok(report)
    }
}
