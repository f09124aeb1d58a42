//! [`Filter`]: a query in the database's own terms, and the rows that it means, chunk by chunk.

use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::chunk::{CHUNK_LEAVES, Chunk, Overlap, Rows, RowsKey};
use super::columns::Columns;
use super::leaves;
use super::mask::Mask;
use super::pipelines::{Entry, read_moved, read_rows};
use super::planes::ANY_STATUS;
use super::record::status_code;
use super::runs::{self, RunReader, Timeline};
use super::schema::{CHUNK_ROWS, COLUMN_ROWS, Kind, STATUS_ROWS, missing};
use super::view::View;
use crate::error::Result;
use crate::query::{Condition, Cursor, Keys, Order, Query, TimeRange};

/// Where a sample stands in the order: by instant, then by row. Rows grow as ids are first stored, so
/// this is the order of rule R4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) micros: i64,
    pub(super) row: u64,
}

impl Place {
    /// The position that cursors carry: instant and row, 8 bytes each, little-endian.
    pub(super) fn to_cursor(self, view: &View, query: &Query) -> Cursor {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.micros.to_le_bytes());
        bytes[8..].copy_from_slice(&self.row.to_le_bytes());
        Cursor::new(view.identity.cursor_identity(), query, &bytes)
    }

    fn from_cursor(cursor: &Cursor, view: &View, query: &Query) -> Result<Self> {
        let bytes = cursor.position(view.identity.cursor_identity(), query)?;
        match bytes.as_chunks::<8>() {
            ([micros, row], []) => Ok(Self {
                micros: i64::from_le_bytes(*micros),
                row: u64::from_le_bytes(*row),
            }),
            _ => Err(Cursor::malformed()),
        }
    }
}

/// A pipeline that is asked for.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) number: u32,
    pub(super) entry: Entry,
}

/// A query in the database's own terms.
pub(super) struct Filter {
    /// Bit `c` for each status code asked for.
    pub(super) codes: u8,
    /// The pipelines asked for, or `None` for any. Unknown names are left out.
    pub(super) pipelines: Option<Vec<Wanted>>,
    pub(super) range: TimeRange,
    pub(super) order: Order,
    /// Only what comes behind this place.
    pub(super) start: Option<Place>,
    pub(super) limit: u64,
    pub(super) ids: Option<Vec<String>>,
    /// Whether it says what is to be changed or deleted, for which no record must be readable.
    pub(super) is_of_change: bool,
    /// Indexes of fields by number of place, and the keys that conditions leave.
    pub(super) fields: Vec<(usize, Keys)>,
}

impl Filter {
    pub(super) fn resolve(view: &View, query: &Query) -> Result<Self> {
        let codes = if query.statuses().is_empty() {
            ANY_STATUS
        } else {
            let codes = query
                .statuses()
                .iter()
                .map(|status| 1 << status_code(*status));
            codes.fold(0, |all, code| all | code)
        };
        let pipelines = if query.pipelines().is_empty() {
            None
        } else {
            let dictionary = view.dictionary()?;
            let numbers = query
                .pipelines()
                .iter()
                .filter_map(|name| dictionary.number(name));
            let wanted = numbers.map(|number| {
                let entry = Entry::read(view.tables.summary()?, number)?;
                Ok(Wanted { number, entry })
            });
            Some(wanted.collect::<Result<_>>()?)
        };
        Ok(Self {
            codes,
            pipelines,
            range: query.time_range(),
            order: query.sort_order(),
            start: query
                .start()
                .map(|cursor| Place::from_cursor(cursor, view, query))
                .transpose()?,
            limit: query.limit_max().unwrap_or(u64::MAX),
            ids: query.id_set().map(|ids| ids.iter().cloned().collect()),
            is_of_change: false,
            fields: indexed_fields(view, query)?,
        })
    }

    /// Whether no sample can match, whatever the database holds.
    pub(super) fn is_nothing(&self) -> bool {
        self.limit == 0
            || self.codes == 0
            || self.range.is_empty()
            || self.pipelines.as_ref().is_some_and(Vec::is_empty)
            || self.ids.as_ref().is_some_and(Vec::is_empty)
            || self.fields.iter().any(|(_, keys)| keys.ranges().is_empty())
    }

    /// Whether it is filters alone: no ids to look up and no place to start from.
    pub(super) fn is_whole(&self) -> bool {
        self.ids.is_none() && self.start.is_none()
    }

    /// The same filter for these status codes, without limit and start.
    pub(super) fn with_codes(&self, codes: u8) -> Self {
        Self {
            codes,
            pipelines: self.pipelines.clone(),
            range: self.range,
            order: self.order,
            start: None,
            limit: u64::MAX,
            ids: None,
            is_of_change: self.is_of_change,
            fields: self.fields.clone(),
        }
    }

    /// Whether `place` comes behind the start.
    pub(super) fn is_behind_start(&self, place: Place) -> bool {
        match (self.start, self.order) {
            (None, _) => true,
            (Some(start), Order::Oldest) => place > start,
            (Some(start), Order::Newest) => place < start,
        }
    }

    /// Of all samples, how many match when time is left aside: exact, from the counters.
    pub(super) fn matching_ever(&self, view: &View) -> u64 {
        let sum = |counts: &[u64; 6]| -> u64 {
            (0..6)
                .filter(|status| self.codes & (2 << status) != 0)
                .map(|status| counts[status])
                .sum()
        };
        match &self.pipelines {
            None => sum(&view.state.totals),
            Some(pipelines) => pipelines
                .iter()
                .map(|wanted| sum(&wanted.entry.counts))
                .sum(),
        }
    }

    /// The positions in a chunk's timeline that are within the time range and behind the start.
    pub(super) fn positions(
        &self,
        timeline: &Timeline<'_>,
        reader: &mut RunReader<'_>,
        chunk: u64,
    ) -> Result<Range<usize>> {
        let Range { mut start, mut end } = self.timed_positions(timeline, reader)?;
        match (self.start, self.order) {
            (None, _) => {}
            (Some(place), Order::Oldest) => {
                start = start.max(timeline.position(reader, entry_of(place, chunk, 1))?);
            }
            (Some(place), Order::Newest) => {
                end = end.min(timeline.position(reader, entry_of(place, chunk, 0))?);
            }
        }
        Ok(start..end.max(start))
    }

    /// The positions in a timeline that are within the time range.
    fn timed_positions(
        &self,
        timeline: &Timeline<'_>,
        reader: &mut RunReader<'_>,
    ) -> Result<Range<usize>> {
        let start = match self.range.first {
            i64::MIN => 0,
            micros => timeline.position(reader, (micros, 0))?,
        };
        let end = match self.range.last.checked_add(1) {
            None => timeline.len(),
            Some(micros) => timeline.position(reader, (micros, 0))?,
        };
        Ok(start..end.max(start))
    }

    /// The pipelines and statuses asked for.
    pub(super) fn rows_key(&self) -> RowsKey {
        let pipelines = self.pipelines.as_ref();
        RowsKey {
            codes: self.codes,
            pipelines: pipelines
                .map(|pipelines| pipelines.iter().map(|wanted| wanted.number).collect()),
        }
    }

    /// The rows of `chunk`, as places in it, of the pipelines and statuses asked for.
    pub(super) fn rows(&self, view: &View, chunk: u64) -> Result<Arc<Rows>> {
        view.chunk(chunk)?.rows(&self.rows_key(), || {
            let Some(of_pipelines) = self.rows_of_pipelines(view, chunk)? else {
                return Ok(self.status_mask(view, chunk)?.to_bitmap());
            };
            if of_pipelines.is_empty() {
                return Ok(of_pipelines);
            }
            Ok(self.status_mask(view, chunk)?.to_bitmap() & of_pipelines)
        })
    }

    /// Of these rows of a chunk, those that indexes of fields leave to be looked at. `see` is told of the number of each, and
    /// whether it leaves few enough to be used.
    pub(super) fn candidates(
        &self,
        view: &View,
        chunk: u64,
        rows: Arc<Rows>,
        mut see: impl FnMut(usize, bool),
    ) -> Result<Arc<Rows>> {
        let mut left: Option<RoaringBitmap> = None;
        for (number, keys) in &self.fields {
            let index = view.indexes()?.get(*number);
            let index = index.ok_or_else(|| missing(Kind::Field, 0))?;
            let rows_of_keys = index.rows(&view.field_rows()?, chunk, keys)?;
            see(*number, rows_of_keys.is_some());
            if let Some(rows_of_keys) = rows_of_keys {
                left = Some(left.as_ref().unwrap_or(&rows.bitmap) & rows_of_keys);
            }
        }
        Ok(left.map_or(rows, |left| Arc::new(left.into())))
    }

    /// How many rows of a chunk match, time counted in.
    pub(super) fn count(&self, view: &View, number: u64, chunk: &Chunk) -> Result<u64> {
        match (chunk.head.overlap(self.range), &self.pipelines) {
            (Overlap::None, _) => Ok(0),
            (Overlap::All, None) => Ok(chunk.head.in_statuses(self.codes)),
            (Overlap::All, Some(_)) => Ok(self.rows(view, number)?.bitmap.len()),
            (Overlap::Some, _) => {
                let timeline = view.timeline(number)?;
                if !timeline.is_ordered() || chunk.head.moved > 0 {
                    return Ok(self.timed_rows(view, number)?.len());
                }
                let places = self.timed_positions(&timeline, &mut view.run_reader()?)?;
                let rows = self.rows(view, number)?;
                Ok(rows
                    .bitmap
                    .range_cardinality(places.start as u32..places.end as u32))
            }
        }
    }

    /// The rows of a chunk that match, time counted in.
    pub(super) fn timed_rows(&self, view: &View, number: u64) -> Result<RoaringBitmap> {
        let chunk = view.chunk(number)?;
        let overlap = chunk.head.overlap(self.range);
        if overlap == Overlap::None {
            return Ok(RoaringBitmap::new());
        }
        let rows = self.rows(view, number)?;
        if overlap == Overlap::All || rows.bitmap.is_empty() {
            return Ok(rows.bitmap.clone());
        }
        let timeline = view.timeline(number)?;
        let mut reader = view.run_reader()?;
        let Range { start, end } = self.timed_positions(&timeline, &mut reader)?;
        let mut timed = if timeline.is_ordered() {
            let mut timed = rows.bitmap.clone();
            timed.remove_range(..start as u32);
            timed.remove_range(end as u32..);
            timed
        } else if 2 * (end - start) <= timeline.len() {
            let mut inside = Mask::empty();
            timeline.places(&mut reader, start..end, |place| inside.insert(place))?;
            &rows.bitmap & inside.to_bitmap()
        } else {
            let mut outside = Mask::empty();
            timeline.places(&mut reader, 0..start, |place| outside.insert(place))?;
            timeline.places(&mut reader, end..timeline.len(), |place| {
                outside.insert(place);
            })?;
            &rows.bitmap - outside.to_bitmap()
        };
        if chunk.head.moved > 0 {
            for (place, micros) in moved_rows(view, number)? {
                if rows.bitmap.contains(place) && self.range.contains(micros) {
                    timed.insert(place);
                } else {
                    timed.remove(place);
                }
            }
        }
        Ok(timed)
    }

    fn status_mask(&self, view: &View, number: u64) -> Result<Mask> {
        let mut mask = Mask::empty();
        let chunk = view.chunk(number)?;
        let rows = view.state.next_row.min(first_row(number + 1)) - first_row(number);
        for (index, words) in mask.leaves_mut().iter_mut().enumerate() {
            let leaf = number * CHUNK_LEAVES as u64 + index as u64;
            if index as u64 * STATUS_ROWS >= rows {
                break;
            }
            *words = chunk
                .planes(view.tables.status()?, leaf)?
                .matching(self.codes);
        }
        Ok(mask)
    }

    /// The rows of the pipelines asked for, or `None` when any will do. Rows without a sample may be
    /// among them.
    fn rows_of_pipelines(&self, view: &View, chunk: u64) -> Result<Option<RoaringBitmap>> {
        let Some(pipelines) = &self.pipelines else {
            return Ok(None);
        };
        let mut rows = RoaringBitmap::new();
        if chunk >= view.full_chunks() {
            let numbers = view.newest()?.pipelines.iter().enumerate();
            let places = numbers
                .filter(|(_, number)| pipelines.iter().any(|wanted| wanted.number == **number))
                .map(|(place, _)| place as u32);
            // Places come in order, so none is refused.
            let _ = rows.append(places);
            return Ok(Some(rows));
        }
        for wanted in pipelines {
            if wanted.entry.chunks.contains(chunk as u32) {
                rows |= read_rows(view.tables.pipeline_rows()?, chunk, wanted.number)?;
            }
        }
        Ok(Some(rows))
    }
}

/// The indexes that conditions of a query can ask, and for which keys.
fn indexed_fields(view: &View, query: &Query) -> Result<Vec<(usize, Keys)>> {
    let bounds = query.conditions().iter().flat_map(Condition::bounds);
    let mut fields: Vec<(usize, Keys)> = Vec::new();
    for (field, keys) in bounds {
        let indexes = view.indexes()?.iter();
        let mut indexes = indexes.enumerate();
        let found = indexes.find(|(_, index)| index.field == *field && index.is_complete());
        let Some((index, _)) = found else { continue };
        match fields.iter_mut().find(|(known, _)| *known == index) {
            Some((_, all)) => *all = all.and(&keys),
            None => fields.push((index, keys)),
        }
    }
    Ok(fields)
}

/// The places of a chunk whose instant is not the one in its run, and that instant.
pub(super) fn moved_rows(view: &View, chunk: u64) -> Result<Vec<(u32, i64)>> {
    let mut columns = ColumnReader::default();
    let moved = read_moved(
        view.tables.created_moved()?,
        chunk,
        view.chunk(chunk)?.head.moved,
    )?;
    moved
        .iter()
        .map(|place| {
            let row = first_row(chunk) + u64::from(place);
            Ok((place, columns.created(view, row)?))
        })
        .collect()
}

/// Reads the columns and keeps the last leaf.
#[derive(Default)]
pub(super) struct ColumnReader {
    last: Option<(u64, Box<Columns>)>,
    /// How many leaves were read.
    pub(super) leaves: u64,
}

impl ColumnReader {
    /// The instant of a row.
    pub(super) fn created(&mut self, view: &View, row: u64) -> Result<i64> {
        Ok(self.leaf(view, row)?.created_at(row))
    }

    /// The pipeline number of a row.
    pub(super) fn pipeline(&mut self, view: &View, row: u64) -> Result<u32> {
        Ok(self.leaf(view, row)?.pipeline(row))
    }

    fn leaf(&mut self, view: &View, row: u64) -> Result<&Columns> {
        let leaf = row / COLUMN_ROWS;
        let columns = match self.last.take() {
            Some((key, columns)) if key == leaf => columns,
            _ => {
                self.leaves += 1;
                Box::new(leaves::read(view.tables.columns()?, leaf)?)
            }
        };
        Ok(&self.last.insert((leaf, columns)).1)
    }
}

/// The bound within a chunk that stands where `place` does among all rows, or `step` rows behind it.
fn entry_of(place: Place, chunk: u64, step: u32) -> runs::Entry {
    let of_place = place.row / CHUNK_ROWS;
    match of_place.cmp(&chunk) {
        // Every row of this chunk comes behind that row, so ties of its instant do too.
        std::cmp::Ordering::Less => (place.micros, 0),
        std::cmp::Ordering::Equal => (place.micros, (place.row % CHUNK_ROWS) as u32 + step),
        std::cmp::Ordering::Greater => (place.micros, u32::MAX),
    }
}

/// The first row of a chunk.
pub(super) fn first_row(chunk: u64) -> u64 {
    chunk * CHUNK_ROWS
}
