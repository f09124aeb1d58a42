//! [`Memory`]: a file in memory whose operations fail from some moment on, or one of them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use samplestore::simulation::Disk;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Everything that changes the disk, as one that is full.
    Changes,
    Writes,
    Syncs,
}

/// After so many that succeed, one fails, and all behind it if it lasts.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub what: What,
    pub left: u32,
    pub lasts: bool,
}

#[derive(Debug)]
pub struct Memory {
    bytes: Mutex<Vec<u8>>,
    fault: Mutex<Option<Fault>>,
}

impl Memory {
    pub fn of(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            bytes: Mutex::new(bytes),
            fault: Mutex::new(None),
        })
    }

    pub fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().expect("not poisoned")
    }

    pub fn fail(&self, fault: Fault) {
        *self.fault.lock().expect("not poisoned") = Some(fault);
    }

    fn change(&self, what: What) -> io::Result<()> {
        let mut armed = self.fault.lock().expect("not poisoned");
        let Some(fault) = &mut *armed else {
            return Ok(());
        };
        if fault.what != what && fault.what != What::Changes {
            return Ok(());
        }
        if fault.left > 0 {
            fault.left -= 1;
            return Ok(());
        }
        let error = match fault.what {
            What::Changes => io::Error::new(io::ErrorKind::StorageFull, "no space left"),
            What::Writes | What::Syncs => io::Error::other("a bad sector"),
        };
        if !fault.lasts {
            *armed = None;
        }
        Err(error)
    }
}

impl Disk for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes();
        let found = bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        self.change(What::Writes)?;
        let mut bytes = self.bytes();
        let end = offset as usize + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(new);
        Ok(())
    }

    fn write_durable(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        self.write(offset, new)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(What::Changes)?;
        self.bytes().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.change(What::Syncs)
    }
}
