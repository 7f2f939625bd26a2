//! Starting and stopping a server: the data directory, the listeners, the shards' threads, signals.

mod survey;

use std::fmt::{self, Write as _};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use annulus_storage::disk::Disk;
use annulus_storage::disk::blocking::{StdDisk, run_ready};
use annulus_storage::offline::NoLog;
use annulus_storage::{
    ClosedLog, DataDirectory, DirectoryOptions, Effect, Foresight, Log, LogOptions, OpenError, Opened,
    Outcomes, RecoveryError, RecoveryOptions, RecoveryReport, Replay, ShardId, Store, StoreOptions,
    recover_shard,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::survey::Surveyor;
use crate::admin::{IoDriver, Loaded, Pin, Settings, limits};
use crate::commands::ShardStore;
use crate::runtime::driver::Driver;
use crate::runtime::epoll::Epoll;
use crate::runtime::mesh::{MeshEnds, mesh};
use crate::runtime::peers::Peers;
use crate::runtime::porter::Porter;
use crate::runtime::prefault::Prefault;
use crate::runtime::uring::{self, Uring};
use crate::runtime::{
    AnyDriver, Clock, DriverChoice, DriverKind, Executor, Rng, RuntimeDisk, listen, threads,
};
use crate::shard::batch::Message;
use crate::shard::shared::{Facts, Shared};
use crate::shard::{Core, Shard, ShardParts, value_limits};

/// How often, and after what pause, an address in use is tried again: two seconds in all.
const BIND_RETRIES: u32 = 40;
/// Effects after which a shard tells how many it has applied.
const LOADED_STEP: u64 = 1 << 16;
/// How often a start that takes long says so.
const PROGRESS_PAUSE: Duration = Duration::from_secs(5);
/// See [`BIND_RETRIES`].
const BIND_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Why the server did not start, or did not stop cleanly.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by what they are")]
pub enum ServeError {
    /// `io-driver = "uring"`, and it can't be had.
    Driver(io::Error),
    /// An address or a path can't be listened on.
    Listen { what: String, error: io::Error },
    /// The data directory can't be used.
    Directory(OpenError),
    /// A shard's log can't be read.
    Recovery { shard: ShardId, error: RecoveryError },
    /// A thread, a ring or another thing of the system can't be had.
    System { what: String, error: io::Error },
    /// The server stopped, but not all was sealed.
    Unclean,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => write!(
                f,
                "io_uring cannot be used: {error}; run `annulus doctor`, or use --io-driver epoll"
            ),
            Self::Listen { what, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{what} is in use by another program; stop it, or choose another with --port or --unixsocket")
            }
            Self::Listen { what, error } => write!(f, "cannot listen on {what}: {error}"),
            Self::Directory(error) => error.fmt(f),
            Self::Recovery { shard, error } => write!(f, "shard {shard}: {error}"),
            Self::System { what, error } => write!(f, "{what}: {error}"),
            Self::Unclean => f.write_str(
                "stopped, but the log could not be sealed in time; what was acknowledged is on disk as far as \
                 the durability setting promises",
            ),
        }
    }
}

impl std::error::Error for ServeError {}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> ServeError {
    let what = what.into();
    move |error| ServeError::System { what, error }
}

/// Serves until SIGTERM, SIGINT or SHUTDOWN.
pub fn run(loaded: &Loaded) -> Result<(), ServeError> {
    run_at(loaded, &Clock::default())
}

/// The same, by a clock of the caller's.
pub fn run_at(loaded: &Loaded, clock: &Clock) -> Result<(), ServeError> {
    let mut settings = loaded.settings.clone();
    stop_at_panic();
    // Before anything is opened: a signal from here on is a clean stop.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(system("cannot handle signals"))?;
    settings.maxclients = fit_clients(&settings);
    // The main thread waits for signals: this ends that, when the server stops by itself.
    let handle = signals.handle();
    let opening = Opening {
        settings,
        config_file: loaded.config_file.as_deref().unwrap_or(Path::new("")).display().to_string(),
        programs: Programs::Refused,
        clock: clock.clone(),
        on_end: Arc::new(move || handle.close()),
    };
    // Before recovery, which uses most of the memory that will be used. Without it everything works, a little slower.
    let prefault = if loaded.settings.huge_pages { Prefault::start().unwrap_or_default() } else { None };
    let running = open(opening)?;
    tracing::info!(port = running.shared.facts.port, pid = std::process::id(), "ready to accept connections");
    if let Some(signal) = signals.forever().next() {
        tracing::info!(signal, "stopping: draining connections and sealing the log");
    }
    drop(prefault);
    running.stop()
}

/// Whether programs in this process may open lines to the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// It's a server, and nothing else.
    Refused,
    /// It's a program, with shards in it.
    Served,
}

/// How shards are started.
pub struct Opening {
    /// The settings.
    pub settings: Settings,
    /// The settings file in use, or empty.
    pub config_file: String,
    /// Who may be served besides connections.
    pub programs: Programs,
    /// The clock of all shards.
    pub clock: Clock,
    /// Called by each shard's thread at its end.
    pub on_end: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("programs", &self.programs).finish_non_exhaustive()
    }
}

/// Shards that serve, and the data directory that is theirs as long as this lives.
///
/// Dropped, it stops them and waits for that; [`Running::stop`] also tells how it went.
pub struct Running {
    shared: Arc<Shared>,
    shards: Vec<JoinHandle<bool>>,
    lock: Option<<StdDisk as Disk>::Lock>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

impl Running {
    /// What all shards see.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The clean stop: what is under way ends, and the logs are sealed.
    pub fn stop(mut self) -> Result<(), ServeError> {
        if self.finish() { Ok(()) } else { Err(ServeError::Unclean) }
    }

    fn finish(&mut self) -> bool {
        if self.lock.is_none() {
            return true;
        }
        self.shared.stop();
        // All of them, before the first one's outcome counts.
        let clean: Vec<bool> = self.shards.drain(..).map(|shard| shard.join().unwrap_or(false)).collect();
        self.lock = None;
        if let Some(path) = &self.shared.settings().0.unixsocket {
            remove_socket(path);
        }
        let clean = clean.into_iter().all(|clean| clean);
        if clean {
            tracing::info!("stopped");
        }
        clean
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Opens the data directory, recovers it, and starts the shards. Returns when they serve; after an error nothing is left
/// of them.
pub fn open(opening: Opening) -> Result<Running, ServeError> {
    let Opening { settings, config_file, programs, clock, on_end } = opening;
    let driver = choose_driver(settings.io_driver)?;
    let shards = settings.shards as u16;
    let listeners = bind(&settings)?;
    let seed = Rng::seed_from_kernel().map_err(system("no random numbers from the kernel"))?;
    let mut random = Rng::from_seed(seed);
    let options =
        DirectoryOptions { shards, databases: settings.databases as u16, identity: random.next_u64() };
    let opened = run_ready(annulus_storage::open_data_directory(&StdDisk, &settings.dir, options));
    let (directory, lock) = opened.map_err(ServeError::Directory)?;
    announce(&settings, &driver, &directory);

    let peers = Peers::new(shards).map_err(system("no eventfd"))?;
    let facts = Facts {
        driver,
        run_id: hex_id(&mut random),
        started_us: clock.read().unix_us,
        executable: std::env::current_exe().unwrap_or_default().display().to_string(),
        config_file,
        node_ids: (0..shards).map(|shard| node_id(directory.identity, shard)).collect(),
        shard_ports: listeners.shard_ports.clone(),
        port: listeners.port,
    };
    let shared = Shared::new(peers, facts, settings);
    let shared = Arc::new(match programs {
        Programs::Refused => shared,
        Programs::Served => shared.with_entrances(),
    });
    let shards = start_shards(&shared, &directory, listeners, &mut random, &clock, &on_end)?;
    Ok(Running { shared, shards, lock: Some(lock) })
}

/// A shard that has panicked must not leave the others serving half of the keys: the process ends, and the log holds
/// what was acknowledged.
fn stop_at_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// The same where the process has another owner, whose hook is not ours to replace: a shard's thread that unwinds ends the
/// process.
struct EndAtPanic;

impl Drop for EndAtPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the path of a socket is not the storage's business")]
fn remove_socket(path: &Path) {
    let _ = std::fs::remove_file(path);
}

fn fit_clients(settings: &Settings) -> u32 {
    let room = limits::raise_file_limit(settings);
    if room < settings.maxclients {
        tracing::warn!(
            maxclients = settings.maxclients,
            room,
            "the limit of open files has no room for so many clients; raise it (LimitNOFILE=, ulimit -n)"
        );
    }
    room
}

/// Takes io_uring where it is permitted, else epoll, unless one is asked for.
fn choose_driver(asked: IoDriver) -> Result<DriverChoice, ServeError> {
    let epoll = |reason: String| DriverChoice { kind: DriverKind::Epoll, reason, features: Vec::new() };
    let uring = |features: uring::Features, reason: &str| DriverChoice {
        kind: DriverKind::Uring,
        reason: reason.to_owned(),
        features: features.names(),
    };
    match asked {
        IoDriver::Epoll => Ok(epoll("asked for by io-driver".to_owned())),
        IoDriver::Uring => {
            uring::probe().map(|it| uring(it, "asked for by io-driver")).map_err(ServeError::Driver)
        }
        IoDriver::Auto => Ok(match uring::probe() {
            Ok(features) => uring(features, "io_uring is permitted"),
            Err(error) => epoll(error.to_string()),
        }),
    }
}

fn announce(settings: &Settings, driver: &DriverChoice, directory: &DataDirectory) {
    tracing::info!(
        driver = driver.kind.name(),
        reason = driver.reason,
        features = driver.features.join(","),
        "io driver"
    );
    let promise = match settings.durability {
        crate::admin::Durability::Always => "a reply to a write leaves once it is on disk",
        crate::admin::Durability::EverySec => "a crash may lose the last second of acknowledged writes",
        crate::admin::Durability::None => "a crash may lose acknowledged writes",
    };
    tracing::info!(
        version = crate::admin::info::VERSION,
        shards = settings.shards,
        durability = settings.durability.name(),
        promise,
        "annulus"
    );
    match directory.opened {
        Opened::Created => tracing::info!(dir = %directory.path.display(), "new data directory"),
        Opened::Existing => tracing::info!(dir = %directory.path.display(), "data directory"),
        Opened::NewEpoch { shards_before } => tracing::info!(
            dir = %directory.path.display(),
            shards_before,
            shards = settings.shards,
            "data directory: the number of shards has changed, a new epoch begins"
        ),
    }
}

/// The listening sockets, and whose they are.
struct Listeners {
    shared: Vec<OwnedFd>,
    port: u16,
    own: Vec<Vec<OwnedFd>>,
    shard_ports: Vec<u16>,
}

fn bind(settings: &Settings) -> Result<Listeners, ServeError> {
    let mut listeners =
        Listeners { shared: Vec::new(), port: settings.port, own: Vec::new(), shard_ports: Vec::new() };
    if settings.port != 0 {
        listeners.shared = bind_port(settings, settings.port)?;
    }
    if let Some(path) = &settings.unixsocket {
        let mode = (settings.unixsocketperm.0 != 0).then_some(settings.unixsocketperm.0);
        let socket = listen::unix(path, settings.tcp_backlog as i32, mode)
            .map_err(|error| ServeError::Listen { what: format!("Unix socket {}", path.display()), error })?;
        listeners.shared.push(socket);
    }
    for shard in 0..settings.shards {
        let Some(port) = settings.shard_port(shard) else {
            listeners.own.push(Vec::new());
            continue;
        };
        listeners.own.push(bind_port(settings, port)?);
        listeners.shard_ports.push(port);
    }
    Ok(listeners)
}

fn bind_port(settings: &Settings, port: u16) -> Result<Vec<OwnedFd>, ServeError> {
    let keepalive =
        (settings.tcp_keepalive > 0).then(|| Duration::from_secs(u64::from(settings.tcp_keepalive)));
    let mut sockets = Vec::new();
    for bind in &settings.bind {
        let address = SocketAddr::new(bind.address, port);
        match bind_patiently(|| listen::tcp(address, settings.tcp_backlog as i32, keepalive)) {
            Ok(socket) => sockets.push(socket),
            Err(error) if bind.optional && error.kind() != io::ErrorKind::AddrInUse => {
                tracing::debug!(%address, %error, "optional address is not there");
            }
            Err(error) => return Err(ServeError::Listen { what: format!("{address}"), error }),
        }
    }
    Ok(sockets)
}

/// Binds, and tries again for a while if the address is in use: a killed process that accepted through io_uring
/// leaves its socket to the kernel for some milliseconds, and a supervisor restarts at once.
fn bind_patiently(bind: impl Fn() -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    for _ in 0..BIND_RETRIES {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => threads::block_for(BIND_RETRY_PAUSE),
            result => return result,
        }
    }
    bind()
}

fn hex_id(random: &mut Rng) -> String {
    let mut id = String::with_capacity(48);
    while id.len() < 40 {
        let _ = write!(id, "{:016x}", random.next_u64());
    }
    id.truncate(40);
    id
}

/// A node's id depends on the data directory and the shard alone, so that cluster clients know it again.
fn node_id(directory: u64, shard: u16) -> String {
    hex_id(&mut Rng::from_seed(directory ^ (u64::from(shard) << 48)))
}

/// What a shard becomes a core from, on whatever runs it.
#[derive(Debug)]
pub struct ShardStart {
    /// Which shard.
    pub id: ShardId,
    /// What all shards see.
    pub shared: Arc<Shared>,
    /// The open data directory.
    pub directory: DataDirectory,
    /// Its ends of the mesh.
    pub mesh: MeshEnds<Message>,
    /// Of its randomness.
    pub seed: u64,
    /// Of its tables.
    pub hash_seed: u64,
}

/// What a shard's thread starts with.
struct ThreadStart {
    shard: ShardStart,
    shared_listeners: Vec<OwnedFd>,
    own_listeners: Vec<OwnedFd>,
    clock: Clock,
    surveyor: Surveyor,
}

/// What a shard's thread says when it is ready, or that it can't be.
type Readiness = Result<(ShardId, RecoveryReport), ServeError>;

/// Has somebody answer connections until the shards do.
fn greet(listeners: &Listeners) -> Result<Porter, ServeError> {
    let all = listeners.shared.iter().chain(listeners.own.iter().flatten());
    let copies = all.map(OwnedFd::try_clone).collect::<io::Result<_>>();
    copies.and_then(Porter::start).map_err(system("cannot answer connections while recovering"))
}

/// The cores that shards are kept on, if they are.
fn cores_of(settings: &Settings) -> Vec<usize> {
    match &settings.pin {
        Pin::Auto if threads::cores().len() <= settings.shards => Vec::new(),
        Pin::Auto | Pin::Yes => threads::cores(),
        Pin::No => Vec::new(),
        Pin::Cores(cores) => cores.clone(),
    }
}

/// What the operator should know of what a shard has read.
fn tell_of_recovery(shard: ShardId, report: &RecoveryReport) {
    for torn in &report.torn_tails {
        tracing::warn!(
            shard = shard.0, path = %torn.path.display(), offset = torn.offset, bytes = torn.bytes,
            "the log ends in an unfinished write, which was never acknowledged: cut off"
        );
    }
    for unused in &report.unused {
        tracing::error!(
            shard = shard.0, path = %unused.path.display(), offset = unused.offset, fault = %unused.fault,
            "a checkpoint is damaged: the log reached back far enough to do without it"
        );
    }
    if report.takes_past_epochs {
        tracing::error!(
            shard = shard.0,
            "the checkpoint is damaged or gone: what is kept of former numbers of shards has taken its place, nothing is lost. Another one \
             follows at once; look after the disk"
        );
    }
    if report.segments_taken_back > 0 {
        let from = report
            .image
            .as_ref()
            .map_or("its beginning".to_owned(), |image| image.path.display().to_string());
        tracing::error!(
            shard = shard.0,
            segments = report.segments_taken_back,
            from,
            "the newest checkpoint is damaged or gone: log that was kept for going back in time has taken its place, nothing is lost. Another \
             checkpoint follows at once; look after the disk"
        );
    }
}

fn start_shards(
    shared: &Arc<Shared>,
    directory: &DataDirectory,
    listeners: Listeners,
    random: &mut Rng,
    clock: &Clock,
    on_end: &Arc<dyn Fn() + Send + Sync>,
) -> Result<Vec<JoinHandle<bool>>, ServeError> {
    let (ready, readiness) = mpsc::channel::<Readiness>();
    let settings = shared.settings().0;
    let hash_seed = random.next_u64();
    let cores = cores_of(&settings);
    let began_ns = clock.monotonic_ns();
    let porter = greet(&listeners)?;
    let mut starting = Starting::default();
    let mut shared_listeners = listeners.shared;
    let ends = mesh(shared.peers.count());
    let (survey, surveyors) = survey::survey(shared.peers.count());
    let ends = ends.into_iter().zip(surveyors);
    for ((index, (mesh, surveyor)), own_listeners) in ends.enumerate().zip(listeners.own) {
        let start = ThreadStart {
            shard: ShardStart {
                id: ShardId(index as u16),
                shared: Arc::clone(shared),
                directory: directory.clone(),
                mesh,
                seed: random.next_u64(),
                hash_seed,
            },
            shared_listeners: std::mem::take(&mut shared_listeners),
            own_listeners,
            clock: clock.clone(),
            surveyor,
        };
        let core = (!cores.is_empty()).then(|| cores[index % cores.len()]);
        let (go, gate) = mpsc::channel();
        let (ready, on_end, all) = (ready.clone(), Arc::clone(on_end), Arc::clone(shared));
        let thread = threads::spawn(format!("shard-{index}"), core, move |pinned| {
            let _end = EndAtPanic;
            if core.is_some() && !pinned {
                tracing::warn!(shard = index, core, "this shard could not be kept on its core");
            }
            let clean = shard_thread(start, &ready, &gate);
            // No shard serves without the others.
            all.stop();
            on_end();
            clean
        });
        starting.threads.push(thread.map_err(system("cannot start a thread"))?);
        starting.gates.push(go);
    }
    drop(ready);
    survey.resolve(directory)?;
    let mut recovered = RecoveryReport::default();
    for _ in 0..starting.threads.len() {
        let (shard, report) = await_shard(&readiness, shared, clock, began_ns)?;
        tell_of_recovery(shard, &report);
        recovered.closed.extend(report.closed);
        recovered.effects += report.effects;
        recovered.applied += report.applied;
        recovered.bytes += report.bytes;
    }
    close_logs(directory, &recovered.closed)?;
    // Whoever was told to come back is served from here on.
    drop(porter);
    let running = starting.go();
    let milliseconds = (clock.monotonic_ns() - began_ns) / 1_000_000;
    tracing::info!(effects = recovered.effects, bytes = recovered.bytes, milliseconds, "recovered");
    Ok(running)
}

/// Shards' threads that don't serve yet: no shard serves before all have recovered. Dropped, they end.
#[derive(Default)]
struct Starting {
    threads: Vec<JoinHandle<bool>>,
    gates: Vec<mpsc::Sender<()>>,
}

impl Starting {
    fn go(mut self) -> Vec<JoinHandle<bool>> {
        for gate in self.gates.drain(..) {
            // A thread that is gone tells so when it is joined.
            let _ = gate.send(());
        }
        std::mem::take(&mut self.threads)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.gates.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The next shard that is ready. Says now and then how far recovery has come.
fn await_shard(
    readiness: &mpsc::Receiver<Readiness>,
    shared: &Shared,
    clock: &Clock,
    began_ns: u64,
) -> Result<(ShardId, RecoveryReport), ServeError> {
    loop {
        match readiness.recv_timeout(PROGRESS_PAUSE) {
            Ok(ready) => return ready,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(ServeError::Unclean),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let seconds = (clock.monotonic_ns() - began_ns) / 1_000_000_000;
                tracing::info!(effects = shared.loaded_effects(), seconds, "recovering");
            }
        }
    }
}

/// Records the ends of older epochs' logs, before any shard writes to the new one.
fn close_logs(directory: &DataDirectory, found: &[ClosedLog]) -> Result<(), ServeError> {
    if found.is_empty() {
        return Ok(());
    }
    run_ready(annulus_storage::manifest::close_logs(&StdDisk, directory, found))
        .map_err(ServeError::Directory)
}

/// A shard's life; false if it did not end cleanly.
fn shard_thread(start: ThreadStart, ready: &mpsc::Sender<Readiness>, gate: &mpsc::Receiver<()>) -> bool {
    let id = start.shard.id;
    let (mut shard, report) = match prepare_shard(start) {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return false,
        Err(error) => {
            let _ = ready.send(Err(error));
            return false;
        }
    };
    if ready.send(Ok((id, report))).is_err() {
        return false;
    }
    if gate.recv().is_err() {
        return false;
    }
    match shard.run() {
        Ok(clean) => clean,
        Err(error) => {
            tracing::error!(shard = id.0, %error, "the shard's driver failed");
            false
        }
    }
}

/// Ring, recovery, listeners. Nothing when another shard's failure ends the start.
fn prepare_shard(start: ThreadStart) -> Result<Option<(Shard, RecoveryReport)>, ServeError> {
    let id = start.shard.id;
    let mut parts = shard_parts(&start).map_err(system(format!("shard {id}: no I/O driver")))?;
    let Some(outcomes) = start.surveyor.survey(&start.shard.directory, id, &mut parts) else {
        return Ok(None);
    };
    let (core, report) = recover_core(start.shard, &outcomes, &mut parts)?;
    let own_listeners_from = start.shared_listeners.len();
    for socket in start.shared_listeners.into_iter().chain(start.own_listeners) {
        parts.driver.listen(socket).map_err(system("cannot accept connections"))?;
    }
    Ok(Some((Shard::new(core, parts, own_listeners_from), report)))
}

/// Reads a shard's logs through its driver, and makes the core that goes on from there. `outcomes` come from a survey of all
/// logs.
pub fn recover_core(
    start: ShardStart,
    outcomes: &Arc<Outcomes>,
    parts: &mut ShardParts,
) -> Result<(Core, RecoveryReport), ServeError> {
    let began_ns = parts.clock.monotonic_ns();
    let (store, report) = recover(&start, outcomes, parts)?;
    let directory = start.directory.clone();
    let random = Rng::from_seed(start.seed);
    let mut core = Core::new(start.id, start.shared, start.mesh, store, random, parts.clock.clone());
    core.note_recovery(report.effects, parts.clock.monotonic_ns() - began_ns);
    core.adopt_checkpoints(directory, &report);
    Ok((core, report))
}

fn shard_parts(start: &ThreadStart) -> io::Result<ShardParts> {
    let (id, peers) = (start.shard.id, start.shard.shared.peers.clone());
    let driver = match start.shard.shared.facts.driver.kind {
        DriverKind::Uring => AnyDriver::Uring(Box::new(Uring::new(id, peers, uring::probe()?)?)),
        DriverKind::Epoll => AnyDriver::Epoll(Box::new(Epoll::new(id, peers)?)),
        DriverKind::Sim => unreachable!("a simulated shard has no thread of its own"),
    };
    Ok(ShardParts {
        driver,
        executor: Executor::default(),
        disk: RuntimeDisk::default(),
        clock: start.clock.clone(),
    })
}

fn recover(
    start: &ShardStart,
    outcomes: &Arc<Outcomes>,
    parts: &mut ShardParts,
) -> Result<(ShardStore, RecoveryReport), ServeError> {
    let id = start.id;
    let settings = start.shared.settings().0;
    let log_options = log_options(id, &settings);
    let options = RecoveryOptions { alignment: log_options.alignment };
    let store_options = StoreOptions { databases: start.directory.databases, hash_seed: start.hash_seed };
    let mut store = Store::new(store_options, NoLog);
    store.set_now(parts.clock.read().unix_ms());
    store.set_limits(value_limits(&settings));
    store.set_access(settings.maxmemory_policy.access());
    let (disk, directory, outcomes) = (parts.disk.clone(), start.directory.clone(), Arc::clone(outcomes));
    let shared = Arc::clone(&start.shared);
    let outcome = parts
        .block_on(async move {
            let mut loading = Loading { store, shared, applied: 0, foresight: Foresight::default() };
            let recovered = recover_shard(&disk, &directory, id, options, &outcomes, &mut loading).await;
            recovered.map(|recovered| (recovered, loading.store))
        })
        .map_err(system(format!("shard {id}: the I/O driver failed")))?;
    let (recovered, store) = outcome.map_err(|error| ServeError::Recovery { shard: id, error })?;
    let log = Log::new(log_options, recovered.start);
    Ok((store.with_sink(log), recovered.report))
}

/// A store that is being filled.
struct Loading {
    store: Store<NoLog>,
    shared: Arc<Shared>,
    /// Effects since the last time that this was told.
    applied: u64,
    foresight: Foresight,
}

impl Replay for Loading {
    fn apply(&mut self, effect: &Effect<'_>, groups: &Range<u16>) {
        self.applied += 1;
        if self.applied == LOADED_STEP {
            self.shared.note_loaded(std::mem::take(&mut self.applied));
        }
        self.store.apply(effect, groups);
    }

    fn expect(&mut self, effect: &Effect<'_>) {
        self.store.expect(effect);
    }

    fn on_progress(&mut self, read_bytes: u64, log_bytes: u64) {
        self.store.foresee(&mut self.foresight, read_bytes, log_bytes);
    }

    fn on_end(&mut self) {
        self.store.give_back();
    }
}

fn log_options(shard: ShardId, settings: &Settings) -> LogOptions {
    let options = LogOptions::default();
    let segment_bytes = settings.log_segment_size.next_multiple_of(4096);
    // A segment has room for four frames at least.
    let quarter = usize::try_from(segment_bytes / 4).unwrap_or(usize::MAX) / 4096 * 4096;
    LogOptions {
        shard,
        durability: settings.durability,
        in_flight_max: settings.commit_depth as usize,
        fill_wait_ns: u64::from(settings.commit_fill_us) * 1000,
        segment_bytes,
        frame_bytes_max: options.frame_bytes_max.min(quarter),
        ..options
    }
}
