//! [`Targets`]: which samples are to be removed, in the terms of one view.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Prune;
use crate::database::filter::{Filter, Place, first_row};
use crate::database::matching::Matching;
use crate::database::planes::ANY_STATUS;
use crate::database::readers::Readers;
use crate::database::schema::CHUNK_ROWS;
use crate::database::view::View;
use crate::error::Result;
use crate::query::Query;

/// Samples to be removed: those of a query that come before a place.
pub(super) struct Target {
    pub(super) query: Query,
    /// The oldest sample that is kept.
    pub(super) end: Option<Place>,
}

impl Target {
    fn resolve(&self, view: &View) -> Result<Resolved> {
        let mut before = Filter::resolve(view, &self.query)?;
        let Some(end) = self.end else {
            return Ok(Resolved { before, tied: None });
        };
        let mut tied = before.with_codes(before.codes);
        tied.range.first = end.micros;
        tied.range.last = tied.range.last.min(end.micros);
        before.range.last = before.range.last.min(end.micros.saturating_sub(1));
        let tied = Some((tied, end.row));
        Ok(Resolved { before, tied })
    }
}

/// A target in the terms of one view.
struct Resolved {
    /// What is older than the end.
    before: Filter,
    /// What is of the end's own instant, and the row that ends it.
    tied: Option<(Filter, u64)>,
}

impl Resolved {
    /// The places of a chunk that are to be removed.
    fn rows(&self, view: &View, chunk: u64) -> Result<RoaringBitmap> {
        let mut rows = match self.before.is_nothing() {
            true => RoaringBitmap::new(),
            false => self.before.timed_rows(view, chunk)?,
        };
        if let Some((tied, end)) = &self.tied
            && !tied.is_nothing()
        {
            let end = end.saturating_sub(first_row(chunk)).min(CHUNK_ROWS);
            let mut tied = tied.timed_rows(view, chunk)?;
            tied.remove_range(end as u32..);
            rows |= tied;
        }
        Ok(rows)
    }
}

/// What is to be removed in the terms of one view.
pub(super) struct Targets<'a> {
    pub(super) view: &'a Arc<View>,
    readers: &'a Arc<Readers>,
    /// What every target asks of a record.
    conditions: &'a Query,
    targets: Vec<Resolved>,
}

impl<'a> Targets<'a> {
    pub(super) fn resolve(
        prune: &'a Prune,
        targets: &[Target],
        view: &'a Arc<View>,
        readers: &'a Arc<Readers>,
    ) -> Result<Self> {
        let targets = targets.iter().map(|target| target.resolve(view));
        Ok(Self {
            view,
            readers,
            conditions: &prune.query,
            targets: targets.collect::<Result<_>>()?,
        })
    }

    pub(super) fn has_conditions(&self) -> bool {
        !self.conditions.conditions().is_empty()
    }

    /// The places of a chunk that any target has, conditions left aside where no index of a field answers them.
    pub(super) fn candidates(&self, chunk: u64) -> Result<RoaringBitmap> {
        let view = self.view;
        let mut rows = RoaringBitmap::new();
        if view.chunk(chunk)?.head.in_statuses(ANY_STATUS) > 0 {
            for target in &self.targets {
                rows |= target.rows(view, chunk)?;
            }
        }
        // Every target has the same conditions.
        match self.targets.first() {
            Some(target) if !rows.is_empty() => {
                let rows =
                    target
                        .before
                        .candidates(view, chunk, Arc::new(rows.into()), |_, _| ())?;
                Ok(rows.bitmap.clone())
            }
            _ => Ok(rows),
        }
    }

    /// Of candidates of a chunk, in order, those that are to be removed.
    pub(super) fn matching(&self, chunk: u64, places: &[u32]) -> Result<Vec<u32>> {
        if !self.has_conditions() {
            return Ok(places.to_vec());
        }
        // Nothing asks for their instants.
        let places = places.iter().map(|place| Place {
            micros: 0,
            row: first_row(chunk) + u64::from(*place),
        });
        let places = places.collect();
        let mut matching = Matching::at(self.view, Arc::clone(self.readers), places)?;
        let mut found = Vec::new();
        while let Some((place, sample)) = matching.next()? {
            if self.conditions.conditions_match(&sample)? {
                found.push((place.row - first_row(chunk)) as u32);
            }
        }
        Ok(found)
    }
}
