//! How a log behaves, and the limits it keeps.

use crate::ShardId;

/// When a write counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When its frame is on stable storage; frames are written as soon as a write may be in flight.
    #[default]
    Always,
    /// At once; frames reach stable storage within about [`LogOptions::interval_ns`].
    EverySec,
    /// At once; frames are written after about [`LogOptions::interval_ns`] or when full, and nobody asks the disk
    /// when they are stable.
    None,
}

impl Durability {
    /// As in `durability = "…"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySec => "everysec",
            Self::None => "none",
        }
    }
}

/// Settings of one shard's log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The shard, for messages.
    pub shard: ShardId,
    /// When frames are written, and whether with a sync.
    pub durability: Durability,
    /// Frame writes in flight at most, from 1. See `docs/decisions/0003-commit-path.md` for the default.
    pub in_flight_max: usize,
    /// Size of a new segment, a multiple of 4096.
    pub segment_bytes: u64,
    /// A frame's size at most, a multiple of 4096, at most a quarter of a segment.
    pub frame_bytes_max: usize,
    /// Frames begin and end on multiples of this: 512 ..= 4096, a power of two, at least what [`crate::disk::Disk::alignment`] says.
    pub alignment: usize,
    /// Prepared segments kept ready beside the one in use.
    pub segments_ahead: usize,
    /// `EverySec` and `None`: how long an open frame waits for more.
    pub interval_ns: u64,
    /// `Always`: how long the log is idle before it writes one empty frame that carries the horizon.
    pub horizon_idle_ns: u64,
    /// `Always`: how long records wait at most for others to fill their block, while others come fast enough to do so;
    /// 0 for never.
    pub fill_wait_ns: u64,
    /// After a segment could not be prepared: how long until the next attempt.
    pub segment_retry_ns: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            shard: ShardId(0),
            durability: Durability::Always,
            in_flight_max: 2,
            segment_bytes: 64 << 20,
            // Sequential writes reach full disk bandwidth from 256 KiB on; a larger frame only adds latency.
            frame_bytes_max: 256 << 10,
            alignment: 4096,
            // One is being made while the log goes on into another: at the highest rates a segment lasts a few tenths of a second.
            segments_ahead: 2,
            interval_ns: 1_000_000_000,
            horizon_idle_ns: 10_000_000,
            fill_wait_ns: 0,
            segment_retry_ns: 1_000_000_000,
        }
    }
}

impl LogOptions {
    /// # Panics
    /// When a setting is outside its documented range: configuration is checked where it is read.
    pub(super) fn assert_valid(&self) {
        let shard = self.shard;
        assert!(self.in_flight_max >= 1, "shard {shard}: no write may be in flight");
        assert!(self.segments_ahead >= 1, "shard {shard}: no segment may be prepared ahead");
        assert!(
            self.alignment.is_power_of_two()
                && (limits::ALIGNMENT_MIN..=limits::ALIGNMENT_MAX).contains(&self.alignment),
            "shard {shard}: frame alignment {}",
            self.alignment
        );
        assert!(
            self.frame_bytes_max >= limits::FRAME_BYTES_MAX_MIN
                && self.frame_bytes_max <= limits::FRAME_BYTES_MAX
                && self.frame_bytes_max.is_multiple_of(limits::ALIGNMENT_MAX),
            "shard {shard}: frame size {}",
            self.frame_bytes_max
        );
        assert!(
            self.segment_bytes.is_multiple_of(limits::ALIGNMENT_MAX as u64)
                && self.segment_bytes >= 4 * self.frame_bytes_max as u64
                && self.segment_bytes <= limits::SEGMENT_BYTES_MAX,
            "shard {shard}: segment size {} with frames of {}",
            self.segment_bytes,
            self.frame_bytes_max
        );
    }
}

/// The limits of the log, in one place.
pub mod limits {
    use crate::buffer::BUFFER_ALIGNMENT;

    /// Frames begin on multiples of this at least: the smallest sector of any disk.
    pub const ALIGNMENT_MIN: usize = 512;
    /// And never need to begin on multiples of more: a buffer's own alignment.
    pub const ALIGNMENT_MAX: usize = BUFFER_ALIGNMENT;
    /// A frame may always be this large: below, a command's effects would be cut into confetti.
    pub const FRAME_BYTES_MAX_MIN: usize = 4096;
    /// Readers accept frames up to this size: what they must hold in memory at once.
    pub const FRAME_BYTES_MAX: usize = 4 << 20;
    /// Offsets within a segment fit 32 bits of 512-byte units with room to spare; this is for sanity.
    pub const SEGMENT_BYTES_MAX: u64 = 1 << 36;
    /// A record at most: a 512 MiB key with a 512 MiB value and what surrounds them.
    pub const RECORD_BYTES_MAX: usize = (1 << 30) + 4096;
    /// Buffers that the log keeps for reuse at most; more exist only while a backlog lasts.
    pub const POOLED_BUFFERS_MAX: usize = 8;
    /// Space that admission leaves free for what nobody asks admission for: expiry, horizon frames, the clean-stop mark.
    pub const RESERVE_BYTES: u64 = 256 << 10;
    /// With [`super::Durability::None`]: how long transactions over several logs stay undecided at most before the log is synced.
    /// Long, because nobody waits for it; bounded, because what is undecided takes memory.
    pub const UNDECIDED_SYNC_NS: u64 = 2_000_000_000;
    /// And how many may be undecided before it is synced at once: what is known of them stays in the cache of the core, and deciding
    /// them takes a turn of a millisecond at most.
    pub const UNDECIDED_SYNC_COUNT: usize = 512;

    /// Groups or transactions that one note names at most; more take several notes. So a note fits any frame and is never cut
    /// into fragments: who reads notes alone need not put records together.
    pub const NOTE_LIST_MAX: usize = 450;

    const _: () =
        assert!(super::super::frame::FRAME_HEADER_BYTES + 16 + 8 * NOTE_LIST_MAX <= FRAME_BYTES_MAX_MIN);
    const _: () = assert!(ALIGNMENT_MIN <= ALIGNMENT_MAX && FRAME_BYTES_MAX_MIN >= ALIGNMENT_MAX);
    const _: () = assert!(SEGMENT_BYTES_MAX / ALIGNMENT_MIN as u64 <= u32::MAX as u64);
    const _: () = assert!(RESERVE_BYTES <= 64 << 20);
}
