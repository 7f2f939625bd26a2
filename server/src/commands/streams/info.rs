//! XINFO: what streams, groups and consumers say of themselves.

use annulus_protocol::Encoder;
use annulus_storage::value::Stream;
use annulus_storage::value::stream::{Delivery, Group, StreamId};

use super::super::arguments::{integer, is};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::groups::{missing, subcommand_syntax};
use super::{progress, write_entries, write_entry, write_id};

/// Entries, and pending entries of each group and consumer, that `FULL` shows unless it's told otherwise.
const FULL_COUNT: usize = 10;

/// `XINFO STREAM key [FULL [COUNT count]]`
pub(in super::super) fn stream(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = describe(context, args);
    answer(context, outcome);
}

/// How much `FULL` shows; none without it.
fn full_count(args: &[&[u8]]) -> Result<Option<usize>, Failure> {
    match args.get(3..).unwrap_or_default() {
        [] => Ok(None),
        [full] if is(full, "FULL") => Ok(Some(FULL_COUNT)),
        [full, word, count] if is(full, "FULL") && is(word, "COUNT") => Ok(Some(match integer(count)? {
            ..0 => FULL_COUNT,
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        })),
        _ => Err(subcommand_syntax(args)),
    }
}

fn describe(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, _, key, ..] = args else { return Err(unreachable_arity("xinfo|stream")) };
    let key = context.first_key(key);
    let entry = context.store.get(context.database, key).ok_or(fail(errors::NO_SUCH_KEY))?;
    let stream = super::stream(entry)?;
    let full = full_count(args)?;
    let out = &mut context.out;
    out.map_header(if full.is_some() { 9 } else { 10 });
    out.bulk("length");
    out.integer(stream.len() as i64);
    // What Redis says of its index: ours has a key for each block too, and no nodes beyond.
    out.bulk("radix-tree-keys");
    out.integer(stream.blocks() as i64);
    out.bulk("radix-tree-nodes");
    out.integer(stream.blocks() as i64 + 1);
    out.bulk("last-generated-id");
    write_id(out, stream.last());
    out.bulk("max-deleted-entry-id");
    write_id(out, stream.max_deleted());
    out.bulk("entries-added");
    out.integer(stream.added() as i64);
    out.bulk("recorded-first-entry-id");
    write_id(out, stream.first_id());
    match full {
        None => {
            out.bulk("groups");
            out.integer(stream.groups().len() as i64);
            let all = (StreamId::MIN, StreamId::MAX);
            let ends = [stream.range(all.0, all.1).next(), stream.range_back(all.0, all.1).next()];
            for (name, entry) in ["first-entry", "last-entry"].into_iter().zip(ends) {
                out.bulk(name);
                match entry {
                    Some(entry) => write_entry(out, &entry),
                    None => out.null(),
                }
            }
        }
        Some(count) => {
            out.bulk("entries");
            write_entries(out, stream.range(StreamId::MIN, StreamId::MAX), count);
            out.bulk("groups");
            out.array_header(stream.groups().len());
            stream.groups().for_each(|(name, group)| describe_group(stream, name, group, count, out));
        }
    }
    Ok(())
}

fn describe_group(stream: &Stream, name: &[u8], group: &Group, count: usize, out: &mut Encoder<'_>) {
    out.map_header(7);
    out.bulk("name");
    out.bulk(name);
    out.bulk("last-delivered-id");
    write_id(out, group.last());
    write_progress(stream, group, out);
    out.bulk("pel-count");
    out.integer(group.pending_len() as i64);
    out.bulk("pending");
    out.array_header(group.pending_len().min(count));
    for (delivery, consumer) in group.pending_from(StreamId::MIN).take(count) {
        out.array_header(4);
        write_id(out, delivery.id);
        out.bulk(consumer.name());
        write_delivery(delivery, out);
    }
    out.bulk("consumers");
    out.array_header(group.consumers().len());
    for consumer in group.consumers() {
        out.map_header(4);
        out.bulk("name");
        out.bulk(consumer.name());
        out.bulk("seen-time");
        out.integer(consumer.seen_ms() as i64);
        out.bulk("pel-count");
        out.integer(consumer.pending_len() as i64);
        out.bulk("pending");
        out.array_header(consumer.pending_len().min(count));
        let pending = consumer.pending_from(StreamId::MIN).filter_map(|id| group.pending(id));
        for (delivery, _) in pending.take(count) {
            out.array_header(3);
            write_id(out, delivery.id);
            write_delivery(delivery, out);
        }
    }
}

fn write_delivery(delivery: Delivery, out: &mut Encoder<'_>) {
    out.integer(delivery.delivered_ms as i64);
    out.integer(delivery.count.into());
}

fn write_progress(stream: &Stream, group: &Group, out: &mut Encoder<'_>) {
    let read = group.read().map(|read| read as i64);
    for (name, number) in [("entries-read", read), ("lag", progress::lag(stream, group))] {
        out.bulk(name);
        match number {
            Some(number) => out.integer(number),
            None => out.null(),
        }
    }
}

/// `XINFO GROUPS key`
pub(in super::super) fn groups(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = list_groups(context, args);
    answer(context, outcome);
}

fn list_groups(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, _, key] = args else { return Err(unreachable_arity("xinfo|groups")) };
    let key = context.first_key(key);
    let entry = context.store.get(context.database, key).ok_or(fail(errors::NO_SUCH_KEY))?;
    let stream = super::stream(entry)?;
    let out = &mut context.out;
    out.array_header(stream.groups().len());
    for (name, group) in stream.groups() {
        out.map_header(6);
        out.bulk("name");
        out.bulk(name);
        out.bulk("consumers");
        out.integer(group.consumers().len() as i64);
        out.bulk("pending");
        out.integer(group.pending_len() as i64);
        out.bulk("last-delivered-id");
        write_id(out, group.last());
        write_progress(stream, group, out);
    }
    Ok(())
}

/// `XINFO CONSUMERS key group`
pub(in super::super) fn consumers(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = list_consumers(context, args);
    answer(context, outcome);
}

fn list_consumers(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, _, key, name] = args else { return Err(unreachable_arity("xinfo|consumers")) };
    let now_ms = context.store.now();
    let key = context.first_key(key);
    let entry = context.store.get(context.database, key).ok_or(fail(errors::NO_SUCH_KEY))?;
    let stream = super::stream(entry)?;
    let group = stream.group(name).ok_or_else(|| missing(name, key.bytes))?;
    let out = &mut context.out;
    out.array_header(group.consumers().len());
    for consumer in group.consumers() {
        out.map_header(3);
        out.bulk("name");
        out.bulk(consumer.name());
        out.bulk("pending");
        out.integer(consumer.pending_len() as i64);
        out.bulk("idle");
        out.integer(now_ms.saturating_sub(consumer.seen_ms()) as i64);
    }
    Ok(())
}
