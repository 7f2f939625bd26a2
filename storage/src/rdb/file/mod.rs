//! Whole RDB files: read from the front to the back, and written.
//!
//! ```text
//! file       "REDIS", version (4 digits), items, 255, CRC-64 of everything before it (u64, little endian; 0: none was made)
//! item       250 note: two strings             251 numbers of keys and expiries of the database (numbers)
//!            254 database (number)             245 library of functions (string)
//!            253 expiry of the next key (i32, s)   252 the same (u64, ms)
//!            248 the next key was idle (number, s) 249 how often it is used (u8)
//!            244 a cluster's slot, its keys and its expiries (numbers)
//!            type of a value, key (string), object
//! ```
//!
//! - One value is in memory at a time, never the file. A length is believed as far as there are bytes behind it.
//! - What is wrong is a [`FileError`], with the offset of the item that it is in.

mod read;
mod tape;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;

pub use read::{FileKey, Reading, Visitor, read_file};
pub use write::FileWriter;

pub(super) const MAGIC: &[u8; 5] = b"REDIS";
/// The first version that ends with a checksum.
const VERSION_CHECKSUM: u16 = 5;

/// What an item begins with, where it isn't a key.
mod opcode {
    pub(super) const SLOT: u8 = 244;
    pub(super) const FUNCTION: u8 = crate::rdb::FUNCTION_LIBRARY;
    pub(super) const FUNCTION_EARLY: u8 = 246;
    pub(super) const MODULE: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQUENCY: u8 = 249;
    pub(super) const NOTE: u8 = 250;
    pub(super) const SIZES: u8 = 251;
    pub(super) const EXPIRY_MS: u8 = 252;
    pub(super) const EXPIRY_SECONDS: u8 = 253;
    pub(super) const DATABASE: u8 = 254;
    pub(super) const END: u8 = 255;
}

/// Why an RDB file can't be read, and where.
#[derive(Debug)]
pub struct FileError {
    /// Where the item begins that is wrong.
    pub offset: u64,
    /// What is wrong with it.
    pub fault: FileFault,
}

/// What can be wrong with an RDB file.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are what was expected, and what was found")]
pub enum FileFault {
    /// The system could not read it.
    Io(io::Error),
    /// It does not begin as one.
    Magic,
    /// It is of a version that is not understood.
    Version { found: u16, greatest: u16 },
    /// It ends within an item.
    CutOff,
    /// An item that there is none of.
    Item { found: u8 },
    /// A value of a module's type, or what else a module has kept.
    Module { name: String },
    /// Something that only a release candidate of Redis has written.
    Early { what: &'static str },
    /// A value that is not one of its type.
    Object { kind: u8 },
    /// A length, key or number that can't be.
    Malformed,
    /// More databases than there can be.
    Database { found: u64 },
    /// The checksum is not that of the bytes.
    Checksum { expected: u64, found: u64 },
    /// The same key twice.
    Duplicate { database: u16, key: Vec<u8> },
    /// It is not wanted, with the reason.
    Refused(String),
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Magic => f.write_str("this is no RDB file"),
            Self::Version { found, greatest } => {
                write!(f, "an RDB file of version {found}: versions up to {greatest} are understood")
            }
            Self::CutOff => f.write_str("the file is cut off"),
            Self::Item { found } => write!(f, "an item of unknown kind {found}"),
            Self::Module { name } => {
                write!(f, "data of the module type \"{name}\", and there are no modules here")
            }
            Self::Early { what } => write!(f, "{what}, as only a release candidate of Redis wrote it"),
            Self::Object { kind } => write!(f, "the value (of type {kind}) is malformed"),
            Self::Malformed => f.write_str("a malformed length, key or number"),
            Self::Database { found } => write!(f, "database {found}: there can't be so many"),
            Self::Checksum { expected, found } => {
                write!(
                    f,
                    "the file's checksum is {found:016x}, that of its bytes {expected:016x}: it is damaged"
                )
            }
            Self::Duplicate { database, key } => {
                write!(f, "key \"{}\" of database {database} is in the file twice", key.escape_ascii())
            }
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}: {}", self.offset, self.fault)
    }
}

impl std::error::Error for FileError {}
