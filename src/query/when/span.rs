//! Spans of time as people write them: whole numbers and their units, such as `90s`, `1h30m` or `3 days`.

use std::time::Duration;

use chrono::{DateTime, Months, TimeDelta, Utc};

use super::invalid;
use crate::error::Result;

/// What a unit is, in milliseconds or in months.
#[derive(Clone, Copy)]
enum Unit {
    Millis(u64),
    Months(u32),
}

/// A span of time. Months and years have no fixed length, so they are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    months: u32,
    millis: u64,
}

impl Span {
    /// Reads a span; `Some(None)` when it is one but too long.
    pub(super) fn read(text: &str) -> Option<Option<Self>> {
        let mut span = Some(Self::default());
        let mut rest = text.trim();
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let (number, behind) = part(rest, |char| char.is_ascii_digit())?;
            let (word, behind) = part(behind, |char| char.is_ascii_alphabetic())?;
            let unit = unit(&word.to_ascii_lowercase())?;
            span = span.and_then(|span| span.plus(number.parse().ok()?, unit));
            rest = behind;
        }
        Some(span)
    }

    fn plus(self, number: u64, unit: Unit) -> Option<Self> {
        let Self { months, millis } = self;
        Some(match unit {
            Unit::Millis(unit) => Self {
                months,
                millis: millis.checked_add(number.checked_mul(unit)?)?,
            },
            Unit::Months(unit) => Self {
                months: months.checked_add(u32::try_from(number).ok()?.checked_mul(unit)?)?,
                millis,
            },
        })
    }

    /// The instant so long before `now`; where a month has no such day, its last one.
    pub(super) fn before(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let base = now.checked_sub_months(Months::new(self.months))?;
        base.checked_sub_signed(TimeDelta::try_milliseconds(
            i64::try_from(self.millis).ok()?,
        )?)
    }
}

/// Reads a span of time as people write it: whole numbers, each with its unit, such as `90s`, `2h`, `1h30m` or `3 days`.
///
/// Units are `ms`, `s`, `m`, `h`, `d` and `w`, or words: `sec`, `min`, `hr`, `second`, `minutes`, `hours`, `days`, `weeks` and the
/// like.
///
/// # Errors
/// [`InvalidQuery`](crate::ErrorKind::InvalidQuery) for anything else; for months and years, too, which have no fixed length, and for `M`,
/// which may mean either.
pub fn parse_span(text: &str) -> Result<Duration> {
    let span = Span::read(text);
    if span.is_some() {
        refuse_capital_m(text)?;
    }
    match span {
        Some(Some(span)) if span.months > 0 => Err(invalid(format!(
            "{text:?} has no fixed length; write it in days: 30d, 365d"
        ))),
        Some(Some(span)) => Ok(Duration::from_millis(span.millis)),
        Some(None) => Err(invalid(format!("{text:?} is too long"))),
        None => Err(invalid(format!(
            "{text:?} is no span of time; write 30s, 15m, 1h30m, 2h, 3d or 1w"
        ))),
    }
}

/// Refuses a unit `M`: months to some, and with the case of letters left aside it would be minutes.
pub(super) fn refuse_capital_m(text: &str) -> Result<()> {
    let mut words = text.split(|char: char| !char.is_ascii_alphabetic());
    match words.any(|word| word == "M") {
        true => Err(invalid(format!(
            "{text:?} may mean minutes or months; write them m or mo"
        ))),
        false => Ok(()),
    }
}

/// The characters of this kind at the beginning, of which there must be some, and what stands behind them and behind spaces.
fn part(text: &str, is_of_it: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let end = text.find(|char| !is_of_it(char)).unwrap_or(text.len());
    let (part, behind) = text.split_at(end);
    (end > 0).then_some((part, behind.trim_start()))
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "ms" => Unit::Millis(1),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Millis(1_000),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Millis(60_000),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Millis(3_600_000),
        "d" | "day" | "days" => Unit::Millis(86_400_000),
        "w" | "week" | "weeks" => Unit::Millis(604_800_000),
        "mo" | "month" | "months" => Unit::Months(1),
        "y" | "year" | "years" => Unit::Months(12),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, millis) in [
            ("0s", 0),
            ("90s", 90_000),
            (" 2h ", 7_200_000),
            ("1w", 604_800_000),
            ("200ms", 200),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("30min", 1_800_000),
            ("3 days", 259_200_000),
            ("1 Hour 2 MINUTES", 3_720_000),
        ] {
            let span = parse_span(text).unwrap();
            assert_eq!(span, Duration::from_millis(millis), "{text}");
        }
        for text in [
            "",
            " ",
            "s",
            "5",
            "1h30",
            "2x",
            "-2h",
            "1.5h",
            "1h,30m",
            "1mo",
            "1 year",
            "1M",
            "1h 30M",
            "99999999999999999999s",
            "9999999999999999999w",
            "9999999999999999w 9999999999999999w",
        ] {
            let error = parse_span(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidQuery, "{text}");
        }
    }
}
