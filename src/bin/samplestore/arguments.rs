//! [`Arguments`]: the whole command line, with its help.
//!
//! A verb's own flags stand with the verb; what several share stands here and in
//! `arguments/filters.rs`.

mod consent;
mod filters;
mod known;
mod statuses;

use std::cell::Cell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};
use clap::parser::ValueSource;
use clap::{
    Arg, ArgAction, ColorChoice, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    value_parser,
};
use samplestore::{Location, parse_instant, parse_span};

pub(crate) use consent::Consent;
pub(crate) use filters::{Filters, INSTANTS};
pub(crate) use known::Known;
pub(crate) use statuses::{one_status, parse_status};

use crate::failure::{EXIT_CODES, Failure, Outcome, Volume, detail, set_volume, words_of};
use crate::interrupt::{self, NOTHING_CHANGED, NOTHING_STORED};
use crate::opening::Db;
use crate::output::{Colors, instant, set_colors};
use crate::verb::{
    backup, check, compact, completions, copy, count, dlq, explain, export, facets, get, hist,
    import, index, list, mark, prune, put, reindex, repair, rm, salvage, schema, stats, tail,
};

/// The flag that names the database.
const DB: &str = "db";
/// The verb that names its two storages itself.
const WITHOUT_DB: &str = "copy";

/// Samples of data and ML pipelines in one file, indexed by pipeline, status and time.
#[derive(Debug, Parser)]
#[command(
    name = "samplestore",
    version,
    max_term_width = 100,
    after_help = EXIT_CODES,
    after_long_help = EXIT_CODES
)]
pub(crate) struct Arguments {
    /// The database file, or the URL of another storage
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE|URL",
        env = "SAMPLESTORE_DB",
        hide_env_values = true
    )]
    db: Option<OsString>,

    /// How long to wait while another process has the database: 30s, 5m; without a unit, seconds
    /// [default: not at all]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_wait)]
    wait: Option<Duration>,

    /// Tell errors alone on stderr, and no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Tell also how the command line was understood, with every instant in full
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    verbose: bool,

    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    color: Colors,

    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    Import(import::Import),
    Export(export::Export),
    Put(put::Put),
    List(list::List),
    Get(get::Get),
    Tail(tail::Tail),
    Copy(copy::Copy),
    Count(count::Count),
    Facets(facets::Facets),
    Hist(hist::Hist),
    Schema(schema::Schema),
    Stats(stats::Stats),
    Explain(explain::Explain),
    Mark(mark::Mark),
    Rm(rm::Rm),
    Prune(prune::Prune),
    Dlq(dlq::Dlq),
    Index(index::Index),
    Compact(compact::Compact),
    Backup(backup::Backup),
    Check(check::Check),
    Repair(repair::Repair),
    Reindex(reindex::Reindex),
    Salvage(salvage::Salvage),
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Verb {
    /// What is said of a verb that writes when it is interrupted before it has begun to.
    fn undone(&self) -> Option<&'static str> {
        match self {
            Self::Import(_) | Self::Put(_) | Self::Copy(_) => Some(NOTHING_STORED),
            Self::Mark(_)
            | Self::Rm(_)
            | Self::Prune(_)
            | Self::Compact(_)
            | Self::Backup(_)
            | Self::Repair(_)
            | Self::Reindex(_)
            | Self::Salvage(_) => Some(NOTHING_CHANGED),
            Self::Dlq(verb) => verb.writes().then_some(NOTHING_CHANGED),
            Self::Index(verb) => verb.writes().then_some(NOTHING_CHANGED),
            _ => None,
        }
    }
}

/// Reads the process's command line.
///
/// # Errors
/// What the user asked to read (help, version), or what is wrong with the command line.
pub(crate) fn parse() -> Result<Arguments, clap::Error> {
    let command = command().color(asked_colors(std::env::args_os()));
    let matches = command
        .clone()
        .try_get_matches()
        .map_err(|error| match error.kind() {
            ClapErrorKind::InvalidUtf8 => command.clone().error(error.kind(), no_utf8()),
            _ => with_tip(error),
        })?;
    if let Some((verb @ WITHOUT_DB, of_verb)) = matches.subcommand()
        && of_verb.value_source(DB) == Some(ValueSource::CommandLine)
    {
        let message = format!("{verb} names its two storages itself, and takes no --db");
        return Err(command
            .clone()
            .error(ClapErrorKind::ArgumentConflict, message));
    }
    Arguments::from_arg_matches(&matches)
}

/// When the parser is to use colours: what `--color` says, which is looked for before anything else is known to be right.
fn asked_colors(words: impl Iterator<Item = OsString>) -> ColorChoice {
    let words: Vec<_> = words.take_while(|word| word != "--").collect();
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let mut asked = ColorChoice::Auto;
    for (place, word) in words.iter().enumerate() {
        let given = match word.strip_prefix("--color") {
            Some("") => words.get(place + 1).map(|next| &**next),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        asked = match given {
            Some("always") => ColorChoice::Always,
            Some("never") => ColorChoice::Never,
            Some("auto") => ColorChoice::Auto,
            _ => asked,
        };
    }
    asked
}

/// Which words are no UTF-8: the parser does not say which of them it cannot take.
fn no_utf8() -> String {
    let words = std::env::args_os().enumerate();
    let others = words.filter(|(_, word)| word.to_str().is_none());
    let others = others.map(|(place, word)| format!("argument {place}, {word:?}"));
    let others: Vec<_> = others.collect();
    format!("this is no UTF-8: {}", others.join("; "))
}

/// Tells whoever is used to `tail -f` what that is called here, and whoever names ids as `get` takes them how other verbs do.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let is_word = matches!(
        error.get(ContextKind::InvalidArg),
        Some(ContextValue::String(name)) if !name.starts_with('-')
    );
    let takes_ids = |word: OsString| {
        ["rm", "mark", "list", "count"]
            .iter()
            .any(|verb| word == *verb)
    };
    if is_word
        && error.kind() == ClapErrorKind::UnknownArgument
        && std::env::args_os().any(takes_ids)
    {
        let tip = StyledStr::from("samples are named by their ids with --id ID");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    let is_format = matches!(
        error.get(ContextKind::InvalidArg),
        Some(ContextValue::String(name)) if name.starts_with("--format")
    );
    if is_format && std::env::args_os().any(|word| word == "tail") {
        let tip = StyledStr::from("to go on with new samples, give --follow or -F");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// Reads an instant of a flag.
pub(crate) fn parse_when(text: &str) -> Result<DateTime<Utc>, String> {
    parse_instant(text, Utc::now()).map_err(|error| words_of(&error))
}

/// Tells which instant the value of a flag was taken for, when that is asked for.
pub(crate) fn tell_instant(flag: &str, at: Option<DateTime<Utc>>) {
    if let Some(at) = at {
        detail(&format!("--{flag}: {}", instant(at)));
    }
}

/// Refuses -, which is standard output elsewhere, as the name of what cannot go there.
pub(crate) fn refuse_dash(path: &Path, what: &str) -> Result<(), Failure> {
    match path.as_os_str() == "-" {
        true => Err(Failure::usage(format!("{what} is no stream; name a file"))),
        false => Ok(()),
    }
}

impl Arguments {
    /// Does what was asked.
    pub(crate) fn run(self) -> Outcome {
        set_volume(match (self.quiet, self.verbose) {
            (true, _) => Volume::Quiet,
            (false, true) => Volume::Verbose,
            (false, false) => Volume::Normal,
        });
        set_colors(self.color);
        if let Some(undone) = self.verb.undone() {
            interrupt::end_with(undone)?;
        }
        let wait = self.wait.unwrap_or_default();
        let is_file = Cell::new(true);
        let db = || {
            let named = self.db.filter(|db| !db.is_empty());
            let named = named.ok_or_else(|| {
                Failure::usage("no database is named")
                    .with_hint("give --db FILE or set SAMPLESTORE_DB")
            });
            let location = named.and_then(location)?;
            is_file.set(location.scheme() == "redb");
            Ok::<_, Failure>(Db::new(location, wait))
        };
        let outcome = match self.verb {
            Verb::Import(verb) => verb.run(&db()?),
            Verb::Export(verb) => verb.run(&db()?),
            Verb::Put(verb) => verb.run(&db()?),
            Verb::List(verb) => verb.run(&db()?),
            Verb::Get(verb) => verb.run(&db()?),
            Verb::Tail(verb) => verb.run(&db()?),
            // It names its two storages itself.
            Verb::Copy(verb) => verb.run(wait),
            Verb::Count(verb) => verb.run(&db()?),
            Verb::Facets(verb) => verb.run(&db()?),
            Verb::Hist(verb) => verb.run(&db()?),
            Verb::Schema(verb) => verb.run(&db()?),
            Verb::Stats(verb) => verb.run(&db()?),
            Verb::Explain(verb) => verb.run(&db()?),
            Verb::Mark(verb) => verb.run(&db()?),
            Verb::Rm(verb) => verb.run(&db()?),
            Verb::Prune(verb) => verb.run(&db()?),
            Verb::Dlq(verb) => verb.run(&db()?),
            Verb::Index(verb) => verb.run(&db()?),
            Verb::Compact(verb) => verb.run(&db()?),
            Verb::Backup(verb) => verb.run(&db()?),
            Verb::Check(verb) => verb.run(&db()?),
            Verb::Repair(verb) => verb.run(&db()?),
            Verb::Reindex(verb) => verb.run(&db()?),
            Verb::Salvage(verb) => verb.run(&db()?),
            Verb::Completions(verb) => verb.run(),
            Verb::Man(verb) => verb.run(),
        };
        outcome.map_err(|failure| match is_file.get() {
            true => failure,
            false => failure.of_no_file(),
        })
    }
}

/// The definition of the command line.
pub(crate) fn command() -> Command {
    // One that is defined here takes the place of that of all verbs. It is parsed, so that it can be said what is wrong.
    let hidden = || {
        Arg::new(DB)
            .short('d')
            .long("db")
            .value_parser(value_parser!(OsString))
            .hide(true)
    };
    // Each in its place: one that is changed by its name goes behind the others.
    Arguments::command().mut_subcommands(|verb| match verb.get_name() == WITHOUT_DB {
        true => verb.arg(hidden()),
        false => verb,
    })
}

/// The same for completions, which know nothing of what is hidden.
pub(crate) fn completed_command() -> Command {
    let command = Arguments::command();
    let db = command.get_arguments().find(|flag| flag.get_id() == DB);
    let Some(db) = db.map(|flag| flag.clone().global(false)) else {
        return command;
    };
    let command = command.mut_arg(DB, |flag| flag.global(false));
    command.mut_subcommands(|verb| with_db(verb, &db))
}

fn with_db(verb: Command, db: &Arg) -> Command {
    let verb = match verb.get_name() == WITHOUT_DB {
        true => verb,
        false => verb.arg(db.clone()),
    };
    verb.mut_subcommands(|inner| with_db(inner, db))
}

/// Reads how long to wait: a span of time, or a whole number of seconds.
fn parse_wait(text: &str) -> Result<Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let with_unit = match is_number {
        true => format!("{text}s"),
        false => text.to_owned(),
    };
    parse_span(&with_unit).map_err(|error| words_of(&error))
}

/// What a file or URL of the command line names. What is no UTF-8 can only be a path.
pub(crate) fn location(text: OsString) -> Result<Location, Failure> {
    match text.into_string() {
        Ok(text) => Ok(text.parse()?),
        Err(path) => Ok(PathBuf::from(path).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chapter of the docs that has every flag.
    fn reference() -> String {
        let mut command = command().term_width(100);
        command.build();
        let mut text = "\
Every verb and flag of the command `samplestore`, as `--help` shows them, and in the end the JSON that verbs write. This chapter is made of the
command's own definitions.

# samplestore

```text
"
        .to_owned();
        let mut add = |command: &mut Command, name: Option<&str>| {
            if let Some(name) = name {
                text.push_str(&format!("\n# {name}\n\n```text\n"));
            }
            let help = command.render_long_help().to_string();
            let lines = help.trim_end().lines().map(str::trim_end);
            text.push_str(&lines.collect::<Vec<_>>().join("\n"));
            text.push_str("\n```\n");
        };
        add(&mut command, None);
        // What clap adds itself is not told.
        let is_ours = |verb: &&mut Command| verb.get_name() != "help";
        for verb in command.get_subcommands_mut().filter(is_ours) {
            let name = verb.get_name().to_owned();
            add(verb, Some(&name));
            for inner in verb.get_subcommands_mut().filter(is_ours) {
                let name = format!("{name} {}", inner.get_name());
                add(inner, Some(&name));
            }
        }
        text.push_str(include_str!("arguments/json.md"));
        text
    }

    #[test]
    fn the_reference_is_that_of_these_definitions() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/reference.md");
        let reference = reference();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &reference).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(
            written == reference,
            "UPDATE_DOCS=1 cargo test writes it anew"
        );
    }

    #[test]
    fn the_definition_is_sound_and_every_verb_has_examples() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        let is_ours = |verb: &&mut Command| verb.get_name() != "help";
        for verb in command.get_subcommands_mut().filter(is_ours) {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Examples:"), "{}", verb.get_name());
        }
    }

    #[test]
    fn paragraphs_of_help_are_wrapped_by_the_terminal_alone() {
        fn check(command: &Command) {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let is_prose =
                |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
            let lines: Vec<_> = help.lines().collect();
            for pair in lines.windows(2) {
                assert!(
                    !pair.iter().all(|line| is_prose(line)),
                    "{} {pair:?}",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }
}
