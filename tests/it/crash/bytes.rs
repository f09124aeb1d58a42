//! [`Bytes`]: what is on a disk, in pages that copies share until they are written.

use std::io;
use std::sync::Arc;

const PAGE_BYTES: usize = 4_096;

/// Bytes from 0 on. A page that was never written is zeros and takes no room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes {
    len: u64,
    pages: Vec<Option<Arc<[u8; PAGE_BYTES]>>>,
}

impl Bytes {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, at, range) in parts(offset, out.len()) {
            let out = &mut out[range];
            match &self.pages[page] {
                Some(page) => out.copy_from_slice(&page[at..at + out.len()]),
                None => out.fill(0),
            }
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.set_len(self.len.max(offset + bytes.len() as u64));
        for (page, at, range) in parts(offset, bytes.len()) {
            let page = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            let bytes = &bytes[range];
            Arc::make_mut(page)[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Cuts off, or adds zeros.
    pub(crate) fn set_len(&mut self, len: u64) {
        self.pages
            .resize(len.div_ceil(PAGE_BYTES as u64) as usize, None);
        if len < self.len
            && let Some(Some(last)) = self.pages.last_mut()
        {
            let kept = (len - 1) as usize % PAGE_BYTES + 1;
            Arc::make_mut(last)[kept..].fill(0);
        }
        self.len = len;
    }
}

/// The parts that a range has in each page: the page, where they begin in it, and which of the range they are.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        (done < len).then(|| {
            let place = offset as usize + done;
            let at = place % PAGE_BYTES;
            let from = done;
            done = len.min(done + PAGE_BYTES - at);
            (place / PAGE_BYTES, at, from..done)
        })
    })
}
