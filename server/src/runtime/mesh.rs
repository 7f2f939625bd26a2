//! The mesh: one bounded lock-free single-producer single-consumer queue for every ordered pair of shards.
//!
//! A queue is a ring of slots with a head that only the consumer moves and a tail that only the producer moves;
//! each keeps a copy of the other's index and re-reads it only when the copy says full (or empty), so that a burst costs
//! one cache-line transfer, not one a message. A full queue refuses; what to do then is the sender's
//! business (keep the message, and stop reading from whoever causes more).
#![expect(unsafe_code, reason = "the slots are handed from one thread to another without a lock")]

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Messages a queue holds. One message is a whole turn's batch, so a queue is hardly ever deeper than the number
/// of turns that its consumer is behind; when it is this far behind, back-pressure is right.
pub const QUEUE_MESSAGES_MAX: usize = 256;
const _: () = assert!(QUEUE_MESSAGES_MAX.is_power_of_two());

#[repr(align(128))]
struct Padded<T>(T);

struct Ring<T> {
    head: Padded<AtomicUsize>,
    tail: Padded<AtomicUsize>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a slot is touched by the producer before `tail` is released past it and by the consumer after `tail` is
// acquired past it, and the other way round with `head`: never by both at once. `Sender` and `Receiver` are not
// `Clone` and take `&mut self`, so there is one of each.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: the ring owns its messages; sending it sends them.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let (head, tail) = (*self.head.0.get_mut(), *self.tail.0.get_mut());
        let mut index = head;
        while index != tail {
            let slot = &self.slots[index & (self.slots.len() - 1)];
            // SAFETY: slots in head..tail were written by `try_send` and not yet read by `try_receive`.
            unsafe { (*slot.get()).assume_init_drop() };
            index = index.wrapping_add(1);
        }
    }
}

/// The producing end of a queue.
pub struct Sender<T> {
    ring: Arc<Ring<T>>,
    tail: usize,
    head_seen: usize,
}

/// The consuming end of a queue.
pub struct Receiver<T> {
    ring: Arc<Ring<T>>,
    head: usize,
    tail_seen: usize,
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("head", &self.head).finish_non_exhaustive()
    }
}

/// A queue for `capacity` messages (a power of two).
pub fn queue<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity.is_power_of_two(), "queue capacity {capacity} is not a power of two");
    let ring = Arc::new(Ring {
        head: Padded(AtomicUsize::new(0)),
        tail: Padded(AtomicUsize::new(0)),
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    let sender = Sender { ring: Arc::clone(&ring), tail: 0, head_seen: 0 };
    (sender, Receiver { ring, head: 0, tail_seen: 0 })
}

impl<T: Send> Sender<T> {
    /// Queues a message, or gives it back when the queue is full.
    pub fn try_send(&mut self, message: T) -> Result<(), T> {
        let capacity = self.ring.slots.len();
        if self.tail.wrapping_sub(self.head_seen) == capacity {
            self.head_seen = self.ring.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) == capacity {
                return Err(message);
            }
        }
        let slot = &self.ring.slots[self.tail & (capacity - 1)];
        // SAFETY: tail - head < capacity, so the consumer is done with this slot (its release of `head` was acquired
        // above), and only this sender writes slots.
        unsafe { (*slot.get()).write(message) };
        self.tail = self.tail.wrapping_add(1);
        self.ring.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T: Send> Receiver<T> {
    /// Takes the oldest message, if there is one.
    pub fn try_receive(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let slot = &self.ring.slots[self.head & (self.ring.slots.len() - 1)];
        // SAFETY: head < tail_seen ≤ tail, so the producer wrote this slot and released it, and only this receiver
        // reads slots; advancing `head` below makes sure that it's read once.
        let message = unsafe { (*slot.get()).assume_init_read() };
        self.head = self.head.wrapping_add(1);
        self.ring.head.0.store(self.head, Ordering::Release);
        Some(message)
    }

    /// Whether nothing is queued, as far as this end can see now.
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            self.tail_seen = self.ring.tail.0.load(Ordering::Acquire);
        }
        self.head == self.tail_seen
    }
}

/// One shard's ends of the mesh, by the number of the other shard; `None` at its own place.
#[derive(Debug)]
pub struct MeshEnds<T> {
    /// Queues to the others.
    pub senders: Vec<Option<Sender<T>>>,
    /// Queues from the others.
    pub receivers: Vec<Option<Receiver<T>>>,
}

/// Queues between every two of `shards` shards, dealt out by shard.
pub fn mesh<T: Send>(shards: u16) -> Vec<MeshEnds<T>> {
    mesh_of(shards, QUEUE_MESSAGES_MAX)
}

/// As [`mesh`], with another capacity of the queues: a power of two.
pub fn mesh_of<T: Send>(shards: u16, capacity: usize) -> Vec<MeshEnds<T>> {
    let count = usize::from(shards);
    let empty = || MeshEnds {
        senders: (0..count).map(|_| None).collect(),
        receivers: (0..count).map(|_| None).collect(),
    };
    let mut ends: Vec<MeshEnds<T>> = (0..count).map(|_| empty()).collect();
    for from in 0..count {
        for to in (0..count).filter(|&to| to != from) {
            let (sender, receiver) = queue(capacity);
            ends[from].senders[to] = Some(sender);
            ends[to].receivers[from] = Some(receiver);
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn a_full_queue_refuses_and_gives_the_message_back() {
        let (mut sender, mut receiver) = queue(4);
        for i in 0..4 {
            sender.try_send(Box::new(i)).unwrap();
        }
        assert_eq!(*sender.try_send(Box::new(9)).unwrap_err(), 9);
        assert_eq!(*receiver.try_receive().unwrap(), 0);
        sender.try_send(Box::new(4)).unwrap();
        let rest: Vec<i32> = std::iter::from_fn(|| receiver.try_receive()).map(|b| *b).collect();
        assert_eq!(rest, [1, 2, 3, 4]);
    }

    #[test]
    fn messages_cross_threads_in_order_and_none_is_lost() {
        let (mut sender, mut receiver) = queue(8);
        let count = 200_000u64;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for i in 0..count {
                    let mut message = Box::new(i);
                    while let Err(back) = sender.try_send(message) {
                        message = back;
                        std::thread::yield_now();
                    }
                }
            });
            let mut expected = 0;
            while expected < count {
                match receiver.try_receive() {
                    Some(message) => {
                        assert_eq!(*message, expected);
                        expected += 1;
                    }
                    None => std::thread::yield_now(),
                }
            }
        });
    }

    #[test]
    fn dropping_a_queue_drops_what_it_holds_once() {
        static DROPS: AtomicU64 = AtomicU64::new(0);
        struct Counted;
        impl Drop for Counted {
            fn drop(&mut self) {
                DROPS.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (mut sender, mut receiver) = queue(8);
        for _ in 0..5 {
            assert!(sender.try_send(Counted).is_ok());
        }
        drop(receiver.try_receive());
        drop((sender, receiver));
        assert_eq!(DROPS.load(Ordering::Relaxed), 5);
    }
}
