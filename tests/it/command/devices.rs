//! Pipes and devices that are named as files, and readers that go away.

use std::fs;
use std::process::Command;

use super::Shell;
use super::terminal::many;

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
