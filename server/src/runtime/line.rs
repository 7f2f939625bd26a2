//! Lines: what joins a program to a shard in its own process. Two bounded queues take the place of a socket.
//!
//! A line has a **program's end**, used by one thread at a time of a program that the shards know nothing of, and a
//! **shard's end**. Neither ever waits for the other:
//!
//! - The program pushes and *rings*: the bell is one word for all lines of a shard, so a shard looks at its lines only when one
//!   of them has something, and pays one load a turn when none has. A shard that sleeps is woken through its eventfd.
//! - The shard pushes and *notifies*, if the program has said that it waits for news: a call to its [`Listener`], on the
//!   shard's thread, which must be short and must not block.
//! - A queue without room is the sender's business: the program says that it wants room and is notified; the shard marks
//!   the line as stalled, and is rung when the program has taken something.
//!
//! Whichever end is dropped first says so. What was sent before is still there for the other end. Each of the four words
//! between the ends (`waits`, `wants_room`, `stalled`, `left`/`closed`) follows one protocol: who wants something stores, fences and
//! looks again; who does something stores, fences and looks at the word. Both fences are sequentially consistent, so at
//! least one sees the other.
#![expect(
    clippy::disallowed_types,
    reason = "only the opening of a line, which is rare, takes a lock; the shard takes it when it's told that there's something"
)]

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use annulus_storage::{DatabaseId, ShardId};

use super::mesh::{Receiver, Sender, queue};
use super::peers::Peers;

/// Whoever is to be told that a line has news for the program.
pub trait Listener: Send + Sync {
    /// There's something to take, room again, or the line is closed. Called on the shard's thread, once for each time that the program has
    /// said that it waits: short, and without waiting for anything.
    fn on_news(&self);
}

/// What rouses a shard for its lines.
#[repr(align(128))]
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    shard: ShardId,
    peers: Peers,
}

impl Bell {
    /// After something was done to a line: has its shard look.
    pub fn ring(&self) {
        // Whoever takes the bell after this sees what was done before: the exchanges of one word form one order.
        self.rung.swap(true, Ordering::AcqRel);
        if self.peers.take_sleeping(self.shard) {
            self.peers.wake_by_event(self.shard);
        }
    }

    /// Whether it has been rung since it was last taken.
    #[inline]
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// Takes notice of all rings so far.
    pub fn take(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// What both ends of a line see.
struct Between {
    /// The program waits for news.
    waits: AtomicBool,
    /// It waits for room in its queue.
    wants_room: AtomicBool,
    /// The shard has something for which its queue has no room.
    stalled: AtomicBool,
    /// The program's end is gone.
    left: AtomicBool,
    /// The shard's end is gone.
    closed: AtomicBool,
    listener: Weak<dyn Listener>,
}

/// The end of a line that the program has. `I`: what it sends.
pub struct ProgramEnd<I: Send> {
    to: Sender<I>,
    from: Receiver<Vec<u8>>,
    between: Arc<Between>,
    bell: Arc<Bell>,
}

impl<I: Send> fmt::Debug for ProgramEnd<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramEnd").field("shard", &self.bell.shard).finish_non_exhaustive()
    }
}

impl<I: Send> ProgramEnd<I> {
    /// Queues a message, or gives it back when there's no room; then the listener hears of room. Ring after it.
    pub fn try_send(&mut self, message: I) -> Result<(), I> {
        let message = match self.to.try_send(message) {
            Ok(()) => return Ok(()),
            Err(message) => message,
        };
        self.between.waits.store(true, Ordering::Relaxed);
        self.between.wants_room.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.to.try_send(message)
    }

    /// Takes everything that the shard has sent.
    pub fn receive_all(&mut self, mut take: impl FnMut(Vec<u8>)) {
        let mut any = false;
        while let Some(bytes) = self.from.try_receive() {
            any = true;
            take(bytes);
        }
        if any {
            self.note_room();
        }
    }

    /// Takes the oldest of what the shard has sent.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let bytes = self.from.try_receive();
        if bytes.is_some() {
            self.note_room();
        }
        bytes
    }

    fn note_room(&self) {
        fence(Ordering::SeqCst);
        let stalled = &self.between.stalled;
        if stalled.load(Ordering::Relaxed) && stalled.swap(false, Ordering::Relaxed) {
            self.bell.ring();
        }
    }

    /// Says that the listener is to hear of the next news. Returns whether there are some already, which must be looked at then.
    pub fn await_news(&mut self) -> bool {
        // Once said, it holds until the listener is called.
        if !self.between.waits.load(Ordering::Relaxed) {
            self.between.waits.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
        !self.from.is_empty() || self.is_closed()
    }

    /// Whether the shard's end is gone: what can still be received is the last.
    pub fn is_closed(&self) -> bool {
        self.between.closed.load(Ordering::Acquire)
    }
}

impl<I: Send> Drop for ProgramEnd<I> {
    fn drop(&mut self) {
        self.between.left.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// The end of a line that the shard has.
pub struct ShardEnd<I: Send> {
    from: Receiver<I>,
    to: Sender<Vec<u8>>,
    between: Arc<Between>,
}

impl<I: Send> fmt::Debug for ShardEnd<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardEnd").finish_non_exhaustive()
    }
}

impl<I: Send> ShardEnd<I> {
    /// Takes the oldest message.
    pub fn try_receive(&mut self) -> Option<I> {
        self.from.try_receive()
    }

    /// Whether the program's end is gone and nothing of it is left to take.
    pub fn is_at_end(&mut self) -> bool {
        // In this order: what was sent before it left is there once it has left.
        self.has_left() && self.from.is_empty()
    }

    /// Whether the program's end is gone.
    pub fn has_left(&self) -> bool {
        self.between.left.load(Ordering::Acquire)
    }

    /// Queues bytes for the program, or gives them back when there's no room; then the bell rings when there is.
    pub fn try_send(&mut self, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        let bytes = match self.to.try_send(bytes) {
            Ok(()) => return Ok(()),
            Err(bytes) => bytes,
        };
        self.between.stalled.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.to.try_send(bytes)
    }

    /// Before the last that it sends: this end goes right after it. Who has received that already knows.
    pub fn announce_close(&self) {
        self.between.closed.store(true, Ordering::Release);
    }

    /// After messages were taken: whether the program wants to hear of it.
    pub fn take_wants_room(&self) -> bool {
        fence(Ordering::SeqCst);
        let wants = &self.between.wants_room;
        wants.load(Ordering::Relaxed) && wants.swap(false, Ordering::Relaxed)
    }

    /// After something was sent, or room was made: calls the listener, if the program waits.
    pub fn notify(&self) {
        fence(Ordering::SeqCst);
        let waits = &self.between.waits;
        if waits.load(Ordering::Relaxed)
            && waits.swap(false, Ordering::Relaxed)
            && let Some(listener) = self.between.listener.upgrade()
        {
            listener.on_news();
        }
    }
}

impl<I: Send> Drop for ShardEnd<I> {
    fn drop(&mut self) {
        self.between.closed.store(true, Ordering::Release);
        self.notify();
    }
}

/// A new line, on its way to its shard.
#[derive(Debug)]
pub struct Arrival<I: Send> {
    /// The shard's end.
    pub end: ShardEnd<I>,
    /// The database in which its commands run.
    pub database: DatabaseId,
}

/// Where a shard's lines come in.
#[derive(Debug)]
pub struct Entrance<I: Send> {
    bell: Arc<Bell>,
    /// Nothing once the shard has ended.
    arrivals: Mutex<Option<Vec<Arrival<I>>>>,
}

impl<I: Send> Entrance<I> {
    /// Of this shard.
    pub fn new(shard: ShardId, peers: Peers) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), shard, peers });
        Entrance { bell, arrivals: Mutex::new(Some(Vec::new())) }
    }

    /// The bell of the shard's lines.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Opens a line with so much room each way (a power of two). Nothing if the shard has ended.
    pub fn open(
        &self,
        database: DatabaseId,
        capacity: usize,
        listener: Weak<dyn Listener>,
    ) -> Option<ProgramEnd<I>> {
        let between = Arc::new(Between {
            waits: AtomicBool::new(false),
            wants_room: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            left: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            listener,
        });
        let (to_shard, from_program) = queue(capacity);
        let (to_program, from_shard) = queue(capacity);
        let end = ShardEnd { from: from_program, to: to_program, between: Arc::clone(&between) };
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.as_mut()?.push(Arrival { end, database });
        drop(arrivals);
        self.bell.ring();
        Some(ProgramEnd { to: to_shard, from: from_shard, between, bell: Arc::clone(&self.bell) })
    }

    /// Takes the lines that have been opened.
    pub fn take_arrivals(&self) -> Vec<Arrival<I>> {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The shard ends: no line can be opened from now on.
    pub fn close(&self) {
        let last = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).take();
        // They hear that they are closed, without the lock.
        drop(last);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Ears(AtomicUsize);

    impl Ears {
        fn heard(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Listener for Ears {
        fn on_news(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn line(capacity: usize) -> (Arc<Ears>, Entrance<u32>, ProgramEnd<u32>, ShardEnd<u32>) {
        let entrance = Entrance::new(ShardId(0), Peers::simulated(1));
        let ears = Arc::new(Ears::default());
        let weak: Weak<Ears> = Arc::downgrade(&ears);
        let program = entrance.open(DatabaseId(0), capacity, weak).unwrap();
        assert!(entrance.bell().is_rung());
        entrance.bell().take();
        let shard = entrance.take_arrivals().pop().unwrap().end;
        (ears, entrance, program, shard)
    }

    #[test]
    fn who_waits_is_told_once_and_who_does_not_is_left_alone() {
        let (ears, _entrance, mut program, mut shard) = line(4);
        shard.try_send(vec![1]).unwrap();
        shard.notify();
        assert_eq!(ears.heard(), 0);
        assert!(program.await_news(), "what is there need not be waited for");
        assert_eq!(program.receive(), Some(vec![1]));
        assert!(!program.await_news());
        for _ in 0..2 {
            shard.try_send(vec![2]).unwrap();
            shard.notify();
        }
        assert_eq!(ears.heard(), 1);
    }

    #[test]
    fn a_full_queue_gives_back_and_tells_of_room() {
        let (ears, entrance, mut program, mut shard) = line(2);
        assert_eq!((program.try_send(1), program.try_send(2), program.try_send(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(shard.try_receive(), Some(1));
        assert!(shard.take_wants_room());
        shard.notify();
        assert_eq!(ears.heard(), 1);
        assert!(!shard.take_wants_room());

        for _ in 0..2 {
            shard.try_send(vec![]).unwrap();
        }
        assert_eq!(shard.try_send(vec![7]), Err(vec![7]));
        assert!(!entrance.bell().is_rung());
        program.receive_all(drop);
        assert!(entrance.bell().is_rung());
    }

    #[test]
    fn each_end_hears_that_the_other_is_gone_and_gets_what_was_sent_before() {
        let (ears, _entrance, mut program, mut shard) = line(2);
        assert!(!program.await_news());
        shard.try_send(vec![1]).unwrap();
        drop(shard);
        assert_eq!(ears.heard(), 1);
        assert!(program.is_closed());
        assert_eq!(program.receive(), Some(vec![1]));

        let (_ears, entrance, mut program, mut shard) = line(2);
        program.try_send(1).unwrap();
        drop(program);
        assert!(entrance.bell().is_rung() && shard.has_left() && !shard.is_at_end());
        assert_eq!(shard.try_receive(), Some(1));
        assert!(shard.is_at_end());
    }

    #[test]
    fn an_ended_shard_opens_no_line_and_closes_those_it_never_saw() {
        let entrance: Entrance<u32> = Entrance::new(ShardId(0), Peers::simulated(1));
        let ears = Arc::new(Ears::default());
        let weak: Weak<Ears> = Arc::downgrade(&ears);
        let early = entrance.open(DatabaseId(0), 2, weak.clone()).unwrap();
        entrance.close();
        assert!(early.is_closed());
        assert!(entrance.open(DatabaseId(0), 2, weak).is_none());
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        // A program that sleeps whenever there's nothing, and a shard that only works when rung.
        struct Unpark(std::thread::Thread, AtomicUsize);
        impl Listener for Unpark {
            fn on_news(&self) {
                self.1.fetch_add(1, Ordering::Relaxed);
                self.0.unpark();
            }
        }
        const ROUNDS: u32 = 20_000;
        let entrance: Arc<Entrance<u32>> = Arc::new(Entrance::new(ShardId(0), Peers::simulated(1)));
        let listener = Arc::new(Unpark(std::thread::current(), AtomicUsize::new(0)));
        let weak: Weak<Unpark> = Arc::downgrade(&listener);
        let mut program = entrance.open(DatabaseId(0), 2, weak).unwrap();
        let mut shard = entrance.take_arrivals().pop().unwrap().end;
        std::thread::scope(|scope| {
            let bell = Arc::clone(entrance.bell());
            scope.spawn(move || {
                let mut answered = 0;
                while answered < ROUNDS {
                    if !bell.is_rung() {
                        std::thread::yield_now();
                        continue;
                    }
                    bell.take();
                    let mut any = false;
                    while let Some(number) = shard.try_receive() {
                        answered += 1;
                        any = true;
                        shard.try_send(number.to_ne_bytes().to_vec()).unwrap();
                    }
                    if any {
                        shard.notify();
                    }
                }
            });
            for round in 0..ROUNDS {
                program.try_send(round).unwrap();
                program.bell.ring();
                let answer = loop {
                    if let Some(answer) = program.receive() {
                        break answer;
                    }
                    if !program.await_news() {
                        std::thread::park();
                    }
                };
                assert_eq!(answer, round.to_ne_bytes());
            }
        });
    }
}
