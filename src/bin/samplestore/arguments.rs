//! [`Arguments`]: the whole command line, with its help.
//!
//! A verb's own flags stand with the verb; what several share stands here and in
//! `arguments/filters.rs`.

mod filters;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use samplestore::parse_span;

pub(crate) use filters::{Filters, INSTANTS};

use crate::failure::{EXIT_CODES, Failure, Outcome};
use crate::opening::Db;
use crate::verb::{backup, compact, count, explain, facets, get, import, list, prune, stats};

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
    /// The database file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "SAMPLESTORE_DB",
        hide_env_values = true
    )]
    db: Option<PathBuf>,

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
    Count(count::Count),
    Facets(facets::Facets),
    Stats(stats::Stats),
    Explain(explain::Explain),
    Prune(prune::Prune),
    Compact(compact::Compact),
    Backup(backup::Backup),
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
        let db = self
            .db
            .filter(|path| !path.as_os_str().is_empty())
            .ok_or_else(|| {
                Failure::usage("no database is named")
                    .with_hint("give --db FILE or set SAMPLESTORE_DB")
            })?;
        let db = Db::new(db, self.wait.unwrap_or_default());
        match self.verb {
            Verb::Import(verb) => verb.run(&db),
            Verb::List(verb) => verb.run(&db),
            Verb::Get(verb) => verb.run(&db),
            Verb::Count(verb) => verb.run(&db),
            Verb::Facets(verb) => verb.run(&db),
            Verb::Stats(verb) => verb.run(&db),
            Verb::Explain(verb) => verb.run(&db),
            Verb::Prune(verb) => verb.run(&db),
            Verb::Compact(verb) => verb.run(&db),
            Verb::Backup(verb) => verb.run(&db),
        }
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
