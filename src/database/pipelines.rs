//! Pipelines: their names and numbers, exact counts per status, and bitmaps of their rows.
//!
//! A full chunk has one roaring bitmap for each pipeline that has rows in it, written once, when the
//! chunk fills; of the newest chunk only the column of pipeline numbers is kept. An entry of a
//! pipeline says in which full chunks its pipeline occurs, so that a rare pipeline's rows are
//! found without asking every chunk.

use std::collections::HashMap;
use std::sync::Arc;

use redb::{ReadableTable, Table};
use roaring::RoaringBitmap;

use super::failure::{Context, damaged};
use super::schema::{CHUNK_ROWS, Kind, cell_key, missing, seal, unseal};
use crate::error::Result;

/// What the table `summary` says of one pipeline.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    /// Exactly how many of its samples are in each status.
    pub(super) counts: [u64; 6],
    /// The full chunks that have a bitmap for it.
    pub(super) chunks: RoaringBitmap,
}

impl Entry {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            counts: [0; 6],
            chunks: RoaringBitmap::new(),
        }
    }

    pub(super) fn read(
        table: &impl ReadableTable<u64, &'static [u8]>,
        number: u32,
    ) -> Result<Self> {
        let key = Kind::Pipeline.summary_key(number.into());
        let guard = table.get(key).context("read a pipeline")?;
        let guard = guard.ok_or_else(|| missing(Kind::Pipeline, u64::from(number)))?;
        Self::decode(number, guard.value())
    }

    /// Six counts of 8 bytes, the length of the name (1 byte), the name, the chunks as a portable
    /// roaring bitmap.
    pub(super) fn decode(number: u32, sealed: &[u8]) -> Result<Self> {
        let wrong = || damaged("read a pipeline", format!("entry {number} is malformed"));
        let bytes = unseal(Kind::Pipeline, u64::from(number), sealed)?;
        let (counts, rest) = bytes.split_at_checked(48).ok_or_else(wrong)?;
        let (length, rest) = rest.split_first().ok_or_else(wrong)?;
        let (name, chunks) = rest
            .split_at_checked(usize::from(*length))
            .ok_or_else(wrong)?;
        let counts = counts.as_chunks::<8>().0;
        Ok(Self {
            name: std::str::from_utf8(name).map_err(|_| wrong())?.into(),
            counts: std::array::from_fn(|status| u64::from_le_bytes(counts[status])),
            chunks: RoaringBitmap::deserialize_from(chunks)
                .map_err(|cause| wrong().with_cause(cause))?,
        })
    }

    /// Its value in `summary`, sealed.
    pub(super) fn encode(&self, number: u32) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(64 + self.name.len() + self.chunks.serialized_size());
        for count in self.counts {
            bytes.extend(count.to_le_bytes());
        }
        // A name is at most 255 bytes long (rule M2).
        bytes.push(self.name.len() as u8);
        bytes.extend(self.name.as_bytes());
        serialize(&self.chunks, &mut bytes)?;
        seal(Kind::Pipeline, u64::from(number), &mut bytes);
        Ok(bytes)
    }

    pub(super) fn write(
        &self,
        table: &mut Table<'_, u64, &'static [u8]>,
        number: u32,
    ) -> Result<()> {
        let bytes = self.encode(number)?;
        table
            .insert(Kind::Pipeline.summary_key(number.into()), bytes.as_slice())
            .context("write a pipeline")?;
        Ok(())
    }
}

/// The names and numbers of all pipelines.
#[derive(Clone, Debug, Default)]
pub(super) struct Dictionary {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Dictionary {
    /// Reads the names of so many pipelines.
    pub(super) fn read(table: &impl ReadableTable<u64, &'static [u8]>, count: u64) -> Result<Self> {
        let mut dictionary = Self::default();
        for (number, entry) in read_all(table, count)?.into_iter().enumerate() {
            if dictionary.add(entry.name) as usize != number {
                return Err(damaged("read the pipelines", "two have the same name"));
            }
        }
        Ok(dictionary)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn name(&self, number: u32) -> Result<&Arc<str>> {
        self.names
            .get(number as usize)
            .ok_or_else(|| missing(Kind::Pipeline, u64::from(number)))
    }

    /// The number of this name, a new one unless it is known.
    pub(super) fn add(&mut self, name: Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }
}

/// All entries, in order of number, of which there must be `count`.
pub(super) fn read_all(
    table: &impl ReadableTable<u64, &'static [u8]>,
    count: u64,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let items = table.range(Kind::Pipeline.summary_keys());
    for item in items.context("read the pipelines")? {
        let (key, sealed) = item.context("read the pipelines")?;
        if key.value() != Kind::Pipeline.summary_key(entries.len() as u64) {
            return Err(missing(Kind::Pipeline, entries.len() as u64));
        }
        entries.push(Entry::decode(entries.len() as u32, sealed.value())?);
    }
    match entries.len() as u64 == count {
        true => Ok(entries),
        false => Err(missing(Kind::Pipeline, entries.len() as u64)),
    }
}

/// The places of a pipeline in a full chunk that it knows of.
pub(super) fn read_rows(
    table: &impl ReadableTable<u64, &'static [u8]>,
    chunk: u64,
    pipeline: u32,
) -> Result<RoaringBitmap> {
    let key = cell_key(chunk, pipeline);
    let guard = table.get(key).context("read a bitmap")?;
    let guard = guard.ok_or_else(|| missing(Kind::PipelineRows, key))?;
    decode_places(Kind::PipelineRows, key, guard.value())
}

/// Writes the places that a pipeline has in a full chunk, also when there are none any more.
pub(super) fn write_rows(
    table: &mut Table<'_, u64, &'static [u8]>,
    chunk: u64,
    pipeline: u32,
    rows: &RoaringBitmap,
) -> Result<()> {
    write_places(table, Kind::PipelineRows, cell_key(chunk, pipeline), rows)
}

/// The places of a chunk's moved rows, of which its head says how many there are.
pub(super) fn read_moved(
    table: &impl ReadableTable<u64, &'static [u8]>,
    chunk: u64,
    count: u32,
) -> Result<RoaringBitmap> {
    let guard = table.get(chunk).context("read a bitmap")?;
    let moved = match guard {
        Some(guard) => decode_places(Kind::CreatedMoved, chunk, guard.value())?,
        None => RoaringBitmap::new(),
    };
    match moved.len() == u64::from(count) {
        true => Ok(moved),
        false => Err(missing(Kind::CreatedMoved, chunk)),
    }
}

/// Writes the places of a chunk's moved rows, or removes the entry when there are none.
pub(super) fn write_moved(
    table: &mut Table<'_, u64, &'static [u8]>,
    chunk: u64,
    rows: &RoaringBitmap,
) -> Result<()> {
    if rows.is_empty() {
        table.remove(chunk).context("write a bitmap")?;
        return Ok(());
    }
    write_places(table, Kind::CreatedMoved, chunk, rows)
}

/// Fewer places than this are stored as a plain list of 16-bit numbers.
const LIST_PLACES_MAX: u64 = 16;
const LIST: u8 = 0;
const ROARING: u8 = 1;

pub(super) fn decode_places(kind: Kind, key: u64, sealed: &[u8]) -> Result<RoaringBitmap> {
    let wrong = || damaged("read a bitmap", format!("entry {key} is malformed"));
    let bytes = unseal(kind, key, sealed)?;
    let places: RoaringBitmap = match bytes.split_first() {
        Some((&LIST, list)) => {
            let places = list.as_chunks::<2>().0.iter();
            places
                .map(|place| u32::from(u16::from_le_bytes(*place)))
                .collect()
        }
        Some((&ROARING, bytes)) => {
            RoaringBitmap::deserialize_from(bytes).map_err(|cause| wrong().with_cause(cause))?
        }
        _ => return Err(wrong()),
    };
    match places.max() {
        Some(max) if u64::from(max) >= CHUNK_ROWS => Err(wrong()),
        _ => Ok(places),
    }
}

pub(super) fn write_places(
    table: &mut Table<'_, u64, &'static [u8]>,
    kind: Kind,
    key: u64,
    places: &RoaringBitmap,
) -> Result<()> {
    let mut bytes = Vec::new();
    if places.len() < LIST_PLACES_MAX {
        bytes.push(LIST);
        for place in places {
            bytes.extend((place as u16).to_le_bytes());
        }
    } else {
        bytes.push(ROARING);
        serialize(places, &mut bytes)?;
    }
    seal(kind, key, &mut bytes);
    table
        .insert(key, bytes.as_slice())
        .context("write a bitmap")?;
    Ok(())
}

fn serialize(bitmap: &RoaringBitmap, bytes: &mut Vec<u8>) -> Result<()> {
    bitmap
        .serialize_into(bytes)
        .map_err(|cause| crate::error::Error::io("encode a bitmap", "memory", cause))
}
