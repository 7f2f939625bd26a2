//! XGROUP: groups and their consumers come and go. And XACK.

use annulus_storage::value::StreamChange;
use annulus_storage::value::stream::{Consumer, StreamId, put_id};

use super::super::arguments::{integer, is};
use super::super::errors::{Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::ids::{self, Missing};
use super::{no_group, read_to_change};

const NO_STREAM: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
                         the MKSTREAM option to create an empty stream automatically.";

/// `XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD entries-read]`
pub(in super::super) fn create(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = create_group(context, args);
    answer(context, outcome);
}

/// The options of CREATE and SETID.
#[derive(Debug, Default)]
struct Options {
    make_stream: bool,
    read: Option<u64>,
}

impl Options {
    fn parse(args: &[&[u8]]) -> Result<Self, Failure> {
        let creates = args.get(1).is_some_and(|word| is(word, "CREATE"));
        let mut options = Self::default();
        let mut rest = args.get(5..).unwrap_or_default();
        loop {
            rest = match rest {
                [] => return Ok(options),
                [option, tail @ ..] if creates && is(option, "MKSTREAM") => {
                    options.make_stream = true;
                    tail
                }
                [option, count, tail @ ..] if is(option, "ENTRIESREAD") => {
                    options.read = match integer(count)? {
                        -1 => None,
                        count => Some(
                            u64::try_from(count)
                                .map_err(|_| fail("ERR value for ENTRIESREAD must be positive or -1"))?,
                        ),
                    };
                    tail
                }
                _ => return Err(subcommand_syntax(args)),
            };
        }
    }
}

/// What Redis says of a subcommand whose arguments it doesn't understand.
pub(super) fn subcommand_syntax(args: &[&[u8]]) -> Failure {
    const QUOTED_BYTES_MAX: usize = 128;
    let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    let name = args.get(1).copied().unwrap_or_default();
    text.extend(name.iter().take(QUOTED_BYTES_MAX).take_while(|byte| **byte != 0));
    text.extend_from_slice(b"'. Try ");
    text.extend(args.first().copied().unwrap_or_default().to_ascii_uppercase());
    text.extend_from_slice(b" HELP.");
    Failure::Owned(text)
}

fn create_group(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, _, key, group, at, ..] = args else { return Err(unreachable_arity("xgroup|create")) };
    let options = Options::parse(args)?;
    let key = context.first_key(key);
    let stream = read_to_change(context, key)?;
    if stream.is_none() && !options.make_stream {
        return Err(fail(NO_STREAM));
    }
    // An option given twice shows by the number of arguments alone, and this late.
    if args.len() > 8 {
        return Err(subcommand_syntax(args));
    }
    let last = match (at, stream) {
        (b"$", stream) => stream.map_or(StreamId::MIN, annulus_storage::value::Stream::last),
        (at, _) => ids::strict(at, Missing::First)?,
    };
    if stream.is_some_and(|stream| stream.group(group).is_some()) {
        return Err(fail("BUSYGROUP Consumer Group name already exists"));
    }
    context.store.change(context.database, key, StreamChange::SetGroup { group, last, read: options.read });
    context.out.ok();
    Ok(())
}

/// `XGROUP SETID key group id|$ [ENTRIESREAD entries-read]`
pub(in super::super) fn setid(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_id(context, args);
    answer(context, outcome);
}

fn set_id(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, _, key, group, at, ..] = args else { return Err(unreachable_arity("xgroup|setid")) };
    let options = Options::parse(args)?;
    let key = context.first_key(key);
    let stream = read_to_change(context, key)?.ok_or(fail(NO_STREAM))?;
    stream.group(group).ok_or_else(|| missing(group, key.bytes))?;
    if args.len() > 7 {
        return Err(subcommand_syntax(args));
    }
    let last = if at == b"$" { stream.last() } else { ids::any(at, Missing::First)? };
    context.store.change(context.database, key, StreamChange::SetGroup { group, last, read: options.read });
    context.out.ok();
    Ok(())
}

/// The stream has no such group.
pub(super) fn missing(group: &[u8], key: &[u8]) -> Failure {
    no_group(&[b"No such consumer group '", group, b"' for key name '", key, b"'"])
}

/// `XGROUP DESTROY key group`
pub(in super::super) fn destroy(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = destroy_group(context, args);
    answer(context, outcome);
}

fn destroy_group(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, _, key, group] = args else { return Err(unreachable_arity("xgroup|destroy")) };
    let key = context.first_key(key);
    let stream = read_to_change(context, key)?.ok_or(fail(NO_STREAM))?;
    let there = stream.group(group).is_some();
    if there {
        context.store.change(context.database, key, StreamChange::DropGroup { group });
    }
    context.out.integer(i64::from(there));
    Ok(())
}

/// `XGROUP CREATECONSUMER key group consumer`
pub(in super::super) fn createconsumer(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = create_consumer(context, args);
    answer(context, outcome);
}

fn create_consumer(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, _, key, group, consumer] = args else {
        return Err(unreachable_arity("xgroup|createconsumer"));
    };
    let key = context.first_key(key);
    let stream = read_to_change(context, key)?.ok_or(fail(NO_STREAM))?;
    let new = stream.group(group).ok_or_else(|| missing(group, key.bytes))?.consumer(consumer).is_none();
    if new {
        let seen_ms = context.store.now();
        let change = StreamChange::SetConsumer { group, consumer, seen_ms };
        context.store.change(context.database, key, change);
    }
    context.out.integer(i64::from(new));
    Ok(())
}

/// `XGROUP DELCONSUMER key group consumer`
pub(in super::super) fn delconsumer(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = delete_consumer(context, args);
    answer(context, outcome);
}

fn delete_consumer(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, _, key, group, consumer] = args else { return Err(unreachable_arity("xgroup|delconsumer")) };
    let key = context.first_key(key);
    let stream = read_to_change(context, key)?.ok_or(fail(NO_STREAM))?;
    let found = stream.group(group).ok_or_else(|| missing(group, key.bytes))?.consumer(consumer);
    let pending = found.map(Consumer::pending_len);
    if pending.is_some() {
        context.store.change(context.database, key, StreamChange::DropConsumer { group, consumer });
    }
    context.out.integer(pending.unwrap_or(0) as i64);
    Ok(())
}

/// `XACK key group id [id …]`
pub(in super::super) fn xack(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = acknowledge(context, args);
    answer(context, outcome);
}

fn acknowledge(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, name, ref texts @ ..] = args else { return Err(unreachable_arity("xack")) };
    let key = context.first_key(key);
    let found = context.store.get(context.database, key).map(super::stream).transpose()?;
    let Some(group) = found.and_then(|stream| stream.group(name)) else {
        context.out.integer(0);
        return Ok(());
    };
    let mut acknowledged: Vec<StreamId> = Vec::with_capacity(texts.len());
    for text in texts {
        let id = ids::strict(text, Missing::First)?;
        if group.pending(id).is_some() {
            acknowledged.push(id);
        }
    }
    // An id that is said twice is acknowledged once.
    acknowledged.sort_unstable();
    acknowledged.dedup();
    let mut encoded = Vec::new();
    for id in &acknowledged {
        put_id(&mut encoded, *id);
    }
    if !encoded.is_empty() {
        let change = StreamChange::Acknowledge { group: name, ids: &encoded };
        context.store.change(context.database, key, change);
    }
    context.out.integer(acknowledged.len() as i64);
    Ok(())
}
