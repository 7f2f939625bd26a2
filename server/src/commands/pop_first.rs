//! What LMPOP, ZMPOP, BLPOP and the like have in common: they pop from the first of several keys that has anything.

use annulus_storage::Kind;

use super::arguments::{Counted, counted, pop_count};
use super::blocking::Nil;
use super::errors::{self, Failure, Outcome, fail};
use super::replies::{error_among, integer_reply};
use super::transfer::refuse;
use super::{Context, Hop, HopRequest, HopStep};

/// Up to `count` elements from an end of the first key that has any.
pub(super) struct PopFirst<'a, E> {
    pub(super) keys: &'a [&'a [u8]],
    pub(super) end: E,
    pub(super) count: usize,
}

impl<'a, E> PopFirst<'a, E> {
    /// Reads what follows the first argument: `numkeys key [key …] end [COUNT count]`.
    pub(super) fn parse(
        args: &'a [&'a [u8]],
        end: impl FnOnce(&[u8]) -> Result<E, Failure>,
    ) -> Result<Self, Failure> {
        let Counted { keys, rest } = counted(args.get(1..).unwrap_or_default(), errors::SYNTAX)?;
        let [word, options @ ..] = rest else { return Err(fail(errors::SYNTAX)) };
        Ok(Self { keys, end: end(word)?, count: pop_count(options)? })
    }

    /// Has `pop` look at one key after the other, until it says that it has popped and replied.
    pub(super) fn run(
        &self,
        context: &mut Context<'_>,
        pop: impl Fn(&mut Context<'_>, &[u8]) -> Result<bool, Failure>,
    ) -> Outcome {
        for key in self.keys {
            if pop(context, key)? {
                return Ok(());
            }
        }
        context.nothing(Nil::Array);
        Ok(())
    }

    /// The first two rounds between shards: `look`, a command that counts, at all keys, then `pop` for the first that has any. What is
    /// counted is of this kind.
    pub(super) fn plan(
        &self,
        hop: &Hop<'_>,
        (look, kind): (&str, Kind),
        pop: impl FnOnce(Vec<u8>) -> Vec<Vec<u8>>,
    ) -> HopStep {
        if hop.round == 0 {
            let look = |key: &&[u8]| HopRequest { args: vec![look.into(), key.to_vec()] };
            return HopStep::Send(self.keys.iter().map(look).collect());
        }
        // Behind the first that has any, nobody cares what the other keys hold.
        let found = hop.replies.iter().position(|reply| integer_reply(reply) != Some(0));
        let Some((found, key)) = found.and_then(|found| Some((found, self.keys.get(found)?))) else {
            return hop.nothing(self.keys, kind, None, Nil::Array);
        };
        match error_among(&hop.replies[found..=found]) {
            Some(error) => HopStep::Reply(error.to_vec()),
            None => HopStep::Send(vec![HopRequest { args: pop(key.to_vec()) }]),
        }
    }
}

/// What a plan does with a command that it cannot read.
pub(super) fn or_refuse<T>(
    hop: &Hop<'_>,
    parsed: Result<T, Failure>,
    plan: impl FnOnce(T) -> HopStep,
) -> HopStep {
    match parsed {
        Ok(parsed) => plan(parsed),
        Err(error) => refuse(hop, error),
    }
}
