//! [`Consent`]: the flags of verbs that change many samples, and the question that they ask.

use std::io::{self, IsTerminal};

use clap::Args;

use crate::failure::{self, Failure, complaint, words};

/// Whether to change what matches.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Consent {
    /// Only count what matches
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask; needed where there is no terminal to ask on
    #[arg(short, long, conflicts_with = "dry_run")]
    yes: bool,
}

impl Consent {
    /// Whether nothing is to be changed.
    pub(crate) fn is_dry_run(self) -> bool {
        self.dry_run
    }

    /// Whether nobody is asked, since it is given.
    pub(crate) fn is_given(self) -> bool {
        self.yes
    }

    /// Fails when consent is needed and nobody can be asked. `what` says what the verb does: "rm removes samples".
    pub(crate) fn check(self, what: &str) -> Result<(), Failure> {
        if self.yes || self.dry_run || can_ask() {
            return Ok(());
        }
        Err(Failure::usage(format!("{what}, and nobody can be asked"))
            .with_hint("--dry-run counts them, --yes does it"))
    }

    /// Says how many match, or asks about them, and whether to go on.
    pub(crate) fn ask(self, matched: &str, question: &str) -> Result<bool, Failure> {
        if self.yes {
            words(&format!("matched: {matched}"));
            return Ok(true);
        }
        let failed = |cause: io::Error| {
            Failure::usage(format!("could not ask: {cause}")).with_hint("--yes does not ask")
        };
        failure::question(&format!("{question} [y/N]")).map_err(failed)?;
        let mut answer = String::new();
        if io::stdin().read_line(&mut answer).map_err(failed)? > 0 {
            failure::question_is_answered();
        }
        let is_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        if !is_yes {
            complaint("nothing was changed");
        }
        Ok(is_yes)
    }
}

fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}
