//! [`Suspects`]: rows whose page may not be the one that was written last.

use std::sync::{Mutex, MutexGuard, PoisonError};

use roaring::RoaringTreemap;

use super::strays::entries;
use crate::database::blocks::Block;
use crate::database::ids::ROWS_MAX;
use crate::database::schema::{Kind, LEAF_BYTES, SEAL_BYTES, STATUS_ROWS, unseal};

/// What pages are about whose checksums are not those that were expected of them, although every seal in them holds: where one does
/// not, the page is damaged, and what is right in it is right.
#[derive(Default)]
pub(super) struct Suspects(Mutex<Known>);

#[derive(Default)]
struct Known {
    rows: RoaringTreemap,
    has_state: bool,
}

impl Suspects {
    /// Takes note of a leaf.
    pub(super) fn add(&self, page: &[u8]) {
        let Some(entries) = entries(page, page.len() as u64) else {
            return;
        };
        let mut rows = RoaringTreemap::new();
        let mut has_state = false;
        for (key, range) in entries {
            let Some(value) = page.get(range) else { return };
            if key > ROWS_MAX {
                let kinds = [Kind::Chunk, Kind::Pipeline, Kind::State, Kind::Field];
                let kind = kinds
                    .into_iter()
                    .find(|kind| kind.summary_keys().contains(&key));
                let is_right =
                    kind.is_some_and(|kind| unseal(kind, key ^ kind.summary_key(0), value).is_ok());
                if !is_right {
                    return;
                }
                has_state |= key == Kind::State.summary_key(0);
            } else if value.len() == LEAF_BYTES + SEAL_BYTES
                && unseal(Kind::Status, key, value).is_ok()
            {
                rows.insert_range(key * STATUS_ROWS..(key + 1) * STATUS_ROWS);
            } else if unseal(Kind::Row, key, value).is_ok() {
                rows.insert(key);
            } else if let Ok(block) = Block::new(key, value)
                && block.len() <= STATUS_ROWS
            {
                for row in key..key + block.len() {
                    if block.get(row).is_some() && block.record(row).is_err() {
                        return;
                    }
                    rows.insert(row);
                }
            } else {
                return;
            }
        }
        let mut known = self.known();
        known.rows |= rows;
        known.has_state |= has_state;
    }

    pub(super) fn has(&self, row: u64) -> bool {
        self.known().rows.contains(row)
    }

    /// Whether the page with the state is one of them.
    pub(super) fn has_state(&self) -> bool {
        self.known().has_state
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
