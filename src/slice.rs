//! [`Slice`]: a part of bytes that several owners share.
//!
//! A record that is read becomes one allocation, of which the sample's id and payloads are parts. The
//! crate `bytes` does the same for more kinds of memory, at the price of a second allocation when a
//! whole is first shared: measured, 15 % of a list whose payloads nobody decodes.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Some bytes of a shared allocation, at most 4 GiB long. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Slice {
    whole: Arc<[u8]>,
    start: u32,
    end: u32,
}

impl Slice {
    /// The bytes `part`, which must be a part of `whole`, as a share of it; a copy if they are none.
    pub(crate) fn of(whole: &Arc<[u8]>, part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        let is_part = start
            .checked_add(part.len())
            .is_some_and(|end| end <= whole.len());
        match (
            is_part,
            u32::try_from(start),
            u32::try_from(start.wrapping_add(part.len())),
        ) {
            (true, Ok(start), Ok(end)) => Self {
                whole: Arc::clone(whole),
                start,
                end,
            },
            _ => Self::from(part),
        }
    }

    fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl From<&[u8]> for Slice {
    /// A copy.
    fn from(bytes: &[u8]) -> Self {
        Self {
            whole: bytes.into(),
            start: 0,
            // No payload is longer than a sample may be.
            end: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.whole[self.range()]
    }
}

/// UTF-8 text of a shared allocation.
#[derive(Clone)]
pub(crate) struct Text(Slice);

impl Text {
    /// The text `part` as a share of `whole`, as [`Slice::of`].
    pub(crate) fn of(whole: &Arc<[u8]>, part: &str) -> Self {
        Self(Slice::of(whole, part.as_bytes()))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        // It was a `str` when it was made, and shared bytes do not change, so this cannot fail; looking
        // at the few bytes of an id again costs less than an allocation of its own.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_shares_the_whole_and_anything_else_is_copied() {
        let whole: Arc<[u8]> = Arc::from(&b"id and payload"[..]);
        let part = Slice::of(&whole, &whole[3..6]);
        assert_eq!(&*part, b"and");
        assert_eq!(Arc::strong_count(&whole), 2);
        assert_eq!(&*Slice::of(&whole, b"other"), b"other");
        assert_eq!(&*Slice::of(&whole, &whole[14..]), b"");
        assert_eq!(Arc::strong_count(&whole), 2);
        assert_eq!(&*Text::of(&whole, "id"), "id");
    }
}
