//! How each server is started, with flags that are fair to it.

use std::io::{self, Error};
use std::path::{Path, PathBuf};

use super::load::find_program;
use super::process::Server;

/// Where the servers are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The server that this project makes.
    pub annulus: Option<PathBuf>,
    /// The peer that everybody knows.
    pub redis: Option<PathBuf>,
    /// Its open successor.
    pub valkey: Option<PathBuf>,
    /// The floor.
    pub echo: Option<PathBuf>,
}

impl Binaries {
    /// `annulus` and `echo` beside this program, the peers on the search path.
    pub fn find() -> io::Result<Self> {
        let directory = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
        let beside = |name: &str| Some(directory.join(name)).filter(|path| path.is_file());
        Ok(Self {
            annulus: beside("annulus"),
            redis: find_program("redis-server"),
            valkey: find_program("valkey-server"),
            echo: beside("echo"),
        })
    }
}

/// When a write is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Never: no persistence.
    None,
    /// Before its reply.
    Always,
}

/// A server to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Annulus { durability: Durability, shards: usize, cluster_ports: bool },
    Redis(Durability),
    Valkey(Durability),
    Echo,
}

impl Kind {
    /// One shard of our own.
    pub(super) fn annulus(durability: Durability) -> Self {
        Self::Annulus { durability, shards: 1, cluster_ports: false }
    }

    /// What reports call it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Annulus { .. } => "annulus".to_owned(),
            Self::Redis(_) => "redis-server".to_owned(),
            Self::Valkey(_) => "valkey-server".to_owned(),
            Self::Echo => "echo".to_owned(),
        }
    }

    /// The program, or none when it's not there: reports then say so.
    pub(super) fn program(self, binaries: &Binaries) -> Option<&Path> {
        match self {
            Self::Annulus { .. } => binaries.annulus.as_deref(),
            Self::Redis(_) => binaries.redis.as_deref(),
            Self::Valkey(_) => binaries.valkey.as_deref(),
            Self::Echo => binaries.echo.as_deref(),
        }
    }

    /// Its arguments.
    pub(super) fn arguments(self, port: u16, directory: &Path) -> Vec<String> {
        let directory = directory.display().to_string();
        let mut words: Vec<String> = Vec::new();
        let mut add = |options: &[(&str, &str)]| {
            words.extend(options.iter().flat_map(|&(option, value)| [option.to_owned(), value.to_owned()]));
        };
        let port = port.to_string();
        match self {
            Self::Annulus { durability, shards, cluster_ports } => {
                add(&[
                    ("--port", &port),
                    ("--dir", &format!("{directory}/data")),
                    ("--shards", &shards.to_string()),
                ]);
                add(&[("--bind", "127.0.0.1"), ("--maxclients", "15000")]);
                add(&[(
                    "--durability",
                    match durability {
                        Durability::None => "none",
                        Durability::Always => "always",
                    },
                )]);
                if cluster_ports {
                    add(&[("--cluster-ports", "yes")]);
                }
            }
            Self::Redis(durability) | Self::Valkey(durability) => {
                add(&[("--port", &port), ("--dir", &directory), ("--save", ""), ("--protected-mode", "no")]);
                add(&[("--maxclients", "15000"), ("--auto-aof-rewrite-percentage", "0")]);
                match durability {
                    Durability::None => add(&[("--appendonly", "no")]),
                    Durability::Always => add(&[("--appendonly", "yes"), ("--appendfsync", "always")]),
                }
            }
            Self::Echo => add(&[("--port", &port)]),
        }
        words
    }

    /// Starts it on `cores`.
    pub(super) fn start(self, binaries: &Binaries, cores: &str, data: &Path) -> io::Result<Server> {
        let name = self.name();
        let program = self.program(binaries).ok_or_else(|| Error::other(format!("there's no {name}")))?;
        Server::start(program, cores, data, |port, directory| self.arguments(port, directory))
            .map_err(|error| Error::new(error.kind(), format!("{name}: {error}")))
    }
}

/// A server of our own or a redis-server, for benchmarks of clients. It ends when this is dropped.
#[derive(Debug)]
pub struct Served(Server);

impl Served {
    /// Starts `annulus` (one shard) or redis-server on these cores, its data below `data`, without durability: what is measured is clients.
    pub fn start(binaries: &Binaries, is_redis: bool, cores: &str, data: &Path) -> io::Result<Self> {
        let kind = if is_redis { Kind::Redis(Durability::None) } else { Kind::annulus(Durability::None) };
        kind.start(binaries, cores, data).map(Self)
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.0.port
    }
}
