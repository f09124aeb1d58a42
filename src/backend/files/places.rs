//! [`Places`]: the order of first storing (rule R4), as a log of small objects that is only added to.
//!
//! A sample's document is its JSON text form and nothing else, so its rank cannot stand there, and a local
//! disk has no metadata for it. So before a batch is written, the ids that are new claim their places in
//! `order/NUMBER.json`, `{"stored": [ids]}`, NUMBER being one more than the last: an object that is made
//! only if it is not there, so of writers that want the same number one gets it and the others go on to
//! the next. Such an object never changes. The rank of an id is where it stands, `NUMBER << 20 |
//! position`: it survives replacement and restart, and no two ids share one.
//!
//! - An id that stands twice, since two writers did not know of each other, has its first place.
//! - An id whose document was then not written, since the writer died, has its place when it is stored.
//! - `{"deleted": [ids]}` follows a deletion: an id that is stored again gets a new place. So a store looks first at what
//!   was added to the log. On a server it looks once more where a document is gone that stood by the log; the
//!   deletion is in the log before its last trace is gone (`removal.rs`). Should a document be there nevertheless, since
//!   another process stored and deleted it between a writer's claim and its document, its place is where the
//!   deletion stands, until another claim.
//!
//! A handle keeps all places in memory, about 100 bytes for each id, reads the log when it first needs
//! it, and afterwards only what was added.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::REQUESTS;
use super::objects::{Key, Objects};
use crate::backend::runtime::each;
use crate::error::{Error, ErrorKind, Result};

pub(super) const FOLDER: &str = "order";
/// How many ids stand in one object at most.
const IDS_MAX: usize = 1 << POSITION_BITS;
const POSITION_BITS: u32 = 20;
/// How often a writer goes on to the next number because another one was before it.
const CLAIMS_MAX: u32 = 1_000;

/// One object of the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Entry {
    Stored(Vec<String>),
    Deleted(Vec<String>),
}

#[derive(Clone, Copy, Debug)]
struct Place {
    rank: u64,
    /// It was deleted last, and has no document unless a writer was quick.
    is_deleted: bool,
}

/// The place of each id, as far as the log was read.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_id: HashMap<String, Place>,
    /// The number of the last object that was read; 0 for none.
    last: u64,
}

impl Places {
    /// The rank of an id that claimed one at some time.
    pub(super) fn rank(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).map(|place| place.rank)
    }

    /// Whether an id has a place and was not deleted since, as far as the log was read.
    pub(super) fn stands(&self, id: &str) -> bool {
        self.by_id.get(id).is_some_and(|place| !place.is_deleted)
    }

    /// Reads what was added to the log since it was last read.
    pub(super) async fn catch_up(
        &mut self,
        objects: &Objects,
        operation: &'static str,
    ) -> Result<()> {
        let after = (self.last > 0).then(|| name(self.last));
        let mut names = objects.names(operation, FOLDER, after.as_deref()).await?;
        names.retain(|name| number(name).is_some_and(|number| number > self.last));
        names.sort_unstable();
        let read = {
            let objects = objects.clone();
            move |name: String| {
                let objects = objects.clone();
                async move { read(&objects, operation, name).await }
            }
        };
        let mut entries = std::pin::pin!(each(operation, objects.place(), REQUESTS, names, read));
        while let Some((number, entry)) = entries.try_next().await? {
            if number != self.last + 1 {
                let key = Key::new(FOLDER, name(self.last + 1));
                return Err(damaged(objects, operation, &key)
                    .with_message("it is missing, and with it the order of some samples"));
            }
            self.apply(number, entry);
        }
        Ok(())
    }

    /// The same with one small request where nothing was added: each number follows the one before.
    pub(super) async fn refresh(
        &mut self,
        objects: &Objects,
        operation: &'static str,
    ) -> Result<()> {
        let next = Key::new(FOLDER, name(self.last + 1));
        match objects.head(operation, &next).await? {
            Some(_) => self.catch_up(objects, operation).await,
            None => Ok(()),
        }
    }

    /// Gives each id that has none a place, in this order. What others removed until the log was last read has none.
    pub(super) async fn claim<'a>(
        &mut self,
        objects: &Objects,
        operation: &'static str,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<()> {
        let mut ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
        ids.retain(|id| !self.stands(id));
        while !ids.is_empty() {
            let rest = ids.split_off(ids.len().min(IDS_MAX));
            self.add(objects, operation, Entry::Stored(ids)).await?;
            ids = rest;
        }
        Ok(())
    }

    /// Takes the places of ids whose documents were removed: those that they have as far as the log was read. Others that they get
    /// meanwhile are of documents that were stored since, and stay.
    pub(super) async fn give_up(
        &mut self,
        objects: &Objects,
        operation: &'static str,
        mut ids: Vec<String>,
    ) -> Result<()> {
        while !ids.is_empty() {
            let rest = ids.split_off(ids.len().min(IDS_MAX));
            self.add(objects, operation, Entry::Deleted(ids)).await?;
            ids = rest;
        }
        Ok(())
    }

    /// Adds an object to the log, behind those that other writers add meanwhile. What they did to an id is not done again.
    async fn add(
        &mut self,
        objects: &Objects,
        operation: &'static str,
        mut entry: Entry,
    ) -> Result<()> {
        if self.last == 0 {
            self.catch_up(objects, operation).await?;
        }
        let write = uuid::Uuid::new_v4().simple().to_string();
        let left: HashMap<String, Option<u64>> = match &entry {
            Entry::Stored(_) => HashMap::new(),
            Entry::Deleted(ids) => ids.iter().map(|id| (id.clone(), self.rank(id))).collect(),
        };
        for _ in 0..CLAIMS_MAX {
            let ids = match &mut entry {
                Entry::Stored(ids) => {
                    ids.retain(|id| !self.stands(id));
                    ids
                }
                Entry::Deleted(ids) => {
                    ids.retain(|id| left.get(id) == Some(&self.rank(id)));
                    ids
                }
            };
            if ids.is_empty() {
                return Ok(());
            }
            let number = self.last + 1;
            let key = Key::new(FOLDER, name(number));
            let text = serde_json::to_vec(&entry).map_err(|cause| {
                Error::new(ErrorKind::Backend, operation)
                    .with_subject(objects.shown(&key))
                    .with_cause(cause)
            })?;
            let text = Bytes::from(text);
            if objects.create_as(operation, &key, &text, &write).await? {
                self.apply(number, entry);
                return Ok(());
            }
            // It may be this one, whose answer was lost. A deletion that stands there twice would be one of what was stored between.
            let found = objects.get(operation, &key).await?;
            if found.is_some_and(|found| found.version.lineage.has(&write)) {
                self.apply(number, entry);
                return Ok(());
            }
            self.catch_up(objects, operation).await?;
        }
        Err(Error::new(ErrorKind::Backend, operation)
            .with_message("too many other writers; none of the numbers for the order was to be had")
            .with_retryable(true))
    }

    fn apply(&mut self, number: u64, entry: Entry) {
        let ranked = |ids: Vec<String>| {
            let ranks = (number << POSITION_BITS)..;
            ids.into_iter().zip(ranks)
        };
        match entry {
            Entry::Stored(ids) => {
                for (id, rank) in ranked(ids) {
                    if !self.stands(&id) {
                        let is_deleted = false;
                        self.by_id.insert(id, Place { rank, is_deleted });
                    }
                }
            }
            Entry::Deleted(ids) => {
                for (id, rank) in ranked(ids) {
                    let is_deleted = true;
                    self.by_id.insert(id, Place { rank, is_deleted });
                }
            }
        }
        self.last = number;
    }
}

/// Names in the order of numbers; 20 digits hold every `u64`.
fn name(number: u64) -> String {
    format!("{number:020}.json")
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    let is_plain = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain)
}

async fn read(objects: &Objects, operation: &'static str, name: String) -> Result<(u64, Entry)> {
    let key = Key::new(FOLDER, name);
    let wrong = || damaged(objects, operation, &key);
    let number = number(&key.name).ok_or_else(wrong)?;
    let found = objects.get(operation, &key).await?;
    let found = found.ok_or_else(|| wrong().with_message("it went away"))?;
    let entry = serde_json::from_slice(&found.bytes).map_err(|cause| wrong().with_cause(cause))?;
    Ok((number, entry))
}

fn damaged(objects: &Objects, operation: &'static str, key: &Key) -> Error {
    Error::new(ErrorKind::Damaged, operation).with_subject(objects.shown(key))
}

/// The places of a storage, for all of its handles.
pub(super) type SharedPlaces = Arc<tokio::sync::Mutex<Places>>;
