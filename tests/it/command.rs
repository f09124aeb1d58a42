//! The command `samplestore`, from outside: words, formats and exit codes.
#![allow(clippy::unwrap_used)] // a test that cannot run has failed

#[cfg(unix)]
mod bars;
mod changing;
#[cfg(all(feature = "arrow", target_os = "linux"))]
mod confined;
mod consent;
mod counting;
#[cfg(all(feature = "s3", unix))]
mod credentials;
#[cfg(unix)]
mod devices;
mod dlq;
#[cfg(unix)]
mod docs;
#[cfg(feature = "files")]
mod everywhere;
#[cfg(unix)]
mod examples;
mod exported;
mod exporting;
mod failing;
mod import;
mod index;
#[cfg(unix)]
mod interrupting;
mod json;
mod keeping;
#[cfg(unix)]
mod listening;
mod manners;
#[cfg(unix)]
mod meanwhile;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(unix)]
mod overwriting;
mod paging;
mod passwords;
#[cfg(unix)]
mod picture;
#[cfg(unix)]
mod piped;
mod reading;
mod records;
mod rejects;
mod repairing;
#[cfg(unix)]
mod signals;
#[cfg(feature = "arrow")]
mod tables;
mod tail;
#[cfg(unix)]
mod terminal;
mod urls;
#[cfg(unix)]
mod widths;
mod wording;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

/// Verbs that have filters.
const WITH_FILTERS: [&str; 16] = [
    "list",
    "count",
    "facets",
    "explain",
    "export",
    "tail",
    "hist",
    "schema",
    "mark",
    "rm",
    "prune",
    "copy",
    "dlq list",
    "dlq group",
    "dlq show",
    "dlq retry",
];

/// A folder with a database in it, and the command that is about that database.
pub(crate) struct Shell {
    folder: TempDir,
}

/// What a run of the command ended in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) data: String,
    pub(crate) words: String,
}

impl Shell {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    /// A folder with a database of the samples that [`six`] gives.
    pub(crate) fn with_six() -> Self {
        let shell = Self::new();
        let answer = shell.run_with(["import", "-"], &six());
        assert_eq!(answer.code, 0, "{answer:?}");
        shell
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder, without the command.
    pub(crate) fn into_folder(self) -> TempDir {
        self.folder
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.path("samples.db")
    }

    /// Writes a file and gives its path as an argument.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The command, about the database of this folder.
    pub(crate) fn command(&self) -> Command {
        let mut command = bare();
        command.env("SAMPLESTORE_DB", self.db());
        command
    }

    pub(crate) fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Answer {
        self.run_with(words, "")
    }

    /// Runs with this text on standard input.
    pub(crate) fn run_with<'a>(
        &self,
        words: impl IntoIterator<Item = &'a str>,
        input: &str,
    ) -> Answer {
        answer(self.command().args(words).write_stdin(input))
    }

    /// Runs, expects that all is well, and gives the data.
    pub(crate) fn data<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> String {
        let answer = self.run(words);
        assert_eq!(answer.code, 0, "{answer:?}");
        answer.data
    }
}

/// The command without a database.
fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samplestore"));
    command.env_remove("SAMPLESTORE_DB");
    command
}

fn answer(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    Answer {
        code: output.status.code().unwrap(),
        data: String::from_utf8(output.stdout).unwrap(),
        words: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Six samples in their text form, an hour apart: a to f, of two pipelines and every status.
pub(crate) fn six() -> String {
    let statuses = ["pending", "measured", "ready", "labeled", "skipped", "dlq"];
    let mut text = String::new();
    for (hour, status) in statuses.iter().enumerate() {
        let id = char::from(b'a' + u8::try_from(hour).unwrap());
        let pipeline = ["even", "odd"][hour % 2];
        let reason = match *status {
            "dlq" => {
                r#","reason":{"at":"2013-06-01T06:00:00Z","attempts":3,"message":"no, \"sun\"","stage":"parse"}"#
            }
            _ => "",
        };
        writeln!(
            text,
            r#"{{"created_at":"2013-06-01T0{hour}:00:00Z","data":{{"n":{hour},"word":"w{hour}"}},"id":"{id}","measurements":{{"m":{hour}.5}},"pipeline":"{pipeline}"{reason},"status":"{status}"}}"#
        )
        .unwrap();
    }
    text
}

/// The real input of the examples.
pub(crate) fn weather() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/nyc-weather.csv");
    fs::read_to_string(path).unwrap()
}

#[test]
fn help_has_examples_and_goes_to_stdout() {
    for verb in ["import", "export", "copy", "index", "completions", "man"] {
        let answer = answer(bare().args([verb, "--help"]));
        assert_eq!(answer.code, 0, "{verb}");
        assert!(answer.data.contains("Examples:"), "{verb}");
        assert_eq!(answer.words, "");
    }
    let help = answer(bare().arg("--help"));
    assert!(help.data.contains("Exit codes:"));
    assert!(
        answer(bare().arg("--version"))
            .data
            .contains(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn every_filter_of_the_library_is_known_to_every_verb_that_has_filters() {
    for verb in WITH_FILTERS {
        let words = verb.split(' ').chain(["--help"]);
        let help = answer(bare().args(words)).data;
        for filter in samplestore::FILTERS {
            // It goes by itself, and says so.
            let is_refused =
                verb == "prune" && ["id", "limit", "newest", "cursor"].contains(&filter.name);
            assert_eq!(
                help.contains(&format!("--{}", filter.name)),
                !is_refused,
                "{verb} {filter:?}"
            );
        }
    }
}

#[test]
fn a_command_line_that_cannot_be_understood_is_2_and_names_the_nearest_word() {
    let shell = Shell::with_six();
    for (words, hint) in [
        (vec![], "Usage"),
        (vec!["lst"], "list"),
        (vec!["count", "--pipline", "even"], "--pipeline"),
        (vec!["count", "--status", "reday"], "ready"),
        (vec!["count", "--status", "ready,dql"], "dlq"),
        (vec!["count", "--after", "yesterday?"], "--after"),
        (vec!["count", "--limit", "x"], "--limit"),
        (vec!["count", "--wait", "soon"], "2h"),
        (vec!["prune", "--older-than", "30d"], "--dry-run"),
        (vec!["prune", "--yes", "--limit", "5"], "limit"),
        (vec!["prune", "--yes"], "age"),
        (vec!["prune", "--dry-run"], "age"),
        (
            vec!["prune", "--yes", "--dry-run", "--keep-newest", "1"],
            "--dry-run",
        ),
        (vec!["prune", "--yes", "--status", "skiped"], "skipped"),
        (vec!["prune", "--yes", "--older-than", "long"], "3d"),
        (vec!["mark"], "STATUS"),
        (vec!["mark", "redy", "--all"], "ready"),
        (vec!["mark", "ready"], "--all"),
        (vec!["mark", "ready", "--from", "measurd"], "measured"),
        (
            vec!["mark", "ready", "--from", "dlq", "--status", "dlq"],
            "--status",
        ),
        (vec!["mark", "ready", "--from", "measured"], "--yes"),
        (vec!["rm"], "--all"),
        (vec!["rm", "--newest"], "--all"),
        (vec!["rm", "--status", "dlq"], "--yes"),
        (vec!["rm", "--all", "--yes", "--dry-run"], "--dry-run"),
        (vec!["export", "x"], "--format"),
        (vec!["export", "x.parq"], "--format"),
        (vec!["hist", "dya"], "day"),
        (vec!["hist", "--split", "stats"], "status"),
        (vec!["facets", "--by", "pipelne"], "pipeline"),
        (vec!["dlq"], "group"),
        (vec!["dlq", "grop"], "group"),
        (vec!["dlq", "retry"], "--all"),
        (vec!["dlq", "retry", "--all"], "--yes"),
        (vec!["tail", "--limit", "10001"], "list"),
        (vec!["tail", "-f", "csv"], "jsonl"),
        (vec!["put", "--id", "a"], "--pipeline"),
        (vec!["put", "--pipeline", "p", "--data", "n"], "NAME=VALUE"),
        (vec!["put", "--pipeline", "p", "--data", "n=[1"], "JSON"),
        (vec!["completions", "bsh"], "bash"),
        (vec!["count", "-q", "-v"], "--quiet"),
        (vec!["count", "--color", "alwys"], "always"),
        (vec!["backup"], "FILE"),
        (vec!["count", "--limit", "1", "--limit", "2"], "--limit"),
        (vec!["list", "--cursor", "x"], "--cursor"),
        (vec!["tail", "-f"], "--follow"),
        (vec!["tail", "-f", "--status", "dlq"], "-F"),
        (vec!["man", "lst"], "list"),
        (vec!["man", "man/man1"], "--folder"),
        (vec!["man", "list", "--folder", "x"], "--folder"),
        (vec!["list", "-f", "jsnl"], "jsonl"),
        (vec!["get"], "ID"),
        (vec!["import", "x.csv", "--batch", "0"], "--batch"),
        (
            vec![
                "import",
                "x.csv",
                "--pipeline",
                "a",
                "--pipeline-field",
                "b",
            ],
            "--pipeline-field",
        ),
        (vec!["import", "x.csv", "--status", "redy"], "ready"),
        (vec!["import", "x", "--pipeline", "a"], "--format"),
        (
            vec!["import", "--format", "jsonl", "--id-field", "id"],
            "--pipeline",
        ),
    ] {
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, 2, "{words:?} {answer:?}");
        assert!(answer.words.contains(hint), "{words:?} {answer:?}");
        assert_eq!(answer.data, "", "{words:?}");
    }
    let nameless = answer(bare().arg("count"));
    assert_eq!(nameless.code, 2);
    assert!(nameless.words.contains("SAMPLESTORE_DB"));
    let nameless = answer(bare().arg("count").env("SAMPLESTORE_DB", ""));
    assert_eq!(nameless.code, 2);
}

#[test]
fn the_flag_names_the_database_before_the_variable_does() {
    let shell = Shell::with_six();
    let other = shell.path("other.db");
    let answer = answer(shell.command().arg("-d").arg(&other).arg("count"));
    assert_eq!(answer.code, 1);
    assert!(answer.words.contains("other.db"), "{answer:?}");
    assert!(!other.exists(), "a verb that reads creates nothing");
    assert_eq!(shell.data(["count"]), "6\n");
}
