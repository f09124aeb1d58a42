//! What is found in a log that nobody had closed: whether it is on the disk, and what follows it.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A disk whose writes, once they have failed, are in the system's memory and never reach the disk: nothing says that they are still
/// to be written.
#[derive(Debug, Default)]
struct Forgetful {
    memory: MemoryDisk,
    on_disk: MemoryDisk,
    unwritten: Mutex<Vec<(u64, Vec<u8>)>>,
    is_failing: AtomicBool,
}

impl Disk for Forgetful {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.unwritten
            .lock()
            .unwrap()
            .push((offset, bytes.to_vec()));
        self.memory.write(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        let unwritten = std::mem::take(&mut *self.unwritten.lock().unwrap());
        if self.is_failing.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk does not answer"));
        }
        for (offset, bytes) in unwritten {
            self.on_disk.write(offset, &bytes)?;
        }
        Ok(())
    }
}

#[test]
fn what_was_found_is_on_the_disk_before_anything_relies_on_it() {
    let disk = Arc::new(Forgetful::default());
    let open = || Log::open(disk.clone(), layout(), Mark::default(), false).unwrap();
    let (mut log, _) = open();
    append(&mut log, 1);
    disk.is_failing.store(true, Ordering::SeqCst);
    let unknown = log.append(2, &[&payload(2)], true).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::OutcomeUnknown);
    disk.is_failing.store(false, Ordering::SeqCst);
    // It is in the file, as whoever reads it sees it, and not on the disk.
    assert_eq!(numbers(&copy(&disk.on_disk.bytes()), Mark::default()), [1]);
    let (mut log, records) = open();
    assert_eq!(records.len(), 2);
    append(&mut log, 3);
    let left = copy(&disk.on_disk.bytes());
    assert_eq!(numbers(&left, Mark::default()), [1, 2, 3]);
}

#[test]
fn what_follows_a_record_of_filler_is_not_overlooked() {
    // Records of so many bytes look like a log that nobody has written to.
    let layout = Layout {
        half_bytes: 8 * STEP_BYTES,
        ..layout()
    };
    for filler in [0, FILLER] {
        let disk = Arc::new(MemoryDisk::default());
        let mark = Mark::default();
        let (mut log, _) = Log::open(disk.clone(), layout, mark, false).unwrap();
        append(&mut log, 1);
        let blank = vec![filler; 3 * STEP_BYTES as usize];
        log.append(2, &[&blank], true).unwrap();
        append(&mut log, 3);
        let (_, records) = Log::open(disk.clone(), layout, mark, false).unwrap();
        assert_eq!(records.len(), 3);
        let mut bytes = disk.bytes();
        let payload_at = layout.half_start(0) + padded(payload(1).len()).unwrap() + 100;
        bytes[payload_at as usize] ^= 1;
        let damaged = copy(&bytes);
        let error = Log::open(damaged.clone(), layout, mark, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let (records, lost) = Log::read_all(damaged.clone(), layout, mark).unwrap();
        assert_eq!((records.len(), lost), (1, 2));
        let all = Log::find_all(damaged, layout).unwrap();
        let numbers: Vec<u64> = all.iter().map(|record| record.number).collect();
        assert_eq!(numbers, [1, 3]);
    }
}
