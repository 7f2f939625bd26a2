//! When keys expire.

use super::arguments::{Base, Unit, integer, is, point_in_time};
use super::errors::{self, Failure, Outcome, fail};
use super::{Context, answer, unreachable_arity};

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub(super) fn expire(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry(context, args, Unit::Seconds, Base::Now, "expire");
    answer(context, outcome);
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpire(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry(context, args, Unit::Milliseconds, Base::Now, "pexpire");
    answer(context, outcome);
}

/// `EXPIREAT key unix-time-seconds [NX | XX | GT | LT]`
pub(super) fn expireat(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry(context, args, Unit::Seconds, Base::Epoch, "expireat");
    answer(context, outcome);
}

/// `PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpireat(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_expiry(context, args, Unit::Milliseconds, Base::Epoch, "pexpireat");
    answer(context, outcome);
}

fn set_expiry(
    context: &mut Context<'_>,
    args: &[&[u8]],
    unit: Unit,
    base: Base,
    name: &'static str,
) -> Outcome {
    let [_, key, amount, options @ ..] = args else { return Err(unreachable_arity(name)) };
    let conditions = Conditions::parse(options)?;
    let now = context.store.now();
    let at = point_in_time(integer(amount)?, unit, base, now).ok_or_else(|| errors::invalid_expire(name))?;
    let key = context.first_key(key);
    let Some(entry) = context.store.get_for_update(context.database, key) else {
        context.out.integer(0);
        return Ok(());
    };
    let changes = conditions.hold(entry.expire_at_ms(), at);
    if changes {
        match u64::try_from(at) {
            Ok(at) if at > now => {
                context.store.set_expiry(context.database, key, Some(at));
            }
            // A moment that has passed.
            _ => {
                context.store.delete(context.database, key);
            }
        }
    }
    context.out.integer(i64::from(changes));
    Ok(())
}

/// Under which conditions an expiry is set.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    /// `NX`: there is none.
    absent: bool,
    /// `XX`: there is one.
    present: bool,
    /// `GT`: the new one is later; none is never.
    later: bool,
    /// `LT`: the new one is earlier; none is never.
    earlier: bool,
}

impl Conditions {
    fn parse(args: &[&[u8]]) -> Result<Self, Failure> {
        let mut conditions = Self::default();
        for arg in args {
            let condition = match () {
                () if is(arg, "NX") => &mut conditions.absent,
                () if is(arg, "XX") => &mut conditions.present,
                () if is(arg, "GT") => &mut conditions.later,
                () if is(arg, "LT") => &mut conditions.earlier,
                () => {
                    return Err(Failure::Owned([b"ERR Unsupported option ", *arg].concat()));
                }
            };
            *condition = true;
        }
        conditions.check()
    }

    fn check(self) -> Result<Self, Failure> {
        if self.absent && (self.present || self.later || self.earlier) {
            return Err(fail("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if self.later && self.earlier {
            return Err(fail("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(self)
    }

    fn hold(self, current: Option<u64>, at: i64) -> bool {
        // 64 bits of milliseconds: no expiry that was accepted lies beyond i64.
        let current = current.map(|current| i64::try_from(current).unwrap_or(i64::MAX));
        !(self.absent && current.is_some()
            || self.present && current.is_none()
            || self.later && current.is_none_or(|current| at <= current)
            || self.earlier && current.is_some_and(|current| at >= current))
    }
}

/// `PERSIST key`
pub(super) fn persist(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("persist"))) };
    let key = context.first_key(key);
    let expires = context
        .store
        .get_for_update(context.database, key)
        .is_some_and(|entry| entry.expire_at_ms().is_some());
    if expires {
        context.store.set_expiry(context.database, key, None);
    }
    context.out.integer(i64::from(expires));
}

/// `TTL key`
pub(super) fn ttl(context: &mut Context<'_>, args: &[&[u8]]) {
    reply_with_expiry(context, args, |at, now| to_seconds(at.saturating_sub(now)));
}

/// `PTTL key`
pub(super) fn pttl(context: &mut Context<'_>, args: &[&[u8]]) {
    reply_with_expiry(context, args, u64::saturating_sub);
}

/// `EXPIRETIME key`
pub(super) fn expiretime(context: &mut Context<'_>, args: &[&[u8]]) {
    reply_with_expiry(context, args, |at, _| to_seconds(at));
}

/// `PEXPIRETIME key`
pub(super) fn pexpiretime(context: &mut Context<'_>, args: &[&[u8]]) {
    reply_with_expiry(context, args, |at, _| at);
}

/// To the nearest second, as Redis does.
const fn to_seconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(500) / 1000
}

/// Replies with what `number` makes of the expiry and the present; -1: the key does not expire, -2: there is no key.
fn reply_with_expiry(context: &mut Context<'_>, args: &[&[u8]], number: fn(u64, u64) -> u64) {
    let &[_, key, ..] = args else { return answer(context, Err(unreachable_arity("ttl"))) };
    let key = context.first_key(key);
    let now = context.store.now();
    let reply = match context.store.peek(context.database, key).map(|entry| entry.expire_at_ms()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => number(at, now) as i64,
    };
    context.out.integer(reply);
}
