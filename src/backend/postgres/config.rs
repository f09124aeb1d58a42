//! [`Settings`]: what a `postgres:` URL and the environment say, put together.
//!
//! What libpq has is spelled as there: the URL, the parameters of [`OPTIONS`], their variables `PG…`, the service
//! file (`service_file.rs`), the password file (`password_file.rs`). The URL goes before a service, and that
//! before the environment. Three options are our own: `schema`, `migrate` and `connections_max`. Source: <https://www.postgresql.org/docs/current/libpq-connect.html>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::Host;

use super::connect::Server;
use super::password_file;
use super::patience::Bound;
use super::service_file;
use super::tls::{self, Tls};
use crate::backend::Location;
use crate::backend::address::decode;
use crate::error::Result;

/// What libpq and the client know alike, with libpq's variable for it if there is one.
const PARAMETERS: [(&str, Option<&str>); 18] = [
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("keepalives_retries", None),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("options", Some("PGOPTIONS")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
];

/// Those that name servers.
const WHERE: [&str; 3] = ["host", "hostaddr", "port"];

/// What libpq knows and we do ourselves.
const OUR_PARAMETERS: [(&str, Option<&str>); 5] = [
    ("passfile", Some("PGPASSFILE")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
];

/// Every option of the URL.
pub(super) const OPTIONS: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "connections_max",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "migrate",
    "options",
    "passfile",
    "password",
    "port",
    "schema",
    "service",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "statement_timeout",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Where servers of this machine have their sockets, as Debian and as others build them.
pub(super) const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
pub(super) const PORT: &str = "5432";
const SCHEMA: &str = "samplestore";
/// PostgreSQL cuts longer names off.
const SCHEMA_BYTES_MAX: usize = 63;
const CONNECTIONS_MAX: usize = 16;
/// What libpq leaves to the system, which may wait for minutes.
const CONNECT_TIMEOUT_S: u64 = 10;
const KEEPALIVES_IDLE_S: u64 = 30;
/// Three probes, ten seconds apart, so that a machine that is gone is given up after a minute.
const KEEPALIVES_INTERVAL_S: u64 = 10;
const KEEPALIVES_RETRIES: u32 = 3;
const TCP_USER_TIMEOUT_MS: u64 = 60_000;
/// For statements that change or count all of a large table too.
const STATEMENT_TIMEOUT_S: u64 = 600;

pub(super) type Parameters = BTreeMap<&'static str, String>;

/// All that is needed to connect.
#[derive(Debug)]
pub(super) struct Settings {
    /// What is the same for all servers.
    pub(super) client: tokio_postgres::Config,
    pub(super) servers: Vec<Server>,
    pub(super) tls: Tls,
    /// Why there is no password, where a file that may have it was passed over.
    pub(super) password_missing: Option<String>,
    pub(super) schema: String,
    /// Whether an older schema is brought up to date.
    pub(super) migrate: bool,
    /// Whether what is not there is made.
    pub(super) create: bool,
    pub(super) connections_max: usize,
    /// How long to wait for each address of a server, and for one of the connections.
    pub(super) timeout: Duration,
    /// How long to wait for the answer to a statement.
    pub(super) bound: Bound,
    /// The server and the database, for errors; no secret.
    pub(super) shown: String,
}

impl Settings {
    /// Reads the URL; `variable` gives an environment variable.
    pub(super) fn read(
        location: &Location,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut parameters = Parameters::new();
        for (name, from) in PARAMETERS.into_iter().chain(OUR_PARAMETERS) {
            if let Some(value) = from.and_then(&variable) {
                parameters.insert(name, value);
            }
        }
        let service = location.option("service").map(str::to_owned);
        if let Some(service) = service.or_else(|| variable("PGSERVICE")) {
            let mut found = service_file::look_up(&service, location, variable)?;
            for (name, _) in PARAMETERS.into_iter().chain(OUR_PARAMETERS) {
                if let Some(value) = found.remove(name) {
                    parameters.insert(name, value);
                }
            }
        }
        read_place(location, &mut parameters)?;
        for (name, _) in PARAMETERS.into_iter().chain(OUR_PARAMETERS) {
            if let Some(value) = location.option(name) {
                parameters.insert(name, value.to_owned());
            }
        }
        fill(&mut parameters, variable);

        let home = variable("HOME").map(PathBuf::from);
        let mut tls = tls::settings(location, &mut parameters, home.as_deref())?;
        let password_missing = password_file::fill(&mut parameters, home.as_deref());
        let tcp_user_timeout = tcp_user_timeout(location, &mut parameters)?;
        let named = to_client(location, &parameters)?;
        let servers = Server::named_in(&named).ok_or_else(|| {
            location.invalid(
                "each server has one host, one hostaddr and one port, or all have one port",
            )
        })?;
        if servers.iter().all(Server::is_socket) {
            tls.disable();
        }
        parameters.retain(|name, _| !WHERE.contains(name));
        let mut client = to_client(location, &parameters)?;
        if let Some(timeout) = tcp_user_timeout {
            client.tcp_user_timeout(timeout);
        }
        client.ssl_mode(tls.mode());
        let timeout = client.get_connect_timeout().copied();
        Ok(Self {
            shown: shown(&named),
            client,
            servers,
            tls,
            password_missing,
            schema: schema(location)?,
            migrate: location.flag("migrate")?.unwrap_or(false),
            create: location.creates(),
            connections_max: connections_max(location)?,
            timeout: timeout.unwrap_or(Duration::from_secs(CONNECT_TIMEOUT_S)),
            bound: Bound(statement_timeout(location)?),
        })
    }
}

/// Reads `//USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE`, of which everything may be left out.
fn read_place(location: &Location, parameters: &mut Parameters) -> Result<()> {
    let unreadable = |what: &str| location.invalid(format!("{what} cannot be read"));
    let text = |part: &str, what: &str| decode(part).ok_or_else(|| unreadable(what));
    let Some(place) = location.place().strip_prefix("//") else {
        return Err(location.invalid("it must begin with postgres://"));
    };
    // The last one: a password that was not encoded may have others.
    let (login, rest) = place.rsplit_once('@').unwrap_or(("", place));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (servers, database) = rest.split_once('/').unwrap_or((rest, ""));
    let mut given = |name, value: &str, what| -> Result<()> {
        if !value.is_empty() {
            parameters.insert(name, text(value, what)?);
        }
        Ok(())
    };
    given("user", user, "the name of the user")?;
    given("password", password, "the password")?;
    given("dbname", database, "the name of the database")?;
    let servers = servers.split(',').map(split_port);
    let (hosts, ports): (Vec<_>, Vec<_>) = servers.unzip();
    given("host", &hosts.join(","), "the name of the server")?;
    if ports.iter().any(|port| !port.is_empty()) {
        let ports = ports
            .iter()
            .map(|port| if port.is_empty() { PORT } else { port });
        given("port", &ports.collect::<Vec<_>>().join(","), "the port")?;
    }
    Ok(())
}

/// Parts `HOST:PORT` and `[ADDRESS]:PORT`.
fn split_port(server: &str) -> (&str, &str) {
    let bracketed = server
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'));
    match bracketed {
        Some((address, rest)) => (address, rest.strip_prefix(':').unwrap_or(rest)),
        None => server.split_once(':').unwrap_or((server, "")),
    }
}

/// What has a default that the client does not know.
fn fill(parameters: &mut Parameters, variable: impl Fn(&str) -> Option<String>) {
    let port = parameters
        .get("port")
        .map_or(PORT, String::as_str)
        .to_owned();
    if !parameters.contains_key("hostaddr") {
        parameters.entry("host").or_insert_with(|| {
            let has_socket =
                |folder: &&str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
            let folder = SOCKET_FOLDERS.into_iter().find(has_socket);
            folder.unwrap_or("localhost").to_owned()
        });
    }
    let user = ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(variable);
    if let Some(user) = user {
        parameters.entry("user").or_insert(user);
    }
    for (name, value) in [
        ("application_name", "samplestore".to_owned()),
        ("connect_timeout", CONNECT_TIMEOUT_S.to_string()),
        ("keepalives_idle", KEEPALIVES_IDLE_S.to_string()),
        ("keepalives_interval", KEEPALIVES_INTERVAL_S.to_string()),
        ("keepalives_retries", KEEPALIVES_RETRIES.to_string()),
        ("tcp_user_timeout", TCP_USER_TIMEOUT_MS.to_string()),
    ] {
        parameters.entry(name).or_insert(value);
    }
}

/// Hands the client what it knows, in its own language: `name='value'`.
fn to_client(location: &Location, parameters: &Parameters) -> Result<tokio_postgres::Config> {
    let words = PARAMETERS.iter().filter_map(|(name, _)| {
        let value = parameters
            .get(name)?
            .replace('\\', r"\\")
            .replace('\'', r"\'");
        Some(format!("{name}='{value}'"))
    });
    let words = words.collect::<Vec<_>>().join(" ");
    // The client's own error names the parameter and never its value.
    let client = words.parse::<tokio_postgres::Config>();
    client.map_err(|cause| {
        let message = "a parameter of the connection cannot be understood";
        location.invalid(message).with_cause(cause)
    })
}

/// In milliseconds, as libpq has it, where the client takes seconds; 0 leaves it to the system.
fn tcp_user_timeout(location: &Location, parameters: &mut Parameters) -> Result<Option<Duration>> {
    let Some(value) = parameters.remove("tcp_user_timeout") else {
        return Ok(None);
    };
    let ms = value.parse().map_err(|_| {
        location.invalid("the parameter tcp_user_timeout must be a whole number of milliseconds")
    })?;
    Ok(Some(Duration::from_millis(ms)).filter(|timeout| !timeout.is_zero()))
}

/// 0 is without a limit.
fn statement_timeout(location: &Location) -> Result<Option<Duration>> {
    let given = location.parsed("statement_timeout", "a whole number of seconds")?;
    let timeout = Duration::from_secs(given.unwrap_or(STATEMENT_TIMEOUT_S));
    Ok(Some(timeout).filter(|timeout| !timeout.is_zero()))
}

fn schema(location: &Location) -> Result<String> {
    let schema = location.option("schema").unwrap_or(SCHEMA);
    if schema.is_empty() || schema.len() > SCHEMA_BYTES_MAX || schema.contains('\0') {
        return Err(location.invalid("the option schema must be a name of 1 to 63 bytes"));
    }
    Ok(schema.to_owned())
}

fn connections_max(location: &Location) -> Result<usize> {
    match location.parsed("connections_max", "a whole number")? {
        Some(0) => Err(location.invalid("the option connections_max must be 1 at least")),
        Some(max) => Ok(max),
        None => Ok(CONNECTIONS_MAX),
    }
}

fn shown(client: &tokio_postgres::Config) -> String {
    let ports = client.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied();
    let hosts = client.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(folder) => folder.display().to_string(),
    });
    let addresses = client.get_hostaddrs().iter().map(ToString::to_string);
    let hosts: Vec<_> = match client.get_hosts() {
        [] => addresses.collect(),
        _ => hosts.collect(),
    };
    let servers = hosts.iter().enumerate().map(|(at, host)| match port(at) {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    });
    let servers = servers.collect::<Vec<_>>().join(",");
    let database = client
        .get_dbname()
        .or(client.get_user())
        .unwrap_or_default();
    format!("postgres://{servers}/{database}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(url: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let location = url.parse::<Location>()?;
        Settings::read(&location, |name| {
            variables.get(name).map(|&value| value.to_owned())
        })
    }

    fn password(settings: &Settings) -> Option<&str> {
        settings
            .client
            .get_password()
            .map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_url_goes_before_the_environment() {
        let variables = [
            ("PGHOST", "env"),
            ("PGPORT", "1"),
            ("PGDATABASE", "db"),
            ("PGUSER", "env user"),
            ("PGPASSWORD", "env password"),
            ("PGOPTIONS", "-c a='b'"),
        ];
        let settings = read("postgres://", &variables).unwrap();
        assert_eq!(settings.shown, "postgres://env:1/db");
        assert_eq!(settings.client.get_user(), Some("env user"));
        assert_eq!(settings.client.get_options(), Some("-c a='b'"));
        assert_eq!(password(&settings), Some("env password"));
        assert_eq!(settings.schema, "samplestore");
        assert!(settings.create && !settings.migrate);

        let url = "postgresql://me:a%40b@one:2,[::1],three:4/other%2Fdb?connect_timeout=3&schema=x&migrate=true";
        let settings = read(url, &variables).unwrap();
        assert_eq!(settings.shown, "postgres://one:2,::1:5432,three:4/other/db");
        assert_eq!(settings.client.get_user(), Some("me"));
        assert_eq!(password(&settings), Some("a@b"));
        assert_eq!(settings.timeout, Duration::from_secs(3));
        assert!(settings.migrate);

        let settings = read("postgres://host?password=x&user=y", &variables).unwrap();
        assert_eq!(settings.shown, "postgres://host:1/db");
        assert_eq!(
            (settings.client.get_user(), password(&settings)),
            (Some("y"), Some("x"))
        );
        let settings = read("postgres://%2Ftmp%2Fsocket/db", &[]).unwrap();
        assert_eq!(settings.shown, "postgres:///tmp/socket/db");
    }

    #[test]
    fn a_service_goes_before_the_environment_and_behind_the_url() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let own = "[mine]\nhost=one\nport=7\nuser=service\npassword=a=b\ngssencmode=disable\n";
        std::fs::write(folder.path().join(".pg_service.conf"), own).unwrap();
        let system = "[mine]\nhost=other\n[theirs]\nhost=two\ndbname=db\n";
        std::fs::write(folder.path().join("pg_service.conf"), system).unwrap();
        let variables = [
            ("HOME", home),
            ("PGSYSCONFDIR", home),
            ("PGSERVICE", "mine"),
            ("PGHOST", "env"),
            ("PGDATABASE", "env"),
        ];
        let settings = read("postgres://me@/", &variables).unwrap();
        assert_eq!(settings.shown, "postgres://one:7/env");
        assert_eq!(settings.client.get_user(), Some("me"));
        assert_eq!(password(&settings), Some("a=b"));
        let settings = read("postgres://?service=theirs", &variables).unwrap();
        assert_eq!(settings.shown, "postgres://two/db");
        let error = read("postgres://?service=nobodys", &variables).unwrap_err();
        let told = error
            .to_string()
            .contains(r#"there is no service "nobodys""#);
        assert!(told, "{error}");
    }

    #[test]
    fn waits_are_bounded_unless_told_otherwise() {
        let seconds = |timeout: Option<&Duration>| timeout.map(Duration::as_secs_f64);
        let waits = |url: &str| {
            let settings = read(url, &[]).unwrap();
            let tcp = settings.client.get_tcp_user_timeout();
            (seconds(settings.bound.0.as_ref()), seconds(tcp))
        };
        assert_eq!(waits("postgres://h"), (Some(600.0), Some(60.0)));
        let url = "postgres://h?statement_timeout=7&tcp_user_timeout=2500";
        assert_eq!(waits(url), (Some(7.0), Some(2.5)));
        let url = "postgres://h?statement_timeout=0&tcp_user_timeout=0";
        assert_eq!(waits(url), (None, None));
        let client = read("postgres://h", &[]).unwrap().client;
        assert_eq!(
            (
                client.get_keepalives_interval(),
                client.get_keepalives_retries()
            ),
            (Some(Duration::from_secs(10)), Some(3))
        );
    }

    #[test]
    fn what_cannot_be_is_refused_without_the_password() {
        for (url, words) in [
            ("postgres:db", "must begin with postgres://"),
            ("postgres://u:sesame@h:port/", "cannot be understood"),
            ("postgres://u:sesame@h/?port=1,2", "all have one port"),
            ("postgres://u:sesame@h/?sslmode=full", "sslmode must be"),
            ("postgres://u:sesame@h/?sslcert=a", "go together"),
            ("postgres://u:sesame@h/?schema=", "1 to 63 bytes"),
            ("postgres://u:sesame@h/?connections_max=0", "1 at least"),
            ("postgres://u:sesame@h/?shcema=a", "did you mean schema?"),
            (
                "postgres://u:sesame@h/?statement_timeout=soon",
                "a whole number of seconds",
            ),
            (
                "postgres://u:sesame@h/?tcp_user_timeout=-1",
                "a whole number of milliseconds",
            ),
            ("postgres://u:ses@ame/x@h:q/db", "cannot be understood"),
        ] {
            let error = read(url, &[]).unwrap_err();
            assert!(error.to_string().contains(words), "{url}: {error}");
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("sesame") && !shown.contains("ame/x"),
                "{shown}"
            );
        }
        assert!(!format!("{:?}", read("postgres://u:sesame@h", &[]).unwrap()).contains("sesame"));
    }
}
