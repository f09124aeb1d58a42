//! The index of ids: from the hash of an id to its row.
//!
//! Random ids would touch one leaf page each. So new pairs of hash and row are *gathered*: each
//! commit appends them, sorted, as runs of at most 320 pairs to `ids_gathered`, and they are looked up
//! in memory. When 262,144 have gathered, that *generation* is frozen, and every later commit merges a
//! slice of it, a contiguous range of hashes, into the table `ids`: twice as many pairs as it brings
//! new ones, so that the next generation is never full before this one is merged, and no commit pays
//! for all of it. The idea is that of a log-structured merge tree's first level (O'Neil et al. 1996).
//!
//! A pair is a hint: whoever finds one looks at the record, which must be there and have that id. So
//! a pair that outlives its sample does no harm, and a reader of an older commit may see newer pairs.
//! Deleting samples leaves their pairs where they are. When these have become many, the next merge, which
//! passes all hashes anyway, removes them on its way.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{ReadableTable, ReadableTableMetadata, Table};

use super::failure::{Context, damaged};
use super::schema::{Kind, seal, unseal};
use super::state::State;
use crate::error::Result;

/// A generation is frozen when it has gathered so many pairs.
const GATHERED_PAIRS_MAX: u64 = if cfg!(test) { 700 } else { 262_144 };
/// Pairs of one run; one run fills a page.
const RUN_PAIRS: usize = if cfg!(test) { 32 } else { 320 };
const PAIR_BYTES: usize = 12;
/// Pairs merged for each new one.
const MERGE_RATE: usize = 2;
/// A merge removes the pairs of deleted samples when they may be so many, and one in
/// [`STALE_SHARE`] of all.
const STALE_PAIRS_MIN: u64 = if cfg!(test) { 50 } else { 65_536 };
const STALE_SHARE: u64 = 8;

/// A hash of an id and a row it may stand for.
pub(super) type Pair = (u64, u64);

/// The pairs that are not in `ids` yet.
#[derive(Clone, Debug)]
pub(super) struct Gathered {
    /// Still growing. Shared with readers of older commits, to whom newer pairs do no harm.
    active: Arc<RwLock<Pairs>>,
    /// Full, sorted, and being merged; pairs merged already are in both places.
    frozen: Arc<Vec<Pair>>,
}

/// Pairs in memory, found by hash.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// The last row of each hash.
    rows: HashMap<u64, u64, BuildHasherDefault<Unhashed>>,
    /// Earlier rows of a hash that is in `rows`.
    earlier: HashMap<u64, Vec<u64>, BuildHasherDefault<Unhashed>>,
}

/// The hash of a hash: itself.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Pairs {
    pub(super) fn add(&mut self, (hash, row): Pair) {
        if let Some(old) = self.rows.insert(hash, row)
            && old != row
        {
            self.earlier.entry(hash).or_default().push(old);
        }
    }

    /// The rows of a hash, the last one first.
    pub(super) fn find(&self, hash: u64, out: &mut Vec<u64>) {
        if let Some(row) = self.rows.get(&hash) {
            out.push(*row);
            if let Some(rows) = self.earlier.get(&hash) {
                out.extend(rows.iter().rev());
            }
        }
    }

    fn to_sorted(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = self.rows.iter().map(|(hash, row)| (*hash, *row)).collect();
        for (hash, rows) in &self.earlier {
            pairs.extend(rows.iter().map(|row| (*hash, *row)));
        }
        pairs.sort_unstable();
        pairs
    }
}

impl Gathered {
    /// Reads all runs of a commit.
    pub(super) fn read(
        table: &impl ReadableTable<u64, &'static [u8]>,
        state: &State,
    ) -> Result<Self> {
        let mut active = Pairs::default();
        let mut frozen = Vec::new();
        for entry in table.iter().context("read the gathered ids")? {
            let (run, sealed) = entry.context("read the gathered ids")?;
            let run = run.value();
            let pairs = decode_run(run, sealed.value())?;
            if run < state.frozen_run_end {
                frozen.extend(pairs);
            } else {
                pairs.into_iter().for_each(|pair| active.add(pair));
            }
        }
        frozen.sort_unstable();
        Ok(Self {
            active: Arc::new(RwLock::new(active)),
            frozen: Arc::new(frozen),
        })
    }

    /// The rows that `hash` may stand for, newest generation first.
    pub(super) fn find(&self, hash: u64, out: &mut Vec<u64>) {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        active.find(hash, out);
        drop(active);
        let first = self.frozen.partition_point(|pair| pair.0 < hash);
        out.extend(
            self.frozen[first..]
                .iter()
                .take_while(|pair| pair.0 == hash)
                .map(|pair| pair.1),
        );
    }

    /// Adds the pairs of a commit, after it succeeded.
    pub(super) fn add(&self, pairs: &[Pair]) {
        let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
        pairs.iter().for_each(|pair| active.add(*pair));
    }

    /// Whether a merge is under way.
    fn is_merging(&self) -> bool {
        !self.frozen.is_empty()
    }

    /// Freezes the growing generation and begins a new one.
    fn freeze(&self) -> Self {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        Self {
            active: Arc::default(),
            frozen: Arc::new(active.to_sorted()),
        }
    }

    fn without_frozen(&self) -> Self {
        Self {
            active: Arc::clone(&self.active),
            frozen: Arc::default(),
        }
    }
}

/// Appends the pairs of a commit as runs. Sorts them.
pub(super) fn append_runs(
    table: &mut Table<'_, u64, &'static [u8]>,
    state: &mut State,
    pairs: &mut [Pair],
) -> Result<()> {
    let first_row = pairs.iter().map(|pair| pair.1).min().unwrap_or_default();
    pairs.sort_unstable();
    for pairs in pairs.chunks(RUN_PAIRS) {
        let mut bytes = Vec::with_capacity(8 + pairs.len() * PAIR_BYTES + 8);
        bytes.extend(first_row.to_le_bytes());
        for (hash, row) in pairs {
            bytes.extend(hash.to_le_bytes());
            // One commit never brings 2^32 new rows.
            bytes.extend(((row - first_row) as u32).to_le_bytes());
        }
        seal(Kind::IdRun, state.next_run, &mut bytes);
        table
            .insert(state.next_run, bytes.as_slice())
            .context("write the gathered ids")?;
        state.next_run += 1;
    }
    state.active_ids += pairs.len() as u64;
    Ok(())
}

fn decode_run(run: u64, sealed: &[u8]) -> Result<Vec<Pair>> {
    let bytes = unseal(Kind::IdRun, run, sealed)?;
    let Some((first_row, pairs)) = bytes.split_first_chunk::<8>() else {
        return Err(damaged(
            "read the gathered ids",
            format!("run {run} is cut off"),
        ));
    };
    let first_row = u64::from_le_bytes(*first_row);
    Ok(pairs
        .as_chunks::<PAIR_BYTES>()
        .0
        .iter()
        .map(|&[a, b, c, d, e, f, g, h, i, j, k, l]| {
            let hash = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            (
                hash,
                first_row + u64::from(u32::from_le_bytes([i, j, k, l])),
            )
        })
        .collect())
}

/// The three tables of the index, open for writing.
pub(super) struct IdTables<'a, 't> {
    pub(super) ids: &'a mut Table<'t, u64, u64>,
    pub(super) ids_shared: &'a mut Table<'t, u128, ()>,
    pub(super) ids_gathered: &'a mut Table<'t, u64, &'static [u8]>,
}

impl IdTables<'_, '_> {
    /// Merges the slice of the frozen generation that `new_pairs` new pairs pay for, and freezes the
    /// growing one when it is full. Pairs for which `is_live` is false are dropped. Returns what is
    /// gathered from now on.
    pub(super) fn advance(
        &mut self,
        gathered: &Gathered,
        state: &mut State,
        new_pairs: usize,
        is_live: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<Option<Gathered>> {
        if gathered.is_merging() {
            return self.merge(gathered, state, new_pairs * MERGE_RATE, is_live);
        }
        if state.active_ids >= GATHERED_PAIRS_MAX {
            state.frozen_run_end = state.next_run;
            state.merged_hash_end = 0;
            state.active_ids = 0;
            let pairs = self.ids.len().context("merge ids")?;
            if state.stale_ids >= STALE_PAIRS_MIN.max(pairs / STALE_SHARE) {
                state.swept_ids = state.stale_ids;
            }
            return Ok(Some(gathered.freeze()));
        }
        Ok(None)
    }

    fn merge(
        &mut self,
        gathered: &Gathered,
        state: &mut State,
        pairs: usize,
        is_live: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<Option<Gathered>> {
        let frozen = &gathered.frozen;
        let start = frozen.partition_point(|pair| pair.0 < state.merged_hash_end);
        let mut end = frozen.len().min(start + pairs);
        // The progress is kept as a hash, so pairs of one hash go together.
        while end > start && end < frozen.len() && frozen[end].0 == frozen[end - 1].0 {
            end += 1;
        }
        let next_hash = frozen.get(end).map(|pair| pair.0);
        if state.swept_ids > 0 {
            let last_hash = next_hash.map_or(u64::MAX, |hash| hash.saturating_sub(1));
            self.sweep(state.merged_hash_end..=last_hash, is_live)?;
        }
        for (hash, row) in &frozen[start..end] {
            if is_live(*row)? {
                self.insert(*hash, *row, is_live)?;
            }
        }
        if let Some(next_hash) = next_hash {
            state.merged_hash_end = next_hash;
            return Ok(None);
        }
        state.stale_ids = state.stale_ids.saturating_sub(state.swept_ids);
        state.swept_ids = 0;
        self.ids_gathered
            .retain_in(..state.frozen_run_end, |_, _| false)
            .context("merge ids")?;
        state.merged_hash_end = 0;
        Ok(Some(gathered.without_frozen()))
    }

    fn insert(
        &mut self,
        hash: u64,
        row: u64,
        is_live: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<()> {
        let old = self.ids.insert(hash, row).context("merge ids")?;
        let old = old.map(|old| old.value());
        if let Some(old) = old
            && old != row
            && is_live(old)?
        {
            self.ids_shared
                .insert(shared_key(hash, old), ())
                .context("merge ids")?;
        }
        Ok(())
    }

    /// Removes the pairs of these hashes whose samples were deleted.
    pub(super) fn sweep(
        &mut self,
        hashes: RangeInclusive<u64>,
        is_live: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<()> {
        const OPERATION: &str = "sweep ids";
        let mut stale = Vec::new();
        for entry in self.ids.range(hashes.clone()).context(OPERATION)? {
            let (hash, row) = entry.context(OPERATION)?;
            if !is_live(row.value())? {
                stale.push((hash.value(), row.value()));
            }
        }
        let shared = shared_key(*hashes.start(), 0)..=shared_key(*hashes.end(), u64::MAX);
        for entry in self.ids_shared.range(shared).context(OPERATION)? {
            let key = entry.context(OPERATION)?.0.value();
            // The high half is the hash, the low half the row.
            let (hash, row) = ((key >> 64) as u64, key as u64);
            if !is_live(row)? {
                stale.push((hash, row));
            }
        }
        stale.into_iter().try_for_each(|pair| self.remove(pair))
    }

    /// Removes a pair, if it is there.
    fn remove(&mut self, (hash, row): Pair) -> Result<()> {
        const OPERATION: &str = "remove an id";
        let found = self
            .ids
            .get(hash)
            .context(OPERATION)?
            .map(|row| row.value());
        match found {
            Some(first) if first == row => {
                let next = self
                    .ids_shared
                    .range(shared_range(hash))
                    .context(OPERATION)?
                    .next()
                    .transpose()
                    .context(OPERATION)?
                    .map(|(key, _)| key.value());
                match next {
                    Some(key) => {
                        self.ids_shared.remove(key).context(OPERATION)?;
                        self.ids.insert(hash, key as u64).context(OPERATION)?;
                    }
                    None => {
                        self.ids.remove(hash).context(OPERATION)?;
                    }
                }
            }
            Some(_) => {
                self.ids_shared
                    .remove(shared_key(hash, row))
                    .context(OPERATION)?;
            }
            None => {}
        }
        Ok(())
    }
}

fn shared_key(hash: u64, row: u64) -> u128 {
    (u128::from(hash) << 64) | u128::from(row)
}

/// The keys of a hash in `ids_shared`.
pub(super) fn shared_range(hash: u64) -> std::ops::RangeInclusive<u128> {
    shared_key(hash, 0)..=shared_key(hash, u64::MAX)
}
