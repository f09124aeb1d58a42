//! The server killed and started again, sessions ended, statements cancelled: nothing is lost, nothing is
//! done by half, and errors say whether another attempt helps.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use samplestore::{
    ErrorKind, Pipeline, Query, RetryPolicy, RunOutcome, Sample, Selection, Status, Storage,
    connect,
};

use super::{PATIENT, all, insist, numbered, sample, shared};
use crate::servers::postgres::Server;

const BATCH: usize = 25;

#[test]
fn a_kill_in_the_middle_of_stores_loses_nothing_and_leaves_nothing_by_half() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let url = server.url("killed");
    let storage = connect(&url).unwrap();
    let (is_over, failures) = (AtomicBool::new(false), AtomicUsize::new(0));
    let write = |thread: usize| {
        let mut batches = 0;
        while !is_over.load(Relaxed) || batches < 3 {
            let batch = (0..BATCH).map(|at| sample(&format!("{thread}-{batches}-{at}")));
            let batch: Vec<_> = batch.collect();
            let mut attempts = 0;
            let report = insist(|| {
                attempts += 1;
                storage.store(&batch)
            });
            let all = BATCH as u64;
            // After a lost answer the samples may be there already, all of them or none.
            let is_known = attempts > 1 && (report.inserted, report.replaced) == (0, all);
            let is_new = (report.inserted, report.replaced) == (all, 0);
            assert!(is_new || is_known, "{report:?} at attempt {attempts}");
            failures.fetch_add(attempts - 1, Relaxed);
            batches += 1;
        }
        batches
    };
    let batches: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|n| scope.spawn(move || write(n))).collect();
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(300));
            server.kill();
            thread::sleep(Duration::from_millis(200));
            server.restart();
        }
        is_over.store(true, Relaxed);
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    assert!(failures.into_inner() > 0, "no store was in the middle");
    let ids: BTreeSet<_> = all(&*storage)
        .iter()
        .map(|sample| sample.id().to_owned())
        .collect();
    assert_eq!(ids.len(), batches * BATCH);
    assert_eq!(storage.count(&Query::new()).unwrap(), ids.len() as u64);
}

#[test]
fn a_run_goes_on_when_the_server_is_back() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url("run");
    let server = Mutex::new(server);
    let samples = numbered(1_000);
    let report = thread::scope(|scope| {
        let source = samples.iter().cloned().enumerate().map(|(number, sample)| {
            if number == 430 {
                server.lock().unwrap().kill();
                scope.spawn(|| {
                    thread::sleep(Duration::from_secs(2));
                    server.lock().unwrap().restart();
                });
            }
            sample
        });
        Pipeline::builder("weather")
            .source(source)
            .storage_with(|| connect(&url))
            .batch_samples_max(50)
            .retry(PATIENT)
            .build()
            .unwrap()
            .run()
            .unwrap()
    });
    assert!(report.is_complete(), "{report:?}");
    assert!(report.retried() > 0);
    assert_eq!(report.stored(), 1_000);
    assert_eq!(all(&*connect(&url).unwrap()), samples);
}

#[test]
fn a_run_without_a_server_hands_back_what_is_not_stored() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url("run");
    let server = Mutex::new(server);
    let samples = numbered(200);
    let source = samples.iter().cloned().enumerate().map(|(number, sample)| {
        if number == 120 {
            server.lock().unwrap().kill();
        }
        sample
    });
    let report = Pipeline::builder("weather")
        .source(source)
        .storage_with(|| connect(&url))
        .batch_samples_max(20)
        .retry(RetryPolicy::fixed(2, Duration::from_millis(10)))
        .build()
        .unwrap()
        .run()
        .unwrap();
    assert_ne!(report.outcome(), RunOutcome::Complete);
    assert!(report.check().is_err());
    let failed: Vec<_> = report
        .failed()
        .iter()
        .map(|failed| failed.sample.clone())
        .collect();
    assert!(failed.len() >= 80, "{}", failed.len());
    assert_eq!(report.stored() as usize + failed.len(), 200);
    for failed in report.failed() {
        assert_eq!(failed.error.kind(), ErrorKind::Io, "{:?}", failed.error);
        assert!(failed.error.is_retryable());
    }

    server.lock().unwrap().restart();
    let storage = connect(&url).unwrap();
    let stored: Vec<Sample> = all(&*storage);
    assert_eq!(stored, samples[..200 - failed.len()]);
    storage.store(&failed).unwrap();
    assert_eq!(all(&*storage), samples);
}

#[test]
fn a_server_that_is_not_there_is_an_error_to_try_again() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let storage = connect(&server.url("gone")).unwrap();
    // More than is read ahead.
    storage.store(&numbered(20_000)).unwrap();
    let mut reading = storage.iterate(&Query::new()).unwrap();
    reading.next().unwrap().unwrap();
    server.kill();
    let few = Selection::from(Query::new().limit(2));
    let few_of_condition = Query::new().condition("data.temp = 71.6".parse().unwrap());
    let few_of_condition = Selection::from(few_of_condition.limit(2));
    for answer in [
        storage.retrieve("000001").map(drop),
        storage.count(&Query::new()).map(drop),
        storage.list(&Query::new().limit(1)).map(drop),
        storage.facets(&Query::new()).map(drop),
        storage.iterate(&Query::new()).map(drop),
        storage.delete(&"000001".into()).map(drop),
        storage
            .set_status(&"000001".into(), None, Status::Ready)
            .map(drop),
        // Of these nothing was sent either, so that nobody has to ask what became of them.
        storage.delete(&few).map(drop),
        storage.set_status(&few, None, Status::Ready).map(drop),
        storage.delete(&few_of_condition).map(drop),
        connect(&server.url("gone")).map(drop),
    ] {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
        assert!(error.is_retryable(), "{error:?}");
        let subject = error.subject().unwrap();
        assert!(
            subject.starts_with("postgres:///") && subject.ends_with("/postgres"),
            "{subject}"
        );
        assert!(error.source().is_some());
    }
    // What was read ahead may be handed out; then there is an error, and then the end.
    let error = reading.find_map(Result::err).unwrap();
    assert!(error.is_retryable(), "{error:?}");
    assert!(reading.next().is_none());
    server.restart();
    assert_eq!(insist(|| storage.count(&Query::new())), 20_000);
}

/// What was not committed was not done, so that it may be done again with a limit too.
#[test]
fn a_move_whose_connection_is_lost_before_its_commit_may_be_done_again() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let storage = connect(&format!("{}&application_name=limited", server.url(&schema))).unwrap();
    storage.store(&numbered(10)).unwrap();
    let quoted = schema.replace('"', "\"\"");
    for query in [Query::new().limit(3), Query::new()] {
        let selection = Selection::from(query);
        let error = thread::scope(|scope| {
            // Holds the rows, until the session that waits for them is ended.
            scope.spawn(|| {
                server.sql(&format!(
                    r#"BEGIN; UPDATE "{quoted}".samples SET reason = NULL;
                    DO $$ BEGIN
                        FOR turn IN 1..400 LOOP
                            PERFORM pg_sleep(0.025), pg_stat_clear_snapshot();
                            PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
                                WHERE application_name = 'limited' AND wait_event_type = 'Lock';
                            EXIT WHEN FOUND;
                        END LOOP;
                    END $$; ROLLBACK"#
                ))
            });
            thread::sleep(Duration::from_millis(300));
            storage
                .set_status(&selection, None, Status::Ready)
                .unwrap_err()
        });
        let found = (error.kind(), error.is_retryable());
        assert_eq!(found, (ErrorKind::Io, true), "{error:?}");
    }
    let pending = Query::new().status(Status::Pending);
    assert_eq!(storage.count(&pending).unwrap(), 10);
}

/// A session that ends, a server that knows nothing, as clusters say of a commit whose answer one of them has lost, and none that answers
/// in time: in the commit, and before it.
#[test]
fn a_limited_move_whose_commit_has_no_answer_is_not_to_be_done_again() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let url = format!(
        "{}&statement_timeout=1&application_name=unanswered",
        server.url(&schema)
    );
    let storage = connect(&url).unwrap();
    storage.store(&numbered(10)).unwrap();
    let quoted = schema.replace('"', "\"\"");
    let at_work = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'unanswered' AND state <> 'idle'";
    let few = Selection::from(Query::new().limit(3));
    let all = Selection::from(Query::new());
    let lost = "PERFORM pg_terminate_backend(pg_backend_pid())";
    let unknown = "RAISE EXCEPTION 'unknown' USING ERRCODE = '40003'";
    let silent = "PERFORM pg_sleep(10)";
    for (body, kind) in [
        (lost, ErrorKind::Io),
        (unknown, ErrorKind::Backend),
        (silent, ErrorKind::Io),
    ] {
        for (trigger, is_commit) in [
            ("CONSTRAINT TRIGGER lose AFTER UPDATE OR DELETE", true),
            ("TRIGGER lose BEFORE UPDATE OR DELETE", false),
        ] {
            let deferred = if is_commit {
                "DEFERRABLE INITIALLY DEFERRED"
            } else {
                ""
            };
            server.sql(&format!(
                r#"CREATE OR REPLACE FUNCTION "{quoted}".lose() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN {body}; RETURN NULL; END $$;
                CREATE {trigger} ON "{quoted}".samples {deferred}
                    FOR EACH ROW EXECUTE FUNCTION "{quoted}".lose()"#
            ));
            for selection in [&few, &all] {
                let expected = match is_commit && std::ptr::eq(selection, &few) {
                    true => (ErrorKind::OutcomeUnknown, false),
                    false => (kind, true),
                };
                for answer in [
                    storage.set_status(selection, None, Status::Ready),
                    storage.delete(selection),
                ] {
                    let error = answer.unwrap_err();
                    let found = (error.kind(), error.is_retryable());
                    assert_eq!(found, expected, "{body} {trigger}: {error:?}");
                    // What was not answered is cancelled.
                    while server.sql(at_work) != "0" {
                        thread::sleep(Duration::from_millis(10));
                    }
                }
            }
            server.sql(&format!(r#"DROP TRIGGER lose ON "{quoted}".samples"#));
        }
    }
    assert_eq!(insist(|| storage.set_status(&few, None, Status::Ready)), 3);
    assert_eq!(storage.count(&Query::new()).unwrap(), 10);
}

#[test]
fn a_cancelled_statement_is_an_error_to_try_again() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let url = format!(
        "{}&options=-c%20statement_timeout%3D200ms",
        server.url(&schema)
    );
    let storage = connect(&url).unwrap();
    storage.store(&numbered(2)).unwrap();
    let quoted = schema.replace('"', "\"\"");
    thread::scope(|scope| {
        let lock = format!(r#"BEGIN; LOCK TABLE "{quoted}".samples; SELECT pg_sleep(3); ROLLBACK"#);
        scope.spawn(move || server.sql(&lock));
        server.wait_for_sleep(&quoted);
        for answer in [
            storage.store(&[sample("late")]).map(drop),
            storage.count(&Query::new()).map(drop),
        ] {
            let error = answer.unwrap_err();
            assert!(error.is_retryable(), "{error:?}");
            assert!(error.to_string().contains("statement_timeout"), "{error}");
        }
        insist(|| storage.store(&[sample("late")]));
    });
    assert_eq!(storage.count(&Query::new()).unwrap(), 3);
}

/// A server that ends sessions which do nothing in their transaction, and a reader that takes its time.
#[test]
fn an_iterator_that_is_read_slowly_comes_to_its_end() {
    let Some(server) = shared() else { return };
    let url = format!(
        "{}&options=-c%20idle_in_transaction_session_timeout%3D200ms",
        server.url(&server.schema())
    );
    let storage = connect(&url).unwrap();
    // Much more than is read ahead.
    storage.store(&numbered(20_000)).unwrap();
    let mut reading = storage.iterate(&Query::new()).unwrap();
    let mut count = 0;
    for pause_ms in [800, 400, 0] {
        thread::sleep(Duration::from_millis(pause_ms));
        for sample in reading.by_ref().take(100) {
            sample.unwrap();
            count += 1;
        }
    }
    for sample in reading {
        sample.unwrap();
        count += 1;
    }
    assert_eq!(count, 20_000);
}

#[test]
fn rows_that_others_spoiled_are_errors_that_name_them() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let storage = connect(&server.url(&schema)).unwrap();
    storage.store(&numbered(3)).unwrap();
    let quoted = schema.replace('"', "\"\"");
    for spoiled in [
        "status = 'lost'",
        "data = '[]'",
        "data = '{\"a\": 1e400}'",
        "reason = '{}'",
        "measured_at_us = 9223372036854775807",
        "pipeline = ''",
    ] {
        server.sql(&format!(
            r#"UPDATE "{quoted}".samples SET {spoiled} WHERE id = '000001'"#
        ));
        let error = storage.retrieve("000001").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{spoiled}: {error:?}");
        assert_eq!(error.sample_id(), Some("000001"));
        assert!(error.source().is_some());
        assert!(storage.retrieve("000002").unwrap().is_some());
        storage.store(&[sample("000001")]).unwrap();
    }
}
