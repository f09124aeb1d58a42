//! The storage of `examples/custom_storage.rs` keeps all of the contract that it promises.

#[path = "../../examples/custom_storage.rs"]
mod example;

use samplestore::conformance::Suite;

use example::FolderStorage;

#[test]
fn the_example_passes_the_suite() {
    let report = Suite::reopening(
        || tempfile::tempdir().unwrap(),
        |folder| FolderStorage::open(folder.path()),
    )
    .run();
    println!("{report}");
    report.assert_passed();
    for entry in report.skipped() {
        let said = format!("{:?}", entry.outcome);
        assert!(
            said.contains("atomic batches") || said.contains("`delete`"),
            "{said}"
        );
    }
}
