//! [`Fetch`]: the samples of a stream's rows, read ahead in order of row.
//!
//! Records lie in order of row, and a list wants them in order of time. So some places are taken from the
//! stream, their records are read in order of row, each block once, and then given out in the stream's order.
//! The wanted records of a block become one allocation, of which their samples are parts. How many are read ahead begins small, grows while the caller
//! goes on, and is bounded in number and in bytes.

use std::sync::Arc;

use super::blocks::Block;
use super::filter::Place;
use super::schema::{Kind, missing};
use super::stream::Stream;
use super::view::View;
use crate::error::Result;
use crate::sample::Sample;

/// Places taken at a time at first, by a caller that may stop at any sample.
const FIRST_PLACES: usize = 16;
/// Places taken at a time in the end, where each record lies by itself: the more, the more of them share
/// blocks and the way to them.
const PLACES_MAX: usize = 16_384;
/// Places taken at a time where records lie close together: few enough that they are still in the
/// processor's cache when they are given out.
const DENSE_PLACES_MAX: usize = 256;
/// Bytes of records read ahead, about; what is beyond is read when it is asked for.
const AHEAD_BYTES_MAX: usize = 8 << 20;
/// Records lie close together when at least one in so many rows of a block is wanted.
const DENSE_ROWS: u64 = 4;

/// Samples of a stream, in its order.
pub(super) struct Fetch {
    view: Arc<View>,
    pub(super) stream: Stream,
    /// How many places are taken next.
    places: usize,
    ready: std::vec::IntoIter<(Place, Option<Sample>)>,
    /// Records of a block one behind the other, and where each ends; kept for their memory.
    scratch: Vec<u8>,
    ends: Vec<usize>,
    /// How many records were read.
    pub(super) records: u64,
}

impl Fetch {
    /// For a caller that may stop at any sample.
    pub(super) fn new(view: Arc<View>, stream: Stream) -> Self {
        Self::ahead(view, stream, FIRST_PLACES)
    }

    /// For a caller that wants `wanted` samples, or all of them if there are fewer.
    pub(super) fn all(view: Arc<View>, stream: Stream, wanted: u64) -> Self {
        let places = usize::try_from(wanted).unwrap_or(usize::MAX);
        Self::ahead(view, stream, places.clamp(1, DENSE_PLACES_MAX))
    }

    fn ahead(view: Arc<View>, stream: Stream, places: usize) -> Self {
        Self {
            view,
            stream,
            places,
            ready: Vec::new().into_iter(),
            scratch: Vec::new(),
            ends: Vec::new(),
            records: 0,
        }
    }

    /// The next sample and its place, if it was read ahead.
    pub(super) fn next_ready(&mut self) -> Option<(Place, Sample)> {
        match self.ready.as_slice().first() {
            Some((_, Some(_))) => {
                let (place, sample) = self.ready.next()?;
                Some((place, sample?))
            }
            _ => None,
        }
    }

    /// The next sample and its place.
    pub(super) fn next(&mut self) -> Result<Option<(Place, Sample)>> {
        let (place, sample) = match self.ready.next() {
            Some(ready) => ready,
            None => {
                self.read_ahead()?;
                match self.ready.next() {
                    Some(ready) => ready,
                    None => return Ok(None),
                }
            }
        };
        let sample = match sample {
            Some(sample) => sample,
            None => {
                self.records += 1;
                self.view.sample(place.row)?
            }
        };
        Ok(Some((place, sample)))
    }

    fn read_ahead(&mut self) -> Result<()> {
        let mut ready = Vec::with_capacity(self.places);
        while ready.len() < self.places
            && let Some(place) = self.stream.next()?
        {
            ready.push((place, None));
        }
        let mut by_row: Vec<usize> = (0..ready.len()).collect();
        by_row.sort_by_key(|index| ready[*index].0.row);
        // What cannot be read is an error when it is asked for, not before.
        let is_dense = self.read_blocks(&by_row, &mut ready).unwrap_or(false);
        let places_max = match is_dense {
            true => DENSE_PLACES_MAX,
            false => PLACES_MAX,
        };
        self.places = (self.places * 2).min(places_max);
        self.ready = ready.into_iter();
        Ok(())
    }

    /// Reads the records of these places in order of row, each block once. Says whether most of
    /// them lie close together.
    fn read_blocks(
        &mut self,
        mut by_row: &[usize],
        ready: &mut [(Place, Option<Sample>)],
    ) -> Result<bool> {
        let view = Arc::clone(&self.view);
        let (mut bytes, mut dense) = (0, 0);
        while let [index, rest @ ..] = by_row
            && bytes <= AHEAD_BYTES_MAX
        {
            let row = ready[*index].0.row;
            let planes = view.planes(row)?;
            if planes.is_replaced(row) {
                let sample = view.sample(row)?;
                bytes += sample.encoded_len();
                ready[*index].1 = Some(sample);
                self.records += 1;
                by_row = rest;
                continue;
            }
            let first = planes.block_of(row);
            let first = first.ok_or_else(|| missing(Kind::Row, row))?;
            let rows = planes.block_rows(first);
            let is_of_block = |index: &usize| {
                let row = ready[*index].0.row;
                row < rows.end && !planes.is_replaced(row)
            };
            let wanted = by_row.iter().take_while(|index| is_of_block(index)).count();
            let (of_block, rest) = by_row.split_at(wanted);
            by_row = rest;
            if wanted as u64 * DENSE_ROWS >= rows.end - rows.start {
                dense += wanted;
            }
            let guard = view.block(first)?;
            let block = Block::new(first, guard.value())?;
            self.scratch.clear();
            self.ends.clear();
            for index in of_block {
                self.scratch.extend(block.record(ready[*index].0.row)?);
                self.ends.push(self.scratch.len());
            }
            let whole: Arc<[u8]> = Arc::from(self.scratch.as_slice());
            let mut start = 0;
            for (index, end) in of_block.iter().zip(&self.ends) {
                let (place, sample) = &mut ready[*index];
                *sample = Some(view.decode(
                    place.row,
                    planes.code(place.row),
                    &whole,
                    &whole[start..*end],
                )?);
                start = *end;
            }
            bytes += whole.len();
            self.records += wanted as u64;
        }
        Ok(2 * dense > ready.len())
    }
}
