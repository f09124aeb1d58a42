//! [`Merge`]: the hits of all chunks in one order, each chunk opened only when it may hold the next one.
//!
//! How a chunk is opened, and which of its rows are hits, is `stream.rs`. A merge holds no view: it is kept between
//! two pages of a list by `walks.rs`, and goes on in the same view.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::chunk::Rows;
use super::filter::Place;
use super::runs::LastLeaf;
use super::schema::CHUNK_ROWS;
use super::view::View;
use crate::error::Result;
use crate::query::Order;

/// What the hits of one chunk take while they are walked along, at most, but for sorted ones: a bitmap or two, and a
/// leaf of the time index.
const HITS_BYTES: usize = 32 << 10;

/// How much was looked at to find hits.
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

/// Chunks and hits of chunks by the first place that each may give.
pub(super) struct Merge {
    order: Order,
    heap: BinaryHeap<Reverse<Item>>,
    sources: Vec<Option<Source>>,
    /// Indexes of `sources` that are free.
    free: Vec<usize>,
    /// The source whose next place is the least, as long as it is.
    current: Option<Source>,
}

/// Where a merge begins: chunks alone, none of them open.
#[derive(Clone)]
pub(super) struct Start(BinaryHeap<Reverse<Item>>);

/// What comes next.
pub(super) enum Next {
    Hit(Place),
    /// No hit is known to come before those of this chunk, which is not open yet.
    Chunk(u64),
    End,
}

/// A chunk or a source on the heap, by the first place it may give, mirrored for newest first so that the
/// least comes first in both orders.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    bound: Place,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Chunk(u64),
    Source(usize),
}

/// Hits of one chunk in order, the next one found already.
struct Source {
    next: Place,
    rest: Hits,
}

/// The hits of one chunk that are still to come.
pub(super) enum Hits {
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
    /// In the order of the merge.
    Sorted {
        places: std::vec::IntoIter<Place>,
        /// The memory that they took when none was passed, which stays until all are.
        bytes: usize,
    },
}

impl Merge {
    /// Of nothing yet.
    pub(super) fn new(order: Order) -> Self {
        Self {
            order,
            heap: BinaryHeap::new(),
            sources: Vec::new(),
            free: Vec::new(),
            current: None,
        }
    }

    /// From a start that a merge of the same order had.
    pub(super) fn from_start(order: Order, start: Start) -> Self {
        Self {
            heap: start.0,
            ..Self::new(order)
        }
    }

    /// Where it begins. Nothing of it is open yet.
    pub(super) fn start(&self) -> Start {
        Start(self.heap.clone())
    }

    /// Makes room for so many chunks.
    pub(super) fn reserve(&mut self, chunks: usize) {
        self.heap.reserve(chunks);
    }

    /// Adds a chunk whose first hit comes no sooner than `bound`.
    pub(super) fn push_chunk(&mut self, number: u64, bound: Place) {
        self.heap.push(Reverse(Item {
            bound: self.mirror(bound),
            what: What::Chunk(number),
        }));
    }

    /// Adds hits of a chunk, and says where the first is.
    pub(super) fn push(
        &mut self,
        view: &View,
        mut hits: Hits,
        figures: &mut Figures,
    ) -> Result<Option<Place>> {
        let first = hits.next(view, self.order, figures)?;
        if let Some(next) = first {
            self.push_source(Source { next, rest: hits });
        }
        Ok(first)
    }

    /// The next hit, or the chunk that must be opened first.
    pub(super) fn next(&mut self, view: &View, figures: &mut Figures) -> Result<Next> {
        loop {
            if let Some(source) = &mut self.current {
                let place = source.next;
                let key = mirror(self.order, place);
                let is_least = self.heap.peek().is_none_or(|Reverse(top)| key <= top.bound);
                if is_least {
                    match source.rest.next(view, self.order, figures)? {
                        Some(next) => source.next = next,
                        None => self.current = None,
                    }
                    return Ok(Next::Hit(place));
                }
                if let Some(source) = self.current.take() {
                    self.push_source(source);
                }
            }
            let Some(Reverse(item)) = self.heap.pop() else {
                return Ok(Next::End);
            };
            match item.what {
                What::Chunk(number) => return Ok(Next::Chunk(number)),
                What::Source(index) => {
                    self.current = self.sources[index].take();
                    self.free.push(index);
                }
            }
        }
    }

    /// The bytes of memory that it has, at most, about.
    pub(super) fn bytes(&self) -> usize {
        let sources = self.sources.iter().flatten().chain(&self.current);
        let bytes_of = |source: &Source| match &source.rest {
            Hits::InPlace { .. } | Hits::Scan { .. } => HITS_BYTES,
            Hits::Sorted { bytes, .. } => *bytes,
        };
        let sources = sources.map(bytes_of).sum::<usize>();
        sources + self.heap.len() * (size_of::<Item>() + size_of::<Option<Source>>())
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

    fn mirror(&self, place: Place) -> Place {
        mirror(self.order, place)
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

impl Hits {
    /// Of places that are in the order of the merge.
    pub(super) fn sorted(places: Vec<Place>) -> Self {
        Self::Sorted {
            bytes: places.capacity() * size_of::<Place>(),
            places: places.into_iter(),
        }
    }

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
                let mut reader = view.run_reader()?;
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
                let mut reader = view.run_reader()?;
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
            Self::Sorted { places, .. } => Ok(places.next()),
        }
    }
}
