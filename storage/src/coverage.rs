//! Rare branches, counted where they are taken: a simulation that never gets there proves nothing about them.
//!
//! Counted with the feature `coverage` only, which the simulator asks for; in every other build [`reached`] is nothing.

/// Declares the branches with their names in reports.
macro_rules! branches {
    ($($(#[$doc:meta])+ $branch:ident = $name:literal;)+) => {
        /// A branch that ordinary work does not take.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Branch { $($(#[$doc])+ $branch,)+ }

        impl Branch {
            /// All of them.
            pub const ALL: &'static [Branch] = &[$(Branch::$branch,)+];

            /// In reports.
            pub const fn name(self) -> &'static str {
                match self { $(Branch::$branch => $name,)+ }
            }
        }
    };
}

branches! {
    /// Recovery cut off what a crash had left unfinished.
    TornTail = "recovery: torn tail cut off";
    /// Recovery wiped the beginning of it.
    TornWiped = "recovery: torn beginning wiped";
    /// Recovery dropped a group of effects without its end.
    GroupDropped = "recovery: group without an end dropped";
    /// Recovery dropped an effect of a transaction that had not reached all of its logs.
    TransactionDropped = "recovery: effect of half a transaction dropped";
    /// A transaction gave a part of its locks back to an older one.
    Wounded = "transactions: locks given back to an older one";
    /// The other shard of a transaction over two has decided it.
    Entrusted = "transactions: decided by the other shard";
    /// It had to wait there, so its coordinator decided it.
    Declined = "transactions: given back to the coordinator to decide";
    /// A command waited for a key of its one shard, and was served.
    WaitServed = "waiting: served";
    /// A command found nothing on several shards, and waits.
    WaitSpread = "waiting: for keys of several shards";
    /// One of its keys has changed: it tries again.
    WaitAgain = "waiting: tried again on several shards";
    /// A command's time is over.
    WaitOver = "waiting: ended without anything";
    /// Recovery synced effects that no frame had called durable.
    MadeDurable = "recovery: unproven effects made durable";
    /// A later frame proved that a missing one was durable.
    Damaged = "recovery: damage refused, a later frame is proof";
    /// A closed log did not end where the manifest says.
    ClosedChanged = "recovery: damage refused, a closed log has changed";
    /// A start went on from what was retained, in the place of a damaged checkpoint.
    PastTaken = "recovery: retained log in the place of a checkpoint";
    /// A scrub found damage.
    ScrubFault = "scrub: damage found";
    /// A segment was not what it should be.
    WrongSegment = "recovery: damage refused, a wrong segment";
    /// A start with another number of shards.
    EpochOpened = "manifest: new epoch";
    /// The ends of a closed epoch's logs were recorded.
    EpochClosed = "manifest: ends of closed logs recorded";
    /// An effect larger than a frame.
    EffectSplit = "log: effect in several frames";
    /// A frame was full before the turn's end.
    FrameFull = "log: frame full";
    /// A segment was full.
    SegmentFull = "log: next segment taken into use";
    /// A frame had to wait for a segment.
    SegmentAwaited = "log: frame waits for a segment";
    /// A segment could not be made.
    SegmentFailed = "log: segment could not be made";
    /// A frame that carries nothing but the horizon.
    HorizonFrame = "log: frame for the horizon alone";
    /// A write ended before one that began earlier.
    OutOfOrder = "log: writes ended out of order";
    /// A write was refused for want of space.
    NoSpace = "log: write refused, no space";
    /// A write was refused after a failure.
    RefusedFailed = "log: write refused, the log has failed";
    /// A write failed, or was cut short.
    Latched = "log: latched";
    /// A key was met after its time.
    ExpiredMet = "store: expired key met";
    /// A key was removed by search.
    ExpiredFound = "store: expired key found by search";
    /// A reply waited for the log.
    Gated = "shard: reply waits for the log";
    /// A reply for another shard did.
    BatchGated = "shard: batch waits for the log";
    /// Replies of another shard were given up after a failure.
    BatchLost = "shard: batch given up";
    /// A part of an operation over several shards was.
    PartLost = "shard: part of an operation given up";
    /// What was durable left although the log had failed.
    LeftAfterFailure = "shard: durable reply left after a failure";
    /// A read of what will never be durable was refused.
    ReadRefused = "shard: read refused after a failure";
    /// A queue of the mesh was full.
    QueueFull = "mesh: queue full";
    /// An outbox went over its bound.
    OutboxFull = "mesh: outbox over its bound";
    /// A connection was held until there's room again.
    Held = "back-pressure: connection held";
    /// The driver was told to stop receiving.
    ReceivePaused = "back-pressure: receiving paused";
    /// A stop gave up.
    StopGaveUp = "stop: gave up";
}

#[cfg(feature = "coverage")]
mod counting {
    use std::cell::RefCell;

    use super::Branch;

    thread_local! {
        static COUNTS: RefCell<[u64; Branch::ALL.len()]> = const { RefCell::new([0; Branch::ALL.len()]) };
    }

    /// Counts that a branch was taken on this thread.
    pub fn reached(branch: Branch) {
        COUNTS.with_borrow_mut(|counts| counts[branch as usize] += 1);
    }

    /// How often each branch was taken on this thread since the last call.
    pub fn take() -> impl Iterator<Item = (Branch, u64)> {
        let counts = COUNTS.replace([0; Branch::ALL.len()]);
        Branch::ALL.iter().copied().zip(counts)
    }
}

#[cfg(feature = "coverage")]
pub use counting::{reached, take};

/// Counts that a branch was taken, in builds that count.
#[cfg(not(feature = "coverage"))]
#[inline(always)]
pub const fn reached(_branch: Branch) {}
