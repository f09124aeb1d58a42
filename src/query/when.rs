//! Instants and spans of time as people write them.
//!
//! What is exact is read here; words (`yesterday`, `last friday`, `1 april 2024`) are read by the crate `interim`.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use interim::{Dialect, parse_date_string, parse_duration};

use super::text::invalid;
use crate::error::Result;

/// Longer texts are no instants.
const WORDS_BYTES_MAX: usize = 64;
/// Days that are called by a word of their own.
const DAYS: [&str; 3] = ["yesterday", "today", "tomorrow"];

/// Reads an instant as people write it: RFC 3339 (`2013-06-01T12:00:00Z`, `…+02:00`), the same without
/// a zone (taken as UTC), a plain date, month or year (`2013-06-01`, `2013-06`, `2013`: its first instant in UTC), `now`, a span of
/// time before `now`: a whole number and `s`, `m`, `h`, `d` or `w`, such as `90m`, `2h` or `3d`
/// (`ago` may follow), or words: `yesterday`, `last friday`, `1 april 2024`, `yesterday 18:00`, `2 months ago`.
/// Words for a day, and months and years ago, mean the first instant of a day in UTC.
///
/// ```
/// let now = "2013-06-10T12:00:00Z".parse().unwrap();
/// let yesterday = samplestore::parse_instant("yesterday", now)?;
/// assert_eq!(yesterday.to_rfc3339(), "2013-06-09T00:00:00+00:00");
/// # Ok::<(), samplestore::Error>(())
/// ```
///
/// # Errors
/// [`InvalidQuery`](crate::ErrorKind::InvalidQuery) for anything else.
pub fn parse_instant(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Some(seconds) = span_seconds(text.strip_suffix("ago").unwrap_or(text).trim_end()) {
        return seconds
            .and_then(|seconds| TimeDelta::try_seconds(i64::try_from(seconds).ok()?))
            .and_then(|span| now.checked_sub_signed(span))
            .ok_or_else(|| invalid(format!("{text:?} is too long ago")));
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    if let Some(date) = first_day(text) {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    if let Ok(instant) = text.parse::<DateTime<Utc>>() {
        return Ok(instant);
    }
    for format in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ] {
        if let Ok(naive) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(naive.and_utc());
        }
    }
    in_words(text, now).ok_or_else(|| {
        invalid(format!(
            "{text:?} is no instant; write 2013-06-01T12:00:00Z, 2013-06-01, 2013-06, yesterday, or 2h or 3d for so long ago"
        ))
    })
}

/// The first day of a month or year.
fn first_day(text: &str) -> Option<NaiveDate> {
    let is_digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (year, month) = text.split_once('-').unwrap_or((text, "01"));
    if !is_digits(year, 4) || !is_digits(month, 2) {
        return None;
    }
    NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)
}

/// An instant in words. What goes back from now is counted from now, what names a day from midnight.
fn in_words(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // What has no word in it is exact, or a mistake.
    if text.len() > WORDS_BYTES_MAX || !text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    // The crate panics at capitals in some places (interim 0.2.2: "last friday 9AM"), and passes over what stands behind a date.
    let text = text.to_ascii_lowercase();
    let mut words = text.split(|char: char| !char.is_ascii_alphabetic());
    if !words.all(|word| word.is_empty() || is_of_time(word)) {
        return None;
    }
    let is_named = DAYS.iter().any(|day| text.starts_with(day));
    let base = match parse_duration(&text) {
        // Without "ago" it would be one to come.
        Ok(_) if !is_named && !text.ends_with("ago") => return None,
        Ok(_) if !is_named => now,
        _ => now.date_naive().and_time(NaiveTime::MIN).and_utc(),
    };
    parse_date_string(&text, base, Dialect::Uk).ok()
}

/// Whether a word is one of those that instants are told in.
fn is_of_time(word: &str) -> bool {
    const NAMES: [&str; 19] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    const WORDS: [&str; 36] = [
        "today",
        "yesterday",
        "tomorrow",
        "now",
        "ago",
        "last",
        "next",
        "am",
        "pm",
        "z",
        "s",
        "sec",
        "secs",
        "second",
        "seconds",
        "m",
        "min",
        "mins",
        "minute",
        "minutes",
        "h",
        "hr",
        "hrs",
        "hour",
        "hours",
        "d",
        "day",
        "days",
        "w",
        "week",
        "weeks",
        "month",
        "months",
        "y",
        "year",
        "years",
    ];
    let is_short = |name: &&str| word.len() >= 3 && name.starts_with(word);
    WORDS.contains(&word) || NAMES.iter().any(is_short)
}

/// Reads a span of time as people write it: a whole number and `s`, `m`, `h`, `d` or `w`, such as `90s` or `2h`.
///
/// # Errors
/// [`InvalidQuery`](crate::ErrorKind::InvalidQuery) for anything else.
pub fn parse_span(text: &str) -> Result<Duration> {
    match span_seconds(text.trim()) {
        Some(Some(seconds)) => Ok(Duration::from_secs(seconds)),
        Some(None) => Err(invalid(format!("{text:?} is too long"))),
        None => Err(invalid(format!(
            "{text:?} is no span of time; write 30s, 15m, 2h, 3d or 1w"
        ))),
    }
}

/// The seconds of a whole number and its unit; `Some(None)` when it is one but too large.
fn span_seconds(text: &str) -> Option<Option<u64>> {
    let digits = text.strip_suffix(['s', 'm', 'h', 'd', 'w'])?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit_s = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        _ => 604_800,
    };
    let seconds = digits.parse::<u64>().ok();
    Some(seconds.and_then(|number| number.checked_mul(unit_s)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;
    use crate::instant;

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String, words in "(last |next )?(friday|Yesterday|june|[0-9]{1,20} (days|months|years|h)|[0-9/:. -]{0,12})( ago)?( [0-9]{1,2}(:[0-9]{1,2}|AM|pm|S))?") {
            let _ = parse_instant(&text, instant::now());
            let _ = parse_instant(&words, instant::now());
        }
    }

    #[test]
    fn instants_as_people_write_them() {
        let now = "2013-06-10T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2013-06-01", "2013-06-01T00:00:00Z"),
            ("2013-06-01T12:30:00Z", "2013-06-01T12:30:00Z"),
            ("2013-06-01T12:30:00+02:00", "2013-06-01T10:30:00Z"),
            ("2013-06-01 12:30", "2013-06-01T12:30:00Z"),
            ("2013-06-01T12:30:00.000001", "2013-06-01T12:30:00.000001Z"),
            ("2h", "2013-06-10T10:00:00Z"),
            ("3d ago", "2013-06-07T12:00:00Z"),
            ("1w", "2013-06-03T12:00:00Z"),
            ("90m", "2013-06-10T10:30:00Z"),
            ("now", "2013-06-10T12:00:00Z"),
            ("2013-05", "2013-05-01T00:00:00Z"),
            ("2013", "2013-01-01T00:00:00Z"),
            ("today", "2013-06-10T00:00:00Z"),
            ("yesterday", "2013-06-09T00:00:00Z"),
            ("Yesterday 18:30", "2013-06-09T18:30:00Z"),
            ("Yesterday 9PM", "2013-06-09T21:00:00Z"),
            ("last Friday 9AM", "2013-06-07T09:00:00Z"),
            ("last friday", "2013-06-07T00:00:00Z"),
            ("1 april 2012", "2012-04-01T00:00:00Z"),
            ("2 hours ago", "2013-06-10T10:00:00Z"),
            ("2 days ago", "2013-06-08T12:00:00Z"),
            ("1 month ago", "2013-05-10T00:00:00Z"),
        ] {
            let found = parse_instant(text, now).unwrap();
            assert_eq!(instant::to_text(found), expected, "{text}");
        }
        for text in [
            "",
            "h",
            "2x",
            "2013-13-01",
            "yesterday?",
            "99999999999999999999h",
            "-2h",
            "2013-00",
            "201",
            "2 hours",
            "june bananas",
            "ago",
            "1e99 days ago",
            "0/00001S",
        ] {
            assert!(parse_instant(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, seconds) in [("0s", 0), ("90s", 90), (" 2h ", 7_200), ("1w", 604_800)] {
            assert_eq!(parse_span(text).unwrap(), Duration::from_secs(seconds));
        }
        for text in [
            "",
            "s",
            "5",
            "2x",
            "-2h",
            "1.5h",
            "99999999999999999999s",
            "9999999999999999999w",
        ] {
            let error = parse_span(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidQuery, "{text}");
        }
    }
}
