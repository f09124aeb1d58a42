//! [`RunReader`]: reads runs, and keeps what it has decoded of them while there is room.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use redb::ReadOnlyTable;

use super::{Fences, Instants, Places, RunLeaf, Series};
use crate::database::once::get_or_read;
use crate::database::schema::{LEAF_BYTES, RUN_LEAVES};
use crate::error::Result;

/// Decoded leaves of all runs of a database: at most so many bytes are kept.
pub(in crate::database) const KEPT_BYTES_MAX: usize = match cfg!(test) {
    true => 256 * LEAF_BYTES,
    false => 32 << 20,
};

/// What has been decoded of a chunk's run. Commits that leave the run alone share it. Places and instants are kept apart,
/// since whoever counts needs the instants of two leaves only.
#[derive(Default)]
pub(in crate::database) struct RunCache {
    fences: OnceLock<Fences>,
    instants: Cells<Instants>,
    places: Cells<Places>,
}

/// One part of each leaf of a run.
struct Cells<T>(OnceLock<Box<[Cell<T>]>>);

type Cell<T> = OnceLock<Box<Kept<T>>>;

impl<T> Default for Cells<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Cells<T> {
    fn of(&self, leaf: usize) -> &Cell<T> {
        let cells = || (0..RUN_LEAVES).map(|_| OnceLock::new()).collect();
        &self.0.get_or_init(cells)[leaf]
    }
}

/// A part of a leaf, which takes room until nobody has its run any more.
struct Kept<T> {
    part: T,
    kept: KeptLeaves,
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        self.kept.0.fetch_sub(size_of::<T>(), Relaxed);
    }
}

/// How many bytes of decoded leaves of runs are kept, by all views of a database together.
#[derive(Clone, Default)]
pub(in crate::database) struct KeptLeaves(Arc<AtomicUsize>);

impl KeptLeaves {
    /// A part of a leaf to be kept, if there is room.
    fn keep<T: Copy>(&self, part: &T) -> Option<Box<Kept<T>>> {
        let more = |kept: usize| Some(kept + size_of::<T>()).filter(|kept| *kept <= KEPT_BYTES_MAX);
        self.0.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Box::new(Kept {
            part: *part,
            kept: self.clone(),
        }))
    }

    /// How many bytes there are.
    #[cfg(test)]
    pub(in crate::database) fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Reads runs, keeps their leaves while there is room, and counts what it had to read.
pub(in crate::database) struct RunReader<'a> {
    table: &'a ReadOnlyTable<u64, &'static [u8]>,
    series: Series,
    kept: &'a KeptLeaves,
    /// How many were read, by every reader.
    read: &'a AtomicU64,
    /// The last leaf that was read.
    pub(in crate::database) last: LastLeaf,
    pub(in crate::database) leaves_read: u64,
}

/// A leaf of a run, its chunk and its number, that a reader has at hand for its other part, and while no room is left to
/// keep it.
#[derive(Default)]
pub(in crate::database) struct LastLeaf(Option<(u64, usize, Box<RunLeaf>)>);

impl<'a> RunReader<'a> {
    pub(in crate::database) fn new(
        table: &'a ReadOnlyTable<u64, &'static [u8]>,
        series: Series,
        kept: &'a KeptLeaves,
        read: &'a AtomicU64,
    ) -> Self {
        Self {
            table,
            series,
            kept,
            read,
            last: LastLeaf::default(),
            leaves_read: 0,
        }
    }

    pub(in crate::database) fn fences<'c>(
        &self,
        chunk: u64,
        cache: &'c RunCache,
    ) -> Result<&'c Fences> {
        get_or_read(&cache.fences, || {
            Fences::read(self.table, self.series, chunk)
        })
    }

    /// The instants of a leaf.
    pub(super) fn instants<'s>(
        &'s mut self,
        chunk: u64,
        cache: &'s RunCache,
        leaf: usize,
    ) -> Result<&'s Instants> {
        self.part(chunk, cache.instants.of(leaf), leaf, |leaf| &leaf.instants)
    }

    /// The places of a leaf.
    pub(super) fn places<'s>(
        &'s mut self,
        chunk: u64,
        cache: &'s RunCache,
        leaf: usize,
    ) -> Result<&'s Places> {
        self.part(chunk, cache.places.of(leaf), leaf, |leaf| &leaf.places)
    }

    /// A part of a leaf, which is kept in `cell` if there is room.
    fn part<'s, T: Copy>(
        &'s mut self,
        chunk: u64,
        cell: &'s Cell<T>,
        leaf: usize,
        part: impl Fn(&RunLeaf) -> &T,
    ) -> Result<&'s T> {
        if let Some(kept) = cell.get() {
            return Ok(&kept.part);
        }
        let room = self.kept;
        let read = self.read(chunk, leaf)?;
        if let Some(kept) = room.keep(part(read)) {
            return Ok(&cell.get_or_init(|| kept).part);
        }
        self.read(chunk, leaf).map(part)
    }

    /// A leaf, from the table unless it was the last one.
    fn read(&mut self, chunk: u64, leaf: usize) -> Result<&RunLeaf> {
        let last = match self.last.0.take() {
            Some(last) if (last.0, last.1) == (chunk, leaf) => last,
            _ => {
                self.leaves_read += 1;
                self.read.fetch_add(1, Relaxed);
                let read = RunLeaf::read(self.table, self.series, chunk, leaf)?;
                (chunk, leaf, read)
            }
        };
        Ok(&self.last.0.insert(last).2)
    }
}
