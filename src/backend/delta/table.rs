//! [`Table`]: one Delta Lake table, its newest state, and scans of it.
//!
//! A table is ours if its property `samplestore.version` says so. How many samples there have ever been, from which
//! new ones get their ranks, stands in the log as an application's transaction (`txn`) of every commit that adds some.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use deltalake::DeltaTableError;
use deltalake::datafusion::execution::memory_pool::FairSpillPool;
use deltalake::datafusion::execution::runtime_env::RuntimeEnvBuilder;
use deltalake::datafusion::execution::session_state::SessionStateBuilder;
use deltalake::datafusion::logical_expr::lit;
use deltalake::datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use deltalake::delta_datafusion::{DeltaScanConfig, DeltaScanNext};
use deltalake::kernel::{LogicalFileView, Version};
use deltalake::logstore::LogStoreRef;
use deltalake::operations::create::CreateBuilder;
use deltalake::table::state::DeltaTableState;
use object_store_0_13::path::Path;
use object_store_0_13::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::sync::Mutex;

use super::failure::Failure;
use super::place::{Place, not_there};
use super::schema::{self, DATE, PIPELINE};
use super::{OPEN, file};
use crate::backend::DOCUMENTS_MARK;
use crate::backend::address::decode;
use crate::error::{Error, ErrorKind, Result};

/// The property that marks our tables.
const MARK: &str = "samplestore.version";
const VERSION: &str = "1";
/// The application whose transactions count the samples.
pub(super) const RANKS: &str = "samplestore.ranks";
/// The column that says in which file a row is.
pub(super) const FILE: &str = "samplestore_file";

/// What queries may hold in memory before they use temporary files; more where a few rows take more.
pub(super) const MEMORY_BYTES: usize = 256 << 20;
/// Rows that are read, sorted and handed out at a time; fewer where they take more bytes.
const BATCH_ROWS: usize = 1_024;
const BATCH_BYTES: usize = 8 << 20;
/// Files that a query reads at the same time; one where batches have fewer rows.
const PARTITIONS: usize = 4;
/// What a row takes besides its JSON texts.
const ROW_BYTES: usize = 1 << 10;
/// Rows that sorting and merging hold at the least.
const ROWS_HELD: usize = 32;
/// Copies of the first rows in order that are held while they are found.
const FIRST_HELD: usize = 16;
/// How much longer texts may be than the file that has them, where the log does not say.
const COMPRESSION: u64 = 16;

pub(super) struct Table {
    pub(super) log_store: LogStoreRef,
    session: SessionContext,
    state: Mutex<DeltaTableState>,
    /// The largest row of a version of the table, in bytes.
    row_bytes: Mutex<Option<(Version, usize)>>,
    /// Whoever writes holds it: handles of one storage take turns, and meet others at commits only.
    pub(super) writing: Mutex<Ranks>,
    /// Tells this table's cursors from those of others.
    pub(super) identity: u64,
    pub(super) partition_by: Vec<String>,
    /// Where it is on a disk; `None` for a server.
    pub(super) folder: Option<PathBuf>,
    /// The URL, for errors.
    pub(super) shown: String,
}

/// The rank of the next new sample, as of a version of the table.
#[derive(Default)]
pub(super) struct Ranks(Option<(Version, i64)>);

/// What a URL says of a table.
pub(super) struct Wanted {
    pub(super) create: bool,
    /// How to divide a new table; another one must be divided so if it is given.
    pub(super) partition_by: Option<Vec<String>>,
}

impl Table {
    pub(super) async fn open(place: Place, wanted: &Wanted, shown: &str) -> Result<Self, Failure> {
        let log_store = place.log_store;
        if wanted.create && !log_store.is_delta_table_location().await? {
            if has_documents(&log_store).await? {
                return Err(Error::new(ErrorKind::InvalidArgument, OPEN)
                    .with_subject(shown)
                    .with_message(
                        "samples are kept as documents there; a table needs a place of its own",
                    )
                    .into());
            }
            if place.url.scheme() != "file" {
                check_conditions(&log_store, shown).await?;
            }
            create(&log_store, wanted).await?;
        }
        let state = match DeltaTableState::try_new(&log_store, None)
            .await
            .map_err(Failure::from)
        {
            Ok(state) => state,
            Err(_) if !log_store.is_delta_table_location().await? => {
                return Err(not_there(shown).into());
            }
            Err(failure) => return Err(failure),
        };
        let metadata = state.metadata();
        let wrong = |kind| Error::new(kind, OPEN).with_subject(shown);
        match metadata.configuration().get(MARK).map(String::as_str) {
            Some(VERSION) => {}
            Some(_) => return Err(wrong(ErrorKind::FormatTooNew).into()),
            None => {
                let error = wrong(ErrorKind::NotADatabase);
                return Err(error
                    .with_message("the table there was not made by samplestore")
                    .into());
            }
        }
        let partition_by = metadata.partition_columns().to_vec();
        let is_known = |column: &String| [PIPELINE, DATE].contains(&column.as_str());
        if !partition_by.iter().all(is_known) {
            return Err(wrong(ErrorKind::Damaged)
                .with_message("it is partitioned by columns that are not ours")
                .into());
        }
        if let Some(wanted) = &wanted.partition_by
            && *wanted != partition_by
        {
            let is = match partition_by.is_empty() {
                true => "none".to_owned(),
                false => partition_by.join(","),
            };
            return Err(wrong(ErrorKind::InvalidArgument)
                .with_message(format!("the table is there, and its partition_by is {is}"))
                .into());
        }
        let identity = uuid::Uuid::parse_str(metadata.id())
            .map_err(|cause| wrong(ErrorKind::Damaged).with_cause(cause))?
            .as_u64_pair()
            .0;
        let session = session()?;
        session.register_object_store(&place.url, place.root);
        Ok(Self {
            log_store,
            session,
            state: Mutex::new(state),
            row_bytes: Mutex::default(),
            writing: Mutex::default(),
            identity,
            partition_by,
            folder: place.folder,
            shown: shown.to_owned(),
        })
    }

    /// The table as it is now.
    pub(super) async fn newest(&self) -> Result<DeltaTableState, Failure> {
        let mut state = self.state.lock().await;
        state.update(&self.log_store, None).await?;
        Ok(state.clone())
    }

    /// Takes note of a state that may be newer.
    pub(super) async fn advance(&self, newer: DeltaTableState) {
        let mut state = self.state.lock().await;
        if newer.version() > state.version() {
            *state = newer;
        }
    }

    /// The rows of a state, in these files or in all, with the column [`FILE`] besides. It is for columns that are small:
    /// [`Table::scan_in`] is for texts.
    pub(super) fn scan(
        &self,
        state: &DeltaTableState,
        files: Option<Vec<String>>,
    ) -> Result<DataFrame, Failure> {
        Self::scan_in(&self.session, state, files)
    }

    /// The same in a session that [`Table::session`] gave for these files.
    pub(super) fn scan_in(
        session: &SessionContext,
        state: &DeltaTableState,
        files: Option<Vec<String>>,
    ) -> Result<DataFrame, Failure> {
        let config = DeltaScanConfig::new_from_session(&session.state())
            .with_wrap_partition_values(false)
            .with_file_column_name(FILE);
        let scan = DeltaScanNext::new(state.snapshot().clone(), config)?;
        let frame = match files {
            None => session.read_table(Arc::new(scan))?,
            // A selection of no file has a plan without the column `FILE`.
            Some(files) if files.is_empty() => {
                let all = session.read_table(Arc::new(scan))?;
                all.filter(lit(false))?
            }
            Some(files) => {
                // As the log has them.
                let files = files.into_iter().map(|path| String::from(Path::from(path)));
                session.read_table(Arc::new(scan.with_file_paths(files)))?
            }
        };
        Ok(frame)
    }

    /// The largest row of these files or of all, in bytes at the most.
    pub(super) async fn row_bytes(
        &self,
        state: &DeltaTableState,
        files: Option<&[String]>,
    ) -> usize {
        let largest = |file: &LogicalFileView| {
            let rows = file.num_records().unwrap_or(1).max(1) as u64;
            let about = || file.size().unsigned_abs().saturating_mul(COMPRESSION) / rows;
            let bytes = file::row_bytes_max(file.stats().as_deref()).unwrap_or_else(about);
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            bytes.saturating_add(ROW_BYTES)
        };
        let log = state.log_data();
        if let Some(files) = files {
            let files: HashSet<&str> = files.iter().map(String::as_str).collect();
            let files = log.iter().filter(|file| files.contains(&*file.path()));
            return files.map(|file| largest(&file)).max().unwrap_or(ROW_BYTES);
        }
        let mut known = self.row_bytes.lock().await;
        match *known {
            Some((version, bytes)) if version == state.version() => bytes,
            _ => {
                let bytes = log.iter().map(|file| largest(&file)).max();
                let bytes = bytes.unwrap_or(ROW_BYTES);
                *known = Some((state.version(), bytes));
                bytes
            }
        }
    }

    /// A session for whole rows of at most so many bytes, of which the first in order take so many: what it reads at a time,
    /// and so its memory, is bounded however large they are.
    pub(super) fn session(
        &self,
        row_bytes: usize,
        first_bytes: usize,
    ) -> Result<SessionContext, Failure> {
        let rows = (BATCH_BYTES / row_bytes.max(1)).clamp(1, BATCH_ROWS);
        let partitions = if rows == BATCH_ROWS { PARTITIONS } else { 1 };
        let few = ROWS_HELD.saturating_mul(row_bytes);
        let first = FIRST_HELD.saturating_mul(first_bytes);
        let memory = MEMORY_BYTES.saturating_add(few).saturating_add(first);
        let state = self.session.state();
        let runtime = RuntimeEnvBuilder::from_runtime_env(state.runtime_env())
            .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
            .build_arc()?;
        let config = state.config().clone();
        let config = config
            .with_batch_size(rows)
            .with_target_partitions(partitions);
        let state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .with_runtime_env(runtime);
        Ok(SessionContext::new_with_state(state.build()))
    }

    /// The files of a state by their paths.
    pub(super) fn files(state: &DeltaTableState) -> HashMap<String, LogicalFileView> {
        let files = state.log_data();
        let named = files.iter().map(|file| (file.path().into_owned(), file));
        named.collect()
    }

    /// The files that may have a sample of these ids, which are in order.
    pub(super) fn files_with<'a>(
        state: &DeltaTableState,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Vec<String> {
        let ids: Vec<&str> = ids.into_iter().collect();
        let may_have = |file: &LogicalFileView| {
            let Some((least, greatest)) = file::ids_between(file.stats().as_deref()) else {
                return true;
            };
            let at = ids.partition_point(|id| *id < least.as_str());
            ids.get(at).is_some_and(|id| *id <= greatest.as_str())
        };
        let files = state.log_data();
        let files = files.iter().filter(may_have);
        files.map(|file| file.path().into_owned()).collect()
    }

    /// The path of a file, from what a scan's column [`FILE`] says.
    pub(super) fn path(&self, file: &str) -> String {
        let root = self.log_store.root_url().as_str();
        let below = file.strip_prefix(root).unwrap_or(file);
        let below = below.trim_start_matches('/');
        decode(below).unwrap_or_else(|| below.to_owned())
    }

    /// The rank of the next new sample.
    pub(super) async fn next_rank(
        &self,
        ranks: &mut Ranks,
        state: &DeltaTableState,
    ) -> Result<i64, Failure> {
        let version = state.version();
        let rank = match ranks.0 {
            Some((known, rank)) if known == version => rank,
            _ => {
                let found = state.transaction_version(&self.log_store, RANKS).await?;
                found.unwrap_or(0)
            }
        };
        ranks.0 = Some((version, rank));
        Ok(rank)
    }

    /// Takes note of what a commit made of it.
    pub(super) fn ranked(ranks: &mut Ranks, version: Version, next: i64) {
        ranks.0 = Some((version, next));
    }
}

/// Whether it is a place of documents (`file:`, `s3:`).
async fn has_documents(log_store: &LogStoreRef) -> Result<bool, Failure> {
    let mark = Path::from(DOCUMENTS_MARK);
    match log_store.object_store(None).head(&mark).await {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes sure that the server makes an object only if there is none, which commits rely on. It is tried on one that is not of the
/// table, since a table that is there says that it does.
async fn check_conditions(log_store: &LogStoreRef, shown: &str) -> Result<(), Failure> {
    let store = log_store.object_store(None);
    let path = Path::from(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
    let make = || {
        store.put_opts(
            &path,
            PutPayload::from_static(b"1\n"),
            PutMode::Create.into(),
        )
    };
    let made = match make().await {
        // It was made, if not by this request then by one whose answer was lost.
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => make().await,
        failed => failed,
    };
    // One that stays does no harm.
    let _ = store.delete(&path).await;
    match made {
        Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Error::new(ErrorKind::Unsupported, OPEN)
            .with_subject(shown)
            .with_message(
                "the server lets an object be made twice (If-None-Match); conditional writes are needed",
            )
            .into()),
    }
}

async fn create(log_store: &LogStoreRef, wanted: &Wanted) -> Result<(), Failure> {
    let by_default = || schema::partition_by(None);
    let partition_by = wanted.partition_by.clone().unwrap_or_else(by_default);
    let created = CreateBuilder::new()
        .with_log_store(Arc::clone(log_store))
        .with_columns(schema::columns())
        .with_partition_columns(partition_by)
        .with_configuration([(MARK, Some(VERSION))])
        .with_raise_if_key_not_exists(false)
        .await;
    match created {
        Ok(_) => Ok(()),
        // Somebody else made it meanwhile.
        Err(_) if log_store.is_delta_table_location().await? => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn session() -> Result<SessionContext, DeltaTableError> {
    let config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_target_partitions(PARTITIONS)
        // Payloads of rows that a filter leaves out are not read.
        .set_bool("datafusion.execution.parquet.pushdown_filters", true);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
        .build_arc()?;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}
