//! The index of ids: from the hash of an id to the rows it may stand for.
//!
//! The table `ids` is a hash table: pairs of hash and row lie in *buckets*, one for each value of the first bits
//! of a hash, a page full of sorted pairs each. Random ids would touch one bucket each. So new pairs are
//! *gathered* (`gathered.rs`). When 262,144 have gathered, that *generation* is frozen, and every later commit merges
//! a slice of it, some neighbouring buckets, into the table: about twice as many pairs as it brings new
//! ones, so that the next generation is never full before this one is merged, no commit pays for
//! all of it, and a bucket is written once for all its pairs of a generation. The idea is that of a log-structured merge tree's
//! first level (O'Neil et al. 1996). When buckets would become too full, the merge gives each half of its
//! bucket to a new one as it passes, as in linear hashing (Litwin 1980). All buckets are made when the first generation is
//! frozen, so that one which is not found is damage, and never an id that is not there.
//!
//! A pair is a hint: whoever finds one looks at the record, which must be there and have that id. So
//! a pair that outlives its sample does no harm, and a reader of an older commit may see newer pairs.
//! Deleting samples leaves their pairs where they are. When these have become many, the next merge removes
//! them on its way.

use redb::{ReadableTable, Table};

use super::failure::{Context, damaged};
use super::gathered::{Gathered, Pair, end_batches, first_not_below, run_key};
use super::schema::{Kind, LazyTable, missing, seal, unseal};
use super::state::State;
use crate::error::Result;

/// A generation is frozen when it has gathered so many pairs.
const GATHERED_PAIRS_MAX: u64 = if cfg!(test) { 700 } else { 262_144 };
/// Pairs merged for each new one, about.
const MERGE_RATE: usize = 2;
/// Fewer are not merged: a batch of one sample pays for them once in a while, for buckets side by side, instead of one bucket each time.
const MERGED_PAIRS_MIN: usize = 32;
/// More for each new one are not merged, also where much is owed, as behind a replay.
const MERGE_RATE_MAX: usize = 2 * MERGE_RATE;
/// Bits of a hash that choose its bucket in a new file: a generation fills the buckets about half.
pub(super) const FIRST_BITS: u64 = if cfg!(test) { 4 } else { 11 };
/// Buckets are halved before they would have more pairs than this on average. 312 fill a page, and how many are in one
/// bucket scatters by the square root.
const BUCKET_PAIRS_MAX: u64 = if cfg!(test) { 90 } else { 240 };
/// A merge removes the pairs of deleted samples when they may be so many, and one in
/// [`STALE_SHARE`] of all.
const STALE_PAIRS_MIN: u64 = if cfg!(test) { 50 } else { 65_536 };
const STALE_SHARE: u64 = 8;
/// Pairs that are looked at in one transaction when the table is swept.
const SWEPT_PAIRS: usize = if cfg!(test) { 300 } else { 250_000 };
/// Bytes of a pair.
pub(super) const PAIR_BYTES: u64 = (HASH_BYTES + ROW_BYTES) as u64;

const HASH_BYTES: usize = 8;
const ROW_BYTES: usize = 5;
/// Rows below this one can be written down.
pub(super) const ROWS_MAX: u64 = 1 << (8 * ROW_BYTES);

/// How the index is laid out at one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buckets {
    /// Bits of a hash that choose its bucket.
    pub(super) bits: u64,
    /// The same, where a merge has passed already.
    pub(super) merged_bits: u64,
    /// Hashes below this one are merged.
    pub(super) merged_hash_end: u64,
}

impl Buckets {
    /// Whether a file that gave out so many rows can have got here: buckets are halved when they are full and not
    /// before, so that nothing goes over more of them than there are pages.
    pub(super) fn is_possible(self, rows: u64) -> bool {
        let is_grown = |bits: u64| {
            bits == FIRST_BITS || {
                let before = bits.checked_sub(1).filter(|before| *before >= FIRST_BITS);
                before.is_some_and(|before| before < 64 && rows >> before > BUCKET_PAIRS_MAX)
            }
        };
        is_grown(self.bits)
            && is_grown(self.merged_bits)
            && (self.bits..=self.bits + 1).contains(&self.merged_bits)
    }

    /// The key of the bucket of a hash: the least hash that is in it.
    pub(super) fn key(self, hash: u64) -> u64 {
        match hash < self.merged_hash_end {
            true => first_hash(hash, self.merged_bits),
            false => first_hash(hash, self.bits),
        }
    }
}

/// Adds to `out` the rows that the table `ids` has for a hash.
pub(super) fn find_merged(
    table: &impl ReadableTable<u64, &'static [u8]>,
    state: &State,
    hash: u64,
    out: &mut Vec<u64>,
) -> Result<()> {
    if !state.has_buckets() {
        return Ok(());
    }
    let key = state.id_buckets.key(hash);
    let sealed = table.get(key).context("look up an id")?;
    let sealed = sealed.ok_or_else(|| missing(Kind::Ids, key))?;
    let bucket = Bucket::new(key, sealed.value())?;
    let first = bucket
        .hashes
        .partition_point(|bytes| u64::from_le_bytes(*bytes) < hash);
    out.extend((first..bucket.hashes.len()).map_while(|at| {
        let (found, row) = bucket.pair(at);
        (found == hash).then_some(row)
    }));
    Ok(())
}

/// The least hash that has the same first `bits` bits.
fn first_hash(hash: u64, bits: u64) -> u64 {
    hash & !(u64::MAX >> bits)
}

/// The pairs of a bucket, in order: all hashes, and then all rows.
pub(super) struct Bucket<'a> {
    hashes: &'a [[u8; HASH_BYTES]],
    rows: &'a [[u8; ROW_BYTES]],
}

impl<'a> Bucket<'a> {
    /// The bucket with this key.
    pub(super) fn new(key: u64, sealed: &'a [u8]) -> Result<Self> {
        let bytes = unseal(Kind::Ids, key, sealed)?;
        let pairs = bytes.len() / (HASH_BYTES + ROW_BYTES);
        let (hashes, rows) = bytes.split_at(pairs * HASH_BYTES);
        match (hashes.as_chunks(), rows.as_chunks()) {
            ((hashes, []), (rows, [])) if hashes.len() == rows.len() => Ok(Self { hashes, rows }),
            _ => Err(damaged("look up an id", "a bucket has the wrong length")
                .with_subject(format!("table ids, key {key}"))),
        }
    }

    fn pair(&self, at: usize) -> Pair {
        let [a, b, c, d, e] = self.rows[at];
        let row = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]);
        (u64::from_le_bytes(self.hashes[at]), row)
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = Pair> {
        (0..self.hashes.len()).map(|at| self.pair(at))
    }
}

/// Encodes the pairs of a bucket, sorted.
fn encode(key: u64, pairs: &[Pair], bytes: &mut Vec<u8>) {
    bytes.clear();
    pairs
        .iter()
        .for_each(|(hash, _)| bytes.extend(hash.to_le_bytes()));
    for (_, row) in pairs {
        bytes.extend(&row.to_le_bytes()[..ROW_BYTES]);
    }
    seal(Kind::Ids, key, bytes);
}

/// The two tables of the index, open for writing.
pub(super) struct IdTables<'a, 't> {
    pub(super) ids: &'a mut LazyTable<'t, u64, &'static [u8]>,
    pub(super) ids_gathered: &'a mut Table<'t, u64, &'static [u8]>,
}

impl IdTables<'_, '_> {
    /// Merges the slice of the frozen generation that `new_pairs` new pairs pay for, and those before them that paid for none yet, and freezes
    /// the growing one when it is full. Pairs for which `is_live` is false are dropped. Returns what is
    /// gathered from now on, unless it is what was.
    pub(super) fn advance(
        &mut self,
        gathered: &Gathered,
        state: &mut State,
        new_pairs: usize,
        is_live: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<Option<Gathered>> {
        if !gathered.frozen().is_empty() {
            let merged = first_not_below(gathered.frozen(), state.id_buckets.merged_hash_end);
            let owed = (state.active_ids as usize + new_pairs) * MERGE_RATE;
            let pairs = owed
                .saturating_sub(merged)
                .min((new_pairs * MERGE_RATE_MAX).max(MERGED_PAIRS_MIN));
            return match pairs < MERGED_PAIRS_MIN {
                true => Ok(None),
                false => self.merge(gathered, state, merged, pairs, is_live),
            };
        }
        if state.active_ids >= GATHERED_PAIRS_MAX {
            let pairs = state.merged_ids + state.active_ids;
            if pairs >> state.id_buckets.bits > BUCKET_PAIRS_MAX {
                state.id_buckets.merged_bits = state.id_buckets.bits + 1;
            }
            if state.stale_ids >= STALE_PAIRS_MIN.max(pairs / STALE_SHARE) {
                state.swept_ids = state.stale_ids;
            }
            if !state.has_buckets() {
                self.make_buckets(state.id_buckets.bits)?;
            }
            state.frozen_batch_end = state.next_batch;
            state.active_ids = 0;
            return Ok(Some(gathered.freeze()));
        }
        Ok(None)
    }

    /// Makes every bucket, empty, so that one that is not there is damage.
    fn make_buckets(&mut self, bits: u64) -> Result<()> {
        let keys = Keys {
            next: Some(0),
            last: u64::MAX,
            bits,
        };
        let mut bytes = Vec::new();
        for (key, _) in keys {
            encode(key, &[], &mut bytes);
            self.ids
                .open()?
                .insert(key, bytes.as_slice())
                .context("make buckets for ids")?;
        }
        Ok(())
    }

    /// Merges so many pairs of the frozen generation from the one at `start` on, the first that is not merged.
    fn merge(
        &mut self,
        gathered: &Gathered,
        state: &mut State,
        start: usize,
        pairs: usize,
        is_live: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<Option<Gathered>> {
        let frozen = gathered.frozen();
        let buckets = state.id_buckets;
        // Whole buckets: up to the end of the one that the last pair is in.
        let last = frozen.get(start + pairs).map_or(u64::MAX, |pair| pair.0);
        let last = last | (u64::MAX >> buckets.bits);
        let keys = Keys {
            next: Some(buckets.merged_hash_end),
            last,
            bits: buckets.bits,
        };
        let mut at = start;
        for (key, last) in keys {
            let end = at + frozen[at..].partition_point(|pair| pair.0 <= last);
            self.merge_bucket(key, &frozen[at..end], state, is_live)?;
            at = end;
        }
        if let Some(next_hash) = last.checked_add(1) {
            state.id_buckets.merged_hash_end = next_hash;
            return Ok(None);
        }
        self.ids_gathered
            .retain_in(..run_key(state.frozen_batch_end, 0), |_, _| false)
            .context("merge ids")?;
        end_batches(self.ids_gathered, state.frozen_batch_end)?;
        state.id_buckets.bits = state.id_buckets.merged_bits;
        state.id_buckets.merged_hash_end = 0;
        state.stale_ids = state.stale_ids.saturating_sub(state.swept_ids);
        state.swept_ids = 0;
        Ok(Some(gathered.without_frozen()))
    }

    /// Removes the pairs for which `is_live` is false from some buckets, from the one with the key `from` on; says where
    /// to go on, and how many went.
    pub(super) fn sweep(
        &mut self,
        from: u64,
        state: &mut State,
        is_live: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<(Option<u64>, u64)> {
        const OPERATION: &str = "sweep ids";
        let (mut next, mut seen, mut removed) = (None, 0, 0);
        let mut swept = Vec::new();
        for entry in self.ids.open()?.range(from..).context(OPERATION)? {
            let (key, sealed) = entry.context(OPERATION)?;
            let key = key.value();
            if seen >= SWEPT_PAIRS {
                next = Some(key);
                break;
            }
            let bucket = Bucket::new(key, sealed.value())?;
            let before = bucket.hashes.len();
            let pairs = live_pairs(&bucket, is_live)?;
            seen += before;
            if pairs.len() < before {
                removed += (before - pairs.len()) as u64;
                swept.push((key, pairs));
            }
        }
        let mut bytes = Vec::new();
        // A bucket without pairs stays: one that is not there is damage.
        for (key, pairs) in swept {
            encode(key, &pairs, &mut bytes);
            self.ids
                .open()?
                .insert(key, bytes.as_slice())
                .context(OPERATION)?;
        }
        state.merged_ids = state.merged_ids.saturating_sub(removed);
        state.stale_ids = state.stale_ids.saturating_sub(removed);
        state.swept_ids = state.swept_ids.saturating_sub(removed);
        Ok((next, removed))
    }

    /// Adds new pairs to the bucket with this key, and halves it if the state says so.
    fn merge_bucket(
        &mut self,
        key: u64,
        new: &[Pair],
        state: &mut State,
        is_live: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<()> {
        const OPERATION: &str = "merge ids";
        let bits = state.id_buckets.merged_bits;
        let is_halved = bits != state.id_buckets.bits;
        let is_swept = state.swept_ids > 0;
        if new.is_empty() && !is_halved && !is_swept {
            return Ok(());
        }
        let mut pairs = Vec::with_capacity(new.len() + BUCKET_PAIRS_MAX as usize);
        let old = {
            let sealed = self.ids.open()?.get(key).context(OPERATION)?;
            let sealed = sealed.ok_or_else(|| missing(Kind::Ids, key))?;
            pairs.extend(Bucket::new(key, sealed.value())?.pairs());
            pairs.len()
        };
        pairs.extend(new);
        // Two sorted runs, which a stable sort merges.
        pairs.sort();
        pairs.dedup();
        if state.stale_ids > 0 {
            let mut failed = None;
            let first_new_row = new.iter().map(|pair| pair.1).min();
            pairs.retain(|pair| {
                // Old pairs are looked at in a sweep only: their rows lie all over the planes.
                let is_looked_at = is_swept || first_new_row.is_some_and(|row| pair.1 >= row);
                !is_looked_at
                    || is_live(pair.1).unwrap_or_else(|error| {
                        failed = Some(error);
                        true
                    })
            });
            failed.map_or(Ok(()), Err)?;
        }
        state.merged_ids = state.merged_ids + pairs.len() as u64 - old as u64;
        let mut bytes = Vec::new();
        let mut rest = pairs.as_slice();
        let of_bucket = Keys {
            next: Some(key),
            last: key | (u64::MAX >> state.id_buckets.bits),
            bits,
        };
        for (key, last) in of_bucket {
            let (pairs, behind) = rest.split_at(rest.partition_point(|pair| pair.0 <= last));
            encode(key, pairs, &mut bytes);
            self.ids
                .open()?
                .insert(key, bytes.as_slice())
                .context(OPERATION)?;
            rest = behind;
        }
        Ok(())
    }
}

/// The pairs of a bucket for which `is_live` is true.
fn live_pairs(
    bucket: &Bucket<'_>,
    is_live: &mut dyn FnMut(u64) -> Result<bool>,
) -> Result<Vec<Pair>> {
    let mut live = Vec::with_capacity(bucket.hashes.len());
    for pair in bucket.pairs() {
        if is_live(pair.1)? {
            live.push(pair);
        }
    }
    Ok(live)
}

/// Seals a bucket again without the pairs for which `is_live` is false; says how many are left.
pub(super) fn swept_bucket(
    key: u64,
    sealed: &[u8],
    is_live: &mut dyn FnMut(u64) -> Result<bool>,
    bytes: &mut Vec<u8>,
) -> Result<u64> {
    let pairs = live_pairs(&Bucket::new(key, sealed)?, is_live)?;
    encode(key, &pairs, bytes);
    Ok(pairs.len() as u64)
}

/// The buckets of some hashes: the first and the last hash of each.
struct Keys {
    next: Option<u64>,
    last: u64,
    bits: u64,
}

impl Iterator for Keys {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let first = self.next.filter(|first| *first <= self.last)?;
        let last = first | (u64::MAX >> self.bits);
        self.next = last.checked_add(1);
        Some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_as_many_as_rows_can_fill() {
        let is_possible = |bits, merged_bits, rows| {
            let merged_hash_end = 0;
            let buckets = Buckets {
                bits,
                merged_bits,
                merged_hash_end,
            };
            buckets.is_possible(rows)
        };
        let full = (BUCKET_PAIRS_MAX + 1) << FIRST_BITS;
        assert!(is_possible(FIRST_BITS, FIRST_BITS, 0));
        assert!(is_possible(FIRST_BITS, FIRST_BITS + 1, full));
        assert!(is_possible(FIRST_BITS + 1, FIRST_BITS + 1, full));
        assert!(!is_possible(FIRST_BITS, FIRST_BITS + 1, full - 1));
        assert!(!is_possible(FIRST_BITS + 1, FIRST_BITS, full));
        assert!(!is_possible(FIRST_BITS, FIRST_BITS + 2, u64::MAX));
        for bits in [0, FIRST_BITS - 1, 40, 63, 64, 65, u64::MAX] {
            assert!(!is_possible(bits, bits, 1 << 30), "{bits}");
        }
    }
}
