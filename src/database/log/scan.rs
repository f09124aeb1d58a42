//! What lies in the log, whether it follows what counts or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{HEADER_BYTES, IS_DURABLE, Log, MAGIC, Mark, READ, Record, STEP_BYTES, word};
use crate::database::disk::Disk;
use crate::database::failure::disk_failure;
use crate::database::header::{Layout, PAGE_BYTES};
use crate::error::Result;

impl Log {
    /// Every commit of which there is a record, in order, whatever follows what: for want of a mark.
    pub(in crate::database) fn find_all(
        disk: Arc<dyn Disk>,
        layout: Layout,
    ) -> Result<Vec<Record>> {
        let len = disk.len().map_err(|error| disk_failure(READ, error))?;
        let log = Self::behind(disk, layout, Mark::default());
        let mut records = BTreeMap::new();
        log.each_page(len, |place, header, room| {
            if word(header, 0) as u32 == MAGIC
                && let Some(payload) = log.payload(place, header, room)?
            {
                let number = word(header, 8);
                records.insert(number, Record { number, payload });
            }
            Ok(())
        })?;
        Ok(records.into_values().collect())
    }

    /// How many commits the records say were on the disk when they were written, beyond those that count.
    pub(super) fn count_lost(&self, len: u64) -> Result<u64> {
        let mut lost = 0;
        self.each_page(len, |place, header, room| {
            if self.is_later(header) && self.payload(place, header, room)?.is_some() {
                lost = lost.max(word(header, 8) - self.mark.number);
            }
            Ok(())
        })?;
        Ok(lost)
    }

    /// Shows `see` the start of every page that is not one of a record that counts: where it is, its first bytes, and how many there are
    /// behind it. None is left out because of what is in it: a record may consist of anything.
    fn each_page(
        &self,
        len: u64,
        mut see: impl FnMut(u64, &[u8; HEADER_BYTES], u64) -> Result<()>,
    ) -> Result<()> {
        let mut piece = vec![0; STEP_BYTES as usize];
        for half in 0..2 {
            let start = self.layout.half_start(half);
            let end = len.min(start + self.layout.half_bytes);
            let mut at = start;
            while at < end {
                if let Some(found) = self.found.iter().find(|found| found.contains(&at)) {
                    at = found.end;
                    continue;
                }
                let next = self
                    .found
                    .iter()
                    .map(|found| found.start)
                    .filter(|start| *start > at);
                let bytes = next.min().unwrap_or(end).min(end).min(at + STEP_BYTES) - at;
                let piece = &mut piece[..bytes as usize];
                self.read_at(at, piece)?;
                let places = (at..).step_by(PAGE_BYTES as usize);
                for (place, page) in places.zip(piece.chunks(PAGE_BYTES as usize)) {
                    if let Some(header) = page.first_chunk() {
                        see(place, header, end - place)?;
                    }
                }
                at += bytes;
            }
        }
        Ok(())
    }

    /// Whether this may begin a record before which all are on the disk, and that is behind the last one.
    fn is_later(&self, header: &[u8; HEADER_BYTES]) -> bool {
        word(header, 0) as u32 == MAGIC
            && word(header, 24) & IS_DURABLE != 0
            && word(header, 8) > self.mark.number
    }
}
