//! Files that a verb reads or writes anyhow are not written over, whatever they are called.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use super::{Answer, Shell};

const RECORDS: &str =
    "{\"id\":\"g1\",\"pipeline\":\"a\"}\nnot json\n{\"id\":\"g2\",\"pipeline\":\"a\"}\n";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn refused(answer: &Answer) {
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.words.contains("overwrite"), "{answer:?}");
}

#[test]
fn rejects_do_not_take_the_place_of_a_database_that_is_made() {
    let shell = Shell::new();
    let input = shell.file("r.jsonl", RECORDS);
    fs::create_dir(shell.path("folder")).unwrap();
    symlink(shell.path("."), shell.path("folder/back")).unwrap();
    for name in ["samples.db", "./samples.db", "folder/back/samples.db"] {
        let rejects = shell.path(name);
        for overwrite in [&[][..], &["--overwrite"]] {
            let words = ["import", &input, "--rejects", text(&rejects)];
            refused(&shell.run([&words, overwrite].concat()));
            assert!(!shell.db().exists(), "nothing is stored before that");
        }
    }
}

#[test]
fn rejects_do_not_take_the_place_of_a_database_under_another_name() {
    let shell = Shell::with_six();
    let input = shell.file("r.jsonl", RECORDS);
    let (hard, soft) = (shell.path("hard"), shell.path("soft"));
    fs::hard_link(shell.db(), &hard).unwrap();
    symlink(shell.db(), &soft).unwrap();
    for rejects in [&hard, &soft] {
        let words = ["import", &input, "--rejects", text(rejects), "--overwrite"];
        refused(&shell.run(words));
        assert_eq!(shell.data(["count"]), "6\n");
    }
    // A link that leads nowhere until the database is made is seen when it would be written.
    let late = Shell::new();
    let link = late.path("link");
    symlink("samples.db", &link).unwrap();
    let words = ["import", &input, "--rejects", text(&link), "--overwrite"];
    refused(&late.run(words));
    assert_eq!(late.run(["check"]).code, 0);
    assert_eq!(late.data(["count"]), "1\n");
}

/// Imports what standard input has, which is this file.
fn import_from(shell: &Shell, input: &Path, rejects: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_samplestore"))
        .args(["import", "-", "--overwrite", "--rejects"])
        .arg(rejects)
        .env("SAMPLESTORE_DB", shell.db())
        .stdin(fs::File::open(input).unwrap())
        .output()
        .unwrap()
}

#[test]
fn rejects_do_not_take_the_place_of_the_input() {
    let shell = Shell::new();
    let input = shell.path("r.jsonl");
    shell.file("r.jsonl", RECORDS);
    let hard = shell.path("hard.jsonl");
    fs::hard_link(&input, &hard).unwrap();
    for rejects in [&input, &hard] {
        let output = import_from(&shell, &input, rejects);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!shell.db().exists());
        let words = ["import", text(&input), "--rejects", text(rejects)];
        refused(&shell.run([&words[..], &["--overwrite"]].concat()));
        assert_eq!(fs::read_to_string(&input).unwrap(), RECORDS);
    }
    // Another file is written over, down to its end.
    let other = shell.path("other");
    shell.file("other", "x".repeat(10_000));
    assert_eq!(import_from(&shell, &input, &other).status.code(), Some(3));
    let rejected = fs::read_to_string(&other).unwrap();
    assert!(rejected.starts_with("{\"line\":2,"), "{rejected}");
    assert_eq!(rejected.lines().count(), 1);
    // In a device nothing is overwritten.
    let null = Path::new("/dev/null");
    assert_eq!(import_from(&shell, null, null).status.code(), Some(0));
}

#[test]
fn nothing_is_made_in_the_place_of_the_database() {
    let shell = Shell::with_six();
    let hard = shell.path("hard.db");
    fs::hard_link(shell.db(), &hard).unwrap();
    let before = fs::read(shell.db()).unwrap();
    for path in [shell.db(), hard] {
        for words in [
            &["export", "-f", "jsonl", text(&path)][..],
            &["hist", "--svg", text(&path)],
            &["backup", text(&path)],
        ] {
            for overwrite in [&[][..], &["--overwrite"]] {
                let answer = shell.run([words, overwrite].concat());
                assert_eq!(answer.code, 2, "{words:?} {answer:?}");
            }
        }
        let copied = shell.run(["copy", text(&shell.db()), text(&path)]);
        assert_eq!(copied.code, 2, "{copied:?}");
        assert_eq!(shell.run(["salvage", text(&path)]).code, 2);
    }
    assert!(fs::read(shell.db()).unwrap() == before);
}
