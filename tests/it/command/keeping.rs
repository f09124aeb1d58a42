//! `prune`, `compact` and `backup`.

use std::fs;

use super::Shell;

#[test]
fn prune_counts_first_and_removes_when_told_to() {
    let shell = Shell::with_six();
    let words = [
        "prune",
        "--status",
        "skipped,dlq,ready",
        "--keep-newest",
        "1",
    ];
    let counted = shell.data(words.into_iter().chain(["--dry-run"]));
    assert!(counted.contains("\"dry_run\":true") && counted.contains("\"total\":1"));
    assert!(counted.contains("\"pipeline\":\"even\""), "{counted}");
    assert_eq!(shell.data(["count"]), "6\n");
    let refused = shell.run(words);
    assert_eq!(refused.code, 2);
    assert!(refused.words.contains("--yes"), "{refused:?}");
    assert_eq!(shell.data(["count"]), "6\n");

    let done = shell.data(words.into_iter().chain(["--yes", "-f", "table"]));
    assert!(done.starts_with("removed:\n"), "{done}");
    assert_eq!(shell.data(["count"]), "5\n");
    // c went: it was ready, and older than e, which is skipped, in the same pipeline.
    assert_eq!(shell.run(["get", "c"]).code, 1);

    let old = [
        "prune",
        "--pipeline",
        "odd",
        "--older-than",
        "2013-06-01T02:00:00Z",
    ];
    let done = shell.data(old.into_iter().chain(["--yes"]));
    assert!(
        done.contains("\"dry_run\":false") && done.contains("\"total\":1"),
        "{done}"
    );
    assert_eq!(shell.run(["get", "b"]).code, 1);
    shell.data(["prune", "--older-than", "1d", "--yes"]);
    assert_eq!(shell.data(["count"]), "0\n");
    let missing = Shell::new();
    for verb in [
        &["prune", "--older-than", "1d", "--yes"][..],
        &["compact"],
        &["backup", "x"],
    ] {
        let answer = missing.run(verb.iter().copied());
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(!missing.db().exists());
    }
}

#[test]
fn compact_and_stats_agree_about_what_there_is_to_win() {
    let shell = Shell::new();
    let text = |from: u64| {
        (from..from + 5_000).fold(String::new(), |text, n| {
            let filler = "x".repeat(500);
            text + &format!(
                "{{\"id\":\"{n}\",\"pipeline\":\"p\",\"data\":{{\"x\":\"{filler}\"}}}}\n"
            )
        })
    };
    assert_eq!(shell.run_with(["import"], &text(0)).code, 0);
    assert_eq!(shell.run_with(["import"], &text(3_000)).code, 0);
    shell.data(["prune", "--keep-newest", "4000", "--yes"]);
    let stats: serde_json::Value = serde_json::from_str(&shell.data(["stats"])).unwrap();
    let reclaimable = stats["reclaimable_bytes"].as_u64().unwrap();
    let sizes: serde_json::Value = serde_json::from_str(&shell.data(["compact"])).unwrap();
    let (before, after) = (&sizes["bytes_before"], &sizes["bytes_after"]);
    assert_eq!(before, &stats["file_bytes"]);
    let won = before.as_u64().unwrap() - after.as_u64().unwrap();
    println!("{reclaimable} bytes were expected, {won} won");
    assert!(won > 1_000_000 && reclaimable.abs_diff(won) < won / 5);
    assert_eq!(shell.data(["count"]), "4000\n");
    let stats: serde_json::Value = serde_json::from_str(&shell.data(["stats"])).unwrap();
    let left = stats["reclaimable_bytes"].as_u64().unwrap();
    assert!(left < won / 5, "{left} are left");
}

#[test]
fn backup_writes_a_database_and_never_over_a_file_unasked() {
    let shell = Shell::with_six();
    let path = shell.path("copy.db");
    let to = path.to_str().unwrap();
    let report: serde_json::Value = serde_json::from_str(&shell.data(["backup", to])).unwrap();
    assert_eq!(report["samples"], 6);
    assert_eq!(
        report["bytes"].as_u64(),
        Some(fs::metadata(&path).unwrap().len())
    );
    assert_eq!(shell.data(["list", "-d", to]), shell.data(["list"]));
    let refused = shell.run(["backup", to]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.words.contains("already"), "{refused:?}");
    shell.data(["prune", "--keep-newest", "1", "--yes"]);
    let table = shell.data(["backup", to, "--overwrite", "-f", "table"]);
    assert!(table.contains("samples  2"), "{table}");
    assert_eq!(shell.data(["count", "-d", to]), "2\n");
}
