//! The bounds of a shard's queues, batches and loops, together, with the reason of each.

/// Commands parsed ahead of the first one that runs, so that their table lines are fetched meanwhile. 16 hide most of
/// a miss (docs/decisions); more only spread the scratch space over more cache lines.
pub const PIPELINE_COMMANDS: usize = 32;

/// Replies that one connection may wait for before no further command of it is parsed.
pub const REPLIES_WAITING_MAX: usize = 1024;

/// Unsent output of one connection at which no further command of it is parsed until it has read some: a client
/// that only sends costs this much memory, not all there is.
pub const OUTPUT_HIGH_BYTES: usize = 1 << 20;

/// Output that may wait when parsing goes on again.
pub const OUTPUT_LOW_BYTES: usize = OUTPUT_HIGH_BYTES / 4;

/// Unparsed input of a held connection at which the driver stops receiving from it.
pub const INPUT_HELD_BYTES: usize = 64 << 10;

/// Most room made in advance for a bulk that a client has announced: it may never come.
pub const INPUT_RESERVE_BYTES: usize = 1 << 20;

/// Capacity of an output buffer that is kept for the next connection when its bytes have been sent.
pub const OUTPUT_POOLED_BYTES_MAX: usize = 64 << 10;

/// Output buffers kept for reuse.
pub const OUTPUT_POOL_MAX: usize = 256;

/// Bytes of log that may wait or be in flight before the shard stops taking commands from its connections.
pub const LOG_BACKLOG_BYTES: u64 = 32 << 20;

/// Arguments of one batch, in bytes, at which it goes out in the middle of a turn.
pub const BATCH_BYTES: usize = 256 << 10;

/// Messages taken from one line in a turn, so that a program that never stops leaves room for others. As many as there may
/// be unanswered replies.
pub const LINE_MESSAGES_MAX: usize = 1024;

/// Commands of one line that a turn begins no further message after. Replies leave at its end: a program with several pipelines under
/// way goes on with the first while the shard runs the next, instead of each waiting for the other.
pub const LINE_COMMANDS_MAX: usize = 256;

/// Messages that may wait for a full mesh queue before the connections that cause more are held.
pub const OUTBOX_MESSAGES_MAX: usize = 16;

/// Bytes of notices that may wait for one shard; beyond that they are dropped, and those who listen there are closed. A
/// shard takes in hundreds of megabytes a second: one that is this far behind has listeners that nobody can serve.
pub const NOTICES_WAITING_BYTES_MAX: usize = 64 << 20;

/// Keys expired in one turn at most, and entries freed in one turn at most: some tens of microseconds each (500 freed
/// entries took up to 1.9 ms on a busy machine, each a cache miss or two).
pub const EXPIRE_PER_TURN: usize = 200;
/// See [`EXPIRE_PER_TURN`].
pub const RECLAIM_PER_TURN: usize = 200;

/// Keys that one command gives up at most when memory is short, and a turn besides. At one to some microseconds a key
/// that is well below a millisecond.
pub const EVICT_PER_COMMAND: usize = 64;
/// See [`EVICT_PER_COMMAND`].
pub const EVICT_PER_TURN: usize = 128;

/// What a command may bring to memory beside its arguments: an entry, a part of a table.
pub const COMMAND_MEMORY_BYTES: usize = 256;

/// Bytes of log that wait or are in flight at which a checkpoint takes no further slice: commits go first.
pub const CHECKPOINT_BACKLOG_BYTES: u64 = 1 << 20;

/// How many times slower than its bandwidth a checkpoint is written while commits are under way, at least. On a disk whose flushes
/// wait for everything in its cache, commits at 50 connections lost 40 % of their rate at 128 MiB/s of checkpoint, a quarter at 32 and
/// nothing at 8.
pub const CHECKPOINT_YIELD: u64 = 8;

/// The same, at most: in between, as fast as the log is written.
pub const CHECKPOINT_YIELD_MOST: u64 = 32;

/// Over how long the rate of the log is measured for that.
pub const CHECKPOINT_PACE_NS: u64 = 10_000_000;

/// The same when the log has grown, since the checkpoint began, by what would have another one begin.
pub const CHECKPOINT_YIELD_LATE: u64 = 2;

/// How long a backup is under way without its program saying so.
pub const BACKUP_LEASE_NS: u64 = 20_000_000_000;

/// How long after a checkpoint that failed the next one begins unasked.
pub const CHECKPOINT_RETRY_NS: u64 = 60_000_000_000;

/// How long accepting rests after it failed for want of descriptors or memory.
pub const ACCEPT_RETRY_NS: u64 = 100_000_000;

/// How long a clean stop waits for replies and the log before it gives up.
pub const STOP_PATIENCE_NS: u64 = 10_000_000_000;

/// One in this many commands is timed; INFO's times are scaled up from them. Reading the clock twice costs more
/// than a tenth of a pipelined GET.
pub const TIMED_COMMANDS: u32 = 64;

const _: () = assert!(OUTPUT_LOW_BYTES < OUTPUT_HIGH_BYTES);
const _: () = assert!(TIMED_COMMANDS.is_power_of_two());
