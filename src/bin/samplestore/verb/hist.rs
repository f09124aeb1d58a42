//! `hist`: how many samples there are over time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use samplestore::{Facets, Histogram, Interval, Query, Status};
use serde_json::{Map as JsonMap, Value as Json, json};

use crate::arguments::{Filters, INSTANTS, Known};
use crate::failure::{Code, Failure, Outcome, words, words_of};
use crate::fields::tell_unknown;
use crate::interrupt;
use crate::opening::Db;
use crate::output::{
    Bars, Chart, Format, Output, ReportFormat, Series, counted, csv_record, instant, write_svg,
};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db hist month
  samplestore -d weather.db hist day --since 30d --split status
  samplestore -d weather.db hist week --split pipeline --svg weeks.svg
  samplestore -d weather.db hist hour --since yesterday --json \\
      | jq '.buckets[].count'

Bars and pictures have the seven largest pipelines, and the others as one. JSON, JSON Lines and CSV have every one: JSON under \
pipelines or statuses, beside start and count; a CSV in a column pipeline.NAME or status.NAME behind these two.";

/// More intervals are not shown: a wider one says more.
const BUCKETS_MAX: usize = 10_000;
/// More pipelines than these are one in bars and pictures, where colours would not tell them apart.
const SERIES_MAX: usize = 7;
/// What those are called there.
const OTHERS: &str = "(others)";

/// What the counts are split by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Split {
    Status,
    Pipeline,
}

/// Count samples over time, as bars, exactly; from indexes alone unless --id or --where asks for records
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{INSTANTS}"))]
pub(crate) struct Hist {
    /// The width of a bar: minute, hour, day, week (from Monday) or month, in UTC
    #[arg(value_name = "INTERVAL", default_value = "day", value_parser = one_interval(), hide_possible_values = true)]
    interval: Interval,
    /// Split each bar
    #[arg(long, value_enum)]
    split: Option<Split>,
    #[command(flatten)]
    filters: Filters,
    /// How to write the counts [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Draw a picture into this file, in place of writing the counts; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["format", "json"])]
    svg: Option<PathBuf>,
    /// Put the picture in the place of a file that is there
    #[arg(long, requires = "svg")]
    overwrite: bool,
}

/// Reads an interval.
fn one_interval() -> Known<impl TypedValueParser<Value = Interval>> {
    let parse = |word: String| {
        let interval = word.parse();
        interval.map_err(|error: samplestore::Error| words_of(&error))
    };
    Known::new(StringValueParser::new().try_map(parse), || {
        let intervals = Interval::ALL.into_iter();
        intervals
            .map(|interval| PossibleValue::new(interval.as_str()))
            .collect()
    })
}

/// An interval and what is in it.
type Bucket<'a> = (DateTime<Utc>, &'a Facets);

impl Hist {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let query = self.filters.query()?;
        let is_stdout = self.svg.as_ref().is_some_and(|svg| svg.as_os_str() == "-");
        if let Some(path) = self.svg.as_ref().filter(|_| !is_stdout) {
            db.refuse_as_target(path)?;
        }
        let reader = db.read()?;
        let busy = reader.busy(&query);
        let histogram = reader.histogram(&query, self.interval)?;
        drop(busy);
        if histogram.total() == 0 {
            tell_unknown(&reader, &query)?;
        }
        let buckets = self.buckets(&histogram)?;
        if let Some(path) = &self.svg {
            let mut output = match is_stdout {
                true => Output::new(),
                false => {
                    interrupt::end_unless_made(|| words("interrupted; no file was made"))?;
                    Output::file(path, self.overwrite)?
                }
            };
            write_svg(&mut output, &self.chart(&buckets, &query))?;
            output.finish()?;
            if !is_stdout {
                let count = counted(histogram.total(), "sample");
                words(&format!("{count} in {}", path.display()));
            }
            return Ok(Code::Fine);
        }
        let mut output = Output::new();
        let asked = match self.json {
            true => Some(Format::Json),
            false => self.format,
        };
        match output.format(asked) {
            Format::Table => Bars::new(&self.chart(&buckets, &query)).write(&mut output)?,
            Format::Json => {
                let buckets: Vec<_> = buckets.iter().map(|bucket| self.json_of(bucket)).collect();
                let report = json!({
                    "interval": self.interval,
                    "total": histogram.total(),
                    "buckets": buckets,
                });
                output.json(ReportFormat::Json, &report)?;
            }
            Format::Jsonl => {
                for bucket in &buckets {
                    output.json(ReportFormat::Jsonl, &self.json_of(bucket))?;
                }
            }
            Format::Csv => self.write_csv(&mut output, &buckets)?,
        }
        output.finish()?;
        Ok(Code::Fine)
    }

    /// Every interval from the first to the last, those without samples too.
    fn buckets<'a>(&self, histogram: &'a Histogram) -> Result<Vec<Bucket<'a>>, Failure> {
        let buckets: Vec<_> = histogram.filled().take(BUCKETS_MAX + 1).collect();
        match buckets.len() > BUCKETS_MAX {
            true => Err(Failure::usage(format!(
                "from the first to the last sample there are more than {BUCKETS_MAX} bars of one {}",
                self.interval
            ))
            .with_hint(match self.interval {
                // The widest there is.
                Interval::Month => "--since and --before make fewer",
                _ => "a wider interval, or --since and --before, make fewer",
            })),
            false => Ok(buckets),
        }
    }

    fn json_of(&self, (start, facets): &Bucket<'_>) -> Json {
        let mut bucket = json!({ "start": instant(*start), "count": facets.total() });
        match self.split {
            None => {}
            Some(Split::Status) => {
                let counts = facets.by_status().into_iter();
                let counts = counts.map(|(status, count)| (status.to_string(), count.into()));
                bucket["statuses"] = counts.collect::<JsonMap<_, _>>().into();
            }
            Some(Split::Pipeline) => {
                let counts = facets.by_pipeline().into_iter();
                let counts = counts.map(|(name, count)| (name.to_owned(), count.into()));
                bucket["pipelines"] = counts.collect::<JsonMap<_, _>>().into();
            }
        }
        bucket
    }

    fn write_csv(&self, output: &mut Output, buckets: &[Bucket<'_>]) -> Result<(), Failure> {
        let parts = self.parts(buckets);
        let head = ["start".to_owned(), "count".to_owned()];
        let of_parts = parts.iter().map(Part::column);
        csv_record(output, head.into_iter().chain(of_parts))?;
        for (start, facets) in buckets {
            let row = [instant(*start), facets.total().to_string()];
            let counts = Part::counts(&parts, facets).into_iter();
            csv_record(
                output,
                row.into_iter().chain(counts.map(|count| count.to_string())),
            )?;
        }
        Ok(())
    }

    /// What each interval is split into: statuses in their order, pipelines with the largest first.
    fn parts(&self, buckets: &[Bucket<'_>]) -> Vec<Part> {
        match self.split {
            None => Vec::new(),
            Some(Split::Status) => {
                let is_there = |status: &Status| {
                    let mut facets = buckets.iter().map(|(_, facets)| facets.by_status());
                    facets.any(|counts| counts.contains_key(status))
                };
                let statuses = Status::ALL.into_iter().filter(is_there);
                statuses.map(Part::Status).collect()
            }
            Some(Split::Pipeline) => {
                let mut totals = BTreeMap::<&str, u64>::new();
                for (_, facets) in buckets {
                    for (name, count) in facets.by_pipeline() {
                        *totals.entry(name).or_default() += count;
                    }
                }
                let mut names: Vec<_> = totals.into_iter().collect();
                names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
                let names = names.into_iter();
                names
                    .map(|(name, _)| Part::Pipeline(name.to_owned()))
                    .collect()
            }
        }
    }

    /// One series for each part, with a count in each interval.
    fn chart(&self, buckets: &[Bucket<'_>], query: &Query) -> Chart {
        let title = match query.clone().without_paging().to_string() {
            filters if filters.is_empty() => format!("samples per {}", self.interval),
            filters => format!("samples per {}, {filters}", self.interval),
        };
        let mut chart = Chart::new(title, self.interval);
        let mut parts = self.parts(buckets);
        let has_others = self.split == Some(Split::Pipeline) && parts.len() > SERIES_MAX;
        if has_others {
            parts.truncate(SERIES_MAX);
        }
        let series = parts.iter().enumerate();
        chart.series = series.map(|(place, part)| part.series(place)).collect();
        if self.split.is_none() {
            chart.series.push(Series::plain("samples", 0));
        }
        if has_others {
            chart.series.push(Series::plain(OTHERS, SERIES_MAX));
        }
        for (start, facets) in buckets {
            let mut counts = Part::counts(&parts, facets);
            if has_others || self.split.is_none() {
                counts.push(facets.total() - counts.iter().sum::<u64>());
            }
            chart.buckets.push((*start, counts));
        }
        chart
    }
}

/// What a bar is split into.
enum Part {
    Status(Status),
    Pipeline(String),
}

impl Part {
    /// The name of its column. None is called as another column, whatever a pipeline is called.
    fn column(&self) -> String {
        match self {
            Self::Status(status) => format!("status.{status}"),
            Self::Pipeline(name) => format!("pipeline.{name}"),
        }
    }

    fn series(&self, place: usize) -> Series {
        match self {
            Self::Status(status) => Series::of_status(*status),
            Self::Pipeline(name) => Series::plain(name, place),
        }
    }

    /// How many samples of each part there are.
    fn counts(parts: &[Self], facets: &Facets) -> Vec<u64> {
        let (statuses, pipelines) = (facets.by_status(), facets.by_pipeline());
        let count = |part: &Self| match part {
            Self::Status(status) => statuses.get(status).copied().unwrap_or(0),
            Self::Pipeline(name) => pipelines.get(name.as_str()).copied().unwrap_or(0),
        };
        parts.iter().map(count).collect()
    }
}
