//! One chunk: its records, and what its leaves, its run, its bitmaps and its head say of them.

use std::ops::Range;

use redb::ReadOnlyTable;
use roaring::RoaringBitmap;

use super::fields::ChunkKeys;
use super::{Check, FaultKind, OPERATION};
use crate::database::blocks::Block;
use crate::database::chunk::{CHUNK_LEAVES, Head};
use crate::database::columns::Columns;
use crate::database::failure::{Context, damaged, guard};
use crate::database::filter::first_row;
use crate::database::gathered::Pair;
use crate::database::leaves;
use crate::database::mask::Mask;
use crate::database::pipelines::{Entry, decode_places, read_moved};
use crate::database::planes::Planes;
use crate::database::record::{self, status_of};
use crate::database::runs::{self, Fences, Series};
use crate::database::schema::{
    CHUNK_ROWS, COLUMN_ROWS, Kind, RUN_LEAVES, STATUS_ROWS, cell_keys, column_keys, missing,
    run_keys, unseal,
};
use crate::error::Result;

/// What was read of a chunk.
pub(super) struct Rows {
    pub(super) chunk: u64,
    /// All that were given out.
    pub(super) rows: Range<u64>,
    /// Whether nothing but the planes is left of the chunk.
    is_cleared: bool,
    /// By column leaf. `None` where it could not be read.
    columns: Vec<Option<Columns>>,
    /// The keys of indexed fields.
    keys: ChunkKeys,
    counts: [u32; 6],
    /// Whether all statuses are known.
    is_counted: bool,
    /// The hash and row of every sample whose record could be read.
    pairs: Vec<Pair>,
}

/// A run that is to be checked.
pub(super) struct Run<'a> {
    pub(super) kind: FaultKind,
    pub(super) table: &'a ReadOnlyTable<u64, &'static [u8]>,
    pub(super) series: Series,
    /// The key of a row, where it is known.
    pub(super) key_of: &'a dyn Fn(u64) -> Option<i64>,
}

impl Rows {
    /// Instant and pipeline number of a row, by the columns.
    fn columns_of(&self, row: u64) -> Option<(i64, u32)> {
        let leaf = (row - first_row(self.chunk)) / COLUMN_ROWS;
        let columns = self.columns.get(leaf as usize)?.as_ref()?;
        Some((columns.created_at(row), columns.pipeline(row)))
    }
}

impl Check<'_> {
    /// Checks the chunk of this number.
    pub(super) fn chunk(&mut self, chunk: u64) -> Result<()> {
        let rows = first_row(chunk)..self.view.state.next_row.min(first_row(chunk + 1));
        let is_cleared = self.is_cleared(chunk);
        let indexed = rows.start..if is_cleared { rows.start } else { rows.end };
        let mut rows = Rows {
            chunk,
            keys: self.read_keys(&indexed)?,
            rows,
            is_cleared,
            columns: Vec::new(),
            counts: [0; 6],
            is_counted: true,
            pairs: Vec::new(),
        };
        self.read_columns(&mut rows, indexed)?;
        let first_leaf = chunk * CHUNK_LEAVES as u64;
        let leaves = (rows.rows.end - rows.rows.start).div_ceil(STATUS_ROWS);
        for leaf in first_leaf..first_leaf + leaves {
            let row = Some(leaf * STATUS_ROWS);
            let table = self.view.tables.status()?;
            let planes = self
                .report
                .read(FaultKind::Status, row, || leaves::read(table, leaf))?;
            match planes {
                Some(planes) => self.leaf(&mut rows, leaf, &planes)?,
                None => (rows.is_counted, self.is_counted) = (false, false),
            }
        }
        let table = self.view.tables.status()?;
        self.count_entries(
            "status",
            table,
            first_leaf..=first_leaf + CHUNK_LEAVES as u64 - 1,
            leaves,
        )?;
        self.head(&rows)?;
        if chunk < self.view.full_chunks() {
            self.bitmaps(&rows)?;
            let keys = std::mem::take(&mut rows.keys);
            if !is_cleared {
                self.field_runs(&rows, &keys)?;
            }
        }
        self.ids.chunk(self.view, rows.pairs, &mut self.report)
    }

    /// Whether the head of a full chunk says that nothing but its planes is left. What is wrong with a head is noted elsewhere.
    pub(super) fn is_cleared(&self, chunk: u64) -> bool {
        let head = || Head::read(self.view.tables.summary()?, chunk);
        chunk < self.view.full_chunks()
            && guard(OPERATION, head).is_ok_and(|head| head.is_cleared())
    }

    fn read_columns(&mut self, rows: &mut Rows, indexed: Range<u64>) -> Result<()> {
        let table = self.view.tables.columns()?;
        let first_leaf = indexed.start / COLUMN_ROWS;
        let leaves = (indexed.end - indexed.start).div_ceil(COLUMN_ROWS);
        for leaf in first_leaf..first_leaf + leaves {
            let row = Some(leaf * COLUMN_ROWS);
            let read = || leaves::read::<Columns>(table, leaf);
            let columns = self.report.read(FaultKind::Column, row, read)?;
            rows.columns.push(columns);
        }
        self.count_entries("columns", table, column_keys(rows.chunk), leaves)
    }

    /// Checks the records of a leaf of the status planes.
    fn leaf(&mut self, rows: &mut Rows, leaf: u64, planes: &Planes) -> Result<()> {
        let first = leaf * STATUS_ROWS;
        let end = rows.rows.end.min(first + STATUS_ROWS);
        let (mut blocks, mut replaced) = (0, 0);
        // Rows before the first block have no sample: those that had one are not needed any more.
        let begin = (first..end).find(|row| planes.block_of(*row) == Some(*row));
        let rows_before = first..begin.unwrap_or(end);
        if !rows_before.is_empty() && planes.in_block(rows_before) > 0 {
            self.report.note(
                FaultKind::Status,
                Some(first),
                "no block begins before a row with a sample",
            );
        }
        let mut block_first = first;
        while block_first < end {
            let of_block = planes.block_rows(block_first);
            let of_block = block_first..of_block.end.min(end);
            if planes.in_block(of_block.clone()) > 0 {
                blocks += 1;
                self.block(rows, of_block.clone(), planes)?;
            }
            block_first = of_block.end;
        }
        let tables = &self.view.tables;
        for row in first..end {
            let code = planes.code(row);
            if status_of(code).is_none() {
                let message = format!("status code {code} does not exist");
                self.report.note(FaultKind::Status, Some(row), message);
                (rows.is_counted, self.is_counted) = (false, false);
            }
            if !planes.is_replaced(row) {
                continue;
            }
            replaced += 1;
            if code == 0 {
                self.report.note(
                    FaultKind::Status,
                    Some(row),
                    "a row without a sample is marked as replaced",
                );
            }
            let sealed = self.report.read(FaultKind::Record, Some(row), || {
                let sealed = tables.replaced()?.get(row).context(OPERATION)?;
                let sealed = sealed.ok_or_else(|| missing(Kind::Row, row))?;
                Ok(sealed.value().to_vec())
            })?;
            match sealed {
                Some(sealed) => {
                    let record = unseal(Kind::Row, row, &sealed);
                    self.record(rows, row, code, record)?;
                }
                None => self.lost(rows, row, code),
            }
        }
        for row in end..first + STATUS_ROWS {
            if planes.code(row) != 0 || planes.is_replaced(row) {
                self.report.note(
                    FaultKind::Status,
                    Some(row),
                    "a row that was never given out has a status",
                );
            }
        }
        let keys = first..=first + STATUS_ROWS - 1;
        self.count_entries("blocks", tables.blocks()?, keys.clone(), blocks)?;
        self.count_entries("replaced", tables.replaced()?, keys, replaced)
    }

    /// Checks the records of a block that is needed.
    fn block(&mut self, rows: &mut Rows, of_block: Range<u64>, planes: &Planes) -> Result<()> {
        let first = of_block.start;
        let read = || self.view.block(first);
        let guard = self.report.read(FaultKind::Record, Some(first), read)?;
        let block = match &guard {
            Some(guard) => {
                let parse = || Block::new(first, guard.value());
                self.report.read(FaultKind::Record, Some(first), parse)?
            }
            None => None,
        };
        // It may end before its rows do, when those at the end are not needed any more.
        if let Some(block) = &block
            && block.len() > of_block.end - first
        {
            let (found, expected) = (block.len(), of_block.end - first);
            let message = format!("its block has {found} records, more than {expected}");
            self.report.note(FaultKind::Record, Some(first), message);
        }
        for row in of_block {
            let code = planes.code(row);
            if code == 0 || planes.is_replaced(row) {
                continue;
            }
            match &block {
                Some(block) => self.record(rows, row, code, block.record(row))?,
                None => self.lost(rows, row, code),
            }
        }
        Ok(())
    }

    /// Takes note of a sample whose record is not there to be read; what is counted is known all the same.
    fn lost(&mut self, rows: &mut Rows, row: u64, code: u8) {
        match rows.columns_of(row) {
            Some((_, pipeline)) => self.count(rows, row, code, pipeline),
            None => self.is_counted = false,
        }
    }

    fn count(&mut self, rows: &mut Rows, row: u64, code: u8, pipeline: u32) {
        let Some(status) = status_of(code).flatten() else {
            return;
        };
        rows.counts[status.index()] += 1;
        match self.found.get_mut(pipeline as usize) {
            Some(found) => found[status.index()] += 1,
            None => {
                self.is_counted = false;
                let message = format!("pipeline {pipeline} does not exist");
                self.report.note(FaultKind::Pipeline, Some(row), message);
            }
        }
    }

    /// Checks a record, its seal checked, against what the columns say.
    fn record(&mut self, rows: &mut Rows, row: u64, code: u8, record: Result<&[u8]>) -> Result<()> {
        let read = || record.and_then(|record| Ok((record::header(record)?, record)));
        let Some((header, record)) = self.report.read(FaultKind::Record, Some(row), read)? else {
            self.lost(rows, row, code);
            return Ok(());
        };
        let id = header.id;
        rows.pairs.push((self.view.identity.hash(id), row));
        self.count(rows, row, code, header.pipeline);
        self.keys(&rows.keys, rows.rows.start, row, record, id)?;
        if let Some(columns) = rows.columns_of(row)
            && columns != (header.created_at, header.pipeline)
        {
            let message = "instant or pipeline are not those of the record";
            self.report
                .note_of(FaultKind::Column, Some(row), Some(id), message);
        }
        if *id > *self.view.state.greatest_id {
            let message = "its id is greater than the greatest one";
            self.report
                .note_of(FaultKind::Counter, Some(row), Some(id), message);
        }
        Ok(())
    }

    fn head(&mut self, rows: &Rows) -> Result<()> {
        let (chunk, view) = (rows.chunk, self.view);
        let row = Some(rows.rows.start);
        let read = || Head::read(view.tables.summary()?, chunk);
        let Some(head) = self.report.read(FaultKind::Counter, row, read)? else {
            return Ok(());
        };
        if rows.is_counted {
            let what = format!("samples of chunk {chunk} per status");
            self.report
                .expect(FaultKind::Counter, row, &what, &head.counts, &rows.counts);
        }
        let instants = rows.rows.clone().filter_map(|row| rows.columns_of(row));
        let outside = instants.filter(|(micros, _)| !(head.first..=head.last).contains(micros));
        let outside = outside.count();
        if outside > 0 {
            let message =
                format!("{outside} instants of chunk {chunk} lie outside of its head's span");
            self.report.note(FaultKind::Counter, row, message);
        }
        let read = || read_moved(view.tables.created_moved()?, chunk, head.moved);
        let moved = self.report.read(FaultKind::TimeIndex, row, read)?;
        let (runs, moves) = (view.tables.created_runs()?, view.tables.created_moved()?);
        match moved {
            Some(_) if rows.is_cleared => {
                self.count_entries("created_runs", runs, run_keys(chunk), 0)?;
                self.count_entries("created_moved", moves, chunk..=chunk, 0)
            }
            Some(moved) if chunk < view.full_chunks() => {
                let run = Run {
                    kind: FaultKind::TimeIndex,
                    table: runs,
                    series: Series::CREATED,
                    key_of: &|row| rows.columns_of(row).map(|(micros, _)| micros),
                };
                self.run(rows, &moved, &run)
            }
            _ => Ok(()),
        }
    }

    /// Checks that a run has every row once, in order, with its key.
    pub(super) fn run(&mut self, rows: &Rows, moved: &RoaringBitmap, run: &Run<'_>) -> Result<()> {
        let (chunk, table, series) = (rows.chunk, run.table, run.series);
        let row = Some(rows.rows.start);
        self.report.read(run.kind, row, || {
            let wrong = |message: &str| {
                Err(damaged(
                    OPERATION,
                    format!("run of chunk {chunk}: {message}"),
                ))
            };
            let fences = Fences::read(table, series, chunk)?;
            let mut seen = Mask::empty();
            let mut last = None;
            let mut is_ordered = true;
            for leaf in 0..RUN_LEAVES {
                let entries = runs::read_leaf(table, series, chunk, leaf)?;
                if !fences.is_first(leaf, entries.first().copied()) {
                    return wrong("a fence is not the first entry of its leaf");
                }
                for (micros, place) in entries {
                    is_ordered &= last.map_or(0, |(_, last)| last + 1) == place;
                    if last.is_some_and(|last| last >= (micros, place)) || seen.contains(place) {
                        return wrong("it is not in order, or has a row twice");
                    }
                    seen.insert(place);
                    last = Some((micros, place));
                    let key = (run.key_of)(first_row(chunk) + u64::from(place));
                    let is_other = key.is_some_and(|key| key != micros);
                    if is_other && !moved.contains(place) {
                        return wrong(&format!("the key of place {place} is another"));
                    }
                }
            }
            match is_ordered == fences.is_ordered {
                true => Ok(()),
                false => wrong("it says wrongly whether it is in order of row"),
            }
        })?;
        let keys = series.key(chunk, 0)..=series.key(chunk, u8::MAX.into());
        self.count_entries("of runs", table, keys, RUN_LEAVES as u64 + 1)
    }

    /// Checks that each row is in the bitmap of its pipeline and in no other.
    fn bitmaps(&mut self, rows: &Rows) -> Result<()> {
        let (chunk, tables) = (rows.chunk, &self.view.tables);
        let pipelines = &self.pipelines;
        self.report
            .read(FaultKind::PipelineIndex, Some(rows.rows.start), || {
                let wrong = |message: String| {
                    Err(damaged(
                        OPERATION,
                        format!("bitmaps of chunk {chunk}: {message}"),
                    ))
                };
                let (mut seen, mut cells) = (0, 0);
                for cell in tables
                    .pipeline_rows()?
                    .range(cell_keys(chunk))
                    .context(OPERATION)?
                {
                    let (key, sealed) = cell.context(OPERATION)?;
                    let key = key.value();
                    // The low half of a key is the pipeline.
                    let number = key as u32;
                    let Some(entry) = pipelines.get(number as usize) else {
                        return wrong(format!("pipeline {number} does not exist"));
                    };
                    if let Some(entry) = entry
                        && !entry.chunks.contains(chunk as u32)
                    {
                        return wrong(format!("pipeline {number} does not know that it is here"));
                    }
                    let places = decode_places(Kind::PipelineRows, key, sealed.value())?;
                    seen += places.len();
                    cells += 1;
                    for place in places {
                        let column = rows.columns_of(first_row(chunk) + u64::from(place));
                        if column.is_some_and(|(_, pipeline)| pipeline != number) {
                            return wrong(format!("place {place} is not of pipeline {number}"));
                        }
                    }
                }
                let of_chunk = |entry: &&Entry| entry.chunks.contains(chunk as u32);
                let known = pipelines.iter().flatten().filter(of_chunk).count();
                if known > cells {
                    return wrong(format!("{known} pipelines are here, and {cells} bitmaps"));
                }
                match seen == if rows.is_cleared { 0 } else { CHUNK_ROWS } {
                    true => Ok(()),
                    false => wrong(format!("they have {seen} rows")),
                }
            })?;
        Ok(())
    }
}
