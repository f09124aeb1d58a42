//! [`Fetch`]: the samples of a stream's rows, read ahead in order of row.
//!
//! Records lie in order of row, and a list wants them in order of time. So a *window* of places is taken from the
//! stream, their records are read in order of row, each block once and by several threads, and then given out
//! in the stream's order, while the next window is read. The wanted records of a block become one allocation, of
//! which their samples are parts. How many places a window has begins small, grows while the caller goes on, and is
//! bounded in number and in bytes.

use std::sync::Arc;

use super::blocks::Block;
use super::failure::guard;
use super::filter::Place;
use super::pipelines::Dictionary;
use super::readers::{Readers, Work};
use super::record;
use super::schema::{Kind, missing};
use super::stream::Stream;
use super::view::{View, live_status};
use crate::error::Result;
use crate::sample::Sample;

/// Places of the first window, for a caller that may stop at any sample.
const FIRST_PLACES: usize = 16;
/// Places of the largest window, where each record lies by itself: the more, the more of them share
/// blocks and the way to them.
const PLACES_MAX: usize = 16_384;
/// Places of the largest window where records lie close together: few enough that they are still in the
/// processor's cache when they are given out.
const DENSE_PLACES_MAX: usize = 1_024;
/// Bytes of records in a window, about; what is beyond is read when it is asked for.
const WINDOW_BYTES_MAX: usize = 8 << 20;
/// Records share an allocation of about so many bytes: it is let go of when none of their samples is left.
const SHARED_BYTES: usize = 4 << 10;
/// Room for so many records of the usual length is made at once.
const ROOM_RECORDS: usize = 16;
/// Records lie close together when at least one in so many rows of a block is wanted.
const DENSE_ROWS: u64 = 4;
/// A block takes about as long as so many records of a block that is there.
const BLOCK_RECORDS: usize = 4;
/// Waking a thread for less than so many records takes longer than reading them.
const PART_RECORDS_MIN: usize = 240;
/// Rows that are likely in one block.
const BLOCK_ROWS: u64 = 64;
/// The blocks of a window of no more places are kept, for the next who asks for the same.
const KEPT_PLACES_MAX: usize = 64;
/// Parts of a window for each thread, since not all of them begin at once.
const PARTS_PER_THREAD: usize = 4;
/// A window of so many places is read ahead, and other threads may read parts of it.
const AHEAD_PLACES_MIN: usize = 128;
/// Names of pipelines that a part has by itself.
const OWN_NAMES: usize = 16;

/// Samples of a stream, in its order.
pub(super) struct Fetch {
    view: Arc<View>,
    readers: Arc<Readers>,
    pub(super) stream: Stream,
    /// How many places are taken next.
    places: usize,
    ready: Ready,
    /// What is being read meanwhile.
    next: Option<Result<Window>>,
    /// How many records were read.
    pub(super) records: u64,
}

/// Places whose samples are being read.
struct Window {
    /// In the stream's order, with the index of each in order of row.
    places: Vec<(Place, u32)>,
    work: Work<Part, PartRead>,
}

/// Places whose samples were read.
#[derive(Default)]
struct Ready {
    places: std::vec::IntoIter<(Place, u32)>,
    /// In order of row. `None` where a sample could not be read, or would have been too much.
    samples: Vec<Option<Sample>>,
}

/// Rows of a window, in order.
struct Part {
    view: Arc<View>,
    rows: Vec<u64>,
    bytes_max: usize,
    keeps_blocks: bool,
    /// Whether another thread may read it than the one that gets its samples.
    is_shared: bool,
}

struct PartRead {
    /// As many as the part has rows.
    samples: Vec<Option<Sample>>,
    /// How many were read.
    records: usize,
    /// How many of them lie close together.
    dense: usize,
}

impl Fetch {
    /// For a caller that may stop at any sample.
    pub(super) fn new(view: Arc<View>, readers: Arc<Readers>, stream: Stream) -> Self {
        Self::ahead(view, readers, stream, FIRST_PLACES)
    }

    /// For a caller that wants `wanted` samples, or all of them if there are fewer.
    pub(super) fn all(view: Arc<View>, readers: Arc<Readers>, stream: Stream, wanted: u64) -> Self {
        let places = usize::try_from(wanted).unwrap_or(usize::MAX);
        Self::ahead(view, readers, stream, places.clamp(1, DENSE_PLACES_MAX))
    }

    fn ahead(view: Arc<View>, readers: Arc<Readers>, stream: Stream, places: usize) -> Self {
        Self {
            view,
            readers,
            stream,
            places,
            ready: Ready::default(),
            next: None,
            records: 0,
        }
    }

    /// The next sample and its place, if it was read ahead.
    pub(super) fn next_ready(&mut self) -> Option<(Place, Sample)> {
        let (place, index) = *self.ready.places.as_slice().first()?;
        let sample = self.ready.samples.get_mut(index as usize)?.take()?;
        self.ready.places.next();
        Some((place, sample))
    }

    /// The next sample and its place.
    pub(super) fn next(&mut self) -> Result<Option<(Place, Sample)>> {
        if self.ready.places.as_slice().is_empty() {
            self.read_window()?;
        }
        if let Some(ready) = self.next_ready() {
            return Ok(Some(ready));
        }
        let Some((place, _)) = self.ready.places.next() else {
            return Ok(None);
        };
        self.records += 1;
        Ok(Some((place, self.view.sample(place.row)?)))
    }

    /// Makes the next window ready, and has the one behind it read.
    fn read_window(&mut self) -> Result<()> {
        let window = match self.next.take() {
            Some(window) => window?,
            None => self.begin_window()?,
        };
        let is_last = window.places.len() < self.places;
        let parts = window.work.finish();
        let mut dense = 0;
        self.ready.samples.clear();
        let is_one = parts.len() == 1;
        for part in parts {
            self.records += part.records as u64;
            dense += part.dense;
            match is_one {
                true => self.ready.samples = part.samples,
                false => self.ready.samples.extend(part.samples),
            }
        }
        let places_max = match 2 * dense > window.places.len() {
            true => DENSE_PLACES_MAX,
            false => PLACES_MAX,
        };
        self.places = (self.places * 2).min(places_max);
        self.ready.places = window.places.into_iter();
        if !is_last && self.places >= AHEAD_PLACES_MIN && self.readers.count() > 1 {
            // What cannot be found is an error when it is asked for, not before.
            self.next = Some(self.begin_window());
        }
        Ok(())
    }

    fn begin_window(&mut self) -> Result<Window> {
        let mut places = Vec::with_capacity(self.places);
        while places.len() < self.places
            && let Some(place) = self.stream.next()?
        {
            places.push((place, 0));
        }
        let mut by_row: Vec<(u64, u32)> = (0..)
            .zip(&places)
            .map(|(index, (place, _))| (place.row, index))
            .collect();
        by_row.sort_unstable();
        for (at, (_, index)) in (0..).zip(&by_row) {
            places[*index as usize].1 = at;
        }
        let blocks = by_row.chunk_by(|a, b| a.0 / BLOCK_ROWS == b.0 / BLOCK_ROWS);
        let records = places.len() + BLOCK_RECORDS * blocks.count();
        let parts = (records / PART_RECORDS_MIN).clamp(1, self.readers.count() * PARTS_PER_THREAD);
        let part_places = places.len().div_ceil(parts).max(1);
        let parts = by_row.chunks(part_places).map(|rows| Part {
            view: Arc::clone(&self.view),
            rows: rows.iter().map(|(row, _)| *row).collect(),
            bytes_max: WINDOW_BYTES_MAX / parts,
            keeps_blocks: places.len() <= KEPT_PLACES_MAX,
            is_shared: parts > 1 || places.len() >= AHEAD_PLACES_MIN,
        });
        let work = self.readers.share(parts.collect(), Part::read);
        Ok(Window { places, work })
    }
}

impl Part {
    fn read(self) -> PartRead {
        let rows = self.rows.len();
        let mut read = PartRead {
            samples: Vec::with_capacity(rows),
            records: 0,
            dense: 0,
        };
        // What cannot be read is an error when it is asked for, not before.
        let _ = guard("read records ahead", || self.read_into(&mut read));
        read.samples.truncate(rows);
        read.records = read.samples.len();
        read.samples.resize_with(rows, || None);
        read
    }

    /// Reads the records of these rows, each block once.
    fn read_into(&self, out: &mut PartRead) -> Result<()> {
        let view = &self.view;
        let mut gathered = Records::new(self.rows.len(), self.is_shared);
        let mut rows = self.rows.as_slice();
        let mut bytes = 0;
        while let [row, rest @ ..] = rows
            && bytes <= self.bytes_max
        {
            let row = *row;
            let planes = view.planes(row)?;
            if planes.is_replaced(row) {
                view.with_record(row, |record| {
                    gathered.add(row, planes.code(row), record);
                    Ok(())
                })?;
                bytes += gathered.flush_if_full(view, &mut out.samples)?;
                rows = rest;
                continue;
            }
            let first = planes.block_of(row);
            let first = first.ok_or_else(|| missing(Kind::Row, row))?;
            let of_block = planes.block_rows(first);
            let is_of_block = |row: &u64| *row < of_block.end && !planes.is_replaced(*row);
            let wanted = rows.iter().take_while(|row| is_of_block(row)).count();
            let (wanted, rest) = rows.split_at(wanted);
            rows = rest;
            if wanted.len() as u64 * DENSE_ROWS >= of_block.end - of_block.start {
                out.dense += wanted.len();
            }
            let mut see = |bytes_of_block: &[u8]| -> Result<()> {
                let block = Block::new(first, bytes_of_block)?;
                for row in wanted {
                    gathered.add(*row, planes.code(*row), block.record(*row)?);
                    bytes += gathered.flush_if_full(view, &mut out.samples)?;
                }
                Ok(())
            };
            match self.keeps_blocks {
                true => view.with_kept_block(first, see)?,
                false => see(view.block(first)?.value())?,
            }
        }
        gathered.flush(view, &mut out.samples)
    }
}

/// Records one behind the other, to become one allocation.
struct Records {
    bytes: Vec<u8>,
    /// The row of each, its status code and where it ends.
    entries: Vec<(u64, u8, usize)>,
    names: Option<OwnNames>,
}

/// Names of pipelines that only the samples of one part share. How many share a name is counted in one place of memory, and where
/// one thread makes samples while another lets go of those before them, it would go from one processor to the
/// other with each of them.
#[derive(Default)]
struct OwnNames([Option<(u32, Arc<str>)>; OWN_NAMES]);

impl OwnNames {
    fn name(&mut self, number: u32, dictionary: &Dictionary) -> Result<Arc<str>> {
        let own = &mut self.0[number as usize % OWN_NAMES];
        if let Some((of, name)) = own
            && *of == number
        {
            return Ok(Arc::clone(name));
        }
        let name: Arc<str> = Arc::from(&**dictionary.name(number)?);
        *own = Some((number, Arc::clone(&name)));
        Ok(name)
    }
}

impl Records {
    /// Of `rows` records in all.
    fn new(rows: usize, has_own_names: bool) -> Self {
        let room = rows.min(ROOM_RECORDS);
        Self {
            bytes: Vec::with_capacity(room * (SHARED_BYTES / ROOM_RECORDS)),
            entries: Vec::with_capacity(room),
            names: has_own_names.then(OwnNames::default),
        }
    }

    fn add(&mut self, row: u64, code: u8, record: &[u8]) {
        self.bytes.extend(record);
        self.entries.push((row, code, self.bytes.len()));
    }

    /// Makes samples of the records when they are as many bytes as they may be. Says how many bytes.
    fn flush_if_full(&mut self, view: &View, out: &mut Vec<Option<Sample>>) -> Result<usize> {
        let bytes = self.bytes.len();
        if bytes < SHARED_BYTES {
            return Ok(0);
        }
        self.flush(view, out)?;
        Ok(bytes)
    }

    fn flush(&mut self, view: &View, out: &mut Vec<Option<Sample>>) -> Result<()> {
        let whole: Arc<[u8]> = Arc::from(self.bytes.as_slice());
        let dictionary = view.dictionary()?;
        let mut start = 0;
        for (row, code, end) in self.entries.drain(..) {
            let status = live_status(row, code)?;
            let sample = record::decode(
                &whole,
                &whole[start..end],
                status,
                |number| match &mut self.names {
                    Some(names) => names.name(number, dictionary),
                    None => dictionary.name(number).cloned(),
                },
            )?;
            out.push(Some(sample));
            start = end;
        }
        self.bytes.clear();
        Ok(())
    }
}
