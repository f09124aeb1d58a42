//! Several handles and threads at once: transactions in each other's way, and connections that run out.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use samplestore::{Error, ErrorKind, Query, Sample, Selection, Status, Storage, connect, data};

use super::{all, numbered, sample, shared};

#[test]
fn writers_of_the_same_ids_in_any_order_queue_without_error() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.schema());
    let inserted: u64 = thread::scope(|scope| {
        let write = |thread: usize| {
            let storage = connect(&url).unwrap();
            let mut batch = numbered(40);
            if thread % 2 == 1 {
                batch.reverse();
            }
            let mut inserted = 0;
            for turn in 0..15 {
                batch.rotate_left(7 * thread + turn);
                inserted += storage.store(&batch).unwrap().inserted;
                let some = Selection::from(Query::new().newest_first().limit(9));
                storage
                    .set_status(&some, None, Status::ALL[turn % 6])
                    .unwrap();
            }
            inserted
        };
        let writers: Vec<_> = (0..4).map(|n| scope.spawn(move || write(n))).collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    assert_eq!(inserted, 40);
    assert_eq!(connect(&url).unwrap().count(&Query::new()).unwrap(), 40);
}

/// Changes of all rows beside somebody who stores some of them over and over, in another order than the table has them.
#[test]
fn changes_of_all_wait_for_a_writer_of_the_same_rows() {
    const SAMPLES: usize = 4_000;
    let Some(server) = shared() else { return };
    let url = server.url(&server.schema());
    let (storage, other) = (connect(&url).unwrap(), connect(&url).unwrap());
    let mut samples = numbered(SAMPLES);
    storage.store(&samples).unwrap();
    samples.reverse();
    let is_over = AtomicBool::new(false);
    let (moved, deleted) = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut stored = 0_u64;
            for part in samples.chunks(7).cycle() {
                if is_over.load(SeqCst) && stored > 1_000 {
                    break;
                }
                stored += other.store(part)?.stored();
            }
            Ok::<_, Error>(stored)
        });
        let all = Selection::from(Query::new());
        let statuses = Status::ALL.into_iter().cycle().take(12);
        let moved: Vec<_> = statuses
            .map(|status| storage.set_status(&all, None, status))
            .collect();
        let dlq = Selection::from(Query::new().status(Status::Dlq));
        let deleted = storage.delete(&dlq);
        is_over.store(true, SeqCst);
        writing.join().unwrap().unwrap();
        (moved, deleted)
    });
    for moved in moved {
        assert_eq!(moved.unwrap(), SAMPLES as u64);
    }
    assert!(deleted.unwrap() > 0);
}

#[test]
fn samples_are_claimed_once_by_handles_of_their_own() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.schema());
    connect(&url).unwrap().store(&numbered(100)).unwrap();
    let claimed: Vec<u64> = thread::scope(|scope| {
        let claim = || {
            let storage = connect(&url).unwrap();
            let some = Selection::from(Query::new().status(Status::Pending).limit(7));
            let mut claimed = 0;
            loop {
                match storage
                    .set_status(&some, Some(Status::Pending), Status::Ready)
                    .unwrap()
                {
                    0 => return claimed,
                    more => claimed += more,
                }
            }
        };
        let claimers: Vec<_> = (0..4).map(|_| scope.spawn(claim)).collect();
        claimers
            .into_iter()
            .map(|claimer| claimer.join().unwrap())
            .collect()
    });
    assert_eq!(claimed.iter().sum::<u64>(), 100, "{claimed:?}");
}

#[test]
fn connections_that_run_out_are_told() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.schema());
    let storage = connect(&format!("{url}&connections_max=1&connect_timeout=1")).unwrap();
    storage.store(&numbered(5_000)).unwrap();
    let reading = storage.iterate(&Query::new()).unwrap();
    let error = storage.store(&[sample("a")]).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Backend, true),
        "{error:?}"
    );
    assert!(error.to_string().contains("connections_max"), "{error}");
    drop(reading);
    storage.store(&[sample("a")]).unwrap();
}

#[test]
fn an_iterator_ends_when_the_storage_is_closed() {
    let Some(server) = shared() else { return };
    let storage = connect(&server.url(&server.schema())).unwrap();
    storage.store(&numbered(20_000)).unwrap();
    let mut reading = storage.iterate(&Query::new()).unwrap();
    reading.next().unwrap().unwrap();
    storage.close().unwrap();
    let error = reading.find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(reading.next().is_none());
}

/// A list by a condition takes piece after piece, and whoever closes meanwhile waits for none of them.
#[test]
fn a_list_by_a_condition_ends_when_the_storage_is_closed() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let storage: Arc<dyn Storage> = connect(&server.url(&schema)).unwrap().into();
    // More than the first pieces have.
    storage.store(&numbered(1_000)).unwrap();
    let quoted = schema.replace('"', "\"\"");
    let lock = format!(
        r#"BEGIN; LOCK TABLE "{quoted}".samples; SELECT pg_sleep(1) /* list and close */; ROLLBACK"#
    );
    let locking = thread::spawn(move || server.sql(&lock));
    server.wait_for_sleep("list and close");
    // By threads that are left behind where they do not come back.
    let (listed, is_listed) = mpsc::channel();
    let listing = Arc::clone(&storage);
    thread::spawn(move || {
        let query = Query::new().condition("data.temp = 71.6".parse().unwrap());
        listed.send(listing.list(&query))
    });
    // The list waits for its first piece, and the end for the list.
    thread::sleep(Duration::from_millis(200));
    let (closed, is_closed) = mpsc::channel();
    thread::spawn(move || closed.send(storage.close()));
    let patience = Duration::from_secs(30);
    is_closed.recv_timeout(patience).unwrap().unwrap();
    match is_listed.recv_timeout(patience).unwrap() {
        Ok(page) => assert_eq!(page.samples.len(), 1_000),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}"),
    }
    locking.join().unwrap();
}

/// Of a selection by a condition on fields, what no longer meets it when it is changed is left alone, and others take its
/// place in the limit.
#[test]
fn conditions_are_asked_in_the_transaction_that_changes() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let storage = connect(&server.url(&schema)).unwrap();
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    let ones = ["x", "y", "z", "w"].map(|id| {
        let sample = Sample::builder("p").id(id).data(data! { "a" => 1 });
        sample
            .created_at(chrono::DateTime::UNIX_EPOCH)
            .build()
            .unwrap()
    });
    let is_one = || Query::new().condition("data.a = 1".parse().unwrap());
    // While somebody else changes `x`, and commits a second later.
    let meanwhile = |mark: &str, work: &(dyn Fn() -> u64 + Sync)| {
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                server.sql(&format!(
                    "BEGIN; UPDATE {quoted}.samples SET data = '{{\"a\": 2}}' WHERE id = 'x';
                    SELECT pg_sleep(1) /* {mark} */; COMMIT"
                ))
            });
            server.wait_for_sleep(mark);
            let changed = work();
            other.join().unwrap();
            changed
        })
    };
    storage.store(&ones[..1]).unwrap();
    let delete = || storage.delete(&is_one().into()).unwrap();
    assert_eq!(meanwhile("conditions of delete", &delete), 0);
    assert_eq!(all(&*storage).len(), 1);

    storage.store(&ones).unwrap();
    let two = Selection::from(is_one().limit(2));
    let claim = || {
        let claimed = storage.set_status(&two, Some(Status::Pending), Status::Ready);
        claimed.unwrap()
    };
    assert_eq!(meanwhile("conditions of claim", &claim), 2);
    let ready = storage.list(&Query::new().status(Status::Ready)).unwrap();
    let ready: Vec<_> = ready.samples.iter().map(Sample::id).collect();
    assert_eq!(ready, ["y", "z"]);
    assert_eq!(claim(), 1);
    assert_eq!(claim(), 0);
}

/// More than a piece of what is read at a time.
#[test]
fn conditions_choose_among_many() {
    let Some(server) = shared() else { return };
    let storage = connect(&server.url(&server.schema())).unwrap();
    let samples: Vec<_> = (0..10_000)
        .map(|n| {
            let sample = Sample::builder("p").id(format!("{n:05}"));
            sample.data(data! { "odd" => n % 2 }).build().unwrap()
        })
        .collect();
    storage.store(&samples).unwrap();
    let odd = || Query::new().condition("data.odd = 1".parse().unwrap());
    let newest = Selection::from(odd().newest_first().limit(3_000));
    assert_eq!(
        storage.set_status(&newest, None, Status::Dlq).unwrap(),
        3_000
    );
    let moved = storage
        .list(&Query::new().status(Status::Dlq).limit(1))
        .unwrap();
    assert_eq!(moved.samples[0].id(), "04001");
    let pending = Selection::from(odd().status(Status::Pending));
    assert_eq!(storage.delete(&pending).unwrap(), 2_000);
    assert_eq!(storage.delete(&odd().limit(0).into()).unwrap(), 0);
    assert_eq!(storage.delete(&odd().into()).unwrap(), 3_000);
    assert_eq!(storage.count(&Query::new()).unwrap(), 5_000);
}
