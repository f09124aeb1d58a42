//! [`Sums`]: whether the pages that redb reads are those that were written last.
//!
//! redb keeps the checksum of each page beside its number, in the branch above it or in the list of tables, and looks at none of them as it
//! reads. The seals of our own values tell damage, but there are two things that they do not. One is a page that is as it was at an earlier commit:
//! its seals hold. A disk that lost a write gives it back, and a damaged number in a branch or in the list of tables may lead to one that is free by now. The
//! other is what redb itself keeps, such as the pages that it is going to free: where these are wrong it panics, and again while it unwinds, which
//! ends the process. Checksums are XXH3-128 of a page up to the end of its last value or key (redb's `docs/design.md`). What is expected of a page
//! is kept from when the page above it was read, and forgotten when the page is written. It begins with the roots in redb's header. After a
//! crash that names two commits, of which redb takes the older one when the newer one was torn: so a page is refused only by one that is right itself.
//!
//! Of an open file that is so for all pages that lead to others, and for redb's own tables. Leaves have their seals, and are too many for
//! what is expected of each to be kept. So how high a tree is is found out when its root was read.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use twox_hash::XxHash3_128;

use super::branch::{self, Regions};

/// Pages of which something is expected at a time, some 70 MB where all are: branches, and where all pages are looked at the leaves below those
/// that were read and that nobody has read yet. Of a billion samples of 300 bytes their blocks have some 160,000 branches.
const EXPECTED_MAX: usize = 1 << 19;
/// Words of bits for places: branches are one page in a hundred.
const PLACE_WORDS: usize = 1 << 10;
/// Higher than any tree.
const HEIGHT_MAX: u8 = 64;

/// Is shown every leaf that may not be the one that was written last.
pub(super) type OnSuspect = Box<dyn Fn(&[u8]) + Send + Sync>;

/// What is expected of pages.
pub(super) struct Sums {
    expected: Mutex<Expected>,
    /// Bits of the places of these pages, so that of most others nothing needs to be looked up.
    places: Box<[AtomicU64; PLACE_WORDS]>,
    /// Where all pages are looked at: else only those that lead to others, and those of redb's own tables, and one that is another is refused.
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
    part: Part,
    /// Whether a page above it is not what was expected: then nobody knows what is below.
    is_suspect: bool,
    /// When it came.
    number: u64,
}

/// What a page is a part of, which says what is expected of those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Of a tree all of whose pages are looked at, or of the list of such.
    Whole,
    /// Of the list of our tables.
    List,
    /// The root of one of our tables.
    Root,
    /// A branch of one, so many levels above leaves.
    Branch(u8),
}

/// A page by its number, with the checksum that it should have.
type Below = (u64, u128, Part);

impl Default for Sums {
    fn default() -> Self {
        Self {
            expected: Mutex::default(),
            places: Box::new([const { AtomicU64::new(0) }; PLACE_WORDS]),
            on_suspect: None,
        }
    }
}

impl Sums {
    /// Looks at all pages.
    pub(super) fn of_all(on_suspect: OnSuspect) -> Self {
        Self {
            on_suspect: Some(on_suspect),
            ..Self::default()
        }
    }

    /// Takes note of redb's header: of the roots of either commit that redb may go on from.
    pub(super) fn see_header(&self, header: &[u8], regions: Regions) {
        let ours = self.on_suspect.as_ref().map_or(Part::List, |_| Part::Whole);
        let roots = branch::roots_in_header(header);
        let own = roots.own.into_iter().map(|root| (root, Part::Whole));
        let ours = roots.ours.into_iter().map(|root| (root, ours));
        let roots = own.chain(ours).map(|((page, sum), part)| (page, sum, part));
        self.expect(regions, roots, false);
    }

    /// Looks at a page that was read at `offset`, and says whether it is to be refused. `branch_at` reads a branch elsewhere.
    pub(super) fn see(
        &self,
        offset: u64,
        page: &[u8],
        regions: impl FnOnce() -> io::Result<Regions>,
        branch_at: impl Fn(u64) -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<bool> {
        let is_all = self.on_suspect.is_some();
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
            // A table of one leaf: what is right in it stays readable when some of it is not.
            let has_seals = of_page.part == Part::Root && branch::is_leaf(page);
            !has_seals && !branch::may_have_sum(page, is_sum)
        });
        let is_suspect = is_other || of_page.is_some_and(|of_page| of_page.is_suspect);
        // A page of a commit that was torn may say anything of those below, which the commit before it has too: only what is right
        // itself is believed where others are refused by it.
        let part = match of_page {
            _ if is_all => Some(Part::Whole),
            Some(of_page) if !is_other => Some(of_page.part),
            _ => None,
        };
        if let Some(part) = part {
            let leads = part == Part::List || branch::is_leading(page);
            if leads {
                let regions = regions()?;
                let below = below(part, page, |number| branch_at(regions.start_of(number)))?;
                self.expect(regions, below, is_suspect);
            }
        }
        if let Some(on_suspect) = &self.on_suspect
            && is_suspect
            && branch::is_leaf(page)
        {
            on_suspect(page);
        }
        Ok(is_other && !is_all)
    }

    /// Expects these pages.
    fn expect(&self, regions: Regions, pages: impl IntoIterator<Item = Below>, is_suspect: bool) {
        let mut expected = self.expected();
        for (number, sum, part) in pages {
            let offset = regions.start_of(number);
            let (word, bit) = place(offset);
            self.places[word].fetch_or(bit, Relaxed);
            expected.add(offset, (sum, part, is_suspect), EXPECTED_MAX);
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
    fn add(&mut self, offset: u64, page: (u128, Part, bool), max: usize) {
        self.count += 1;
        let number = self.count;
        let (sum, part, is_suspect) = page;
        let page = Page {
            sum,
            part,
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

/// What is expected of the pages below one that is a `part`. `branch_at` reads the branch of a number.
fn below(
    part: Part,
    page: &[u8],
    branch_at: impl Fn(u64) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Vec<Below>> {
    let is_branch = branch::is_branch(page);
    let (below, part) = match part {
        Part::Whole => (branch::sums_below(page), Part::Whole),
        Part::List if !is_branch => (branch::roots(page), Part::Root),
        Part::List => (branch::sums_below(page), Part::List),
        _ if !is_branch => return Ok(Vec::new()),
        Part::Root | Part::Branch(_) => {
            let height = match part {
                Part::Branch(height) => height,
                _ => height(page, branch_at)?,
            };
            match height.checked_sub(1) {
                None | Some(0) => return Ok(Vec::new()),
                Some(height) => (branch::sums_below(page), Part::Branch(height)),
            }
        }
    };
    let below = below.into_iter().map(|(page, sum)| (page, sum, part));
    Ok(below.collect())
}

/// How many levels of branches a tree has from this one down: all of its leaves are as deep.
fn height(root: &[u8], branch_at: impl Fn(u64) -> io::Result<Option<Vec<u8>>>) -> io::Result<u8> {
    let first = |page: &[u8]| branch::sums_below(page).first().map(|(page, _)| *page);
    let mut height = 1;
    let mut next = first(root);
    while let Some(number) = next
        && height < HEIGHT_MAX
        && let Some(page) = branch_at(number)?
    {
        height += 1;
        next = first(&page);
    }
    Ok(height)
}

/// The bit that stands for the page at `offset`, and for others.
fn place(offset: u64) -> (usize, u64) {
    let hash = (offset / branch::PAGE_BYTES).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> 54) as usize % PLACE_WORDS, 1 << (hash >> 48 & 63))
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
        let page = |sum| (sum, Part::Whole, false);
        let mut expected = Expected::default();
        expected.add(1, page(1), 4);
        for turn in 0..100 {
            // Seen before others came.
            expected.add(2, page(turn), 4);
            expected.pages.remove(&2);
        }
        assert!(expected.order.len() <= 8);
        // Its older entries in the order say nothing of it.
        expected.add(2, page(7), 4);
        for offset in 3..=4 {
            expected.add(offset, page(0), 4);
        }
        assert_eq!(expected.pages[&1].sum, 1);
        expected.add(5, page(0), 4);
        assert!(!expected.pages.contains_key(&1));
        assert_eq!((expected.pages[&2].sum, expected.pages.len()), (7, 4));
    }

    /// A branch that leads to these pages.
    fn branch_to(below: &[(u64, u128)]) -> Vec<u8> {
        let mut page = vec![2, 0];
        page.extend((below.len() as u16 - 1).to_le_bytes());
        page.extend([0; 4]);
        page.extend(below.iter().flat_map(|(_, sum)| sum.to_le_bytes()));
        page.extend(below.iter().flat_map(|(number, _)| number.to_le_bytes()));
        page.resize(branch::PAGE_BYTES as usize, 0);
        page
    }

    #[test]
    fn pages_are_expected_down_to_the_last_branch() {
        let pages = HashMap::from([
            (1, branch_to(&[(2, 20), (3, 30)])),
            (2, branch_to(&[(4, 40), (5, 50)])),
            (4, branch_to(&[(6, 60)])),
        ]);
        let branch_at = |number| Ok(pages.get(&number).cloned());
        let below = |part, page| below(part, &pages[&page], branch_at).unwrap();
        let children = |part| vec![(2, 20, part), (3, 30, part)];
        assert_eq!(below(Part::Root, 1), children(Part::Branch(2)));
        assert_eq!(below(Part::Branch(2), 1), children(Part::Branch(1)));
        assert_eq!(
            below(Part::Root, 2),
            [(4, 40, Part::Branch(1)), (5, 50, Part::Branch(1))]
        );
        // Leaves have their seals.
        assert_eq!(below(Part::Root, 4), []);
        assert_eq!(below(Part::Branch(1), 1), []);
        // But where all are looked at, and in the list of tables.
        assert_eq!(below(Part::Whole, 1), children(Part::Whole));
        assert_eq!(below(Part::List, 1), children(Part::List));
    }

    #[test]
    fn a_tree_that_leads_to_itself_has_an_end() {
        let page = branch_to(&[(1, 10)]);
        let is_high = height(&page, |_| Ok(Some(page.clone()))).unwrap();
        assert_eq!(is_high, HEIGHT_MAX);
    }
}
