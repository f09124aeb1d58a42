//! The index of ids: that each sample is found by its id, and that no pair belongs to nothing.
//!
//! The ids of a chunk are looked up in order of hash, so that each bucket is read once for all of them. Whether there are
//! pairs too many is seen by counting: those of samples are as many as these, and others are of deleted samples,
//! of which the state knows how many there may be.

use super::{CheckReport, FaultKind, OPERATION};
use crate::database::failure::{Context, damaged, guard};
use crate::database::gathered::{Gathered, Pair};
use crate::database::ids::Bucket;
use crate::database::record;
use crate::database::view::View;
use crate::error::Result;

/// What is known of the index while chunks are gone through.
pub(super) struct IdCheck {
    /// `None` when it could not be read.
    gathered: Option<Gathered>,
    /// The bucket that was looked at last: its key and its pairs, if these could be read.
    bucket: Option<(u64, Option<Vec<Pair>>)>,
}

impl IdCheck {
    pub(super) fn new(view: &View, report: &mut CheckReport) -> Result<Self> {
        let read = || Gathered::read(view.tables.ids_gathered()?, &view.state);
        Ok(Self {
            gathered: report.read(FaultKind::IdIndex, None, read)?,
            bucket: None,
        })
    }

    /// Looks up the samples of a chunk.
    pub(super) fn chunk(
        &mut self,
        view: &View,
        mut pairs: Vec<Pair>,
        report: &mut CheckReport,
    ) -> Result<()> {
        pairs.sort_unstable();
        let mut rows = Vec::new();
        for (hash, row) in pairs {
            rows.clear();
            let is_known = self.find(view, hash, &mut rows, report)?;
            if !rows.contains(&row) && is_known {
                let id = id_of(view, row);
                let message = "its id does not lead to it";
                report.note_of(FaultKind::IdIndex, Some(row), id.as_deref(), message);
            }
            // Others have the same hash, are gone, or should not be.
            for other in rows.iter().filter(|other| **other < row) {
                let is_twice = report.read(FaultKind::IdIndex, Some(row), || {
                    let is_live = *other < view.state.next_row && view.code(*other)? != 0;
                    Ok(is_live && id_of(view, *other) == id_of(view, row))
                })?;
                if is_twice == Some(true) {
                    let id = id_of(view, row);
                    let message = format!("row {other} has the same id");
                    report.note_of(FaultKind::Record, Some(row), id.as_deref(), message);
                }
            }
        }
        Ok(())
    }

    /// Adds to `rows` those that the index has for a hash, and says whether all of it could be read.
    fn find(
        &mut self,
        view: &View,
        hash: u64,
        rows: &mut Vec<u64>,
        report: &mut CheckReport,
    ) -> Result<bool> {
        let mut is_known = self.gathered.is_some();
        if let Some(gathered) = &self.gathered {
            gathered.find(hash, rows);
        }
        let key = view.state.id_buckets.key(hash);
        if self.bucket.as_ref().is_none_or(|(last, _)| *last != key) {
            let pairs = report.read(FaultKind::IdIndex, None, || {
                let sealed = view.tables.ids()?.get(key).context(OPERATION)?;
                let pairs = sealed.map(|sealed| {
                    let bucket = Bucket::new(key, sealed.value())?;
                    Ok(bucket.pairs().collect())
                });
                pairs.transpose().map(Option::unwrap_or_default)
            })?;
            self.bucket = Some((key, pairs));
        }
        match &self.bucket {
            Some((_, Some(pairs))) => {
                let first = pairs.partition_point(|pair| pair.0 < hash);
                let found = pairs[first..].iter().take_while(|pair| pair.0 == hash);
                rows.extend(found.map(|pair| pair.1));
            }
            _ => is_known = false,
        }
        Ok(is_known)
    }

    /// Goes through all pairs. `samples` is how many samples there are, if that is known.
    pub(super) fn finish(
        self,
        view: &View,
        samples: Option<u64>,
        report: &mut CheckReport,
    ) -> Result<()> {
        let state = &view.state;
        let merged = report.read(FaultKind::IdIndex, None, || merged_pairs(view))?;
        let (Some(merged), Some(gathered)) = (merged, &self.gathered) else {
            return Ok(());
        };
        report.expect(
            FaultKind::Counter,
            None,
            "pairs in table ids",
            &state.merged_ids,
            &merged,
        );
        let active = gathered.active_len();
        report.expect(
            FaultKind::Counter,
            None,
            "gathered pairs",
            &state.active_ids,
            &active,
        );
        let frozen = gathered.frozen().iter();
        let unmerged = frozen.filter(|pair| pair.0 >= state.id_buckets.merged_hash_end);
        let all = merged + active + unmerged.count() as u64;
        if let Some(samples) = samples
            && !(samples..=samples + state.stale_ids).contains(&all)
        {
            let stale = state.stale_ids;
            let message =
                format!("{all} pairs for {samples} samples, and at most {stale} that were deleted");
            report.note(FaultKind::Surplus, None, message);
        }
        Ok(())
    }
}

/// Counts the pairs of the table `ids`, which must be in their buckets, in order, and of rows that were
/// given out.
fn merged_pairs(view: &View) -> Result<u64> {
    let wrong = |key: u64, message: &str| {
        damaged(OPERATION, message).with_subject(format!("table ids, key {key}"))
    };
    let mut count = 0;
    for entry in view.tables.ids()?.range(0_u64..).context(OPERATION)? {
        let (key, sealed) = entry.context(OPERATION)?;
        let key = key.value();
        let mut last = None;
        for pair in Bucket::new(key, sealed.value())?.pairs() {
            if view.state.id_buckets.key(pair.0) != key {
                return Err(wrong(key, "a pair is not of its bucket"));
            }
            if last >= Some(pair) || pair.1 >= view.state.next_row {
                return Err(wrong(
                    key,
                    "pairs are not in order, or of rows that are not there",
                ));
            }
            last = Some(pair);
            count += 1;
        }
    }
    Ok(count)
}

/// The id of a row, if its record can be read.
fn id_of(view: &View, row: u64) -> Option<String> {
    let read = || view.with_record(row, |record| Ok(record::header(record)?.id.to_owned()));
    guard(OPERATION, read).ok()
}
