//! fjall 3, with the indexes of `indexed.rs`: one keyspace a table, one atomic batch a transaction.
//!
//! The cache is set for the whole database; memtables (64 MiB each) come on top of it and have no such limit
//! here. A batch is synced (`PersistMode::SyncAll`). Compactions run in threads of its own, so a part of the cost
//! of its loads falls outside their timing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Snapshot,
};
use samplestore::{Facets, Status};

use crate::engine::{Ask, CACHE_BYTES, Engine, Form, Found, Place, Result};
use crate::indexed::{self, Reads, Table, Writes};
use crate::samples::Row;

pub struct Fjall {
    database: Database,
    tables: [Keyspace; 5],
    /// Held while a batch is made and committed; the number of the next sample.
    writer: Mutex<u64>,
    is_synced: AtomicBool,
}

impl Fjall {
    pub fn open(folder: &Path) -> Result<Self> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES as u64)
            .open()?;
        let mut tables = Vec::new();
        for name in Table::NAMES {
            tables.push(database.keyspace(name, KeyspaceCreateOptions::default)?);
        }
        let tables: [Keyspace; 5] = tables.try_into().map_err(|_| "not five tables")?;
        let next_number = indexed::next_number(&Read {
            snapshot: database.snapshot(),
            tables: &tables,
        })?;
        Ok(Self {
            database,
            tables,
            writer: Mutex::new(next_number),
            is_synced: AtomicBool::new(true),
        })
    }

    fn read(&self) -> Read<'_> {
        Read {
            snapshot: self.database.snapshot(),
            tables: &self.tables,
        }
    }

    fn writer(&self) -> MutexGuard<'_, u64> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, work: impl FnOnce(&mut Write<'_>, &mut u64) -> Result<T>) -> Result<T> {
        let mut next_number = self.writer();
        let mut write = Write {
            read: self.read(),
            batch: self.database.batch(),
        };
        let answer = work(&mut write, &mut next_number)?;
        write.batch.commit()?;
        drop(next_number);
        // Outside the lock, so that the next writer can prepare its batch meanwhile.
        if self.is_synced.load(Ordering::Relaxed) {
            self.database.persist(PersistMode::SyncAll)?;
        }
        Ok(answer)
    }
}

impl Engine for Fjall {
    fn store(&self, batch: &[Row]) -> Result<()> {
        self.write(|write, next_number| {
            batch
                .iter()
                .try_for_each(|row| indexed::store(write, next_number, row))
        })
    }

    fn set_synced(&self, synced: bool) -> Result<bool> {
        self.is_synced.store(synced, Ordering::Relaxed);
        if synced {
            self.database.persist(PersistMode::SyncAll)?;
        }
        Ok(true)
    }

    fn retrieve(&self, id: &str, form: Form) -> Result<Option<Found>> {
        indexed::retrieve(&self.read(), id, form)
    }

    fn list(&self, ask: &Ask, form: Form) -> Result<Vec<Found>> {
        indexed::list(&self.read(), ask, form)
    }

    fn page(&self, ask: &Ask, after: Option<&Place>) -> Result<(Vec<Found>, Option<Place>)> {
        indexed::page(&self.read(), ask, after)
    }

    fn scan(&self, see: &mut dyn FnMut(Found)) -> Result<()> {
        indexed::scan(&self.read(), see)
    }

    fn count(&self, ask: &Ask) -> Result<u64> {
        indexed::count(&self.read(), ask)
    }

    fn facets(&self) -> Result<Facets> {
        indexed::facets(&self.read())
    }

    fn set_status(&self, ask: &Ask, to: Status) -> Result<u64> {
        self.write(|write, _| {
            let numbers = indexed::numbers(write, ask)?;
            indexed::set_status(write, &numbers, to)
        })
    }

    fn set_status_of(&self, ids: &[String], to: Status) -> Result<u64> {
        self.write(|write, _| {
            let numbers = indexed::numbers_of(write, ids)?;
            indexed::set_status(write, &numbers, to)
        })
    }

    fn delete(&self, ask: &Ask) -> Result<u64> {
        self.write(|write, _| {
            let numbers = indexed::numbers(write, ask)?;
            indexed::delete(write, &numbers)
        })
    }

    fn compact(&mut self) -> Result<()> {
        for table in &self.tables {
            table.rotate_memtable_and_wait()?;
            table.major_compact()?;
        }
        Ok(())
    }
}

struct Read<'a> {
    snapshot: Snapshot,
    tables: &'a [Keyspace; 5],
}

/// A batch and what was there before it: no engine here reads its own writes back.
struct Write<'a> {
    read: Read<'a>,
    batch: OwnedWriteBatch,
}

impl Reads for Read<'_> {
    fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        see: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        self.snapshot
            .get(&self.tables[table as usize], key)?
            .map(|value| see(&value))
            .transpose()
    }

    fn walk(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        backwards: bool,
        mut see: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut range = self.snapshot.range(&self.tables[table as usize], from..to);
        while let Some(pair) = if backwards {
            range.next_back()
        } else {
            range.next()
        } {
            let (key, value) = pair.into_inner()?;
            if !see(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}

impl Reads for Write<'_> {
    fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        see: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        self.read.get(table, key, see)
    }

    fn walk(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        backwards: bool,
        see: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        self.read.walk(table, from, to, backwards, see)
    }
}

impl Writes for Write<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch
            .insert(&self.read.tables[table as usize], key, value);
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<()> {
        self.batch.remove(&self.read.tables[table as usize], key);
        Ok(())
    }
}
