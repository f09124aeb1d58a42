//! Pages of redb's trees, looked at when they are read: where those lie that they lead to.
//!
//! redb makes room for as many bytes as the number of a page says, before it reads them, fills that with zeros and verifies nothing on
//! its way. So a damaged number may ask for 4 GiB. A page that leads to where no page can be, or a branch to itself, is handed to redb
//! as a page of no kind, which is an error to it for this page alone. What a page holds otherwise is redb's to judge. Branches that
//! lead to themselves over others are `depths.rs`.

use std::ops::Range;

use twox_hash::XxHash3_128;

/// The first bytes of redb's header, which say where its pages lie.
pub(super) const HEADER_BYTES: usize = 32;
pub(super) const REDB_MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// The byte of redb's header that says whether the file was closed, and the bit of it that says that it was not.
pub(super) const FLAGS_AT: usize = 9;
pub(super) const IS_OPEN: u8 = 2;
/// The bit of that byte that says that the last commit was synced before the header led to it.
pub(super) const IS_TWO_PHASE: u8 = 4;

pub(super) const PAGE_BYTES: u64 = 4_096;
/// What the first byte of a leaf is, of a branch, and of no page.
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
const NO_KIND: u8 = 0;
/// Bytes of a key, where those of a table have a fixed size: in ours, and in redb's own.
const KEY_BYTES: [usize; 3] = [8, 16, 5];
/// The first table in the tree of ours, and those that may be in the one of redb's own.
const FIRST_TABLES: [&[u8]; 5] = [
    b"blocks",
    b"allocator_state",
    b"data_pages_allocated",
    b"data_pages_unreachable",
    b"system_pages_unreachable",
];

/// Whether these may be the bytes of a page of a tree. Where nothing was ever written there are zeros, and a full disk has no room for them.
pub(super) fn is_of_tree(page: &[u8]) -> bool {
    matches!(page.first(), Some(&(LEAF | BRANCH)))
}

/// Where in redb's storage pages lie: in regions, each with a header of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regions {
    header_bytes: u64,
    bytes: u64,
}

impl Regions {
    /// What redb's header says.
    pub(super) fn of(header: &[u8; HEADER_BYTES]) -> Self {
        let pages = |at| u64::from(word(header, at).unwrap_or(0));
        let header_bytes = pages(16) * PAGE_BYTES;
        Self {
            header_bytes,
            bytes: header_bytes + pages(20) * PAGE_BYTES,
        }
    }

    /// How many bytes redb's storage has, when this is the header of one that was closed: it was no shorter then, since redb makes
    /// a storage shorter only after its header says so.
    pub(super) fn len_when_closed(header: &[u8; HEADER_BYTES]) -> Option<u64> {
        if !header.starts_with(REDB_MAGIC) || header[FLAGS_AT] & IS_OPEN != 0 {
            return None;
        }
        let regions = Self::of(header);
        let pages = |at| u64::from(word(header, at).unwrap_or(0));
        let trailing = match pages(28) {
            0 => 0,
            pages => regions.header_bytes + pages * PAGE_BYTES,
        };
        pages(24)
            .checked_mul(regions.bytes)?
            .checked_add(PAGE_BYTES + trailing)
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

    /// Where the page of a number begins.
    pub(super) fn start_of(self, number: u64) -> u64 {
        self.page(number).start
    }

    /// Whether a page can begin there.
    fn has_page_at(self, offset: u64) -> bool {
        let in_regions = offset.checked_sub(PAGE_BYTES);
        offset.is_multiple_of(PAGE_BYTES)
            && self.bytes > 0
            && in_regions.is_some_and(|at| at % self.bytes >= self.header_bytes)
    }

    /// Where a page that was read at `offset` leads to: the children of a branch, the roots of tables in a leaf that lists them. `None`
    /// when one is a part of the page itself, or cannot be there.
    pub(super) fn below(
        self,
        offset: u64,
        page: &[u8],
        can_be_there: impl Fn(&Range<u64>) -> bool,
    ) -> Option<Vec<u64>> {
        if !self.has_page_at(offset) {
            return Some(Vec::new());
        }
        let end = offset.saturating_add(page.len() as u64);
        let numbers = match page[0] {
            BRANCH => children(page),
            _ => roots(page).into_iter().map(|(number, _)| number).collect(),
        };
        let mut starts = Vec::with_capacity(numbers.len());
        for number in numbers {
            let page = self.page(number);
            if (page.start < end && offset < page.end) || !can_be_there(&page) {
                return None;
            }
            starts.push(page.start);
        }
        Some(starts)
    }
}

/// Whether these bytes may be a page that leads to others.
pub(super) fn is_leading(page: &[u8]) -> bool {
    is_branch(page) || lists_tables(page)
}

/// Whether these bytes may be a branch.
pub(super) fn is_branch(page: &[u8]) -> bool {
    page.len() as u64 >= PAGE_BYTES && page[0] == BRANCH
}

/// Whether these bytes may be a leaf.
pub(super) fn is_leaf(page: &[u8]) -> bool {
    page.len() as u64 >= PAGE_BYTES && page[0] == LEAF
}

/// The roots of the trees of both commits that redb's header names, with their checksums.
#[derive(Default)]
pub(super) struct Roots {
    /// Of the lists of our tables.
    pub(super) ours: Vec<(u64, u128)>,
    /// Of those of redb's own.
    pub(super) own: Vec<(u64, u128)>,
}

/// The roots that redb's header names in those of its two places that are whole.
pub(super) fn roots_in_header(header: &[u8]) -> Roots {
    const SLOTS: [usize; 2] = [64, 192];
    const SLOT_BYTES: usize = 128;
    /// Where in a slot is said whether there is a root, and where it is.
    const OURS: (usize, usize) = (1, 8);
    const OWN: (usize, usize) = (2, 40);
    let mut roots = Roots::default();
    if !header.starts_with(REDB_MAGIC) {
        return roots;
    }
    for slot in SLOTS {
        let Some(slot) = header.get(slot..slot + SLOT_BYTES) else {
            continue;
        };
        let (said, sum) = slot.split_at(SLOT_BYTES - 16);
        if XxHash3_128::oneshot(said).to_le_bytes() != *sum {
            continue;
        }
        let root = |(is_there, at): (usize, usize)| {
            let (number, rest) = said[at..].split_first_chunk()?;
            let root = (
                u64::from_le_bytes(*number),
                u128::from_le_bytes(*rest.first_chunk()?),
            );
            (said[is_there] != 0).then_some(root)
        };
        roots.ours.extend(root(OURS));
        roots.own.extend(root(OWN));
    }
    roots
}

/// The pages that a branch or a list of tables leads to, each with the checksum that it should have.
pub(super) fn sums_below(page: &[u8]) -> Vec<(u64, u128)> {
    if is_branch(page) {
        let sums = page.get(8..).unwrap_or_default().as_chunks::<16>().0;
        let sums = sums.iter().map(|sum| u128::from_le_bytes(*sum));
        return children(page).into_iter().zip(sums).collect();
    }
    if lists_tables(page) {
        return roots(page);
    }
    Vec::new()
}

/// Whether `is_sum` holds for the bytes of a page that its checksum is of: up to the end of the last value of a leaf, or of the last key
/// of a branch. Where that is depends on whether keys have a fixed size, which a page does not say: both are tried.
pub(super) fn may_have_sum(page: &[u8], is_sum: impl Fn(&[u8]) -> bool) -> bool {
    if (page.len() as u64) < PAGE_BYTES {
        return false;
    }
    let keys = usize::from(count(page));
    let at = |index: usize| word(page, index).map(|end| end as usize);
    let Some(last) = keys.checked_sub(1) else {
        return false;
    };
    let is_end = |end: usize| page.get(..end).is_some_and(&is_sum);
    match page[0] {
        LEAF => {
            let mut ends = [at(4 + 4 * last), at(4 + 4 * (keys + last))].into_iter();
            ends.any(|end| end.is_some_and(is_end))
        }
        BRANCH => {
            let behind = bytes_of_numbers(page);
            KEY_BYTES.iter().any(|bytes| is_end(behind + bytes * keys))
                || at(behind + 4 * last).is_some_and(is_end)
        }
        _ => false,
    }
}

/// Makes a page of no kind of one.
pub(super) fn spoil(page: &mut [u8]) {
    page[0] = NO_KIND;
}

/// So many bytes of a branch say where its children lie.
pub(super) fn bytes_of_numbers(page: &[u8]) -> usize {
    8 + (16 + 8) * (usize::from(count(page)) + 1)
}

/// The numbers of a branch's children, as far as the page goes: behind 8 bytes that say how many keys there are, and a checksum of
/// 16 bytes for each.
fn children(page: &[u8]) -> Vec<u64> {
    let children = usize::from(count(page)) + 1;
    let numbers = page.get(8 + 16 * children..).unwrap_or_default();
    let (numbers, _) = numbers.as_chunks::<8>();
    let numbers = numbers.iter().take(children);
    numbers.map(|number| u64::from_le_bytes(*number)).collect()
}

/// Whether these bytes may be a leaf in which redb lists tables: one whose first key is the name of the first of them. The ends of keys lie behind 4
/// bytes that say how many there are, then the ends of values, the keys and the values.
fn lists_tables(page: &[u8]) -> bool {
    if !is_leaf(page) || count(page) == 0 {
        return false;
    }
    let names = 4 + 8 * usize::from(count(page));
    FIRST_TABLES.iter().any(|name| {
        word(page, 4).map(|end| end as usize) == Some(names + name.len())
            && page.get(names..names + name.len()) == Some(name)
    })
}

/// The numbers of the roots of the tables that a leaf lists, and their checksums, as far as it goes: each behind a byte for the kind of table, 8 for its
/// length and one that says whether it has a root.
pub(super) fn roots(page: &[u8]) -> Vec<(u64, u128)> {
    let tables = usize::from(count(page));
    let starts = (tables - 1..2 * tables - 1).map(|end| word(page, 4 + 4 * end));
    let roots = starts.filter_map(|start| {
        let root = page.get(start? as usize + 9..)?;
        let (has_root, root) = root.split_first()?;
        let (number, root) = root.split_first_chunk()?;
        let sum = root.first_chunk().copied().unwrap_or_default();
        (*has_root != 0).then(|| (u64::from_le_bytes(*number), u128::from_le_bytes(sum)))
    });
    roots.collect()
}

/// How many keys a page has.
fn count(page: &[u8]) -> u16 {
    u16::from_le_bytes([page[2], page[3]])
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
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

    /// A leaf that lists tables with these roots, the first of them with this name.
    fn leaf(name: &[u8], roots: &[u64]) -> Vec<u8> {
        const TABLE_BYTES: usize = 60;
        let mut page = vec![0; PAGE_BYTES as usize];
        page[0] = LEAF;
        page[2] = roots.len() as u8;
        let names = 4 + 8 * roots.len();
        page[names..names + name.len()].copy_from_slice(name);
        let values = names + name.len() * roots.len();
        for (at, root) in roots.iter().enumerate() {
            let mut put =
                |to: usize, bytes: &[u8]| page[to..to + bytes.len()].copy_from_slice(bytes);
            let name_end = (names + name.len() * (at + 1)) as u32;
            let value = values + TABLE_BYTES * at;
            put(4 + 4 * at, &name_end.to_le_bytes());
            let value_end = (value + TABLE_BYTES) as u32;
            put(4 + 4 * (roots.len() + at), &value_end.to_le_bytes());
            put(value + 9, &[1]);
            put(value + 10, &root.to_le_bytes());
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
    fn a_storage_that_was_closed_is_as_long_as_its_header_says() {
        let mut header = [0; HEADER_BYTES];
        header[..9].copy_from_slice(REDB_MAGIC);
        for (at, pages) in [(16, 1_u32), (20, 10), (24, 2), (28, 3)] {
            header[at..at + 4].copy_from_slice(&pages.to_le_bytes());
        }
        let pages = 1 + 2 * (1 + 10) + 1 + 3;
        assert_eq!(Regions::len_when_closed(&header), Some(pages * PAGE_BYTES));
        header[28] = 0;
        let pages = 1 + 2 * (1 + 10);
        assert_eq!(Regions::len_when_closed(&header), Some(pages * PAGE_BYTES));
        header[FLAGS_AT] = IS_OPEN;
        assert_eq!(Regions::len_when_closed(&header), None);
        header[FLAGS_AT] = 0;
        header[0] = b'x';
        assert_eq!(Regions::len_when_closed(&header), None);
        header[..9].copy_from_slice(REDB_MAGIC);
        header[16..].fill(0xff);
        assert!(Regions::len_when_closed(&header).is_none_or(|len| len > 1 << 40));
    }

    #[test]
    fn what_leads_to_itself_or_behind_the_end_leads_nowhere() {
        let end = 20 * PAGE_BYTES;
        let below = |page: &[u8], at: u64| {
            let below = REGIONS.below(at * PAGE_BYTES, page, |page| page.end <= end);
            below.map(|below| below.iter().map(|start| start / PAGE_BYTES).collect())
        };
        let others = [number(0, 2, 0), number(0, 6, 1), number(0, 1, 2)];
        let leading = [branch(&others), leaf(b"blocks", &others)];
        for page in &leading {
            assert!(is_leading(page));
            assert_eq!(below(page, 4), Some(vec![5, 15, 7]));
            // What is no page of a tree is left alone.
            assert_eq!(below(page, 2), Some(vec![]));
        }
        // Page 4 is the second of the region, and half of a page of order 1.
        for itself in [number(0, 1, 0), number(0, 0, 1), number(0, 0, 4)] {
            assert_eq!(below(&branch(&[others[0], itself]), 4), None);
            let tables = leaf(b"data_pages_allocated", &[others[0], itself]);
            assert_eq!(below(&tables, 4), None);
        }
        // The last page that ends with the storage, and those behind it.
        assert!(below(&branch(&[number(0, 16, 0)]), 4).is_some());
        for behind in [
            number(0, 17, 0),
            number(1, 0, 0),
            number(0, 0, 20),
            u64::MAX,
        ] {
            assert_eq!(below(&branch(&[others[0], behind]), 4), None);
            let tables = leaf(b"blocks", &[others[0], behind]);
            assert_eq!(below(&tables, 4), None);
        }
        for other in [
            leaf(b"block", &[u64::MAX]),
            leaf(b"blocks2", &[u64::MAX]),
            leaf(b"blocks", &[]),
        ] {
            assert!(!is_leading(&other));
        }
    }

    #[test]
    fn roots_end_where_the_page_does() {
        let mut page = leaf(b"blocks", &[1, 2]);
        let roots = |page: &[u8]| -> Vec<u64> {
            let roots = roots(page).into_iter();
            roots.map(|(number, _)| number).collect()
        };
        assert_eq!(roots(&page), [1, 2]);
        // A table without a root, and values that begin behind the page.
        let start = word(&page, 4 + 4).unwrap() as usize;
        page[start + 9] = 0;
        assert_eq!(roots(&page), [2]);
        page[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(roots(&page), [0_u64; 0]);
        let end = (PAGE_BYTES - 12) as u32;
        page[12..16].copy_from_slice(&end.to_le_bytes());
        assert_eq!(roots(&page), [0_u64; 0]);
        page[2..4].copy_from_slice(&u16::MAX.to_le_bytes());
        assert!(roots(&page).len() < PAGE_BYTES as usize);
    }

    #[test]
    fn children_end_where_the_page_does() {
        let mut page = branch(&[1]);
        page[2..4].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(children(&page), [0_u64; 0]);
        page[2..4].copy_from_slice(&200_u16.to_le_bytes());
        assert_eq!(children(&page).len(), (4_096 - 8 - 16 * 201) / 8);
        assert_eq!(bytes_of_numbers(&page), 8 + 24 * 201);
    }
}
