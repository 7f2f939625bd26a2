//! XPENDING: what was delivered and waits to be acknowledged.

use annulus_protocol::Encoder;
use annulus_storage::value::stream::{Delivery, Group, StreamId};

use super::super::arguments::{integer, is};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::{group_of, ids, write_id};

/// `XPENDING key group [[IDLE min-idle-time] start end count [consumer]]`
pub(in super::super) fn xpending(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = pending(context, args);
    answer(context, outcome);
}

/// Which entries are asked for.
struct Wanted<'a> {
    idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    /// Reads what stands behind the group; nothing does if a summary is asked for.
    fn parse(args: &[&'a [u8]]) -> Result<Option<Self>, Failure> {
        // What follows the consumer is not looked at, as in Redis, up to this number of arguments.
        const ARGUMENTS_MAX: usize = 6;
        if args.is_empty() {
            return Ok(None);
        }
        if args.len() > ARGUMENTS_MAX {
            return Err(fail(errors::SYNTAX));
        }
        let (idle_ms, range) = match args {
            [word, idle, _, ..] if is(word, "IDLE") => (integer(idle)?, args.get(2..).unwrap_or_default()),
            _ => (0, args),
        };
        let [start, end, count, ref consumer @ ..] = *range else { return Err(fail(errors::SYNTAX)) };
        let count = usize::try_from(integer(count)?).unwrap_or(0);
        let (start, end) = (ids::start(start)?, ids::end(end)?);
        Ok(Some(Self { idle_ms, start, end, count, consumer: consumer.first().copied() }))
    }
}

fn pending(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, name, ref wanted @ ..] = args else { return Err(unreachable_arity("xpending")) };
    let wanted = Wanted::parse(wanted)?;
    let now_ms = context.store.now();
    let key = context.first_key(key);
    let entry = context.store.get(context.database, key).map(super::stream).transpose()?;
    let group = group_of(entry, key.bytes, name)?;
    match wanted {
        None => summarise(group, &mut context.out),
        Some(wanted) => list(group, &wanted, now_ms, &mut context.out),
    }
    Ok(())
}

fn summarise(group: &Group, out: &mut Encoder<'_>) {
    out.array_header(4);
    out.integer(group.pending_len() as i64);
    let first = group.pending_from(StreamId::MIN).next().map(|(delivery, _)| delivery.id);
    let (Some(first), Some(last)) = (first, group.last_pending()) else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    write_id(out, first);
    write_id(out, last);
    let start = out.position();
    let mut count = 0;
    for consumer in group.consumers().filter(|consumer| consumer.pending_len() > 0) {
        out.array_header(2);
        out.bulk(consumer.name());
        out.bulk_integer(consumer.pending_len() as i64);
        count += 1;
    }
    out.insert_array_header(start, count);
}

fn list(group: &Group, wanted: &Wanted<'_>, now_ms: u64, out: &mut Encoder<'_>) {
    let start = out.position();
    let mut written = 0;
    let idle_ms = |delivery: &Delivery| now_ms as i64 - delivery.delivered_ms as i64;
    let mut write = |delivery: Delivery, consumer: &[u8]| {
        out.array_header(4);
        write_id(out, delivery.id);
        out.bulk(consumer);
        out.integer(idle_ms(&delivery).max(0));
        out.integer(delivery.count.into());
        written += 1;
    };
    let is_wanted = |delivery: &Delivery| wanted.idle_ms == 0 || idle_ms(delivery) >= wanted.idle_ms;
    if wanted.start <= wanted.end {
        match wanted.consumer {
            Some(name) => {
                let consumer = group.consumer(name);
                let ids = consumer.into_iter().flat_map(|consumer| consumer.pending_from(wanted.start));
                ids.take_while(|id| *id <= wanted.end)
                    .filter_map(|id| Some(group.pending(id)?.0))
                    .filter(is_wanted)
                    .take(wanted.count)
                    .for_each(|delivery| write(delivery, name));
            }
            None => group
                .pending_from(wanted.start)
                .take_while(|(delivery, _)| delivery.id <= wanted.end)
                .filter(|(delivery, _)| is_wanted(delivery))
                .take(wanted.count)
                .for_each(|(delivery, consumer)| write(delivery, consumer.name())),
        }
    }
    out.insert_array_header(start, written);
}
