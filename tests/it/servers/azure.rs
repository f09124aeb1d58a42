//! [`Azure`]: an emulator of Azure Blob Storage that tests share.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::free_port;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/azure.py");
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A running emulator; it ends when its standard input closes.
pub(crate) struct Azure {
    child: Child,
    port: u16,
    /// What it keeps there outlives it.
    folder: Option<TempDir>,
    containers: AtomicU32,
}

/// The one that tests share. `None` where Azurite is not installed.
pub(crate) fn shared() -> Option<&'static Azure> {
    static SHARED: OnceLock<Option<Azure>> = OnceLock::new();
    SHARED.get_or_init(Azure::start).as_ref()
}

impl Azure {
    /// Starts one that keeps everything in memory; `None`, and the test says so, where Azurite is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_in(None)
    }

    /// The same with a folder, so that it can be started again.
    pub(crate) fn start_kept() -> Option<Self> {
        Self::start_in(Some(tempfile::tempdir().unwrap()))
    }

    fn start_in(folder: Option<TempDir>) -> Option<Self> {
        let is_there = Command::new("azurite-blob")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !is_there {
            super::skipped("Azure Blob Storage", "npm install --global azurite");
            return None;
        }
        let port = free_port();
        Some(Self {
            child: spawn(port, folder.as_ref()),
            port,
            folder,
            containers: AtomicU32::new(0),
        })
    }

    /// The URL of a prefix in a container that no other test has.
    pub(crate) fn url(&self) -> String {
        let name = format!("container-{}", self.containers.fetch_add(1, Relaxed));
        let made = Command::new("python3")
            .args([SCRIPT, "container", &self.port.to_string(), &name])
            .status();
        assert!(made.unwrap().success(), "{name}");
        self.url_in(&name)
    }

    /// The URL of a prefix in this container.
    pub(crate) fn url_in(&self, container: &str) -> String {
        let port = self.port;
        let endpoint = format!("http://127.0.0.1:{port}/devstoreaccount1");
        format!("az://{container}/prefix?emulator&endpoint={endpoint}")
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
    /// Starts it again, with what it had answered if that is kept.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, self.folder.as_ref());
    }
}

/// Starts the program, and waits until it listens.
fn spawn(port: u16, folder: Option<&TempDir>) -> Child {
    let child = Command::new("python3")
        .args([SCRIPT, "serve", &port.to_string()])
        .args(folder.map(TempDir::path))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < STARTS_WITHIN, "Azurite does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}
