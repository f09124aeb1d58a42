//! [`RunReader`]: reads runs, and keeps what it has decoded of them while there is room.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use redb::ReadOnlyTable;

use super::{Fences, RunLeaf, Series};
use crate::database::once::get_or_read;
use crate::database::schema::{RUN_LEAVES, missing};
use crate::error::Result;

/// Decoded leaves of all runs of a database, 4 KB each: at most so many are kept.
const KEPT_LEAVES_MAX: usize = if cfg!(test) { 256 } else { 8_192 };

/// What has been decoded of a chunk's run. Commits that leave the run alone share it.
#[derive(Default)]
pub(in crate::database) struct RunCache {
    fences: OnceLock<Fences>,
    leaves: OnceLock<Box<[OnceLock<Kept>]>>,
}

/// A leaf, and the room that it takes until nobody has its run any more.
struct Kept {
    leaf: Box<RunLeaf>,
    _room: Room,
}

/// How many decoded leaves of runs are kept, by all views of a database together.
#[derive(Clone, Default)]
pub(in crate::database) struct KeptLeaves(Arc<AtomicUsize>);

/// Room for one of them.
struct Room(KeptLeaves);

impl KeptLeaves {
    fn room(&self) -> Option<Room> {
        let more = |kept| (kept < KEPT_LEAVES_MAX).then_some(kept + 1);
        let taken = self.0.fetch_update(Relaxed, Relaxed, more);
        taken.ok().map(|_| Room(self.clone()))
    }

    /// How many there are.
    #[cfg(test)]
    pub(in crate::database) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// Reads runs, keeps their leaves while there is room, and counts what it had to read.
pub(in crate::database) struct RunReader<'a> {
    table: &'a ReadOnlyTable<u64, &'static [u8]>,
    series: Series,
    kept: &'a KeptLeaves,
    /// How many were read, by every reader.
    read: &'a AtomicU64,
    /// The last leaf that there was no room for.
    pub(in crate::database) last: LastLeaf,
    pub(in crate::database) leaves_read: u64,
}

/// A leaf of a run, its chunk and its number, that a reader has at hand while no room is left to keep it.
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

    pub(super) fn leaf<'s>(
        &'s mut self,
        chunk: u64,
        cache: &'s RunCache,
        leaf: usize,
    ) -> Result<&'s RunLeaf> {
        let cells = cache
            .leaves
            .get_or_init(|| (0..RUN_LEAVES).map(|_| OnceLock::new()).collect());
        if let Some(kept) = cells[leaf].get() {
            return Ok(&kept.leaf);
        }
        let is_last = matches!(&self.last.0, Some(last) if (last.0, last.1) == (chunk, leaf));
        if !is_last {
            self.leaves_read += 1;
            self.read.fetch_add(1, Relaxed);
            let read = RunLeaf::read(self.table, self.series, chunk, leaf)?;
            if let Some(room) = self.kept.room() {
                let kept = Kept {
                    leaf: read,
                    _room: room,
                };
                return Ok(&cells[leaf].get_or_init(|| kept).leaf);
            }
            self.last = LastLeaf(Some((chunk, leaf, read)));
        }
        match &self.last.0 {
            Some((_, _, leaf)) => Ok(leaf),
            None => Err(missing(
                self.series.kind,
                self.series.key(chunk, leaf as u64),
            )),
        }
    }
}
