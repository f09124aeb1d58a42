//! [`Image`]: what is queued to be written, by place, so that reads see it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Parts of a file, by where they begin. No two overlap.
#[derive(Debug, Default)]
pub(super) struct Image(pub(super) BTreeMap<u64, Part>);

#[derive(Clone, Debug)]
pub(super) struct Part {
    end: u64,
    /// Bytes of a write, of which the first that belong here are those at `from`.
    bytes: Arc<[u8]>,
    from: usize,
}

/// How much of a range an [`Image`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    None,
    Some,
    All,
}

impl Image {
    pub(super) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, part)| part.end)
    }

    /// Puts the bytes of a write in their place, over what is there.
    pub(super) fn write(&mut self, offset: u64, bytes: &Arc<[u8]>) {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset == end {
            return;
        }
        self.cut(offset, end);
        let bytes = Arc::clone(bytes);
        let from = 0;
        self.0.insert(offset, Part { end, bytes, from });
    }

    /// Takes out what is left of this write.
    pub(super) fn remove(&mut self, offset: u64, bytes: &Arc<[u8]>) {
        let end = offset.saturating_add(bytes.len() as u64);
        let parts = self.0.range(offset..end);
        let mine = parts.filter(|(_, part)| Arc::ptr_eq(&part.bytes, bytes));
        for start in mine.map(|(start, _)| *start).collect::<Vec<_>>() {
            self.0.remove(&start);
        }
    }

    /// Takes out whatever is in this range.
    pub(super) fn cut(&mut self, start: u64, end: u64) {
        let mut behind = None;
        if let Some((&before, part)) = self.0.range_mut(..start).next_back()
            && part.end > start
        {
            behind = part.behind(before, end);
            part.end = start;
        }
        while let Some((&begin, _)) = self.0.range(start..end).next() {
            behind = self
                .0
                .remove(&begin)
                .and_then(|part| part.behind(begin, end));
        }
        if let Some(part) = behind {
            self.0.insert(end, part);
        }
    }

    /// Reads what there is of this range. Unless that is all, `out` has no meaning after it.
    pub(super) fn read(&self, at: u64, out: &mut [u8]) -> Cover {
        let end = at.saturating_add(out.len() as u64);
        let before = self.0.range(..at).next_back();
        let before = before.filter(|(_, part)| part.end > at);
        let first = before.map_or(at, |(start, _)| *start);
        let (mut covered, mut cover) = (at, Cover::None);
        for (&start, part) in self.0.range(first..end) {
            cover = Cover::Some;
            if start > covered {
                return cover;
            }
            let until = part.end.min(end);
            let from = part.from + (covered - start) as usize;
            let bytes = &part.bytes[from..from + (until - covered) as usize];
            out[(covered - at) as usize..(until - at) as usize].copy_from_slice(bytes);
            covered = until;
        }
        match covered == end {
            true => Cover::All,
            false => cover,
        }
    }
}

impl Part {
    /// What of this part, which begins at `start`, lies at `place` and behind it.
    pub(super) fn behind(&self, start: u64, place: u64) -> Option<Self> {
        (self.end > place).then(|| Self {
            end: self.end,
            bytes: Arc::clone(&self.bytes),
            from: self.from + (place - start) as usize,
        })
    }
}
