//! [`Prune`]: removing samples that need not be kept any longer, in steps.
//!
//! One deletion of half a large file would double it first, since a transaction's pages are free only after it.
//! Here each step removes up to 10,000 samples in a transaction of its own and makes that durable, so that the next
//! one reuses its pages, others may write in between, and what was done stays done when the process ends. Steps go
//! by row and not by time: neighbours lie in the same blocks, so that few of these are written again, and once.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use roaring::RoaringBitmap;

use super::Database;
use super::failure::guard;
use super::filter::{ColumnReader, Filter, Place, first_row};
use super::pipelines::read_all;
use super::planes::ANY_STATUS;
use super::schema::CHUNK_ROWS;
use super::stream::Stream;
use super::view::{View, live_status};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Facets, Order, Query, TimeRange};
use crate::sample::Status;

const OPERATION: &str = "prune the database";

/// Samples removed in one transaction.
const STEP_SAMPLES: u64 = if cfg!(test) { 100 } else { 10_000 };
/// Blocks of records, of up to 16 KB, that they may be in: each may have to be written again without them.
const STEP_BLOCKS: u64 = if cfg!(test) { 20 } else { 1_024 };
/// Chunks that are looked through in one transaction.
const STEP_CHUNKS: usize = if cfg!(test) { 3 } else { 100 };

/// Which samples [`Database::prune`] removes: those of some pipelines and statuses, older than an instant, but never the
/// newest of a pipeline.
///
/// ```
/// use samplestore::{Database, Prune, Query, Sample, Status, Storage};
///
/// let folder = tempfile::tempdir()?;
/// let database = Database::open(folder.path().join("samples.redb"))?;
/// let skipped = |id: &str| Sample::builder("weather").id(id).status(Status::Skipped).build();
/// database.store(&[skipped("a")?, skipped("b")?, skipped("c")?])?;
///
/// let prune = Prune::new().status(Status::Skipped).keep_newest(1);
/// assert_eq!(database.prunable(&prune)?.total(), 2);
/// assert_eq!(database.prune(&prune)?, 2);
/// assert_eq!(database.list(&Query::new())?.samples[0].id(), "c");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "nothing is removed until a database is asked to"]
pub struct Prune {
    query: Query,
    keep_newest: Option<u64>,
    on_progress: Option<Arc<dyn Fn(f64) + Send + Sync>>,
    stop_when: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Prune {
    /// Every sample, until it is said which; as it is, it is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only samples that these filters leave, in place of what was said before. They may be of pipelines, statuses and time.
    pub fn matching(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Only samples of this pipeline, or of another one named so.
    pub fn pipeline(mut self, pipeline: impl Into<String>) -> Self {
        self.query = self.query.pipeline(pipeline);
        self
    }

    /// Only samples of this status, or of another one named so.
    pub fn status(mut self, status: Status) -> Self {
        self.query = self.query.status(status);
        self
    }

    /// Only samples created strictly earlier than `instant`.
    pub fn older_than(mut self, instant: DateTime<Utc>) -> Self {
        self.query = self.query.also_before(instant);
        self
    }

    /// Keeps so many of each pipeline, the newest of those that are of the statuses named, however old they are.
    pub fn keep_newest(mut self, samples: u64) -> Self {
        self.keep_newest = Some(samples);
        self
    }

    /// Is told after each step how far it has come, from 0 to 1.
    pub fn on_progress(mut self, progress: impl Fn(f64) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(progress));
        self
    }

    /// Is asked before each step whether to leave it at those that are done.
    pub fn stop_when(mut self, stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.stop_when = Some(Arc::new(stop));
        self
    }

    fn check(&self) -> Result<()> {
        let refused =
            |message| Err(Error::new(ErrorKind::InvalidArgument, OPERATION).with_message(message));
        let query = &self.query;
        if query.id_set().is_some()
            || query.limit_max().is_some()
            || query.start().is_some()
            || query.sort_order() != Order::Oldest
            || !query.conditions().is_empty()
        {
            return refused(
                "it takes filters of pipeline, status and time, but no ids, conditions, order, limit or cursor",
            );
        }
        let is_all = query.pipelines().is_empty()
            && query.statuses().is_empty()
            && query.time_range() == TimeRange::ALL
            && self.keep_newest.is_none();
        match is_all {
            false => Ok(()),
            true => refused(
                "it names no age, no number to keep, no pipeline and no status, and would remove everything",
            ),
        }
    }

    /// What is to be removed, as it stands in a view.
    fn targets(&self, view: &Arc<View>) -> Result<Vec<Target>> {
        let Some(keep) = self.keep_newest else {
            return Ok(vec![Target {
                query: self.query.clone(),
                end: None,
            }]);
        };
        let (pipelines, statuses) = (self.query.pipelines(), self.query.statuses());
        let mut targets = Vec::new();
        for entry in read_all(&view.tables.summary, view.state.next_pipeline)? {
            let is_named = pipelines.is_empty() || pipelines.contains(&*entry.name);
            let total: u64 = Status::ALL
                .iter()
                .filter(|status| statuses.is_empty() || statuses.contains(status))
                .map(|status| entry.counts[status.index()])
                .sum();
            if !is_named || total <= keep {
                continue;
            }
            let query = self.query.clone().of_pipeline(&entry.name);
            let of_any_time = query.clone().of_any_time();
            // From the nearer end.
            let end = match keep <= total / 2 {
                true => nth(view, &of_any_time.newest_first(), keep)?,
                false => nth(view, &of_any_time, total - keep + 1)?,
            };
            targets.push(Target { query, end });
        }
        Ok(targets)
    }
}

/// The place of the `n`-th sample of a query, counted from 1; `None` when `n` is 0.
fn nth(view: &Arc<View>, query: &Query, n: u64) -> Result<Option<Place>> {
    let mut stream = Stream::open(Arc::clone(view), Filter::resolve(view, query)?, None)?;
    let mut last = None;
    for _ in 0..n {
        last = stream.next()?;
    }
    Ok(last)
}

/// Samples to be removed: those of a query that come before a place.
struct Target {
    query: Query,
    /// The oldest sample that is kept.
    end: Option<Place>,
}

impl Target {
    fn resolve(&self, view: &View) -> Result<Resolved> {
        let mut before = Filter::resolve(view, &self.query)?;
        let Some(end) = self.end else {
            return Ok(Resolved { before, tied: None });
        };
        let mut tied = before.with_codes(before.codes);
        tied.range.first = end.micros;
        tied.range.last = tied.range.last.min(end.micros);
        before.range.last = before.range.last.min(end.micros.saturating_sub(1));
        let tied = Some((tied, end.row));
        Ok(Resolved { before, tied })
    }
}

/// A target in the terms of one view.
struct Resolved {
    /// What is older than the end.
    before: Filter,
    /// What is of the end's own instant, and the row that ends it.
    tied: Option<(Filter, u64)>,
}

impl Resolved {
    /// The places of a chunk that are to be removed.
    fn rows(&self, view: &View, chunk: u64) -> Result<RoaringBitmap> {
        let mut rows = match self.before.is_nothing() {
            true => RoaringBitmap::new(),
            false => self.before.timed_rows(view, chunk)?,
        };
        if let Some((tied, end)) = &self.tied
            && !tied.is_nothing()
        {
            let end = end.saturating_sub(first_row(chunk)).min(CHUNK_ROWS);
            let mut tied = tied.timed_rows(view, chunk)?;
            tied.remove_range(end as u32..);
            rows |= tied;
        }
        Ok(rows)
    }
}

/// The places of a chunk that any of these targets has.
fn rows_of_chunk(targets: &[Resolved], view: &View, chunk: u64) -> Result<RoaringBitmap> {
    let mut rows = RoaringBitmap::new();
    if view.chunk(chunk)?.head.in_statuses(ANY_STATUS) > 0 {
        for target in targets {
            rows |= target.rows(view, chunk)?;
        }
    }
    Ok(rows)
}

/// What one step removes.
#[derive(Default)]
struct Step {
    rows: BTreeMap<u64, RoaringBitmap>,
    samples: u64,
    /// How many blocks of records they are in.
    blocks: u64,
    last_block: Option<u64>,
}

impl Step {
    /// Takes what there is from a row on, as much as one step may remove, and says where to go on.
    fn take(&mut self, targets: &[Resolved], view: &View, rows: Range<u64>) -> Result<u64> {
        let chunks = rows.start / CHUNK_ROWS..rows.end.div_ceil(CHUNK_ROWS);
        for chunk in chunks.take(STEP_CHUNKS) {
            let mut places = rows_of_chunk(targets, view, chunk)?;
            places.remove_range(..rows.start.saturating_sub(first_row(chunk)) as u32);
            for place in &places {
                let row = first_row(chunk) + u64::from(place);
                if row >= rows.end {
                    return Ok(rows.end);
                }
                if self.samples == STEP_SAMPLES || self.blocks == STEP_BLOCKS {
                    return Ok(row);
                }
                let planes = view.planes(row)?;
                let block = planes.block_of(row).filter(|_| !planes.is_replaced(row));
                if block.is_some() && block != self.last_block {
                    self.blocks += 1;
                    self.last_block = block;
                }
                self.samples += 1;
                self.rows.entry(chunk).or_default().insert(place);
            }
        }
        let seen = first_row(rows.start / CHUNK_ROWS + STEP_CHUNKS as u64);
        Ok(seen.min(rows.end))
    }
}

impl Database {
    /// How many samples of each pipeline and status [`prune`](Self::prune) would remove; reads none of them.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when nothing says which; as [`Snapshot::facets`](super::Snapshot::facets).
    pub fn prunable(&self, prune: &Prune) -> Result<Facets> {
        prune.check()?;
        let view = self.engine.view(OPERATION)?;
        guard(OPERATION, || {
            let dictionary = view.dictionary()?;
            let targets = resolve(&prune.targets(&view)?, &view)?;
            let mut columns = ColumnReader::default();
            let mut facets = Facets::new();
            for chunk in 0..view.chunks()?.len() as u64 {
                for place in rows_of_chunk(&targets, &view, chunk)? {
                    let row = first_row(chunk) + u64::from(place);
                    let status = live_status(row, view.code(row)?)?;
                    let pipeline = columns.pipeline(&view, row)?;
                    facets.add(dictionary.name(pipeline)?, status, 1);
                }
            }
            Ok(facets)
        })
    }

    /// Removes what `prune` selects, in transactions of up to 10,000 samples each, and says how many there were.
    ///
    /// Each transaction is durable before the next one, others may write in between, and the file grows by no more than
    /// a transaction needs; [`compact`](Self::compact) makes it smaller afterwards. When it is interrupted, what was
    /// removed stays removed: prune again for the rest. Which are the newest of a pipeline is decided when it begins, and
    /// samples stored meanwhile under new ids are kept.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when nothing says which; as
    /// [`Storage::delete`](crate::Storage::delete).
    pub fn prune(&self, prune: &Prune) -> Result<u64> {
        prune.check()?;
        self.engine.check_writable(OPERATION)?;
        let total = match &prune.on_progress {
            Some(_) => self.prunable(prune)?.total(),
            None => 0,
        };
        let view = self.engine.view(OPERATION)?;
        let targets = guard(OPERATION, || prune.targets(&view))?;
        let mut rows = 0..view.state.next_row;
        // Pages that it shows could not be used again.
        drop(view);
        let mut removed = 0;
        let is_stopped = || prune.stop_when.as_ref().is_some_and(|stop| stop());
        while !rows.is_empty() && !is_stopped() {
            removed += self.prune_step(&targets, &mut rows)?;
            self.engine.checkpoint(OPERATION)?;
            if let Some(progress) = &prune.on_progress {
                progress((removed as f64 / total.max(1) as f64).min(1.0));
            }
        }
        Ok(removed)
    }

    /// Removes the first of the rows that are targets, and leaves in `rows` those to go on with.
    fn prune_step(&self, targets: &[Target], rows: &mut Range<u64>) -> Result<u64> {
        let removed = self.engine.write(OPERATION, |transaction, view| {
            let targets = resolve(targets, view)?;
            let mut step = Step::default();
            let next = step.take(&targets, view, rows.clone())?;
            for (chunk, places) in &step.rows {
                transaction.delete(*chunk, places)?;
            }
            rows.start = next;
            Ok((step.samples > 0).then_some(step.samples))
        })?;
        Ok(removed.unwrap_or(0))
    }
}

fn resolve(targets: &[Target], view: &View) -> Result<Vec<Resolved>> {
    targets.iter().map(|target| target.resolve(view)).collect()
}

impl fmt::Debug for Prune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prune")
            .field("query", &self.query)
            .field("keep_newest", &self.keep_newest)
            .finish_non_exhaustive()
    }
}
