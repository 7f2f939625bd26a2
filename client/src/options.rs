//! What a client is told at its start. All bounds are here.

use std::{fmt, path::PathBuf, time::Duration};

use crate::{Result, url};

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Host name or address, and port.
    Tcp {
        /// A name, or an IPv4 or IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Which connection a command takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// All on one connection to the endpoint; the server does the rest.
    #[default]
    Single,
    /// One connection per node of `CLUSTER SLOTS` (for Annulus: per shard, with `--cluster-ports on`), each command to
    /// the owner of its first key. A server that shows no nodes is used as with `Single`.
    Shards,
}

/// How to connect, and the bounds of everything.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// The user; the server's default user if there's only a password.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The database.
    pub database: u32,
    /// The name that `CLIENT LIST` shows.
    pub client_name: Option<String>,
    /// Which connection a command takes.
    pub routing: Routing,
    /// Whether and how the connection is encrypted (`rediss://`). Not for Unix sockets.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::Tls>,
    /// Of connections whose replies are kept: who is told to forget them.
    pub(crate) cache: Option<std::sync::Arc<crate::cache::Store>>,
    /// To the shards of this process, instead of an endpoint.
    #[cfg(feature = "embedded")]
    pub(crate) doorway: Option<crate::embedded::Doorway>,
    /// How long a command may take in all, waiting for its turn included; one that has to follow its key to another shard
    /// starts anew. Also how long a silent server is believed to be alive.
    pub timeout: Duration,
    /// How long one attempt to connect may take, the handshake included.
    pub connect_timeout: Duration,
    /// Attempts to connect, one after the other, before waiting commands fail. The next command tries again.
    pub connect_attempts: u32,
    /// The pause after the first failed attempt; it doubles with each, up to [`Options::BACKOFF_MAX`].
    pub backoff: Duration,
    /// How often a command that only reads is sent again after the connection was lost.
    pub retries: u32,
    /// The most unanswered commands of a connection. Large ones count more than once: one more for each 16 KiB.
    pub in_flight: u32,
    /// With 16 replies or more due: for how long the connection's task looks for them before it sleeps, in between all other tasks
    /// that are ready. It saves waking it, which costs caller and server more than the replies themselves. Looks in vain are
    /// given up. Zero sleeps at once.
    pub spin: Duration,
}

impl Options {
    /// The longest pause between two attempts to connect.
    pub const BACKOFF_MAX: Duration = Duration::from_secs(1);

    /// The defaults for an endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            username: None,
            password: None,
            database: 0,
            client_name: None,
            routing: Routing::Single,
            #[cfg(feature = "tls")]
            tls: None,
            cache: None,
            #[cfg(feature = "embedded")]
            doorway: None,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            connect_attempts: 4,
            backoff: Duration::from_millis(20),
            retries: 2,
            in_flight: 4096,
            spin: Duration::from_micros(50),
        }
    }

    /// From a URL: `redis://[user][:password@]host[:port][/database]` or `unix:///path[?db=N]`; also with `?routing=shards`,
    /// `timeout_ms=…` and `name=…`. `rediss://` is the same encrypted (with the feature `tls`), trusting the machine's authorities or those
    /// in the PEM file of `?ca=…`. Parts may be percent-encoded.
    ///
    /// ```
    /// use annulus_client::{Endpoint, Options};
    ///
    /// let options = Options::from_url("redis://app:s%40crit@[::1]:7000/3?timeout_ms=250")?;
    /// assert_eq!(options.endpoint, Endpoint::Tcp { host: "::1".into(), port: 7000 });
    /// assert_eq!(options.password.as_deref(), Some("s@crit"));
    /// assert_eq!(options.database, 3);
    /// # Ok::<(), annulus_client::Error>(())
    /// ```
    pub fn from_url(url: &str) -> Result<Self> {
        url::parse(url)
    }

    /// The same, but to another endpoint.
    pub(crate) fn at(&self, endpoint: Endpoint) -> Self {
        Self { endpoint, ..self.clone() }
    }
}

/// Without the password, which must not reach a log.
impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("endpoint", &self.endpoint)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &self.database)
            .field("routing", &self.routing)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl TryFrom<&str> for Options {
    type Error = crate::Error;

    fn try_from(url: &str) -> Result<Self> {
        Self::from_url(url)
    }
}

impl TryFrom<String> for Options {
    type Error = crate::Error;

    fn try_from(url: String) -> Result<Self> {
        Self::from_url(&url)
    }
}
