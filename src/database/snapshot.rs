//! [`Snapshot`]: several reads of one consistent state; and how each read is answered from a view.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Database;
use super::chunk::Overlap;
use super::explain::Explain;
use super::failure::{Context, guard};
use super::filter::{ColumnReader, Filter, Place, first_row};
use super::matching::{Matching, Request};
use super::pipelines::{Entry, decode_places, read_all};
use super::plan::Access;
use super::readers::Readers;
use super::record::status_code;
use super::schema::{CHUNK_ROWS, Kind, cell_key, cell_keys, missing};
use super::stream::Stream;
use super::view::{View, live_status};
use crate::error::Result;
use crate::query::{Facets, Page, Query};
use crate::sample::{Sample, Status};
use crate::storage::Samples;

/// One consistent state of a [`Database`](super::Database), whatever writers do meanwhile.
///
/// While it is held, the file keeps the pages of its state, so hold it for a few reads and not for the
/// life of the process.
///
/// ```
/// use samplestore::{Database, Query, Sample, Status, Storage};
///
/// let folder = tempfile::tempdir()?;
/// let database = Database::open(folder.path().join("samples.redb"))?;
/// database.store(&[Sample::builder("weather").id("a").build()?])?;
///
/// let before = database.snapshot()?;
/// database.set_status(&"a".into(), None, Status::Ready)?;
/// assert_eq!(before.count(&Query::new().status(Status::Pending))?, 1);
/// assert_eq!(database.count(&Query::new().status(Status::Pending))?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    pub(super) view: Arc<View>,
    /// Keeps the file open when every other handle is dropped; `close` closes it all the same.
    pub(super) database: Database,
    /// Overrides the planner, in tests.
    forced: Option<Access>,
}

/// A page of no more samples has room for all of them from the beginning.
const ROOM_SAMPLES: u64 = 256;

impl Snapshot {
    pub(super) fn new(view: Arc<View>, database: Database, forced: Option<Access>) -> Self {
        Self {
            view,
            database,
            forced,
        }
    }

    /// Runs `work` unless the database is closed, and turns a panic on a damaged file into an error.
    pub(super) fn guard<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.database.engine.check_open(operation)?;
        guard(operation, work)
    }

    pub(super) fn readers(&self) -> Arc<Readers> {
        Arc::clone(&self.database.engine.readers)
    }

    pub(super) fn stream(&self, query: &Query) -> Result<Stream> {
        let filter = Filter::resolve(&self.view, query)?;
        Stream::open(Arc::clone(&self.view), filter, self.forced)
    }

    /// The number of the last commit that this state has. Where two snapshots of one file have the same, nothing was stored, changed
    /// or removed between them; of a later commit it is greater.
    ///
    /// ```
    /// # use samplestore::{Database, Sample, Storage};
    /// # let folder = tempfile::tempdir()?;
    /// # let database = Database::open(folder.path().join("samples.redb"))?;
    /// let before = database.snapshot()?;
    /// assert_eq!(database.snapshot()?.commit_number(), before.commit_number());
    /// database.store(&[Sample::builder("weather").build()?])?;
    /// assert!(database.snapshot()?.commit_number() > before.commit_number());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn commit_number(&self) -> u64 {
        self.view.state.mark.number
    }

    /// As [`Storage::retrieve`](crate::Storage::retrieve).
    ///
    /// # Errors
    /// [`Damaged`](crate::ErrorKind::Damaged), [`Io`](crate::ErrorKind::Io).
    pub fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        self.guard("retrieve a sample", || self.view.retrieve(id))
            .map_err(|error| error.with_sample_id(id))
    }

    fn request<'a>(&'a self, query: &'a Query) -> Result<Request<'a>> {
        Ok(Request {
            view: &self.view,
            readers: self.readers(),
            query,
            filter: Filter::resolve(&self.view, query)?,
            forced: self.forced,
        })
    }

    /// As [`Storage::list`](crate::Storage::list).
    ///
    /// # Errors
    /// [`InvalidCursor`](crate::ErrorKind::InvalidCursor), [`Damaged`](crate::ErrorKind::Damaged),
    /// [`Io`](crate::ErrorKind::Io).
    pub fn list(&self, query: &Query) -> Result<Page> {
        self.guard("list samples", || {
            let request = self.request(query)?;
            let limit = request.filter.limit;
            if limit == 0 {
                return Ok(Page::default());
            }
            let mut matching = Matching::page(request)?;
            let mut samples = Vec::with_capacity(limit.min(ROOM_SAMPLES) as usize);
            let mut last = None;
            while let Some((place, sample)) = matching.next()? {
                samples.push(sample);
                last = Some(place);
            }
            // Whether more may follow is seen from the indexes, unless conditions decide.
            let next = match last {
                Some(last) if matching.has_more()? => {
                    matching.keep(last);
                    Some(last.to_cursor(&self.view, query))
                }
                _ => None,
            };
            Ok(Page::new(samples, next))
        })
    }

    /// As [`Storage::iterate`](crate::Storage::iterate); the iterator keeps the snapshot.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn iterate(&self, query: &Query) -> Result<Samples<'static>> {
        let matching = self.guard("iterate over samples", || {
            Matching::some(self.request(query)?)
        });
        Ok(self.samples("iterate over samples", matching?))
    }

    /// The samples of places that are known.
    pub(super) fn samples_at(
        &self,
        operation: &'static str,
        places: Vec<Place>,
    ) -> Result<Samples<'static>> {
        let matching = Matching::at(&self.view, self.readers(), places)?;
        Ok(self.samples(operation, matching))
    }

    fn samples(&self, operation: &'static str, mut matching: Matching) -> Samples<'static> {
        // The file stays open as long as the iterator lives.
        let database = self.database.clone();
        let mut is_over = false;
        Box::new(std::iter::from_fn(move || {
            if is_over {
                return None;
            }
            let open = database.engine.check_open(operation);
            let next = open
                .and_then(|()| match matching.next_ready() {
                    Some(ready) => Ok(Some(ready)),
                    None => guard(operation, || matching.next()),
                })
                .map(|next| next.map(|(_, sample)| sample))
                .map_err(|error| error.with_subject(database.path().display()));
            is_over = !matches!(next, Ok(Some(_)));
            next.transpose()
        }))
    }

    /// As [`Storage::count`](crate::Storage::count); reads no sample unless ids or conditions are asked for.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn count(&self, query: &Query) -> Result<u64> {
        self.guard("count samples", || {
            let filter = Filter::resolve(&self.view, query)?;
            if filter.is_nothing() {
                return Ok(0);
            }
            if !query.conditions().is_empty() {
                let mut count = 0;
                self.each_matching(query, |_, _| {
                    count += 1;
                    Ok(())
                })?;
                return Ok(count);
            }
            tracing::debug!(name: "counted", %query, plan = count_plan(&filter), "planned a count");
            if !filter.is_whole() {
                return self.count_one_by_one(query);
            }
            if filter.range == crate::query::TimeRange::ALL {
                return Ok(filter.matching_ever(&self.view).min(filter.limit));
            }
            let mut count = 0;
            for (number, chunk) in (0..).zip(self.view.chunks()?.iter()) {
                count += filter.count(&self.view, number, chunk)?;
            }
            Ok(count.min(filter.limit))
        })
    }

    /// Shows `each` every sample that matches, in order, with its place.
    pub(super) fn each_matching(
        &self,
        query: &Query,
        mut each: impl FnMut(Place, &Sample) -> Result<()>,
    ) -> Result<()> {
        let mut matching = Matching::all(self.request(query)?)?;
        while let Some((place, sample)) = matching.next()? {
            each(place, &sample)?;
        }
        Ok(())
    }

    fn count_one_by_one(&self, query: &Query) -> Result<u64> {
        let mut stream = self.stream(query)?;
        let mut count = 0;
        while stream.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// As [`Storage::facets`](crate::Storage::facets); reads no sample unless ids or conditions are asked for.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn facets(&self, query: &Query) -> Result<Facets> {
        self.guard("count samples", || {
            let filter = Filter::resolve(&self.view, query)?;
            let mut facets = Facets::new();
            if filter.is_nothing() {
                return Ok(facets);
            }
            if !query.conditions().is_empty() {
                self.each_matching(query, |_, sample| {
                    facets.add(sample.pipeline(), sample.status(), 1);
                    Ok(())
                })?;
                return Ok(facets);
            }
            if !filter.is_whole() || filter.limit != u64::MAX {
                self.facets_one_by_one(query, &mut facets)?;
                return Ok(facets);
            }
            if filter.range == crate::query::TimeRange::ALL {
                match &filter.pipelines {
                    None => {
                        let entries =
                            read_all(self.view.tables.summary()?, self.view.state.next_pipeline)?;
                        entries
                            .iter()
                            .for_each(|entry| add(&mut facets, entry, filter.codes));
                    }
                    Some(wanted) => wanted
                        .iter()
                        .for_each(|wanted| add(&mut facets, &wanted.entry, filter.codes)),
                }
                return Ok(facets);
            }
            for (number, chunk) in (0..).zip(self.view.chunks()?.iter()) {
                if chunk.head.overlap(filter.range) != Overlap::None {
                    self.facets_of_chunk(&filter, number, &mut facets)?;
                }
            }
            Ok(facets)
        })
    }

    fn facets_of_chunk(&self, filter: &Filter, chunk: u64, facets: &mut Facets) -> Result<()> {
        let view = &self.view;
        let dictionary = view.dictionary()?;
        for status in Status::ALL {
            let code = 1 << status_code(status);
            if filter.codes & code == 0 {
                continue;
            }
            let of_status = filter.with_codes(code);
            let rows = of_status.timed_rows(view, chunk)?;
            if rows.is_empty() {
                continue;
            }
            if chunk >= view.full_chunks() {
                let newest = view.newest()?;
                for place in rows {
                    let number = newest.pipelines[place as usize];
                    facets.add(dictionary.name(number)?, status, 1);
                }
                continue;
            }
            let cells = view
                .tables
                .pipeline_rows()?
                .range(cell_keys(chunk))
                .context("count samples")?;
            let mut counted = 0;
            for cell in cells {
                let (key, sealed) = cell.context("count samples")?;
                let of_pipeline = decode_places(Kind::PipelineRows, key.value(), sealed.value())?;
                let count = of_pipeline.intersection_len(&rows);
                counted += count;
                facets.add(dictionary.name(key.value() as u32)?, status, count);
            }
            // Every row is in the bitmap of one pipeline.
            if counted != rows.len() {
                return Err(missing(Kind::PipelineRows, cell_key(chunk, 0)));
            }
        }
        Ok(())
    }

    fn facets_one_by_one(&self, query: &Query, facets: &mut Facets) -> Result<()> {
        let view = &self.view;
        let dictionary = view.dictionary()?;
        let mut stream = self.stream(query)?;
        let mut columns = ColumnReader::default();
        while let Some(place) = stream.next()? {
            let status = live_status(place.row, view.code(place.row)?)?;
            let number = columns.pipeline(view, place.row)?;
            facets.add(dictionary.name(number)?, status, 1);
        }
        Ok(())
    }

    /// How [`list`](Self::list) and [`count`](Self::count) answer this query: which index is used, what
    /// was expected, and what was looked at. The query is carried out to find out.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn explain(&self, query: &Query) -> Result<Explain> {
        self.guard("explain a query", || {
            let request = self.request(query)?;
            let count = match query.conditions() {
                [] => count_plan(&request.filter),
                _ => "one by one, conditions asked of each record",
            };
            let mut matching = Matching::all(request)?;
            let estimated = matching.fetch().stream.estimate()?;
            let mut samples = 0;
            while matching.next()?.is_some() {
                samples += 1;
            }
            Explain::new(query, matching.fetch(), count, estimated, samples)
        })
    }

    /// The instant of the first sample in the order of `query`, in microseconds.
    pub(super) fn first_instant(&self, query: &Query) -> Result<Option<i64>> {
        Ok(self.stream(query)?.next()?.map(|place| place.micros))
    }

    /// The rows that a selection means, by chunk; of them only those in `from` when it is given.
    pub(super) fn select(
        &self,
        query: &Query,
        from: Option<Status>,
    ) -> Result<BTreeMap<u64, RoaringBitmap>> {
        let mut filter = Filter::resolve(&self.view, query)?;
        filter.is_of_change = true;
        if let Some(from) = from {
            filter.codes &= 1 << status_code(from);
        }
        let mut selected = BTreeMap::new();
        if filter.is_nothing() {
            return Ok(selected);
        }
        let mut add = |place: Place| {
            let chunk = place.row / CHUNK_ROWS;
            let in_chunk = (place.row - first_row(chunk)) as u32;
            selected
                .entry(chunk)
                .or_insert_with(RoaringBitmap::new)
                .insert(in_chunk);
        };
        if !query.conditions().is_empty() {
            let request = Request {
                filter,
                ..self.request(query)?
            };
            let mut matching = Matching::all(request)?;
            while let Some((place, _)) = matching.next()? {
                add(place);
            }
            return Ok(selected);
        }
        if filter.is_whole() && filter.limit == u64::MAX {
            for (number, chunk) in (0..).zip(self.view.chunks()?.iter()) {
                if chunk.head.in_statuses(filter.codes) == 0 {
                    continue;
                }
                let rows = filter.timed_rows(&self.view, number)?;
                if !rows.is_empty() {
                    selected.insert(number, rows);
                }
            }
            return Ok(selected);
        }
        let mut stream = Stream::open(Arc::clone(&self.view), filter, self.forced)?;
        while let Some(place) = stream.next()? {
            add(place);
        }
        Ok(selected)
    }
}

fn add(facets: &mut Facets, entry: &Entry, codes: u8) {
    for status in Status::ALL {
        if codes & (1 << status_code(status)) != 0 {
            facets.add(&entry.name, status, entry.counts[status.index()]);
        }
    }
}

fn count_plan(filter: &Filter) -> &'static str {
    if filter.is_nothing() {
        "nothing"
    } else if !filter.is_whole() {
        "one by one along the index"
    } else if filter.range == crate::query::TimeRange::ALL {
        "counters"
    } else {
        "counters of chunks, bitmaps of those that the time range cuts"
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("path", &self.database.path())
            .field("samples", &self.view.state.samples())
            .finish_non_exhaustive()
    }
}
