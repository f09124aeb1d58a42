//! The contract as test cases, for every backend: ours and yours (feature `conformance`).
//!
//! Each case is named by the rule that it tests, as the chapter [`crate::docs::contract`] numbers
//! them. A [`Suite`] is told how to open a storage that is new and empty; each case gets one of its
//! own. What a backend's [`Capabilities`] leave out is skipped and reported so, never passed over in
//! silence, and a case that fails or panics does not stop the others.
//!
//! ```
//! use samplestore::{MemoryStorage, conformance::Suite};
//!
//! Suite::new(|| Ok(MemoryStorage::new())).run().assert_passed();
//! ```
//!
//! Much of the contract is about what two storages should agree on, so many cases do the same to the
//! storage under test and to a [`MemoryStorage`](crate::MemoryStorage) and compare all that can be
//! read from the two. Random choices come from a fixed seed: a run can be repeated exactly.
//!
//! Three things cannot be seen through the trait, and are each backend's own to test: that a batch
//! survives `kill -9` and the loss of power (W7 is tested by leaving a storage and opening it again),
//! how much memory an iterator holds (R9 is tested by reading on, by stopping half-way, and of those that say that they stream
//! by mixed sizes), and that opening creates nothing when it is told not to (L1). Nothing here measures time; a writer that waits
//! for a reader for a whole minute is taken to wait for ever.
//!
//! The themes, one file each: `samples` (M), `writing` and `selecting` (W), `reading` (R1–R5),
//! `counting` (R8–R10), `paging` (R6), `random` (W2, R2–R8 against `MemoryStorage`), `threads` (W1,
//! W8, R7, L4) and `lifecycle` (W7, L).

mod case;
mod counting;
mod lifecycle;
mod make;
mod paging;
mod random;
mod reading;
mod report;
mod samples;
mod selecting;
mod threads;
mod writing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use case::{Case, Opened, Subject, Trial};
pub use report::{Entry, Outcome, Report};

use crate::error::Result;
use crate::storage::{Capabilities, Storage};

/// Every case, theme by theme.
const THEMES: &[&[Case]] = &[
    samples::CASES,
    writing::CASES,
    selecting::CASES,
    reading::CASES,
    counting::CASES,
    paging::CASES,
    random::CASES,
    threads::CASES,
    lifecycle::CASES,
];

/// The cases, and a way to open the storage they are for.
///
/// For a storage that is gone when it is closed, [`Suite::new`] is all there is to say. For one that
/// lasts, [`Suite::reopening`] keeps the place apart from the opening, so that cases can leave a
/// storage and come back to it:
///
/// ```
/// use std::path::Path;
/// use samplestore::{Result, Storage, conformance::Suite};
///
/// /// `open` opens a file, or creates it.
/// fn keeps_the_contract<S: Storage + 'static>(open: fn(&Path) -> Result<S>) {
///     let suite = Suite::reopening(
///         || tempfile::tempdir().expect("a folder for one case"),
///         move |folder| open(&folder.path().join("samples")),
///     );
///     suite.run().assert_passed();
/// }
/// ```
#[must_use = "a suite does nothing until it is run"]
pub struct Suite {
    subject: Subject,
    rules: Option<Vec<String>>,
    seed: u64,
    questions: usize,
}

/// Random questions of a rule, unless said.
const QUESTIONS: usize = 120;

impl Suite {
    /// A suite for a storage that `open` opens, each time a new and empty one.
    pub fn new<S: Storage + 'static>(open: impl Fn() -> Result<S> + 'static) -> Self {
        let open = move || Ok(Box::new(open()?) as Box<dyn Storage>);
        Self::of(Box::new(move || Ok(Opened::new(open()?, None))))
    }

    /// A suite for a storage that outlives its handle: `place` makes a new place for one (a temporary
    /// folder, a schema in a database server), and `open` opens what is there or creates it. A place is
    /// dropped when its case is done and its storage is closed.
    pub fn reopening<P: 'static, S: Storage + 'static>(
        place: impl Fn() -> P + 'static,
        open: impl Fn(&P) -> Result<S> + 'static,
    ) -> Self {
        let open = Rc::new(open);
        Self::of(Box::new(move || {
            let (open, place) = (Rc::clone(&open), place());
            let again = move || Ok(Box::new(open(&place)?) as Box<dyn Storage>);
            Ok(Opened::new(again()?, Some(Box::new(again))))
        }))
    }

    fn of(subject: Subject) -> Self {
        Self {
            subject,
            rules: None,
            seed: 0x5a3b_1e57_0a1d_2013,
            questions: QUESTIONS,
        }
    }

    /// Only the cases of these rules, such as `"R6"`.
    ///
    /// # Panics
    /// When there is no case of one of them.
    pub fn only<R: Into<String>>(mut self, rules: impl IntoIterator<Item = R>) -> Self {
        let rules: Vec<String> = rules.into_iter().map(Into::into).collect();
        for rule in &rules {
            let known = cases().any(|case| case.rule == rule);
            assert!(known, "there is no case of a rule {rule:?}");
        }
        self.rules = Some(rules);
        self
    }

    /// Other random choices than the usual ones, for a long search.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many random questions each of the rules that are tried at random is asked: 120 unless said, at least one, and fewer
    /// where a question is several (all pages of a walk) or follows a change. More for a long search; fewer for a
    /// storage behind a slow server, of which each question reads all samples.
    pub fn questions(mut self, questions: usize) -> Self {
        self.questions = questions.max(1);
        self
    }

    /// Runs the cases one after the other and says how each went.
    ///
    /// A storage that cannot be opened at all is a failure of rule L1, and no case is run.
    pub fn run(&self) -> Report {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let storage = (self.subject)()?;
            let capabilities = storage.capabilities();
            storage.close().map(|()| (capabilities, storage.reopens()))
        }));
        let (capabilities, reopens) = match opened {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Report::not_opened(case::Failure::from(error).to_string()),
            Err(panic) => return Report::not_opened(case::panic_text(&*panic)),
        };
        let trial = Trial::new(&self.subject, capabilities, self.seed, self.questions);
        let mut cases: Vec<_> = cases().filter(|case| self.asks_for(case.rule)).collect();
        cases.sort_by_key(|case| place_in_contract(case.rule));
        let entries = cases.iter().map(|case| case.try_on(&trial, reopens));
        Report::new(capabilities.name, entries.collect())
    }

    fn asks_for(&self, rule: &str) -> bool {
        let rules = self.rules.as_ref();
        rules.is_none_or(|rules| rules.iter().any(|asked| asked == rule))
    }
}

fn cases() -> impl Iterator<Item = &'static Case> {
    THEMES.iter().flat_map(|cases| cases.iter())
}

/// Sorts rules as the contract has them: M, W, R, L, and each by its numbers.
fn place_in_contract(rule: &str) -> (Option<usize>, usize, &str) {
    let theme = rule.chars().next().and_then(|theme| "MWRL".find(theme));
    (theme, rule.len(), rule)
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite")
            .field("rules", &self.rules)
            .field("seed", &self.seed)
            .field("questions", &self.questions)
            .finish_non_exhaustive()
    }
}
