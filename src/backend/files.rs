//! `files`: a JSON document per sample, in a folder (`file:`), in S3 (`s3:`), in Google Cloud Storage (`gs:`) or in Azure Blob
//! Storage (`az:`), by the crate `object_store`.
//!
//! ```text
//! samplestore.json       marks the place: version of this layout, identity for cursors
//! samples/NAME.json      a sample's JSON text form
//! order/NUMBER.json      which ids were first stored when
//! ```
//!
//! `files/name.rs` makes names of ids; `files/document.rs` reads and writes a sample, `files/lineage.rs` knows whose writes it
//! has come through; `files/places.rs` keeps
//! the order, and says why there; `files/removal.rs` takes documents away; `files/batch.rs` does something to many; `files/mark.rs` knows whether
//! there is anything; `files/gate.rs` has readers and writers take turns; `files/objects.rs` does what is
//! done to objects; `files/s3.rs`, `files/gcs.rs` and `files/azure.rs` make the clients of servers, `files/server.rs` what they
//! have in common.
//!
//! A document is written whole or not at all, a batch is not: its error lists what was stored. There is no
//! index: whatever is not asked for by id reads every document, [`REQUESTS`] at a time, and keeps what
//! matches in memory, for counts without the payloads.

#[cfg(feature = "azure")]
mod azure;
mod batch;
mod document;
mod gate;
#[cfg(feature = "gcs")]
mod gcs;
mod lineage;
mod mark;
mod name;
mod objects;
mod places;
mod removal;
#[cfg(feature = "s3")]
mod s3;
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
mod server;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;

use super::batch::finished;
use super::runtime::{each, wait};
use super::{Backend, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Facets, Page, Query, Selection};
use crate::retry::RetryPolicy;
use crate::sample::{SAMPLE_BYTES_MAX, Sample, Status};
use crate::storage::{
    self, Capabilities, Ranked, Samples, Scan, Storage, StoreReport, check_batch,
};
use batch::{all_or_some, of_change};
use document::{Document, Known, Met, SAMPLES, Write};
use gate::Gate;
use mark::MARK;
use name::Name;
use objects::{Key, Objects};
use places::SharedPlaces;

/// How many objects are read or written at a time.
const REQUESTS: usize = 32;
/// How often a request is made: the last one about 1.5 s behind the first.
const ATTEMPTS: RetryPolicy = RetryPolicy::exponential(5, Duration::from_millis(100));

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
    open: |location| open_server("s3", location, s3::client),
};

/// `gs://BUCKET/PREFIX`.
#[cfg(feature = "gcs")]
pub(super) const GCS: Backend = Backend {
    options: gcs::OPTIONS,
    open: |location| open_server("gcs", location, gcs::client),
};

/// `az://CONTAINER/PREFIX`.
#[cfg(feature = "azure")]
pub(super) const AZURE: Backend = Backend {
    options: azure::OPTIONS,
    open: |location| open_server("azure", location, azure::client),
};

#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
fn open_server(
    name: &'static str,
    location: &Location,
    client: fn(&Location) -> Result<server::Client>,
) -> Result<Box<dyn Storage>> {
    check_format(location)?;
    let (store, prefix) = client(location)?;
    let objects = Objects::new(store, prefix, location, ATTEMPTS, None);
    let gate = Gate::new(None);
    Ok(Box::new(Documents::open(
        name,
        objects,
        gate,
        location.creates(),
    )?))
}

fn open_folder(location: &Location) -> Result<Documents> {
    check_format(location)?;
    let folder = location.path()?;
    if location.creates() {
        super::folder::make(folder).map_err(|cause| Error::io(OPEN, folder.display(), cause))?;
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
        Some(folder),
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

/// Samples as JSON documents.
struct Documents {
    name: &'static str,
    objects: Objects,
    identity: u64,
    places: SharedPlaces,
    gate: Gate,
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
        let identity = wait(OPEN, objects.place(), async move {
            mark::identity(&opened, create).await
        })?;
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
        keep: impl Fn(Document) -> Result<Option<T>> + Send + Sync + 'static,
        id: fn(&T) -> &str,
    ) -> Result<Vec<(u64, T)>> {
        let objects = self.objects.clone();
        let places = Arc::clone(&self.places);
        let keep = Arc::new(keep);
        wait(operation, self.objects.place(), async move {
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
                        let document = Document::read(&objects, operation, &name).await?;
                        document.map_or(Ok(None), |document| keep(document))
                    }
                }
            };
            let read = each(operation, objects.place(), REQUESTS, names, read);
            let mut found: Vec<(u64, T)> = Vec::new();
            let mut read = std::pin::pin!(read);
            while let Some(kept) = read.try_next().await? {
                let Some(kept) = kept else { continue };
                let mut rank = places.rank(id(&kept));
                if rank.is_none() {
                    // One that is asked for by its id may have been stored since.
                    places.catch_up(&objects, operation).await?;
                    rank = places.rank(id(&kept));
                }
                let rank = rank.ok_or_else(|| {
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
            Ok(query.matches(&sample)?.then(|| reduce(sample)))
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
        let keep =
            move |document: Document| Ok(filter.matches(&document.sample)?.then_some(document));
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
        let writes = Write::of(batch)?;
        let replaced_in_batch = (batch.len() - writes.len()) as u64;
        let (objects, places) = (self.objects.clone(), Arc::clone(&self.places));
        let (positions, done) = wait(STORE, self.objects.place(), async move {
            let mut known_places = places.lock().await;
            known_places.refresh(&objects, STORE).await?;
            let stood: Vec<bool> = writes
                .iter()
                .map(|write| known_places.stands(&write.id))
                .collect();
            let ids = writes.iter().map(|write| write.id.as_str());
            known_places.claim(&objects, STORE, ids).await?;
            let known = writes.iter().zip(stood).map(|(write, stood)| Known {
                stood,
                rank: known_places.rank(&write.id),
            });
            let known: Vec<_> = known.collect();
            drop(known_places);
            let positions: Vec<_> = writes.iter().map(|write| write.position).collect();
            let writes = writes.into_iter().zip(known);
            let met = Met::default();
            let done = all_or_some(STORE, objects.place(), writes, move |(write, known)| {
                let (objects, places) = (objects.clone(), Arc::clone(&places));
                let met = met.clone();
                async move { write.put(&objects, &places, STORE, known, &met).await }
            });
            Ok((positions, done.await))
        })?;
        let done = positions.into_iter().zip(done);
        let answers = done.map(|(position, answer)| (position, batch[position].id(), answer));
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
        let found = wait(RETRIEVE, self.objects.place(), async move {
            Document::read(&objects, RETRIEVE, &name).await
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
            self.scan_for("count samples", query, counted(query))?,
            query,
        )
    }

    fn facets(&self, query: &Query) -> Result<Facets> {
        storage::facets_scan(
            self.scan_for("count samples", query, counted(query))?,
            query,
        )
    }

    fn set_status(&self, selection: &Selection, from: Option<Status>, to: Status) -> Result<u64> {
        const MOVE: &str = "set a status";
        let _turn = self.gate.write(MOVE)?;
        let query = selection.to_query();
        let is_limited = query.limit_max().is_some();
        let selected = self.select(MOVE, &query, from)?;
        let samples: Vec<_> = selected.iter().map(|found| found.sample.clone()).collect();
        let objects = self.objects.clone();
        let filter = Arc::new(query.without_paging());
        let done = wait(MOVE, self.objects.place(), async move {
            let done = all_or_some(MOVE, objects.place(), selected, move |found| {
                let (objects, filter) = (objects.clone(), Arc::clone(&filter));
                async move {
                    let still = |sample: &Sample| {
                        let is_from = from.is_none_or(|from| sample.status() == from);
                        Ok(is_from && filter.matches(sample)?)
                    };
                    found.move_to(&objects, MOVE, to, still).await
                }
            });
            Ok(done.await)
        })?;
        let answers = samples.iter().enumerate().zip(done);
        let answers = answers.map(|((position, sample), answer)| (position, sample.id(), answer));
        let moved = finished(MOVE, answers).map_err(|error| of_change(error, is_limited))?;
        Ok(moved.into_iter().map(u64::from).sum())
    }

    fn delete(&self, selection: &Selection) -> Result<u64> {
        const DELETE: &str = "delete samples";
        let _turn = self.gate.write(DELETE)?;
        let query = selection.to_query();
        let is_limited = query.limit_max().is_some();
        let selected = self.select(DELETE, &query, None)?;
        let (objects, places) = (self.objects.clone(), Arc::clone(&self.places));
        let filter = query.without_paging();
        let removed = wait(DELETE, self.objects.place(), async move {
            let still = move |sample: &Sample| filter.matches(sample);
            removal::remove(&objects, &places, DELETE, selected, still).await
        });
        removed.map_err(|error| of_change(error, is_limited))
    }
}

/// What is left of a sample that is only counted: its payloads where a condition will be asked of them again.
fn counted(query: &Query) -> fn(Sample) -> Sample {
    match query.conditions() {
        [] => Sample::without_payloads,
        _ => |sample| sample,
    }
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
