//! samplestore.

use std::path::Path;

use chrono::{DateTime, Utc};
use samplestore::{Database, Durability, Facets, Query, Sample, Selection, Status, Storage};

use crate::engine::{Ask, Body, CACHE_BYTES, Engine, Form, Found, Head, Place, Result};
use crate::samples::Row;

pub struct Samplestore {
    database: Database,
}

impl Samplestore {
    pub fn open(folder: &Path, durability: Durability) -> Result<Self> {
        let database = Database::options()
            .cache_bytes(CACHE_BYTES)
            .durability(durability)
            .open(folder.join("samples.redb"))?;
        Ok(Self { database })
    }
}

impl Engine for Samplestore {
    fn store(&self, batch: &[Row]) -> Result<()> {
        let batch = batch.iter().map(sample).collect::<Result<Vec<_>>>()?;
        self.database.store(&batch)?;
        Ok(())
    }

    fn finish_load(&self) -> Result<()> {
        Ok(self.database.flush()?)
    }

    fn retrieve(&self, id: &str, form: Form) -> Result<Option<Found>> {
        self.database
            .retrieve(id)?
            .map(|sample| found(sample, form))
            .transpose()
    }

    fn list(&self, ask: &Ask, form: Form) -> Result<Vec<Found>> {
        let query = query(ask);
        match (form, ask.limit) {
            // Thousands go one by one into structs of the caller's: no list of them lies in memory as well.
            (Form::Typed, None) => self
                .database
                .iterate(&query)?
                .map(|sample| owned(&sample?))
                .collect(),
            _ => {
                let page = self.database.list(&query)?;
                let samples = page.samples.into_iter();
                samples.map(|sample| found(sample, form)).collect()
            }
        }
    }

    fn page(&self, ask: &Ask, after: Option<&Place>) -> Result<(Vec<Found>, Option<Place>)> {
        let mut query = query(ask);
        if let Some(Place::Cursor(cursor)) = after {
            query = query.cursor(cursor.clone());
        }
        let page = self.database.list(&query)?;
        let samples = page
            .samples
            .into_iter()
            .map(|sample| found(sample, Form::Typed))
            .collect::<Result<_>>()?;
        Ok((samples, page.next.map(Place::Cursor)))
    }

    fn scan(&self, see: &mut dyn FnMut(Found)) -> Result<()> {
        for sample in self.database.iterate(&Query::new())? {
            see(found(sample?, Form::Typed)?);
        }
        Ok(())
    }

    fn count(&self, ask: &Ask) -> Result<u64> {
        Ok(self.database.count(&query(ask))?)
    }

    fn facets(&self) -> Result<Facets> {
        Ok(self.database.facets(&Query::new())?)
    }

    fn set_status(&self, ask: &Ask, to: Status) -> Result<u64> {
        Ok(self
            .database
            .set_status(&query(ask).into(), ask.status, to)?)
    }

    fn set_status_of(&self, ids: &[String], to: Status) -> Result<u64> {
        Ok(self.database.set_status(&Selection::ids(ids), None, to)?)
    }

    fn delete(&self, ask: &Ask) -> Result<u64> {
        Ok(self.database.delete(&query(ask).into())?)
    }

    fn compact(&mut self) -> Result<()> {
        self.database.compact()?;
        Ok(())
    }
}

fn sample(row: &Row) -> Result<Sample> {
    Ok(Sample::builder(row.pipeline)
        .id(row.id.as_str())
        .status(row.status)
        .created_at(instant(row.created_at)?)
        .data(&row.data)
        .measurements(row.measurements)
        .build()?)
}

fn found(sample: Sample, form: Form) -> Result<Found> {
    let body = match form {
        Form::Typed => Body::Typed(sample.data_as()?, sample.measurements_as()?),
        Form::Raw => Body::InSample,
    };
    Ok(Found {
        head: Head::Sample(sample),
        body,
    })
}

/// A sample as structs that owe nothing to the library.
fn owned(sample: &Sample) -> Result<Found> {
    Ok(Found {
        head: Head::Row {
            id: sample.id().to_owned(),
            pipeline: sample.pipeline().to_owned(),
            status: sample.status(),
            created_at: sample.created_at().timestamp_micros(),
        },
        body: Body::Typed(sample.data_as()?, sample.measurements_as()?),
    })
}

fn query(ask: &Ask) -> Query {
    let mut query = Query::new();
    if let Some(pipeline) = ask.pipeline {
        query = query.pipeline(pipeline);
    }
    if let Some(status) = ask.status {
        query = query.status(status);
    }
    if let Some((first, last)) = ask.range {
        // Both are instants of samples.
        query = query.since(DateTime::from_timestamp_micros(first).unwrap_or_default());
        query = query.until(DateTime::from_timestamp_micros(last).unwrap_or_default());
    }
    if ask.newest {
        query = query.newest_first();
    }
    match ask.limit {
        Some(limit) => query.limit(limit),
        None => query,
    }
}

fn instant(micros: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| format!("{micros} is no instant").into())
}
