//! How an embedded store is opened, and what can go wrong with it.

use std::{fmt, path::PathBuf, time::Duration};

use annulus::{
    admin::{Pin, Settings, setting},
    start::ServeError,
};
use annulus_storage::{Durability, OpenError};

/// How to open an embedded store.
///
/// ```
/// use annulus_client::{Durability, EmbeddedOptions};
///
/// let options = EmbeddedOptions::new()
///     .cores([2, 3])
///     .durability(Durability::EverySec)
///     .setting("maxmemory", "1gb")?;
/// # Ok::<(), annulus_client::StoreError>(())
/// ```
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    pub(crate) settings: Settings,
    pub(crate) database: u16,
    pub(crate) spin: Duration,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl EmbeddedOptions {
    /// One shard, on whichever core is free; every acknowledged write on disk; no port. All else as `annulus serve` has it.
    pub fn new() -> Self {
        let settings = Settings { port: 0, shards: 1, pin: Pin::No, ..Settings::default() };
        Self { settings, database: 0, spin: Duration::from_micros(10) }
    }

    /// A shard on each of these cores, where it stays. Best are cores that the program's own threads leave alone.
    #[must_use]
    pub fn cores(mut self, cores: impl IntoIterator<Item = usize>) -> Self {
        let cores: Vec<usize> = cores.into_iter().collect();
        self.settings.shards = cores.len();
        self.settings.pin = Pin::Cores(cores);
        self
    }

    /// So many shards, on whichever cores are free. A directory that was written by another number of them is taken over.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.settings.shards = shards;
        self.settings.pin = Pin::No;
        self
    }

    /// When a write is acknowledged; see `durability` in the server's configuration.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// The database of this program's commands.
    #[must_use]
    pub fn database(mut self, database: u16) -> Self {
        self.database = database;
        self
    }

    /// How long a waiting call (of [`blocking::Client`](crate::blocking::Client)) looks for its reply before it sleeps; 10 µs at
    /// first. How long a shard looks for work is the setting `spin-us`.
    #[must_use]
    pub fn spin(mut self, time: Duration) -> Self {
        self.spin = time;
        self
    }

    /// Serves connections too, at this port of the local machine; for other addresses there's the setting `bind`.
    #[must_use]
    pub fn listen(mut self, port: u16) -> Self {
        self.settings.port = port;
        self
    }

    /// Serves connections too, at this Unix socket.
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.unixsocket = Some(path.into());
        self
    }

    /// Any setting of the server, by the name and with the values of its configuration.
    pub fn setting(mut self, name: &str, value: &str) -> Result<Self, StoreError> {
        let found =
            setting(name).ok_or_else(|| StoreError::Settings(format!("there's no setting '{name}'")))?;
        found
            .update(&mut self.settings, value)
            .map_err(|message| StoreError::Settings(format!("{name}: {message}")))?;
        Ok(self)
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let shards = self.settings.shards;
        if shards == 0 || shards as i64 > annulus::admin::SHARDS_MAX {
            return Err(StoreError::Settings(format!(
                "{shards} shards, possible are 1 to {}",
                annulus::admin::SHARDS_MAX
            )));
        }
        if u32::from(self.database) >= self.settings.databases {
            return Err(StoreError::Settings(format!(
                "there's no database {}, but {} of them",
                self.database, self.settings.databases
            )));
        }
        self.settings.check_embedded().map_err(StoreError::Settings)
    }
}

/// Why an embedded store could not be opened, or not be closed in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another store of this one, has the data directory.
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it, if that's known.
        holder_pid: Option<u32>,
    },
    /// A newer version has written the data directory.
    NewerFormat {
        /// The directory's manifest.
        path: PathBuf,
        /// The version of its format.
        found: u32,
    },
    /// The directory holds something else, or a part of a store: nothing in it was touched.
    NotAStore(String),
    /// What is in the directory is damaged; the message says where, and the way out.
    Damaged(String),
    /// The options contradict each other, or the machine.
    Settings(String),
    /// An address cannot be listened on.
    Listen(String),
    /// The system has refused something.
    System(String),
    /// The store has stopped, but its log could not be sealed. What was acknowledged is on disk as far as the durability says.
    Unclean(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { dir, holder_pid: Some(pid) } => {
                write!(formatter, "data directory {} is in use by process {pid}", dir.display())
            }
            Self::InUse { dir, holder_pid: None } => {
                write!(formatter, "data directory {} is in use", dir.display())
            }
            Self::NewerFormat { path, found } => write!(
                formatter,
                "{} has format version {found}, which is newer than this program",
                path.display()
            ),
            Self::NotAStore(text)
            | Self::Damaged(text)
            | Self::Settings(text)
            | Self::Listen(text)
            | Self::System(text)
            | Self::Unclean(text) => formatter.write_str(text),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<ServeError> for StoreError {
    fn from(error: ServeError) -> Self {
        let text = error.to_string();
        match error {
            ServeError::Directory(error) => match error {
                OpenError::Locked { path, holder_pid } => Self::InUse { dir: path, holder_pid },
                OpenError::NewerFormat { path, found } => Self::NewerFormat { path, found },
                OpenError::Foreign { .. } | OpenError::ManifestMissing { .. } => Self::NotAStore(text),
                OpenError::ManifestDamaged { .. } => Self::Damaged(text),
                OpenError::Shards { .. } => Self::Settings(text),
                OpenError::Io { .. } => Self::System(text),
            },
            ServeError::Recovery { .. } => Self::Damaged(text),
            ServeError::Driver(_) | ServeError::System { .. } => Self::System(text),
            ServeError::Listen { .. } => Self::Listen(text),
            ServeError::Unclean => Self::Unclean(text),
        }
    }
}
