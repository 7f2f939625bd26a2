//! A segment: a file of a shard's log, a header block and then frames.
//!
//! The header is written when the segment is taken into use, before its first frame; until then the file holds zeros, or what an
//! earlier life of it left. Its name says its place in the chain, its header repeats it.

use std::fmt;

use super::LogIdentity;
use crate::{Lsn, ShardId};

// Byte table (little endian); docs/format.md has the same one.
//   0    8  magic
//   8    4  checksum of bytes 12..4096
//  12    2  format version
//  14    2  shard
//  16    4  epoch
//  20    4  incarnation
//  24    8  identity of the data directory
//  32    8  number of the segment
//  40    8  first LSN: of the first effect that ends in it
//  48    4  checksum of the last frame before it; of the first segment: 0
//  52    4  zero
//  56    8  length of the segment in bytes
//  64    …  zeros
const MAGIC: [u8; 8] = *b"ANNULUSL";
const CHECKSUM_AT: usize = 8;
const COVERED_AT: usize = 12;
const VERSION_AT: usize = 12;
const SHARD_AT: usize = 14;
const EPOCH_AT: usize = 16;
const INCARNATION_AT: usize = 20;
const DIRECTORY_AT: usize = 24;
const SEGMENT_AT: usize = 32;
const FIRST_LSN_AT: usize = 40;
const CHAIN_AT: usize = 48;
const BYTES_AT: usize = 56;

/// Length of the header; the first frame follows.
pub const SEGMENT_HEADER_BYTES: usize = 4096;
/// Version of the segment layout.
pub const SEGMENT_VERSION: u16 = 1;

const _: () = assert!(COVERED_AT == CHECKSUM_AT + 4 && BYTES_AT + 8 == 64);
const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(super::limits::ALIGNMENT_MAX));

/// Number of a segment in its log, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// The first segment of a log.
    pub const FIRST: SegmentId = SegmentId(1);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Name of its file.
    pub fn file_name(self) -> String {
        format!("{:012}.log", self.0)
    }

    /// The segment that a file name means: twelve digits, or more where twelve don't do, and `.log`.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".log")?;
        let id = Self(digits.parse().ok()?);
        (id.file_name() == name && id >= Self::FIRST).then_some(id)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A file that the log may take into use: written once over its whole length, with its final name.
#[derive(Clone, Debug)]
pub struct PreparedSegment<F> {
    /// Its number.
    pub id: SegmentId,
    /// The file, open for direct writes.
    pub file: F,
    /// Its length.
    pub bytes: u64,
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose it is.
    pub identity: LogIdentity,
    /// The process life that took it into use.
    pub incarnation: u32,
    /// Its number.
    pub id: SegmentId,
    /// The first effect that ends in it.
    pub first_lsn: Lsn,
    /// Checksum of the last frame before it.
    pub chain: u32,
    /// Its length.
    pub bytes: u64,
}

/// Why a block is not a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the two sides of a comparison, said by the variant")]
pub enum SegmentFault {
    /// The file is shorter than a header.
    Truncated { bytes: usize },
    /// All zeros: prepared, not in use.
    Blank,
    /// Not a segment at all.
    Magic,
    /// The checksum is another one.
    Checksum { expected: u32, found: u32 },
    /// The format is newer than this program.
    Version { found: u16 },
    /// A segment of another data directory.
    Directory { expected: u64, found: u64 },
    /// A segment of another shard or epoch.
    Owner { shard: ShardId, epoch: u32 },
    /// A segment of this log with another number than its name says; for a spare, that is 0.
    Number { expected: SegmentId, found: SegmentId },
    /// It doesn't follow the segment before it.
    Chain { expected: u32, found: u32 },
    /// It begins with another effect than the one due.
    Lsn { expected: Lsn, found: Lsn },
    /// An earlier life took it into use than wrote the frame before it.
    Incarnation { before: u32, found: u32 },
}

impl SegmentFault {
    /// Whether no crash leaves this. All of a header is in one sector, over zeros or an older header, so it is never half there.
    pub(crate) const fn is_damage(self) -> bool {
        matches!(self, Self::Magic | Self::Checksum { .. })
    }
}

impl fmt::Display for SegmentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { bytes } => write!(f, "{bytes} bytes are too few for a segment header"),
            Self::Blank => f.write_str("the segment header is blank"),
            Self::Magic => f.write_str("the file is not a log segment"),
            Self::Checksum { expected, found } => {
                write!(f, "checksum {found:08x} in the segment header, {expected:08x} by its bytes")
            }
            Self::Version { found } => {
                write!(f, "segment format version {found}, this program knows {SEGMENT_VERSION}")
            }
            Self::Directory { expected, found } => {
                write!(f, "the segment belongs to data directory {found:016x}, this one is {expected:016x}")
            }
            Self::Owner { shard, epoch } => {
                write!(f, "the segment belongs to shard {shard} of epoch {epoch}")
            }
            Self::Number { expected, found } if expected.0 == 0 => {
                write!(f, "the header says segment {found}, the name that it is a spare")
            }
            Self::Number { expected, found } => {
                write!(f, "the header says segment {found}, the name {expected}")
            }
            Self::Chain { expected, found } => {
                write!(f, "the segment follows a frame with checksum {found:08x}, the log had {expected:08x}")
            }
            Self::Lsn { expected, found } => {
                write!(f, "the segment begins at LSN {found}, the log had reached {expected}")
            }
            Self::Incarnation { before, found } => {
                write!(f, "the segment is of start {found}, the frame before it of start {before}")
            }
        }
    }
}

impl SegmentHeader {
    /// Writes the header block.
    ///
    /// # Panics
    /// When the block is shorter than [`SEGMENT_HEADER_BYTES`].
    pub fn encode(&self, block: &mut [u8]) {
        let block = &mut block[..SEGMENT_HEADER_BYTES];
        block.fill(0);
        put(block, 0, MAGIC);
        put(block, VERSION_AT, SEGMENT_VERSION.to_le_bytes());
        put(block, SHARD_AT, self.identity.shard.0.to_le_bytes());
        put(block, EPOCH_AT, self.identity.epoch.to_le_bytes());
        put(block, INCARNATION_AT, self.incarnation.to_le_bytes());
        put(block, DIRECTORY_AT, self.identity.directory.to_le_bytes());
        put(block, SEGMENT_AT, self.id.0.to_le_bytes());
        put(block, FIRST_LSN_AT, self.first_lsn.0.to_le_bytes());
        put(block, CHAIN_AT, self.chain.to_le_bytes());
        put(block, BYTES_AT, self.bytes.to_le_bytes());
        let checksum = crc32fast::hash(&block[COVERED_AT..]);
        put(block, CHECKSUM_AT, checksum.to_le_bytes());
    }

    /// Reads a header block; says what it finds, not whether that is what was looked for.
    pub fn decode(front: &[u8]) -> Result<Self, SegmentFault> {
        let Some(block) = front.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return Err(SegmentFault::Truncated { bytes: front.len() });
        };
        if block[..MAGIC.len()] != MAGIC {
            let blank = block.iter().all(|&byte| byte == 0);
            return Err(if blank { SegmentFault::Blank } else { SegmentFault::Magic });
        }
        let expected = crc32fast::hash(&block[COVERED_AT..]);
        let found = u32::from_le_bytes(array_at(block, CHECKSUM_AT));
        if expected != found {
            return Err(SegmentFault::Checksum { expected, found });
        }
        let version = u16::from_le_bytes(array_at(block, VERSION_AT));
        if version != SEGMENT_VERSION {
            return Err(SegmentFault::Version { found: version });
        }
        Ok(Self {
            identity: LogIdentity {
                directory: u64::from_le_bytes(array_at(block, DIRECTORY_AT)),
                epoch: u32::from_le_bytes(array_at(block, EPOCH_AT)),
                shard: ShardId(u16::from_le_bytes(array_at(block, SHARD_AT))),
            },
            incarnation: u32::from_le_bytes(array_at(block, INCARNATION_AT)),
            id: SegmentId(u64::from_le_bytes(array_at(block, SEGMENT_AT))),
            first_lsn: Lsn(u64::from_le_bytes(array_at(block, FIRST_LSN_AT))),
            chain: u32::from_le_bytes(array_at(block, CHAIN_AT)),
            bytes: u64::from_le_bytes(array_at(block, BYTES_AT)),
        })
    }
}

fn put<const N: usize>(block: &mut [u8], at: usize, bytes: [u8; N]) {
    block[at..at + N].copy_from_slice(&bytes);
}

fn array_at<const N: usize>(block: &[u8; SEGMENT_HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&block[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_names_mean_a_segment() {
        for id in [1, 42, 999_999_999_999, 1_000_000_000_000] {
            assert_eq!(SegmentId::of_file_name(&SegmentId(id).file_name()), Some(SegmentId(id)));
        }
        for name in
            ["000000000000.log", "1.log", "+00000000001.log", "spare-1.log", "000000000001.new", ".log"]
        {
            assert_eq!(SegmentId::of_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_is_read_back_and_every_flipped_bit_is_noticed() {
        let header = SegmentHeader {
            identity: LogIdentity { directory: 0x0123_4567_89ab_cdef, epoch: 3, shard: ShardId(5) },
            incarnation: 9,
            id: SegmentId(77),
            first_lsn: Lsn(1 << 40),
            chain: 0xdead_beef,
            bytes: 64 << 20,
        };
        let mut block = vec![0xAA; SEGMENT_HEADER_BYTES];
        header.encode(&mut block);
        assert_eq!(SegmentHeader::decode(&block), Ok(header));
        for bit in 0..block.len() * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&block).is_err(), "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(SegmentHeader::decode(&[0; SEGMENT_HEADER_BYTES]), Err(SegmentFault::Blank));
        assert_eq!(SegmentHeader::decode(&[0; 12]), Err(SegmentFault::Truncated { bytes: 12 }));
    }
}
