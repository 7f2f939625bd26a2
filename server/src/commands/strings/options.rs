//! The options of `SET` and `GETEX`: when to set, and how long the key lives.

use annulus_storage::Expiry;

use super::super::arguments::{Base, Unit, integer, is, point_in_time};
use super::super::errors::{self, Failure, fail};

/// When `SET` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    /// Always.
    None,
    /// `NX`: if the key does not exist.
    Absent,
    /// `XX`: if it exists.
    Present,
    /// `IFEQ`: if it holds this.
    Equal(&'a [u8]),
    /// `IFNE`: if it does not exist or holds something else.
    NotEqual(&'a [u8]),
    /// `IFDEQ`: if it holds something with this digest.
    DigestEqual(u64),
    /// `IFDNE`: if it does not exist or its digest is another.
    DigestNotEqual(u64),
}

/// How long the key lives afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime<'a> {
    /// Nothing was said.
    Unsaid,
    /// `KEEPTTL`.
    Keep,
    /// `PERSIST`.
    Persist,
    /// `EX`, `PX`, `EXAT` or `PXAT`.
    Until(Moment<'a>),
}

impl Lifetime<'_> {
    /// The expiry of a string that is set anew.
    pub(super) fn expiry(self, now_ms: u64, command: &'static str) -> Result<Expiry, Failure> {
        Ok(match self {
            Self::Unsaid | Self::Persist => Expiry::None,
            Self::Keep => Expiry::Keep,
            Self::Until(moment) => Expiry::At(moment.resolve(now_ms, command)?),
        })
    }
}

/// A time as the client gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment<'a> {
    pub(super) amount: &'a [u8],
    pub(super) unit: Unit,
    pub(super) base: Base,
}

impl Moment<'_> {
    /// As Unix time in milliseconds. Zero and negative amounts are invalid, as is what 64 bits do not hold.
    pub(super) fn resolve(self, now_ms: u64, command: &'static str) -> Result<u64, Failure> {
        let amount = integer(self.amount)?;
        let at = if amount > 0 { point_in_time(amount, self.unit, self.base, now_ms) } else { None };
        at.and_then(|at| u64::try_from(at).ok()).ok_or_else(|| errors::invalid_expire(command))
    }
}

/// The options of `SET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetOptions<'a> {
    pub(super) condition: Condition<'a>,
    pub(super) get: bool,
    pub(super) lifetime: Lifetime<'a>,
}

impl<'a> SetOptions<'a> {
    /// Reads what follows the value.
    pub(super) fn parse(args: &[&'a [u8]]) -> Result<Self, Failure> {
        let mut options = Self { condition: Condition::None, get: false, lifetime: Lifetime::Unsaid };
        let mut rest = args;
        while let [option, tail @ ..] = rest {
            rest = tail;
            if is(option, "GET") {
                options.get = true;
            } else if is(option, "KEEPTTL") {
                options.lifetime = agree(options.lifetime, Lifetime::Keep)?;
            } else if let Some(kind) = TimeOption::of(option) {
                options.lifetime = kind.take(options.lifetime, &mut rest)?;
            } else {
                options.condition = take_condition(options.condition, option, &mut rest)?;
            }
        }
        Ok(options)
    }
}

/// Reads the options of `MSETEX`.
pub(super) fn parse_msetex<'a>(args: &[&'a [u8]]) -> Result<(Condition<'a>, Lifetime<'a>), Failure> {
    let (mut condition, mut lifetime) = (Condition::None, Lifetime::Unsaid);
    let mut rest = args;
    while let [option, tail @ ..] = rest {
        rest = tail;
        if is(option, "KEEPTTL") {
            lifetime = agree(lifetime, Lifetime::Keep)?;
        } else if let Some(kind) = TimeOption::of(option) {
            lifetime = kind.take(lifetime, &mut rest)?;
        } else if is(option, "NX") || is(option, "XX") {
            condition = take_condition(condition, option, &mut rest)?;
        } else {
            return Err(fail(errors::SYNTAX));
        }
    }
    Ok((condition, lifetime))
}

/// Reads an option that says how long the key lives, once: `INCREX` takes none twice. `None` if it is another one.
pub(super) fn take_lifetime<'a>(
    option: &[u8],
    said: Lifetime<'a>,
    rest: &mut &[&'a [u8]],
) -> Result<Option<Lifetime<'a>>, Failure> {
    let kind = TimeOption::of(option);
    match (said, kind) {
        (_, None) if !is(option, "PERSIST") => Ok(None),
        (Lifetime::Unsaid, None) => Ok(Some(Lifetime::Persist)),
        (Lifetime::Unsaid, Some(kind)) => kind.take(said, rest).map(Some),
        _ => Err(fail(errors::SYNTAX)),
    }
}

/// Reads the options of `GETEX`.
pub(super) fn parse_getex<'a>(args: &[&'a [u8]]) -> Result<Lifetime<'a>, Failure> {
    let mut lifetime = Lifetime::Unsaid;
    let mut rest = args;
    while let [option, tail @ ..] = rest {
        rest = tail;
        lifetime = if is(option, "PERSIST") {
            agree(lifetime, Lifetime::Persist)?
        } else if let Some(kind) = TimeOption::of(option) {
            kind.take(lifetime, &mut rest)?
        } else {
            return Err(fail(errors::SYNTAX));
        };
    }
    Ok(lifetime)
}

/// The same may be said twice; two different things may not.
fn agree<'a>(said: Lifetime<'a>, now: Lifetime<'a>) -> Result<Lifetime<'a>, Failure> {
    if said == Lifetime::Unsaid || said == now { Ok(now) } else { Err(fail(errors::SYNTAX)) }
}

#[derive(Clone, Copy)]
struct TimeOption {
    unit: Unit,
    base: Base,
}

impl TimeOption {
    fn of(option: &[u8]) -> Option<Self> {
        const OPTIONS: [(&str, Unit, Base); 4] = [
            ("EX", Unit::Seconds, Base::Now),
            ("PX", Unit::Milliseconds, Base::Now),
            ("EXAT", Unit::Seconds, Base::Epoch),
            ("PXAT", Unit::Milliseconds, Base::Epoch),
        ];
        OPTIONS.iter().find(|(name, ..)| is(option, name)).map(|&(_, unit, base)| Self { unit, base })
    }

    /// Takes the option's amount. The same option again replaces it; another one is an error.
    fn take<'a>(self, said: Lifetime<'a>, rest: &mut &[&'a [u8]]) -> Result<Lifetime<'a>, Failure> {
        let repeated = match said {
            Lifetime::Unsaid => true,
            Lifetime::Until(moment) => (moment.unit, moment.base) == (self.unit, self.base),
            Lifetime::Keep | Lifetime::Persist => false,
        };
        match rest {
            [amount, tail @ ..] if repeated => {
                *rest = tail;
                Ok(Lifetime::Until(Moment { amount, unit: self.unit, base: self.base }))
            }
            _ => Err(fail(errors::SYNTAX)),
        }
    }
}

/// The condition that `option` names. `NX` and `XX` may be repeated, but no two conditions be combined.
fn take_condition<'a>(
    said: Condition<'a>,
    option: &[u8],
    rest: &mut &[&'a [u8]],
) -> Result<Condition<'a>, Failure> {
    let plain = match () {
        () if is(option, "NX") => Some(Condition::Absent),
        () if is(option, "XX") => Some(Condition::Present),
        () => None,
    };
    if let Some(condition) = plain {
        let agrees = said == Condition::None || said == condition;
        return if agrees { Ok(condition) } else { Err(fail(errors::SYNTAX)) };
    }
    let [operand, tail @ ..] = *rest else { return Err(fail(errors::SYNTAX)) };
    if said != Condition::None {
        return Err(fail(errors::SYNTAX));
    }
    *rest = tail;
    comparison(option, operand, errors::SYNTAX)
}

/// A condition that asks what the value is; `unknown` is said of any other.
pub(super) fn comparison<'a>(
    option: &[u8],
    operand: &'a [u8],
    unknown: &'static str,
) -> Result<Condition<'a>, Failure> {
    match () {
        () if is(option, "IFEQ") => Ok(Condition::Equal(operand)),
        () if is(option, "IFNE") => Ok(Condition::NotEqual(operand)),
        () if is(option, "IFDEQ") => super::digest::parse(operand).map(Condition::DigestEqual),
        () if is(option, "IFDNE") => super::digest::parse(operand).map(Condition::DigestNotEqual),
        () => Err(fail(unknown)),
    }
}

impl Condition<'_> {
    /// True if it asks what the value is, and so wants a string.
    pub(super) const fn compares(self) -> bool {
        !matches!(self, Self::None | Self::Absent | Self::Present)
    }

    /// True if a key in this state is to be set.
    pub(super) fn holds(self, value: Option<&[u8]>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => value.is_none(),
            Self::Present => value.is_some(),
            Self::Equal(expected) => value == Some(expected),
            Self::NotEqual(unwanted) => value != Some(unwanted),
            Self::DigestEqual(expected) => value.is_some_and(|value| super::digest::of(value) == expected),
            Self::DigestNotEqual(unwanted) => value.is_none_or(|value| super::digest::of(value) != unwanted),
        }
    }
}
