//! Fields that are read, set or deleted together with their expiry: HGETEX, HSETEX and HGETDEL, as in Redis 8.0. The commands about expiry
//! alone are those of all types whose members expire.

use annulus_storage::Key;
use annulus_storage::value::{HashChange, Life};

use super::super::arguments::{Base, Unit, is, one_or_more};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::member_expiry::{FIELDS, life_of, moment};
use super::super::values::read_to_change;
use super::super::{Context, answer, unreachable_arity};
use super::hash;

/// `HGETDEL key FIELDS numfields field [field …]`
pub(in super::super) fn hgetdel(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_and_delete(context, args);
    answer(context, outcome);
}

fn tell_and_delete(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, rest @ ..] = args else { return Err(unreachable_arity("hgetdel")) };
    let key = context.first_key(key);
    read_to_change(context, key, hash)?;
    let fields = FIELDS.named(rest)?;
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
    let fields = FIELDS.named(rest)?;
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
