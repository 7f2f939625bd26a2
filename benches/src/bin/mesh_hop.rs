//! A hop between two shards and back: the queue, the sleep protocol and the wake-up, as the server uses them.
//!
//! Two threads, each pinned to a core with a driver of its own, play ping-pong with batches of messages. What
//! differs is how an end waits: it never sleeps, it sleeps at once, or it looks for a while first. Prints, for each,
//! the round trip and the CPU time that each end spends on a message.
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures with the machine's clock, on threads of its own"
)]

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use annulus::runtime::driver::{AnyDriver, Driver, Wait};
use annulus::runtime::epoll::Epoll;
use annulus::runtime::mesh::{self, Receiver, Sender};
use annulus::runtime::peers::Peers;
use annulus::runtime::uring::{self, Uring};
use annulus_benches::load::Histogram;
use annulus_storage::ShardId;
use rustix::time::{ClockId, clock_gettime};

/// How long each row is measured.
const ROW_TIME: Duration = Duration::from_secs(1);
/// Round trips before the measurement.
const WARM_UP: usize = 1000;
/// The server's default of `spin-us`.
const SPIN_SHORT: Duration = Duration::from_micros(5);

/// A batch; the far end adds one to each message. Empty: the end.
type Batch = Vec<u64>;

/// What an end does while nothing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Looks again, for ever.
    Awake,
    /// Looks for so long, then sleeps in the driver.
    Sleep { after: Duration },
}

/// A driver that really wakes.
#[derive(Debug, Clone, Copy)]
enum Backend {
    Uring,
    Epoll,
}

/// One side of the ping-pong.
struct End {
    id: ShardId,
    peer: ShardId,
    sender: Sender<Batch>,
    receiver: Receiver<Batch>,
    peers: Peers,
    driver: AnyDriver,
    waiting: Waiting,
}

/// What makes an [`End`] on its thread, where its driver must be made.
struct Seat {
    id: ShardId,
    core: usize,
    sender: Sender<Batch>,
    receiver: Receiver<Batch>,
    peers: Peers,
    backend: Backend,
    waiting: Waiting,
}

impl Seat {
    fn take(self) -> io::Result<End> {
        core_affinity::set_for_current(core_affinity::CoreId { id: self.core });
        let driver = match self.backend {
            Backend::Uring => {
                AnyDriver::Uring(Box::new(Uring::new(self.id, self.peers.clone(), uring::probe()?)?))
            }
            Backend::Epoll => AnyDriver::Epoll(Box::new(Epoll::new(self.id, self.peers.clone())?)),
        };
        Ok(End {
            id: self.id,
            peer: ShardId(1 - self.id.0),
            sender: self.sender,
            receiver: self.receiver,
            peers: self.peers,
            driver,
            waiting: self.waiting,
        })
    }
}

impl End {
    fn send(&mut self, batch: Batch) -> io::Result<()> {
        assert!(self.sender.try_send(batch).is_ok(), "ping-pong never fills the queue");
        if self.peers.take_sleeping(self.peer) {
            self.driver.wake(self.peer);
            // An end that sleeps at once submits the wake with its own wait; one that looks first must not keep it.
            if self.waiting != (Waiting::Sleep { after: Duration::ZERO }) {
                self.driver.turn(Wait::Poll, &mut Vec::new())?;
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Batch> {
        let mut events = Vec::new();
        loop {
            let start = Instant::now();
            loop {
                if let Some(batch) = self.receiver.try_receive() {
                    return Ok(batch);
                }
                match self.waiting {
                    Waiting::Sleep { after } if start.elapsed() >= after => break,
                    _ => std::hint::spin_loop(),
                }
            }
            self.peers.announce_sleep(self.id);
            if self.receiver.is_empty() {
                self.driver.turn(Wait::Forever, &mut events)?;
                events.clear();
            }
            self.peers.announce_awake(self.id);
        }
    }

    /// The far side: adds one to every message and sends the batch back, until an empty one comes. Its CPU time.
    fn answer(mut self) -> io::Result<Duration> {
        loop {
            let mut batch = self.receive()?;
            if batch.is_empty() {
                return Ok(thread_cpu());
            }
            for message in &mut batch {
                *message += 1;
            }
            self.send(batch)?;
        }
    }

    /// The near side, for `ROW_TIME`.
    fn ask(mut self, batch_size: usize) -> io::Result<(Histogram, Duration)> {
        let mut batch: Batch = vec![0; batch_size];
        let mut times = Histogram::default();
        let (mut start, mut cpu) = (Instant::now(), thread_cpu());
        let mut trips = 0;
        while trips < WARM_UP || start.elapsed() < ROW_TIME {
            if trips == WARM_UP {
                (times, start, cpu) = (Histogram::default(), Instant::now(), thread_cpu());
            }
            let before = Instant::now();
            self.send(batch)?;
            batch = self.receive()?;
            times.record(before.elapsed().as_nanos() as u64);
            trips += 1;
        }
        assert!(
            batch.iter().all(|&message| message == trips as u64),
            "every batch came back, changed once each time"
        );
        let cpu = thread_cpu().saturating_sub(cpu);
        self.send(Vec::new())?;
        if self.waiting != Waiting::Awake {
            self.driver.turn(Wait::Poll, &mut Vec::new())?;
        }
        Ok((times, cpu))
    }
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn measure(backend: Backend, waiting: Waiting, batch_size: usize, cores: [usize; 2]) -> io::Result<()> {
    let peers = Peers::new(2)?;
    let (to_far, from_near) = mesh::queue(mesh::QUEUE_MESSAGES_MAX);
    let (to_near, from_far) = mesh::queue(mesh::QUEUE_MESSAGES_MAX);
    let seat = |id: u16, sender, receiver| Seat {
        id: ShardId(id),
        core: cores[usize::from(id)],
        sender,
        receiver,
        peers: peers.clone(),
        backend,
        waiting,
    };
    let (near, far) = (seat(0, to_far, from_far), seat(1, to_near, from_near));
    let (times, near_cpu, far_cpu) = thread::scope(|scope| {
        let far = scope.spawn(|| far.take()?.answer());
        let near = scope.spawn(|| near.take()?.ask(batch_size));
        let (times, near_cpu) = near.join().expect("the near thread returns its errors")?;
        let far_cpu = far.join().expect("the far thread returns its errors")?;
        io::Result::Ok((times, near_cpu, far_cpu))
    })?;
    let messages = times.total() as f64 * batch_size as f64;
    let name = match waiting {
        Waiting::Awake => "never sleeps".to_owned(),
        Waiting::Sleep { after: Duration::ZERO } => "sleeps at once".to_owned(),
        Waiting::Sleep { after } => format!("looks {} µs, sleeps", after.as_micros()),
    };
    println!(
        "| {} | {name} | {batch_size} | {:.2} | {:.2} | {:.3} | {:.3} |",
        format!("{backend:?}").to_lowercase(),
        times.quantile(0.5) as f64 / 1000.0,
        times.quantile(0.99) as f64 / 1000.0,
        near_cpu.as_secs_f64() * 1e6 / messages,
        // The far side's time contains the warm-up, and the making of its driver.
        far_cpu.as_secs_f64() * 1e6 / (messages + (WARM_UP * batch_size) as f64),
    );
    Ok(())
}

fn main() -> io::Result<()> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let [first, second, ..] = cores.as_slice() else {
        return Err(io::Error::other("a hop needs two cores"));
    };
    println!(
        "| driver | an end that waits | batch | round trip p50 µs | p99 µs | near CPU µs/message | far |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    for backend in [Backend::Uring, Backend::Epoll] {
        for waiting in
            [Waiting::Awake, Waiting::Sleep { after: Duration::ZERO }, Waiting::Sleep { after: SPIN_SHORT }]
        {
            for batch_size in [1, 16] {
                measure(backend, waiting, batch_size, [first.id, second.id])?;
            }
        }
    }
    Ok(())
}
