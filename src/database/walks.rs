//! [`Walks`]: where pages ended, for the pages behind them.
//!
//! Who walks through a list asks for each page with the cursor of the one before. To open the list again there is to look at
//! each chunk that may hold the next row: all of them, when samples came in no order of time. So a view keeps the
//! merges of the last few pages by what was asked and where the page ended, and whoever asks for the next page takes one
//! and goes on. [`Starts`] are the same for first pages, with what is known of the first hit of each chunk. Commits publish other views, which begin
//! with none.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, RwLock};

use super::chunk::RowsKey;
use super::filter::Place;
use super::merge::{Merge, Start};
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

/// Starts kept: of as many lists that are asked for again and again.
const STARTS: usize = 4;

/// Where lists of one commit begin, the latest last, each with how many chunks lie over each other in time.
#[derive(Default)]
pub(super) struct Starts(RwLock<VecDeque<(RowsKey, Order, Start, f64)>>);

impl Starts {
    /// Where the list of these rows begins in this order, if it is kept.
    pub(super) fn get(&self, rows: &RowsKey, order: Order) -> Option<(Merge, f64)> {
        let starts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |start: &&(RowsKey, Order, _, _)| start.1 == order && start.0 == *rows;
        let (_, _, start, overlap) = starts.iter().find(is_it)?;
        Some((Merge::from_start(order, start.clone()), *overlap))
    }

    /// Keeps where one begins, in place of the oldest where there are too many.
    pub(super) fn keep(&self, rows: RowsKey, order: Order, start: Start, overlap: f64) {
        let mut starts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        starts.retain(|(kept, of_order, ..)| *of_order != order || *kept != rows);
        if starts.len() == STARTS {
            starts.pop_front();
        }
        starts.push_back((rows, order, start, overlap));
    }

    /// Keeps none for the list of these rows in this order: more is known of their chunks.
    pub(super) fn forget(&self, rows: &RowsKey, order: Order) {
        let mut starts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        starts.retain(|(kept, of_order, ..)| *of_order != order || kept != rows);
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let starts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        starts.len()
    }
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
