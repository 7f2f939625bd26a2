//! Parts of sorted sets, and how sets are put together.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

use crate::Command;

fn score(bound: Bound<&f64>, unbounded: &str) -> String {
    match bound {
        Bound::Included(score) => ryu::Buffer::new().format(*score).to_owned(),
        Bound::Excluded(score) => format!("({}", ryu::Buffer::new().format(*score)),
        Bound::Unbounded => unbounded.to_owned(),
    }
}

/// The ends of a range of scores.
pub(super) fn scores(range: &impl RangeBounds<f64>) -> (String, String) {
    (score(range.start_bound(), "-inf"), score(range.end_bound(), "+inf"))
}

/// A range of names, in the order of their bytes; for sets whose members all have the same score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LexRange {
    least: Bound<Bytes>,
    most: Bound<Bytes>,
}

impl LexRange {
    /// All names.
    pub const fn all() -> Self {
        Self { least: Bound::Unbounded, most: Bound::Unbounded }
    }

    /// Names with this beginning.
    pub fn prefix(beginning: impl AsRef<[u8]>) -> Self {
        let beginning = beginning.as_ref();
        // The next name without it: the last byte that can grow grows, and what is behind it goes.
        let most = match beginning.iter().rposition(|&byte| byte < u8::MAX) {
            Some(place) => {
                let mut next = beginning.get(..=place).unwrap_or_default().to_vec();
                next[place] += 1;
                Bound::Excluded(Bytes::from(next))
            }
            None => Bound::Unbounded,
        };
        Self { least: Bound::Included(Bytes::copy_from_slice(beginning)), most }
    }

    /// From this name on.
    #[must_use]
    pub fn from(mut self, name: impl AsRef<[u8]>) -> Self {
        self.least = Bound::Included(Bytes::copy_from_slice(name.as_ref()));
        self
    }

    /// Behind this name.
    #[must_use]
    pub fn above(mut self, name: impl AsRef<[u8]>) -> Self {
        self.least = Bound::Excluded(Bytes::copy_from_slice(name.as_ref()));
        self
    }

    /// Up to this name, and with it.
    #[must_use]
    pub fn up_to(mut self, name: impl AsRef<[u8]>) -> Self {
        self.most = Bound::Included(Bytes::copy_from_slice(name.as_ref()));
        self
    }

    /// Before this name.
    #[must_use]
    pub fn below(mut self, name: impl AsRef<[u8]>) -> Self {
        self.most = Bound::Excluded(Bytes::copy_from_slice(name.as_ref()));
        self
    }

    pub(super) fn least(&self) -> Vec<u8> {
        lex(&self.least, b"-")
    }

    pub(super) fn most(&self) -> Vec<u8> {
        lex(&self.most, b"+")
    }
}

fn lex(bound: &Bound<Bytes>, unbounded: &[u8]) -> Vec<u8> {
    match bound {
        Bound::Included(name) => [b"[", name.as_ref()].concat(),
        Bound::Excluded(name) => [b"(", name.as_ref()].concat(),
        Bound::Unbounded => unbounded.to_vec(),
    }
}

/// A part of a sorted set, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    by: By,
    is_reversed: bool,
    limit: Option<(u64, i64)>,
}

#[derive(Clone, Debug, PartialEq)]
enum By {
    Rank(i64, i64),
    Score(String, String),
    Name(LexRange),
}

impl Ranked {
    const fn new(by: By) -> Self {
        Self { by, is_reversed: false, limit: None }
    }

    /// From rank `start` to rank `stop`, both included; negative ones count from the end, from -1.
    pub const fn by_rank(start: i64, stop: i64) -> Self {
        Self::new(By::Rank(start, stop))
    }

    /// Members with such scores: `..`, `1.0..`, `1.0..=2.0`.
    pub fn by_score(range: impl RangeBounds<f64>) -> Self {
        let (least, most) = scores(&range);
        Self::new(By::Score(least, most))
    }

    /// Members with such names, where all have the same score.
    pub const fn by_name(range: LexRange) -> Self {
        Self::new(By::Name(range))
    }

    /// From the other end. Ranks then count from there.
    #[must_use]
    pub const fn reversed(mut self) -> Self {
        self.is_reversed = true;
        self
    }

    /// Of a range of scores or names, only `count` members (all for -1) behind the first `offset`.
    #[must_use]
    pub const fn limit(mut self, offset: u64, count: i64) -> Self {
        self.limit = Some((offset, count));
        self
    }

    pub(super) fn add(&self, command: Command) -> Command {
        let ends = |command: Command, least: &[u8], most: &[u8]| {
            let (first, second) = if self.is_reversed { (most, least) } else { (least, most) };
            command.arg(first).arg(second)
        };
        let command = match &self.by {
            By::Rank(start, stop) => command.number(*start).number(*stop),
            By::Score(least, most) => ends(command, least.as_bytes(), most.as_bytes()).arg("BYSCORE"),
            By::Name(range) => ends(command, &range.least(), &range.most()).arg("BYLEX"),
        };
        let command = command.flag("REV", self.is_reversed);
        match self.limit {
            Some((offset, count)) => command.arg("LIMIT").unsigned(offset).number(count),
            None => command,
        }
    }
}

/// What must be so of a member that is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddCondition {
    /// It's not there.
    Absent,
    /// It's there.
    Present,
}

impl AddCondition {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Absent => "NX",
            Self::Present => "XX",
        }
    }
}

/// How scores are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScoreOptions {
    condition: Option<AddCondition>,
    direction: Option<&'static str>,
    changed: bool,
}

impl ScoreOptions {
    /// As ZADD does without options.
    pub const fn new() -> Self {
        Self { condition: None, direction: None, changed: false }
    }

    /// Only members that are there, or only those that are not.
    #[must_use]
    pub const fn condition(mut self, condition: AddCondition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// A score only grows. New members are added.
    #[must_use]
    pub const fn only_greater(mut self) -> Self {
        self.direction = Some("GT");
        self
    }

    /// A score only shrinks. New members are added.
    #[must_use]
    pub const fn only_less(mut self) -> Self {
        self.direction = Some("LT");
        self
    }

    /// What is returned counts members whose score has changed too, not only new ones.
    #[must_use]
    pub const fn count_changed(mut self) -> Self {
        self.changed = true;
        self
    }

    pub(super) fn add(self, command: Command) -> Command {
        let words = [self.condition.map(AddCondition::word), self.direction, self.changed.then_some("CH")];
        command.args(words.into_iter().flatten())
    }
}

/// Sorted sets (or sets, whose members count as having 1 for a score) put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Combine {
    keys: Vec<Bytes>,
    weights: Vec<f64>,
    aggregate: Option<&'static str>,
}

impl Combine {
    /// Of these; scores of a member add up.
    pub fn of<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        let keys = keys.into_iter().map(|key| Bytes::copy_from_slice(key.as_ref())).collect();
        Self { keys, weights: Vec::new(), aggregate: None }
    }

    /// What the scores of each are multiplied with, before.
    #[must_use]
    pub fn weights(mut self, weights: impl IntoIterator<Item = f64>) -> Self {
        self.weights = weights.into_iter().collect();
        self
    }

    /// A member's lowest score counts.
    #[must_use]
    pub const fn lowest(mut self) -> Self {
        self.aggregate = Some("MIN");
        self
    }

    /// A member's highest score counts.
    #[must_use]
    pub const fn highest(mut self) -> Self {
        self.aggregate = Some("MAX");
        self
    }

    pub(super) fn add(&self, command: Command) -> Command {
        let mut command = command.counted_keys(&self.keys);
        if !self.weights.is_empty() {
            command =
                self.weights.iter().fold(command.arg("WEIGHTS"), |command, &weight| command.float(weight));
        }
        match self.aggregate {
            Some(aggregate) => command.arg("AGGREGATE").arg(aggregate),
            None => command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_scores_have_open_and_closed_ends() {
        let ends = |least: &str, most: &str| (least.to_owned(), most.to_owned());
        assert_eq!(scores(&..), ends("-inf", "+inf"));
        assert_eq!(scores(&(1.5..=2.0)), ends("1.5", "2.0"));
        assert_eq!(scores(&(1.5..2.0)), ends("1.5", "(2.0"));
        assert_eq!(scores(&(Bound::Excluded(1.5), Bound::Unbounded)), ends("(1.5", "+inf"));
        assert_eq!(scores(&(f64::NEG_INFINITY..f64::INFINITY)), ends("-inf", "(inf"));
    }

    #[test]
    fn a_prefix_is_a_range_of_names_whatever_its_bytes() {
        let ends = |range: &LexRange| (range.least(), range.most());
        assert_eq!(ends(&LexRange::all()), (b"-".to_vec(), b"+".to_vec()));
        assert_eq!(ends(&LexRange::prefix("ab")), (b"[ab".to_vec(), b"(ac".to_vec()));
        assert_eq!(ends(&LexRange::prefix(b"a\xff\xff")), (b"[a\xff\xff".to_vec(), b"(b".to_vec()));
        assert_eq!(ends(&LexRange::prefix(b"\xff")), (b"[\xff".to_vec(), b"+".to_vec()));
        assert_eq!(ends(&LexRange::prefix("")), (b"[".to_vec(), b"+".to_vec()));
        assert_eq!(ends(&LexRange::all().above("a").up_to("b")), (b"(a".to_vec(), b"[b".to_vec()));
    }
}
