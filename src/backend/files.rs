//! `files`: a JSON document per sample, in a folder (`file:`) or in S3 (`s3:`), by the crate `object_store`.
//!
//! ```text
//! samplestore.json       marks the place: version of this layout, identity for cursors
//! samples/NAME.json      a sample's JSON text form
//! order/NUMBER.json      which ids were first stored when
//! ```
//!
//! `files/name.rs` makes names of ids; `files/places.rs` keeps the order, and says why there; `files/gate.rs`
//! has readers and writers take turns; `files/objects.rs` does what is done to objects; `files/s3.rs` makes
//! the client for S3.
//!
//! A document is written whole or not at all, a batch is not: its error lists what was stored. There is no
//! index: whatever is not asked for by id reads every document, [`REQUESTS`] at a time, and keeps what
//! matches in memory, for counts without the payloads.

mod gate;
mod name;
mod objects;
mod places;
#[cfg(feature = "s3")]
mod s3;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::UpdateVersion;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use serde::{Deserialize, Serialize};

use super::runtime::{each, wait};
use super::{Backend, Location};
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::query::{Facets, Page, Query, Selection};
use crate::retry::RetryPolicy;
use crate::sample::{SAMPLE_BYTES_MAX, Sample, Status};
use crate::storage::{
    self, Capabilities, Ranked, Samples, Scan, Storage, StoreReport, check_batch,
};
use gate::Gate;
use name::Name;
use objects::{Key, Objects};
use places::SharedPlaces;

/// How many objects are read or written at a time.
const REQUESTS: usize = 32;
/// How often a sample is moved that other processes change meanwhile.
const MOVES_MAX: u32 = 16;
/// How often a request is made: the last one about 1.5 s behind the first.
const ATTEMPTS: RetryPolicy = RetryPolicy::exponential(5, Duration::from_millis(100));

const SAMPLES: &str = "samples";
const MARK: &str = "samplestore.json";
const VERSION: u32 = 1;
const OPEN: &str = "open a place of documents";

/// `file:FOLDER`.
pub(super) const FOLDER: Backend = Backend {
    options: &["format"],
    open: |location| Ok(Box::new(open_folder(location)?)),
};

/// `s3://BUCKET/PREFIX`.
#[cfg(feature = "s3")]
pub(super) const S3: Backend = Backend {
    options: s3::OPTIONS,
    open: |location| {
        check_format(location)?;
        let (store, prefix) = s3::client(location)?;
        let objects = Objects::new(store, prefix, location, ATTEMPTS, true);
        Ok(Box::new(Documents::open(
            "s3",
            objects,
            Gate::new(None),
            location.creates(),
        )?))
    },
};

fn open_folder(location: &Location) -> Result<Documents> {
    check_format(location)?;
    let folder = location.path()?;
    if location.creates() {
        std::fs::create_dir_all(folder)
            .map_err(|cause| Error::io(OPEN, folder.display(), cause))?;
    } else if !folder.is_dir() {
        return Err(not_there(location));
    }
    let store = LocalFileSystem::new_with_prefix(folder)
        .map_err(|cause| {
            let error = Error::new(ErrorKind::Io, OPEN).with_subject(location);
            error.with_cause(cause)
        })?
        .with_fsync(true);
    let objects = Objects::new(
        Arc::new(store),
        StorePath::default(),
        location,
        ATTEMPTS,
        false,
    );
    let gate = Gate::new(Some(folder.join(MARK)));
    Documents::open("files", objects, gate, location.creates())
}

/// Documents are JSON; the option is there for those to come.
fn check_format(location: &Location) -> Result<()> {
    location.word("format", &["json"]).map(drop)
}

fn not_there(shown: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, OPEN)
        .with_subject(shown)
        .with_message("no samples were stored there, and it was not to be made")
}

/// What the mark holds.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The version of the layout.
    samplestore_files: u32,
    /// Tells this place's cursors from those of others; 16 digits of hex.
    identity: String,
}

/// Samples as JSON documents.
struct Documents {
    name: &'static str,
    objects: Objects,
    identity: u64,
    places: SharedPlaces,
    gate: Gate,
}

/// A sample as it stands in its document.
struct Document {
    sample: Sample,
    version: UpdateVersion,
}

/// Which documents are read.
enum Which {
    All,
    /// Those of these ids.
    Named(Vec<Name>),
}

impl Documents {
    fn open(name: &'static str, objects: Objects, gate: Gate, create: bool) -> Result<Self> {
        let opened = objects.clone();
        let mark = wait(OPEN, async move { read_mark(&opened, create).await })?;
        let identity = match u64::from_str_radix(&mark.identity, 16) {
            Ok(identity) if mark.samplestore_files == VERSION => identity,
            Ok(_) => {
                return Err(Error::new(ErrorKind::FormatTooNew, OPEN)
                    .with_subject(objects.shown(&Key::new("", MARK))));
            }
            Err(cause) => {
                return Err(Error::new(ErrorKind::Damaged, OPEN)
                    .with_subject(objects.shown(&Key::new("", MARK)))
                    .with_cause(cause));
            }
        };
        Ok(Self {
            name,
            objects,
            identity,
            places: SharedPlaces::default(),
            gate,
        })
    }

    /// Reads documents and gives those of which `keep` leaves something, with their ranks, in the order
    /// of ranks. The caller is past the gate.
    fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        which: Which,
        keep: impl Fn(Document) -> Option<T> + Send + Sync + 'static,
        id: fn(&T) -> &str,
    ) -> Result<Vec<(u64, T)>> {
        let objects = self.objects.clone();
        let places = Arc::clone(&self.places);
        let keep = Arc::new(keep);
        wait(operation, async move {
            // Names first and places then: what has a name has claimed its place before.
            let names = match which {
                Which::Named(names) => names,
                Which::All => {
                    let names = objects.names(operation, SAMPLES, None).await?;
                    let names = names.iter().filter_map(|name| Name::listed(name));
                    names.collect()
                }
            };
            let mut places = places.lock().await;
            places.catch_up(&objects, operation).await?;
            let read = {
                let objects = objects.clone();
                move |name: Name| {
                    let (objects, keep) = (objects.clone(), Arc::clone(&keep));
                    async move {
                        let document = read_document(&objects, operation, &name).await?;
                        Ok(document.and_then(|document| keep(document)))
                    }
                }
            };
            let read = each(operation, REQUESTS, names, read);
            let mut found: Vec<(u64, T)> = Vec::new();
            let mut read = std::pin::pin!(read);
            while let Some(kept) = read.try_next().await? {
                let Some(kept) = kept else { continue };
                let rank = places.rank(id(&kept)).ok_or_else(|| {
                    let key = Key::new(SAMPLES, Name::of(id(&kept)).as_str());
                    Error::new(ErrorKind::Damaged, operation)
                        .with_subject(objects.shown(&key))
                        .with_message(
                            "no place in the order of storing is known for it; was it put there by \
                             other means? Import it instead",
                        )
                })?;
                found.push((rank, kept));
            }
            found.sort_unstable_by_key(|(rank, _)| *rank);
            Ok(found)
        })
    }

    /// What matches the filters, for reading as from a scan.
    fn scan_for(
        &self,
        operation: &'static str,
        query: &Query,
        reduce: fn(Sample) -> Sample,
    ) -> Result<Scan<'_>> {
        let _turn = self.gate.read(operation)?;
        let which = which(query);
        let query = query.clone();
        let keep = move |document: Document| {
            let sample = document.sample;
            query.matches(&sample).then(|| reduce(sample))
        };
        let found = self.read(operation, which, keep, |sample: &Sample| sample.id())?;
        let ranked = found
            .into_iter()
            .map(|(rank, sample)| Ok(Ranked { rank, sample }));
        Ok(Scan {
            identity: self.identity,
            samples: Box::new(ranked),
        })
    }

    /// The selected documents. The caller is past the gate.
    fn select(
        &self,
        operation: &'static str,
        query: &Query,
        from: Option<Status>,
    ) -> Result<Vec<Document>> {
        let filter = query.clone();
        let keep = move |document: Document| filter.matches(&document.sample).then_some(document);
        let found = self.read(operation, which(query), keep, Document::id)?;
        let mut versions = HashMap::with_capacity(found.len());
        let mut ranked = Vec::with_capacity(found.len());
        for (rank, Document { sample, version }) in found {
            versions.insert(sample.id().to_owned(), version);
            ranked.push(Ok(Ranked { rank, sample }));
        }
        let scan = Scan {
            identity: self.identity,
            samples: Box::new(ranked.into_iter()),
        };
        let in_order = storage::iterate_scan(scan, &query.clone().limit(u64::MAX))?;
        let selected = storage::in_status(in_order, from, query);
        let documents = selected.filter_map(|sample| {
            let sample = sample.ok()?;
            let version = versions.remove(sample.id())?;
            Some(Document { sample, version })
        });
        Ok(documents.collect())
    }
}

impl Storage for Documents {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            atomic_batches: false, // a document is written whole or not at all, a batch is not
            streaming: false,      // what matches is held, since a listing is in the order of names
            sample_bytes_max: SAMPLE_BYTES_MAX,
            ..Capabilities::full(self.name)
        }
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        const STORE: &str = "store a batch";
        let _turn = self.gate.write(STORE)?;
        check_batch(batch, SAMPLE_BYTES_MAX)?;
        let writes = writes(batch)?;
        let replaced_in_batch = (batch.len() - writes.len()) as u64;
        let (objects, places) = (self.objects.clone(), Arc::clone(&self.places));
        let (positions, done) = wait(STORE, async move {
            let mut places = places.lock().await;
            let known: Vec<bool> = writes
                .iter()
                .map(|write| places.stands(&write.id))
                .collect();
            let ids = writes.iter().map(|write| write.id.as_str());
            places.claim(&objects, STORE, ids).await?;
            drop(places);
            let positions: Vec<_> = writes.iter().map(|write| write.position).collect();
            let writes = writes.into_iter().zip(known);
            let done = all_or_some(STORE, writes, move |(write, is_known)| {
                let objects = objects.clone();
                async move { write.put(&objects, STORE, is_known).await }
            });
            Ok((positions, done.await))
        })?;
        let done = positions.into_iter().zip(done);
        let answers = done.map(|(position, answer)| (position, &batch[position], answer));
        let mut report = StoreReport::new(0, replaced_in_batch);
        for is_new in finished(STORE, answers)? {
            report += StoreReport::new(is_new.into(), (!is_new).into());
        }
        Ok(report)
    }

    fn flush(&self) -> Result<()> {
        self.gate.write("flush").map(drop)
    }

    fn close(&self) -> Result<()> {
        self.gate.close();
        Ok(())
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        const RETRIEVE: &str = "retrieve a sample";
        let _turn = self.gate.read(RETRIEVE)?;
        let (objects, name) = (self.objects.clone(), Name::of(id));
        let found = wait(RETRIEVE, async move {
            read_document(&objects, RETRIEVE, &name).await
        })?;
        let sample = found.map(|document| document.sample);
        Ok(sample.filter(|sample| sample.id() == id))
    }

    fn scan(&self) -> Result<Scan<'_>> {
        self.scan_for("read samples", &Query::new(), |sample| sample)
    }

    fn list(&self, query: &Query) -> Result<Page> {
        storage::list_scan(
            self.scan_for("list samples", query, |sample| sample)?,
            query,
        )
    }

    fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
        storage::iterate_scan(
            self.scan_for("read samples", query, |sample| sample)?,
            query,
        )
    }

    fn count(&self, query: &Query) -> Result<u64> {
        storage::count_scan(
            self.scan_for("count samples", query, Sample::without_payloads)?,
            query,
        )
    }

    fn facets(&self, query: &Query) -> Result<Facets> {
        storage::facets_scan(
            self.scan_for("count samples", query, Sample::without_payloads)?,
            query,
        )
    }

    fn set_status(&self, selection: &Selection, from: Option<Status>, to: Status) -> Result<u64> {
        const MOVE: &str = "set a status";
        let _turn = self.gate.write(MOVE)?;
        let query = selection.to_query();
        let selected = self.select(MOVE, &query, from)?;
        let samples: Vec<_> = selected.iter().map(|found| found.sample.clone()).collect();
        let objects = self.objects.clone();
        let filter = Arc::new(query.without_paging());
        let done = wait(MOVE, async move {
            let done = all_or_some(MOVE, selected, move |found| {
                let (objects, filter) = (objects.clone(), Arc::clone(&filter));
                async move {
                    let still = |sample: &Sample| {
                        filter.matches(sample) && from.is_none_or(|from| sample.status() == from)
                    };
                    found.move_to(&objects, MOVE, to, still).await
                }
            });
            Ok(done.await)
        })?;
        let answers = samples.iter().enumerate().zip(done);
        let answers = answers.map(|((position, sample), answer)| (position, sample, answer));
        let moved = finished(MOVE, answers)?;
        Ok(moved.into_iter().map(u64::from).sum())
    }

    fn delete(&self, selection: &Selection) -> Result<u64> {
        const DELETE: &str = "delete samples";
        let _turn = self.gate.write(DELETE)?;
        let selected = self.select(DELETE, &selection.to_query(), None)?;
        if selected.is_empty() {
            return Ok(0);
        }
        let (objects, places) = (self.objects.clone(), Arc::clone(&self.places));
        let count = selected.len() as u64;
        wait(DELETE, async move {
            let ids: Vec<_> = selected
                .iter()
                .map(|found| found.sample.id().to_owned())
                .collect();
            let remover = objects.clone();
            let done = all_or_some(DELETE, ids.clone(), move |id: String| {
                let objects = remover.clone();
                async move {
                    let key = Key::new(SAMPLES, Name::of(&id).as_str());
                    objects.remove(DELETE, &key).await
                }
            })
            .await;
            // Those that went have given up their places, however it ended.
            let gone = ids.into_iter().zip(&done);
            let gone = gone.filter(|(_, answer)| matches!(answer, Some(Ok(()))));
            let gone = gone.map(|(id, _)| id).collect();
            let given_up = places.lock().await.give_up(&objects, DELETE, gone).await;
            let failure = done.into_iter().flatten().find_map(Result::err);
            failure.map_or(given_up, Err)
        })?;
        Ok(count)
    }
}

/// A document that is to be written.
struct Write {
    /// The sample's position in its batch.
    position: usize,
    id: String,
    bytes: Bytes,
}

/// What a batch comes to: of one id twice, the later sample.
fn writes(batch: &[Sample]) -> Result<Vec<Write>> {
    let mut last: HashMap<&str, usize> = HashMap::with_capacity(batch.len());
    for (position, sample) in batch.iter().enumerate() {
        last.insert(sample.id(), position);
    }
    // In the order in which ids first stand there: that is the order of their ranks.
    let mut seen = HashSet::with_capacity(last.len());
    let firsts = batch.iter().filter(|sample| seen.insert(sample.id()));
    let positions = firsts.filter_map(|sample| last.get(sample.id()).copied());
    positions
        .map(|position| {
            let sample = &batch[position];
            let text =
                document(sample).map_err(|error| error.with_sample(position, sample.id()))?;
            Ok(Write {
                position,
                id: sample.id().to_owned(),
                bytes: text,
            })
        })
        .collect()
}

fn document(sample: &Sample) -> Result<Bytes> {
    let mut text = sample.to_json_text()?;
    text.push('\n');
    Ok(text.into())
}

impl Write {
    /// Writes the document and says whether it is a new one. `is_known` is a guess.
    async fn put(
        &self,
        objects: &Objects,
        operation: &'static str,
        is_known: bool,
    ) -> Result<bool> {
        let name = Name::of(&self.id);
        let key = Key::new(SAMPLES, name.as_str());
        let is_there = is_known && objects.exists(operation, &key).await?;
        if !is_there && objects.create(operation, &key, &self.bytes).await? {
            return Ok(true);
        }
        if name.is_hashed()
            && let Some(other) = read_document(objects, operation, &name).await?
            && other.sample.id() != self.id
        {
            return Err(Error::invalid_sample(Limit::Field {
                field: "id",
                problem: "has the hash of another long id that is stored".to_owned(),
            }));
        }
        objects.replace(operation, &key, &self.bytes).await?;
        Ok(false)
    }
}

impl Document {
    fn id(&self) -> &str {
        self.sample.id()
    }

    /// Moves the sample to another status, unless another process changed it so that it should not be.
    async fn move_to(
        mut self,
        objects: &Objects,
        operation: &'static str,
        to: Status,
        still: impl Fn(&Sample) -> bool,
    ) -> Result<bool> {
        let name = Name::of(self.sample.id());
        let key = Key::new(SAMPLES, name.as_str());
        for _ in 0..MOVES_MAX {
            let bytes = document(&self.sample.with_status(to))?;
            if objects
                .update(operation, &key, &bytes, self.version)
                .await?
            {
                return Ok(true);
            }
            match read_document(objects, operation, &name).await? {
                Some(found) if still(&found.sample) => self = found,
                _ => return Ok(false),
            }
        }
        Err(Error::new(ErrorKind::Backend, operation)
            .with_subject(objects.shown(&key))
            .with_message("other processes change it all the time")
            .with_retryable(true))
    }
}

/// Does the same to each item until one fails; those that were not begun by then have no answer.
async fn all_or_some<I, T, W>(
    operation: &'static str,
    items: impl IntoIterator<Item = I, IntoIter: Send>,
    work: impl Fn(I) -> W + Send + Sync + 'static,
) -> Vec<Option<Result<T>>>
where
    I: Send + 'static,
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let has_failed = Arc::new(AtomicBool::new(false));
    let guarded = move |item| {
        let has_failed = Arc::clone(&has_failed);
        let begun = (!has_failed.load(Relaxed)).then(|| work(item));
        async move {
            let Some(begun) = begun else { return Ok(None) };
            let answer = begun.await;
            has_failed.fetch_or(answer.is_err(), Relaxed);
            Ok(Some(answer))
        }
    };
    each(operation, REQUESTS, items, guarded)
        // A panic is the answer of its item.
        .map(|answer| answer.unwrap_or_else(|error| Some(Err(error))))
        .collect()
        .await
}

/// The answers, if all items have one; else the first error, with the ids of what was done nevertheless.
fn finished<'a, T>(
    operation: &'static str,
    answers: impl Iterator<Item = (usize, &'a Sample, Option<Result<T>>)>,
) -> Result<Vec<T>> {
    let mut done = Vec::new();
    let mut ids = Vec::new();
    let mut failure = None;
    for (position, sample, answer) in answers {
        match answer {
            Some(Ok(answer)) => {
                done.push(answer);
                ids.push(sample.id().to_owned());
            }
            Some(Err(error)) if failure.is_none() => failure = Some((position, sample, error)),
            // Only the first is told, and not what was not begun for it.
            None | Some(Err(_)) => {}
        }
    }
    let Some((position, sample, error)) = failure else {
        return Ok(done);
    };
    if ids.is_empty() {
        return Err(error.with_sample(position, sample.id()));
    }
    Err(Error::new(ErrorKind::Partial, operation)
        .with_sample(position, sample.id())
        .with_stored_ids(ids)
        .with_retryable(error.is_retryable())
        .with_cause(error))
}

fn which(query: &Query) -> Which {
    match query.id_set() {
        None => Which::All,
        Some(ids) => {
            // Two long ids may have one name.
            let names: HashSet<_> = ids.iter().map(|id| Name::of(id)).collect();
            Which::Named(names.into_iter().collect())
        }
    }
}

/// Reads a document, if it is there, and makes sure that it is the one of its name.
async fn read_document(
    objects: &Objects,
    operation: &'static str,
    name: &Name,
) -> Result<Option<Document>> {
    let key = Key::new(SAMPLES, name.as_str());
    let Some(found) = objects.get(operation, &key).await? else {
        return Ok(None);
    };
    let damaged = || {
        let error = Error::new(ErrorKind::Damaged, operation);
        error.with_subject(objects.shown(&key))
    };
    let text = std::str::from_utf8(&found.bytes).map_err(|cause| damaged().with_cause(cause))?;
    let sample = Sample::from_json_text(text).map_err(|cause| damaged().with_cause(cause))?;
    if Name::of(sample.id()) != *name {
        return Err(damaged()
            .with_sample_id(sample.id())
            .with_message("the sample in it belongs under another name"));
    }
    let version = found.version;
    Ok(Some(Document { sample, version }))
}

/// Reads the mark, or makes it.
async fn read_mark(objects: &Objects, create: bool) -> Result<Mark> {
    let key = Key::new("", MARK);
    let wrong = |kind| Error::new(kind, OPEN).with_subject(objects.shown(&key));
    if create {
        let mark = Mark {
            samplestore_files: VERSION,
            identity: format!("{:016x}", uuid::Uuid::new_v4().as_u64_pair().0),
        };
        let text = serde_json::to_vec(&mark)
            .map_err(|cause| wrong(ErrorKind::Backend).with_cause(cause))?;
        let text = Bytes::from(text);
        if objects.get(OPEN, &key).await?.is_none()
            && objects.create(OPEN, &key, &text).await?
            && objects.create(OPEN, &key, &text).await?
        {
            return Err(wrong(ErrorKind::Unsupported).with_message(
                "the server lets an object be made twice; conditional puts are needed",
            ));
        }
    }
    let Some(found) = objects.get(OPEN, &key).await? else {
        return Err(not_there(objects.shown(&key)));
    };
    serde_json::from_slice(&found.bytes)
        .map_err(|cause| wrong(ErrorKind::Damaged).with_cause(cause))
}
