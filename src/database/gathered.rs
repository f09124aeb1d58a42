//! [`Gathered`]: pairs of hash and row that are not in the table `ids` yet.
//!
//! Each commit appends its pairs, sorted, as runs of at most 320 to `ids_gathered`, and they are looked up in
//! memory. Why they are gathered, and how they get into `ids`, is `ids.rs`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{ReadableTable, Table};

use super::failure::{Context, damaged};
use super::schema::{Kind, seal, unseal};
use super::state::State;
use crate::error::Result;

/// Pairs of one run; one run fills a page.
const RUN_PAIRS: usize = if cfg!(test) { 32 } else { 320 };
const PAIR_BYTES: usize = 12;
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
                pairs.for_each(|pair| active.add(pair));
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
        let first = first_not_below(&self.frozen, hash);
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

    /// The generation that is being merged, sorted; empty when none is.
    pub(super) fn frozen(&self) -> &[Pair] {
        &self.frozen
    }

    /// Freezes the growing generation and begins a new one.
    pub(super) fn freeze(&self) -> Self {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        Self {
            active: Arc::default(),
            frozen: Arc::new(active.to_sorted()),
        }
    }

    /// What is gathered when the merge has ended.
    pub(super) fn without_frozen(&self) -> Self {
        Self {
            active: Arc::clone(&self.active),
            frozen: Arc::default(),
        }
    }
}

/// The index of the first of these sorted pairs whose hash is not below this one. Hashes are spread evenly, so
/// it is sought from where it is to be expected.
pub(super) fn first_not_below(pairs: &[Pair], hash: u64) -> usize {
    let expected = (u128::from(hash) * pairs.len() as u128) >> 64;
    let expected = expected as usize;
    let (mut low, mut high) = (expected, expected);
    let mut step = 16;
    while low > 0 && pairs[low - 1].0 >= hash {
        low = low.saturating_sub(step);
        step *= 4;
    }
    step = 16;
    while high < pairs.len() && pairs[high].0 < hash {
        high = (high + step).min(pairs.len());
        step *= 4;
    }
    low + pairs[low..high].partition_point(|pair| pair.0 < hash)
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

/// Adds to `out` the rows that the runs of the table have for a hash, the newest run first.
pub(super) fn find_in_runs(
    table: &impl ReadableTable<u64, &'static [u8]>,
    hash: u64,
    out: &mut Vec<u64>,
) -> Result<()> {
    for entry in table.iter().context("read the gathered ids")?.rev() {
        let (run, sealed) = entry.context("read the gathered ids")?;
        let (first_row, pairs) = open_run(run.value(), sealed.value())?;
        let first = pairs.partition_point(|bytes| pair(first_row, bytes).0 < hash);
        let of_hash = pairs[first..].iter().map(|bytes| pair(first_row, bytes));
        out.extend(of_hash.take_while(|pair| pair.0 == hash).map(|pair| pair.1));
    }
    Ok(())
}

fn decode_run(run: u64, sealed: &[u8]) -> Result<impl Iterator<Item = Pair>> {
    let (first_row, pairs) = open_run(run, sealed)?;
    Ok(pairs.iter().map(move |bytes| pair(first_row, bytes)))
}

/// The first row of a run, and its pairs as they lie there.
fn open_run(run: u64, sealed: &[u8]) -> Result<(u64, &[[u8; PAIR_BYTES]])> {
    let bytes = unseal(Kind::IdRun, run, sealed)?;
    let Some((first_row, pairs)) = bytes.split_first_chunk::<8>() else {
        return Err(damaged(
            "read the gathered ids",
            format!("run {run} is cut off"),
        ));
    };
    Ok((u64::from_le_bytes(*first_row), pairs.as_chunks().0))
}

fn pair(first_row: u64, bytes: &[u8; PAIR_BYTES]) -> Pair {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
    let row = u32::from_le_bytes([i, j, k, l]);
    let hash = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    (hash, first_row + u64::from(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_wherever_they_are() {
        let even: Vec<Pair> = (0..3_000).map(|at| (at * (u64::MAX / 3_000), at)).collect();
        let skewed: Vec<Pair> = (0..3_000).map(|at| (at / 7, at)).collect();
        for pairs in [even, skewed, vec![(u64::MAX, 1)], vec![]] {
            let near = |hash: u64| [hash.saturating_sub(1), hash, hash.saturating_add(1)];
            let hashes = pairs.iter().flat_map(|pair| near(pair.0));
            for hash in hashes.chain([0, u64::MAX]) {
                let expected = pairs.partition_point(|pair| pair.0 < hash);
                assert_eq!(first_not_below(&pairs, hash), expected);
            }
        }
    }
}
