//! [`Chart`]: counts over time, to be drawn as bars in a terminal ([`Bars`]) or as a picture (`output/svg.rs`).

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use console::{Color, Style, measure_text_width};
use samplestore::{Interval, Status};

use super::{Output, WIDTH_DEFAULT, escape};

/// The widest bar, in columns.
const BAR_WIDTH_MAX: usize = 60;
/// The narrowest bar, whatever the terminal.
const BAR_WIDTH_MIN: usize = 10;
/// A column filled from the left by eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// What tells series apart where there are no colours.
const FILLS: [&str; 8] = ["█", "▓", "▒", "░", "#", "+", ":", "."];
/// Colours of series that have none of their own, for terminals and for pictures.
const PALETTE: [(Color, &str); 8] = [
    (Color::Blue, "#4477aa"),
    (Color::Green, "#228833"),
    (Color::Yellow, "#ccbb44"),
    (Color::Magenta, "#aa3377"),
    (Color::Cyan, "#66ccee"),
    (Color::Red, "#ee6677"),
    (Color::White, "#999933"),
    (Color::Black, "#bbbbbb"),
];

/// Counts over time.
pub(crate) struct Chart {
    pub(super) title: String,
    pub(super) interval: Interval,
    pub(crate) series: Vec<Series>,
    /// The first instant of each interval, and as many counts as there are series.
    pub(crate) buckets: Vec<(DateTime<Utc>, Vec<u64>)>,
}

/// What one part of each bar stands for.
pub(crate) struct Series {
    pub(crate) name: String,
    color: Color,
    pub(super) rgb: &'static str,
    fill: &'static str,
}

impl Series {
    /// With the colour of its place among the others.
    pub(crate) fn plain(name: &str, place: usize) -> Self {
        let (color, rgb) = PALETTE[place % PALETTE.len()];
        Self {
            name: name.to_owned(),
            color,
            rgb,
            fill: FILLS[place % FILLS.len()],
        }
    }

    /// With the colour that a status always has.
    pub(crate) fn of_status(status: Status) -> Self {
        let (color, rgb, place) = match status {
            Status::Measured => (Color::Cyan, "#66ccee", 1),
            Status::Ready => (Color::Green, "#228833", 2),
            Status::Labeled => (Color::Blue, "#4477aa", 3),
            Status::Skipped => (Color::Yellow, "#ccbb44", 4),
            Status::Dlq => (Color::Red, "#ee6677", 5),
            _ => (Color::White, "#bbbbbb", 0),
        };
        Self {
            name: status.as_str().to_owned(),
            color,
            rgb,
            fill: FILLS[place],
        }
    }
}

impl Chart {
    pub(crate) fn new(title: String, interval: Interval) -> Self {
        Self {
            title,
            interval,
            series: Vec::new(),
            buckets: Vec::new(),
        }
    }

    /// The largest sum of an interval.
    pub(super) fn max(&self) -> u64 {
        let sums = self.buckets.iter().map(|(_, counts)| counts.iter().sum());
        sums.max().unwrap_or(0)
    }

    /// The first instant of an interval, as far as the interval needs it.
    pub(super) fn label(&self, start: DateTime<Utc>) -> String {
        let format = match self.interval {
            Interval::Minute | Interval::Hour => "%Y-%m-%d %H:%M",
            Interval::Month => "%Y-%m",
            _ => "%Y-%m-%d",
        };
        start.format(format).to_string()
    }
}

/// A chart as lines: the interval, its count, and a bar.
pub(crate) struct Bars<'a> {
    chart: &'a Chart,
    max: u64,
}

impl<'a> Bars<'a> {
    pub(crate) fn new(chart: &'a Chart) -> Self {
        let max = chart.max();
        Self { chart, max }
    }

    pub(crate) fn write(&self, output: &mut Output) -> io::Result<()> {
        let colors = output.has_colors();
        let labels = self
            .chart
            .buckets
            .iter()
            .map(|(start, _)| self.chart.label(*start));
        let labels: Vec<_> = labels.collect();
        let label_width = labels.iter().map(|label| measure_text_width(label)).max();
        let label_width = label_width.unwrap_or(0);
        let count_width = self.max.to_string().len();
        let taken = label_width + count_width + 4;
        let whole = output.width().unwrap_or(WIDTH_DEFAULT);
        let width = whole
            .saturating_sub(taken)
            .clamp(BAR_WIDTH_MIN, BAR_WIDTH_MAX);
        if self.chart.series.len() > 1 {
            let names = self.chart.series.iter().map(|series| {
                let sign = paint(series, series.fill_for(colors), colors);
                format!("{sign} {}", escape(&series.name))
            });
            for line in side_by_side(names, whole) {
                writeln!(output, "{line}")?;
            }
        }
        for (label, (_, counts)) in labels.iter().zip(&self.chart.buckets) {
            let sum: u64 = counts.iter().sum();
            let bar = self.bar(counts, width, colors);
            let line = format!("{label:label_width$}  {sum:>count_width$}  {bar}");
            writeln!(output, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn bar(&self, counts: &[u64], width: usize, colors: bool) -> String {
        let eighths = |count: u64| {
            let share = count as f64 / self.max.max(1) as f64;
            // What is there is seen.
            ((share * width as f64 * 8.0).round() as usize).max(usize::from(count > 0))
        };
        if let ([series], [count]) = (self.chart.series.as_slice(), counts) {
            let eighths = eighths(*count);
            let bar = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
            return paint(series, &bar, colors);
        }
        // Ends of parts are rounded, so that the whole bar has its length.
        let (mut bar, mut sum, mut drawn) = (String::new(), 0, 0);
        for (series, count) in self.chart.series.iter().zip(counts) {
            sum += count;
            let end = eighths(sum).div_ceil(8);
            let part = series.fill_for(colors).repeat(end.saturating_sub(drawn));
            if !part.is_empty() {
                bar.push_str(&paint(series, &part, colors));
            }
            drawn = drawn.max(end);
        }
        bar
    }
}

impl Series {
    fn fill_for(&self, colors: bool) -> &'static str {
        if colors { "█" } else { self.fill }
    }
}

/// Words in lines of so many columns; a word that is wider has a line of its own.
fn side_by_side(words: impl Iterator<Item = String>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        let fits =
            |line: &&mut String| measure_text_width(line) + 2 + measure_text_width(&word) <= width;
        match lines.last_mut().filter(fits) {
            Some(line) => {
                line.push_str("  ");
                line.push_str(&word);
            }
            None => lines.push(word),
        }
    }
    lines
}

fn paint(series: &Series, text: &str, colors: bool) -> String {
    match colors && !text.is_empty() {
        true => {
            let style = Style::new().fg(series.color).force_styling(true);
            style.apply_to(text).to_string()
        }
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_broken_into_lines_that_fit() {
        let lines = |width| {
            side_by_side(
                ["one", "three", "fifteen"].map(str::to_owned).into_iter(),
                width,
            )
        };
        assert_eq!(lines(40), ["one  three  fifteen"]);
        assert_eq!(lines(19), ["one  three  fifteen"]);
        assert_eq!(lines(18), ["one  three", "fifteen"]);
        assert_eq!(lines(3), ["one", "three", "fifteen"]);
        assert!(side_by_side(std::iter::empty(), 40).is_empty());
    }

    #[test]
    fn bars_are_in_proportion_and_what_is_there_is_seen() {
        let mut chart = Chart::new(String::new(), Interval::Day);
        chart.series.push(Series::plain("samples", 0));
        chart.buckets.push((DateTime::UNIX_EPOCH, vec![800]));
        let bars = Bars::new(&chart);
        for (count, bar) in [
            (800, "██████████"),
            (400, "█████"),
            (410, "█████▏"),
            (1, "▏"),
            (0, ""),
        ] {
            assert_eq!(bars.bar(&[count], 10, false), bar, "{count}");
        }
    }

    #[test]
    fn parts_of_a_bar_add_up() {
        let mut chart = Chart::new(String::new(), Interval::Day);
        chart.series.push(Series::of_status(Status::Ready));
        chart.series.push(Series::of_status(Status::Dlq));
        chart.buckets.push((DateTime::UNIX_EPOCH, vec![60, 40]));
        let bars = Bars::new(&chart);
        assert_eq!(bars.bar(&[60, 40], 10, false), "▒▒▒▒▒▒++++");
        assert_eq!(bars.bar(&[0, 50], 10, false), "+++++");
        assert_eq!(bars.bar(&[50, 0], 10, true), "\u{1b}[32m█████\u{1b}[0m");
    }
}
