//! [`Histogram`]: exact counts over time, in [`Interval`]s of the calendar.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Facets;
use super::text::{invalid, nearest};
use crate::error::{Error, Result};
use crate::sample::{Sample, Status};

/// A span of the calendar in UTC, by which samples are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Interval {
    /// Sixty seconds.
    Minute,
    /// Sixty minutes.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday, as ISO 8601 has it.
    Week,
    /// From the first to the last day of a month.
    Month,
}

impl Interval {
    /// All of them, the shortest first.
    pub const ALL: [Self; 5] = [Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The first instant of the interval that `at` is in; at the very ends of the calendar, `at` itself.
    #[must_use]
    pub fn start(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let floor = |span_s: i64| {
            let seconds = at.timestamp().div_euclid(span_s) * span_s;
            DateTime::from_timestamp(seconds, 0)
        };
        let date = at.date_naive();
        let midnight = match self {
            Self::Minute => return floor(60).unwrap_or(at),
            Self::Hour => return floor(3_600).unwrap_or(at),
            Self::Day => return floor(86_400).unwrap_or(at),
            Self::Week => {
                let days = date.weekday().num_days_from_monday();
                date.checked_sub_days(Days::new(days.into()))
            }
            Self::Month => date.with_day(1),
        };
        midnight.map_or(at, |date| date.and_time(NaiveTime::MIN).and_utc())
    }

    /// The first instant behind the interval that begins at `start`; none at the end of the calendar.
    #[must_use]
    pub fn next(self, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Minute => start.checked_add_signed(TimeDelta::minutes(1)),
            Self::Hour => start.checked_add_signed(TimeDelta::hours(1)),
            Self::Day => start.checked_add_days(Days::new(1)),
            Self::Week => start.checked_add_days(Days::new(7)),
            Self::Month => start.checked_add_months(Months::new(1)),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Interval {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|interval| interval.as_str() == word);
        found.ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str);
            match nearest(word, words) {
                Some(near) => invalid(format!(
                    "there is no interval {word:?}; did you mean {near}?"
                )),
                None => invalid(format!(
                    "there is no interval {word:?}; there are {}",
                    words.join(", ")
                )),
            }
        })
    }
}

/// How many samples were created in each interval of time, per pipeline and status.
///
/// ```
/// use samplestore::{Histogram, Interval, MemoryStorage, Query, Sample, Status, Storage};
///
/// let storage = MemoryStorage::new();
/// let sample = |at: &str| Sample::builder("weather").created_at(at.parse().unwrap()).build();
/// storage.store(&[sample("2013-06-01T06:00:00Z")?, sample("2013-06-01T18:00:00Z")?, sample("2013-06-03T00:00:00Z")?])?;
///
/// let days = Histogram::of(storage.iterate(&Query::new())?, Interval::Day)?;
/// let counts: Vec<u64> = days.filled().map(|(_, facets)| facets.total()).collect();
/// assert_eq!(counts, [2, 0, 1]);
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    interval: Interval,
    buckets: BTreeMap<DateTime<Utc>, Facets>,
}

impl Histogram {
    /// Counts nothing yet.
    #[must_use]
    pub fn new(interval: Interval) -> Self {
        Self {
            interval,
            buckets: BTreeMap::new(),
        }
    }

    /// Counts samples one by one, of any storage. [`Database::histogram`](crate::Database::histogram) needs no
    /// sample for it.
    ///
    /// # Errors
    /// The first that `samples` give.
    pub fn of(
        samples: impl IntoIterator<Item = Result<Sample>>,
        interval: Interval,
    ) -> Result<Self> {
        let mut histogram = Self::new(interval);
        for sample in samples {
            let sample = sample?;
            histogram.add(sample.created_at(), sample.pipeline(), sample.status());
        }
        Ok(histogram)
    }

    /// Counts one sample.
    pub fn add(&mut self, created_at: DateTime<Utc>, pipeline: &str, status: Status) {
        let start = self.interval.start(created_at);
        self.buckets
            .entry(start)
            .or_default()
            .add(pipeline, status, 1);
    }

    /// What is counted by.
    #[must_use]
    pub fn interval(&self) -> Interval {
        self.interval
    }

    /// How many samples there are in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.buckets.values().map(Facets::total).sum()
    }

    /// The counts of each interval that has any, by its first instant, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (DateTime<Utc>, &Facets)> {
        self.buckets.iter().map(|(start, facets)| (*start, facets))
    }

    /// The same, and between the first and the last one also those that have none: as many as the calendar has, so bound
    /// them with `take` where instants may be far apart.
    pub fn filled(&self) -> impl Iterator<Item = (DateTime<Utc>, &Facets)> {
        static NONE: Facets = Facets::EMPTY;
        let last = self.buckets.keys().next_back().copied();
        let mut next = self.buckets.keys().next().copied();
        std::iter::from_fn(move || {
            let start = next.filter(|start| Some(*start) <= last)?;
            next = self.interval.next(start);
            Some((start, self.buckets.get(&start).unwrap_or(&NONE)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_begin_where_the_calendar_says_on_both_sides_of_1970() {
        for (interval, at, start, next) in [
            (
                Interval::Minute,
                "2013-06-01T12:34:56.789Z",
                "2013-06-01T12:34:00Z",
                "2013-06-01T12:35:00Z",
            ),
            (
                Interval::Hour,
                "1969-12-31T23:59:59Z",
                "1969-12-31T23:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
            (
                Interval::Day,
                "1969-12-30T23:59:59Z",
                "1969-12-30T00:00:00Z",
                "1969-12-31T00:00:00Z",
            ),
            (
                Interval::Week,
                "2013-06-02T23:00:00Z",
                "2013-05-27T00:00:00Z",
                "2013-06-03T00:00:00Z",
            ),
            (
                Interval::Month,
                "2012-02-29T01:00:00Z",
                "2012-02-01T00:00:00Z",
                "2012-03-01T00:00:00Z",
            ),
            (
                Interval::Month,
                "2012-12-31T23:00:00Z",
                "2012-12-01T00:00:00Z",
                "2013-01-01T00:00:00Z",
            ),
        ] {
            let at: DateTime<Utc> = at.parse().unwrap();
            let begin = interval.start(at);
            assert_eq!(
                begin,
                start.parse::<DateTime<Utc>>().unwrap(),
                "{interval} {at}"
            );
            assert_eq!(
                interval.next(begin),
                Some(next.parse().unwrap()),
                "{interval} {at}"
            );
        }
        for interval in Interval::ALL {
            assert_eq!(interval.as_str().parse::<Interval>().unwrap(), interval);
            let last = interval.start(DateTime::<Utc>::MAX_UTC);
            assert_eq!(interval.next(last), None, "{interval}");
            let _ = interval.start(DateTime::<Utc>::MIN_UTC);
        }
        let error = "dya".parse::<Interval>().unwrap_err();
        assert!(error.to_string().contains("did you mean day?"), "{error}");
    }

    #[test]
    fn empty_intervals_are_filled_in_between() {
        let mut histogram = Histogram::new(Interval::Month);
        assert_eq!(histogram.filled().count(), 0);
        for at in ["2013-01-31T00:00:00Z", "2013-04-01T00:00:00Z"] {
            histogram.add(at.parse().unwrap(), "weather", Status::Ready);
        }
        let counts: Vec<_> = histogram
            .filled()
            .map(|(start, facets)| (start.month(), facets.total()))
            .collect();
        assert_eq!(counts, [(1, 1), (2, 0), (3, 0), (4, 1)]);
        assert_eq!(histogram.iter().count(), 2);
        assert_eq!(histogram.total(), 2);
    }
}
