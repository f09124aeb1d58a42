//! SQLite through rusqlite, as a user tunes it: WAL, prepared and cached statements, `BEGIN IMMEDIATE`, ANALYZE, and the
//! indexes that answer every query here in order and every count from the index alone.
//!
//! Chosen in SQLite's favour: status and instants are integers; the payload columns hold one JSON text or
//! one MessagePack blob each (positional, without field names); the table has an integer key: WITHOUT
//! ROWID, which repeats the 36 bytes of the id in each of the three indexes, loaded 200,000 samples 2.2
//! times as slowly into a file 26 % larger, and was no faster at lists and at reads by id. One connection
//! behind a mutex: sixteen would wait for each other in SQLite's busy handler, which sleeps. Checkpoints
//! come as often as they do by default; four and sixteen times as rarely made a load of random ids 9 and
//! 15 % faster and its slowest batch 1.5 and 1.7 times as slow.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row as SqlRow, TransactionBehavior, params};
use samplestore::{Facets, Status};

use crate::engine::{Ask, Body, CACHE_BYTES, Engine, Form, Found, Head, Place, Result, status_of};
use crate::samples::Row;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS samples (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    pipeline TEXT NOT NULL,
    status INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    measured_at INTEGER,
    data ANY NOT NULL,
    measurements ANY NOT NULL,
    reason TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS by_pipeline ON samples (pipeline, status, created_at);
CREATE INDEX IF NOT EXISTS by_status ON samples (status, created_at);
CREATE INDEX IF NOT EXISTS by_created ON samples (created_at);
";

const STORE: &str = "
INSERT INTO samples (id, pipeline, status, created_at, data, measurements) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (id) DO UPDATE SET pipeline = excluded.pipeline, status = excluded.status,
    created_at = excluded.created_at, measured_at = excluded.measured_at, data = excluded.data,
    measurements = excluded.measurements, reason = excluded.reason
";

const COLUMNS: &str = "id, pipeline, status, created_at, data, measurements, number";

/// What is in the payload columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Blob,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    Full,
    Normal,
}

impl Synchronous {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Normal => "normal",
        }
    }
}

pub struct Sqlite {
    connection: Mutex<Connection>,
    format: Format,
    synchronous: Synchronous,
}

impl Sqlite {
    pub fn open(folder: &Path, format: Format, synchronous: Synchronous) -> Result<Self> {
        let connection = Connection::open(folder.join("samples.sqlite"))?;
        connection.pragma_update(None, "page_size", 4096)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", synchronous.name())?;
        connection.pragma_update(None, "cache_size", -((CACHE_BYTES >> 10) as i64))?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(SCHEMA)?;
        Ok(Self {
            connection: Mutex::new(connection),
            format,
            synchronous,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in a write transaction.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&transaction)?;
        transaction.commit()?;
        Ok(answer)
    }

    fn store_row(&self, connection: &Connection, row: &Row) -> Result<()> {
        let mut statement = connection.prepare_cached(STORE)?;
        let status = row.status as u8;
        match self.format {
            Format::Json => {
                let data = serde_json::to_string(&row.data)?;
                let measurements = serde_json::to_string(&row.measurements)?;
                statement.execute(params![
                    row.id,
                    row.pipeline,
                    status,
                    row.created_at,
                    data,
                    measurements
                ])?;
            }
            Format::Blob => {
                let data = rmp_serde::to_vec(&row.data)?;
                let measurements = rmp_serde::to_vec(&row.measurements)?;
                statement.execute(params![
                    row.id,
                    row.pipeline,
                    status,
                    row.created_at,
                    data,
                    measurements
                ])?;
            }
        }
        Ok(())
    }

    fn found(&self, row: &SqlRow<'_>, form: Form) -> Result<Found> {
        let head = Head::Row {
            id: row.get_ref(0)?.as_str()?.to_owned(),
            pipeline: row.get_ref(1)?.as_str()?.to_owned(),
            status: status_of(row.get(2)?)?,
            created_at: row.get(3)?,
        };
        let (data, measurements) = (bytes(row.get_ref(4)?)?, bytes(row.get_ref(5)?)?);
        let body = match (form, self.format) {
            (Form::Raw, _) => Body::Raw(data.to_owned(), measurements.to_owned()),
            (Form::Typed, Format::Json) => Body::Typed(
                serde_json::from_slice(data)?,
                serde_json::from_slice(measurements)?,
            ),
            (Form::Typed, Format::Blob) => Body::Typed(
                rmp_serde::from_slice(data)?,
                rmp_serde::from_slice(measurements)?,
            ),
        };
        Ok(Found { head, body })
    }
}

impl Engine for Sqlite {
    fn store(&self, batch: &[Row]) -> Result<()> {
        self.write(|connection| {
            batch
                .iter()
                .try_for_each(|row| self.store_row(connection, row))
        })
    }

    fn finish_load(&self) -> Result<()> {
        let connection = self.lock();
        Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    fn set_synced(&self, synced: bool) -> Result<bool> {
        let (level, checkpoint_pages) = if synced {
            (self.synchronous.name(), 1_000)
        } else {
            ("off", 50_000)
        };
        {
            let connection = self.lock();
            connection.pragma_update(None, "synchronous", level)?;
            connection.pragma_update(None, "wal_autocheckpoint", checkpoint_pages)?;
        }
        if synced {
            // Syncs the whole file, with what earlier checkpoints wrote to it.
            self.finish_load()?;
        }
        Ok(true)
    }

    fn analyze(&self) -> Result<()> {
        Ok(self.lock().execute_batch("ANALYZE")?)
    }

    fn retrieve(&self, id: &str, form: Form) -> Result<Option<Found>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id, pipeline, status, created_at, data, measurements FROM samples WHERE id = ?1",
        )?;
        let mut rows = statement.query([id])?;
        rows.next()?.map(|row| self.found(row, form)).transpose()
    }

    fn list(&self, ask: &Ask, form: Form) -> Result<Vec<Found>> {
        let connection = self.lock();
        let order = if ask.newest {
            "created_at DESC, number DESC"
        } else {
            "created_at, number"
        };
        let limit = if ask.limit.is_some() {
            "LIMIT :limit"
        } else {
            ""
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM samples {} ORDER BY {order} {limit}",
            filter(ask)
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(&*parameters(ask))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(self.found(row, form)?);
        }
        Ok(found)
    }

    fn page(&self, ask: &Ask, after: Option<&Place>) -> Result<(Vec<Found>, Option<Place>)> {
        let connection = self.lock();
        let (created_at, number) = match after {
            Some(Place::Key(created_at, number)) => (*created_at, *number),
            _ => (i64::MIN, 0),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM samples {} AND (created_at, number) > (:created_at, :number)
             ORDER BY created_at, number LIMIT :limit",
            filter(ask)
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut parameters = parameters(ask);
        parameters.push((":created_at", Parameter::Integer(created_at)));
        parameters.push((":number", Parameter::Integer(number as i64)));
        let mut rows = statement.query(&*parameters)?;
        let (mut found, mut last) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            found.push(self.found(row, Form::Typed)?);
            last = Some(Place::Key(row.get(3)?, row.get::<_, i64>(6)? as u64));
        }
        let is_full = Some(found.len() as u64) == ask.limit;
        Ok((found, last.filter(|_| is_full)))
    }

    fn scan(&self, see: &mut dyn FnMut(Found)) -> Result<()> {
        let connection = self.lock();
        let sql = format!("SELECT {COLUMNS} FROM samples ORDER BY created_at, number");
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            see(self.found(row, Form::Typed)?);
        }
        Ok(())
    }

    fn count(&self, ask: &Ask) -> Result<u64> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached(&format!("SELECT count(*) FROM samples {}", filter(ask)))?;
        Ok(statement.query_row(&*parameters(ask), |row| row.get::<_, i64>(0))? as u64)
    }

    fn facets(&self) -> Result<Facets> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT pipeline, status, count(*) FROM samples GROUP BY pipeline, status",
        )?;
        let mut rows = statement.query([])?;
        let mut facets = Facets::new();
        while let Some(row) = rows.next()? {
            facets.add(
                row.get_ref(0)?.as_str()?,
                status_of(row.get(1)?)?,
                row.get::<_, i64>(2)? as u64,
            );
        }
        Ok(facets)
    }

    fn set_status(&self, ask: &Ask, to: Status) -> Result<u64> {
        self.write(|connection| {
            let sql = format!("UPDATE samples SET status = :to {}", filter(ask));
            let mut statement = connection.prepare_cached(&sql)?;
            let mut parameters = parameters(ask);
            parameters.push((":to", Parameter::Integer(to as i64)));
            Ok(statement.execute(&*parameters)? as u64)
        })
    }

    fn set_status_of(&self, ids: &[String], to: Status) -> Result<u64> {
        self.write(|connection| {
            let mut statement =
                connection.prepare_cached("UPDATE samples SET status = ?2 WHERE id = ?1")?;
            let mut moved = 0;
            for id in ids {
                moved += statement.execute(params![id, to as u8])? as u64;
            }
            Ok(moved)
        })
    }

    fn delete(&self, ask: &Ask) -> Result<u64> {
        self.write(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("DELETE FROM samples {}", filter(ask)))?;
            Ok(statement.execute(&*parameters(ask))? as u64)
        })
    }

    fn copy_compacted(&self, folder: &Path) -> Result<bool> {
        let copy = folder.join("samples.sqlite");
        let copy = copy.to_str().ok_or("a temporary folder is no UTF-8")?;
        self.lock().execute("VACUUM INTO ?1", [copy])?;
        Ok(true)
    }
}

/// The WHERE clause.
fn filter(ask: &Ask) -> String {
    let mut terms = Vec::new();
    if ask.pipeline.is_some() {
        terms.push("pipeline = :pipeline");
    }
    if ask.status.is_some() {
        terms.push("status = :status");
    }
    if ask.range.is_some() {
        terms.push("created_at BETWEEN :first AND :last");
    }
    match terms.is_empty() {
        true => String::new(),
        false => format!("WHERE {}", terms.join(" AND ")),
    }
}

enum Parameter {
    Text(&'static str),
    Integer(i64),
}

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Integer(integer) => integer.to_sql(),
        }
    }
}

fn parameters(ask: &Ask) -> Vec<(&'static str, Parameter)> {
    let mut parameters = Vec::with_capacity(7);
    if let Some(pipeline) = ask.pipeline {
        parameters.push((":pipeline", Parameter::Text(pipeline)));
    }
    if let Some(status) = ask.status {
        parameters.push((":status", Parameter::Integer(status as i64)));
    }
    if let Some((first, last)) = ask.range {
        parameters.push((":first", Parameter::Integer(first)));
        parameters.push((":last", Parameter::Integer(last)));
    }
    if let Some(limit) = ask.limit {
        parameters.push((":limit", Parameter::Integer(limit as i64)));
    }
    parameters
}

fn bytes(value: ValueRef<'_>) -> Result<&[u8]> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(bytes),
        _ => Err("a payload column holds neither text nor a blob".into()),
    }
}
