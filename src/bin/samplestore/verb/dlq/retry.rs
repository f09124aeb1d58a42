//! `dlq retry`: samples of groups of failures, put back to pending.

use std::cell;
use std::collections::BTreeSet;
use std::io::Write;

use clap::Args;
use samplestore::{Query, Sample, Selection, Status, Storage};
use serde_json::json;

use super::{count, group_of, is_cut, is_of, named, no_group, of_groups};
use crate::arguments::{Consent, Filters};
use crate::failure::{Code, Failure, Outcome, answered};
use crate::fields::{tell_unknown, tell_unknown_ids};
use crate::opening::{Db, Reader};
use crate::output::{Output, ReportFormat, counted};
use crate::steps::{Changed, Matched, change};

/// Put the samples of groups back to pending
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore -d weather.db dlq retry 898a119e --dry-run
  samplestore -d weather.db dlq retry --all --since 2h --yes

The reason of a sample stays until a pipeline stores it again. A group that no failure is of any more, as when all of it was put back, is an error.")]
pub(crate) struct Retry {
    /// Groups, as dlq group names them, or how only their names begin
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
    /// All groups
    #[arg(long, conflicts_with = "groups")]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    consent: Consent,
    /// How to write what was done [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Retry {
    pub(super) fn run(self, db: &Db) -> Outcome {
        if self.groups.is_empty() && !self.all {
            return Err(Failure::usage("no group is named")
                .with_hint("samplestore dlq group lists them, and --all means every one of them"));
        }
        let (query, limit) = of_groups(&self.filters)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.consent.check("dlq retry changes samples")?;
        let wanted = cell::RefCell::new(Wanted::Any);
        let find = |reader: &Reader| -> Result<Matched, Failure> {
            *wanted.borrow_mut() = self.wanted(reader, &query)?;
            let wanted = wanted.borrow();
            let met = cell::RefCell::new(BTreeSet::new());
            let samples = reader.iterate(&query)?;
            let samples = wanted.of(samples).inspect(|sample| {
                if let (Wanted::Groups(_), Ok(sample)) = (&*wanted, sample) {
                    met.borrow_mut().extend(group_of(sample));
                }
            });
            let matched = Matched::of(samples.take(limit))?;
            match matched.total() {
                0 => tell_unknown(reader, &query)?,
                _ => tell_unknown_ids(reader, &query)?,
            }
            // Behind a limit nobody looks.
            match wanted.other_than(&met.borrow()) {
                Some(name) if matched.total() < limit as u64 => Err(no_group(name)),
                _ => Ok(matched),
            }
        };
        let question = |count: &str, _: &str| format!("Put {count} back to pending?");
        let step = |storage: &dyn Storage, selection: &Selection| -> samplestore::Result<u64> {
            let selection = match selection {
                Selection::Ids(_) => selection.clone(),
                // One may have failed anew by now, and for another reason.
                Selection::Query(found) => {
                    let samples = storage.iterate(found)?;
                    let wanted = wanted.borrow();
                    let ids = wanted.of(samples).map(|sample| Ok(sample?.id().to_owned()));
                    let ids: Vec<String> = ids.collect::<samplestore::Result<_>>()?;
                    found.clone().only_ids(ids).into()
                }
            };
            storage.set_status(&selection, None, Status::Pending)
        };
        let done = change(db, &query, self.consent, find, question, step)?;
        match done {
            Some((matched, changed)) => self.report(matched.total(), changed),
            None => Ok(Code::Fine),
        }
    }

    /// The groups that are named. Only for names that are cut it is asked which there are.
    fn wanted(&self, reader: &Reader, query: &Query) -> Result<Wanted, Failure> {
        if self.all {
            return Ok(Wanted::Any);
        }
        let (cut, whole): (Vec<_>, Vec<_>) = self.groups.iter().partition(|name| is_cut(name));
        let mut wanted: BTreeSet<String> = whole.into_iter().cloned().collect();
        if !cut.is_empty() {
            let groups = count(reader, query)?.into_groups();
            if groups.is_empty() {
                tell_unknown(reader, query)?;
            }
            for name in cut {
                wanted.insert(named(&groups, name)?.group.clone());
            }
        }
        Ok(Wanted::Groups(wanted))
    }

    fn report(&self, matched: u64, changed: Changed) -> Outcome {
        answered(self.write(matched, changed), || {
            Ok(changed.code(matched, self.filters.has("limit")))
        })
    }

    fn write(&self, matched: u64, changed: Changed) -> Result<(), Failure> {
        let mut output = Output::new();
        let is_dry_run = self.consent.is_dry_run();
        match output.report_format(self.format) {
            ReportFormat::Table if is_dry_run => {
                let count = counted(matched, "sample");
                writeln!(output, "would put {count} back to pending")?;
            }
            ReportFormat::Table => {
                let count = counted(changed.samples, "sample");
                writeln!(output, "put {count} back to pending")?;
            }
            format => {
                let report = json!({
                    "dry_run": is_dry_run,
                    "matched": matched,
                    "retried": changed.samples,
                });
                output.json(format, &report)?;
            }
        }
        Ok(output.finish()?)
    }
}

/// Which failures are tried again.
enum Wanted {
    Any,
    Groups(BTreeSet<String>),
}

impl Wanted {
    /// One of the groups that is not among these.
    fn other_than(&self, met: &BTreeSet<String>) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::Groups(groups) => {
                let other = groups.iter().find(|name| !met.contains(*name));
                other.map(String::as_str)
            }
        }
    }

    /// Those of these samples.
    fn of(
        &self,
        samples: impl Iterator<Item = samplestore::Result<Sample>>,
    ) -> impl Iterator<Item = samplestore::Result<Sample>> {
        samples.filter(move |sample| match (self, sample) {
            (Self::Groups(groups), Ok(sample)) => is_of(sample, |group| groups.contains(group)),
            _ => true,
        })
    }
}
