//! [`Leaves`]: the leaves of one table that a transaction has touched.
//!
//! The status planes and the columns are tables of leaves of a fixed size, addressed by row. The changes of
//! one transaction are gathered here, decoded, so that each leaf is read once and written once. What
//! is in a leaf is `planes.rs` and `columns.rs`.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use redb::{ReadableTable, Table};

use super::failure::Context;
use super::schema::{Kind, LEAF_BYTES, SEAL_BYTES, missing, seal, unseal_exact};
use crate::error::Result;

/// The contents of a leaf.
pub(super) trait Leaf: Clone {
    /// Which table it is of.
    const KIND: Kind;
    /// Rows of a leaf.
    const ROWS: u64;
    /// What a leaf is before its first row is given out.
    const EMPTY: Self;

    fn decode(bytes: &[u8; LEAF_BYTES]) -> Self;

    /// Appends the bytes that [`decode`](Self::decode) reads.
    fn encode(&self, bytes: &mut Vec<u8>);
}

/// Reads a leaf that must be there.
pub(super) fn read<T: Leaf>(table: &impl ReadableTable<u64, &'static [u8]>, key: u64) -> Result<T> {
    let guard = table.get(key).context("read an index leaf")?;
    let guard = guard.ok_or_else(|| missing(T::KIND, key))?;
    unseal_exact(T::KIND, key, guard.value()).map(T::decode)
}

/// The leaves of one table that a transaction has touched.
pub(super) struct Leaves<T> {
    /// Rows that had been given out, each of which has a leaf.
    rows: u64,
    /// Added to the number of a leaf, it is its key.
    base: u64,
    /// The leaves that are decoded already, as they were before the transaction.
    known: Option<Known<T>>,
    loaded: BTreeMap<u64, Loaded<T>>,
}

type Known<T> = Box<dyn Fn(u64) -> Option<Arc<T>>>;

struct Loaded<T> {
    /// Shared with whoever else has it decoded, until it is changed.
    leaf: Arc<T>,
    is_changed: bool,
}

impl<T: Leaf> Leaves<T> {
    /// None yet, in a transaction before which so many rows were given out.
    pub(super) fn new(rows: u64) -> Self {
        Self::based(rows, 0)
    }

    /// The same, in a table that has other leaves before the key `base`.
    pub(super) fn based(rows: u64, base: u64) -> Self {
        Self {
            rows,
            base,
            known: None,
            loaded: BTreeMap::new(),
        }
    }

    /// As [`new`](Self::new), with leaves that are decoded already, as they were before the transaction.
    pub(super) fn knowing(rows: u64, known: impl Fn(u64) -> Option<Arc<T>> + 'static) -> Self {
        Self {
            known: Some(Box::new(known)),
            ..Self::new(rows)
        }
    }

    fn load(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        key: u64,
    ) -> Result<&mut Loaded<T>> {
        let at = self.base + key;
        match self.loaded.entry(key) {
            btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            btree_map::Entry::Vacant(entry) => {
                let known = self.known.as_ref().and_then(|known| known(key));
                let leaf = match known {
                    Some(leaf) => leaf,
                    None => match table.get(at).context("read an index leaf")? {
                        Some(guard) => {
                            let bytes = unseal_exact(T::KIND, at, guard.value())?;
                            Arc::new(T::decode(bytes))
                        }
                        None if key.saturating_mul(T::ROWS) < self.rows => {
                            return Err(missing(T::KIND, at));
                        }
                        None => Arc::new(T::EMPTY),
                    },
                };
                Ok(entry.insert(Loaded {
                    leaf,
                    is_changed: false,
                }))
            }
        }
    }

    /// A leaf, empty if no row of it was given out.
    pub(super) fn get(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        key: u64,
    ) -> Result<&Arc<T>> {
        self.load(table, key).map(|loaded| &loaded.leaf)
    }

    /// A leaf to be changed, empty if no row of it was given out.
    pub(super) fn get_mut(
        &mut self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        key: u64,
    ) -> Result<&mut T> {
        let loaded = self.load(table, key)?;
        loaded.is_changed = true;
        Ok(Arc::make_mut(&mut loaded.leaf))
    }

    /// Each changed leaf.
    pub(super) fn changed(&self) -> impl Iterator<Item = (u64, &Arc<T>)> {
        let changed = self.loaded.iter().filter(|(_, loaded)| loaded.is_changed);
        changed.map(|(key, loaded)| (*key, &loaded.leaf))
    }

    /// Writes every changed leaf, sealed, in order of key.
    pub(super) fn flush(&self, table: &mut Table<'_, u64, &'static [u8]>) -> Result<()> {
        let mut sealed = Vec::with_capacity(LEAF_BYTES + SEAL_BYTES);
        for (key, leaf) in self.changed() {
            sealed.clear();
            leaf.encode(&mut sealed);
            let at = self.base + key;
            seal(T::KIND, at, &mut sealed);
            table
                .insert(at, sealed.as_slice())
                .context("write an index leaf")?;
        }
        Ok(())
    }
}
