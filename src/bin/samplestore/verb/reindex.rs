//! `reindex`: every index and counter made again.

use clap::Args;
use samplestore::{Database, ErrorKind};
use serde_json::json;

use crate::failure::{Code, Outcome, full_at, words};
use crate::interrupt::{self, UNCHANGED};
use crate::opening::{Db, FILE_ALONE};
use crate::output::{counted, write_json};
use crate::progress::FractionProgress;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db reindex";

/// Rebuild every index and counter from the records, whether they are wrong or not
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{FILE_ALONE}"))]
pub(crate) struct Reindex {
    /// Write how many samples there are to standard output, too, as one JSON text
    #[arg(long)]
    json: bool,
}

impl Reindex {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let progress = FractionProgress::new("rebuilding");
        let path = db.path_to_write()?;
        interrupt::watch_making(path)?;
        let rebuilt = db.while_locked(|| {
            let rebuilt = Database::reindex(path, |fraction| progress.set(fraction));
            // The library resolves it; it is told as it was given.
            rebuilt.map_err(|error| match error.kind() {
                ErrorKind::Locked => error.with_subject(path.display()),
                _ => error,
            })
        });
        drop(progress);
        let samples = rebuilt
            .map_err(|error| full_at(path, error))
            .map_err(|error| interrupt::ended(error, UNCHANGED))?;
        let count = counted(samples, "sample");
        words(&format!("rebuilt the indexes of {count}"));
        if self.json {
            write_json(&json!({ "samples": samples }))?;
        }
        Ok(Code::Fine)
    }
}
