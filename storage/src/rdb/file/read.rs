//! Reading.

use std::io::Read;

use super::tape::Tape;
use super::{FileError, FileFault, MAGIC, VERSION_CHECKSUM, opcode};
use crate::DatabaseId;
use crate::rdb::bytes::Reader;
use crate::rdb::{VERSION_MAX, kind, load};

/// The most databases that a file can have: as many as a server can.
const DATABASES_MAX: u64 = 1 << 14;

/// A key, with what is known of it before its value has been read.
#[derive(Clone, Copy, Debug)]
pub struct FileKey<'a> {
    /// Its database.
    pub database: DatabaseId,
    /// The key.
    pub key: &'a [u8],
    /// Its expiry, ms of Unix time.
    pub expire_at_ms: Option<u64>,
}

/// Who is told what is in a file.
pub trait Visitor {
    /// Whether the value of this key is to be read. It is passed over if not, and not looked into.
    fn wants(&mut self, key: &FileKey<'_>) -> bool;

    /// A key that was wanted, with its value in the encoding of [`codec`](crate::value::codec).
    fn key(&mut self, key: &FileKey<'_>, value: &[u8]) -> Result<(), FileFault>;

    /// The text of a library of functions.
    fn library(&mut self, text: &[u8]) -> Result<(), FileFault>;
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The version of the file.
    pub version: u16,
    /// Keys, wanted or not.
    pub keys: u64,
    /// Bytes of the file. More may follow, which it does not tell anything about.
    pub bytes: u64,
    /// Nothing follows.
    pub is_all: bool,
}

/// Reads a file from its beginning to its end, and checks its checksum: what a visitor has been told means nothing before that.
pub fn read_file(source: impl Read, visitor: &mut impl Visitor) -> Result<Reading, FileError> {
    let mut file = File { tape: Tape::new(source), item: 0, key: Vec::new() };
    file.read(visitor).map_err(|fault| FileError { offset: file.item, fault })
}

struct File<R> {
    tape: Tape<R>,
    /// Where the item begins that is being read.
    item: u64,
    /// Of the key that is being read.
    key: Vec<u8>,
}

impl<R: Read> File<R> {
    fn read(&mut self, visitor: &mut impl Visitor) -> Result<Reading, FileFault> {
        let mut reading = Reading { version: self.header()?, ..Reading::default() };
        let mut database = DatabaseId(0);
        let mut expire_at_ms = None;
        loop {
            self.item = self.tape.offset();
            self.tape.keep(false);
            match self.tape.byte()? {
                opcode::NOTE => {
                    self.tape.string()?;
                    self.tape.string()?;
                }
                opcode::SIZES => self.tape.times(2, |tape| tape.number().map(drop))?,
                opcode::SLOT => self.tape.times(3, |tape| tape.number().map(drop))?,
                opcode::DATABASE => {
                    let found = self.tape.number()?;
                    let known = u16::try_from(found).ok().filter(|_| found < DATABASES_MAX);
                    database = DatabaseId(known.ok_or(FileFault::Database { found })?);
                }
                opcode::EXPIRY_SECONDS => {
                    // Times before 1970 have passed as well.
                    let seconds = u64::try_from(i32::from_le_bytes(self.tape.array()?)).unwrap_or(0);
                    expire_at_ms = Some(seconds * 1000);
                }
                opcode::EXPIRY_MS => {
                    let at = i64::from_le_bytes(self.tape.array()?);
                    expire_at_ms = Some(u64::try_from(at).unwrap_or(0));
                }
                opcode::IDLE => drop(self.tape.number()?),
                opcode::FREQUENCY => drop(self.tape.byte()?),
                opcode::FUNCTION => {
                    let text = self.kept_string()?;
                    visitor.library(&text)?;
                }
                opcode::FUNCTION_EARLY => return Err(FileFault::Early { what: "a library of functions" }),
                opcode::MODULE => return Err(self.module()?),
                kind::MODULE => {
                    self.tape.string()?;
                    return Err(self.module()?);
                }
                kind::MODULE_EARLY => return Err(FileFault::Early { what: "a value of a module" }),
                opcode::END => break,
                kind => {
                    self.key = self.kept_string()?;
                    let key = std::mem::take(&mut self.key);
                    let key = FileKey { database, key: &key, expire_at_ms: expire_at_ms.take() };
                    self.value(kind, &key, visitor)?;
                    reading.keys += 1;
                }
            }
        }
        let expected = self.tape.sum();
        if reading.version >= VERSION_CHECKSUM {
            let found = u64::from_le_bytes(self.tape.array()?);
            if found != 0 && found != expected {
                return Err(FileFault::Checksum { expected, found });
            }
        }
        reading.bytes = self.tape.offset();
        reading.is_all = self.tape.is_over()?;
        Ok(reading)
    }

    fn header(&mut self) -> Result<u16, FileFault> {
        let magic = |fault| if matches!(fault, FileFault::CutOff) { FileFault::Magic } else { fault };
        if self.tape.array::<5>().map_err(magic)? != *MAGIC {
            return Err(FileFault::Magic);
        }
        let digits = self.tape.array::<4>().map_err(magic)?;
        let found = std::str::from_utf8(&digits).ok().and_then(|text| text.parse().ok());
        let found = found.ok_or(FileFault::Magic)?;
        if (1..=VERSION_MAX).contains(&found) {
            Ok(found)
        } else {
            Err(FileFault::Version { found, greatest: VERSION_MAX })
        }
    }

    fn kept_string(&mut self) -> Result<Vec<u8>, FileFault> {
        self.tape.keep(true);
        self.tape.string()?;
        let string = Reader(self.tape.kept()).string().map_err(|_| FileFault::Malformed)?.into_owned();
        self.tape.keep(false);
        Ok(string)
    }

    fn value(&mut self, kind: u8, key: &FileKey<'_>, visitor: &mut impl Visitor) -> Result<(), FileFault> {
        let wanted = visitor.wants(key);
        self.tape.keep(wanted);
        if wanted {
            self.tape.keep_byte(kind);
        }
        self.object(kind)?;
        if !wanted {
            return Ok(());
        }
        let (value, rest) = load::object(self.tape.kept()).map_err(|_| FileFault::Object { kind })?;
        if !rest.is_empty() {
            return Err(FileFault::Object { kind });
        }
        visitor.key(key, &value)
    }

    /// Passes over an object: only as much of it is looked at as says where it ends.
    fn object(&mut self, kind: u8) -> Result<(), FileFault> {
        let tape = &mut self.tape;
        match kind {
            kind::STRING
            | kind::HASH_ZIPMAP
            | kind::LIST_ZIPLIST
            | kind::SET_INTSET
            | kind::SORTED_SET_ZIPLIST
            | kind::HASH_ZIPLIST
            | kind::HASH_LISTPACK
            | kind::SORTED_SET_LISTPACK
            | kind::SET_LISTPACK => tape.string(),
            kind::LIST | kind::SET | kind::LIST_QUICKLIST => tape.strings(1),
            kind::HASH => tape.strings(2),
            kind::SORTED_SET_TEXT => {
                let count = tape.number()?;
                tape.times(count, |tape| {
                    tape.string()?;
                    let bytes = tape.byte()?;
                    // Longer ones are not numbers, and without digits.
                    tape.pass(if bytes < load::NAN { bytes.into() } else { 0 })
                })
            }
            kind::SORTED_SET => {
                let count = tape.number()?;
                tape.times(count, |tape| tape.string().and_then(|()| tape.pass(8)))
            }
            kind::LIST_QUICKLIST_2 => {
                let count = tape.number()?;
                tape.times(count, |tape| tape.number().and_then(|_| tape.string()))
            }
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => self.stream(kind),
            kind::HASH_EXPIRING => {
                tape.pass(8)?;
                let count = tape.number()?;
                tape.times(count, |tape| {
                    tape.number()?;
                    tape.string()?;
                    tape.string()
                })
            }
            kind::HASH_EXPIRING_LISTPACK => tape.pass(8).and_then(|()| tape.string()),
            kind::HASH_EXPIRING_EARLY | kind::HASH_EXPIRING_LISTPACK_EARLY => {
                Err(FileFault::Early { what: "a hash with expiring fields" })
            }
            found => Err(FileFault::Item { found }),
        }
    }

    fn stream(&mut self, kind: u8) -> Result<(), FileFault> {
        let tape = &mut self.tape;
        tape.strings(2)?;
        // How many there are, and the last; then the first, the greatest that was deleted, and how many there ever were.
        let numbers = if kind == kind::STREAM { 3 } else { 8 };
        tape.times(numbers, |tape| tape.number().map(drop))?;
        let groups = tape.number()?;
        tape.times(groups, |tape| {
            tape.string()?;
            let numbers = if kind == kind::STREAM { 2 } else { 3 };
            tape.times(numbers, |tape| tape.number().map(drop))?;
            let pending = tape.number()?;
            tape.times(pending, |tape| tape.pass(24).and_then(|()| tape.number().map(drop)))?;
            let consumers = tape.number()?;
            tape.times(consumers, |tape| {
                tape.string()?;
                tape.pass(if kind == kind::STREAM_3 { 16 } else { 8 })?;
                let pending = tape.number()?;
                tape.times(pending, |tape| tape.pass(16))
            })
        })
    }

    /// Says which module has left something.
    fn module(&mut self) -> Result<FileFault, FileFault> {
        Ok(FileFault::Module { name: module_name(self.tape.number()?) })
    }
}

/// The name in a module's number: nine characters of six bits, above ten bits of version.
fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |index: u64| LETTERS.get((id >> (10 + 6 * (8 - index))) as usize & 63).copied();
    (0..9).filter_map(letter).map(char::from).collect()
}
