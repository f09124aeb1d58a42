//! Tables in S3: of the same code, so what is tested is that commits meet there as they do in a folder, and what
//! happens when the server goes away.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use samplestore::{
    DeltaTable, ErrorKind, Pipeline, Query, RetryPolicy, Sample, Status, Storage, StoreReport,
    connect,
};

use super::others::is_read_by_others;
use super::{ids, sample, weather};
use crate::servers::s3::{self, S3};

fn url(server: &S3) -> String {
    format!("delta+{}", server.url())
}

#[test]
fn a_table_in_s3_is_written_read_and_kept() {
    let Some(server) = s3::shared() else { return };
    let url = url(server);
    let table = DeltaTable::open(&url.parse().unwrap()).unwrap();
    assert_eq!(table.capabilities().name, "delta-s3");
    assert_eq!(table.store(&weather()).unwrap(), StoreReport::new(4, 0));
    assert_eq!(table.store(&weather()).unwrap(), StoreReport::new(0, 4));
    let first = Query::new().pipeline("JFK").limit(2);
    let page = table.list(&first).unwrap();
    assert_eq!(page.samples, weather()[..2]);
    let rest = table.list(&first.cursor(page.next.unwrap())).unwrap();
    assert_eq!(rest.samples, weather()[2..3]);
    assert_eq!(
        table
            .set_status(&"jfk-1".into(), None, Status::Dlq)
            .unwrap(),
        1
    );
    assert_eq!(
        table
            .delete(&Query::new().pipeline("JFK").status(Status::Ready).into())
            .unwrap(),
        2
    );
    let optimized = table.optimize().unwrap();
    assert_eq!((optimized.files_before, optimized.files_after), (2, 2));
    assert!(table.vacuum(Duration::ZERO).unwrap() > 0);
    let reopened = connect(&url).unwrap();
    assert_eq!(ids(&*reopened, &Query::new()), ["jfk-1", "lga-1"]);
}

#[test]
fn other_readers_find_the_same_in_s3() {
    let Some(server) = s3::shared() else { return };
    let url = server.url();
    let table = DeltaTable::open(&format!("delta+{url}").parse().unwrap()).unwrap();
    let (at, _) = url.split_once('?').unwrap();
    is_read_by_others(&table, at, Some(&server.endpoint()));
}

#[test]
fn what_has_a_meaning_in_urls_is_a_part_of_names() {
    let Some(server) = s3::shared() else { return };
    let url = url(server);
    let names = ["run#1", "run#2", "sub%23/a b", "run;x=1"];
    let tables: Vec<_> = names
        .iter()
        .map(|name| url.replace("/prefix?", &format!("/{name}?")))
        .collect();
    for (number, url) in tables.iter().enumerate() {
        let table = connect(url).unwrap();
        assert_eq!(table.count(&Query::new()).unwrap(), 0, "{url}");
        let id = format!("{number}");
        let at = "2013-06-01T00:00:00Z";
        table.store(&[sample(&id, "a/b c", at, 0.0)]).unwrap();
        let moved = table.set_status(&id.as_str().into(), None, Status::Labeled);
        assert_eq!(moved.unwrap(), 1, "{url}");
    }
    for (number, url) in tables.iter().enumerate() {
        let table = connect(url).unwrap();
        assert_eq!(ids(&*table, &Query::new()), [format!("{number}")], "{url}");
        assert_eq!(table.delete(&Query::new().into()).unwrap(), 1, "{url}");
    }
    let error = connect(&url.replace("/prefix?", "/run%25231?")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
}

#[test]
fn writers_meet_in_s3_and_lose_nothing() {
    const WRITERS: usize = 3;
    const BATCHES: usize = 3;
    let Some(server) = s3::shared() else { return };
    let url = url(server);
    connect(&url).unwrap();
    let new: u64 = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let table = connect(&url).unwrap();
                scope.spawn(move || {
                    let store = |batch: usize| {
                        let own = format!("{writer}-{batch}");
                        let at = "2013-06-01T00:00:00Z";
                        let both = [sample(&own, "p", at, 0.0), sample("shared", "p", at, 0.0)];
                        table.store(&both).unwrap().inserted
                    };
                    (0..BATCHES).map(store).sum::<u64>()
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    let expected = (WRITERS * BATCHES + 1) as u64;
    assert_eq!(new, expected);
    assert_eq!(
        connect(&url).unwrap().count(&Query::new()).unwrap(),
        expected
    );
}

#[test]
fn a_run_goes_on_when_the_server_is_back() {
    let Some(server) = S3::start() else { return };
    let url = url(&server);
    let server = Mutex::new(server);
    let samples: Vec<Sample> = (0..60)
        .map(|n| sample(&format!("{n:02}"), "p", "2013-06-01T00:00:00Z", 0.0))
        .collect();
    let report = thread::scope(|scope| {
        let source = samples.iter().cloned().enumerate().map(|(number, sample)| {
            if number == 25 {
                server.lock().unwrap().kill();
                scope.spawn(|| {
                    thread::sleep(Duration::from_secs(3));
                    server.lock().unwrap().restart();
                });
            }
            sample
        });
        Pipeline::builder("p")
            .source(source)
            .storage_with(|| connect(&url))
            .batch_samples_max(10)
            .retry(RetryPolicy::fixed(200, Duration::from_millis(100)))
            .build()
            .unwrap()
            .run()
            .unwrap()
    });
    assert!(report.is_complete(), "{report:?}");
    assert!(report.retried() > 0);
    let expected: Vec<_> = samples
        .iter()
        .map(|sample| sample.id().to_owned())
        .collect();
    let table = connect(&url).unwrap();
    assert_eq!(ids(&*table, &Query::new()), expected);
    assert_eq!(table.count(&Query::new()).unwrap(), 60);
}

/// At each of its requests, and whether the server carried it out before or not.
#[test]
fn a_server_killed_within_a_store_leaves_all_of_a_batch_or_nothing() {
    let Some(mut server) = S3::start() else {
        return;
    };
    let mut batch = weather();
    batch[0] = batch[0].clone().with_status(Status::Dlq);
    batch.push(sample("new", "p", "2013-06-01T00:00:00Z", 0.0));
    let mut kills = [0, 0];
    for is_kept in [false, true] {
        for nth in 0.. {
            let url = url(&server);
            let table = connect(&url).unwrap();
            table.store(&weather()).unwrap();
            server.kill_at(nth, is_kept);
            let stored = table.store(&batch);
            let was_killed = server.was_killed();
            if was_killed {
                kills[usize::from(is_kept)] += 1;
                server.restart();
            }
            let is_there = match connect(&url).unwrap().count(&Query::new()).unwrap() {
                4 => false,
                5 => true,
                count => panic!("{count} samples, killed at {nth}, kept: {is_kept}"),
            };
            match stored {
                Ok(report) => assert!(is_there && report == StoreReport::new(1, 4)),
                // The commit may have been made; doing it again is safe.
                Err(error) => assert!(was_killed && error.is_retryable(), "{error:?}"),
            }
            let changed = table.retrieve("jfk-1").unwrap().unwrap();
            assert_eq!(changed.status() == Status::Dlq, is_there);
            // Again, as a pipeline would.
            let new = u64::from(!is_there);
            let report = table.store(&batch).unwrap();
            assert_eq!(report, StoreReport::new(new, 5 - new), "{nth} {is_kept}");
            assert_eq!(table.count(&Query::new()).unwrap(), 5);
            if !was_killed {
                break;
            }
        }
    }
    println!("killed within a store: at {kills:?} of its requests");
    assert!(kills.iter().all(|kills| *kills >= 2), "{kills:?}");
}

#[test]
fn a_server_that_is_gone_is_an_error_that_may_be_tried_again_and_has_no_secret() {
    let Some(mut server) = S3::start() else {
        return;
    };
    let url = url(&server);
    let table = connect(&url).unwrap();
    server.kill();
    for error in [
        table.store(&weather()).unwrap_err(),
        table.count(&Query::new()).unwrap_err(),
        connect(&url).unwrap_err(),
    ] {
        assert!(error.is_retryable(), "{error:?}");
        assert!(!format!("{error:?}").contains("of-no-value"), "{error:?}");
    }
}
