//! [`KnownLen`]: how long redb's storage is, where nobody else changes that.
//!
//! It is asked for with each branch page that is read, and on Linux 6.13 and later the write behind a question about a file takes
//! half as long again.

use std::sync::atomic::{AtomicU64, Ordering};

/// 0 when it is not known, else 1 more.
#[derive(Debug, Default)]
pub(super) struct KnownLen(AtomicU64);

impl KnownLen {
    pub(super) fn get(&self) -> Option<u64> {
        self.0.load(Ordering::Acquire).checked_sub(1)
    }

    pub(super) fn set(&self, len: u64) {
        self.0.store(len.saturating_add(1), Ordering::Release);
    }

    pub(super) fn forget(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Something was written up to here.
    pub(super) fn reach(&self, end: u64) {
        if self.get().is_some_and(|len| len < end) {
            self.0.fetch_max(end.saturating_add(1), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reaches_further_and_only_what_is_known() {
        let len = KnownLen::default();
        len.reach(10);
        assert_eq!(len.get(), None);
        len.set(0);
        assert_eq!(len.get(), Some(0));
        len.reach(10);
        len.reach(4);
        assert_eq!(len.get(), Some(10));
        len.set(4);
        assert_eq!(len.get(), Some(4));
        len.forget();
        assert_eq!(len.get(), None);
    }
}
