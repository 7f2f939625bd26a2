//! One run of a seed: one or more servers in one world, each with its machine, disk and clients, and each living its own lives.
//!
//! Each server's story ([`Life`]) is a future that gives way after every step; here is who goes on next. Time moves on when
//! nobody has anything to do.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use annulus::runtime::sim::World;
use annulus_storage::coverage;

use super::life::Life;
use super::plan::{Mistake, Plan};
use super::report::{Counts, Report};
use crate::random::Random;

/// What to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// Instead of what the seed says.
    pub shards: Option<u16>,
    /// Keep a readable trace.
    pub trace: bool,
    /// A mistake that the run should find.
    pub mistake: Option<Mistake>,
    /// Shards take checkpoints by growth of their logs, some also at stops.
    pub checkpoints: bool,
}

/// What a server's story comes to.
type Ending = (Counts, Result<(), String>);

/// A server's story, and when it goes on.
struct Story {
    future: Pin<Box<dyn Future<Output = Ending>>>,
    until_ns: Rc<Cell<u64>>,
    ended: bool,
}

struct Together {
    world: World,
    random: Random,
    stories: Vec<Story>,
    counts: Counts,
}

/// Runs a seed to its end or its first fault.
pub fn run(options: Options) -> Report {
    let mut random = Random::new(options.seed);
    let servers = if random.one_in(4) { 2 + random.below(2) } else { 1 };
    let mut worlds: Vec<World> = Vec::new();
    let mut stories = Vec::new();
    for server in 0..servers {
        let mut own = Random::new(random.bits());
        let plan = Plan::of_seed(&mut own, server, options.shards, options.mistake, options.checkpoints);
        let world = match worlds.first() {
            None => World::new(own.bits(), plan.faults.clone(), options.trace),
            Some(first) => first.beside(own.bits(), plan.faults.clone()),
        };
        world.note("plan", &[], || format!("{plan:?}"));
        worlds.push(world.clone());
        let until_ns = Rc::default();
        let life = Life::new(world, own, plan, Rc::clone(&until_ns));
        stories.push(Story { future: Box::pin(life.live()), until_ns, ended: false });
    }
    let world = worlds[0].clone();
    let counts = Counts { seeds: 1, servers: servers as u64, ..Counts::default() };
    let mut together = Together { world: world.clone(), random, stories, counts };
    plant(options.mistake);
    // What other runs on this thread have left.
    drop(coverage::take());
    let failure = match catch_unwind(AssertUnwindSafe(|| together.run())) {
        Ok(result) => result.err(),
        Err(panic) => Some(panic_text(&*panic)),
    };
    plant(None);
    together.counts.branches = coverage::take().map(|(branch, count)| (branch.name(), count)).collect();
    Report {
        seed: options.seed,
        trace_hash: world.trace_hash(),
        counts: together.counts,
        failure,
        trace: world.take_trace(),
    }
}

impl Together {
    fn run(&mut self) -> Result<(), String> {
        loop {
            let now_ns = self.world.now_ns();
            let (mut ready, mut next_ns) = (Vec::new(), None::<u64>);
            for (index, story) in self.stories.iter().enumerate().filter(|(_, story)| !story.ended) {
                let until_ns = story.until_ns.get();
                if until_ns <= now_ns {
                    ready.push(index);
                }
                next_ns = Some(next_ns.map_or(until_ns, |next| next.min(until_ns)));
            }
            let Some(next_ns) = next_ns else { return Ok(()) };
            if ready.is_empty() {
                self.world.advance_to(next_ns);
                continue;
            }
            let story = &mut self.stories[ready[self.random.below(ready.len())]];
            let polled = story.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready((counts, result)) = polled {
                story.ended = true;
                self.counts += counts;
                result?;
            }
        }
    }
}

fn plant(mistake: Option<Mistake>) {
    use annulus_storage::planted::{Planted, plant};
    plant(Planted {
        forget_read_gate: mistake == Some(Mistake::ForgetReadGate),
        skip_checksum: mistake == Some(Mistake::SkipChecksum),
        replay_twice: mistake == Some(Mistake::ReplayTwice),
        expire_late: mistake == Some(Mistake::ExpireLate),
        half_commit: mistake == Some(Mistake::HalfCommit),
        ..Planted::default()
    });
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a text"))
}
