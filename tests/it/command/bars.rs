//! Progress on a terminal, of every verb that goes through many samples: it is seen there, and nowhere else.

use std::fs;

use super::terminal::{many, seen};

const SAMPLES: u32 = 12_000;
const OF_ALL: &str = "/12,000 samples";

/// What a bar draws.
fn has_bar(text: &str) -> bool {
    let words = [" samples match", " reading samples", " compacting"];
    text.contains(['\u{2588}', '\u{2591}']) || words.iter().any(|word| text.contains(word))
}

#[test]
fn whoever_waits_at_a_terminal_sees_how_far_it_is() {
    let shell = many(SAMPLES);
    let text = |name: &str| shell.path(name).to_str().unwrap().to_owned();
    let (db, kept, input) = (text("samples.db"), text("kept.db"), text("input.jsonl"));
    shell.data(["export", &input]);
    shell.data(["mark", "dlq", "--all", "--yes"]);
    fs::copy(&db, &kept).unwrap();
    let (target, made) = (text("target.db"), text("made.jsonl"));
    let (csv, json) = (text("made.csv"), text("made.json"));
    let no_n = ["--where", "data.n is missing"];
    let mut cases = vec![
        (vec!["rm", "--all", "--yes"], OF_ALL),
        ([&["rm"][..], &no_n, &["--yes"]].concat(), OF_ALL),
        (
            [&["rm"][..], &no_n, &["--dry-run"]].concat(),
            " samples match",
        ),
        (
            [&["mark", "ready"][..], &no_n, &["--yes"]].concat(),
            " samples match",
        ),
        (vec!["mark", "ready", "--all", "--yes"], OF_ALL),
        (vec!["prune", "--status", "dlq", "--yes"], "pruning "),
        (
            [&["prune"][..], &no_n, &["--dry-run"]].concat(),
            " samples match",
        ),
        (vec!["dlq", "group"], OF_ALL),
        (vec!["dlq", "retry", "--all", "--yes"], OF_ALL),
        (vec!["-d", &target, "import", &input], " records"),
        (vec!["copy", &db, &target], OF_ALL),
        (vec!["index", "add", "data.n"], "indexing "),
        ([&["count"][..], &no_n].concat(), " reading samples"),
        ([&["facets"][..], &no_n].concat(), " reading samples"),
        ([&["explain"][..], &no_n].concat(), " reading samples"),
        // Its own bars would be taken for one.
        (
            [&["hist", "-f", "json"][..], &no_n].concat(),
            " reading samples",
        ),
        ([&["tail"][..], &no_n].concat(), " reading samples"),
        ([&["list"][..], &no_n].concat(), " samples match"),
        (
            [&["dlq", "list", "--limit", "5"][..], &no_n].concat(),
            " reading samples",
        ),
        (vec!["compact"], " compacting"),
        (vec!["schema", "--full"], OF_ALL),
        (vec!["schema"], "/10,000 samples"),
        (vec!["check"], "checking "),
        (vec!["reindex"], "rebuilding "),
        (vec!["backup", &target], "copying "),
        (vec!["salvage", &target], "salvaging "),
        (vec!["export", &made], OF_ALL),
        (vec!["export", &csv], OF_ALL),
        (vec!["export", &json], OF_ALL),
    ];
    let tables = ["parquet", "arrow"].map(|format| text(&format!("made.{format}")));
    if cfg!(feature = "arrow") {
        cases.extend(tables.iter().map(|table| (vec!["export", table], OF_ALL)));
    }
    for (words, bar) in cases {
        let begin = || {
            fs::copy(&kept, &db).unwrap();
            for made in [&target, &made, &csv, &json].into_iter().chain(&tables) {
                let _ = fs::remove_file(made);
            }
        };
        begin();
        let (text, code) = seen(&shell, &words);
        assert_eq!(code, 0, "{words:?} {text}");
        assert!(text.contains(bar), "{words:?} {text}");
        begin();
        let (text, code) = seen(&shell, &[&words[..], &["-q"]].concat());
        assert_eq!(code, 0, "{words:?} {text}");
        assert!(!text.contains(bar) && !has_bar(&text), "{words:?} {text}");
        begin();
        let piped = shell.run(words.iter().copied());
        assert_eq!(piped.code, 0, "{words:?} {piped:?}");
        assert!(
            !piped.words.contains(bar) && !has_bar(&piped.words),
            "{words:?} {piped:?}"
        );
    }
}

#[test]
fn a_bar_is_gone_before_anything_is_written() {
    let shell = many(3_000);
    let (text, code) = seen(
        &shell,
        &["list", "--where", "data.n is missing", "-f", "jsonl"],
    );
    assert_eq!(code, 0, "{text}");
    let (bar, data) = text.split_once("{\"").unwrap();
    assert!(has_bar(bar), "{text}");
    assert!(!has_bar(data) && data.lines().count() >= 3_000, "{text}");
}

#[cfg(feature = "files")]
#[test]
fn what_is_no_file_is_counted_as_it_goes() {
    let shell = many(2_000);
    let url = format!("file:{}", shell.path("documents").display());
    shell.data(["copy", shell.db().to_str().unwrap(), &url]);
    for words in [
        &["rm", "--all", "--yes"][..],
        &["mark", "ready", "--all", "--yes"],
    ] {
        let (text, code) = seen(&shell, &[&["-d", &url], words].concat());
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(" samples match"), "{text}");
        shell.data(["copy", shell.db().to_str().unwrap(), &url]);
    }
}

#[cfg(feature = "postgres")]
#[test]
fn what_a_server_counts_by_itself_is_known_before_it_is_copied() {
    let Some(server) = crate::servers::postgres::shared() else {
        return;
    };
    let shell = many(SAMPLES);
    let (db, url) = (shell.db(), server.url(&server.schema()));
    shell.data(["copy", db.to_str().unwrap(), &url]);
    let back = shell.path("back.db").to_str().unwrap().to_owned();
    let words = ["copy", &url, &back];
    let (text, code) = seen(&shell, &words);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(OF_ALL), "{text}");
    // To know how many these are, samples are read.
    let some = ["--where", "data.n is missing"];
    let (text, code) = seen(&shell, &[&words[..], &some].concat());
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(OF_ALL), "{text}");
}
