//! [`Strays`]: what lies in a file although no tree leads to it any more.
//!
//! A record, a leaf of the status planes and the name of a pipeline are sealed with what they are and with the key that
//! they belong to. So each can be told where it lies, whatever has become of the branches above it and of the roots of
//! the tables: every page of the file is looked at as if it were a leaf of redb's (its design is in redb's
//! `docs/design.md`), and what has a seal that holds is one. What cannot be told is whether a tree still led to it when
//! the file was whole: pages that were given up keep what they had until they are used again. So a sample that is found here may be an older version of itself,
//! or have been deleted.

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
use crate::database::planes::{ANY_STATUS, Planes};
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

/// Where values lie in the file, by what they belong to. Some dozen bytes for each block and for each record apart from one.
pub(super) struct Strays {
    disk: Arc<dyn Disk>,
    /// By the first row of a block, the version of it that is newest, as far as can be told.
    blocks: BTreeMap<u64, StrayBlock>,
    /// By row.
    replaced: BTreeMap<u64, Place>,
    status: BTreeMap<u64, (u32, Planes)>,
    pub(super) names: BTreeMap<u32, Arc<str>>,
    /// That of the last commit that there is one of.
    pub(super) state: Option<State>,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    len: usize,
}

struct StrayBlock {
    place: Place,
    rows: u64,
    records: u64,
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
        let Some(entries) = entries(rest, there) else {
            return;
        };
        let end = entries.last().map_or(0, |(_, range)| range.end);
        let mut far = Vec::new();
        let bytes = match rest.get(..end) {
            Some(bytes) => bytes,
            None => {
                far.resize(end, 0);
                if self.disk.read(offset, &mut far).is_err() {
                    return;
                }
                &far
            }
        };
        for (key, range) in entries {
            let place = Place {
                offset: offset + range.start as u64,
                len: range.len(),
            };
            self.value(key, &bytes[range], place);
        }
    }

    fn value(&mut self, key: u64, value: &[u8], place: Place) {
        if key > ROWS_MAX {
            return self.summary(key, value);
        }
        if value.len() == LEAF_BYTES + SEAL_BYTES
            && let Ok(bytes) = unseal_exact(Kind::Status, key, value)
        {
            return self.planes(key, Planes::decode(bytes));
        }
        if unseal(Kind::Row, key, value).is_ok() {
            self.replaced.insert(key, place);
        } else if let Ok(block) = Block::new(key, value) {
            self.block(key, &block, place);
        }
    }

    /// A version of a leaf: the one with the most samples is taken for the newest, and of those the one whose samples have come
    /// furthest.
    fn planes(&mut self, leaf: u64, planes: Planes) {
        let rows = leaf * STATUS_ROWS..(leaf + 1) * STATUS_ROWS;
        let live: u32 = planes
            .matching(ANY_STATUS)
            .map(u64::count_ones)
            .iter()
            .sum();
        let codes: u32 = rows.map(|row| u32::from(planes.code(row))).sum();
        let progress = live * 8 * STATUS_ROWS as u32 + codes;
        match self.status.entry(leaf) {
            btree_map::Entry::Occupied(mut entry) if entry.get().0 < progress => {
                entry.insert((progress, planes));
            }
            btree_map::Entry::Occupied(_) => {}
            btree_map::Entry::Vacant(entry) => {
                entry.insert((progress, planes));
            }
        }
    }

    /// A version of a block: it grows while it is the last one, and later loses records.
    fn block(&mut self, first: u64, block: &Block<'_>, place: Place) {
        if block.len() > STATUS_ROWS {
            return;
        }
        let rows = first..first + block.len();
        let Some(some) = rows.clone().find(|row| block.get(*row).is_some()) else {
            return;
        };
        if block.record(some).is_err() {
            return;
        }
        let found = StrayBlock {
            place,
            rows: block.len(),
            records: rows.filter(|row| block.get(*row).is_some()).count() as u64,
        };
        let is_newer = |known: &StrayBlock| {
            (known.rows, u64::MAX - known.records) < (found.rows, u64::MAX - found.records)
        };
        if self.blocks.get(&first).is_none_or(is_newer) {
            self.blocks.insert(first, found);
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
        for (first, block) in &self.blocks {
            rows.insert_range(*first..first + block.rows);
        }
        rows
    }

    /// The sealed record of a row: the one that lies apart, if there is one. `last` is the block that was read last.
    pub(super) fn record(&self, row: u64, last: &mut Option<(u64, Vec<u8>)>) -> Option<Vec<u8>> {
        if let Some(place) = self.replaced.get(&row) {
            return self.read(*place);
        }
        // Blocks are joined and begun anew, so that others may begin between the one that has it and the row.
        let reach = row.saturating_sub(STATUS_ROWS)..=row;
        for (first, block) in self.blocks.range(reach).rev() {
            if row >= first + block.rows {
                continue;
            }
            if last.as_ref().is_none_or(|(known, _)| known != first) {
                *last = Some((*first, self.read(block.place)?));
            }
            let bytes = last.as_ref().map(|(_, bytes)| &**bytes);
            let block = Block::new(*first, bytes.unwrap_or_default()).ok()?;
            if let Some(sealed) = block.get(row) {
                return Some(sealed.to_vec());
            }
        }
        None
    }

    fn read(&self, place: Place) -> Option<Vec<u8>> {
        let mut bytes = vec![0; place.len];
        self.disk.read(place.offset, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// The keys and values of a leaf, if this may be one: four bytes with its type and their count, where each value ends, the
/// keys, the values.
fn entries(bytes: &[u8], there: u64) -> Option<Vec<(u64, Range<usize>)>> {
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
        if !is_next || end <= start || end as u64 > there {
            return None;
        }
        entries.push((key, start..end));
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
