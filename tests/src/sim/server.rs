//! A whole server in a world: its shards take half turns in whatever order they are told to.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annulus::admin::{Period, SavePoint, SavePoints, Settings};
use annulus::runtime::driver::Wait;
use annulus::runtime::mesh::{MeshEnds, Receiver, Sender, mesh_of};
use annulus::runtime::peers::Peers;
use annulus::runtime::sim::World;
use annulus::runtime::{DriverChoice, DriverKind, Executor, Rng};
use annulus::shard::batch::Message;
use annulus::shard::shared::{Facts, Shared};
use annulus::shard::{Shard, ShardParts};
use annulus::start::{ServeError, ShardStart, recover_core};
use annulus_storage::disk::blocking::run_ready;
use annulus_storage::disk::memory::MemoryLock;
use annulus_storage::manifest::close_logs;
use annulus_storage::recovery::survey_and_resolve;
use annulus_storage::{
    DirectoryOptions, Durability, OpenError, RecoveryReport, ShardId, open_data_directory,
};

/// Where the data directory is on every virtual disk.
pub const DIRECTORY: &str = "/data";
/// The longest wait of a shard that ends by itself; longer ones end with an event only.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Shards.
    pub shards: u16,
    /// Numbered databases.
    pub databases: u32,
    /// When writes count as done.
    pub durability: Durability,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// How much a shard's log grows before a checkpoint, at least; 0 takes none.
    pub checkpoint_growth: u64,
    /// Whether a clean stop takes checkpoints.
    pub saves_at_stop: bool,
    /// For how many seconds log that checkpoints have made superfluous is kept.
    pub retention_seconds: u64,
    /// Log writes in flight of each shard.
    pub commit_depth: u32,
    /// As the setting of that name.
    pub commit_fill_us: u32,
    /// Messages that a queue of the mesh holds, a power of two.
    pub mesh_capacity: usize,
    /// One in so many messages between shards is lost: a planted mistake; 0 for none.
    pub loses_messages: u64,
}

/// Why a start did not succeed.
#[derive(Debug)]
pub enum StartFailure {
    /// The data directory was refused or could not be read.
    Directory(OpenError),
    /// A shard's log was.
    Recovery(ServeError),
}

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::Recovery(error) => error.fmt(f),
        }
    }
}

impl StartFailure {
    /// Whether an operation of the disk failed, which says nothing about what is on it.
    pub fn is_io(&self) -> bool {
        match self {
            StartFailure::Directory(OpenError::Io { .. })
            | StartFailure::Recovery(ServeError::System { .. }) => true,
            StartFailure::Recovery(ServeError::Recovery { error, .. }) => {
                matches!(error, annulus_storage::RecoveryError::Io { .. })
            }
            _ => false,
        }
    }
}

/// What a shard does next.
#[derive(Debug)]
enum Next {
    /// Say how long it will wait.
    Prepare,
    /// End its wait, by this time at the latest.
    Finish { wait: Wait, deadline_ns: Option<u64> },
}

#[derive(Debug)]
struct Running {
    shard: Shard,
    next: Next,
    /// It gets no processor before.
    stalled_until_ns: u64,
}

/// A queue of the mesh on its way through the simulator, where messages can be lost.
#[derive(Debug)]
struct Relay {
    from: Receiver<Message>,
    to: Sender<Message>,
    waiting: Option<Message>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Server {
    world: World,
    shared: Arc<Shared>,
    shards: Vec<Running>,
    relays: Vec<Relay>,
    loses_messages: u64,
    /// What was read at the start.
    pub report: RecoveryReport,
    _lock: MemoryLock,
}

fn settings(configuration: &Configuration) -> Settings {
    let mut save = SavePoints::default();
    if configuration.saves_at_stop {
        save.0.push(SavePoint { seconds: 1_000_000, changes: 1 });
    }
    Settings {
        shards: usize::from(configuration.shards),
        auto_aof_rewrite_percentage: u32::from(configuration.checkpoint_growth > 0),
        auto_aof_rewrite_min_size: configuration.checkpoint_growth * u64::from(configuration.shards),
        save,
        log_retention: Period { seconds: configuration.retention_seconds },
        durability: configuration.durability,
        log_segment_size: configuration.segment_bytes,
        commit_depth: configuration.commit_depth,
        commit_fill_us: configuration.commit_fill_us,
        databases: configuration.databases,
        dir: DIRECTORY.into(),
        ..Settings::default()
    }
}

impl Server {
    /// Opens the data directory and recovers all shards, one after the other.
    pub fn start(
        world: &World,
        configuration: &Configuration,
        power_cut_in: Option<u32>,
    ) -> Result<Self, StartFailure> {
        world.begin_start(power_cut_in);
        let started = Self::recover(world, configuration);
        world.end_start();
        started
    }

    fn recover(world: &World, configuration: &Configuration) -> Result<Self, StartFailure> {
        let shards = configuration.shards;
        let settings = settings(configuration);
        let seed = world.below(u64::MAX);
        let options = DirectoryOptions { shards, databases: settings.databases as u16, identity: seed };
        let opened = run_ready(open_data_directory(&world.memory(), Path::new(DIRECTORY), options));
        let (directory, lock) = opened.map_err(StartFailure::Directory)?;
        let peers = Peers::simulated(shards);
        let driver =
            DriverChoice { kind: DriverKind::Sim, reason: "simulated".to_owned(), features: Vec::new() };
        let facts = Facts {
            driver,
            run_id: "0".repeat(40),
            started_us: world.clock().read().unix_us,
            executable: String::new(),
            config_file: String::new(),
            node_ids: Vec::new(),
            shard_ports: Vec::new(),
            port: settings.port,
        };
        let shared = Arc::new(Shared::new(peers.clone(), facts, settings));
        let surveyed = run_ready(survey_and_resolve(&world.memory(), &directory));
        // Nobody's shard in particular: the paths say which log.
        let failed = |error| StartFailure::Recovery(ServeError::Recovery { shard: ShardId(0), error });
        let outcomes = Arc::new(surveyed.map_err(failed)?);
        let (ends, relays) = queues(configuration);
        let mut server = Server {
            world: world.clone(),
            shared: Arc::clone(&shared),
            shards: Vec::new(),
            relays,
            loses_messages: configuration.loses_messages,
            report: RecoveryReport::default(),
            _lock: lock,
        };
        for (id, mesh) in (0..shards).map(ShardId).zip(ends) {
            let mut parts = ShardParts {
                driver: world.driver(id, peers.clone()),
                executor: Executor::default(),
                disk: world.disk(),
                clock: world.clock(),
            };
            let start = ShardStart {
                id,
                shared: Arc::clone(&shared),
                directory: directory.clone(),
                mesh,
                seed: Rng::from_seed(seed ^ u64::from(id.0)).next_u64(),
                hash_seed: seed,
            };
            let (core, report) =
                recover_core(start, &outcomes, &mut parts).map_err(StartFailure::Recovery)?;
            server.report.effects += report.effects;
            server.report.closed.extend(report.closed);
            server.report.torn_tails.extend(report.torn_tails);
            server.report.image = report.image.or(server.report.image);
            server.report.unused.extend(report.unused);
            // The first listener of shard 0 is everybody's; the others are a shard's own.
            let shard = Shard::new(core, parts, usize::from(id.0 == 0));
            server.shards.push(Running { shard, next: Next::Prepare, stalled_until_ns: 0 });
        }
        run_ready(close_logs(&world.memory(), &directory, &server.report.closed))
            .map_err(StartFailure::Directory)?;
        Ok(server)
    }

    /// How many shards there are.
    pub fn count(&self) -> u16 {
        self.shards.len() as u16
    }

    /// Asks for a clean stop.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Whether the stop is complete.
    pub fn is_stopped(&self) -> bool {
        self.shards.iter().all(|running| running.shard.is_stopped())
    }

    /// Whether a complete stop has sealed every log.
    pub fn is_sealed(&self) -> bool {
        self.shards.iter().all(|running| running.shard.is_sealed())
    }

    /// A shard gets no processor for a while.
    pub fn stall(&mut self, shard: u16, until_ns: u64) {
        self.shards[usize::from(shard)].stalled_until_ns = until_ns;
    }

    /// When a shard can take its next half turn, if it is known to want one.
    fn ready_ns(&self, index: usize) -> Option<u64> {
        let running = &self.shards[index];
        let id = ShardId(index as u16);
        if running.shard.is_stopped() {
            return None;
        }
        let at_ns = match &running.next {
            Next::Prepare | Next::Finish { wait: Wait::Poll, .. } => Some(0),
            Next::Finish { .. } if self.shared.peers.is_woken(id) => Some(0),
            Next::Finish { deadline_ns, .. } => {
                deadline_ns.iter().copied().chain(self.world.due_ns(id)).min()
            }
        };
        at_ns.map(|at_ns| at_ns.max(running.stalled_until_ns))
    }

    /// Shards that can go on now, and when the next of the others can.
    pub fn ready(&self, now_ns: u64) -> (Vec<usize>, Option<u64>) {
        let (mut ready, mut next_ns) = (Vec::new(), None::<u64>);
        for index in 0..self.shards.len() {
            match self.ready_ns(index) {
                Some(at_ns) if at_ns <= now_ns => ready.push(index),
                Some(at_ns) => next_ns = Some(next_ns.map_or(at_ns, |next| next.min(at_ns))),
                None => {}
            }
        }
        (ready, next_ns)
    }

    /// Half a turn of a shard. Returns whether it was the half in which work is done.
    pub fn step(&mut self, index: usize) -> io::Result<bool> {
        let now_ns = self.world.now_ns();
        let running = &mut self.shards[index];
        match std::mem::replace(&mut running.next, Next::Prepare) {
            Next::Prepare => {
                let wait = running.shard.prepare_wait();
                let deadline_ns = match wait {
                    Wait::Poll => Some(now_ns),
                    Wait::Forever => None,
                    // A key that expires in thirty years is no reason to let them pass: nothing that the simulator waits for
                    // is so far away, and all keys would be gone.
                    Wait::AtMost(time) if time > WAIT_MAX => None,
                    Wait::AtMost(time) => Some(now_ns + time.as_nanos() as u64),
                };
                running.next = Next::Finish { wait, deadline_ns };
                Ok(false)
            }
            Next::Finish { wait, .. } => {
                running.shard.finish_turn(wait)?;
                self.relay();
                Ok(true)
            }
        }
    }

    /// Moves messages through the simulator, and loses some.
    fn relay(&mut self) {
        for relay in &mut self.relays {
            while let Some(message) = relay.waiting.take().or_else(|| relay.from.try_receive()) {
                if self.world.below(self.loses_messages) == 0 && !matches!(message, Message::Connection(_)) {
                    continue;
                }
                if let Err(message) = relay.to.try_send(message) {
                    relay.waiting = Some(message);
                    break;
                }
            }
        }
    }
}

fn queues(configuration: &Configuration) -> (Vec<MeshEnds<Message>>, Vec<Relay>) {
    let mut ends = mesh_of(configuration.shards, configuration.mesh_capacity);
    let mut relays = Vec::new();
    if configuration.loses_messages > 0 {
        let mut behind = mesh_of(configuration.shards, configuration.mesh_capacity);
        for from in 0..ends.len() {
            for to in (0..ends.len()).filter(|to| *to != from) {
                let taken = behind[to].receivers[from].take();
                let (Some(near), Some(sender)) = (
                    std::mem::replace(&mut ends[to].receivers[from], taken),
                    behind[from].senders[to].take(),
                ) else {
                    continue;
                };
                relays.push(Relay { from: near, to: sender, waiting: None });
            }
        }
    }
    (ends, relays)
}
