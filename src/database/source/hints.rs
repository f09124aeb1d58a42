//! [`Hints`]: whether a row is one of an id, by the index of ids.

use redb::ReadTransaction;

use super::{OPERATION, Table, open_table};
use crate::database::failure::{Context, guard};
use crate::database::gathered::find_in_batches;
use crate::database::ids::find_merged;
use crate::database::schema::definition;
use crate::database::state::{Identity, State, read_identity};
use crate::error::Result;

/// The index of ids, which is not needed to find samples, and tells whether an id that was read of bytes whose seal does not hold is
/// the one that the sample had.
pub(super) struct Hints {
    identity: Identity,
    ids: Table,
    ids_gathered: Table,
}

impl Hints {
    /// That of a file, if it can be opened.
    pub(super) fn open(transaction: &ReadTransaction) -> Option<Self> {
        let open = || {
            let meta = transaction
                .open_table(definition::meta)
                .context(OPERATION)?;
            Ok(Self {
                identity: read_identity(&meta)?,
                ids: open_table(transaction, definition::ids)?,
                ids_gathered: open_table(transaction, definition::ids_gathered)?,
            })
        };
        guard(OPERATION, open).ok()
    }

    /// Whether the index says that a row is one of this id. What cannot be read says nothing.
    pub(super) fn has(&self, state: &State, id: &str, row: u64) -> bool {
        let hash = self.identity.hash(id);
        let look = || -> Result<bool> {
            let see = |found| Ok((found == row).then_some(()));
            if find_in_batches(&self.ids_gathered, state, hash, see)?.is_some() {
                return Ok(true);
            }
            let mut rows = Vec::new();
            find_merged(&self.ids, state, hash, &mut rows)?;
            Ok(rows.contains(&row))
        };
        guard(OPERATION, look).unwrap_or(false)
    }
}
