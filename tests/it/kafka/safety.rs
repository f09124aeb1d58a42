//! Whom one talks to and as whom. That passwords are told to nobody: `secrets.rs`.

use samplestore::{ErrorKind, connect};

use super::numbered;
use crate::servers::kafka::Broker;
use crate::servers::{certificate, free_port};

#[test]
fn what_the_client_does_not_take_is_named() {
    for (option, told) in [
        ("security.protocol=tls", "security.protocol"),
        ("compression.type=rar", "compression.type"),
        (
            "ssl.ca.location=/none&security.protocol=ssl",
            "ssl.ca.location",
        ),
    ] {
        let Err(error) = connect(&format!("kafka://127.0.0.1:1/t?{option}")) else {
            panic!("{option} is taken");
        };
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
        assert!(error.to_string().contains(told), "{error}");
        assert!(!error.is_retryable());
    }
}

#[test]
fn tls_is_with_whom_it_should_be() {
    let Some((certificate, key)) = certificate() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (crt, pem) = (folder.path().join("crt"), folder.path().join("key"));
    std::fs::write(&crt, certificate).unwrap();
    std::fs::write(&pem, key).unwrap();
    let port = free_port();
    let Some(_broker) = Broker::start_behind_tls(port, &crt, &pem) else {
        return;
    };
    let url = |options: &str| {
        format!(
            "kafka://localhost:{port}/tls?security.protocol=ssl&\
             socket.connection.setup.timeout.ms=3000&partitions=1{options}"
        )
    };
    let trusted = format!("&ssl.ca.location={}", crt.display());
    let storage = connect(&url(&trusted)).unwrap();
    assert_eq!(storage.store(&numbered(3)).unwrap().inserted, 3);
    let Err(error) = connect(&url("")) else {
        panic!("a certificate of nobody is trusted");
    };
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Backend, false),
        "{error:?}"
    );
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// That a password is taken is not tested: this broker keeps no users.
#[test]
fn a_user_who_is_not_known_is_refused() {
    let Some(broker) = Broker::start_with(&["--authentication"]) else {
        return;
    };
    let options = "security.protocol=sasl_plaintext&sasl.mechanism=SCRAM-SHA-256";
    let timeout = "socket.connection.setup.timeout.ms=3000";
    let url = format!(
        "kafka://me:sesame@{}/topic?{options}&{timeout}",
        broker.servers()
    );
    let Err(error) = connect(&url) else {
        panic!("everybody is known");
    };
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Backend, false),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("do not take the credentials"),
        "{error}"
    );
    assert!(
        !format!("{error} {error:?}").contains("sesame"),
        "{error:?}"
    );
}
