//! `completions` and `man`: what shells and `man` read, made from the definition of the command line.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::arguments::command;
use crate::failure::{Code, Failure, InFile, Outcome};
use crate::fields::nearest;
use crate::output::Output;

/// Write the completions of a shell to standard output
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore completions bash \\
      > ~/.local/share/bash-completion/completions/samplestore
  samplestore completions zsh > ~/.zfunc/_samplestore
  samplestore completions fish > ~/.config/fish/completions/samplestore.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Outcome {
        // It writes in one go and panics where it cannot, so not straight to a pipe.
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "samplestore", &mut text);
        let mut output = Output::new();
        output.write_all(&text)?;
        output.finish()?;
        Ok(Code::Fine)
    }
}

/// Write a manual page to standard output, or all of them into a folder
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore man | man -l -
  samplestore man dlq retry | man -l -
  samplestore man --folder ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The verb whose page is written [default: that of the whole command]
    #[arg(value_name = "VERB", conflicts_with = "folder")]
    verb: Vec<String>,
    /// Where the pages of the command and of each verb go; made if need be
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> Outcome {
        if let Some(folder) = &self.folder {
            let made = std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(command(), folder));
            made.map_err(|cause| InFile::wrap(folder, cause))?;
            return Ok(Code::Fine);
        }
        let mut text = Vec::new();
        clap_mangen::Man::new(of_verb(&self.verb)?)
            .render(&mut text)
            .map_err(|cause| Failure::new(Code::Error, cause.to_string()))?;
        let mut output = Output::new();
        output.write_all(&text)?;
        output.finish()?;
        Ok(Code::Fine)
    }
}

/// The command, or one of its verbs.
fn of_verb(words: &[String]) -> Result<Command, Failure> {
    let mut command = command().disable_help_subcommand(true);
    command.build();
    for word in words {
        let Some(found) = command.find_subcommand(word) else {
            let verbs: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
            let is_path = word.contains(std::path::MAIN_SEPARATOR);
            let near = nearest(word, verbs.iter().copied()).filter(|_| !is_path);
            return Err(
                Failure::usage(format!("there is no verb {word:?}")).with_hint(match near {
                    Some(near) => format!("did you mean {near}?"),
                    None => "--folder FOLDER takes all pages".to_owned(),
                }),
            );
        };
        command = found.clone();
    }
    Ok(command)
}
