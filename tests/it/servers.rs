//! Real servers, started by the tests that need them on free local ports, and gone with the process.
//!
//! Where a server is not installed a test is skipped, and says so on stderr whether its output is captured
//! or not. With `SAMPLESTORE_REQUIRE_SERVERS` set, as `.ci/run` sets it, it fails instead.

/// PostgreSQL, from the system's package.
#[cfg(all(feature = "postgres", unix))]
pub(crate) mod postgres;
/// Readers of Delta Lake tables that are not ours.
#[cfg(feature = "delta")]
pub(crate) mod readers;
/// An S3 server: moto, from PyPI, which keeps conditional puts.
#[cfg(feature = "s3")]
pub(crate) mod s3;

use std::io::Write;

/// Skips a test loudly; `install` says how to have the server.
pub(crate) fn skipped(server: &str, install: &str) {
    let words = format!("there is no {server} here; to run this test: {install}");
    assert!(
        std::env::var_os("SAMPLESTORE_REQUIRE_SERVERS").is_none(),
        "{words}"
    );
    // Not captured, other than `eprintln!`.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {words}");
}
