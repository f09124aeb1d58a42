//! [`Ids`]: the ids of samples that are to be changed, in the order in which they were found. However many they are they take a
//! bounded amount of memory: many of them are in a file without a name, which is gone with the process.

use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use samplestore::{Error, Result};
use tempfile::SpooledTempFile;

/// More bytes of ids are not held in memory.
const BYTES_IN_MEMORY_MAX: usize = 32 << 20;
/// How many bytes are read and written at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// Ids being gathered: of each its length, two bytes, little-endian, and its text.
pub(crate) struct Ids(BufWriter<SpooledTempFile>);

/// Ids being read.
pub(crate) struct ReadIds(BufReader<SpooledTempFile>);

impl Ids {
    pub(crate) fn new() -> Self {
        Self::in_memory_up_to(BYTES_IN_MEMORY_MAX)
    }

    fn in_memory_up_to(bytes_max: usize) -> Self {
        let file = tempfile::spooled_tempfile(bytes_max);
        Self(BufWriter::with_capacity(BUFFER_BYTES, file))
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`Io`](samplestore::ErrorKind::Io), [`Full`](samplestore::ErrorKind::Full).
    pub(crate) fn push(&mut self, id: &str) -> Result<()> {
        let length =
            u16::try_from(id.len()).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
        let written = self.0.write_all(&length.to_le_bytes());
        let written = written.and_then(|()| self.0.write_all(id.as_bytes()));
        written.map_err(failed)
    }

    /// Goes to the first one.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub(crate) fn read(self) -> Result<ReadIds> {
        let mut file = self
            .0
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        Ok(ReadIds(BufReader::with_capacity(BUFFER_BYTES, file)))
    }
}

impl ReadIds {
    /// The next ones, so many at most; none at the end.
    ///
    /// # Errors
    /// [`Io`](samplestore::ErrorKind::Io).
    pub(crate) fn next(&mut self, ids_max: u64) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        while (ids.len() as u64) < ids_max
            && let Some(id) = self.next_one().map_err(failed)?
        {
            ids.push(id);
        }
        Ok(ids)
    }

    fn next_one(&mut self) -> io::Result<Option<String>> {
        let mut length = [0; 2];
        match self.0.read(&mut length[..1])? {
            0 => return Ok(None),
            _ => self.0.read_exact(&mut length[1..])?,
        }
        let mut id = vec![0; u16::from_le_bytes(length).into()];
        self.0.read_exact(&mut id)?;
        String::from_utf8(id).map(Some).map_err(io::Error::other)
    }
}

fn failed(cause: io::Error) -> Error {
    Error::io("keep the ids of what matches", "a temporary file", cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_in_order_from_memory_and_from_a_file() {
        let all: Vec<String> = (0..5_000)
            .map(|n| format!("{n}\n{}", "é".repeat(n % 256)))
            .collect();
        for bytes_max in [0, 100_000, BYTES_IN_MEMORY_MAX] {
            let mut ids = Ids::in_memory_up_to(bytes_max);
            all.iter().for_each(|id| ids.push(id).unwrap());
            let mut ids = ids.read().unwrap();
            assert_eq!(ids.0.get_ref().is_rolled(), bytes_max < BYTES_IN_MEMORY_MAX);
            let mut found = Vec::new();
            loop {
                let next = ids.next(300).unwrap();
                assert!(next.len() == 300 || found.len() + next.len() == all.len());
                match next.is_empty() {
                    true => break,
                    false => found.extend(next),
                }
            }
            assert_eq!(found, all);
        }
        assert!(Ids::new().read().unwrap().next(1).unwrap().is_empty());
    }
}
