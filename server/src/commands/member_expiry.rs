//! When members of collections expire: fields of hashes, as in Redis 7.4 (HEXPIRE and its kin), and in the same words, with `MEMBERS` for
//! `FIELDS`, members of sets (SEXPIRE …) and of sorted sets (ZEXPIRE …, which Garnet has too).
//!
//! Whoever sets a member outright takes its expiry away, as SET does a key's: HSET, SADD, ZADD, GEOADD. What builds on what is there
//! leaves it alone: HINCRBY, ZINCRBY.

use annulus_storage::value::{Change, Life};
use annulus_storage::{Entry, Key, Kind};

use super::arguments::{Base, Unit, integer, is, one_or_more};
use super::errors::{self, Failure, Outcome, fail};
use super::{Context, answer, unreachable_arity};

/// The latest time at which a member can expire, ms of Unix time: the year 4199, as in Redis.
const EXPIRE_AT_MS_MAX: u64 = (1 << 48) / 4 - 1;

/// What is replied of a member that isn't there.
const NO_MEMBER: i64 = -2;
/// What is replied of a member that doesn't expire.
const NO_EXPIRY: i64 = -1;

/// A type whose members expire, in the words of its commands.
pub(super) trait Family {
    /// The type.
    const KIND: Kind;
    /// The names of the commands that set an expiry: by seconds from now, ms from now, Unix time in seconds, in ms.
    const NAMES: [&'static str; 4];
    /// What members come behind.
    const WORDS: &'static Words;
}

/// The words of a command that names members.
pub(super) struct Words {
    keyword: &'static str,
    missing: &'static str,
    not_positive: &'static str,
    not_positive_to_expire: &'static str,
    mismatched: &'static str,
}

/// Of commands on hashes.
pub(super) static FIELDS: Words = Words {
    keyword: "FIELDS",
    missing: "ERR Mandatory argument FIELDS is missing or not at the right position",
    not_positive: "ERR Number of fields must be a positive integer",
    not_positive_to_expire: "ERR Parameter `numFields` should be greater than 0",
    mismatched: "ERR The `numfields` parameter must match the number of arguments",
};

static MEMBERS: Words = Words {
    keyword: "MEMBERS",
    missing: "ERR Mandatory argument MEMBERS is missing or not at the right position",
    not_positive: "ERR Number of members must be a positive integer",
    not_positive_to_expire: "ERR Parameter `numMembers` should be greater than 0",
    mismatched: "ERR The `nummembers` parameter must match the number of arguments",
};

/// Fields of hashes.
pub(super) struct OfHash;

impl Family for OfHash {
    const KIND: Kind = Kind::Hash;
    const NAMES: [&'static str; 4] = ["hexpire", "hpexpire", "hexpireat", "hpexpireat"];
    const WORDS: &'static Words = &FIELDS;
}

/// Members of sets.
pub(super) struct OfSet;

impl Family for OfSet {
    const KIND: Kind = Kind::Set;
    const NAMES: [&'static str; 4] = ["sexpire", "spexpire", "sexpireat", "spexpireat"];
    const WORDS: &'static Words = &MEMBERS;
}

/// Members of sorted sets.
pub(super) struct OfSortedSet;

impl Family for OfSortedSet {
    const KIND: Kind = Kind::SortedSet;
    const NAMES: [&'static str; 4] = ["zexpire", "zpexpire", "zexpireat", "zpexpireat"];
    const WORDS: &'static Words = &MEMBERS;
}

/// `HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field …]`, and of the other families
pub(super) fn expire<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry::<F>(context, args, (Unit::Seconds, Base::Now), F::NAMES[0]);
    answer(context, outcome);
}

/// `HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]`, and of the other families
pub(super) fn pexpire<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry::<F>(context, args, (Unit::Milliseconds, Base::Now), F::NAMES[1]);
    answer(context, outcome);
}

/// `HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field …]`, and of the other families
pub(super) fn expireat<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry::<F>(context, args, (Unit::Seconds, Base::Epoch), F::NAMES[2]);
    answer(context, outcome);
}

/// `HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]`, and of the other families
pub(super) fn pexpireat<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry::<F>(context, args, (Unit::Milliseconds, Base::Epoch), F::NAMES[3]);
    answer(context, outcome);
}

fn set_expiry<F: Family>(
    context: &mut Context<'_>,
    args: &[&[u8]],
    (unit, base): (Unit, Base),
    name: &'static str,
) -> Outcome {
    let [_, key, amount, rest @ ..] = args else { return Err(unreachable_arity(name)) };
    let key = context.first_key(key);
    check_kind::<F>(context.store.get_for_update(context.database, key))?;
    let now = context.store.now();
    let at = moment(amount, unit, base, now, name)?;
    let (condition, rest) = Condition::take(rest);
    let members = F::WORDS.members(rest, F::WORDS.not_positive_to_expire)?;
    context.out.array_header(members.len());
    for member in members {
        let reply = match life_of(context, key, member) {
            Life::Absent => NO_MEMBER,
            life if !condition.holds(life.end(), at) => 0,
            _ if at <= now => {
                context.store.change(context.database, key, Change::remove_member(F::KIND, member));
                2
            }
            _ => {
                let change = Change::expire_member(F::KIND, member, Some(at));
                context.store.change(context.database, key, change);
                1
            }
        };
        context.out.integer(reply);
    }
    Ok(())
}

fn check_kind<F: Family>(entry: Option<Entry<'_>>) -> Outcome {
    let fits = entry.is_none_or(|entry| entry.value().kind() == F::KIND);
    if fits { Ok(()) } else { Err(fail(errors::WRONG_TYPE)) }
}

/// How long a member lives, of a value that the command has looked at.
pub(super) fn life_of(context: &Context<'_>, key: Key<'_>, member: &[u8]) -> Life {
    let entry = context.store.view(context.database, key);
    entry.map_or(Life::Absent, |entry| entry.value().life(member, context.store.now()))
}

/// The point in Unix time, ms, that a client means.
pub(super) fn moment(
    text: &[u8],
    unit: Unit,
    base: Base,
    now_ms: u64,
    name: &'static str,
) -> Result<u64, Failure> {
    let amount = u64::try_from(integer(text)?).map_err(|_| fail("ERR invalid expire time, must be >= 0"))?;
    let milliseconds = match unit {
        Unit::Seconds => amount.checked_mul(1000),
        Unit::Milliseconds => Some(amount),
    };
    let at = milliseconds.and_then(|amount| match base {
        Base::Now => amount.checked_add(now_ms),
        Base::Epoch => Some(amount),
    });
    at.filter(|at| *at <= EXPIRE_AT_MS_MAX).ok_or_else(|| errors::invalid_expire(name))
}

/// Under which condition an expiry is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    None,
    /// `NX`: there is none.
    Absent,
    /// `XX`: there is one.
    Present,
    /// `GT`: the new one is later; none is never.
    Later,
    /// `LT`: the new one is earlier; none is never.
    Earlier,
}

impl Condition {
    fn take<'a, 'b>(args: &'b [&'a [u8]]) -> (Self, &'b [&'a [u8]]) {
        let [word, rest @ ..] = args else { return (Self::None, args) };
        match () {
            () if is(word, "NX") => (Self::Absent, rest),
            () if is(word, "XX") => (Self::Present, rest),
            () if is(word, "GT") => (Self::Later, rest),
            () if is(word, "LT") => (Self::Earlier, rest),
            () => (Self::None, args),
        }
    }

    fn holds(self, current: Option<u64>, at: u64) -> bool {
        match self {
            Self::None => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Later => current.is_some_and(|current| at > current),
            Self::Earlier => current.is_none_or(|current| at < current),
        }
    }
}

impl Words {
    /// Reads `FIELDS numfields field [field …]`, to the end of the arguments.
    pub(super) fn named<'a>(&self, args: &'a [&'a [u8]]) -> Result<&'a [&'a [u8]], Failure> {
        self.members(args, self.not_positive)
    }

    /// Does that; `not_positive` is said of an unusable number.
    fn members<'a>(
        &self,
        args: &'a [&'a [u8]],
        not_positive: &'static str,
    ) -> Result<&'a [&'a [u8]], Failure> {
        let [word, count, members @ ..] = args else { return Err(fail(self.missing)) };
        if !is(word, self.keyword) {
            return Err(fail(self.missing));
        }
        if one_or_more(count, not_positive)? != members.len() {
            return Err(fail(self.mismatched));
        }
        Ok(members)
    }
}

/// `HTTL key FIELDS numfields field [field …]`, and of the other families
pub(super) fn ttl<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_expiry::<F>(context, args, |at, now| at.saturating_sub(now).div_ceil(1000));
    answer(context, outcome);
}

/// `HPTTL key FIELDS numfields field [field …]`, and of the other families
pub(super) fn pttl<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_expiry::<F>(context, args, u64::saturating_sub);
    answer(context, outcome);
}

/// `HEXPIRETIME key FIELDS numfields field [field …]`, and of the other families
pub(super) fn expiretime<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_expiry::<F>(context, args, |at, _| at.div_ceil(1000));
    answer(context, outcome);
}

/// `HPEXPIRETIME key FIELDS numfields field [field …]`, and of the other families
pub(super) fn pexpiretime<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_expiry::<F>(context, args, |at, _| at);
    answer(context, outcome);
}

/// Replies with what `number` makes of each expiry and the present.
fn tell_expiry<F: Family>(context: &mut Context<'_>, args: &[&[u8]], number: fn(u64, u64) -> u64) -> Outcome {
    let [_, key, rest @ ..] = args else { return Err(unreachable_arity("httl")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let entry = context.store.get(context.database, key);
    check_kind::<F>(entry)?;
    let members = F::WORDS.named(rest)?;
    context.out.array_header(members.len());
    for member in members {
        let life = entry.map_or(Life::Absent, |entry| entry.value().life(member, now));
        context.out.integer(match life {
            Life::Absent => NO_MEMBER,
            Life::Endless => NO_EXPIRY,
            Life::Until(at) => number(at, now) as i64,
        });
    }
    Ok(())
}

/// `HPERSIST key FIELDS numfields field [field …]`, and of the other families
pub(super) fn persist<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = remove_expiry::<F>(context, args);
    answer(context, outcome);
}

fn remove_expiry<F: Family>(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, rest @ ..] = args else { return Err(unreachable_arity("hpersist")) };
    let key = context.first_key(key);
    check_kind::<F>(context.store.get_for_update(context.database, key))?;
    let members = F::WORDS.named(rest)?;
    context.out.array_header(members.len());
    for member in members {
        let reply = match life_of(context, key, member) {
            Life::Absent => NO_MEMBER,
            Life::Endless => NO_EXPIRY,
            Life::Until(_) => {
                let change = Change::expire_member(F::KIND, member, None);
                context.store.change(context.database, key, change);
                1
            }
        };
        context.out.integer(reply);
    }
    Ok(())
}
