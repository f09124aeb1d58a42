//! `copy`: samples from one storage into another, and whether both are equal afterwards.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::HumanCount;
use samplestore::{CopyOptions, CopyReport, ErrorKind, Storage, copy};
use serde_json::{Value as Json, json};

use super::export::by_extension;
use crate::arguments::{Filters, INSTANTS, location};
use crate::failure::{Code, Failure, Outcome, words};
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
        if self.verify && !target.capabilities().retrieve {
            let message = format!(
                "--verify reads the target, and {}: is written alone",
                to.location().scheme()
            );
            return Err(Failure::usage(message));
        }
        let progress = SampleProgress::new(source.total(&query)?);
        let shown = progress.clone();
        let most = Arc::new(AtomicU64::new(0));
        let done = Arc::clone(&most);
        let options = CopyOptions::new()
            .batch_samples_max(self.batch as usize)
            .verify(self.verify)
            .on_progress(move |count| {
                shown.samples(count);
                done.fetch_max(count, Relaxed);
                interrupt::answer()
            });

        interrupt::watch()?;
        let started = Instant::now();
        let copied = copy(source.storage(), &*target, &query, &options);
        // What is stored is to be durable, however it ended.
        let closed = target.close();
        progress.finish();
        let report = copied.map_err(|error| {
            let count = counted(most.load(Relaxed), "sample");
            if error.kind() != ErrorKind::Interrupted {
                words(&format!("copied before that: {count}"));
            }
            let failure = interrupt::ended(
                error,
                &format!("what is copied stays, {count}; run it again for the rest"),
            );
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
        if self.json {
            write_json(&in_json(&report))?;
        }
        for id in report.verified.iter().flat_map(|found| &found.ids) {
            words(&format!("not equal: {id:?}"));
        }
        Ok(match report.is_whole() {
            true => Code::Fine,
            false => Code::Partly,
        })
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
fn refuse_export(target: &OsStr) -> Result<(), Failure> {
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
