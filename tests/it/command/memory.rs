//! How much memory a verb takes that goes through many samples: bounded, however many there are.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use samplestore::{Database, Durability, Sample, Storage, data};
#[cfg(feature = "arrow")]
use samplestore::{Map, Value};

use super::Shell;

const SAMPLES: usize = 20_000;
const SAMPLE_BYTES: usize = 10_000;
const CACHE_BYTES: usize = 4 << 20;
/// Beyond the cache. Half of what the samples are.
const BEYOND_BYTES_MAX: usize = 100 << 20;

/// Fills the database with 200 MB of texts that no format makes small.
fn fill(shell: &Shell) {
    let options = Database::options().durability(Durability::Deferred);
    let database = options.open(shell.db()).unwrap();
    let mut random = 1_u64;
    let digits = std::iter::repeat_with(|| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b' ' + (random >> 33) as u8 % 90)
            .to_string()
            .replace(['"', '\\'], "x")
    });
    let text: String = digits.take(1 << 20).collect();
    let sample = |number: usize| {
        let first = number.wrapping_mul(7_919) % (text.len() - SAMPLE_BYTES);
        Sample::builder("p")
            .id(format!("{number:06}"))
            .data(data! { "text" => &text[first..first + SAMPLE_BYTES] })
            .measurements(data! { "temp" => number as f64 / 2.0 })
            .build()
            .unwrap()
    };
    for first in (0..SAMPLES).step_by(500) {
        let batch: Vec<Sample> = (first..first + 500).map(sample).collect();
        database.store(&batch).unwrap();
    }
    database.close().unwrap();
}

/// The most memory that a run has had, in bytes, as Linux counts it.
fn peak(shell: &Shell, words: &[&str]) -> usize {
    let (bytes, ended) = peak_and_end(shell, words);
    assert!(ended.success(), "{words:?}");
    bytes
}

/// The same, and how it ended.
fn peak_and_end(shell: &Shell, words: &[&str]) -> (usize, ExitStatus) {
    let url = url(&shell.db());
    peak_of(&[&["-d", &url], words].concat())
}

/// The URL of a file that is read and written through a small cache.
fn url(file: &Path) -> String {
    format!("redb:{}?cache_bytes={CACHE_BYTES}", file.display())
}

/// The same of whatever the command is told.
fn peak_of(words: &[&str]) -> (usize, ExitStatus) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_samplestore"))
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let ended = loop {
        // It only grows, until the process has ended and says nothing of it.
        if let Ok(text) = fs::read_to_string(&status)
            && let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        {
            peak_kib = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        }
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        thread::sleep(Duration::from_millis(2));
    };
    (peak_kib * 1_024, ended)
}

#[test]
fn going_through_all_samples_takes_a_bounded_amount_beyond_the_cache() {
    let shell = Shell::new();
    fill(&shell);
    let mut verbs = vec![
        vec!["export", "-f", "jsonl"],
        vec!["export", "-f", "json"],
        vec!["export", "-f", "csv", "--newest"],
        vec!["count", "--where", "measurements.temp > 5"],
        vec!["facets", "--where", "data.text like '%a%'"],
        vec!["schema", "--full"],
    ];
    if cfg!(feature = "arrow") {
        verbs.push(vec!["export", "-f", "parquet"]);
        verbs.push(vec!["export", "-f", "arrow"]);
    }
    for words in verbs {
        let bytes = peak(&shell, &words);
        println!("{words:?}: {} MiB", bytes >> 20);
        // Something is seen of it at all.
        assert!(bytes > CACHE_BYTES, "{words:?}: {bytes} bytes");
        assert!(
            bytes < CACHE_BYTES + BEYOND_BYTES_MAX,
            "{words:?}: {} MiB",
            bytes >> 20
        );
    }
}

/// What looks after a file goes through all of it, too. What makes a new one is below.
#[test]
fn looking_after_a_file_takes_a_bounded_amount_beyond_the_cache() {
    let shell = Shell::new();
    fill(&shell);
    let saved = shell.path("saved.redb");
    let saved = saved.to_str().unwrap();
    for words in [
        &["check"][..],
        &["backup", saved],
        &["index", "add", "measurements.temp"],
        &["mark", "ready", "--where", "measurements.temp > 5", "--yes"],
        &["rm", "--where", "measurements.temp > 2500", "--yes"],
        &["prune", "--keep-newest", "1000", "--yes"],
        &["compact"],
    ] {
        let bytes = peak(&shell, words);
        println!("{words:?}: {} MiB", bytes >> 20);
        assert!(bytes > 0, "{words:?}");
        assert!(
            bytes < CACHE_BYTES + BEYOND_BYTES_MAX,
            "{words:?}: {} MiB",
            bytes >> 20
        );
    }
    assert_eq!(shell.data(["count"]), "1000\n");
    assert_eq!(shell.data(["-d", saved, "count"]), format!("{SAMPLES}\n"));
}

/// Both files of a copy have a cache.
#[test]
fn copying_takes_a_bounded_amount_beyond_the_caches() {
    let shell = Shell::new();
    fill(&shell);
    let (source, target) = (url(&shell.db()), url(&shell.path("copy.db")));
    for words in [
        &["copy", source.as_str(), target.as_str()][..],
        // All of it is there, and compared.
        &["copy", &source, &target, "--verify"],
    ] {
        let (bytes, ended) = peak_of(words);
        assert!(ended.success(), "{words:?}");
        println!("{words:?}: {} MiB", bytes >> 20);
        assert!(bytes > 0, "{words:?}");
        assert!(
            bytes < 2 * CACHE_BYTES + BEYOND_BYTES_MAX,
            "{words:?}: {} MiB",
            bytes >> 20
        );
    }
    assert_eq!(shell.data(["-d", &target, "count"]), format!("{SAMPLES}\n"));
}

/// What reads one file and makes another one has a cache of 64 MiB for each, whatever the address says. Beside them there are batches of a few
/// megabytes, what the allocator keeps of those, and for each row some bits: together no more than one of the caches. What held all
/// samples would have 190 MiB of them alone.
#[test]
fn rebuilding_a_file_takes_a_bounded_amount_beyond_its_two_caches() {
    const CACHES_BYTES: usize = 2 * (64 << 20);
    const BEYOND_BYTES_MAX: usize = 64 << 20;
    let shell = Shell::new();
    fill(&shell);
    let saved = shell.path("saved.redb");
    let saved = saved.to_str().unwrap();
    for words in [&["repair"][..], &["reindex"], &["salvage", saved]] {
        let bytes = peak(&shell, words);
        println!("{words:?}: {} MiB", bytes >> 20);
        assert!(bytes > 0, "{words:?}");
        assert!(
            bytes < CACHES_BYTES + BEYOND_BYTES_MAX,
            "{words:?}: {} MiB",
            bytes >> 20
        );
    }
    for db in [shell.db().to_str().unwrap(), saved] {
        assert_eq!(shell.data(["-d", db, "count"]), format!("{SAMPLES}\n"));
    }
}

/// A million is what the contract says (rule R9): what were held of each, if only some bytes, would be seen.
#[test]
fn going_through_a_million_small_samples_takes_no_more() {
    const MILLION: usize = 1_000_000;
    const BATCH: usize = 20_000;
    let shell = Shell::new();
    let options = Database::options().durability(Durability::Deferred);
    let database = options.open(shell.db()).unwrap();
    let sample = |number: usize| {
        let sample = Sample::builder("p").id(format!("{number}"));
        sample.data(data! { "n" => number as u64 }).build().unwrap()
    };
    for first in (0..MILLION).step_by(BATCH) {
        let batch: Vec<Sample> = (first..first + BATCH).map(sample).collect();
        database.store(&batch).unwrap();
    }
    database.close().unwrap();
    assert_eq!(shell.data(["count"]), format!("{MILLION}\n"));
    let mut verbs = vec![
        vec!["export", "-f", "jsonl"],
        vec!["export", "-f", "json"],
        vec!["export", "-f", "csv", "--newest"],
        vec!["count"],
        vec!["count", "--where", "data.n > 5"],
    ];
    if cfg!(feature = "arrow") {
        verbs.push(vec!["export", "-f", "parquet"]);
        verbs.push(vec!["export", "-f", "arrow"]);
    }
    for words in verbs {
        let bytes = peak(&shell, &words);
        println!("{words:?}: {} MiB", bytes >> 20);
        assert!(bytes > 0, "{words:?}");
        assert!(
            bytes < CACHE_BYTES + BEYOND_BYTES_MAX,
            "{words:?}: {} MiB",
            bytes >> 20
        );
    }
}

/// Each sample has one measurement, and all of them together more than there are columns for.
#[cfg(feature = "arrow")]
#[test]
fn a_table_of_many_columns_takes_a_bounded_amount_beyond_the_cache() {
    const NAMES: usize = 1_200;
    let shell = Shell::new();
    let database = Database::open(shell.db()).unwrap();
    let sample = |number: usize| {
        let name = format!("m{:04}", number % NAMES);
        Sample::builder("p")
            .id(format!("{number:06}"))
            .measurements(Map::from([(name, Value::from(number as f64 / 2.0))]))
            .build()
            .unwrap()
    };
    let samples: Vec<Sample> = (0..SAMPLES).map(sample).collect();
    for batch in samples.chunks(5_000) {
        database.store(batch).unwrap();
    }
    database.close().unwrap();
    for format in ["parquet", "arrow"] {
        let bytes = peak(&shell, &["export", "-f", format]);
        println!("{format}: {} MiB", bytes >> 20);
        assert!(
            bytes < CACHE_BYTES + BEYOND_BYTES_MAX,
            "{format}: {} MiB",
            bytes >> 20
        );
        let file = shell.path(&format!("wide.{format}"));
        let file = file.to_str().unwrap();
        let told = shell.run(["export", file]).words;
        let said = "without a column of floats: 200 measurements behind the first 1,000 by name;";
        assert!(told.contains(said), "{told}");
        // Those without a column come back, too.
        let url = shell.path(&format!("{format}.db"));
        let url = ["-d", url.to_str().unwrap()];
        assert_eq!(shell.run([&url[..], &["import", file]].concat()).code, 0);
        let last = ["get", "001199"];
        assert_eq!(shell.data([&url[..], &last].concat()), shell.data(last));
        assert_eq!(
            shell.data([&url[..], &["count"]].concat()),
            format!("{SAMPLES}\n")
        );
    }
}

/// Records of which no sample can be made, since it would be too large: a few bytes of text each would take hundreds in memory.
#[test]
fn a_record_of_too_many_values_is_rejected_before_it_is_held() {
    const TEXT_BYTES: usize = 48 << 20;
    let list = |element: &str| {
        let elements = element.repeat(TEXT_BYTES / element.len());
        format!("[{}]", elements.trim_end_matches(','))
    };
    let nested = [list("0,"), list("{\"\":0},"), list("{\"\":{}},")];
    for (number, list) in nested.iter().enumerate() {
        let shell = Shell::new();
        let sample = format!(r#"{{"id":"a","pipeline":"p","data":{{"x":{list}}}}}"#);
        let unclosed = &sample[..sample.len() - 1];
        let plain = format!(r#"{{"x":{list}}}"#);
        let cell = list.replace('"', "\"\"");
        let row = format!("id,pipeline,status,created_at,measured_at,data.x\na,p,,,,\"{cell}\"\n");
        let rejects = shell.path("rejects.jsonl");
        let kept = ["--rejects", rejects.to_str().unwrap(), "--overwrite"];
        for (name, text, flags) in [
            ("sample.jsonl", &*sample, &[][..]),
            ("kept.jsonl", &sample, &kept),
            ("unclosed.jsonl", unclosed, &[]),
            ("array.json", &format!("[{sample}]"), &[]),
            ("plain.jsonl", &plain, &["--pipeline", "p"]),
            ("row.csv", &row, &[]),
            ("kept.csv", &row, &kept),
        ] {
            let file = shell.file(name, text);
            let words = [&["import", &file], flags].concat();
            let (bytes, ended) = peak_and_end(&shell, &words);
            println!("{number} {name}: {} MiB", bytes >> 20);
            assert_eq!(ended.code(), Some(3), "{number} {name}");
            assert!(
                bytes < CACHE_BYTES + 8 * TEXT_BYTES,
                "{number} {name}: {} MiB",
                bytes >> 20
            );
            fs::remove_file(file).unwrap();
        }
        assert_eq!(shell.data(["count"]), "0\n");
    }
}
