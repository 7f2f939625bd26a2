//! Increments within bounds: INCREX, as in Redis 8.8.
//!
//! A result outside the bounds changes nothing, unless `SATURATE` asks for the bound instead. Either way the reply says how much was
//! added.

use std::cmp::Ordering;

use annulus_protocol::{LongDouble, parse_i64};
use annulus_storage::{Expiry, Key};

use super::super::arguments::{integer, is};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity, values};
use super::options::{Lifetime, take_lifetime};
use super::set::store_value;

const CROSSED: &str = "ERR LBOUND can't be greater than UBOUND";

/// What is added, and the least and largest result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step<T> {
    by: T,
    lower: T,
    upper: T,
}

/// A step in one of the two kinds of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    Integers(Step<i64>),
    Decimals(Step<LongDouble>),
}

/// What a step comes to: the value afterwards, and what was added. `None` if the bounds forbid it.
type Taken<T> = Option<(T, T)>;

/// `INCREX key [BYFLOAT increment | BYINT increment] [LBOUND lowerbound] [UBOUND upperbound] [SATURATE] [EX seconds |
/// PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] [ENX]`
pub(in super::super) fn increx(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = step(context, args);
    answer(context, outcome);
}

fn step(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, options @ ..] = args else { return Err(unreachable_arity("increx")) };
    let options = Words::parse(options)?;
    let steps = options.steps()?;
    let mut expiry = match options.lifetime {
        Lifetime::Unsaid => Expiry::Keep,
        lifetime => lifetime.expiry(context.store.now(), "increx")?,
    };
    let key = context.first_key(key);
    let entry = context.store.get_for_update(context.database, key);
    if options.only_first && entry.is_some_and(|entry| entry.expire_at_ms().is_some()) {
        expiry = Expiry::Keep;
    }
    let old = entry.map(values::string).transpose()?;
    match steps {
        Steps::Integers(step) => {
            let old = old.map_or(Ok(0), integer)?;
            let taken = step.take(old, options.saturates)?;
            if let Some((value, _)) = taken {
                store(context, key, itoa::Buffer::new().format(value).as_bytes(), expiry);
            }
            let (value, added) = taken.unwrap_or((old, 0));
            context.out.array_header(2);
            context.out.integer(value);
            context.out.integer(added);
        }
        Steps::Decimals(step) => {
            let number = |text| LongDouble::parse(text).ok_or(fail(errors::NOT_FLOAT));
            let old = old.map_or(Ok(LongDouble::ZERO), number)?;
            let taken = step.take(old, options.saturates)?;
            if let Some((value, _)) = taken {
                store(context, key, &value.to_text(), expiry);
            }
            let (value, added) = taken.unwrap_or((old, LongDouble::ZERO));
            context.out.array_header(2);
            context.out.decimal(value);
            context.out.decimal(added);
        }
    }
    Ok(())
}

fn store(context: &mut Context<'_>, key: Key<'_>, text: &[u8], expiry: Expiry) {
    store_value(context.store, context.database, key, text, expiry);
}

impl Step<i64> {
    fn take(self, old: i64, saturates: bool) -> Result<Taken<i64>, Failure> {
        let sum = i128::from(old) + i128::from(self.by);
        let value = if sum < i128::from(self.lower) {
            self.lower
        } else if sum > i128::from(self.upper) {
            self.upper
        } else {
            // It is between two of these.
            return Ok(Some((sum as i64, self.by)));
        };
        if !saturates {
            return Ok(None);
        }
        let added = value.checked_sub(old).ok_or(fail("ERR applied increment would overflow"))?;
        Ok(Some((value, added)))
    }
}

impl Step<LongDouble> {
    fn take(self, old: LongDouble, saturates: bool) -> Result<Taken<LongDouble>, Failure> {
        if !old.is_finite() || !self.by.is_finite() {
            return Err(fail(errors::NAN_OR_INFINITY));
        }
        let sum = old.checked_add(self.by);
        let upwards = self.by.compare(LongDouble::ZERO) == Ordering::Greater;
        let is_below = sum.map_or(!upwards, |sum| sum.compare(self.lower) == Ordering::Less);
        let is_above = sum.map_or(upwards, |sum| sum.compare(self.upper) == Ordering::Greater);
        let value = match sum {
            _ if is_below => self.lower,
            _ if is_above => self.upper,
            Some(sum) => return Ok(Some((sum, self.by))),
            None => return Err(fail(errors::NAN_OR_INFINITY)),
        };
        if !saturates {
            return Ok(None);
        }
        let added = value.checked_add(old.negated());
        let added = added.ok_or(fail("ERR applied increment would be Infinity"))?;
        Ok(Some((value, added)))
    }
}

/// The options as they were written; none is taken twice.
struct Words<'a> {
    by: Option<By<'a>>,
    lower: Option<&'a [u8]>,
    upper: Option<&'a [u8]>,
    saturates: bool,
    lifetime: Lifetime<'a>,
    /// `ENX`: an expiry only where there is none.
    only_first: bool,
}

#[derive(Clone, Copy)]
enum By<'a> {
    Integer(&'a [u8]),
    Decimal(&'a [u8]),
}

impl<'a> Words<'a> {
    fn parse(args: &[&'a [u8]]) -> Result<Self, Failure> {
        let mut words = Self {
            by: None,
            lower: None,
            upper: None,
            saturates: false,
            lifetime: Lifetime::Unsaid,
            only_first: false,
        };
        let mut rest = args;
        while let [option, tail @ ..] = rest {
            rest = tail;
            if is(option, "BYINT") {
                once(&mut words.by, By::Integer(operand(&mut rest)?))?;
            } else if is(option, "BYFLOAT") {
                once(&mut words.by, By::Decimal(operand(&mut rest)?))?;
            } else if is(option, "LBOUND") {
                once(&mut words.lower, operand(&mut rest)?)?;
            } else if is(option, "UBOUND") {
                once(&mut words.upper, operand(&mut rest)?)?;
            } else if is(option, "SATURATE") && !words.saturates {
                words.saturates = true;
            } else if is(option, "ENX") && !words.only_first {
                words.only_first = true;
            } else {
                let lifetime = take_lifetime(option, words.lifetime, &mut rest)?;
                words.lifetime = lifetime.ok_or(fail(errors::SYNTAX))?;
            }
        }
        match words.lifetime {
            Lifetime::Unsaid if words.only_first => Err(fail("ERR ENX flag requires an expiration")),
            Lifetime::Persist if words.only_first => Err(fail(errors::SYNTAX)),
            _ => Ok(words),
        }
    }

    fn steps(&self) -> Result<Steps, Failure> {
        let by = match self.by {
            Some(By::Decimal(text)) => return self.decimals(text).map(Steps::Decimals),
            Some(By::Integer(text)) => {
                parse_i64(text).ok_or(fail("ERR Increment is not an integer or out of range"))?
            }
            None => 1,
        };
        let bound = |text: Option<&[u8]>, absent, unusable| match text {
            Some(text) => parse_i64(text).ok_or(fail(unusable)),
            None => Ok(absent),
        };
        let lower = bound(self.lower, i64::MIN, "ERR LBOUND is not an integer or out of range")?;
        let upper = bound(self.upper, i64::MAX, "ERR UBOUND is not an integer or out of range")?;
        if lower > upper { Err(fail(CROSSED)) } else { Ok(Steps::Integers(Step { by, lower, upper })) }
    }

    fn decimals(&self, by: &[u8]) -> Result<Step<LongDouble>, Failure> {
        let by = LongDouble::parse(by).ok_or(fail("ERR Increment is not a valid float"))?;
        let bound = |text: Option<&[u8]>, absent, unusable| match text {
            Some(text) => LongDouble::parse(text).ok_or(fail(unusable)),
            None => Ok(absent),
        };
        let lower = bound(self.lower, LongDouble::MAX.negated(), "ERR LBOUND is not a valid float")?;
        let upper = bound(self.upper, LongDouble::MAX, "ERR UBOUND is not a valid float")?;
        if lower.compare(upper) == Ordering::Greater {
            Err(fail(CROSSED))
        } else {
            Ok(Step { by, lower, upper })
        }
    }
}

fn operand<'a>(rest: &mut &[&'a [u8]]) -> Result<&'a [u8], Failure> {
    let (operand, tail) = rest.split_first().ok_or(fail(errors::SYNTAX))?;
    *rest = tail;
    Ok(operand)
}

fn once<T>(place: &mut Option<T>, word: T) -> Outcome {
    if place.replace(word).is_some() { Err(fail(errors::SYNTAX)) } else { Ok(()) }
}
