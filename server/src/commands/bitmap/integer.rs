//! Integers of 1 to 64 bits at any bit of a string: reading, writing, and what happens when a value does not fit.

use super::byte_at;

/// What happens to a value that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Overflow {
    /// The low bits are kept.
    #[default]
    Wrap,
    /// The nearest value that fits is taken.
    Saturate,
    /// Nothing is changed.
    Fail,
}

/// The type of a field: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Type {
    signed: bool,
    pub(super) bits: u32,
}

/// Most bytes that a field touches: 64 bits that begin within a byte.
pub(super) const FIELD_BYTES_MAX: usize = 9;

impl Type {
    /// A type from its text. An unsigned one of 64 bits would not fit the integers of the protocol.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (kind, digits) = text.split_first()?;
        let (signed, bits_max) = match kind {
            b'i' => (true, 64),
            b'u' => (false, 63),
            _ => return None,
        };
        let bits = annulus_protocol::parse_i64(digits).filter(|bits| (1..=bits_max).contains(bits))?;
        Some(Self { signed, bits: bits as u32 })
    }

    fn least(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    fn greatest(self) -> i128 {
        (1 << (self.bits - u32::from(self.signed))) - 1
    }

    /// The low bits of a number as a value of this type.
    fn wrapped(self, number: i128) -> i64 {
        let unused = 128 - self.bits;
        let shifted = number << unused;
        (if self.signed { shifted >> unused } else { (shifted as u128 >> unused) as i128 }) as i64
    }

    /// A number as a value of this type; `None` if it does not fit and must.
    fn fitted(self, number: i128, overflow: Overflow) -> Option<i64> {
        if (self.least()..=self.greatest()).contains(&number) {
            return Some(number as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.wrapped(number)),
            Overflow::Saturate => Some(number.clamp(self.least(), self.greatest()) as i64),
            Overflow::Fail => None,
        }
    }

    /// What setting a field to `value` makes of it.
    pub(super) fn assigned(self, value: i64, overflow: Overflow) -> Option<i64> {
        // For an unsigned field a negative value is, as in Redis, the large number of the same 64 bits.
        let number = if self.signed { i128::from(value) } else { i128::from(value as u64) };
        self.fitted(number, overflow)
    }

    /// What adding to a field makes of it.
    pub(super) fn added(self, old: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        self.fitted(i128::from(old) + i128::from(increment), overflow)
    }

    /// The field at a bit of a string; beyond its end are zeros.
    pub(super) fn read(self, bytes: &[u8], offset: u64) -> i64 {
        let window = Window::of(self, offset);
        let all = window.load(bytes);
        self.wrapped((all >> window.low_bits) as i128)
    }

    /// The bytes that a field touches, from which byte on, with `value` in it.
    pub(super) fn write(self, bytes: &[u8], offset: u64, value: i64) -> (u64, FieldBytes) {
        let window = Window::of(self, offset);
        let mask = (u128::MAX >> (128 - self.bits)) << window.low_bits;
        let value = ((value as u128) << window.low_bits) & mask;
        let all = window.load(bytes) & !mask | value;
        let mut out = FieldBytes { bytes: [0; FIELD_BYTES_MAX], len: window.len };
        let be = all.to_be_bytes();
        out.bytes[..window.len].copy_from_slice(&be[be.len() - window.len..]);
        (window.first, out)
    }
}

/// A few bytes on the stack.
pub(super) struct FieldBytes {
    bytes: [u8; FIELD_BYTES_MAX],
    len: usize,
}

impl FieldBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The whole bytes that a field lies in.
struct Window {
    first: u64,
    len: usize,
    /// Bits after the field in the last of them.
    low_bits: u32,
}

impl Window {
    fn of(field: Type, offset: u64) -> Self {
        let end = offset + u64::from(field.bits);
        let (first, last) = (offset / 8, (end - 1) / 8);
        Self { first, len: (last - first + 1) as usize, low_bits: ((last + 1) * 8 - end) as u32 }
    }

    fn load(&self, bytes: &[u8]) -> u128 {
        (self.first..self.first + self.len as u64)
            .fold(0, |all, at| all << 8 | u128::from(byte_at(bytes, at)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_have_their_bounds() {
        for (text, bits) in [("u1", 1), ("u63", 63), ("i64", 64), ("i1", 1)] {
            assert_eq!(Type::parse(text.as_bytes()).map(|found| found.bits), Some(bits), "{text}");
        }
        for wrong in ["u64", "i65", "u0", "i-1", "x8", "u", "", "8", "u08"] {
            assert_eq!(Type::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let byte = Type::parse(b"u8").unwrap();
        assert_eq!(byte.assigned(-1, Overflow::Wrap), Some(255));
        assert_eq!(byte.assigned(-1, Overflow::Saturate), Some(255));
        assert_eq!(byte.added(250, 10, Overflow::Wrap), Some(4));
        assert_eq!(byte.added(3, -10, Overflow::Saturate), Some(0));
        assert_eq!(byte.added(250, 10, Overflow::Fail), None);
        let long = Type::parse(b"i64").unwrap();
        assert_eq!(long.added(i64::MAX, 1, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(long.added(i64::MIN, i64::MIN, Overflow::Saturate), Some(i64::MIN));
    }

    proptest! {
        #[test]
        fn fields_are_written_where_they_are_read(
            seed in prop::collection::vec(any::<u8>(), 0..24),
            signed in any::<bool>(), bits in 1_u32..=64, offset in 0_u64..200, value in any::<i64>(),
        ) {
            prop_assume!(signed || bits < 64);
            let field = Type { signed, bits };
            let mut bytes = seed.clone();
            bytes.resize(40, 0);
            let before = bytes.clone();
            let value = field.assigned(value, Overflow::Wrap).unwrap();
            let (at, written) = field.write(&seed, offset, value);
            bytes[at as usize..at as usize + written.as_slice().len()].copy_from_slice(written.as_slice());
            prop_assert_eq!(field.read(&bytes, offset), value);
            for bit in (0..320).filter(|bit| !(offset..offset + u64::from(bits)).contains(bit)) {
                let of = |bytes: &[u8]| bytes[(bit / 8) as usize] >> (7 - bit % 8) & 1;
                prop_assert_eq!(of(&bytes), of(&before), "bit {} outside the field has changed", bit);
            }
        }
    }
}
