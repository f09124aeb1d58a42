//! [`Matching`]: the samples of a query one by one, conditions on fields counted in.
//!
//! Indexes say where to look (`stream.rs`), records are read ahead (`fetch.rs`), and here the conditions are asked of each.
//! Without conditions the stream itself ends at the limit; with them nobody knows before how many rows it takes.

use std::sync::Arc;

use super::fetch::Fetch;
use super::filter::{Filter, Place};
use super::plan::Access;
use super::readers::Readers;
use super::stream::Stream;
use super::view::View;
use crate::error::Result;
use crate::query::Query;
use crate::sample::Sample;

/// Samples that match, in order.
pub(super) struct Matching {
    fetch: Fetch,
    query: Query,
    /// How many more the limit allows, where conditions decide which; the stream keeps it where none do.
    left: Option<u64>,
}

/// What is asked of a query.
pub(super) struct Request<'a> {
    pub(super) view: &'a Arc<View>,
    pub(super) readers: Arc<Readers>,
    pub(super) query: &'a Query,
    pub(super) filter: Filter,
    /// Overrides the planner, in tests.
    pub(super) forced: Option<Access>,
}

impl Matching {
    /// For a caller that may stop at any sample.
    pub(super) fn some(request: Request<'_>) -> Result<Self> {
        Self::open(request, Stream::open, |view, readers, stream, _| {
            Fetch::new(view, readers, stream)
        })
    }

    /// For a caller that wants them all.
    pub(super) fn all(request: Request<'_>) -> Result<Self> {
        Self::open(request, Stream::open, Fetch::all)
    }

    /// For a caller that wants them all, and may [`keep`](Self::keep) what is behind them for the next page.
    pub(super) fn page(request: Request<'_>) -> Result<Self> {
        Self::open(request, Stream::go_on, Fetch::all)
    }

    /// The samples at these places, in this order.
    pub(super) fn at(view: &Arc<View>, readers: Arc<Readers>, places: Vec<Place>) -> Result<Self> {
        let stream = Stream::of_places(Arc::clone(view), places)?;
        Ok(Self {
            fetch: Fetch::new(Arc::clone(view), readers, stream),
            query: Query::new(),
            left: None,
        })
    }

    /// The same without asking the conditions, for a caller that asks them itself and may stop between two records. Indexes have
    /// left out what they can.
    pub(super) fn unasked(self) -> Self {
        Self { left: None, ..self }
    }

    fn open(
        request: Request<'_>,
        stream: fn(Arc<View>, Filter, Option<Access>) -> Result<Stream>,
        fetch: fn(Arc<View>, Arc<Readers>, Stream, u64) -> Fetch,
    ) -> Result<Self> {
        let mut filter = request.filter;
        let limit = filter.limit;
        let has_conditions = !request.query.conditions().is_empty();
        if has_conditions && limit > 0 {
            filter.limit = u64::MAX;
        }
        let stream = stream(Arc::clone(request.view), filter, request.forced)?;
        tracing::debug!(
            name: "planned",
            query = %request.query,
            plan = stream.name(),
            field_indexes = stream.fields().unwrap_or_default().join(", "),
            estimated = stream.estimate().ok(),
            "planned a list"
        );
        Ok(Self {
            fetch: fetch(Arc::clone(request.view), request.readers, stream, limit),
            query: request.query.clone(),
            left: has_conditions.then_some(limit),
        })
    }

    /// The next sample and its place, if it was read ahead and nothing is asked of it.
    pub(super) fn next_ready(&mut self) -> Option<(Place, Sample)> {
        match self.left {
            None => self.fetch.next_ready(),
            Some(_) => None,
        }
    }

    /// The next sample and its place.
    pub(super) fn next(&mut self) -> Result<Option<(Place, Sample)>> {
        let Some(left) = &mut self.left else {
            return self.fetch.next();
        };
        while *left > 0 {
            let Some((place, sample)) = self.fetch.next()? else {
                break;
            };
            if self.query.conditions_match(&sample)? {
                *left -= 1;
                return Ok(Some((place, sample)));
            }
        }
        Ok(None)
    }

    /// Whether there is more behind what the limit allowed. Of samples that match, where conditions decide, so that
    /// they are sought.
    pub(super) fn has_more(&mut self) -> Result<bool> {
        match &mut self.left {
            None => self.fetch.stream.has_more(),
            Some(left) if *left > 0 => Ok(false),
            Some(left) => {
                *left = 1;
                Ok(self.next()?.is_some())
            }
        }
    }

    /// Keeps what is behind this page, whose last sample was at `last`, for whoever asks for the next one.
    pub(super) fn keep(&mut self, last: Place) {
        if self.left.is_none() {
            self.fetch.stream.keep(last);
        }
    }

    /// What is read and looked at.
    pub(super) fn fetch(&self) -> &Fetch {
        &self.fetch
    }
}
