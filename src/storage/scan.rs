//! Reading by scanning: what a backend inherits that offers [`Storage::scan`](super::Storage::scan)
//! and nothing better.
//!
//! Right before fast: every read looks at every sample, and an iterator holds all that match, which
//! such a backend says in its capabilities (`streaming: false`).

use super::Samples;
use crate::error::Result;
use crate::instant;
use crate::query::{Cursor, Facets, Order, Page, Query};
use crate::sample::{Sample, Status};

/// All samples of a storage in order of rank, from one consistent snapshot.
#[allow(missing_debug_implementations)] // holds an iterator
pub struct Scan<'a> {
    /// Which storage this is: a number that stays the same as long as its cursors should work, and
    /// that no other storage shares.
    pub identity: u64,
    /// The samples, in order of rank.
    pub samples: Box<dyn Iterator<Item = Result<Ranked>> + Send + 'a>,
}

/// A sample and its place among all samples in the order of first storing (rule R4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The place: grows with every new id, is kept on replacement, is never used again.
    pub rank: u64,
    /// The sample.
    pub sample: Sample,
}

/// Where a sample stands in the order: by instant, then by rank.
pub(crate) type Position = (i64, u64);

fn position(ranked: &Ranked) -> Position {
    let micros = instant::floor_micros(ranked.sample.created_at());
    (micros, ranked.rank)
}

/// The bytes of a position in a cursor.
pub(crate) fn encode((micros, rank): Position) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&micros.to_le_bytes());
    bytes[8..].copy_from_slice(&rank.to_le_bytes());
    bytes
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Result<Position> {
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(micros), Some(rank)) if bytes.len() == 16 => {
            Ok((i64::from_le_bytes(*micros), u64::from_le_bytes(*rank)))
        }
        _ => Err(Cursor::malformed()),
    }
}

/// Everything the filters and the cursor let through, in order, the limit not yet applied.
fn select(scan: Scan<'_>, query: &Query) -> Result<Vec<Ranked>> {
    let start = query
        .start()
        .map(|cursor| decode(&cursor.position(scan.identity, query)?))
        .transpose()?;
    let mut selected = Vec::new();
    for ranked in scan.samples {
        let ranked = ranked?;
        let behind = match (start, query.sort_order()) {
            (None, _) => true,
            (Some(start), Order::Oldest) => position(&ranked) > start,
            (Some(start), Order::Newest) => position(&ranked) < start,
        };
        if behind && query.matches(&ranked.sample)? {
            selected.push(ranked);
        }
    }
    selected.sort_by_key(position);
    if query.sort_order() == Order::Newest {
        selected.reverse();
    }
    Ok(selected)
}

fn limit(query: &Query) -> usize {
    query.limit_max().map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

pub(crate) fn list(scan: Scan<'_>, query: &Query) -> Result<Page> {
    let identity = scan.identity;
    let mut selected = select(scan, query)?;
    let more = selected.len() > limit(query);
    selected.truncate(limit(query));
    let next = match selected.last() {
        Some(last) if more => Some(Cursor::new(identity, query, &encode(position(last)))),
        _ => None,
    };
    let samples = selected.into_iter().map(|ranked| ranked.sample).collect();
    Ok(Page::new(samples, next))
}

pub(crate) fn iterate<'a>(scan: Scan<'_>, query: &Query) -> Result<Samples<'a>> {
    let selected = select(scan, query)?;
    Ok(Box::new(
        selected
            .into_iter()
            .take(limit(query))
            .map(|ranked| Ok(ranked.sample)),
    ))
}

/// Of what `query` gives without its limit, the samples in `from`, as many as the limit allows.
///
/// `from` is not made part of the query itself, since a cursor is tied to the filters of its query.
pub(crate) fn in_status<'a>(
    selected: impl Iterator<Item = Result<Sample>> + 'a,
    from: Option<Status>,
    query: &Query,
) -> impl Iterator<Item = Result<Sample>> + 'a {
    let wanted = move |sample: &Sample| from.is_none_or(|from| sample.status() == from);
    selected
        .filter(move |sample| sample.as_ref().map_or(true, wanted))
        .take(limit(query))
}

pub(crate) fn count(scan: Scan<'_>, query: &Query) -> Result<u64> {
    Ok(select(scan, query)?.len().min(limit(query)) as u64)
}

pub(crate) fn facets(scan: Scan<'_>, query: &Query) -> Result<Facets> {
    let mut facets = Facets::new();
    for Ranked { sample, .. } in select(scan, query)?.iter().take(limit(query)) {
        facets.add(sample.pipeline(), sample.status(), 1);
    }
    Ok(facets)
}
