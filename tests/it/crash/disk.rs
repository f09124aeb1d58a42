//! [`RecordingDisk`]: a disk in memory that remembers everything that was done to it, in order.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use samplestore::simulation::Disk;

use super::bytes::Bytes;

/// One thing done to a disk.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    Write { offset: u64, bytes: Arc<[u8]> },
    WriteDurable { offset: u64, bytes: Arc<[u8]> },
    SetLen(u64),
    Sync,
}

#[derive(Debug)]
pub(crate) struct RecordingDisk {
    content: Mutex<Content>,
    /// Whether it says of everything that it is durable, and makes nothing so.
    lies: bool,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Bytes,
    done: Vec<Done>,
}

impl RecordingDisk {
    /// A disk with these bytes on it.
    pub(crate) fn of(bytes: Bytes, lies: bool) -> Arc<Self> {
        let done = Vec::new();
        Arc::new(Self {
            content: Mutex::new(Content { bytes, done }),
            lies,
        })
    }

    /// A disk to which this was done already, and which has these bytes since then.
    pub(crate) fn after(bytes: Bytes, done: Vec<Done>) -> Arc<Self> {
        Arc::new(Self {
            content: Mutex::new(Content { bytes, done }),
            lies: false,
        })
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.content().bytes.clone()
    }

    /// What was done since the last sync will never be durable: of that, it never was.
    pub(crate) fn forget_unsynced(&self) {
        let done = &mut self.content().done;
        let synced = done.iter().rposition(|done| matches!(done, Done::Sync));
        let mut number = 0;
        done.retain(|done| {
            number += 1;
            Some(number - 1) <= synced || matches!(done, Done::WriteDurable { .. })
        });
    }

    /// How many things were done so far.
    pub(crate) fn place(&self) -> usize {
        self.content().done.len()
    }

    pub(crate) fn done(&self) -> Vec<Done> {
        self.content().done.clone()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }
}

impl Disk for RecordingDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content().bytes.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.content().bytes.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.content();
        content.bytes.write(offset, bytes);
        let bytes = bytes.into();
        content.done.push(Done::Write { offset, bytes });
        Ok(())
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.lies {
            return self.write(offset, bytes);
        }
        let mut content = self.content();
        content.bytes.write(offset, bytes);
        let bytes = bytes.into();
        content.done.push(Done::WriteDurable { offset, bytes });
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.content();
        content.bytes.set_len(len);
        content.done.push(Done::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if !self.lies {
            self.content().done.push(Done::Sync);
        }
        Ok(())
    }
}
