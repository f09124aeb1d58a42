//! Opening: again after a restart, files that are no database, damaged ones, ones that another handle
//! has, folders and disks that do not allow writing. Each has its own kind of error, and nothing already
//! stored is lost. What is no whole database is in `files/refused.rs`, and what becomes of a file that others
//! move while it is open in `files/moved.rs`.

mod moved;
mod refused;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use chrono::DateTime;
use redb::TableDefinition;
use samplestore::{
    Backup, Database, Durability, Error, ErrorKind, Limit, Query, Sample, Status, Storage, Value,
    data,
};

/// Where redb's storage begins in a file; before it is the log, which is mostly a hole.
pub(crate) const HEAD_BYTES: usize = 8 << 20;

/// Bytes of redb's storage in a file.
fn storage_bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len() - HEAD_BYTES as u64
}

fn samples(count: usize) -> Vec<Sample> {
    (0..count)
        .map(|number| {
            Sample::builder(if number % 2 == 0 { "even" } else { "odd" })
                .id(format!("s{number}"))
                .status(Status::ALL[number % 6])
                .data(data! { "number" => number as u64, "text" => "x".repeat(300) })
                .build()
                .unwrap()
        })
        .collect()
}

/// Makes a database say that it is of this format version: a number in its first sector, which ends in the
/// XXH3 of the rest.
pub(crate) fn write_format(path: &Path, format: u32) {
    let mut bytes = fs::read(path).unwrap();
    bytes[12..16].copy_from_slice(&format.to_le_bytes());
    let sum = twox_hash::XxHash3_64::oneshot(&bytes[..504]);
    bytes[504..512].copy_from_slice(&sum.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

fn kind(result: Result<Database, Error>) -> ErrorKind {
    let error = result.unwrap_err();
    assert!(error.subject().is_some(), "{error} does not name the file");
    error.kind()
}

#[test]
fn a_second_open_finds_all_that_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let stored = samples(500);
    let query = Query::new().status(Status::Ready).pipeline("even");
    let (before, next) = {
        let database = Database::open(&path).unwrap();
        database.store(&stored).unwrap();
        let page = database.list(&query.clone().limit(10)).unwrap();
        (database.list(&query).unwrap().samples, page.next.unwrap())
        // Dropped, not closed: that must do.
    };
    let database = Database::options().create(false).open(&path).unwrap();
    assert_eq!(database.list(&query).unwrap().samples, before);
    let rest = database.list(&query.clone().cursor(next)).unwrap();
    assert_eq!(rest.samples, before[10..]);
    assert_eq!(database.stats().unwrap().samples, 500);
    database.close().unwrap();
    database.close().unwrap();
    assert_eq!(
        database.count(&query).unwrap_err().kind(),
        ErrorKind::Closed
    );

    let database = Database::options().read_only(true).open(&path).unwrap();
    assert_eq!(database.list(&query).unwrap().samples, before);
    let refused = database.store(&stored).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
    assert_eq!(
        database.delete(&query.into()).unwrap_err().kind(),
        ErrorKind::ReadOnly
    );
}

#[test]
fn after_close_nothing_answers_and_the_file_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let database = Database::open(&path).unwrap();
    database.store(&samples(100)).unwrap();
    let snapshot = database.snapshot().unwrap();
    let mut iterator = database.iterate(&Query::new()).unwrap();
    iterator.next().unwrap().unwrap();
    database.close().unwrap();
    let closed = |error: Error| assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    closed(snapshot.count(&Query::new()).unwrap_err());
    closed(snapshot.facets(&Query::new()).unwrap_err());
    closed(snapshot.list(&Query::new()).unwrap_err());
    closed(snapshot.retrieve("s1").unwrap_err());
    closed(iterator.next().unwrap().unwrap_err());
    assert!(iterator.next().is_none());

    // However many read meanwhile, when `close` returns another may open the file.
    for _ in 0..50 {
        let database = Database::open(&path).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| while database.count(&Query::new()).is_ok() {});
            }
            database.close().unwrap();
            Database::open(&path).unwrap();
        });
    }
}

#[test]
fn a_batch_fails_for_its_own_reasons_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let at = |micros| DateTime::from_timestamp_micros(micros).unwrap();
    let marker = 0x0003_1415_9265_3589_i64;
    let dated = |id: &str, micros| {
        let sample = Sample::builder("p").id(id).created_at(at(micros));
        sample.build().unwrap()
    };
    let victim = dated("victim", marker);
    // With these a leaf of the index that has the instants is full, so that others need another one. Neither the first nor
    // the last instant of all is the victim's, since those are written down elsewhere too.
    let mut first = vec![victim.clone(), dated("older", 1)];
    first.extend(samples(318));
    Database::open(&path).unwrap().store(&first).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes
        .windows(8)
        .rposition(|window| window == marker.to_le_bytes())
        .unwrap();
    bytes[place] ^= 1;
    fs::write(&path, bytes).unwrap();

    let database = Database::open(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let database = &database;
            scope.spawn(move || {
                for number in 0..50 {
                    let sample = Sample::builder("p").id(format!("{thread}-{number}"));
                    database.store(&[sample.build().unwrap()]).unwrap();
                }
            });
        }
        for _ in 0..50 {
            let error = database.store(std::slice::from_ref(&victim)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged);
        }
    });
    assert_eq!(database.count(&Query::new()).unwrap(), 520);
}

#[test]
fn compacting_makes_the_file_smaller_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let database = Database::open(&path).unwrap();
    for batch in samples(6_000).chunks(500) {
        database.store(batch).unwrap();
    }
    let odd = Query::new().pipeline("odd");
    assert_eq!(database.delete(&odd.clone().into()).unwrap(), 3_000);
    let expected = database.list(&Query::new()).unwrap().samples;
    let bytes = storage_bytes(&path);

    let held = database.snapshot().unwrap();
    let error = database.compact().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert_eq!(held.count(&Query::new()).unwrap(), 3_000);
    drop(held);

    assert!(database.compact().unwrap());
    assert!(storage_bytes(&path) < bytes * 3 / 4);
    assert_eq!(database.list(&Query::new()).unwrap().samples, expected);
    database.store(&samples(6_000)).unwrap();
    assert_eq!(database.count(&odd).unwrap(), 3_000);
    database.close().unwrap();
    assert_eq!(database.compact().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn an_idle_shared_reader_does_not_make_the_file_grow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let shared = || Database::options().shared_readers(true);
    let writer = shared().open(&path).unwrap();
    writer.store(&samples(200)).unwrap();
    let reader = shared().read_only(true).open(&path).unwrap();
    assert_eq!(reader.count(&Query::new()).unwrap(), 200);
    for _ in 0..100 {
        writer.store(&samples(200)).unwrap();
    }
    let bytes = storage_bytes(&path);
    assert!(bytes < 4 << 20, "{bytes} bytes for 200 samples");
    assert_eq!(reader.count(&Query::new()).unwrap(), 200);
}

#[test]
fn deferred_stores_are_there_after_flush_and_after_close() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let open = || {
        Database::options()
            .durability(Durability::Deferred)
            .open(&path)
            .unwrap()
    };
    let database = open();
    for batch in samples(300).chunks(10) {
        database.store(batch).unwrap();
    }
    database.flush().unwrap();
    drop(database);
    let database = open();
    assert_eq!(database.count(&Query::new()).unwrap(), 300);
    database.store(&samples(301)).unwrap();
    drop(database);
    assert_eq!(open().count(&Query::new()).unwrap(), 301);
}

#[test]
fn a_missing_file_is_made_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    assert_eq!(
        kind(Database::options().create(false).open(&path)),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(Database::options().read_only(true).open(&path)),
        ErrorKind::NotFound
    );
    assert!(!path.exists());
    assert_eq!(
        kind(Database::open(folder.path().join("no/such/folder.redb"))),
        ErrorKind::NotFound
    );
    assert!(Database::open(&path).is_ok());
}

#[test]
fn one_process_writes_and_shared_readers_follow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let first = Database::open(&path).unwrap();
    let error = Database::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.is_retryable());
    first.close().unwrap();

    let shared = || Database::options().shared_readers(true);
    let writer = shared().open(&path).unwrap();
    let reader = shared().read_only(true).open(&path).unwrap();
    let held = reader.snapshot().unwrap();
    for (round, batch) in samples(100).chunks(25).enumerate() {
        writer.store(batch).unwrap();
        assert_eq!(
            reader.count(&Query::new()).unwrap(),
            25 * (round as u64 + 1)
        );
        assert_eq!(
            reader.retrieve(batch[7].id()).unwrap().as_ref(),
            Some(&batch[7])
        );
    }
    assert_eq!(held.count(&Query::new()).unwrap(), 0);
    assert_eq!(kind(shared().open(&path)), ErrorKind::Locked);
    let deferred = shared()
        .durability(Durability::Deferred)
        .open(folder.path().join("d.redb"));
    assert_eq!(kind(deferred), ErrorKind::InvalidArgument);
}

#[test]
fn an_invalid_sample_is_refused_and_what_was_stored_stays() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::options()
        .sample_bytes_max(2_000)
        .open(folder.path().join("s.redb"))
        .unwrap();
    database.store(&samples(10)).unwrap();

    let limit = |result: Result<Sample, Error>| result.unwrap_err().limit().cloned().unwrap();
    let long_id = Sample::builder("p").id("x".repeat(513)).build();
    assert_eq!(limit(long_id), Limit::IdLength { bytes: 513 });
    let deep = (0..65).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    let deep = Sample::builder("p").data(data! { "deep" => deep }).build();
    assert_eq!(limit(deep), Limit::Depth { field: "data" });

    let large = Sample::builder("p")
        .id("large")
        .data(data! { "text" => "x".repeat(3_000) });
    let batch = [samples(1).remove(0), large.build().unwrap()];
    let error = database.store(&batch).unwrap_err();
    assert_eq!(
        (error.position(), error.sample_id()),
        (Some(1), Some("large"))
    );
    assert!(matches!(
        error.limit(),
        Some(Limit::SampleBytes { max: 2_000, .. })
    ));

    let nan = Sample::builder("p")
        .id("nan")
        .data(data! { "value" => f64::NAN })
        .build()
        .unwrap();
    database.store(std::slice::from_ref(&nan)).unwrap();
    assert_eq!(database.retrieve("nan").unwrap(), Some(nan));
    assert_eq!(database.count(&Query::new()).unwrap(), 11);
}

/// Runs `test` with a file system of its own in a folder. Says loudly when this machine does not allow
/// it, and fails where `SAMPLESTORE_REQUIRE_SERVERS` is set.
pub(crate) fn with_file_system(options: &str, test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(folder.path())
        .output();
    let is_mounted = mounted.as_ref().is_ok_and(|output| output.status.success());
    if !is_mounted {
        let words = "mounting a tmpfs needs root on Linux";
        // As where a server is not there.
        assert!(
            std::env::var_os("SAMPLESTORE_REQUIRE_SERVERS").is_none(),
            "{words}: {mounted:?}"
        );
        // Not captured, other than `eprintln!`.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {words}");
        return;
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(folder.path())));
    let unmounted = Command::new("umount")
        .arg("-l")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(unmounted.success());
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Makes a file system of [`with_file_system`] read-only.
pub(crate) fn forbid_writing(folder: &Path) {
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(folder)
        .status();
    assert!(remounted.unwrap().success());
}

#[test]
fn a_full_disk_is_its_own_error_and_loses_nothing() {
    with_file_system("size=4m", |folder| {
        let path = folder.join("s.redb");
        let database = Database::open(&path).unwrap();
        let mut stored = 0;
        let all = samples(20_000);
        let error = all
            .chunks(100)
            .find_map(|batch| match database.store(batch) {
                Ok(_) => {
                    stored += batch.len() as u64;
                    None
                }
                Err(error) => Some(error),
            })
            .expect("four megabytes hold 20,000 samples");
        let is_full = |error: &Error| {
            let mut cause: Option<&dyn std::error::Error> = Some(error);
            std::iter::from_fn(|| {
                let this = cause?;
                cause = this.source();
                Some(this.to_string())
            })
            .any(|text| text.contains("no space left"))
        };
        assert!(is_full(&error), "{error:?}");
        assert!(
            matches!(error.kind(), ErrorKind::Full | ErrorKind::OutcomeUnknown),
            "{error}"
        );
        drop(database);
        let database = Database::open(&path).unwrap();
        let count = database.count(&Query::new()).unwrap();
        assert!(
            count == stored || count == stored + 100,
            "{count} after {stored}"
        );
        assert_eq!(
            database.list(&Query::new()).unwrap().samples.len() as u64,
            count
        );
    });
}

#[test]
fn a_read_only_folder_is_its_own_error() {
    with_file_system("size=8m", |folder| {
        let path = folder.join("s.redb");
        Database::open(&path).unwrap().store(&samples(10)).unwrap();
        forbid_writing(folder);
        assert_eq!(kind(Database::open(&path)), ErrorKind::ReadOnly);
        assert_eq!(
            kind(Database::open(folder.join("new.redb"))),
            ErrorKind::ReadOnly
        );
        let database = Database::options().read_only(true).open(&path).unwrap();
        assert_eq!(database.count(&Query::new()).unwrap(), 10);
    });
}
