//! [`Depths`]: that no branch of redb's trees leads back to itself over others.
//!
//! redb ends a read that goes deeper than any tree, and inserts, removes and measures by recursion that ends at a leaf alone. A
//! branch that was written over one far below it would overflow the stack, which nobody can catch. So each page has a depth, which
//! is greater than the one of every branch that leads to it and was handed to redb: along a circle there are no such depths. They
//! are found as pages are read, a byte for each page of 4 KiB, without reading more than redb does. Only where a page is met again
//! from further below, as one of two commits that share it, are the pages below it moved down (levels, as in Bender et al. 2016, "A New
//! Approach to Incremental Cycle Detection and Related Problems"); where that meets the branch that it began with, there is a circle.
//!
//! Pages that this process wrote have no depth: redb has made them of pages that were looked at, and their children may not be on
//! the disk yet.

use super::branch::PAGE_BYTES;

const UNKNOWN: u8 = 0;
/// Where a tree begins. One that this is a part of has room above it.
const ROOT: u8 = 100;
/// Deeper than any tree.
const DEPTH_MAX: u8 = 250;
const WRITTEN_HERE: u8 = 255;
/// Pages that are looked at again for one branch.
const STEPS_MAX: usize = 1 << 20;

/// The depth of each page, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Depths {
    pages: Vec<u8>,
}

impl Depths {
    /// Forgets all, when another process may have written.
    pub(super) fn clear(&mut self) {
        self.pages.clear();
    }

    /// Takes note that something is written here.
    pub(super) fn written(&mut self, offset: u64, bytes: usize) {
        let Some(first) = page(offset) else { return };
        let pages = first..first.saturating_add(bytes.div_ceil(PAGE_BYTES as usize));
        if self.pages.len() < pages.end {
            self.pages.resize(pages.end, UNKNOWN);
        }
        self.pages[pages].fill(WRITTEN_HERE);
    }

    /// Takes note that the storage ends there.
    pub(super) fn cut(&mut self, len: u64) {
        if let Some(end) = page(len) {
            self.pages.truncate(end);
        }
    }

    /// Takes note of a branch that is about to be handed to redb, and says whether it may be: none of its children leads back to it.
    /// `children_of` reads those of another page, none if that is no branch.
    pub(super) fn take(
        &mut self,
        branch: u64,
        children: &[u64],
        children_of: impl Fn(u64) -> Vec<u64>,
    ) -> bool {
        let depth = match self.depth(branch) {
            WRITTEN_HERE => return true,
            UNKNOWN => self.above(children),
            depth => depth,
        };
        let mut before = Vec::new();
        if self.put_below(branch, depth, children, children_of, &mut before) {
            self.set(branch, depth);
            return true;
        }
        for (page, depth) in before.into_iter().rev() {
            self.set(page, depth);
        }
        false
    }

    /// A depth above these pages.
    fn above(&self, children: &[u64]) -> u8 {
        let known = children.iter().map(|child| self.depth(*child));
        let least = known.filter(|depth| (1..=DEPTH_MAX).contains(depth)).min();
        least.map_or(ROOT, |least| ROOT.min(least - 1).max(1))
    }

    /// Gives the children, and what is known below them, a depth below `depth`. What is changed was so `before`.
    fn put_below(
        &mut self,
        branch: u64,
        depth: u8,
        children: &[u64],
        children_of: impl Fn(u64) -> Vec<u64>,
        before: &mut Vec<(u64, u8)>,
    ) -> bool {
        let mut open: Vec<(u64, u8)> = children.iter().map(|child| (*child, depth + 1)).collect();
        let mut steps = 0;
        while let Some((page, least)) = open.pop() {
            let old = self.depth(page);
            if page == branch || least > DEPTH_MAX {
                return false;
            }
            if old >= least {
                continue;
            }
            before.push((page, old));
            self.set(page, least);
            if old != UNKNOWN {
                steps += 1;
                if steps > STEPS_MAX {
                    return false;
                }
                // What is not known yet has its place found when it is read.
                let below = children_of(page).into_iter();
                open.extend(
                    below
                        .filter(|page| self.depth(*page) != UNKNOWN)
                        .map(|page| (page, least + 1)),
                );
            }
        }
        true
    }

    fn depth(&self, offset: u64) -> u8 {
        let known = page(offset).and_then(|page| self.pages.get(page));
        known.copied().unwrap_or(UNKNOWN)
    }

    fn set(&mut self, offset: u64, depth: u8) {
        let Some(page) = page(offset) else { return };
        if self.pages.len() <= page {
            self.pages.resize(page + 1, UNKNOWN);
        }
        self.pages[page] = depth;
    }
}

fn page(offset: u64) -> Option<usize> {
    usize::try_from(offset / PAGE_BYTES).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Pages by number, with the numbers of their children.
    struct Pages(BTreeMap<u64, Vec<u64>>);

    impl Pages {
        fn of(branches: &[(u64, &[u64])]) -> Self {
            let offsets = |pages: &[u64]| pages.iter().map(|page| page * PAGE_BYTES).collect();
            let branches = branches.iter();
            Self(
                branches
                    .map(|(page, below)| (page * PAGE_BYTES, offsets(below)))
                    .collect(),
            )
        }

        fn take(&self, depths: &mut Depths, page: u64) -> bool {
            let children_of = |page| self.0.get(&page).cloned().unwrap_or_default();
            let page = page * PAGE_BYTES;
            depths.take(page, &children_of(page), children_of)
        }
    }

    #[test]
    fn trees_are_taken_in_any_order_and_again() {
        let pages = Pages::of(&[(1, &[2, 3]), (2, &[4, 5]), (3, &[6, 7]), (5, &[8, 9])]);
        for order in [[1, 2, 3, 5], [5, 3, 2, 1], [2, 5, 1, 3], [1, 5, 3, 2]] {
            let mut depths = Depths::default();
            for page in order.into_iter().chain(order) {
                assert!(pages.take(&mut depths, page), "{page} of {order:?}");
            }
        }
    }

    #[test]
    fn a_circle_is_seen_at_its_last_branch_and_the_others_stay_right() {
        // 5 was written over by a copy of 1.
        let pages = Pages::of(&[(1, &[2, 3]), (2, &[4, 5]), (5, &[2, 3]), (3, &[6, 7])]);
        for (order, last) in [([1, 2, 5], 5), ([5, 2, 1], 2), ([1, 5, 2], 2)] {
            let mut depths = Depths::default();
            for page in order {
                assert_eq!(pages.take(&mut depths, page), page != last, "{order:?}");
            }
            let before = depths.pages.clone();
            assert!(!pages.take(&mut depths, last));
            assert_eq!(depths.pages, before, "what was tried is taken back");
            assert!(pages.take(&mut depths, 3));
        }
    }

    #[test]
    fn commits_that_share_pages_at_other_depths_are_no_circle() {
        // The tree of 1 grew: 10 and 11 are above what it was, and 20 is above all.
        let pages = Pages::of(&[
            (1, &[2]),
            (2, &[3]),
            (3, &[4]),
            (10, &[11]),
            (11, &[2]),
            (20, &[10, 1]),
        ]);
        let mut depths = Depths::default();
        for page in [1, 2, 3, 10, 11, 20, 1, 2, 3] {
            assert!(pages.take(&mut depths, page), "{page}");
        }
        let depth = |page: u64| depths.depth(page * PAGE_BYTES);
        assert!(depth(20) < depth(10) && depth(10) < depth(11) && depth(11) < depth(2));
        assert!(depth(1) < depth(2) && depth(2) < depth(3) && depth(3) < depth(4));
    }

    #[test]
    fn what_is_written_here_is_not_judged_and_what_is_cut_off_is_forgotten() {
        let mut depths = Depths::default();
        let old = Pages::of(&[(1, &[2]), (2, &[3])]);
        assert!(old.take(&mut depths, 1) && old.take(&mut depths, 2));
        // 1 is free, and is a page below 2 when it is used again.
        depths.written(PAGE_BYTES, 2 * PAGE_BYTES as usize);
        let new = Pages::of(&[(1, &[4]), (2, &[1])]);
        assert!(new.take(&mut depths, 1) && new.take(&mut depths, 2));
        depths.cut(PAGE_BYTES);
        assert_eq!(depths.pages.len(), 1);
        depths.clear();
        let circle = Pages::of(&[(1, &[2]), (2, &[1])]);
        assert!(circle.take(&mut depths, 1) && !circle.take(&mut depths, 2));
    }

    #[test]
    fn a_tree_that_is_deeper_than_any_is_refused() {
        let pages: Vec<(u64, [u64; 1])> = (1..300).map(|page| (page, [page + 1])).collect();
        let pages: Vec<(u64, &[u64])> = pages.iter().map(|(page, to)| (*page, &to[..])).collect();
        let pages = Pages::of(&pages);
        let mut depths = Depths::default();
        let taken = (1..300).take_while(|page| pages.take(&mut depths, *page));
        assert_eq!(taken.count(), (DEPTH_MAX - ROOT) as usize);
    }
}
