//! Writing.

use std::io::{self, Write};

use super::{MAGIC, opcode};
use crate::rdb::bytes::{put_number, put_string};
use crate::rdb::crc64::crc64_more;
use crate::rdb::save;
use crate::{DatabaseId, Value};

/// Handed to the system at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is being written, item by item.
#[derive(Debug)]
pub struct FileWriter<W> {
    out: W,
    version: u16,
    buffer: Vec<u8>,
    sum: u64,
    bytes: u64,
    /// The database of the next key.
    database: Option<DatabaseId>,
    /// When it is written, ms of Unix time.
    now_ms: u64,
    unexpiring: u64,
}

impl<W: Write> FileWriter<W> {
    /// Begins a file of a version. `notes` are what Redis calls auxiliary fields: names and values.
    pub fn new(out: W, version: u16, notes: &[(&str, &str)]) -> Self {
        let mut buffer = Vec::with_capacity(2 * BUFFER_BYTES);
        buffer.extend(MAGIC);
        buffer.extend(format!("{version:04}").into_bytes());
        for (name, value) in notes {
            buffer.push(opcode::NOTE);
            put_string(&mut buffer, name.as_bytes());
            put_string(&mut buffer, value.as_bytes());
        }
        Self { out, version, buffer, sum: 0, bytes: 0, database: None, now_ms: 0, unexpiring: 0 }
    }

    /// Written at this time (ms of Unix time): of sets whose members expire, which the format doesn't know, those that are there then are
    /// written, as if they didn't.
    #[must_use]
    pub fn at(self, now_ms: u64) -> Self {
        Self { now_ms, ..self }
    }

    /// How many members of sets, sorted or not, have lost their expiry so far.
    pub fn unexpiring(&self) -> u64 {
        self.unexpiring
    }

    /// A library of functions, by its text. These come before keys.
    pub fn library(&mut self, text: &[u8]) -> io::Result<()> {
        self.buffer.push(opcode::FUNCTION);
        put_string(&mut self.buffer, text);
        self.give(BUFFER_BYTES)
    }

    /// The keys that follow are of this database; about so many, and so many of them with an expiry.
    pub fn database(&mut self, database: DatabaseId, keys: u64, expiries: u64) {
        self.buffer.push(opcode::DATABASE);
        put_number(&mut self.buffer, database.0.into());
        self.buffer.push(opcode::SIZES);
        put_number(&mut self.buffer, keys);
        put_number(&mut self.buffer, expiries);
        self.database = Some(database);
    }

    /// A key. Returns false, and writes nothing, if its value needs a later version of the format. Of a set that has no members left
    /// nothing is written either.
    ///
    /// # Panics
    /// When no database has been named.
    pub fn key(&mut self, key: &[u8], expire_at_ms: Option<u64>, value: Value<'_>) -> io::Result<bool> {
        assert!(self.database.is_some(), "a key belongs to a database");
        let Some(unexpiring) = save::lost_expiries(value, self.now_ms) else { return Ok(true) };
        let start = self.buffer.len();
        if let Some(at) = expire_at_ms {
            self.buffer.push(opcode::EXPIRY_MS);
            self.buffer.extend(at.to_le_bytes());
        }
        // The type comes before the key, and the object behind it.
        let mut object = Vec::new();
        let version = save::object(value, save::Reader::Redis { now_ms: self.now_ms }, &mut object);
        let (Some((kind, object)), true) = (object.split_first(), version <= self.version) else {
            self.buffer.truncate(start);
            return Ok(false);
        };
        self.buffer.push(*kind);
        put_string(&mut self.buffer, key);
        self.buffer.extend_from_slice(object);
        self.unexpiring += unexpiring;
        self.give(BUFFER_BYTES)?;
        Ok(true)
    }

    /// Hands over what there is, if it is as much.
    fn give(&mut self, least: usize) -> io::Result<()> {
        if self.buffer.len() >= least {
            self.sum = crc64_more(self.sum, &self.buffer);
            self.out.write_all(&self.buffer)?;
            self.bytes += self.buffer.len() as u64;
            self.buffer.clear();
            self.buffer.shrink_to(2 * BUFFER_BYTES);
        }
        Ok(())
    }

    /// Ends the file. Returns what it was written to, and how many bytes it has.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.buffer.push(opcode::END);
        self.give(0)?;
        self.out.write_all(&self.sum.to_le_bytes())?;
        self.out.flush()?;
        Ok((self.out, self.bytes + 8))
    }
}
