//! Real servers, started by the tests that need them on free local ports, and gone with the process.
//!
//! Where a server is not installed a test is skipped, and says so on stderr whether its output is captured
//! or not. With `SAMPLESTORE_REQUIRE_SERVERS` set, as `.ci/run` sets it, it fails instead.

/// Azure Blob Storage: Azurite, from npm, Microsoft's own emulator.
#[cfg(feature = "azure")]
pub(crate) mod azure;
/// A Kafka broker: tansu, from crates.io.
#[cfg(all(feature = "kafka", unix))]
pub(crate) mod kafka;
/// PostgreSQL, from the system's package.
#[cfg(all(feature = "postgres", unix))]
pub(crate) mod postgres;
/// Programs for Delta Lake tables that are not ours.
#[cfg(feature = "delta")]
pub(crate) mod readers;
/// An S3 server: moto, from PyPI, which keeps conditional puts.
#[cfg(feature = "s3")]
pub(crate) mod s3;

use std::io::Write;
use std::net::TcpListener;
#[cfg(all(any(feature = "kafka", feature = "postgres"), unix))]
use std::process::Command;

/// A shell that stands between the tests and a server, and waits on a pipe: when it closes, as it does when
/// the test process ends in whatever way, it kills the server and removes its folder. `$0` is the folder,
/// the rest is the server's command. `keep` on the pipe leaves the folder.
#[cfg(all(any(feature = "kafka", feature = "postgres"), unix))]
const WATCHDOG: &str = r#"
"$@" >>"$0/log" 2>&1 &
server=$!
read -r word
kill -9 $server
wait $server
[ "$word" = keep ] || rm -rf "$0"
"#;

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

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

/// A certificate for `localhost` and its key, as PEM.
#[cfg(all(any(feature = "kafka", feature = "postgres"), unix))]
pub(crate) fn certificate() -> Option<(Vec<u8>, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(path("key"))
        .arg("-out")
        .arg(path("crt"))
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        skipped("openssl", "apt-get install openssl");
        return None;
    }
    Some((
        std::fs::read(path("crt")).unwrap(),
        std::fs::read(path("key")).unwrap(),
    ))
}
