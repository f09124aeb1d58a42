//! [`Guard`]: between redb and what it reads, so that no page leads it astray.
//!
//! Whatever is read comes by, and whatever is written. What pages say is `branch.rs`; how a circle is seen, `depths.rs`. A page that
//! leads astray is handed on as one of no kind, which is an error of redb's for this page alone.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::branch::{self, REDB_MAGIC, Regions};
use super::depths::Depths;
use super::sums::Sums;

#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Where redb's pages lie, once one of them led to others. That does not change.
    regions: OnceLock<Regions>,
    depths: Mutex<Depths>,
    /// redb's header as it was read last, where another process may write it.
    header: Mutex<Vec<u8>>,
    sums: Sums,
}

impl Guard {
    /// One that looks at checksums so.
    pub(super) fn with_sums(sums: Sums) -> Self {
        Self {
            sums,
            ..Self::default()
        }
    }

    /// Looks at what was read at `offset`, of a storage that ends at `end`. `read` reads elsewhere.
    pub(super) fn check(
        &self,
        offset: u64,
        page: &mut [u8],
        end: u64,
        can_be_there: impl Fn(&Range<u64>) -> bool,
        read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let branch_at = |offset| branch_at(offset, &read);
        let is_other = self
            .sums
            .see(offset, page, || self.regions(&read), branch_at)?;
        if is_other && !self.has_moved_on(&read)? {
            branch::spoil(page);
        }
        if !branch::is_leading(page) {
            return Ok(());
        }
        let regions = self.regions(&read)?;
        // A page behind the end is none that leads back.
        let there = |below: Vec<u64>| -> Vec<u64> {
            below.into_iter().filter(|start| *start < end).collect()
        };
        let is_right = match regions.below(offset, page, &can_be_there).map(there) {
            None => false,
            Some(below) if below.is_empty() || !branch::is_branch(page) => true,
            Some(below) => self.depths().take(offset, &below, |page| {
                let children = children_at(regions, page, &can_be_there, &read);
                there(children.unwrap_or_default())
            }),
        };
        if !is_right {
            branch::spoil(page);
        }
        Ok(())
    }

    /// Takes note of redb's header, as it was read. Where `is_shared`, another process may write: when it changes, that has committed, and may
    /// have used again what was free.
    pub(super) fn see_header(&self, header: &[u8], is_shared: bool) {
        let mut seen = self.seen_header();
        if is_shared && *seen != header {
            seen.clear();
            seen.extend_from_slice(header);
            self.depths().clear();
            self.sums.clear();
        }
        // Nobody else sees a newer one meanwhile, behind which these roots would be old.
        if header.starts_with(REDB_MAGIC)
            && let Some(first) = header.first_chunk()
        {
            let regions = *self.regions.get_or_init(|| Regions::of(first));
            self.sums.see_header(header, regions);
        }
    }

    /// Whether another process has committed since the header was read: then what was expected of pages may be old.
    fn has_moved_on(&self, read: impl Fn(u64, &mut [u8]) -> io::Result<()>) -> io::Result<bool> {
        let seen = self.seen_header();
        if seen.is_empty() {
            return Ok(false);
        }
        let mut header = vec![0; seen.len()];
        read(0, &mut header)?;
        let has_moved_on = *seen != header;
        if has_moved_on {
            self.sums.clear();
        }
        Ok(has_moved_on)
    }

    /// Takes note of what is about to be written.
    pub(super) fn written(&self, offset: u64, bytes: usize) {
        self.depths().written(offset, bytes);
        self.sums.written(offset, bytes);
    }

    /// Takes note of where the storage ends now.
    pub(super) fn cut(&self, len: u64) {
        self.depths().cut(len);
    }

    fn seen_header(&self) -> MutexGuard<'_, Vec<u8>> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn depths(&self) -> MutexGuard<'_, Depths> {
        self.depths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn regions(&self, read: impl Fn(u64, &mut [u8]) -> io::Result<()>) -> io::Result<Regions> {
        if let Some(regions) = self.regions.get() {
            return Ok(*regions);
        }
        let mut header = [0; branch::HEADER_BYTES];
        read(0, &mut header)?;
        Ok(*self.regions.get_or_init(|| Regions::of(&header)))
    }
}

/// The children of the page at `offset`; none if it is no branch.
fn children_at(
    regions: Regions,
    offset: u64,
    can_be_there: impl Fn(&Range<u64>) -> bool,
    read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Vec<u64>> {
    let below =
        branch_at(offset, read)?.and_then(|page| regions.below(offset, &page, can_be_there));
    Ok(below.unwrap_or_default())
}

/// The branch at `offset`, as far as it says where its children lie. `None` where there is another page, or the storage has ended: a commit
/// that was torn leads to where it was never made longer, of which redb says by itself that it is not there.
fn branch_at(
    offset: u64,
    read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Option<Vec<u8>>> {
    let is_there = |page: &mut [u8]| match read(offset, page) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    };
    let mut page = vec![0; branch::PAGE_BYTES as usize];
    if !is_there(&mut page)? || !branch::is_branch(&page) {
        return Ok(None);
    }
    let bytes = branch::bytes_of_numbers(&page);
    if page.len() < bytes {
        page.resize(bytes, 0);
        if !is_there(&mut page)? {
            return Ok(None);
        }
    }
    Ok(Some(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two branches that lead to each other, in a storage of one region without a header.
    fn circle() -> Vec<u8> {
        let page_bytes = branch::PAGE_BYTES as usize;
        let mut bytes = vec![0; 4 * page_bytes];
        bytes[20..24].copy_from_slice(&100_u32.to_le_bytes());
        for (page, child) in [(1, 1_u64), (2, 0)] {
            let page = &mut bytes[page * page_bytes..];
            page[0] = 2;
            page[2] = 1;
            page[8 + 32..8 + 40].copy_from_slice(&child.to_le_bytes());
            page[8 + 40..8 + 48].copy_from_slice(&2_u64.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_second_branch_of_a_circle_is_no_page() {
        let bytes = circle();
        let at = |page: u64| (page * branch::PAGE_BYTES) as usize;
        let read = |offset: u64, out: &mut [u8]| {
            let start = offset as usize;
            let bytes = bytes.get(start..start + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        let guard = Guard::default();
        let kind = |page: u64| {
            let mut bytes = bytes[at(page)..at(page + 1)].to_vec();
            let offset = page * branch::PAGE_BYTES;
            guard
                .check(offset, &mut bytes, u64::MAX, |_| true, read)
                .unwrap();
            bytes[0]
        };
        assert_eq!([kind(1), kind(2), kind(1), kind(2)], [2, 0, 2, 0]);
        // The same header says nothing new; another one, that all may have changed.
        guard.see_header(&[1], true);
        assert_eq!([kind(2), kind(1)], [2, 0]);
        guard.see_header(&[1], true);
        assert_eq!(kind(1), 0);
        guard.see_header(&[2], true);
        assert_eq!([kind(1), kind(2)], [2, 0]);
        // Whoever writes a page knows what it leads to.
        guard.written(2 * branch::PAGE_BYTES, 1);
        assert_eq!(kind(2), 2);
        guard.cut(0);
        assert_eq!([kind(2), kind(1)], [2, 0]);
    }

    /// As where a commit was torn that had made the storage longer, or behind which it was made shorter.
    #[test]
    fn behind_the_end_there_is_no_branch() {
        let mut bytes = circle();
        // A branch of two pages, of which the storage has one.
        let long = 3 * branch::PAGE_BYTES as usize;
        bytes[long] = 2;
        bytes[long + 2..long + 4].copy_from_slice(&1_000_u16.to_le_bytes());
        let read = |offset: u64, out: &mut [u8]| {
            let start = offset as usize;
            let bytes = bytes.get(start..start + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        let is_there = |page: u64| {
            let branch = branch_at(page * branch::PAGE_BYTES, read);
            branch.unwrap().is_some()
        };
        assert_eq!([1, 3, 4].map(is_there), [true, false, false]);
        let failed = branch_at(0, |_, _| Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
