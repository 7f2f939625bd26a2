//! When fields expire: HEXPIRE and its kin, as in Redis 7.4.

use annulus_storage::Key;
use annulus_storage::value::HashChange;

use super::super::arguments::{Base, Unit, integer, is, one_or_more};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::values::read_to_change;
use super::super::{Context, answer, unreachable_arity};
use super::hash;

/// The latest time at which a field can expire, ms of Unix time: the year 4199, as in Redis.
const EXPIRE_AT_MS_MAX: u64 = (1 << 48) / 4 - 1;

/// What is replied of a field that isn't there.
const NO_FIELD: i64 = -2;
/// What is replied of a field that doesn't expire.
const NO_EXPIRY: i64 = -1;

/// `HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field …]`
pub(in super::super) fn hexpire(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry(context, args, (Unit::Seconds, Base::Now), "hexpire");
    answer(context, outcome);
}

/// `HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]`
pub(in super::super) fn hpexpire(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry(context, args, (Unit::Milliseconds, Base::Now), "hpexpire");
    answer(context, outcome);
}

/// `HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field …]`
pub(in super::super) fn hexpireat(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry(context, args, (Unit::Seconds, Base::Epoch), "hexpireat");
    answer(context, outcome);
}

/// `HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]`
pub(in super::super) fn hpexpireat(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry(context, args, (Unit::Milliseconds, Base::Epoch), "hpexpireat");
    answer(context, outcome);
}

fn set_expiry(
    context: &mut Context<'_>,
    args: &[&[u8]],
    (unit, base): (Unit, Base),
    name: &'static str,
) -> Outcome {
    let [_, key, amount, rest @ ..] = args else { return Err(unreachable_arity(name)) };
    let key = context.first_key(key);
    read_to_change(context, key, hash)?;
    let now = context.store.now();
    let at = moment(amount, unit, base, now, name)?;
    let (condition, rest) = Condition::take(rest);
    let fields = named_fields(rest, "ERR Parameter `numFields` should be greater than 0")?;
    context.out.array_header(fields.len());
    for field in fields {
        let reply = match life_of(context, key, field) {
            Life::Absent => NO_FIELD,
            life if !condition.holds(life.end(), at) => 0,
            _ if at <= now => {
                context.store.change(context.database, key, HashChange::Delete { field });
                2
            }
            _ => {
                let change = HashChange::Expire { field, expire_at_ms: Some(at) };
                context.store.change(context.database, key, change);
                1
            }
        };
        context.out.integer(reply);
    }
    Ok(())
}

/// How long a field lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Absent,
    Endless,
    /// ms of Unix time.
    Until(u64),
}

impl Life {
    const fn end(self) -> Option<u64> {
        match self {
            Self::Until(at) => Some(at),
            Self::Absent | Self::Endless => None,
        }
    }
}

/// How long a field lives, of a hash that the command has looked at.
fn life_of(context: &Context<'_>, key: Key<'_>, field: &[u8]) -> Life {
    let hash = context.store.view(context.database, key).and_then(|entry| entry.hash());
    match hash.and_then(|hash| hash.field(field, context.store.now())) {
        None => Life::Absent,
        Some(field) => field.expire_at_ms.map_or(Life::Endless, Life::Until),
    }
}

/// The point in Unix time, ms, that a client means.
fn moment(text: &[u8], unit: Unit, base: Base, now_ms: u64, name: &'static str) -> Result<u64, Failure> {
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

const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// Reads `FIELDS numfields field [field …]`, to the end of the arguments; `not_positive` is said of an unusable number.
fn named_fields<'a>(args: &'a [&'a [u8]], not_positive: &'static str) -> Result<&'a [&'a [u8]], Failure> {
    let [word, count, fields @ ..] = args else { return Err(fail(NO_FIELDS)) };
    if !is(word, "FIELDS") {
        return Err(fail(NO_FIELDS));
    }
    if one_or_more(count, not_positive)? != fields.len() {
        return Err(fail("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(fields)
}

const NO_FIELDS: &str = "ERR Mandatory argument FIELDS is missing or not at the right position";

/// `HTTL key FIELDS numfields field [field …]`
pub(in super::super) fn httl(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_expiry(context, args, |at, now| at.saturating_sub(now).div_ceil(1000));
    answer(context, outcome);
}

/// `HPTTL key FIELDS numfields field [field …]`
pub(in super::super) fn hpttl(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_expiry(context, args, u64::saturating_sub);
    answer(context, outcome);
}

/// `HEXPIRETIME key FIELDS numfields field [field …]`
pub(in super::super) fn hexpiretime(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_expiry(context, args, |at, _| at.div_ceil(1000));
    answer(context, outcome);
}

/// `HPEXPIRETIME key FIELDS numfields field [field …]`
pub(in super::super) fn hpexpiretime(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_expiry(context, args, |at, _| at);
    answer(context, outcome);
}

/// Replies with what `number` makes of each expiry and the present.
fn tell_expiry(context: &mut Context<'_>, args: &[&[u8]], number: fn(u64, u64) -> u64) -> Outcome {
    let [_, key, rest @ ..] = args else { return Err(unreachable_arity("httl")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let hash = context.store.get(context.database, key).map(hash).transpose()?;
    let fields = named_fields(rest, NOT_POSITIVE)?;
    context.out.array_header(fields.len());
    for field in fields {
        let found = hash.and_then(|hash| hash.field(field, now));
        let expiry = found.map(|field| field.expire_at_ms.map_or(NO_EXPIRY, |at| number(at, now) as i64));
        context.out.integer(expiry.unwrap_or(NO_FIELD));
    }
    Ok(())
}

/// `HPERSIST key FIELDS numfields field [field …]`
pub(in super::super) fn hpersist(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = remove_expiry(context, args);
    answer(context, outcome);
}

fn remove_expiry(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, rest @ ..] = args else { return Err(unreachable_arity("hpersist")) };
    let key = context.first_key(key);
    read_to_change(context, key, hash)?;
    let fields = named_fields(rest, NOT_POSITIVE)?;
    context.out.array_header(fields.len());
    for field in fields {
        let reply = match life_of(context, key, field) {
            Life::Absent => NO_FIELD,
            Life::Endless => NO_EXPIRY,
            Life::Until(_) => {
                let change = HashChange::Expire { field, expire_at_ms: None };
                context.store.change(context.database, key, change);
                1
            }
        };
        context.out.integer(reply);
    }
    Ok(())
}

/// `HGETDEL key FIELDS numfields field [field …]`
pub(in super::super) fn hgetdel(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_and_delete(context, args);
    answer(context, outcome);
}

fn tell_and_delete(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, rest @ ..] = args else { return Err(unreachable_arity("hgetdel")) };
    let key = context.first_key(key);
    read_to_change(context, key, hash)?;
    let fields = named_fields(rest, NOT_POSITIVE)?;
    context.out.array_header(fields.len());
    for field in fields {
        if tell(context, key, field) {
            context.store.change(context.database, key, HashChange::Delete { field });
        }
    }
    Ok(())
}

/// Replies with the value of a field, or null, of a hash that the command has looked at; tells whether there is one.
fn tell(context: &mut Context<'_>, key: Key<'_>, field: &[u8]) -> bool {
    let Context { store, out, database, .. } = context;
    let hash = store.view(*database, key).and_then(|entry| entry.hash());
    let value = hash.and_then(|hash| hash.get(field, store.now()));
    let found = value.is_some();
    match value {
        Some(value) => out.bulk(value),
        None => out.null(),
    }
    found
}

/// What becomes of the expiry of fields that are read or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime {
    /// Nothing was said.
    Unsaid,
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Persist,
    /// `EX`, `PX`, `EXAT` or `PXAT`, as ms of Unix time.
    Until(u64),
}

/// `EX`, `PX`, `EXAT` or `PXAT`: what the number after it counts.
fn time_option(word: &[u8]) -> Option<(Unit, Base)> {
    const OPTIONS: [(&str, Unit, Base); 4] = [
        ("EX", Unit::Seconds, Base::Now),
        ("PX", Unit::Milliseconds, Base::Now),
        ("EXAT", Unit::Seconds, Base::Epoch),
        ("PXAT", Unit::Milliseconds, Base::Epoch),
    ];
    OPTIONS.iter().find(|(option, ..)| is(word, option)).map(|&(_, unit, base)| (unit, base))
}

/// `HGETEX key [EX … | PX … | EXAT … | PXAT … | PERSIST] FIELDS numfields field [field …]`
pub(in super::super) fn hgetex(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_and_expire(context, args);
    answer(context, outcome);
}

fn tell_and_expire(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, rest @ ..] = args else { return Err(unreachable_arity("hgetex")) };
    let key = context.first_key(key);
    read_to_change(context, key, hash)?;
    let now = context.store.now();
    let (lifetime, rest) = match rest {
        [word, behind @ ..] if is(word, "PERSIST") => (Lifetime::Persist, behind),
        [word, amount, behind @ ..] => match time_option(word) {
            Some((unit, base)) => (Lifetime::Until(moment(amount, unit, base, now, "hgetex")?), behind),
            None => (Lifetime::Unsaid, rest),
        },
        _ => (Lifetime::Unsaid, rest),
    };
    let fields = named_fields(rest, NOT_POSITIVE)?;
    context.out.array_header(fields.len());
    for field in fields {
        if !tell(context, key, field) {
            continue;
        }
        let change = match lifetime {
            Lifetime::Unsaid | Lifetime::Keep => continue,
            Lifetime::Persist => HashChange::Expire { field, expire_at_ms: None },
            Lifetime::Until(at) if at <= now => HashChange::Delete { field },
            Lifetime::Until(at) => HashChange::Expire { field, expire_at_ms: Some(at) },
        };
        if lifetime != Lifetime::Persist || life_of(context, key, field) != Life::Endless {
            context.store.change(context.database, key, change);
        }
    }
    Ok(())
}

/// `HSETEX key [FNX | FXX] [EX … | PX … | EXAT … | PXAT … | KEEPTTL] FIELDS numfields field value [field value …]`
pub(in super::super) fn hsetex(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_and_expire(context, args);
    answer(context, outcome);
}

/// What `HSETEX` was asked for.
struct SetOptions<'a> {
    /// `FNX` or `FXX`: whether all of the fields must be there, or none.
    present: Option<bool>,
    lifetime: Lifetime,
    pairs: &'a [[&'a [u8]; 2]],
}

impl<'a> SetOptions<'a> {
    /// Options in any order, and the fields last.
    fn parse(args: &'a [&'a [u8]], now_ms: u64) -> Result<Self, Failure> {
        let mut options = Self { present: None, lifetime: Lifetime::Unsaid, pairs: &[] };
        let mut rest = args;
        while let [word, behind @ ..] = rest {
            rest = behind;
            if is(word, "FIELDS") {
                options.pairs = Self::pairs(behind)?;
                return Ok(options);
            }
            if is(word, "FNX") || is(word, "FXX") {
                if options.present.is_some() {
                    return Err(fail("ERR Only one of FXX or FNX arguments can be specified"));
                }
                options.present = Some(is(word, "FXX"));
            } else if is(word, "KEEPTTL") {
                options.say(|| Ok(Lifetime::Keep))?;
            } else if let Some((unit, base)) = time_option(word) {
                let (amount, behind) = behind.split_first().ok_or(fail("ERR missing expire time"))?;
                rest = behind;
                options.say(|| Ok(Lifetime::Until(moment(amount, unit, base, now_ms, "hsetex")?)))?;
            } else {
                return Err([b"ERR unknown argument: ", *word].concat().into());
            }
        }
        Err(fail("ERR missing FIELDS argument"))
    }

    fn say(&mut self, lifetime: impl FnOnce() -> Result<Lifetime, Failure>) -> Outcome {
        if self.lifetime != Lifetime::Unsaid {
            return Err(fail("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"));
        }
        self.lifetime = lifetime()?;
        Ok(())
    }

    fn pairs(args: &'a [&'a [u8]]) -> Result<&'a [[&'a [u8]; 2]], Failure> {
        let arity = || errors::arity_of("hsetex");
        let [count, pairs @ ..] = args else { return Err(arity()) };
        if pairs.len() < 2 {
            return Err(arity());
        }
        let count = one_or_more(count, "ERR invalid number of fields")?;
        let (pairs, odd) = pairs.as_chunks::<2>();
        if pairs.len() == count && odd.is_empty() { Ok(pairs) } else { Err(arity()) }
    }
}

fn set_and_expire(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, rest @ ..] = args else { return Err(unreachable_arity("hsetex")) };
    let now = context.store.now();
    let SetOptions { present, lifetime, pairs } = SetOptions::parse(rest, now)?;
    let key = context.first_key(key);
    let found = read_to_change(context, key, hash)?;
    let meets = |wanted: bool| {
        let there = |field: &[u8]| found.is_some_and(|hash| hash.get(field, now).is_some());
        pairs.iter().all(|[field, _]| there(field) == wanted)
    };
    if !present.is_none_or(meets) {
        context.out.integer(0);
        return Ok(());
    }
    for &[field, value] in pairs {
        let expire_at_ms = match lifetime {
            Lifetime::Keep => life_of(context, key, field).end(),
            Lifetime::Until(at) => Some(at),
            Lifetime::Unsaid | Lifetime::Persist => None,
        };
        let change = match expire_at_ms {
            Some(at) if at <= now => HashChange::Delete { field },
            _ => HashChange::Set { field, value, expire_at_ms },
        };
        context.store.change(context.database, key, change);
    }
    context.out.integer(1);
    Ok(())
}
