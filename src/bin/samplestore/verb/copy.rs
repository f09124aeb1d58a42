//! `copy`: samples from one storage into another, and whether both are equal afterwards.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::HumanCount;
use samplestore::{CopyOptions, ErrorKind, Query, Storage, copy};

use crate::arguments::{Filters, INSTANTS, location};
use crate::failure::{Code, Failure, Outcome, words};
use crate::interrupt;
use crate::opening::{Db, Source};
use crate::progress::{SampleProgress, pace};

const EXAMPLES: &str = "\
Examples:
  samplestore copy weather.redb file:weather --verify
  samplestore copy s3://bucket/weather weather.redb --pipeline JFK --since 30d
  samplestore copy a.redb b.redb --status ready

It is safe to do it again: what DST has under the same ids is replaced, nothing is removed.";

/// What is said when it was interrupted.
const REST: &str = "what is copied stays, run it again for the rest";

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
    #[command(flatten)]
    filters: Filters,
}

impl Copy {
    pub(crate) fn run(self, wait: Duration) -> Outcome {
        let query = self.filters.query()?;
        let from = Db::new(location(self.source)?, wait);
        let to = Db::new(location(self.target)?, wait);
        if from.location().is_same_place(to.location()) {
            return Err(Failure::usage("SRC and DST are the same"));
        }
        let source = from.source()?;
        let target = to.write()?;
        let progress = SampleProgress::new(total(&source, &query)?);
        let shown = progress.clone();
        let most = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&most);
        let options = CopyOptions::new()
            .batch_samples_max(self.batch as usize)
            .verify(self.verify)
            .on_progress(move |count| {
                shown.samples(count);
                counted.fetch_max(count, Relaxed);
                interrupt::answer()
            });

        interrupt::watch()?;
        let started = Instant::now();
        let copied = copy(source.storage(), &*target, &query, &options);
        // What is stored is to be durable, however it ended.
        let closed = target.close();
        progress.finish();
        let report = copied.map_err(|error| {
            if error.kind() != ErrorKind::Interrupted {
                let count = HumanCount(most.load(Relaxed));
                words(&format!("{count} samples were copied before that"));
            }
            interrupt::ended(error, REST)
        })?;
        closed?;
        words(&format!(
            "{report} {}",
            pace(report.copied, started.elapsed())
        ));
        for id in report.verified.iter().flat_map(|found| &found.ids) {
            words(&format!("not equal: {id:?}"));
        }
        Ok(match report.is_whole() {
            true => Code::Fine,
            false => Code::Partly,
        })
    }
}

/// How many samples there are to copy, where that is known without reading them.
fn total(source: &Source, query: &Query) -> Result<Option<u64>, Failure> {
    match source {
        Source::File(database) => Ok(Some(database.count(query)?)),
        Source::Other(_) => Ok(None),
    }
}
