//! Bitmaps: strings as bits, the first bit being the highest of the first byte; and numbers of any width within them.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! client.setbit("seen:monday", 4711, true).await?;
//! client.bitop(BitOperation::And, "seen:both", ["seen:monday", "seen:tuesday"]).await?;
//! let users = client.bitcount("seen:both", None).await?;
//!
//! // Two counters of 16 bits that stop at their ends.
//! let counters = BitField::new().overflow(Overflow::Saturate).incrby(BitType::u(16), 0, 1).get(BitType::u(16), 16);
//! let values = client.bitfield("counters", &counters).await?;
//! # Ok(())
//! # }
//! ```

use super::Execute;
use crate::{Command, Error, FromValue, Result, Value};

/// A part of a string, both ends included; negative ones count from the end, from -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitRange {
    /// By bytes.
    Bytes(i64, i64),
    /// By bits.
    Bits(i64, i64),
}

fn add_range(command: Command, range: Option<BitRange>) -> Command {
    match range {
        Some(BitRange::Bytes(start, end)) => command.number(start).number(end),
        Some(BitRange::Bits(start, end)) => command.number(start).number(end).arg("BIT"),
        None => command,
    }
}

/// How strings are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOperation {
    /// Bits that all have.
    And,
    /// Bits that any has.
    Or,
    /// Bits that an odd number of them have.
    Xor,
    /// Bits that the one string has not.
    Not,
}

/// The type of a number in a bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitType {
    is_signed: bool,
    bits: u8,
}

impl BitType {
    /// Unsigned, of 1 to 63 bits.
    pub const fn u(bits: u8) -> Self {
        Self { is_signed: false, bits }
    }

    /// Signed, of 1 to 64 bits.
    pub const fn i(bits: u8) -> Self {
        Self { is_signed: true, bits }
    }

    fn word(self) -> String {
        format!("{}{}", if self.is_signed { 'i' } else { 'u' }, self.bits)
    }
}

/// What becomes of a number that its bits can't hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It goes around.
    Wrap,
    /// It stays at the end.
    Saturate,
    /// Nothing is done, and the answer is `None`.
    Fail,
}

/// Operations on numbers in a bitmap, carried out in order as one. Offsets are in bits.
#[derive(Clone, Debug, Default)]
pub struct BitField {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(BitType, u64),
    Set(BitType, u64, i64),
    IncrBy(BitType, u64, i64),
    Overflow(Overflow),
}

impl BitField {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Tells a number.
    #[must_use]
    pub fn get(self, number: BitType, offset: u64) -> Self {
        self.with(Step::Get(number, offset))
    }

    /// Sets a number, and tells the one before.
    #[must_use]
    pub fn set(self, number: BitType, offset: u64, value: i64) -> Self {
        self.with(Step::Set(number, offset, value))
    }

    /// Adds to a number, and tells the sum.
    #[must_use]
    pub fn incrby(self, number: BitType, offset: u64, by: i64) -> Self {
        self.with(Step::IncrBy(number, offset, by))
    }

    /// From here on, this becomes of numbers that are too large or too small. At first: [`Overflow::Wrap`].
    #[must_use]
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.with(Step::Overflow(overflow))
    }

    fn add(&self, command: Command) -> Command {
        let place = |command: Command, number: BitType, offset| command.arg(number.word()).unsigned(offset);
        self.steps.iter().fold(command, |command, step| match *step {
            Step::Get(number, offset) => place(command.arg("GET"), number, offset),
            Step::Set(number, offset, value) => place(command.arg("SET"), number, offset).number(value),
            Step::IncrBy(number, offset, by) => place(command.arg("INCRBY"), number, offset).number(by),
            Step::Overflow(overflow) => command.arg("OVERFLOW").arg(match overflow {
                Overflow::Wrap => "WRAP",
                Overflow::Saturate => "SAT",
                Overflow::Fail => "FAIL",
            }),
        })
    }
}

/// A place; -1 says that there's none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitPlace(pub Option<u64>);

impl FromValue for BitPlace {
    fn from_value(value: Value) -> Result<Self> {
        match i64::from_value(value)? {
            -1 => Ok(Self(None)),
            place => u64::try_from(place)
                .map(|place| Self(Some(place)))
                .map_err(|_| Error::Unexpected { expected: "place of a bit", found: place.to_string() }),
        }
    }
}

/// Commands on bitmaps.
pub trait BitmapCommands: Execute {
    /// Sets a bit, and tells what it was.
    fn setbit(&self, key: impl AsRef<[u8]>, offset: u32, bit: bool) -> Self::Output<'_, bool> {
        self.execute(Command::new("SETBIT").key(key).number(offset).number(bit))
    }

    /// A bit; those behind the end are 0.
    fn getbit(&self, key: impl AsRef<[u8]>, offset: u32) -> Self::Output<'_, bool> {
        self.execute(Command::new("GETBIT").key(key).number(offset).reads())
    }

    /// How many bits are 1, in all or in a part.
    fn bitcount(&self, key: impl AsRef<[u8]>, range: Option<BitRange>) -> Self::Output<'_, u64> {
        self.execute(add_range(Command::new("BITCOUNT").key(key), range).reads())
    }

    /// The place of the first such bit, in all or in a part. Behind the end of a whole string there are zeros.
    fn bitpos(
        &self,
        key: impl AsRef<[u8]>,
        bit: bool,
        range: Option<BitRange>,
    ) -> Self::Output<'_, BitPlace> {
        self.execute(add_range(Command::new("BITPOS").key(key).number(bit), range).reads())
    }

    /// Puts strings together into another, and tells its length in bytes.
    fn bitop<K: AsRef<[u8]>>(
        &self,
        operation: BitOperation,
        to: impl AsRef<[u8]>,
        keys: impl IntoIterator<Item = K>,
    ) -> Self::Output<'_, u64> {
        let name = match operation {
            BitOperation::And => "AND",
            BitOperation::Or => "OR",
            BitOperation::Xor => "XOR",
            BitOperation::Not => "NOT",
        };
        self.execute(Command::new("BITOP").arg(name).key(to).keys(keys))
    }

    /// Carries out operations on numbers; tells the outcome of each, `None` where it would not fit.
    fn bitfield(&self, key: impl AsRef<[u8]>, field: &BitField) -> Self::Output<'_, Vec<Option<i64>>> {
        self.execute(field.add(Command::new("BITFIELD").key(key)))
    }

    /// The same with nothing but [`BitField::get`]: it changes nothing, so it may be sent again after a lost connection.
    fn bitfield_ro(&self, key: impl AsRef<[u8]>, field: &BitField) -> Self::Output<'_, Vec<Option<i64>>> {
        self.execute(field.add(Command::new("BITFIELD_RO").key(key)).reads())
    }
}

impl<E: Execute> BitmapCommands for E {}
