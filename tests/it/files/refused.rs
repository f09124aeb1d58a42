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
