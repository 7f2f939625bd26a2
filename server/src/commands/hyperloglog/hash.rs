//! Which register an element belongs to, and what it says there. The hash is MurmurHash2 for 64 bits (Austin Appleby, public
//! domain), little-endian everywhere, with Redis's seed: values are only comparable if all use the same.

/// Registers of a value.
pub(super) const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of the hash that choose a register.
const INDEX_BITS: u32 = 14;
/// The other bits: the longest run of zeros in them, plus one, is what a register keeps.
pub(super) const RANK_MAX: u8 = (64 - INDEX_BITS) as u8 + 1;
const SEED: u64 = 0xadc8_3b19;

/// The register of an element and the rank that the element asks of it.
pub(super) fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur64(element, SEED);
    let index = hash as usize & (REGISTERS - 1);
    // The bit above the last keeps the count within its bounds.
    let rest = hash >> INDEX_BITS | 1 << (RANK_MAX - 1);
    (index, rest.trailing_zeros() as u8 + 1)
}

fn murmur64(bytes: &[u8], seed: u64) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_that_redis_finds() {
        // From `PFADD` and `PFDEBUG DECODE` of redis-server 7.0.
        assert_eq!(place(b"a"), (12711, 2));
        assert_eq!(place(b""), (5938, 2));
        assert_eq!(place(b"12345678"), (10579, 3));
        assert_eq!(place(b"0123456789abcdef!"), (13940, 1));
    }
}
