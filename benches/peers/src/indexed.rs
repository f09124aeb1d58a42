//! What users of a bare key-value store write by hand: records, keys, and the indexes that SQLite has here. Shared by
//! `lmdb.rs` and `fjall.rs`, each of which brings its five tables as [`Reads`] and [`Writes`].
//!
//! | table | key | value |
//! |---|---|---|
//! | samples | number | record |
//! | ids | id | number |
//! | created | instant, number | |
//! | status | status, instant, number | |
//! | pipeline | pipeline, 0, status, instant, number | |
//!
//! Numbers and instants are big-endian, instants with their sign turned. A record is a header of fixed places and the
//! two payloads as positional MessagePack, so that a moved status is one byte of the record. There are no counters:
//! counts walk the keys of an index.

use samplestore::{Facets, Status};

use crate::engine::{Ask, Body, Form, Found, Head, Place, Result, status_of};
use crate::samples::Row;

#[derive(Clone, Copy, Debug)]
pub enum Table {
    Samples,
    Ids,
    Created,
    Status,
    Pipeline,
}

impl Table {
    pub const NAMES: [&str; 5] = ["samples", "ids", "created", "status", "pipeline"];
}

pub trait Reads {
    /// Shows the value of a key, if there is one.
    fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        see: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<Option<T>>;

    /// Shows keys and values from `from` (not empty: LMDB has no empty keys) up to but without `to`, or backwards, until told to stop by `false`.
    fn walk(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        backwards: bool,
        see: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()>;
}

pub trait Writes: Reads {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()>;
    fn remove(&mut self, table: Table, key: &[u8]) -> Result<()>;
}

pub fn store(tables: &mut impl Writes, next_number: &mut u64, row: &Row) -> Result<()> {
    let known = tables.get(Table::Ids, row.id.as_bytes(), be_u64)?;
    let number = match known {
        Some(number) => {
            let old = record(tables, number)?;
            remove_indexes(tables, number, &old)?;
            number
        }
        None => {
            let number = *next_number;
            *next_number += 1;
            tables.put(Table::Ids, row.id.as_bytes(), &number.to_be_bytes())?;
            number
        }
    };
    let record = encode(row)?;
    put_indexes(tables, number, &record)?;
    tables.put(Table::Samples, &number.to_be_bytes(), &record)
}

pub fn retrieve(tables: &impl Reads, id: &str, form: Form) -> Result<Option<Found>> {
    match tables.get(Table::Ids, id.as_bytes(), be_u64)? {
        Some(number) => tables.get(Table::Samples, &number.to_be_bytes(), |record| {
            found(record, form)
        }),
        None => Ok(None),
    }
}

pub fn list(tables: &impl Reads, ask: &Ask, form: Form) -> Result<Vec<Found>> {
    let limit = ask.limit.unwrap_or(u64::MAX);
    let mut samples = Vec::new();
    walk(tables, ask, None, |number| {
        samples.extend(tables.get(Table::Samples, number, |record| found(record, form))?);
        Ok((samples.len() as u64) < limit)
    })?;
    Ok(samples)
}

pub fn page(
    tables: &impl Reads,
    ask: &Ask,
    after: Option<&Place>,
) -> Result<(Vec<Found>, Option<Place>)> {
    let limit = ask.limit.unwrap_or(u64::MAX);
    let (mut samples, mut last) = (Vec::new(), None);
    walk(tables, ask, after, |number| {
        let sample = tables.get(Table::Samples, number, |record| found(record, Form::Typed))?;
        let sample = sample.ok_or("an index names a sample that is not there")?;
        if let Head::Row { created_at, .. } = sample.head {
            last = Some(Place::Key(created_at, be_u64(number)?));
        }
        samples.push(sample);
        Ok((samples.len() as u64) < limit)
    })?;
    let is_full = samples.len() as u64 == limit;
    Ok((samples, last.filter(|_| is_full)))
}

pub fn scan(tables: &impl Reads, see: &mut dyn FnMut(Found)) -> Result<()> {
    walk(tables, &Ask::default(), None, |number| {
        if let Some(sample) =
            tables.get(Table::Samples, number, |record| found(record, Form::Typed))?
        {
            see(sample);
        }
        Ok(true)
    })
}

pub fn count(tables: &impl Reads, ask: &Ask) -> Result<u64> {
    let mut count = 0;
    walk(tables, ask, None, |_| {
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}

pub fn facets(tables: &impl Reads) -> Result<Facets> {
    let mut facets = Facets::new();
    let (mut group, mut count) = (Vec::new(), 0);
    let mut add = |group: &[u8], count| -> Result<()> {
        if let [pipeline @ .., 0, status] = group {
            facets.add(std::str::from_utf8(pipeline)?, status_of(*status)?, count);
        }
        Ok(())
    };
    tables.walk(Table::Pipeline, &[0], &[0xFF], false, |key, _| {
        let of_key = &key[..key.len() - 16];
        if of_key != group.as_slice() {
            add(&group, count)?;
            group = of_key.to_vec();
            count = 0;
        }
        count += 1;
        Ok(true)
    })?;
    add(&group, count)?;
    Ok(facets)
}

pub fn numbers(tables: &impl Reads, ask: &Ask) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    walk(tables, ask, None, |number| {
        numbers.push(be_u64(number)?);
        Ok(true)
    })?;
    Ok(numbers)
}

pub fn numbers_of(tables: &impl Reads, ids: &[String]) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for id in ids {
        numbers.extend(tables.get(Table::Ids, id.as_bytes(), be_u64)?);
    }
    Ok(numbers)
}

pub fn set_status(tables: &mut impl Writes, numbers: &[u64], to: Status) -> Result<u64> {
    for number in numbers {
        let mut record = record(tables, *number)?;
        let old = Indexed::of(&record)?;
        tables.remove(
            Table::Status,
            &status_key(old.status, old.created_at, *number),
        )?;
        tables.remove(
            Table::Pipeline,
            &pipeline_key(old.pipeline, old.status, old.created_at, *number),
        )?;
        let (pipeline, created_at) = (old.pipeline.to_vec(), old.created_at);
        record[STATUS_AT] = to as u8;
        tables.put(
            Table::Status,
            &status_key(to as u8, created_at, *number),
            &[],
        )?;
        tables.put(
            Table::Pipeline,
            &pipeline_key(&pipeline, to as u8, created_at, *number),
            &[],
        )?;
        tables.put(Table::Samples, &number.to_be_bytes(), &record)?;
    }
    Ok(numbers.len() as u64)
}

pub fn delete(tables: &mut impl Writes, numbers: &[u64]) -> Result<u64> {
    for number in numbers {
        let record = record(tables, *number)?;
        remove_indexes(tables, *number, &record)?;
        tables.remove(Table::Ids, Indexed::of(&record)?.id)?;
        tables.remove(Table::Samples, &number.to_be_bytes())?;
    }
    Ok(numbers.len() as u64)
}

/// The number of the next sample.
pub fn next_number(tables: &impl Reads) -> Result<u64> {
    let mut next = 0;
    tables.walk(Table::Samples, &[0], &[0xFF; 9], true, |key, _| {
        next = be_u64(key)? + 1;
        Ok(false)
    })?;
    Ok(next)
}

/// Shows the numbers of the samples that `ask` gives, in its order.
fn walk(
    tables: &impl Reads,
    ask: &Ask,
    after: Option<&Place>,
    mut see: impl FnMut(&[u8]) -> Result<bool>,
) -> Result<()> {
    let (table, prefix) = match (ask.pipeline, ask.status) {
        (Some(pipeline), Some(status)) => {
            let prefix = [pipeline.as_bytes(), &[0, status as u8]].concat();
            (Table::Pipeline, prefix)
        }
        (None, Some(status)) => (Table::Status, vec![status as u8]),
        (None, None) => (Table::Created, Vec::new()),
        (Some(_), None) => return Err("no workload asks for a pipeline alone".into()),
    };
    let (first, last) = ask.range.unwrap_or((i64::MIN, i64::MAX));
    let mut from = prefix.clone();
    match after {
        Some(Place::Key(created_at, number)) => {
            from.extend(time_key(*created_at));
            from.extend((number + 1).to_be_bytes());
        }
        _ => from.extend(time_key(first)),
    }
    let mut to = prefix;
    to.extend(time_key(last));
    to.extend([0xFF; 9]);
    tables.walk(table, &from, &to, ask.newest, |key, _| {
        see(&key[key.len() - 8..])
    })
}

fn put_indexes(tables: &mut impl Writes, number: u64, record: &[u8]) -> Result<()> {
    let of = Indexed::of(record)?;
    tables.put(Table::Created, &created_key(of.created_at, number), &[])?;
    tables.put(
        Table::Status,
        &status_key(of.status, of.created_at, number),
        &[],
    )?;
    tables.put(
        Table::Pipeline,
        &pipeline_key(of.pipeline, of.status, of.created_at, number),
        &[],
    )
}

fn remove_indexes(tables: &mut impl Writes, number: u64, record: &[u8]) -> Result<()> {
    let of = Indexed::of(record)?;
    tables.remove(Table::Created, &created_key(of.created_at, number))?;
    tables.remove(Table::Status, &status_key(of.status, of.created_at, number))?;
    tables.remove(
        Table::Pipeline,
        &pipeline_key(of.pipeline, of.status, of.created_at, number),
    )
}

fn record(tables: &impl Reads, number: u64) -> Result<Vec<u8>> {
    let record = tables.get(Table::Samples, &number.to_be_bytes(), |record| {
        Ok(record.to_vec())
    })?;
    record.ok_or_else(|| "an index names a sample that is not there".into())
}

fn time_key(micros: i64) -> [u8; 8] {
    (micros as u64 ^ 1 << 63).to_be_bytes()
}

fn created_key(created_at: i64, number: u64) -> Vec<u8> {
    [time_key(created_at), number.to_be_bytes()].concat()
}

fn status_key(status: u8, created_at: i64, number: u64) -> Vec<u8> {
    [&[status][..], &time_key(created_at), &number.to_be_bytes()].concat()
}

fn pipeline_key(pipeline: &[u8], status: u8, created_at: i64, number: u64) -> Vec<u8> {
    [
        pipeline,
        &[0, status],
        &time_key(created_at),
        &number.to_be_bytes(),
    ]
    .concat()
}

const STATUS_AT: usize = 0;
/// Status, instant, and the lengths of id, pipeline and data.
const HEADER: usize = 1 + 8 + 2 + 1 + 4;

fn encode(row: &Row) -> Result<Vec<u8>> {
    let data = rmp_serde::to_vec(&row.data)?;
    let mut record = Vec::with_capacity(320);
    record.push(row.status as u8);
    record.extend(row.created_at.to_le_bytes());
    record.extend((row.id.len() as u16).to_le_bytes());
    record.push(row.pipeline.len() as u8);
    record.extend((data.len() as u32).to_le_bytes());
    record.extend(row.id.as_bytes());
    record.extend(row.pipeline.as_bytes());
    record.extend(data);
    rmp_serde::encode::write(&mut record, &row.measurements)?;
    Ok(record)
}

/// A record in parts.
struct Indexed<'a> {
    status: u8,
    created_at: i64,
    id: &'a [u8],
    pipeline: &'a [u8],
    data: &'a [u8],
    measurements: &'a [u8],
}

impl<'a> Indexed<'a> {
    fn of(record: &'a [u8]) -> Result<Self> {
        let (header, rest) = record
            .split_first_chunk::<HEADER>()
            .ok_or("a record is too short")?;
        let id_len = usize::from(u16::from_le_bytes([header[9], header[10]]));
        let pipeline_len = usize::from(header[11]);
        let data_len =
            u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
        let (id, rest) = rest
            .split_at_checked(id_len)
            .ok_or("a record is too short")?;
        let (pipeline, rest) = rest
            .split_at_checked(pipeline_len)
            .ok_or("a record is too short")?;
        let (data, measurements) = rest
            .split_at_checked(data_len)
            .ok_or("a record is too short")?;
        let created_at = i64::from_le_bytes(header[1..9].try_into()?);
        Ok(Self {
            status: header[STATUS_AT],
            created_at,
            id,
            pipeline,
            data,
            measurements,
        })
    }
}

fn found(record: &[u8], form: Form) -> Result<Found> {
    let of = Indexed::of(record)?;
    let head = Head::Row {
        id: std::str::from_utf8(of.id)?.to_owned(),
        pipeline: std::str::from_utf8(of.pipeline)?.to_owned(),
        status: status_of(of.status)?,
        created_at: of.created_at,
    };
    let body = match form {
        Form::Typed => Body::Typed(
            rmp_serde::from_slice(of.data)?,
            rmp_serde::from_slice(of.measurements)?,
        ),
        Form::Raw => Body::Raw(of.data.to_owned(), of.measurements.to_owned()),
    };
    Ok(Found { head, body })
}

fn be_u64(bytes: &[u8]) -> Result<u64> {
    Ok(u64::from_be_bytes(bytes.try_into()?))
}
