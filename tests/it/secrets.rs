//! Passwords and keys are told to nobody: not in errors, and not in what is logged, of whatever target and level.
//!
//! What is logged is asked of a process of its own, this test binary again, whose environment can be set, too: in this one all
//! other tests would be heard.

use std::error::Error as _;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use samplestore::{Error, Query, Sample, connect};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// URLs for the child, one a line.
const URLS: &str = "SAMPLESTORE_TEST_SECRETS_URLS";
/// What begins the line that says how it went with a URL.
const END: &str = "the end was: ";
/// Variables of what servers are there besides.
const OTHERS: [&str; 4] = ["AWS_", "AZURE_", "KAFKA_", "PG"];

/// All that was logged in this process.
static LOGGED: Mutex<String> = Mutex::new(String::new());

fn logged() -> std::sync::MutexGuard<'static, String> {
    LOGGED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears everything.
struct Listener;

/// A line of fields, made before the lock is taken: showing a value may be logged, too.
struct Words(String);

impl Words {
    fn about(metadata: &Metadata<'_>) -> Self {
        Self(format!("{} {}: ", metadata.level(), metadata.target()))
    }

    fn tell(mut self) {
        self.0.push('\n');
        logged().push_str(&self.0);
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut words = Words::about(span.metadata());
        span.record(&mut words);
        words.tell();
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut words = Words(String::new());
        values.record(&mut words);
        words.tell();
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut words = Words::about(event.metadata());
        event.record(&mut words);
        words.tell();
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let (level, target) = (record.level(), record.target());
        Words(format!("{level} {target}: {}", record.args())).tell();
    }
    fn flush(&self) {}
}

/// An error and its causes, in all ways that they are shown.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(shown, " {error} {error:?}").unwrap();
        cause = error.source();
    }
    shown
}

fn store_and_count(url: &str) -> samplestore::Result<()> {
    let storage = connect(url)?;
    storage.store(&[Sample::builder("weather").id("a").build()?])?;
    if storage.capabilities().query {
        storage.count(&Query::new())?;
    }
    storage.close()
}

/// The child's part; nothing at all when the tests are run as usual.
#[test]
fn child_tells_all_that_is_logged() {
    let Ok(urls) = std::env::var(URLS) else {
        return;
    };
    tracing::subscriber::set_global_default(Listener).unwrap();
    log::set_logger(&Listener).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let mut ends = String::new();
    for url in urls.lines() {
        let end = match store_and_count(url) {
            Ok(()) => "stored".to_owned(),
            Err(error) => format!("failed: {}", shown(&error)),
        };
        writeln!(ends, "{END}{end}").unwrap();
    }
    println!("{}\n{ends}", logged());
}

/// Stores a sample by each of these URLs in a process that has these variables, and makes sure that none of these secrets is
/// in what it tells, which is given; `stored` of the URLs let it.
fn told(urls: &[String], variables: &[(&str, &str)], secrets: &[&str], stored: usize) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if OTHERS.iter().any(|others| name.starts_with(others)) {
            child.env_remove(&variable);
        }
    }
    let answer = child
        .args(["secrets::child_tells_all_that_is_logged", "--exact"])
        .arg("--nocapture")
        .env(URLS, urls.join("\n"))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&answer.stdout);
    let told = format!("{said}\n{}", String::from_utf8_lossy(&answer.stderr));
    for secret in secrets {
        let has_it = told.lines().find(|line| line.contains(secret));
        assert_eq!(has_it, None, "{secret}");
    }
    let ends: Vec<_> = told.lines().filter(|line| line.starts_with(END)).collect();
    assert!(answer.status.success(), "{ends:?}");
    let is_stored = |end: &&&str| end.ends_with("stored");
    let count = ends.iter().filter(is_stored).count();
    assert_eq!((ends.len(), count), (urls.len(), stored), "{ends:?}");
    told
}

/// In the URL, in the environment, and one that is wrong; hashed, and as the server asks for it where it wants to see it.
#[cfg(all(feature = "postgres", unix))]
#[test]
fn of_postgres() {
    const SECRET: &str = "sesame-of-postgres";
    let Some(mut server) = crate::servers::postgres::Server::prepare() else {
        return;
    };
    let rules = b"local all all trust\nhost all plain 127.0.0.1/32 password\n\
        host all all 127.0.0.1/32 scram-sha-256\n";
    server.write(&server.data().join("pg_hba.conf"), rules);
    let port = crate::servers::free_port();
    server.listen(port, &[]);
    server.restart();
    let at = |login: &str, options: &str| {
        format!("postgres://{login}@127.0.0.1:{port}/postgres?{options}")
    };
    let (mut in_url, mut in_variable) = (Vec::new(), Vec::new());
    for role in ["hashed", "plain"] {
        server.sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{SECRET}';
            GRANT CREATE ON DATABASE postgres TO {role}"
        ));
        let schema = format!("schema={role}");
        in_url.push(at(&format!("{role}:{SECRET}"), &schema));
        let wrong = format!("{role}:{SECRET}-not");
        in_url.push(at(&wrong, &schema));
        in_url.push(at(role, &format!("{schema}&password={SECRET}")));
        in_variable.push(at(role, &schema));
    }
    let of_url = told(&in_url, &[], &[SECRET], 4);
    assert!(of_url.contains("tokio_postgres"), "the client is not heard");
    told(&in_variable, &[("PGPASSWORD", SECRET)], &[SECRET], 2);
    let wrong = format!("{SECRET}-not");
    told(&in_variable, &[("PGPASSWORD", &wrong)], &[SECRET], 0);
}

/// Whatever the server is asked for, and where there is none.
#[cfg(feature = "s3")]
#[test]
fn of_s3() {
    const SECRET: &str = "sesame+of/s3";
    let Some(server) = crate::servers::s3::shared() else {
        return;
    };
    let at = |scheme: &str, endpoint: &str| {
        let bucket = server.bucket();
        format!("{scheme}://{bucket}/prefix?endpoint={endpoint}")
    };
    let schemes = match cfg!(feature = "delta") {
        true => vec!["s3", "delta+s3"],
        false => vec!["s3"],
    };
    let mut urls = Vec::new();
    for scheme in &schemes {
        urls.push(at(scheme, &server.endpoint()));
        urls.push(at(scheme, "http://127.0.0.1:1"));
    }
    let keys = [
        ("AWS_ACCESS_KEY_ID", "tests"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    let encoded = "sesame%2Bof%2Fs3";
    let told = told(&urls, &keys, &[SECRET, encoded], schemes.len());
    assert!(told.contains("trying again"), "the retries are not heard");
}

/// The emulator's key, which everybody knows, and one that is wrong.
#[cfg(feature = "azure")]
#[test]
fn of_azure() {
    const KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    const WRONG: &str = "c2VzYW1lLW9mLWF6dXJlLXNlc2FtZS1vZi1henVyZQ==";
    const VARIABLE: &str = "AZURE_STORAGE_ACCOUNT_KEY";
    let Some(server) = crate::servers::azure::shared() else {
        return;
    };
    // What the emulator stands for, with a key that is given.
    let url = || {
        server
            .url()
            .replace("?emulator&", "?account=devstoreaccount1&")
    };
    let gone = "az://container/prefix?account=devstoreaccount1&endpoint=http://127.0.0.1:1";
    let urls = [url(), gone.to_owned()];
    let of_key = told(&urls, &[(VARIABLE, KEY)], &[KEY], 1);
    assert!(of_key.contains("trying again"), "the retries are not heard");
    told(
        &[url()],
        &[(VARIABLE, WRONG)],
        &[WRONG, "sesame-of-azure"],
        0,
    );
}

/// There is no broker, which the client says again and again.
#[cfg(all(feature = "kafka", unix))]
#[test]
fn of_kafka() {
    const SECRET: &str = "sesame-of-kafka";
    let mut urls = Vec::new();
    for options in [
        "security.protocol=sasl_plaintext&sasl.mechanism=PLAIN".to_owned(),
        "security.protocol=sasl_plaintext&sasl.mechanism=SCRAM-SHA-256".to_owned(),
        "security.protocol=sasl_ssl&sasl.mechanism=PLAIN".to_owned(),
        format!("security.protocol=ssl&ssl.key.location=/none&ssl.key.password={SECRET}"),
    ] {
        for place in [
            format!("u:{SECRET}@127.0.0.1:1/t?"),
            format!("127.0.0.1:1/t?sasl.username=u&sasl.password={SECRET}&"),
        ] {
            let timeout = "socket.connection.setup.timeout.ms=1000";
            urls.push(format!("kafka://{place}{options}&{timeout}"));
        }
    }
    let told_of = told(&urls, &[], &[SECRET], 0);
    assert!(told_of.contains("refused"), "the client is not heard");
}
