//! LMDB through heed, with the indexes of `indexed.rs`.
//!
//! LMDB has no cache of its own: its pages are the operating system's, so the 256 MiB of the others bind it
//! not. A commit is synced (LMDB's default).

use std::ops::Bound;
use std::path::Path;
use std::sync::Mutex;

use heed::types::Bytes;
use heed::{
    AnyTls, CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode, RoTxn, RwTxn,
    WithoutTls,
};
use samplestore::{Facets, Status};

use crate::engine::{Ask, Engine, Form, Found, Place, Result};
use crate::indexed::{self, Reads, Table, Writes};
use crate::samples::Row;

/// Address space, not disk.
const MAP_BYTES: usize = 64 << 30;

type Tables = [Database<Bytes, Bytes>; 5];

pub struct Lmdb {
    env: Env<WithoutTls>,
    tables: Tables,
    next_number: Mutex<u64>,
}

impl Lmdb {
    pub fn open(folder: &Path) -> Result<Self> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAP_BYTES).max_dbs(5);
        // SAFETY: the folder is the benchmark's own, and no one else changes its files while they are mapped.
        let env = unsafe { options.open(folder)? };
        let mut transaction = env.write_txn()?;
        let mut tables = Vec::new();
        for name in Table::NAMES {
            tables.push(env.create_database(&mut transaction, Some(name))?);
        }
        transaction.commit()?;
        let tables: Tables = tables.try_into().map_err(|_| "not five tables")?;
        let next_number = indexed::next_number(&Read {
            transaction: &*env.read_txn()?,
            tables: &tables,
        })?;
        Ok(Self {
            env,
            tables,
            next_number: Mutex::new(next_number),
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Read<'_>) -> Result<T>) -> Result<T> {
        let transaction = self.env.read_txn()?;
        work(&Read {
            transaction: &transaction,
            tables: &self.tables,
        })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Write<'_>) -> Result<T>) -> Result<T> {
        let mut write = Write {
            transaction: self.env.write_txn()?,
            tables: &self.tables,
        };
        let answer = work(&mut write)?;
        write.transaction.commit()?;
        Ok(answer)
    }
}

impl Engine for Lmdb {
    fn store(&self, batch: &[Row]) -> Result<()> {
        self.write(|write| {
            let mut next_number = self.next_number.lock().map_err(|_| "a store panicked")?;
            batch
                .iter()
                .try_for_each(|row| indexed::store(write, &mut next_number, row))
        })
    }

    fn set_synced(&self, synced: bool) -> Result<bool> {
        let mode = if synced {
            FlagSetMode::Disable
        } else {
            FlagSetMode::Enable
        };
        // SAFETY: no one stores meanwhile, and a database whose process dies before the sync below is thrown away.
        unsafe { self.env.set_flags(EnvFlags::NO_SYNC, mode)? };
        if synced {
            self.env.force_sync()?;
        }
        Ok(true)
    }

    fn retrieve(&self, id: &str, form: Form) -> Result<Option<Found>> {
        self.read(|read| indexed::retrieve(read, id, form))
    }

    fn list(&self, ask: &Ask, form: Form) -> Result<Vec<Found>> {
        self.read(|read| indexed::list(read, ask, form))
    }

    fn page(&self, ask: &Ask, after: Option<&Place>) -> Result<(Vec<Found>, Option<Place>)> {
        self.read(|read| indexed::page(read, ask, after))
    }

    fn scan(&self, see: &mut dyn FnMut(Found)) -> Result<()> {
        self.read(|read| indexed::scan(read, see))
    }

    fn count(&self, ask: &Ask) -> Result<u64> {
        self.read(|read| indexed::count(read, ask))
    }

    fn facets(&self) -> Result<Facets> {
        self.read(|read| indexed::facets(read))
    }

    fn set_status(&self, ask: &Ask, to: Status) -> Result<u64> {
        self.write(|write| {
            let numbers = indexed::numbers(write, ask)?;
            indexed::set_status(write, &numbers, to)
        })
    }

    fn set_status_of(&self, ids: &[String], to: Status) -> Result<u64> {
        self.write(|write| {
            let numbers = indexed::numbers_of(write, ids)?;
            indexed::set_status(write, &numbers, to)
        })
    }

    fn delete(&self, ask: &Ask) -> Result<u64> {
        self.write(|write| {
            let numbers = indexed::numbers(write, ask)?;
            indexed::delete(write, &numbers)
        })
    }

    fn copy_compacted(&self, folder: &Path) -> Result<bool> {
        self.env
            .copy_to_path(folder.join("data.mdb"), CompactionOption::Enabled)?;
        Ok(true)
    }
}

struct Read<'a> {
    transaction: &'a RoTxn<'a, AnyTls>,
    tables: &'a Tables,
}

struct Write<'a> {
    transaction: RwTxn<'a>,
    tables: &'a Tables,
}

impl Reads for Read<'_> {
    fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        see: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        self.tables[table as usize]
            .get(self.transaction, key)?
            .map(see)
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
        let table = self.tables[table as usize];
        let range = (Bound::Included(from), Bound::Excluded(to));
        if backwards {
            for pair in table.rev_range(self.transaction, &range)? {
                let (key, value) = pair?;
                if !see(key, value)? {
                    break;
                }
            }
        } else {
            for pair in table.range(self.transaction, &range)? {
                let (key, value) = pair?;
                if !see(key, value)? {
                    break;
                }
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
        Read {
            transaction: &self.transaction,
            tables: self.tables,
        }
        .get(table, key, see)
    }

    fn walk(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        backwards: bool,
        see: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        Read {
            transaction: &self.transaction,
            tables: self.tables,
        }
        .walk(table, from, to, backwards, see)
    }
}

impl Writes for Write<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.tables[table as usize].put(&mut self.transaction, key, value)?)
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<()> {
        self.tables[table as usize].delete(&mut self.transaction, key)?;
        Ok(())
    }
}
