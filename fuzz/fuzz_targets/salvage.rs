//! Damaged files: whatever is done to one, salvage saves what was there or says what became of it, repair changes no sample, and
//! reads are errors or right.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use samplestore::{Database, Query, RepairOutcome, SalvageReport, Sample, Status, Storage, Value};

const PAGE: usize = 4_096;
/// The sample of the last commit: damage to the end of a log looks like a commit that was torn.
const LAST: &str = "last";

#[derive(Debug, Arbitrary)]
struct Input {
    /// Of a process that was killed, or a closed one.
    is_killed: bool,
    edits: Vec<Edit>,
}

#[derive(Debug, Arbitrary)]
enum Edit {
    Flip(u32, u8),
    /// A page is zeros.
    Zero(u16),
    /// A page lies over another one.
    Copy(u16, u16),
    /// The file ends with this page.
    Cut(u16),
}

struct File {
    bytes: Vec<u8>,
    samples: BTreeMap<String, Sample>,
}

fn sample(number: u64, version: u64) -> Sample {
    let micros = (number * 7_919 % 400) as i64;
    Sample::builder(["even", "odd", "third"][(number % 3) as usize])
        .id(format!("s{number}"))
        .status(Status::ALL[(number + version) as usize % 6])
        .created_at(DateTime::from_timestamp_micros(micros).expect("an instant"))
        .data(BTreeMap::from([(
            "version".to_owned(),
            Value::from(version),
        )]))
        .measurement("number", number)
        .build()
        .expect("a sample")
}

/// Makes a file with all that there can be, of which something is in the log alone if it is not closed.
fn make(is_killed: bool) -> File {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.redb");
    let open = || {
        let options = Database::options()
            .cache_bytes(1 << 20)
            .log_half_bytes(8 * PAGE as u64);
        options.open(&path).expect("open")
    };
    let store = |database: &Database, samples: &[Sample]| {
        database.store(samples).expect("store");
    };
    let database = open();
    for first in (0..600).step_by(50) {
        let samples: Vec<_> = (first..first + 50)
            .map(|number| sample(number, 0))
            .collect();
        store(&database, &samples);
    }
    database
        .create_index(&"measurements.number".parse().expect("a field"), |_| ())
        .expect("an index");
    let again: Vec<_> = (0..20).map(|number| sample(number * 13, 1)).collect();
    store(&database, &again);
    database
        .delete(&Query::new().status(Status::Dlq).pipeline("odd").into())
        .expect("delete");
    database.close().expect("close");
    let database = open();
    store(
        &database,
        &again
            .iter()
            .map(|sample| sample.clone().into_builder())
            .map(|sample| sample.status(Status::Ready).build().expect("a sample"))
            .collect::<Vec<_>>(),
    );
    database
        .set_status(
            &Query::new().pipeline("even").limit(30).into(),
            None,
            Status::Labeled,
        )
        .expect("set status");
    store(
        &database,
        &(700..710)
            .map(|number| sample(number, 0))
            .collect::<Vec<_>>(),
    );
    store(
        &database,
        &[Sample::builder("new").id(LAST).build().expect("a sample")],
    );
    let samples = all(&database);
    if !is_killed {
        database.close().expect("close");
    }
    let bytes = fs::read(&path).expect("read");
    File { bytes, samples }
}

fn all(database: &Database) -> BTreeMap<String, Sample> {
    let samples = database.list(&Query::new()).expect("list").samples;
    let named = samples
        .into_iter()
        .map(|sample| (sample.id().to_owned(), sample));
    named.collect()
}

/// Whether nothing is missing or another, but perhaps the last commit of a process that was killed.
fn is_right(found: &BTreeMap<String, Sample>, file: &File, is_killed: bool) -> bool {
    let mut expected = file.samples.clone();
    if is_killed && !found.contains_key(LAST) {
        expected.remove(LAST);
    }
    *found == expected
}

fn check_salvage(path: &Path, to: &Path, file: &File, is_killed: bool, is_something: bool) {
    let report = match Database::salvage(path, to, |_| ()) {
        Ok(report) => report,
        Err(error) => {
            // A file that is as long as it was, and says that it is one of ours.
            assert!(!is_something, "{error}");
            return;
        }
    };
    let database = Database::open(to).expect("what was saved");
    assert!(database.check(|_| ()).expect("check").is_sound());
    let saved = all(&database);
    assert_eq!(saved.len() as u64, report.samples);
    if report.is_whole() {
        assert!(is_right(&saved, file, is_killed), "{report:?}");
    } else {
        check_told(&saved, file, &report);
    }
    drop(database);
    fs::remove_file(to).expect("remove");
}

/// Every sample is there as it was, or listed as doubtful, or counted as lost, unless their number is not known.
fn check_told(saved: &BTreeMap<String, Sample>, file: &File, report: &SalvageReport) {
    let doubtful: BTreeSet<_> = report
        .doubtful_rows
        .iter()
        .filter_map(|row| row.id.as_deref())
        .collect();
    for (id, sample) in saved {
        let is_known = file.samples.get(id) == Some(sample);
        assert!(
            is_known || doubtful.contains(id.as_str()),
            "{id} is another: {report:?}"
        );
    }
    let lost = file
        .samples
        .keys()
        .filter(|id| !saved.contains_key(*id) && *id != LAST)
        .count() as u64;
    let more = saved
        .keys()
        .filter(|id| !file.samples.contains_key(*id))
        .count() as u64;
    let is_unknown =
        report.lost_commits > 0 || report.notes.iter().any(|note| note.starts_with("how many"));
    assert!(
        lost <= report.lost + more || is_unknown,
        "{lost} are lost: {report:?}"
    );
    let named = report.lost_rows.iter().filter_map(|row| row.id.as_deref());
    for id in named {
        assert!(!saved.contains_key(id), "{id} is saved: {report:?}");
    }
    assert!(report.lost >= report.lost_rows.len() as u64, "{report:?}");
}

fn check_repair(path: &Path, file: &File, is_killed: bool) {
    let Ok(report) = Database::repair(path, |_| ()) else {
        return;
    };
    if report.outcome == RepairOutcome::NeedsSalvage {
        // What could not be repaired is not right because somebody tried.
        let again = Database::repair(path, |_| ()).expect("a second repair");
        assert_eq!(again.outcome, RepairOutcome::NeedsSalvage, "{again:?}");
    } else {
        let repaired = all(&Database::open(path).expect("what was repaired"));
        assert!(is_right(&repaired, file, is_killed), "{report:?}");
    }
}

fuzz_target!(|input: Input| {
    static FILES: OnceLock<[File; 2]> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        // A panic of redb's is caught, and is an error; libFuzzer would end at each. One of our own would be the same error.
        std::panic::set_hook(Box::new(|panic| {
            let file = panic.location().map_or("", |at| at.file());
            if file.contains("redb-") {
                return;
            }
            eprintln!("{panic}");
            // Neither of another crate nor of the standard library.
            if !["/registry/", "/rustc/", "/rustlib/"]
                .iter()
                .any(|of| file.contains(of))
            {
                std::process::abort();
            }
        }));
        [make(false), make(true)]
    });
    let file = &files[usize::from(input.is_killed)];
    let mut bytes = file.bytes.clone();
    let (mut has_older_pages, mut is_something) = (false, true);
    for edit in input.edits.iter().take(6) {
        let pages = (bytes.len() / PAGE).max(1);
        let page = |number: &u16| {
            let start = usize::from(*number) % pages * PAGE;
            start..start + PAGE
        };
        match edit {
            Edit::Flip(at, bits) => {
                let at = *at as usize % bytes.len().max(1);
                is_something &= at >= PAGE;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Edit::Zero(number) => {
                is_something &= page(number).start > 0;
                bytes[page(number)].fill(0);
            }
            Edit::Copy(from, to) => {
                is_something &= page(to).start > 0;
                bytes.copy_within(page(from), page(to).start);
                has_older_pages = true;
            }
            Edit::Cut(number) => {
                is_something = false;
                bytes.truncate(page(number).end);
            }
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (path, to) = (folder.path().join("s.redb"), folder.path().join("to.redb"));
    fs::write(&path, &bytes).expect("written");
    check_salvage(&path, &to, file, input.is_killed, is_something);
    assert_eq!(fs::read(&path).expect("read"), bytes, "it was changed");
    let reading = Database::options()
        .create(false)
        .read_only(true)
        .open(&path);
    if let Ok(database) = reading {
        let listed = database.list(&Query::new());
        // What reads give of a page as it was before is not said to be right.
        if let Ok(page) = listed
            && !has_older_pages
        {
            let listed = page
                .samples
                .into_iter()
                .map(|sample| (sample.id().to_owned(), sample));
            assert!(is_right(&listed.collect(), file, input.is_killed));
        }
    }
    check_repair(&path, file, input.is_killed);
});
