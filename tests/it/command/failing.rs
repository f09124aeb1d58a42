//! What goes wrong with files, disks and pipes, and the exit code of each.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use samplestore::{Database, Query, Sample, Storage};

use super::{Shell, six};
use crate::files::{HEAD_BYTES, forbid_writing, with_file_system, write_format};

const READS: [&[&str]; 6] = [
    &["list"],
    &["get", "a"],
    &["count"],
    &["facets"],
    &["stats"],
    &["explain"],
];

/// The command as a plain process, its standard streams in our hands.
fn process(shell: &Shell, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samplestore"));
    command.args(words).env("SAMPLESTORE_DB", shell.db());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn many() -> String {
    let filler = "x".repeat(1_000);
    (0..2_000).fold(String::new(), |text, n| {
        text + &format!("{{\"id\":\"{n}\",\"pipeline\":\"p\",\"data\":{{\"x\":\"{filler}\"}}}}\n")
    })
}

#[test]
fn a_missing_file_is_1_and_is_not_made() {
    let shell = Shell::new();
    for words in READS {
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, 1, "{words:?} {answer:?}");
        assert!(answer.words.contains("samples.db"), "{answer:?}");
        assert!(
            answer.words.contains("hint: samplestore import"),
            "{answer:?}"
        );
        assert!(!shell.db().exists(), "{words:?}");
    }
    let shell = Shell::new();
    let nowhere = shell.path("no/such/folder.db");
    let answer = shell.run_with(["import", "-d", nowhere.to_str().unwrap()], &six());
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.words.contains("folder.db"), "{answer:?}");
}

#[test]
fn a_file_that_is_no_database_is_5_and_stays_as_it_is() {
    for content in ["no database at all\n", "", "{\"id\":\"a\"}"] {
        let shell = Shell::new();
        fs::write(shell.db(), content).unwrap();
        for words in READS {
            let answer = shell.run(words.iter().copied());
            assert_eq!(answer.code, 5, "{content:?} {words:?} {answer:?}");
        }
        assert_eq!(fs::read_to_string(shell.db()).unwrap(), content);
        if !content.is_empty() {
            let answer = shell.run_with(["import"], &six());
            assert_eq!(answer.code, 5, "{answer:?}");
            assert_eq!(fs::read_to_string(shell.db()).unwrap(), content);
        }
    }
}

#[test]
fn a_cut_off_file_is_5_or_reads_as_before_and_never_panics() {
    let shell = Shell::new();
    assert_eq!(shell.run_with(["import"], &many()).code, 0);
    let whole = fs::read(shell.db()).unwrap();
    let expected = READS.map(|words| shell.run(words.iter().copied()));
    let mut refused = 0;
    let middle = (HEAD_BYTES + whole.len()) / 2;
    for bytes in [1, 100, 512, 4_096, middle, whole.len() - 1] {
        fs::write(shell.db(), &whole[..bytes]).unwrap();
        for (words, expected) in READS.iter().zip(&expected) {
            let answer = shell.run(words.iter().copied());
            assert!(!answer.words.contains("RUST_BACKTRACE"), "{answer:?}");
            if answer.code == 5 {
                refused += 1;
                assert!(answer.words.contains("error: "), "{answer:?}");
                continue;
            }
            // What lies before the cut may be all that is needed. The size of the file differs.
            assert_eq!(answer.code, expected.code, "{bytes} {words:?} {answer:?}");
            if !words.contains(&"stats") {
                assert_eq!(answer.data, expected.data, "{bytes} {words:?}");
            }
        }
    }
    assert!(
        refused >= 5 * READS.len() / 2,
        "only {refused} were refused"
    );
}

#[test]
fn a_damaged_file_is_an_error_or_reads_as_before_and_never_panics() {
    let shell = Shell::with_six();
    assert_eq!(shell.run_with(["import"], &many()).code, 0);
    let whole = fs::read(shell.db()).unwrap();
    let expected = READS.map(|words| shell.data(words.iter().copied()));
    // Numbers at random, but the same each time: Knuth's MMIX generator.
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for turn in 0..16 {
        let mut damaged = whole.clone();
        for _ in 0..[1, 30, 1_000][turn % 3] {
            let at = match turn % 4 {
                0 => HEAD_BYTES + random(whole.len() - HEAD_BYTES),
                1 => HEAD_BYTES + random(8_192),
                2 => random(whole.len()),
                _ => random(1_024),
            };
            damaged[at] = random(256) as u8;
        }
        fs::write(shell.db(), &damaged).unwrap();
        for (words, expected) in READS.iter().zip(&expected) {
            let output = process(&shell, words)
                .env_remove("RUST_BACKTRACE")
                .output()
                .unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(!told.contains("panicked at"), "{turn} {words:?} {told}");
            assert!(!told.contains("bug"), "{turn} {words:?} {told}");
            match output.status.code() {
                // What it read was not damaged.
                Some(0) => assert_eq!(
                    &String::from_utf8(output.stdout).unwrap(),
                    expected,
                    "{turn} {words:?}"
                ),
                code => assert!(matches!(code, Some(5)), "{turn} {words:?} {told}"),
            }
        }
    }
}

#[test]
fn a_locked_file_is_4_unless_its_writer_shares_it() {
    let shell = Shell::with_six();
    let writer = Database::open(shell.db()).unwrap();
    for words in READS {
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, 4, "{words:?} {answer:?}");
        assert!(answer.words.contains("hint:"), "{answer:?}");
    }
    assert_eq!(shell.run_with(["import"], &six()).code, 4);
    drop(writer);

    let writer = Database::options()
        .shared_readers(true)
        .open(shell.db())
        .unwrap();
    writer
        .store(&[Sample::builder("p").build().unwrap()])
        .unwrap();
    assert_eq!(shell.data(["count"]), "7\n");
    assert_eq!(shell.run_with(["import"], &six()).code, 4);
    writer.close().unwrap();
    assert_eq!(shell.data(["count"]), "7\n");

    // Beside a reader that does not share it, too.
    let reader = Database::options()
        .read_only(true)
        .open(shell.db())
        .unwrap();
    assert_eq!(shell.data(["count"]), "7\n");
    assert_eq!(shell.run_with(["import"], &six()).code, 4);
    drop(reader);
}

#[test]
fn a_locked_file_is_waited_for_as_long_as_asked() {
    let shell = Shell::with_six();
    let writer = Database::open(shell.db()).unwrap();
    assert_eq!(shell.run(["count", "--wait", "1s"]).code, 4);
    let input = shell.file("more.jsonl", "{\"id\":\"g\",\"pipeline\":\"p\"}\n");
    let saved = shell.path("saved.redb");
    let saved = saved.to_str().unwrap();
    let verbs: [&[&str]; 5] = [
        &["count", "--wait", "5m"],
        &["--wait", "5m", "import", &input],
        &["--wait", "5m", "salvage", saved],
        &["--wait", "5m", "reindex"],
        &["--wait", "5m", "repair"],
    ];
    let mut waiting = verbs.map(|words| process(&shell, words).spawn().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(300));
    for child in &mut waiting {
        assert_eq!(child.try_wait().unwrap(), None);
    }
    drop(writer);
    for child in waiting {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert_eq!(shell.data(["count"]), "7\n");
}

#[test]
fn a_killed_import_leaves_whole_batches_and_the_next_reader_repairs() {
    let shell = Shell::new();
    let mut import = process(
        &shell,
        &["import", "--batch", "10", "--format", "jsonl", "-"],
    )
    .stdin(Stdio::piped())
    .spawn()
    .unwrap();
    let mut input = import.stdin.take().unwrap();
    input.write_all(many().as_bytes()).unwrap();
    input.flush().unwrap(); // and left open: the import waits for more
    while fs::metadata(shell.db()).map_or(0, |metadata| metadata.len())
        < HEAD_BYTES as u64 + (1 << 20)
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    import.kill().unwrap();
    import.wait().unwrap();

    let count: u64 = shell.data(["count"]).trim().parse().unwrap();
    assert!(count > 0 && count.is_multiple_of(10), "{count}");
    let database = Database::options()
        .read_only(true)
        .open(shell.db())
        .unwrap();
    assert_eq!(
        database.count(&Query::new()).unwrap(),
        count,
        "it is repaired for good"
    );
}

/// Killed at one moment after the other, from before it begins until it is done.
#[test]
fn a_killed_rebuild_or_copy_leaves_the_database_and_nothing_half_done_under_a_name() {
    const SAMPLES: usize = 20_000;
    let shell = Shell::new();
    let mut text = String::new();
    for n in 0..SAMPLES {
        text.push_str(&format!("{{\"id\":\"n{n}\",\"pipeline\":\"p\"}}\n"));
    }
    assert_eq!(shell.run_with(["import"], &text).code, 0);
    let target = shell.path("new.db");
    let named = target.to_str().unwrap();
    let (mut begun, mut done) = (0, 0);
    for words in [&["reindex"][..], &["salvage", named], &["backup", named]] {
        for attempt in 0.. {
            let mut child = process(&shell, words).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(4 * attempt));
            let _ = child.kill();
            let is_done = child.wait().unwrap().success();
            let mut names = Vec::new();
            for entry in fs::read_dir(shell.path(".")).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.ends_with(".tmp") {
                    begun += 1;
                    let is_hidden =
                        name.starts_with(".samples.db.") || name.starts_with(".new.db.");
                    assert!(is_hidden, "{name}");
                    fs::remove_file(shell.path(&name)).unwrap();
                } else {
                    names.push(name);
                }
            }
            names.retain(|name| name != "samples.db");
            assert!(names.is_empty() || names == ["new.db"], "{names:?}");
            if !names.is_empty() {
                let copy = shell.run(["-d", named, "check", "-f", "json"]);
                assert_eq!(copy.code, 0, "{copy:?}");
                assert!(
                    copy.data.contains(&format!("\"samples\": {SAMPLES}")),
                    "{copy:?}"
                );
                fs::remove_file(&target).unwrap();
            }
            assert_eq!(shell.data(["count"]), format!("{SAMPLES}\n"));
            assert_eq!(shell.run(["check"]).code, 0, "{words:?}");
            if is_done {
                done += 1;
                break;
            }
        }
    }
    assert!(begun >= 3 && done == 3, "{begun} {done}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let shell = Shell::new();
    assert_eq!(shell.run_with(["import"], &many()).code, 0);
    for format in ["jsonl", "json", "csv", "table"] {
        let mut list = process(&shell, &["list", "-f", format]).spawn().unwrap();
        let mut first = String::new();
        let mut reader = BufReader::new(list.stdout.take().unwrap());
        reader.read_line(&mut first).unwrap();
        drop(reader);
        assert!(!first.is_empty());
        let mut words = String::new();
        list.stderr
            .take()
            .unwrap()
            .read_to_string(&mut words)
            .unwrap();
        assert_eq!(list.wait().unwrap().code(), Some(0), "{format}");
        assert_eq!(words, "", "{format}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_1_with_words() {
    let shell = Shell::with_six();
    for words in READS {
        let full = fs::File::create("/dev/full").unwrap();
        let output = process(&shell, words).stdout(full).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?} {told}");
        assert!(told.contains("No space left"), "{told}");
    }
    for words in [&["--help"][..], &["--version"], &["list", "-h"]] {
        let full = fs::File::create("/dev/full").unwrap();
        let output = process(&shell, words).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
    }
    let bad = shell.run_with(["import", "--rejects", "/dev/full"], "x\n");
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.words.contains("/dev/full"), "{bad:?}");
}

#[test]
fn a_folder_is_no_database_and_that_is_said() {
    let shell = Shell::new();
    let folder = shell.path(".");
    let words = ["-d", folder.to_str().unwrap()];
    for rest in [
        &["list"][..],
        &["check"],
        &["mark", "ready", "--all", "--yes"],
        &["reindex"],
    ] {
        let answer = shell.run([&words, rest].concat());
        assert_eq!(answer.code, 5, "{answer:?}");
        assert!(answer.words.contains("it is a folder"), "{answer:?}");
    }
    let put = shell.run([&words[..], &["put", "--pipeline", "p"]].concat());
    assert_eq!(put.code, 5, "{put:?}");
}

#[test]
fn a_newer_format_is_5_and_says_so() {
    let shell = Shell::with_six();
    write_format(&shell.db(), 2);
    for words in READS {
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, 5, "{answer:?}");
        assert!(answer.words.contains("format 2"), "{answer:?}");
    }
    assert_eq!(shell.run_with(["import"], &six()).code, 5);
    write_format(&shell.db(), 1);
    assert_eq!(shell.data(["count"]).trim(), "6");
}

#[test]
fn a_read_only_disk_is_1_for_import_and_can_be_read() {
    with_file_system("size=8m", |folder| {
        let db = folder.join("samples.db");
        let shell = Shell::new();
        let run = |words: &[&str]| {
            let input = shell.file("six.jsonl", six());
            let words = words
                .iter()
                .map(|word| if *word == "INPUT" { &input } else { *word });
            process(&shell, &[])
                .args(words)
                .env("SAMPLESTORE_DB", &db)
                .output()
                .unwrap()
        };
        assert!(run(&["import", "INPUT"]).status.success());
        forbid_writing(folder);
        let refused = run(&["import", "INPUT"]);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{words}");
        assert!(words.contains("read-only"), "{words}");
        assert_eq!(run(&["count"]).stdout, b"6\n");
    });
}

#[test]
fn a_full_disk_is_1_and_what_was_stored_stays() {
    with_file_system("size=3m", |folder| {
        let db = folder.join("samples.db");
        let shell = Shell::new();
        // Plain records, since no sample has a field of this name, so each gets an id of its own.
        let plain = many().repeat(3).replace("\"pipeline\"", "\"of\"");
        let input = shell.file("many.jsonl", plain);
        let fields = ["import", &input, "--pipeline", "p", "--batch", "100"];
        let run = |words: &[&str]| {
            process(&shell, words)
                .env("SAMPLESTORE_DB", &db)
                .output()
                .unwrap()
        };
        let refused = run(&fields);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{words}");
        assert!(words.contains("no space left"), "{words}");
        let counted = run(&["count"]);
        let count = String::from_utf8_lossy(&counted.stdout)
            .trim()
            .parse::<u64>()
            .unwrap();
        assert!(count > 0 && count.is_multiple_of(100), "{count}");

        // What was copied until then is told.
        let from = shell.path("from.db");
        let from = from.to_str().unwrap();
        assert_eq!(
            shell
                .run(["-d", from, "import", &input, "--pipeline", "p"])
                .code,
            0
        );
        std::fs::remove_file(&db).unwrap();
        let copy = shell.run(["copy", from, db.to_str().unwrap(), "--batch", "100"]);
        assert_eq!(copy.code, 1, "{copy:?}");
        let (_, told) = copy.words.split_once("copied before that: ").unwrap();
        let (told, _) = told.split_once(" sample").unwrap();
        let told: u64 = told.replace(',', "").parse().unwrap();
        let counted = run(&["count"]);
        let count = String::from_utf8_lossy(&counted.stdout)
            .trim()
            .parse::<u64>();
        assert_eq!((told, true), (count.unwrap(), told > 0));
    });
}

#[test]
fn a_sample_beyond_the_limit_is_rejected() {
    let shell = Shell::new();
    let large = format!(
        "{{\"id\":\"a\",\"pipeline\":\"p\",\"data\":{{\"x\":\"{}\"}}}}",
        "x".repeat(17 << 20)
    );
    let answer = shell.run_with(["import"], &large);
    assert_eq!(answer.code, 3, "{:?}", answer.words);
    assert!(
        answer.words.contains("at most 16777216"),
        "{:?}",
        answer.words
    );
}
