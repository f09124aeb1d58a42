//! `prune`, `compact` and `backup`.

use std::fs;
use std::time::{Duration, Instant};

use samplestore::Database;

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
    assert!(counted.contains("\"matched\":1") && counted.contains("\"removed\":0"));
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
        done.contains("\"dry_run\":false") && done.contains("\"removed\":1"),
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

#[cfg(feature = "delta")]
#[test]
fn compact_merges_the_files_of_a_table_and_removes_old_ones() {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
    let shell = Shell::with_six();
    let folder = shell.path("table");
    let url = format!("delta+file:{}", folder.display());
    let answer = shell.run(["-d", &url, "compact"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.words.contains("there is no table"), "{answer:?}");
    assert!(!folder.exists());

    for line in super::six().lines() {
        let answer = shell.run_with(["-d", &url, "import", "-"], line);
        assert_eq!(answer.code, 0, "{answer:?}");
    }
    // The folder of a partition.
    let mut partition = folder.clone();
    while let Some(below) = fs::read_dir(&partition)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir() && !path.ends_with("_delta_log"))
    {
        partition = below;
    }
    // What killed writers left, long ago and just now, and what is somebody's.
    let left = |number| partition.join(format!("01923f8e-0000-7000-8000-{number:012}.parquet"));
    let (old, new, notes) = (left(1), left(2), folder.join("notes.parquet"));
    fs::write(&new, "half").unwrap();
    for path in [&old, &notes] {
        fs::write(path, "half").unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - 8 * DAY)
            .unwrap();
    }
    // Of two pipelines on one day.
    assert_eq!(
        shell.data(["-d", &url, "compact"]),
        "{\"files_after\":2,\"files_before\":6,\"files_removed\":1}\n"
    );
    assert!(!old.exists() && new.exists() && notes.exists());
    assert_eq!(
        shell.data(["-d", &url, "compact", "-f", "table"]),
        "files before   2\nfiles after    2\nfiles removed  0\n"
    );
    assert_eq!(shell.data(["-d", &url, "list"]), shell.data(["list"]));
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

#[test]
fn compact_waits_for_whoever_reads() {
    let shell = Shell::with_six();
    let following = || {
        let options = Database::options().read_only(true).shared_readers(true);
        options.open(shell.db()).unwrap().snapshot().unwrap()
    };
    let held = following();
    let refused = shell.run(["compact"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(
        refused.words.contains("another process reads it") && refused.words.contains("--wait"),
        "{refused:?}"
    );
    let began = Instant::now();
    assert_eq!(shell.run(["compact", "--wait", "300ms"]).code, 4);
    assert!(began.elapsed() >= Duration::from_millis(300));
    let waited = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(held);
        });
        shell.run(["compact", "--wait", "60s"])
    });
    assert_eq!(waited.code, 0, "{waited:?}");
    assert_eq!(shell.data(["count"]), "6\n");
}
