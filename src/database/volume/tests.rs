//! The order in which things reach the disk, and files that are being made.

use redb::{Builder, ReadableDatabase, TableDefinition};

use super::*;
use crate::Storage;
use crate::database::disk::FileDisk;
use crate::database::disk::memory::{Done, MemoryDisk};
use crate::database::header::HALF_BYTES;

const TABLE: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("t");
const CREATE: Access = Access::Write { create: true };

fn open(disk: &Arc<MemoryDisk>) -> (Arc<Volume>, redb::Database) {
    let volume = Arc::new(Volume::new(disk.clone(), CREATE, HALF_BYTES).alone());
    assert!(volume.layout().is_none() && volume.disk().len().is_ok());
    let database = Builder::new()
        .set_cache_size(1 << 20)
        .create_with_backend(Backend(Arc::clone(&volume)))
        .unwrap();
    if volume.is_new() {
        volume.finish().unwrap();
    }
    volume.opened();
    (volume, database)
}

fn commit(database: &redb::Database, keys: std::ops::Range<u64>, is_durable: bool) {
    let mut transaction = database.begin_write().unwrap();
    match is_durable {
        true => transaction.set_quick_repair(true),
        false => transaction.set_durability(redb::Durability::None).unwrap(),
    }
    {
        let mut table = transaction.open_table(TABLE).unwrap();
        for key in keys {
            table
                .insert(key % 3_000, vec![key as u8; 700].as_slice())
                .unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// Commits of both kinds, more than the cache holds, so that pages reach the file between checkpoints.
fn work(volume: &Volume, database: &redb::Database, is_lazy: bool) {
    for round in 0..12 {
        let from = round * 1_000;
        for step in 0..4 {
            commit(database, from + step * 50..from + step * 300 + 50, false);
        }
        volume.set_lazy(is_lazy);
        commit(database, from..from + 10, true);
        volume.set_lazy(false);
    }
}

fn mentions_file(done: &[Done], base: u64) -> Vec<Done> {
    let is_redbs = |done: &Done| match done {
        Done::Write { offset, .. } => *offset >= base,
        Done::WriteDurable { .. } => false,
        Done::SetLen(len) => *len >= base,
        Done::Sync => true,
    };
    done.iter().filter(|done| is_redbs(done)).cloned().collect()
}

#[test]
fn lazy_checkpoints_reach_the_file_in_exactly_the_order_of_others() {
    let mut orders = Vec::new();
    for is_lazy in [false, true] {
        let disk = Arc::new(MemoryDisk::default());
        let (volume, database) = open(&disk);
        work(&volume, &database, is_lazy);
        volume.wait_settled().unwrap();
        assert!(volume.writeback.is_settled().unwrap());
        if is_lazy {
            assert!(volume.writeback.syncs() >= 24);
        }
        database.close().unwrap();
        let base = volume.layout().unwrap().base;
        orders.push(mentions_file(&disk.take_done(), base));
    }
    let [eager, lazy] = orders.try_into().unwrap();
    assert!(eager.len() > 1_000);
    // But for syncs that are between them.
    let mut rest = &*eager;
    let mut extra = 0;
    for done in &lazy {
        match rest.split_first() {
            Some((first, others)) if first == done => rest = others,
            _ => {
                assert!(*done == Done::Sync);
                extra += 1;
            }
        }
    }
    assert!(rest.is_empty() && extra > 24);
}

#[test]
fn a_lazy_commit_returns_before_its_syncs_and_what_comes_after_waits() {
    let disk = Arc::new(MemoryDisk::default());
    let (volume, database) = open(&disk);
    // Twice, so that the file has room for the commits below: to grow it would wait.
    commit(&database, 0..1_000, true);
    commit(&database, 0..1_000, true);
    let gate = disk.sync_gate.lock().unwrap();
    volume.set_lazy(true);
    commit(&database, 1_000..1_010, true);
    volume.set_lazy(false);
    assert!(!volume.writeback.is_settled().unwrap());
    commit(&database, 1_010..1_012, false);
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(TABLE).unwrap();
    for key in 990..1_012 {
        assert_eq!(table.get(key).unwrap().unwrap().value()[0], key as u8);
    }
    // Cut off here, the file has the commit before, whole.
    let image = Arc::new(MemoryDisk::of(disk.bytes()));
    let (_, before) = open(&image);
    let transaction = before.begin_read().unwrap();
    let old = transaction.open_table(TABLE).unwrap();
    assert!(old.get(999).unwrap().is_some() && old.get(1_000).unwrap().is_none());
    drop(gate);
    volume.wait_settled().unwrap();
    let image = Arc::new(MemoryDisk::of(disk.bytes()));
    let (_, after) = open(&image);
    let transaction = after.begin_read().unwrap();
    let new = transaction.open_table(TABLE).unwrap();
    assert!(new.get(1_009).unwrap().is_some() && new.get(1_010).unwrap().is_none());
}

#[test]
fn an_error_behind_a_commit_fails_what_comes_after() {
    let disk = Arc::new(MemoryDisk::default());
    let (volume, database) = open(&disk);
    let gate = disk.sync_gate.lock().unwrap();
    volume.set_lazy(true);
    commit(&database, 0..100, true);
    volume.set_lazy(false);
    disk.set_failing(true);
    drop(gate);
    assert!(volume.wait_settled().is_err());
    disk.set_failing(false);
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(TABLE)
        .unwrap()
        .insert(1, [1].as_slice())
        .unwrap();
    assert!(transaction.commit().is_err());
    assert!(volume.writeback.is_settled().is_err());
    assert!(database.close().is_err());
}

#[test]
fn whether_the_last_writer_has_closed_the_file_is_known() {
    let disk = Arc::new(MemoryDisk::default());
    let (volume, database) = open(&disk);
    commit(&database, 0..10, true);
    let killed = Arc::new(MemoryDisk::of(disk.bytes()));
    database.close().unwrap();
    assert!(!volume.was_closed());
    let (volume, database) = open(&disk);
    assert!(volume.was_closed());
    // Open again, and killed before it wrote anything, or behind its first commit.
    let untouched = Arc::new(MemoryDisk::of(disk.bytes()));
    commit(&database, 0..10, true);
    let killed_again = Arc::new(MemoryDisk::of(disk.bytes()));
    drop(database);
    for (disk, was_closed) in [(killed, false), (untouched, true), (killed_again, false)] {
        let (volume, _database) = open(&disk);
        assert_eq!(volume.was_closed(), was_closed);
    }
}

#[test]
fn opening_a_file_that_was_closed_writes_nothing_until_something_is_written() {
    let disk = Arc::new(MemoryDisk::default());
    let (_, database) = open(&disk);
    commit(&database, 0..10, true);
    drop(database);
    disk.take_done();
    let (volume, database) = open(&disk);
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(TABLE).unwrap();
    assert!(table.get(9).unwrap().is_some());
    assert_eq!(disk.take_done(), []);
    // A commit in memory has nothing on the disk to be written before.
    commit(&database, 10..20, false);
    assert_eq!(disk.take_done(), []);
    // The log, or whoever else comes first.
    volume.disk().write_durable(4_096, b"a record").unwrap();
    let base = volume.layout().unwrap().base;
    let done = disk.take_done();
    assert!(matches!(&done[0], Done::Write { offset, .. } if *offset == base));
    assert_eq!(done[1], Done::Sync);
    assert!(matches!(&done[2], Done::WriteDurable { offset: 4_096, .. }));
    let (again, _database) = open(&Arc::new(MemoryDisk::of(disk.bytes())));
    assert!(!again.was_closed());
    // Other processes are to see at once that it is open.
    drop(database);
    disk.take_done();
    let shared = Arc::new(Volume::new(disk.clone(), CREATE, HALF_BYTES));
    let database = Builder::new()
        .create_with_backend(Backend(Arc::clone(&shared)))
        .unwrap();
    assert!(shared.was_closed());
    let done = disk.take_done();
    assert!(matches!(&done[0], Done::Write { offset, .. } if *offset == base));
    assert_eq!(done[1..], [Done::Sync]);
    drop(database);
}

#[test]
fn a_crash_while_a_file_is_made_leaves_one_to_be_made() {
    let disk = Arc::new(MemoryDisk::default());
    let volume = Arc::new(Volume::new(disk.clone(), CREATE, HALF_BYTES));
    let database = Builder::new()
        .create_with_backend(Backend(Arc::clone(&volume)))
        .unwrap();
    drop(database);
    let done = disk.take_done();
    for end in 0..=done.len() {
        let image = Arc::new(MemoryDisk::default());
        for done in &done[..end] {
            match done {
                Done::Write { offset, bytes } | Done::WriteDurable { offset, bytes } => {
                    image.write(*offset, bytes).unwrap();
                }
                Done::SetLen(len) => image.set_len(*len).unwrap(),
                Done::Sync => {}
            }
        }
        let strict = Arc::new(Volume::new(
            image.clone(),
            Access::Write { create: false },
            HALF_BYTES,
        ));
        let refused = Builder::new().create_with_backend(Backend(Arc::clone(&strict)));
        assert!(refused.is_err());
        let refusal = strict.take_refusal().unwrap();
        assert_eq!(refusal.kind(), ErrorKind::NotADatabase);
        let (volume, database) = open(&image);
        commit(&database, 0..10, true);
        drop((volume, database));
        let (volume, database) = open(&image);
        assert!(!volume.is_new());
        let transaction = database.begin_read().unwrap();
        let table = transaction.open_table(TABLE).unwrap();
        assert!(table.get(9).unwrap().is_some());
    }
}

/// Who asks while it is being resized gets an answer that may be over by the time it is noted.
#[test]
fn a_length_that_was_asked_for_is_not_noted_but_at_first() {
    let disk = Arc::new(MemoryDisk::default());
    let (volume, _database) = open(&disk);
    let len = volume.known_len.get();
    assert!(len.is_some());
    volume.known_len.forget();
    let backend = Backend(Arc::clone(&volume));
    assert_eq!(backend.len().unwrap(), len.unwrap());
    assert_eq!(volume.known_len.get(), None);
    backend.set_len(len.unwrap() + 4_096).unwrap();
    assert_eq!(volume.known_len.get(), len.map(|len| len + 4_096));
}

/// Who reads along may come while the file is being made, and is to wait.
#[test]
fn a_file_that_its_writer_is_making_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.redb");
    let write = Access::Write { create: true };
    let disk = FileDisk::open(&path, write, false).unwrap();
    let read = || {
        let options = crate::Database::options().read_only(true);
        options.shared_readers(true).open(&path).unwrap_err()
    };
    for is_begun in [false, true] {
        if is_begun {
            header::begin(&disk, HALF_BYTES).unwrap();
        }
        disk.lock(WRITER_LOCK, false).unwrap();
        let refused = read();
        assert_eq!(refused.kind(), ErrorKind::Locked, "{refused}");
        assert!(refused.is_retryable());
        disk.unlock(WRITER_LOCK).unwrap();
        assert_eq!(read().kind(), ErrorKind::NotADatabase);
    }
    // And so a writer has it.
    let writer = crate::Database::options().shared_readers(true);
    let writer = writer.open(&path).unwrap();
    assert!(disk.is_locked(WRITER_LOCK).unwrap());
    writer.close().unwrap();
    assert!(!disk.is_locked(WRITER_LOCK).unwrap());
}
