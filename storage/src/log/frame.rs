//! A frame: header, records, zeros up to the alignment; one write, one checksum.
//!
//! The checksum is seeded with the log's [`LogIdentity`] and covers every byte of the frame but the magic
//! (compared itself) and itself. The header says where the frame belongs (segment and offset), which process life
//! wrote it (incarnation) and which frame came before it (its checksum), so a frame that an earlier life left
//! behind, that the disk put elsewhere, or that a client wrote into a value, is not taken for one of the chain.

use std::fmt;

use crc32fast::Hasher;

use super::{LogIdentity, SegmentId, limits};
use crate::{Lsn, ShardId};

// Byte table (little endian); docs/format.md has the same one.
//   0   4  magic
//   4   4  checksum of bytes 8.. of the whole frame
//   8   4  checksum of the frame before it in the log; of the first one: 0
//  12   4  frame length, padding included
//  16   4  payload length
//  20   2  shard
//  22   1  format version
//  23   1  flags
//  24   4  epoch
//  28   4  incarnation
//  32   8  first LSN: of the first effect that ends in this frame, or that would
//  40   8  durable horizon when the frame was sealed
//  48   4  effects that end in this frame
//  52   4  offset of the frame in its segment, in units of 512 bytes
//  56   8  segment
//  64   …  payload
const MAGIC: [u8; 4] = *b"ANFR";
const CHECKSUM_AT: usize = 4;
const COVERED_AT: usize = 8;
const PREVIOUS_AT: usize = 8;
const FRAME_BYTES_AT: usize = 12;
const PAYLOAD_BYTES_AT: usize = 16;
const SHARD_AT: usize = 20;
const VERSION_AT: usize = 22;
const FLAGS_AT: usize = 23;
const EPOCH_AT: usize = 24;
const INCARNATION_AT: usize = 28;
const FIRST_LSN_AT: usize = 32;
const HORIZON_AT: usize = 40;
const RECORDS_AT: usize = 48;
const OFFSET_UNITS_AT: usize = 52;
const SEGMENT_AT: usize = 56;

/// Length of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 64;
/// Version of the frame and record layout.
pub const FRAME_VERSION: u8 = 1;
/// The frame was the last one before a clean stop: everything before it is durable.
pub const FLAG_CLEAN_STOP: u8 = 1;
/// The frame has records that say how groups of several logs hang together, or any part of the group of a transaction: who asks
/// about those alone may pass over the records of all other frames.
pub const FLAG_TRANSACTIONS: u8 = 2;
const FLAGS_KNOWN: u8 = FLAG_CLEAN_STOP | FLAG_TRANSACTIONS;

const _: () = assert!(SEGMENT_AT + 8 == FRAME_HEADER_BYTES);
const _: () = assert!(COVERED_AT == CHECKSUM_AT + 4 && PREVIOUS_AT == COVERED_AT);
const _: () = assert!(FRAME_HEADER_BYTES < limits::ALIGNMENT_MIN);
const _: () = assert!(limits::FRAME_BYTES_MAX < u32::MAX as usize);

/// What a frame says about itself, beside whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Checksum of the frame before it.
    pub previous: u32,
    /// Whole length.
    pub frame_bytes: usize,
    /// Length of the records.
    pub payload_bytes: usize,
    /// See [`FLAG_CLEAN_STOP`].
    pub flags: u8,
    /// The process life that wrote it.
    pub incarnation: u32,
    /// Number of the first effect that ends in it.
    pub first_lsn: Lsn,
    /// What was durable when it was sealed.
    pub horizon: Lsn,
    /// Effects that end in it.
    pub records: u32,
    /// Its place.
    pub offset: u64,
    /// Its segment.
    pub segment: SegmentId,
}

impl FrameHeader {
    /// The number after the frame's last effect.
    pub const fn lsn_after(&self) -> Lsn {
        Lsn(self.first_lsn.0.saturating_add(self.records as u64))
    }
}

/// Why bytes are not a frame of this log at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the two sides of a comparison, said by the variant")]
pub enum FrameFault {
    /// No frame begins here.
    Magic,
    /// The segment ends before the frame does.
    Truncated { frame_bytes: usize, available: usize },
    /// The lengths contradict each other or the format.
    Length { frame_bytes: usize, payload_bytes: usize },
    /// The checksum is another one.
    Checksum { expected: u32, found: u32 },
    /// The checksum is right but the format is newer than this program.
    Version { found: u8 },
    /// The checksum is right but a flag is unknown.
    Flags { found: u8 },
    /// A whole frame of this log that belongs elsewhere: the disk misplaced it, or an earlier life left it.
    Place { segment: SegmentId, offset: u64 },
    /// A whole frame, in its place, of another shard or epoch.
    Owner { shard: ShardId, epoch: u32 },
    /// A whole frame, in its place, that doesn't follow the one before it.
    Chain { expected: u32, found: u32 },
    /// The chain is right and the numbers are not.
    Lsn { expected: Lsn, found: Lsn },
    /// It was written by an earlier life than the frame before it.
    Incarnation { before: u32, found: u32 },
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("no frame begins there"),
            Self::Truncated { frame_bytes, available } => {
                write!(f, "the frame has {frame_bytes} bytes, the file only {available} more")
            }
            Self::Length { frame_bytes, payload_bytes } => {
                write!(f, "impossible lengths: frame {frame_bytes}, payload {payload_bytes}")
            }
            Self::Checksum { expected, found } => {
                write!(f, "checksum {found:08x} in the frame, {expected:08x} by its bytes")
            }
            Self::Version { found } => {
                write!(f, "format version {found}, this program knows {FRAME_VERSION}")
            }
            Self::Flags { found } => write!(f, "unknown flags {found:#04x}"),
            Self::Place { segment, offset } => {
                write!(f, "the frame belongs to segment {segment}, offset {offset}")
            }
            Self::Owner { shard, epoch } => write!(f, "the frame belongs to shard {shard} of epoch {epoch}"),
            Self::Chain { expected, found } => {
                write!(
                    f,
                    "the frame follows one with checksum {found:08x}, the one before it has {expected:08x}"
                )
            }
            Self::Lsn { expected, found } => {
                write!(f, "the frame begins at LSN {found}, expected {expected}")
            }
            Self::Incarnation { before, found } => {
                write!(f, "the frame is of start {found}, the one before it of start {before}")
            }
        }
    }
}

impl LogIdentity {
    /// What every checksum of the log's frames begins with: nobody who doesn't know the directory's random number can
    /// make bytes that pass for a frame.
    pub fn checksum_seed(&self) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(&self.directory.to_le_bytes());
        hasher.update(&self.epoch.to_le_bytes());
        hasher.update(&self.shard.0.to_le_bytes());
        hasher.finalize()
    }
}

/// Writes the header into the front of a whole frame (`frame.len()` is the frame's length, its payload and padding are
/// in place) and returns the frame's checksum.
pub fn seal_frame(frame: &mut [u8], header: &FrameHeader, identity: LogIdentity, seed: u32) -> u32 {
    assert_eq!(frame.len(), header.frame_bytes, "shard {}: a frame sealed at a wrong length", identity.shard);
    assert!(
        FRAME_HEADER_BYTES + header.payload_bytes <= frame.len()
            && header.offset.is_multiple_of(limits::ALIGNMENT_MIN as u64),
        "shard {}: a frame of {} bytes with a payload of {} at offset {}",
        identity.shard,
        frame.len(),
        header.payload_bytes,
        header.offset
    );
    put(frame, 0, MAGIC);
    put(frame, PREVIOUS_AT, header.previous.to_le_bytes());
    put(frame, FRAME_BYTES_AT, (header.frame_bytes as u32).to_le_bytes());
    put(frame, PAYLOAD_BYTES_AT, (header.payload_bytes as u32).to_le_bytes());
    put(frame, SHARD_AT, identity.shard.0.to_le_bytes());
    put(frame, VERSION_AT, [FRAME_VERSION]);
    put(frame, FLAGS_AT, [header.flags]);
    put(frame, EPOCH_AT, identity.epoch.to_le_bytes());
    put(frame, INCARNATION_AT, header.incarnation.to_le_bytes());
    put(frame, FIRST_LSN_AT, header.first_lsn.0.to_le_bytes());
    put(frame, HORIZON_AT, header.horizon.0.to_le_bytes());
    put(frame, RECORDS_AT, header.records.to_le_bytes());
    put(frame, OFFSET_UNITS_AT, ((header.offset / limits::ALIGNMENT_MIN as u64) as u32).to_le_bytes());
    put(frame, SEGMENT_AT, header.segment.0.to_le_bytes());
    let checksum = checksum(frame, seed);
    put(frame, CHECKSUM_AT, checksum.to_le_bytes());
    checksum
}

/// The length that bytes claim to have as a frame, or why they cannot be one: tells a reader how much more it needs
/// before [`open_frame`] can judge. `available` is what the segment holds from here on.
pub fn claimed_frame_bytes(front: &[u8], available: usize) -> Result<usize, FrameFault> {
    let fault = FrameFault::Truncated { frame_bytes: FRAME_HEADER_BYTES, available };
    let header = front.first_chunk::<FRAME_HEADER_BYTES>().ok_or(fault)?;
    if header[..4] != MAGIC {
        return Err(FrameFault::Magic);
    }
    let frame_bytes = u32_at(header, FRAME_BYTES_AT) as usize;
    let payload_bytes = u32_at(header, PAYLOAD_BYTES_AT) as usize;
    if !frame_bytes.is_multiple_of(limits::ALIGNMENT_MIN)
        || frame_bytes > limits::FRAME_BYTES_MAX
        || payload_bytes.saturating_add(FRAME_HEADER_BYTES) > frame_bytes
    {
        return Err(FrameFault::Length { frame_bytes, payload_bytes });
    }
    if frame_bytes > available {
        return Err(FrameFault::Truncated { frame_bytes, available });
    }
    Ok(frame_bytes)
}

/// Checks that `frame`, exactly as long as [`claimed_frame_bytes`] said, is a whole frame of this log at this place.
/// Whether it follows the frame before it is the reader's to compare. Returns the header and the frame's checksum.
pub fn open_frame(
    frame: &[u8],
    place: (SegmentId, u64),
    identity: LogIdentity,
    seed: u32,
) -> Result<(FrameHeader, u32), FrameFault> {
    let frame_bytes = claimed_frame_bytes(frame, frame.len())?;
    let Some((header, true)) =
        frame.first_chunk::<FRAME_HEADER_BYTES>().map(|header| (header, frame.len() == frame_bytes))
    else {
        return Err(FrameFault::Truncated { frame_bytes, available: frame.len() });
    };
    let expected = checksum(frame, seed);
    let found = u32_at(header, CHECKSUM_AT);
    #[cfg(feature = "planted")]
    let expected = if crate::planted::planted().skip_checksum { found } else { expected };
    if expected != found {
        return Err(FrameFault::Checksum { expected, found });
    }
    // From here on the bytes are what somebody who knows the seed wrote.
    if header[VERSION_AT] != FRAME_VERSION {
        return Err(FrameFault::Version { found: header[VERSION_AT] });
    }
    if header[FLAGS_AT] & !FLAGS_KNOWN != 0 {
        return Err(FrameFault::Flags { found: header[FLAGS_AT] });
    }
    let shard = ShardId(u16::from_le_bytes([header[SHARD_AT], header[SHARD_AT + 1]]));
    let epoch = u32_at(header, EPOCH_AT);
    if (shard, epoch) != (identity.shard, identity.epoch) {
        return Err(FrameFault::Owner { shard, epoch });
    }
    let opened = FrameHeader {
        previous: u32_at(header, PREVIOUS_AT),
        frame_bytes,
        payload_bytes: u32_at(header, PAYLOAD_BYTES_AT) as usize,
        flags: header[FLAGS_AT],
        incarnation: u32_at(header, INCARNATION_AT),
        first_lsn: Lsn(u64_at(header, FIRST_LSN_AT)),
        horizon: Lsn(u64_at(header, HORIZON_AT)),
        records: u32_at(header, RECORDS_AT),
        offset: u64::from(u32_at(header, OFFSET_UNITS_AT)) * limits::ALIGNMENT_MIN as u64,
        segment: SegmentId(u64_at(header, SEGMENT_AT)),
    };
    if (opened.segment, opened.offset) != place {
        return Err(FrameFault::Place { segment: opened.segment, offset: opened.offset });
    }
    Ok((opened, found))
}

/// Whether bytes claim to be a frame at this place: a cheap look before [`open_frame`] at what is probably none.
pub fn claims_place(front: &[u8], (segment, offset): (SegmentId, u64)) -> bool {
    front.first_chunk::<FRAME_HEADER_BYTES>().is_some_and(|header| {
        header[..4] == MAGIC
            && u64_at(header, SEGMENT_AT) == segment.0
            && u64::from(u32_at(header, OFFSET_UNITS_AT)) * limits::ALIGNMENT_MIN as u64 == offset
    })
}

fn checksum(frame: &[u8], seed: u32) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(frame.get(COVERED_AT..).unwrap_or_default());
    hasher.finalize()
}

fn put<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) {
    frame[at..at + N].copy_from_slice(&bytes);
}

const fn u32_at(header: &[u8; FRAME_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

const fn u64_at(header: &[u8; FRAME_HEADER_BYTES], at: usize) -> u64 {
    u32_at(header, at) as u64 | (u32_at(header, at + 4) as u64) << 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDENTITY: LogIdentity = LogIdentity { directory: 77, epoch: 3, shard: ShardId(2) };
    const PLACE: (SegmentId, u64) = (SegmentId(9), 4096);

    fn sealed(payload: &[u8], first_lsn: u64, horizon: u64, incarnation: u32) -> (Vec<u8>, FrameHeader, u32) {
        let frame_bytes = (FRAME_HEADER_BYTES + payload.len()).next_multiple_of(limits::ALIGNMENT_MIN);
        let header = FrameHeader {
            previous: 0x0123_4567,
            frame_bytes,
            payload_bytes: payload.len(),
            flags: 0,
            incarnation,
            first_lsn: Lsn(first_lsn),
            horizon: Lsn(horizon),
            records: 5,
            offset: PLACE.1,
            segment: PLACE.0,
        };
        let mut frame = vec![0; frame_bytes];
        frame[FRAME_HEADER_BYTES..][..payload.len()].copy_from_slice(payload);
        let checksum = seal_frame(&mut frame, &header, IDENTITY, IDENTITY.checksum_seed());
        (frame, header, checksum)
    }

    proptest! {
        #[test]
        fn a_frame_is_read_back_and_no_changed_bit_goes_unnoticed(
            payload in prop::collection::vec(any::<u8>(), 0..2000),
            numbers in any::<(u64, u64, u32)>(),
            bit in any::<prop::sample::Index>(),
        ) {
            let (mut frame, header, checksum) = sealed(&payload, numbers.0, numbers.1, numbers.2);
            let seed = IDENTITY.checksum_seed();
            prop_assert_eq!(open_frame(&frame, PLACE, IDENTITY, seed), Ok((header, checksum)));
            prop_assert!(claims_place(&frame, PLACE));
            let bit = bit.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open_frame(&frame, PLACE, IDENTITY, seed).is_err());
        }

        #[test]
        fn no_bytes_make_the_frame_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
            let mut bytes = bytes;
            let seed = IDENTITY.checksum_seed();
            let _ = open_frame(&bytes, PLACE, IDENTITY, seed);
            if bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&MAGIC);
                let _ = open_frame(&bytes, PLACE, IDENTITY, seed);
            }
        }
    }

    #[test]
    fn a_frame_is_of_one_log_and_one_place() {
        let (frame, _, _) = sealed(b"payload", 1, 0, 1);
        let seed = IDENTITY.checksum_seed();
        let elsewhere = open_frame(&frame, (SegmentId(10), 4096), IDENTITY, seed);
        assert_eq!(elsewhere, Err(FrameFault::Place { segment: PLACE.0, offset: PLACE.1 }));
        for other in [
            LogIdentity { directory: 78, ..IDENTITY },
            LogIdentity { epoch: 4, ..IDENTITY },
            LogIdentity { shard: ShardId(3), ..IDENTITY },
        ] {
            let fault = open_frame(&frame, PLACE, other, other.checksum_seed());
            assert!(matches!(fault, Err(FrameFault::Checksum { .. })), "{other:?}");
        }
    }

    #[test]
    fn a_newer_version_or_flag_is_told_apart_from_damage() {
        let seed = IDENTITY.checksum_seed();
        for (at, expected) in
            [(VERSION_AT, FrameFault::Version { found: 66 }), (FLAGS_AT, FrameFault::Flags { found: 66 })]
        {
            let (mut frame, _, _) = sealed(b"payload", 1, 0, 1);
            frame[at] = 66;
            let checksum = checksum(&frame, seed);
            put(&mut frame, CHECKSUM_AT, checksum.to_le_bytes());
            assert_eq!(open_frame(&frame, PLACE, IDENTITY, seed), Err(expected));
        }
    }
}
