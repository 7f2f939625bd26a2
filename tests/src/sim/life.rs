//! One server's story: lives, each with its end, and at the end a healthy one in which everything must go on.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Poll;

use annulus::runtime::sim::{CrashStyle, Faults, World};
use annulus_storage::Durability;
use annulus_storage::ShardId;
use annulus_storage::disk::memory::{EverythingSurvives, MemoryDisk, Operation as DiskOperation};

use super::checker::{Verdict, check};
use super::client::Client;
use super::history::{History, Loss};
use super::plan::{Mistake, Plan};
use super::report::Counts;
use super::server::{Configuration, DIRECTORY, Server, StartFailure};
use super::workload;
use crate::random::Random;

/// Unix time at which every world begins, µs.
const BEGIN_UNIX_US: i64 = 1_700_000_000_000_000;
/// How long a healthy server may take to answer what it owes, ns of virtual time.
const PATIENCE_NS: u64 = 30_000_000_000;
/// Starts that may fail for reasons of the disk before the faults are lifted.
const FAILED_STARTS_MAX: usize = 4;

/// Bytes that were changed, as they were.
struct Damaged {
    path: PathBuf,
    at: usize,
    before: Vec<u8>,
}

/// See the module's documentation.
pub(super) struct Life {
    world: World,
    random: Random,
    plan: Plan,
    configuration: Configuration,
    history: History,
    clients: Vec<Client>,
    connections: u64,
    counts: Counts,
    /// The owner of each group.
    owners: Vec<u16>,
    /// Damage that no start has refused yet.
    damaged: Option<Damaged>,
    /// When it goes on, ns.
    until_ns: Rc<Cell<u64>>,
}

impl Life {
    pub(super) fn new(world: World, random: Random, plan: Plan, until_ns: Rc<Cell<u64>>) -> Self {
        world.jump_unix(BEGIN_UNIX_US);
        let history = History::new(plan.skips());
        Life {
            clients: (0..plan.clients).map(|_| Client::new(&world)).collect(),
            configuration: plan.configuration.clone(),
            world,
            random,
            plan,
            history,
            connections: 0,
            counts: Counts::default(),
            owners: Vec::new(),
            damaged: None,
            until_ns,
        }
    }

    /// The whole story; what happened in it, and what was wrong.
    pub(super) async fn live(mut self) -> (Counts, Result<(), String>) {
        let result = self.live_all().await;
        self.counts.operations = self.history.operations.len() as u64;
        self.counts.faults = self.world.take_happened();
        (self.counts, result)
    }

    /// Others go on, and this not before that time.
    fn rest(&self, until_ns: u64) -> impl Future<Output = ()> + use<> {
        self.until_ns.set(until_ns);
        let mut rested = false;
        std::future::poll_fn(move |_| {
            if std::mem::replace(&mut rested, true) { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    fn once_in(&mut self, one_in: usize) -> bool {
        one_in > 0 && self.random.one_in(one_in)
    }

    async fn live_all(&mut self) -> Result<(), String> {
        for _ in 0..self.plan.lives {
            let server = self.start(false)?;
            self.serve(server).await?;
        }
        self.world.set_faults(self.plan.faults.healed());
        let mut server = self.start(true)?;
        self.prove_progress(&mut server).await?;
        drop(server);
        match check(&self.history, self.plan.workload.groups) {
            Verdict::Linearizable => Ok(()),
            Verdict::Undecided => {
                self.counts.undecided += 1;
                Ok(())
            }
            Verdict::Violation(text) => Err(text),
        }
    }

    /// Starts the server, over failing disks and power cuts.
    fn start(&mut self, healthy: bool) -> Result<Server, String> {
        if !healthy && self.once_in(self.plan.reshards) {
            self.configuration.shards = 1 + self.random.below(4) as u16;
            self.counts.reshards += 1;
        }
        let mut undamaged = None;
        // What came back after undecidable damage can be told only once.
        let told = self.history.restarts.iter().all(|(_, loss)| *loss != Loss::Any);
        if self.counts.starts > 0 && self.once_in(self.plan.damages) && told {
            undamaged = self.damage();
        }
        // One more for a start that refuses damage.
        for attempt in 0..=FAILED_STARTS_MAX + 1 {
            let fails = attempt < FAILED_STARTS_MAX && !healthy;
            let faults = if fails { self.plan.faults.clone() } else { self.plan.faults.healed() };
            self.world.set_faults(faults);
            let cut =
                (fails && self.once_in(self.plan.cuts_in_start)).then(|| 1 + self.random.below(40) as u32);
            if fails && self.plan.faults.file_error > 0 && self.random.one_in(8) {
                self.fail_directory();
            }
            match Server::start(&self.world, &self.configuration, cut) {
                Ok(server) => {
                    // What was to fail in the start and was not reached must not hit a commit: that fails by `write_error` only.
                    self.world.memory().forget_failures();
                    self.world.note("start", &[], || format!("{:?}", server.report));
                    self.counts.starts += 1;
                    self.owners = workload::owners(self.plan.workload.groups, server.count());
                    self.counts.torn_tails += server.report.torn_tails.len() as u64;
                    self.counts.images += u64::from(server.report.image.is_some());
                    if undamaged.is_some() {
                        self.counts.damage_undecidable += 1;
                        self.history.restart_lost(Loss::Any);
                    }
                    self.world.set_faults(if healthy {
                        self.plan.faults.healed()
                    } else {
                        self.plan.faults.clone()
                    });
                    return Ok(server);
                }
                Err(failure) if failure.is_io() && fails => {
                    self.world.note("no start", &[], || format!("{failure:?}"));
                    self.counts.failed_starts += 1;
                    self.crash();
                }
                Err(failure) => {
                    self.undo_damage(undamaged.take(), &failure)?;
                    self.world.note("refused", &[], || format!("{failure:?}"));
                    self.counts.damage_refused += 1;
                }
            }
        }
        Err("the server does not start on a healthy disk".to_owned())
    }

    /// Damage is the reason of a refusal: that of this start, or such that earlier ones did not come across.
    fn undo_damage(&mut self, undamaged: Option<MemoryDisk>, failure: &StartFailure) -> Result<(), String> {
        let damaged = self.damaged.take();
        if let Some(memory) = undamaged {
            self.world.replace_memory(memory);
            return Ok(());
        }
        let text = refused(failure);
        // Of a log that has changed since it was closed only the directory is known.
        let names = |path: &Path| text.contains(&path.display().to_string());
        let is_named = |it: &Damaged| names(&it.path) || it.path.parent().is_some_and(names);
        let Some(damaged) = damaged.filter(is_named) else { return Err(text) };
        self.world.memory().edit(&damaged.path, |bytes| {
            if let Some(place) = bytes.get_mut(damaged.at..damaged.at + damaged.before.len()) {
                place.copy_from_slice(&damaged.before);
            }
        });
        Ok(())
    }

    fn fail_directory(&mut self) {
        let operations = [
            DiskOperation::Open,
            DiskOperation::Write,
            DiskOperation::Sync,
            DiskOperation::Rename,
            DiskOperation::SyncDir,
        ];
        let operation = operations[self.random.below(operations.len())];
        self.world.memory().fail(operation, self.random.below(2) as u64, libc_eio());
    }

    /// A life, from the first connection to its end.
    async fn serve(&mut self, mut server: Server) -> Result<(), String> {
        let steps = 1 + self.random.below(self.plan.steps_max);
        let full = self.once_in(self.plan.full_disks);
        if full {
            self.fill_disk();
        }
        let space_back_at = self.random.below(2 * steps);
        for step in 0..steps {
            if full && step == space_back_at {
                self.world.memory().limit_space(None);
            }
            self.disturb(&mut server);
            self.step(&mut server, true).await?;
        }
        if self.random.one_in(4) {
            self.heal(&mut server).await?;
        }
        if self.once_in(self.plan.stops) {
            self.stop(server).await
        } else {
            drop(server);
            self.counts.crashes += 1;
            let loss =
                if self.configuration.durability == Durability::Always { Loss::Nothing } else { Loss::Tail };
            self.crash();
            self.end_life(loss)
        }
    }

    fn disturb(&mut self, server: &mut Server) {
        if self.once_in(self.plan.jumps) {
            let far = !self.plan.workload.expires_soon || self.random.one_in(4);
            let by_us = (self.random.below(172_800) as i64 - 86_400) * if far { 1_000_000 } else { 1 };
            self.world.note("jump", &[], || format!("{by_us} us"));
            self.world.jump_unix(by_us);
            self.counts.jumps += 1;
        }
        if self.once_in(self.plan.stalls) {
            let shard = self.random.below(usize::from(server.count())) as u16;
            server.stall(shard, self.world.now_ns() + self.random.below(50_000_000) as u64);
            self.counts.stalls += 1;
        }
    }

    /// The disk has room for a little more than it holds.
    fn fill_disk(&mut self) {
        let memory = self.world.memory();
        let used: usize =
            memory.paths().iter().filter_map(|path| memory.contents(path)).map(|it| it.len()).sum();
        memory.limit_space(Some((used + self.random.below(200 << 10)) as u64));
        self.counts.full_disks += 1;
    }

    /// One half turn of a shard or one action of a client, and if there's none to take, time passes.
    async fn step(&mut self, server: &mut Server, clients_act: bool) -> Result<(), String> {
        self.counts.steps += 1;
        self.rest(0).await;
        let now_ns = self.world.now_ns();
        let (ready, mut next_ns) = server.ready(now_ns);
        let mut soonest = |at_ns: u64| next_ns = Some(next_ns.map_or(at_ns, |next| next.min(at_ns)));
        let mut acting = Vec::new();
        for (index, client) in self.clients.iter().enumerate() {
            if clients_act && client.next_ns <= now_ns {
                acting.push(index);
            } else if clients_act {
                soonest(client.next_ns);
            }
        }
        let reads = self.world.clients_due_ns();
        let can_read = reads.is_some_and(|at_ns| at_ns <= now_ns);
        if let Some(at_ns) = reads.filter(|_| !can_read) {
            soonest(at_ns);
        }
        let choices = ready.len() + acting.len() + usize::from(can_read);
        if choices == 0 {
            // Nothing ever happens by itself: whoever waits will do so in vain, which the caller notices.
            self.rest(next_ns.unwrap_or(now_ns + PATIENCE_NS)).await;
            return Ok(());
        }
        let choice = self.random.below(choices);
        if let Some(shard) = ready.get(choice) {
            if server.step(*shard).map_err(|error| format!("shard {shard}: {error}"))? {
                let unix_ms = self.world.unix_ms();
                let owned = |group: &usize| usize::from(self.owners[*group]) == *shard;
                (0..self.owners.len()).filter(owned).for_each(|group| self.history.turn(group, unix_ms));
            }
            self.world.advance_to(now_ns + self.random.below(3_000) as u64);
        } else if let Some(client) = acting.get(choice - ready.len()) {
            self.act(*client, server);
        } else {
            self.read_all()?;
        }
        Ok(())
    }

    fn act(&mut self, index: usize, server: &Server) {
        if !self.clients[index].is_connected() {
            let shard = self.random.below(usize::from(server.count()));
            let listener = if shard == 0 { self.random.below(2) } else { 0 };
            let connection = self.world.connect(ShardId(shard as u16), listener);
            self.connections += 1;
            self.clients[index].connected(connection, self.connections);
        }
        let (client, plan) = (&mut self.clients[index], &mut self.plan);
        client.act(&mut self.random, &plan.manners, &mut plan.workload, &mut self.history);
    }

    fn read_all(&mut self) -> Result<(), String> {
        let swaps = self.plan.mistake == Some(Mistake::SwapReplies) && self.random.one_in(10);
        for client in &mut self.clients {
            client.read(&mut self.history, swaps)?;
            let tally = std::mem::take(&mut client.tally);
            self.counts.replies += tally.replies;
            self.counts.refusals += tally.refusals;
        }
        Ok(())
    }

    /// The faults end while the server runs: everybody who waits is answered, or loses the connection.
    async fn heal(&mut self, server: &mut Server) -> Result<(), String> {
        self.world.note("heal", &[], String::new);
        self.world.set_faults(self.plan.faults.healed());
        self.world.memory().limit_space(None);
        self.settle(server, "after the faults ended").await?;
        let Faults { write_error, short_write, file_error, .. } = self.plan.faults;
        let syncs = self.configuration.durability == Durability::None;
        if write_error > 0 || short_write > 0 || file_error > 0 && syncs {
            // A log that has failed stays so until a restart, also one that could not be synced.
            return Ok(());
        }
        // The log tries again once a second to get what it lacked.
        let until_ns = self.world.now_ns() + 3_000_000_000;
        while self.world.now_ns() < until_ns {
            self.step(server, false).await?;
        }
        let before = self.counts.refusals;
        for client in &mut self.clients {
            client.send(&mut self.random, &mut self.plan.workload, 4, &mut self.history);
        }
        self.settle(server, "after the faults ended").await?;
        if self.counts.refusals > before {
            return Err("writes are still refused although the disk is healthy again".to_owned());
        }
        Ok(())
    }

    async fn settle(&mut self, server: &mut Server, when: &str) -> Result<(), String> {
        let until_ns = self.world.now_ns() + PATIENCE_NS;
        while self.clients.iter().any(Client::waits) {
            if self.world.now_ns() >= until_ns {
                let waiting: Vec<String> = self.clients.iter().filter_map(Client::waiting).collect();
                return Err(format!("{when}, a client waits for its reply in vain: {}", waiting.join("; ")));
            }
            self.step(server, false).await?;
        }
        Ok(())
    }

    /// On a healthy start every client is answered, and nothing is refused.
    async fn prove_progress(&mut self, server: &mut Server) -> Result<(), String> {
        let before = self.counts.refusals;
        for index in 0..self.clients.len() {
            let shard = self.random.below(usize::from(server.count()));
            let connection = self.world.connect(ShardId(shard as u16), 0);
            self.connections += 1;
            let client = &mut self.clients[index];
            client.connected(connection, self.connections);
            client.send(&mut self.random, &mut self.plan.workload, 8, &mut self.history);
        }
        self.settle(server, "on a healthy start").await?;
        if self.counts.refusals > before {
            return Err("a healthy server refuses commands for the state of its disk".to_owned());
        }
        Ok(())
    }

    /// A clean stop, and then a power cut: nothing may be missing.
    async fn stop(&mut self, mut server: Server) -> Result<(), String> {
        self.world.note("stop", &[], String::new);
        server.stop();
        let until_ns = self.world.now_ns() + PATIENCE_NS;
        while !server.is_stopped() {
            if self.world.now_ns() >= until_ns {
                return Err("a stop does not end".to_owned());
            }
            self.step(&mut server, false).await?;
        }
        let clean = server.is_sealed();
        drop(server);
        self.counts.stops += u64::from(clean);
        self.counts.unclean_stops += u64::from(!clean);
        match (clean, self.configuration.durability) {
            // Nobody asks the disk when these are stable.
            (true, Durability::None) => {
                self.world.crash(CrashStyle::Everything);
                self.end_life(Loss::Nothing)
            }
            (true, _) => {
                self.world.crash(CrashStyle::Nothing);
                self.end_life(Loss::Nothing)
            }
            (false, durability) => {
                self.crash();
                self.end_life(if durability == Durability::Always { Loss::Nothing } else { Loss::Tail })
            }
        }
    }

    fn crash(&mut self) {
        let styles =
            [CrashStyle::Nothing, CrashStyle::Everything, CrashStyle::Anything, CrashStyle::Anything];
        self.world.crash(styles[self.random.below(styles.len())]);
    }

    /// What the network still had for the clients comes in; then all connections are gone.
    fn end_life(&mut self, loss: Loss) -> Result<(), String> {
        self.read_all()?;
        self.clients.iter_mut().for_each(Client::forget);
        self.world.forget_connections();
        self.history.restart(loss);
        Ok(())
    }

    /// Changes durable bytes of some segment; the disk as it was comes back.
    fn damage(&mut self) -> Option<MemoryDisk> {
        let memory = self.world.memory();
        // Of the newest epoch, or of one whose logs' ends the manifest has: a start that began an epoch and was cut off before it
        // recorded those leaves the ends of the epoch before unproven, and nothing was acknowledged since.
        let logs = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path.extension().is_some_and(|it| it == "log") || name.starts_with("checkpoint-")
        };
        let mut segments: Vec<PathBuf> = memory.paths().into_iter().filter(logs).collect();
        let epoch = |path: &PathBuf| path.ancestors().nth(2).map(Path::to_path_buf);
        let newest = segments.last().map(epoch)?;
        let manifest = memory.contents(&Path::new(DIRECTORY).join("MANIFEST"))?;
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        let recorded = |path: &PathBuf| {
            let directory = epoch(path).unwrap_or_default();
            let number = directory.file_name().and_then(|name| name.to_str()?.strip_prefix("epoch-"));
            let number = number.and_then(|digits| digits.parse::<u32>().ok()).unwrap_or_default();
            manifest.lines().any(|line| line.starts_with(&format!("closed {number} ")))
        };
        segments.retain(|path| epoch(path) == newest || recorded(path));
        let path = segments.get(self.random.below(segments.len().max(1)))?;
        let bytes = memory.contents(path)?;
        let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let at = *written.get(self.random.below(written.len().max(1)))?;
        let before = memory.crash_copy(&mut EverythingSurvives);
        if self.random.one_in(8)
            && let Some(other) = segments.get(self.random.below(segments.len()))
        {
            // A block of another file, or of the same: then nothing changes.
            let from = memory.contents(other).unwrap_or_default();
            // Often the first, which says whose file it is.
            let begin = if self.random.one_in(2) { 0 } else { at / 4096 * 4096 };
            let block = begin..(begin + 4096).min(bytes.len());
            self.world.note("damage", &[], || format!("{} {block:?} of {}", path.display(), other.display()));
            let before_block = bytes[block.clone()].to_vec();
            self.damaged = Some(Damaged { path: path.clone(), at: block.start, before: before_block });
            if let Some(source) = from.get(block.clone()) {
                memory.edit(path, |bytes| bytes[block].copy_from_slice(source));
            }
            return Some(before);
        }
        let bit = 1 << self.random.below(8);
        let misdirected = self.random.one_in(4).then(|| self.random.below(bytes.len() / 512) * 512);
        self.world.note("damage", &[bit], || format!("{} at {at}, {misdirected:?}", path.display()));
        let sector = at / 512 * 512..(at / 512 * 512 + 512).min(bytes.len());
        self.damaged = Some(Damaged { path: path.clone(), at: sector.start, before: bytes[sector].to_vec() });
        memory.edit(path, |bytes| match misdirected {
            Some(source) => bytes.copy_within(source..source + 512, at / 512 * 512),
            None => bytes[at] ^= bit,
        });
        Some(before)
    }
}

const fn libc_eio() -> i32 {
    5
}

fn refused(failure: &StartFailure) -> String {
    format!("the start was refused: {failure}")
}
