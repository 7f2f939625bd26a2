//! The bytes of a checkpoint: a header, then blocks up to the one that says that it is the last.
//!
//! A file is written over what an earlier checkpoint left in it. Blocks are chained by checksum and carry the checkpoint's
//! number, so that what was left is never taken for a part of it.

use std::fmt;

use crc32fast::Hasher;

use super::Place;
use super::limits::BLOCK_BYTES_MAX;
use crate::buffer::BUFFER_ALIGNMENT;
use crate::log::LogIdentity;
use crate::{Lsn, ShardId, TransactionId};

// Header, one block of 4096 bytes (little endian); docs/format.md has the same table.
//   0    8  magic
//   8    4  checksum of bytes 12..4096
//  12    2  format version
//  14    2  shard
//  16    4  epoch
//  20    4  incarnation
//  24    8  identity of the data directory
//  32    8  number of the checkpoint
//  40    8  LSN at which the walk began
//  48    8  seed of the hash that orders the keys
//  56    8  hash of the identity's bytes under that seed
//  64    8  Unix time when the walk began, ms
//  72    8  greatest transaction so far
//  80    …  zeros
const MAGIC: [u8; 8] = *b"ANNULUSC";
const COVERED_AT: usize = 12;
const VERSION_AT: usize = 12;
const SHARD_AT: usize = 14;
const EPOCH_AT: usize = 16;
const INCARNATION_AT: usize = 20;
const DIRECTORY_AT: usize = 24;
const NUMBER_AT: usize = 32;
const FROM_AT: usize = 40;
const HASH_SEED_AT: usize = 48;
const HASH_CHECK_AT: usize = 56;
const UNIX_MS_AT: usize = 64;
const TRANSACTION_AT: usize = 72;

// A block (little endian).
//   0    4  magic
//   4    4  checksum of bytes 8.. of the whole block, seeded as the frames of the shard's log
//   8    4  checksum of the block before it; of the first one: that of the header
//  12    4  block length, padding included, a multiple of 4096
//  16    4  payload length
//  20    4  flags: 1 a slice ends with this block, 2 the checkpoint does
//  24    8  number of the checkpoint
//  32    8  LSN up to which the slice contains all effects on the keys that it covers
//  40    8  where the slice ends: position in hash order
//  48    2  … group
//  50    2  … database
//  52    4  records of the slice, in its last block
//  56    8  block, from 0
//  64    …  payload: a piece of the slice's records; in the last block of all: records in the checkpoint, u64
const BLOCK_MAGIC: [u8; 4] = *b"ANCB";
const PREVIOUS_AT: usize = 8;
const BLOCK_BYTES_AT: usize = 12;
const PAYLOAD_BYTES_AT: usize = 16;
const FLAGS_AT: usize = 20;
const BLOCK_NUMBER_AT: usize = 24;
const AS_OF_AT: usize = 32;
const POSITION_AT: usize = 40;
const GROUP_AT: usize = 48;
const DATABASE_AT: usize = 50;
const RECORDS_AT: usize = 52;
const INDEX_AT: usize = 56;

/// Length of a checkpoint's header; the first block follows.
pub const HEADER_BYTES: usize = 4096;
/// Length of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 64;
/// Version of the layout of checkpoints.
pub const CHECKPOINT_VERSION: u16 = 1;
/// A slice ends with this block.
pub const FLAG_SLICE_END: u32 = 1;
/// The checkpoint ends with this block.
pub const FLAG_LAST: u32 = 2;
const FLAGS_KNOWN: u32 = FLAG_SLICE_END | FLAG_LAST;

const _: () = assert!(INDEX_AT + 8 == BLOCK_HEADER_BYTES && TRANSACTION_AT + 8 == 80);
const _: () = assert!(HEADER_BYTES == BUFFER_ALIGNMENT);

/// What a checkpoint's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// Whose it is.
    pub identity: LogIdentity,
    /// The process life that wrote it.
    pub incarnation: u32,
    /// Its number, from 1; the greatest is the newest.
    pub number: u64,
    /// The last effect before the walk began: no slice lacks any up to it.
    pub from: Lsn,
    /// What orders the keys.
    pub hash_seed: u64,
    /// What that hash makes of something known: another hash function would order otherwise.
    pub hash_check: u64,
    /// Unix time when the walk began, ms.
    pub unix_ms: u64,
    /// No transaction in the log up to `from` is greater: ids are never given twice, also when the log before is gone.
    pub transaction: TransactionId,
}

/// What a block says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Checksum of the block, or the header, before it.
    pub previous: u32,
    /// Whole length.
    pub block_bytes: usize,
    /// Of the payload.
    pub payload_bytes: usize,
    /// [`FLAG_SLICE_END`], [`FLAG_LAST`].
    pub flags: u32,
    /// The checkpoint.
    pub number: u64,
    /// See [`super::Slice`].
    pub as_of: Lsn,
    /// See [`super::Slice`].
    pub until: Place,
    /// Records of the slice that ends with it.
    pub records: u32,
    /// Counts the blocks, from 0.
    pub index: u64,
}

/// Why bytes are not what they should be in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the two sides of a comparison, said by the variant")]
pub enum CheckpointFault {
    /// The file ends before the checkpoint does.
    Truncated,
    /// Not the beginning of a checkpoint, or of a block.
    Magic,
    /// The checksum is another one.
    Checksum { expected: u32, found: u32 },
    /// The format is newer than this program.
    Version { found: u16 },
    /// Of another data directory.
    Directory { expected: u64, found: u64 },
    /// Of another shard or epoch.
    Owner { shard: ShardId, epoch: u32 },
    /// Another number than the file's name says.
    Number { expected: u64, found: u64 },
    /// Lengths or flags that contradict the format.
    Shape,
    /// It doesn't follow the block before it.
    Chain { expected: u32, found: u32 },
    /// A record makes no sense.
    Record,
    /// Another number of records than it says.
    Records { expected: u64, found: u64 },
    /// The disk cannot read it.
    Unreadable,
    /// Keys are ordered by another hash function than this program's.
    Order,
}

impl fmt::Display for CheckpointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the file ends before the checkpoint does"),
            Self::Magic => f.write_str("nothing of a checkpoint begins there"),
            Self::Checksum { expected, found } => {
                write!(f, "checksum {found:08x} in the file, {expected:08x} by its bytes")
            }
            Self::Version { found } => {
                write!(f, "format version {found}, this program knows {CHECKPOINT_VERSION}")
            }
            Self::Directory { expected, found } => {
                write!(f, "it belongs to data directory {found:016x}, not {expected:016x}")
            }
            Self::Owner { shard, epoch } => write!(f, "it belongs to shard {shard} of epoch {epoch}"),
            Self::Number { expected, found } => write!(f, "it is of checkpoint {found}, expected {expected}"),
            Self::Shape => f.write_str("impossible lengths or flags"),
            Self::Chain { expected, found } => write!(
                f,
                "the block follows one with checksum {found:08x}, the one before it has {expected:08x}"
            ),
            Self::Record => f.write_str("the block is as it was written, but its records make no sense"),
            Self::Records { expected, found } => {
                write!(f, "{found} records in a slice or checkpoint of {expected}")
            }
            Self::Unreadable => f.write_str("the disk cannot read it"),
            Self::Order => f.write_str("its keys are ordered by another hash function than this program's"),
        }
    }
}

impl CheckpointHeader {
    /// Writes the header into a block of [`HEADER_BYTES`], and returns its checksum.
    pub fn encode(&self, block: &mut [u8]) -> u32 {
        let block = &mut block[..HEADER_BYTES];
        block.fill(0);
        put(block, 0, MAGIC);
        put(block, VERSION_AT, CHECKPOINT_VERSION.to_le_bytes());
        put(block, SHARD_AT, self.identity.shard.0.to_le_bytes());
        put(block, EPOCH_AT, self.identity.epoch.to_le_bytes());
        put(block, INCARNATION_AT, self.incarnation.to_le_bytes());
        put(block, DIRECTORY_AT, self.identity.directory.to_le_bytes());
        put(block, NUMBER_AT, self.number.to_le_bytes());
        put(block, FROM_AT, self.from.0.to_le_bytes());
        put(block, HASH_SEED_AT, self.hash_seed.to_le_bytes());
        put(block, HASH_CHECK_AT, self.hash_check.to_le_bytes());
        put(block, UNIX_MS_AT, self.unix_ms.to_le_bytes());
        put(block, TRANSACTION_AT, self.transaction.0.to_le_bytes());
        let checksum = crc32fast::hash(&block[COVERED_AT..]);
        put(block, 8, checksum.to_le_bytes());
        checksum
    }

    /// Reads a header, and returns it with its checksum.
    pub fn decode(block: &[u8], identity: LogIdentity, number: u64) -> Result<(Self, u32), CheckpointFault> {
        let block = block.first_chunk::<HEADER_BYTES>().ok_or(CheckpointFault::Truncated)?;
        if block[..8] != MAGIC {
            return Err(CheckpointFault::Magic);
        }
        let expected = crc32fast::hash(&block[COVERED_AT..]);
        let found = u32_at(block, 8);
        if expected != found {
            return Err(CheckpointFault::Checksum { expected, found });
        }
        let version = u16_at(block, VERSION_AT);
        if version != CHECKPOINT_VERSION {
            return Err(CheckpointFault::Version { found: version });
        }
        let owner = LogIdentity {
            directory: u64_at(block, DIRECTORY_AT),
            epoch: u32_at(block, EPOCH_AT),
            shard: ShardId(u16_at(block, SHARD_AT)),
        };
        if owner.directory != identity.directory {
            return Err(CheckpointFault::Directory { expected: identity.directory, found: owner.directory });
        }
        if owner != identity {
            return Err(CheckpointFault::Owner { shard: owner.shard, epoch: owner.epoch });
        }
        let header = Self {
            identity,
            incarnation: u32_at(block, INCARNATION_AT),
            number: u64_at(block, NUMBER_AT),
            from: Lsn(u64_at(block, FROM_AT)),
            hash_seed: u64_at(block, HASH_SEED_AT),
            hash_check: u64_at(block, HASH_CHECK_AT),
            unix_ms: u64_at(block, UNIX_MS_AT),
            transaction: TransactionId(u64_at(block, TRANSACTION_AT)),
        };
        if header.number != number {
            return Err(CheckpointFault::Number { expected: number, found: header.number });
        }
        Ok((header, found))
    }
}

/// Writes the header into the front of a whole block (its payload and padding are in place) and returns the block's checksum.
pub fn seal_block(block: &mut [u8], header: &BlockHeader, seed: u32) -> u32 {
    assert!(
        block.len() == header.block_bytes
            && header.block_bytes.is_multiple_of(BUFFER_ALIGNMENT)
            && BLOCK_HEADER_BYTES + header.payload_bytes <= header.block_bytes,
        "a block of {} bytes sealed at {} with a payload of {}",
        block.len(),
        header.block_bytes,
        header.payload_bytes
    );
    put(block, 0, BLOCK_MAGIC);
    put(block, PREVIOUS_AT, header.previous.to_le_bytes());
    put(block, BLOCK_BYTES_AT, (header.block_bytes as u32).to_le_bytes());
    put(block, PAYLOAD_BYTES_AT, (header.payload_bytes as u32).to_le_bytes());
    put(block, FLAGS_AT, header.flags.to_le_bytes());
    put(block, BLOCK_NUMBER_AT, header.number.to_le_bytes());
    put(block, AS_OF_AT, header.as_of.0.to_le_bytes());
    put(block, POSITION_AT, header.until.position.to_le_bytes());
    put(block, GROUP_AT, header.until.group.to_le_bytes());
    put(block, DATABASE_AT, header.until.database.to_le_bytes());
    put(block, RECORDS_AT, header.records.to_le_bytes());
    put(block, INDEX_AT, header.index.to_le_bytes());
    let checksum = checksum(block, seed);
    put(block, 4, checksum.to_le_bytes());
    checksum
}

/// The length that bytes claim to have as a block.
pub fn claimed_block_bytes(front: &[u8]) -> Result<usize, CheckpointFault> {
    let header = front.first_chunk::<BLOCK_HEADER_BYTES>().ok_or(CheckpointFault::Truncated)?;
    if header[..4] != BLOCK_MAGIC {
        return Err(CheckpointFault::Magic);
    }
    let block_bytes = u32_at(header, BLOCK_BYTES_AT) as usize;
    let payload_bytes = u32_at(header, PAYLOAD_BYTES_AT) as usize;
    if !block_bytes.is_multiple_of(BUFFER_ALIGNMENT)
        || block_bytes > BLOCK_BYTES_MAX
        || payload_bytes.saturating_add(BLOCK_HEADER_BYTES) > block_bytes
    {
        return Err(CheckpointFault::Shape);
    }
    Ok(block_bytes)
}

/// Checks that `block`, exactly as long as [`claimed_block_bytes`] said, is the one that follows. Returns its header and checksum.
pub fn open_block(
    block: &[u8],
    (previous, index): (u32, u64),
    number: u64,
    seed: u32,
) -> Result<(BlockHeader, u32), CheckpointFault> {
    let (opened, checksum) = open_block_alone(block, number, seed)?;
    if opened.previous != previous || opened.index != index {
        return Err(CheckpointFault::Chain { expected: previous, found: opened.previous });
    }
    Ok((opened, checksum))
}

/// As [`open_block`], whatever it follows.
pub fn open_block_alone(block: &[u8], number: u64, seed: u32) -> Result<(BlockHeader, u32), CheckpointFault> {
    let block_bytes = claimed_block_bytes(block)?;
    let Some(header) = block.first_chunk::<BLOCK_HEADER_BYTES>().filter(|_| block.len() == block_bytes)
    else {
        return Err(CheckpointFault::Truncated);
    };
    let expected = checksum(block, seed);
    let found = u32_at(header, 4);
    #[cfg(feature = "planted")]
    let expected = if crate::planted::planted().skip_checksum { found } else { expected };
    if expected != found {
        return Err(CheckpointFault::Checksum { expected, found });
    }
    let opened = BlockHeader {
        previous: u32_at(header, PREVIOUS_AT),
        block_bytes,
        payload_bytes: u32_at(header, PAYLOAD_BYTES_AT) as usize,
        flags: u32_at(header, FLAGS_AT),
        number: u64_at(header, BLOCK_NUMBER_AT),
        as_of: Lsn(u64_at(header, AS_OF_AT)),
        until: Place {
            group: u16_at(header, GROUP_AT),
            database: u16_at(header, DATABASE_AT),
            position: u64_at(header, POSITION_AT),
        },
        records: u32_at(header, RECORDS_AT),
        index: u64_at(header, INDEX_AT),
    };
    if opened.number != number {
        return Err(CheckpointFault::Number { expected: number, found: opened.number });
    }
    if opened.flags & !FLAGS_KNOWN != 0 {
        return Err(CheckpointFault::Shape);
    }
    Ok((opened, found))
}

fn checksum(block: &[u8], seed: u32) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(block.get(8..).unwrap_or_default());
    hasher.finalize()
}

fn put<const N: usize>(block: &mut [u8], at: usize, bytes: [u8; N]) {
    block[at..at + N].copy_from_slice(&bytes);
}

const fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

const fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

const fn u64_at(block: &[u8], at: usize) -> u64 {
    u32_at(block, at) as u64 | (u32_at(block, at + 4) as u64) << 32
}
