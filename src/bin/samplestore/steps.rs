//! Changes of many samples, some thousands at a time, and of none but those that were counted and asked about.
//!
//! Each step is a transaction of its own: others write in between, memory is bounded, and what is done stays done when the
//! rest is not.

use samplestore::{Facets, Query, Result, Selection, Storage};

use crate::arguments::Consent;
use crate::failure::{Code, Failure, words};
use crate::fields::{tell_unknown, tell_unknown_ids};
use crate::interrupt;
use crate::opening::{Db, Reader, Source};
use crate::output::{counted, facets_words};
use crate::progress::SampleProgress;

/// How many samples one step changes at most.
pub(crate) const STEP_SAMPLES: u64 = 10_000;

/// What is said where the question must be asked again.
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
struct Matched {
    facets: Facets,
    which: Which,
}

/// By what it is known which samples were counted.
enum Which {
    /// Those of the query, while this is the last commit of the file: only one process writes it at a time.
    OfCommit(u64),
    /// Those of these ids, in a storage that others may write at any moment.
    Ids(Vec<String>),
}

/// Counts the samples that match, asks about them, and has `step` change these and no others. `question` is made of how many
/// they are, in all and by status. Gives what was counted and what was done; `None` where that was not agreed to.
///
/// A file that others wrote while the question waited is counted again, and it is asked again. In another storage those are
/// changed that were counted and still match then.
pub(crate) fn change_matching(
    db: &Db,
    query: &Query,
    consent: Consent,
    question: impl Fn(&str, &str) -> String,
    step: impl Fn(&dyn Storage, &Selection) -> Result<u64>,
) -> std::result::Result<Option<(Facets, Changed)>, Failure> {
    loop {
        let reader = db.read()?;
        let matched = Matched::count(&reader, query, consent.is_dry_run())?;
        let total = matched.facets.total();
        match total {
            0 => tell_unknown(&reader, query)?,
            _ => tell_unknown_ids(&reader, query)?,
        }
        drop(reader);
        if consent.is_dry_run() || total == 0 {
            return Ok(Some((matched.facets, Changed::default())));
        }
        let (count, parts) = (counted(total, "sample"), facets_words(&matched.facets));
        if !consent.ask(&format!("{count} ({parts})"), &question(&count, &parts))? {
            return Ok(None);
        }
        let source = db.change()?;
        if !matched.is_unchanged(&source)? {
            source.storage().close()?;
            words(OTHERS_WROTE);
            continue;
        }
        interrupt::watch()?;
        let storage = source.storage();
        let filters = query.clone().without_paging();
        let changed = match &matched.which {
            Which::OfCommit(_) => in_steps(total, |samples_max| {
                step(storage, &query.clone().limit(samples_max).into())
            }),
            Which::Ids(ids) => in_steps_of(ids, |ids| {
                step(storage, &filters.clone().only_ids(ids).into())
            }),
        };
        let closed = storage.close();
        let changed = changed?;
        closed?;
        return Ok(Some((matched.facets, changed)));
    }
}

impl Matched {
    fn count(reader: &Reader, query: &Query, is_dry_run: bool) -> Result<Self> {
        let (facets, which) = match reader {
            Reader::File(snapshot) => (
                snapshot.facets(query)?,
                Which::OfCommit(snapshot.commit_number()),
            ),
            Reader::Other(storage) if is_dry_run => {
                (storage.facets(query)?, Which::Ids(Vec::new()))
            }
            Reader::Other(storage) => {
                let (mut facets, mut ids) = (Facets::new(), Vec::new());
                for sample in storage.iterate(query)? {
                    let sample = sample?;
                    facets.add(sample.pipeline(), sample.status(), 1);
                    ids.push(sample.id().to_owned());
                }
                (facets, Which::Ids(ids))
            }
        };
        Ok(Self { facets, which })
    }

    fn is_unchanged(&self, source: &Source) -> Result<bool> {
        match (&self.which, source) {
            (Which::OfCommit(number), Source::File(database)) => {
                Ok(database.snapshot()?.commit_number() == *number)
            }
            _ => Ok(true),
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
                    let done = counted(changed.samples, "sample");
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

/// Calls `step` with some of these ids after the other. Where others were there before, it changes fewer than it is given.
pub(crate) fn in_steps_of(
    ids: &[String],
    mut step: impl FnMut(&[String]) -> Result<u64>,
) -> Result<Changed> {
    let mut left = ids.chunks(STEP_SAMPLES as usize);
    in_steps(ids.len() as u64, |_| {
        while let Some(ids) = left.next().filter(|_| !interrupt::is_asked()) {
            match step(ids)? {
                0 => {}
                changed => return Ok(changed),
            }
        }
        Ok(0)
    })
}

impl Changed {
    /// The exit code, after saying that there is a rest.
    pub(crate) fn code(self) -> Code {
        if !self.is_interrupted {
            return Code::Fine;
        }
        words("interrupted; what is done stays, run it again for the rest");
        Code::Interrupted
    }
}
