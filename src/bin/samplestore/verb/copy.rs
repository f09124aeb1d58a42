//! `copy`: samples from one storage into another, and whether both are equal afterwards.

use std::ffi::{OsStr, OsString};
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::HumanCount;
use samplestore::{
    Capabilities, CopyOptions, CopyReport, ErrorKind, Page, Query, Result, Sample, Samples,
    Storage, StoreReport, copy,
};
use serde_json::{Value as Json, json};

use super::export::by_extension;
use crate::arguments::{Filters, INSTANTS, location};
use crate::failure::{Code, Failure, Outcome, answered, words};
use crate::fields::tell_unknown;
use crate::interrupt;
use crate::opening::Db;
use crate::output::{counted, write_json};
use crate::progress::{SampleProgress, pace};

const EXAMPLES: &str = "\
Examples:
  samplestore copy weather.redb file:weather --verify
  samplestore copy s3://bucket/weather weather.redb --pipeline JFK --since 30d
  samplestore copy a.redb b.redb --status ready

It is safe to do it again: what DST has under the same ids is replaced, nothing is removed.";

/// Copy samples from one storage into another, and compare in the end
///
/// SRC and DST are database files or URLs; DST is created if need be.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Copy {
    /// Where samples are read
    #[arg(value_name = "SRC")]
    source: OsString,
    /// Where they are stored
    #[arg(value_name = "DST")]
    target: OsString,
    /// Compare every sample in the end, and not only the counts
    #[arg(long)]
    verify: bool,
    /// How many samples are stored at once
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// Write what was done and found to standard output, too, as one JSON text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: Filters,
}

impl Copy {
    pub(crate) fn run(self, wait: Duration) -> Outcome {
        let query = self.filters.query()?;
        let from = Db::new(location(self.source)?, wait);
        refuse_export(&self.target)?;
        let to = Db::new(location(self.target)?, wait);
        if from.location().is_same_place(to.location()) {
            return Err(Failure::usage("SRC and DST are the same"));
        }
        let source = from.source().map_err(|failure| of(&from, failure))?;
        let target = to.write().map_err(|failure| of(&to, failure))?;
        let target = Arc::new(Target::new(target));
        if self.verify && !target.capabilities().retrieve {
            let message = format!(
                "--verify reads the target, and {}: is written alone",
                to.location().scheme()
            );
            return Err(Failure::usage(message));
        }
        let progress = SampleProgress::new(source.total(&query)?);
        let shown = progress.clone();
        let options = CopyOptions::new()
            .batch_samples_max(self.batch as usize)
            .verify(self.verify)
            .on_progress(move |count| {
                shown.samples(count);
                interrupt::answer()
            });

        let (left, shown) = (Arc::clone(&target), progress.clone());
        interrupt::watch_looking(move || {
            left.leave(|copied| {
                shown.finish();
                words(&format!("interrupted; {}", stays(copied)));
            })
        })?;
        let started = Instant::now();
        let copied = copy(source.storage(), &*target, &query, &options);
        // What is stored is to be durable, however it ended.
        let closed = target.close();
        progress.finish();
        let report = copied.map_err(|error| {
            let count = target.copied();
            if error.kind() != ErrorKind::Interrupted {
                words(&format!("copied before that: {}", counted(count, "sample")));
            }
            let failure = interrupt::ended(error, &stays(count));
            let failure =
                failure.or_hint_to_retry("what is copied stays; run it again for the rest");
            // Which of the two is damaged is not known any more.
            match (is_file(&from), is_file(&to)) {
                (true, true) => failure,
                (false, false) => failure.of_no_file(),
                (true, false) => failure.of_file_or_other(from.location()),
                (false, true) => failure.of_file_or_other(to.location()),
            }
        })?;
        closed?;
        if report.copied == 0 {
            drop(source);
            tell_unknown(&from.read()?, &query)?;
        }
        let pace = pace(report.copied, started.elapsed());
        words(&format!("{} {pace}", in_words(&report)));
        let written = match self.json {
            true => write_json(&in_json(&report)),
            false => Ok(()),
        };
        answered(written, || {
            for id in report.verified.iter().flat_map(|found| &found.ids) {
                words(&format!("not equal: {id:?}"));
            }
            Ok(match report.is_whole() {
                true => Code::Fine,
                false => Code::Partly,
            })
        })
    }
}

/// What is said when it is interrupted.
fn stays(copied: u64) -> String {
    let count = counted(copied, "sample");
    format!("what is copied stays, {count}; run it again for the rest")
}

/// What samples are copied into. While nothing is stored there, as when the next sample that matches is sought, all may be left
/// at any moment.
struct Target {
    storage: Box<dyn Storage>,
    /// Held while something is stored.
    storing: Mutex<()>,
    /// How many samples were.
    copied: AtomicU64,
}

impl Target {
    fn new(storage: Box<dyn Storage>) -> Self {
        Self {
            storage,
            storing: Mutex::new(()),
            copied: AtomicU64::new(0),
        }
    }

    fn copied(&self) -> u64 {
        self.copied.load(Relaxed)
    }

    /// Closes it, unless something is being stored or it is closed already, tells how many samples were copied, and gives whether
    /// that is so. Who comes to store or to close something now waits until the process ends.
    fn leave(&self, farewell: impl FnOnce(u64)) -> bool {
        let Ok(storing) = self.storing.try_lock() else {
            return false;
        };
        mem::forget(storing);
        // What is stored is durable without that.
        let _ = self.storage.close();
        farewell(self.copied());
        true
    }

    fn storing(&self) -> MutexGuard<'_, ()> {
        self.storing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Target {
    fn capabilities(&self) -> Capabilities {
        self.storage.capabilities()
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        let _storing = self.storing();
        let stored = self.storage.store(batch);
        let count = match &stored {
            Ok(_) => batch.len(),
            Err(error) => error.stored_ids().len(),
        };
        self.copied.fetch_add(count as u64, Relaxed);
        stored
    }

    fn flush(&self) -> Result<()> {
        let _storing = self.storing();
        self.storage.flush()
    }

    fn close(&self) -> Result<()> {
        let storing = self.storing();
        let closed = self.storage.close();
        // From here on there is nothing to leave.
        mem::forget(storing);
        closed
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        self.storage.retrieve(id)
    }

    fn list(&self, query: &Query) -> Result<Page> {
        self.storage.list(query)
    }

    fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
        self.storage.iterate(query)
    }

    fn count(&self, query: &Query) -> Result<u64> {
        self.storage.count(query)
    }
}

/// Whether it is a database file.
fn is_file(db: &Db) -> bool {
    db.location().scheme() == "redb"
}

/// A failure of one of the two.
fn of(db: &Db, failure: Failure) -> Failure {
    match is_file(db) {
        true => failure,
        false => failure.of_no_file(),
    }
}

/// Refuses a new database that is called like an export.
fn refuse_export(target: &OsStr) -> std::result::Result<(), Failure> {
    let path = Path::new(target);
    if by_extension(path).is_err() || path.exists() || target.to_string_lossy().contains(':') {
        return Ok(());
    }
    let message = format!("{} is no name of a database", path.display());
    Err(Failure::usage(message).with_hint("samplestore export writes such a file"))
}

/// What was done and found, in a line.
fn in_words(report: &CopyReport) -> String {
    let mut line = format!(
        "copied {}: {} inserted, {} replaced",
        counted(report.copied, "sample"),
        HumanCount(report.stored.inserted),
        HumanCount(report.stored.replaced)
    );
    let untold = report.copied.saturating_sub(report.stored.stored());
    if untold > 0 {
        line.push_str(&format!(", {} one or the other", HumanCount(untold)));
    }
    if report.retries > 0 {
        line.push_str(&format!(", {} retries", HumanCount(report.retries)));
    }
    line.push_str(&match report.in_target {
        Some(count) => format!("; the target has {}", HumanCount(count)),
        None => "; the target cannot be read to compare".to_owned(),
    });
    if let Some(found) = &report.verified {
        line.push_str(&format!(
            "; {} equal, {} missing, {} different",
            HumanCount(found.equal),
            HumanCount(found.missing),
            HumanCount(found.different)
        ));
    }
    line
}

/// The same as one object.
fn in_json(report: &CopyReport) -> Json {
    let verified = report.verified.as_ref().map(|found| {
        json!({
            "equal": found.equal,
            "missing": found.missing,
            "different": found.different,
            "ids": found.ids,
        })
    });
    json!({
        "copied": report.copied,
        "inserted": report.stored.inserted,
        "replaced": report.stored.replaced,
        "retries": report.retries,
        "in_target": report.in_target,
        "verified": verified,
    })
}
