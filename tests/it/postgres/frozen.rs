//! A server that stands still with its connections open, which nothing but a timeout of our own notices.

use std::thread;
use std::time::{Duration, Instant};

use samplestore::{ErrorKind, Query, Result, Selection, Status, Storage, connect};

use super::{insist, numbered, sample};
use crate::servers::postgres::Server;

fn ask_all(storage: &dyn Storage) -> Vec<Result<()>> {
    let ready = |selection: Selection| storage.set_status(&selection, None, Status::Ready);
    let large = numbered(20_000);
    vec![
        storage.retrieve("000001").map(drop),
        storage.count(&Query::new()).map(drop),
        storage.facets(&Query::new()).map(drop),
        storage.list(&Query::new()).map(drop),
        storage.iterate(&Query::new()).map(drop),
        storage.store(&[sample("late")]).map(drop),
        storage.store(&large).map(drop),
        storage.delete(&"000001".into()).map(drop),
        ready(Query::new().into()).map(drop),
    ]
}

#[test]
fn a_statement_on_a_frozen_server_ends_in_an_error_to_try_again() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = format!(
        "{}&statement_timeout=1&connect_timeout=1",
        server.url("frozen")
    );
    let storage = connect(&url).unwrap();
    storage.store(&numbered(5)).unwrap();
    let limited = Selection::from(Query::new().limit(2));
    // Each ask needs a connection that is open.
    let connections: Vec<_> = (0..10)
        .map(|_| {
            let storage = connect(&url).unwrap();
            storage.count(&Query::new()).unwrap();
            storage
        })
        .collect();
    server.freeze(true);
    let begun = Instant::now();
    // Nothing of it can have been committed.
    let undone = connections[0].set_status(&limited, None, Status::Ready);
    let undone = undone.unwrap_err();
    let found = (undone.kind(), undone.is_retryable());
    assert_eq!(found, (ErrorKind::Io, true), "{undone:?}");
    let errors: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = connections[1..]
            .iter()
            .enumerate()
            .map(|(which, storage)| scope.spawn(move || ask_all(&**storage).swap_remove(which)))
            .collect();
        let answers = asking.into_iter().map(|it| it.join().unwrap());
        answers.map(Result::unwrap_err).collect()
    });
    for error in errors {
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Io, true),
            "{error:?}"
        );
    }
    let error = connect(&url).map(drop).unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    // Of one that was open, the option is told.
    let error = storage.count(&Query::new()).unwrap_err();
    assert!(error.to_string().contains("statement_timeout"), "{error}");
    server.freeze(false);
    insist(|| storage.store(&[sample("late")]));
    assert!(storage.retrieve("late").unwrap().is_some());
}

/// The server is slow and not dead: it is asked to cancel, and does.
#[test]
fn a_statement_that_is_given_up_does_not_go_on() {
    let Some(server) = crate::servers::postgres::shared() else {
        return;
    };
    let schema = server.schema();
    let url = format!(
        "{}&statement_timeout=1&application_name=given_up",
        server.url(&schema)
    );
    let storage = connect(&url).unwrap();
    storage.store(&numbered(2)).unwrap();
    let quoted = schema.replace('"', "\"\"");
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'given_up' AND state = 'active'";
    thread::scope(|scope| {
        let lock = format!(
            r#"BEGIN; LOCK TABLE "{quoted}".samples; SELECT pg_sleep(4) /* given up */; ROLLBACK"#
        );
        scope.spawn(move || server.sql(&lock));
        server.wait_for_sleep("given up");
        let error = storage.store(&[sample("late")]).unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        let begun = Instant::now();
        while server.sql(waiting) != "0" {
            assert!(begun.elapsed() < Duration::from_secs(2), "it goes on");
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(storage.count(&Query::new()).unwrap(), 2);
}

#[test]
fn an_iterator_is_not_ended_because_its_caller_is_slow() {
    let Some(server) = crate::servers::postgres::shared() else {
        return;
    };
    let url = format!("{}&statement_timeout=1", server.url(&server.schema()));
    let storage = connect(&url).unwrap();
    storage.store(&numbered(20_000)).unwrap();
    let mut reading = storage.iterate(&Query::new()).unwrap();
    reading.next().unwrap().unwrap();
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(reading.map(Result::unwrap).count(), 19_999);
}
