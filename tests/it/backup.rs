//! Backups: whole, compact, checked, and never in the way of anything.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta};
use samplestore::{
    Backup, Database, ErrorKind, Prune, Query, Sample, Selection, Status, Storage, data,
};

fn sample(number: u64, text: &str) -> Sample {
    Sample::builder(["a", "b", "c"][(number % 3) as usize])
        .id(format!(
            "{:016x}",
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ))
        .status(Status::ALL[(number / 5 % 6) as usize])
        .created_at(DateTime::UNIX_EPOCH + TimeDelta::seconds((number * 7_919 % 10_000) as i64))
        .data(data! { "number" => number, "text" => text.repeat(20) })
        .build()
        .unwrap()
}

fn store(database: &Database, numbers: std::ops::Range<u64>, text: &str) {
    let samples: Vec<Sample> = numbers.map(|number| sample(number, text)).collect();
    for batch in samples.chunks(500) {
        database.store(batch).unwrap();
    }
}

/// A database in which much was deleted and replaced.
fn worn(path: &Path) -> Database {
    let database = Database::open(path).unwrap();
    store(&database, 0..70_000, "first");
    store(&database, 10_000..20_000, "second");
    let skipped = Query::new().status(Status::Skipped);
    database.delete(&Selection::from(skipped)).unwrap();
    let labeled = Query::new().status(Status::Labeled).pipeline("b");
    database
        .set_status(&labeled.into(), None, Status::Dlq)
        .unwrap();
    database
}

fn all(database: &Database) -> Vec<Sample> {
    database.list(&Query::new()).unwrap().samples
}

/// Every way of reading must give the same.
fn assert_same(copy: &Database, samples: &[Sample]) {
    assert_eq!(copy.count(&Query::new()).unwrap(), samples.len() as u64);
    assert!(all(copy) == samples);
    let newest = copy.list(&Query::new().newest_first()).unwrap().samples;
    assert!(newest.iter().eq(samples.iter().rev()));
    for pipeline in ["a", "b", "c"] {
        for status in Status::ALL {
            let query = Query::new().pipeline(pipeline).status(status);
            let found = copy.list(&query).unwrap().samples;
            assert!(
                found.iter().eq(samples
                    .iter()
                    .filter(|sample| query.matches(sample).unwrap()))
            );
        }
    }
    for sample in samples.iter().step_by(97) {
        assert_eq!(copy.retrieve(sample.id()).unwrap().as_ref(), Some(sample));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_copy_is_the_same_database_and_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let database = worn(&folder.path().join("s.redb"));
    let samples = all(&database);
    let page = database.list(&Query::new().limit(500)).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let backup = Backup::new().on_progress({
        let told = told.clone();
        move |done| told.lock().unwrap().push(done)
    });
    let path = folder.path().join("copy.redb");
    assert_eq!(
        database.backup(&path, &backup).unwrap(),
        samples.len() as u64
    );
    assert_eq!(names(folder.path()), ["copy.redb", "s.redb"]);
    let told = told.lock().unwrap();
    assert!(
        told.len() > 20 && told.is_sorted() && told.last() == Some(&1.0),
        "{told:?}"
    );

    let copy = Database::open(&path).unwrap();
    assert_same(&copy, &samples);
    // Cursors go on in the copy.
    let rest = Query::new().cursor(page.next.unwrap());
    assert!(copy.list(&rest).unwrap().samples == samples[500..]);
    let (before, after) = (database.stats().unwrap(), copy.stats().unwrap());
    let bytes = |stats: &samplestore::Stats, name| {
        let tables = &mut stats.tables.iter();
        tables.find(|table| table.name == name).unwrap().used_bytes
    };
    assert!(bytes(&before, "replaced") > 1_000_000 && bytes(&after, "replaced") == 0);
    assert!(bytes(&after, "blocks") < bytes(&before, "blocks"));
    assert!(after.file_bytes < before.file_bytes);
    assert!(after.reclaimable_bytes < after.file_bytes / 20, "{after:?}");

    // It is a database like any other.
    store(&copy, 60_000..80_000, "third");
    copy.prune(&Prune::new().pipeline("a")).unwrap();
    drop(copy);
    let copy = Database::open(&path).unwrap();
    let mut expected = samples.clone();
    expected.retain(|sample| sample.pipeline() != "a");
    assert!(copy.count(&Query::new()).unwrap() > expected.len() as u64);
    let id = sample(60_001, "x").id().to_owned();
    let number = copy.retrieve(&id).unwrap().unwrap();
    assert_eq!(number, sample(60_001, "third"));
    assert!(all(&database) == samples);
}

#[test]
fn a_copy_is_of_one_moment_while_others_write_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("s.redb")).unwrap();
    store(&database, 0..20_000, "first");
    let samples = all(&database);
    let path = folder.path().join("copy.redb");
    let written = Arc::new(Mutex::new(0));
    let backup = Backup::new().on_progress({
        let (database, written) = (database.clone(), written.clone());
        move |_| {
            let mut written = written.lock().unwrap();
            let number = 20_000 + *written;
            store(&database, number..number + 1, "later");
            store(&database, *written..*written + 1, "replaced");
            let newest = Query::new().newest_first().limit(1);
            database.delete(&newest.into()).unwrap();
            assert!(database.retrieve(sample(5_000, "").id()).unwrap().is_some());
            *written += 1;
        }
    });
    assert_eq!(database.backup(&path, &backup).unwrap(), 20_000);
    assert!(*written.lock().unwrap() > 3);
    assert_same(&Database::open(&path).unwrap(), &samples);
    assert!(all(&database) != samples);
}

#[test]
fn readers_back_up_too_and_an_empty_database_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let shared = || Database::options().shared_readers(true);
    let writer = shared().open(&path).unwrap();
    let reader = shared().read_only(true).open(&path).unwrap();
    let copy = |name: &str| folder.path().join(name);
    assert_eq!(reader.backup(copy("none"), &Backup::new()).unwrap(), 0);
    store(&writer, 0..1_000, "first");
    assert_eq!(reader.backup(copy("all"), &Backup::new()).unwrap(), 1_000);
    assert_same(&Database::open(copy("none")).unwrap(), &[]);
    assert_same(&Database::open(copy("all")).unwrap(), &all(&writer));
    drop((writer, reader));
    let closed = Database::open(&path).unwrap();
    closed.close().unwrap();
    let error = closed.backup(copy("no"), &Backup::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn nothing_that_is_there_is_overwritten_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("s.redb");
    let database = Database::open(&own).unwrap();
    store(&database, 0..100, "first");
    let path = folder.path().join("copy.redb");
    fs::write(&path, "precious").unwrap();
    let refused = |path: &Path, backup: &Backup| {
        let error = database.backup(path, backup).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.subject().is_some());
    };
    let overwrite = Backup::new().overwrite(true);
    refused(&path, &Backup::new());
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    for backup in [&Backup::new(), &overwrite] {
        refused(&own, backup);
        refused(folder.path(), backup);
        let missing = database.backup(folder.path().join("no/copy.redb"), backup);
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }
    #[cfg(unix)]
    {
        // Neither a link to the database nor one to nothing is followed.
        let (to_own, to_nothing) = (folder.path().join("own"), folder.path().join("nothing"));
        std::os::unix::fs::symlink(&own, &to_own).unwrap();
        std::os::unix::fs::symlink(folder.path().join("absent"), &to_nothing).unwrap();
        refused(&to_own, &overwrite);
        refused(&to_nothing, &Backup::new());
        database.backup(&to_nothing, &overwrite).unwrap();
        assert!(to_nothing.symlink_metadata().unwrap().is_file());
        assert!(!folder.path().join("absent").exists());
        fs::remove_file(to_own).unwrap();
        fs::remove_file(to_nothing).unwrap();
    }
    assert_eq!(names(folder.path()), ["copy.redb", "s.redb"]);
    assert_eq!(database.backup(&path, &overwrite).unwrap(), 100);
    assert_same(&Database::open(&path).unwrap(), &all(&database));
}

/// What somebody else stores in it meanwhile would be gone.
#[test]
fn a_file_that_is_being_written_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let [own, path] = ["s.redb", "other.redb"].map(|name| folder.path().join(name));
    let database = Database::open(own).unwrap();
    store(&database, 0..100, "first");
    let overwrite = Backup::new().overwrite(true);
    for shared in [false, true] {
        let options = || Database::options().shared_readers(shared);
        let other = options().open(&path).unwrap();
        store(&other, 0..10, "other");
        let error = database.backup(&path, &overwrite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert!(error.is_retryable());
        store(&other, 10..20, "other");
        drop(other);
        let other = options().read_only(true).open(&path).unwrap();
        assert_eq!(other.count(&Query::new()).unwrap(), 20);
        // Who reads it goes on with what it was, if not alone.
        if shared {
            database.backup(&path, &overwrite).unwrap();
            assert_eq!(other.count(&Query::new()).unwrap(), 20);
        }
        drop(other);
    }
    assert_eq!(names(folder.path()), ["other.redb", "s.redb"]);
    assert_same(&Database::open(&path).unwrap(), &all(&database));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_former_copy_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let [own, path, link] = ["s.redb", "copy.redb", "link"].map(|name| folder.path().join(name));
    let database = Database::open(own).unwrap();
    store(&database, 0..100, "first");
    fs::write(&path, "old").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let overwrite = Backup::new().overwrite(true);
    database.backup(&link, &overwrite).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_same(&Database::open(&path).unwrap(), &all(&database));
}

#[cfg(unix)]
#[test]
fn a_copy_is_private_while_it_is_made_and_as_readable_as_its_source_then() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("s.redb");
    let database = Database::open(&own).unwrap();
    store(&database, 0..20_000, "first");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o640)).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let backup = Backup::new().on_progress({
        let (seen, folder) = (seen.clone(), folder.path().to_owned());
        move |done| {
            if done < 1.0 {
                let name = names(&folder).remove(0);
                assert!(
                    name.starts_with(".copy.redb.") && name.ends_with(".tmp"),
                    "{name}"
                );
                seen.lock().unwrap().push(mode(&folder.join(name)));
            }
        }
    });
    let path = folder.path().join("copy.redb");
    database.backup(&path, &backup).unwrap();
    let seen = seen.lock().unwrap();
    assert!(
        seen.len() > 3 && seen.iter().all(|mode| *mode == 0o600),
        "{seen:?}"
    );
    assert_eq!(mode(&path), 0o640);
}

/// The same of a file that takes another one's place, and of one with what was saved.
#[cfg(unix)]
#[test]
fn what_is_rebuilt_or_saved_is_private_meanwhile() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = tempfile::tempdir().unwrap();
    let [own, saved] = ["s.redb", "saved.redb"].map(|name| folder.path().join(name));
    let database = Database::open(&own).unwrap();
    store(&database, 0..20_000, "first");
    database.close().unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o640)).unwrap();
    let seen = Mutex::new(Vec::new());
    let see = |_: f64| {
        let drafts = names(folder.path()).into_iter();
        let drafts = drafts.filter(|name| name.ends_with(".tmp"));
        let modes = drafts.map(|name| mode(&folder.path().join(name)));
        seen.lock().unwrap().extend(modes);
    };
    Database::reindex(&own, see).unwrap();
    let of_reindex = seen.lock().unwrap().len();
    Database::salvage(&own, &saved, see).unwrap();
    let seen = seen.lock().unwrap();
    assert!(of_reindex > 3 && seen.len() > of_reindex + 3, "{seen:?}");
    assert!(seen.iter().all(|mode| *mode == 0o600), "{seen:?}");
    assert_eq!([mode(&own), mode(&saved)], [0o640; 2]);
}

#[test]
fn a_damaged_database_is_not_copied_and_leaves_no_draft() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let database = Database::open(&path).unwrap();
    store(&database, 0..3_000, "first");
    let marker = "unlikely to be anywhere else in the file";
    database
        .store(&[Sample::builder("a")
            .data(data! { "text" => marker })
            .build()
            .unwrap()])
        .unwrap();
    drop(database);
    let mut bytes = fs::read(&path).unwrap();
    let mut places = bytes.windows(marker.len());
    let at = places
        .rposition(|window| window == marker.as_bytes())
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let database = Database::open(&path).unwrap();
    let copy = folder.path().join("copy.redb");
    let error = database.backup(&copy, &Backup::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert_eq!(names(folder.path()), ["s.redb"]);
}
