//! [`Sums`]: whether the pages that redb reads are those that were written last.
//!
//! redb keeps the checksum of each page beside its number, in the branch above it or in the list of tables, and looks at none of them as it
//! reads. The seals of our own values tell damage, but there are two things that they do not. One is a page that is as it was at an earlier commit,
//! which a disk that lost a write gives back: its seals hold. Whoever reads a damaged file wants to know. The other is what redb itself
//! keeps, such as the pages that it is going to free: where these are wrong it panics, and again while it unwinds, which ends the process. Checksums are
//! XXH3-128 of a page up to the end of its last value or key (redb's `docs/design.md`). What is expected of a page is kept from when the page above
//! it was read, and forgotten when the page is written, and that of a leaf once it was seen. It begins with the roots in redb's header. After a
//! crash that names two commits, of which redb takes the older one when the newer one was torn: so a page is refused only by one that is right itself.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use twox_hash::XxHash3_128;

use super::branch::{self, Regions};

/// Pages of which something is expected at a time, some 70 MB where all are: branches, and the leaves below those that were read and that nobody
/// has read yet. Of a billion samples of 300 bytes their blocks have some 160,000 branches.
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
    order: VecDeque<(u64, u64)>,
    /// How many came.
    count: u64,
}

#[derive(Clone, Copy)]
struct Page {
    sum: u128,
    /// Whether a page above it is not what was expected: then nobody knows what is below.
    is_suspect: bool,
    /// When it came.
    number: u64,
}

impl Sums {
    /// Looks at all pages.
    pub(super) fn of_all(on_suspect: OnSuspect) -> Self {
        Self {
            on_suspect: Some(on_suspect),
            ..Self::default()
        }
    }

    /// Looks at a page that was read at `offset`, and says whether it is to be refused.
    pub(super) fn see(
        &self,
        offset: u64,
        page: &[u8],
        regions: impl FnOnce() -> io::Result<Regions>,
    ) -> io::Result<bool> {
        let is_all = self.on_suspect.is_some();
        if offset == 0 {
            // Of either commit that redb may go on from.
            let roots = branch::roots_in_header(page, is_all);
            if !roots.is_empty() {
                self.expect(regions()?, roots, false);
            }
            return Ok(false);
        }
        if !is_all && !self.may_expect(offset) {
            return Ok(false);
        }
        // Leaves are most of the pages, and nothing follows from them.
        let of_page = match is_all && branch::is_leaf(page) && !branch::is_leading(page) {
            true => self.expected().pages.remove(&offset),
            false => self.expected().pages.get(&offset).copied(),
        };
        let is_other = of_page.is_some_and(|of_page| {
            let is_sum = |bytes: &[u8]| XxHash3_128::oneshot(bytes) == of_page.sum;
            !branch::may_have_sum(page, is_sum)
        });
        // A page of a commit that was torn may say anything of those below, which the commit before it has too: only what is right
        // itself is believed where others are refused by it.
        let is_followed = is_all || of_page.is_some() && !is_other;
        let is_suspect = is_other || of_page.is_some_and(|of_page| of_page.is_suspect);
        if is_followed && branch::is_leading(page) {
            self.expect(regions()?, branch::sums_below(page), is_suspect);
        }
        if let Some(on_suspect) = &self.on_suspect
            && is_suspect
            && branch::is_leaf(page)
        {
            on_suspect(page);
        }
        Ok(is_other && !is_all)
    }

    /// Expects these pages, by their numbers.
    fn expect(&self, regions: Regions, pages: Vec<(u64, u128)>, is_suspect: bool) {
        let mut expected = self.expected();
        for (number, sum) in pages {
            let offset = regions.start_of(number);
            let (word, bit) = place(offset);
            self.places[word].fetch_or(bit, Relaxed);
            expected.add(offset, sum, is_suspect, EXPECTED_MAX);
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
    /// Expects a page, and forgets the one that came first where there are more than `max`.
    fn add(&mut self, offset: u64, sum: u128, is_suspect: bool, max: usize) {
        self.count += 1;
        let number = self.count;
        let page = Page {
            sum,
            is_suspect,
            number,
        };
        self.pages.insert(offset, page);
        self.order.push_back((offset, number));
        let is_there = |pages: &HashMap<u64, Page>, (offset, number): &(u64, u64)| {
            pages.get(offset).is_some_and(|page| page.number == *number)
        };
        // Those that are gone, or came again, leave the order in time.
        if self.order.len() > 2 * max {
            self.order.retain(|entry| is_there(&self.pages, entry));
        }
        while self.pages.len() > max
            && let Some(oldest) = self.order.pop_front()
        {
            if is_there(&self.pages, &oldest) {
                self.pages.remove(&oldest.0);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_forgotten_for_newer_ones_alone() {
        let mut expected = Expected::default();
        expected.add(1, 1, false, 4);
        for turn in 0..100 {
            // Seen before others came.
            expected.add(2, turn, false, 4);
            expected.pages.remove(&2);
        }
        assert!(expected.order.len() <= 8);
        // Its older entries in the order say nothing of it.
        expected.add(2, 7, true, 4);
        for offset in 3..=4 {
            expected.add(offset, 0, false, 4);
        }
        assert_eq!(expected.pages[&1].sum, 1);
        expected.add(5, 0, false, 4);
        assert!(!expected.pages.contains_key(&1));
        assert_eq!((expected.pages[&2].sum, expected.pages.len()), (7, 4));
    }
}
