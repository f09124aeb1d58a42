//! TLS by rustls, as far as libpq's `sslmode` asks for it.
//!
//! | `sslmode` | TLS | the server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `allow`, `prefer` (default) | if the server has it | not looked at |
//! | `require` | yes | not looked at, unless there are root certificates |
//! | `verify-ca` | yes | of a known authority |
//! | `verify-full` | yes | of a known authority, for this host |
//!
//! Root certificates are those of `sslrootcert`, else of `~/.postgresql/root.crt`, else, to verify, the
//! system's, which `sslrootcert=system` names too. Our own certificate is that of `sslcert` and `sslkey`, else
//! of `~/.postgresql/postgresql.crt` and `postgresql.key`; these two are there for other programs too, and are passed over if they
//! cannot be read, since most servers do not ask for them. Where there is no TLS, as over a socket of this machine, nothing of all this is
//! read.
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error as TlsError,
    RootCertStore, SignatureScheme,
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::backend::Location;
use crate::error::{Error, ErrorKind, Result};

const OPERATION: &str = "prepare TLS";
/// The protocol's name for a server that has several: RFC 7301.
const ALPN: &[u8] = b"postgresql";

/// What is to be had of TLS.
#[derive(Debug)]
pub(super) struct Tls {
    mode: SslMode,
    verify: Verify,
    roots: Roots,
    /// Our own certificate and its key.
    login: Option<Login>,
}

#[derive(Debug)]
struct Login {
    certificate: PathBuf,
    key: PathBuf,
    /// Whether somebody named these files.
    is_given: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verify {
    Nothing,
    Authority,
    All,
}

#[derive(Debug, PartialEq, Eq)]
enum Roots {
    System,
    File(PathBuf),
}

/// Reads the parameters that are about TLS.
pub(super) fn settings(
    location: &Location,
    parameters: &mut BTreeMap<&'static str, String>,
    home: Option<&Path>,
) -> Result<Tls> {
    let (mode, verify) = match parameters.get("sslmode").map_or("prefer", String::as_str) {
        "disable" => (SslMode::Disable, Verify::Nothing),
        "allow" | "prefer" => (SslMode::Prefer, Verify::Nothing),
        "require" => (SslMode::Require, Verify::Nothing),
        "verify-ca" => (SslMode::Require, Verify::Authority),
        "verify-full" => (SslMode::Require, Verify::All),
        _ => {
            return Err(location.invalid(
                "the option sslmode must be disable, allow, prefer, require, verify-ca or verify-full",
            ));
        }
    };
    let default = || {
        let file = home?.join(".postgresql/root.crt");
        file.exists().then_some(Roots::File(file))
    };
    let given = parameters
        .get("sslrootcert")
        .map(|file| match file.as_str() {
            "system" => Roots::System,
            file => Roots::File(PathBuf::from(file)),
        });
    let roots = given.or_else(default);
    let verify = match (mode, verify, &roots) {
        (SslMode::Require, Verify::Nothing, Some(Roots::File(_))) => Verify::Authority,
        // The system's authorities sign for anybody, so only the name tells servers apart.
        (SslMode::Require, _, Some(Roots::System)) => Verify::All,
        _ => verify,
    };
    let file = |name| parameters.get(name).map(PathBuf::from);
    let login = match (file("sslcert"), file("sslkey")) {
        (Some(certificate), Some(key)) => Some(Login {
            certificate,
            key,
            is_given: true,
        }),
        (None, None) => own_files(home),
        _ => return Err(location.invalid("sslcert and sslkey go together")),
    };
    Ok(Tls {
        mode,
        verify,
        roots: roots.unwrap_or(Roots::System),
        login,
    })
}

/// The certificate that libpq logs in with unless it is told otherwise, if there is one.
fn own_files(home: Option<&Path>) -> Option<Login> {
    let folder = home?.join(".postgresql");
    let login = Login {
        certificate: folder.join("postgresql.crt"),
        key: folder.join("postgresql.key"),
        is_given: false,
    };
    (login.certificate.exists() && login.key.exists()).then_some(login)
}

impl Tls {
    /// For servers that have none.
    pub(super) fn disable(&mut self) {
        (self.mode, self.verify) = (SslMode::Disable, Verify::Nothing);
    }

    pub(super) fn mode(&self) -> SslMode {
        self.mode
    }

    /// Reads the certificates that are needed. The second is why our own one was passed over, if it was.
    pub(super) fn connector(&self) -> Result<(MakeRustlsConnect, Option<String>)> {
        let provider = Arc::new(ring::default_provider());
        let builder = || {
            Ok(ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|cause| failed("the protocol's versions").with_cause(cause))?
                .dangerous()
                .with_custom_certificate_verifier(self.verifier(&provider)?))
        };
        let login = self.login.as_ref();
        let login = login.filter(|_| self.mode != SslMode::Disable);
        let (mut config, passed_over) = match login {
            None => (builder()?.with_no_client_auth(), None),
            Some(login) => match login.read(builder()?) {
                Ok(config) => (config, None),
                Err(error) if login.is_given => return Err(error),
                Err(error) => {
                    let why = format!("{} is passed over: {error}", login.certificate.display());
                    (builder()?.with_no_client_auth(), Some(why))
                }
            },
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok((MakeRustlsConnect::new(config), passed_over))
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        let lenient = |authorities| Lenient {
            provider: Arc::clone(provider),
            authorities,
        };
        if self.verify == Verify::Nothing {
            return Ok(Arc::new(lenient(None)));
        }
        let mut roots = RootCertStore::empty();
        match &self.roots {
            Roots::System => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
            Roots::File(file) => {
                for certificate in certificates(file)? {
                    let added = roots.add(certificate);
                    added.map_err(|cause| failed(file.display()).with_cause(cause))?;
                }
            }
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = verifier.build().map_err(|cause| {
            let error = failed("root certificates").with_cause(cause);
            error.with_message("there are none; name a file of them with sslrootcert")
        })?;
        Ok(match self.verify {
            Verify::All => verifier,
            _ => Arc::new(lenient(Some(verifier))),
        })
    }
}

impl Login {
    fn read(&self, builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> Result<ClientConfig> {
        let certificates = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|cause| {
            let error = failed(self.key.display()).with_cause(cause);
            error.with_message("no key can be read there; one that is encrypted is none here")
        })?;
        builder
            .with_client_auth_cert(certificates, key)
            .map_err(|cause| failed(self.certificate.display()).with_cause(cause))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|cause| failed(file.display()).with_cause(cause))
}

fn failed(subject: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidArgument, OPERATION).with_subject(subject)
}

/// Looks at less of a certificate than rustls does on its own. Of its key the server must have the secret
/// part in any case.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Takes certificates of known authorities, whatever host they are for; every one without it.
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is looked at last, when all else is as it should be.
        match authorities.verify_server_cert(certificate, between, name, ocsp, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::postgres::config::Settings;

    #[test]
    fn an_own_key_that_cannot_be_read_is_passed_over_unless_it_was_named() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".postgresql");
        std::fs::create_dir(&folder).unwrap();
        let pem = |what: &str| format!("-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n");
        let (certificate, key) = (folder.join("postgresql.crt"), folder.join("postgresql.key"));
        std::fs::write(&certificate, pem("CERTIFICATE")).unwrap();
        std::fs::write(&key, pem("ENCRYPTED PRIVATE KEY")).unwrap();
        let location: Location = "postgres://h".parse().unwrap();
        for (mode, is_named, is_read) in [
            ("disable", false, false),
            ("disable", true, false),
            ("prefer", false, true),
            ("require", false, true),
            ("prefer", true, true),
        ] {
            let mut parameters = BTreeMap::from([("sslmode", mode.to_owned())]);
            if is_named {
                for (name, file) in [("sslcert", &certificate), ("sslkey", &key)] {
                    parameters.insert(name, file.display().to_string());
                }
            }
            let tls = settings(&location, &mut parameters, Some(home.path())).unwrap();
            match tls.connector() {
                Ok((_, passed_over)) => {
                    assert!(!is_named || !is_read, "{mode}");
                    assert_eq!(passed_over.is_some(), is_read, "{mode}");
                    let told = passed_over.is_none_or(|why| why.contains("encrypted"));
                    assert!(told, "{mode}");
                }
                Err(error) => assert!(is_named && is_read, "{mode}: {error}"),
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_has_no_tls() {
        let read = |url: &str| Settings::read(&url.parse()?, |_| None);
        let files = "sslmode=require&sslcert=/none&sslkey=/none";
        for (host, mode) in [
            ("%2Ftmp", SslMode::Disable),
            ("%2Ftmp,%2Fvar", SslMode::Disable),
            ("%2Ftmp,host", SslMode::Require),
            ("host", SslMode::Require),
        ] {
            let settings = read(&format!("postgres://{host}/db?{files}")).unwrap();
            assert_eq!(settings.client.get_ssl_mode(), mode, "{host}");
            let is_read = settings.tls.connector().is_err();
            assert_eq!(is_read, mode == SslMode::Require, "{host}");
        }
        // The name of a folder, and an address of another machine.
        let url = format!("postgres://%2Ftmp/db?hostaddr=127.0.0.1&{files}");
        let settings = read(&url).unwrap();
        assert_eq!(settings.client.get_ssl_mode(), SslMode::Require);
    }
}
