//! Every way in which the bytes of a log may have been left: the records taken are those that were
//! acknowledged, and at most the one that was being appended.

mod found;
mod scan;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::disk::memory::{Done, MemoryDisk};
use super::*;

const SECTOR_BYTES: usize = 512;

fn layout() -> Layout {
    Layout {
        half_bytes: 16 * PAGE_BYTES,
        base: 64 * PAGE_BYTES,
        salt: 7,
    }
}

fn open(disk: &Arc<MemoryDisk>, mark: Mark) -> (Log, Vec<u64>) {
    let (log, records) = Log::open(disk.clone(), layout(), mark, false).unwrap();
    for record in &records {
        assert_eq!(record.payload, payload(record.number), "{}", record.number);
    }
    (log, records.iter().map(|record| record.number).collect())
}

fn numbers(disk: &Arc<MemoryDisk>, mark: Mark) -> Vec<u64> {
    open(disk, mark).1
}

fn copy(bytes: &[u8]) -> Arc<MemoryDisk> {
    Arc::new(MemoryDisk::of(bytes.to_vec()))
}

/// A disk that is read, and counts how much.
#[derive(Debug)]
struct Counted {
    disk: Arc<MemoryDisk>,
    bytes_read: AtomicUsize,
}

impl Disk for Counted {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes_read.fetch_add(out.len(), Ordering::Relaxed);
        self.disk.read(offset, out)
    }

    fn write(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What commit `number` says: of one page to three, and exactly one or two for some.
fn payload(number: u64) -> Vec<u8> {
    let len = match number % 4 {
        0 => PAGE_BYTES as usize - HEADER_BYTES,
        1 => 100,
        2 => 2 * PAGE_BYTES as usize - HEADER_BYTES,
        _ => 9_000,
    };
    vec![number as u8 | 1; len]
}

fn append(log: &mut Log, number: u64) {
    append_as(log, number, true);
}

fn append_as(log: &mut Log, number: u64, is_durable: bool) {
    let payload = payload(number);
    let (head, tail) = payload.split_at(50);
    log.append(number, &[head, tail], is_durable).unwrap();
}

#[test]
fn records_come_back_in_order_and_the_log_goes_on_behind_them() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, records) = open(&disk, Mark::default());
    assert!(records.is_empty());
    for number in 1..=5 {
        append(&mut log, number);
    }
    let (mut log, records) = open(&disk, Mark::default());
    assert_eq!(records, [1, 2, 3, 4, 5]);
    let middle = Mark::decode(&log.mark().encode());
    assert_eq!(middle, log.mark());
    append(&mut log, 6);
    assert_eq!(numbers(&disk, Mark::default()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(&disk, middle), [6]);
    assert_eq!(numbers(&disk, log.mark()), [0; 0]);
}

#[test]
fn no_page_of_an_acknowledged_record_is_written_again() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    for number in 1..=6 {
        let end = log.layout.half_start(0) + log.mark().end;
        disk.take_done();
        append(&mut log, number);
        let done = disk.take_done();
        for done in &done {
            let Done::WriteDurable { offset, .. } = done else {
                panic!("{done:?} is no durable write");
            };
            assert!(*offset >= end && offset.is_multiple_of(PAGE_BYTES));
        }
        // Behind the first steps a record is one write.
        assert!(done.len() <= 2);
    }
}

#[test]
fn what_a_former_lap_wrote_is_not_filled_again() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    // Payloads without a byte that looks like filler, until both halves were written.
    let mut number = 0;
    for _ in 0..2 {
        while log.has_room(payload(number + 1).len()) {
            number += 1;
            append(&mut log, number);
        }
        log.switch_half();
    }
    let (mut log, _) = open(&disk, log.mark());
    disk.take_done();
    while log.has_room(payload(number + 1).len()) {
        number += 1;
        append(&mut log, number);
        assert_eq!(disk.take_done().len(), 1, "{number}");
    }
}

#[test]
fn a_flipped_byte_is_damage_unless_the_last_record_may_have_been_torn() {
    for is_durable in [true, false] {
        let disk = Arc::new(MemoryDisk::default());
        let (mut log, _) = open(&disk, Mark::default());
        let mut ends = vec![0];
        for number in 1..=3 {
            append_as(&mut log, number, is_durable);
            ends.push(log.mark().end);
        }
        let bytes = disk.bytes();
        let start = layout().half_start(0);
        for at in 0..ends[3] {
            let mut bytes = bytes.clone();
            bytes[(start + at) as usize] ^= 0x10;
            let whole = ends[1..].iter().filter(|end| **end <= at).count() as u64;
            let used = payload(whole + 1).len() + HEADER_BYTES;
            let is_filler = at >= ends[whole as usize] + used as u64;
            let image = copy(&bytes);
            if is_filler {
                assert_eq!(numbers(&image, Mark::default()), [1, 2, 3], "byte {at}");
            } else if is_durable && whole < 2 {
                let refused = Log::open(image, layout(), Mark::default(), false).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::Damaged, "byte {at}");
            } else {
                let expected: Vec<u64> = (1..=whole).collect();
                assert_eq!(numbers(&image, Mark::default()), expected, "byte {at}");
            }
        }
    }
}

/// The first record behind a flush says that those before are on the disk, however it was written itself.
#[test]
fn what_was_flushed_is_not_taken_for_torn_when_anything_follows() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    let mut ends = vec![0];
    for number in 1..=4 {
        if number == 3 {
            log.make_durable().unwrap();
        }
        append_as(&mut log, number, false);
        ends.push(log.mark().end);
    }
    for (record, found) in [(1, None), (2, None), (3, Some(2)), (4, Some(3))] {
        let mut bytes = disk.bytes();
        bytes[(layout().half_start(0) + ends[record - 1]) as usize + HEADER_BYTES] ^= 1;
        let opened = Log::open(copy(&bytes), layout(), Mark::default(), false);
        match found {
            Some(found) => assert_eq!(opened.unwrap().1.len(), found, "{record}"),
            None => assert_eq!(opened.unwrap_err().kind(), ErrorKind::Damaged, "{record}"),
        }
    }
}

#[test]
fn a_log_that_is_cut_off_has_the_records_before() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    let mut ends = Vec::new();
    for number in 1..=5 {
        append(&mut log, number);
        ends.push(layout().half_start(0) + log.mark().end);
    }
    let bytes = disk.bytes();
    for len in (0..bytes.len()).step_by(500) {
        let whole = ends.iter().filter(|end| **end <= len as u64).count() as u64;
        let taken = numbers(&copy(&bytes[..len]), Mark::default());
        assert_eq!(taken, (1..=whole).collect::<Vec<_>>(), "{len} bytes");
    }
}

#[test]
fn a_torn_record_is_not_there_and_the_next_life_overwrites_it() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    append(&mut log, 1);
    append(&mut log, 2);
    let before = disk.bytes();
    let place = log.place() as usize;
    append(&mut log, 3);
    let after = disk.bytes();
    let mut before = before;
    before.resize(after.len(), 0);
    let sectors = (payload(3).len() + HEADER_BYTES).div_ceil(SECTOR_BYTES);
    let mut torn = Vec::new();
    for cut in 0..sectors {
        // A prefix, a suffix, one sector missing, one sector alone.
        torn.push((0..sectors).map(|at| at < cut).collect::<Vec<_>>());
        torn.push((0..sectors).map(|at| at > cut).collect());
        torn.push((0..sectors).map(|at| at != cut).collect());
        torn.push((0..sectors).map(|at| at == cut).collect());
    }
    for written in torn {
        let mut bytes = before.clone();
        for (sector, _) in written.iter().enumerate().filter(|(_, is)| **is) {
            let at = place + sector * SECTOR_BYTES;
            bytes[at..at + SECTOR_BYTES].copy_from_slice(&after[at..at + SECTOR_BYTES]);
        }
        let disk = copy(&bytes);
        let (mut log, records) = open(&disk, Mark::default());
        assert_eq!(records, [1, 2], "{written:?}");
        append(&mut log, 3);
        append(&mut log, 4);
        assert_eq!(numbers(&disk, Mark::default()), [1, 2, 3, 4]);
    }
    assert_eq!(numbers(&copy(&after), Mark::default()), [1, 2, 3]);
}

/// Appends through both halves again and again, with a checkpoint at each switch, and after each commit
/// checks what an opening finds behind both of the last two checkpoints.
#[test]
fn both_halves_serve_lap_after_lap() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    let (mut settled, mut pending) = (Mark::default(), Mark::default());
    let mut switches = 0;
    for number in 1..=200 {
        if !log.has_room(payload(number).len()) {
            // The checkpoint of the other half is settled, that of this one begins.
            settled = pending;
            pending = log.mark();
            log.switch_half();
            switches += 1;
        }
        if number % 37 == 0 {
            (log, _) = open(&disk, settled);
        }
        append(&mut log, number);
        for mark in [settled, pending] {
            let expected: Vec<_> = (mark.number + 1..=number).collect();
            assert_eq!(numbers(&disk, mark), expected, "{number} behind {mark:?}");
        }
        assert_eq!(numbers(&disk, log.mark()), [0; 0]);
    }
    assert!(switches > 10);
}

#[test]
fn a_commit_may_go_past_the_log() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    append(&mut log, 1);
    log.skip(2).unwrap();
    let mark = log.mark();
    assert_eq!(numbers(&disk, mark), [0; 0]);
    append(&mut log, 3);
    assert_eq!(numbers(&disk, mark), [3]);
    // If redb does not have the second, which was durable before the third was appended, that is damage.
    let opened = |was_closed| Log::open(disk.clone(), layout(), Mark::default(), was_closed);
    assert_eq!(opened(false).unwrap_err().kind(), ErrorKind::Damaged);
    // What follows is read, and then all of it, also where redb says that nothing should.
    assert_eq!(opened(true).unwrap_err().kind(), ErrorKind::Damaged);
}

/// To look for what may be lost reads all of the log, which is most of what opening reads.
#[test]
fn of_a_file_that_was_closed_no_more_is_read_than_whether_a_record_follows() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    for number in 1..=3 {
        append(&mut log, number);
    }
    let mark = log.mark();
    let bytes_read = |was_closed| {
        let counted = Arc::new(Counted {
            disk: Arc::clone(&disk),
            bytes_read: AtomicUsize::new(0),
        });
        let (_, records) = Log::open(counted.clone(), layout(), mark, was_closed).unwrap();
        assert!(records.is_empty());
        counted.bytes_read.load(Ordering::Relaxed)
    };
    assert!(bytes_read(true) <= 2 * HEADER_BYTES);
    assert!(bytes_read(false) > STEP_BYTES as usize);
}

#[test]
fn what_was_lost_with_the_power_never_follows_what_came_later() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    append(&mut log, 1);
    let kept = disk.bytes();
    let from = log.place() as usize;
    append_as(&mut log, 2, false);
    let lost = from..log.place() as usize;
    append_as(&mut log, 3, false);
    // Of the two that were not synced the disk has the second alone.
    let mut bytes = disk.bytes();
    bytes[lost.clone()].copy_from_slice(&kept[lost]);
    let disk = copy(&bytes);
    let (mut log, records) = open(&disk, Mark::default());
    assert_eq!(records, [1]);
    // The same batch again, with the same number, in the same place.
    append(&mut log, 2);
    assert_eq!(numbers(&disk, Mark::default()), [1, 2]);
    append(&mut log, 3);
    assert_eq!(numbers(&disk, Mark::default()), [1, 2, 3]);
}

#[test]
fn a_durable_record_makes_those_before_it_durable() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    append_as(&mut log, 1, false);
    append_as(&mut log, 2, false);
    disk.take_done();
    append(&mut log, 3);
    assert_eq!(disk.take_done()[0], Done::Sync);
    append(&mut log, 4);
    assert!(!disk.take_done().contains(&Done::Sync));
    log.make_durable().unwrap();
    assert_eq!(disk.take_done(), []);
    append_as(&mut log, 5, false);
    disk.take_done();
    log.make_durable().unwrap();
    assert_eq!(disk.take_done(), [Done::Sync]);
    // What an opening took was read, and may be in memory alone.
    let (mut log, _) = open(&disk, Mark::default());
    append(&mut log, 6);
    assert!(disk.take_done().contains(&Done::Sync));
}

#[test]
fn a_record_of_another_file_does_not_count() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    append(&mut log, 1);
    let salt = 8;
    let other = Layout { salt, ..layout() };
    let (_, records) = Log::open(disk, other, Mark::default(), false).unwrap();
    assert!(records.is_empty());
}

#[test]
fn a_full_disk_refuses_a_record_and_nothing_else() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    append(&mut log, 1);
    disk.set_full_at(Some(layout().half_start(0) + STEP_BYTES));
    append(&mut log, 2);
    let error = log.append(3, &[&payload(3)], true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(numbers(&disk, Mark::default()), [1, 2]);
    disk.set_full_at(None);
    append(&mut log, 3);
    assert_eq!(numbers(&disk, Mark::default()), [1, 2, 3]);
}

#[test]
fn after_a_failed_write_nothing_is_appended() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    append(&mut log, 1);
    disk.set_failing(true);
    let error = log.append(2, &[&payload(1)], true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    disk.set_failing(false);
    assert_eq!(
        log.append(2, &[&payload(2)], true).unwrap_err().kind(),
        ErrorKind::Io
    );
    assert!(log.skip(2).is_err());
    let (_, records) = open(&disk, Mark::default());
    assert_eq!(records, [1]);
}

#[test]
fn what_does_not_fit_or_follow_is_refused() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    let max = log.payload_bytes_max();
    assert!(log.has_room(max) && !log.has_room(max + 1) && !log.has_room(usize::MAX));
    assert!(log.append(1, &[&vec![0; max + 1]], true).is_err());
    assert!(log.append(2, &[b"too early"], true).is_err());
    log.append(1, &[&vec![0; max]], true).unwrap();
    assert!(!log.has_room(0));
    for end in [
        1,
        PAGE_BYTES + 1,
        2 * layout().half_bytes + PAGE_BYTES,
        u64::MAX,
    ] {
        let mark = Mark {
            end,
            ..Mark::default()
        };
        let error = Log::open(disk.clone(), layout(), mark, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }
}

#[test]
fn lengths_and_numbers_that_cannot_be_are_no_record() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk, Mark::default());
    append(&mut log, 1);
    let bytes = disk.bytes();
    let start = layout().half_start(0) as usize;
    for len in [0, u32::MAX, u32::MAX - 40, 16 * 4_096, 1 << 31] {
        let mut bytes = bytes.clone();
        bytes[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
        assert_eq!(numbers(&copy(&bytes), Mark::default()), [0; 0]);
    }
    let last = Mark {
        number: u64::MAX,
        ..Mark::default()
    };
    assert_eq!(numbers(&disk, last), [0; 0]);
}
