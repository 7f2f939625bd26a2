//! The bytes of a file as they go by: summed up, and kept where somebody wants them.

use std::io::{ErrorKind, Read};

use super::FileFault;
use crate::rdb::crc64::crc64_more;

/// Read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// How a length begins, or what else is in its place.
enum Prefix {
    Number(u64),
    Special(u8),
}

/// See the module.
pub(super) struct Tape<R> {
    source: R,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// Of `buffer` this much is in `sum`.
    summed: usize,
    sum: u64,
    /// Bytes before the buffer.
    before: u64,
    /// Whether what goes by is kept.
    keeps: bool,
    kept: Vec<u8>,
}

impl<R: Read> Tape<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER_BYTES],
            at: 0,
            filled: 0,
            summed: 0,
            sum: 0,
            before: 0,
            keeps: false,
            kept: Vec::new(),
        }
    }

    /// Bytes gone by.
    pub(super) fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    /// The checksum of all that has gone by.
    pub(super) fn sum(&mut self) -> u64 {
        let passed = self.buffer.get(self.summed..self.at).unwrap_or_default();
        self.sum = crc64_more(self.sum, passed);
        self.summed = self.at;
        self.sum
    }

    /// What is kept from now on is what goes by from now on.
    pub(super) fn keep(&mut self, keeps: bool) {
        self.keeps = keeps;
        self.kept.clear();
    }

    /// Adds a byte to what is kept.
    pub(super) fn keep_byte(&mut self, byte: u8) {
        self.kept.push(byte);
    }

    /// What has been kept.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Whether nothing follows.
    pub(super) fn is_over(&mut self) -> Result<bool, FileFault> {
        if self.at < self.filled {
            return Ok(false);
        }
        self.sum();
        self.before += self.at as u64;
        (self.at, self.filled, self.summed) = (0, 0, 0);
        loop {
            match self.source.read(&mut self.buffer) {
                Ok(0) => return Ok(true),
                Ok(bytes) => {
                    self.filled = bytes.min(self.buffer.len());
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(FileFault::Io(error)),
            }
        }
    }

    /// Up to so many bytes, at least one, that are there at once.
    fn some(&mut self, count: u64) -> Result<usize, FileFault> {
        if self.is_over()? {
            return Err(FileFault::CutOff);
        }
        let available = self.filled - self.at;
        let taken = usize::try_from(count).map_or(available, |count| count.min(available));
        let bytes = self.buffer.get(self.at..self.at + taken).unwrap_or_default();
        if self.keeps {
            self.kept.extend_from_slice(bytes);
        }
        self.at += taken;
        Ok(taken)
    }

    pub(super) fn pass(&mut self, mut count: u64) -> Result<(), FileFault> {
        while count > 0 {
            count -= self.some(count)? as u64;
        }
        Ok(())
    }

    pub(super) fn byte(&mut self) -> Result<u8, FileFault> {
        self.some(1)?;
        self.buffer.get(self.at - 1).copied().ok_or(FileFault::CutOff)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FileFault> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    fn prefix(&mut self) -> Result<Prefix, FileFault> {
        let first = self.byte()?;
        Ok(match first {
            0..0x40 => Prefix::Number(first.into()),
            0x40..0x80 => Prefix::Number(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            0x80 => Prefix::Number(u32::from_be_bytes(self.array()?).into()),
            0x81 => Prefix::Number(u64::from_be_bytes(self.array()?)),
            0xc0..=0xc3 => Prefix::Special(first & 3),
            _ => return Err(FileFault::Malformed),
        })
    }

    /// A number.
    pub(super) fn number(&mut self) -> Result<u64, FileFault> {
        match self.prefix()? {
            Prefix::Number(number) => Ok(number),
            Prefix::Special(_) => Err(FileFault::Malformed),
        }
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<(), FileFault> {
        match self.prefix()? {
            Prefix::Number(bytes) => self.pass(bytes),
            // Compressed.
            Prefix::Special(3) => {
                let bytes = self.number()?;
                self.number()?;
                self.pass(bytes)
            }
            Prefix::Special(width) => self.pass(1 << width),
        }
    }

    /// So many strings, as the number before them says, or a multiple of that.
    pub(super) fn strings(&mut self, each: u64) -> Result<(), FileFault> {
        let count = self.number()?.checked_mul(each).ok_or(FileFault::Malformed)?;
        self.times(count, Self::string)
    }

    pub(super) fn times(
        &mut self,
        count: u64,
        mut each: impl FnMut(&mut Self) -> Result<(), FileFault>,
    ) -> Result<(), FileFault> {
        // Each takes a byte at least, so a count that is wrong ends where the file does.
        for _ in 0..count {
            each(self)?;
        }
        Ok(())
    }
}
