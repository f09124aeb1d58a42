//! A database on a disk of your own, which may record, cut off or fail whatever reaches it (feature `simulation`).
//!
//! This is how the crate's own tests find out what a loss of power or a failing disk leaves behind: a [`Disk`] sees
//! every read, write, resize and sync, in the order in which the engine asks for them. What is promised after
//! which fault says the chapter [`crate::docs::what_survives_what`]. For tests only: nothing else
//! keeps two handles from writing one disk at the same time.
//!
//! A test of crashes that finds nothing has shown nothing until it has found something, so there are
//! [`Mutant`]s too: engines that do one thing wrong.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use redb::{BackendError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::commit::Committer;
use super::disk::{self, Range};
use super::failure::Context;
use super::record;
use super::schema::{FIELDS, Kind, definition};
use super::{Database, Options};
use crate::error::Result;
use crate::sample::Sample;

/// Bytes that outlive the process, as the engine sees them. It calls from several threads at once.
///
/// What was written survives the loss of power once [`write_durable`](Self::write_durable) of it, or a
/// [`sync`](Self::sync) after it, has returned; what was not may be there after that in any part. The engine relies on
/// one thing more: the first two sectors of 512 bytes are each written whole or not at all.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// How many bytes there are.
    ///
    /// # Errors
    /// Those of the disk, here and below.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are none.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out`.
    ///
    /// # Errors
    /// One of the kind [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where the bytes end before.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes, beyond the end too.
    ///
    /// # Errors
    /// Nobody knows then which of these bytes are there.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes, and returns once these bytes are on the disk; says nothing of any others.
    ///
    /// # Errors
    /// Nobody knows then which of these bytes are there.
    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off, or adds zeros.
    ///
    /// # Errors
    /// Nobody knows then how many there are.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns once everything written before is on the disk.
    ///
    /// # Errors
    /// Nobody knows then what is.
    fn sync(&self) -> io::Result<()>;
}

/// One thing that an engine does wrong, for which a test of crashes must find it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// The counts of statuses in each chunk follow the samples in a transaction of their own.
    CountsInSecondTransaction,
    /// So do the keys that the indexes of fields have.
    FieldsInSecondTransaction,
}

impl Options {
    /// Opens what is on `disk`, and makes a database on it when it is empty, unless told not to.
    ///
    /// # Errors
    /// As [`open`](Options::open).
    pub fn open_on(self, disk: Arc<dyn Disk>) -> Result<Database> {
        self.open_with("simulated disk".into(), |options, path| {
            options.open_disk(path, Arc::new(Simulated(disk)))
        })
    }

    /// Bytes of each of the two halves that the log of a new file has: a multiple of 4,096, at most 1 GiB. With a few
    /// pages, checkpoints come often.
    pub fn log_half_bytes(mut self, log_half_bytes: u64) -> Self {
        self.log_half_bytes = log_half_bytes;
        self
    }

    /// Opens an engine that does something wrong.
    pub fn mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }
}

/// The record that the file keeps of a sample, without its seal. Of the pipeline it has a number; here that is 0.
///
/// # Errors
/// [`InvalidSample`](crate::ErrorKind::InvalidSample) when it is too large.
pub fn encode_record(sample: &Sample) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    record::encode(sample, 0, &mut bytes)?;
    Ok(bytes)
}

/// The sample that such a record stands for. Its pipeline is called `p`.
///
/// # Errors
/// [`Damaged`](crate::ErrorKind::Damaged) for bytes that are none.
pub fn decode_record(record: &[u8]) -> Result<Sample> {
    let status = record::header(record)?.status;
    let whole = Arc::from(record);
    record::decode(&whole, record, status, |_| Ok("p".into()))
}

/// The caller's disk. Its locks are those of a file that no other process has: they are given to whoever asks.
#[derive(Debug)]
struct Simulated(Arc<dyn Disk>);

impl disk::Disk for Simulated {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write(offset, bytes)
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_durable(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn try_lock(&self, _range: Range, _shared: bool) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock(&self, _range: Range, _shared: bool) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock(&self, _range: Range) -> Result<(), BackendError> {
        Ok(())
    }

    fn is_locked(&self, _range: Range) -> Result<bool, BackendError> {
        Ok(false)
    }
}

type Bytes = TableDefinition<'static, u64, &'static [u8]>;

/// What a mutant has left out of a transaction: a table's keys and values.
pub(super) struct Withheld {
    table: Bytes,
    entries: Vec<(u64, Vec<u8>)>,
}

impl Mutant {
    /// The table and the keys that this mutant writes later.
    fn part(self) -> (Bytes, RangeInclusive<u64>) {
        match self {
            Self::CountsInSecondTransaction => (definition::summary, Kind::Chunk.summary_keys()),
            Self::FieldsInSecondTransaction => (FIELDS, 0..=u64::MAX),
        }
    }

    /// Takes back out of a finished transaction what this mutant writes later.
    pub(super) fn withhold(
        self,
        database: &redb::Database,
        transaction: &WriteTransaction,
    ) -> Result<Withheld> {
        const OPERATION: &str = "withhold an index";
        let (part, keys) = self.part();
        let before = database.begin_read().context(OPERATION)?;
        let before = match before.open_table(part) {
            Err(redb::TableError::TableDoesNotExist(_)) => None,
            opened => Some(opened.context(OPERATION)?),
        };
        let mut table = transaction.open_table(part).context(OPERATION)?;
        let mut entries = Vec::new();
        for entry in table.range(keys).context(OPERATION)? {
            let (key, value) = entry.context(OPERATION)?;
            entries.push((key.value(), value.value().to_vec()));
        }
        for (key, _) in &entries {
            let old = match &before {
                Some(before) => before.get(key).context(OPERATION)?,
                None => None,
            };
            match old {
                Some(old) => table.insert(key, old.value()).context(OPERATION)?,
                None => table.remove(key).context(OPERATION)?,
            };
        }
        let table = part;
        Ok(Withheld { table, entries })
    }
}

impl Withheld {
    /// Writes it after all.
    pub(super) fn commit(self, database: &redb::Database, committer: &mut Committer) -> Result<()> {
        const OPERATION: &str = "write a withheld index";
        let transaction = database.begin_write().context(OPERATION)?;
        let mut table = transaction.open_table(self.table).context(OPERATION)?;
        for (key, value) in &self.entries {
            table.insert(key, value.as_slice()).context(OPERATION)?;
        }
        drop(table);
        committer.commit_apart(transaction)
    }
}
