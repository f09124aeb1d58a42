//! [`Database::reindex`]: every index and counter made again from the primary tables.
//!
//! Into a new file, which then takes the place of the old one: so it does not matter what is wrong with the
//! old one's indexes or with the pages they lie in, memory is bounded, a crash leaves the one or the other, and the code
//! that makes the indexes is the one that always does. It costs the room of a second file meanwhile.

use std::fs;
use std::path::Path;

use super::Database;
use super::failure::damaged;
use super::fresh::Fresh;
use super::source::{Found, Source};
use crate::error::Result;
use crate::proceed::{Proceed, told};

const OPERATION: &str = "rebuild the indexes";

impl Database {
    /// Makes every index and counter of the closed file at `path` again, from its records, status planes and names of pipelines, and
    /// says how many samples there are. `progress` is told how far it has come, from 0 to 1.
    ///
    /// A new file is written beside the old one, in memory that grows with it by a bit for each row, and takes its place when it is whole and
    /// durable; until then the old one is as it was, whatever happens. Samples keep their order. Cursors from before are not valid
    /// any more. On systems where a file that is open cannot be replaced it fails, and changes nothing.
    ///
    /// Where `path` is a symbolic link, the file that it leads to is replaced. Other names of the same file (hard links) keep the old one. The
    /// new file has the permissions of the old one, and where that is allowed its owner. Meanwhile it is called as the old one is, with a
    /// dot before it and `.tmp` behind; a process that is killed leaves it, and it can be removed.
    ///
    /// # Errors
    /// [`Damaged`](crate::ErrorKind::Damaged) when a sample or a commit cannot be read, which only
    /// [`salvage`](Self::salvage) can leave out; [`Locked`](crate::ErrorKind::Locked) while anybody has the file open;
    /// [`NotFound`](crate::ErrorKind::NotFound), [`NotADatabase`](crate::ErrorKind::NotADatabase),
    /// [`Full`](crate::ErrorKind::Full), [`Io`](crate::ErrorKind::Io), [`Interrupted`](crate::ErrorKind::Interrupted).
    pub fn reindex<P: Proceed>(path: impl AsRef<Path>, progress: impl Fn(f64) -> P) -> Result<u64> {
        let given = path.as_ref();
        // What cannot be resolved cannot be opened either, which says why.
        let resolved = fs::canonicalize(given).unwrap_or_else(|_| given.to_owned());
        let path = resolved.as_path();
        let refused = |what: &str| {
            let message = format!("{what} cannot be read; salvage copies what can be");
            damaged(OPERATION, message).with_subject(path.display())
        };
        let mut source = Source::open(path, true)?;
        let mut fresh = Fresh::create(path, true, OPERATION)?;
        fresh.fields = source.fields();
        let mut add = |row, found| match found {
            Found::Sample(sample) => fresh.add(sample),
            Found::Doubtful(sample, why) => {
                let message =
                    format!("row {row} is doubtful: {why}; salvage copies it, and says so");
                let error = damaged(OPERATION, message).with_subject(path.display());
                Err(error.with_sample_id(sample.id()))
            }
            Found::Lost(id, error) => {
                let error = refused(&format!("row {row}")).with_cause(error);
                Err(match id {
                    Some(id) => error.with_sample_id(id),
                    None => error,
                })
            }
        };
        let leaves = source.leaves();
        for leaf in 0..leaves {
            told(OPERATION, progress(leaf as f64 / leaves as f64).proceeds())?;
            source.leaf(leaf, &mut add)?;
        }
        source.late(&mut add)?;
        if let Some(note) = source.notes().first() {
            let message =
                format!("not everything can be read, and salvage copies what can be: {note}");
            return Err(damaged(OPERATION, message).with_subject(path.display()));
        }
        if source.lost_commits > 0 {
            return Err(refused(&format!(
                "{} commits of the log",
                source.lost_commits
            )));
        }
        let samples = fresh.finish(path, OPERATION)?;
        // It is there, whatever the answer is.
        let _ = progress(1.0);
        Ok(samples)
    }
}
