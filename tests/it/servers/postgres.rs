//! [`Server`]: PostgreSQL in a temporary folder, of a test's own or shared.

use std::fs::DirEntry;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::WATCHDOG;

/// Where Debian and others keep the programs of a server.
const PLACES: [&str; 4] = [
    "/usr/lib/postgresql",
    "/usr/local/pgsql",
    "/usr/pgsql",
    "/opt/homebrew/opt/postgresql",
];
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// A running server, or one that was killed.
pub(crate) struct Server {
    programs: PathBuf,
    folder: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    arguments: Vec<String>,
    watchdog: Option<Child>,
    schemas: AtomicU32,
}

/// The server that tests share: each takes a schema of its own. `None` where PostgreSQL is not installed.
pub(crate) fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(Server::start).as_ref()
}

impl Server {
    /// Starts a server that listens on a socket in its folder alone; `None`, and the test says so, where
    /// PostgreSQL is not installed.
    pub(crate) fn start() -> Option<Self> {
        let mut server = Self::prepare()?;
        server.restart();
        Some(server)
    }

    /// The same in a folder of the caller's.
    #[cfg(all(feature = "delta", feature = "kafka", feature = "s3"))] // as times.rs, which asks for it
    pub(crate) fn start_in(folder: TempDir) -> Option<Self> {
        let mut server = Self::prepare_in(folder)?;
        server.restart();
        Some(server)
    }

    /// Makes the folder of a server, in memory where the machine has that, and does not start it.
    pub(crate) fn prepare() -> Option<Self> {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::prepare_in(folder.unwrap())
    }

    fn prepare_in(folder: TempDir) -> Option<Self> {
        let Some(programs) = programs() else {
            super::skipped("PostgreSQL server", "apt-get install postgresql");
            return None;
        };
        let server = Self {
            programs,
            folder: folder.keep(),
            owner: unprivileged(),
            port: 5432,
            arguments: Vec::new(),
            watchdog: None,
            schemas: AtomicU32::new(0),
        };
        if let Some((user, group)) = server.owner {
            chown(&server.folder, Some(user), Some(group)).unwrap();
        }
        let made = server
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(server.data())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Some(server)
    }

    /// Lets the server listen on this port of 127.0.0.1 too, with more arguments.
    pub(crate) fn listen(&mut self, port: u16, arguments: &[&str]) {
        self.port = port;
        self.arguments = vec!["-clisten_addresses=127.0.0.1".to_owned()];
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
    }

    /// The folder of the database's files.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where its socket is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file that the server can read and nobody else.
    pub(crate) fn write(&self, path: &Path, content: &[u8]) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, content).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
        if let Some((user, group)) = self.owner {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// The name of a schema that no other test has.
    pub(crate) fn schema(&self) -> String {
        format!("Schema \"{}\"", self.schemas.fetch_add(1, Relaxed))
    }

    /// The URL of a schema, by the socket.
    pub(crate) fn url(&self, schema: &str) -> String {
        let schema = schema.replace(' ', "%20").replace('"', "%22");
        format!(
            "postgres:///postgres?host={}&port={}&user=postgres&schema={schema}",
            self.folder.display(),
            self.port
        )
    }

    /// Kills the server and its sessions as the loss of a machine would, and waits until they are gone. By itself a session
    /// outlives its server as long as it is kept busy.
    pub(crate) fn kill(&mut self) {
        let Some(mut watchdog) = self.watchdog.take() else {
            return;
        };
        watchdog.stdin.take().unwrap().write_all(b"keep\n").unwrap();
        watchdog.wait().unwrap();
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return;
            }
            // One may have ended meanwhile.
            let _ = Command::new("kill").arg("-9").args(processes).output();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets the server stand still with all of its sessions, or go on.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill")
            .arg(signal)
            .args(self.processes())
            .status();
        assert!(sent.unwrap().success());
    }

    /// The numbers of the processes that work in the server's data, where the system tells.
    fn processes(&self) -> Vec<String> {
        let Ok(all) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        let data = self.data();
        let works_there = |process: &DirEntry| {
            std::fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == data)
        };
        let there = all.flatten().filter(works_there);
        there
            .filter_map(|process| process.file_name().into_string().ok())
            .collect()
    }

    /// Starts the server, and waits until it answers. Until the last session of one that was killed has ended, a new one
    /// refuses to start.
    pub(crate) fn restart(&mut self) {
        let begun = Instant::now();
        while !self.begin() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(
                begun.elapsed() < STARTS_WITHIN,
                "the server does not start: {log}"
            );
            self.kill();
        }
    }

    /// Starts it once, and says whether it answers.
    fn begin(&mut self) -> bool {
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG]).arg(&self.folder);
        command
            .arg(self.programs.join("postgres"))
            .arg("-D")
            .arg(self.data());
        command.arg(format!(
            "-cunix_socket_directories={}",
            self.folder.display()
        ));
        command.arg(format!("-cport={}", self.port));
        if self.arguments.is_empty() {
            command.arg("-clisten_addresses=");
        }
        command
            .args(["-cmax_connections=200", "-cdeadlock_timeout=50ms"])
            .args(&self.arguments);
        // Not in our group, whose signals are for the tests.
        self.as_owner(
            command
                .process_group(0)
                .stdin(Stdio::piped())
                .stdout(Stdio::null()),
        );
        self.watchdog = Some(command.spawn().unwrap());
        for _ in 0..100 {
            let answers = self
                .program("pg_isready")
                .arg("-q")
                .args(self.address())
                .status();
            if answers.unwrap().success() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// What `psql` answers to a statement, without headings.
    pub(crate) fn sql(&self, statement: &str) -> String {
        let mut psql = self.program("psql");
        psql.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
        ]);
        let answer = psql
            .args(self.address())
            .args(["-c", statement])
            .output()
            .unwrap();
        assert!(
            answer.status.success(),
            "{}",
            String::from_utf8_lossy(&answer.stderr)
        );
        String::from_utf8(answer.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Waits until a statement that has this text in it sleeps on the server.
    pub(crate) fn wait_for_sleep(&self, text: &str) {
        let begun = Instant::now();
        let sleeps = format!(
            "SELECT count(*) > 0 FROM pg_stat_activity
            WHERE wait_event = 'PgSleep' AND strpos(query, '{text}') > 0"
        );
        while self.sql(&sleeps) != "t" {
            assert!(begun.elapsed() < STARTS_WITHIN, "no statement sleeps");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn address(&self) -> [String; 4] {
        let folder = self.folder.display().to_string();
        [
            "-h".to_owned(),
            folder,
            "-p".to_owned(),
            self.port.to_string(),
        ]
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        // Whatever the environment says of other servers.
        for (variable, _) in std::env::vars_os() {
            if variable.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(variable);
            }
        }
        self.as_owner(&mut command);
        command
    }

    fn as_owner(&self, command: &mut Command) {
        command.current_dir(&self.folder);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.watchdog.take() {
            Some(mut watchdog) => {
                drop(watchdog.stdin.take());
                let _ = watchdog.wait();
            }
            None => drop(std::fs::remove_dir_all(&self.folder)),
        }
    }
}

/// The folder of the newest server's programs.
fn programs() -> Option<PathBuf> {
    let versions = PLACES
        .iter()
        .filter_map(|place| std::fs::read_dir(place).ok())
        .flatten();
    let versions = versions.filter_map(|entry| {
        let folder = entry.ok()?.path();
        let version: f64 = folder.file_name()?.to_str()?.parse().ok()?;
        Some((version, folder.join("bin")))
    });
    let unversioned = PLACES
        .iter()
        .map(|place| (0.0, Path::new(place).join("bin")));
    let mut found: Vec<_> = versions
        .chain(unversioned)
        .filter(|(_, bin)| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .collect();
    found.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    found.pop().map(|(_, bin)| bin)
}

/// PostgreSQL refuses to run as root: the user and group of the package, or of nobody, to whom root gives
/// the folder; `None` when we are somebody else.
fn unprivileged() -> Option<(u32, u32)> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let is_it = fields.first() == Some(&name);
            is_it.then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
        })
    };
    find("postgres").or_else(|| find("nobody"))
}
