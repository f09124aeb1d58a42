//! [`Walks`]: where pages ended, for the pages behind them.
//!
//! Who walks through a list asks for each page with the cursor of the one before. To open the list again there is to look at
//! each chunk that may hold the next row: all of them, when samples came in no order of time. So a view keeps the
//! merges of the last few pages by what was asked and where the page ended, and whoever asks for the next page takes one
//! and goes on. Commits publish other views, which begin with none.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::chunk::RowsKey;
use super::filter::Place;
use super::merge::Merge;
use crate::query::{Order, TimeRange};

/// Walks kept, of as many clients.
const WALKS: usize = 4;
/// No larger walk is kept.
const WALK_BYTES_MAX: usize = if cfg!(test) { 120 << 10 } else { 8 << 20 };

/// Which rows a list has, and where one of its pages ended.
#[derive(PartialEq, Eq)]
pub(super) struct WalkKey {
    pub(super) rows: RowsKey,
    pub(super) range: TimeRange,
    pub(super) order: Order,
    pub(super) start: Place,
}

/// A list behind a page.
pub(super) struct Walk {
    pub(super) merge: Merge,
    /// The first place behind the page.
    pub(super) next: Place,
    /// How many chunks lie over each other in time.
    pub(super) overlap: f64,
}

/// Walks of one commit, the latest last.
#[derive(Default)]
pub(super) struct Walks(Mutex<VecDeque<(WalkKey, Walk)>>);

impl Walks {
    /// Takes the walk that goes on at a place, if it is kept.
    pub(super) fn take(&self, key: &WalkKey) -> Option<Walk> {
        let mut walks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = walks.iter().position(|(kept, _)| kept == key)?;
        walks.remove(at).map(|(_, walk)| walk)
    }

    /// Keeps a walk, in place of the oldest one where there are too many.
    pub(super) fn keep(&self, key: WalkKey, walk: Walk) {
        if walk.merge.bytes() > WALK_BYTES_MAX {
            return;
        }
        let mut walks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        walks.retain(|(kept, _)| *kept != key);
        if walks.len() == WALKS {
            walks.pop_front();
        }
        walks.push_back((key, walk));
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
