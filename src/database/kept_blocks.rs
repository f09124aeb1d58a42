//! [`KeptBlocks`]: blocks that short lists read lately, kept at hand.
//!
//! Who shows the newest samples asks for the same few again and again. Their pages are in redb's cache, but the
//! way to each leads through the tree. A view keeps some of them, in pairs found by the block's first row; longer
//! lists and scans, which would only drive them out, leave them alone.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use redb::OwnedAccessGuard;

use super::metrics::Counters;
use crate::error::Result;

/// A block as redb gives it, with a hold on its transaction, so that no commit gives its pages away while it is kept.
pub(super) type KeptBlock = OwnedAccessGuard<&'static [u8]>;

/// Pairs of blocks. They keep at most 4 MiB of pages from being let go of.
const PAIRS: usize = 128;
/// No longer block is kept.
const KEPT_BYTES_MAX: usize = 16 << 10;

type Pair = [Option<(u64, Arc<KeptBlock>)>; 2];

/// Blocks of one commit, by first row.
#[derive(Default)]
pub(super) struct KeptBlocks {
    pairs: OnceLock<Box<[Mutex<Pair>]>>,
}

impl KeptBlocks {
    /// The block that begins with a row, read by `read` unless it is kept.
    pub(super) fn get_or_read(
        &self,
        counters: &Counters,
        first: u64,
        read: impl FnOnce() -> Result<KeptBlock>,
    ) -> Result<Arc<KeptBlock>> {
        let pairs = self
            .pairs
            .get_or_init(|| (0..PAIRS).map(|_| Mutex::default()).collect());
        // The multiplier spreads neighbours: 2^64 over the golden ratio.
        let hash = first.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let pair = &pairs[hash as usize % PAIRS];
        let kept = |pair: &Pair| {
            let mut kept = pair.iter().flatten();
            let (_, block) = kept.find(|(row, _)| *row == first)?;
            Some(Arc::clone(block))
        };
        if let Some(block) = kept(&pair.lock().unwrap_or_else(PoisonError::into_inner)) {
            counters.kept_block_hits.fetch_add(1, Relaxed);
            return Ok(block);
        }
        counters.kept_block_misses.fetch_add(1, Relaxed);
        let block = Arc::new(read()?);
        if block.value().len() <= KEPT_BYTES_MAX {
            let mut pair = pair.lock().unwrap_or_else(PoisonError::into_inner);
            pair.swap(0, 1);
            pair[0] = Some((first, Arc::clone(&block)));
        }
        Ok(block)
    }
}
