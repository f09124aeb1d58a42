//! `delta`: samples as Parquet in a Delta Lake table, in a folder (`delta+file:`) or in S3 (`delta+s3:`), by the
//! crate `deltalake` and DataFusion.
//!
//! ```text
//! _delta_log/                             commits: which files come and go
//! pipeline=NAME/date=DAY/NUMBER.parquet    rows
//! ```
//!
//! `delta/place.rs` opens the folder or the bucket, and `delta/disk.rs` makes files durable; `delta/schema.rs` has the columns,
//! `delta/row.rs` puts samples into them; `delta/table.rs` knows the newest state; `delta/select.rs` reads (`delta/names.rs`: many ids),
//! `delta/stream.rs` sample by sample; `delta/change.rs` writes, `delta/file.rs` one file; `delta/upkeep.rs`
//! merges small files and removes old ones; `delta/failure.rs` says what an error means.
//!
//! A read is of one state of the table. A write is one commit, made on the newest state or done again.
//! The upsert is not Delta Lake's MERGE, which joins the whole table with the batch: ids are looked for in those files
//! alone that may have them, by their statistics, and only these are written anew.

mod change;
mod commit;
mod disk;
mod failure;
mod file;
mod names;
mod place;
mod row;
mod schema;
mod select;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use deltalake::protocol::DeltaOperation;
use futures_util::TryStreamExt;

use super::batch::last_of_each_id;
use super::runtime::{retrying, wait};
use super::{Backend, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Cursor, Facets, Page, Query, Selection};
use crate::retry::RetryPolicy;
use crate::sample::{SAMPLE_BYTES_MAX, Sample, Status};
use crate::storage::{Capabilities, Samples, Storage, StoreReport, check_batch, encode_position};
use change::Change;
use commit::DecidedBy;
use failure::Failure;
use place::Place;
use row::Row;
use select::{Rows, Selected};
use stream::Stream;
use table::{Ranks, Table, Wanted};
pub use upkeep::Optimized;

/// `delta+file:FOLDER`.
pub(super) const FOLDER: Backend = Backend {
    options: &[PARTITION_BY],
    open: |location| Ok(Box::new(DeltaTable::open(location)?)),
};

/// `delta+s3://BUCKET/PREFIX`.
#[cfg(feature = "s3")]
pub(super) const S3: Backend = Backend {
    options: &[
        "credentials_file",
        "endpoint",
        PARTITION_BY,
        "profile",
        "region",
        "virtual_hosted_style",
    ],
    open: |location| Ok(Box::new(DeltaTable::open(location)?)),
};

const PARTITION_BY: &str = "partition_by";

/// How often a write begins again because of other writers: for about a minute.
const CONFLICTS: RetryPolicy =
    RetryPolicy::exponential(64, Duration::from_millis(10)).delay_max(Duration::from_secs(1));

const OPEN: &str = "open a Delta Lake table";

/// Samples in a Delta Lake table (feature `delta`): a [`Storage`], and what such tables need besides, to be
/// done now and then.
///
/// The chapter [`crate::docs::backends`] has its columns, options and limits.
///
/// ```
/// use std::time::Duration;
///
/// use samplestore::{DeltaTable, Query, Sample, Storage};
///
/// let folder = tempfile::tempdir()?;
/// let url = format!("delta+file:{}", folder.path().display());
/// let table = DeltaTable::open(&url.parse()?)?;
/// for id in ["a", "b"] {
///     table.store(&[Sample::builder("weather").id(id).build()?])?;
/// }
/// let optimized = table.optimize()?;
/// assert_eq!((optimized.files_before, optimized.files_after), (2, 1));
/// assert_eq!(table.vacuum(Duration::ZERO)?, 2);
/// assert_eq!(table.count(&Query::new())?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DeltaTable {
    shared: Arc<Shared>,
}

/// What handles and iterators share.
struct Shared {
    table: Arc<Table>,
    name: &'static str,
    is_closed: RwLock<bool>,
}

impl Shared {
    fn check_open(&self, operation: &'static str) -> Result<()> {
        self.enter(operation).map(drop)
    }

    /// Keeps the storage open for as long as the guard lives.
    fn enter(&self, operation: &'static str) -> Result<RwLockReadGuard<'_, bool>> {
        let is_closed = self
            .is_closed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match *is_closed {
            true => Err(Error::closed(operation)),
            false => Ok(is_closed),
        }
    }
}

impl DeltaTable {
    /// Opens the table that a location of the scheme `delta+file` or `delta+s3` names.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a location of another scheme, a place where samples are kept as
    /// documents, or a `partition_by` that is not that of the table which is there; [`NotADatabase`](ErrorKind::NotADatabase) for a table that was not made
    /// here; [`NotFound`](ErrorKind::NotFound) for one that is not there and not to be made.
    pub fn open(location: &Location) -> Result<Self> {
        // Before a folder is made for it.
        let word = location.word(PARTITION_BY, &schema::PARTITIONS)?;
        let (name, place): (_, Place) = match location.scheme() {
            "delta+file" => ("delta", place::folder(location)?),
            #[cfg(feature = "s3")]
            "delta+s3" => ("delta-s3", place::s3(location)?),
            _ => return Err(location.invalid("it is no Delta Lake table")),
        };
        let wanted = Wanted {
            create: location.creates(),
            partition_by: word.map(|word| schema::partition_by(Some(word))),
        };
        let shown = location.to_string();
        let table = wait(OPEN, location, async move {
            let opened = Table::open(place, &wanted, &shown).await;
            opened.map_err(|failure| failure.into_error(OPEN, &shown))
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                table: Arc::new(table),
                name,
                is_closed: RwLock::new(false),
            }),
        })
    }

    /// Does something with the table and waits for it.
    fn run<T: Send + 'static, W: Future<Output = Result<T, Failure>> + Send>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Arc<Table>) -> W + Send + 'static,
    ) -> Result<T> {
        let table = Arc::clone(&self.shared.table);
        wait(operation, &self.shared.table.shown, async move {
            let shown = table.shown.clone();
            let done = work(table).await;
            done.map_err(|failure| failure.into_error(operation, &shown))
        })
    }

    /// Writes, and begins again for as long as other writers come first.
    fn write<T, W>(
        &self,
        operation: &'static str,
        attempt: impl Fn(Arc<Table>) -> W + Send + Sync + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failure>> + Send,
    {
        self.run(operation, move |table| async move {
            let answer = retrying(CONFLICTS, || async {
                match attempt(Arc::clone(&table)).await {
                    Err(failure) if failure.is_conflict() => {
                        Err(failure.into_error(operation, &table.shown))
                    }
                    other => Ok(other),
                }
            });
            answer.await?
        })
    }

    /// Gives what a query selects another status, or removes it.
    fn change(
        &self,
        operation: &'static str,
        query: &Query,
        from: Option<Status>,
        to: Option<Status>,
    ) -> Result<u64> {
        let _open = self.shared.enter(operation)?;
        let selected = Selected::new(self.shared.table.identity, query)?.in_status(from);
        let selected = Arc::new(selected);
        let is_limited = query.limit_max().is_some();
        self.write(operation, move |table| {
            let selected = Arc::clone(&selected);
            async move {
                let mut ranks = table.writing.lock().await;
                let state = table.newest().await?;
                let rows = selected.rows(&table, &state).await?;
                let count = rows.values().map(|ranks| ranks.len() as u64).sum();
                if count > 0 {
                    let change = Change {
                        rows: Arc::new(rows),
                        to,
                        decided_by: DecidedBy::Selected(selected),
                        ..Change::default()
                    };
                    let kind = match to {
                        Some(_) => DeltaOperation::Update { predicate: None },
                        None => DeltaOperation::Delete { predicate: None },
                    };
                    let done = make(operation, &table, &mut ranks, &state, change, kind).await;
                    done.map_err(|failure| match failure {
                        Failure::Commit(_) if is_limited => unknown(operation, &table, failure),
                        other => other,
                    })?;
                }
                Ok(count)
            }
        })
    }
}

/// The error of a change that may have been made, and would be another one if it was made again.
fn unknown(operation: &'static str, table: &Table, failure: Failure) -> Failure {
    Error::new(ErrorKind::OutcomeUnknown, operation)
        .with_subject(&table.shown)
        .with_message("the commit may have been made; doing it again may do it to other samples")
        .with_cause(failure.into_error(operation, &table.shown))
        .into()
}

/// Makes a change of the newest state, by whoever has the turn to write.
async fn make(
    operation: &'static str,
    table: &Arc<Table>,
    ranks: &mut Ranks,
    state: &deltalake::table::state::DeltaTableState,
    change: Change,
    kind: DeltaOperation,
) -> Result<(), Failure> {
    let next = match change.next_rank {
        Some(next) => next,
        None => table.next_rank(ranks, state).await?,
    };
    let newer = change.commit(operation, table, state, kind).await?;
    // Otherwise others have committed behind it, and the log is asked.
    if newer.version() == state.version() + 1 {
        Table::ranked(ranks, newer.version(), next);
    }
    table.advance(newer).await;
    Ok(())
}

/// One attempt to store rows of different ids; how many were new.
async fn upsert(
    operation: &'static str,
    table: &Arc<Table>,
    new: &Arc<Vec<Row>>,
) -> Result<u64, Failure> {
    let mut turn = table.writing.lock().await;
    let state = table.newest().await?;
    let known = known(table, &state, new).await?;
    let first = table.next_rank(&mut turn, &state).await?;
    let mut next = first;
    let mut rows = Rows::new();
    let ranks = new.iter().map(|row| match known.get(row.id.as_str()) {
        Some((file, rank)) => {
            rows.entry(file.clone()).or_default().insert(*rank);
            *rank
        }
        None => {
            next += 1;
            next - 1
        }
    });
    let change = Change {
        ranks: ranks.collect(),
        rows: Arc::new(rows),
        new: Arc::clone(new),
        next_rank: Some(next),
        ..Change::default()
    };
    let kind = DeltaOperation::Merge {
        predicate: None,
        merge_predicate: Some("target.id = source.id".to_owned()),
        matched_predicates: Vec::new(),
        not_matched_predicates: Vec::new(),
        not_matched_by_source_predicates: Vec::new(),
    };
    make(operation, table, &mut turn, &state, change, kind).await?;
    Ok((next - first) as u64)
}

/// Of the rows to be stored, those whose ids are there: in which file, and their ranks.
async fn known(
    table: &Table,
    state: &deltalake::table::state::DeltaTableState,
    new: &[Row],
) -> Result<HashMap<String, (String, i64)>, Failure> {
    use deltalake::datafusion::logical_expr::{ident, lit};

    let mut known = HashMap::new();
    let ids: BTreeSet<&str> = new.iter().map(|row| row.id.as_str()).collect();
    let files = Table::files_with(state, ids.iter().copied());
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
        return Ok(known);
    };
    if files.is_empty() {
        return Ok(known);
    }
    let id = || ident(schema::ID);
    let mut batches = table
        .scan(state, Some(files))?
        .filter(id().gt_eq(lit(*first)).and(id().lt_eq(lit(*last))))?
        .select([schema::ID, schema::RANK, table::FILE].map(ident))?
        .execute_stream()
        .await?;
    while let Some(batch) = batches.try_next().await? {
        let found = row::texts(&batch, schema::ID)?;
        let ranks = row::longs(&batch, schema::RANK)?;
        let files = row::texts(&batch, table::FILE)?;
        for (at, found) in found.iter().enumerate() {
            if let Some(found) = found.filter(|found| ids.contains(found)) {
                let place = (table.path(files.value(at)), ranks.value(at));
                known.insert(found.to_owned(), place);
            }
        }
    }
    Ok(known)
}

impl fmt::Debug for DeltaTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeltaTable({})", self.shared.table.shown)
    }
}

impl Storage for DeltaTable {
    fn capabilities(&self) -> Capabilities {
        Capabilities::full(self.shared.name)
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        const STORE: &str = "store a batch";
        let _open = self.shared.enter(STORE)?;
        check_batch(batch, SAMPLE_BYTES_MAX)?;
        if batch.is_empty() {
            return Ok(StoreReport::default());
        }
        let rows = last_of_each_id(batch)
            .into_iter()
            .map(|(_, sample)| Row::of(sample));
        let rows = Arc::new(rows.collect::<Result<Vec<_>>>()?);
        let inserted = self.write(STORE, move |table| {
            let rows = Arc::clone(&rows);
            async move { upsert(STORE, &table, &rows).await }
        })?;
        Ok(StoreReport::new(inserted, batch.len() as u64 - inserted))
    }

    fn flush(&self) -> Result<()> {
        self.shared.check_open("flush")
    }

    fn close(&self) -> Result<()> {
        let is_closed = self.shared.is_closed.write();
        *is_closed.unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        const RETRIEVE: &str = "retrieve a sample";
        let _open = self.shared.enter(RETRIEVE)?;
        let selected = Selected::new(self.shared.table.identity, &Query::new().id(id))?;
        self.run(RETRIEVE, move |table| async move {
            let state = table.newest().await?;
            let mut batches = selected.samples(&table, &state, None).await?;
            while let Some(batch) = batches.try_next().await? {
                if let Some(found) = row::read(&batch)?.into_iter().next() {
                    return Ok(Some(found.sample));
                }
            }
            Ok(None)
        })
    }

    fn list(&self, query: &Query) -> Result<Page> {
        const LIST: &str = "list samples";
        let _open = self.shared.enter(LIST)?;
        let selected = Selected::new(self.shared.table.identity, query)?;
        let limit = query.limit_max();
        if limit == Some(0) {
            return Ok(Page::default());
        }
        let mut found = self.run(LIST, move |table| async move {
            let state = table.newest().await?;
            // One more than asked for says whether more follow.
            let limit = limit.map(|limit| limit.saturating_add(1));
            let mut batches = selected.samples(&table, &state, limit).await?;
            let mut found = Vec::new();
            while let Some(batch) = batches.try_next().await? {
                for row in row::read(&batch)? {
                    if selected.is_true_of(&row.sample)? {
                        found.push(row);
                    }
                }
                if limit.is_some_and(|limit| found.len() as u64 >= limit) {
                    break;
                }
            }
            Ok(found)
        })?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let more = limit.is_some_and(|limit| found.len() > limit);
        found.truncate(limit.unwrap_or(usize::MAX));
        let next = found.last().filter(|_| more).map(|last| {
            let position = encode_position((last.created_at_us, last.rank as u64));
            Cursor::new(self.shared.table.identity, query, &position)
        });
        let samples = found.into_iter().map(|found| found.sample);
        Ok(Page::new(samples.collect(), next))
    }

    fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
        const READ: &str = "read samples";
        let _open = self.shared.enter(READ)?;
        let selected = Selected::new(self.shared.table.identity, query)?;
        let limit = query.limit_max();
        let batches = self.run(READ, move |table| async move {
            let state = table.newest().await?;
            selected.samples(&table, &state, limit).await
        })?;
        Ok(Box::new(Stream::new(READ, &self.shared, batches, query)))
    }

    fn count(&self, query: &Query) -> Result<u64> {
        const COUNT: &str = "count samples";
        let _open = self.shared.enter(COUNT)?;
        let selected = Selected::new(self.shared.table.identity, query)?;
        self.run(COUNT, move |table| async move {
            let state = table.newest().await?;
            selected.count(&table, &state).await
        })
    }

    fn facets(&self, query: &Query) -> Result<Facets> {
        const COUNT: &str = "count samples";
        let _open = self.shared.enter(COUNT)?;
        let selected = Selected::new(self.shared.table.identity, query)?;
        self.run(COUNT, move |table| async move {
            let state = table.newest().await?;
            selected.facets(&table, &state).await
        })
    }

    fn set_status(&self, selection: &Selection, from: Option<Status>, to: Status) -> Result<u64> {
        self.change("set a status", &selection.to_query(), from, Some(to))
    }

    fn delete(&self, selection: &Selection) -> Result<u64> {
        self.change("delete samples", &selection.to_query(), None, None)
    }
}
