//! What a run does with its storage (rules P5–P8): it tries again, hands back what cannot be stored, and closes it.

use super::*;

#[test]
fn p5_storing_is_tried_again_only_where_that_may_help() {
    for background in [false, true] {
        let slept = Arc::new(Mutex::new(Vec::new()));
        let sleeps = Arc::clone(&slept);
        let storage =
            Scripted::new().answer([error(ErrorKind::Io, true), error(ErrorKind::Io, true)]);
        let report = run(pipeline(numbered(3), &storage)
            .background(background)
            .sleep_with(move |delay| sleeps.lock().unwrap().push(delay)));
        assert!(report.is_complete());
        assert_eq!((report.retried(), report.batches()), (2, 1));
        assert_eq!(storage.batches().len(), 3);
        assert_eq!(*slept.lock().unwrap(), [Duration::from_millis(100); 2]);

        let storage = Scripted::new().answer([error(ErrorKind::Backend, false)]);
        let report = run(pipeline(numbered(3), &storage).background(background));
        assert_eq!(report.retried(), 0);
        assert!(report.is_complete(), "sample by sample it worked");
    }
}

#[test]
fn p6_what_cannot_be_stored_is_handed_back() {
    for background in [false, true] {
        let storage = Scripted::new();
        let source = ["a", "bad 1", "b", "boom", "c", "d"].map(sample);
        let report = run(pipeline(source, &storage)
            .batch_samples_max(5)
            .background(background));
        assert_eq!(report.outcome(), RunOutcome::Incomplete);
        assert_eq!((report.read(), report.stored()), (6, 4));
        assert_eq!(failed_ids(&report), ["bad 1", "boom"]);
        let kinds = [0, 1].map(|at: usize| report.failed()[at].error.kind());
        assert_eq!(kinds, [ErrorKind::Backend, ErrorKind::Panicked]);
        let error = report.check().unwrap_err();
        assert!(error.to_string().ends_with("run: 2 not stored"), "{error}");
        assert!(std::error::Error::source(&error).is_some());

        // They can be the source of another run.
        let again = report.into_failed().into_iter().map(|failed| {
            let builder = failed.sample.into_builder();
            builder.id("mended").build()
        });
        let report = Pipeline::builder("again").source(again).storage(storage);
        assert_eq!(report.build().unwrap().run().unwrap().stored(), 2);
    }
}

#[test]
fn p6_a_failed_batch_never_overwrites_a_later_one() {
    for background in [false, true] {
        let storage = Scripted::new();
        let version = |v| Sample::builder("p").id("same").data(data! { "v" => v });
        let source = [
            version(1).build().unwrap(),
            sample("bad"),
            version(2).build().unwrap(),
            sample("x"),
        ];
        let _ = run(pipeline(source, &storage)
            .batch_samples_max(2)
            .background(background));
        let same = stored(&storage, "same");
        assert_eq!(same.data().get_as("v").unwrap(), Some(2));
    }
}

#[test]
fn p6_after_an_unknown_outcome_nothing_is_tried_again() {
    let storage = Scripted::new().answer([error(ErrorKind::OutcomeUnknown, true)]);
    let report = run(pipeline(numbered(4), &storage).batch_samples_max(3));
    assert_eq!(failed_ids(&report), ["000000", "000001", "000002"]);
    assert_eq!(report.failed()[0].error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!((report.stored(), report.retried()), (1, 0));
    assert_eq!(storage.batches().len(), 2);
}

#[test]
fn p6_a_part_that_is_stored_is_not_stored_again() {
    let storage = Scripted::not_atomic();
    let source = ["a", "twice", "twice", "bad", "b"].map(sample);
    let report = run(pipeline(source, &storage));
    assert_eq!(failed_ids(&report), ["bad"]);
    assert_eq!(report.stored(), 4);
    // `a` was stored, which the error said without telling inserted from replaced.
    assert_eq!(report.store_report().stored(), 3);
    let batches = storage.batches();
    assert_eq!(batches[1..], [["twice"], ["twice"], ["bad"], ["b"]]);
}

#[test]
fn p6_what_is_stored_is_left_out_of_the_next_attempt() {
    for background in [false, true] {
        let answers = [partly(&["a", "c"]), partly(&["b"])];
        let storage = Scripted::not_atomic().answer(answers);
        let source = ["a", "b", "c", "d"].map(sample);
        let report = run(pipeline(source, &storage).background(background));
        assert!(report.is_complete());
        assert_eq!((report.stored(), report.retried()), (4, 2));
        assert_eq!(report.store_report(), StoreReport::new(1, 0));
        assert_eq!(report.stored_by_status().values().sum::<u64>(), 4);
        assert_eq!(storage.batches().concat().join(" "), "a b c d b d d");
    }
}

#[test]
fn p6_where_the_storage_is_gone_each_sample_is_not_tried() {
    for background in [false, true] {
        let gone = || error(ErrorKind::Io, true);
        // A batch in three attempts, and of its samples the first three; the next one finds it there again.
        let storage = Scripted::new().answer((0..6).map(|_| gone()));
        let report = run(pipeline(numbered(20), &storage)
            .batch_samples_max(10)
            .background(background));
        let expected: Vec<_> = (0..10).map(|number| format!("{number:06}")).collect();
        assert_eq!(failed_ids(&report), expected);
        for failed in report.failed() {
            assert_eq!(failed.error.kind(), ErrorKind::Io);
        }
        assert_eq!((report.stored(), storage.batches().len()), (10, 7));
        assert_eq!(report.outcome(), RunOutcome::Incomplete);

        // Not where samples or statements are at fault, nor where it is there in between.
        let lasting = || error(ErrorKind::Backend, false);
        for answers in [
            [gone(), gone(), gone(), lasting(), lasting(), lasting()],
            [gone(), gone(), lasting(), gone(), gone(), lasting()],
            std::array::from_fn(|_| error(ErrorKind::Backend, true)),
        ] {
            let storage = Scripted::new().answer(answers);
            let report = run(pipeline(numbered(10), &storage).background(background));
            assert_eq!((report.stored(), report.failed().len()), (7, 3));
            assert_eq!(storage.batches().len(), 3 + 10);
        }
    }
}

#[test]
fn p6_a_storage_that_cannot_be_reached_is_waited_for_between_samples() {
    let ms = Duration::from_millis;
    for (policy, pauses) in [
        (RetryPolicy::default(), vec![ms(100); 5]),
        (
            RetryPolicy::linear(3, ms(10)),
            [10, 20, 10, 20, 20].map(ms).into(),
        ),
        (RetryPolicy::fixed(2, ms(10)), vec![ms(10); 4]),
        (RetryPolicy::none(), Vec::new()),
    ] {
        let slept = Arc::new(Mutex::new(Vec::new()));
        let sleeps = Arc::clone(&slept);
        // The batch, and two samples of it; then it is back.
        let failures = policy.attempts_max() + 2;
        let storage = Scripted::new().answer((0..failures).map(|_| error(ErrorKind::Io, true)));
        let report = run(pipeline(numbered(10), &storage)
            .retry(policy)
            .sleep_with(move |delay| sleeps.lock().unwrap().push(delay)));
        assert_eq!(failed_ids(&report), ["000000", "000001"], "{policy:?}");
        assert_eq!(report.stored(), 8);
        assert_eq!(*slept.lock().unwrap(), pauses, "{policy:?}");
    }
}

#[test]
fn p6_a_run_gives_up_on_a_storage_that_takes_nothing() {
    let storage = Scripted::new().answer((0..100).map(|_| error(ErrorKind::Full, false)));
    let read = Arc::new(AtomicUsize::new(0));
    let reads = Arc::clone(&read);
    let report = Pipeline::builder("run")
        .source(numbered(1_000).inspect(move |_| {
            reads.fetch_add(1, Ordering::Relaxed);
        }))
        .storage(storage)
        .batch_samples_max(10)
        .failed_max(15)
        .build()
        .unwrap()
        .run()
        .unwrap();
    assert_eq!(report.failed().len(), 20);
    assert_eq!((report.read(), read.load(Ordering::Relaxed)), (20, 20));
    assert_eq!(report.outcome(), RunOutcome::Incomplete);
}

#[test]
fn p7_a_pipeline_takes_a_writer_for_a_storage() {
    let storage = Scripted::new();
    let writer = samplestore::Writer::new(storage.clone()).unwrap();
    let report = Pipeline::builder("run")
        .source(numbered(10))
        .storage(writer)
        .build()
        .unwrap()
        .run()
        .unwrap();
    assert_eq!(report.store_report(), StoreReport::new(10, 0));
    assert_eq!(storage.closes(), 1);
}

#[test]
fn p8_the_storage_is_closed_however_the_run_ends() {
    let storage = Scripted::new();
    let _ = run(pipeline(numbered(1), &storage));
    assert_eq!((storage.closes(), storage.flushes()), (1, 0));

    // The source cannot be opened.
    for panics in [false, true] {
        let storage = Scripted::new();
        let error = Pipeline::builder("run")
            .source_with(|| -> Result<Vec<Sample>, std::io::Error> {
                assert!(!panics, "no such file");
                Err(std::io::Error::other("no such file"))
            })
            .storage(storage.clone())
            .build()
            .unwrap()
            .run()
            .unwrap_err();
        let expected = if panics {
            ErrorKind::Panicked
        } else {
            ErrorKind::Io
        };
        assert_eq!(error.kind(), expected);
        assert_eq!(storage.closes(), 1);
    }

    // The caller's own code panics in the middle.
    for threads in [1, 2] {
        let storage = Scripted::new();
        let run = pipeline(numbered(100), &storage)
            .threads(threads)
            .background(true)
            .progress(10, |_| panic!("watched too closely"))
            .build()
            .unwrap();
        let run = std::panic::AssertUnwindSafe(|| run.run());
        assert!(std::panic::catch_unwind(run).is_err());
        assert_eq!(storage.closes(), 1);
    }

    // Closing fails: everything is stored, and the run was not complete.
    let storage = Scripted::new().failing_close();
    let report = run(pipeline(numbered(1), &storage));
    assert_eq!(report.close_error().unwrap().kind(), ErrorKind::Io);
    assert_eq!((report.stored(), report.is_complete()), (1, false));
    report.into_result().unwrap_err();
}

#[test]
fn p8_unless_it_is_to_be_kept_open() {
    for background in [false, true] {
        let storage = Scripted::new();
        let report = run(pipeline(numbered(10), &storage)
            .keep_open(true)
            .background(background));
        assert!(report.is_complete());
        assert_eq!((storage.closes(), storage.flushes()), (0, 1));
        assert_eq!(storage.count(), 10);
    }
}
