//! Commands that wait until a key has something: what they have in common.
//!
//! Such a command tries first, like any other ([`Waiting::keyed`] on one shard, [`Waiting::plan`] between several). A handler that finds
//! nothing writes the reply that Redis has for that and says so ([`Context::nothing`]); within MULTI and in scripts that is all. Else
//! the shards of its keys keep it ([`annulus_storage::Awaiter`]), and it tries again when one of them changes.

use annulus_protocol::{Encoder, parse_f64};
use annulus_storage::{Awaiter, DatabaseId, Kind, ShardId};

use super::arguments::integer;
use super::errors::{Failure, Outcome, fail};
use super::transfer::end;
use super::{Command, Context, Hop, HopPlan, HopRequest, HopStep, KeyFlags, Keyed, ShardStore};

/// How a command waits.
pub struct Waiting {
    /// Tries, with all keys on one shard.
    pub keyed: Keyed,
    /// Tries between shards.
    pub plan: HopPlan,
    /// How long it waits, ms, 0 for ever; nothing if it doesn't, or if the arguments are wrong, which the handler will say.
    pub timeout_ms: fn(&[&[u8]]) -> Option<u64>,
    /// What it waits for at its keys.
    pub kind: Kind,
    /// The same command about one of its keys alone.
    pub about: fn(&[&[u8]], &[u8]) -> Arguments,
    /// What it waits with, where that isn't what it came with. The first try has found nothing.
    pub settle: Option<Settle>,
    /// The error that ends its wait when its key has gone, or become something else.
    pub ends_without_key: Option<&'static str>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// See [`Waiting::settle`].
pub(super) type Settle = fn(&mut ShardStore, DatabaseId, &[&[u8]]) -> Arguments;

/// What a command replies that has found nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Nil {
    /// In RESP2 a null string.
    String,
    /// In RESP2 a null array.
    Array,
}

impl Nil {
    fn write(self, out: &mut Encoder<'_>) {
        match self {
            Self::String => out.null(),
            Self::Array => out.null_array(),
        }
    }
}

/// A command with its arguments.
pub type Arguments = Vec<Vec<u8>>;

/// The keys that a command waits for: those that it takes something from.
pub fn awaited_keys<'a>(command: &Command, args: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let taken = command.key_positions(args).filter(|(_, flags)| flags.contains(KeyFlags::ACCESS));
    taken.filter_map(|(position, _)| args.get(position).copied()).collect()
}

/// Seconds as a timeout in ms, rounded up.
pub(super) fn seconds(text: &[u8]) -> Result<u64, Failure> {
    const NOT_A_FLOAT: &str = "ERR timeout is not a float or out of range";
    let seconds = parse_f64(text).filter(|seconds| !seconds.is_nan()).ok_or(fail(NOT_A_FLOAT))?;
    let milliseconds = (seconds * 1000.0).ceil();
    // As in Redis, what is too long counts as negative.
    if milliseconds < 0.0 || milliseconds >= i64::MAX as f64 {
        return Err(fail("ERR timeout is negative"));
    }
    Ok(milliseconds as u64)
}

/// The timeout that is the last argument.
pub(super) fn last_seconds(args: &[&[u8]]) -> Option<u64> {
    args.last().and_then(|text| seconds(text).ok())
}

/// The timeout that is the first argument.
pub(super) fn first_seconds(args: &[&[u8]]) -> Option<u64> {
    args.get(1).and_then(|text| seconds(text).ok())
}

/// `COMMAND key [key …] timeout` about one key.
pub(super) fn about_key_and_last(args: &[&[u8]], key: &[u8]) -> Arguments {
    let timeout = args.last().copied().unwrap_or_default();
    [args[0], key, timeout].map(<[u8]>::to_vec).to_vec()
}

/// `COMMAND timeout numkeys key [key …] …` about one key.
pub(super) fn about_counted_key(args: &[&[u8]], key: &[u8]) -> Arguments {
    let count = args.get(2).and_then(|count| integer(count).ok()).unwrap_or(0).max(0) as usize;
    let rest = args.get(3 + count..).unwrap_or_default();
    let front = [args[0], args.get(1).copied().unwrap_or(b"0"), b"1", key];
    front.into_iter().chain(rest.iter().copied()).map(<[u8]>::to_vec).collect()
}

/// The command as it is.
pub(super) fn about_all(args: &[&[u8]], _: &[u8]) -> Arguments {
    owned(args)
}

/// Copies arguments.
pub fn owned(args: &[&[u8]]) -> Arguments {
    args.iter().map(|arg| arg.to_vec()).collect()
}

/// The keys and the timeout of `COMMAND key [key …] timeout`.
pub(super) fn keys_and_timeout<'a, 'b>(args: &'a [&'b [u8]]) -> Result<&'a [&'b [u8]], Failure> {
    let (timeout, rest) = args.split_last().ok_or_else(|| super::unreachable_arity("blpop"))?;
    seconds(timeout)?;
    Ok(rest.get(1..).unwrap_or_default())
}

impl Context<'_> {
    /// The handler has found none of what it wants, and has written what it replies when it doesn't wait.
    pub(super) fn nothing(&mut self, nil: Nil) {
        nil.write(&mut self.out);
        self.nothing = true;
    }
}

impl Hop<'_> {
    /// A plan has found none of what it wants at these keys: it waits for them, with these arguments from now on; or
    /// replies what it does when it doesn't wait.
    pub(super) fn nothing(&self, keys: &[&[u8]], kind: Kind, with: Option<Arguments>, nil: Nil) -> HopStep {
        let Some((shard, number)) = self.waiter else { return end(self, |out| nil.write(out)) };
        let numbers = [u64::from(shard.0), number, u64::from(kind as u8)];
        let await_one = |key: &&[u8]| {
            let mut args = vec![b"annulus.await".to_vec(), key.to_vec()];
            args.extend(numbers.map(|number| number.to_string().into_bytes()));
            HopRequest { args }
        };
        HopStep::Wait { requests: keys.iter().map(await_one).collect(), with }
    }
}

/// `annulus.await key shard number kind`: a command of that shard waits for the key
pub(super) fn add_awaiter(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = add(context, args);
    super::answer(context, outcome);
}

fn add(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, bytes, shard, number, kind] = args else {
        return Err(super::unreachable_arity("annulus.await"));
    };
    let number_of = |text| integer(text).map(|number| number as u64);
    let kind = u8::try_from(number_of(kind)?).ok().and_then(Kind::from_byte);
    let awaiter = Awaiter {
        shard: ShardId(number_of(shard)? as u16),
        number: number_of(number)?,
        kind: kind.ok_or_else(|| super::unreachable_arity("annulus.await"))?,
    };
    let key = context.first_key(bytes);
    context.store.add_awaiter(context.database, key, awaiter);
    context.out.ok();
    Ok(())
}
