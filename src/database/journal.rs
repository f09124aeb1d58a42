//! [`Journal`]: what a transaction did, as operations that can be done again.
//!
//! The log keeps one journal per commit; after a crash those that redb has not made durable are carried
//! out again by the same code that did so at first (`write.rs`). Operations name rows, not ids or
//! queries, and records go in as they lie in the file: the same operations on the same state
//! give the same state. The bytes are written down in the chapter on the file format. How a journal
//! reaches the disk is `log.rs`.

use roaring::RoaringBitmap;

use super::failure::damaged;
use crate::error::{Error, Result};
use crate::sample::PIPELINE_BYTES_MAX;

/// One operation.
#[derive(Debug, PartialEq)]
pub(super) enum Operation<'a> {
    /// The next pipeline number goes to this name.
    Pipeline(&'a str),
    /// The next row gets this sealed record.
    Insert(&'a [u8]),
    /// This row gets this sealed record in place of its own.
    Replace(u64, &'a [u8]),
    /// These rows of this chunk get this status code; 0 deletes them.
    Move(u64, RoaringBitmap, u8),
}

const PIPELINE: u8 = 1;
const INSERT: u8 = 2;
const REPLACE: u8 = 3;
const MOVE: u8 = 4;

/// Room that is kept from one journal to the next, at most: new memory costs more than what is written there.
const ROOM_BYTES_MAX: usize = 1 << 20;

/// The operations of one transaction, in order. Each is a byte that says which, and then numbers,
/// little-endian, and bytes behind their length (`u32`).
#[derive(Debug, Default)]
pub(super) struct Journal {
    bytes: Vec<u8>,
    is_off: bool,
}

impl Journal {
    /// One that keeps nothing: of operations that come from a journal.
    pub(super) fn off() -> Self {
        Self {
            bytes: Vec::new(),
            is_off: true,
        }
    }

    /// An empty one, which is written where a former one was.
    pub(super) fn in_room(mut room: Vec<u8>) -> Self {
        room.clear();
        Self {
            bytes: room,
            is_off: false,
        }
    }

    /// Its room, for the next one; none where it is much more than most take.
    pub(super) fn into_room(self) -> Vec<u8> {
        match self.bytes.capacity() <= ROOM_BYTES_MAX {
            true => self.bytes,
            false => Vec::new(),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn pipeline(&mut self, name: &str) {
        if let Some(bytes) = self.begin(PIPELINE) {
            put_counted(bytes, name.as_bytes());
        }
    }

    pub(super) fn insert(&mut self, record: &[u8]) {
        if let Some(bytes) = self.begin(INSERT) {
            put_counted(bytes, record);
        }
    }

    pub(super) fn replace(&mut self, row: u64, record: &[u8]) {
        if let Some(bytes) = self.begin(REPLACE) {
            bytes.extend(row.to_le_bytes());
            put_counted(bytes, record);
        }
    }

    pub(super) fn r#move(&mut self, chunk: u64, rows: &RoaringBitmap, code: u8) {
        if let Some(bytes) = self.begin(MOVE) {
            bytes.extend(chunk.to_le_bytes());
            bytes.push(code);
            let length = rows.serialized_size();
            bytes.extend((length as u32).to_le_bytes());
            // Writing to a vector does not fail.
            let _ = rows.serialize_into(bytes);
        }
    }

    /// Where the rest of an operation of this kind goes, if anything is kept.
    fn begin(&mut self, kind: u8) -> Option<&mut Vec<u8>> {
        if self.is_off {
            return None;
        }
        self.bytes.push(kind);
        Some(&mut self.bytes)
    }
}

/// No part is longer than a record, which is 1 GiB at most.
fn put_counted(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u32).to_le_bytes());
    bytes.extend(part);
}

/// The operations of a journal's bytes.
pub(super) fn operations(bytes: &[u8]) -> impl Iterator<Item = Result<Operation<'_>>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let operation = next(&mut rest);
        if operation.is_none() {
            rest = &[];
        }
        Some(operation.ok_or_else(malformed))
    })
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<Operation<'a>> {
    let [kind] = take(rest)?;
    Some(match kind {
        PIPELINE => {
            let name = std::str::from_utf8(take_counted(rest)?).ok()?;
            let is_name = (1..=PIPELINE_BYTES_MAX).contains(&name.len());
            Operation::Pipeline(is_name.then_some(name)?)
        }
        INSERT => Operation::Insert(take_counted(rest)?),
        REPLACE => Operation::Replace(u64::from_le_bytes(take(rest)?), take_counted(rest)?),
        MOVE => {
            let chunk = u64::from_le_bytes(take(rest)?);
            let [code] = take(rest)?;
            let rows = RoaringBitmap::deserialize_from(take_counted(rest)?).ok()?;
            Operation::Move(chunk, rows, code)
        }
        _ => return None,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn take_counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// The error for a journal that cannot be carried out.
pub(super) fn malformed() -> Error {
    damaged("replay the log", "a commit in the log makes no sense")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn operations_come_back_and_a_cut_is_an_error() {
        let rows: RoaringBitmap = [1, 5, 900].into_iter().collect();
        let mut journal = Journal::default();
        journal.pipeline("weather");
        journal.insert(b"record");
        journal.replace(7, b"another");
        journal.r#move(3, &rows, 5);
        let all: Vec<_> = operations(journal.as_bytes()).map(Result::unwrap).collect();
        let expected = [
            Operation::Pipeline("weather"),
            Operation::Insert(b"record"),
            Operation::Replace(7, b"another"),
            Operation::Move(3, rows, 5),
        ];
        assert_eq!(all, expected);
        let cut = &journal.as_bytes()[..journal.as_bytes().len() - 1];
        assert!(operations(cut).last().unwrap().is_err());
    }

    #[test]
    fn lengths_that_nothing_has_are_errors() {
        let is_read = |name: &str| {
            let mut journal = Journal::default();
            journal.pipeline(name);
            operations(journal.as_bytes()).all(|operation| operation.is_ok())
        };
        assert!(is_read("x") && is_read(&"x".repeat(255)));
        assert!(!is_read("") && !is_read(&"x".repeat(256)));
        // Counts beyond what is there, and a bitmap that says it has 2^16 containers.
        for bytes in [
            &[1, 255, 255, 255, 255, 120][..],
            &[2, 255, 255, 255, 127, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1],
            &[
                4, 0, 0, 0, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 58, 48, 0, 0, 255, 255, 255, 255,
            ],
            &[
                4, 0, 0, 0, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 58, 48, 0, 0, 0, 0, 1, 0,
            ],
        ] {
            assert!(
                operations(bytes).any(|operation| operation.is_err()),
                "{bytes:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            operations(&bytes).for_each(drop);
        }
    }
}
