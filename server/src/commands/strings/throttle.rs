//! Rate limits: CL.THROTTLE, with the arguments and the reply of the module `redis-cell`.
//!
//! The algorithm is GCRA, the generic cell rate algorithm of ATM networks (ITU-T I.371): a key holds one number, the *theoretical arrival
//! time*, at which the bucket is full again. Each unit moves it by one interval; what would move it further ahead of now than the bucket is
//! deep, is limited. The number is in nanoseconds of Unix time, as `redis-cell` stores it, and the key expires when it has passed.

use annulus_storage::Expiry;

use super::super::arguments::integer;
use super::super::errors::{Failure, Outcome, arity_of, fail};
use super::super::{Context, answer, values};

const NS_PER_MS: i128 = 1_000_000;
const NS_PER_SECOND: i128 = 1_000_000_000;

/// `CL.THROTTLE key max_burst count_per_period period [quantity]`
pub(in super::super) fn throttle(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = take_from_bucket(context, args);
    answer(context, outcome);
}

fn take_from_bucket(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let (key, limit) = match *args {
        [_, key, burst, count, period] => (key, Limit::parse(burst, count, period, b"1")?),
        [_, key, burst, count, period, quantity] => (key, Limit::parse(burst, count, period, quantity)?),
        _ => return Err(arity_of("cl.throttle")),
    };
    let key = context.first_key(key);
    let now = i128::from(context.store.now()) * NS_PER_MS;
    let full_at = match context.store.get_for_update(context.database, key) {
        Some(entry) => i128::from(integer(values::string(entry)?)?),
        None => now,
    };
    let verdict = limit.judge(full_at, now);
    if let Some(full_at) = verdict.store {
        let full_at = i64::try_from(full_at).map_err(|_| fail(OUT_OF_RANGE))?;
        let expire_at_ms = u64::try_from(i128::from(full_at).div_euclid(NS_PER_MS) + 1).unwrap_or(0);
        let text = full_at.to_string();
        context.store.set(context.database, key, text.as_bytes(), Expiry::At(expire_at_ms));
    }
    context.out.array_header(5);
    let limited = i64::from(verdict.limited);
    for number in [limited, limit.depth, verdict.remaining, verdict.retry_after_s, verdict.reset_after_s] {
        context.out.integer(number);
    }
    Ok(())
}

const OUT_OF_RANGE: &str = "ERR rate limit is out of range";

/// A rate, and what is asked of it.
struct Limit {
    /// Units that the bucket holds.
    depth: i64,
    /// Time in which one unit comes back.
    interval_ns: i128,
    /// Time in which all of them do.
    depth_ns: i128,
    /// The time that the units asked for take to come back.
    wanted_ns: i128,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    limited: bool,
    /// Units left.
    remaining: i64,
    /// -1: no need to, or no use.
    retry_after_s: i64,
    /// When the bucket is full again.
    reset_after_s: i64,
    /// The new arrival time, if it changes.
    store: Option<i128>,
}

impl Limit {
    fn parse(burst: &[u8], count: &[u8], period: &[u8], quantity: &[u8]) -> Result<Self, Failure> {
        let at_least = |least: i64, text: &[u8], unusable| {
            let number = integer(text)?;
            if number < least { Err(fail(unusable)) } else { Ok(i128::from(number)) }
        };
        let burst = at_least(0, burst, "ERR max_burst must not be negative")?;
        let count = at_least(1, count, "ERR count_per_period must be greater than 0")?;
        let period = at_least(1, period, "ERR period must be greater than 0")?;
        let quantity = at_least(0, quantity, "ERR quantity must not be negative")?;
        // What comes back faster than once in a nanosecond is as good as no limit.
        let interval_ns = (period * NS_PER_SECOND / count).max(1);
        let (depth, depth_ns) = i64::try_from(burst + 1)
            .ok()
            .zip(interval_ns.checked_mul(burst + 1))
            .ok_or(fail(OUT_OF_RANGE))?;
        let wanted_ns = interval_ns.checked_mul(quantity).ok_or(fail(OUT_OF_RANGE))?;
        // Sums of these and of times stay in range.
        if depth_ns.max(wanted_ns) > i128::MAX / 4 {
            return Err(fail(OUT_OF_RANGE));
        }
        Ok(Self { depth, interval_ns, depth_ns, wanted_ns })
    }

    fn judge(&self, full_at: i128, now: i128) -> Verdict {
        let full_at = full_at.max(now);
        let after = full_at + self.wanted_ns;
        let wait = after - self.depth_ns - now;
        let limited = wait > 0;
        let ahead = if limited { full_at } else { after } - now;
        let retry_after_s = if limited && self.wanted_ns <= self.depth_ns { seconds(wait) } else { -1 };
        Verdict {
            limited,
            remaining: saturated((self.depth_ns - ahead) / self.interval_ns).max(0),
            retry_after_s,
            reset_after_s: seconds(ahead),
            store: (!limited && self.wanted_ns > 0).then_some(after),
        }
    }
}

/// Whole seconds, none too few: who waits so long waits long enough.
fn seconds(ns: i128) -> i64 {
    saturated((ns + NS_PER_SECOND - 1) / NS_PER_SECOND)
}

fn saturated(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three at once, then one in two seconds.
    fn limit(quantity: &[u8]) -> Limit {
        Limit::parse(b"2", b"30", b"60", quantity).unwrap()
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let second = NS_PER_SECOND;
        let mut full_at = 0;
        let mut ask = |at: i128, quantity: &[u8]| {
            let verdict = limit(quantity).judge(full_at, at);
            full_at = verdict.store.unwrap_or(full_at);
            (verdict.limited, verdict.remaining, verdict.retry_after_s, verdict.reset_after_s)
        };
        let start = 1000 * second;
        assert_eq!(ask(start, b"1"), (false, 2, -1, 2));
        assert_eq!(ask(start, b"1"), (false, 1, -1, 4));
        assert_eq!(ask(start, b"1"), (false, 0, -1, 6));
        assert_eq!(ask(start, b"1"), (true, 0, 2, 6));
        assert_eq!(ask(start + second / 2, b"1"), (true, 0, 2, 6), "part of a second is a second");
        assert_eq!(ask(start + 2 * second, b"0"), (false, 1, -1, 4), "nothing asked, nothing taken");
        assert_eq!(ask(start + 2 * second, b"2"), (true, 1, 2, 4));
        assert_eq!(ask(start + 2 * second, b"4"), (true, 1, -1, 4), "more than there ever is");
        assert_eq!(ask(start + 4 * second, b"2"), (false, 0, -1, 6));
        assert_eq!(ask(start + 100 * second, b"3"), (false, 0, -1, 6));
    }

    #[test]
    fn limits_beyond_numbers_are_refused() {
        let max = i64::MAX.to_string();
        assert!(Limit::parse(max.as_bytes(), b"1", b"1", b"1").is_err());
        assert!(Limit::parse(b"1", b"1", max.as_bytes(), max.as_bytes()).is_err());
        let fast = Limit::parse(b"0", max.as_bytes(), b"1", b"1").unwrap();
        assert_eq!(fast.interval_ns, 1);
    }
}
