//! Pictures in the docs: that they are what the command draws, and the one of a session in the README.
//!
//! `UPDATE_DOCS=1 cargo test command` makes them anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use rexpect::session::spawn_command;

use super::{Shell, weather};

/// Columns of the terminal.
const COLUMNS: usize = 100;
const LETTER_WIDTH: f64 = 8.4;
const LINE_HEIGHT: f64 = 18.0;
const EDGE: f64 = 14.0;
const INK: &str = "#d8dee9";

/// What is typed.
const SESSION: &[&str] = &[
    "samplestore facets",
    "samplestore hist month --split status",
    "samplestore dlq group",
    "samplestore list --status dlq --newest --limit 3",
];

/// Asserts that a picture of the docs is this one.
pub(super) fn assert_is(name: &str, picture: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/docs")
        .join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, picture).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written == picture,
        "UPDATE_DOCS=1 cargo test command draws {name} anew"
    );
}

#[test]
fn the_session_in_the_readme_is_one_of_this_command() {
    let shell = Shell::new();
    let file = shell.file("nyc-weather.csv", weather());
    shell.data([
        "import",
        &file,
        "--id-field",
        "origin",
        "--id-field",
        "time_hour",
        "--pipeline-field",
        "origin",
        "--created-at-field",
        "time_hour",
        "--null",
        "NA",
        "--measurement",
        "temp,humid",
    ]);
    shell.data(["mark", "ready", "--all", "--before", "2013-09", "--yes"]);
    shell.data([
        "mark",
        "measured",
        "--from",
        "pending",
        "--before",
        "2013-11-10",
        "--yes",
    ]);
    let failed: String = shell
        .data(["list", "--pipeline", "EWR", "--since", "2013-10"])
        .lines()
        .enumerate()
        .filter(|(number, _)| number % 5 == 0)
        .map(|(number, line)| {
            let (stage, message) = match number % 3 {
                0 => ("fetch", format!("HTTP 503 after {number} ms")),
                _ => ("check", format!("reading {number} has no wind_dir")),
            };
            let reason = format!(
                r#""status":"dlq","reason":{{"stage":"{stage}","message":"{message}","attempts":3,"at":"2014-01-05T09:{:02}:00Z"}}"#,
                number % 60
            );
            let (head, rest) = line.split_once("\"status\":\"").unwrap();
            format!("{head}{reason}{}\n", &rest[rest.find('"').unwrap() + 1..])
        })
        .collect();
    assert_eq!(shell.run_with(["import", "-"], &failed).code, 0);

    let mut lines = Vec::new();
    for typed in SESSION {
        lines.push(format!("\u{1b}[1m$ {typed}\u{1b}[0m"));
        let script = format!("stty cols {COLUMNS} rows 40; exec {typed}");
        let mut command = Command::new("sh");
        let bin = Path::new(env!("CARGO_BIN_EXE_samplestore"))
            .parent()
            .unwrap();
        let path = std::env::var("PATH").unwrap();
        command
            .args(["-c", &script])
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("SAMPLESTORE_DB", shell.db())
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR");
        let mut session = spawn_command(command, Some(120_000)).unwrap();
        let text = super::terminal::text_of(&session.exp_eof().unwrap());
        // What a progress bar leaves behind takes no room, nor does the place where the next page begins.
        let shown = text
            .lines()
            .map(last_of_line)
            .filter(|line| !line.starts_with("next page:"));
        lines.extend(shown.filter(|line| !line.is_empty()));
        lines.push(String::new());
    }
    assert_is("session.svg", &svg(&lines));
}

/// What is seen of a line that was written over.
fn last_of_line(line: &str) -> String {
    let seen = line
        .rsplit('\r')
        .find(|part| !part.is_empty())
        .unwrap_or("");
    seen.replace("\u{1b}[2K", "")
}

fn svg(lines: &[String]) -> String {
    let width = COLUMNS as f64 * LETTER_WIDTH + 2.0 * EDGE;
    let height = lines.len() as f64 * LINE_HEIGHT + 2.0 * EDGE;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">
<rect width="100%" height="100%" rx="8" fill="#22272e"/>
"##
    );
    for (number, line) in lines.iter().enumerate() {
        let y = EDGE + LINE_HEIGHT * (number as f64 + 0.75);
        let mut column = 0;
        for (text, color, is_bold) in runs(line) {
            let letters = text.chars().count();
            let x = EDGE + LETTER_WIDTH * column as f64;
            column += letters;
            if text.trim().is_empty() {
                continue;
            }
            let weight = if is_bold {
                r#" font-weight="bold""#
            } else {
                ""
            };
            let safe = text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            writeln!(
                svg,
                r#"<text x="{x:.1}" y="{y:.1}" fill="{color}"{weight} textLength="{:.1}" xml:space="preserve">{safe}</text>"#,
                LETTER_WIDTH * letters as f64
            )
            .unwrap();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The parts of a line that look the same: text, colour, whether it is bold.
fn runs(line: &str) -> Vec<(String, &'static str, bool)> {
    let mut runs = Vec::new();
    let (mut color, mut is_bold) = (INK, false);
    let mut parts = line.split("\u{1b}[");
    let mut add = |text: &str, color, is_bold| {
        if !text.is_empty() {
            runs.push((text.to_owned(), color, is_bold));
        }
    };
    add(parts.next().unwrap_or(""), color, is_bold);
    for part in parts {
        let (codes, text) = part.split_once('m').expect("only colours are left");
        for code in codes.split(';') {
            match code {
                "" | "0" => (color, is_bold) = (INK, false),
                "1" => is_bold = true,
                "31" => color = "#f47067",
                "32" => color = "#8ddb8c",
                "33" => color = "#f0c674",
                "34" => color = "#6cb6ff",
                "35" => color = "#dcbdfb",
                "36" => color = "#76e3ea",
                "37" => color = "#909dab",
                other => panic!("no colour for {other:?} in {line:?}"),
            }
        }
        add(text, color, is_bold);
    }
    runs
}
