//! [`Stats`]: what a database holds and how large it is.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::clear::bytes_to_be_cleared;
use super::fields::{IndexStats, index_stats};
use super::ids::PAIR_BYTES;
use super::pack::dead_bytes;
use super::schema::{FORMAT_VERSION, size_of};
use super::snapshot::Snapshot;
use super::view::View;
use crate::error::Result;
use crate::instant;
use crate::query::{Facets, Query};

/// What a [`Database`](super::Database) holds and how large it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Samples in all.
    pub samples: u64,
    /// Samples per pipeline and status.
    pub facets: Facets,
    /// `created_at` of the oldest sample.
    pub first: Option<DateTime<Utc>>,
    /// `created_at` of the newest sample.
    pub last: Option<DateTime<Utc>>,
    /// The indexes of fields.
    pub indexes: Vec<IndexStats>,
    /// The version of the file format.
    pub format_version: u32,
    /// The size of the file.
    pub file_bytes: u64,
    /// Bytes by which [`compact`](super::Database::compact) would make the file smaller, about: pages that are free, records that were
    /// replaced or deleted, pairs of ids of samples that are gone, and what indexes have of rows all of whose neighbours are gone too.
    pub reclaimable_bytes: u64,
    /// The size of each table, the largest first.
    pub tables: Vec<TableStats>,
}

/// The size of one table of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableStats {
    /// Its name, as the chapter on the file format has it.
    pub name: &'static str,
    /// Its entries.
    pub entries: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes of the pages it has.
    pub allocated_bytes: u64,
}

/// The figures of a file of `file_bytes`, in which redb's part begins at `base`.
pub(super) fn stats(view: &View, snapshot: &Snapshot, file_bytes: u64, base: u64) -> Result<Stats> {
    let mut sizes = view.tables.sizes()?;
    if let Some(table) = view.field_table() {
        sizes.push(size_of("fields", table)?);
    }
    let mut tables: Vec<TableStats> = sizes
        .into_iter()
        .map(|(name, entries, used_bytes, allocated_bytes)| TableStats {
            name,
            entries,
            used_bytes,
            allocated_bytes,
        })
        .collect();
    tables.sort_by_key(|table| std::cmp::Reverse(table.allocated_bytes));
    let allocated: u64 = tables.iter().map(|table| table.allocated_bytes).sum();
    let free = file_bytes.saturating_sub(base).saturating_sub(allocated);
    let left_behind = bytes_to_be_cleared(view)?;
    let dead = dead_bytes(view)? + view.state.stale_ids * PAIR_BYTES + left_behind;
    let all = Query::new();
    Ok(Stats {
        samples: view.state.samples(),
        facets: snapshot.facets(&all)?,
        first: snapshot.first_instant(&all)?.and_then(instant::from_micros),
        last: snapshot
            .first_instant(&all.newest_first())?
            .and_then(instant::from_micros),
        indexes: index_stats(view)?,
        format_version: FORMAT_VERSION,
        file_bytes,
        reclaimable_bytes: free + dead,
        tables,
    })
}
