//! [`FaultyDisk`]: a disk in memory of which one operation fails, or all from one on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use samplestore::simulation::Disk;

use crate::crash::disk::RecordingDisk;
use crate::crash::image::{HEAD_BYTES, SECTOR_BYTES};

/// What a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Reads,
    Writes,
    Syncs,
    Resizes,
    /// Writes, syncs and resizes alike.
    Changes,
}

/// The `nth` of these operations, from 0, fails, and all after it if it `lasts`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) what: What,
    pub(crate) nth: usize,
    pub(crate) lasts: bool,
    /// The error's number, as the system counts them.
    pub(crate) errno: i32,
}

#[derive(Debug)]
pub(crate) struct FaultyDisk {
    pub(crate) disk: Arc<RecordingDisk>,
    fault: Fault,
    met: AtomicUsize,
}

impl FaultyDisk {
    pub(crate) fn of(disk: Arc<RecordingDisk>, fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            disk,
            fault,
            met: AtomicUsize::new(0),
        })
    }

    /// How many operations there were of the kind that fails.
    pub(crate) fn met_so_far(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }

    /// Whether anything failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.met_so_far() > self.fault.nth
    }

    fn check(&self, what: What) -> io::Result<()> {
        let is_met =
            self.fault.what == what || self.fault.what == What::Changes && what != What::Reads;
        if !is_met {
            return Ok(());
        }
        let number = self.met.fetch_add(1, Ordering::SeqCst);
        let fails = number == self.fault.nth || self.fault.lasts && number > self.fault.nth;
        match fails {
            true => Err(io::Error::from_raw_os_error(self.fault.errno)),
            false => Ok(()),
        }
    }

    /// A write that fails leaves its first half there; of the head, whole sectors.
    fn check_write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check(What::Writes).inspect_err(|_| {
            let mut half = bytes.len() / 2;
            if offset < HEAD_BYTES {
                half -= half % SECTOR_BYTES;
            }
            self.disk.write(offset, &bytes[..half]).unwrap();
        })
    }
}

impl Disk for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check(What::Reads)?;
        self.disk.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_write(offset, bytes)?;
        self.disk.write(offset, bytes)
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_write(offset, bytes)?;
        self.disk.write_durable(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(What::Resizes)?;
        self.disk.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        // What a sync that failed was to make durable no later one does, as Linux has it.
        self.check(What::Syncs)
            .inspect_err(|_| self.disk.forget_unsynced())?;
        self.disk.sync()
    }
}
