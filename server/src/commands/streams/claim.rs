//! XCLAIM and XAUTOCLAIM: entries that are pending at one consumer go to another.

use annulus_storage::Key;
use annulus_storage::value::StreamChange;
use annulus_storage::value::stream::{Delivery, Group, StreamId, put_consumer, put_delivery, put_id};

use super::super::arguments::is;
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::ids::{self, Missing};
use super::{group_of, write_entry, write_id};
use annulus_protocol::parse_i64;

/// What a claim has found to do: made into changes when the reply has been written.
struct Claims<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    /// Whether the consumer was there before.
    known: bool,
    /// Those that go to the consumer, encoded.
    deliveries: Vec<u8>,
    /// Those whose entries are gone, encoded.
    gone: Vec<u8>,
    claimed: usize,
}

impl<'a> Claims<'a> {
    fn new(name: &'a [u8], group: &Group, consumer: &'a [u8]) -> Self {
        let known = group.consumer(consumer).is_some();
        let mut deliveries = Vec::new();
        put_consumer(&mut deliveries, consumer);
        Self { group: name, consumer, known, deliveries, gone: Vec::new(), claimed: 0 }
    }

    fn claim(&mut self, delivery: Delivery) {
        put_delivery(&mut self.deliveries, delivery);
        self.claimed += 1;
    }

    /// Makes the changes. A consumer that claims exists from then on, if it gets anything.
    fn make(&self, context: &mut Context<'_>, key: Key<'_>) {
        let (database, group) = (context.database, self.group);
        if !self.gone.is_empty() {
            context.store.change(database, key, StreamChange::Acknowledge { group, ids: &self.gone });
        }
        if self.claimed > 0 {
            if !self.known {
                let (consumer, seen_ms) = (self.consumer, context.store.now());
                context.store.change(database, key, StreamChange::SetConsumer { group, consumer, seen_ms });
            }
            let change = StreamChange::Pend { group, deliveries: &self.deliveries };
            context.store.change(database, key, change);
            context.store.see_consumer(database, key, group, self.consumer);
        }
    }
}

/// `XCLAIM key group consumer min-idle-time id [id …] [IDLE ms] [TIME unix-time-ms] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]`
pub(in super::super) fn xclaim(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = claim(context, args);
    answer(context, outcome);
}

#[derive(Debug, Default)]
struct Options {
    delivered_ms: Option<i64>,
    count: Option<u32>,
    force: bool,
    just_ids: bool,
    last: StreamId,
}

impl Options {
    fn parse(args: &[&[u8]], now_ms: u64) -> Result<Self, Failure> {
        let number = |text: &[u8], wrong| parse_i64(text).ok_or(fail(wrong));
        let mut options = Self::default();
        let mut rest = args;
        loop {
            rest = match rest {
                [] => return Ok(options),
                [option, tail @ ..] if is(option, "FORCE") => {
                    options.force = true;
                    tail
                }
                [option, tail @ ..] if is(option, "JUSTID") => {
                    options.just_ids = true;
                    tail
                }
                [option, ms, tail @ ..] if is(option, "IDLE") => {
                    let idle = number(ms, "ERR Invalid IDLE option argument for XCLAIM")?;
                    options.delivered_ms = Some((now_ms as i64).wrapping_sub(idle));
                    tail
                }
                [option, ms, tail @ ..] if is(option, "TIME") => {
                    options.delivered_ms = Some(number(ms, "ERR Invalid TIME option argument for XCLAIM")?);
                    tail
                }
                [option, count, tail @ ..] if is(option, "RETRYCOUNT") => {
                    let count = number(count, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                    // A negative number is as good as none; one beyond what we count is the highest.
                    options.count = (count >= 0).then(|| u32::try_from(count).unwrap_or(u32::MAX));
                    tail
                }
                [option, id, tail @ ..] if is(option, "LASTID") => {
                    options.last = ids::strict(id, Missing::First)?;
                    tail
                }
                [option, ..] => {
                    let mut text = b"ERR Unrecognized XCLAIM option '".to_vec();
                    text.extend(option.iter().take_while(|byte| **byte != 0));
                    text.push(b'\'');
                    return Err(Failure::Owned(text));
                }
            };
        }
    }

    /// The time of delivery that is noted: bogus ones are now.
    fn delivered_ms(&self, now_ms: u64) -> u64 {
        let given = self.delivered_ms.filter(|ms| *ms != -1).and_then(|ms| u64::try_from(ms).ok());
        given.filter(|ms| *ms <= now_ms).unwrap_or(now_ms)
    }
}

/// Whether a pending entry has not been delivered for so long.
fn is_idle(delivery: Delivery, min_idle_ms: i64, now_ms: u64) -> bool {
    min_idle_ms <= 0 || now_ms as i64 - delivery.delivered_ms as i64 >= min_idle_ms
}

fn claim(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, name, consumer, min_idle, ref rest @ ..] = args else {
        return Err(unreachable_arity("xclaim"));
    };
    let now_ms = context.store.now();
    let key = context.first_key(key);
    let stream = context.store.get(context.database, key).map(super::stream).transpose()?;
    let group = group_of(stream, key.bytes, name)?;
    let Some(stream) = stream else { return Ok(()) };
    let min_idle_ms = parse_i64(min_idle).ok_or(fail("ERR Invalid min-idle-time argument for XCLAIM"))?;
    let wanted: Vec<StreamId> =
        rest.iter().map_while(|text| ids::strict(text, Missing::First).ok()).collect();
    let options = Options::parse(rest.get(wanted.len()..).unwrap_or_default(), now_ms)?;
    let delivered_ms = options.delivered_ms(now_ms);
    let (last, read) = (group.last().max(options.last), group.read());
    let moves = options.last > group.last();

    let mut claims = Claims::new(name, group, consumer);
    // What this command itself has claimed already, for an id that is said twice.
    let mut claimed: Vec<Delivery> = Vec::new();
    let start = context.out.position();
    for id in wanted {
        let earlier = claimed.iter().rev().find(|delivery| delivery.id == id).copied();
        let pending = earlier.or_else(|| group.pending(id).map(|(delivery, _)| delivery));
        let Some(entry) = stream.get(id) else {
            if pending.is_some() {
                put_id(&mut claims.gone, id);
            }
            continue;
        };
        let delivery = match pending {
            Some(delivery) if !is_idle(delivery, min_idle_ms, now_ms) => continue,
            Some(delivery) => delivery,
            None if options.force => Delivery { id, delivered_ms: now_ms, count: 1 },
            None => continue,
        };
        let count = match options.count {
            Some(count) => count,
            None if options.just_ids => delivery.count,
            None => delivery.count.saturating_add(1),
        };
        let delivery = Delivery { id, delivered_ms, count };
        claimed.push(delivery);
        claims.claim(delivery);
        if options.just_ids {
            write_id(&mut context.out, id);
        } else {
            write_entry(&mut context.out, &entry);
        }
    }
    context.out.insert_array_header(start, claims.claimed);
    if moves {
        context.store.change(context.database, key, StreamChange::SetGroup { group: name, last, read });
    }
    claims.make(context, key);
    Ok(())
}

/// `XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]`
pub(in super::super) fn xautoclaim(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = auto_claim(context, args);
    answer(context, outcome);
}

/// Entries that XAUTOCLAIM claims unless it's told otherwise.
const AUTO_COUNT: usize = 100;
/// Pending entries that it looks at for each one that it may claim.
const AUTO_ATTEMPTS: usize = 10;

fn auto_options(args: &[&[u8]]) -> Result<(usize, bool), Failure> {
    const COUNT_MAX: i64 = i64::MAX / 16;
    let (mut count, mut just_ids) = (AUTO_COUNT, false);
    let mut rest = args;
    loop {
        rest = match rest {
            [] => return Ok((count, just_ids)),
            [option, number, tail @ ..] if is(option, "COUNT") => {
                let number = parse_i64(number).filter(|number| (1..=COUNT_MAX).contains(number));
                count = number.ok_or(fail("ERR COUNT must be > 0"))? as usize;
                tail
            }
            [option, tail @ ..] if is(option, "JUSTID") => {
                just_ids = true;
                tail
            }
            _ => return Err(fail(errors::SYNTAX)),
        };
    }
}

fn auto_claim(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, name, consumer, min_idle, start, ref options @ ..] = args else {
        return Err(unreachable_arity("xautoclaim"));
    };
    let min_idle_ms = parse_i64(min_idle).ok_or(fail("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let start = ids::start(start)?;
    let (mut count, just_ids) = auto_options(options)?;
    let now_ms = context.store.now();
    let key = context.first_key(key);
    let stream = context.store.get(context.database, key).map(super::stream).transpose()?;
    let group: &Group = group_of(stream, key.bytes, name)?;
    let Some(stream) = stream else { return Ok(()) };

    let mut claims = Claims::new(name, group, consumer);
    let mut gone = Vec::new();
    let mut attempts = count.saturating_mul(AUTO_ATTEMPTS);
    let mut pending = group.pending_from(start);
    let mut entries = Vec::new();
    let mut next = None;
    for (delivery, _) in &mut pending {
        if attempts == 0 || count == 0 {
            next = Some(delivery.id);
            break;
        }
        attempts -= 1;
        let id = delivery.id;
        let Some(entry) = stream.get(id) else {
            put_id(&mut claims.gone, id);
            gone.push(id);
            count -= 1;
            continue;
        };
        if !is_idle(delivery, min_idle_ms, now_ms) {
            continue;
        }
        let times = if just_ids { delivery.count } else { delivery.count.saturating_add(1) };
        claims.claim(Delivery { id, delivered_ms: now_ms, count: times });
        entries.push(entry);
        count -= 1;
    }
    let out = &mut context.out;
    out.array_header(3);
    write_id(out, next.unwrap_or(StreamId::MIN));
    out.array_header(entries.len());
    for entry in &entries {
        if just_ids {
            write_id(out, entry.id);
        } else {
            write_entry(out, entry);
        }
    }
    out.array_header(gone.len());
    for id in gone {
        write_id(out, id);
    }
    drop(pending);
    claims.make(context, key);
    Ok(())
}
