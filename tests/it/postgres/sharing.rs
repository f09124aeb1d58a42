//! Several handles and threads at once: transactions in each other's way, and connections that run out.

use std::thread;

use samplestore::{ErrorKind, Query, Selection, Status, Storage, connect};

use super::{numbered, sample, shared};

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
