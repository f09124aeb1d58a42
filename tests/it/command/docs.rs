//! The examples of the chapters about the command, run as they stand there.
//!
//! In a block of the kind `console`, a line that begins with `$ ` is a command, with the lines behind it that a shell
//! would take for its rest; the others are what it prints. `[..]` stands for any text within a line, and a line `...`
//! for any lines.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Shell, weather};

/// Printed between the outputs of two commands.
const MARK: &str = "=== the next command ===";

/// A command and the lines that it is to print.
type Example = (String, Vec<String>);

fn examples(chapter: &str) -> Vec<Example> {
    let mut examples = Vec::<Example>::new();
    let mut is_inside = false;
    let mut goes_on = false;
    for line in chapter.lines() {
        match (is_inside, line) {
            (false, "```console") => is_inside = true,
            (true, "```") => is_inside = false,
            (true, line) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    examples.push((command.to_owned(), Vec::new()));
                    goes_on = command.ends_with('\\');
                    continue;
                }
                let (command, output) = examples.last_mut().unwrap();
                let rest = line.strip_prefix("> ");
                let is_rest = goes_on || (rest.is_some() && output.is_empty());
                match is_rest {
                    true => {
                        command.push('\n');
                        command.push_str(rest.unwrap_or(line));
                        goes_on = line.ends_with('\\');
                    }
                    false => output.push(line.to_owned()),
                }
            }
            (false, _) => {}
        }
    }
    examples
}

/// Runs the commands in one shell, and gives what each prints.
fn outputs(shell: &Shell, examples: &[Example]) -> Vec<Vec<String>> {
    let mut script = "exec 2>&1\n".to_owned();
    for (command, _) in examples {
        script.push_str(&format!("{command}\necho '{MARK}'\n"));
    }
    let bin = Path::new(env!("CARGO_BIN_EXE_samplestore"))
        .parent()
        .unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(shell.path("."))
        .env("PATH", format!("{}:{path}", bin.display()))
        .env_remove("SAMPLESTORE_DB")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut outputs = vec![Vec::new()];
    for line in text.lines() {
        match line {
            MARK => outputs.push(Vec::new()),
            line => outputs.last_mut().unwrap().push(line.to_owned()),
        }
    }
    outputs
}

fn line_matches(pattern: &str, line: &str) -> bool {
    let Some((first, rest)) = pattern.split_once("[..]") else {
        return pattern == line;
    };
    let Some(mut line) = line.strip_prefix(first) else {
        return false;
    };
    loop {
        if line_matches(rest, line) {
            return true;
        }
        let mut chars = line.chars();
        if chars.next().is_none() {
            return false;
        }
        line = chars.as_str();
    }
}

fn all_match(patterns: &[String], lines: &[String]) -> bool {
    match (patterns.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "..." => {
            (0..=lines.len()).any(|skipped| all_match(rest, &lines[skipped..]))
        }
        (Some((first, patterns)), Some((line, lines))) => {
            line_matches(first, line) && all_match(patterns, lines)
        }
        _ => false,
    }
}

fn run(chapter: &str) -> Shell {
    let shell = Shell::new();
    shell.file("nyc-weather.csv", weather());
    let examples = examples(chapter);
    assert!(examples.len() > 5);
    let outputs = outputs(&shell, &examples);
    for ((command, expected), found) in examples.iter().zip(&outputs) {
        assert!(
            all_match(expected, found),
            "$ {command}\nis to print\n{}\nand prints\n{}",
            expected.join("\n"),
            found.join("\n")
        );
    }
    assert_eq!(outputs.len(), examples.len() + 1);
    shell
}

#[test]
fn the_tutorial_is_true() {
    run(include_str!("../../../src/docs/tutorial.md"));
}

#[test]
fn the_how_to_is_true_and_so_is_its_picture() {
    let shell = run(include_str!("../../../src/docs/how_to.md"));
    let drawn = fs::read_to_string(shell.path("weeks.svg")).unwrap();
    super::picture::assert_is("weeks.svg", &drawn);
}

#[test]
fn patterns_match_what_they_say() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (pattern, text, is_match) in [
        ("a\nb", "a\nb", true),
        ("a", "a\nb", false),
        ("a\n...", "a\nb\nc", true),
        ("...\nc", "a\nb\nc", true),
        ("...\nb", "a\nb\nc", false),
        ("in [..] s ([..]/s)", "in 0.1 s (7/s)", true),
        ("in [..] s", "in 0.1 m", false),
        ("[..]", "", false),
    ] {
        assert_eq!(
            all_match(&lines(pattern), &lines(text)),
            is_match,
            "{pattern} {text}"
        );
    }
}
