//! native_db 0.8, with its secondary keys.
//!
//! It has no order of equal instants by itself, so the secondary keys end with the sample's number. Its scans gather
//! the primary keys of the whole range before they give the first sample, and there is no other way to count than
//! to go through the decoded samples of such a scan. It hands out structs alone: there is no raw form.

use std::path::Path;
use std::sync::{Mutex, OnceLock};

use native_db::transaction::RTransaction;
use native_db::{Builder, Database, Models, ToKey, native_db};
use native_model::{Model, native_model};
use samplestore::{Facets, Status};
use serde::{Deserialize, Serialize};

use crate::engine::{Ask, Body, CACHE_BYTES, Engine, Form, Found, Head, Place, Result, status_of};
use crate::samples::{Data, Measurements, PIPELINES, Row};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[native_model(id = 1, version = 1)]
#[native_db(
    secondary_key(by_created -> (u64, u64), unique),
    secondary_key(by_status -> (u8, u64, u64), unique),
    secondary_key(by_pipeline -> (u8, u8, u64, u64), unique)
)]
struct Item {
    #[primary_key]
    number: u64,
    #[secondary_key(unique)]
    id: String,
    pipeline: String,
    status: u8,
    created_at: i64,
    data: Data,
    measurements: Measurements,
}

impl Item {
    fn by_created(&self) -> (u64, u64) {
        (sortable(self.created_at), self.number)
    }

    fn by_status(&self) -> (u8, u64, u64) {
        (self.status, sortable(self.created_at), self.number)
    }

    fn by_pipeline(&self) -> (u8, u8, u64, u64) {
        (
            code(&self.pipeline),
            self.status,
            sortable(self.created_at),
            self.number,
        )
    }
}

pub struct NativeDb {
    database: Database<'static>,
    next_number: Mutex<u64>,
}

impl NativeDb {
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("samples.native");
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(models()?, path)?;
        let next_number = {
            let read = database.r_transaction()?;
            let last = read.scan().primary::<Item>()?.all()?.next_back();
            last.transpose()?.map_or(0, |item| item.number + 1)
        };
        Ok(Self {
            database,
            next_number: Mutex::new(next_number),
        })
    }

    /// Shows what `ask` gives, decoded, until told to stop by `false`.
    fn walk(
        &self,
        read: &RTransaction<'_>,
        ask: &Ask,
        after: Option<&Place>,
        mut see: impl FnMut(Item) -> Result<bool>,
    ) -> Result<()> {
        let (first, last) = ask.range.unwrap_or((i64::MIN, i64::MAX));
        let first = match after {
            Some(Place::Key(created_at, number)) => (sortable(*created_at), number + 1),
            _ => (sortable(first), 0),
        };
        let last = (sortable(last), u64::MAX);
        let scan = read.scan();
        // The three scans have types of their own.
        macro_rules! walk {
            ($key:expr, $range:expr) => {{
                let scan = scan.secondary::<Item>($key)?;
                let mut items = scan.range($range)?;
                while let Some(item) = if ask.newest {
                    items.next_back()
                } else {
                    items.next()
                } {
                    if !see(item?)? {
                        break;
                    }
                }
            }};
        }
        match (ask.pipeline, ask.status) {
            (Some(pipeline), Some(status)) => {
                let (pipeline, status) = (code(pipeline), status as u8);
                let range =
                    (pipeline, status, first.0, first.1)..=(pipeline, status, last.0, last.1);
                walk!(ItemKey::by_pipeline, range);
            }
            (None, Some(status)) => {
                let status = status as u8;
                walk!(
                    ItemKey::by_status,
                    (status, first.0, first.1)..=(status, last.0, last.1)
                );
            }
            (None, None) => walk!(ItemKey::by_created, first..=last),
            (Some(_), None) => return Err("no workload asks for a pipeline alone".into()),
        }
        Ok(())
    }

    fn items(&self, ask: &Ask) -> Result<Vec<Item>> {
        let read = self.database.r_transaction()?;
        let mut items = Vec::new();
        self.walk(&read, ask, None, |item| {
            items.push(item);
            Ok(true)
        })?;
        Ok(items)
    }

    fn move_all(&self, items: Vec<Item>, to: Status) -> Result<u64> {
        let write = self.database.rw_transaction()?;
        let count = items.len() as u64;
        for item in items {
            let moved = Item {
                status: to as u8,
                ..item.clone()
            };
            write.update(item, moved)?;
        }
        write.commit()?;
        Ok(count)
    }
}

impl Engine for NativeDb {
    fn store(&self, batch: &[Row]) -> Result<()> {
        let write = self.database.rw_transaction()?;
        let mut next_number = self.next_number.lock().map_err(|_| "a store panicked")?;
        for row in batch {
            let mut item = Item {
                number: *next_number,
                id: row.id.clone(),
                pipeline: row.pipeline.to_owned(),
                status: row.status as u8,
                created_at: row.created_at,
                data: row.data.clone(),
                measurements: row.measurements,
            };
            match write
                .get()
                .secondary::<Item>(ItemKey::id, row.id.as_str())?
            {
                Some(old) => {
                    item.number = old.number;
                    write.update(old, item)?;
                }
                None => {
                    *next_number += 1;
                    write.insert(item)?;
                }
            }
        }
        drop(next_number);
        Ok(write.commit()?)
    }

    fn retrieve(&self, id: &str, _: Form) -> Result<Option<Found>> {
        let read = self.database.r_transaction()?;
        read.get()
            .secondary::<Item>(ItemKey::id, id)?
            .map(found)
            .transpose()
    }

    fn list(&self, ask: &Ask, _: Form) -> Result<Vec<Found>> {
        let read = self.database.r_transaction()?;
        let limit = ask.limit.unwrap_or(u64::MAX);
        let mut samples = Vec::new();
        self.walk(&read, ask, None, |item| {
            samples.push(found(item)?);
            Ok((samples.len() as u64) < limit)
        })?;
        Ok(samples)
    }

    fn page(&self, ask: &Ask, after: Option<&Place>) -> Result<(Vec<Found>, Option<Place>)> {
        let read = self.database.r_transaction()?;
        let limit = ask.limit.unwrap_or(u64::MAX);
        let (mut samples, mut last) = (Vec::new(), None);
        self.walk(&read, ask, after, |item| {
            last = Some(Place::Key(item.created_at, item.number));
            samples.push(found(item)?);
            Ok((samples.len() as u64) < limit)
        })?;
        let is_full = samples.len() as u64 == limit;
        Ok((samples, last.filter(|_| is_full)))
    }

    fn scan(&self, see: &mut dyn FnMut(Found)) -> Result<()> {
        let read = self.database.r_transaction()?;
        self.walk(&read, &Ask::default(), None, |item| {
            see(found(item)?);
            Ok(true)
        })
    }

    fn count(&self, ask: &Ask) -> Result<u64> {
        let read = self.database.r_transaction()?;
        let mut count = 0;
        self.walk(&read, ask, None, |_| {
            count += 1;
            Ok(true)
        })?;
        Ok(count)
    }

    fn facets(&self) -> Result<Facets> {
        let read = self.database.r_transaction()?;
        let mut facets = Facets::new();
        for pipeline in PIPELINES {
            for status in Status::ALL {
                let ask = Ask {
                    pipeline: Some(pipeline),
                    status: Some(status),
                    ..Ask::default()
                };
                let mut count = 0;
                self.walk(&read, &ask, None, |_| {
                    count += 1;
                    Ok(true)
                })?;
                facets.add(pipeline, status, count);
            }
        }
        Ok(facets)
    }

    fn set_status(&self, ask: &Ask, to: Status) -> Result<u64> {
        let items = self.items(ask)?;
        self.move_all(items, to)
    }

    fn set_status_of(&self, ids: &[String], to: Status) -> Result<u64> {
        let items = {
            let read = self.database.r_transaction()?;
            let items = ids.iter().filter_map(|id| {
                read.get()
                    .secondary::<Item>(ItemKey::id, id.as_str())
                    .transpose()
            });
            items.collect::<std::result::Result<Vec<_>, _>>()?
        };
        self.move_all(items, to)
    }

    fn delete(&self, ask: &Ask) -> Result<u64> {
        let items = self.items(ask)?;
        let count = items.len() as u64;
        let write = self.database.rw_transaction()?;
        for item in items {
            write.remove(item)?;
        }
        write.commit()?;
        Ok(count)
    }

    fn compact(&mut self) -> Result<()> {
        // Each call says that it made progress, without end: the file is as small after the second.
        for _ in 0..2 {
            self.database.compact()?;
        }
        Ok(())
    }
}

fn found(item: Item) -> Result<Found> {
    let head = Head::Row {
        id: item.id,
        pipeline: item.pipeline,
        status: status_of(item.status)?,
        created_at: item.created_at,
    };
    Ok(Found {
        head,
        body: Body::Typed(item.data, item.measurements),
    })
}

/// The models live as long as the program: the database borrows them.
fn models() -> Result<&'static Models> {
    static MODELS: OnceLock<Models> = OnceLock::new();
    if let Some(models) = MODELS.get() {
        return Ok(models);
    }
    let mut models = Models::new();
    models.define::<Item>()?;
    Ok(MODELS.get_or_init(|| models))
}

fn sortable(micros: i64) -> u64 {
    micros as u64 ^ 1 << 63
}

fn code(pipeline: &str) -> u8 {
    PIPELINES
        .iter()
        .position(|name| *name == pipeline)
        .unwrap_or(PIPELINES.len()) as u8
}
