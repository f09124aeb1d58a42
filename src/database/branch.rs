//! Branches of redb's trees, looked at when they are read: where their children lie.
//!
//! redb follows a tree by recursion and makes room for as many bytes as the number of a page says, before it reads them, and verifies
//! neither on its way. So a branch that was written over one of its own children would overflow the stack, which nobody can
//! catch, and a damaged number may ask for 4 GiB. Such a branch is handed to redb as a page of no kind, which is an error to it for
//! this page alone. What a page holds otherwise is redb's to judge; a detour by several branches back to the first is not seen here.

use std::ops::Range;

/// The first bytes of redb's header, which say where its pages lie.
pub(super) const HEADER_BYTES: usize = 24;

const PAGE_BYTES: u64 = 4_096;
/// What the first byte of a branch is, and of no page.
const BRANCH: u8 = 2;
const NO_KIND: u8 = 0;

/// Where in redb's storage pages lie: in regions, each with a header of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regions {
    header_bytes: u64,
    bytes: u64,
}

impl Regions {
    /// What redb's header says.
    pub(super) fn of(header: &[u8; HEADER_BYTES]) -> Self {
        let pages = |at| u64::from(word(header, at));
        let header_bytes = pages(16) * PAGE_BYTES;
        Self {
            header_bytes,
            bytes: header_bytes + pages(20) * PAGE_BYTES,
        }
    }

    /// Where the page of a number lies.
    fn page(self, number: u64) -> Range<u64> {
        let order = number >> 59;
        let index = number & (0xf_ffff >> order);
        let region = number >> 20 & 0xf_ffff;
        let bytes = PAGE_BYTES << order;
        // A damaged header may say of regions whatever it likes.
        let start = region
            .saturating_mul(self.bytes)
            .saturating_add(PAGE_BYTES + self.header_bytes + index * bytes);
        start..start.saturating_add(bytes)
    }

    /// Whether a page can begin there.
    fn has_page_at(self, offset: u64) -> bool {
        let in_regions = offset.checked_sub(PAGE_BYTES);
        offset.is_multiple_of(PAGE_BYTES)
            && self.bytes > 0
            && in_regions.is_some_and(|at| at % self.bytes >= self.header_bytes)
    }

    /// Makes a page of no kind of one that was read at `offset`, when it is a branch with a child that is part of itself, or that
    /// cannot be there.
    pub(super) fn guard(
        self,
        offset: u64,
        page: &mut [u8],
        can_be_there: impl Fn(&Range<u64>) -> bool,
    ) {
        let end = offset.saturating_add(page.len() as u64);
        let is_wrong = |number| {
            let child = self.page(number);
            (child.start < end && offset < child.end) || !can_be_there(&child)
        };
        if is_branch(page) && self.has_page_at(offset) && children(page).any(is_wrong) {
            page[0] = NO_KIND;
        }
    }
}

/// Whether these bytes may be a branch.
pub(super) fn is_branch(page: &[u8]) -> bool {
    page.len() as u64 >= PAGE_BYTES && page[0] == BRANCH
}

/// The numbers of a branch's children, as far as the page goes: behind 8 bytes that say how many keys there are, and a checksum of
/// 16 bytes for each.
fn children(page: &[u8]) -> impl Iterator<Item = u64> {
    let children = usize::from(u16::from_le_bytes([page[2], page[3]])) + 1;
    let numbers = page.get(8 + 16 * children..).unwrap_or_default();
    let (numbers, _) = numbers.as_chunks::<8>();
    let numbers = numbers.iter().take(children);
    numbers.map(|number| u64::from_le_bytes(*number))
}

fn word(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGIONS: Regions = Regions {
        header_bytes: 2 * PAGE_BYTES,
        bytes: 34 * PAGE_BYTES,
    };

    /// A branch with these children.
    fn branch(children: &[u64]) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES as usize];
        page[0] = BRANCH;
        page[2] = children.len() as u8 - 1;
        for (at, child) in children.iter().enumerate() {
            let at = 8 + 16 * children.len() + 8 * at;
            page[at..at + 8].copy_from_slice(&child.to_le_bytes());
        }
        page
    }

    fn number(region: u64, index: u64, order: u64) -> u64 {
        order << 59 | region << 20 | index
    }

    #[test]
    fn regions_lie_behind_the_header_and_pages_in_them() {
        let mut header = [0; HEADER_BYTES];
        header[16] = 2;
        header[20] = 32;
        assert_eq!(Regions::of(&header), REGIONS);
        let page = |region, index, order| {
            let page = REGIONS.page(number(region, index, order));
            (page.start / PAGE_BYTES, page.end / PAGE_BYTES)
        };
        assert_eq!(page(0, 0, 0), (3, 4));
        assert_eq!(page(0, 5, 1), (13, 15));
        assert_eq!(page(2, 1, 3), (79, 87));
        let has_page_at: Vec<u64> = (0..40)
            .filter(|at| REGIONS.has_page_at(at * PAGE_BYTES))
            .collect();
        let expected: Vec<u64> = (3..35).chain(37..40).collect();
        assert_eq!(has_page_at, expected);
    }

    #[test]
    fn a_branch_to_itself_or_behind_the_end_is_none() {
        let end = 20 * PAGE_BYTES;
        let kind = |children: &[u64], at: u64| {
            let mut page = branch(children);
            REGIONS.guard(at * PAGE_BYTES, &mut page, |child| child.end <= end);
            page[0]
        };
        let others = [number(0, 2, 0), number(0, 6, 1), number(0, 1, 2)];
        assert_eq!(kind(&others, 4), BRANCH);
        // Page 4 is the second of the region, and half of a page of order 1.
        for itself in [number(0, 1, 0), number(0, 0, 1), number(0, 0, 4)] {
            assert_eq!(kind(&[others[0], itself], 4), NO_KIND);
        }
        // The last page that ends with the storage, and those behind it.
        assert_eq!(kind(&[number(0, 16, 0)], 4), BRANCH);
        for behind in [
            number(0, 17, 0),
            number(1, 0, 0),
            number(0, 0, 20),
            u64::MAX,
        ] {
            assert_eq!(kind(&[others[0], behind], 4), NO_KIND);
        }
        // What is no page of a tree is left alone.
        assert_eq!(kind(&[number(0, 17, 0)], 2), BRANCH);
        let mut leaf = branch(&[u64::MAX]);
        leaf[0] = 1;
        REGIONS.guard(4 * PAGE_BYTES, &mut leaf, |_| false);
        assert_eq!(leaf[0], 1);
    }

    #[test]
    fn children_end_where_the_page_does() {
        let mut page = branch(&[1]);
        page[2..4].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(children(&page).count(), 0);
        page[2..4].copy_from_slice(&200_u16.to_le_bytes());
        assert_eq!(children(&page).count(), (4_096 - 8 - 16 * 201) / 8);
    }
}
