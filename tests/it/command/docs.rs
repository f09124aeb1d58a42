//! The examples of the chapters about the command, run as they stand there.
//!
//! In a block of the kind `console`, a line that begins with `$ ` is a command, with the lines behind it that a shell
//! would take for its rest; the others are what it prints. `[..]` stands for any text within a line, and a line `...`
//! for any lines, but not for an error. A command fails that prints one, or that ends with `# exits N`, and no other does.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Shell, weather};

/// Printed behind the output of each command, with its exit code.
const MARK: &str = "=== the exit code === ";

/// What errors begin with.
const ERROR: &str = "error:";

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

/// Whether a command ended as its example says.
fn ends_so((command, output): &Example, code: i32) -> bool {
    match command.rsplit_once("# exits ") {
        Some((_, expected)) => expected.parse::<i32>() == Ok(code),
        None => output.iter().any(|line| line.starts_with(ERROR)) == (code != 0),
    }
}

/// Runs the commands in one shell, and gives what each prints, and its exit code.
fn outputs(shell: &Shell, examples: &[Example]) -> Vec<(Vec<String>, i32)> {
    let mut script = "exec 2>&1\n".to_owned();
    for (command, _) in examples {
        script.push_str(&format!("{command}\necho \"{MARK}$?\"\n"));
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
    let mut outputs = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.strip_prefix(MARK) {
            Some(code) => outputs.push((std::mem::take(&mut lines), code.parse().unwrap())),
            None => lines.push(line.to_owned()),
        }
    }
    assert_eq!(lines, Vec::<String>::new());
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
            let is_error = |line: &String| line.starts_with(ERROR);
            let skipped_max = lines.iter().position(is_error).unwrap_or(lines.len());
            (0..=skipped_max).any(|skipped| all_match(rest, &lines[skipped..]))
        }
        (Some((first, patterns)), Some((line, lines))) => {
            first.starts_with(ERROR) == line.starts_with(ERROR)
                && line_matches(first, line)
                && all_match(patterns, lines)
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
    for (example, (found, code)) in examples.iter().zip(&outputs) {
        let (command, expected) = example;
        assert!(
            all_match(expected, found),
            "$ {command}\nis to print\n{}\nand prints\n{}",
            expected.join("\n"),
            found.join("\n")
        );
        assert!(ends_so(example, *code), "$ {command}\nends with {code}");
    }
    assert_eq!(outputs.len(), examples.len());
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
fn a_command_that_fails_is_told_apart() {
    let example = |command: &str, line: &str| (command.to_owned(), vec![line.to_owned()]);
    for (command, line, code, is_so) in [
        ("a", "done", 0, true),
        ("a", "done", 1, false),
        ("a", "error: no", 2, true),
        ("a", "error: no", 0, false),
        ("a # exits 3", "done", 3, true),
        ("a # exits 3", "done", 0, false),
        ("a # exits 3", "error: no", 2, false),
    ] {
        let example = example(command, line);
        assert_eq!(ends_so(&example, code), is_so, "{command} {line} {code}");
    }
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
        ("[..]", "error: no", false),
        ("...", "a\nerror: no", false),
        ("error: [..]", "error: no", true),
    ] {
        assert_eq!(
            all_match(&lines(pattern), &lines(text)),
            is_match,
            "{pattern} {text}"
        );
    }
}
