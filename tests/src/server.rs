//! A server process under test: ours, or a real redis-server as the oracle.
//!
//! A [`Server`] owns its process, its port and its directory. Dropping it kills the process by its pid and removes the
//! directory. [`Server::kill`] and [`Server::start_again`] leave the directory as it is, which is what a crash does.
//!
//! With `ANNULUS_TEST_TARGET=redis` every server is a redis-server: so the tests themselves are tested.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use tempfile::TempDir;

use crate::{
    binaries,
    process::{self, PATIENCE, poll_until, wait_exit},
    resp::Connection,
};

/// Ports are taken from below the range that the kernel gives to outgoing connections (from 32768).
const PORT_FIRST: u16 = 11_000;
const PORT_LAST: u16 = 31_000;
/// Ports in a row that belong to one server: its own, and one for each shard when `cluster-ports` is on.
const PORTS_EACH: u16 = 8;

/// Both drivers, for tests that run on each.
pub const DRIVERS: [&str; 2] = ["uring", "epoll"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Annulus,
    Redis,
}

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Setup {
    program: Program,
    shards: usize,
    driver: &'static str,
    durability: &'static str,
    /// What `ulimit` is to be told.
    file_limit: Option<String>,
    dir: Option<PathBuf>,
    port: Option<u16>,
    unixsocket: bool,
    segment_size: &'static str,
    binary: Option<PathBuf>,
    arguments: Vec<String>,
}

impl Setup {
    /// The server under test: durability `none`, one shard and the automatic driver unless told otherwise.
    pub fn annulus() -> Self {
        let program = if target_is_redis() { Program::Redis } else { Program::Annulus };
        Self {
            program,
            shards: 1,
            driver: "auto",
            durability: "none",
            file_limit: None,
            dir: None,
            port: None,
            unixsocket: false,
            // Small, because segments are written with zeros before use and these tests start many servers.
            segment_size: "4mb",
            binary: None,
            arguments: Vec::new(),
        }
    }

    /// The oracle.
    pub fn redis() -> Self {
        Self { program: Program::Redis, ..Self::annulus() }
    }

    /// How many shards.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// `auto`, `uring` or `epoll`.
    #[must_use]
    pub fn driver(mut self, driver: &'static str) -> Self {
        self.driver = driver;
        self
    }

    /// `always`, `everysec` or `none`.
    #[must_use]
    pub fn durability(mut self, durability: &'static str) -> Self {
        self.durability = durability;
        self
    }

    /// The process's limit on open files, which it cannot raise.
    #[must_use]
    pub fn file_limit(mut self, files: u32) -> Self {
        self.file_limit = Some(format!("-n {files}"));
        self
    }

    /// The process's limit on open files, which it may raise.
    #[must_use]
    pub fn soft_file_limit(mut self, files: u32) -> Self {
        self.file_limit = Some(format!("-S -n {files}"));
        self
    }

    /// A data directory that the caller made, and removes.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_path_buf());
        self
    }

    /// This port, which the caller knows to be free (or, on purpose, not to be).
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Listen on a Unix socket too; see [`Server::unix_path`].
    #[must_use]
    pub fn unixsocket(mut self) -> Self {
        self.unixsocket = true;
        self
    }

    /// The size of a log segment.
    #[must_use]
    pub fn segment_size(mut self, size: &'static str) -> Self {
        self.segment_size = size;
        self
    }

    /// Another build of ours, which takes the same arguments.
    #[must_use]
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_path_buf());
        self
    }

    /// Further arguments; the names are the same for both programs wherever both have them.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&each| each.to_owned()));
        self
    }

    /// Starts it and waits until it answers; panics with what it said when it does not.
    pub fn start(&self) -> Server {
        self.try_start().unwrap_or_else(|failed| panic!("{failed}\nsetup: {self:?}"))
    }

    /// Starts it and waits until it answers, or has ended.
    pub fn try_start(&self) -> Result<Server, Failed> {
        let home = Arc::new(scratch_dir());
        let data = self.dir.clone().unwrap_or_else(|| home.path().join("data"));
        self.launch(home, data, self.port.unwrap_or_else(free_port))
    }

    fn launch(&self, home: Arc<TempDir>, data: PathBuf, port: u16) -> Result<Server, Failed> {
        let mut server = self.spawn(home, data, port);
        server.wait_ready()?;
        Ok(server)
    }

    fn spawn(&self, home: Arc<TempDir>, data: PathBuf, port: u16) -> Server {
        // Ours makes its directory itself, redis-server does not.
        if self.program == Program::Redis {
            let _ = fs::create_dir_all(&data);
        }
        let log = home.path().join("server.log");
        let said =
            fs::OpenOptions::new().create(true).append(true).open(&log).expect("the log can be opened");
        let said_too = said.try_clone().expect("a file can be cloned");
        let mut command = self.command(home.path(), &data, port);
        command.stdin(Stdio::null()).stdout(said).stderr(said_too);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Server { setup: self.clone(), child, home, data, port }
    }

    fn command(&self, home: &Path, data: &Path, port: u16) -> Command {
        let mut arguments: Vec<String> = match self.program {
            Program::Annulus => self.annulus_arguments(),
            Program::Redis => self.redis_arguments(),
        };
        arguments.extend(["--port".into(), port.to_string(), "--bind".into(), "127.0.0.1".into()]);
        arguments.extend(["--dir".into(), data.display().to_string()]);
        if self.unixsocket {
            arguments.extend(["--unixsocket".into(), unix_path_in(home).display().to_string()]);
        }
        arguments.extend(self.arguments.iter().cloned());
        let binary = match (self.program, &self.binary) {
            (Program::Annulus, Some(path)) => path.clone(),
            (Program::Annulus, None) => binaries::annulus().to_path_buf(),
            (Program::Redis, _) => binaries::redis_server().into(),
        };
        let mut command = match &self.file_limit {
            None => Command::new(binary),
            // The limit is set by a shell that then becomes the server.
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"]).arg(binary);
                shell
            }
        };
        process::without_our_settings(&mut command);
        command.args(arguments).current_dir(home);
        command
    }

    fn annulus_arguments(&self) -> Vec<String> {
        let shards = self.shards.to_string();
        let pairs = [
            ("--shards", shards.as_str()),
            ("--io-driver", self.driver),
            ("--durability", self.durability),
            ("--log-segment-size", self.segment_size),
        ];
        let pairs = pairs.iter().flat_map(|&(name, value)| [name.to_owned(), value.to_owned()]);
        std::iter::once("serve".to_owned()).chain(pairs).collect()
    }

    fn redis_arguments(&self) -> Vec<String> {
        let (append_only, fsync) = match self.durability {
            "none" => ("no", "no"),
            fsync => ("yes", fsync),
        };
        let fixed = ["--save", "", "--protected-mode", "no", "--auto-aof-rewrite-percentage", "0"];
        let append = ["--appendonly", append_only, "--appendfsync", fsync];
        fixed.iter().chain(&append).map(|&each| each.to_owned()).collect()
    }
}

/// Whether the tests were told to run against redis-server instead of ours.
pub fn target_is_redis() -> bool {
    env::var("ANNULUS_TEST_TARGET").is_ok_and(|target| target == "redis")
}

/// A start that ended before the server answered.
#[derive(Debug)]
pub struct Failed {
    /// How the process ended; `None` if it ran on without answering and was killed.
    pub status: Option<ExitStatus>,
    /// All that it said.
    pub log: String,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "the server did not start ({:?}); it said:\n{}", self.status, self.log)
    }
}

/// A running server (or, after [`Server::kill`] or [`Server::stop`], one that can be started again).
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    child: Child,
    home: Arc<TempDir>,
    data: PathBuf,
    port: u16,
}

impl Server {
    fn wait_ready(&mut self) -> Result<(), Failed> {
        let state = poll_until(PATIENCE, || {
            if let Some(status) = self.child.try_wait().expect("a child of ours can be waited for") {
                return Some(Err(status));
            }
            self.answers().then_some(Ok(()))
        });
        match state {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => Err(Failed { status: Some(status), log: self.log() }),
            None => Err(Failed { status: None, log: self.log() }),
        }
    }

    /// Any reply will do (a server with a password answers a PING with an error), but that it is still loading.
    fn answers(&self) -> bool {
        let connected =
            if self.port == 0 { Connection::unix(&self.unix_path()) } else { Connection::tcp(self.port) };
        let reply = connected.and_then(|mut connection| connection.try_command(&["PING"]));
        reply.is_ok_and(|reply| !reply.bytes().is_some_and(|text| text.starts_with(b"LOADING")))
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of one shard, when `cluster-ports` is on.
    pub fn shard_port(&self, shard: usize) -> u16 {
        self.port + 1 + u16::try_from(shard).expect("few shards")
    }

    /// Where its Unix socket is, if its setup has one.
    pub fn unix_path(&self) -> PathBuf {
        unix_path_in(self.home.path())
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::tcp(self.port).unwrap_or_else(|error| panic!("cannot connect: {error}\n{}", self.log()))
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Everything that it has written to stdout and stderr, over all its starts.
    pub fn log(&self) -> String {
        fs::read(self.home.path().join("server.log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours can be waited for").is_none()
    }

    /// `kill -9`: the process is gone when this returns.
    pub fn kill(&mut self) {
        process::signal(&self.child, Signal::KILL);
        self.child.wait().expect("a child of ours can be waited for");
    }

    /// SIGTERM, and how the process ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.stop_with(Signal::TERM)
    }

    /// Asks the process to end with a signal, and says how it ended.
    pub fn stop_with(&mut self, signal: Signal) -> ExitStatus {
        process::signal(&self.child, signal);
        self.wait_end(PATIENCE)
    }

    /// Waits until the process has ended by itself.
    pub fn wait_end(&mut self, patience: Duration) -> ExitStatus {
        wait_exit(&mut self.child, patience)
            .unwrap_or_else(|| panic!("the server does not end; it said:\n{}", self.log()))
    }

    /// Starts it again on the same directory and port, after it has ended.
    pub fn start_again(&mut self) {
        let setup = self.setup.clone();
        self.start_again_as(&setup);
    }

    /// Starts it again on the same directory and port, otherwise as `setup` says.
    pub fn start_again_as(&mut self, setup: &Setup) {
        let started = self.try_start_again_as(setup);
        started.unwrap_or_else(|failed| panic!("{failed}\nsetup: {setup:?}"));
    }

    /// [`Server::start_again_as`], where a start that fails is an answer.
    pub fn try_start_again_as(&mut self, setup: &Setup) -> Result<(), Failed> {
        assert!(!self.is_running(), "a server is started again after it has ended");
        *self = setup.launch(Arc::clone(&self.home), self.data.clone(), self.port)?;
        Ok(())
    }

    /// Starts it again on the same directory and kills it before it is ready.
    pub fn start_and_kill_at_once(&mut self, setup: &Setup) {
        assert!(!self.is_running(), "a server is started again after it has ended");
        *self = setup.spawn(Arc::clone(&self.home), self.data.clone(), self.port);
        self.kill();
    }

    /// Processor time that the process has used, in the kernel's ticks (hundredths of a second).
    pub fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // Behind the name, which may contain anything: state is field 3, user and system time are 14 and 15.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        ticks(11)
            .zip(ticks(12))
            .map_or_else(|| panic!("no times in {stat:?}"), |(user, system)| user + system)
    }

    /// Sets the running process's own limit on open files, up to the one that it cannot raise.
    pub fn limit_files(&self, files: u32) {
        let pid = Some(Pid::from_child(&self.child));
        let limit = Rlimit { current: Some(files.into()), ..getrlimit(Resource::Nofile) };
        prlimit(pid, Resource::Nofile, limit).expect("the limit of a child of ours can be set");
    }

    /// Resident memory of the process in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("no resident size of pid {}: {status}", self.pid())) * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- {:?} said:\n{}", self.setup.program, tail(&self.log(), 40));
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn unix_path_in(home: &Path) -> PathBuf {
    home.join("s.sock")
}

/// A directory of a test's own, on the disk that holds the build (temporary directories are often in memory, where
/// direct I/O is another thing).
pub fn scratch_dir() -> TempDir {
    let parent = binaries::scratch_parent();
    tempfile::Builder::new().prefix("t-").tempdir_in(parent).expect("a scratch directory can be made")
}

/// The first of a few free ports in a row. Tests of one process never get the same; others' are seen by binding.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let blocks = (PORT_LAST - PORT_FIRST) / PORTS_EACH;
    let start = std::process::id() as u16;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..blocks {
        let block = start.wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % blocks;
        let first = PORT_FIRST + block * PORTS_EACH;
        if (first..first + PORTS_EACH).all(free) {
            return first;
        }
    }
    panic!("no free ports between {PORT_FIRST} and {PORT_LAST}");
}
