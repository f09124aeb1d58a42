//! [`Log`]: what was committed since redb's last durable commit, at the head of the file.
//!
//! A commit appends one record, contiguous and synced, and changes redb in memory only. From time to time a
//! checkpoint makes redb durable, with a [`Mark`] of how far the log is in it, and what lies before the
//! mark may be overwritten. What a record says is the engine's; here it is bytes.
//!
//! The log has two halves, so that one is written while the checkpoint of the other is still being made.
//! Records lie one behind the other, each at the start of a page: no sector of a record that was
//! acknowledged is ever written again with other bytes before its checkpoint is durable, so no torn write can reach one.
//! With the same bytes it is once, by the first durable commit behind an opening that found records: see `write_again`.
//!
//! Which records count, after a crash? Those that follow the mark: the next number, in the place where
//! the last one ended or at the start of the other half, with a checksum that holds, and with the *chain* of
//! the record before, which is that record's checksum. Checksums are salted with the file's salt, so that
//! no content of a sample passes for a record, and cover a random number drawn at each opening, so that the
//! same batch at the same number in another life has another checksum: what was lost once with the power, or
//! was torn, or lies there from a former lap, never follows what was written later.
//!
//! A record that does not count because a byte of it has changed looks like one that was torn, and so like the end. But when a record is
//! written durably everything before it is on the disk. So a valid one of that kind, and of a greater number than the last that
//! counts, says that commits between the two were there and are lost, and nothing opens such a log as if they had never been. Of the last
//! record nobody can say that.

mod scan;

use std::hash::Hasher;
use std::ops::Range;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::disk::Disk;
use super::failure::{damaged, disk_failure};
use super::header::{Layout, PAGE_BYTES};
use crate::error::{Error, ErrorKind, Result};
pub(super) use scan::Lost;

const APPEND: &str = "append to the log";
const READ: &str = "read the log";

const MAGIC: u32 = u32::from_le_bytes(*b"slog");
const HEADER_BYTES: usize = 40;
/// The place of the checksum in the header.
const SUM_AT: usize = 32;
/// The bit of a record's random number that says whether everything before the record was on the disk when it was written.
const IS_DURABLE: u64 = 1;
/// Bytes of an encoded [`Mark`].
pub(super) const MARK_BYTES: usize = 24;
/// So much of the log at a time is filled before its first use.
const STEP_BYTES: u64 = if cfg!(test) { 16 << 10 } else { 256 << 10 };
/// What it is filled with, and what fills the last page of a record. Not zero, so that one byte says whether a step was.
const FILLER: u8 = 0xff;

/// How far the log has come. A durable commit of redb keeps the one of the last record that is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the last commit, 0 before the first.
    pub(super) number: u64,
    /// The chain behind it.
    pub(super) chain: u64,
    /// Where it ends, from the start of the log.
    pub(super) end: u64,
}

impl Mark {
    pub(super) fn encode(self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.chain.to_le_bytes());
        bytes[16..].copy_from_slice(&self.end.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; MARK_BYTES]) -> Self {
        Self {
            number: word(bytes, 0),
            chain: word(bytes, 8),
            end: word(bytes, 16),
        }
    }
}

/// A commit that is in the log and not in redb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) payload: Vec<u8>,
}

/// The end of the log, where records are appended.
#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    layout: Layout,
    /// Drawn at each opening.
    life: u64,
    mark: Mark,
    /// The half that is being written.
    half: u64,
    /// Whether the records that were found lie in both halves.
    spans_halves: bool,
    /// Up to where, from the start of each half, the disk has room set aside for certain.
    ready: [u64; 2],
    /// Whether records may be there that are not on the disk.
    is_behind: bool,
    /// Where, on the disk, the records lie that were found at opening, until they are known to be on it.
    found: Vec<Range<u64>>,
    /// Whether an append failed, so that nobody knows what is there.
    is_poisoned: bool,
    buffer: Vec<u8>,
}

impl Log {
    /// The log behind `mark`, and the records that follow it. Writes nothing. Where none does since the file
    /// `was_closed`, nothing else is looked at: it takes longer than everything else that opening does.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) also when commits are lost that were on the disk.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        layout: Layout,
        mark: Mark,
        was_closed: bool,
    ) -> Result<(Self, Vec<Record>)> {
        let (log, records, len) = Self::follow(disk, layout, mark)?;
        if !(was_closed && records.is_empty()) {
            let lost = log.count_lost(len)?;
            if lost > 0 {
                return Err(damaged(
                    READ,
                    format!("{lost} commits in it cannot be read"),
                ));
            }
        }
        Ok((log, records))
    }

    /// The records that follow `mark`, and how many commits at least are lost that were on the disk.
    pub(super) fn read_all(
        disk: Arc<dyn Disk>,
        layout: Layout,
        mark: Mark,
    ) -> Result<(Vec<Record>, u64)> {
        let (log, records, len) = Self::follow(disk, layout, mark)?;
        let lost = log.count_lost(len)?;
        Ok((records, lost))
    }

    /// The log behind the records that follow `mark`, these, and how long the disk is.
    fn follow(disk: Arc<dyn Disk>, layout: Layout, mark: Mark) -> Result<(Self, Vec<Record>, u64)> {
        let is_place = mark.end.is_multiple_of(PAGE_BYTES) && mark.end <= 2 * layout.half_bytes;
        if !is_place {
            return Err(damaged(
                READ,
                "the mark of the last checkpoint is no place in it",
            ));
        }
        let len = disk.len().map_err(|error| disk_failure(READ, error))?;
        let mut log = Self::behind(disk, layout, mark);
        let mut records = Vec::new();
        while let Some(record) = log.next(len)? {
            let bytes = padded(record.payload.len()).unwrap_or_default();
            let end = log.place();
            match log.found.last_mut().filter(|last| last.end + bytes == end) {
                Some(last) => last.end = end,
                None => log.found.push(end - bytes..end),
            }
            records.push(record);
        }
        // They were read, which does not say that they are on the disk.
        log.is_behind = !records.is_empty();
        log.ready[log.half as usize] = log.at();
        Ok((log, records, len))
    }

    /// A log that goes on behind `mark`.
    fn behind(disk: Arc<dyn Disk>, layout: Layout, mark: Mark) -> Self {
        Self {
            life: XxHash3_64::oneshot(uuid::Uuid::new_v4().as_bytes()),
            half: u64::from(mark.end > layout.half_bytes),
            spans_halves: false,
            ready: [0; 2],
            is_behind: false,
            found: Vec::new(),
            is_poisoned: false,
            buffer: Vec::new(),
            disk,
            layout,
            mark,
        }
    }

    /// Whether the records that were found lie in both halves, so that none may be written over before a
    /// durable commit of redb has them.
    pub(super) fn spans_halves(&self) -> bool {
        self.spans_halves
    }

    /// The last commit: what a durable commit of redb keeps when it has everything up to here.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// The largest payload that a half takes.
    pub(super) fn payload_bytes_max(&self) -> usize {
        (self.layout.half_bytes as usize).saturating_sub(HEADER_BYTES)
    }

    /// Whether a payload of so many bytes fits behind the last record.
    pub(super) fn has_room(&self, payload_bytes: usize) -> bool {
        padded(payload_bytes).is_some_and(|bytes| bytes <= self.layout.half_bytes - self.at())
    }

    /// Goes on at the start of the other half, over what is there: a checkpoint that has all of it must be durable,
    /// and settled.
    pub(super) fn switch_half(&mut self) {
        self.half = 1 - self.half;
        self.mark.end = self.half * self.layout.half_bytes;
    }

    /// Appends commit `number`, whose payload is these parts one behind the other. When it is to be durable it
    /// is when this returns, and every record before it; else it survives the process.
    ///
    /// # Errors
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) when the record may or may not be there after the next
    /// opening; every later call fails then. After any other error, such as [`Full`](ErrorKind::Full), it is not.
    pub(super) fn append(
        &mut self,
        number: u64,
        payload: &[&[u8]],
        is_durable: bool,
    ) -> Result<()> {
        self.check()?;
        let payload_bytes = payload.iter().map(|part| part.len()).sum();
        let (Some(bytes), true) = (padded(payload_bytes), self.has_room(payload_bytes)) else {
            return Err(Error::new(ErrorKind::Backend, APPEND)
                .with_message("this half of it has no room for the record"));
        };
        if number != self.mark.number + 1 {
            return Err(Error::new(ErrorKind::Backend, APPEND).with_message(format!(
                "commit {number} does not follow {}",
                self.mark.number
            )));
        }
        // From here on everything before it is on the disk, or `is_behind` says so.
        if is_durable {
            self.make_durable()?;
        }
        self.make_ready(self.at() + bytes)?;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..8].copy_from_slice(&(payload_bytes as u32).to_le_bytes());
        header[8..16].copy_from_slice(&number.to_le_bytes());
        header[16..24].copy_from_slice(&self.mark.chain.to_le_bytes());
        let life = self.life & !IS_DURABLE | u64::from(!self.is_behind);
        header[24..32].copy_from_slice(&life.to_le_bytes());
        let chain = checksum(self.layout.salt, &header, payload);
        header[SUM_AT..].copy_from_slice(&chain.to_le_bytes());
        self.buffer.clear();
        self.buffer.extend_from_slice(&header);
        for part in payload {
            self.buffer.extend_from_slice(part);
        }
        self.buffer.resize(bytes as usize, FILLER);
        let place = self.place();
        let written = match is_durable {
            true => self.disk.write_durable(place, &self.buffer),
            false => self.disk.write(place, &self.buffer),
        };
        written.map_err(|error| self.poison(error))?;
        self.is_behind |= !is_durable;
        self.mark = Mark {
            number,
            chain,
            end: self.mark.end + bytes,
        };
        Ok(())
    }

    /// Leaves out commit `number`, which a durable commit of redb takes instead, together with the
    /// mark. When that commit fails, nothing may be appended behind it.
    pub(super) fn skip(&mut self, number: u64) -> Result<()> {
        self.check()?;
        let chain = [self.mark.chain, number, self.life].map(u64::to_le_bytes);
        self.mark.number = number;
        self.mark.chain = checksum(self.layout.salt, &[], &[chain.as_flattened()]);
        Ok(())
    }

    /// Makes every record durable that is not.
    pub(super) fn make_durable(&mut self) -> Result<()> {
        self.check()?;
        if self.is_behind {
            let made = self.write_again().and_then(|()| self.disk.sync());
            made.map_err(|error| self.poison(error))?;
            self.found.clear();
            self.is_behind = false;
        }
        Ok(())
    }

    /// Writes what was found at opening over itself. It may be in the system's memory alone, where a sync does not look for it: a write
    /// that had failed, and was said to have, is not tried again (see `fuse.rs`).
    fn write_again(&self) -> std::io::Result<()> {
        let mut piece = vec![0; STEP_BYTES as usize];
        for found in &self.found {
            for start in found.clone().step_by(STEP_BYTES as usize) {
                let bytes = STEP_BYTES.min(found.end - start);
                let piece = &mut piece[..bytes as usize];
                self.disk.read(start, piece)?;
                self.disk.write(start, piece)?;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.is_poisoned {
            true => Err(Error::new(ErrorKind::Io, APPEND)
                .with_message("an earlier commit failed; close the file and open it again")),
            false => Ok(()),
        }
    }

    fn poison(&mut self, error: std::io::Error) -> Error {
        self.is_poisoned = true;
        Error::new(ErrorKind::OutcomeUnknown, APPEND)
            .with_message("the batch may or may not be stored; open the file again to see")
            .with_cause(disk_failure(APPEND, error))
    }

    /// Where the log goes on, from the start of its half.
    fn at(&self) -> u64 {
        self.mark.end - self.half * self.layout.half_bytes
    }

    /// Where the log goes on, on the disk.
    fn place(&self) -> u64 {
        self.layout.half_start(0) + self.mark.end
    }

    /// Fills the half up to some place at or behind `end`, in steps, where nobody has written yet. On most file
    /// systems that sets room aside, so that a full disk refuses a record before it is begun, and a record
    /// needs no change of the file system's own. A small file stays small.
    fn make_ready(&mut self, end: u64) -> Result<()> {
        let failed = |error| disk_failure(APPEND, error);
        let start = self.layout.half_start(self.half);
        let ready = &mut self.ready[self.half as usize];
        if *ready >= end {
            return Ok(());
        }
        // Not for each record: on Linux 6.13 and later the write behind a question about the file has a time of its own to
        // make note of, and takes half as long again.
        let len = self.disk.len().map_err(failed)?;
        while *ready < end {
            let from = *ready / STEP_BYTES * STEP_BYTES;
            let target = (from + STEP_BYTES).min(self.layout.half_bytes);
            let mut last = [0];
            if start + target <= len {
                self.disk
                    .read(start + target - 1, &mut last)
                    .map_err(failed)?;
            }
            // Filler, or records of a former lap.
            if last == [0] {
                let begin = (*ready).max(from);
                let filler = vec![FILLER; (target - begin) as usize];
                self.disk
                    .write_durable(start + begin, &filler)
                    .map_err(failed)?;
            }
            *ready = target;
        }
        Ok(())
    }

    /// Goes on over the record that follows, when one does.
    fn next(&mut self, len: u64) -> Result<Option<Record>> {
        if let Some(record) = self.read(len)? {
            return Ok(Some(record));
        }
        let (half, end) = (self.half, self.mark.end);
        self.switch_half();
        let record = self.read(len)?;
        match record {
            None => (self.half, self.mark.end) = (half, end),
            Some(_) => self.spans_halves = true,
        }
        Ok(record)
    }

    fn read_at(&self, place: u64, out: &mut [u8]) -> Result<()> {
        let read = self.disk.read(place, out);
        read.map_err(|error| disk_failure(READ, error))
    }

    /// The record in this place, when there is one and it follows; and then goes on behind it.
    fn read(&mut self, len: u64) -> Result<Option<Record>> {
        let room = self
            .layout
            .half_bytes
            .saturating_sub(self.at())
            .min(len.saturating_sub(self.place()));
        if room < PAGE_BYTES {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.read_at(self.place(), &mut header)?;
        let payload_bytes = (word(&header, 0) >> 32) as usize;
        let number = word(&header, 8);
        let follows = word(&header, 0) as u32 == MAGIC
            && self.mark.number.checked_add(1) == Some(number)
            && word(&header, 16) == self.mark.chain;
        let Some(bytes) = padded(payload_bytes).filter(|bytes| follows && *bytes <= room) else {
            return Ok(None);
        };
        let mut payload = vec![0; payload_bytes];
        self.read_at(self.place() + HEADER_BYTES as u64, &mut payload)?;
        let chain = checksum(self.layout.salt, &header, &[&payload]);
        if chain != word(&header, SUM_AT) {
            return Ok(None);
        }
        self.mark = Mark {
            number,
            chain,
            end: self.mark.end + bytes,
        };
        Ok(Some(Record { number, payload }))
    }
}

/// Bytes that a record of such a payload takes, in whole pages.
pub(super) fn padded(payload_bytes: usize) -> Option<u64> {
    u32::try_from(payload_bytes).ok()?;
    Some((payload_bytes as u64 + HEADER_BYTES as u64).next_multiple_of(PAGE_BYTES))
}

/// Of a header but for its place, and a payload.
fn checksum(salt: u64, header: &[u8], payload: &[&[u8]]) -> u64 {
    let mut sum = Sum::new(salt, header);
    payload.iter().for_each(|part| sum.write(part));
    sum.finish()
}

/// A checksum of a header but for its place, and of a payload that comes in parts.
struct Sum(XxHash3_64);

impl Sum {
    fn new(salt: u64, header: &[u8]) -> Self {
        let mut hash = XxHash3_64::with_seed(salt);
        hash.write(header.get(..SUM_AT).unwrap_or_default());
        Self(hash)
    }

    fn write(&mut self, part: &[u8]) {
        self.0.write(part);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// The `u64` at this place; the caller knows that it is there.
fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests;
