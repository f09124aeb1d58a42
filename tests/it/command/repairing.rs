//! `check`, `repair`, `reindex` and `salvage`: what they say of damage, and their exit codes.

use std::fs;
use std::io::Write as _;
use std::thread;

use samplestore::{Database, Sample, Storage};
use serde_json::Value;

use super::Shell;
use super::terminal::seen;
use crate::files::with_file_system;

/// `created_at` of the fourth sample, as the columns have it.
pub(super) const COLUMN: [u8; 8] = 1_370_055_600_000_000_i64.to_le_bytes();
/// Data of the fourth sample, as its record has it.
pub(super) const RECORD: &[u8] = b"\xa2w3";

/// Changes a byte wherever these bytes are in the database.
pub(super) fn damage(shell: &Shell, pattern: &[u8]) {
    let mut bytes = fs::read(shell.db()).unwrap();
    let places: Vec<usize> = (0..bytes.len() - pattern.len())
        .filter(|at| bytes[*at..].starts_with(pattern))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + 1] ^= 0x40;
    }
    fs::write(shell.db(), bytes).unwrap();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_sound_file_is_0_for_each() {
    let shell = Shell::with_six();
    let report = json(&shell.data(["check"]));
    assert_eq!(report["samples"], 6);
    assert_eq!(report["pages_verified"], true);
    assert_eq!(report["faults"], Value::Array(vec![]));
    let table = shell.data(["check", "-f", "table"]);
    assert!(table.contains("samples           6"), "{table}");
    assert_eq!(json(&shell.data(["repair"]))["outcome"], "sound");
    let listed = shell.data(["list"]);
    let answer = shell.run(["reindex"]);
    assert_eq!((answer.code, &*answer.data), (0, ""));
    assert!(answer.words.contains("6 samples"), "{answer:?}");
    assert_eq!(shell.data(["list"]), listed);
    let to = shell.path("to.db");
    let report = json(&shell.data(["salvage", to.to_str().unwrap()]));
    assert_eq!(
        (&report["samples"], &report["lost"]),
        (&6.into(), &0.into())
    );
    assert_eq!(shell.data(["list", "-d", to.to_str().unwrap()]), listed);
    let refused = shell.run(["salvage", to.to_str().unwrap()]);
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn damaged_indexes_are_6_and_repair_rebuilds_them() {
    let shell = Shell::with_six();
    let listed = shell.data(["list"]);
    damage(&shell, &COLUMN);
    let answer = shell.run(["check"]);
    let report = json(&answer.data);
    // The page is damaged too, but no record in it.
    assert_eq!(
        report["counts"],
        serde_json::json!({"page": 1, "column": 1})
    );
    assert_eq!(answer.code, 6, "{answer:?}");
    assert!(answer.words.contains("samplestore repair"), "{answer:?}");
    let table = shell.run(["check", "-f", "table"]);
    assert!(table.data.contains("column"), "{table:?}");
    let repaired = shell.run(["repair"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    assert_eq!(json(&repaired.data)["outcome"], "rebuilt");
    assert_eq!(shell.run(["check"]).code, 0);
    assert_eq!(shell.data(["list"]), listed);
}

#[test]
fn a_damaged_record_is_5_and_salvage_saves_the_others() {
    let shell = Shell::with_six();
    damage(&shell, RECORD);
    let before = fs::read(shell.db()).unwrap();
    let checked = shell.run(["check", "-f", "table"]);
    assert_eq!(checked.code, 5, "{checked:?}");
    assert!(checked.data.contains("record row 3"), "{checked:?}");
    assert!(checked.words.contains("samplestore salvage"), "{checked:?}");
    let repaired = shell.run(["repair"]);
    assert_eq!(repaired.code, 5, "{repaired:?}");
    assert_eq!(json(&repaired.data)["outcome"], "needs_salvage");
    assert_eq!(shell.run(["reindex"]).code, 5);
    assert_eq!(shell.run(["count"]).data, "6\n");
    let to = shell.path("to.db");
    let saved = shell.run(["salvage", to.to_str().unwrap()]);
    assert_eq!(saved.code, 3, "{saved:?}");
    let report = json(&saved.data);
    assert_eq!(
        (&report["samples"], &report["lost"]),
        (&5.into(), &1.into())
    );
    assert_eq!(report["lost_rows"][0]["row"], 3);
    assert_eq!(report["lost_rows"][0]["id"], "d");
    let ids = shell.data(["list", "-f", "csv", "-d", to.to_str().unwrap()]);
    assert_eq!(ids.lines().count(), 6, "{ids}");
    assert_eq!(fs::read(shell.db()).unwrap().len(), before.len());
}

/// The six and one more, as a writer leaves them that is killed then.
fn not_closed() -> (Shell, Vec<u8>) {
    let shell = Shell::with_six();
    let writer = Database::open(shell.db()).unwrap();
    let sample = Sample::builder("late").id("late").build().unwrap();
    writer.store(&[sample]).unwrap();
    let left = fs::read(shell.db()).unwrap();
    drop(writer);
    fs::write(shell.db(), &left).unwrap();
    (shell, left)
}

#[test]
fn opening_what_a_killed_writer_left_shows_on_a_terminal_how_far_it_is() {
    let (shell, left) = not_closed();
    let mark: &[&str] = &["mark", "ready", "--all", "--yes"];
    for (words, answer) in [(&["count"][..], "7"), (mark, "marked 6 samples ready")] {
        fs::write(shell.db(), &left).unwrap();
        let (text, code) = seen(&shell, words);
        assert_eq!(code, 0, "{text}");
        assert!(
            text.contains("repairing") && text.contains(answer),
            "{text}"
        );
        let (again, _) = seen(&shell, words);
        assert!(!again.contains("repairing"), "{again}");
    }
}

#[test]
fn readers_that_come_together_repair_what_a_killed_writer_left() {
    let (shell, left) = not_closed();
    for round in 0..10 {
        fs::write(shell.db(), &left).unwrap();
        let count = || shell.run(["count"]);
        let answers = thread::scope(|scope| {
            let counting: Vec<_> = (0..6).map(|_| scope.spawn(count)).collect();
            let answers = counting.into_iter().map(|count| count.join().unwrap());
            answers.collect::<Vec<_>>()
        });
        for answer in answers {
            assert_eq!(answer.code, 0, "{round}: {answer:?}");
            assert_eq!(answer.data, "7\n");
        }
    }
}

#[test]
fn what_is_to_be_read_alone_is_not_written() {
    let (shell, left) = not_closed();
    let closed = Shell::with_six();
    let whole = fs::read(closed.db()).unwrap();
    for (shell, bytes) in [(shell, left), (closed, whole)] {
        let url = format!("redb:{}?read_only=true", shell.db().display());
        for words in [
            &["repair"][..],
            &["reindex"],
            &["compact"],
            &["rm", "--all", "--yes"],
        ] {
            let answer = shell.run([&["-d", &url], words].concat());
            assert_eq!(answer.code, 1, "{words:?} {answer:?}");
            assert!(fs::read(shell.db()).unwrap() == bytes, "{words:?}");
        }
    }
}

#[test]
fn of_a_disk_that_gets_full_the_new_file_is_told() {
    let shell = Shell::new();
    let text = "x".repeat(1_000);
    let line =
        |id| format!("{{\"id\":\"{id}\",\"pipeline\":\"p\",\"data\":{{\"x\":\"{text}\"}}}}\n");
    let input: String = (0..4_000).map(line).collect();
    assert_eq!(shell.run_with(["import", "-"], &input).code, 0);
    for size in ["200k", "1m", "3m"] {
        with_file_system(&format!("size={size}"), |folder| {
            let to = folder.join("to.db");
            let to = to.to_str().unwrap();
            for verb in ["backup", "salvage"] {
                let answer = shell.run([verb, to]);
                assert_eq!(answer.code, 1, "{verb}: {answer:?}");
                let is_told = ["no space left", to];
                let is_told = is_told.iter().all(|words| answer.words.contains(words));
                assert!(is_told && !answer.words.contains("unknown"), "{answer:?}");
                assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "{verb}");
            }
        });
    }
    with_file_system("size=6m", |folder| {
        let db = folder.join("samples.db");
        let db = db.to_str().unwrap();
        let line = |id| format!("{{\"id\":\"{id}\",\"pipeline\":\"p\"}}\n");
        let input: String = (0..30_000).map(line).collect();
        let answer = shell.run_with(["-d", db, "import", "-"], &input);
        assert_eq!(answer.code, 0, "{answer:?}");
        let mut filler = fs::File::create(folder.join("filler")).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        let reindexed = shell.run(["-d", db, "reindex"]);
        assert_eq!(reindexed.code, 1, "{reindexed:?}");
        assert!(reindexed.words.contains("no space left"), "{reindexed:?}");
        // It may find room in the file.
        let pruned = shell.run(["-d", db, "prune", "--keep-newest", "100", "--yes"]);
        let is_told = pruned.words.contains("no space left");
        assert_eq!(pruned.code, i32::from(is_told), "{pruned:?}");
    });
}

#[test]
fn of_a_disk_that_is_full_the_file_is_told_that_was_to_be_made() {
    let shell = Shell::new();
    let text = "x".repeat(1_000);
    let line =
        |id| format!("{{\"id\":\"{id}\",\"pipeline\":\"p\",\"data\":{{\"x\":\"{text}\"}}}}\n");
    let input: String = (0..2_000).map(line).collect();
    assert_eq!(shell.run_with(["import"], &input).code, 0);
    with_file_system("size=1m", |folder| {
        let to = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let refused = |words: &[&str], path: &str| {
            let answer = shell.run(words.iter().copied());
            assert_eq!(answer.code, 1, "{answer:?}");
            assert!(answer.words.contains(path), "{answer:?}");
            let hidden = [".part", "/.x.", "/.b."];
            let is_hidden = hidden.iter().all(|part| !answer.words.contains(part));
            assert!(is_hidden, "{answer:?}");
        };
        refused(&["export", &to("x.jsonl")], &to("x.jsonl"));
        // Now nothing has room, not even at the beginning.
        let mut filler = fs::File::create(folder.join("filler")).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        for words in [
            &["export", &to("x.jsonl")][..],
            &["hist", "--svg", &to("x.svg")],
            &["backup", &to("b.redb")],
            &["salvage", &to("b.redb")],
        ] {
            refused(words, words[words.len() - 1]);
        }
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    });
}

#[test]
fn a_file_that_was_not_closed_is_1_for_check_and_repair_finishes_it() {
    let (shell, _) = not_closed();
    let checked = shell.run(["check"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(checked.words.contains("samplestore repair"), "{checked:?}");
    let repaired = shell.run(["repair"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    assert_eq!(json(&repaired.data)["outcome"], "sound");
    assert_eq!(shell.run(["check"]).code, 0);
    assert_eq!(shell.data(["count"]), "7\n");
}

#[test]
fn of_a_file_that_was_cut_off_salvage_saves_what_is_left() {
    let shell = Shell::with_six();
    let database = Database::open(shell.db()).unwrap();
    let samples: Vec<Sample> = (0..5_000)
        .map(|number| {
            let sample = Sample::builder("cut").id(format!("cut-{number}"));
            sample
                .data(samplestore::data! { "number" => number as u64, "text" => "x".repeat(200) })
                .build()
                .unwrap()
        })
        .collect();
    for batch in samples.chunks(500) {
        database.store(batch).unwrap();
    }
    database.close().unwrap();
    let whole = fs::read(shell.db()).unwrap();
    let head = 8 << 20;
    let to = shell.path("to.db");
    let to = to.to_str().unwrap();
    for share in [95, 80, 60] {
        let left = head + (whole.len() - head) * share / 100;
        fs::write(shell.db(), &whole[..left]).unwrap();
        for verb in ["check", "count", "stats", "repair", "reindex"] {
            let answer = shell.run([verb]);
            assert_eq!(answer.code, 5, "{verb} at {share} %: {answer:?}");
            assert!(!answer.words.contains("killed"), "{answer:?}");
        }
        let checked = shell.run(["check"]).words;
        assert!(
            checked.contains("cut off") && checked.contains("salvage"),
            "{checked}"
        );
        assert!(fs::read(shell.db()).unwrap() == whole[..left]);
        let saved = shell.run(["salvage", to]);
        assert_eq!(saved.code, 3, "{saved:?}");
        let report = json(&saved.data);
        let count = |name: &str| report[name].as_u64().unwrap();
        assert!(count("samples") > 2_000, "{share} %: {report}");
        // What has the counters may be lost itself.
        let all = count("samples") + count("lost");
        assert!(all == 5_006 || count("lost") == 0, "{report}");
        assert_eq!(shell.run(["check", "-d", to]).code, 0);
        fs::remove_file(to).unwrap();
        let table = shell.run(["salvage", to, "-f", "table"]).data;
        assert!(
            (table.contains("\ndoubtful: ") || table.contains("\nlost: "))
                && table.contains(" more, which -f json lists"),
            "{table}"
        );
        assert!(table.lines().count() < 70, "{table}");
        fs::remove_file(to).unwrap();
    }
    // Nothing but the log; and not even that.
    let mut rest = whole[..head + 4_096].to_vec();
    fs::write(shell.db(), &rest).unwrap();
    let saved = shell.run(["salvage", to]);
    assert_eq!(saved.code, 3, "{saved:?}");
    assert_eq!(json(&saved.data)["doubtful"], 5_000, "{saved:?}");
    fs::remove_file(to).unwrap();
    rest[4_096..head].fill(0);
    fs::write(shell.db(), &rest).unwrap();
    let refused = shell.run(["salvage", to]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(
        refused.words.contains("nothing of it can be read"),
        "{refused:?}"
    );
    assert!(!fs::exists(to).unwrap());
}
