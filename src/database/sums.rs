//! [`Sums`]: whether the pages that redb reads are those that were written last.
//!
//! redb keeps the checksum of each page beside its number, in the branch above it or in the list of tables, and looks at none of them as it
//! reads. The seals of our own values tell damage, but not a page that is as it was at an earlier commit, which a disk that lost a write
//! gives back: its seals hold. Whoever reads a damaged file wants to know. Checksums are XXH3-128 of a page up to the end of its last
//! value or key (redb's `docs/design.md`). What is expected of a page is kept from when the page above it was read, and forgotten when too much
//! else was read since.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use twox_hash::XxHash3_128;

use super::branch::{self, Regions};

/// Pages of which something is expected at a time, some 40 MB.
const EXPECTED_MAX: usize = 1 << 19;

/// Is shown every leaf that may not be the one that was written last.
pub(super) type OnSuspect = Box<dyn Fn(&[u8]) + Send + Sync>;

pub(super) struct Sums {
    expected: Mutex<Expected>,
    on_suspect: OnSuspect,
}

#[derive(Default)]
struct Expected {
    /// By where a page lies.
    pages: HashMap<u64, Page>,
    /// In the order in which they came.
    order: VecDeque<u64>,
}

#[derive(Clone, Copy)]
struct Page {
    sum: u128,
    /// Whether a page above it is not what was expected: then nobody knows what is below.
    is_suspect: bool,
}

impl Sums {
    pub(super) fn new(on_suspect: OnSuspect) -> Self {
        Self {
            expected: Mutex::default(),
            on_suspect,
        }
    }

    /// Looks at a page that was read at `offset`.
    pub(super) fn see(&self, regions: Regions, offset: u64, page: &[u8]) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let of_page = expected.pages.get(&offset).copied();
        let is_suspect = of_page.is_some_and(|of_page| {
            of_page.is_suspect
                || !branch::may_have_sum(page, |bytes| XxHash3_128::oneshot(bytes) == of_page.sum)
        });
        for (number, sum) in branch::sums_below(page) {
            expected.add(regions.start_of(number), Page { sum, is_suspect });
        }
        drop(expected);
        if is_suspect && branch::is_leaf(page) {
            (self.on_suspect)(page);
        }
    }
}

impl Expected {
    fn add(&mut self, offset: u64, page: Page) {
        if self.pages.insert(offset, page).is_none() {
            self.order.push_back(offset);
        }
        if self.order.len() > EXPECTED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.pages.remove(&oldest);
        }
    }
}

impl fmt::Debug for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sums").finish_non_exhaustive()
    }
}
