//! [`Filters`]: the flags that say which samples, the same for every verb that has them.
//!
//! They are made from the library's table [`FILTERS`] and read through [`Query::with_filter`], so a
//! filter that is added there is known to every verb and ignored by none (rule R10).

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use samplestore::{Cursor, FILTERS, Filter, Query, Result, Status, parse_instant};

use super::statuses::text_of_statuses;
use crate::failure::detail;

/// The part of the help texts that says how instants are written.
pub(crate) const INSTANTS: &str = "\
WHEN is an instant in UTC: 2013-06-01T12:00:00Z, 2013-06-01 12:00, 2013-06-01 12:00:00+02; a date, month or year for its first \
moment: 2013-06-01, 2013-06, december 2013, last month, this week; a span of time ago: 90s, 15m, 1h30m, 3 days, \
2mo, 1y; a day or a time for the last one that is past: friday, 24 dec, 13:00; or words: yesterday 18:00, \
last friday. -v shows which instant that is.

A comma in the name of a pipeline is written \\,.";

/// How conditions are written: the same in short as the docs of [`Condition`](samplestore::Condition).
const CONDITIONS: &str = "\
Several by repeating it, all of which must be true.

Fields:     data.NAME, measurements.NAME; data.a.b within maps,
            data.tags[0] within lists; data.\"wind speed\"
Values:     numbers, true, false, texts in \"double\" or 'single' quotes
Compare:    = != < <= > >=, between 1 and 5, in (\"JFK\", \"LGA\")
Texts:      like 'a%' (% any text, _ any character, \\% itself),
            ilike (in any case), ~ '^[A-Z]+$' (a regular expression)
Contains:   data.tags contains \"x\": a value in a list, a text in a
            text, a name in a map
Absence:    is null (null or absent), is missing (absent)
Join:       and, or, not, parentheses; also not in, not between, not
            like, not contains, is not null

As in SQL, a comparison with what is absent or null is not true, nor is its opposite: data.x != 1 leaves out \
samples without data.x. For a shell the whole condition stands in quotes. The documentation of \
samplestore::Condition has all of it.";

/// The filters whose values are instants.
const TIMES: [&str; 4] = ["after", "before", "since", "until"];
/// From now to another year, weekday, month and time of day: no words stand for the same instant at both.
const ANOTHER_TIME: TimeDelta = TimeDelta::seconds(1_000 * 24 * 60 * 60 + 7 * 60 * 60 + 673);

/// Filters as given, by name and value.
#[derive(Clone, Debug)]
pub(crate) struct Filters {
    words: Vec<(&'static str, String)>,
    /// What 2h and the like are counted back from, in whole microseconds, so that its text form is all of it.
    now: DateTime<Utc>,
}

impl Filters {
    /// The query they stand for.
    ///
    /// # Errors
    /// Those of [`Query::with_filter`].
    pub(crate) fn query(&self) -> Result<Query> {
        let query = self.resolved(|_| true)?;
        tell(&query);
        Ok(query)
    }

    /// The query that they stand for, of these statuses and of none that the filters name.
    ///
    /// # Errors
    /// Those of [`Query::with_filter`].
    pub(crate) fn query_in(&self, statuses: &[Status]) -> Result<Query> {
        let query = self.resolved(|name| name != "status")?;
        let query = statuses.iter().copied().fold(query, Query::status);
        tell(&query);
        Ok(query)
    }

    /// The statuses that they name.
    pub(crate) fn statuses(&self) -> Result<Vec<Status>> {
        let query = self.resolved(|name| name == "status")?;
        Ok(query.statuses().iter().copied().collect())
    }

    /// Whether they leave out nothing: none is given, or only an order.
    pub(crate) fn is_everything(&self) -> bool {
        self.words.iter().all(|(name, _)| *name == "newest")
    }

    /// Whether this one is given.
    pub(crate) fn has(&self, filter: &str) -> bool {
        self.words.iter().any(|(name, _)| *name == filter)
    }

    fn resolved(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Query> {
        let mut words = self.words.iter().filter(|(name, _)| is_wanted(name));
        words.try_fold(Query::new(), |query, (name, value)| {
            query.with_filter(name, value, self.now)
        })
    }

    /// The words that tell how to go on behind a page: its cursor, and with it the instants that filters of time stood for which
    /// would stand for others when they are read again.
    ///
    /// # Errors
    /// Those of [`Query::with_filter`].
    pub(crate) fn next_page(&self, next: &Cursor) -> Result<String> {
        let passing = |(name, value): &&(&str, String)| is_passing(name, value, self.now);
        let mut passing = self.words.iter().filter(passing);
        let instants = passing.try_fold(Query::new(), |query, (name, value)| {
            query.with_filter(name, value, self.now)
        })?;
        Ok(format!("next page: {}", instants.cursor(next.clone())))
    }
}

impl Args for Filters {
    fn augment_args(command: Command) -> Command {
        command.args(FILTERS.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Filters {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let mut words = Vec::new();
        for filter in FILTERS {
            let name = filter.name;
            if filter.value.is_none() {
                if matches.get_flag(name) {
                    words.push((name, String::new()));
                }
                continue;
            }
            for value in matches.get_many::<String>(name).into_iter().flatten() {
                words.push((name, value.clone()));
            }
        }
        let now = Utc::now().trunc_subsecs(6);
        Ok(Self { words, now })
    }

    fn update_from_arg_matches(
        &mut self,
        matches: &ArgMatches,
    ) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Whether a filter is of time, and stands for another instant at another time.
fn is_passing(name: &str, value: &str, now: DateTime<Utc>) -> bool {
    if !TIMES.contains(&name) {
        return false;
    }
    let read_at = |now| parse_instant(value, now).ok();
    read_at(now) != read_at(now + ANOTHER_TIME)
}

fn tell(query: &Query) {
    let shown = query.to_string();
    let shown = if shown.is_empty() { "none" } else { &shown };
    detail(&format!("filters: {shown}"));
}

fn argument(filter: &Filter) -> Arg {
    let argument = Arg::new(filter.name)
        .long(filter.name)
        .help_heading("Filters");
    let Some(value) = filter.value else {
        return argument.action(ArgAction::SetTrue).help(filter.help);
    };
    let argument = argument.value_name(value);
    let argument = match filter.name {
        "status" => argument.value_parser(text_of_statuses()),
        "where" => argument.long_help(format!("{}\n\n{CONDITIONS}", filter.help)),
        // Else a negative one would be taken for a flag that is not there, as would a year before the first one, and an id may
        // begin with anything.
        "limit" => argument.allow_negative_numbers(true),
        "id" => argument.allow_hyphen_values(true),
        name if TIMES.contains(&name) => argument.allow_hyphen_values(true),
        _ => argument,
    };
    match (filter.is_repeatable, filter.is_list) {
        (_, true) => argument.action(ArgAction::Append).help(format!(
            "{}; several by repeating it or with commas",
            filter.help
        )),
        (true, false) => argument
            .action(ArgAction::Append)
            .help(format!("{}; several by repeating it", filter.help)),
        // A second value is an error and not ignored.
        (false, false) => argument.action(ArgAction::Set).help(filter.help),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_from_now_is_told_apart_from_an_instant() {
        let now = "2026-11-26T21:17:51Z".parse().unwrap();
        for value in [
            "2h",
            "3 days",
            "friday",
            "yesterday",
            "last month",
            "24 dec",
            "13:00",
            "this week",
            "december",
        ] {
            assert!(is_passing("since", value, now), "{value}");
        }
        for value in ["2013", "2013-06", "december 2013", "2013-06-01T12:00:00Z"] {
            assert!(!is_passing("since", value, now), "{value}");
        }
        assert!(!is_passing("where", "2h", now));
    }

    #[test]
    fn every_filter_of_the_table_is_a_flag_that_reaches_the_query() {
        for filter in FILTERS {
            let value = match filter.name {
                "status" => "ready",
                "after" | "before" | "since" | "until" => "2013-06-01",
                "limit" => "5",
                "where" => "data.x = 1",
                _ => "x",
            };
            let cursor = Cursor::new(1, &Query::new(), b"place");
            let value = match filter.name {
                "cursor" => cursor.as_str(),
                _ => value,
            };
            let mut words = vec!["x".to_owned(), format!("--{}", filter.name)];
            words.extend(filter.value.map(|_| value.to_owned()));
            let matches = Filters::augment_args(Command::new("x"))
                .try_get_matches_from(words)
                .unwrap();
            let query = Filters::from_arg_matches(&matches)
                .unwrap()
                .query()
                .unwrap();
            let shown = query.to_string();
            assert!(shown.starts_with(&format!("--{}", filter.name)), "{shown}");
        }
    }
}
