//! [`Broker`]: tansu, a broker that speaks Kafka's protocol, of a test's own or shared.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[cfg(feature = "s3")]
use super::s3::S3;
use super::{WATCHDOG, free_port};

const INSTALL: &str =
    "cargo install tansu@0.6.0 --locked --features dynostore --root ~/.cache/samplestore";
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/tls.py");
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A running broker, or one that was killed.
pub(crate) struct Broker {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    arguments: Vec<String>,
    /// Variables of the server, where it keeps its topics in S3.
    variables: Vec<(&'static str, String)>,
    watchdog: Option<Child>,
    /// The process in front of it.
    tls: Option<Child>,
    topics: AtomicU32,
}

/// The broker that tests share: each takes a topic of its own. `None` where tansu is not installed.
pub(crate) fn shared() -> Option<&'static Broker> {
    static SHARED: OnceLock<Option<Broker>> = OnceLock::new();
    SHARED.get_or_init(Broker::start).as_ref()
}

impl Broker {
    /// Starts a broker that keeps its topics in memory; `None`, and the test says so, where tansu is not
    /// installed.
    pub(crate) fn start() -> Option<Self> {
        let mut broker = Self::prepare("memory://tansu/")?;
        broker.restart();
        Some(broker)
    }

    #[cfg(feature = "s3")]
    /// Starts a broker that keeps its topics in a server, so that they outlive a kill.
    pub(crate) fn start_over(server: &S3) -> Option<Self> {
        let mut broker = Self::prepare(&format!("s3://{}/", server.bucket()))?;
        broker.variables = vec![
            ("AWS_ENDPOINT", server.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "tests".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "of-no-value".to_owned()),
        ];
        broker.restart();
        Some(broker)
    }

    /// Makes the folder of a broker and does not start it.
    fn prepare(storage: &str) -> Option<Self> {
        let Some(program) = program() else {
            super::skipped("Kafka broker", INSTALL);
            return None;
        };
        let port = free_port();
        let address = format!("tcp://127.0.0.1:{port}");
        let arguments = ["broker", "--listener-url", &address]
            .into_iter()
            .chain(["--advertised-listener-url", &address])
            .chain(["--storage-engine", storage]);
        Some(Self {
            program,
            folder: tempfile::tempdir().unwrap().keep(),
            port,
            arguments: arguments.map(str::to_owned).collect(),
            variables: Vec::new(),
            watchdog: None,
            tls: None,
            topics: AtomicU32::new(0),
        })
    }

    /// The same with more arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Option<Self> {
        let mut broker = Self::prepare("memory://tansu/")?;
        let more = arguments.iter().map(|&argument| argument.to_owned());
        broker.arguments.extend(more);
        broker.restart();
        Some(broker)
    }

    /// Starts a broker that has TLS in front of it at this port of `localhost`, by a script: its own cannot be
    /// turned on, since the two options that it needs exclude each other.
    pub(crate) fn start_behind_tls(port: u16, certificate: &Path, key: &Path) -> Option<Self> {
        let mut broker = Self::prepare("memory://tansu/")?;
        let advertised = broker
            .arguments
            .iter()
            .position(|it| it.contains("advertised"));
        broker.arguments[advertised.unwrap() + 1] = format!("tcp://localhost:{port}");
        broker.restart();
        let mut command = Command::new("python3");
        command
            .arg(TLS)
            .args([port, broker.port].map(|port| port.to_string()));
        command.args([certificate, key]).stdin(Stdio::piped());
        broker.tls = Some(command.spawn().unwrap());
        wait_for(port, String::new);
        Some(broker)
    }

    /// A topic that no other test has. It is not made yet.
    pub(crate) fn topic(&self) -> String {
        format!("topic-{}", self.topics.fetch_add(1, Relaxed))
    }

    /// Where it listens.
    pub(crate) fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of a topic, of one partition when it is made.
    pub(crate) fn url(&self, topic: &str) -> String {
        format!("kafka://{}/{topic}?partitions=1", self.servers())
    }

    /// Kills the server as the system would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            watchdog.stdin.take().unwrap().write_all(b"keep\n").unwrap();
            watchdog.wait().unwrap();
        }
    }

    /// Starts the server, and waits until it listens.
    pub(crate) fn restart(&mut self) {
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG]).arg(&self.folder);
        command.arg(&self.program).args(&self.arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // Not in our group, whose signals are for the tests.
        command.current_dir(&self.folder).process_group(0);
        // The shell says that it has killed something.
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        self.watchdog = Some(command.spawn().unwrap());
        let log = self.folder.join("log");
        wait_for(self.port, || {
            std::fs::read_to_string(&log).unwrap_or_default()
        });
    }
}

/// Waits until somebody listens; when nobody does, ends the test with what the log says.
fn wait_for(port: u16, log: impl Fn() -> String) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let is_late = begun.elapsed() > STARTS_WITHIN;
        assert!(!is_late, "the broker does not start: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut tls) = self.tls.take() {
            drop(tls.stdin.take());
            let _ = tls.wait();
        }
        match self.watchdog.take() {
            Some(mut watchdog) => {
                drop(watchdog.stdin.take());
                let _ = watchdog.wait();
            }
            None => drop(std::fs::remove_dir_all(&self.folder)),
        }
    }
}

/// The broker's program, in the user's cache or on the path.
fn program() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let kept = cache.map(|cache| cache.join("samplestore/bin/tansu"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("tansu"));
    kept.into_iter().chain(on_path).find(|file| file.is_file())
}
