//! The storage of `examples/custom_storage.rs` keeps all of the contract that it promises.

#[path = "../../examples/custom_storage.rs"]
mod example;

use samplestore::conformance::Suite;
use samplestore::{ErrorKind, Sample, Storage};

use example::FolderStorage;

/// A folder in memory where there is one: what is tried is the code, not the disk it calls for.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

#[test]
fn the_example_passes_the_suite() {
    let report = Suite::reopening(folder, |folder| FolderStorage::open(folder.path())).run();
    println!("{report}");
    report.assert_passed();
    for entry in report.skipped() {
        let said = format!("{:?}", entry.outcome);
        let reasons = ["atomic batches", "`delete`", "does not stream"];
        assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
    }
}

/// The same folder opened from elsewhere: nothing but what is in the files counts.
#[test]
fn a_damaged_file_is_named_when_the_folder_is_opened() {
    let folder = folder();
    let storage = FolderStorage::open(folder.path()).unwrap();
    storage
        .store(&[Sample::builder("JFK").id("a").build().unwrap()])
        .unwrap();
    storage.close().unwrap();
    let file = folder.path().join("000000000000.json");
    std::fs::write(&file, "{\"id\": ").unwrap();
    let error = FolderStorage::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("000000000000.json"), "{error}");
}
