//! [`Change`]: what a write does to a table, in one commit.
//!
//! Files are never changed: those that hold rows to be replaced, moved or removed are written anew without them, and
//! the commit takes the old ones out and the new ones in. It is made only if nothing came meanwhile that would have made it another
//! one (`commit.rs`); otherwise all of it is done again on the newer table. So writers of any number of processes are as if they came one
//! after the other.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use deltalake::DeltaTableError;
use deltalake::arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, StringViewArray, new_null_array,
};
use deltalake::arrow::compute::{cast, filter_record_batch, not};
use deltalake::arrow::datatypes::{Schema, SchemaRef};
use deltalake::datafusion::logical_expr::ident;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{Action, Add, MetadataExt, StructType};
use deltalake::protocol::DeltaOperation;
use deltalake::table::state::DeltaTableState;
use futures_util::TryStreamExt;

use super::commit::{Commit, DecidedBy};
use super::failure::Failure;
use super::file::FileWriter;
use super::row::{self, Row, longs, texts};
use super::schema::{self, Partition, RANK, STATUS, in_files};
use super::select::Rows;
use super::table::{FILE, Table};
use crate::backend::runtime::each;
use crate::error::{Error, ErrorKind, Result};
use crate::sample::Status;

/// How many partitions are written at a time.
const WRITERS: usize = 16;
/// Rows and bytes of text that are made into columns at a time.
const ROWS_MAX: usize = 4_096;
const BYTES_MAX: usize = 32 << 20;

/// What is to be done.
#[derive(Default)]
pub(super) struct Change {
    /// Rows to be given the status `to`, or without it to be removed.
    pub(super) rows: Arc<Rows>,
    pub(super) to: Option<Status>,
    /// Rows to be added, and their ranks.
    pub(super) new: Arc<Vec<Row>>,
    pub(super) ranks: Vec<i64>,
    /// The rank of the next new sample, if it is another one afterwards.
    pub(super) next_rank: Option<i64>,
    /// Files to be written anew, all of a partition into one: a change of no row.
    pub(super) merge: Vec<String>,
    pub(super) decided_by: DecidedBy,
}

/// What is done to a partition.
#[derive(Default)]
struct Part {
    /// Files to be written anew.
    files: Vec<String>,
    /// Rows to be added, with their ranks.
    new: Vec<(usize, i64)>,
}

/// What is written of a partition, by a task of its own.
struct Task {
    table: Arc<Table>,
    state: DeltaTableState,
    schema: SchemaRef,
    rows: Arc<Rows>,
    to: Option<Status>,
    new: Arc<Vec<Row>>,
    data_change: bool,
}

impl Change {
    /// Does it to a state of the table, and gives the state behind it.
    pub(super) async fn commit(
        self,
        operation: &'static str,
        table: &Arc<Table>,
        state: &DeltaTableState,
        kind: DeltaOperation,
    ) -> Result<DeltaTableState, Failure> {
        let mut actions = Vec::new();
        let columns = schema::grown(state.schema().as_ref(), self.new.iter());
        let schema: Schema = match columns {
            Some(columns) => {
                let wider = StructType::try_new(columns).map_err(DeltaTableError::from)?;
                let metadata = state.metadata().clone().with_schema(&wider);
                actions.push(Action::Metadata(metadata.map_err(DeltaTableError::from)?));
                (&wider).try_into_arrow()?
            }
            None => state.schema().as_ref().try_into_arrow()?,
        };
        let data_change = self.merge.is_empty();
        let (parts, removed) = self.parts(table, state)?;
        let files = Table::files(state);
        for path in &removed {
            if let Some(file) = files.get(path) {
                actions.push(Action::Remove(file.remove_action(data_change)));
            }
        }
        let task = Arc::new(Task {
            table: Arc::clone(table),
            state: state.clone(),
            schema: in_files(&schema, &table.partition_by),
            rows: self.rows,
            to: self.to,
            new: self.new,
            data_change,
        });
        let shown = table.shown.clone();
        let written = each(
            operation,
            shown,
            WRITERS,
            parts,
            move |(partition, part)| {
                let task = Arc::clone(&task);
                async move {
                    let written = task.write(partition, part).await;
                    written.map_err(|failure| failure.into_error(operation, &task.table.shown))
                }
            },
        );
        let added: Vec<Vec<Add>> = written.try_collect().await?;
        actions.extend(added.into_iter().flatten().map(Action::Add));
        let commit = Commit {
            actions,
            next_rank: self.next_rank,
            decided_by: self.decided_by,
            kind,
        };
        commit.write(table, state).await
    }

    /// What is to be written, by partition, and which files are no more.
    fn parts(
        &self,
        table: &Table,
        state: &DeltaTableState,
    ) -> Result<(BTreeMap<Partition, Part>, Vec<String>)> {
        let mut parts: BTreeMap<Partition, Part> = BTreeMap::new();
        let mut removed = Vec::new();
        let files = Table::files(state);
        for path in self.rows.keys().chain(&self.merge) {
            let file = files.get(path).ok_or_else(|| {
                Error::new(ErrorKind::Damaged, "find a file of the table")
                    .with_subject(&table.shown)
                    .with_message(format!("{path} is not in the log"))
            })?;
            removed.push(path.clone());
            let gone = self.rows.get(path).map(HashSet::len);
            if self.to.is_none() && gone.is_some() && file.num_records() == gone {
                continue;
            }
            let partition = Partition::of_file(file.partition_values_map());
            parts.entry(partition).or_default().files.push(path.clone());
        }
        for (at, (row, rank)) in self.new.iter().zip(&self.ranks).enumerate() {
            let partition = Partition::of(row, &table.partition_by);
            parts.entry(partition).or_default().new.push((at, *rank));
        }
        Ok((parts, removed))
    }
}

impl Task {
    async fn write(&self, partition: Partition, part: Part) -> Result<Vec<Add>, Failure> {
        let folder = partition.folder(&self.table.partition_by);
        let mut writer = FileWriter::new(
            self.table.log_store.object_store(None),
            Arc::clone(&self.schema),
            partition,
            folder,
            self.data_change,
        );
        if !part.files.is_empty() {
            let row_bytes = self.table.row_bytes(&self.state, Some(&part.files)).await;
            let session = self.table.session(row_bytes, 0)?;
            let frame = Table::scan_in(&session, &self.state, Some(part.files))?;
            let columns = self.schema.fields().iter().map(|field| field.name());
            // Those that come with this commit are not there yet.
            let is_there = |name: &&String| frame.schema().has_column_with_unqualified_name(name);
            let columns: Vec<_> = columns.filter(is_there).map(ident).collect();
            let columns = [columns, vec![ident(FILE)]].concat();
            let mut batches = frame.select(columns)?.execute_stream().await?;
            while let Some(batch) = batches.try_next().await? {
                writer.write(&self.edit(&batch)?).await?;
            }
        }
        let mut rest = part.new.as_slice();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.piece(rest));
            writer.write(&self.columns(piece)?).await?;
            rest = behind;
        }
        writer.finish().await
    }

    /// How many of the rows to be added go together.
    fn piece(&self, rows: &[(usize, i64)]) -> usize {
        let mut bytes = 0;
        let fitting = rows.iter().take(ROWS_MAX).take_while(|(at, _)| {
            let fits = bytes < BYTES_MAX;
            bytes += self.new[*at].bytes();
            fits
        });
        fitting.count()
    }

    fn columns(&self, rows: &[(usize, i64)]) -> Result<RecordBatch, Failure> {
        let rows: Vec<_> = rows
            .iter()
            .map(|(at, rank)| (&self.new[*at], *rank))
            .collect();
        row::write(&rows, &self.schema)
    }

    /// Rows of old files as they are in the new one.
    fn edit(&self, batch: &RecordBatch) -> Result<RecordBatch, Failure> {
        let (ranks, files) = (longs(batch, RANK)?, texts(batch, FILE)?);
        let is_meant = |at: usize| {
            let of_file = files
                .is_valid(at)
                .then(|| self.rows.get(&self.table.path(files.value(at))));
            of_file
                .flatten()
                .is_some_and(|meant| meant.contains(&ranks.value(at)))
        };
        let meant: BooleanArray = (0..batch.num_rows()).map(|at| Some(is_meant(at))).collect();
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| -> Result<ArrayRef, Failure> {
                let column = match (field.name().as_str(), self.to) {
                    (STATUS, Some(to)) => {
                        let statuses = texts(batch, STATUS)?;
                        let moved = meant.iter().zip(statuses.iter());
                        let moved = moved.map(|(is_meant, status)| match is_meant {
                            Some(true) => Some(to.as_str()),
                            _ => status,
                        });
                        Arc::new(moved.collect::<StringViewArray>())
                    }
                    (name, _) => match batch.column_by_name(name) {
                        Some(column) => cast(column, field.data_type())?,
                        None => new_null_array(field.data_type(), batch.num_rows()),
                    },
                };
                Ok(column)
            });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        match self.to {
            Some(_) => Ok(rows),
            None => Ok(filter_record_batch(&rows, &not(&meant)?)?),
        }
    }
}
