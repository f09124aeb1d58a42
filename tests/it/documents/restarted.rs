//! Servers that end in the middle of a store, and are started again: nothing is lost, and nothing is there twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use samplestore::{CopyOptions, MemoryStorage, Query, RetryPolicy, Storage, connect, copy};

use super::{at_once, ids};

const SAMPLES: u64 = 600;
const BATCH: u64 = 200;

/// Copies into a place, and meanwhile ends its server and starts it again when so many samples are there.
fn a_copy_goes_on(url: &str, is_in_the_middle: impl Fn(u64) -> bool, restart: impl FnOnce()) {
    let source = MemoryStorage::new();
    source
        .store(&at_once((0..SAMPLES).map(|number| format!("s-{number}"))))
        .unwrap();
    let target = connect(url).unwrap();
    let copied = Arc::new(AtomicU64::new(0));
    let tells = Arc::clone(&copied);
    let report = thread::scope(|scope| {
        let copying = scope.spawn(|| {
            let options = CopyOptions::new()
                .batch_samples_max(BATCH as usize)
                .verify(true)
                .retry(RetryPolicy::fixed(200, Duration::from_millis(100)))
                .on_progress(move |count| tells.store(count, SeqCst));
            copy(&source, &target, &Query::new(), &options)
        });
        while !is_in_the_middle(copied.load(SeqCst)) {
            thread::sleep(Duration::from_millis(1));
        }
        restart();
        copying.join().unwrap()
    });
    let report = report.unwrap();
    assert!(report.retries > 0, "{report}");
    assert_eq!(report.copied, SAMPLES);
    assert_eq!(report.in_target, Some(SAMPLES), "{report}");
    assert_eq!(report.verified.unwrap().equal, SAMPLES);
    assert_eq!(ids(&target), ids(&source));
    assert_eq!(ids(&*connect(url).unwrap()), ids(&source));
}

#[cfg(feature = "s3")]
#[test]
fn an_s3_server_that_is_killed_in_the_middle_of_a_store_loses_nothing() {
    let Some(server) = crate::servers::s3::S3::start() else {
        return;
    };
    let url = server.url();
    let server = std::cell::RefCell::new(server);
    // In the middle of the second batch.
    let is_in_the_middle = |_| server.borrow().written() >= 300;
    a_copy_goes_on(&url, is_in_the_middle, || {
        server.borrow_mut().kill();
        thread::sleep(Duration::from_secs(3));
        server.borrow_mut().restart();
    });
}

/// It is asked to end, and not killed: Azurite writes which blobs there are every five seconds (`autosaveInterval`), so what it has
/// acknowledged since is lost with its process, whatever the storage does.
#[cfg(feature = "azure")]
#[test]
fn an_emulator_of_azure_that_ends_in_the_middle_of_a_store_loses_nothing() {
    let Some(mut server) = crate::servers::azure::Azure::start_kept() else {
        return;
    };
    let url = server.url();
    a_copy_goes_on(
        &url,
        |copied| copied >= BATCH,
        || {
            // The second batch has begun.
            thread::sleep(Duration::from_millis(50));
            server.stop();
            thread::sleep(Duration::from_secs(3));
            server.restart();
        },
    );
}
