//! The small form: member and score alternate in one [`Packed`], in order.
//!
//! A score that is a whole number is kept as one; another as a zero byte and the bytes of the double from the highest on, without
//! the zeros at the end: 1.5 takes 3 bytes.

use std::cmp::Ordering;

use super::order::compare_scores;
use crate::value::element::Element;
use crate::value::packed::Packed;

/// Up to here every whole number is a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A member with its score, and where it is.
pub(super) struct Found<'a> {
    pub(super) at: usize,
    pub(super) rank: usize,
    pub(super) member: Element<'a>,
    pub(super) score: f64,
}

/// All members in order.
pub(super) fn iter(packed: &Packed) -> impl Iterator<Item = Found<'_>> {
    iter_from(packed, 0)
}

/// The members from a rank on.
fn iter_from(packed: &Packed, rank: usize) -> impl Iterator<Item = Found<'_>> {
    let mut at = packed.position(2 * rank.min(packed.len() / 2));
    let mut rank = rank;
    std::iter::from_fn(move || {
        if at >= packed.end() {
            return None;
        }
        let start = at;
        let (member, score_at) = packed.at(at);
        let (score, next) = score_of(packed, score_at);
        at = next;
        rank += 1;
        Some(Found { at: start, rank: rank - 1, member, score })
    })
}

/// The members of some ranks.
pub(super) fn range(packed: &Packed, start: usize, end: usize) -> Vec<(Element<'_>, f64)> {
    iter_from(packed, start)
        .take(end.saturating_sub(start))
        .map(|found| (found.member, found.score))
        .collect()
}

fn score_of(packed: &Packed, at: usize) -> (f64, usize) {
    let (integer, bytes, next) = packed.split(at);
    if let Some(integer) = integer {
        return (integer as f64, next);
    }
    let mut whole = [0; 8];
    let bytes = bytes.get(1..).unwrap_or_default();
    whole[..bytes.len()].copy_from_slice(bytes);
    (f64::from_bits(u64::from_be_bytes(whole)), next)
}

pub(super) fn find<'a>(packed: &'a Packed, member: &[u8]) -> Option<Found<'a>> {
    let at = packed.find(member, 2)?;
    let (member, score_at) = packed.at(at);
    let score = score_of(packed, score_at).0;
    Some(Found { at, rank: 0, member, score })
}

/// Adds a member that is not there.
pub(super) fn insert(packed: &mut Packed, member: &[u8], score: f64) {
    let follows = |found: &Found<'_>| match compare_scores(found.score, score) {
        Ordering::Less => false,
        Ordering::Equal => *found.member > *member,
        Ordering::Greater => true,
    };
    let at = iter(packed).find(follows).map_or(packed.end(), |found| found.at);
    let at = packed.insert(at, member);
    let score_at = packed.next(at);
    let text = ScoreBytes::of(score);
    packed.insert(score_at, text.as_slice());
}

/// A score as an element.
struct ScoreBytes {
    bytes: [u8; 20],
    len: usize,
}

impl ScoreBytes {
    fn of(score: f64) -> ScoreBytes {
        let mut bytes = [0; 20];
        if score.fract() == 0.0 && score.abs() <= WHOLE_MAX {
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(score as i64).as_bytes();
            bytes[..digits.len()].copy_from_slice(digits);
            return ScoreBytes { bytes, len: digits.len() };
        }
        let whole = score.to_bits();
        bytes[1..9].copy_from_slice(&whole.to_be_bytes());
        ScoreBytes { bytes, len: 9 - (whole.trailing_zeros() / 8) as usize }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
