//! [`Model`]: what operations make of samples and of indexes of fields, in memory.

use std::collections::BTreeMap;

use samplestore::{Database, MemoryStorage, Query, Result, Sample, Storage};

use super::Operation;

/// The indexes of fields, by field, and whether each has every row.
pub(crate) type Indexes = BTreeMap<String, bool>;

/// What a database has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    /// In order of time.
    pub(crate) samples: Vec<Sample>,
    pub(crate) indexes: Indexes,
}

impl State {
    /// What this database has.
    pub(crate) fn of(database: &Database) -> Result<Self> {
        let indexes = database.indexes()?;
        Ok(Self {
            samples: database.list(&Query::new())?.samples,
            indexes: indexes
                .iter()
                .map(|index| (index.field.to_string(), index.progress >= 1.0))
                .collect(),
        })
    }
}

/// Samples and indexes that operations change.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) samples: MemoryStorage,
    pub(crate) indexes: Indexes,
}

impl Model {
    /// Does what an operation does.
    pub(crate) fn run(&mut self, operation: &Operation) {
        match operation {
            Operation::CreateIndex(field) => {
                self.indexes.insert(field.clone(), true);
            }
            Operation::DropIndex(field) => {
                self.indexes.remove(field);
            }
            other => other.run_on_samples(&self.samples),
        }
    }

    pub(crate) fn state(&self) -> State {
        State {
            samples: self.samples.list(&Query::new()).unwrap().samples,
            indexes: self.indexes.clone(),
        }
    }
}
