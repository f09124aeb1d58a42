//! How a run of the suite went: [`Report`], [`Entry`] and [`Outcome`].

use std::collections::BTreeSet;
use std::fmt;

/// How one case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The storage keeps the rule.
    Passed,
    /// It does not; how that was seen.
    Failed(String),
    /// The case was not run, since the backend does not promise what it is about; what that is.
    Skipped(String),
}

/// One case of a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The rule of the contract, such as `R3`.
    pub rule: &'static str,
    /// What holds when the case passes.
    pub title: &'static str,
    /// How it went.
    pub outcome: Outcome,
}

impl Entry {
    pub(super) fn new(rule: &'static str, title: &'static str, outcome: Outcome) -> Self {
        Self {
            rule,
            title,
            outcome,
        }
    }

    /// Whether the case failed.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }

    /// Whether the case was skipped.
    #[must_use]
    pub fn is_skipped(&self) -> bool {
        matches!(self.outcome, Outcome::Skipped(_))
    }
}

/// How each case of a run went. `Display` lists them all, one line or two each.
///
/// ```
/// use samplestore::{MemoryStorage, conformance::Suite};
///
/// let report = Suite::new(|| Ok(MemoryStorage::new())).only(["R1", "W7"]).run();
/// assert_eq!(report.passed().count(), 1);
/// assert!(report.to_string().contains("memory is not durable"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a report may hold failures"]
pub struct Report {
    backend: String,
    entries: Vec<Entry>,
}

impl Report {
    pub(super) fn new(backend: &str, entries: Vec<Entry>) -> Self {
        Self {
            backend: backend.to_owned(),
            entries,
        }
    }

    /// The report on a storage that could not be opened.
    pub(super) fn not_opened(reason: String) -> Self {
        let title = "a new storage can be opened and closed";
        let entry = Entry::new("L1", title, Outcome::Failed(reason));
        Self::new("(not opened)", vec![entry])
    }

    /// The name of the backend.
    #[must_use]
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Every case, in the order in which they were run.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The cases that passed.
    pub fn passed(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.outcome == Outcome::Passed)
    }

    /// The cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_failed())
    }

    /// The cases that were skipped.
    pub fn skipped(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_skipped())
    }

    /// The rules of which a case failed.
    #[must_use]
    pub fn failed_rules(&self) -> BTreeSet<&'static str> {
        self.failed().map(|entry| entry.rule).collect()
    }

    /// Ends a test: does nothing when no case failed.
    ///
    /// # Panics
    /// When a case failed, with the whole report as its text.
    pub fn assert_passed(&self) {
        assert!(self.failed().next().is_none(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} passed, {} failed, {} skipped",
            self.backend,
            self.passed().count(),
            self.failed().count(),
            self.skipped().count()
        )?;
        for entry in &self.entries {
            let (word, said) = match &entry.outcome {
                Outcome::Passed => ("passed", None),
                Outcome::Failed(how) => ("FAILED", Some(how)),
                Outcome::Skipped(why) => ("skipped", Some(why)),
            };
            write!(f, "\n  {word:<7}  {:<3} {}", entry.rule, entry.title)?;
            if let Some(said) = said {
                write!(f, "\n               {said}")?;
            }
        }
        Ok(())
    }
}
