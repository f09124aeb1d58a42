//! What a case is made of: its rule, what it needs of a backend, the storage it runs on, and how it
//! fails.
//!
//! Cases are functions that return a [`Verdict`]. They say what they expect with `ensure!`,
//! `ensure_eq!` and [`refused`], and pass every other error on with `?`.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Capabilities, Entry, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::sample::Sample;
use crate::storage::Storage;

/// Makes a new storage in a new place.
pub(super) type Subject = Box<dyn Fn() -> Result<Opened>>;

/// How a case went: `Ok` when the storage keeps the rule.
pub(super) type Verdict<T = ()> = Result<T, Failure>;

type Boxed = Box<dyn Storage>;

/// Larger samples than this are not made to test a limit.
const TESTED_BYTES_MAX: usize = 64 << 20;

/// One test case.
pub(super) struct Case {
    /// The rule of the contract.
    pub(super) rule: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: fn(&Trial<'_>) -> Verdict,
}

/// A case of this rule; `title` says what holds when it passes.
pub(super) const fn case(
    rule: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: fn(&Trial<'_>) -> Verdict,
) -> Case {
    Case {
        rule,
        title,
        needs,
        run,
    }
}

/// What a case needs of a backend.
#[derive(Clone, Copy)]
pub(super) enum Need {
    Retrieve,
    Query,
    SetStatus,
    Delete,
    /// Iterators hold a bounded number of samples.
    Streaming,
    /// Batches are atomic.
    Atomic,
    /// The storage is durable, and the suite was told how to open it again.
    Reopen,
    /// The largest sample is small enough to be made.
    Limit,
}

impl Need {
    /// Why a backend does not have it; `None` when it does.
    fn missing(self, capabilities: &Capabilities, reopens: bool) -> Option<String> {
        let name = capabilities.name;
        let without = |has: bool, what: &str| (!has).then(|| format!("{name} {what}"));
        match self {
            Self::Retrieve => without(capabilities.retrieve, "does not offer `retrieve`"),
            Self::Query => without(capabilities.query, "does not offer queries"),
            Self::SetStatus => without(capabilities.set_status, "does not offer `set_status`"),
            Self::Delete => without(capabilities.delete, "does not offer `delete`"),
            Self::Streaming => without(capabilities.streaming, "does not stream"),
            Self::Atomic => without(
                capabilities.atomic_batches,
                "does not promise atomic batches",
            ),
            Self::Reopen => without(capabilities.durable, "is not durable").or_else(|| {
                without(
                    reopens,
                    "was not opened by `Suite::reopening`, so it cannot be opened again",
                )
            }),
            Self::Limit => without(
                capabilities.sample_bytes_max <= TESTED_BYTES_MAX,
                "takes samples larger than the 64 MiB that are tried",
            ),
        }
    }
}

impl Case {
    /// Runs the case, if the backend has what it needs. A panic is a failure.
    pub(super) fn try_on(&self, trial: &Trial<'_>, reopens: bool) -> Entry {
        let missing = self
            .needs
            .iter()
            .find_map(|need| need.missing(&trial.capabilities, reopens));
        let outcome = match missing {
            Some(reason) => Outcome::Skipped(reason),
            None => match catch_unwind(AssertUnwindSafe(|| (self.run)(trial))) {
                Ok(Ok(())) => Outcome::Passed,
                Ok(Err(failure)) => Outcome::Failed(failure.to_string()),
                Err(panic) => Outcome::Failed(panic_text(&*panic)),
            },
        };
        Entry::new(self.rule, self.title, outcome)
    }
}

/// What a caught panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", said.as_deref().unwrap_or("without words"))
}

/// What a case has to work with.
pub(super) struct Trial<'a> {
    subject: &'a Subject,
    pub(super) capabilities: Capabilities,
    pub(super) seed: u64,
    /// How many random questions a rule is asked.
    pub(super) questions: usize,
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        subject: &'a Subject,
        capabilities: Capabilities,
        seed: u64,
        questions: usize,
    ) -> Self {
        Self {
            subject,
            capabilities,
            seed,
            questions,
        }
    }

    /// A storage that is new and empty.
    pub(super) fn open(&self) -> Verdict<Opened> {
        Ok((self.subject)()?)
    }

    /// A new storage that holds these samples.
    pub(super) fn open_with(&self, samples: &[Sample]) -> Verdict<Opened> {
        let storage = self.open()?;
        storage.store(samples)?;
        Ok(storage)
    }
}

/// An open storage and, if it lasts, the way back to it.
pub(super) struct Opened {
    // Fields are dropped in this order: first the handle, then the place it is in.
    storage: Boxed,
    again: Option<Box<dyn Fn() -> Result<Boxed>>>,
}

impl Opened {
    pub(super) fn new(storage: Boxed, again: Option<Box<dyn Fn() -> Result<Boxed>>>) -> Self {
        Self { storage, again }
    }

    /// Whether it can be opened again.
    pub(super) fn reopens(&self) -> bool {
        self.again.is_some()
    }

    /// Drops the handle, closed or not, and opens the same storage again.
    pub(super) fn drop_and_reopen(self) -> Verdict<Self> {
        drop(self.storage);
        let again = self
            .again
            .ok_or_else(|| Failure::new("the suite cannot open the storage again"))?;
        Ok(Self::new(again()?, Some(again)))
    }
}

impl Deref for Opened {
    type Target = dyn Storage;

    fn deref(&self) -> &Self::Target {
        &*self.storage
    }
}

/// Why a storage does not keep a rule.
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Says where it came up.
    pub(super) fn within(self, place: impl fmt::Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Failure {
    /// An error where none was expected, with all its causes.
    fn from(error: Error) -> Self {
        let mut text = format!("unexpected error: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self(text)
    }
}

/// Returns a failure with this text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::conformance::case::Failure::new(format!($($text)+)));
        }
    };
}

/// Returns a failure that shows both values unless they are equal.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($text:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => {
                let what = format!($($text)+);
                ensure!(*found == *expected, "{what}: expected {expected:?}, found {found:?}");
            }
        }
    };
}

pub(super) use {ensure, ensure_eq};

/// The error of a call that must fail with this kind, and must not ask to be tried again.
pub(super) fn refused<T>(result: Result<T>, kind: ErrorKind, what: &str) -> Verdict<Error> {
    let Err(error) = result else {
        return Err(Failure::new(format!(
            "{what}: expected the error {kind:?}, found success"
        )));
    };
    ensure_eq!(error.kind(), kind, "{what}: kind of the error \"{error}\"");
    ensure!(
        !error.is_retryable(),
        "{what}: \"{error}\" says that trying again may help"
    );
    Ok(error)
}

/// Compares samples in order, and shows no more than is needed to see what is wrong.
pub(super) fn same_samples(found: &[Sample], expected: &[Sample], what: &str) -> Verdict {
    fn ids(samples: &[Sample]) -> Vec<&str> {
        samples.iter().map(Sample::id).collect()
    }
    if found.len() != expected.len() || ids(found) != ids(expected) {
        let at = found
            .iter()
            .zip(expected)
            .take_while(|(found, expected)| found.id() == expected.id())
            .count();
        let next = |samples: &[Sample]| {
            let rest: Vec<_> = samples.iter().skip(at).take(3).map(Sample::id).collect();
            format!("{} samples, from number {at} on {rest:?}", samples.len())
        };
        let (expected, found) = (next(expected), next(found));
        return Err(Failure::new(format!(
            "{what}: expected {expected}, found {found}"
        )));
    }
    for (found, expected) in found.iter().zip(expected) {
        ensure_eq!(found, expected, "{what}: the sample {:?}", expected.id());
    }
    Ok(())
}
