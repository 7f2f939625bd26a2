//! Commands that add members and change scores.

use annulus_protocol::parse_f64;
use annulus_storage::Key;
use annulus_storage::value::{LiveSortedSet, SortedSetChange};

use super::super::arguments::is;
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::sorted_set;

const NEW_OR_OLD: &str = "ERR XX and NX options at the same time are not compatible";
const UP_OR_DOWN: &str = "ERR GT, LT, and/or NX options at the same time are not compatible";
const INCREMENT_OF_SEVERAL: &str = "ERR INCR option supports a single increment-element pair";
const NOT_A_NUMBER: &str = "ERR resulting score is not a number (NaN)";

/// Options as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Options(u8);

impl Options {
    /// Adds new members only.
    const NX: Self = Self(1);
    /// Changes present members only.
    const XX: Self = Self(2);
    /// Raises scores of present members only.
    const GT: Self = Self(4);
    /// Lowers scores of present members only.
    const LT: Self = Self(8);
    /// Counts changed members too, not new ones only.
    pub(in super::super) const CH: Self = Self(16);
    /// Adds to the score, and replies with it.
    const INCR: Self = Self(32);

    const WORDS: [(&str, Self); 6] = [
        ("NX", Self::NX),
        ("XX", Self::XX),
        ("GT", Self::GT),
        ("LT", Self::LT),
        ("CH", Self::CH),
        ("INCR", Self::INCR),
    ];

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Reads the options at the start of some arguments; returns what follows.
    fn parse<'a, 'b>(args: &'b [&'a [u8]]) -> (Self, &'b [&'a [u8]]) {
        Self::parse_among(&Self::WORDS, args)
    }

    /// The same for `GEOADD`, which has fewer.
    pub(in super::super) fn parse_of_geoadd<'a, 'b>(args: &'b [&'a [u8]]) -> (Self, &'b [&'a [u8]]) {
        const WORDS: [(&str, Options); 3] = [("NX", Options::NX), ("XX", Options::XX), ("CH", Options::CH)];
        Self::parse_among(&WORDS, args)
    }

    fn parse_among<'a, 'b>(words: &[(&str, Self)], args: &'b [&'a [u8]]) -> (Self, &'b [&'a [u8]]) {
        let mut options = Self::default();
        let mut rest = args;
        while let [word, tail @ ..] = rest
            && let Some((_, option)) = words.iter().find(|(name, _)| is(word, name))
        {
            options.0 |= option.0;
            rest = tail;
        }
        (options, rest)
    }

    /// Refuses those that contradict each other.
    pub(in super::super) fn check(self, pairs: usize) -> Outcome {
        if self.has(Self::NX) && self.has(Self::XX) {
            return Err(fail(NEW_OR_OLD));
        }
        let conditions = [Self::NX, Self::GT, Self::LT].iter().filter(|option| self.has(**option)).count();
        if conditions > 1 {
            return Err(fail(UP_OR_DOWN));
        }
        if self.has(Self::INCR) && pairs > 1 {
            return Err(fail(INCREMENT_OF_SEVERAL));
        }
        Ok(())
    }

    /// Whether what is there decides nothing but the reply's number.
    const fn is_plain(self) -> bool {
        self.0 & !Self::CH.0 == 0
    }

    /// The score that a member gets; none: it stays as it is.
    fn decide(self, old: Option<f64>, given: f64) -> Result<Option<f64>, Failure> {
        let Some(old) = old else { return Ok((!self.has(Self::XX)).then_some(given)) };
        if self.has(Self::NX) {
            return Ok(None);
        }
        let new = if self.has(Self::INCR) { old + given } else { given };
        if new.is_nan() {
            return Err(fail(NOT_A_NUMBER));
        }
        let refused = self.has(Self::LT) && new >= old || self.has(Self::GT) && new <= old;
        Ok((!refused).then_some(new))
    }
}

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member …]`
pub(in super::super) fn zadd(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        [_, key, rest @ ..] => parse_and_add(context, key, rest),
        _ => Err(unreachable_arity("zadd")),
    };
    answer(context, outcome);
}

fn parse_and_add(context: &mut Context<'_>, key: &[u8], args: &[&[u8]]) -> Outcome {
    let (options, pairs) = Options::parse(args);
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(fail(errors::SYNTAX));
    }
    options.check(pairs.len() / 2)?;
    add(context, key, options, pairs)
}

/// `ZINCRBY key increment member`
pub(in super::super) fn zincrby(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        [_, key, pair @ ..] if pair.len() == 2 => add(context, key, Options::INCR, pair),
        _ => Err(unreachable_arity("zincrby")),
    };
    answer(context, outcome);
}

fn add(context: &mut Context<'_>, key: &[u8], options: Options, pairs: &[&[u8]]) -> Outcome {
    let score = |text: &[u8]| parse_f64(text).ok_or(fail(errors::NOT_FLOAT));
    let key = context.first_key(key);
    if let [text, member] = pairs {
        // The common case, without a list of pairs.
        return put(context, key, options, &[(score(text)?, member)]);
    }
    let pairs = pairs.chunks_exact(2).map(|pair| Ok((score(pair[0])?, pair[1])));
    let pairs = pairs.collect::<Result<Vec<_>, Failure>>()?;
    put(context, key, options, &pairs)
}

/// Adds members, and replies as `ZADD` does.
pub(in super::super) fn put(
    context: &mut Context<'_>,
    key: Key<'_>,
    options: Options,
    pairs: &[(f64, &[u8])],
) -> Outcome {
    let (database, now) = (context.database, context.store.now());
    let present = context.store.get_for_update(database, key).map(sorted_set(now)).transpose()?;
    let expires = present.as_ref().is_some_and(LiveSortedSet::expires);
    let mut len = present.map_or(0, |set| set.len());
    let (mut added, mut changed) = (0, 0);
    let mut result = None;
    for (given, member) in pairs {
        let mut score = *given;
        if !options.is_plain() {
            let entry = context.store.get_for_update(database, key);
            let old = entry.map(sorted_set(now)).transpose()?.and_then(|set| set.score(member));
            result = options.decide(old, *given)?;
            let Some(decided) = result else { continue };
            score = decided;
        }
        if expires {
            let (is_new, differs) = put_among_expiring(context, key, options, (score, member));
            changed += usize::from(differs);
            added += usize::from(is_new);
            continue;
        }
        let applied = context.store.change(database, key, SortedSetChange::Add { member, score });
        changed += applied.affected;
        added += usize::from(applied.len > len);
        len = applied.len.max(len);
    }
    match result {
        Some(score) if options.has(Options::INCR) => context.out.double(score),
        None if options.has(Options::INCR) => context.out.null(),
        _ => context.out.integer(if options.has(Options::CH) { changed } else { added } as i64),
    }
    Ok(())
}

/// Gives a member a score where some members expire. Returns whether it is new, and whether it had another score: one whose time has passed
/// is still there, but not for whoever asks. What is added has no expiry, had it one before or not, unless something is added to its score.
#[cold]
fn put_among_expiring(
    context: &mut Context<'_>,
    key: Key<'_>,
    options: Options,
    (score, member): (f64, &[u8]),
) -> (bool, bool) {
    let (database, now) = (context.database, context.store.now());
    let set = context.store.view(database, key).and_then(|entry| entry.sorted_set()).map(|set| set.at(now));
    let old = set.and_then(|set| set.score(member));
    let differs = old.is_none_or(|old| old.to_bits() != (score + 0.0).to_bits());
    context.store.change(database, key, SortedSetChange::Add { member, score });
    if old.is_none() || !options.has(Options::INCR) {
        context.store.change(database, key, SortedSetChange::Expire { member, expire_at_ms: None });
    }
    (old.is_none(), differs)
}
