//! `dlq`: the dead-letter queue, samples that failed in a pipeline. Why they failed is told in groups, and a group can be
//! tried again (`retry`).

mod retry;

use std::cell;
use std::io::Write;

use clap::{Args, Subcommand};
use console::Style;
use indicatif::HumanCount;
use samplestore::{Cursor, FailureGroup, Failures, Query, Sample, Status};
use serde_json::json;

use crate::arguments::{Filters, INSTANTS};
use crate::failure::{Code, Failure, Outcome, answered, words};
use crate::fields::tell_unknown;
use crate::listing::Listing;
use crate::opening::{Db, Reader};
use crate::output::{
    Align, Cell, Column, Columns, Format, Output, ReportFormat, SampleWriter, Shrinks, Table,
    csv_record, instant,
};
use crate::progress::{Busy, SampleProgress};
use retry::Retry;

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

impl Dlq {
    /// Whether it changes samples.
    pub(crate) fn writes(&self) -> bool {
        matches!(self.verb, DlqVerb::Retry(_))
    }

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
        let busy = reader.busy(&query);
        let mut count = 0;
        write(listing, next, &self.filters, self.format, &mut count)?;
        drop(busy);
        if count == 0 {
            tell_unknown(&reader, &query)?;
        }
        Ok(Code::Fine)
    }
}

/// Writes samples, which are asked for twice where a format needs it, and where to go on behind them. Counts how many there were.
fn write<I: Iterator<Item = samplestore::Result<Sample>>>(
    samples: impl Fn() -> samplestore::Result<I>,
    next: impl FnOnce(I) -> samplestore::Result<Option<Cursor>>,
    filters: &Filters,
    format: Option<Format>,
    count: &mut u64,
) -> Result<(), Failure> {
    let mut output = Output::new();
    let format = output.format(format);
    let columns = || Columns::of(samples()?);
    let mut writer = SampleWriter::begin(&mut output, format, columns)?;
    let mut listing = samples()?;
    for sample in &mut listing {
        *count += 1;
        writer.write(&mut output, &sample?)?;
    }
    let next = next(listing)?;
    writer.finish(&mut output, next.as_ref())?;
    output.finish()?;
    if let Some(next) = next {
        words(&filters.next_page(&next)?);
    }
    Ok(())
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
            true => {
                let groups = count(&reader, &query)?.into_groups();
                if groups.is_empty() {
                    tell_unknown(&reader, &query)?;
                }
                named(&groups, &self.group)?.group.clone()
            }
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
        let busy = Busy::new("reading samples");
        let mut shown = 0;
        let written = write(of_group, next, &self.filters, self.format, &mut shown);
        drop(busy);
        answered(written, || {
            // Behind the end of a page there may be others alone.
            if shown > 0 || limit == 0 || query.start().is_some() {
                return Ok(Code::Fine);
            }
            tell_unknown(&reader, &query)?;
            Err(no_group(&self.group))
        })
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
