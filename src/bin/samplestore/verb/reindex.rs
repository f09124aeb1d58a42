//! `reindex`: every index and counter made again.

use clap::Args;
use samplestore::Database;

use crate::failure::{Code, Outcome, words};
use crate::interrupt::{self, UNCHANGED};
use crate::opening::Db;
use crate::output::counted;
use crate::progress::FractionProgress;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db reindex";

/// Rebuild every index and counter from the records, whether they are wrong or not
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Reindex {}

impl Reindex {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let progress = FractionProgress::new("rebuilding");
        interrupt::watch()?;
        let path = db.path()?;
        let rebuilt =
            db.while_locked(|| Database::reindex(path, |fraction| progress.set(fraction)));
        drop(progress);
        let samples = rebuilt.map_err(|error| interrupt::ended(error, UNCHANGED))?;
        let samples = counted(samples, "sample");
        words(&format!("rebuilt the indexes of {samples}"));
        Ok(Code::Fine)
    }
}
