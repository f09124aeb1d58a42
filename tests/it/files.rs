//! Opening: again after a restart, files that are no database, damaged ones, ones that another handle
//! has, folders and disks that do not allow writing. Each has its own kind of error, and nothing already
//! stored is lost.
//!
//! One file although it is long: the tests share a few ways to damage, fill and lock a file.

use std::fs;
use std::path::Path;
use std::process::Command;

use redb::TableDefinition;
use samplestore::{
    Database, Durability, Error, ErrorKind, Limit, Query, Sample, Status, Storage, Value, data,
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
    let marker = "unlikely to be anywhere else in the file";
    let victim = Sample::builder("p")
        .id("victim")
        .data(data! { "text" => marker })
        .build()
        .unwrap();
    Database::open(&path)
        .unwrap()
        .store(std::slice::from_ref(&victim))
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // The first one is in the log, which says nothing once the file was closed.
    let at = bytes
        .windows(marker.len())
        .rposition(|window| window == marker.as_bytes())
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();

    let database = Database::open(&path).unwrap();
    assert_eq!(
        database.retrieve("victim").unwrap_err().kind(),
        ErrorKind::Damaged
    );
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
    assert_eq!(database.count(&Query::new()).unwrap(), 201);
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
fn what_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    for text in ["just a note\n".to_owned(), "x".repeat(100_000)] {
        fs::write(&path, &text).unwrap();
        assert_eq!(kind(Database::open(&path)), ErrorKind::NotADatabase);
        assert_eq!(
            kind(Database::options().read_only(true).open(&path)),
            ErrorKind::NotADatabase
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    // A redb file of another program.
    let path = folder.path().join("other.redb");
    let other = redb::Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction
        .open_table(TableDefinition::<u64, u64>::new("theirs"))
        .unwrap();
    transaction.commit().unwrap();
    drop(other);
    assert_eq!(kind(Database::open(&path)), ErrorKind::NotADatabase);
    assert!(kind(Database::open(folder.path())) != ErrorKind::NotADatabase);
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

#[test]
fn an_empty_file_and_one_that_was_not_finished_are_made_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    drop(Database::open(&path).unwrap());
    let mut unfinished = fs::read(&path).unwrap();
    // The mark that a file is made is its second sector.
    unfinished[512..1_024].fill(0);
    for content in [&[][..], &unfinished, &[0; 4_096]] {
        fs::write(&path, content).unwrap();
        assert_eq!(
            kind(Database::options().read_only(true).open(&path)),
            ErrorKind::NotADatabase
        );
        assert_eq!(
            kind(Database::options().create(false).open(&path)),
            ErrorKind::NotADatabase
        );
        assert_eq!(fs::read(&path).unwrap(), content);
        let database = Database::open(&path).unwrap();
        assert_eq!(database.count(&Query::new()).unwrap(), 0);
        database.store(&samples(5)).unwrap();
        drop(database);
        let database = Database::options().create(false).open(&path).unwrap();
        assert_eq!(database.count(&Query::new()).unwrap(), 5);
    }
}

#[test]
fn a_lost_mark_does_not_make_a_file_new_that_has_samples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    Database::open(&path).unwrap().store(&samples(3)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[512..1_024].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(kind(Database::open(&path)), ErrorKind::Damaged);
    assert!(fs::read(&path).unwrap() == bytes);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    Database::open(&path).unwrap().store(&samples(3)).unwrap();
    write_format(&path, 2);
    let error = Database::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FormatTooNew);
    assert!(error.to_string().contains("format 2"), "{error}");
    write_format(&path, 1);
    assert_eq!(
        Database::open(&path).unwrap().count(&Query::new()).unwrap(),
        3
    );
}

#[test]
fn a_truncated_file_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    Database::open(&path)
        .unwrap()
        .store(&samples(2_000))
        .unwrap();
    let whole = fs::read(&path).unwrap();
    let cut = folder.path().join("cut.redb");
    for head in [1, 511, 512, 1_024, 4_095, 4_096, 4_097, 1 << 20, HEAD_BYTES] {
        fs::write(&cut, &whole[..head]).unwrap();
        for create in [false, true] {
            let refused = Database::options().create(create).open(&cut);
            assert_eq!(kind(refused), ErrorKind::Damaged, "{head}");
        }
        assert_eq!(fs::read(&cut).unwrap(), whole[..head]);
    }
    let mut refused = 0;
    for part in 0..40 {
        let bytes = HEAD_BYTES + (whole.len() - HEAD_BYTES) * part / 40;
        fs::write(&cut, &whole[..bytes]).unwrap();
        // Free pages may be cut off without harm; everything else is refused.
        match Database::options().create(false).open(&cut) {
            Err(error) => {
                refused += 1;
                assert!(
                    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotADatabase),
                    "{part}: {error}"
                );
            }
            Ok(database) => {
                if let Ok(count) = database.count(&Query::new()) {
                    assert!(count == 2_000 || count == 0, "{part}: {count}");
                }
            }
        }
    }
    assert!(refused > 20, "only {refused} of 40 were refused");
    fs::write(&cut, &whole).unwrap();
    assert_eq!(
        Database::open(&cut).unwrap().count(&Query::new()).unwrap(),
        2_000
    );
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
/// it.
pub(crate) fn with_file_system(options: &str, test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(folder.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: mounting a tmpfs needs root on Linux");
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
