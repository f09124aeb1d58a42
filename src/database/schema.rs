//! Every table, key and constant of the file format, and the seal that each value carries.
//!
//! The format is written down for readers in other languages in the chapter
//! [`crate::docs::file_format`]; a change here is a change there. How values are read and written is
//! each index's own file; no file but this one names a table.

use std::ops::{Range, RangeInclusive};
use std::sync::OnceLock;

use redb::{Key, ReadOnlyTable, ReadTransaction, Table, TableDefinition, Value, WriteTransaction};
use twox_hash::XxHash3_64;

use super::failure::{Context, damaged};
use super::once::get_or_read;
use crate::error::{Error, ErrorKind, Result};

/// The format version that this crate writes. Newer ones are refused.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Leaves are so much smaller in this crate's own tests, and chunks twice that, so that a few thousand
/// samples meet every boundary.
const SHARE: u64 = if cfg!(test) { 32 } else { 1 };

/// Rows of one chunk, the unit of planning. A multiple of the three below.
pub(super) const CHUNK_ROWS: u64 = if cfg!(test) { 960 } else { 61_440 };
/// Rows of one leaf of the status planes: 5 planes × 96 words of 64 bits.
pub(super) const STATUS_ROWS: u64 = 6_144 / SHARE;
/// Rows of one leaf of the columns: 320 × (8 + 4) bytes.
pub(super) const COLUMN_ROWS: u64 = 320 / SHARE;
/// Rows of one leaf of an indexed field's keys: 480 × 8 bytes.
pub(super) const FIELD_ROWS: u64 = 480 / SHARE;
/// Entries of one leaf of a chunk's time run: 384 × (8 + 2) bytes.
pub(super) const RUN_ENTRIES: usize = (384 / SHARE) as usize;
/// Leaves of a chunk's time run.
pub(super) const RUN_LEAVES: usize = CHUNK_ROWS as usize / RUN_ENTRIES;

/// Bytes of a leaf of the status planes, of a column or of a time run, without the seal. With seal,
/// key and redb's own bytes one fills a page of 4 KiB and never needs a second.
pub(super) const LEAF_BYTES: usize = (3_840 / SHARE) as usize;

const _: () = assert!(CHUNK_ROWS.is_multiple_of(STATUS_ROWS));
const _: () = assert!(CHUNK_ROWS.is_multiple_of(COLUMN_ROWS));
const _: () = assert!(CHUNK_ROWS.is_multiple_of(RUN_ENTRIES as u64));
const _: () = assert!(CHUNK_ROWS.is_multiple_of(FIELD_ROWS));
const _: () = assert!(FIELD_ROWS as usize * 8 == LEAF_BYTES);
const _: () = assert!(CHUNK_ROWS <= 1 << 16);
const _: () = assert!(RUN_LEAVES < FENCES_LEAF as usize);
const _: () = assert!(STATUS_ROWS as usize * 5 / 8 == LEAF_BYTES);
const _: () = assert!(COLUMN_ROWS as usize * 12 == LEAF_BYTES);
const _: () = assert!(RUN_ENTRIES * 10 == LEAF_BYTES);

/// Declares the tables once: their definitions, and a struct each for reading and for writing.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $value:ty;)+) => {
        pub(super) mod definition {
            use redb::TableDefinition;
            $($(#[$doc])*
            #[allow(non_upper_case_globals)]
            pub(in super::super) const $name: TableDefinition<'static, $key, $value> =
                TableDefinition::new(stringify!($name));)+
        }

        /// Every table at one commit, each opened when it is first used.
        pub(super) struct Tables {
            transaction: ReadTransaction,
            $($name: OnceLock<ReadOnlyTable<$key, $value>>,)+
        }

        impl Tables {
            pub(super) fn new(transaction: ReadTransaction) -> Self {
                Self { transaction, $($name: OnceLock::new(),)+ }
            }

            $($(#[$doc])*
            pub(super) fn $name(&self) -> Result<&ReadOnlyTable<$key, $value>> {
                get_or_read(&self.$name, || {
                    let table = self.transaction.open_table(definition::$name);
                    table.context("open a table")
                })
            })+

            /// Fails unless every table is there.
            pub(super) fn open_all(&self) -> Result<()> {
                $(self.$name()?;)+
                Ok(())
            }

            /// Entries of all tables.
            pub(super) fn entries(&self) -> Result<u64> {
                use redb::ReadableTableMetadata;
                let mut entries = 0;
                $(entries += self.$name()?.len().context("measure a table")?;)+
                Ok(entries)
            }

            /// Name, entries, bytes in use and bytes allocated of each table.
            pub(super) fn sizes(&self) -> Result<Vec<(&'static str, u64, u64, u64)>> {
                Ok(vec![$(size_of(stringify!($name), self.$name()?)?,)+])
            }
        }

        /// Every table within one write transaction.
        pub(super) struct TablesMut<'t> {
            $($(#[$doc])* pub(super) $name: LazyTable<'t, $key, $value>,)+
        }

        impl<'t> TablesMut<'t> {
            pub(super) fn new(transaction: &'t WriteTransaction) -> Self {
                Self {
                    $($name: LazyTable { transaction, definition: definition::$name, table: None },)+
                }
            }

            /// Opens every table, which makes those that are not there.
            pub(super) fn open_all(transaction: &'t WriteTransaction) -> Result<Self> {
                let mut tables = Self::new(transaction);
                $(tables.$name.open()?;)+
                Ok(tables)
            }
        }
    };
}

tables! {
    /// `identity`: see `state.rs`.
    meta: &'static str => &'static [u8];
    /// First row → the records of some rows: see `blocks.rs`. Primary.
    blocks: u64 => &'static [u8];
    /// Row → record, of rows that were stored again: see `blocks.rs`. Primary.
    replaced: u64 => &'static [u8];
    /// Row / 6,144 → bit planes: status codes and where records are: see `planes.rs`. Primary.
    status: u64 => &'static [u8];
    /// Row / 320 → `created_at` and pipeline number of each row: see `columns.rs`.
    columns: u64 => &'static [u8];
    /// Chunk × 256 + leaf → the full chunk's rows in order of time: see `runs.rs`.
    created_runs: u64 => &'static [u8];
    /// Chunk → rows whose `created_at` changed after their chunk's run was made.
    created_moved: u64 => &'static [u8];
    /// What every commit changes a little of, in one table so that it is one leaf: the state, the heads
    /// of chunks, the pipelines with their counts. Keyed by kind and number.
    summary: u64 => &'static [u8];
    /// Least hash of a bucket → its pairs of hash and row: see `ids.rs`.
    ids: u64 => &'static [u8];
    /// Run → up to 320 pairs of hash and row that are not in `ids` yet: see `gathered.rs`.
    ids_gathered: u64 => &'static [u8];
    /// Chunk × 2^32 + pipeline number → roaring bitmap of the chunk's rows, for full chunks.
    pipeline_rows: u64 => &'static [u8];
}

/// A table within a write transaction. redb looks for each one that was opened again when it commits.
pub(super) struct LazyTable<'t, K: Key + 'static, V: Value + 'static> {
    transaction: &'t WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: Option<Table<'t, K, V>>,
}

impl<'t, K: Key + 'static, V: Value + 'static> LazyTable<'t, K, V> {
    /// The table, opened unless it is.
    pub(super) fn open(&mut self) -> Result<&mut Table<'t, K, V>> {
        match &mut self.table {
            Some(table) => Ok(table),
            closed => {
                let table = self.transaction.open_table(self.definition);
                Ok(closed.insert(table.context("open a table")?))
            }
        }
    }
}

/// Tests open all tables first.
#[cfg(test)]
impl<'t, K: Key + 'static, V: Value + 'static> std::ops::Deref for LazyTable<'t, K, V> {
    type Target = Table<'t, K, V>;

    fn deref(&self) -> &Self::Target {
        self.table.as_ref().unwrap()
    }
}

#[cfg(test)]
impl<K: Key + 'static, V: Value + 'static> std::ops::DerefMut for LazyTable<'_, K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.table.as_mut().unwrap()
    }
}

/// Name, entries, bytes in use and bytes allocated of a table.
pub(super) fn size_of<K: Key + 'static, V: Value + 'static>(
    name: &'static str,
    table: &ReadOnlyTable<K, V>,
) -> Result<(&'static str, u64, u64, u64)> {
    use redb::ReadableTableMetadata;
    const PAGE_BYTES: u64 = 4_096;
    let entries = table.len().context("measure a table")?;
    let stats = table.stats().context("measure a table")?;
    let used = stats.stored_bytes() + stats.metadata_bytes();
    let allocated = used + stats.fragmented_bytes();
    let pages = stats.leaf_pages() + stats.branch_pages();
    Ok((name, entries, used, allocated.max(PAGE_BYTES * pages)))
}

/// Keys of indexed fields, of a file that has such indexes: see `fields.rs`.
pub(super) const FIELDS: TableDefinition<'static, u64, &'static [u8]> =
    TableDefinition::new("fields");

/// What kind of value a seal belongs to, so that no value passes for one of another table.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Meta = 1,
    Row,
    Status,
    Columns,
    CreatedRun,
    CreatedMoved,
    IdRun,
    PipelineRows,
    Chunk,
    Pipeline,
    State,
    Ids,
    /// An index of a field: its definition in `summary`, and what is in `fields`.
    Field,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Row => "blocks, replaced",
            Self::Status => "status",
            Self::Columns => "columns",
            Self::CreatedRun => "created_runs",
            Self::CreatedMoved => "created_moved",
            Self::IdRun => "ids_gathered",
            Self::PipelineRows => "pipeline_rows",
            Self::Chunk => "summary, chunks",
            Self::Pipeline => "summary, pipelines",
            Self::State => "summary, state",
            Self::Ids => "ids",
            Self::Field => "fields",
        }
    }

    /// The key of an entry of this kind in the table `summary`.
    pub(super) fn summary_key(self, number: u64) -> u64 {
        (u64::from(self as u8) << 56) ^ number
    }

    /// The keys of all entries of this kind in the table `summary`.
    pub(super) fn summary_keys(self) -> RangeInclusive<u64> {
        self.summary_key(0)..=self.summary_key((1 << 56) - 1)
    }

    /// The seal of these bytes as the value of this key: the XXH3 of the bytes, and of kind and key,
    /// so that damage shows, and a value in the wrong place too. Apart, since a seed costs XXH3 more
    /// than the second hash, which is of eight bytes.
    fn seal(self, key: u64, bytes: &[u8]) -> [u8; SEAL_BYTES] {
        let place = self.summary_key(key);
        (XxHash3_64::oneshot(bytes) ^ XxHash3_64::oneshot(&place.to_le_bytes())).to_le_bytes()
    }
}

/// Bytes of a seal.
pub(super) const SEAL_BYTES: usize = 8;

/// Appends the seal of a value.
pub(super) fn seal(kind: Kind, key: u64, bytes: &mut Vec<u8>) {
    seal_from(kind, key, 0, bytes);
}

/// Appends the seal of the value that begins at `start`.
pub(super) fn seal_from(kind: Kind, key: u64, start: usize, bytes: &mut Vec<u8>) {
    bytes.extend(kind.seal(key, &bytes[start..]));
}

/// The bytes under a seal that holds.
pub(super) fn unseal(kind: Kind, key: u64, sealed: &[u8]) -> Result<&[u8]> {
    if let Some((bytes, sum)) = sealed.split_last_chunk::<SEAL_BYTES>()
        && kind.seal(key, bytes) == *sum
    {
        return Ok(bytes);
    }
    Err(damaged("read the database", "a checksum does not hold")
        .with_subject(format!("table {}, key {key}", kind.name())))
}

/// The first of these keys under which the seal of this value holds.
pub(super) fn key_of(kind: Kind, sealed: &[u8], mut keys: Range<u64>) -> Option<u64> {
    let (bytes, sum) = sealed.split_last_chunk::<SEAL_BYTES>()?;
    let place = u64::from_le_bytes(*sum) ^ XxHash3_64::oneshot(bytes);
    keys.find(|key| XxHash3_64::oneshot(&kind.summary_key(*key).to_le_bytes()) == place)
}

/// The bytes under a seal that holds, when they must be exactly `N`.
pub(super) fn unseal_exact<const N: usize>(
    kind: Kind,
    key: u64,
    sealed: &[u8],
) -> Result<&[u8; N]> {
    unseal(kind, key, sealed)?.try_into().map_err(|_| {
        damaged("read the database", "a value has the wrong length")
            .with_subject(format!("table {}, key {key}", kind.name()))
    })
}

/// A value that must be there is not.
pub(super) fn missing(kind: Kind, key: u64) -> Error {
    damaged("read the database", "an entry is missing")
        .with_subject(format!("table {}, key {key}", kind.name()))
}

/// The key of a leaf of a chunk's time run.
pub(super) fn run_key(chunk: u64, leaf: u64) -> u64 {
    (chunk << 8) | leaf
}

/// The leaf of a time run that holds its fences.
pub(super) const FENCES_LEAF: u64 = 255;

/// The key of `pipeline_rows`.
pub(super) fn cell_key(chunk: u64, pipeline: u32) -> u64 {
    (chunk << 32) | u64::from(pipeline)
}

/// The keys that the bitmaps of pipelines of a full chunk have.
pub(super) fn cell_keys(chunk: u64) -> RangeInclusive<u64> {
    cell_key(chunk, 0)..=cell_key(chunk, u32::MAX)
}

/// The keys that the leaves of the time run of a full chunk have.
pub(super) fn run_keys(chunk: u64) -> RangeInclusive<u64> {
    run_key(chunk, 0)..=run_key(chunk, u8::MAX.into())
}

/// The chunk of a key of `pipeline_rows`.
pub(super) fn cell_chunk(key: u64) -> u64 {
    key >> 32
}

/// The chunk of a key of `columns`.
pub(super) fn column_chunk(key: u64) -> u64 {
    key / (CHUNK_ROWS / COLUMN_ROWS)
}

/// The chunk of a key of `created_runs`.
pub(super) fn run_chunk(key: u64) -> u64 {
    key >> 8
}

/// The keys that the leaves of the columns of a full chunk have.
pub(super) fn column_keys(chunk: u64) -> RangeInclusive<u64> {
    let leaves = CHUNK_ROWS / COLUMN_ROWS;
    chunk * leaves..=(chunk + 1) * leaves - 1
}

/// Refuses a file of a newer format.
pub(super) fn check_version(found: u32) -> Result<()> {
    if found > FORMAT_VERSION {
        return Err(
            Error::new(ErrorKind::FormatTooNew, "open the database").with_message(format!(
                "it has format {found}, this version of samplestore reads up to {FORMAT_VERSION}"
            )),
        );
    }
    if found == 0 {
        return Err(damaged("open the database", "format 0 does not exist"));
    }
    Ok(())
}
