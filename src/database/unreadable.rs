//! [`Unreadable`]: the row that an id must have when the record which would say so cannot be read.
//!
//! An index of ids says which rows may have an id, and the record of each whether it does. Whoever wants to be rid of a damaged
//! record, by deleting its sample or by storing another in its place, need not read it: the pairs of the index have a seal, and of two ids
//! that have the same hash of 64 bits nobody will ever meet a case.

use super::state::Identity;
use crate::error::{Error, ErrorKind, Result};

/// What was met of an id that is looked up: rows whose records cannot be read.
#[derive(Debug, Default)]
pub(super) struct Unreadable(Option<(u64, Error)>);

impl Unreadable {
    /// What was found in a row, nothing when its record is damaged, of which note is taken.
    ///
    /// # Errors
    /// Others than [`Damaged`](ErrorKind::Damaged), and that for a second row: then nobody knows which one it is.
    pub(super) fn pass<T>(&mut self, row: u64, found: Result<Option<T>>) -> Result<Option<T>> {
        match (found, &self.0) {
            (Err(error), None) if error.kind() == ErrorKind::Damaged => {
                self.0 = Some((row, error));
                Ok(None)
            }
            (Err(_), Some((first, _))) if *first == row => Ok(None),
            (found, _) => found,
        }
    }

    /// The row that it must be, when no other one was found.
    pub(super) fn row(self, identity: Identity) -> Result<Option<u64>> {
        match self.0 {
            None => Ok(None),
            Some((row, _)) if identity.has_whole_hashes() => Ok(Some(row)),
            Some((_, error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::failure::damaged;

    fn lost() -> Result<Option<()>> {
        Err(damaged("read a record", "its seal is broken"))
    }

    #[test]
    fn one_row_that_cannot_be_read_is_the_one() {
        let whole = Identity::new(64);
        let mut unreadable = Unreadable::default();
        assert_eq!(unreadable.pass(1, Ok(None::<()>)).unwrap(), None);
        assert_eq!(unreadable.pass(7, lost()).unwrap(), None);
        // The index may have it twice.
        assert_eq!(unreadable.pass(7, lost()).unwrap(), None);
        assert_eq!(unreadable.pass(8, Ok(Some(3))).unwrap(), Some(3));
        assert_eq!(unreadable.row(whole).unwrap(), Some(7));
        assert_eq!(Unreadable::default().row(whole).unwrap(), None);
    }

    #[test]
    fn of_two_or_of_short_hashes_nobody_knows() {
        let mut unreadable = Unreadable::default();
        unreadable.pass(7, lost()).unwrap();
        let second = unreadable.pass(8, lost()).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::Damaged);
        let short = unreadable.row(Identity::new(3)).unwrap_err();
        assert_eq!(short.kind(), ErrorKind::Damaged);
        let other = Err::<Option<()>, _>(Error::closed("read a record"));
        let other = Unreadable::default().pass(7, other).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Closed);
    }
}
