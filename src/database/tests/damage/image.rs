//! [`Image`]: a disk of which bytes were changed.

use std::io;
use std::sync::{Arc, Mutex};

use crate::database::disk::Disk;

/// Bytes that somebody may have changed: nothing is written to them.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) flipped: Option<(u64, u8)>,
    /// A bit for each byte that was read, when that is asked.
    pub(super) seen: Option<Mutex<Vec<bool>>>,
}

impl Image {
    pub(super) fn of(bytes: &Arc<Vec<u8>>) -> Self {
        Self {
            bytes: Arc::clone(bytes),
            ..Self::default()
        }
    }
}

impl Disk for Image {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let range = start..start.saturating_add(out.len());
        let bytes = self.bytes.get(range.clone());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        if let Some((at, mask)) = self.flipped
            && let Some(at) = at.checked_sub(offset)
            && let Some(byte) = out.get_mut(at as usize)
        {
            *byte ^= mask;
        }
        if let Some(seen) = &self.seen {
            seen.lock().unwrap()[range].fill(true);
        }
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
