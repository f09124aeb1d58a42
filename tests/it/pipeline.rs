//! Pipelines (rules P1–P8): what becomes of samples, failures of every part, order, retries.
//! What a run does with its storage, from P5 on, is in `pipeline/storing.rs`.

mod storing;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use samplestore::{
    BoxError, Error, ErrorKind, Flow, Pipeline, PipelineBuilder, Progress, Query, RetryPolicy,
    RunOutcome, RunReport, Sample, Status, Storage, StoreReport, WithSource, WithStorage, data,
};

use crate::scripted::{Scripted, error, partly};

type Ready<'a> = PipelineBuilder<'a, WithSource<'a>, WithStorage<'a>>;

fn sample(id: &str) -> Sample {
    Sample::builder("p").id(id).build().unwrap()
}

fn numbered(count: usize) -> impl Iterator<Item = Sample> {
    (0..count).map(|number| {
        let sample = Sample::builder("p").id(format!("{number:06}"));
        sample.data(data! { "n" => number as u64 }).build().unwrap()
    })
}

fn number(sample: &Sample) -> Result<u64, BoxError> {
    Ok(sample.data().get_as("n")?.ok_or("no number")?)
}

/// A pipeline that never really sleeps.
fn pipeline<'a>(source: impl IntoIterator<Item = Sample> + 'a, storage: &Scripted) -> Ready<'a> {
    Pipeline::builder("run")
        .source(source.into_iter().collect::<Vec<_>>())
        .storage(storage.clone())
        .sleep_with(|_| ())
}

fn run(builder: Ready<'_>) -> RunReport {
    builder.build().unwrap().run().unwrap()
}

fn failed_ids(report: &RunReport) -> Vec<&str> {
    report
        .failed()
        .iter()
        .map(|failed| failed.sample.id())
        .collect()
}

fn stored(storage: &Scripted, id: &str) -> Sample {
    storage.retrieve(id).unwrap().unwrap()
}

#[test]
fn p1_the_storage_is_opened_before_the_source_is_read() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let note = |what: &'static str| {
        let log = Rc::clone(&log);
        move || log.borrow_mut().push(what)
    };
    let (opens, read, opened) = (note("open storage"), note("read"), note("open source"));
    let storage = Scripted::new();
    let report = Pipeline::builder("run")
        .source_with(move || {
            opened();
            Ok::<_, Error>(numbered(1).inspect(move |_| read()))
        })
        .storage_with(|| {
            opens();
            Ok(storage.clone())
        })
        .build()
        .unwrap()
        .run()
        .unwrap();
    assert!(report.is_complete());
    assert_eq!(*log.borrow(), ["open storage", "open source", "read"]);

    let error = Pipeline::builder("run")
        .source_with(|| -> Result<Vec<Sample>, Error> { panic!("the source was opened") })
        .storage_with(|| Err::<Scripted, _>(Error::new(ErrorKind::Locked, "open a database")))
        .build()
        .unwrap()
        .run()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
}

#[test]
fn p2_order_is_kept_on_several_threads_and_batches_are_bounded() {
    for (threads, background) in [(1, false), (4, false), (1, true), (4, true)] {
        let storage = Scripted::new();
        let report = run(pipeline(numbered(1_005), &storage)
            .stage("uneven", |sample| {
                // Some samples take longer, so that workers finish out of order.
                for _ in 0..number(&sample)? % 7 {
                    std::thread::yield_now();
                }
                Ok(sample.into())
            })
            .threads(threads)
            .background(background)
            .batch_samples_max(100));
        assert_eq!((report.read(), report.stored()), (1_005, 1_005));
        assert_eq!(report.batches(), 11);
        let batches = storage.batches();
        assert!(batches.iter().all(|batch| batch.len() <= 100));
        let ids: Vec<_> = batches.into_iter().flatten().collect();
        assert!(
            ids.is_sorted(),
            "{threads} threads, background {background}"
        );
    }
}

#[test]
fn p2_few_samples_are_held_at_a_time() {
    let read = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let storage = Scripted::new();
    let (reads, stored, ahead) = (Arc::clone(&read), storage.clone(), Arc::clone(&most));
    let report = Pipeline::builder("run")
        .source(numbered(800).inspect(move |_| {
            let read = reads.fetch_add(1, Ordering::Relaxed) + 1;
            let held = read - stored.count() as usize;
            ahead.fetch_max(held, Ordering::Relaxed);
        }))
        .storage(storage)
        .threads(2)
        .batch_samples_max(10)
        .build()
        .unwrap()
        .run()
        .unwrap();
    assert_eq!(report.stored(), 800);
    assert!(most.load(Ordering::Relaxed) <= 2 * 64 + 10);

    // A batch ends early when its samples are large.
    let storage = Scripted::new();
    let _ = run(pipeline(numbered(5), &storage).batch_bytes_max(100));
    assert!(storage.batches().iter().all(|batch| batch.len() <= 2));
}

#[test]
fn p2_statuses_and_measurements() {
    let storage = Scripted::new();
    let measured = Sample::builder("p")
        .id("old")
        .measurements(data! { "kept" => 1, "double" => 0 })
        .data(data! { "n" => 4 })
        .status(Status::Labeled);
    let source = numbered(3).chain([measured.build().unwrap()]);
    let report = run(pipeline(source, &storage)
        .stage("ready", |sample| match number(&sample)? {
            1 => Ok(sample.with_status(Status::Ready).into()),
            _ => Ok(sample.into()),
        })
        .measurement("double", |sample| Ok(number(sample)? * 2))
        .measurement("half", |sample| {
            let number = number(sample)?;
            Ok(number.is_multiple_of(2).then_some(number / 2))
        })
        .measurements("several", |_| Ok(data! { "a" => 1, "b" => "x" })));
    let by_status = BTreeMap::from([
        (Status::Measured, 2),
        (Status::Ready, 1),
        (Status::Labeled, 1),
    ]);
    assert_eq!(report.stored_by_status(), by_status);
    assert_eq!(report.store_report(), StoreReport::new(4, 0));
    let first = stored(&storage, "000000");
    assert_eq!(first.status(), Status::Measured);
    assert!(first.measured_at().unwrap() >= first.created_at());
    assert_eq!(
        first.measurements().to_map().unwrap(),
        data! { "double" => 0, "half" => 0, "a" => 1, "b" => "x" }
    );
    let odd = stored(&storage, "000001");
    assert_eq!(odd.measurements().get("half").unwrap(), None);
    let old = stored(&storage, "old").measurements().to_map().unwrap();
    assert_eq!((&old["kept"], &old["double"]), (&1.into(), &8.into()));

    // Nothing measured: nothing changes.
    let storage = Scripted::new();
    let _ = run(pipeline([sample("a")], &storage).measurement("none", |_| Ok(None::<f64>)));
    assert_eq!(stored(&storage, "a").status(), Status::Pending);
    assert_eq!(stored(&storage, "a").measured_at(), None);
}

/// Skips 0, fails 1, panics at 2, fails to measure 3, lets 4 through.
fn troubled(storage: &Scripted) -> Ready<'static> {
    pipeline(numbered(5), storage)
        .stage("mark", |sample| {
            let id = sample.id().to_owned();
            Ok(sample.into_builder().id(id + "-marked").build()?.into())
        })
        .stage("choose", |sample| match number(&sample)? {
            0 => Ok(Flow::skip("it is zero")),
            1 => Err("it is one".into()),
            2 => panic!("it is {}", "two"),
            _ => Ok(sample.into()),
        })
        .measurement("measure", |sample| match number(sample)? {
            3 => Err(Error::new(ErrorKind::Backend, "call the model").into()),
            number => Ok(number),
        })
}

#[test]
fn p3_p4_skipped_and_failed_samples_are_stored_with_their_reason() {
    for threads in [1, 3] {
        let storage = Scripted::new();
        let report = run(troubled(&storage).threads(threads));
        assert_eq!((report.skipped(), report.dlq(), report.stored()), (1, 3, 5));
        assert_eq!(report.outcome(), RunOutcome::DeadLetters);
        for (id, status, stage, message) in [
            ("000000-marked", Status::Skipped, "choose", "it is zero"),
            ("000001-marked", Status::Dlq, "choose", "it is one"),
            (
                "000002-marked",
                Status::Dlq,
                "choose",
                "panicked: it is two",
            ),
            (
                "000003-marked",
                Status::Dlq,
                "measure",
                "backend failed: could not call the model",
            ),
        ] {
            let sample = stored(&storage, id);
            let reason = sample.reason().unwrap();
            assert_eq!(sample.status(), status);
            assert_eq!((reason.stage(), reason.message()), (stage, message));
            assert_eq!(reason.attempts(), 1);
            assert!(reason.at() >= sample.created_at());
        }
        assert_eq!(stored(&storage, "000004-marked").reason(), None);
        assert_eq!(
            report.to_string(),
            "run: 5 read, 5 stored (1 measured, 1 skipped, 3 dlq), 3 failed in a stage"
        );
        let error = report.into_result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Partial);
        assert!(error.to_string().contains("3 failed in a stage"), "{error}");
    }
}

#[test]
fn p3_unless_the_run_is_told_not_to() {
    let storage = Scripted::new();
    let report = run(troubled(&storage).store_skipped(false).store_failed(false));
    assert_eq!((report.skipped(), report.dlq(), report.stored()), (1, 3, 1));
    assert_eq!(storage.count(), 1);
    assert!(!report.is_complete());
}

#[test]
fn p3_a_measurement_that_no_sample_can_keep_is_at_fault() {
    let storage = Scripted::new();
    let deep = || (0..70).fold(1.into(), |inner, _| samplestore::Value::List(vec![inner]));
    let _ = run(pipeline([sample("a")], &storage)
        .measurement("fine", |_| Ok(1))
        .measurement("deep", move |_| Ok(deep()))
        .measurement("also fine", |_| Ok(1)));
    let sample = stored(&storage, "a");
    assert_eq!(sample.status(), Status::Dlq);
    assert_eq!(sample.reason().unwrap().stage(), "deep");
}

#[test]
fn stages_are_tried_again_where_that_may_help() {
    let slept = Arc::new(Mutex::new(Vec::new()));
    let sleeps = Arc::clone(&slept);
    let tries = AtomicUsize::new(0);
    let storage = Scripted::new();
    let retryable = |retryable| Error::new(ErrorKind::Io, "ask").with_retryable(retryable);
    let report = run(pipeline(numbered(4), &storage)
        .stage_retry(RetryPolicy::fixed(3, Duration::from_secs(9)))
        .sleep_with(move |delay| sleeps.lock().unwrap().push(delay))
        .stage("ask", |sample| match number(&sample)? {
            0 if tries.fetch_add(1, Ordering::Relaxed) < 2 => Err("not yet".into()),
            0 => Ok(sample.into()),
            1 => Err(retryable(true).into()),
            2 => Err(retryable(false).into()),
            _ => panic!("never again"),
        }));
    assert_eq!((report.dlq(), report.stage_retried()), (3, 4));
    assert_eq!(*slept.lock().unwrap(), [Duration::from_secs(9); 4]);
    assert_eq!(stored(&storage, "000000").reason(), None);
    let attempts =
        ["000001", "000002", "000003"].map(|id| stored(&storage, id).reason().unwrap().attempts());
    assert_eq!(attempts, [3, 1, 1]);
}

#[test]
fn source_errors_end_the_run_unless_some_are_allowed() {
    let source = || {
        let items = ["a", "!", "b", "!", "c"];
        items.map(|id| match id {
            "!" => Err("a torn line"),
            id => Ok(sample(id)),
        })
    };
    for (allowed, stored, errors) in [(0, 1, 1), (1, 2, 2), (2, 3, 2)] {
        let storage = Scripted::new();
        let report = Pipeline::builder("run")
            .source(source())
            .storage(storage.clone())
            .source_errors_max(allowed)
            .build()
            .unwrap()
            .run()
            .unwrap();
        assert_eq!((report.stored(), storage.count()), (stored, stored));
        assert_eq!(report.source_errors().len(), errors);
        assert_eq!(report.outcome(), RunOutcome::Incomplete);
        assert_eq!(storage.closes(), 1);
        let error = &report.source_errors()[0];
        assert_eq!(error.kind(), ErrorKind::Io);
        let cause = std::error::Error::source(error).unwrap();
        assert_eq!(cause.to_string(), "a torn line");
    }
}

#[test]
fn a_source_that_panics_ends_the_run_and_nothing_is_lost() {
    let storage = Scripted::new();
    let report = Pipeline::builder("run")
        .source(numbered(9).inspect(|sample| assert_ne!(sample.id(), "000007", "torn")))
        .storage(storage.clone())
        .source_errors_max(5)
        .threads(2)
        .build()
        .unwrap()
        .run()
        .unwrap();
    assert_eq!((report.stored(), storage.count()), (7, 7));
    assert_eq!(report.source_errors()[0].kind(), ErrorKind::Panicked);
}

#[test]
fn progress_is_told_every_so_many_samples() {
    let seen = RefCell::new(Vec::<Progress>::new());
    let storage = Scripted::new();
    let _ = run(pipeline(numbered(25), &storage)
        .stage("odd", |sample| match number(&sample)? % 2 {
            0 => Ok(Flow::skip("even")),
            _ => Ok(sample.into()),
        })
        .batch_samples_max(4)
        .progress(10, |progress| seen.borrow_mut().push(*progress)));
    let seen: Vec<_> = seen
        .into_inner()
        .into_iter()
        .map(|progress| (progress.processed, progress.skipped, progress.stored))
        .collect();
    assert_eq!(seen, [(10, 5, 8), (20, 10, 20)]);
}

#[test]
fn what_makes_no_sense_is_refused_when_it_is_built() {
    let storage = Scripted::new();
    let start = || pipeline([], &storage);
    let twice = |sample| Ok(Flow::Continue(sample));
    for (builder, text) in [
        (start().threads(0), "threads must be 1 to 256, not 0"),
        (start().threads(257), "not 257"),
        (start().batch_samples_max(0), "at least one sample"),
        (start().batch_bytes_max(0), "one byte"),
        (start().stage("", twice), "empty name"),
        (
            start().stage("a", twice).measurement("a", |_| Ok(1)),
            "named \"a\"",
        ),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(text), "{error}");
    }
    let nameless = Pipeline::builder("").source([sample("a")]).storage(storage);
    assert_eq!(
        nameless.build().unwrap_err().kind(),
        ErrorKind::InvalidSample
    );
}

#[test]
fn the_conveniences_of_the_report_agree_with_the_storage() {
    let storage = Scripted::new();
    let _ = run(pipeline(numbered(3), &storage));
    let report = run(pipeline(numbered(5), &storage));
    assert_eq!(report.store_report(), StoreReport::new(2, 3));
    assert_eq!(storage.memory.count(&Query::new()).unwrap(), 5);
    assert_eq!(report.pipeline(), "run");
    assert_eq!(report.into_result().unwrap().read(), 5);
}
