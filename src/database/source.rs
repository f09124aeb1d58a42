//! [`Source`]: the samples of a file, from its primary tables alone, as far as they can be read.
//!
//! Records, status planes and the names of pipelines say everything; no index is looked at. What the log
//! has beyond the tables is added in memory (`source/end.rs`), so that the file needs no repair, and stays as it is. Where a leaf of the
//! planes cannot be read, the status that each record keeps stands in for it: then samples that were deleted may come back. And what no
//! tree leads to is looked for everywhere, on demand (`source/strays.rs`). What becomes of a row is `source/found.rs`, what is made of all of
//! them `reindex.rs` and `salvage.rs`.

mod end;
mod found;
mod gap;
mod hints;
mod late;
mod strays;
mod suspects;
mod unmarked;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::{
    Builder, ConcurrencyMode, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    StorageBackend, TableDefinition,
};
use roaring::RoaringTreemap;

use super::blocks::Block;
use super::branch;
use super::disk::{Access, Disk, FileDisk};
use super::failure::{Context, damaged, file_failure, guard, open_failure};
use super::fields::read_definitions;
use super::header::{self, HALF_BYTES, Head, Layout};
use super::leaves;
use super::overlay::Overlay;
use super::planes::Planes;
use super::schema::{Kind, STATUS_ROWS, definition, missing};
use super::state::State;
use super::sums::Sums;
use crate::error::{Error, ErrorKind, Result};
use crate::query::Field;
pub(super) use found::Found;
use gap::Gap;
use hints::Hints;
use late::Late;
use strays::Strays;
use suspects::Suspects;
pub(super) use unmarked::head;
use unmarked::nothing_stored;

const OPERATION: &str = "read the database file";

/// Memory for pages, in bytes.
const CACHE_BYTES: usize = 64 << 20;
/// Why a sample is doubtful.
const OLD_STATUS: &str = "its status is the one it was last stored with";
const STRAY: &str = "it was found outside the tables, and may be an older version, or deleted";
const OLD_PLANES: &str =
    "its status was found outside the tables, and may be an older one, or it deleted";
const LATE: &str = "it is from the log, and the tables do not say how much of that they have";
const OVERTAKEN: &str = "the log has something of it, and the tables do not say whether they have that or something newer";
const STALE: &str = "it lies in a page that is not the one that was written last, and may be an older version, or deleted";
const UNDONE: &str = "it is from a commit in the log that is damaged or behind such a one, and may have been changed or deleted since";
const NAMELESS: &str = "the name of its pipeline is lost";

type Table = ReadOnlyTable<u64, &'static [u8]>;

/// A file, locked, of which nothing is changed.
pub(super) struct Source {
    disk: Arc<dyn Disk>,
    blocks: Option<Table>,
    replaced: Option<Table>,
    status: Option<Table>,
    summary: Option<Table>,
    meta: Option<ReadOnlyTable<&'static str, &'static [u8]>>,
    hints: Option<Hints>,
    /// How many rows the tables have, as far as that is known.
    rows: u64,
    /// The state that the tables have, if it can be read.
    state: Option<State>,
    layout: Option<Layout>,
    late: Late,
    /// What is doubtful about the samples that it adds.
    late_doubt: Option<&'static str>,
    /// Rows that were shown with a sample, and without one.
    seen: RoaringTreemap,
    lost: RoaringTreemap,
    /// What is anywhere in the file, once it was looked for.
    strays: Option<Arc<Strays>>,
    /// Those that were asked for, and whether they are the true ones.
    names: BTreeMap<u32, (Arc<str>, bool)>,
    /// What could not be read at all, in words.
    notes: Vec<String>,
    gaps: Vec<Gap>,
    /// Commits that were in the log and are lost, at least.
    pub(super) lost_commits: u64,
    /// Rows of pages that may not be those that were written last.
    suspects: Arc<Suspects>,
    /// Keeps the tables open.
    _database: Option<ReadOnlyDatabase>,
}

impl Source {
    /// Opens the file at `path`. Nobody can write it until this is dropped, nor read it if `is_exclusive`.
    ///
    /// # Errors
    /// [`Locked`](ErrorKind::Locked); [`NotADatabase`](ErrorKind::NotADatabase);
    /// [`Damaged`](ErrorKind::Damaged) when not even the roots of the tables can be read;
    /// [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io).
    pub(super) fn open(path: &Path, is_exclusive: bool) -> Result<Self> {
        let access = match is_exclusive {
            true => Access::Write { create: false },
            false => Access::Read,
        };
        let disk = FileDisk::open(path, access, false)
            .map_err(|cause| file_failure(OPERATION, path, cause))?;
        // A file that was replaced since it was opened, as another's repair does, had somebody's lock too.
        let failed = |cause| Error::io(OPERATION, path.display(), cause);
        let is_free = disk.try_lock_whole(!is_exclusive).map_err(failed)?;
        if !is_free || !disk.is_at(path).map_err(failed)? {
            return Err(Error::new(ErrorKind::Locked, OPERATION)
                .with_subject(path.display())
                .with_message("another process, or another handle of this one, has it open")
                .with_retryable(true));
        }
        guard(OPERATION, || Self::of_disk(Arc::new(disk), path)).map_err(|error| {
            match error.subject() {
                Some(_) => error,
                None => error.with_subject(path.display()),
            }
        })
    }

    /// Opens what is on a disk that nobody else writes.
    pub(super) fn of_disk(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        let mut notes = Vec::new();
        let head = header::read(&*disk);
        let is_unmarked = matches!(head, Ok(Head::Unfinished));
        let layout = match head {
            Ok(Head::Made(layout)) => Some(layout),
            Ok(Head::Empty) => return Err(nothing_stored()),
            Ok(Head::Unfinished) => {
                notes.push("a part of the header: the second sector is damaged".to_owned());
                header::rescue(&*disk)
            }
            Err(error) => match (header::rescue(&*disk), error.kind()) {
                // Also where the first bytes do not say any more that it is a database.
                (Some(layout), ErrorKind::Damaged | ErrorKind::NotADatabase) => {
                    notes.push(format!("a part of the header: {error}"));
                    Some(layout)
                }
                (None, kind)
                    if kind == ErrorKind::Damaged
                        || kind == ErrorKind::NotADatabase && header::has_tables(&*disk) =>
                {
                    notes.push(format!("the header, and so what only the log has: {error}"));
                    None
                }
                _ => return Err(error),
            },
        };
        let base = layout.unwrap_or_else(|| Layout::new(HALF_BYTES)).base;
        let suspects = Arc::new(Suspects::default());
        let opened = guard(OPERATION, || {
            let database = open_database(&disk, base, path, &suspects)?;
            let transaction = database.begin_read().context(OPERATION)?;
            Ok((database, transaction))
        });
        let (database, transaction) = match opened {
            Ok((database, transaction)) => (Some(database), Some(transaction)),
            // The header said whose file it is: redb's own is damaged when it says that it is none.
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotADatabase) => {
                notes.push(format!("the tables: {error}"));
                (None, None)
            }
            Err(error) => return Err(error),
        };
        let mut table = |name, definition| {
            let transaction = transaction.as_ref()?;
            let table = guard(OPERATION, || open_table(transaction, definition));
            table
                .map_err(|error| notes.push(format!("table {name}: {error}")))
                .ok()
        };
        let meta = transaction.as_ref().and_then(|transaction| {
            let meta = guard(OPERATION, || {
                transaction.open_table(definition::meta).context(OPERATION)
            });
            meta.ok()
        });
        let mut source = Self {
            hints: transaction.as_ref().and_then(Hints::open),
            meta,
            suspects,
            blocks: table("blocks", definition::blocks),
            replaced: table("replaced", definition::replaced),
            status: table("status", definition::status),
            summary: table("summary", definition::summary),
            rows: 0,
            state: None,
            layout,
            late: Late::default(),
            late_doubt: None,
            seen: RoaringTreemap::new(),
            lost: RoaringTreemap::new(),
            strays: None,
            names: BTreeMap::new(),
            notes,
            gaps: Vec::new(),
            lost_commits: 0,
            disk,
            _database: database,
        };
        source.find_end();
        match is_unmarked && !source.has_anything()? {
            true => Err(nothing_stored()),
            false => Ok(source),
        }
    }

    /// The fields that have an index, if that can be read: it costs no sample when not.
    pub(super) fn fields(&mut self) -> Vec<Field> {
        let read = || read_definitions(self.summary.as_ref().ok_or_else(gone)?, 0);
        let indexes = guard(OPERATION, read).unwrap_or_else(|error| {
            tracing::warn!(name: "indexes_lost", %error, "indexes of fields are not made again");
            if self.is_incomplete() {
                self.notes
                    .push("which fields have indexes; make those again".to_owned());
            }
            Vec::new()
        });
        indexes.into_iter().map(|index| index.field).collect()
    }

    /// How many leaves of rows there are for [`leaf`](Self::leaf).
    pub(super) fn leaves(&self) -> u64 {
        self.rows.div_ceil(STATUS_ROWS)
    }

    /// Shows `each` the samples of a leaf, in order of row.
    pub(super) fn leaf(
        &mut self,
        leaf: u64,
        each: &mut dyn FnMut(u64, Found) -> Result<()>,
    ) -> Result<()> {
        let read = || leaves::read::<Planes>(self.status.as_ref().ok_or_else(gone)?, leaf);
        match guard(OPERATION, read) {
            Ok(planes) => self.leaf_by_planes(leaf, &planes, None, each),
            Err(error) => {
                Gap::add(&mut self.gaps, "statuses", leaf, &error);
                let strays = self.strays.clone();
                match strays.as_ref().and_then(|strays| strays.planes_of(leaf)) {
                    Some((planes, end)) => {
                        self.leaf_by_planes(leaf, planes, Some(OLD_PLANES), each)?;
                        // These do not know of rows that came later.
                        self.leaf_by_records(leaf, end, each)
                    }
                    None => self.leaf_by_records(leaf, leaf * STATUS_ROWS, each),
                }
            }
        }
    }

    /// Whether the planes of a leaf can be read, so that [`leaf`](Self::leaf) needs nothing else.
    pub(super) fn has_planes(&self, leaf: u64) -> bool {
        let read = || leaves::read::<Planes>(self.status.as_ref().ok_or_else(gone)?, leaf);
        guard(OPERATION, read).is_ok()
    }

    fn leaf_by_planes(
        &mut self,
        leaf: u64,
        planes: &Planes,
        doubt: Option<&'static str>,
        each: &mut dyn FnMut(u64, Found) -> Result<()>,
    ) -> Result<()> {
        let first = leaf * STATUS_ROWS;
        // The block that was read last.
        let mut block = None;
        for row in first..self.rows.min(first + STATUS_ROWS) {
            let mut code = self.late.code(row);
            let mut replaced = self.late.replaced(row).map(<[u8]>::to_vec);
            let mut doubt = doubt;
            if self.late_doubt.is_some()
                && doubt.is_none()
                && (code.is_some() || replaced.is_some())
            {
                // The tables may have all of it, and more.
                (code, replaced, doubt) = (None, None, Some(OVERTAKEN));
            }
            let code = match (code, &replaced) {
                (Some(code), _) => Some(code),
                // It has the status that its record says.
                (None, Some(_)) => None,
                (None, None) => Some(planes.code(row)),
            };
            if code == Some(0) || planes.code(row) == 0 {
                continue;
            }
            let is_replaced = planes.is_replaced(row) || (doubt.is_some() && self.is_apart(row));
            let sealed = match replaced {
                Some(sealed) => Ok(sealed),
                None if is_replaced => guard(OPERATION, || value(self.replaced.as_ref(), row, row)),
                None => match planes.block_of(row) {
                    None => Err(missing(Kind::Row, row)),
                    Some(first) => {
                        if block.as_ref().is_none_or(|(last, _)| *last != first) {
                            let read = guard(OPERATION, || value(self.blocks.as_ref(), first, row));
                            block = Some((first, read));
                        }
                        match &block {
                            Some((_, Ok(bytes))) => Block::new(first, bytes)
                                .and_then(|block| block.sealed(row))
                                .map(<[u8]>::to_vec),
                            Some((_, Err(error))) => Err(error.clone()),
                            None => Err(missing(Kind::Row, row)),
                        }
                    }
                },
            };
            let found = self.found(row, code, sealed, doubt);
            each(row, found)?;
        }
        Ok(())
    }

    /// Whether a table has a record of a row apart from its block.
    fn is_apart(&self, row: u64) -> bool {
        guard(OPERATION, || value(self.replaced.as_ref(), row, row)).is_ok()
    }

    /// The same without the planes: every record there is counts, with the status that it keeps, from the row `from` on.
    fn leaf_by_records(
        &mut self,
        leaf: u64,
        from: u64,
        each: &mut dyn FnMut(u64, Found) -> Result<()>,
    ) -> Result<()> {
        let rows = leaf * STATUS_ROWS..(leaf + 1) * STATUS_ROWS;
        let mut sealed: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        // Those whose record apart from its block can be read, if there is one.
        let mut is_apart_known = true;
        for (table, is_blocks) in [(&self.blocks, true), (&self.replaced, false)] {
            let gathered = guard(OPERATION, || {
                let table = table.as_ref().ok_or_else(gone)?;
                for entry in table.range(rows.clone()).context(OPERATION)? {
                    let (key, value) = entry.context(OPERATION)?;
                    let (first, bytes) = (key.value(), value.value());
                    if !is_blocks {
                        if first >= from {
                            sealed.insert(first, bytes.to_vec());
                        }
                        continue;
                    }
                    let Ok(block) = Block::new(first, bytes) else {
                        continue;
                    };
                    let end = rows.end.min(first.saturating_add(block.len()));
                    for row in first.max(from)..end {
                        if let Ok(record) = block.sealed(row) {
                            sealed.insert(row, record.to_vec());
                        }
                    }
                }
                Ok(())
            });
            if let Err(error) = gathered {
                is_apart_known &= is_blocks;
                Gap::add(&mut self.gaps, "records", leaf, &error);
            }
        }
        for row in self.late.replaced_rows(from..rows.end) {
            if let Some(record) = self.late.replaced(row) {
                sealed.insert(row, record.to_vec());
            }
        }
        for (row, record) in sealed {
            let code = self.late.code(row);
            if code == Some(0) {
                continue;
            }
            let is_looked_for = !is_apart_known && self.late.replaced(row).is_none();
            let stray = self.strays.as_ref().filter(|_| is_looked_for);
            let stray = stray.and_then(|strays| strays.replaced(row));
            let doubt = match (code, &stray) {
                (_, Some(_)) => Some(STRAY),
                (None, None) => Some(OLD_STATUS),
                (Some(_), None) => self.late_doubt,
            };
            let record = stray.unwrap_or(record);
            let found = self.found(row, code, Ok(record), doubt);
            each(row, found)?;
        }
        Ok(())
    }

    /// Shows `each` the samples that only the log has.
    pub(super) fn late(&mut self, each: &mut dyn FnMut(u64, Found) -> Result<()>) -> Result<()> {
        for (row, sealed) in self.late.take_inserted() {
            let code = self.late.code(row);
            let is_shown =
                self.late_doubt.is_some() && (self.seen.contains(row) || self.is_gone(row));
            if code != Some(0) && !is_shown {
                let found = self.found(row, code, Ok(sealed), self.late_doubt);
                each(row, found)?;
            }
        }
        Ok(())
    }

    /// Whether the tables say that a row had a sample and has none: rows are given out in order, and one behind it has one.
    fn is_gone(&self, row: u64) -> bool {
        let leaf = row / STATUS_ROWS;
        let read = || leaves::read::<Planes>(self.status.as_ref().ok_or_else(gone)?, leaf);
        let Ok(planes) = guard(OPERATION, read) else {
            return false;
        };
        let mut later = row + 1..(leaf + 1) * STATUS_ROWS;
        planes.code(row) == 0
            && (leaf + 1 < self.leaves() || later.any(|later| planes.code(later) != 0))
    }

    /// What could not be read at all, in words.
    pub(super) fn notes(&self) -> Vec<String> {
        let of_gaps = self.gaps.iter().map(|Gap { what, rows, reason }| {
            let (first, last) = (rows.start, rows.end - 1);
            format!("{what} of rows {first} to {last}: {reason}")
        });
        let of_state = self.suspects.has_state().then(|| {
            "how many rows there are and what the log adds: the page that says so is not the one that was written last".to_owned()
        });
        let notes = self.notes.iter().cloned();
        notes.chain(of_gaps).chain(of_state).collect()
    }

    /// Whether something cannot be read by the tables.
    pub(super) fn is_incomplete(&self) -> bool {
        !self.notes.is_empty()
            || !self.gaps.is_empty()
            || !self.lost.is_empty()
            || self.suspects.has_state()
    }

    /// Rows of samples that cannot be read, by the tables or where they were looked for.
    pub(super) fn lost(&self) -> &RoaringTreemap {
        &self.lost
    }

    /// How many samples there were, if the tables say so.
    pub(super) fn samples(&self) -> Option<u64> {
        let state = self.state.as_ref().filter(|_| self.lost_commits == 0)?;
        state.samples().checked_add_signed(self.late.balance)
    }
}

/// Opens redb's part of the disk as another process beside its writer would, which looks at the header
/// and the roots of the tables and at nothing else.
fn open_database(
    disk: &Arc<dyn Disk>,
    base: u64,
    path: &Path,
    suspects: &Arc<Suspects>,
) -> Result<ReadOnlyDatabase> {
    let suspects = Arc::clone(suspects);
    let sums = Sums::of_all(Box::new(move |page| suspects.add(page)));
    let overlay = Overlay::new(Arc::clone(disk), base, Box::new(|_| Ok(())))
        .map_err(|cause| Error::io(OPERATION, path.display(), cause))?
        .padded()
        .with_sums(sums);
    let (at, mut flags) = (branch::FLAGS_AT as u64, [0]);
    overlay
        .read(at, &mut flags)
        .and_then(|()| overlay.write(at, &[flags[0] & !branch::IS_OPEN]))
        .map_err(|cause| Error::io(OPERATION, path.display(), cause))?;
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_concurrency_mode(ConcurrencyMode::SingleWriter)
        .open_read_only_with_backend(overlay)
        .map_err(|error| open_failure(error, path))
}

fn open_table(
    transaction: &ReadTransaction,
    definition: TableDefinition<'static, u64, &'static [u8]>,
) -> Result<Table> {
    transaction.open_table(definition).context(OPERATION)
}

/// The value of a key, for the record of a row.
fn value(table: Option<&Table>, key: u64, row: u64) -> Result<Vec<u8>> {
    let value = table.ok_or_else(gone)?.get(key).context(OPERATION)?;
    let value = value.ok_or_else(|| missing(Kind::Row, row))?;
    Ok(value.value().to_vec())
}

fn gone() -> Error {
    damaged(OPERATION, "its table cannot be opened")
}
