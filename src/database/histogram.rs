//! How many samples there are over time, from the indexes alone.

use std::sync::Arc;

use super::Database;
use super::failure::damaged;
use super::filter::ColumnReader;
use super::snapshot::Snapshot;
use super::view::live_status;
use crate::error::Result;
use crate::instant;
use crate::query::{Histogram, Interval, Query};

impl Snapshot {
    /// How many samples of what the query asks for were created in each interval, per pipeline and status. Goes along
    /// the index of time and reads no sample unless ids or conditions are asked for; memory is bounded by the intervals that have any.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn histogram(&self, query: &Query, interval: Interval) -> Result<Histogram> {
        self.guard("count samples over time", || {
            let view = Arc::clone(&self.view);
            let dictionary = view.dictionary()?;
            let mut histogram = Histogram::new(interval);
            if !query.conditions().is_empty() {
                self.each_matching(query, |_, sample| {
                    histogram.add(sample.created_at(), sample.pipeline(), sample.status());
                    Ok(())
                })?;
                return Ok(histogram);
            }
            let mut stream = self.stream(query)?;
            let mut columns = ColumnReader::default();
            while let Some(place) = stream.next()? {
                let status = live_status(place.row, view.code(place.row)?)?;
                let number = columns.pipeline(&view, place.row)?;
                let at = instant::from_micros(place.micros).ok_or_else(|| {
                    damaged(
                        "count samples over time",
                        "an instant is outside of the calendar",
                    )
                })?;
                histogram.add(at, dictionary.name(number)?, status);
            }
            Ok(histogram)
        })
    }
}

impl Database {
    /// How many samples were created in each interval of time; see [`Snapshot::histogram`].
    ///
    /// # Errors
    /// As [`Storage::list`](crate::Storage::list).
    pub fn histogram(&self, query: &Query, interval: Interval) -> Result<Histogram> {
        self.snapshot()?.histogram(query, interval)
    }
}
