//! Values that go from one key to another: on one shard directly, between shards in hops.
//!
//! Between shards a value is read, put to its new place, and only then removed from the old one. A crash in between leaves it in both
//! places, never in none; until transactions span shards, others may see that too.

use annulus_protocol::Encoder;
use annulus_storage::{DatabaseId, Key};

use super::arguments::{database, is};
use super::errors::{self, Failure, Outcome, fail};
use super::replies::{bulk_reply, elements, error_among, integer_reply};
use super::{Context, Hop, HopRequest, HopStep, answer, key, unreachable_arity};

/// What to do with a value at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    Replace,
    Keep,
}

impl Destination {
    const fn word(self) -> &'static str {
        match self {
            Self::Replace => "REPLACE",
            Self::Keep => "KEEP",
        }
    }
}

/// `RENAME key newkey` on one shard
pub(super) fn rename(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = rename_to(context, args, Destination::Replace).map(|_| context.out.ok());
    answer(context, outcome);
}

/// `RENAMENX key newkey` on one shard
pub(super) fn renamenx(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome =
        rename_to(context, args, Destination::Keep).map(|renamed| context.out.integer(i64::from(renamed)));
    answer(context, outcome);
}

fn rename_to(context: &mut Context<'_>, args: &[&[u8]], destination: Destination) -> Result<bool, Failure> {
    let &[_, from, to] = args else { return Err(unreachable_arity("rename")) };
    let (from, to) = (context.first_key(from), key(to));
    let database = context.database;
    if context.store.get_for_update(database, from).is_none() {
        return Err(fail(errors::NO_SUCH_KEY));
    }
    if from.bytes == to.bytes {
        return Ok(false);
    }
    let done = duplicate(context, (database, from), (database, to), destination);
    if done {
        context.store.delete(database, from);
    }
    Ok(done)
}

/// `COPY source destination [DB index] [REPLACE]` on one shard
pub(super) fn copy(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = copy_to(context, args);
    answer(context, outcome);
}

fn copy_to(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, from, to, ..] = args else { return Err(unreachable_arity("copy")) };
    let options = CopyOptions::parse(args, context.database, context.store.databases())?;
    let (from, to) = (context.first_key(from), key(to));
    if options.database == context.database && from.bytes == to.bytes {
        return Err(fail(errors::SAME_OBJECT));
    }
    let copied = context.store.get(context.database, from).is_some()
        && duplicate(context, (context.database, from), (options.database, to), options.destination);
    context.out.integer(i64::from(copied));
    Ok(())
}

struct CopyOptions {
    database: DatabaseId,
    destination: Destination,
}

impl CopyOptions {
    fn parse(args: &[&[u8]], current: DatabaseId, databases: u16) -> Result<Self, Failure> {
        let mut options = Self { database: current, destination: Destination::Keep };
        let mut rest = args.get(3..).unwrap_or_default();
        loop {
            rest = match rest {
                [] => return Ok(options),
                [option, tail @ ..] if is(option, "REPLACE") => {
                    options.destination = Destination::Replace;
                    tail
                }
                [option, index, tail @ ..] if is(option, "DB") => {
                    options.database = database(index, databases)?;
                    tail
                }
                _ => return Err(fail(errors::SYNTAX)),
            };
        }
    }
}

/// `MOVE key index`: a key has the same slot, and so the same shard, in every database
pub(super) fn r#move(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = move_to(context, args);
    answer(context, outcome);
}

fn move_to(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, bytes, index] = args else { return Err(unreachable_arity("move")) };
    let target = database(index, context.store.databases())?;
    let source = context.database;
    if target == source {
        return Err(fail(errors::SAME_OBJECT));
    }
    let key = context.first_key(bytes);
    let moved = context.store.get_for_update(source, key).is_some()
        && duplicate(context, (source, key), (target, key), Destination::Keep);
    if moved {
        context.store.delete(source, key);
    }
    context.out.integer(i64::from(moved));
    Ok(())
}

/// Puts the value and the expiry of a key that is there at another. False if there is something to keep.
fn duplicate(
    context: &mut Context<'_>,
    (source, from): (DatabaseId, Key<'_>),
    (target, to): (DatabaseId, Key<'_>),
    destination: Destination,
) -> bool {
    if destination == Destination::Keep && context.store.get_for_update(target, to).is_some() {
        return false;
    }
    context.store.copy((source, from), (target, to))
}

/// `RENAME` between shards
pub(super) fn rename_plan(hop: &Hop<'_>) -> HopStep {
    rename_hops(hop, Destination::Replace)
}

/// `RENAMENX` between shards
pub(super) fn renamenx_plan(hop: &Hop<'_>) -> HopStep {
    rename_hops(hop, Destination::Keep)
}

fn rename_hops(hop: &Hop<'_>, destination: Destination) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    let &[_, from, to] = hop.args else { return refuse(hop, unreachable_arity("rename")) };
    let first = hop.replies.first().map_or(&[][..], Vec::as_slice);
    match hop.round {
        0 => send(vec![b"annulus.lift".to_vec(), from.to_vec()]),
        1 => match put_request(first, to, hop.database, destination) {
            Some(mut request) => {
                // By another name, because it is told of as another event.
                request[0] = b"annulus.receive".to_vec();
                send(request)
            }
            None => refuse(hop, errors::NO_SUCH_KEY),
        },
        2 if integer_reply(first) == Some(1) => send(vec![b"annulus.drop".to_vec(), from.to_vec()]),
        round => end(hop, |out| match destination {
            Destination::Replace => out.ok(),
            Destination::Keep => out.integer(i64::from(round > 2)),
        }),
    }
}

/// `COPY` between shards
pub(super) fn copy_plan(hop: &Hop<'_>) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    let &[_, from, to, ..] = hop.args else { return refuse(hop, unreachable_arity("copy")) };
    let options = match CopyOptions::parse(hop.args, hop.database, hop.databases) {
        Ok(options) => options,
        Err(error) => return refuse(hop, error),
    };
    let first = hop.replies.first().map_or(&[][..], Vec::as_slice);
    match hop.round {
        0 => send(vec![b"annulus.fetch".to_vec(), from.to_vec()]),
        1 => match put_request(first, to, options.database, options.destination) {
            Some(request) => send(request),
            None => end(hop, |out| out.integer(0)),
        },
        _ => HopStep::Reply(first.to_vec()),
    }
}

/// The request that stores what `annulus.fetch` replied; `None` if there was no key.
fn put_request(
    fetched: &[u8],
    to: &[u8],
    database: DatabaseId,
    destination: Destination,
) -> Option<Vec<Vec<u8>>> {
    let mut elements = elements(fetched);
    let value = bulk_reply(elements.next()?)?;
    let expiry = integer_reply(elements.next()?)?;
    let form = integer_reply(elements.next()?)?;
    Some(vec![
        b"annulus.put".to_vec(),
        to.to_vec(),
        database.0.to_string().into_bytes(),
        expiry.to_string().into_bytes(),
        value.to_vec(),
        destination.word().as_bytes().to_vec(),
        form.to_string().into_bytes(),
    ])
}

fn send(args: Vec<Vec<u8>>) -> HopStep {
    HopStep::Send(vec![HopRequest { args }])
}

/// The end of a command in hops.
pub(super) fn end(hop: &Hop<'_>, write: impl FnOnce(&mut Encoder<'_>)) -> HopStep {
    let mut out = Vec::new();
    write(&mut Encoder::new(&mut out, hop.version));
    HopStep::Reply(out)
}

/// The end of a command in hops that cannot go on.
pub(super) fn refuse(hop: &Hop<'_>, error: impl AsRef<[u8]>) -> HopStep {
    end(hop, |out| out.error(error))
}
