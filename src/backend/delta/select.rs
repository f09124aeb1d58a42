//! [`Selected`]: a query as DataFusion has it.
//!
//! Filters reach as far down as they can: partitions and statistics in the log leave out files, statistics in files
//! leave out groups of rows. Files are chosen by id here, since there may be many ids.

use std::collections::{BTreeSet, HashMap, HashSet};

use deltalake::datafusion::execution::SendableRecordBatchStream;
use deltalake::datafusion::functions_aggregate::expr_fn::count;
use deltalake::datafusion::logical_expr::{Expr, ident, lit};
use deltalake::datafusion::prelude::DataFrame;
use deltalake::datafusion::scalar::ScalarValue;
use deltalake::table::state::DeltaTableState;
use futures_util::TryStreamExt;

use super::failure::Failure;
use super::names::one_of;
use super::row::{self, longs, texts};
use super::schema::{CREATED_AT_US, DATE, ID, PIPELINE, RANK, STATUS, date, days};
use super::table::{FILE, MEMORY_BYTES, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Facets, Order, Query};
use crate::sample::{Sample, Status};
use crate::storage::{Position, decode_position};

/// Rows of files by their ranks.
pub(super) type Rows = HashMap<String, HashSet<i64>>;

/// The largest first rows in order that are found with all that is in them: until they are, there may be many batches in memory
/// for their sake.
const FIRST_BYTES_MAX: usize = MEMORY_BYTES / 16;
/// How many are found by their places alone, which takes some tens of bytes for each.
const FIRST_ROWS_MAX: u64 = 1 << 16;

/// What a query selects.
#[derive(Clone)]
pub(super) struct Selected {
    query: Query,
    from: Option<Status>,
    start: Option<Position>,
    /// The last place in order that is still selected.
    end: Option<Position>,
    /// The only files that are asked, if not all are.
    files: Option<HashSet<String>>,
}

impl Selected {
    /// # Errors
    /// [`InvalidCursor`](ErrorKind::InvalidCursor) for a cursor that does not fit.
    pub(super) fn new(identity: u64, query: &Query) -> Result<Self> {
        let start = query.start();
        let position = start.map(|cursor| decode_position(&cursor.position(identity, query)?));
        Ok(Self {
            query: query.clone(),
            from: None,
            start: position.transpose()?,
            end: None,
            files: None,
        })
    }

    /// Only what is in this status, if it is given: not a part of the query, to which its cursor is tied.
    pub(super) fn in_status(mut self, from: Option<Status>) -> Self {
        self.from = from;
        self
    }

    /// Only what is in these files.
    pub(super) fn in_files(&self, files: HashSet<String>) -> Self {
        Self {
            files: Some(files),
            ..self.clone()
        }
    }

    /// Whether the conditions on fields are true of a sample that the other filters leave.
    pub(super) fn is_true_of(&self, sample: &Sample) -> Result<bool> {
        self.query.conditions_match(sample)
    }

    /// The same without conditions on fields, by the ids of which they are true in this state: they are asked here, of every
    /// sample that the other filters leave.
    async fn narrowed(&self, table: &Table, state: &DeltaTableState) -> Result<Self, Failure> {
        if self.query.conditions().is_empty() {
            return Ok(self.clone());
        }
        let limit = self.query.limit_max().unwrap_or(u64::MAX);
        let mut ids = BTreeSet::new();
        let mut batches = self.samples(table, state, None).await?;
        while (ids.len() as u64) < limit
            && let Some(batch) = batches.try_next().await?
        {
            for found in row::read(&batch)? {
                if (ids.len() as u64) < limit && self.is_true_of(&found.sample)? {
                    ids.insert(found.sample.id().to_owned());
                }
            }
        }
        Ok(Self {
            query: self.query.clone().narrowed_to(ids),
            from: None,
            start: None,
            end: None,
            files: self.files.clone(),
        })
    }

    /// Samples in order, in the columns that [`row::read`] takes; only the first `limit` if that helps. With conditions on
    /// fields it does not, since of which they are true is not known yet.
    pub(super) async fn samples(
        &self,
        table: &Table,
        state: &DeltaTableState,
        limit: Option<u64>,
    ) -> Result<SendableRecordBatchStream, Failure> {
        let files = self.files(state);
        let row_bytes = table.row_bytes(state, files.as_deref()).await;
        let bytes = |limit: u64| {
            usize::try_from(limit).map_or(usize::MAX, |limit| limit.saturating_mul(row_bytes))
        };
        let limit = limit.filter(|_| self.query.conditions().is_empty());
        // The first ones are found in memory. Where they may be too large for it, they are sorted as all are that have no limit, and
        // if they are not too many, without those behind them.
        let (selected, limit) = match limit {
            Some(limit) if bytes(limit) <= FIRST_BYTES_MAX => (self.clone(), Some(limit)),
            Some(limit) if limit <= FIRST_ROWS_MAX => {
                (self.up_to(table, state, limit).await?, None)
            }
            _ => (self.clone(), None),
        };
        let session = table.session(row_bytes, limit.map_or(0, bytes))?;
        let frame = selected.filtered(Table::scan_in(&session, state, files)?)?;
        let frame = self.first(self.in_order(frame)?, limit)?;
        let frame = frame.select(row::COLUMNS.map(ident))?;
        Ok(frame.execute_stream().await?)
    }

    /// Of these, the first ones in order.
    async fn up_to(
        &self,
        table: &Table,
        state: &DeltaTableState,
        limit: u64,
    ) -> Result<Self, Failure> {
        let frame = self.in_order(self.matching(table, state)?)?;
        let frame = self.first(frame, Some(limit))?;
        let frame = frame.select([CREATED_AT_US, RANK].map(ident))?;
        let mut batches = frame.execute_stream().await?;
        let (mut count, mut last) = (0, None);
        while let Some(batch) = batches.try_next().await? {
            let (instants, ranks) = (longs(&batch, CREATED_AT_US)?, longs(&batch, RANK)?);
            count += batch.num_rows() as u64;
            if let Some(at) = batch.num_rows().checked_sub(1) {
                last = Some((instants.value(at), ranks.value(at) as u64));
            }
        }
        // Fewer than that are all there are.
        let end = last.filter(|_| count >= limit);
        Ok(Self {
            end,
            ..self.clone()
        })
    }

    /// How many there are.
    pub(super) async fn count(
        &self,
        table: &Table,
        state: &DeltaTableState,
    ) -> Result<u64, Failure> {
        let selected = self.narrowed(table, state).await?;
        let frame = selected.matching(table, state)?.select([ident(RANK)])?;
        let frame = selected.first(frame, selected.query.limit_max())?;
        Ok(frame.count().await? as u64)
    }

    /// How many there are of each pipeline and status.
    pub(super) async fn facets(
        &self,
        table: &Table,
        state: &DeltaTableState,
    ) -> Result<Facets, Failure> {
        const COUNT: &str = "count";
        let selected = self.narrowed(table, state).await?;
        let frame = selected.first_if_limited(selected.matching(table, state)?)?;
        let groups = [PIPELINE, STATUS].map(ident).to_vec();
        let frame = frame.aggregate(groups, vec![count(lit(1_i64)).alias(COUNT)])?;
        let mut facets = Facets::new();
        for batch in frame.collect().await? {
            let (pipelines, statuses) = (texts(&batch, PIPELINE)?, texts(&batch, STATUS)?);
            let counts = longs(&batch, COUNT)?;
            for at in 0..batch.num_rows() {
                let status = statuses.value(at).parse().map_err(|cause: Error| {
                    Error::new(ErrorKind::Damaged, "read a row").with_cause(cause)
                })?;
                facets.add(pipelines.value(at), status, counts.value(at) as u64);
            }
        }
        Ok(facets)
    }

    /// Where they are.
    pub(super) async fn rows(
        &self,
        table: &Table,
        state: &DeltaTableState,
    ) -> Result<Rows, Failure> {
        let selected = self.narrowed(table, state).await?;
        let frame = selected.first_if_limited(selected.matching(table, state)?)?;
        let mut batches = frame
            .select([RANK, FILE].map(ident))?
            .execute_stream()
            .await?;
        let mut rows = Rows::new();
        while let Some(batch) = batches.try_next().await? {
            let (ranks, files) = (longs(&batch, RANK)?, texts(&batch, FILE)?);
            for (rank, file) in ranks.iter().zip(files.iter()) {
                if let (Some(rank), Some(file)) = (rank, file) {
                    rows.entry(table.path(file)).or_default().insert(rank);
                }
            }
        }
        Ok(rows)
    }

    fn matching(&self, table: &Table, state: &DeltaTableState) -> Result<DataFrame, Failure> {
        self.filtered(table.scan(state, self.files(state))?)
    }

    /// The files that are to be asked, of which those are left out that have none of the ids that the query names; `None` for all.
    fn files(&self, state: &DeltaTableState) -> Option<Vec<String>> {
        let with_ids = self.query.id_set().map(|ids| {
            let ids = ids.iter().map(String::as_str);
            Table::files_with(state, ids)
        });
        let Some(only) = &self.files else {
            return with_ids;
        };
        let files = with_ids.unwrap_or_else(|| only.iter().cloned().collect());
        Some(
            files
                .into_iter()
                .filter(|file| only.contains(file))
                .collect(),
        )
    }

    fn filtered(&self, frame: DataFrame) -> Result<DataFrame, Failure> {
        match self.filters().into_iter().reduce(Expr::and) {
            Some(filter) => Ok(frame.filter(filter)?),
            None => Ok(frame),
        }
    }

    /// All of which must hold.
    fn filters(&self) -> Vec<Expr> {
        let mut filters = Vec::new();
        let query = &self.query;
        if !query.pipelines().is_empty() {
            filters.extend(one_of(PIPELINE, query.pipelines()));
        }
        if !query.statuses().is_empty() {
            let statuses = query.statuses().iter().map(|status| lit(status.as_str()));
            filters.push(ident(STATUS).in_list(statuses.collect(), false));
        }
        if let Some(from) = self.from {
            filters.push(ident(STATUS).eq(lit(from.as_str())));
        }
        if let Some(ids) = query.id_set() {
            filters.extend(one_of(ID, ids));
        }
        let range = query.time_range();
        let mut first = range.first;
        let mut last = range.last;
        if let Some((micros, rank)) = self.start {
            let rank = lit(rank as i64);
            let at = ident(CREATED_AT_US).eq(lit(micros));
            filters.push(match query.sort_order() {
                Order::Oldest => {
                    first = first.max(micros);
                    let later = ident(CREATED_AT_US).gt(lit(micros));
                    later.or(at.and(ident(RANK).gt(rank)))
                }
                Order::Newest => {
                    last = last.min(micros);
                    let earlier = ident(CREATED_AT_US).lt(lit(micros));
                    earlier.or(at.and(ident(RANK).lt(rank)))
                }
            });
        }
        if let Some((micros, rank)) = self.end {
            let rank = lit(rank as i64);
            let at = ident(CREATED_AT_US).eq(lit(micros));
            filters.push(match query.sort_order() {
                Order::Oldest => {
                    last = last.min(micros);
                    let earlier = ident(CREATED_AT_US).lt(lit(micros));
                    earlier.or(at.and(ident(RANK).lt_eq(rank)))
                }
                Order::Newest => {
                    first = first.max(micros);
                    let later = ident(CREATED_AT_US).gt(lit(micros));
                    later.or(at.and(ident(RANK).gt_eq(rank)))
                }
            });
        }
        // The date leaves out partitions, the instant files and rows.
        let day = |micros| lit(ScalarValue::Date32(Some(days(date(micros)))));
        if first != i64::MIN {
            filters.push(ident(DATE).gt_eq(day(first)));
            filters.push(ident(CREATED_AT_US).gt_eq(lit(first)));
        }
        if last != i64::MAX {
            filters.push(ident(DATE).lt_eq(day(last)));
            filters.push(ident(CREATED_AT_US).lt_eq(lit(last)));
        }
        filters
    }

    fn in_order(&self, frame: DataFrame) -> Result<DataFrame, Failure> {
        let is_ascending = self.query.sort_order() == Order::Oldest;
        let by = [CREATED_AT_US, RANK].map(|column| ident(column).sort(is_ascending, false));
        Ok(frame.sort(by.to_vec())?)
    }

    /// The first `limit` of what is in order already, or of any, where only their number is asked for.
    fn first(&self, frame: DataFrame, limit: Option<u64>) -> Result<DataFrame, Failure> {
        // Larger ones than DataFusion has are none.
        let limit = limit.and_then(|limit| i64::try_from(limit).ok());
        match limit.and_then(|limit| usize::try_from(limit).ok()) {
            Some(limit) => Ok(frame.limit(0, Some(limit))?),
            None => Ok(frame),
        }
    }

    /// Those within the query's limit.
    fn first_if_limited(&self, frame: DataFrame) -> Result<DataFrame, Failure> {
        match self.query.limit_max() {
            Some(limit) => self.first(self.in_order(frame)?, Some(limit)),
            None => Ok(frame),
        }
    }
}
