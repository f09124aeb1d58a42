//! [`Fetch`]: the samples of a stream's rows, read ahead in order of row.
//!
//! Records lie in order of row, and a list wants them in order of time. So some places are taken from the
//! stream, their records are read in order of row, along the table where they lie close together, and
//! then given out in the stream's order. How many are read ahead begins small, grows while the caller
//! goes on, and is bounded in number and in bytes.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::failure::Context;
use super::filter::Place;
use super::schema::{Kind, unseal};
use super::stream::Stream;
use super::view::View;
use crate::error::Result;
use crate::sample::Sample;

/// Places taken at a time at first, by a caller that may stop at any sample.
const FIRST_PLACES: usize = 16;
/// Places taken at a time in the end, where each record lies by itself: the more, the more of them share
/// pages and the way to them.
const PLACES_MAX: usize = 16_384;
/// Places taken at a time where records lie close together: few enough that they are still in the
/// processor's cache when they are given out.
const DENSE_PLACES_MAX: usize = 256;
/// Bytes of records read ahead, about; what is beyond is read when it is asked for.
const AHEAD_BYTES_MAX: usize = 8 << 20;
/// Rows lie close together when at least one in so many is wanted.
const DENSE_ROWS: u64 = 4;

/// Samples of a stream, in its order.
pub(super) struct Fetch {
    view: Arc<View>,
    pub(super) stream: Stream,
    /// How many places are taken next.
    places: usize,
    ready: std::vec::IntoIter<(Place, Option<Sample>)>,
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
        let places = usize::try_from(wanted).unwrap_or(PLACES_MAX);
        Self::ahead(view, stream, places.clamp(1, PLACES_MAX))
    }

    fn ahead(view: Arc<View>, stream: Stream, places: usize) -> Self {
        Self {
            view,
            stream,
            places,
            ready: Vec::new().into_iter(),
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
        let mut ready = Vec::new();
        while ready.len() < self.places
            && let Some(place) = self.stream.next()?
        {
            ready.push((place, None));
        }
        let mut places_max = PLACES_MAX;
        let mut by_row: Vec<usize> = (0..ready.len()).collect();
        by_row.sort_by_key(|index| ready[*index].0.row);
        if let (Some(first), Some(last)) = (by_row.first(), by_row.last()) {
            let rows = ready[*first].0.row..=ready[*last].0.row;
            let span = rows.end() - rows.start() + 1;
            if span / DENSE_ROWS < ready.len() as u64 {
                places_max = DENSE_PLACES_MAX;
                self.read_along(rows, &by_row, &mut ready)?;
            } else {
                self.read_each(&by_row, &mut ready)?;
            }
        }
        self.places = (self.places * 2).min(places_max);
        self.ready = ready.into_iter();
        Ok(())
    }

    /// Reads wanted records that lie close together, passing those between them.
    fn read_along(
        &mut self,
        rows: RangeInclusive<u64>,
        by_row: &[usize],
        ready: &mut [(Place, Option<Sample>)],
    ) -> Result<()> {
        let mut records = self.view.tables.rows.range(rows).context("read a record")?;
        let mut bytes = 0;
        for index in by_row {
            let (place, sample) = &mut ready[*index];
            if bytes > AHEAD_BYTES_MAX {
                break;
            }
            // A record that is missing is found missing when it is asked for.
            let found = loop {
                let Some(record) = records.next() else {
                    return Ok(());
                };
                let (row, sealed) = record.context("read a record")?;
                if row.value() >= place.row {
                    break (row.value() == place.row).then_some(sealed);
                }
            };
            let Some(sealed) = found else {
                return Ok(());
            };
            let record = unseal(Kind::Row, place.row, sealed.value())?;
            bytes += record.len();
            self.records += 1;
            *sample = Some(self.view.decode(place.row, &Arc::from(record))?);
        }
        Ok(())
    }

    fn read_each(&mut self, by_row: &[usize], ready: &mut [(Place, Option<Sample>)]) -> Result<()> {
        let mut bytes = 0;
        for index in by_row {
            let (place, sample) = &mut ready[*index];
            if bytes > AHEAD_BYTES_MAX {
                break;
            }
            let read = self.view.sample(place.row)?;
            bytes += read.encoded_len();
            self.records += 1;
            *sample = Some(read);
        }
        Ok(())
    }
}
