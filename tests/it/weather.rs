//! The weather example on every backend, with the figures of the real data, and its samples through all of
//! them.

use std::sync::Arc;

use samplestore::{Storage, connect};
use tempfile::TempDir;

#[path = "../../examples/weather.rs"]
#[allow(dead_code, unreachable_pub)] // what is not run here
pub(crate) mod example;

/// What every storage answers. Counted from the input by other means.
const ANSWERS: &str = "\
26,115 samples
  EWR        8,703
  JFK        8,706
  LGA        8,706
  measured   2,728
  ready     23,386
  skipped        1

Ready at JFK in June 2013: 629; the newest three
  JFK-2013-06-30T23:00:00Z   temp 73.9 °F, dew-point spread 4.0 °F, wind 4.6 m/s
  JFK-2013-06-30T20:00:00Z   temp 73.9 °F, dew-point spread 2.9 °F, wind 7.2 m/s
  JFK-2013-06-30T18:00:00Z   temp 75.9 °F, dew-point spread 4.9 °F, wind 5.1 m/s

Skipped
  EWR-2013-08-22T13:00:00Z   by stage judge: temp is missing
";

/// A folder in memory where there is one, so that syncs cost nothing.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Runs the pipeline into what a URL names.
fn load(url: &str) -> Arc<dyn Storage> {
    let storage: Arc<dyn Storage> = connect(url).unwrap().into();
    let report = example::load(Arc::clone(&storage)).unwrap();
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.stored(), 26_115);
    storage
}

fn runs_on(url: &str) {
    let storage = load(url);
    assert_eq!(example::ask(&*storage).unwrap(), ANSWERS);
    storage.close().unwrap();
}

#[test]
fn memory() {
    runs_on("memory:");
}

#[test]
fn database() {
    let folder = folder();
    runs_on(&format!("redb:{}/weather.redb", folder.path().display()));
}

#[cfg(feature = "files")]
#[test]
fn documents() {
    let folder = folder();
    runs_on(&format!("file:{}", folder.path().display()));
}

#[cfg(feature = "s3")]
#[test]
fn s3() {
    // One of its own: the others' would be busy with this for long.
    let Some(server) = crate::servers::s3::S3::start() else {
        return;
    };
    is_read_once_from(&server.url());
}

/// The emulator takes many minutes for what S3's takes two for, and all but the client is the same: only when it is asked for.
#[cfg(feature = "azure")]
#[test]
fn azure() {
    if std::env::var_os("SAMPLESTORE_WEATHER_ON_AZURE").is_none() {
        println!("weather on Azure: runs where SAMPLESTORE_WEATHER_ON_AZURE is set");
        return;
    }
    // What it keeps in memory it finds more slowly the more there is, by tens of milliseconds at the end.
    let Some(server) = crate::servers::azure::Azure::start_kept() else {
        return;
    };
    is_read_once_from(&server.url());
}

/// Runs the pipeline into a server where each question reads every object, some milliseconds each: all are read once, and
/// asked for in memory.
#[cfg(any(feature = "azure", feature = "s3"))]
fn is_read_once_from(url: &str) {
    let storage = load(url);
    let read = samplestore::MemoryStorage::new();
    let (all, options) = (samplestore::Query::new(), samplestore::CopyOptions::new());
    let report = samplestore::copy(&*storage, &read, &all, &options).unwrap();
    assert!(report.is_whole(), "{report}");
    assert_eq!(example::ask(&read).unwrap(), ANSWERS);
    storage.close().unwrap();
}

#[cfg(feature = "delta")]
#[test]
fn delta() {
    let folder = folder();
    runs_on(&format!("delta+file:{}", folder.path().display()));
}

#[cfg(all(feature = "delta", feature = "s3"))]
#[test]
fn delta_in_s3() {
    let Some(server) = crate::servers::s3::S3::start() else {
        return;
    };
    runs_on(&format!("delta+{}", server.url()));
}

#[cfg(all(feature = "postgres", unix))]
#[test]
fn postgres() {
    let Some(server) = crate::servers::postgres::shared() else {
        return;
    };
    runs_on(&server.url(&server.schema()));
}

/// A topic cannot be asked; what its consumer makes of it can.
#[cfg(all(feature = "kafka", unix))]
#[test]
fn kafka() {
    let Some(broker) = crate::servers::kafka::shared() else {
        return;
    };
    let topic = broker.topic();
    load(&broker.url(&topic)).close().unwrap();
    let folder = folder();
    let file = folder.path().join("weather.redb");
    let words = [broker.servers(), topic, file.to_str().unwrap().to_owned()];
    let consumed = crate::kafka::run(&words).unwrap();
    assert_eq!((consumed.stored, consumed.deleted), (26_115, 0));
    let consumed = crate::kafka::run(&words).unwrap();
    assert_eq!((consumed.stored, consumed.deleted), (0, 0));
    let database = samplestore::Database::open(&file).unwrap();
    assert_eq!(example::ask(&database).unwrap(), ANSWERS);
    assert!(crate::kafka::run(&words[..2]).is_err());
}

/// From a file through every backend that can be read into a file again.
#[cfg(all(feature = "delta", feature = "postgres", feature = "s3", unix))]
#[test]
fn a_copy_through_all_of_them_ends_equal_to_the_first() {
    use samplestore::{CopyOptions, Query, copy};

    let (Some(postgres), Some(s3)) = (
        crate::servers::postgres::shared(),
        crate::servers::s3::S3::start(),
    ) else {
        return;
    };
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let first_url = format!("redb:{}", path("first.redb"));
    // One line a link, and whether every sample is compared, which reads both sides once more: not where one is documents
    // in S3, whose server takes milliseconds for each.
    let chain = [
        (postgres.url(&postgres.schema()), true),
        (format!("file:{}", path("documents")), true),
        (s3.url(), false),
        (format!("delta+{}", s3.url()), false),
        (format!("redb:{}", path("last.redb")), true),
    ];
    let first = load(&first_url);
    let mut source = Arc::clone(&first);
    for (url, verify) in &chain {
        let target: Arc<dyn Storage> = connect(url).unwrap().into();
        let options = CopyOptions::new().verify(*verify);
        let report = copy(&*source, &*target, &Query::new(), &options).unwrap();
        assert!(report.is_whole(), "{url}: {report}");
        assert_eq!((report.copied, report.stored.inserted), (26_115, 26_115));
        assert_eq!(report.in_target, Some(26_115), "{url}");
        let equal = report.verified.map(|found| found.equal);
        assert_eq!(equal, verify.then_some(26_115), "{url}");
        source = target;
    }
    let all = |storage: &dyn Storage| storage.list(&Query::new()).unwrap().samples;
    let (first, last) = (all(&*first), all(&*source));
    assert_eq!(first.len(), 26_115);
    for (first, last) in first.iter().zip(&last) {
        assert_eq!(first, last);
    }
    assert_eq!(first.len(), last.len());
}
