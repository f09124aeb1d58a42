//! Verbs that say of a storage by its URL what they say of a file.

use super::{Shell, six};

#[test]
fn every_verb_takes_a_url() {
    let shell = Shell::with_six();
    let folder = format!("file:{}", shell.path("folder").display());
    let there = |words: &[&str]| {
        let words = ["-d", &folder].into_iter().chain(words.iter().copied());
        shell.data(words)
    };
    let answer = shell.run(["-d", &folder, "list"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(
        answer.words.contains("samplestore import and copy create"),
        "{answer:?}"
    );

    let answer = shell.run_with(["-d", &folder, "import", "-"], &six());
    assert_eq!(answer.code, 0, "{answer:?}");
    let group = shell.data(["dlq", "group", "-f", "csv"]);
    let group = group.lines().nth(1).unwrap()[..8].to_owned();
    for words in [
        &["list"][..],
        &["list", "--newest", "--limit", "2"],
        &["list", "-f", "csv"],
        &["count", "--status", "ready"],
        &["facets"],
        &["hist", "hour", "--split", "status"],
        &["schema", "--full"],
        &["tail", "--limit", "4"],
        &["export"],
        &["export", "-", "-f", "csv", "--newest"],
        &["dlq", "list"],
        &["dlq", "group"],
        &["dlq", "show", &group],
        &["get", "c", "a"],
    ] {
        assert_eq!(there(words), shell.data(words.iter().copied()), "{words:?}");
    }
    let answer = shell.run_with(
        ["-d", &folder, "import", "-", "--on-conflict", "skip"],
        &six(),
    );
    assert!(
        answer
            .words
            .starts_with("inserted 0, replaced 0, skipped 6"),
        "{answer:?}"
    );

    for words in [
        &[
            "put",
            "--pipeline",
            "p",
            "--id",
            "g",
            "--created-at",
            "2013-06-02",
        ][..],
        &["dlq", "retry", "--all", "--yes"],
        &["mark", "labeled", "--id", "b", "--id", "g", "--yes"],
        &["rm", "--status", "skipped", "--yes"],
        &["list"],
    ] {
        assert_eq!(there(words), shell.data(words.iter().copied()), "{words:?}");
    }

    for words in [
        &["stats"][..],
        &["explain"],
        &["compact"],
        &["prune", "--keep-newest", "1", "--yes"],
    ] {
        let answer = shell.run([&["-d", &folder], words].concat());
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(
            answer
                .words
                .contains("needs a database file, and file: is none"),
            "{answer:?}"
        );
    }

    assert_eq!(shell.data(["list"]).lines().count(), 6);
    let second = format!("file:{}", shell.path("second").display());
    let db = shell.db();
    shell.data(["copy", db.to_str().unwrap(), &second, "--verify"]);
    assert_eq!(shell.data(["-d", &second, "list"]), there(&["list"]));

    let back = shell.path("back.redb");
    let answer = shell.run(["copy", &folder, back.to_str().unwrap(), "--verify"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(
        shell.data(["-d", back.to_str().unwrap(), "list"]),
        shell.data(["list"])
    );
}
