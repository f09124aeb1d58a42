//! [`S3`]: a server of its own for a test, or one that tests share.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::free_port;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/s3.py");
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct S3 {
    child: Child,
    port: u16,
    folder: TempDir,
    buckets: AtomicU32,
}

/// The server that tests share: each takes a prefix of its own. `None` where moto is not installed.
pub(crate) fn shared() -> Option<&'static S3> {
    static SHARED: OnceLock<Option<S3>> = OnceLock::new();
    SHARED.get_or_init(S3::start).as_ref()
}

impl S3 {
    /// Starts a server; `None`, and the test says so, where moto is not installed.
    pub(crate) fn start() -> Option<Self> {
        let is_there = Command::new("python3")
            .args(["-c", "import moto.server"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !is_there {
            super::skipped("S3 server", "pip install 'moto[server]'");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let port = free_port();
        std::fs::write(
            folder.path().join("credentials"),
            "[default]\naws_access_key_id = tests\naws_secret_access_key = of-no-value\n",
        )
        .unwrap();
        let child = spawn(port, &folder);
        let server = Self {
            child,
            port,
            folder,
            buckets: AtomicU32::new(0),
        };
        server.wait_until_up();
        Some(server)
    }

    /// The URL of a prefix that no other test has, in a bucket of its own: to list a prefix, moto goes through the whole
    /// bucket.
    pub(crate) fn url(&self) -> String {
        format!(
            "s3://{}/prefix?endpoint={}&credentials_file={}",
            self.bucket(),
            self.endpoint(),
            self.credentials().display()
        )
    }

    /// A bucket that no other test has.
    pub(crate) fn bucket(&self) -> String {
        let name = format!("bucket-{}", self.buckets.fetch_add(1, Relaxed));
        let made = self.request("PUT", &format!("/{name}"));
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        name
    }

    /// The URL of the server itself.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// How many objects it was asked to write or remove so far.
    pub(crate) fn written(&self) -> u64 {
        let journal = std::fs::read(self.folder.path().join("journal")).unwrap();
        journal.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// Kills the server as the system would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has the server killed by a change that it is asked for, the `nth` from now, from 0: it is lost, or it is kept and
    /// not answered.
    #[cfg(feature = "delta")]
    pub(crate) fn kill_at(&self, nth: usize, is_kept: bool) {
        let due = if is_kept { "behind" } else { "before" };
        let path = self.folder.path().join("journal-kill");
        std::fs::write(path, format!("{nth} {due}")).unwrap();
    }

    /// Whether it was killed so; if not, it will not be any more.
    #[cfg(feature = "delta")]
    pub(crate) fn was_killed(&mut self) -> bool {
        let _ = std::fs::remove_file(self.folder.path().join("journal-kill"));
        self.child.try_wait().unwrap().is_some()
    }

    /// Starts it again, with all that it had answered.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder);
        self.wait_until_up();
    }

    /// Asks for something and gives the whole answer.
    pub(crate) fn request(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.port
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn wait_until_up(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                begun.elapsed() < STARTS_WITHIN,
                "the S3 server does not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &TempDir) -> Child {
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    Command::new("python3")
        .arg(SCRIPT)
        .arg(port.to_string())
        .arg(folder.path().join("journal"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
