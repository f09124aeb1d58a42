//! `completions` and `man`: what shells and `man` read, made from the definition of the command line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, StringValueParser};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, roman};

use crate::arguments::{Known, command, completed_command};
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
        let mut command = completed_command();
        clap_complete::generate(self.shell, &mut command, "samplestore", &mut text);
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
    #[arg(value_name = "VERB", value_parser = verb(), hide_possible_values = true, conflicts_with = "folder")]
    verb: Vec<String>,
    /// Where the pages of the command and of each verb go; made if need be
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> Outcome {
        if let Some(folder) = &self.folder {
            let made =
                std::fs::create_dir_all(folder).and_then(|()| write_pages(&of_all(), folder));
            made.map_err(|cause| InFile::wrap(folder, cause))?;
            return Ok(Code::Fine);
        }
        let (_, text) = page(&of_verb(&self.verb)?)
            .map_err(|cause| Failure::new(Code::Error, cause.to_string()))?;
        let mut output = Output::new();
        output.write_all(&text)?;
        output.finish()?;
        Ok(Code::Fine)
    }
}

/// Takes any word.
fn verb() -> Known<StringValueParser> {
    Known::new(StringValueParser::new(), || {
        let command = command();
        let verbs = command.get_subcommands();
        // The parser takes only what lives as long as the process.
        verbs
            .map(|verb| PossibleValue::new(&*verb.get_name().to_owned().leak()))
            .collect()
    })
}

/// The whole command, as its pages tell it.
fn of_all() -> Command {
    let mut command = command().disable_help_subcommand(true);
    command.build();
    command
}

/// Writes the page of a command and of each verb in it.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    let (name, text) = page(command)?;
    std::fs::write(folder.join(name), text)?;
    let mut verbs = command.get_subcommands();
    verbs.try_for_each(|verb| write_pages(verb, folder))
}

/// The name of a manual page, and what is in it. What stands behind the flags in the help has sections of its own here.
fn page(command: &Command) -> io::Result<(String, Vec<u8>)> {
    let source = format!("samplestore {}", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(command.clone()).source(source);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    text.extend(with_tables(&String::from_utf8_lossy(&options)).into_bytes());
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let help = command.get_after_long_help().or(command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    let mut is_in_notes = false;
    for part in help.split("\n\n") {
        match part.split_once(":\n") {
            Some((name @ ("Examples" | "Exit codes"), lines)) => {
                roff.control("SH", [name.to_uppercase().as_str()]);
                roff.control("nf", []);
                for line in lines.lines() {
                    roff.text([roman(line)]);
                }
                roff.control("fi", []);
                is_in_notes = false;
            }
            _ => {
                match is_in_notes {
                    true => roff.control("PP", []),
                    false => roff.control("SH", ["NOTES"]),
                };
                roff.text([roman(part)]);
                is_in_notes = true;
            }
        }
    }
    let variables = command.get_arguments().filter_map(|argument| {
        let (name, flag) = (argument.get_env()?.to_str()?, argument.get_long()?);
        Some(format!("{name}: what --{flag} says, where it is not given"))
    });
    let variables: Vec<_> = variables.collect();
    if !variables.is_empty() {
        roff.control("SH", ["ENVIRONMENT"]);
        roff.text([roman(variables.join("\n"))]);
    }
    roff.to_writer(&mut text)?;
    Ok((man.get_filename(), text))
}

/// A text for `man`, which joins lines, with those left apart that stand below each other as in a table.
fn with_tables(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut is_in_table = false;
    for line in text.lines() {
        let is_of_table = line.contains("   ");
        match (is_in_table, is_of_table) {
            (false, true) => kept.push_str(".nf\n"),
            (true, false) => kept.push_str(".fi\n"),
            _ => {}
        }
        is_in_table = is_of_table;
        kept.push_str(line);
        kept.push('\n');
    }
    if is_in_table {
        kept.push_str(".fi\n");
    }
    kept
}

/// The command, or one of its verbs.
fn of_verb(words: &[String]) -> Result<Command, Failure> {
    let mut command = of_all();
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
