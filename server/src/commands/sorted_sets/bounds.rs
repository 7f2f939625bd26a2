//! Parts of a sorted set: by rank, by score, by the bytes of members.

use std::ops::Range;

use annulus_protocol::parse_f64;
use annulus_storage::value::LiveSortedSet;

use super::super::arguments::{integer, span};
use super::super::errors::{Failure, fail};

const NOT_SCORES: &str = "ERR min or max is not a float";
const NOT_MEMBERS: &str = "ERR min or max not valid string range item";

/// What bounds mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Member,
}

/// Which end of the order comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Reverse,
}

/// A part of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bounds<'a> {
    Rank { start: i64, stop: i64 },
    Score { min: ScoreBound, max: ScoreBound },
    Member { min: MemberBound<'a>, max: MemberBound<'a> },
}

/// A score that bounds a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ScoreBound {
    score: f64,
    exclusive: bool,
}

/// A member that bounds a part, which need not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberBound<'a> {
    First,
    Last,
    Inclusive(&'a [u8]),
    Exclusive(&'a [u8]),
}

impl<'a> Bounds<'a> {
    /// Reads both bounds. With [`Direction::Reverse`], scores and members come with the greater first.
    pub(super) fn parse(by: By, direction: Direction, args: [&'a [u8]; 2]) -> Result<Self, Failure> {
        let [first, second] = args;
        let (min, max) = if direction == Direction::Reverse { (second, first) } else { (first, second) };
        match by {
            By::Rank => Ok(Self::Rank { start: integer(first)?, stop: integer(second)? }),
            By::Score => match (ScoreBound::parse(min), ScoreBound::parse(max)) {
                (Some(min), Some(max)) => Ok(Self::Score { min, max }),
                _ => Err(fail(NOT_SCORES)),
            },
            By::Member => match (MemberBound::parse(min), MemberBound::parse(max)) {
                (Some(min), Some(max)) => Ok(Self::Member { min, max }),
                _ => Err(fail(NOT_MEMBERS)),
            },
        }
    }

    /// The ranks, counted from the start of the order, of what lies within. Ranks that bound count from the end that comes first.
    pub(super) fn ranks(&self, set: &LiveSortedSet<'_>, direction: Direction) -> Range<usize> {
        let (start, end) = match *self {
            Self::Rank { start, stop } => {
                let len = set.len();
                let range = span(start, stop, len);
                return match direction {
                    Direction::Forward => range,
                    Direction::Reverse => len - range.end..len - range.start,
                };
            }
            Self::Score { min, max } => (
                set.partition(|score, _| score < min.score || min.exclusive && score <= min.score),
                set.partition(|score, _| score < max.score || !max.exclusive && score <= max.score),
            ),
            Self::Member { min, max } => (
                set.partition(|_, member| min.is_above(member)),
                set.partition(|_, member| !max.is_below(member)),
            ),
        };
        start..end.max(start)
    }
}

impl ScoreBound {
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            [b'(', score @ ..] => Some(Self { score: lenient(score)?, exclusive: true }),
            _ => Some(Self { score: lenient(text)?, exclusive: false }),
        }
    }
}

/// Reads a number as C's `strtod` alone does, as Redis has it for bounds: with space before it, too large or near zero, and nothing for 0.
fn lenient(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0B;
    let start = text.iter().position(|byte| !is_space(byte))?;
    let text = text.get(start..).unwrap_or_default();
    let rounded = || str::from_utf8(text).ok()?.parse::<f64>().ok();
    parse_f64(text).or_else(rounded).filter(|score| !score.is_nan())
}

impl<'a> MemberBound<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        match text {
            [b'-'] | [b'-', 0, ..] => Some(Self::First),
            [b'+'] | [b'+', 0, ..] => Some(Self::Last),
            [b'[', member @ ..] => Some(Self::Inclusive(member)),
            [b'(', member @ ..] => Some(Self::Exclusive(member)),
            _ => None,
        }
    }

    /// Whether a member lies before what this, as the lower bound, lets in.
    fn is_above(self, member: &[u8]) -> bool {
        match self {
            Self::First => false,
            Self::Last => true,
            Self::Inclusive(bound) => member < bound,
            Self::Exclusive(bound) => member <= bound,
        }
    }

    /// Whether a member lies behind what this, as the upper bound, lets in.
    fn is_below(self, member: &[u8]) -> bool {
        match self {
            Self::First => true,
            Self::Last => false,
            Self::Inclusive(bound) => member > bound,
            Self::Exclusive(bound) => member >= bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_bound_are_read_as_strtod_does() {
        for (text, score) in [
            ("", 0.0),
            (" 1", 1.0),
            ("\t\x0B-2.5", -2.5),
            ("1e999", f64::INFINITY),
            ("-1e999", f64::NEG_INFINITY),
            ("1e-999", 0.0),
            ("0x10", 16.0),
            ("+inf", f64::INFINITY),
            ("3\0junk", 3.0),
        ] {
            assert_eq!(lenient(text.as_bytes()), Some(score), "{text:?}");
        }
        for text in ["nan", "x", "1 ", " ", "1x", "((1"] {
            assert_eq!(lenient(text.as_bytes()), None, "{text:?}");
        }
    }
}
