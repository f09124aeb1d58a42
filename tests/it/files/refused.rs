//! Files that are no database, or none of this version, or not all of one.

use super::*;

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
    // A folder, which can be opened to read, but not to write.
    for read_only in [false, true] {
        let options = Database::options().read_only(read_only);
        let error = options.open(folder.path());
        assert_eq!(kind(error), ErrorKind::NotADatabase);
    }
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
    let [logged, direct, emptied, copy, named] =
        ["logged", "direct", "emptied", "copy", "named"].map(|name| folder.path().join(name));
    Database::open(&logged).unwrap().store(&samples(3)).unwrap();
    // Nothing of these is in the log.
    let shared = || Database::options().shared_readers(true);
    shared().open(&direct).unwrap().store(&samples(1)).unwrap();
    let database = shared().open(&emptied).unwrap();
    database.store(&samples(3)).unwrap();
    database.delete(&Query::new().into()).unwrap();
    drop(database);
    let database = shared().open(&named).unwrap();
    database
        .create_index(&"data.number".parse().unwrap(), |_| ())
        .unwrap();
    drop(database);
    Database::open(&logged)
        .unwrap()
        .backup(&copy, &Backup::new())
        .unwrap();
    for (path, count) in [
        (logged, 3),
        (direct, 1),
        (emptied, 0),
        (copy, 3),
        (named, 0),
    ] {
        let mut bytes = fs::read(&path).unwrap();
        bytes[512..1_024].fill(0);
        fs::write(&path, &bytes).unwrap();
        for create in [true, false] {
            let refused = Database::options().create(create).open(&path);
            assert_eq!(kind(refused), ErrorKind::Damaged, "{}", path.display());
        }
        assert!(fs::read(&path).unwrap() == bytes);
        let saved = path.with_extension("saved");
        let report = Database::salvage(&path, &saved, |_| ());
        if count == 0 {
            // Of which there is nothing to save.
            assert_eq!(report.unwrap_err().kind(), ErrorKind::Damaged);
            continue;
        }
        let report = report.unwrap();
        assert_eq!((report.samples, report.lost), (count, 0));
        assert_eq!(report.notes.len(), 1, "{report:?}");
    }
}

#[test]
fn every_page_is_verified_when_a_file_is_opened_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    Database::open(&path).unwrap().store(&samples(100)).unwrap();
    let verified = || Database::options().verify_on_open(true);
    assert_eq!(
        verified()
            .open(&path)
            .unwrap()
            .count(&Query::new())
            .unwrap(),
        100
    );
    let mut bytes = fs::read(&path).unwrap();
    let text = [b'x'; 300];
    let at = bytes[HEAD_BYTES..]
        .windows(300)
        .rposition(|bytes| bytes == text);
    bytes[HEAD_BYTES + at.unwrap()] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(Database::open(&path).is_ok());
    assert_eq!(kind(verified().open(&path)), ErrorKind::Damaged);
}

/// As a transfer in text mode or an editor appends them.
#[test]
fn bytes_behind_the_end_are_none_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    Database::open(&path).unwrap().store(&samples(100)).unwrap();
    let whole = fs::read(&path).unwrap();
    for tail in [1, 2, 4_095] {
        fs::write(&path, [whole.as_slice(), &vec![b'x'; tail]].concat()).unwrap();
        for options in [
            Database::options().read_only(true),
            Database::options().shared_readers(true).read_only(true),
            Database::options().create(false),
        ] {
            let database = options.open(&path).unwrap();
            assert!(database.check(|_| ()).unwrap().is_sound(), "{tail}");
            assert_eq!(database.count(&Query::new()).unwrap(), 100);
        }
        let database = Database::open(&path).unwrap();
        database.store(&samples(3_000)).unwrap();
        database.close().unwrap();
        let database = Database::open(&path).unwrap();
        assert!(database.check(|_| ()).unwrap().is_sound(), "{tail}");
        assert_eq!(database.count(&Query::new()).unwrap(), 3_000);
    }
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
                    assert_eq!(count, 2_000, "{part}");
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
