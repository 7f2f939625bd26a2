//! `BITOP`: bit by bit over several strings, of which shorter ones go on with zeros.
//!
//! With keys on several shards the sources are read first, and what comes of them is then put to the destination's shard.

use annulus_storage::{Expiry, Key};

use super::super::arguments::is;
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::replies::{bulk_reply, error_among};
use super::super::transfer::end;
use super::super::{Context, Hop, HopRequest, HopStep, answer, key, string_of, unreachable_arity};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(word: &[u8], sources: usize) -> Result<Self, Failure> {
        match word {
            word if is(word, "AND") => Ok(Self::And),
            word if is(word, "OR") => Ok(Self::Or),
            word if is(word, "XOR") => Ok(Self::Xor),
            word if is(word, "NOT") && sources == 1 => Ok(Self::Not),
            word if is(word, "NOT") => Err(fail(errors::BITOP_NOT_OF_SEVERAL)),
            _ => Err(fail(errors::SYNTAX)),
        }
    }
}

/// The result so far.
struct Folded {
    operation: Operation,
    /// `None` before the first source.
    bytes: Option<Vec<u8>>,
}

impl Folded {
    fn new(operation: Operation) -> Self {
        Self { operation, bytes: None }
    }

    fn add(&mut self, source: &[u8]) {
        let Some(bytes) = &mut self.bytes else {
            let first = match self.operation {
                Operation::Not => source.iter().map(|byte| !byte).collect(),
                _ => source.to_vec(),
            };
            self.bytes = Some(first);
            return;
        };
        if bytes.len() < source.len() {
            bytes.resize(source.len(), 0);
        }
        // Plain loops over two slices of one length: the compiler makes vector instructions of them.
        let (both, beyond) = bytes.split_at_mut(source.len());
        let pairs = both.iter_mut().zip(source);
        match self.operation {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                beyond.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            Operation::Not => unreachable!("NOT has one source"),
        }
    }

    fn finish(self) -> Vec<u8> {
        self.bytes.unwrap_or_default()
    }
}

/// `BITOP operation destination source [source …]` on one shard
pub(in super::super) fn bitop(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = operate(context, args);
    answer(context, outcome);
}

fn operate(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, word, destination, sources @ ..] = args else { return Err(unreachable_arity("bitop")) };
    let mut folded = Folded::new(Operation::parse(word, sources.len())?);
    for source in sources {
        let entry = context.store.get(context.database, key(source));
        folded.add(string_of(entry)?.unwrap_or_default());
    }
    let destination = context.first_key(destination);
    put(context, destination, &folded.finish());
    Ok(())
}

/// Makes the destination hold the result, or nothing if that is empty; replies with its length.
fn put(context: &mut Context<'_>, destination: Key<'_>, result: &[u8]) {
    if result.is_empty() {
        context.store.delete(context.database, destination);
    } else {
        context.store.set(context.database, destination, result, Expiry::None);
    }
    context.out.integer(result.len() as i64);
}

/// `BITOP` between shards
pub(in super::super) fn plan(hop: &Hop<'_>) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    let [_, word, destination, sources @ ..] = hop.args else {
        return end(hop, |out| out.error(unreachable_arity("bitop")));
    };
    let operation = match Operation::parse(word, sources.len()) {
        Ok(operation) => operation,
        Err(error) => return end(hop, |out| out.error(error)),
    };
    match hop.round {
        0 => HopStep::Send(
            sources
                .iter()
                .map(|source| HopRequest { args: vec![b"get".to_vec(), source.to_vec()] })
                .collect(),
        ),
        1 => {
            let mut folded = Folded::new(operation);
            hop.replies.iter().for_each(|reply| folded.add(bulk_reply(reply).unwrap_or_default()));
            let args = vec![b"annulus.bitstore".to_vec(), destination.to_vec(), folded.finish()];
            HopStep::Send(vec![HopRequest { args }])
        }
        _ => HopStep::Reply(hop.replies.first().cloned().unwrap_or_default()),
    }
}

/// `annulus.bitstore destination result`
pub(in super::super) fn bitstore(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, destination, result] = args else {
        return answer(context, Err(unreachable_arity("annulus.bitstore")));
    };
    let destination = context.first_key(destination);
    put(context, destination, result);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn results_are_those_of_bytes_with_endless_zeros(
            sources in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5),
        ) {
            let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
            let byte = |source: &Vec<u8>, at: usize| source.get(at).copied().unwrap_or(0);
            type Of = fn(u8, u8) -> u8;
            let cases: [(Operation, Of); 3] =
                [(Operation::And, |a, b| a & b), (Operation::Or, |a, b| a | b), (Operation::Xor, |a, b| a ^ b)];
            for (operation, of) in cases {
                let mut folded = Folded::new(operation);
                for source in &sources {
                    folded.add(source);
                }
                let expected: Vec<u8> = (0..longest)
                    .map(|at| sources.iter().map(|source| byte(source, at)).reduce(of).unwrap_or(0))
                    .collect();
                prop_assert_eq!(folded.finish(), expected);
            }
        }
    }
}
