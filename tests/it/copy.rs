//! Copies between storages.

use std::time::Duration;

use samplestore::{
    CopyOptions, Database, ErrorKind, MemoryStorage, Query, RetryPolicy, Sample, Status, Storage,
    StoreReport, copy,
};

use crate::scripted::{Scripted, partly};

fn samples(count: usize) -> Vec<Sample> {
    let sample = |number: usize| {
        let sample = Sample::builder(["even", "odd"][number % 2]).id(format!("s-{number}"));
        // Of one instant, so that only the order of storing tells them apart.
        let sample = sample.created_at("2013-06-01T12:00:00Z".parse().unwrap());
        sample.measurement("n", number as u64).build().unwrap()
    };
    (0..count).map(sample).collect()
}

fn filled(count: usize) -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.store(&samples(count)).unwrap();
    storage
}

fn all(storage: &dyn Storage) -> Vec<Sample> {
    storage.list(&Query::new()).unwrap().samples
}

#[test]
fn a_copy_is_equal_in_order_too_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("a.redb")).unwrap();
    let source = filled(250);
    let options = CopyOptions::new().batch_samples_max(100).verify(true);
    let report = copy(&source, &database, &Query::new(), &options).unwrap();
    assert_eq!((report.copied, report.stored.inserted), (250, 250));
    assert_eq!(report.in_target, Some(250));
    assert_eq!(report.verified.as_ref().unwrap().equal, 250);
    assert!(report.is_whole());
    assert_eq!(
        report.to_string(),
        "copied 250: 250 inserted, 0 replaced; the target has 250; 250 equal, 0 missing, 0 different"
    );
    assert_eq!(all(&database), all(&source));

    let again = copy(&source, &database, &Query::new(), &options).unwrap();
    assert_eq!((again.stored.inserted, again.stored.replaced), (0, 250));
    assert_eq!(all(&database), all(&source));
}

#[test]
fn what_the_query_leaves_out_stays() {
    let (source, target) = (filled(10), MemoryStorage::new());
    let odd = Query::new().pipeline("odd").limit(3);
    let report = copy(&source, &target, &odd, &CopyOptions::new()).unwrap();
    assert_eq!(
        (report.copied, report.in_target, report.verified),
        (3, Some(3), None)
    );
    let ids: Vec<_> = target.list(&Query::new()).unwrap().samples;
    let ids: Vec<_> = ids.iter().map(Sample::id).collect();
    assert_eq!(ids, ["s-1", "s-3", "s-5"]);
}

#[test]
fn progress_is_told_for_both_ways() {
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let telling = std::sync::Arc::clone(&told);
    let options = CopyOptions::new()
        .batch_samples_max(4)
        .verify(true)
        .on_progress(move |count| telling.lock().unwrap().push(count));
    let report = copy(&filled(10), &MemoryStorage::new(), &Query::new(), &options).unwrap();
    assert!(report.is_whole());
    assert_eq!(*told.lock().unwrap(), [4, 8, 10, 4, 8, 10]);
}

#[test]
fn whoever_is_told_may_end_it_and_what_is_copied_stays() {
    use std::ops::ControlFlow;

    let (source, target) = (filled(10), MemoryStorage::new());
    let options = CopyOptions::new().batch_samples_max(4);
    let ending = options.clone().on_progress(|count| match count {
        8 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let ended = copy(&source, &target, &Query::new(), &ending).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Interrupted);
    assert_eq!(target.count(&Query::new()).unwrap(), 8);
    let rest = copy(&source, &target, &Query::new(), &options).unwrap();
    assert_eq!((rest.stored.inserted, rest.stored.replaced), (2, 8));
    assert_eq!(all(&target), all(&source));
}

/// Says that it stored everything, but passes over some samples and changes others.
struct Lossy(MemoryStorage);

impl Storage for Lossy {
    fn capabilities(&self) -> samplestore::Capabilities {
        self.0.capabilities()
    }
    fn store(&self, batch: &[Sample]) -> samplestore::Result<StoreReport> {
        let kept = batch.iter().filter(|sample| sample.id() != "s-3");
        let kept = kept.map(|sample| match sample.id() {
            "s-5" => sample.clone().with_status(Status::Dlq),
            _ => sample.clone(),
        });
        let replaced = self.0.store(&kept.collect::<Vec<_>>())?.replaced;
        Ok(StoreReport::new(batch.len() as u64 - replaced, replaced))
    }
    fn scan(&self) -> samplestore::Result<samplestore::Scan<'_>> {
        self.0.scan()
    }
    fn close(&self) -> samplestore::Result<()> {
        self.0.close()
    }
}

#[test]
fn a_target_that_loses_samples_is_found_out() {
    let target = Lossy(MemoryStorage::new());
    let report = copy(&filled(10), &target, &Query::new(), &CopyOptions::new()).unwrap();
    assert_eq!((report.copied, report.in_target), (10, Some(9)));
    assert!(!report.is_whole());
    let options = CopyOptions::new().verify(true);
    let report = copy(&filled(10), &target, &Query::new(), &options).unwrap();
    let found = report.verified.unwrap();
    assert_eq!((found.equal, found.missing, found.different), (8, 1, 1));
    assert_eq!(found.ids, ["s-3", "s-5"]);
}

/// What else the target has does not stand in for what it loses.
#[test]
fn a_target_that_loses_samples_beside_others_is_found_out() {
    let others = MemoryStorage::new();
    let other = |number: usize| Sample::builder("even").id(format!("o-{number}")).build();
    let more: Vec<_> = (0..5).map(|number| other(number).unwrap()).collect();
    others.store(&more).unwrap();
    let target = Lossy(others);
    let all = Query::new().pipeline("even").pipeline("odd");
    let report = copy(&filled(10), &target, &all, &CopyOptions::new()).unwrap();
    let counts = (report.in_target_before, report.copied, report.in_target);
    assert_eq!(counts, (Some(5), 10, Some(14)));
    assert!(!report.is_whole(), "{report}");
    assert_eq!(
        report.to_string(),
        "copied 10: 10 inserted, 0 replaced; the target has 14, 1 fewer than it should"
    );
    // Once more, what is replaced is not expected twice.
    let whole = MemoryStorage::new();
    whole.store(&more).unwrap();
    for inserted in [10, 0] {
        let report = copy(&filled(10), &whole, &all, &CopyOptions::new()).unwrap();
        assert_eq!(report.stored.inserted, inserted);
        assert!(report.is_whole(), "{report}");
    }
}

#[test]
fn what_is_stored_of_a_batch_is_not_stored_again() {
    let target = Scripted::not_atomic().answer([partly(&["s-0", "s-2"])]);
    let options = CopyOptions::new().retry(RetryPolicy::fixed(2, Duration::ZERO));
    let report = copy(&filled(4), &target, &Query::new(), &options).unwrap();
    let expected = [vec!["s-0", "s-1", "s-2", "s-3"], vec!["s-1", "s-3"]];
    assert_eq!(target.batches(), expected);
    // Nothing was replaced, and whether the first two were new nobody said.
    assert_eq!(
        (report.copied, report.stored),
        (4, StoreReport::new(2, 0)),
        "{report:?}"
    );
    assert_eq!(
        report.to_string(),
        "copied 4: 2 inserted, 0 replaced, 2 one or the other, 1 retries; the target has 4"
    );
    assert!(report.is_whole());
}

#[test]
fn an_error_tells_all_that_is_stored_of_its_batch() {
    let answers = [partly(&["s-0"]), partly(&["s-3"])];
    let target = Scripted::not_atomic().answer(answers);
    let options = CopyOptions::new().retry(RetryPolicy::fixed(2, Duration::ZERO));
    let error = copy(&filled(4), &target, &Query::new(), &options).unwrap_err();
    assert_eq!(error.stored_ids(), ["s-0", "s-3"]);
    assert_eq!(target.count(), 2);
}

#[test]
fn errors_end_a_copy() {
    let closed = MemoryStorage::new();
    closed.close().unwrap();
    let copied = copy(&filled(1), &closed, &Query::new(), &CopyOptions::new());
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::Closed);
}
