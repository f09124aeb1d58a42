//! Days, months and times that people name without all the rest: `yesterday 18:00`, `friday`, `last month`, `13:00`.
//!
//! What is named is the last one that is past or begins now: nothing is stored that is still to come, so nobody asks for it.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, Utc};

const MONTHS: [&str; 12] = [
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
];
const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
/// Days that are called by a word of their own, and how many days from today they are.
const DAYS: [(&str, i64); 3] = [("yesterday", -1), ("today", 0), ("tomorrow", 1)];
/// A name may be cut to so many letters.
const NAME_LETTERS_MIN: usize = 3;
/// The 29th of February comes again after eight years at the latest.
const YEARS_TRIED: i32 = 9;

/// One word, as far as it is known here.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    This,
    Last,
    Week,
    Month,
    Year,
    /// Days from today.
    Day(i64),
    /// With its year.
    Date(NaiveDate),
    /// Days since Monday.
    Weekday(u32),
    /// From 1.
    MonthOfYear(u32),
    DayOfMonth(u32),
    YearNumber(i32),
    Time(NaiveTime),
}

/// The instant that these words name, in lower case: none unless all of them are known and mean something together.
pub(super) fn read(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut words = Vec::new();
    let mut time = None;
    let mut texts = text.split_whitespace().peekable();
    while let Some(text) = texts.next() {
        // The half of the day belongs to the hour before it.
        let word = match texts.next_if(|half| matches!(*half, "am" | "pm")) {
            Some(half) => Word::Time(time_of_day(&format!("{text}{half}"))?),
            None => word(text)?,
        };
        match word {
            // One time of day, before or behind the day.
            Word::Time(given) if time.is_none() => time = Some(given),
            other => words.push(other),
        }
    }
    instant(&words, time, now)
}

fn instant(words: &[Word], time: Option<NaiveTime>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let today = now.date_naive();
    let monday = |date: NaiveDate| {
        date.checked_sub_days(Days::new(date.weekday().num_days_from_monday().into()))
    };
    let at = time.unwrap_or(NaiveTime::MIN);
    let is_past = |date: &NaiveDate| date.and_time(at).and_utc() <= now;
    let date = match *words {
        [] => {
            time?;
            Some(today).filter(is_past).or_else(|| today.pred_opt())?
        }
        [Word::Day(days)] => today.checked_add_signed(TimeDelta::days(days))?,
        [Word::Date(date)] => date,
        [Word::Weekday(day)] | [Word::This, Word::Weekday(day)] => {
            let date = last_weekday(day, today)?;
            let before = || date.checked_sub_days(Days::new(7));
            Some(date).filter(is_past).or_else(before)?
        }
        [Word::Last, Word::Weekday(day)] => last_weekday(day, today.pred_opt()?)?,
        [Word::MonthOfYear(month), Word::DayOfMonth(day)]
        | [Word::DayOfMonth(day), Word::MonthOfYear(month)] => last_date(month, day, now, is_past)?,
        [
            Word::MonthOfYear(month),
            Word::DayOfMonth(day),
            Word::YearNumber(year),
        ]
        | [
            Word::DayOfMonth(day),
            Word::MonthOfYear(month),
            Word::YearNumber(year),
        ] => NaiveDate::from_ymd_opt(year, month, day)?,
        // What follows is no day, and has no time of day.
        _ if time.is_some() => return None,
        [Word::This, Word::Week] => monday(today)?,
        [Word::Last, Word::Week] => monday(today.checked_sub_days(Days::new(7))?)?,
        [Word::This, Word::Month] => today.with_day(1)?,
        [Word::Last, Word::Month] => today.with_day(1)?.checked_sub_months(Months::new(1))?,
        [Word::This, Word::Year] => NaiveDate::from_ymd_opt(today.year(), 1, 1)?,
        [Word::Last, Word::Year] => NaiveDate::from_ymd_opt(today.year().checked_sub(1)?, 1, 1)?,
        [Word::MonthOfYear(month)] => last_date(month, 1, now, is_past)?,
        [Word::Last, Word::MonthOfYear(month)] => {
            // Not the one that has begun.
            let this_month = today.with_day(1)?;
            last_date(month, 1, now, |date| *date < this_month)?
        }
        [Word::MonthOfYear(month), Word::YearNumber(year)]
        | [Word::YearNumber(year), Word::MonthOfYear(month)] => {
            NaiveDate::from_ymd_opt(year, month, 1)?
        }
        _ => return None,
    };
    Some(date.and_time(at).and_utc())
}

/// The last such day until `date`, itself among them.
fn last_weekday(day: u32, date: NaiveDate) -> Option<NaiveDate> {
    let days = (7 + date.weekday().num_days_from_monday() - day) % 7;
    date.checked_sub_days(Days::new(days.into()))
}

/// The last day of the year of this name that is there.
fn last_date(
    month: u32,
    day: u32,
    now: DateTime<Utc>,
    is_wanted: impl Fn(&NaiveDate) -> bool,
) -> Option<NaiveDate> {
    let year = now.year();
    let dates = (0..YEARS_TRIED)
        .filter_map(|years| NaiveDate::from_ymd_opt(year.checked_sub(years)?, month, day));
    dates.into_iter().find(is_wanted)
}

/// Whether this is the name of a day or of a month, or how one begins.
pub(super) fn is_name(text: &str) -> bool {
    DAYS.iter().any(|(name, _)| *name == text)
        || place(text, &WEEKDAYS)
            .or_else(|| place(text, &MONTHS))
            .is_some()
}

/// The names of days and months.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let days = DAYS.into_iter().map(|(name, _)| name);
    days.chain(WEEKDAYS).chain(MONTHS)
}

/// The place of the name that begins so, from 0.
fn place(text: &str, names: &[&str]) -> Option<u32> {
    let is_it = |name: &&str| text.len() >= NAME_LETTERS_MIN && name.starts_with(text);
    let place = names.iter().position(is_it)?;
    u32::try_from(place).ok()
}

fn word(text: &str) -> Option<Word> {
    if let Some((_, days)) = DAYS.iter().find(|(name, _)| *name == text) {
        return Some(Word::Day(*days));
    }
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    Some(match text {
        "this" => Word::This,
        "last" => Word::Last,
        "week" => Word::Week,
        "month" => Word::Month,
        "year" => Word::Year,
        _ if is_digits && text.len() <= 2 => Word::DayOfMonth(text.parse().ok()?),
        _ if is_digits && text.len() == 4 => Word::YearNumber(text.parse().ok()?),
        _ => place(text, &WEEKDAYS)
            .map(Word::Weekday)
            .or_else(|| place(text, &MONTHS).map(|place| Word::MonthOfYear(place + 1)))
            .or_else(|| time_of_day(text).map(Word::Time))
            .or_else(|| date(text).map(Word::Date))?,
    })
}

/// `2013-06-01`.
fn date(text: &str) -> Option<NaiveDate> {
    let is_of_date = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    let has_shape = text.len() == "2013-06-01".len() && text.bytes().all(is_of_date);
    has_shape.then(|| text.parse().ok()).flatten()
}

/// `13:00`, `13:00:15`, `9am`, `9:30pm`.
fn time_of_day(text: &str) -> Option<NaiveTime> {
    let (clock, half) = match (text.strip_suffix("am"), text.strip_suffix("pm")) {
        (Some(clock), _) => (clock, Some(0)),
        (_, Some(clock)) => (clock, Some(12)),
        _ => (text, None),
    };
    let mut parts = clock.split(':').map(|part| {
        let is_number =
            matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| is_number)
    });
    let hour = parts.next()??;
    let minute = parts.next();
    let second = parts.next();
    if parts.next().is_some() || (half.is_none() && minute.is_none()) {
        return None;
    }
    let hour = match half {
        None => hour,
        Some(half) if (1..=12).contains(&hour) => hour % 12 + half,
        Some(_) => return None,
    };
    NaiveTime::from_hms_opt(hour, minute.unwrap_or(Some(0))?, second.unwrap_or(Some(0))?)
}
