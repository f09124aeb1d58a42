//! [`KeptBlocks`]: blocks that short lists read lately, kept at hand.
//!
//! Who shows the newest samples asks for the same few again and again. Their pages are in redb's cache, but the
//! way to each leads through the tree. A view keeps some of them, in sets of four found by the block's first row; longer
//! lists and scans, which would only drive them out, leave them alone.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, OnceLock, PoisonError};

use redb::OwnedAccessGuard;

use super::metrics::Counters;
use crate::error::Result;

/// A block as redb gives it, with a hold on its transaction, so that no commit gives its pages away while it is kept.
pub(super) type KeptBlock = OwnedAccessGuard<&'static [u8]>;

/// Sets of blocks. With [`WAYS`] blocks in each they keep at most 4 MiB of pages from being let go of.
const SETS: usize = 64;
/// Blocks of a set. With two, one in fifty blocks of a list had no room for long.
const WAYS: usize = 4;
/// No longer block is kept.
const KEPT_BYTES_MAX: usize = 16 << 10;

/// The last one that was read comes first.
type Set = [Option<(u64, KeptBlock)>; WAYS];

/// Blocks of one commit, by first row.
#[derive(Default)]
pub(super) struct KeptBlocks {
    sets: OnceLock<Box<[Mutex<Set>]>>,
}

impl KeptBlocks {
    /// What `see` makes of the block that begins with a row, read by `read` unless it is kept. Nobody else sees the
    /// blocks of its set meanwhile, which is cheaper than to share it for as long as a few records take.
    pub(super) fn with<T>(
        &self,
        counters: &Counters,
        first: u64,
        read: impl FnOnce() -> Result<KeptBlock>,
        see: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let sets = self
            .sets
            .get_or_init(|| (0..SETS).map(|_| Mutex::default()).collect());
        // The multiplier spreads neighbours: 2^64 over the golden ratio.
        let hash = first.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let set = &sets[hash as usize % SETS];
        {
            let set = set.lock().unwrap_or_else(PoisonError::into_inner);
            let mut kept = set.iter().flatten();
            if let Some((_, block)) = kept.find(|(row, _)| *row == first) {
                counters.kept_block_hits.fetch_add(1, Relaxed);
                return see(block.value());
            }
        }
        counters.kept_block_misses.fetch_add(1, Relaxed);
        let block = read()?;
        let seen = see(block.value());
        if block.value().len() <= KEPT_BYTES_MAX {
            let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
            set.rotate_right(1);
            set[0] = Some((first, block));
        }
        seen
    }
}
