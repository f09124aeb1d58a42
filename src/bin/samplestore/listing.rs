//! [`Listing`]: what a query gives, and where to go on.

use samplestore::{Cursor, Page, Query, Result, Sample, Samples};

use crate::opening::Reader;

/// How many samples are read at a time while the place behind them must be known.
const PAGE_MAX: u64 = 256;

/// What a query gives, one by one, and where to go on when there was a limit.
pub(crate) struct Listing<'a> {
    reader: &'a Reader,
    query: Query,
    samples: Samples<'a>,
    /// How many may come after those in `samples`.
    rest: u64,
    next: Option<Cursor>,
}

impl<'a> Listing<'a> {
    /// All of it by one question.
    fn whole(reader: &'a Reader, query: &Query) -> Result<Self> {
        Ok(Self {
            reader,
            query: query.clone(),
            samples: reader.iterate(query)?,
            rest: 0,
            next: None,
        })
    }

    /// Page by page where there is a limit, behind which somebody may go on; all of it by one question where there is none.
    pub(crate) fn new(reader: &'a Reader, query: &Query) -> Result<Self> {
        let Some(limit) = query.limit_max() else {
            return Self::whole(reader, query);
        };
        let mut listing = Self {
            reader,
            query: query.clone(),
            samples: Box::new(std::iter::empty()),
            rest: limit,
            next: None,
        };
        listing.turn(query.clone())?;
        Ok(listing)
    }

    /// Where to go on behind the limit, while more may follow.
    pub(crate) fn into_next(self) -> Option<Cursor> {
        self.next
    }

    /// Reads one page.
    fn turn(&mut self, query: Query) -> Result<()> {
        let limit = self.rest.min(PAGE_MAX);
        let Page { samples, next, .. } = self.reader.list(&query.limit(limit))?;
        self.rest -= limit;
        self.next = next;
        self.samples = Box::new(samples.into_iter().map(Ok));
        Ok(())
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<Sample>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(sample) = self.samples.next() {
                return Some(sample);
            }
            if self.rest == 0 {
                return None;
            }
            let query = self.query.clone().cursor(self.next.clone()?);
            if let Err(error) = self.turn(query) {
                self.rest = 0;
                return Some(Err(error));
            }
        }
    }
}
