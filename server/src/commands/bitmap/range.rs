//! Runs of bits: the ranges that arguments name, and counting and searching in them.

use super::super::arguments::{integer, is};
use super::super::errors::{self, Failure, fail};

/// What the bounds of a range count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Byte,
    Bit,
}

impl Unit {
    /// The unit from its word.
    pub(super) fn parse(word: &[u8]) -> Result<Self, Failure> {
        match word {
            word if is(word, "BIT") => Ok(Self::Bit),
            word if is(word, "BYTE") => Ok(Self::Byte),
            _ => Err(fail(errors::SYNTAX)),
        }
    }
}

/// A run of bits, `first..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BitRange {
    pub(super) first: u64,
    pub(super) end: u64,
}

/// Bounds as they are written, both included; negative ones count from the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Bounds {
    /// Bounds from text.
    pub(super) fn parse(start: &[u8], end: &[u8]) -> Result<Self, Failure> {
        Ok(Self { start: integer(start)?, end: integer(end)? })
    }

    /// Whether both count from the end and are the wrong way round. BITCOUNT looks at that first, BITPOS does not.
    pub(super) fn are_crossed(self) -> bool {
        self.start < 0 && self.end < 0 && self.start > self.end
    }

    /// The bits that they mean in a string; `None` if they mean none.
    pub(super) fn resolve(self, unit: Unit, bytes: usize) -> Option<BitRange> {
        let unit_bits = if unit == Unit::Bit { 1 } else { 8 };
        let length = bytes as i64 * 8 / unit_bits;
        let place = |bound: i64| if bound < 0 { length.saturating_add(bound).max(0) } else { bound };
        let (start, end) = (place(self.start), place(self.end).min(length - 1));
        (start <= end)
            .then(|| BitRange { first: (start * unit_bits) as u64, end: ((end + 1) * unit_bits) as u64 })
    }
}

/// How many bits of a run are set. The run lies within the bytes.
pub(super) fn count_ones(bytes: &[u8], run: BitRange) -> u64 {
    let Some((head, body, tail)) = split(bytes, run) else { return 0 };
    let (words, rest) = body.as_chunks::<8>();
    let whole: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let edges = [head, tail].iter().map(|(byte, mask)| u64::from((byte & mask).count_ones())).sum::<u64>();
    whole + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>() + edges
}

/// The first bit of a run that has this value. The run lies within the bytes.
pub(super) fn find(bytes: &[u8], run: BitRange, value: bool) -> Option<u64> {
    let ((head, head_mask), body, (tail, tail_mask)) = split(bytes, run)?;
    // Searching for a 0 is searching for a 1 in the opposite.
    let flip = if value { 0x00 } else { 0xff };
    let within = |byte: u8, mask: u8| {
        let hits = (byte ^ flip) & mask;
        (hits != 0).then(|| u64::from(hits.leading_zeros()))
    };
    let head_at = run.first / 8;
    if let Some(bit) = within(head, head_mask) {
        return Some(head_at * 8 + bit);
    }
    let boring = u64::from_ne_bytes([flip; 8]);
    let (words, _) = body.as_chunks::<8>();
    let skipped = words.iter().take_while(|word| u64::from_ne_bytes(**word) == boring).count() * 8;
    let rest = body.get(skipped..).unwrap_or_default();
    if let Some(at) = rest.iter().position(|byte| *byte != flip) {
        let bit = within(*rest.get(at)?, 0xff)?;
        return Some((head_at + 1 + (skipped + at) as u64) * 8 + bit);
    }
    within(tail, tail_mask).map(|bit| (run.end - 1) / 8 * 8 + bit)
}

/// A byte at the edge of a run, and which of its bits belong to it.
type Edge = (u8, u8);

/// The first byte of a run, the whole bytes after it, and the last byte, whose mask is empty if it is the first one too.
fn split(bytes: &[u8], run: BitRange) -> Option<(Edge, &[u8], Edge)> {
    let last = run.end.checked_sub(1)?;
    let (first_at, last_at) = ((run.first / 8) as usize, (last / 8) as usize);
    let from_first = 0xff_u8 >> (run.first % 8);
    let to_last = 0xff_u8 << (7 - last % 8);
    let (first, last) = (*bytes.get(first_at)?, *bytes.get(last_at)?);
    if first_at == last_at {
        return Some(((first, from_first & to_last), &[], (last, 0)));
    }
    Some(((first, from_first), bytes.get(first_at + 1..last_at)?, (last, to_last)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bit(bytes: &[u8], at: u64) -> bool {
        bytes[(at / 8) as usize] & (0x80 >> (at % 8)) != 0
    }

    proptest! {
        #[test]
        fn runs_are_counted_and_searched_as_bit_by_bit(
            seed in prop::collection::vec(prop_oneof![Just(0_u8), Just(0xff_u8), any::<u8>()], 1..60),
            a in 0_u64..480, b in 0_u64..480,
        ) {
            let bits = seed.len() as u64 * 8;
            let (first, end) = (a % bits, b % bits + 1);
            prop_assume!(first < end);
            let run = BitRange { first, end };
            prop_assert_eq!(count_ones(&seed, run), (first..end).filter(|at| bit(&seed, *at)).count() as u64);
            for value in [false, true] {
                prop_assert_eq!(find(&seed, run, value), (first..end).find(|at| bit(&seed, *at) == value));
            }
        }
    }

    #[test]
    fn bounds_count_from_both_ends() {
        let bits = |start, end, unit, bytes| {
            Bounds { start, end }.resolve(unit, bytes).map(|run| (run.first, run.end))
        };
        assert_eq!(bits(0, -1, Unit::Byte, 3), Some((0, 24)));
        assert_eq!(bits(-2, -1, Unit::Byte, 3), Some((8, 24)));
        assert_eq!(bits(5, 30, Unit::Bit, 3), Some((5, 24)));
        assert_eq!(bits(-5, -3, Unit::Bit, 1), Some((3, 6)));
        assert_eq!(bits(0, -1, Unit::Bit, 0), None);
        assert_eq!(bits(-1, -2, Unit::Bit, 3), None);
        assert_eq!(bits(i64::MIN, i64::MAX, Unit::Byte, 2), Some((0, 16)));
        assert_eq!(bits(i64::MAX, i64::MAX, Unit::Byte, 2), None);
        assert_eq!(bits(0, i64::MIN, Unit::Byte, 2), Some((0, 8)), "an end before the start is the start");
    }
}
