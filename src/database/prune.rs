//! [`Prune`]: removing samples that need not be kept any longer, in steps.
//!
//! One deletion of half a large file would double it first, since a transaction's pages are free only after it.
//! Here each step removes up to 10,000 samples in a transaction of its own and makes that durable, so that the next
//! one reuses its pages, others may write in between, and what was done stays done when the process ends. Steps go
//! by row and not by time: neighbours lie in the same blocks, so that few of these are written again, and once.
//! Conditions on fields are asked of the records that the other filters and the indexes leave, up to 50,000 in a step. What there
//! is to be removed is `prune/targets.rs`.

mod targets;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use roaring::RoaringBitmap;

use super::Database;
use super::failure::{behind, damaged, guard};
use super::filter::{ColumnReader, Filter, Place, first_row};
use super::matching::{Matching, Request};
use super::pipelines::read_all;
use super::readers::Readers;
use super::schema::CHUNK_ROWS;
use super::stream::Stream;
use super::view::{View, live_status};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Facets, Order, Query, TimeRange};
use crate::sample::Status;
use targets::{Target, Targets};

const OPERATION: &str = "prune the database";

/// Samples removed in one transaction.
const STEP_SAMPLES: u64 = if cfg!(test) { 100 } else { 10_000 };
/// Blocks of records, of up to 16 KB, that they may be in: each may have to be written again without them.
const STEP_BLOCKS: u64 = if cfg!(test) { 20 } else { 1_024 };
/// Chunks that are looked through in one transaction.
const STEP_CHUNKS: usize = if cfg!(test) { 3 } else { 100 };
/// Records that conditions are asked of in one transaction.
const STEP_RECORDS: u64 = if cfg!(test) { 150 } else { 50_000 };
/// After how many samples that only are looked at it is asked whether to go on.
const ASKED_EACH: u64 = if cfg!(test) { 10 } else { 1_024 };
/// Of these, how many are read together.
const ASKED_TOGETHER: usize = if cfg!(test) { 40 } else { 2_048 };

/// Which samples [`Database::prune`] removes: those of some pipelines and statuses, older than an instant, of which
/// conditions are true, but never the newest of a pipeline.
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
    counted: Option<u64>,
    on_progress: Option<Arc<dyn Fn(f64) + Send + Sync>>,
    stop_when: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Prune {
    /// Every sample, until it is said which; as it is, it is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only samples that these filters leave, in place of what was said before. They may be of pipelines, statuses, time and
    /// [fields](Query::condition). Conditions are asked of each record that the other filters and the indexes of fields leave.
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

    /// Keeps so many of each pipeline, the newest of those that are of the statuses named and of which the conditions are true,
    /// however old they are.
    pub fn keep_newest(mut self, samples: u64) -> Self {
        self.keep_newest = Some(samples);
        self
    }

    /// How many samples there are to be removed, as [`Database::prunable`] said. Progress is told of that many then, and nothing is
    /// counted once more for it.
    pub fn counted(mut self, samples: u64) -> Self {
        self.counted = Some(samples);
        self
    }

    /// Is told after each step how far it has come, from 0 to 1, and in an empty database that there is nothing to do. For that
    /// they are counted first, unless it is said [how many](Self::counted) there are.
    pub fn on_progress(mut self, progress: impl Fn(f64) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(progress));
        self
    }

    /// Is asked before each step whether to leave it at those that are done, and while it is found out which these are.
    pub fn stop_when(mut self, stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.stop_when = Some(Arc::new(stop));
        self
    }

    fn is_stopped(&self) -> bool {
        self.stop_when.as_ref().is_some_and(|stop| stop())
    }

    /// Ends what only looks, when it is to be left.
    fn go_on(&self) -> Result<()> {
        match self.is_stopped() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Interrupted, OPERATION)),
        }
    }

    fn check(&self) -> Result<()> {
        let refused =
            |message| Err(Error::new(ErrorKind::InvalidArgument, OPERATION).with_message(message));
        let query = &self.query;
        if query.id_set().is_some()
            || query.limit_max().is_some()
            || query.start().is_some()
            || query.sort_order() != Order::Oldest
        {
            return refused(
                "it takes filters of pipeline, status, time and fields, but no ids, order, limit or cursor, since it goes by row; deleting takes these",
            );
        }
        let is_all = query.pipelines().is_empty()
            && query.statuses().is_empty()
            && query.time_range() == TimeRange::ALL
            && query.conditions().is_empty()
            && self.keep_newest.is_none();
        match is_all {
            false => Ok(()),
            true => refused(
                "it names no age, no number to keep, no pipeline, no status and no condition, and would remove everything",
            ),
        }
    }

    /// What is to be removed, as it stands in a view.
    fn targets(&self, view: &Arc<View>, readers: &Arc<Readers>) -> Result<Vec<Target>> {
        let Some(keep) = self.keep_newest else {
            return Ok(vec![Target {
                query: self.query.clone(),
                end: None,
            }]);
        };
        let (pipelines, statuses) = (self.query.pipelines(), self.query.statuses());
        let mut targets = Vec::new();
        for entry in read_all(view.tables.summary()?, view.state.next_pipeline)? {
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
            let end = if keep == 0 {
                None
            } else if !query.conditions().is_empty() {
                // Nobody knows how many there are.
                match self.nth_matching(view, readers, &of_any_time.newest_first(), keep)? {
                    None => continue,
                    end => end,
                }
            } else if keep <= total / 2 {
                // From the nearer end.
                Some(self.nth(view, &of_any_time.newest_first(), keep)?)
            } else {
                Some(self.nth(view, &of_any_time, total - keep + 1)?)
            };
            targets.push(Target { query, end });
        }
        Ok(targets)
    }

    /// The place of the `n`-th sample of a query without conditions, counted from 1, of which the counters say that there are
    /// as many.
    fn nth(&self, view: &Arc<View>, query: &Query, n: u64) -> Result<Place> {
        let mut stream = Stream::open(Arc::clone(view), Filter::resolve(view, query)?, None)?;
        let mut found = 0_u64;
        loop {
            let Some(place) = stream.next()? else {
                // Taken for the end of all, that would remove what is to be kept.
                let message =
                    format!("counters say that there are {n} samples, and there are {found}");
                return Err(damaged(OPERATION, message).with_subject(query.to_string()));
            };
            found += 1;
            if found >= n {
                return Ok(place);
            }
            if found.is_multiple_of(ASKED_EACH) {
                self.go_on()?;
            }
        }
    }

    /// The same for a query with conditions, which are asked of each record until so many match; `None` when there are fewer.
    fn nth_matching(
        &self,
        view: &Arc<View>,
        readers: &Arc<Readers>,
        query: &Query,
        n: u64,
    ) -> Result<Option<Place>> {
        // Those that do not match are given, too, so that it can be left among them.
        let query = query.clone().limit(n);
        let mut records = Matching::all(Request {
            view,
            readers: Arc::clone(readers),
            query: &query,
            filter: Filter::resolve(view, &query)?,
            forced: None,
        })?
        .unasked();
        let (mut asked, mut found) = (0_u64, 0);
        while let Some((place, sample)) = records.next()? {
            if query.conditions_match(&sample)? {
                found += 1;
                if found == n {
                    return Ok(Some(place));
                }
            }
            asked += 1;
            if asked.is_multiple_of(ASKED_EACH) {
                self.go_on()?;
            }
        }
        Ok(None)
    }
}

/// What one step removes.
#[derive(Default)]
struct Step {
    rows: BTreeMap<u64, RoaringBitmap>,
    samples: u64,
    /// How many records conditions were asked of.
    records: u64,
    /// How many blocks of records they are in.
    blocks: u64,
    last_block: Option<u64>,
}

impl Step {
    /// Takes what there is from a row on, as much as one step may remove, and says where to go on.
    fn take(&mut self, targets: &Targets<'_>, rows: Range<u64>) -> Result<u64> {
        let chunks = rows.start / CHUNK_ROWS..rows.end.div_ceil(CHUNK_ROWS);
        for chunk in chunks.take(STEP_CHUNKS) {
            let mut places = targets.candidates(chunk)?;
            places.remove_range(..rows.start.saturating_sub(first_row(chunk)) as u32);
            places.remove_range((rows.end - first_row(chunk)).min(CHUNK_ROWS) as u32..);
            let places: Vec<u32> = places.iter().collect();
            for asked in places.chunks(ASKED_TOGETHER) {
                if self.records >= STEP_RECORDS {
                    return Ok(first_row(chunk) + u64::from(asked[0]));
                }
                if targets.has_conditions() {
                    self.records += asked.len() as u64;
                }
                for place in targets.matching(chunk, asked)? {
                    let row = first_row(chunk) + u64::from(place);
                    if self.samples == STEP_SAMPLES || self.blocks == STEP_BLOCKS {
                        return Ok(row);
                    }
                    let planes = targets.view.planes(row)?;
                    let block = planes.block_of(row).filter(|_| !planes.is_replaced(row));
                    if block.is_some() && block != self.last_block {
                        self.blocks += 1;
                        self.last_block = block;
                    }
                    self.samples += 1;
                    self.rows.entry(chunk).or_default().insert(place);
                }
            }
        }
        let seen = first_row(rows.start / CHUNK_ROWS + STEP_CHUNKS as u64);
        Ok(seen.min(rows.end))
    }
}

impl Database {
    /// How many samples of each pipeline and status [`prune`](Self::prune) would remove; reads none of them without conditions.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when nothing says which; [`Interrupted`](ErrorKind::Interrupted) when it is
    /// [left](Prune::stop_when) before all are counted; as [`Snapshot::facets`](super::Snapshot::facets).
    pub fn prunable(&self, prune: &Prune) -> Result<Facets> {
        prune.check()?;
        let view = self.engine.view(OPERATION)?;
        guard(OPERATION, || {
            let dictionary = view.dictionary()?;
            let readers = &self.engine.readers;
            let targets = prune.targets(&view, readers)?;
            let targets = Targets::resolve(prune, &targets, &view, readers)?;
            let mut columns = ColumnReader::default();
            let mut facets = Facets::new();
            for chunk in 0..view.chunks()?.len() as u64 {
                let places: Vec<u32> = targets.candidates(chunk)?.iter().collect();
                prune.go_on()?;
                for asked in places.chunks(ASKED_TOGETHER) {
                    for place in targets.matching(chunk, asked)? {
                        let row = first_row(chunk) + u64::from(place);
                        let status = live_status(row, view.code(row)?)?;
                        let pipeline = columns.pipeline(&view, row)?;
                        facets.add(dictionary.name(pipeline)?, status, 1);
                    }
                    prune.go_on()?;
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
    /// [`Storage::delete`](crate::Storage::delete), with a message that says how many samples were removed before.
    pub fn prune(&self, prune: &Prune) -> Result<u64> {
        prune.check()?;
        self.engine.check_writable(OPERATION)?;
        let (view, targets, total) = match self.prune_targets(prune) {
            // Nothing is removed yet.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(0),
            found => found?,
        };
        let mut rows = 0..view.state.next_row;
        if let Some(progress) = &prune.on_progress
            && rows.is_empty()
        {
            progress(1.0);
        }
        // Pages that it shows could not be used again.
        drop(view);
        let mut removed = 0;
        while !rows.is_empty() && !prune.is_stopped() {
            let step = self.prune_step(prune, &targets, &mut rows);
            let step = step.inspect(|step| removed += step);
            let done = step.and_then(|_| self.engine.checkpoint(OPERATION));
            done.map_err(|error| behind(error, OPERATION, removed, "removed"))?;
            if let Some(progress) = &prune.on_progress {
                let share = (removed as f64 / total.max(1) as f64).min(1.0);
                // Others may have removed some.
                progress(if rows.is_empty() { 1.0 } else { share });
            }
        }
        Ok(removed)
    }

    /// Which samples are to be removed, the view that they are found in, and how many they are where that is told.
    fn prune_targets(&self, prune: &Prune) -> Result<(Arc<View>, Vec<Target>, u64)> {
        let total = match (&prune.on_progress, prune.counted) {
            (None, _) => 0,
            (Some(_), Some(samples)) => samples,
            (Some(_), None) => self.prunable(prune)?.total(),
        };
        let view = self.engine.view(OPERATION)?;
        let targets = guard(OPERATION, || prune.targets(&view, &self.engine.readers))?;
        Ok((view, targets, total))
    }

    /// Removes the first of the rows that are targets, and leaves in `rows` those to go on with.
    fn prune_step(&self, prune: &Prune, targets: &[Target], rows: &mut Range<u64>) -> Result<u64> {
        let removed = self.engine.write(OPERATION, |transaction, view| {
            let targets = Targets::resolve(prune, targets, view, &self.engine.readers)?;
            let mut step = Step::default();
            let next = step.take(&targets, rows.clone())?;
            for (chunk, places) in &step.rows {
                transaction.delete(*chunk, places)?;
            }
            rows.start = next;
            Ok((step.samples > 0).then_some(step.samples))
        })?;
        Ok(removed.unwrap_or(0))
    }
}

impl fmt::Debug for Prune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prune")
            .field("query", &self.query)
            .field("keep_newest", &self.keep_newest)
            .finish_non_exhaustive()
    }
}
