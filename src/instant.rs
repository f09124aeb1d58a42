//! Instants: UTC with microsecond precision, as the contract keeps them (rule M4).
//!
//! Everything that is stored or compared is a whole number of microseconds since 1970-01-01T00:00Z,
//! negative before it. What people write (`2h`, a plain date) is read in `query/text.rs`.

use chrono::{DateTime, SecondsFormat, Utc};

/// Cuts digits finer than a microsecond, towards the past.
pub(crate) fn cut(instant: DateTime<Utc>) -> DateTime<Utc> {
    from_micros(floor_micros(instant)).unwrap_or(instant)
}

/// The last whole microsecond at or before `instant`. Every `DateTime<Utc>` fits.
pub(crate) fn floor_micros(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_micros()
}

/// The first whole microsecond at or after `instant`.
pub(crate) fn ceil_micros(instant: DateTime<Utc>) -> i64 {
    let floor = instant.timestamp_micros();
    floor + i64::from(!instant.timestamp_subsec_nanos().is_multiple_of(1_000))
}

/// The instant at `micros`, or `None` outside chrono's range (about ±262,000 years).
pub(crate) fn from_micros(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

/// Now, cut to the microsecond.
pub(crate) fn now() -> DateTime<Utc> {
    cut(Utc::now())
}

/// RFC 3339 in UTC with as many digits as needed: `2013-01-01T06:00:00Z`.
pub(crate) fn to_text(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Reads what [`to_text`] writes, and every other RFC 3339 instant.
pub(crate) fn from_text(text: &str) -> Result<DateTime<Utc>, chrono::ParseError> {
    text.parse::<DateTime<Utc>>().map(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_goes_towards_the_past_on_both_sides_of_1970() {
        for (nanos, micros) in [(1_999, 1), (-1, -1), (-1_000, -1), (-1_001, -2)] {
            let instant = DateTime::from_timestamp_nanos(nanos);
            assert_eq!(floor_micros(instant), micros, "{nanos}");
        }
        assert_eq!(ceil_micros(DateTime::from_timestamp_nanos(1_001)), 2);
        assert_eq!(ceil_micros(DateTime::from_timestamp_nanos(-1_001)), -1);
        assert_eq!(ceil_micros(DateTime::from_timestamp_nanos(1_000)), 1);
    }

    #[test]
    fn text_round_trips_at_the_ends_of_the_range() {
        for instant in [
            DateTime::<Utc>::MIN_UTC,
            DateTime::<Utc>::MAX_UTC,
            DateTime::UNIX_EPOCH,
            DateTime::from_timestamp_micros(-1).unwrap(),
        ] {
            let instant = cut(instant);
            assert_eq!(from_text(&to_text(instant)).unwrap(), instant);
        }
    }
}
