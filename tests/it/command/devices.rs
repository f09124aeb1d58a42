//! Pipes and devices that are named as files, and readers that go away.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use super::repairing::{COLUMN, RECORD, damage};
use super::terminal::many;
use super::{Answer, Shell};

/// What a shell does with such a line, in which `$S` is the command: the exit code of the command itself is in the file `code`.
fn piped(shell: &Shell, line: &str) -> (String, String, String) {
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(shell.path("."))
        .env("S", env!("CARGO_BIN_EXE_samplestore"))
        .env("SAMPLESTORE_DB", shell.db())
        .output()
        .unwrap();
    let [data, words] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let code = fs::read_to_string(shell.path("code")).unwrap_or_default();
    (data, words, code)
}

/// Runs the command with its answer going there.
fn run_into(shell: &Shell, words: &[&str], input: &str, stdout: impl Into<Stdio>) -> Answer {
    let input = shell.file("input", input);
    let output = Command::new(env!("CARGO_BIN_EXE_samplestore"))
        .args(words)
        .env("SAMPLESTORE_DB", shell.db())
        .stdin(File::open(input).unwrap())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    Answer {
        code: output.status.code().unwrap(),
        data: String::new(),
        words: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What is said to be wrong, whatever the folder is called.
fn complaints(shell: &Shell, answer: &Answer) -> Vec<String> {
    let folder = shell.path("").display().to_string();
    let lines = answer.words.lines().map(|line| line.replace(&folder, ""));
    lines
        .filter(|line| line.starts_with("error:") || line.starts_with(" hint:"))
        .collect()
}

#[test]
fn what_is_wrong_is_told_also_where_nobody_reads_the_answer() {
    let sound: fn(&Shell) = |_| {};
    let index: fn(&Shell) = |shell| damage(shell, &COLUMN);
    let record: fn(&Shell) = |shell| damage(shell, RECORD);
    let sample = "{\"id\":\"x\",\"pipeline\":\"p\"}\n";
    let import = &["import", "--json"][..];
    let array = &["import", "--json", "--format", "json", "--batch", "1"][..];
    for (words, input, prepare, code) in [
        (&["check"][..], "", sound, 0),
        (&["check", "-f", "table"], "", index, 6),
        (&["check"], "", record, 5),
        (&["repair"], "", sound, 0),
        (&["repair", "-f", "table"], "", index, 0),
        (&["repair"], "", record, 5),
        (&["salvage", "TARGET"], "", sound, 0),
        (&["salvage", "TARGET", "-f", "table"], "", record, 3),
        (&["get", "a"], "", sound, 0),
        (&["get", "a", "nope"], "", sound, 1),
        (&["get", "a", "nope", "-f", "csv"], "", sound, 1),
        (&["get", "a", "d", "nope"], "", record, 5),
        (import, sample, sound, 0),
        (import, "{}\n", sound, 3),
        (&["import", "--json", "-q"], "{}\n", sound, 3),
        (array, "[{\"id\":\"x\",\"pipeline\":\"p\"},", sound, 1),
        (&["copy", "DB", "TARGET", "--json"], "", sound, 0),
        (&["copy", "DB", "TARGET", "--json"], "", record, 5),
        (&["dlq", "show", "00000000", "-f", "json"], "", sound, 1),
        (&["dlq", "retry", "00000000", "--yes"], "", sound, 1),
        (&["rm", "--all", "--yes"], "", sound, 0),
        (&["mark", "ready", "--all", "--yes"], "", sound, 0),
        (&["list"], "", sound, 0),
    ] {
        let run = |run: &dyn Fn(&Shell, &[&str]) -> Answer| {
            let shell = Shell::with_six();
            prepare(&shell);
            let [db, target] = [shell.db(), shell.path("to.db")];
            let words: Vec<_> = words
                .iter()
                .map(|word| match *word {
                    "DB" => db.to_str().unwrap(),
                    "TARGET" => target.to_str().unwrap(),
                    word => word,
                })
                .collect();
            let answer = run(&shell, &words);
            assert_eq!(answer.code, code, "{words:?} {answer:?}");
            complaints(&shell, &answer)
        };
        let read = run(&|shell, words| shell.run_with(words.iter().copied(), input));
        let unread = run(&|shell, words| {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            run_into(shell, words, input, writer)
        });
        assert_eq!(unread, read, "{words:?}");
        assert!(code != 0 || read.is_empty(), "{words:?} {read:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_wrong_is_told_beside_an_answer_that_has_no_room() {
    for (words, code) in [(&["check"][..], 5), (&["get", "a", "nope"], 1)] {
        let shell = Shell::with_six();
        if words == ["check"] {
            damage(&shell, RECORD);
        }
        let full = File::options().write(true).open("/dev/full").unwrap();
        let answer = run_into(&shell, words, "", full);
        assert_eq!(answer.code, code, "{answer:?}");
        let is_told = ["error: could not write to standard output", "error: "];
        let errors = |begin: &&str| {
            answer
                .words
                .lines()
                .filter(|line| line.starts_with(*begin))
                .count()
        };
        let counts: Vec<_> = is_told.iter().map(errors).collect();
        assert_eq!(counts, [1, 2], "{answer:?}");
    }
}

fn formats() -> Vec<&'static str> {
    let mut formats = vec!["jsonl", "json", "csv"];
    if cfg!(feature = "arrow") {
        formats.extend(["parquet", "arrow"]);
    }
    formats
}

#[test]
fn whoever_has_seen_enough_of_an_export_is_told_nothing() {
    // More than a pipe holds, in any format.
    let shell = many(60_000);
    for format in formats() {
        for to in ["-", "/dev/stdout"] {
            let line = format!("{{ \"$S\" export {to} -f {format}; echo $? >code; }} | head -c 10");
            let (data, words, code) = piped(&shell, &line);
            assert!(!data.is_empty(), "{line}");
            assert_eq!((&*words, &*code), ("", "0\n"), "{line}");
        }
        let line = format!(
            "rm -f pipe; mkfifo pipe; head -c 10 <pipe & \"$S\" export pipe -f {format}; echo $? >code; wait"
        );
        let (data, words, code) = piped(&shell, &line);
        assert!(!data.is_empty(), "{line}");
        assert_eq!((&*words, &*code), ("", "0\n"), "{line}");
    }
    for verb in ["hist --svg /dev/stdout", "hist --svg -"] {
        let line = format!("{{ sleep 0.1; \"$S\" {verb}; echo $? >code; }} | true");
        let (_, words, code) = piped(&shell, &line);
        assert_eq!((&*words, &*code), ("", "0\n"), "{line}");
    }
}

#[test]
fn what_goes_through_a_pipe_is_what_a_file_would_have() {
    let shell = Shell::with_six();
    for format in formats() {
        let file = format!("file.{format}");
        shell.data(["export", shell.path(&file).to_str().unwrap()]);
        for (number, to) in ["-", "/dev/stdout"].into_iter().enumerate() {
            let copy = format!("copy{number}.{format}");
            let line = format!(
                "\"$S\" export {to} -f {format} | cat >{copy}; cmp {file} {copy} && echo same"
            );
            let (data, words, _) = piped(&shell, &line);
            assert_eq!(data, "same\n", "{line} {words}");
            // And it reads back.
            let other = shell.path(&format!("{copy}.db"));
            let url = ["-d", other.to_str().unwrap()];
            let copy = shell.path(&copy);
            shell.data([&url[..], &["import", copy.to_str().unwrap(), "-q"]].concat());
            let list = shell.data([&url[..], &["list"]].concat());
            assert_eq!(list, shell.data(["list"]), "{line}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_unknown_is_told_before_the_file_is_whole() {
    let shell = Shell::with_six();
    let words = ["export", "/dev/full", "-f", "json", "--pipeline", "evn"];
    let answer = shell.run(words);
    assert_eq!(answer.code, 1, "{answer:?}");
    let said = "no sample is of the pipeline \"evn\" (did you mean \"even\"?)\nerror: could not write /dev/full";
    assert!(answer.words.starts_with(said), "{answer:?}");
}
