//! Time runs: the rows of a chunk in order of time.
//!
//! When a chunk fills, its 61,440 rows are sorted by instant and row and written once, as a run of 160
//! leaves with their fences, the first entry of each leaf; the newest chunk, still filling, is sorted in
//! memory ([`Newest`]). So the time index costs 10 bytes a row, is never updated in the middle, and a
//! list in order of time merges a few sorted runs, as a log-structured merge tree does (O'Neil et al.
//! 1996). A row whose instant changes later is *moved*: its entry in the run no longer counts, and
//! where it belongs is seen from the column of `created_at`. A chunk with many such rows gets a new run.
//!
//! What is kept of what was read is `runs/reader.rs`.

mod reader;

use std::ops::Range;

use redb::{ReadableTable, Table};

#[cfg(test)]
pub(super) use reader::KEPT_BYTES_MAX;
pub(super) use reader::{KeptLeaves, LastLeaf, RunCache, RunReader};

use super::failure::{Context, damaged};
use super::mask::Mask;
use super::schema::{
    CHUNK_ROWS, FENCES_LEAF, Kind, LEAF_BYTES, RUN_ENTRIES, RUN_LEAVES, missing, run_key, seal,
    unseal_exact,
};
use crate::error::Result;

/// Which runs of a table: those of `created_at`, or those of the keys of an indexed field (`fields.rs`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    pub(super) kind: Kind,
    /// Added to each key.
    pub(super) base: u64,
}

impl Series {
    pub(super) const CREATED: Self = Self {
        kind: Kind::CreatedRun,
        base: 0,
    };

    /// The key of a leaf of a chunk's run.
    pub(super) fn key(self, chunk: u64, leaf: u64) -> u64 {
        self.base + run_key(chunk, leaf)
    }
}

/// A chunk with more moved rows than this gets a new run.
pub(super) const MOVED_ROWS_MAX: u64 = if cfg!(test) { 24 } else { 2_048 };

/// Instant, and place in the chunk. A place of 2^16 stands behind every row.
pub(super) type Entry = (i64, u32);

const FENCES_BYTES: usize = RUN_LEAVES * 10 + 1;

/// The first entry of each leaf of a run, and what is known of all.
#[derive(Debug, PartialEq)]
pub(super) struct Fences {
    firsts: [Entry; RUN_LEAVES],
    /// Whether the rows of the chunk are in order of time as they are, so that position and place are
    /// the same.
    pub(super) is_ordered: bool,
}

impl Fences {
    pub(super) fn read(
        table: &impl ReadableTable<u64, &'static [u8]>,
        series: Series,
        chunk: u64,
    ) -> Result<Self> {
        let key = series.key(chunk, FENCES_LEAF);
        let guard = table.get(key).context("read the time index")?;
        let guard = guard.ok_or_else(|| missing(series.kind, key))?;
        let bytes = unseal_exact::<FENCES_BYTES>(series.kind, key, guard.value())?;
        let (instants, rest) = bytes.split_at(RUN_LEAVES * 8);
        let (instants, places) = (instants.as_chunks::<8>().0, rest.as_chunks::<2>().0);
        Ok(Self {
            firsts: std::array::from_fn(|leaf| {
                let micros = i64::from_le_bytes(instants[leaf]);
                (micros, u32::from(u16::from_le_bytes(places[leaf])))
            }),
            is_ordered: bytes[FENCES_BYTES - 1] == 1,
        })
    }

    /// Whether this is what it says of the first entry of a leaf.
    pub(super) fn is_first(&self, leaf: usize, entry: Option<Entry>) -> bool {
        self.firsts.get(leaf).copied() == entry
    }

    fn write(
        &self,
        table: &mut Table<'_, u64, &'static [u8]>,
        series: Series,
        chunk: u64,
    ) -> Result<()> {
        let mut bytes = Vec::with_capacity(FENCES_BYTES + 8);
        for (micros, _) in self.firsts {
            bytes.extend(micros.to_le_bytes());
        }
        for (_, place) in self.firsts {
            bytes.extend((place as u16).to_le_bytes());
        }
        bytes.push(u8::from(self.is_ordered));
        write_leaf(table, series, chunk, FENCES_LEAF, bytes)
    }
}

/// Writes the run of a full chunk, in place of an older one.
pub(super) fn write_run(
    table: &mut Table<'_, u64, &'static [u8]>,
    series: Series,
    chunk: u64,
    instants: &[i64],
) -> Result<()> {
    let order = sort(instants);
    let mut fences = Fences {
        firsts: [(0, 0); RUN_LEAVES],
        is_ordered: is_identity(&order),
    };
    for (leaf, places) in order.chunks(RUN_ENTRIES).enumerate() {
        let instant = |place: &u16| instants[usize::from(*place)];
        let mut bytes = Vec::with_capacity(LEAF_BYTES + 8);
        bytes.extend(places.iter().flat_map(|place| instant(place).to_le_bytes()));
        bytes.extend(places.iter().flat_map(|place| place.to_le_bytes()));
        write_leaf(table, series, chunk, leaf as u64, bytes)?;
        fences.firsts[leaf] = (instant(&places[0]), u32::from(places[0]));
    }
    fences.write(table, series, chunk)
}

fn write_leaf(
    table: &mut Table<'_, u64, &'static [u8]>,
    series: Series,
    chunk: u64,
    leaf: u64,
    mut bytes: Vec<u8>,
) -> Result<()> {
    let key = series.key(chunk, leaf);
    seal(series.kind, key, &mut bytes);
    table
        .insert(key, bytes.as_slice())
        .context("write the time index")?;
    Ok(())
}

/// The places of these instants in order of instant and place.
fn sort(instants: &[i64]) -> Vec<u16> {
    // A chunk has fewer than 2^16 rows.
    let mut order: Vec<u16> = (0..instants.len()).map(|place| place as u16).collect();
    order.sort_by_key(|place| instants[usize::from(*place)]);
    order
}

fn is_identity(order: &[u16]) -> bool {
    order
        .iter()
        .enumerate()
        .all(|(at, place)| at == usize::from(*place))
}

/// The instants of a leaf of a run.
type Instants = [i64; RUN_ENTRIES];
/// The places of a leaf of a run.
type Places = [u16; RUN_ENTRIES];

/// One leaf of a run.
struct RunLeaf {
    instants: Instants,
    places: Places,
}

impl RunLeaf {
    fn read(
        table: &impl ReadableTable<u64, &'static [u8]>,
        series: Series,
        chunk: u64,
        leaf: usize,
    ) -> Result<Box<Self>> {
        let key = series.key(chunk, leaf as u64);
        let guard = table.get(key).context("read the time index")?;
        let guard = guard.ok_or_else(|| missing(series.kind, key))?;
        let bytes = unseal_exact::<LEAF_BYTES>(series.kind, key, guard.value())?;
        let (instants, places) = bytes.split_at(RUN_ENTRIES * 8);
        let (instants, places) = (instants.as_chunks::<8>().0, places.as_chunks::<2>().0);
        let leaf = Box::new(Self {
            instants: std::array::from_fn(|at| i64::from_le_bytes(instants[at])),
            places: std::array::from_fn(|at| u16::from_le_bytes(places[at])),
        });
        if leaf
            .places
            .iter()
            .any(|place| u64::from(*place) >= CHUNK_ROWS)
        {
            return Err(damaged("read the time index", "a place is out of range"));
        }
        Ok(leaf)
    }

    fn entry(&self, at: usize) -> Entry {
        (self.instants[at], u32::from(self.places[at]))
    }
}

/// The entries of a leaf of a run, in order.
pub(super) fn read_leaf(
    table: &impl ReadableTable<u64, &'static [u8]>,
    series: Series,
    chunk: u64,
    leaf: usize,
) -> Result<Vec<Entry>> {
    let leaf = RunLeaf::read(table, series, chunk, leaf)?;
    Ok((0..RUN_ENTRIES).map(|at| leaf.entry(at)).collect())
}

/// The rows of the newest chunk, in memory.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The instant of each row.
    pub(super) created: Vec<i64>,
    /// The pipeline number of each row.
    pub(super) pipelines: Vec<u32>,
    /// The places in order of instant and place.
    order: Vec<u16>,
    /// Whether that is the order of the places themselves.
    pub(super) is_ordered: bool,
}

impl Newest {
    /// The rows of `base`, which must not have changed, and those that came after.
    pub(super) fn extend(base: Option<&Self>, created: &[i64], pipelines: &[u32]) -> Self {
        let mut all = Self {
            created: base.map(|base| base.created.clone()).unwrap_or_default(),
            pipelines: base.map(|base| base.pipelines.clone()).unwrap_or_default(),
            order: base.map(|base| base.order.clone()).unwrap_or_default(),
            is_ordered: false,
        };
        let first = all.created.len();
        all.created.extend(created);
        all.pipelines.extend(pipelines);
        all.order
            .extend((first..all.created.len()).map(|place| place as u16));
        // A stable sort finds what is sorted already and merges it, and equal instants stay in order.
        all.order
            .sort_by_key(|place| all.created[usize::from(*place)]);
        all.is_ordered = is_identity(&all.order);
        all
    }
}

/// The rows of a chunk in order of time: a full chunk's run, or the newest chunk in memory.
pub(super) enum Timeline<'a> {
    Run {
        chunk: u64,
        fences: &'a Fences,
        cache: &'a RunCache,
    },
    Newest(&'a Newest),
}

impl Timeline<'_> {
    /// Whether position and place are the same.
    pub(super) fn is_ordered(&self) -> bool {
        match self {
            Self::Run { fences, .. } => fences.is_ordered,
            Self::Newest(newest) => newest.is_ordered,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Run { .. } => CHUNK_ROWS as usize,
            Self::Newest(newest) => newest.order.len(),
        }
    }

    /// The position of the first entry that is not before `bound`.
    pub(super) fn position(&self, reader: &mut RunReader<'_>, bound: Entry) -> Result<usize> {
        match self {
            Self::Run {
                chunk,
                fences,
                cache,
            } => {
                let leaf = fences.firsts.partition_point(|first| *first < bound);
                let Some(leaf) = leaf.checked_sub(1) else {
                    return Ok(0);
                };
                // Entries of one leaf are sorted, so a search within it is right.
                let instants = reader.instants(*chunk, cache, leaf)?;
                let before = instants.partition_point(|micros| *micros < bound.0);
                let ties = instants[before..].partition_point(|micros| *micros == bound.0);
                let tied_before = match ties {
                    0 => 0,
                    _ => reader.places(*chunk, cache, leaf)?[before..before + ties]
                        .partition_point(|place| u32::from(*place) < bound.1),
                };
                Ok(leaf * RUN_ENTRIES + before + tied_before)
            }
            Self::Newest(newest) => Ok(newest.order.partition_point(|place| {
                (newest.created[usize::from(*place)], u32::from(*place)) < bound
            })),
        }
    }

    /// The instant of the entry at a position.
    pub(super) fn instant(&self, reader: &mut RunReader<'_>, position: usize) -> Result<i64> {
        match self {
            Self::Run { chunk, cache, .. } => {
                let instants = reader.instants(*chunk, cache, position / RUN_ENTRIES)?;
                Ok(instants[position % RUN_ENTRIES])
            }
            Self::Newest(newest) => Ok(newest.created[usize::from(newest.order[position])]),
        }
    }

    /// The first entry at these positions, or the last one when `from_end`, whose place is one of
    /// `wanted`. Takes what it passed off `positions`.
    pub(super) fn next_of(
        &self,
        reader: &mut RunReader<'_>,
        positions: &mut Range<usize>,
        from_end: bool,
        wanted: &Mask,
    ) -> Result<Option<Entry>> {
        match self {
            Self::Newest(newest) => {
                let is_wanted = |place: &u16| wanted.contains(u32::from(*place));
                let found = find(&newest.order[positions.clone()], from_end, is_wanted);
                Ok(take_found(positions, from_end, found).map(|position| {
                    let place = newest.order[position];
                    (newest.created[usize::from(place)], u32::from(place))
                }))
            }
            Self::Run { chunk, cache, .. } => {
                while positions.start < positions.end {
                    let first = if from_end {
                        positions.end - 1
                    } else {
                        positions.start
                    };
                    let leaf = first / RUN_ENTRIES;
                    let base = leaf * RUN_ENTRIES;
                    let places = reader.places(*chunk, cache, leaf)?;
                    let mut in_leaf = positions.start.max(base) - base
                        ..positions.end.min(base + RUN_ENTRIES) - base;
                    let is_wanted = |place: &u16| wanted.contains(u32::from(*place));
                    let found = find(&places[in_leaf.clone()], from_end, is_wanted);
                    let position = take_found(&mut in_leaf, from_end, found);
                    let hit = position.map(|position| (position, u32::from(places[position])));
                    if from_end {
                        positions.end = base + in_leaf.end;
                    } else {
                        positions.start = base + in_leaf.start;
                    }
                    if let Some((position, place)) = hit {
                        let instants = reader.instants(*chunk, cache, leaf)?;
                        return Ok(Some((instants[position], place)));
                    }
                }
                Ok(None)
            }
        }
    }

    /// Calls `each` with the place of every entry at these positions.
    pub(super) fn places(
        &self,
        reader: &mut RunReader<'_>,
        positions: Range<usize>,
        mut each: impl FnMut(u32),
    ) -> Result<()> {
        match self {
            Self::Run { chunk, cache, .. } => {
                let mut position = positions.start;
                while position < positions.end {
                    let leaf = position / RUN_ENTRIES;
                    let end = positions.end.min((leaf + 1) * RUN_ENTRIES);
                    let (from, to) = (position - leaf * RUN_ENTRIES, end - leaf * RUN_ENTRIES);
                    reader.places(*chunk, cache, leaf)?[from..to]
                        .iter()
                        .for_each(|place| each(u32::from(*place)));
                    position = end;
                }
            }
            Self::Newest(newest) => {
                newest.order[positions]
                    .iter()
                    .for_each(|place| each(u32::from(*place)));
            }
        }
        Ok(())
    }
}

/// Where the first wanted place is, or the last one when `from_end`.
fn find(places: &[u16], from_end: bool, is_wanted: impl Fn(&u16) -> bool) -> Option<usize> {
    if from_end {
        places.iter().rposition(is_wanted)
    } else {
        places.iter().position(is_wanted)
    }
}

/// Takes off `positions` what was passed to find the one at `found` (all of them, without a find), and
/// says which that is.
fn take_found(positions: &mut Range<usize>, from_end: bool, found: Option<usize>) -> Option<usize> {
    let position = found.map(|found| positions.start + found);
    match (position, from_end) {
        (Some(position), false) => positions.start = position + 1,
        (Some(position), true) => positions.end = position,
        (None, false) => positions.start = positions.end,
        (None, true) => positions.end = positions.start,
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_rows_are_in_order_of_instant_and_place() {
        let first = Newest::extend(None, &[5, 1, 5], &[0, 0, 0]);
        assert_eq!(first.order, [1, 0, 2]);
        assert!(!first.is_ordered);
        let more = Newest::extend(Some(&first), &[5, 0], &[1, 1]);
        assert_eq!(more.order, [4, 1, 0, 2, 3]);
        assert!(Newest::extend(None, &[1, 1, 2], &[0; 3]).is_ordered);
    }
}
