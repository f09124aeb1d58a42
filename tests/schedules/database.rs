//! `database/group.rs`: whoever stores gets the report of its own batch, and nobody waits for ever.

#[path = "../../src/database/group.rs"]
mod group;

use std::sync::OnceLock;

use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use group::Group;
use samplestore::{Error, ErrorKind, Sample, StoreReport, data};

use crate::{batch, check};

const THREADS: usize = 3;

#[test]
fn every_batch_is_committed_once_and_gets_its_own_report() {
    check(|| {
        let group = Arc::new(Group::default());
        let committed = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (1..=THREADS)
            .map(|samples| {
                let (group, committed) = (Arc::clone(&group), Arc::clone(&committed));
                thread::spawn(move || {
                    for _ in 0..2 {
                        let report = group.store(&batch("a", samples), |batches| {
                            thread::yield_now();
                            let lens = batches.iter().map(|batch| batch.len());
                            committed.lock().unwrap().extend(lens.clone());
                            Ok(lens.map(|len| StoreReport::new(len as u64, 0)).collect())
                        });
                        assert_eq!(report.unwrap(), StoreReport::new(samples as u64, 0));
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let mut committed = committed.lock().unwrap();
        committed.sort_unstable();
        assert_eq!(*committed, [1, 1, 2, 2, 3, 3]);
    });
}

#[test]
fn a_batch_that_fails_fails_alone() {
    check(|| {
        let group = Arc::new(Group::default());
        let failed = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (1..=THREADS)
            .map(|samples| {
                let (group, failed) = (Arc::clone(&group), Arc::clone(&failed));
                thread::spawn(move || {
                    let report = group.store(&batch("a", samples), |batches| {
                        thread::yield_now();
                        if batches.iter().any(|batch| batch.len() == 2) {
                            return Err(Error::new(ErrorKind::Backend, "commit"));
                        }
                        let reports = batches.iter().map(|_| StoreReport::new(1, 0));
                        Ok(reports.collect())
                    });
                    assert_eq!(report.is_err(), samples == 2);
                    failed.fetch_add(usize::from(report.is_err()), Ordering::SeqCst);
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(failed.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn batches_that_fill_a_group_each_are_all_stored() {
    static LARGE: OnceLock<[Sample; 1]> = OnceLock::new();
    LARGE.get_or_init(|| {
        let text = "x".repeat(40 << 20);
        [Sample::builder("p")
            .data(data! { "text" => text })
            .build()
            .unwrap()]
    });
    check(|| {
        let group = Arc::new(Group::default());
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let group = Arc::clone(&group);
                thread::spawn(move || {
                    let report = group.store(LARGE.get().unwrap(), |batches| {
                        thread::yield_now();
                        let reports = batches.iter().map(|_| StoreReport::new(1, 0));
                        Ok(reports.collect())
                    });
                    assert_eq!(report.unwrap(), StoreReport::new(1, 0));
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}
