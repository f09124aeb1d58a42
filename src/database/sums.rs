//! [`Sums`]: whether the pages that redb reads are those that were written last.
//!
//! redb keeps the checksum of each page beside its number, in the branch above it or in the list of tables, and looks at none of them as it
//! reads. The seals of our own values tell damage, but there are two things that they do not. One is a page that is as it was at an earlier commit,
//! which a disk that lost a write gives back: its seals hold. Whoever reads a damaged file wants to know. The other is what redb itself
//! keeps, such as the pages that it is going to free: where these are wrong it panics, and again while it unwinds, which ends the process. Checksums are
//! XXH3-128 of a page up to the end of its last value or key (redb's `docs/design.md`). What is expected of a page is kept from when the page above
//! it was read, and forgotten when too much else was read since, or when the page is written.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use twox_hash::XxHash3_128;

use super::branch::{self, Regions};

/// Pages of which something is expected at a time, some 40 MB where all are.
const EXPECTED_MAX: usize = 1 << 19;
/// Words of bits for places: redb's own tables have some dozen pages.
const PLACE_WORDS: usize = 32;

/// Is shown every leaf that may not be the one that was written last.
pub(super) type OnSuspect = Box<dyn Fn(&[u8]) + Send + Sync>;

/// What is expected of pages.
#[derive(Default)]
pub(super) struct Sums {
    expected: Mutex<Expected>,
    /// Bits of the places of these pages, so that of most others nothing needs to be looked up.
    places: [AtomicU64; PLACE_WORDS],
    /// Where all pages are looked at: else only those of redb's own tables, and one that is another is refused.
    on_suspect: Option<OnSuspect>,
}

#[derive(Default)]
struct Expected {
    /// By where a page lies.
    pages: HashMap<u64, Page>,
    /// In the order in which they came, some of them gone.
    order: VecDeque<u64>,
}

#[derive(Clone, Copy)]
struct Page {
    sum: u128,
    /// Whether a page above it is not what was expected: then nobody knows what is below.
    is_suspect: bool,
}

impl Sums {
    /// Looks at all pages.
    pub(super) fn of_all(on_suspect: OnSuspect) -> Self {
        Self {
            on_suspect: Some(on_suspect),
            ..Self::default()
        }
    }

    /// Looks at a page that was read at `offset`, and says whether it is to be refused. `is_own` says whether this process wrote it, so
    /// that checksums in it may not be made yet.
    pub(super) fn see(
        &self,
        offset: u64,
        page: &[u8],
        is_own: impl FnOnce() -> bool,
        regions: impl FnOnce() -> io::Result<Regions>,
    ) -> io::Result<bool> {
        let is_first = branch::lists_own_tables(page);
        if self.on_suspect.is_none() && !is_first && !self.may_expect(offset) {
            return Ok(false);
        }
        let mut expected = self.expected();
        let of_page = expected.pages.get(&offset).copied();
        let is_suspect = of_page.is_some_and(|of_page| {
            let is_sum = |bytes: &[u8]| XxHash3_128::oneshot(bytes) == of_page.sum;
            of_page.is_suspect || !branch::may_have_sum(page, is_sum)
        });
        let is_followed = self.on_suspect.is_some() || is_first || of_page.is_some();
        if is_followed && branch::is_leading(page) && !is_own() {
            let regions = regions()?;
            for (number, sum) in branch::sums_below(page) {
                let offset = regions.start_of(number);
                let (word, bit) = place(offset);
                self.places[word].fetch_or(bit, Relaxed);
                expected.add(offset, Page { sum, is_suspect });
            }
        }
        drop(expected);
        match &self.on_suspect {
            None => Ok(is_suspect),
            Some(on_suspect) => {
                if is_suspect && branch::is_leaf(page) {
                    on_suspect(page);
                }
                Ok(false)
            }
        }
    }

    /// Takes note of what is about to be written: from now on there is something else.
    pub(super) fn written(&self, offset: u64, bytes: usize) {
        let end = offset.saturating_add(bytes as u64);
        for page in (offset..end).step_by(branch::PAGE_BYTES as usize) {
            if self.may_expect(page) {
                self.expected().pages.remove(&page);
            }
        }
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        *self.expected() = Expected::default();
    }

    fn may_expect(&self, offset: u64) -> bool {
        let (word, bit) = place(offset);
        self.places[word].load(Relaxed) & bit != 0
    }

    fn expected(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The bit that stands for the page at `offset`, and for others.
fn place(offset: u64) -> (usize, u64) {
    let hash = (offset / branch::PAGE_BYTES).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> 58) as usize % PLACE_WORDS, 1 << (hash >> 52 & 63))
}

impl fmt::Debug for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sums").finish_non_exhaustive()
    }
}
