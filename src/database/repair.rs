//! [`Database::repair`]: whatever can be done for a file without losing a sample.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::Database;
use super::check::CheckReport;
use super::fresh::CACHE_BYTES;
use crate::error::{ErrorKind, Result};
use crate::proceed::Proceed;
use crate::storage::Storage;

/// How [`Database::repair`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RepairOutcome {
    /// Nothing is wrong, perhaps after what its last writer left unfinished was finished.
    Sound,
    /// Indexes and counters were made again; no sample is lost.
    Rebuilt,
    /// Samples cannot be read: nothing that could be read was changed, although what the last writer left unfinished may be finished, and
    /// [`Database::salvage`] copies the others.
    NeedsSalvage,
}

/// What [`Database::repair`] found and did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// How it ended.
    pub outcome: RepairOutcome,
    /// What the check found before anything was rebuilt; `None` when the file could not be opened.
    pub found: Option<CheckReport>,
    /// Why nothing could be rebuilt, in words.
    pub reason: Option<String>,
}

impl Database {
    /// Finishes what the last writer of the file at `path` left unfinished, checks it, and makes its indexes and
    /// counters again if anything is wrong. `progress` is told how far each of these three has come, from 0 to 1.
    ///
    /// Never loses a sample: when some cannot be read it rebuilds nothing, and says so.
    ///
    /// # Errors
    /// As [`Options::open`](super::Options::open), but for [`Damaged`](ErrorKind::Damaged) and
    /// [`NeedsRepair`](ErrorKind::NeedsRepair), and as [`reindex`](Self::reindex).
    pub fn repair<P: Proceed>(
        path: impl AsRef<Path>,
        progress: impl Fn(f64) -> P + Send + Sync + 'static,
    ) -> Result<RepairReport> {
        let path = path.as_ref();
        let progress = Arc::new(progress);
        let (of_opening, of_check) = (Arc::clone(&progress), Arc::clone(&progress));
        let opened = Self::options()
            .create(false)
            .cache_bytes(CACHE_BYTES)
            .on_repair(move |fraction| {
                // What an opening has begun it finishes.
                let _ = of_opening(fraction);
            })
            .open(path);
        let found = match opened {
            Ok(database) => {
                let report = database.check(move |fraction| of_check(fraction))?;
                // What cannot be written is not needed: the new file is made of what can be read.
                let closed = database.close();
                if report.is_sound() {
                    closed?;
                    return Ok(RepairReport {
                        outcome: RepairOutcome::Sound,
                        found: Some(report),
                        reason: None,
                    });
                }
                Some(report)
            }
            Err(error) if error.kind() == ErrorKind::Damaged => None,
            Err(error) => return Err(error),
        };
        match Self::reindex(path, |fraction| progress(fraction)) {
            Ok(_) => Ok(RepairReport {
                outcome: RepairOutcome::Rebuilt,
                found,
                reason: None,
            }),
            Err(error) if error.kind() == ErrorKind::Damaged => Ok(RepairReport {
                outcome: RepairOutcome::NeedsSalvage,
                found,
                reason: Some(error.to_string()),
            }),
            Err(error) => Err(error),
        }
    }
}
