//! What lies in the log, whether it follows what counts or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    HEADER_BYTES, IS_DURABLE, Log, MAGIC, Mark, READ, Record, STEP_BYTES, SUM_AT, Sum, padded, word,
};
use crate::database::disk::Disk;
use crate::database::failure::{damaged, disk_failure};
use crate::database::header::{Layout, PAGE_BYTES};
use crate::error::Result;

/// Bytes that are hashed at most. Halves of the usual size have 4 GiB at worst, when each of their pages pretends to begin a record that goes to
/// the end; what says that it has larger ones may be no log at all.
const HASHED_BYTES_MAX: u64 = if cfg!(test) { 8 << 20 } else { 8 << 30 };

/// What was hashed so far, and room for a piece of it.
struct Hashed {
    bytes: u64,
    piece: Vec<u8>,
}

impl Default for Hashed {
    fn default() -> Self {
        Self {
            bytes: 0,
            piece: vec![0; STEP_BYTES as usize],
        }
    }
}

impl Hashed {
    fn add(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes as u64;
        match self.bytes > HASHED_BYTES_MAX {
            true => Err(damaged(READ, "too much of it pretends to be a commit")),
            false => Ok(()),
        }
    }
}

/// A record, the checksum of the one before it, and its own.
struct Found {
    record: Record,
    follows: u64,
    chain: u64,
}

/// What may be a record, whole or not.
struct Piece {
    /// Where its payload lies, and how long that is.
    place: u64,
    bytes: usize,
    follows: u64,
    chain: u64,
    is_whole: bool,
}

/// A commit that is lost.
pub(in crate::database) struct Lost<'a> {
    pub(in crate::database) payload: &'a [u8],
    /// Whether its checksum holds.
    pub(in crate::database) is_whole: bool,
    /// Whether none is missing between it and the commits that are not lost.
    pub(in crate::database) follows: bool,
}

/// One record of each number. Of several, which are of different lives of the log, the one that follows the one before; or that the
/// next one follows; or the last.
fn linked(found: BTreeMap<u64, Vec<Found>>) -> Vec<Record> {
    let mut records = Vec::with_capacity(found.len());
    let mut before = None;
    let mut left = found.into_iter().peekable();
    while let Some((number, mut same)) = left.next() {
        let behind = match left.peek() {
            Some((next, behind)) if *next == number + 1 => &behind[..],
            _ => &[],
        };
        let follows = |found: &Found| before == Some((number - 1, found.follows));
        let is_followed = |found: &Found| behind.iter().any(|next| next.follows == found.chain);
        let at = same
            .iter()
            .position(follows)
            .or_else(|| same.iter().rposition(is_followed));
        let found = same.swap_remove(at.unwrap_or(same.len() - 1));
        before = Some((number, found.chain));
        records.push(found.record);
    }
    records
}

/// The bytes of the payload behind a header.
fn payload_bytes(header: &[u8; HEADER_BYTES]) -> usize {
    (word(header, 0) >> 32) as usize
}

impl Log {
    /// Every commit of which there is a record, in order, whatever follows what: for want of a mark.
    pub(in crate::database) fn find_all(
        disk: Arc<dyn Disk>,
        layout: Layout,
    ) -> Result<Vec<Record>> {
        let len = disk.len().map_err(|error| disk_failure(READ, error))?;
        let log = Self::behind(disk, layout, Mark::default());
        let mut hashed = Hashed::default();
        let mut found: BTreeMap<u64, Vec<Found>> = BTreeMap::new();
        log.each_page(len, |place, header, room| {
            if word(header, 0) as u32 == MAGIC && log.is_valid(place, header, room, &mut hashed)? {
                let mut payload = vec![0; payload_bytes(header)];
                log.read_at(place + HEADER_BYTES as u64, &mut payload)?;
                let number = word(header, 8);
                found.entry(number).or_default().push(Found {
                    record: Record { number, payload },
                    follows: word(header, 16),
                    chain: word(header, SUM_AT),
                });
            }
            Ok(())
        })?;
        Ok(linked(found))
    }

    /// How many commits the records say were on the disk when they were written, beyond those that count.
    pub(super) fn count_lost(&self, len: u64) -> Result<u64> {
        let mut lost = 0;
        let mut hashed = Hashed::default();
        self.each_page(len, |place, header, room| {
            if self.is_later(header) && self.is_valid(place, header, room, &mut hashed)? {
                lost = lost.max(word(header, 8) - self.mark.number);
            }
            Ok(())
        })?;
        Ok(lost)
    }

    /// Shows `see` the commits that are lost behind those that follow `mark`, in order, whole or not. Each is linked to others by a
    /// checksum: it names that of the one before it, or the next one, which is whole, names its own. What else looks like one may be of
    /// another life of the log, or what a sample holds.
    pub(in crate::database) fn each_lost(
        disk: Arc<dyn Disk>,
        layout: Layout,
        mark: Mark,
        mut see: impl FnMut(&Lost<'_>),
    ) -> Result<()> {
        let (log, _, len) = Self::follow(disk, layout, mark)?;
        let commits = log.count_lost(len)?;
        let mut hashed = Hashed::default();
        let mut pieces: BTreeMap<u64, Vec<Piece>> = BTreeMap::new();
        log.each_page(len, |place, header, room| {
            let (number, bytes) = (word(header, 8), payload_bytes(header));
            let behind = number.checked_sub(log.mark.number);
            let is_of_them = behind.is_some_and(|behind| (1..=commits).contains(&behind));
            if word(header, 0) as u32 == MAGIC
                && is_of_them
                && padded(bytes).is_some_and(|bytes| bytes <= room)
            {
                pieces.entry(number).or_default().push(Piece {
                    place: place + HEADER_BYTES as u64,
                    bytes,
                    follows: word(header, 16),
                    chain: word(header, SUM_AT),
                    is_whole: log.is_valid(place, header, room, &mut hashed)?,
                });
            }
            Ok(())
        })?;
        let (mut before, mut follows) = (Some((log.mark.number, log.mark.chain)), true);
        let mut payload = Vec::new();
        for (number, same) in &pieces {
            let behind = pieces
                .get(&number.wrapping_add(1))
                .map_or(&[][..], Vec::as_slice);
            let is_linked = |piece: &&Piece| before == Some((number - 1, piece.follows));
            let is_named = |piece: &&Piece| {
                let mut behind = behind.iter().filter(|next| next.is_whole);
                behind.any(|next| next.follows == piece.chain)
            };
            let piece = same.iter().find(is_linked);
            follows &= piece.is_some();
            let Some(piece) = piece.or_else(|| same.iter().find(is_named)) else {
                before = None;
                continue;
            };
            payload.resize(piece.bytes, 0);
            log.read_at(piece.place, &mut payload)?;
            see(&Lost {
                payload: &payload,
                is_whole: piece.is_whole,
                follows,
            });
            before = Some((*number, piece.chain));
        }
        Ok(())
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

    /// Whether the checksum of a record with this header, in this place, holds; `room` is how long it may be.
    fn is_valid(
        &self,
        place: u64,
        header: &[u8; HEADER_BYTES],
        room: u64,
        hashed: &mut Hashed,
    ) -> Result<bool> {
        let payload_bytes = payload_bytes(header);
        if padded(payload_bytes).is_none_or(|bytes| bytes > room) {
            return Ok(false);
        }
        hashed.add(payload_bytes)?;
        let mut sum = Sum::new(self.layout.salt, header);
        let mut at = place + HEADER_BYTES as u64;
        let end = at + payload_bytes as u64;
        while at < end {
            let bytes = (end - at).min(STEP_BYTES) as usize;
            let piece = &mut hashed.piece[..bytes];
            self.read_at(at, piece)?;
            sum.write(piece);
            at += bytes as u64;
        }
        Ok(sum.finish() == word(header, SUM_AT))
    }

    /// Whether this may begin a record before which all are on the disk, and that is behind the last one.
    fn is_later(&self, header: &[u8; HEADER_BYTES]) -> bool {
        word(header, 0) as u32 == MAGIC
            && word(header, 24) & IS_DURABLE != 0
            && word(header, 8) > self.mark.number
    }
}
