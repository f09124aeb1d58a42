//! What to look for: [`Query`], [`Selection`], [`Order`], [`Cursor`], [`Page`], [`Facets`] and [`Histogram`].
//!
//! Pure values that know no backend. Rules R2–R6 and R10 of the contract are about them. Their text
//! form, the command line's own words, lives in `query/text.rs`, instants in words in `query/when.rs`; cursors in
//! `query/cursor.rs`, conditions on fields in `query/condition.rs`.

mod condition;
mod cursor;
mod facets;
mod histogram;
mod text;
mod when;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::hash::Hasher;

use twox_hash::XxHash3_64;

pub(crate) use condition::{ABSENT, Keys};
pub use condition::{Condition, Field};
pub use cursor::Cursor;
pub use facets::{Facet, Facets};
pub use histogram::{Histogram, Interval};
pub(crate) use text::nearest;
pub use text::{FILTERS, Filter};
pub use when::{parse_instant, parse_span};

use crate::error::Result;
use crate::instant;
use crate::sample::{Sample, Status};

/// In which order samples come.
///
/// The order is by `created_at`; samples of the same instant come as they were first stored. Newest
/// first is the exact reverse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first.
    #[default]
    Oldest,
    /// Newest first.
    Newest,
}

/// A filter, an order and a place to start: what a list, a count or an iterator is about.
///
/// Filters of different kinds must all hold; of several pipelines, statuses or ids any one does
/// (rule R2). The empty query means every sample.
///
/// ```
/// use chrono::{TimeZone, Utc};
/// use samplestore::{Query, Status};
///
/// let june = Utc.with_ymd_and_hms(2013, 6, 1, 0, 0, 0).unwrap();
/// let query = Query::new()
///     .pipeline("JFK")
///     .status(Status::Ready)
///     .since(june)
///     .newest_first()
///     .limit(50);
/// assert_eq!(
///     query.to_string(),
///     "--pipeline JFK --status ready --since 2013-06-01T00:00:00Z --newest --limit 50"
/// );
/// assert_eq!(query.to_string().parse::<Query>()?, query);
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "a query does nothing until a storage is asked"]
pub struct Query {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pipelines: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    statuses: BTreeSet<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Condition>,
    order: Order,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
}

impl Query {
    /// Every sample, oldest first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only samples of this pipeline, or of another one named so.
    pub fn pipeline(mut self, pipeline: impl Into<String>) -> Self {
        self.pipelines.insert(pipeline.into());
        self
    }

    /// Only samples of this status, or of another one named so.
    pub fn status(mut self, status: Status) -> Self {
        self.statuses.insert(status);
        self
    }

    /// Only the sample of this id, or of another one named so.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.ids.get_or_insert_default().insert(id.into());
        self
    }

    /// Only samples of these ids; with none at all, no sample.
    pub fn ids<I: IntoIterator<Item: Into<String>>>(mut self, ids: I) -> Self {
        let set = self.ids.get_or_insert_default();
        set.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Only samples of these ids, whichever were named before.
    pub fn only_ids<I: IntoIterator<Item: Into<String>>>(mut self, ids: I) -> Self {
        self.ids = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Only samples created strictly later than `instant`.
    pub fn after(mut self, instant: DateTime<Utc>) -> Self {
        self.after = Some(instant);
        self
    }

    /// Only samples created strictly earlier than `instant`.
    pub fn before(mut self, instant: DateTime<Utc>) -> Self {
        self.before = Some(instant);
        self
    }

    /// Only samples created at `instant` or later.
    pub fn since(mut self, instant: DateTime<Utc>) -> Self {
        self.since = Some(instant);
        self
    }

    /// Only samples created at `instant` or earlier.
    pub fn until(mut self, instant: DateTime<Utc>) -> Self {
        self.until = Some(instant);
        self
    }

    /// Only samples of whose fields this is true; several conditions must all be.
    ///
    /// Indexes of the other filters come first, and of a declared index of the field: see
    /// [`Database::create_index`](crate::Database::create_index).
    ///
    /// ```
    /// use samplestore::{Query, Status};
    ///
    /// let query = Query::new()
    ///     .status(Status::Ready)
    ///     .condition("measurements.temp > 30 and data.origin in ('JFK', 'LGA')".parse()?);
    /// # Ok::<(), samplestore::Error>(())
    /// ```
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Sets the order.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Newest first, in place of oldest first.
    pub fn newest_first(self) -> Self {
        self.order(Order::Newest)
    }

    /// At most so many samples; 0 gives none.
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Goes on behind the place that the cursor of a [`Page`] stands for.
    pub fn cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// Without limit and cursor: the filters and the order alone.
    pub fn without_paging(mut self) -> Self {
        self.limit = None;
        self.cursor = None;
        self
    }

    /// The same filters for these ids alone, of which all conditions are known to be true; without limit and cursor.
    #[cfg(feature = "delta")]
    pub(crate) fn narrowed_to(mut self, ids: BTreeSet<String>) -> Self {
        self.ids = Some(ids);
        self.conditions = Vec::new();
        self.without_paging()
    }

    /// Only samples created strictly earlier than `instant`, and than what was asked before.
    pub(crate) fn also_before(self, instant: DateTime<Utc>) -> Self {
        let before = self.before.map_or(instant, |before| before.min(instant));
        self.before(before)
    }

    /// The same of one pipeline, whichever were asked for.
    pub(crate) fn of_pipeline(mut self, pipeline: &str) -> Self {
        self.pipelines = BTreeSet::from([pipeline.to_owned()]);
        self
    }

    /// The same of any instant.
    pub(crate) fn of_any_time(mut self) -> Self {
        (self.after, self.before, self.since, self.until) = (None, None, None, None);
        self
    }

    /// The pipelines asked for; none means any.
    #[must_use]
    pub fn pipelines(&self) -> &BTreeSet<String> {
        &self.pipelines
    }

    /// The statuses asked for; none means any.
    #[must_use]
    pub fn statuses(&self) -> &BTreeSet<Status> {
        &self.statuses
    }

    /// The ids asked for, or `None` for any.
    #[must_use]
    pub fn id_set(&self) -> Option<&BTreeSet<String>> {
        self.ids.as_ref()
    }

    /// The conditions on fields, all of which must be true.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The instants asked for, all four bounds taken together.
    #[must_use]
    pub fn time_range(&self) -> TimeRange {
        let mut range = TimeRange::ALL;
        if let Some(after) = self.after {
            range.first = range
                .first
                .max(instant::floor_micros(after).saturating_add(1));
        }
        if let Some(since) = self.since {
            range.first = range.first.max(instant::ceil_micros(since));
        }
        if let Some(before) = self.before {
            range.last = range
                .last
                .min(instant::ceil_micros(before).saturating_sub(1));
        }
        if let Some(until) = self.until {
            range.last = range.last.min(instant::floor_micros(until));
        }
        range
    }

    /// The order asked for.
    #[must_use]
    pub fn sort_order(&self) -> Order {
        self.order
    }

    /// The limit, if there is one.
    #[must_use]
    pub fn limit_max(&self) -> Option<u64> {
        self.limit
    }

    /// The cursor to go on behind, if there is one.
    #[must_use]
    pub fn start(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// Whether the filters hold for `sample`. Limit and cursor have no part in it.
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode) when a condition is asked of a damaged payload.
    pub fn matches(&self, sample: &Sample) -> Result<bool> {
        Ok(self.filters_match(sample) && self.conditions_match(sample)?)
    }

    fn filters_match(&self, sample: &Sample) -> bool {
        (self.pipelines.is_empty() || self.pipelines.contains(sample.pipeline()))
            && (self.statuses.is_empty() || self.statuses.contains(&sample.status()))
            && self
                .ids
                .as_ref()
                .is_none_or(|ids| ids.contains(sample.id()))
            && self
                .time_range()
                .contains(instant::floor_micros(sample.created_at()))
    }

    /// Whether every condition is true of `sample`; the other filters have no part in it.
    pub(crate) fn conditions_match(&self, sample: &Sample) -> Result<bool> {
        for condition in &self.conditions {
            if !condition.matches(sample)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A hash of the filters and the order, which ties a cursor to its query. XXH3, 64 bits; stable,
    /// since cursors outlive the process.
    fn fingerprint(&self) -> u64 {
        let mut hash = XxHash3_64::new();
        let mut text = |text: &str| {
            hash.write(&(text.len() as u64).to_le_bytes());
            hash.write(text.as_bytes());
        };
        text("pipelines");
        self.pipelines.iter().for_each(|name| text(name));
        text("statuses");
        self.statuses
            .iter()
            .for_each(|status| text(status.as_str()));
        if let Some(ids) = &self.ids {
            text("ids");
            ids.iter().for_each(|id| text(id));
        }
        for condition in &self.conditions {
            text("condition");
            text(&condition.to_string());
        }
        text(match self.order {
            Order::Oldest => "oldest",
            Order::Newest => "newest",
        });
        let range = self.time_range();
        hash.write(&range.first.to_le_bytes());
        hash.write(&range.last.to_le_bytes());
        hash.finish()
    }
}

/// A span of instants in microseconds since 1970, both ends included; empty when `first > last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first instant inside.
    pub first: i64,
    /// The last instant inside.
    pub last: i64,
}

impl TimeRange {
    /// Every instant.
    pub const ALL: Self = Self {
        first: i64::MIN,
        last: i64::MAX,
    };

    /// Whether no instant is inside.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// Whether `micros` is inside.
    #[must_use]
    pub fn contains(self, micros: i64) -> bool {
        self.first <= micros && micros <= self.last
    }
}

/// Which samples to move or delete: some ids, or all that a query gives (its limit and cursor
/// counted in, so that "the 100 oldest" can be selected).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// The samples of these ids; those that do not exist are passed over.
    Ids(BTreeSet<String>),
    /// The samples that this query gives.
    Query(Query),
}

impl Selection {
    /// The samples of these ids.
    pub fn ids<I: IntoIterator<Item: Into<String>>>(ids: I) -> Self {
        Self::Ids(ids.into_iter().map(Into::into).collect())
    }

    /// The same selection as a query.
    pub fn to_query(&self) -> Query {
        match self {
            Self::Ids(ids) => Query::new().ids(ids.iter().cloned()),
            Self::Query(query) => query.clone(),
        }
    }
}

impl From<Query> for Selection {
    fn from(query: Query) -> Self {
        Self::Query(query)
    }
}

impl From<&str> for Selection {
    fn from(id: &str) -> Self {
        Self::ids([id])
    }
}

/// Some samples in order, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The samples, in the order asked for.
    pub samples: Vec<Sample>,
    /// Where the next page starts, while more may follow.
    pub next: Option<Cursor>,
}

impl Page {
    /// A page of these samples.
    #[must_use]
    pub fn new(samples: Vec<Sample>, next: Option<Cursor>) -> Self {
        Self { samples, next }
    }
}
