//! One turn after the other: a shard's whole life.

use std::io;
use std::time::Duration;

use super::Core;
use super::limits::PIPELINE_COMMANDS;
use crate::runtime::driver::{DiskResult, DiskToken, Event, Wait};
use crate::runtime::{AnyDriver, Clock, Driver, Executor, RuntimeDisk};

/// Fruitless spins in a row after which a shard gives up spinning for a while.
const SPINS_LOST_MAX: u32 = 4;
/// Sleeps after which it tries again.
const SPINS_RETRY: u32 = 256;
/// Looks at the queues between two looks at the clock, which takes longer than a look at the queues.
const LOOKS_PER_CLOCK: u32 = 16;

/// A shard with its I/O.
#[derive(Debug)]
pub struct Shard {
    core: Core,
    parts: ShardParts,
    events: Vec<Event>,
    /// Index of the first listener that is this shard's own; those below are shared.
    own_listeners_from: usize,
    /// The last turn had something to do.
    was_busy: bool,
    /// Fruitless spins in a row, and then sleeps without one.
    spins_lost: u32,
    /// The peers have been told that this shard sleeps.
    sleep_announced: bool,
}

/// The I/O of a shard; it exists before the core does, because recovery needs it.
#[derive(Debug)]
pub struct ShardParts {
    /// Sockets, files, waking.
    pub driver: AnyDriver,
    /// Background tasks.
    pub executor: Executor,
    /// Their way to files.
    pub disk: RuntimeDisk,
    /// Time.
    pub clock: Clock,
}

impl ShardParts {
    /// Carries the tasks' file operations to the driver.
    fn queue_disk(&mut self) {
        while let Some((index, op)) = self.disk.take_queued() {
            self.driver.disk(DiskToken::Task(index), op);
        }
    }

    /// Runs a future to its end before there is a core (recovery, say), and nothing else meanwhile.
    pub fn block_on<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> io::Result<T> {
        let slot = std::rc::Rc::new(std::cell::RefCell::new(None));
        let result = std::rc::Rc::clone(&slot);
        self.executor.spawn(async move {
            let value = future.await;
            *result.borrow_mut() = Some(value);
        });
        let mut events = Vec::new();
        loop {
            self.disk.set_now(self.clock.monotonic_ns());
            self.executor.run_ready();
            if let Some(value) = slot.borrow_mut().take() {
                return Ok(value);
            }
            self.queue_disk();
            let wait = wait_until(self.disk.next_deadline_ns(), self.clock.monotonic_ns());
            self.driver.turn(wait, &mut events)?;
            for event in events.drain(..) {
                if let Event::Disk { token: DiskToken::Task(index), result } = event {
                    self.disk.on_done(index, result);
                }
            }
        }
    }
}

fn wait_until(deadline_ns: Option<u64>, now_ns: u64) -> Wait {
    match deadline_ns {
        None => Wait::Forever,
        Some(deadline) if deadline <= now_ns => Wait::Poll,
        Some(deadline) => Wait::AtMost(Duration::from_nanos(deadline - now_ns)),
    }
}

impl Shard {
    /// A shard that is ready to serve. Listeners of the driver with this index or above are the shard's own.
    pub fn new(core: Core, parts: ShardParts, own_listeners_from: usize) -> Self {
        Shard {
            core,
            parts,
            events: Vec::new(),
            own_listeners_from,
            was_busy: true,
            spins_lost: 0,
            sleep_announced: false,
        }
    }

    /// Takes turns until a stop is complete. Returns whether it was complete.
    pub fn run(&mut self) -> io::Result<bool> {
        while !self.is_stopped() {
            self.turn()?;
        }
        Ok(!self.core.stopping.gave_up())
    }

    /// Whether a stop is complete: no further turn is needed.
    pub fn is_stopped(&self) -> bool {
        self.core.stopping.is_done()
    }

    /// Whether a complete stop has sealed the log.
    pub fn is_sealed(&self) -> bool {
        self.is_stopped() && !self.core.stopping.gave_up()
    }

    /// One turn.
    pub fn turn(&mut self) -> io::Result<()> {
        let wait = self.prepare_wait();
        self.finish_turn(wait)
    }

    /// The first half of a turn: how long the second half will wait. Whoever runs several shards in one thread runs others
    /// in between.
    pub fn prepare_wait(&mut self) -> Wait {
        let mut wait = self.wait();
        let sleeps = wait != Wait::Poll;
        if sleeps && (self.core.shards > 1 || self.core.lines.may_be_rung()) {
            if self.was_busy && self.spin() {
                wait = Wait::Poll;
            } else {
                self.core.shared.peers.announce_sleep(self.core.id);
                self.sleep_announced = true;
                if self.core.has_inbound() {
                    wait = Wait::Poll;
                }
            }
        }
        wait
    }

    /// The second half of a turn: waits and works.
    pub fn finish_turn(&mut self, wait: Wait) -> io::Result<()> {
        self.core.counters.turns.sleeps += u64::from(wait != Wait::Poll);
        self.parts.driver.turn(wait, &mut self.events)?;
        if std::mem::take(&mut self.sleep_announced) {
            self.core.shared.peers.announce_awake(self.core.id);
        }
        self.work();
        Ok(())
    }

    /// Looks for messages for a short while before sleeping: waking a core costs more than most commands.
    fn spin(&mut self) -> bool {
        let spin_ns = u64::from(self.core.settings.spin_us) * 1000;
        if spin_ns == 0 || self.parts.clock.is_virtual() {
            return false;
        }
        if self.spins_lost >= SPINS_LOST_MAX {
            // Where cores are shared with others, looking keeps those from running whom one waits for. Try again by and by.
            self.spins_lost = (self.spins_lost + 1) % SPINS_RETRY;
            return false;
        }
        let until = self.parts.clock.monotonic_ns() + spin_ns;
        loop {
            for _ in 0..LOOKS_PER_CLOCK {
                if self.core.has_inbound() {
                    self.core.counters.turns.spins_won += 1;
                    self.spins_lost = 0;
                    return true;
                }
                std::hint::spin_loop();
            }
            if self.parts.clock.monotonic_ns() >= until {
                self.spins_lost += 1;
                return false;
            }
        }
    }

    fn wait(&self) -> Wait {
        if self.core.has_work_now() {
            return Wait::Poll;
        }
        let now_ns = self.core.time.monotonic_ns;
        let deadline = [self.core.next_deadline_ns(), self.parts.disk.next_deadline_ns()];
        wait_until(deadline.into_iter().flatten().min(), now_ns)
    }

    fn work(&mut self) {
        let (core, parts) = (&mut self.core, &mut self.parts);
        core.set_time(parts.clock.read());
        core.counters.turns.turns += 1;
        core.counters.turns.system_calls = parts.driver.turns();
        parts.disk.set_now(core.time.monotonic_ns);
        core.refresh_settings();
        core.refresh_pause();
        core.monitors.any = core.shared.interest.is_monitored();
        core.refresh_tracking();
        let mut busy = !self.events.is_empty();
        let mut events = self.events.drain(..);
        while !events.as_slice().is_empty() {
            let ahead = events.as_slice().len().min(PIPELINE_COMMANDS);
            core.prefetch_events(&events.as_slice()[..ahead], &parts.driver);
            for event in events.by_ref().take(ahead) {
                on_event(core, parts, event, self.own_listeners_from);
            }
        }
        drop(events);
        busy |= core.drain_mesh();
        busy |= core.serve_lines();
        core.serve_ready();
        busy |= parts.executor.run_ready();
        core.collect_segments();
        core.collect_sync();
        core.more_background = core.background();
        core.more_background |= core.advance_checkpoint(&mut parts.executor, &parts.disk);
        core.advance_scrub(&mut parts.executor, &parts.disk);
        core.maybe_sweep();
        core.expire_waits();
        core.expire_blocks();
        core.retry_accepts(&mut parts.driver);
        busy |= core.resume_held();
        core.rerun_inputs();
        busy |= core.resume_scripts();
        for socket in std::mem::take(&mut core.intents.adopt) {
            core.adopt(socket, &mut parts.driver);
        }
        core.commit(&mut parts.executor, &parts.disk);
        core.publish();
        core.advance_stop(&mut parts.driver);
        core.commit(&mut parts.executor, &parts.disk);
        core.flush(&mut parts.driver);
        parts.executor.run_ready();
        parts.queue_disk();
        self.was_busy = busy;
    }
}

fn on_event(core: &mut Core, parts: &mut ShardParts, event: Event, own_listeners_from: usize) {
    match event {
        Event::Received { socket, bytes } => {
            core.on_received(socket, parts.driver.bytes(&bytes));
            parts.driver.recycle(bytes);
        }
        Event::Sent { socket, buffer, result } => core.on_sent(socket, buffer, &result),
        Event::Ended { socket } => core.on_ended(socket),
        Event::Broken { socket } => core.close(socket),
        Event::Disk { token: DiskToken::Commit(id), result } => match result {
            DiskResult::Transferred(result, buffer) => core.on_committed(id, result, buffer),
            other => unreachable!("a log write was answered with {other:?}"),
        },
        Event::Disk { token: DiskToken::Task(index), result } => parts.disk.on_done(index, result),
        Event::Accepted { listener, socket } => {
            core.on_accepted(listener < own_listeners_from, socket, &mut parts.driver);
        }
        Event::AcceptFailed { listener, error } => core.on_accept_failed(listener, &error),
        Event::Woken => {}
    }
}

impl Core {
    /// Whether another shard, or a program in this process, has sent something that has not been taken.
    #[inline]
    fn has_inbound(&mut self) -> bool {
        self.links.has_inbound() || self.lines.is_rung()
    }

    fn set_time(&mut self, time: crate::runtime::Time) {
        self.time = time;
        self.store.set_now(time.unix_ms());
        self.refresh_rates();
    }

    /// Whether the next turn should not wait.
    fn has_work_now(&self) -> bool {
        self.more_background
            || self.scripts.want_turn()
            || !self.intents.rerun.is_empty()
            || self.links.has_outbox()
            || self.synced.borrow().is_some()
            || !self.segments.borrow().is_empty()
            || self.has_checkpoint_news()
            || self.has_scrub_news()
    }

    /// When the core wants a turn although nothing happens, monotonic ns.
    fn next_deadline_ns(&self) -> Option<u64> {
        let now = self.time;
        let from_unix_ms = |at_ms: u64| {
            let from_now_us = at_ms.saturating_mul(1000).saturating_sub(now.unix_us);
            now.monotonic_ns.saturating_add(from_now_us.saturating_mul(1000))
        };
        [
            self.store.sink().next_deadline(),
            self.store.next_expiry_ms().filter(|_| self.may_expire()).map(from_unix_ms),
            self.pause.until_ms().map(from_unix_ms),
            self.sweep_at_ns,
            self.waits.next_deadline_ns(),
            self.blocking.next_deadline_ns(),
            self.accept_again.iter().map(|(at, _)| *at).min(),
            self.stopping.deadline_ns(),
            self.checkpoint_deadline_ns(),
            self.scrub_deadline_ns(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Runs what waits in the inputs of connections whose hold has ended.
    fn rerun_inputs(&mut self) {
        for socket in std::mem::take(&mut self.intents.rerun) {
            self.run_buffered(socket);
            if socket.is_line() {
                self.serve_line(socket.line_index());
            }
            self.maybe_close(socket);
        }
    }

    fn publish(&mut self) {
        self.hold_outgoing();
        self.tell_changed();
        let mut wake = std::mem::take(&mut self.intents.wake);
        self.links.publish(&self.shared.peers, &mut self.gates, &mut wake);
        self.intents.wake = wake;
    }

    fn retry_accepts(&mut self, driver: &mut AnyDriver) {
        let now_ns = self.time.monotonic_ns;
        self.accept_again.retain(|(at, listener)| {
            let due = *at <= now_ns;
            if due {
                driver.accept(*listener);
            }
            !due
        });
    }
}
