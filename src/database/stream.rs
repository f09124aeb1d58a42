//! Rows in order of time, found by the indexes alone.
//!
//! A [`Stream`] gives the places of matching rows one by one, each found when it is asked for: a merge
//! of the chunks, each opened only when it may hold the next row, its hits brought into order as
//! `plan.rs` decides. No record is read here, but for ids, which are looked up by it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::chunk::{Head, Overlap, Rows};
use super::filter::{ColumnReader, Filter, Place, first_row, moved_rows};
use super::plan::{Access, Question, choose, estimate, overlap};
use super::record;
use super::runs::LastLeaf;
use super::schema::CHUNK_ROWS;
use super::view::View;
use crate::error::Result;
use crate::query::{Order, Query};

/// How much a stream has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Chunks whose rows were in order of time.
    pub(super) chunks_in_place: u64,
    /// Chunks whose timeline was scanned.
    pub(super) chunks_scanned: u64,
    /// Chunks whose hits were sorted.
    pub(super) chunks_sorted: u64,
    /// Entries of timelines tested.
    pub(super) entries: u64,
    /// Leaves of the time index read.
    pub(super) leaves: u64,
    /// Ids looked up.
    pub(super) ids: u64,
    /// Records read to look up ids.
    pub(super) id_records: u64,
}

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
    /// Chunks and sources by the first place that each may give.
    heap: BinaryHeap<Reverse<Item>>,
    sources: Vec<Option<Source>>,
    /// Indexes of `sources` that are free.
    free: Vec<usize>,
    /// The source whose next place is the least, as long as it is.
    current: Option<Source>,
    pub(super) figures: Figures,
}

/// A chunk or a source on the heap, by the first place it may give, mirrored for newest first so that the
/// least comes first in both orders.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    bound: Place,
    what: What,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Chunk(u64),
    Source(usize),
}

/// Hits of one chunk in order, the next one found already.
struct Source {
    next: Place,
    rest: Rest,
}

/// The hits of one chunk that are still to come.
enum Rest {
    InPlace {
        chunk: u64,
        rows: roaring::bitmap::IntoIter,
        last: LastLeaf,
    },
    Scan {
        chunk: u64,
        rows: Arc<Rows>,
        positions: std::ops::Range<usize>,
        last: LastLeaf,
    },
    Sorted(std::vec::IntoIter<Place>),
}

impl Stream {
    /// The rows that `filter` means. `forced` overrides the planner where it can, for tests of each
    /// access.
    pub(super) fn open(view: Arc<View>, filter: Filter, forced: Option<Access>) -> Result<Self> {
        let mut stream = Self {
            left: if filter.is_nothing() { 0 } else { filter.limit },
            view,
            filter,
            forced,
            overlap: 1.0,
            ids: None,
            heap: BinaryHeap::new(),
            sources: Vec::new(),
            free: Vec::new(),
            current: None,
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
        let place = match &mut self.ids {
            Some(ids) => ids.next(),
            None => self.next_of_chunks()?,
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
        self.left = 1;
        Ok(self.next()?.is_some())
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

    /// The fields whose indexes are asked.
    pub(super) fn fields(&self) -> Result<Vec<String>> {
        let indexes = self.view.indexes()?;
        let fields = self.filter.fields.iter();
        let fields = fields.filter_map(|(index, _)| indexes.get(*index));
        Ok(fields.map(|index| index.field.to_string()).collect())
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

    /// Puts on the heap every chunk that may hold a hit.
    fn push_chunks(&mut self) -> Result<()> {
        let view = Arc::clone(&self.view);
        let mut heads: Vec<&Head> = Vec::new();
        for (number, chunk) in (0..).zip(view.chunks()?.iter()) {
            let head = &chunk.head;
            if head.in_statuses(self.filter.codes) == 0
                || head.overlap(self.filter.range) == Overlap::None
                || !self.may_hold(number, head)
            {
                continue;
            }
            heads.push(head);
            let bound = self.mirror(match self.filter.order {
                Order::Oldest => Place {
                    micros: head.first,
                    row: first_row(number),
                },
                Order::Newest => Place {
                    micros: head.last,
                    row: first_row(number + 1) - 1,
                },
            });
            self.heap.push(Reverse(Item {
                bound,
                what: What::Chunk(number),
            }));
        }
        self.overlap = overlap(heads.into_iter(), self.filter.range);
        Ok(())
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
            if let Some(source) = &mut self.current {
                let place = source.next;
                let key = mirror(self.filter.order, place);
                let is_least = self.heap.peek().is_none_or(|Reverse(top)| key <= top.bound);
                if is_least {
                    let next =
                        source
                            .rest
                            .next(&self.view, self.filter.order, &mut self.figures)?;
                    match next {
                        Some(next) => source.next = next,
                        None => self.current = None,
                    }
                    return Ok(Some(place));
                }
                if let Some(source) = self.current.take() {
                    self.push_source(source);
                }
            }
            let Some(Reverse(item)) = self.heap.pop() else {
                return Ok(None);
            };
            match item.what {
                What::Chunk(number) => self.open_chunk(number)?,
                What::Source(index) => {
                    self.current = self.sources[index].take();
                    self.free.push(index);
                }
            }
        }
    }

    fn push_source(&mut self, source: Source) {
        let bound = self.mirror(source.next);
        let index = match self.free.pop() {
            Some(index) => {
                self.sources[index] = Some(source);
                index
            }
            None => {
                self.sources.push(Some(source));
                self.sources.len() - 1
            }
        };
        self.heap.push(Reverse(Item {
            bound,
            what: What::Source(index),
        }));
    }

    fn push_rest(&mut self, mut rest: Rest) -> Result<()> {
        if let Some(next) = rest.next(&self.view, self.filter.order, &mut self.figures)? {
            self.push_source(Source { next, rest });
        }
        Ok(())
    }

    /// Finds the hits of a chunk and puts them on the heap.
    fn open_chunk(&mut self, number: u64) -> Result<()> {
        let view = Arc::clone(&self.view);
        let mut rows = self.filter.rows(&view, number)?;
        if !rows.bitmap.is_empty() && !self.filter.fields.is_empty() {
            rows = self.filter.candidates(&view, number, rows)?;
        }
        if rows.bitmap.is_empty() {
            return Ok(());
        }
        if view.chunk(number)?.head.moved > 0 {
            rows = Arc::new(self.push_moved(number, &rows.bitmap)?.into());
        }
        let timeline = view.timeline(number)?;
        let mut reader = view.run_reader();
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
        match access {
            Access::InPlace => {
                self.figures.chunks_in_place += 1;
                self.push_rest(Rest::InPlace {
                    chunk: number,
                    rows: rows
                        .bitmap
                        .clone()
                        .into_range(positions.start as u32..positions.end as u32),
                    last: LastLeaf::default(),
                })
            }
            Access::Scan => {
                self.figures.chunks_scanned += 1;
                self.push_rest(Rest::Scan {
                    chunk: number,
                    rows,
                    positions,
                    last: LastLeaf::default(),
                })
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
                self.push_sorted(places)
            }
        }
    }

    /// Puts the moved rows among these hits on the heap, and gives the others.
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

    /// Puts on the heap those of these rows that are in the time range and behind the start.
    fn push_sorted(&mut self, mut places: Vec<Place>) -> Result<()> {
        let filter = &self.filter;
        places
            .retain(|place| filter.range.contains(place.micros) && filter.is_behind_start(*place));
        self.sort(&mut places);
        self.push_rest(Rest::Sorted(places.into_iter()))
    }

    fn mirror(&self, place: Place) -> Place {
        mirror(self.filter.order, place)
    }
}

/// A place by which the first in the order is the least.
fn mirror(order: Order, place: Place) -> Place {
    match order {
        Order::Oldest => place,
        Order::Newest => Place {
            micros: !place.micros,
            row: !place.row,
        },
    }
}

impl Rest {
    /// The next hit.
    fn next(&mut self, view: &View, order: Order, figures: &mut Figures) -> Result<Option<Place>> {
        match self {
            Self::InPlace { chunk, rows, last } => {
                let place = match order {
                    Order::Oldest => rows.next(),
                    Order::Newest => rows.next_back(),
                };
                let Some(place) = place else {
                    return Ok(None);
                };
                // Position and place are the same here, and moved rows are elsewhere.
                let timeline = view.timeline(*chunk)?;
                let mut reader = view.run_reader();
                std::mem::swap(&mut reader.last, last);
                let micros = timeline.instant(&mut reader, place as usize)?;
                std::mem::swap(&mut reader.last, last);
                figures.leaves += reader.leaves_read;
                let row = *chunk * CHUNK_ROWS + u64::from(place);
                Ok(Some(Place { micros, row }))
            }
            Self::Scan {
                chunk,
                rows,
                positions,
                last,
            } => {
                let timeline = view.timeline(*chunk)?;
                let mut reader = view.run_reader();
                std::mem::swap(&mut reader.last, last);
                let before = positions.len();
                let from_end = order == Order::Newest;
                let found = timeline.next_of(&mut reader, positions, from_end, rows.mask())?;
                std::mem::swap(&mut reader.last, last);
                figures.entries += (before - positions.len()) as u64;
                figures.leaves += reader.leaves_read;
                Ok(found.map(|(micros, place)| Place {
                    micros,
                    row: *chunk * CHUNK_ROWS + u64::from(place),
                }))
            }
            Self::Sorted(places) => Ok(places.next()),
        }
    }
}
