//! The conformance suite on each of our own backends, one test each.

use samplestore::MemoryStorage;
use samplestore::conformance::Suite;

#[test]
fn memory() {
    let report = Suite::new(|| Ok(MemoryStorage::new())).run();
    println!("{report}");
    report.assert_passed();
}
