//! [`Hashes`]: what a copy has, to be compared with what was written.

use std::hash::Hasher;

use redb::ReadableTable;
use twox_hash::XxHash3_64;

use super::{OPERATION, Told};
use crate::database::failure::Context;
use crate::database::view::View;
use crate::error::Result;

/// The hash of each table: of every key and value, in order.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Hashes(Vec<(&'static str, u64)>);

/// The hash of one table while it grows.
pub(super) struct TableHash {
    name: &'static str,
    hash: XxHash3_64,
}

impl TableHash {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            hash: XxHash3_64::new(),
        }
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.hash.write(&(value.len() as u64).to_le_bytes());
        self.hash.write(key);
        self.hash.write(value);
    }
}

impl Hashes {
    pub(super) fn push(&mut self, table: &TableHash) {
        self.0.push((table.name, table.hash.finish()));
    }

    /// Reads every table of a copy, in the order in which [`Copy::all`](super::copy::Copy::all) writes them.
    pub(super) fn read(&mut self, view: &View, told: &mut Told<'_>) -> Result<()> {
        let tables = &view.tables;
        let fields = view.field_table().map(|table| ("fields", table));
        let tables = [
            ("blocks", tables.blocks()?),
            ("status", tables.status()?),
            ("replaced", tables.replaced()?),
            ("columns", tables.columns()?),
            ("created_runs", tables.created_runs()?),
            ("created_moved", tables.created_moved()?),
            ("pipeline_rows", tables.pipeline_rows()?),
            ("ids", tables.ids()?),
            ("ids_gathered", tables.ids_gathered()?),
            ("summary", tables.summary()?),
        ];
        for (name, table) in tables.into_iter().chain(fields) {
            let mut hash = TableHash::new(name);
            for entry in table.iter().context(OPERATION)? {
                let (key, value) = entry.context(OPERATION)?;
                hash.add(&key.value().to_le_bytes(), value.value());
                told.entry()?;
            }
            self.push(&hash);
        }
        let mut meta = TableHash::new("meta");
        for entry in view.tables.meta()?.iter().context(OPERATION)? {
            let (key, value) = entry.context(OPERATION)?;
            meta.add(key.value().as_bytes(), value.value());
        }
        self.push(&meta);
        Ok(())
    }
}
