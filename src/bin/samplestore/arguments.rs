//! [`Arguments`]: the whole command line, with its help.
//!
//! A verb's own flags stand with the verb; what several share stands here and in
//! `arguments/filters.rs`.

mod filters;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use samplestore::{Location, parse_span};

pub(crate) use filters::{Filters, INSTANTS};

use crate::failure::{EXIT_CODES, Failure, Outcome};
use crate::opening::Db;
use crate::verb::{
    backup, check, compact, copy, count, explain, facets, get, import, list, prune, reindex,
    repair, salvage, stats,
};

/// Samples of data and ML pipelines in one file, indexed by pipeline, status and time.
#[derive(Debug, Parser)]
#[command(
    name = "samplestore",
    version,
    max_term_width = 100,
    after_help = EXIT_CODES,
    after_long_help = EXIT_CODES,
    disable_help_subcommand = true
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

    /// How long to wait while another process has the database: 30s, 5m [default: not at all]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_span)]
    wait: Option<Duration>,

    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    Import(import::Import),
    List(list::List),
    Get(get::Get),
    Copy(copy::Copy),
    Count(count::Count),
    Facets(facets::Facets),
    Stats(stats::Stats),
    Explain(explain::Explain),
    Prune(prune::Prune),
    Compact(compact::Compact),
    Backup(backup::Backup),
    Check(check::Check),
    Repair(repair::Repair),
    Reindex(reindex::Reindex),
    Salvage(salvage::Salvage),
}

/// Reads the process's command line.
///
/// # Errors
/// What the user asked to read (help, version), or what is wrong with the command line.
pub(crate) fn parse() -> Result<Arguments, clap::Error> {
    Arguments::try_parse()
}

impl Arguments {
    /// Does what was asked.
    pub(crate) fn run(self) -> Outcome {
        let wait = self.wait.unwrap_or_default();
        let db = || {
            let named = self.db.filter(|db| !db.is_empty());
            let named = named.ok_or_else(|| {
                Failure::usage("no database is named")
                    .with_hint("give --db FILE or set SAMPLESTORE_DB")
            });
            Ok::<_, Failure>(Db::new(named.and_then(location)?, wait))
        };
        match self.verb {
            Verb::Import(verb) => verb.run(&db()?),
            Verb::List(verb) => verb.run(&db()?),
            Verb::Get(verb) => verb.run(&db()?),
            // It names its two storages itself.
            Verb::Copy(verb) => verb.run(wait),
            Verb::Count(verb) => verb.run(&db()?),
            Verb::Facets(verb) => verb.run(&db()?),
            Verb::Stats(verb) => verb.run(&db()?),
            Verb::Explain(verb) => verb.run(&db()?),
            Verb::Prune(verb) => verb.run(&db()?),
            Verb::Compact(verb) => verb.run(&db()?),
            Verb::Backup(verb) => verb.run(&db()?),
            Verb::Check(verb) => verb.run(&db()?),
            Verb::Repair(verb) => verb.run(&db()?),
            Verb::Reindex(verb) => verb.run(&db()?),
            Verb::Salvage(verb) => verb.run(&db()?),
        }
    }
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_verb_has_examples() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        for verb in command.get_subcommands_mut() {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Examples:"), "{}", verb.get_name());
        }
    }
}
