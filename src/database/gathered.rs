//! [`Gathered`]: pairs of hash and row that are not in the table `ids` yet.
//!
//! Each commit appends its pairs, sorted, as a *batch* to `ids_gathered`: runs of about 320, the key of each its batch and
//! the first bits of the hashes it begins with, so that one look-up in the table finds the only run of a batch in
//! which a hash may be. A run says how far it reaches, and batches follow each other without a gap down to a run that says
//! that it is the oldest, so that one which is not found is damage, and never an id that is not there. Commits that reach redb's part of
//! the file together make one batch there (`gathered/join.rs`). Whoever looks up many ids
//! does it in memory, `gathered/pairs.rs`. Why pairs are gathered, and how they get into
//! `ids`, is `ids.rs`.

mod join;
mod pairs;

use std::sync::{Arc, PoisonError, RwLock};

use redb::{ReadableTable, Table};

use super::failure::{Context, damaged};
use super::schema::{Kind, missing, seal, unseal};
use super::state::State;
use crate::error::Result;
pub(super) use join::join_batches;
pub(super) use pairs::{Pairs, first_not_below};

/// Pairs of one run, which fill a page, unless more than these have the same first bits.
const RUN_PAIRS: usize = if cfg!(test) { 32 } else { 320 };
const PAIR_BYTES: usize = 12;
const HEADER_BYTES: usize = 8;
/// Bits of a hash in the key of a run.
const PREFIX_BITS: u32 = 16;
const PREFIX_END: u64 = 1 << PREFIX_BITS;
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

impl Gathered {
    /// Reads all runs of a commit.
    pub(super) fn read(
        table: &impl ReadableTable<u64, &'static [u8]>,
        state: &State,
    ) -> Result<Self> {
        let mut active = Pairs::default();
        let mut frozen = Vec::new();
        // The key of the run that must come next, once the oldest was met.
        let mut next_key = None;
        for entry in table.iter().context("read the gathered ids")? {
            let (key, sealed) = entry.context("read the gathered ids")?;
            let key = key.value();
            let run = Run::new(key, sealed.value())?;
            if next_key.is_some_and(|next| next != key)
                || run.header.is_oldest != next_key.is_none()
            {
                return Err(missing(Kind::IdRun, next_key.unwrap_or_default()));
            }
            next_key = Some(run.next_key());
            if key < run_key(state.frozen_batch_end, 0) {
                frozen.extend(run.pairs());
            } else {
                run.pairs().for_each(|pair| active.add(pair));
            }
        }
        if next_key.unwrap_or_default() != run_key(state.next_batch, 0) {
            return Err(missing(Kind::IdRun, next_key.unwrap_or_default()));
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

    /// How many pairs the growing generation has.
    pub(super) fn active_len(&self) -> u64 {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        active.len()
    }

    /// The generation that is being merged, sorted; empty when none is.
    pub(super) fn frozen(&self) -> &[Pair] {
        &self.frozen
    }

    /// Freezes the growing generation and begins a new one.
    pub(super) fn freeze(&self) -> Self {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        let frozen = active.to_sorted();
        // The next generation grows to about the same length.
        let mut next = Pairs::default();
        next.reserve(frozen.len());
        Self {
            active: Arc::new(RwLock::new(next)),
            frozen: Arc::new(frozen),
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

/// The key of a run of a batch; the first run of each has the prefix 0.
pub(super) fn run_key(batch: u64, prefix: u64) -> u64 {
    batch << PREFIX_BITS | prefix
}

fn prefix(hash: u64) -> u64 {
    hash >> (u64::BITS - PREFIX_BITS)
}

/// Appends the pairs of a commit as a batch. Sorts them.
pub(super) fn append_batch(
    table: &mut Table<'_, u64, &'static [u8]>,
    state: &mut State,
    pairs: &mut [Pair],
) -> Result<()> {
    pairs.sort_unstable();
    write_batch(table, state, pairs)?;
    state.active_ids += pairs.len() as u64;
    Ok(())
}

/// Writes sorted pairs as the next batch.
fn write_batch(
    table: &mut Table<'_, u64, &'static [u8]>,
    state: &mut State,
    pairs: &[Pair],
) -> Result<()> {
    let Some(first_row) = pairs.iter().map(|pair| pair.1).min() else {
        return Ok(());
    };
    let mut rest = pairs;
    let mut first_prefix = 0;
    while !rest.is_empty() {
        let (run, behind) = rest.split_at(run_len(rest));
        let key = run_key(state.next_batch, first_prefix);
        first_prefix = behind.first().map_or(PREFIX_END, |pair| prefix(pair.0));
        let header = Header {
            first_row,
            last_prefix: first_prefix - 1,
            is_oldest: key == 0,
        };
        write_run(table, key, &header, run)?;
        rest = behind;
    }
    state.next_batch += 1;
    Ok(())
}

/// Says that no batch is left before the one of this number: the one before it becomes the oldest, and empty.
pub(super) fn end_batches(table: &mut Table<'_, u64, &'static [u8]>, batch: u64) -> Result<()> {
    let header = Header {
        first_row: 0,
        last_prefix: PREFIX_END - 1,
        is_oldest: true,
    };
    write_run(table, run_key(batch.saturating_sub(1), 0), &header, &[])
}

fn write_run(
    table: &mut Table<'_, u64, &'static [u8]>,
    key: u64,
    header: &Header,
    pairs: &[Pair],
) -> Result<()> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + pairs.len() * PAIR_BYTES + 8);
    bytes.extend(header.encode());
    for (hash, row) in pairs {
        bytes.extend(hash.to_le_bytes());
        // What is between two checkpoints never brings 2^32 new rows.
        bytes.extend(((row - header.first_row) as u32).to_le_bytes());
    }
    seal(Kind::IdRun, key, &mut bytes);
    table
        .insert(key, bytes.as_slice())
        .context("write the gathered ids")?;
    Ok(())
}

/// How many of these sorted pairs are one run: those that share a prefix stay together.
fn run_len(pairs: &[Pair]) -> usize {
    let mut len = 0;
    for of_prefix in pairs.chunk_by(|a, b| prefix(a.0) == prefix(b.0)) {
        if len > 0 && len + of_prefix.len() > RUN_PAIRS {
            break;
        }
        len += of_prefix.len();
    }
    len
}

/// What `see` first makes of a row that the runs of the table have for a hash, beginning with the newest
/// batch. Batches that are merged as far as this hash are left out.
pub(super) fn find_in_batches<T>(
    table: &impl ReadableTable<u64, &'static [u8]>,
    state: &State,
    hash: u64,
    mut see: impl FnMut(u64) -> Result<Option<T>>,
) -> Result<Option<T>> {
    const OPERATION: &str = "read the gathered ids";
    let first_batch = match hash < state.id_buckets.merged_hash_end {
        true => state.frozen_batch_end,
        false => 0,
    };
    let wanted = prefix(hash);
    // Batches from this one on were looked at.
    let mut batch_end = state.next_batch;
    while batch_end > first_batch {
        let last_key = run_key(batch_end - 1, wanted);
        let before = batch_end;
        for entry in table.range(..=last_key).context(OPERATION)?.rev() {
            let (key, sealed) = entry.context(OPERATION)?;
            let key = key.value();
            let batch = key >> PREFIX_BITS;
            if batch + 1 == batch_end && key & (PREFIX_END - 1) > wanted {
                // The run is further down, and sought for.
                break;
            }
            let run = Run::new(key, sealed.value())?;
            if batch + 1 != batch_end || run.header.last_prefix < wanted {
                return Err(missing(Kind::IdRun, run_key(batch_end - 1, wanted)));
            }
            for row in run.rows(hash) {
                if let Some(seen) = see(row)? {
                    return Ok(Some(seen));
                }
            }
            if run.header.is_oldest || batch <= first_batch {
                return Ok(None);
            }
            batch_end = batch;
            if key & (PREFIX_END - 1) > 0 {
                // Runs of lesser hashes come before the next batch.
                break;
            }
        }
        // A table from which runs are lost, or in which they are out of order, leads nowhere.
        if batch_end == before {
            return Err(missing(Kind::IdRun, last_key));
        }
    }
    Ok(None)
}

/// How many pairs of the table are of rows for which `is_live` is false.
pub(super) fn dead_pairs(
    table: &impl ReadableTable<u64, &'static [u8]>,
    is_live: &mut dyn FnMut(u64) -> Result<bool>,
) -> Result<u64> {
    let mut dead = 0;
    for entry in table.iter().context("read the gathered ids")? {
        let (run, sealed) = entry.context("read the gathered ids")?;
        for (_, row) in Run::new(run.value(), sealed.value())?.pairs() {
            dead += u64::from(!is_live(row)?);
        }
    }
    Ok(dead)
}

/// What a run begins with: the least row of its batch (5 bytes), the last prefix of a hash that would be in it (`u16`), and
/// whether no batch is before its own (1 byte).
struct Header {
    first_row: u64,
    last_prefix: u64,
    is_oldest: bool,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d, e, ..] = self.first_row.to_le_bytes();
        let [f, g] = (self.last_prefix as u16).to_le_bytes();
        [a, b, c, d, e, f, g, u8::from(self.is_oldest)]
    }

    fn decode([a, b, c, d, e, f, g, is_oldest]: [u8; HEADER_BYTES]) -> Self {
        Self {
            first_row: u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]),
            last_prefix: u16::from_le_bytes([f, g]).into(),
            is_oldest: is_oldest == 1,
        }
    }
}

/// A run, and its pairs as they lie there.
struct Run<'a> {
    key: u64,
    header: Header,
    pairs: &'a [[u8; PAIR_BYTES]],
}

impl<'a> Run<'a> {
    fn new(key: u64, sealed: &'a [u8]) -> Result<Self> {
        let bytes = unseal(Kind::IdRun, key, sealed)?;
        let Some((header, pairs)) = bytes.split_first_chunk() else {
            return Err(damaged(
                "read the gathered ids",
                format!("run {key} is cut off"),
            ));
        };
        Ok(Self {
            key,
            header: Header::decode(*header),
            pairs: pairs.as_chunks().0,
        })
    }

    /// The key of the run behind it, of the same batch or the next one.
    fn next_key(&self) -> u64 {
        let batch = self.key & !(PREFIX_END - 1);
        batch + self.header.last_prefix + 1
    }

    fn pair(&self, bytes: &[u8; PAIR_BYTES]) -> Pair {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        let row = u32::from_le_bytes([i, j, k, l]);
        let hash = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        (hash, self.header.first_row + u64::from(row))
    }

    fn pairs(&self) -> impl Iterator<Item = Pair> {
        self.pairs.iter().map(|bytes| self.pair(bytes))
    }

    /// The rows of a hash.
    fn rows(&self, hash: u64) -> impl Iterator<Item = u64> {
        let first = self
            .pairs
            .partition_point(|bytes| self.pair(bytes).0 < hash);
        let pairs = self.pairs[first..].iter().map(|bytes| self.pair(bytes));
        pairs
            .take_while(move |pair| pair.0 == hash)
            .map(|pair| pair.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of all sizes, hashes that share prefixes, and hashes that are not there.
    #[test]
    fn a_hash_is_found_in_every_batch_that_has_it() {
        let file = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(file).unwrap();
        let transaction = database.begin_write().unwrap();
        let definition = redb::TableDefinition::<u64, &'static [u8]>::new("runs");
        let mut table = transaction.open_table(definition).unwrap();
        let mut state = State::new();
        let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = |number: u64| match number % 3 {
            // Many of one prefix, few prefixes, many.
            0 => spread(number) >> 40,
            1 => spread(number) & (3 << 62),
            _ => spread(number),
        };
        let mut all: Vec<Pair> = Vec::new();
        for len in [1, 400, 1, 1, 31, 33, 0, 257, 1_000, 1] {
            let first = all.len() as u64;
            let mut batch: Vec<Pair> = (first..first + len)
                .map(|row| (hash(row / 2 * 3 + row % 7), row))
                .collect();
            all.extend(&batch);
            append_batch(&mut table, &mut state, &mut batch).unwrap();
        }
        let found = |state: &State, hash: u64| {
            let mut found = Vec::new();
            let nothing = find_in_batches(&table, state, hash, |row| {
                found.push(row);
                Ok(None::<()>)
            });
            assert_eq!(nothing.unwrap(), None);
            found.sort_unstable();
            found
        };
        let near = all
            .iter()
            .flat_map(|pair| [pair.0.saturating_sub(1), pair.0, pair.0.saturating_add(1)]);
        let mut seen = 0;
        for hash in near.chain([0, u64::MAX]) {
            let rows = all.iter().filter(|pair| pair.0 == hash);
            let rows: Vec<u64> = rows.map(|pair| pair.1).collect();
            assert_eq!(found(&state, hash), rows, "{hash:x}");
            seen += rows.len();
        }
        assert!(seen > all.len());

        state.frozen_batch_end = 5;
        state.id_buckets.merged_hash_end = 1 << 63;
        for (hash, row) in &all {
            let is_left_out = *row < 434 && *hash < 1 << 63;
            assert_eq!(found(&state, *hash).contains(row), !is_left_out, "{row}");
        }
        let newest = find_in_batches(&table, &state, 0, |row| Ok(Some(row)));
        assert!(newest.unwrap().is_some());
    }
}
