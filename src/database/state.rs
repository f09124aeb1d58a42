//! What is known of the database as a whole: [`Identity`], made once, in the table `meta`, and [`State`],
//! one per commit, in the table `summary`.

use redb::{ReadableTable, Table, WriteTransaction};
use twox_hash::{XxHash3_64, XxHash3_128};

use super::failure::{Context, damaged};
use super::ids::{Buckets, FIRST_BITS, ROWS_MAX};
use super::log::{MARK_BYTES, Mark};
use super::schema::{Kind, definition, seal, unseal, unseal_exact};
use crate::error::{Error, Result};
use crate::sample::ID_BYTES_MAX;

const IDENTITY_BYTES: usize = 25;
const STATE_BYTES: usize = MARK_BYTES + 11 * 8 + 6 * 8;

/// What tells this database from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// A random number; cursors carry its low half.
    pub(super) id: u128,
    /// Seeds the hash of ids, so that nobody can choose ids that collide.
    pub(super) hash_seed: u64,
    /// How many bits of the hash are used: 64, and fewer only in tests of colliding ids.
    pub(super) hash_bits: u8,
}

impl Identity {
    pub(super) fn new(hash_bits: u8) -> Self {
        Self {
            id: random(),
            hash_seed: random() as u64,
            hash_bits,
        }
    }

    /// The identity that cursors carry.
    pub(super) fn cursor_identity(self) -> u64 {
        self.id as u64
    }

    /// The hash of an id: XXH3, seeded, all but its first bits cleared.
    pub(super) fn hash(self, id: &str) -> u64 {
        let hash = XxHash3_64::oneshot_with_seed(self.hash_seed, id.as_bytes());
        hash & (u64::MAX << (64 - u32::from(self.hash_bits.clamp(1, 64))))
    }

    /// Whether all bits of a hash are used, so that no two ids have the same.
    pub(super) fn has_whole_hashes(self) -> bool {
        self.hash_bits >= 64
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(IDENTITY_BYTES + 8);
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(self.hash_seed.to_le_bytes());
        bytes.push(self.hash_bits);
        seal(Kind::Meta, 0, &mut bytes);
        bytes
    }

    fn decode(sealed: &[u8]) -> Result<Self> {
        let bytes = unseal_exact::<IDENTITY_BYTES>(Kind::Meta, 0, sealed)?;
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[..16]);
        Ok(Self {
            id: u128::from_le_bytes(id),
            hash_seed: word(&bytes[16..]),
            hash_bits: bytes[24],
        })
    }
}

/// 122 random bits from the operating system, spread by a hash.
fn random() -> u128 {
    XxHash3_128::oneshot(uuid::Uuid::new_v4().as_bytes())
}

/// Where everything stands after a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// How much of the log is in it. Its number is the number of the commit.
    pub(super) mark: Mark,
    /// The next row to be given out.
    pub(super) next_row: u64,
    /// The next batch of gathered ids.
    pub(super) next_batch: u64,
    /// How many pairs the batches of the active generation hold.
    pub(super) active_ids: u64,
    /// Batches below this one are of the frozen generation, which is being merged into `ids`.
    pub(super) frozen_batch_end: u64,
    /// How the table `ids` is laid out, and how far the frozen generation is merged into it.
    pub(super) id_buckets: Buckets,
    /// Pairs in the table `ids`.
    pub(super) merged_ids: u64,
    /// The number for the next new pipeline.
    pub(super) next_pipeline: u64,
    /// Samples that were deleted and whose pairs may still be in the index of ids.
    pub(super) stale_ids: u64,
    /// How many of them the merge that is under way removes as it passes; 0 when it removes none.
    pub(super) swept_ids: u64,
    /// Samples per status.
    pub(super) totals: [u64; 6],
    /// No id that was ever stored is greater, byte by byte. Ids that grow with time, such as UUIDv7, need not be
    /// looked up when they are new.
    pub(super) greatest_id: String,
}

impl State {
    /// Of a database without samples.
    pub(super) fn new() -> Self {
        Self {
            mark: Mark::default(),
            next_row: 0,
            next_batch: 0,
            active_ids: 0,
            frozen_batch_end: 0,
            id_buckets: Buckets {
                bits: FIRST_BITS,
                merged_bits: FIRST_BITS,
                merged_hash_end: 0,
            },
            merged_ids: 0,
            next_pipeline: 0,
            stale_ids: 0,
            swept_ids: 0,
            totals: [0; 6],
            greatest_id: String::new(),
        }
    }

    /// Whether the table `ids` has its buckets: once a generation was frozen.
    pub(super) fn has_buckets(&self) -> bool {
        self.frozen_batch_end > 0
    }

    /// Whether anything was ever committed.
    pub(super) fn has_commits(&self) -> bool {
        self.next_row > 0 || self.mark.number > 0
    }

    /// All samples.
    pub(super) fn samples(&self) -> u64 {
        self.totals.iter().sum()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STATE_BYTES + self.greatest_id.len() + 8);
        bytes.extend(self.mark.encode());
        for word in [
            self.next_row,
            self.next_batch,
            self.active_ids,
            self.frozen_batch_end,
            self.id_buckets.bits,
            self.id_buckets.merged_bits,
            self.id_buckets.merged_hash_end,
            self.merged_ids,
            self.next_pipeline,
            self.stale_ids,
            self.swept_ids,
        ] {
            bytes.extend(word.to_le_bytes());
        }
        for total in self.totals {
            bytes.extend(total.to_le_bytes());
        }
        bytes.extend(self.greatest_id.as_bytes());
        seal(Kind::State, 0, &mut bytes);
        bytes
    }

    pub(super) fn decode(sealed: &[u8]) -> Result<Self> {
        let bytes = unseal(Kind::State, 0, sealed)?;
        let fixed = bytes.split_first_chunk::<STATE_BYTES>();
        let (fixed, greatest_id) = fixed.ok_or_else(absent)?;
        let greatest_id = std::str::from_utf8(greatest_id).map_err(|_| absent())?;
        let (mark, rest) = fixed.split_first_chunk().ok_or_else(absent)?;
        let at = |index: usize| word(&rest[index * 8..]);
        let state = Self {
            mark: Mark::decode(mark),
            next_row: at(0),
            next_batch: at(1),
            active_ids: at(2),
            frozen_batch_end: at(3),
            id_buckets: Buckets {
                bits: at(4),
                merged_bits: at(5),
                merged_hash_end: at(6),
            },
            merged_ids: at(7),
            next_pipeline: at(8),
            stale_ids: at(9),
            swept_ids: at(10),
            totals: std::array::from_fn(|status| at(11 + status)),
            greatest_id: greatest_id.to_owned(),
        };
        let is_possible = state.id_buckets.is_possible(state.next_row)
            && state.next_row <= ROWS_MAX
            && state.greatest_id.len() <= ID_BYTES_MAX;
        match is_possible {
            true => Ok(state),
            false => Err(damaged(
                "open the database",
                "its state says what cannot be",
            )),
        }
    }
}

pub(super) const IDENTITY: &str = "identity";
/// The state that redb made durable last, once more: it says what of the log counts, so it lies in two pages.
pub(super) const STATE: &str = "state";

pub(super) fn read_identity(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Identity> {
    Identity::decode(&read(table, IDENTITY)?.ok_or_else(absent)?)
}

pub(super) fn read_state(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<State> {
    let guard = table
        .get(Kind::State.summary_key(0))
        .context("read the state")?;
    State::decode(guard.ok_or_else(absent)?.value())
}

pub(super) fn write_state(table: &mut Table<'_, u64, &'static [u8]>, state: &State) -> Result<()> {
    table
        .insert(Kind::State.summary_key(0), state.encode().as_slice())
        .context("write the state")?;
    Ok(())
}

/// Writes the state, as it is in `summary`, into `meta` too.
pub(super) fn copy_state(transaction: &WriteTransaction) -> Result<()> {
    const OPERATION: &str = "write the state";
    let summary = transaction.open_table(definition::summary);
    let summary = summary.context(OPERATION)?;
    let state = summary.get(Kind::State.summary_key(0)).context(OPERATION)?;
    let state = state.ok_or_else(absent)?;
    let mut meta = transaction
        .open_table(definition::meta)
        .context(OPERATION)?;
    meta.insert(STATE, state.value()).context(OPERATION)?;
    Ok(())
}

/// The state that `meta` has; none in a file that was made and never written.
pub(super) fn read_copied_state(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Option<State>> {
    let sealed = read(table, STATE)?;
    sealed.map(|sealed| State::decode(&sealed)).transpose()
}

fn read(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<Option<Vec<u8>>> {
    let guard = table.get(name).context("read the table meta")?;
    Ok(guard.map(|guard| guard.value().to_vec()))
}

/// The error for a file that lacks what every file has.
pub(super) fn absent() -> Error {
    damaged("open the database", "its identity or its state is missing")
}

fn word(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
