//! [`Database::salvage`]: what can be read of a damaged file, in a new one, and a list of what is lost.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::failure::damaged;
use super::fresh::Fresh;
use super::source::{Found, Source};
use super::{Database, Snapshot};
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
    /// Samples that are lost, also those of which nothing is left but that they were counted; at least so many, since doubtful ones may
    /// be others. Where the tables do not say how many there were, a note says so, and it is those whose place was seen.
    pub lost: u64,
    /// Commits that were in the log and are lost, at least. The samples are as they were before these.
    pub lost_commits: u64,
    /// Samples that have the status they were last stored with, since their true one is lost, or that no table leads to any
    /// more, so that they may be older versions of themselves, or that are of a commit in the log that is lost; some of these may have been
    /// deleted.
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

    /// Compares what there is with how many samples there were, if that is known.
    fn count_what_left_no_trace(&mut self, counted: Option<u64>, once: Option<u64>) {
        let Some(counted) = counted else {
            let once = once.map(|samples| format!("; a commit that was found had {samples}"));
            let once = once.unwrap_or_default();
            self.notes.push(format!(
                "how many samples there were, so that more may be lost than were seen{once}"
            ));
            return;
        };
        let without_trace = counted.saturating_sub(self.samples + self.lost);
        if without_trace > 0 {
            self.lost += without_trace;
            let at_least = if self.doubtful > 0 { "at least " } else { "" };
            self.notes.push(format!(
                "{at_least}{without_trace} samples, which were counted and left no trace"
            ));
        }
    }

    /// Notes a sample that is lost or doubtful.
    fn note(&mut self, row: SalvagedRow, is_lost: bool) {
        let (count, list) = match is_lost {
            true => (&mut self.lost, &mut self.lost_rows),
            false => (&mut self.doubtful, &mut self.doubtful_rows),
        };
        *count += 1;
        if list.len() < LISTED_MAX {
            list.push(row);
        }
    }
}

impl Database {
    /// Copies every sample that can be read of the damaged file at `from` into a new one at `to`, and says what is lost.
    /// `progress` is told how far it has come, from 0 to 1.
    ///
    /// The damaged file is only read, also when it was not closed: what its log has is copied too. No index is needed, only records, status planes and
    /// the names of pipelines, and for want of planes the status that each record was last stored with. Where tables, roots or branches are damaged, or
    /// the file was cut off, every page that is left is looked at: a record whose checksum holds is saved wherever it lies, as a doubtful one.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when there is a file at `to`, or is one in the end; [`Damaged`](crate::ErrorKind::Damaged) when
    /// nothing can be read, and no new file is made; [`Locked`](crate::ErrorKind::Locked) while another process writes the file;
    /// [`NotFound`](crate::ErrorKind::NotFound), [`NotADatabase`](crate::ErrorKind::NotADatabase), [`Full`](crate::ErrorKind::Full), [`Io`](crate::ErrorKind::Io),
    /// [`Interrupted`](crate::ErrorKind::Interrupted).
    pub fn salvage<P: Proceed>(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        progress: impl Fn(f64) -> P,
    ) -> Result<SalvageReport> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let tell = |fraction: f64| told(OPERATION, progress(fraction).proceeds());
        let mut source = Source::open(from, false)?;
        let mut saving = Saving {
            fresh: Fresh::create(to, false, OPERATION)?,
            report: SalvageReport::default(),
            lost: BTreeMap::new(),
            before: None,
        };
        saving.fresh.fields = source.fields();
        // What is wrong with whole tables is known by now, and names are needed from the first sample on.
        let looks_first = source.is_incomplete() || source.lacks_names();
        let start = if looks_first { 0.5 } else { 0.0 };
        if looks_first {
            source.look_everywhere(&|fraction| tell(fraction * start))?;
        }
        let leaves = source.leaves();
        for leaf in 0..leaves {
            tell(start + leaf as f64 / leaves as f64 * (0.95 - start))?;
            if !source.has_planes(leaf) {
                source.look_everywhere(&|_| {
                    tell(start + leaf as f64 / leaves as f64 * (0.95 - start))
                })?;
            }
            source.leaf(leaf, &mut |row, found| saving.add(row, found))?;
        }
        source.late(&mut |row, found| saving.add(row, found))?;
        if source.lost_commits > 0 {
            // What comes of them takes the place of nothing.
            saving.before = saving.fresh.snapshot()?;
            source.undone(&mut |row, found| saving.add(row, found))?;
        }
        if source.is_incomplete() {
            source.look_everywhere(&|fraction| tell(0.95 + fraction * 0.04))?;
            saving.before = saving.fresh.snapshot()?;
            source.strays(&mut |row, found| saving.add(row, found))?;
        }
        let report = saving.finish(from, &source)?;
        // It is there, whatever the answer is.
        let _ = progress(1.0);
        Ok(report)
    }
}

/// A new file, and what is to be said of it.
struct Saving {
    fresh: Fresh,
    report: SalvageReport,
    /// The first samples that are lost, by row: until they are found after all.
    lost: BTreeMap<u64, SalvagedRow>,
    /// What the tables had, once strays are added: none of these takes the place of one of those.
    before: Option<Snapshot>,
}

impl Saving {
    /// Takes what a row turned out to be.
    fn add(&mut self, row: u64, found: Found) -> Result<()> {
        let sample = match found {
            Found::Sample(sample) => {
                self.lost.remove(&row);
                sample
            }
            Found::Doubtful(sample, why) => {
                self.lost.remove(&row);
                if let Some(before) = &self.before
                    && before.retrieve(sample.id())?.is_some()
                {
                    return Ok(());
                }
                let id = Some(sample.id().to_owned());
                let message = why.to_owned();
                self.report.note(SalvagedRow { row, id, message }, false);
                sample
            }
            Found::Lost(id, error) => {
                let message = error.to_string();
                if self.lost.len() < LISTED_MAX {
                    self.lost.insert(row, SalvagedRow { row, id, message });
                }
                return Ok(());
            }
        };
        self.fresh.add(sample)
    }

    /// Gives the new file its name, and says what became of everything.
    fn finish(self, from: &Path, source: &Source) -> Result<SalvageReport> {
        let Self {
            mut fresh,
            mut report,
            lost,
            before,
        } = self;
        drop(before);
        let saved = fresh.snapshot()?;
        let mut saved_elsewhere = 0_u64;
        // What the source does not count as lost is not, whatever was listed meanwhile.
        let listed = lost.into_iter();
        for (_, lost) in listed.filter(|(row, _)| source.lost().contains(*row)) {
            // A newer version of it may be another row.
            let is_saved = match (&saved, &lost.id) {
                (Some(saved), Some(id)) => saved.retrieve(id)?.is_some(),
                _ => false,
            };
            match is_saved {
                true => saved_elsewhere += 1,
                false => report.lost_rows.push(lost),
            }
        }
        drop(saved);
        report.lost = source.lost().len() - saved_elsewhere;
        report.lost_commits = source.lost_commits;
        report.notes = source.notes();
        report.samples = fresh.stored()?;
        if !report.is_whole() {
            report.count_what_left_no_trace(source.samples(), source.samples_once());
        }
        if report.samples == 0 && !report.is_whole() && report.lost_rows.is_empty() {
            let reason = report.notes.first().map_or("", String::as_str);
            return Err(
                damaged(OPERATION, format!("nothing of it can be read: {reason}"))
                    .with_subject(from.display()),
            );
        }
        fresh.finish(from, OPERATION)?;
        Ok(report)
    }
}
