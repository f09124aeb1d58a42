//! Rows in order of time, found by the indexes alone.
//!
//! A [`Stream`] gives the places of matching rows one by one, each found when it is asked for: a merge
//! of the chunks (`merge.rs`), each opened only when it may hold the next row, its hits brought into order as
//! `plan.rs` decides. A stream that went to the end of a page is kept for the next page (`walks.rs`). No record is read
//! here, but for ids, which are looked up by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::chunk::{Chunk, Head, Overlap};
use super::filter::{ColumnReader, Filter, Place, first_row, moved_rows};
use super::merge::{Figures, Hits, Merge, Next};
use super::plan::{Access, Question, choose, estimate, overlap};
use super::record;
use super::runs::LastLeaf;
use super::view::View;
use super::walks::{Walk, WalkKey};
use crate::error::Result;
use crate::query::{Order, Query, TimeRange};

/// From so many chunks over each other in time on, it is worth a look at each whether its first hit is known.
const OVERLAP_MIN: f64 = 2.0;

/// Matching rows in order.
pub(super) struct Stream {
    view: Arc<View>,
    filter: Filter,
    forced: Option<Access>,
    /// Rows that the limit still allows.
    left: u64,
    /// How many chunks lie over each other in time.
    overlap: f64,
    /// Places found by id, in order.
    ids: Option<std::vec::IntoIter<Place>>,
    merge: Merge,
    /// Whether where it began is known better by now.
    is_start_old: bool,
    /// A place that was looked at and not given out yet.
    ahead: Option<Place>,
    /// Which of the indexes that may leave fewer rows did somewhere, and which did not.
    narrowing: BTreeSet<usize>,
    not_narrowing: BTreeSet<usize>,
    pub(super) figures: Figures,
}

impl Stream {
    /// The rows that `filter` means. `forced` overrides the planner where it can, for tests of each
    /// access.
    pub(super) fn open(view: Arc<View>, filter: Filter, forced: Option<Access>) -> Result<Self> {
        let mut stream = Self {
            left: if filter.is_nothing() { 0 } else { filter.limit },
            merge: Merge::new(filter.order),
            view,
            filter,
            forced,
            overlap: 1.0,
            ids: None,
            is_start_old: false,
            ahead: None,
            narrowing: BTreeSet::new(),
            not_narrowing: BTreeSet::new(),
            figures: Figures::default(),
        };
        if stream.left > 0 {
            if stream.filter.ids.is_some() {
                stream.ids = Some(stream.look_up_ids()?.into_iter());
            } else {
                stream.push_chunks()?;
            }
        }
        Ok(stream)
    }

    /// The same, from the end of a page on if that is where it starts and its walk was kept.
    pub(super) fn go_on(view: Arc<View>, filter: Filter, forced: Option<Access>) -> Result<Self> {
        let start = filter.start.filter(|_| forced.is_none());
        let key = start.and_then(|start| walk_key(&filter, start));
        let Some(walk) = key.and_then(|key| view.walks.take(&key)) else {
            return Self::open(view, filter, forced);
        };
        Ok(Self {
            left: filter.limit,
            merge: walk.merge,
            view,
            filter,
            forced,
            overlap: walk.overlap,
            ids: None,
            is_start_old: false,
            ahead: Some(walk.next),
            narrowing: BTreeSet::new(),
            not_narrowing: BTreeSet::new(),
            figures: Figures::default(),
        })
    }

    /// Keeps what is left for the page behind this one, whose last row was at `last`.
    pub(super) fn keep(&mut self, last: Place) {
        if let (Some(key), Some(next), None) =
            (walk_key(&self.filter, last), self.ahead.take(), self.forced)
        {
            let walk = Walk {
                merge: std::mem::replace(&mut self.merge, Merge::new(self.filter.order)),
                next,
                overlap: self.overlap,
            };
            self.left = 0;
            self.view.walks.keep(key, walk);
        }
    }

    /// These places, in this order, whatever they are of.
    pub(super) fn of_places(view: Arc<View>, places: Vec<Place>) -> Result<Self> {
        let filter = Filter::resolve(&view, &Query::new().ids(None::<String>))?;
        let mut stream = Self::open(view, filter, None)?;
        stream.left = u64::MAX;
        stream.ids = Some(places.into_iter());
        Ok(stream)
    }

    /// The next matching row.
    pub(super) fn next(&mut self) -> Result<Option<Place>> {
        if self.left == 0 {
            return Ok(None);
        }
        let place = match self.ahead.take() {
            Some(place) => Some(place),
            None => self.find_next()?,
        };
        if place.is_some() {
            self.left -= 1;
        }
        Ok(place)
    }

    /// Whether there is a row behind those that the limit allowed.
    pub(super) fn has_more(&mut self) -> Result<bool> {
        if self.left > 0 {
            return Ok(false);
        }
        if self.ahead.is_none() {
            self.ahead = self.find_next()?;
        }
        Ok(self.ahead.is_some())
    }

    fn find_next(&mut self) -> Result<Option<Place>> {
        match &mut self.ids {
            Some(ids) => Ok(ids.next()),
            None => self.next_of_chunks(),
        }
    }

    /// Which index the rows come from.
    pub(super) fn name(&self) -> &'static str {
        if self.ids.is_some() {
            "ids"
        } else if self.filter.is_nothing() {
            "nothing"
        } else {
            "chunks"
        }
    }

    /// The fields whose indexes may leave fewer rows: of ids that are given none is asked.
    pub(super) fn fields(&self) -> Result<Vec<String>> {
        let fields = self.filter.fields.iter().filter(|_| self.ids.is_none());
        self.names(fields.map(|(index, _)| *index))
    }

    /// Those of them whose indexes did in some chunk, and those whose indexes did in none that was opened.
    pub(super) fn narrowing_fields(&self) -> Result<[Vec<String>; 2]> {
        let in_none = self.not_narrowing.difference(&self.narrowing);
        Ok([
            self.names(self.narrowing.iter().copied())?,
            self.names(in_none.copied())?,
        ])
    }

    fn names(&self, indexes: impl Iterator<Item = usize>) -> Result<Vec<String>> {
        let all = self.view.indexes()?;
        let named = indexes.filter_map(|index| all.get(index));
        Ok(named.map(|index| index.field.to_string()).collect())
    }

    /// How many rows match, about; limit left aside, and conditions.
    pub(super) fn estimate(&self) -> Result<f64> {
        let pipeline_share = match &self.filter.pipelines {
            None => 1.0,
            Some(pipelines) => {
                let of_pipelines = pipelines.iter().flat_map(|wanted| wanted.entry.counts);
                of_pipelines.sum::<u64>() as f64 / (self.view.state.samples() as f64).max(1.0)
            }
        };
        let heads = self.view.chunks()?.iter().map(|chunk| &chunk.head);
        Ok(estimate(
            heads,
            self.filter.codes,
            pipeline_share,
            self.filter.range,
        ))
    }

    fn look_up_ids(&mut self) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for id in self.filter.ids.iter().flatten() {
            self.figures.ids += 1;
            let found = match self.filter.is_of_change {
                true => self.look_up_row(id)?,
                false => self.view.locate(id, |row, record| {
                    let header = record::header(record)?;
                    let micros = header.created_at;
                    Ok((Place { micros, row }, header.pipeline))
                })?,
            };
            let Some((place, pipeline)) = found else {
                continue;
            };
            self.figures.id_records += 1;
            let of_pipeline =
                self.filter.pipelines.as_ref().is_none_or(|pipelines| {
                    pipelines.iter().any(|wanted| wanted.number == pipeline)
                });
            if of_pipeline
                && self.filter.codes & (1 << self.view.code(place.row)?) != 0
                && self.filter.range.contains(place.micros)
                && self.filter.is_behind_start(place)
            {
                places.push(place);
            }
        }
        self.sort(&mut places);
        Ok(places)
    }

    /// The place and the pipeline of an id whose record need not be readable.
    fn look_up_row(&self, id: &str) -> Result<Option<(Place, u32)>> {
        let Some(row) = self.view.row_of(id)? else {
            return Ok(None);
        };
        let mut columns = ColumnReader::default();
        let micros = columns.created(&self.view, row)?;
        let pipeline = columns.pipeline(&self.view, row)?;
        Ok(Some((Place { micros, row }, pipeline)))
    }

    fn sort(&self, places: &mut [Place]) {
        match self.filter.order {
            Order::Oldest => places.sort_unstable(),
            Order::Newest => places.sort_unstable_by(|a, b| b.cmp(a)),
        }
    }

    /// Adds to the merge every chunk that may hold a hit.
    fn push_chunks(&mut self) -> Result<()> {
        let view = Arc::clone(&self.view);
        let key = self.is_from_the_ends().then(|| self.filter.rows_key());
        if let Some(key) = &key
            && let Some((merge, overlap)) = view.starts.get(key, self.filter.order)
        {
            (self.merge, self.overlap) = (merge, overlap);
            return Ok(());
        }
        let all = view.chunks()?;
        let mut chunks: Vec<(u64, &Chunk)> = Vec::with_capacity(all.len());
        for (number, chunk) in (0..).zip(all.iter()) {
            let head = &chunk.head;
            if head.in_statuses(self.filter.codes) != 0
                && head.overlap(self.filter.range) != Overlap::None
                && self.may_hold(number, head)
            {
                chunks.push((number, chunk));
            }
        }
        let heads = chunks.iter().map(|(_, chunk)| &chunk.head);
        self.overlap = overlap(heads, self.filter.range);
        // Of chunks that follow each other, few are opened anyway.
        let key = key.filter(|_| self.overlap >= OVERLAP_MIN);
        self.merge.reserve(chunks.len());
        for (number, chunk) in chunks {
            let rows = key.as_ref().and_then(|key| chunk.kept_rows(key));
            if let Some(rows) = &rows
                && rows.bitmap.is_empty()
            {
                continue;
            }
            let first = rows.and_then(|rows| rows.first(self.filter.order));
            let bound = match (first, self.filter.order) {
                (Some((micros, place)), _) => Place {
                    micros,
                    row: first_row(number) + u64::from(place),
                },
                (None, Order::Oldest) => Place {
                    micros: chunk.head.first,
                    row: first_row(number),
                },
                (None, Order::Newest) => Place {
                    micros: chunk.head.last,
                    row: first_row(number + 1) - 1,
                },
            };
            self.merge.push_chunk(number, bound);
        }
        if let Some(key) = key {
            let start = self.merge.start();
            view.starts
                .keep(key, self.filter.order, start, self.overlap);
        }
        Ok(())
    }

    /// Whether the first hit of a chunk is the first row that its filter means.
    fn is_from_the_ends(&self) -> bool {
        self.filter.start.is_none()
            && self.filter.range == TimeRange::ALL
            && self.filter.fields.is_empty()
            && self.forced.is_none()
    }

    /// Whether a chunk may hold a row of a pipeline asked for that is behind the start.
    fn may_hold(&self, number: u64, head: &Head) -> bool {
        let behind_start = match (self.filter.start, self.filter.order) {
            (None, _) => true,
            (Some(start), Order::Oldest) => head.last >= start.micros,
            (Some(start), Order::Newest) => head.first <= start.micros,
        };
        let of_pipeline = number >= self.view.full_chunks()
            || self.filter.pipelines.as_ref().is_none_or(|pipelines| {
                pipelines
                    .iter()
                    .any(|wanted| wanted.entry.chunks.contains(number as u32))
            });
        behind_start && of_pipeline
    }

    fn next_of_chunks(&mut self) -> Result<Option<Place>> {
        loop {
            match self.merge.next(&self.view, &mut self.figures)? {
                Next::Hit(place) => return Ok(Some(place)),
                Next::Chunk(number) => self.open_chunk(number)?,
                Next::End => return Ok(None),
            }
        }
    }

    fn push(&mut self, hits: Hits) -> Result<Option<Place>> {
        self.merge.push(&self.view, hits, &mut self.figures)
    }

    /// Finds the hits of a chunk and adds them to the merge.
    fn open_chunk(&mut self, number: u64) -> Result<()> {
        let view = Arc::clone(&self.view);
        let mut rows = self.filter.rows(&view, number)?;
        if !rows.bitmap.is_empty() && !self.filter.fields.is_empty() {
            let see = |index, is_used| {
                match is_used {
                    true => self.narrowing.insert(index),
                    false => self.not_narrowing.insert(index),
                };
            };
            rows = self.filter.candidates(&view, number, rows, see)?;
        }
        if rows.bitmap.is_empty() {
            return Ok(());
        }
        if view.chunk(number)?.head.moved > 0 {
            rows = Arc::new(self.push_moved(number, &rows.bitmap)?.into());
        }
        let timeline = view.timeline(number)?;
        let mut reader = view.run_reader()?;
        let positions = self.filter.positions(&timeline, &mut reader, number)?;
        self.figures.leaves += reader.leaves_read;
        if positions.is_empty() || rows.bitmap.is_empty() {
            return Ok(());
        }
        let question = Question {
            is_ordered: timeline.is_ordered(),
            is_newest: number >= view.full_chunks(),
            hits: rows.bitmap.len(),
            rows: timeline.len(),
            entries: positions.len(),
            wanted: self.left as f64 / self.overlap,
        };
        let access = match self.forced {
            Some(Access::InPlace) | None => choose(&question),
            Some(access) => access,
        };
        tracing::trace!(name: "chunk_opened", chunk = number, ?access, hits = question.hits, "opened a chunk");
        let first = match access {
            Access::InPlace => {
                self.figures.chunks_in_place += 1;
                self.push(Hits::InPlace {
                    chunk: number,
                    rows: rows
                        .bitmap
                        .clone()
                        .into_range(positions.start as u32..positions.end as u32),
                    last: LastLeaf::default(),
                })?
            }
            Access::Scan => {
                self.figures.chunks_scanned += 1;
                self.push(Hits::Scan {
                    chunk: number,
                    rows: Arc::clone(&rows),
                    positions,
                    last: LastLeaf::default(),
                })?
            }
            Access::Sort => {
                self.figures.chunks_sorted += 1;
                let mut columns = ColumnReader::default();
                let mut places = Vec::with_capacity(rows.bitmap.len() as usize);
                for place in &rows.bitmap {
                    let row = first_row(number) + u64::from(place);
                    let micros = columns.created(&view, row)?;
                    places.push(Place { micros, row });
                }
                self.figures.leaves += columns.leaves;
                self.push_sorted(places)?
            }
        };
        if let Some(first) = first
            && self.is_from_the_ends()
        {
            let place = (first.row - first_row(number)) as u32;
            let is_new = rows.note_first(self.filter.order, (first.micros, place));
            if is_new && !std::mem::replace(&mut self.is_start_old, true) {
                let rows = self.filter.rows_key();
                self.view.starts.forget(&rows, self.filter.order);
            }
        }
        Ok(())
    }

    /// Adds the moved rows among these hits to the merge, and gives the others.
    fn push_moved(&mut self, number: u64, rows: &RoaringBitmap) -> Result<RoaringBitmap> {
        let mut rows = rows.clone();
        let mut places = Vec::new();
        for (place, micros) in moved_rows(&self.view, number)? {
            let row = first_row(number) + u64::from(place);
            if rows.remove(place) {
                places.push(Place { micros, row });
            }
        }
        self.push_sorted(places)?;
        Ok(rows)
    }

    /// Adds to the merge those of these rows that are in the time range and behind the start.
    fn push_sorted(&mut self, mut places: Vec<Place>) -> Result<Option<Place>> {
        let filter = &self.filter;
        places
            .retain(|place| filter.range.contains(place.micros) && filter.is_behind_start(*place));
        self.sort(&mut places);
        self.push(Hits::sorted(places))
    }
}

/// What the pages of a list are kept by, if they are: neither ids nor conditions are asked for.
fn walk_key(filter: &Filter, start: Place) -> Option<WalkKey> {
    let is_of_chunks = filter.ids.is_none() && filter.fields.is_empty() && !filter.is_of_change;
    is_of_chunks.then(|| WalkKey {
        rows: filter.rows_key(),
        range: filter.range,
        order: filter.order,
        start,
    })
}
