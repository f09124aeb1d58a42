//! [`Connector`]: connections to the first of several servers that lets us in.
//!
//! As libpq has it, each address has the time of `connect_timeout` for all that it takes to be let in. The client by itself gives
//! it that for TCP alone, and the pool would give it to all of them together: beside a server that takes connections and says
//! nothing, or of which nothing comes back at all, the next one would never be asked. A server that refuses the user, the password or
//! the database is the last one that is asked: what another one says would hide that.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::{Client, Config, Error as PgError, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::is_refusal;
use crate::retry::random;

/// Where a server listens of which nothing else is said.
const PORT: u16 = 5432;

/// One of the servers that a URL names.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) host: Option<Host>,
    /// Where it is, if that is not to be looked up.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

impl Server {
    /// Those that settings of the client name; `None` where it is not clear which port or address belongs to which.
    pub(super) fn named_in(client: &Config) -> Option<Vec<Self>> {
        let (hosts, addresses) = (client.get_hosts(), client.get_hostaddrs());
        let ports = client.get_ports();
        let count = hosts.len().max(addresses.len());
        let fits = |given: usize| given == 0 || given == count;
        if !fits(hosts.len()) || !fits(addresses.len()) || !(fits(ports.len()) || ports.len() == 1)
        {
            return None;
        }
        let server = |at: usize| Self {
            host: hosts.get(at).cloned(),
            address: addresses.get(at).copied(),
            port: *ports.get(at).or(ports.first()).unwrap_or(&PORT),
        };
        Some((0..count).map(server).collect())
    }

    /// Whether it is a socket of this machine, where there is no TLS.
    pub(super) fn is_socket(&self) -> bool {
        let is_named = self.host.as_ref().is_some_and(|host| match host {
            Host::Tcp(_) => false,
            #[cfg(unix)]
            Host::Unix(_) => true,
        });
        is_named && self.address.is_none()
    }
}

/// Connects to one of some servers.
pub(super) struct Connector {
    /// All but where they are.
    pub(super) client: Config,
    pub(super) servers: Vec<Server>,
    pub(super) tls: MakeRustlsConnect,
    /// For each address.
    pub(super) timeout: Duration,
}

type Connected = Result<(Client, JoinHandle<()>), PgError>;

impl Connect for Connector {
    fn connect(&self, _: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        Box::pin(self.first())
    }
}

impl Connector {
    /// The first one that lets us in, or why the last one did not.
    async fn first(&self) -> Connected {
        let mut failure = None;
        for server in in_turn(self.servers.clone(), &self.client) {
            for server in in_turn(self.located(server).await, &self.client) {
                match tokio::time::timeout(self.timeout, self.connect_to(&server)).await {
                    Ok(Ok(connected)) => return Ok(connected),
                    Ok(Err(error)) if is_refusal(&error) => return Err(error),
                    Ok(Err(error)) => failure = Some(error),
                    Err(_) => failure = self.silence().await,
                }
            }
        }
        match failure {
            Some(failure) => Err(failure),
            // Without a server the client has an error of its own.
            None => self.connect_by(&self.client).await,
        }
    }

    /// A server at each of its addresses; as it is where they cannot be looked up, for which the client has an error.
    async fn located(&self, server: Server) -> Vec<Server> {
        let (Some(Host::Tcp(name)), None) = (&server.host, server.address) else {
            return vec![server];
        };
        let looking = tokio::net::lookup_host((name.as_str(), server.port));
        let located = match tokio::time::timeout(self.timeout, looking).await {
            Ok(Ok(found)) => found
                .map(|at| Server {
                    address: Some(at.ip()),
                    ..server.clone()
                })
                .collect(),
            _ => Vec::new(),
        };
        match located.is_empty() {
            true => vec![server],
            false => located,
        }
    }

    async fn connect_to(&self, server: &Server) -> Connected {
        let mut client = self.client.clone();
        match &server.host {
            Some(Host::Tcp(name)) => {
                client.host(name);
            }
            #[cfg(unix)]
            Some(Host::Unix(folder)) => {
                client.host_path(folder);
            }
            None => {}
        }
        if server.is_socket() {
            client.ssl_mode(SslMode::Disable);
        }
        if let Some(address) = server.address {
            client.hostaddr(address);
        }
        client.port(server.port);
        self.connect_by(&client).await
    }

    async fn connect_by(&self, client: &Config) -> Connected {
        let (client, connection) = client.connect(self.tls.clone()).await?;
        // Why a connection ends is told to whoever waits for an answer.
        let driven = tokio::spawn(async move { drop(connection.await) });
        Ok((client, driven))
    }

    /// The client's error for an address that does not answer. It makes its errors itself, so it is given a connection that ends so.
    async fn silence(&self) -> Option<PgError> {
        let mut client = self.client.clone();
        client.ssl_mode(SslMode::Disable);
        client.connect_raw(Silent(self.timeout), NoTls).await.err()
    }
}

/// In the order in which they are asked.
fn in_turn(mut servers: Vec<Server>, client: &Config) -> Vec<Server> {
    if client.get_load_balance_hosts() == LoadBalanceHosts::Random {
        for at in (1..servers.len()).rev() {
            servers.swap(at, (random() * (at + 1) as f64) as usize);
        }
    }
    servers
}

/// A connection over which nothing came for so long.
struct Silent(Duration);

impl Silent {
    fn error<T>(&self) -> Poll<io::Result<T>> {
        let told = format!(
            "the server did not let us in within {} s",
            self.0.as_secs_f64()
        );
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, told)))
    }
}

impl AsyncRead for Silent {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.error()
    }
}

impl AsyncWrite for Silent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.error()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.error()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
