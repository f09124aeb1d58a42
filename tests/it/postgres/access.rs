//! TLS, passwords, and the environment of libpq.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use samplestore::{Error, ErrorKind, Query, Storage, connect};

use super::numbered;
use crate::servers::postgres::{Server, shared};
use crate::servers::{certificate, free_port};

const PASSWORD: &str = "pass:w@rd/?&% 'x\\";
const ENCODED: &str = "pass%3Aw%40rd%2F%3F%26%25%20%27x%5C";

/// An error and its causes, as they are shown.
fn shown(error: &Error) -> String {
    let mut text = format!("{error:?}");
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let _ = write!(text, "; {error}");
        next = error.source();
    }
    text
}

#[test]
fn tls_and_passwords() {
    let Some((certificate, key)) = certificate() else {
        return;
    };
    let Some(mut server) = Server::prepare() else {
        return;
    };
    let data = server.data();
    server.write(&data.join("server.crt"), &certificate);
    server.write(&data.join("server.key"), &key);
    server.write(
        &data.join("pg_hba.conf"),
        b"local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
    );
    let port = free_port();
    server.listen(port, &["-cssl=on"]);
    server.restart();
    server.sql(&format!(
        "CREATE ROLE guest LOGIN PASSWORD '{}'; GRANT CREATE ON DATABASE postgres TO guest",
        PASSWORD.replace('\'', "''")
    ));
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.crt");
    std::fs::write(&root, certificate).unwrap();
    let root = root.display();
    let at = |host: &str, options: &str| {
        format!("postgres://guest:{ENCODED}@{host}:{port}/postgres?{options}")
    };

    for (url, opens) in [
        (at("127.0.0.1", "sslmode=disable"), false),
        (at("127.0.0.1", ""), true),
        (at("127.0.0.1", "sslmode=require"), true),
        (
            at(
                "127.0.0.1",
                &format!("sslmode=verify-ca&sslrootcert={root}"),
            ),
            true,
        ),
        (
            at(
                "localhost",
                &format!("sslmode=verify-full&sslrootcert={root}"),
            ),
            true,
        ),
        (
            at("localhost", &format!("sslmode=require&sslrootcert={root}")),
            true,
        ),
        (
            at(
                "127.0.0.1",
                &format!("sslmode=verify-full&sslrootcert={root}"),
            ),
            false,
        ),
        (
            at("localhost", "sslmode=verify-full&sslrootcert=system"),
            false,
        ),
        (
            at("localhost", "sslmode=verify-full&sslrootcert=/none"),
            false,
        ),
    ] {
        match connect(&url) {
            Ok(storage) => {
                assert!(opens, "{url}");
                storage.store(&numbered(2)).unwrap();
                assert_eq!(storage.count(&Query::new()).unwrap(), 2);
            }
            Err(error) => {
                assert!(!opens, "{url}: {}", shown(&error));
                assert!(!error.is_retryable(), "{}", shown(&error));
                let shown = shown(&error);
                assert!(
                    !shown.contains(PASSWORD) && !shown.contains(ENCODED),
                    "{shown}"
                );
            }
        }
    }
    passwords(&server, port, folder.path());
}

fn passwords(server: &Server, port: u16, folder: &Path) {
    let error = connect(&format!(
        "postgres://guest:wrongword@127.0.0.1:{port}/postgres"
    ))
    .unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Backend, false)
    );
    assert!(!shown(&error).contains("wrongword"), "{}", shown(&error));
    assert_eq!(
        error.subject().unwrap(),
        format!("postgres://127.0.0.1:{port}/postgres")
    );

    // Behind a server that refuses, the next one is not asked: it would hide why.
    let gone = free_port();
    let at = |login: &str, database: &str| {
        format!("postgres://{login}@127.0.0.1:{port},127.0.0.1:{gone}/{database}")
    };
    let logged_in = format!("guest:{ENCODED}");
    for (url, kind) in [
        (at("guest:wrongword", "postgres"), ErrorKind::Backend),
        (at("guest", "postgres"), ErrorKind::Backend),
        (at(&logged_in, "nowhere"), ErrorKind::NotFound),
    ] {
        let error = connect(&url).unwrap_err();
        let found = (error.kind(), error.is_retryable());
        assert_eq!(found, (kind, false), "{}", shown(&error));
    }

    let file = folder.join("pgpass");
    let word = PASSWORD.replace('\\', r"\\").replace(':', r"\:");
    std::fs::write(&file, format!("127.0.0.1:{port}:*:guest:{word}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(&file, mode(0o600)).unwrap();
    let url = format!(
        "postgres://guest@127.0.0.1:{port}/postgres?passfile={}",
        file.display()
    );
    connect(&url).unwrap();
    std::fs::set_permissions(&file, mode(0o644)).unwrap();
    let error = connect(&url).unwrap_err();
    assert!(!error.is_retryable(), "{}", shown(&error));
    let told = format!(
        "{} is passed over: its mode 0644 lets others read it",
        file.display()
    );
    assert!(error.to_string().contains(&told), "{error}");
    assert!(server.folder().is_dir());
}

/// A server that asks for a certificate, of the files that are named or of those that libpq has.
#[test]
fn an_own_certificate_lets_us_in() {
    let Some((certificate, key)) = certificate() else {
        return;
    };
    let Some(mut server) = Server::prepare() else {
        return;
    };
    let data = server.data();
    for (name, content) in [
        ("server.crt", &certificate),
        ("server.key", &key),
        ("root.crt", &certificate),
    ] {
        server.write(&data.join(name), content);
    }
    server.write(
        &data.join("pg_hba.conf"),
        b"local all all trust\nhostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n",
    );
    let port = free_port();
    server.listen(port, &["-cssl=on", "-cssl_ca_file=root.crt"]);
    server.restart();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".postgresql");
    std::fs::create_dir(&folder).unwrap();
    let (own, its_key) = (folder.join("postgresql.crt"), folder.join("postgresql.key"));
    std::fs::write(&own, &certificate).unwrap();
    std::fs::write(&its_key, &key).unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let named = format!(
        "{url}?sslcert={}&sslkey={}",
        own.display(),
        its_key.display()
    );
    let storage = connect(&named).unwrap();
    storage.store(&numbered(2)).unwrap();
    assert_eq!(storage.count(&Query::new()).unwrap(), 2);
    let error = connect(&format!("{url}?sslmode=disable")).unwrap_err();
    assert!(!error.is_retryable(), "{}", shown(&error));

    #[cfg(feature = "cli")]
    {
        let count = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_samplestore"));
            command.args(["--db", &url, "count"]);
            command.env("HOME", home.path()).output().unwrap()
        };
        let answer = count();
        let told = String::from_utf8_lossy(&answer.stdout);
        assert_eq!(told.trim(), "2", "{answer:?}");
        // Why it was passed over is told where nothing else lets us in.
        let encrypted = String::from_utf8(key).unwrap();
        let encrypted = encrypted.replace(" PRIVATE KEY", " ENCRYPTED PRIVATE KEY");
        std::fs::write(&its_key, encrypted).unwrap();
        let answer = count();
        assert!(!answer.status.success(), "{answer:?}");
        let told = String::from_utf8_lossy(&answer.stderr);
        let why = format!("{} is passed over", own.display());
        assert!(told.contains(&why) && told.contains("encrypted"), "{told}");
    }
}

#[test]
fn a_socket_asks_for_no_certificate() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.schema());
    let files = "sslcert=/none&sslkey=/none&sslrootcert=/none";
    for mode in ["prefer", "require", "verify-full"] {
        connect(&format!("{url}&sslmode={mode}&{files}")).unwrap();
    }
}

/// Takes connections and says nothing, as a machine does whose processes stand still.
#[test]
fn beside_a_silent_server_the_next_one_is_asked() {
    let Some(mut server) = Server::prepare() else {
        return;
    };
    let port = free_port();
    server.listen(port, &[]);
    server.restart();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let at = |hosts: &str| {
        connect(&format!(
            "postgres://postgres@{hosts}/postgres?connect_timeout=1&sslmode=disable"
        ))
    };
    let url_of = |port: u16| format!("127.0.0.1:{port}");
    for hosts in [
        format!("{silent},{}", url_of(port)),
        format!("{},{silent},{}", url_of(free_port()), url_of(port)),
        format!("{},{silent}", url_of(port)),
    ] {
        let storage = at(&hosts).unwrap();
        storage.store(&numbered(2)).unwrap();
        assert_eq!(storage.count(&Query::new()).unwrap(), 2, "{hosts}");
    }
    for hosts in [silent.to_string(), format!("{silent},{silent}")] {
        let error = at(&hosts).unwrap_err();
        let found = (error.kind(), error.is_retryable());
        assert_eq!(found, (ErrorKind::Io, true), "{}", shown(&error));
        assert!(shown(&error).contains("within 1 s"), "{}", shown(&error));
    }
}

/// The command, whose environment can be set.
#[cfg(feature = "cli")]
#[test]
fn the_environment_of_libpq_says_where() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    connect(&server.url(&schema))
        .unwrap()
        .store(&numbered(3))
        .unwrap();
    let schema = schema.replace(' ', "%20").replace('"', "%22");
    let count = |db: &str, host: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samplestore"));
        command.args(["--db", db, "count"]).env("PGHOST", host);
        command
            .env("PGUSER", "postgres")
            .env("PGDATABASE", "postgres")
            .env("PGPORT", "5432");
        command.output().unwrap()
    };
    let answer = count(&format!("postgres://?schema={schema}"), server.folder());
    assert_eq!(
        String::from_utf8_lossy(&answer.stdout).trim(),
        "3",
        "{answer:?}"
    );
    // The URL goes before the environment.
    let url = format!(
        "postgres://?schema={schema}&host={}",
        server.folder().display()
    );
    let answer = count(&url, Path::new("/nowhere"));
    assert_eq!(
        String::from_utf8_lossy(&answer.stdout).trim(),
        "3",
        "{answer:?}"
    );
    let answer = count(
        &format!("postgres://?schema={schema}"),
        Path::new("/nowhere"),
    );
    assert!(!answer.status.success());
}
