//! [`Room`]: memory for copies of writes, used again.
//!
//! A checkpoint copies a few megabytes of pages and lets go of them when they are written. What another thread gives back to
//! the system's allocator goes back to the system, and each page of it that is taken anew costs more than to fill it.

use std::collections::HashMap;
use std::sync::Arc;

/// Bytes that are kept, at most: about what a checkpoint copies.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Copies that nobody needs any more, by length.
#[derive(Debug, Default)]
pub(super) struct Room {
    free: HashMap<usize, Vec<Arc<[u8]>>>,
    bytes: usize,
}

impl Room {
    /// A copy of these bytes.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Arc<[u8]> {
        let free = self.free.get_mut(&bytes.len()).and_then(Vec::pop);
        let Some(mut copy) = free else {
            return bytes.into();
        };
        self.bytes -= copy.len();
        match Arc::get_mut(&mut copy) {
            Some(room) => {
                room.copy_from_slice(bytes);
                copy
            }
            None => bytes.into(),
        }
    }

    /// Keeps what nobody else has.
    pub(super) fn give_back(&mut self, mut copy: Arc<[u8]>) {
        if self.bytes + copy.len() <= KEPT_BYTES_MAX && Arc::get_mut(&mut copy).is_some() {
            self.bytes += copy.len();
            self.free.entry(copy.len()).or_default().push(copy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_when_nobody_else_has_it() {
        let mut room = Room::default();
        let (first, second) = (room.copy(&[1; 8]), room.copy(&[2; 8]));
        let held = Arc::clone(&second);
        let address = first.as_ptr();
        room.give_back(first);
        room.give_back(second);
        assert_eq!(room.bytes, 8);
        assert_eq!(*room.copy(&[3; 4]), [3; 4]);
        let again = room.copy(&[4; 8]);
        assert_eq!((&*again, again.as_ptr()), (&[4; 8][..], address));
        assert_eq!((&*room.copy(&[5; 8]), &*held), (&[5; 8][..], &[2; 8][..]));
        assert_eq!(room.bytes, 0);
    }

    #[test]
    fn room_has_a_maximum() {
        let mut room = Room::default();
        let copies: Vec<_> = (0..KEPT_BYTES_MAX / 4_096 + 3)
            .map(|_| room.copy(&[7; 4_096]))
            .collect();
        copies.into_iter().for_each(|copy| room.give_back(copy));
        assert_eq!(room.bytes, KEPT_BYTES_MAX);
    }
}
