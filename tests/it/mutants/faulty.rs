//! A storage that is right but for one fault, which is switched on.
//!
//! It lies on a `MemoryStorage` that stands for the disk: handles come and go, the disk stays, so that
//! what durable backends get wrong can be got wrong here too. Reading is a plain list of steps
//! ([`Faulty::select`]), each of which can be spoilt by itself.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use chrono::DurationRound;
use samplestore::{
    Capabilities, Cursor, Error, ErrorKind, Facets, MemoryStorage, Order, Page, Query, Ranked,
    Result, Sample, Samples, Selection, Status, Storage, StoreReport, Value, check_batch,
};

use super::fault::Fault;

/// What outlives the handles.
#[derive(Debug)]
pub(crate) struct Place {
    fault: Fault,
    disk: MemoryStorage,
    writing: Arc<Mutex<()>>,
    opened: AtomicU64,
}

/// A handle.
#[derive(Debug)]
pub(crate) struct Faulty {
    fault: Fault,
    disk: MemoryStorage,
    writing: Arc<Mutex<()>>,
    number: u64,
    closed: AtomicBool,
    unclosed: Mutex<Vec<String>>,
    ghosts: Mutex<Facets>,
}

impl Place {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            fault,
            disk: MemoryStorage::with_sample_bytes_max(usize::MAX),
            writing: Arc::default(),
            opened: AtomicU64::new(0),
        }
    }

    pub(crate) fn open(&self) -> Result<Faulty> {
        let number = self.opened.fetch_add(1, SeqCst);
        if number > 0 && self.fault == Fault::OpeningAnewForgets {
            self.disk.delete(&Query::new().into())?;
        }
        Ok(Faulty {
            fault: self.fault,
            disk: self.disk.clone(),
            writing: Arc::clone(&self.writing),
            number,
            closed: AtomicBool::new(false),
            unclosed: Mutex::default(),
            ghosts: Mutex::default(),
        })
    }
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn check_open(&self, operation: &'static str) -> Result<()> {
        match self.closed.load(SeqCst) {
            true => Err(Error::closed(operation)),
            false => Ok(()),
        }
    }

    fn lock(&self) -> Result<MutexGuard<'_, ()>> {
        if self.has(Fault::WritersRefused) {
            return match self.writing.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    Err(Error::new(ErrorKind::Locked, "store a batch"))
                }
                Err(TryLockError::Poisoned(error)) => Ok(error.into_inner()),
                Ok(guard) => {
                    std::thread::sleep(Duration::from_millis(1));
                    Ok(guard)
                }
            };
        }
        Ok(self.writing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The sample as it is written.
    fn written(&self, sample: &Sample) -> Result<Sample> {
        let old = || self.disk.retrieve(sample.id());
        let floats = |replace: fn(f64) -> Value| {
            let mut map = sample.data().to_map()?;
            for value in map.values_mut() {
                if let Value::Float(float) = *value {
                    *value = replace(float);
                }
            }
            sample.clone().into_builder().data(map).build()
        };
        let builder = sample.clone().into_builder();
        match self.fault {
            Fault::IdCutAtNul if !sample.id().starts_with('\0') => {
                let cut = sample.id().split('\0').next().unwrap_or_default();
                builder.id(cut).build()
            }
            Fault::PipelineInLowerCase => {
                builder.pipeline(sample.pipeline().to_lowercase()).build()
            }
            Fault::DlqBecomesSkipped if sample.status() == Status::Dlq => {
                builder.status(Status::Skipped).build()
            }
            Fault::MicrosCut => {
                let milli = chrono::TimeDelta::milliseconds(1);
                let cut = sample.created_at().duration_trunc(milli);
                builder
                    .created_at(cut.unwrap_or(sample.created_at()))
                    .build()
            }
            Fault::NegativeZeroLost => floats(|float| (float + 0.0).into()),
            Fault::NanBecomesNull => floats(|float| match float.is_nan() {
                true => Value::Null,
                false => float.into(),
            }),
            Fault::ReasonLost => Ok(sample.clone().with_reason(None)),
            Fault::ReplaceKeepsPipeline => match old()? {
                Some(old) => builder.pipeline(old.pipeline()).build(),
                None => builder.build(),
            },
            Fault::ReplaceKeepsCreatedAt => match old()? {
                Some(old) => builder.created_at(old.created_at()).build(),
                None => builder.build(),
            },
            Fault::ReplaceMerges => match old()? {
                Some(old) => {
                    let mut map = old.data().to_map()?;
                    map.extend(sample.data().to_map()?);
                    builder.data(map).build()
                }
                None => builder.build(),
            },
            _ => builder.build(),
        }
    }

    fn check(&self, batch: &[Sample]) -> Result<()> {
        let checked = check_batch(batch, self.capabilities().sample_bytes_max);
        checked.map_err(|error| match self.fault {
            Fault::PositionOffByOne => {
                let position = error.position().unwrap_or_default() + 1;
                let id = error.sample_id().unwrap_or_default().to_owned();
                error.with_sample(position, id)
            }
            Fault::CauseLost => Error::new(error.kind(), error.operation()),
            _ => error,
        })
    }

    /// Whether the filters hold for a sample.
    fn matches(&self, query: &Query, sample: &Sample) -> bool {
        let micros = sample.created_at().timestamp_micros();
        let range = query.time_range();
        let text = query.to_string();
        match self.fault {
            Fault::StatusesAnded if query.statuses().len() > 1 => false,
            Fault::PipelinesByPrefix => {
                let mut begun = query.pipelines().iter();
                begun.any(|name| sample.pipeline().starts_with(name))
                    || query.matches(sample).unwrap()
            }
            Fault::AfterInclusive if text.contains("--after") && micros == range.first - 1 => true,
            Fault::BeforeInclusive if text.contains("--before") && micros == range.last + 1 => true,
            _ => query.matches(sample).unwrap(),
        }
    }

    fn identity(&self) -> Result<u64> {
        Ok(match self.fault {
            Fault::CursorOfAnyStorage => 7,
            Fault::CursorEndsWithHandle => self.disk.scan()?.identity ^ self.number,
            _ => self.disk.scan()?.identity,
        })
    }

    /// What a cursor is tied to.
    fn tied_to(&self, query: &Query) -> Query {
        match self.fault {
            Fault::CursorForgetsOrder => query.clone().order(Order::Oldest),
            _ => query.clone(),
        }
    }

    /// Everything behind the cursor that the filters let through and whose status is `from`, in order,
    /// and whether more follows behind the limit.
    fn select(&self, query: &Query, from: Option<Status>) -> Result<(Vec<Ranked>, bool)> {
        if query.time_range().is_empty() && self.has(Fault::EmptyRangeRefused) {
            return Err(Error::new(ErrorKind::InvalidQuery, "read samples"));
        }
        let start = match query.start() {
            None => None,
            Some(cursor) => match cursor.position(self.identity()?, &self.tied_to(query)) {
                Ok(position) => Some(read_position(&position)?),
                Err(_) if self.has(Fault::DamagedCursorAccepted) => None,
                Err(error) => return Err(error),
            },
        };
        let limit = match query.limit_max() {
            Some(0) if self.has(Fault::LimitZeroIsNone) => usize::MAX,
            Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
            None => usize::MAX,
        };

        let mut all = self.disk.scan()?.samples.collect::<Result<Vec<_>>>()?;
        if let (Some((_, rank)), true) = (start, self.has(Fault::CursorNeedsItsRow))
            && !all.iter().any(|ranked| ranked.rank == rank)
        {
            return Err(Cursor::malformed());
        }
        let newest = query.sort_order() == Order::Newest;
        match (self.fault, newest) {
            (Fault::TiesById, _) => {
                all.sort_by_key(|ranked| (position(ranked).0, ranked.sample.id().to_owned()));
            }
            (Fault::NewestKeepsTies, true) => {
                all.sort_by_key(|ranked| (position(ranked).0, Reverse(ranked.rank)));
            }
            _ => all.sort_by_key(position),
        }
        if newest {
            all.reverse();
        }
        all.retain(|ranked| {
            let (Some(start), here) = (start, position(ranked)) else {
                return true;
            };
            match (self.fault, newest) {
                (Fault::CursorRepeatsRow, false) => here >= start,
                (Fault::CursorRepeatsRow, true) => here <= start,
                (Fault::CursorSkipsTies, false) => here.0 > start.0,
                (Fault::CursorSkipsTies, true) => here.0 < start.0,
                (_, false) => here > start,
                (_, true) => here < start,
            }
        });
        if self.has(Fault::LimitBeforeFilter) {
            all.truncate(limit);
        }
        all.retain(|ranked| {
            self.matches(query, &ranked.sample)
                && from.is_none_or(|from| ranked.sample.status() == from)
        });
        let more = all.len() > limit;
        all.truncate(limit);
        Ok((all, more))
    }

    fn selected(&self, query: &Query) -> Result<Vec<Sample>> {
        let (selected, _) = self.select(query, None)?;
        Ok(selected.into_iter().map(|ranked| ranked.sample).collect())
    }
}

type Position = (i64, u64);

fn position(ranked: &Ranked) -> Position {
    (ranked.sample.created_at().timestamp_micros(), ranked.rank)
}

fn read_position(bytes: &[u8]) -> Result<Position> {
    serde_json::from_slice(bytes).map_err(|_| Cursor::malformed())
}

impl Storage for Faulty {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::full("faulty");
        capabilities.sample_bytes_max = 1 << 20;
        capabilities.delete = !self.has(Fault::UnsupportedTooLate);
        capabilities
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        self.check_open("store a batch")?;
        if batch.is_empty() && self.has(Fault::EmptyBatchRefused) {
            return Err(Error::new(ErrorKind::InvalidArgument, "store a batch"));
        }
        let _guard = self.lock()?;
        if !matches!(self.fault, Fault::TooLargeTaken | Fault::BatchOneByOne) {
            self.check(batch)?;
        }
        let ids = batch.iter().map(|sample| sample.id().to_owned());
        if self.has(Fault::ReplaceMovesToEnd) {
            self.disk.delete(&Selection::ids(ids.clone()))?;
        }
        self.unclosed.lock().unwrap().extend(ids);
        let mut written = Vec::new();
        let mut report = StoreReport::default();
        for sample in batch {
            let sample = self.written(sample)?;
            if self.has(Fault::BatchOneByOne) {
                self.check(std::slice::from_ref(&sample))?;
                report += self.disk.store(&[sample])?;
            } else {
                written.push(sample);
            }
        }
        if self.has(Fault::FirstOfTwoWins) {
            written.reverse();
        }
        report += self.disk.store(&written)?;
        if self.has(Fault::AllCountedAsInserted) {
            report = StoreReport::new(report.stored(), 0);
        }
        Ok(report)
    }

    fn flush(&self) -> Result<()> {
        self.check_open("flush")
    }

    fn close(&self) -> Result<()> {
        if self.closed.swap(true, SeqCst) && self.has(Fault::CloseTwiceRefused) {
            return Err(Error::closed("close"));
        }
        if self.has(Fault::CloseForgets) {
            self.disk.delete(&Query::new().into())?;
        }
        Ok(())
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        self.check_open("retrieve a sample")?;
        assert!(!(id.is_empty() && self.has(Fault::PanicsOnOddId)), "no id");
        match self.disk.retrieve(id)? {
            None if self.has(Fault::NotFoundIsAnError) => {
                Err(Error::new(ErrorKind::NotFound, "retrieve a sample"))
            }
            found => Ok(found),
        }
    }

    fn list(&self, query: &Query) -> Result<Page> {
        if !self.has(Fault::ReadAfterClose) {
            self.check_open("list samples")?;
        }
        let (selected, more) = self.select(query, None)?;
        let next = match selected.last() {
            Some(last) if more && !self.has(Fault::NoCursor) => {
                let position = serde_json::to_vec(&position(last)).expect("two numbers");
                Some(Cursor::new(
                    self.identity()?,
                    &self.tied_to(query),
                    &position,
                ))
            }
            _ => None,
        };
        let samples = selected.into_iter().map(|ranked| ranked.sample).collect();
        Ok(Page::new(samples, next))
    }

    fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
        self.check_open("iterate")?;
        let selected = self.selected(query)?.into_iter();
        Ok(match self.fault {
            Fault::IteratorSeesWrites => {
                Box::new(selected.filter_map(|sample| self.disk.retrieve(sample.id()).transpose()))
            }
            Fault::IteratorStopsAtThousand => Box::new(selected.take(1_000).map(Ok)),
            Fault::IteratorSkipsLarge => {
                let small = |sample: &Sample| sample.encoded_len() < 1 << 18;
                Box::new(selected.filter(small).map(Ok))
            }
            _ => Box::new(selected.map(Ok)),
        })
    }

    fn count(&self, query: &Query) -> Result<u64> {
        self.check_open("count samples")?;
        let count = match self.fault {
            Fault::CountIgnoresLimit => self.selected(&query.clone().limit(u64::MAX))?.len(),
            _ => self.selected(query)?.len(),
        };
        Ok(count as u64)
    }

    fn facets(&self, query: &Query) -> Result<Facets> {
        self.check_open("count facets")?;
        let selected = self.selected(query)?;
        let selected = match self.fault {
            Fault::FacetsIgnoreFilter => self.selected(&Query::new())?,
            _ => selected,
        };
        let mut facets = self.ghosts.lock().unwrap().clone();
        for sample in selected {
            facets.add(sample.pipeline(), sample.status(), 1);
        }
        Ok(facets)
    }

    fn set_status(&self, selection: &Selection, from: Option<Status>, to: Status) -> Result<u64> {
        self.check_open("set a status")?;
        let mut query = selection.to_query();
        let from = match self.fault {
            Fault::PromisesTooMuch => return Err(self.unsupported("set a status")),
            Fault::SetStatusIgnoresFrom => None,
            _ => from,
        };
        if self.has(Fault::SetStatusIgnoresLimit) {
            query = query.limit(u64::MAX);
        }
        if let (Some(from), true) = (from, self.has(Fault::SetStatusTiesCursorToFrom)) {
            query = query.status(from);
        }
        let mut guard = Some(self.lock()?);
        let (selected, _) = self.select(&query, from)?;
        if self.has(Fault::SetStatusInTwoSteps) {
            guard.take();
            std::thread::sleep(Duration::from_millis(1));
        }
        let moved = selected
            .into_iter()
            .map(|ranked| ranked.sample.with_status(to));
        let moved: Vec<_> = match self.fault {
            Fault::SetStatusDropsReason => moved.map(|sample| sample.with_reason(None)).collect(),
            _ => moved.collect(),
        };
        match self.fault {
            Fault::SetStatusOneByOne => {
                for sample in moved.chunks(1) {
                    self.disk.store(sample)?;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            _ => drop(self.disk.store(&moved)?),
        }
        Ok(moved.len() as u64)
    }

    fn delete(&self, selection: &Selection) -> Result<u64> {
        self.check_open("delete samples")?;
        let mut query = selection.to_query();
        if self.has(Fault::DeleteIgnoresLimit) {
            query = query.limit(u64::MAX);
        }
        let _guard = self.lock()?;
        let selected = self.selected(&query)?;
        if self.has(Fault::UnsupportedTooLate) {
            return Err(self.unsupported("delete samples"));
        }
        if self.has(Fault::DeleteLeavesFacets) {
            let mut ghosts = self.ghosts.lock().unwrap();
            for sample in &selected {
                ghosts.add(sample.pipeline(), sample.status(), 1);
            }
        }
        self.disk
            .delete(&Selection::ids(selected.iter().map(Sample::id)))
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if self.has(Fault::UnclosedLost) && !self.closed.load(SeqCst) {
            let lost = std::mem::take(self.unclosed.get_mut().unwrap());
            let _ = self.disk.delete(&Selection::ids(lost));
        }
    }
}
