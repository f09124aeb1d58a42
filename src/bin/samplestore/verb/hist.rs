//! `hist`: how many samples there are over time.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use samplestore::{Histogram, Interval, Query, Status};
use serde_json::{Value as Json, json};

use crate::arguments::{Filters, INSTANTS};
use crate::failure::{Code, Failure, Outcome, words, words_of};
use crate::fields::tell_unknown;
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
      | jq '.buckets[].count'";

/// More intervals are not shown: a wider one says more.
const BUCKETS_MAX: usize = 10_000;
/// More pipelines are shown as one.
const SERIES_MAX: usize = 7;

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
    #[arg(value_name = "INTERVAL", default_value = "day", value_parser = parse_interval)]
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

fn parse_interval(word: &str) -> Result<Interval, String> {
    word.parse()
        .map_err(|error: samplestore::Error| words_of(&error))
}

impl Hist {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let query = self.filters.query()?;
        let is_stdout = self.svg.as_ref().is_some_and(|svg| svg.as_os_str() == "-");
        if let Some(path) = self.svg.as_ref().filter(|_| !is_stdout) {
            db.refuse_as_target(path)?;
        }
        let reader = db.read()?;
        let histogram = reader.histogram(&query, self.interval)?;
        if histogram.total() == 0 {
            tell_unknown(&reader, &query)?;
        }
        let chart = self.chart(&histogram, &query)?;
        if let Some(path) = &self.svg {
            let mut output = match is_stdout {
                true => Output::new(),
                false => Output::file(path, self.overwrite)?,
            };
            write_svg(&mut output, &chart)?;
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
            Format::Table => Bars::new(&chart).write(&mut output)?,
            Format::Json => {
                let buckets: Vec<_> = self.buckets(&chart).collect();
                let report = json!({
                    "interval": self.interval,
                    "total": histogram.total(),
                    "buckets": buckets,
                });
                output.json(ReportFormat::Json, &report)?;
            }
            Format::Jsonl => {
                for bucket in self.buckets(&chart) {
                    output.json(ReportFormat::Jsonl, &bucket)?;
                }
            }
            Format::Csv => {
                let split = chart.series.iter().filter(|_| self.split.is_some());
                let head = ["start".to_owned(), "count".to_owned()];
                csv_record(
                    &mut output,
                    head.into_iter()
                        .chain(split.map(|series| series.name.clone())),
                )?;
                for (start, counts) in &chart.buckets {
                    let sum: u64 = counts.iter().sum();
                    let split = counts.iter().filter(|_| self.split.is_some());
                    let row = [instant(*start), sum.to_string()];
                    csv_record(
                        &mut output,
                        row.into_iter().chain(split.map(u64::to_string)),
                    )?;
                }
            }
        }
        output.finish()?;
        Ok(Code::Fine)
    }

    /// One series for each status or pipeline, with a count in each interval.
    fn chart(&self, histogram: &Histogram, query: &Query) -> Result<Chart, Failure> {
        let mut filled: Vec<_> = histogram.filled().take(BUCKETS_MAX + 1).collect();
        if filled.len() > BUCKETS_MAX {
            return Err(Failure::usage(format!(
                "from the first to the last sample there are more than {BUCKETS_MAX} bars of one {}",
                self.interval
            ))
            .with_hint("a wider interval, or --since and --before, make fewer"));
        }
        let title = match query.clone().without_paging().to_string() {
            filters if filters.is_empty() => format!("samples per {}", self.interval),
            filters => format!("samples per {}, {filters}", self.interval),
        };
        let mut chart = Chart::new(title, self.interval);
        match self.split {
            None => chart.series.push(Series::plain("samples", 0)),
            Some(Split::Status) => {
                let is_there = |status: &Status| {
                    let mut facets = filled.iter().map(|(_, facets)| facets.by_status());
                    facets.any(|counts| counts.contains_key(status))
                };
                let statuses: Vec<_> = Status::ALL.into_iter().filter(is_there).collect();
                chart
                    .series
                    .extend(statuses.iter().map(|status| Series::of_status(*status)));
                for (start, facets) in filled.drain(..) {
                    let counts = facets.by_status();
                    let of = |status| counts.get(status).copied().unwrap_or(0);
                    chart
                        .buckets
                        .push((start, statuses.iter().map(of).collect()));
                }
                return Ok(chart);
            }
            Some(Split::Pipeline) => {
                let mut totals = std::collections::BTreeMap::<String, u64>::new();
                for (_, facets) in &filled {
                    for (name, count) in facets.by_pipeline() {
                        *totals.entry(name.to_owned()).or_default() += count;
                    }
                }
                let mut names: Vec<_> = totals.into_iter().collect();
                names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                let others = names.len() > SERIES_MAX;
                names.truncate(SERIES_MAX);
                let named = names.iter().enumerate();
                chart
                    .series
                    .extend(named.map(|(place, (name, _))| Series::plain(name, place)));
                if others {
                    chart.series.push(Series::plain("(others)", SERIES_MAX));
                }
                for (start, facets) in filled.drain(..) {
                    let of_pipelines = facets.by_pipeline();
                    let of = |name: &String| of_pipelines.get(name.as_str()).copied().unwrap_or(0);
                    let mut counts: Vec<u64> = names.iter().map(|(name, _)| of(name)).collect();
                    if others {
                        counts.push(facets.total() - counts.iter().sum::<u64>());
                    }
                    chart.buckets.push((start, counts));
                }
                return Ok(chart);
            }
        }
        let totals = filled
            .drain(..)
            .map(|(start, facets)| (start, vec![facets.total()]));
        chart.buckets.extend(totals);
        Ok(chart)
    }

    fn buckets<'a>(&'a self, chart: &'a Chart) -> impl Iterator<Item = Json> + 'a {
        chart.buckets.iter().map(|(start, counts)| {
            let mut bucket =
                json!({ "start": instant(*start), "count": counts.iter().sum::<u64>() });
            let of: serde_json::Map<_, _> = chart
                .series
                .iter()
                .zip(counts)
                .filter(|(_, count)| **count > 0)
                .map(|(series, count)| (series.name.clone(), Json::from(*count)))
                .collect();
            match self.split {
                None => {}
                Some(Split::Status) => bucket["statuses"] = of.into(),
                Some(Split::Pipeline) => bucket["pipelines"] = of.into(),
            }
            bucket
        })
    }
}
