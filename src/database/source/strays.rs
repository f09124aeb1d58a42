//! [`Strays`]: what lies in a file although no tree leads to it any more.
//!
//! A record, a leaf of the status planes and the name of a pipeline are sealed with what they are and with the key that
//! they belong to. So each can be told where it lies, whatever has become of the branches above it and of the roots of
//! the tables: every page of the file is looked at as if it were a leaf of redb's (its design is in redb's
//! `docs/design.md`), and what has a seal that holds is one. What cannot be told is whether a tree still led to it when
//! the file was whole: pages that were given up keep what they had until they are used again. So a sample that is found here may be an older version of itself,
//! or have been deleted. And what a sample holds may look like a page: nothing is looked for within a record whose seal holds.

use std::collections::{BTreeMap, btree_map};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringTreemap;

use crate::database::blocks::Block;
use crate::database::disk::Disk;
use crate::database::failure::disk_failure;
use crate::database::header::PAGE_BYTES;
use crate::database::ids::ROWS_MAX;
use crate::database::leaves::Leaf;
use crate::database::pipelines::Entry;
use crate::database::planes::Planes;
use crate::database::schema::{Kind, LEAF_BYTES, SEAL_BYTES, STATUS_ROWS, unseal, unseal_exact};
use crate::database::state::State;
use crate::error::Result;

const PAGE: usize = PAGE_BYTES as usize;
/// So much is read at a time.
const WINDOW_BYTES: usize = 256 * PAGE;
/// The first byte of a leaf.
const LEAF: u8 = 1;
/// Bytes before the ends of a leaf's values, of each end, and of each key.
const HEADER_BYTES: usize = 4;
const END_BYTES: usize = 4;
const KEY_BYTES: usize = 8;

/// No leaf is larger: a sample of the greatest size that any file takes, and then some.
const LEAF_BYTES_MAX: u64 = 600 << 20;

/// Where values lie in the file, by what they belong to. Some dozen bytes for each block and for each record apart from one.
pub(super) struct Strays {
    disk: Arc<dyn Disk>,
    /// By the first row of a block, the version of it that is [`NEWEST`], as far as can be told, and where that is damaged the newest one that is
    /// [`WHOLE`]: the one may have rows that the other had not yet, and lack records that the other has.
    blocks: BTreeMap<(u64, bool), StrayBlock>,
    /// By row.
    replaced: BTreeMap<u64, Place>,
    status: BTreeMap<u64, (Age, Planes)>,
    pub(super) names: BTreeMap<u32, Arc<str>>,
    /// That of the last commit that there is one of.
    pub(super) state: Option<State>,
    /// Where sealed values lie that a page may begin within: those of the last leaf.
    sealed: Vec<Range<u64>>,
    /// So many bytes may still be read again for leaves that do not lie in one window.
    to_read: u64,
    /// So many bytes of values may still be looked at: pages may say that theirs are the same ones.
    to_verify: u64,
}

/// What tells versions of a leaf of the planes apart: the greater, the newer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    rows: u64,
    deleted: usize,
    codes: u64,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    len: usize,
}

impl Place {
    fn end(self) -> u64 {
        self.offset + self.len as u64
    }
}

/// Which version of a block it is, beside its first row. They are looked at from the last to the first.
const WHOLE: bool = false;
const NEWEST: bool = true;

struct StrayBlock {
    place: Place,
    rows: u64,
    records: u64,
    /// Those whose seal holds.
    sealed: u64,
}

impl StrayBlock {
    fn is_whole(&self) -> bool {
        self.sealed == self.records
    }

    /// What tells versions of a block apart: the greater, the newer, or of two that are the same the one that is less damaged.
    fn age(&self) -> (u64, u64, u64) {
        (self.rows, u64::MAX - self.records, self.sealed)
    }
}

impl Strays {
    /// Looks at every page from `base` on. `tell` is told how far that has come, from 0 to 1, and may end it.
    pub(super) fn find(
        disk: Arc<dyn Disk>,
        base: u64,
        tell: &dyn Fn(f64) -> Result<()>,
    ) -> Result<Self> {
        let len = disk.len();
        let len = len.map_err(|error| disk_failure(super::OPERATION, error))?;
        let mut strays = Self {
            disk,
            blocks: BTreeMap::new(),
            replaced: BTreeMap::new(),
            status: BTreeMap::new(),
            names: BTreeMap::new(),
            state: None,
            sealed: Vec::new(),
            to_read: len.saturating_mul(2),
            to_verify: len.saturating_mul(8),
        };
        let mut window = Vec::new();
        let mut start = base;
        while start < len {
            tell((start - base) as f64 / (len - base) as f64)?;
            let bytes = (len - start).min(WINDOW_BYTES as u64);
            window.resize(bytes as usize, 0);
            read_what_can_be(&*strays.disk, start, &mut window);
            for (page, offset) in (start..start + bytes).step_by(PAGE).enumerate() {
                strays.page(offset, &window[page * PAGE..], len - offset);
            }
            start += bytes;
        }
        Ok(strays)
    }

    /// Looks at the page that begins here. `rest` are the bytes behind that are at hand, and so many there are in all.
    fn page(&mut self, offset: u64, rest: &[u8], there: u64) {
        let is_within = |value: &Range<u64>| value.start < offset && offset < value.end;
        if self.sealed.iter().any(is_within) {
            return;
        }
        let Some(entries) = entries(rest, there) else {
            return;
        };
        let end = entries.last().map_or(0, |(_, range)| range.end);
        let mut far = Vec::new();
        let bytes = match rest.get(..end) {
            Some(bytes) => bytes,
            None => {
                let Some(left) = self.to_read.checked_sub(end as u64) else {
                    return;
                };
                self.to_read = left;
                far.resize(end, 0);
                if self.disk.read(offset, &mut far).is_err() {
                    return;
                }
                &far
            }
        };
        self.sealed.retain(|value| value.end > offset);
        for (key, range) in entries {
            let place = Place {
                offset: offset + range.start as u64,
                len: range.len(),
            };
            self.value(key, &bytes[range], place);
        }
    }

    fn value(&mut self, key: u64, value: &[u8], place: Place) {
        let Some(left) = self.to_verify.checked_sub(2 * value.len() as u64) else {
            return;
        };
        self.to_verify = left;
        if key > ROWS_MAX {
            return self.summary(key, value);
        }
        if value.len() == LEAF_BYTES + SEAL_BYTES
            && let Ok(bytes) = unseal_exact(Kind::Status, key, value)
        {
            return self.planes(key, Planes::decode(bytes));
        }
        if unseal(Kind::Row, key, value).is_ok() {
            self.sealed.push(place.offset..place.end());
            self.replaced.insert(key, place);
        } else if let Ok(block) = Block::new(key, value) {
            self.block(key, &block, place);
        }
    }

    /// A version of a leaf. Rows are given out in order and never come back, so the one that has more of them, and of these more that were
    /// deleted, is the newer one; beyond that the one whose samples have come furthest is taken for it.
    fn planes(&mut self, leaf: u64, planes: Planes) {
        let first = leaf * STATUS_ROWS;
        let is_given = |row: &u64| planes.code(*row) != 0 || planes.block_of(*row) == Some(*row);
        let end = (first..first + STATUS_ROWS).rfind(is_given);
        let rows = first..end.map_or(first, |last| last + 1);
        let age = Age {
            rows: rows.end - first,
            deleted: rows.clone().filter(|row| planes.code(*row) == 0).count(),
            codes: rows.map(|row| u64::from(planes.code(row))).sum(),
        };
        match self.status.entry(leaf) {
            btree_map::Entry::Occupied(mut entry) if entry.get().0 < age => {
                entry.insert((age, planes));
            }
            btree_map::Entry::Occupied(_) => {}
            btree_map::Entry::Vacant(entry) => {
                entry.insert((age, planes));
            }
        }
    }

    /// A version of a block: it grows while it is the last one, and later loses records.
    fn block(&mut self, first: u64, block: &Block<'_>, place: Place) {
        if block.len() > STATUS_ROWS {
            return;
        }
        let rows = first..first + block.len();
        // Records that lie over each other are none.
        let records = rows.clone().filter_map(|row| block.get(row));
        if records.map(<[u8]>::len).sum::<usize>() > block.bytes().len() {
            return;
        }
        let sealed: Vec<_> = rows
            .clone()
            .filter_map(|row| block.record(row).ok())
            .collect();
        let (Some(one), Some(other)) = (sealed.first(), sealed.last()) else {
            return;
        };
        // From the first record to the last one; what is between two whose seals hold is no page either.
        let records = block.bytes();
        let start = place.end() - records.len() as u64;
        let at = |byte: *const u8| start + (byte.addr() - records.as_ptr().addr()) as u64;
        self.sealed
            .push(at(one.as_ptr())..at(other.as_ptr()) + other.len() as u64);
        let found = StrayBlock {
            place,
            rows: block.len(),
            records: rows.filter(|row| block.get(*row).is_some()).count() as u64,
            sealed: sealed.len() as u64,
        };
        self.version(first, found);
    }

    /// Keeps a version of a block, if it is one of the two that are kept.
    fn version(&mut self, first: u64, found: StrayBlock) {
        let is_newer_than = |version: bool| {
            let known = self.blocks.get(&(first, version));
            known.is_none_or(|known| known.age() < found.age())
        };
        if is_newer_than(NEWEST) {
            let is_whole = found.is_whole();
            let before = self.blocks.insert((first, NEWEST), found);
            if is_whole {
                self.blocks.remove(&(first, WHOLE));
            } else if let Some(before) = before.filter(StrayBlock::is_whole) {
                self.blocks.insert((first, WHOLE), before);
            }
        } else if found.is_whole() && is_newer_than(WHOLE) {
            let newest = self.blocks.get(&(first, NEWEST));
            if newest.is_some_and(|newest| !newest.is_whole()) {
                self.blocks.insert((first, WHOLE), found);
            }
        }
    }

    fn summary(&mut self, key: u64, value: &[u8]) {
        if key == Kind::State.summary_key(0)
            && let Ok(state) = State::decode(value)
        {
            let is_newer = |known: &State| known.mark.number < state.mark.number;
            if self.state.as_ref().is_none_or(is_newer) {
                self.state = Some(state);
            }
        } else if let Ok(number) = u32::try_from(Kind::Pipeline.summary_key(0) ^ key)
            && let Ok(entry) = Entry::decode(number, value)
        {
            self.names.insert(number, entry.name);
        }
    }

    /// Whether there is anything that was stored.
    pub(super) fn has_anything(&self) -> bool {
        !self.names.is_empty()
            || !self.rows().is_empty()
            || self.state.as_ref().is_some_and(State::has_commits)
    }

    /// The planes of a leaf, if they were found, and the row from which on they know of none.
    pub(super) fn planes_of(&self, leaf: u64) -> Option<(&Planes, u64)> {
        let (age, planes) = self.status.get(&leaf)?;
        Some((planes, leaf * STATUS_ROWS + age.rows))
    }

    /// The sealed record of a row that lies apart from its block.
    pub(super) fn replaced(&self, row: u64) -> Option<Vec<u8>> {
        self.read(*self.replaced.get(&row)?)
    }

    /// The status code of a row, 0 if it was deleted, as far as its leaf was found and says so: rows are given out in order, and one
    /// before a sample has had one.
    pub(super) fn code(&self, row: u64) -> Option<u8> {
        let (_, planes) = self.status.get(&(row / STATUS_ROWS))?;
        let end = (row / STATUS_ROWS + 1) * STATUS_ROWS;
        let is_known = || (row + 1..end).any(|later| planes.code(later) != 0);
        match planes.code(row) {
            0 => is_known().then_some(0),
            code => Some(code),
        }
    }

    /// Every row that there may be a record of.
    pub(super) fn rows(&self) -> RoaringTreemap {
        let mut rows: RoaringTreemap = self.replaced.keys().copied().collect();
        for ((first, _), block) in &self.blocks {
            rows.insert_range(*first..first + block.rows);
        }
        rows
    }

    /// The sealed record of a row in its block, one whose seal holds if there is one. `last` is what was read last, by where it lies.
    pub(super) fn in_block(&self, row: u64, last: &mut Option<(u64, Vec<u8>)>) -> Option<Vec<u8>> {
        // Blocks are joined and begun anew, so that others may begin between the one that has it and the row.
        let reach = (row.saturating_sub(STATUS_ROWS), WHOLE)..=(row, NEWEST);
        let mut damaged = None;
        for ((first, _), block) in self.blocks.range(reach).rev() {
            if row >= first + block.rows {
                continue;
            }
            let offset = block.place.offset;
            if last.as_ref().is_none_or(|(known, _)| *known != offset) {
                *last = Some((offset, self.read(block.place).unwrap_or_default()));
            }
            let bytes = last.as_ref().map(|(_, bytes)| &**bytes);
            let Ok(block) = Block::new(*first, bytes.unwrap_or_default()) else {
                continue;
            };
            match block.get(row) {
                Some(sealed) if unseal(Kind::Row, row, sealed).is_ok() => {
                    return Some(sealed.to_vec());
                }
                Some(sealed) if damaged.is_none() => damaged = Some(sealed.to_vec()),
                _ => {}
            }
        }
        damaged
    }

    fn read(&self, place: Place) -> Option<Vec<u8>> {
        let mut bytes = vec![0; place.len];
        self.disk.read(place.offset, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// The keys and values of a leaf, if this may be one: four bytes with its type and their count, where each value ends, the
/// keys, the values.
pub(super) fn entries(bytes: &[u8], there: u64) -> Option<Vec<(u64, Range<usize>)>> {
    let [LEAF, _, low, high, ..] = *bytes else {
        return None;
    };
    let count = usize::from(u16::from_le_bytes([low, high]));
    let (ends, rest) = bytes[HEADER_BYTES..].split_at_checked(count * END_BYTES)?;
    let (keys, _) = rest.split_at_checked(count * KEY_BYTES)?;
    let mut start = HEADER_BYTES + ends.len() + keys.len();
    let mut entries: Vec<(u64, Range<usize>)> = Vec::with_capacity(count);
    for (end, key) in ends.as_chunks().0.iter().zip(keys.as_chunks().0) {
        let (end, key) = (u32::from_le_bytes(*end) as usize, u64::from_le_bytes(*key));
        let is_next = entries.last().is_none_or(|(last, _)| *last < key);
        if !is_next || end <= start || end as u64 > LEAF_BYTES_MAX || start as u64 >= there {
            return None;
        }
        // Of the last one a part may be left.
        entries.push((key, start..end.min(there as usize)));
        start = end;
    }
    Some(entries)
}

/// Fills `out`, with zeros where the disk cannot be read.
fn read_what_can_be(disk: &dyn Disk, start: u64, out: &mut [u8]) {
    let read = |at, out: &mut [u8]| -> io::Result<()> { disk.read(at, out) };
    if read(start, out).is_err() {
        for (at, page) in (start..).step_by(PAGE).zip(out.chunks_mut(PAGE)) {
            if read(at, page).is_err() {
                page.fill(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::database::disk::memory::MemoryDisk;
    use crate::database::schema::seal;

    fn found(bytes: Vec<u8>) -> Strays {
        Strays::find(Arc::new(MemoryDisk::of(bytes)), 0, &|_| Ok(())).unwrap()
    }

    /// A leaf with these entries, in whole pages.
    fn leaf(entries: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let count = entries.len() as u16;
        let mut page = vec![LEAF, 0];
        page.extend(count.to_le_bytes());
        let mut end = HEADER_BYTES + entries.len() * (END_BYTES + KEY_BYTES);
        for (_, value) in entries {
            end += value.len();
            page.extend((end as u32).to_le_bytes());
        }
        for (key, _) in entries {
            page.extend(key.to_le_bytes());
        }
        for (_, value) in entries {
            page.extend(value);
        }
        page.resize(page.len().next_multiple_of(PAGE), 0);
        page
    }

    #[test]
    fn a_record_is_found_in_a_leaf_of_many_pages_also_beyond_a_window() {
        let sealed = |row: u64, bytes: usize| {
            let mut value = vec![row as u8; bytes];
            seal(Kind::Row, row, &mut value);
            value
        };
        let mut bytes = vec![0; WINDOW_BYTES - PAGE];
        bytes.extend(leaf(&[(7, sealed(7, 40)), (9, sealed(9, 3 * PAGE))]));
        bytes.extend(leaf(&[(3, sealed(4, 40)), (11, sealed(11, 1))]));
        let strays = found(bytes);
        assert_eq!(strays.rows().iter().collect::<Vec<_>>(), [7, 9, 11]);
        assert_eq!(strays.replaced(9).unwrap(), sealed(9, 3 * PAGE));
        assert_eq!(strays.replaced(3), None);
    }

    #[test]
    fn pages_that_say_they_reach_to_the_end_are_read_a_bounded_number_of_times() {
        let pages = 4 * WINDOW_BYTES / PAGE;
        let mut bytes = Vec::new();
        for page in 0..pages {
            let mut one = vec![LEAF, 0, 1, 0];
            one.extend((((pages - page) * PAGE) as u32).to_le_bytes());
            one.extend(5_u64.to_le_bytes());
            one.resize(PAGE, 0x11);
            bytes.extend(one);
        }
        let len = bytes.len() as u64;
        let strays = found(bytes);
        assert!(strays.rows().is_empty() && strays.to_read < len);
    }

    proptest! {
        #[test]
        fn any_pages_are_looked_at_without_a_panic(
            pages in vec((0..3_u8, 0..6_u16, vec(0..9_000_u32, 0..6), vec(0..9_000_u64, 0..6), vec(any::<u8>(), 0..200)), 0..5)
        ) {
            let mut bytes = Vec::new();
            for (kind, count, ends, keys, rest) in pages {
                bytes.extend([kind, 0]);
                bytes.extend(count.to_le_bytes());
                ends.iter().for_each(|end| bytes.extend(end.to_le_bytes()));
                keys.iter().for_each(|key| bytes.extend(key.to_le_bytes()));
                bytes.extend(rest);
                bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
            }
            let strays = found(bytes);
            for row in strays.rows() {
                let _ = (strays.code(row), strays.replaced(row), strays.in_block(row, &mut None));
            }
        }
    }
}
