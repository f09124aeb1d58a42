//! The first page of a file: that it is ours, of which version, where its parts lie, and whether it was ever
//! finished being made.
//!
//! Written once; what lies in the parts is `log.rs` and redb's. The bytes are written down in the chapter
//! [`crate::docs::file_format`]; a change here is a change there.

use std::io;

use twox_hash::XxHash3_64;

use super::branch::REDB_MAGIC;
use super::disk::Disk;
use super::failure::{damaged, disk_failure};
use super::schema::{FORMAT_VERSION, check_version};
use crate::error::{Error, ErrorKind, Result};

/// The unit of everything below redb: no write of the log ends within one.
pub(super) const PAGE_BYTES: u64 = 4_096;

const OPERATION: &str = "open the database";
const MAGIC: [u8; 12] = *b"samplestore\0";
const MADE: [u8; 12] = *b"made\0\0\0\0\0\0\0\0";
/// What a disk writes whole or not at all: the header is one, the mark that the file is made another.
const SECTOR_BYTES: usize = 512;
const SEAL_AT: usize = SECTOR_BYTES - 8;

/// Bytes of each half of the log. Small in this crate's own tests, so that they wrap often.
pub(super) const HALF_BYTES: u64 = if cfg!(test) {
    64 << 10
} else {
    (4 << 20) - PAGE_BYTES
};
/// Where redb's storage begins is a multiple of this.
const BASE_ALIGN: u64 = 64 << 10;
/// No half is larger in any file, so that a damaged header cannot make anybody allocate.
pub(super) const HALF_BYTES_MAX: u64 = 1 << 30;

/// Where the parts of a file lie, and what its checksums are salted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of each of the two halves of the log.
    pub(super) half_bytes: u64,
    /// Where redb's storage begins; it goes on to the end.
    pub(super) base: u64,
    /// A random number of this file's, so that no checksum of another file's holds in it.
    pub(super) salt: u64,
}

/// What the first page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Nothing: the file is to be made.
    Empty,
    /// Whoever began to make the file did not come to the end, so that nothing was ever stored in it.
    Unfinished,
    Made(Layout),
}

impl Layout {
    /// The layout of a new file, whose log has two halves of so many bytes.
    pub(super) fn new(half_bytes: u64) -> Self {
        Self {
            half_bytes,
            base: (PAGE_BYTES + 2 * half_bytes).next_multiple_of(BASE_ALIGN),
            salt: XxHash3_64::oneshot(uuid::Uuid::new_v4().as_bytes()),
        }
    }

    /// Where a half of the log, 0 or 1, begins.
    pub(super) fn half_start(&self, half: u64) -> u64 {
        PAGE_BYTES + half * self.half_bytes
    }

    fn encode(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[..12].copy_from_slice(&MAGIC);
        sector[12..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        sector[16..24].copy_from_slice(&self.half_bytes.to_le_bytes());
        sector[24..32].copy_from_slice(&self.base.to_le_bytes());
        sector[32..40].copy_from_slice(&self.salt.to_le_bytes());
        seal(&mut sector);
        sector
    }

    fn decode(sector: &[u8]) -> Result<Self> {
        if !is_sealed(sector) {
            return Err(damaged(
                OPERATION,
                "the checksum of its header does not hold",
            ));
        }
        let mut version = [0; 4];
        version.copy_from_slice(&sector[12..16]);
        check_version(u32::from_le_bytes(version))?;
        let layout = Self {
            half_bytes: word(sector, 16),
            base: word(sector, 24),
            salt: word(sector, 32),
        };
        let fits = layout.half_bytes.is_multiple_of(PAGE_BYTES)
            && (PAGE_BYTES..=HALF_BYTES_MAX).contains(&layout.half_bytes)
            && layout.base.is_multiple_of(PAGE_BYTES)
            && (layout.half_start(2)..1 << 62).contains(&layout.base);
        match fits {
            true => Ok(layout),
            false => Err(damaged(OPERATION, "its header says what cannot be")),
        }
    }

    /// The mark of a finished file, which goes with this layout's salt.
    fn mark(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[..12].copy_from_slice(&MADE);
        sector[32..40].copy_from_slice(&self.salt.to_le_bytes());
        seal(&mut sector);
        sector
    }
}

/// Reads and checks the first page.
pub(super) fn read(disk: &dyn Disk) -> Result<Head> {
    let len = disk.len().map_err(|error| disk_failure(OPERATION, error))?;
    let mut page = vec![0; len.min(PAGE_BYTES) as usize];
    disk.read(0, &mut page)
        .map_err(|error| disk_failure(OPERATION, error))?;
    if len <= PAGE_BYTES && page.iter().all(|byte| *byte == 0) {
        return Ok(Head::Empty);
    }
    let magic = page.len().min(MAGIC.len());
    if page[..magic] != MAGIC[..magic] {
        return Err(
            Error::new(ErrorKind::NotADatabase, OPERATION).with_message("it has other content")
        );
    }
    if len < PAGE_BYTES {
        return Err(damaged(OPERATION, "the file is cut off"));
    }
    let (header, rest) = page.split_at(SECTOR_BYTES);
    let layout = Layout::decode(header)?;
    let mark = &rest[..SECTOR_BYTES];
    if mark == layout.mark() {
        match len > layout.base {
            true => Ok(Head::Made(layout)),
            false => Err(damaged(OPERATION, "the file is cut off")),
        }
    } else if mark.iter().all(|byte| *byte == 0) && !has_records(disk, &layout)? {
        Ok(Head::Unfinished)
    } else {
        Err(damaged(OPERATION, "the second sector is damaged"))
    }
}

/// What a damaged first page says nevertheless: either of its two sectors has the salt, and most files are laid out in the same way.
pub(super) fn rescue(disk: &dyn Disk) -> Option<Layout> {
    let mut sectors = [[0; SECTOR_BYTES]; 2];
    disk.read(0, sectors.as_flattened_mut()).ok()?;
    let [header, mark] = &sectors;
    if let Ok(layout) = Layout::decode(header) {
        return Some(layout);
    }
    let is_mark = is_sealed(mark) && mark.starts_with(&MADE);
    is_mark.then(|| Layout {
        salt: word(mark, 32),
        ..Layout::new(HALF_BYTES)
    })
}

/// Whether redb's part of the file begins where most files have it: what the first page says is not needed to know that it is one.
pub(super) fn has_tables(disk: &dyn Disk) -> bool {
    let mut magic = vec![0; REDB_MAGIC.len()];
    let base = Layout::new(HALF_BYTES).base;
    disk.read(base, &mut magic).is_ok() && magic == REDB_MAGIC
}

/// Whether a half of the log begins with a record, so that the file was finished, whatever else it says.
fn has_records(disk: &dyn Disk, layout: &Layout) -> Result<bool> {
    let len = disk.len().map_err(|error| disk_failure(OPERATION, error))?;
    for half in 0..2 {
        let mut magic = [0; 4];
        let start = layout.half_start(half);
        if start + 4 <= len {
            disk.read(start, &mut magic)
                .map_err(|error| disk_failure(OPERATION, error))?;
        }
        if magic != [0; 4] {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Begins to make a file with a log of two halves of so many bytes: what was in it is gone.
pub(super) fn begin(disk: &dyn Disk, half_bytes: u64) -> io::Result<Layout> {
    let layout = Layout::new(half_bytes);
    // One after the other: a page of which only the first sector is there would pass for a file that was cut off,
    // and zeros with something behind them for another program's.
    if disk.len()? > 0 {
        disk.set_len(0)?;
        disk.sync()?;
    }
    disk.write_durable(0, &[0; PAGE_BYTES as usize])?;
    disk.write_durable(0, &layout.encode())?;
    Ok(layout)
}

/// Says for ever that the file is made. What it is to begin with must be on the disk by now.
pub(super) fn finish(disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
    disk.write_durable(SECTOR_BYTES as u64, &layout.mark())
}

fn seal(sector: &mut [u8; SECTOR_BYTES]) {
    let sum = XxHash3_64::oneshot(&sector[..SEAL_AT]);
    sector[SEAL_AT..].copy_from_slice(&sum.to_le_bytes());
}

fn is_sealed(sector: &[u8]) -> bool {
    sector.len() == SECTOR_BYTES && word(sector, SEAL_AT) == XxHash3_64::oneshot(&sector[..SEAL_AT])
}

/// The `u64` at this place; the caller knows that it is there.
fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::super::disk::memory::{Done, MemoryDisk};
    use super::*;

    fn made() -> (Layout, Vec<u8>) {
        let disk = MemoryDisk::default();
        let layout = begin(&disk, HALF_BYTES).unwrap();
        assert_eq!(read(&disk).unwrap(), Head::Unfinished);
        finish(&disk, &layout).unwrap();
        disk.set_len(layout.base + 1).unwrap();
        (layout, disk.bytes())
    }

    fn kind(bytes: &[u8]) -> ErrorKind {
        read(&MemoryDisk::of(bytes.to_vec())).unwrap_err().kind()
    }

    #[test]
    fn a_header_comes_back_and_no_flipped_byte_passes() {
        let (layout, bytes) = made();
        let disk = MemoryDisk::of(bytes.clone());
        assert_eq!(read(&disk).unwrap(), Head::Made(layout));
        for at in 0..2 * SECTOR_BYTES {
            for bit in [1, 0x80] {
                let mut bytes = bytes.clone();
                bytes[at] ^= bit;
                let expected = match at < MAGIC.len() {
                    true => ErrorKind::NotADatabase,
                    false => ErrorKind::Damaged,
                };
                assert_eq!(kind(&bytes), expected, "byte {at}");
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_off_is_never_taken_for_a_new_one() {
        let (layout, bytes) = made();
        assert_eq!(read(&MemoryDisk::default()).unwrap(), Head::Empty);
        for len in (1..PAGE_BYTES).chain([PAGE_BYTES, PAGE_BYTES + 1, layout.base]) {
            let kind = kind(&bytes[..len as usize]);
            assert_eq!(kind, ErrorKind::Damaged, "{len} bytes");
        }
    }

    #[test]
    fn a_file_that_is_being_made_is_never_taken_for_a_damaged_one() {
        let (_, whole) = made();
        // Of one that nobody stored anything in, or of none.
        for before in [
            vec![],
            whole[..SECTOR_BYTES]
                .iter()
                .copied()
                .chain([0; 9_000])
                .collect(),
        ] {
            let disk = MemoryDisk::of(before.clone());
            begin(&disk, HALF_BYTES).unwrap();
            let mut bytes = before;
            for done in disk.take_done() {
                match done {
                    Done::SetLen(len) => bytes.resize(len as usize, 0),
                    Done::Write { .. } | Done::Sync => {}
                    Done::WriteDurable { offset, bytes: new } => {
                        assert_eq!(offset, 0);
                        // Cut off behind every sector of it.
                        for end in (0..=new.len()).step_by(SECTOR_BYTES) {
                            bytes.resize(bytes.len().max(end), 0);
                            bytes[..end].copy_from_slice(&new[..end]);
                            let head = read(&MemoryDisk::of(bytes.clone())).unwrap();
                            assert!(matches!(head, Head::Empty | Head::Unfinished));
                        }
                    }
                }
            }
            assert_eq!(bytes.len(), PAGE_BYTES as usize);
        }
    }

    #[test]
    fn zeros_are_a_new_file_only_where_making_one_may_have_left_them() {
        let zeros = |len: u64| MemoryDisk::of(vec![0; len as usize]);
        assert_eq!(read(&zeros(PAGE_BYTES)).unwrap(), Head::Empty);
        let error = read(&zeros(PAGE_BYTES + 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADatabase);
    }

    #[test]
    fn a_newer_version_and_a_layout_that_cannot_be_are_refused() {
        let (_, bytes) = made();
        for (at, value, expected) in [
            (12, 2_u64, ErrorKind::FormatTooNew),
            (16, 4_095, ErrorKind::Damaged),
            (16, 1 << 40, ErrorKind::Damaged),
            (16, u64::MAX, ErrorKind::Damaged),
            (24, 4_096, ErrorKind::Damaged),
            (24, u64::MAX - 4_095, ErrorKind::Damaged),
        ] {
            let mut bytes = bytes.clone();
            let width = if at == 12 { 4 } else { 8 };
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            let sum = XxHash3_64::oneshot(&bytes[..SEAL_AT]);
            bytes[SEAL_AT..SECTOR_BYTES].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(kind(&bytes), expected, "{value} at {at}");
        }
    }
}
