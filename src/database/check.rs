//! [`Database::check`]: whether everything in the file agrees with everything else.
//!
//! The pages are redb's to verify (`check/pages.rs`). Then every chunk is gone through (`check/chunk.rs`): each record
//! under its seal, and against it the status planes, the columns, the time run, the bitmaps of pipelines,
//! the indexes of fields (`check/fields.rs`) and the counters; and for all ids of the chunk, sorted by hash, the index of ids (`check/ids.rs`). What belongs to nothing is
//! found by counting. At any time one chunk is in memory, and the pairs that are gathered.

mod chunk;
mod fields;
mod ids;
mod pages;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use redb::ReadOnlyTable;
use serde::Serialize;

use super::Database;
use super::failure::{Context, guard};
use super::pipelines::Entry;
use super::schema::{CHUNK_ROWS, COLUMN_ROWS, STATUS_ROWS, cell_key, run_key};
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::proceed::{Proceed, told};

const OPERATION: &str = "check the database";

/// Faults that a report lists; all are counted.
const LISTED_MAX: usize = 1_000;

/// What a fault is in. The first three are in what everything else is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The record of a sample.
    Record,
    /// The status planes.
    Status,
    /// The name of a pipeline.
    Pipeline,
    /// A page of the file: a checksum does not hold, or the way to a page is lost. Whether it costs a sample the
    /// other faults say.
    Page,
    /// The columns of `created_at` and pipeline.
    Column,
    /// The index of time.
    TimeIndex,
    /// The index of pipelines.
    PipelineIndex,
    /// The index of ids.
    IdIndex,
    /// The index of a field.
    FieldIndex,
    /// A counter.
    Counter,
    /// An entry that belongs to nothing.
    Surplus,
}

impl FaultKind {
    /// Whether it is in what everything else is made from, so that [`Database::reindex`] cannot make
    /// it good.
    #[must_use]
    pub fn is_primary(self) -> bool {
        self <= Self::Pipeline
    }

    /// The kind as words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Record => "record",
            Self::Status => "status",
            Self::Pipeline => "pipeline",
            Self::Column => "column",
            Self::TimeIndex => "time index",
            Self::PipelineIndex => "pipeline index",
            Self::IdIndex => "id index",
            Self::FieldIndex => "field index",
            Self::Counter => "counter",
            Self::Surplus => "surplus",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Fault {
    /// What it is in.
    pub kind: FaultKind,
    /// The row, or the first of several rows, that it is about.
    pub row: Option<u64>,
    /// The id of the sample of that row, where it is known.
    pub id: Option<String>,
    /// What was found, in words.
    pub message: String,
}

/// What [`Database::check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// Samples whose record, status and indexes were looked at.
    pub samples: u64,
    /// Whether the checksums of pages were verified: not by a handle that follows another process,
    /// which may change them meanwhile.
    pub pages_verified: bool,
    /// Whether it came to its end: not when a page lies where the file has none, behind which redb reads
    /// nothing more.
    pub is_complete: bool,
    /// How many faults there are of each kind, those with any.
    pub counts: BTreeMap<FaultKind, u64>,
    /// The first 1,000 faults.
    pub faults: Vec<Fault>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.counts.is_empty()
    }

    /// All faults, listed or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Whether something is wrong in what everything else is made from, so that samples may be lost. Nobody knows
    /// before the check [is complete](Self::is_complete).
    #[must_use]
    pub fn has_primary_faults(&self) -> bool {
        self.counts.keys().any(|kind| kind.is_primary())
    }

    fn note(&mut self, kind: FaultKind, row: Option<u64>, message: impl fmt::Display) {
        self.note_of(kind, row, None, message);
    }

    fn note_of(
        &mut self,
        kind: FaultKind,
        row: Option<u64>,
        id: Option<&str>,
        message: impl fmt::Display,
    ) {
        *self.counts.entry(kind).or_default() += 1;
        if self.faults.len() < LISTED_MAX {
            self.faults.push(Fault {
                kind,
                row,
                id: id.map(str::to_owned),
                message: message.to_string(),
            });
        }
    }

    /// Does something that reads, and takes note when what it reads is damaged.
    fn read<T>(
        &mut self,
        kind: FaultKind,
        row: Option<u64>,
        read: impl FnOnce() -> Result<T>,
    ) -> Result<Option<T>> {
        match guard(OPERATION, read) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                self.note(kind, row, words(&error));
                Ok(None)
            }
            // redb reads nothing more once a read has failed.
            Err(error) if error.kind() == ErrorKind::Io && !self.is_sound() => {
                if std::mem::take(&mut self.is_complete) {
                    self.note(FaultKind::Page, row, words(&error));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn expect<T: PartialEq + fmt::Debug>(
        &mut self,
        kind: FaultKind,
        row: Option<u64>,
        what: &str,
        found: &T,
        expected: &T,
    ) {
        if found != expected {
            self.note(kind, row, format!("{what}: {found:?}, not {expected:?}"));
        }
    }
}

/// An error and its causes as one line.
fn words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What share of the time the pages take, about.
const PAGES_SHARE: f64 = 0.3;

impl Database {
    /// Checks the whole file: the checksums of its pages, and every record against every index and counter.
    /// Changes nothing. `progress` is told how far it has come, from 0 to 1. While the pages are verified it must not store into this
    /// database, nor wait for somebody who does: writers wait for what it is called by.
    ///
    /// Reads the file twice, in memory that does not grow with it. Readers go on meanwhile, and writers
    /// once the pages are verified; what is checked is the state of that moment. A handle that only reads and shares the
    /// file with a writer does not verify the pages.
    ///
    /// What is wrong is in the report, not an error. [`Database::reindex`] makes good what is wrong in indexes and
    /// counters, and [`Database::salvage`] saves what is readable when records themselves are damaged.
    ///
    /// ```
    /// use samplestore::{Database, Sample, Storage};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let database = Database::open(folder.path().join("samples.redb"))?;
    /// database.store(&[Sample::builder("weather").id("a").build()?])?;
    /// let report = database.check(|_| ())?;
    /// assert!(report.is_sound());
    /// assert_eq!(report.samples, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed), [`Io`](ErrorKind::Io), [`Interrupted`](ErrorKind::Interrupted).
    pub fn check<P: Proceed>(
        &self,
        progress: impl Fn(f64) -> P + Send + Sync + 'static,
    ) -> Result<CheckReport> {
        let mut report = CheckReport {
            is_complete: true,
            ..CheckReport::default()
        };
        let progress = Arc::new(progress);
        let of_pages = Arc::clone(&progress);
        let view = self.engine.settled(OPERATION, |view, volume| {
            let Some(volume) = volume else {
                return Ok(());
            };
            let progress = move |share| of_pages(PAGES_SHARE * share);
            pages::check(volume, self.path(), view, &mut report, progress)
        })?;
        let opened = report.read(FaultKind::Page, None, || view.tables.open_all())?;
        if opened.is_none() {
            report.is_complete = false;
            return Ok(report);
        }
        let mut check = Check::new(&view, report)?;
        let chunks = view.state.next_row.div_ceil(CHUNK_ROWS);
        for chunk in 0..chunks {
            let share = PAGES_SHARE + (1.0 - PAGES_SHARE) * chunk as f64 / chunks as f64;
            told(OPERATION, progress(share).proceeds())?;
            check.chunk(chunk)?;
            if !check.report.is_complete {
                return Ok(check.report);
            }
        }
        let report = check.finish()?;
        let _ = progress(1.0);
        Ok(report)
    }
}

/// A check under way.
struct Check<'v> {
    view: &'v View,
    report: CheckReport,
    /// What the table says of each pipeline, as far as it can be read.
    pipelines: Vec<Option<Entry>>,
    /// Samples found of each pipeline, by status.
    found: Vec<[u64; 6]>,
    /// Whether every status and pipeline could be read, so that counters can be compared.
    is_counted: bool,
    ids: ids::IdCheck,
}

impl<'v> Check<'v> {
    fn new(view: &'v View, mut report: CheckReport) -> Result<Self> {
        let count = u32::try_from(view.state.next_pipeline).unwrap_or(u32::MAX);
        let table = view.tables.summary()?;
        let mut pipelines = Vec::new();
        for number in 0..count {
            let entry = report.read(FaultKind::Pipeline, None, || Entry::read(table, number))?;
            pipelines.push(entry);
        }
        let mut names: Vec<&str> = pipelines
            .iter()
            .flatten()
            .map(|entry| &*entry.name)
            .collect();
        names.sort_unstable();
        for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
            let message = format!("two pipelines have the name {:?}", pair[0]);
            report.note(FaultKind::Pipeline, None, message);
        }
        let ids = ids::IdCheck::new(view, &mut report)?;
        Ok(Self {
            view,
            report,
            found: vec![[0; 6]; pipelines.len()],
            pipelines,
            is_counted: true,
            ids,
        })
    }

    /// Checks what is about the whole, once every chunk was looked at.
    fn finish(mut self) -> Result<CheckReport> {
        self.behind_the_end()?;
        let samples = self.found.iter().flatten().sum();
        self.report.samples = samples;
        if self.is_counted {
            let mut totals = [0; 6];
            for (number, (found, entry)) in self.found.iter().zip(&self.pipelines).enumerate() {
                for (total, found) in totals.iter_mut().zip(found) {
                    *total += found;
                }
                if let Some(entry) = entry {
                    let what = format!("samples of pipeline {number} per status");
                    let report = &mut self.report;
                    report.expect(FaultKind::Counter, None, &what, &entry.counts, found);
                }
            }
            let what = "samples per status";
            let state = &self.view.state.totals;
            self.report
                .expect(FaultKind::Counter, None, what, state, &totals);
        }
        let samples = self.is_counted.then_some(samples);
        self.ids.finish(self.view, samples, &mut self.report)?;
        Ok(self.report)
    }

    /// Looks for entries behind the last row, and for those of `summary` that nothing knows.
    fn behind_the_end(&mut self) -> Result<()> {
        let tables = &self.view.tables;
        let next_row = self.view.state.next_row;
        let chunks = next_row.div_ceil(CHUNK_ROWS);
        let full = self.view.full_chunks();
        let indexes = self.view.indexes()?.len() as u64;
        self.count_fields()?;
        for (name, table, first, expected) in [
            ("blocks", tables.blocks()?, next_row, 0),
            ("replaced", tables.replaced()?, next_row, 0),
            (
                "status",
                tables.status()?,
                next_row.div_ceil(STATUS_ROWS),
                0,
            ),
            (
                "columns",
                tables.columns()?,
                next_row.div_ceil(COLUMN_ROWS),
                0,
            ),
            ("created_runs", tables.created_runs()?, run_key(full, 0), 0),
            ("created_moved", tables.created_moved()?, full, 0),
            (
                "pipeline_rows",
                tables.pipeline_rows()?,
                cell_key(full, 0),
                0,
            ),
            // The state is one of them.
            (
                "summary",
                tables.summary()?,
                0,
                chunks + self.view.state.next_pipeline + 1 + indexes,
            ),
        ] {
            self.count_entries(name, table, first..=u64::MAX, expected)?;
        }
        Ok(())
    }

    /// Compares how many entries a table has in a range of keys.
    fn count_entries(
        &mut self,
        name: &str,
        table: &ReadOnlyTable<u64, &'static [u8]>,
        keys: RangeInclusive<u64>,
        expected: u64,
    ) -> Result<()> {
        let first = *keys.start();
        let counted = self.report.read(FaultKind::Page, None, || {
            let mut count = 0;
            for entry in table.range(keys).context(OPERATION)? {
                entry.context(OPERATION)?;
                count += 1;
            }
            Ok(count)
        })?;
        if let Some(count) = counted
            && count != expected
        {
            let message =
                format!("table {name} has {count} entries from key {first} on, not {expected}");
            self.report.note(FaultKind::Surplus, None, message);
        }
        Ok(())
    }
}
