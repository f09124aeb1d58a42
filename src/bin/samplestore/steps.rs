//! Changes of many samples, some thousands at a time, and of none but those that were counted and asked about.
//!
//! Each step is a transaction of its own: memory is bounded, and what is done stays done when the rest is not. A record is asked
//! once whether it is meant, while others may write and before anybody is asked for consent.

#[cfg(test)]
mod tests;

use samplestore::{Error, Facets, Query, Result, Sample, Selection, Storage};

use crate::arguments::Consent;
use crate::failure::{Code, Failure, words};
use crate::fields::{tell_unknown, tell_unknown_ids};
use crate::identity::Identity;
use crate::ids::Ids;
use crate::interrupt::{self, NOTHING_CHANGED};
use crate::opening::{Db, Reader, Source};
use crate::output::{counted, facets_words};
use crate::progress::{SampleProgress, Seeking};

/// How many samples one step changes at most.
const STEP_SAMPLES: u64 = if cfg!(test) { 10 } else { 10_000 };

/// What is said where it is counted again.
pub(crate) const OTHERS_WROTE: &str = "others wrote meanwhile, and nothing was changed yet";

/// How far a change came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// How many samples were changed.
    pub(crate) samples: u64,
    /// Whether it was ended before there was nothing left to do.
    pub(crate) is_interrupted: bool,
}

/// Samples that match, as they were counted.
pub(crate) struct Matched {
    facets: Facets,
    /// Which ones they are, where a query does not tell as soon as it is asked.
    ids: Option<Ids>,
}

/// Counts the samples that match, asks about them, and has `step` change these and no others. `question` is made of how many
/// they are, in all and by status. Gives what was counted and what was done; `None` where that was not agreed to.
///
/// A file that others wrote while the question waited is counted again, and it is asked again. Where nobody is asked it is counted
/// again while this process alone may write it, so that there is an end to it however often others write. In another storage those
/// are changed that were counted and still match then.
pub(crate) fn change_matching(
    db: &Db,
    query: &Query,
    consent: Consent,
    question: impl Fn(&str, &str) -> String,
    step: impl Fn(&dyn Storage, &Selection) -> Result<u64>,
) -> std::result::Result<Option<(Facets, Changed)>, Failure> {
    let find = |reader: &Reader| -> std::result::Result<Matched, Failure> {
        let matched = Matched::find(reader, query, consent.is_dry_run())?;
        match matched.total() {
            0 => tell_unknown(reader, query)?,
            _ => tell_unknown_ids(reader, query)?,
        }
        Ok(matched)
    };
    change(db, query, consent, find, question, step)
}

/// The same of samples that `find` finds among those that match. A step is given their ids where it is certain that they are as they
/// were found, and else a query that asks once more.
pub(crate) fn change(
    db: &Db,
    query: &Query,
    consent: Consent,
    find: impl Fn(&Reader) -> std::result::Result<Matched, Failure>,
    question: impl Fn(&str, &str) -> String,
    step: impl Fn(&dyn Storage, &Selection) -> Result<u64>,
) -> std::result::Result<Option<(Facets, Changed)>, Failure> {
    let agree = |matched: &Matched| {
        let facets = &matched.facets;
        let (count, parts) = (counted(facets.total(), "sample"), facets_words(facets));
        consent.ask(&format!("{count} ({parts})"), &question(&count, &parts))
    };
    loop {
        let file = Identity::of_database(db)?;
        let reader = db.read()?;
        // While this is the last one of the file they are the same: only one process writes it at a time. Another storage others may
        // write at any moment.
        let commit = match &reader {
            Reader::File(snapshot) => Some(snapshot.commit_number()),
            Reader::Other(_) => None,
        };
        let mut matched = find(&reader)?;
        drop(reader);
        if consent.is_dry_run() || matched.is_empty() {
            return Ok(Some((matched.facets, Changed::default())));
        }
        if !agree(&matched)? {
            return Ok(None);
        }
        let source = db.change()?;
        if let (Some(number), Source::File(database)) = (commit, &source)
            && !(database.snapshot()?.commit_number() == number
                && Identity::of_database(db)? == file)
        {
            words(OTHERS_WROTE);
            if !consent.is_given() {
                database.close()?;
                continue;
            }
            let reader = Reader::File(database.snapshot()?);
            matched = find(&reader)?;
            drop(reader);
            if !matched.is_empty() {
                agree(&matched)?;
            }
        }
        let facets = matched.facets.clone();
        interrupt::watch()?;
        let storage = source.storage();
        let changed = matched.change(query, commit.is_some(), |selection| {
            step(storage, selection)
        });
        let closed = storage.close();
        let changed = changed?;
        closed?;
        return Ok(Some((facets, changed)));
    }
}

impl Matched {
    /// Those of a query.
    fn find(reader: &Reader, query: &Query, is_dry_run: bool) -> Result<Self> {
        match reader {
            // From the indexes, and so are the steps: nothing need be held.
            Reader::File(snapshot) if query.conditions().is_empty() => {
                Ok(Self::without_ids(snapshot.facets(query)?))
            }
            _ if is_dry_run => {
                let _seeking = Seeking::new();
                Ok(Self::without_ids(reader.facets(query)?))
            }
            // Conditions are asked of each record now; a step looks up its ids. Some storages look for all before they give the first.
            _ => {
                let seeking = Seeking::new();
                Self::collect(reader.iterate(query)?, &seeking)
            }
        }
    }

    /// So many, of which the query tells which they are.
    fn without_ids(facets: Facets) -> Self {
        Self { facets, ids: None }
    }

    /// These samples.
    pub(crate) fn of(samples: impl Iterator<Item = Result<Sample>>) -> Result<Self> {
        Self::collect(samples, &Seeking::new())
    }

    fn collect(samples: impl Iterator<Item = Result<Sample>>, seeking: &Seeking) -> Result<Self> {
        let (mut facets, mut ids) = (Facets::new(), Ids::new());
        for (count, sample) in (1..).zip(samples) {
            let sample = sample?;
            facets.add(sample.pipeline(), sample.status(), 1);
            ids.push(sample.id())?;
            seeking.found(count);
        }
        Ok(Self {
            facets,
            ids: Some(ids),
        })
    }

    /// How many there are.
    pub(crate) fn total(&self) -> u64 {
        self.facets.total()
    }

    fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Has `step` change them. Where they are as they were found nothing is asked of them again.
    fn change(
        self,
        query: &Query,
        are_as_found: bool,
        step: impl Fn(&Selection) -> Result<u64>,
    ) -> Result<Changed> {
        let total = self.total();
        match self.ids {
            None => in_steps(total, |samples_max| {
                step(&query.clone().limit(samples_max).into())
            }),
            Some(ids) => in_steps_of(total, ids, |ids| {
                step(&match are_as_found {
                    true => Selection::ids(ids),
                    false => query.clone().without_paging().only_ids(ids).into(),
                })
            }),
        }
    }
}

/// Calls `step` with how many samples it may change until it changes none, `total` are changed or Ctrl-C is pressed.
fn in_steps(total: u64, mut step: impl FnMut(u64) -> Result<u64>) -> Result<Changed> {
    let progress = SampleProgress::new(Some(total));
    let mut changed = Changed::default();
    loop {
        let left = total.saturating_sub(changed.samples);
        if interrupt::is_asked() {
            changed.is_interrupted = left > 0;
            break;
        }
        let count = match left {
            0 => 0,
            left => match step(left.min(STEP_SAMPLES)) {
                Ok(count) => count,
                Err(error) => {
                    progress.finish();
                    let done = counted(changed.samples + done_of(&error), "sample");
                    words(&format!("changed before that: {done}"));
                    return Err(error);
                }
            },
        };
        if count == 0 {
            changed.is_interrupted = interrupt::is_asked() && changed.samples < total;
            break;
        }
        changed.samples += count;
        progress.samples(changed.samples);
    }
    progress.finish();
    Ok(changed)
}

/// How many samples a step changed that failed: none, unless its storage changes a part of what it is given.
fn done_of(error: &Error) -> u64 {
    error.stored_ids().len() as u64
}

/// Calls `step` with some of these ids after the other. Where others were there before, it changes fewer than it is given.
fn in_steps_of(
    total: u64,
    ids: Ids,
    mut step: impl FnMut(Vec<String>) -> Result<u64>,
) -> Result<Changed> {
    let mut ids = ids.read()?;
    in_steps(total, |_| {
        while !interrupt::is_asked() {
            let next = ids.next(STEP_SAMPLES)?;
            if next.is_empty() {
                break;
            }
            match step(next)? {
                0 => {}
                changed => return Ok(changed),
            }
        }
        Ok(0)
    })
}

impl Changed {
    /// The exit code of a change of so many samples, after saying that there is a rest. Where only so many were meant as a limit
    /// says, as many more would be changed by the same again.
    pub(crate) fn code(self, matched: u64, has_limit: bool) -> Code {
        if !self.is_interrupted {
            return Code::Fine;
        }
        if self.samples == 0 {
            words(&format!("interrupted; {NOTHING_CHANGED}"));
            return Code::Interrupted;
        }
        let again = match has_limit {
            true => format!(" with --limit {}", matched.saturating_sub(self.samples)),
            false => String::new(),
        };
        words(&format!(
            "interrupted; what is done stays, run it again{again} for the rest"
        ));
        Code::Interrupted
    }
}
