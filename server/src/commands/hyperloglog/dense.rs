//! Dense registers: 16384 of 6 bits, the first in the low bits of the first byte.

use super::hash::REGISTERS;

/// Bits of a register.
const BITS: usize = 6;
const MASK: u16 = (1 << BITS) - 1;
/// Bytes of all registers.
pub(super) const BYTES: usize = REGISTERS * BITS / 8;

/// A register of what [`BYTES`] bytes hold.
pub(super) fn register(registers: &[u8], index: usize) -> u8 {
    let (at, shift) = (index * BITS / 8, index * BITS % 8);
    (pair(registers, at) >> shift & MASK) as u8
}

/// The one or two bytes that hold a register, with `value` in it, and where they are.
pub(super) fn with_register(registers: &[u8], index: usize, value: u8) -> (usize, [u8; 2], usize) {
    let (at, shift) = (index * BITS / 8, index * BITS % 8);
    let bytes = pair(registers, at) & !(MASK << shift) | u16::from(value) << shift;
    (at, bytes.to_le_bytes(), if shift + BITS > 8 { 2 } else { 1 })
}

/// Sets a register.
pub(super) fn set_register(registers: &mut [u8], index: usize, value: u8) {
    let (at, bytes, count) = with_register(registers, index, value);
    registers[at..at + count].copy_from_slice(&bytes[..count]);
}

fn pair(registers: &[u8], at: usize) -> u16 {
    let byte = |at: usize| u16::from(registers.get(at).copied().unwrap_or(0));
    byte(at) | byte(at + 1) << 8
}

/// All registers in order, four from three bytes.
pub(super) fn each(registers: &[u8]) -> impl Iterator<Item = u8> {
    let (threes, _) = registers.as_chunks::<3>();
    threes.iter().flat_map(|[a, b, c]| [a & 63, a >> 6 | b << 2 & 63, b >> 4 | c << 4 & 63, c >> 2])
}

/// The registers of 6 bits from those of a byte.
pub(super) fn pack(registers: &[u8; REGISTERS]) -> Vec<u8> {
    let (fours, _) = registers.as_chunks::<4>();
    fours.iter().flat_map(|[a, b, c, d]| [a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn registers_keep_what_they_are_given(writes in prop::collection::vec((0..REGISTERS, 0_u8..64), 1..200)) {
            let mut packed = vec![0; BYTES];
            let mut plain = [0; REGISTERS];
            for (index, value) in writes {
                set_register(&mut packed, index, value);
                plain[index] = value;
                prop_assert_eq!(register(&packed, index), value);
            }
            prop_assert!(each(&packed).eq(plain));
            prop_assert_eq!(pack(&plain), packed);
        }
    }
}
