//! `dlq`: the dead-letter queue, samples that failed in a pipeline. Why they failed is told in groups, and a group can be
//! tried again.

use std::cell;
use std::collections::BTreeSet;
use std::io::Write;

use clap::{Args, Subcommand};
use console::Style;
use indicatif::HumanCount;
use samplestore::{Cursor, FailureGroup, Failures, Query, Sample, Selection, Status, Storage};
use serde_json::json;

use crate::arguments::{Consent, Filters, INSTANTS};
use crate::failure::{Code, Failure, Outcome, words};
use crate::fields::{tell_unknown, tell_unknown_ids};
use crate::listing::Listing;
use crate::opening::{Db, Reader};
use crate::output::{
    Align, Cell, Column, Columns, Format, Output, ReportFormat, SampleWriter, Shrinks, Table,
    counted, csv_record, instant,
};
use crate::progress::SampleProgress;
use crate::steps::{Changed, Matched, change};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db dlq group --since yesterday
  samplestore -d weather.db dlq show 898a119e --limit 5
  samplestore -d weather.db dlq retry 898a119e --dry-run
  samplestore -d weather.db dlq retry --all --pipeline JFK --yes

A group is failures of one stage whose messages differ only in numbers, ids and quoted texts. Without --status all of these \
are about samples in dlq; --status skipped is about those left out on purpose. Other statuses are of samples that did not fail.";

/// What samples are in that did not become what they should.
const FAILED: [Status; 2] = [Status::Dlq, Status::Skipped];
/// How long the names of groups are; one may be cut where no other one begins so.
const NAME_LENGTH: usize = 8;
/// So much room what messages have in common has in a table while there are other columns to leave out.
const PATTERN_WIDTH: usize = 32;

/// Look at samples that failed, in groups by why they did, and try them again
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Dlq {
    #[command(subcommand)]
    verb: DlqVerb,
}

#[derive(Debug, Subcommand)]
enum DlqVerb {
    List(DlqList),
    Group(Group),
    Show(Show),
    Retry(Retry),
}

/// List samples that failed, with their reasons
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore -d weather.db dlq list --newest --limit 20")]
pub(crate) struct DlqList {
    #[command(flatten)]
    filters: Filters,
    /// How to write the samples [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

/// Count failures by stage and message
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore -d weather.db dlq group --since yesterday
  samplestore -d weather.db dlq group -f json | jq '.groups[0]'")]
pub(crate) struct Group {
    #[command(flatten)]
    filters: Filters,
    /// How to write the groups [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

/// Show the samples of a group
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore -d weather.db dlq show 898a119e --limit 5 -f jsonl")]
pub(crate) struct Show {
    /// The group, as dlq group names it, or how only its name begins
    #[arg(value_name = "GROUP")]
    group: String,
    #[command(flatten)]
    filters: Filters,
    /// How to write the samples [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

/// Put the samples of groups back to pending
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore -d weather.db dlq retry 898a119e --dry-run
  samplestore -d weather.db dlq retry --all --since 2h --yes

The reason of a sample stays until a pipeline stores it again.")]
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

impl Dlq {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        match self.verb {
            DlqVerb::List(verb) => verb.run(db),
            DlqVerb::Group(verb) => verb.run(db),
            DlqVerb::Show(verb) => verb.run(db),
            DlqVerb::Retry(verb) => verb.run(db),
        }
    }
}

/// What the filters leave of samples that failed, or of those that were skipped where they name these.
fn failed(filters: &Filters) -> Result<Query, Failure> {
    let statuses = filters.statuses()?;
    let mut others = statuses.iter().filter(|status| !FAILED.contains(status));
    if let Some(other) = others.next() {
        let message = format!("dlq is about samples in dlq and skipped, not {other}");
        return Err(Failure::usage(message).with_hint(format!(
            "samplestore list --status {other} shows those, and mark moves them"
        )));
    }
    Ok(match statuses.is_empty() {
        true => filters.query_in(&[Status::Dlq])?,
        false => filters.query()?,
    })
}

impl DlqList {
    fn run(self, db: &Db) -> Outcome {
        let query = failed(&self.filters)?;
        let reader = db.read()?;
        let listing = || Listing::new(&reader, &query);
        let next = |listing: Listing<'_>| Ok(listing.into_next());
        if write(listing, next, &self.filters, self.format)? == 0 {
            tell_unknown(&reader, &query)?;
        }
        Ok(Code::Fine)
    }
}

/// Writes samples, which are asked for twice where a format needs it, and where to go on behind them. Says how many there were.
fn write<I: Iterator<Item = samplestore::Result<Sample>>>(
    samples: impl Fn() -> samplestore::Result<I>,
    next: impl FnOnce(I) -> samplestore::Result<Option<Cursor>>,
    filters: &Filters,
    format: Option<Format>,
) -> Result<u64, Failure> {
    let mut output = Output::new();
    let format = output.format(format);
    let columns = || Columns::of(samples()?);
    let mut writer = SampleWriter::begin(&mut output, format, columns)?;
    let mut count = 0;
    let mut listing = samples()?;
    for sample in &mut listing {
        writer.write(&mut output, &sample?)?;
        count += 1;
    }
    let next = next(listing)?;
    writer.finish(&mut output, next.as_ref())?;
    output.finish()?;
    if let Some(next) = next {
        words(&filters.next_page(&next)?);
    }
    Ok(count)
}

/// The group that a sample is of, if it has a reason.
fn group_of(sample: &Sample) -> Option<String> {
    sample.reason().map(FailureGroup::group_of)
}

/// Whether a sample is of a group.
fn is_of(sample: &Sample, is_wanted: impl Fn(&str) -> bool) -> bool {
    group_of(sample).is_some_and(|group| is_wanted(&group))
}

/// Whether it is how the name of a group begins, and not the whole name.
fn is_cut(name: &str) -> bool {
    name.len() < NAME_LENGTH
}

impl Group {
    fn run(self, db: &Db) -> Outcome {
        let query = failed(&self.filters)?;
        let reader = db.read()?;
        let failures = count(&reader, &query)?;
        let (without_reason, dropped) = (failures.without_reason(), failures.dropped());
        let groups = failures.into_groups();
        let mut output = Output::new();
        match output.format(self.format) {
            Format::Table if groups.is_empty() => {}
            Format::Table => table(&mut output, &groups)?,
            Format::Json => {
                let report = json!({ "groups": groups, "without_reason": without_reason });
                output.json(ReportFormat::Json, &report)?;
            }
            Format::Jsonl => {
                for group in &groups {
                    output.json(ReportFormat::Jsonl, &json!(group))?;
                }
            }
            Format::Csv => {
                writeln!(output, "group,count,stage,pattern,first,last,example")?;
                for group in &groups {
                    csv_record(&mut output, row(group).into_iter())?;
                }
            }
        }
        output.finish()?;
        if groups.is_empty() && without_reason == 0 {
            words("there are no failures");
            tell_unknown(&reader, &query)?;
        }
        if without_reason > 0 {
            words(&format!(
                "{} more have no reason",
                HumanCount(without_reason)
            ));
        }
        if dropped > 0 {
            words(&format!("{} more are of other groups", HumanCount(dropped)));
        }
        Ok(Code::Fine)
    }
}

/// Groups what a query gives.
fn count(reader: &Reader, query: &Query) -> Result<Failures, Failure> {
    let progress = SampleProgress::new(reader.total(query)?);
    let mut failures = Failures::new();
    for (count, sample) in (1..).zip(reader.iterate(query)?) {
        failures.add(&sample?);
        progress.samples(count);
    }
    progress.finish();
    Ok(failures)
}

fn row(group: &FailureGroup) -> Vec<String> {
    vec![
        group.group.clone(),
        group.count.to_string(),
        group.stage.clone(),
        group.pattern.clone(),
        instant(group.first),
        instant(group.last),
        group.example.clone(),
    ]
}

fn table(output: &mut Output, groups: &[FailureGroup]) -> Result<(), Failure> {
    let mut table = Table::new(vec![
        Column::new("group", Align::Left),
        Column::new("count", Align::Right),
        Column::new("stage", Align::Left).shrinking(Shrinks::Last),
        Column::new("pattern", Align::Left)
            .shrinking(Shrinks::Last)
            .keeping(PATTERN_WIDTH),
        Column::of_instants("first", Shrinks::First),
        Column::of_instants("last", Shrinks::First),
        Column::new("example", Align::Left).shrinking(Shrinks::First),
    ]);
    for group in groups {
        let row = row(group);
        let mut cells: Vec<_> = row.iter().map(Cell::new).collect();
        cells[1] = Cell::styled(&row[1], Style::new().red());
        for instant in [4, 5] {
            cells[instant] = Cell::instant(&row[instant]);
        }
        table.row(output, cells)?;
    }
    table.finish(output)?;
    Ok(())
}

impl Show {
    fn run(self, db: &Db) -> Outcome {
        let (query, limit) = of_groups(&self.filters)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let reader = db.read()?;
        let group = match is_cut(&self.group) {
            true => named(&count(&reader, &query)?.into_groups(), &self.group)?
                .group
                .clone(),
            false => self.group.clone(),
        };
        // Samples that were looked at, of this group and of others.
        let passed = cell::Cell::new(0);
        let of_group = || {
            passed.set(0);
            let samples = reader.iterate(&query)?;
            let (wanted, passed) = (group.clone(), &passed);
            let is_shown = move |sample: &samplestore::Result<Sample>| {
                passed.set(passed.get() + 1);
                match sample {
                    Ok(sample) => is_of(sample, |group| group == wanted),
                    Err(_) => true,
                }
            };
            Ok(samples.filter(is_shown).take(limit))
        };
        let next = |_| {
            if limit == usize::MAX {
                return Ok(None);
            }
            let mut passed = Listing::new(&reader, &query.clone().limit(passed.get()))?;
            passed.by_ref().try_for_each(|sample| sample.map(drop))?;
            Ok(passed.into_next())
        };
        let shown = write(of_group, next, &self.filters, self.format)?;
        // Behind the end of a page there may be others alone.
        if shown > 0 || limit == 0 || query.start().is_some() {
            return Ok(Code::Fine);
        }
        Err(no_group(&self.group))
    }
}

/// What the filters leave of samples that failed, and how many of them are meant: a limit is one of samples of the groups.
fn of_groups(filters: &Filters) -> Result<(Query, u64), Failure> {
    let query = failed(filters)?;
    let limit = query.limit_max().unwrap_or(u64::MAX);
    Ok((query.limit(u64::MAX), limit))
}

/// The group of this name, or the only one whose name begins so.
fn named<'a>(groups: &'a [FailureGroup], name: &str) -> Result<&'a FailureGroup, Failure> {
    let begins = |group: &&FailureGroup| !name.is_empty() && group.group.starts_with(name);
    let found: Vec<_> = groups.iter().filter(begins).collect();
    match found[..] {
        [] => Err(no_group(name)),
        [group] => Ok(group),
        _ => {
            let names: Vec<_> = found.iter().map(|group| group.group.as_str()).collect();
            let message = format!("{name:?} is how several groups begin");
            Err(Failure::usage(message).with_hint(format!("there are {}", names.join(", "))))
        }
    }
}

fn no_group(group: &str) -> Failure {
    Failure::new(Code::Error, format!("no failure is of the group {group:?}"))
        .with_hint("samplestore dlq group lists them")
}

impl Retry {
    fn run(self, db: &Db) -> Outcome {
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
        output.finish()?;
        Ok(changed.code())
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
