//! XREAD and XREADGROUP.
//!
//! [`resolve`] turns what is said of each stream into the id behind which it is read; what waits goes on with ids ([`settle`]), as `$`
//! means what it meant when the command came.

use annulus_protocol::{Encoder, Version, parse_i64};
use annulus_storage::value::stream::{Delivery, StreamId, put_consumer, put_delivery};
use annulus_storage::value::{Stream, StreamChange};
use annulus_storage::{DatabaseId, Key, Kind};

use super::super::arguments::{integer, is};
use super::super::blocking::{Arguments, Nil, Waiting, owned};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::replies::{bulk_reply, error_among};
use super::super::transfer::{end, refuse};
use super::super::{Context, Hop, HopRequest, HopStep, ShardStore, answer, key, unreachable_arity};
use super::ids::{self, IdText, Missing};
use super::{no_group, progress, write_entry, write_id};

const UNBALANCED: &str =
    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.";

/// Which of the two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Command {
    Read,
    ReadGroup,
}

impl Command {
    fn of(args: &[&[u8]]) -> Self {
        if args.first().is_some_and(|name| is(name, "XREADGROUP")) { Self::ReadGroup } else { Self::Read }
    }
}

/// `XREAD`
pub(in super::super) static XREAD: Waiting = Waiting {
    keyed: xread,
    plan,
    timeout_ms: |args| Request::parse(args).ok()?.block_ms,
    kind: Kind::Stream,
    about,
    settle: Some(settle),
    ends_without_key: None,
};

/// `XREADGROUP`
pub(in super::super) static XREADGROUP: Waiting =
    Waiting { settle: None, ends_without_key: Some("UNBLOCKED the stream key no longer exists"), ..XREAD };

/// The command about one of its streams. If it's named more than once, the first counts.
fn about(args: &[&[u8]], key: &[u8]) -> Arguments {
    let Ok(request) = Request::parse(args) else { return owned(args) };
    let options = args.len() - 2 * request.keys.len();
    let id = request.keys.iter().position(|it| *it == key).map_or(&b"$"[..], |index| request.ids[index]);
    args[..options].iter().copied().chain([key, id]).map(<[u8]>::to_vec).collect()
}

/// The command with the ids that its `$` mean now.
fn settle(store: &mut ShardStore, database: DatabaseId, args: &[&[u8]]) -> Arguments {
    let Ok(request) = Request::parse(args) else { return owned(args) };
    let last = |bytes: &&[u8]| look(store, database, key(bytes), None).unwrap_or_default();
    let lasts: Vec<StreamId> = request.keys.iter().map(last).collect();
    with_ids(args, &request, &lasts)
}

fn with_ids(args: &[&[u8]], request: &Request<'_, '_>, lasts: &[StreamId]) -> Arguments {
    let settled = request.ids.iter().zip(lasts).map(|(id, last)| match *id {
        b"$" => IdText::new(*last).as_ref().to_vec(),
        id => id.to_vec(),
    });
    owned(&args[..args.len() - request.ids.len()]).into_iter().chain(settled).collect()
}

/// Who reads for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    /// What it gets needs no acknowledgement.
    no_ack: bool,
}

/// A command, read.
#[derive(Debug)]
pub(in super::super) struct Request<'a, 'b> {
    pub(in super::super) reader: Option<Reader<'a>>,
    /// Most entries of each stream.
    pub(in super::super) count: usize,
    /// How long to wait when there is nothing, in ms; 0: for ever.
    pub(in super::super) block_ms: Option<u64>,
    /// The streams, and behind which id each is read.
    pub(in super::super) keys: &'b [&'a [u8]],
    pub(in super::super) ids: &'b [&'a [u8]],
}

/// From where on a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum From {
    /// Behind this id: new entries, or for a group those that are pending at the consumer.
    Behind(StreamId),
    /// Behind what the group has delivered.
    Undelivered,
}

impl<'a, 'b> Request<'a, 'b> {
    pub(in super::super) fn parse(args: &'b [&'a [u8]]) -> Result<Self, Failure> {
        let command = Command::of(args);
        let (mut reader, mut no_ack, mut count, mut block_ms) = (None, false, 0, None);
        let mut rest = args.get(1..).unwrap_or_default();
        let streams = loop {
            rest = match rest {
                [option, timeout, tail @ ..] if is(option, "BLOCK") => {
                    block_ms = Some(milliseconds(timeout)?);
                    tail
                }
                [option, number, tail @ ..] if is(option, "COUNT") => {
                    count = usize::try_from(integer(number)?).unwrap_or(0);
                    tail
                }
                [option, streams @ ..] if is(option, "STREAMS") && !streams.is_empty() => break streams,
                [option, group, consumer, tail @ ..] if is(option, "GROUP") => {
                    only_of_groups(command, "GROUP")?;
                    reader = Some((*group, *consumer));
                    tail
                }
                [option, tail @ ..] if is(option, "NOACK") => {
                    only_of_groups(command, "NOACK")?;
                    no_ack = true;
                    tail
                }
                _ => return Err(fail(errors::SYNTAX)),
            };
        };
        if !streams.len().is_multiple_of(2) {
            return Err(fail(UNBALANCED));
        }
        if command == Command::ReadGroup && reader.is_none() {
            return Err(fail("ERR Missing GROUP option for XREADGROUP"));
        }
        let (keys, ids) = streams.split_at(streams.len() / 2);
        let reader = reader.map(|(group, consumer)| Reader { group, consumer, no_ack });
        let count = if count == 0 { usize::MAX } else { count };
        Ok(Self { reader, count, block_ms, keys, ids })
    }
}

fn milliseconds(timeout: &[u8]) -> Result<u64, Failure> {
    let timeout = parse_i64(timeout).ok_or(fail("ERR timeout is not an integer or out of range"))?;
    u64::try_from(timeout).map_err(|_| fail("ERR timeout is negative"))
}

fn only_of_groups(command: Command, option: &str) -> Outcome {
    if command == Command::ReadGroup {
        return Ok(());
    }
    let text = format!("ERR The {option} option is only supported by XREADGROUP. You called XREAD instead.");
    Err(Failure::Owned(text.into_bytes()))
}

/// What an id says, of a stream with this last id. The stream's type and group have been looked at.
fn from(text: &[u8], last: StreamId, command: Command) -> Result<From, Failure> {
    match (text, command) {
        (b"$", Command::Read) => Ok(From::Behind(last)),
        (b"$", Command::ReadGroup) => Err(fail(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer \
             by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty \
             result set.",
        )),
        (b">", Command::ReadGroup) => Ok(From::Undelivered),
        (b">", Command::Read) => Err(fail(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        _ => ids::strict(text, Missing::First).map(From::Behind),
    }
}

/// The last id of the stream at a key, of an absent one the least. An error if it is of another type, or lacks the group.
fn look(
    store: &mut ShardStore,
    database: DatabaseId,
    key: Key<'_>,
    group: Option<&[u8]>,
) -> Result<StreamId, Failure> {
    let stream = store.get(database, key).map(super::stream).transpose()?;
    if let Some(group) = group
        && stream.is_none_or(|stream| stream.group(group).is_none())
    {
        return Err(no_group(&[
            b"No such key '",
            key.bytes,
            b"' or consumer group '",
            group,
            b"' in XREADGROUP with GROUP option",
        ]));
    }
    Ok(stream.map_or(StreamId::MIN, Stream::last))
}

/// From where on each stream of a request is read.
pub(in super::super) fn resolve(
    context: &mut Context<'_>,
    request: &Request<'_, '_>,
    command: Command,
) -> Result<Vec<From>, Failure> {
    let group = request.reader.map(|reader| reader.group);
    let streams = request.keys.iter().zip(request.ids);
    streams
        .map(|(bytes, id)| {
            let last = look(context.store, context.database, key(bytes), group)?;
            from(id, last, command)
        })
        .collect()
}

/// Replies with what a stream has of what is wanted: its key and the entries. False, and no reply, if it has nothing.
///
/// A group's entries are pending from then on, unless the reader says otherwise; reading pending ones again counts.
pub(in super::super) fn serve(
    context: &mut Context<'_>,
    key: Key<'_>,
    from: From,
    count: usize,
    reader: Option<Reader<'_>>,
) -> Result<bool, Failure> {
    match (reader, from) {
        (None, From::Behind(id)) => serve_plain(context, key, id, count),
        (None, From::Undelivered) => Ok(false),
        (Some(reader), From::Behind(id)) => serve_pending(context, key, id, count, reader),
        (Some(reader), From::Undelivered) => serve_new(context, key, count, reader),
    }
}

fn serve_plain(
    context: &mut Context<'_>,
    key: Key<'_>,
    behind: StreamId,
    count: usize,
) -> Result<bool, Failure> {
    let Some(entry) = context.store.get(context.database, key) else { return Ok(false) };
    let (stream, start) = (super::stream(entry)?, behind.next());
    let Some(start) = start.filter(|start| stream.last_entry_id().is_some_and(|last| last >= *start)) else {
        return Ok(false);
    };
    context.out.bulk(key.bytes);
    super::write_entries(&mut context.out, stream.range(start, StreamId::MAX), count);
    Ok(true)
}

fn serve_new(
    context: &mut Context<'_>,
    key: Key<'_>,
    count: usize,
    reader: Reader<'_>,
) -> Result<bool, Failure> {
    let now_ms = context.store.now();
    let Some(entry) = context.store.get_for_update(context.database, key) else { return Ok(false) };
    let stream = super::stream(entry)?;
    let Some(group) = stream.group(reader.group) else { return Ok(false) };
    let (mut last, mut read) = (group.last(), group.read());
    let known = group.consumer(reader.consumer).is_some();
    let start = last.next().filter(|start| stream.last_entry_id().is_some_and(|last| last >= *start));
    let Some(start) = start else {
        context.store.see_consumer(context.database, key, reader.group, reader.consumer);
        return Ok(false);
    };
    let mut deliveries = Vec::new();
    put_consumer(&mut deliveries, reader.consumer);
    context.out.bulk(key.bytes);
    let (position, mut written) = (context.out.position(), 0);
    for entry in stream.range(start, StreamId::MAX).take(count) {
        read = progress::read_with(stream, read, entry.id);
        last = entry.id;
        put_delivery(&mut deliveries, Delivery { id: entry.id, delivered_ms: now_ms, count: 1 });
        write_entry(&mut context.out, &entry);
        written += 1;
    }
    context.out.insert_array_header(position, written);
    let (database, group, consumer) = (context.database, reader.group, reader.consumer);
    if !known {
        context.store.change(database, key, StreamChange::SetConsumer { group, consumer, seen_ms: now_ms });
    }
    context.store.change(database, key, StreamChange::SetGroup { group, last, read });
    if !reader.no_ack {
        context.store.change(database, key, StreamChange::Pend { group, deliveries: &deliveries });
    }
    context.store.see_consumer(database, key, group, consumer);
    Ok(true)
}

fn serve_pending(
    context: &mut Context<'_>,
    key: Key<'_>,
    behind: StreamId,
    count: usize,
    reader: Reader<'_>,
) -> Result<bool, Failure> {
    let now_ms = context.store.now();
    let Some(entry) = context.store.get_for_update(context.database, key) else { return Ok(false) };
    let stream = super::stream(entry)?;
    let Some(group) = stream.group(reader.group) else { return Ok(false) };
    let known = group.consumer(reader.consumer);
    let mut deliveries = Vec::new();
    put_consumer(&mut deliveries, reader.consumer);
    let head = deliveries.len();
    context.out.bulk(key.bytes);
    let (position, mut written) = (context.out.position(), 0);
    let ids = behind
        .next()
        .into_iter()
        .flat_map(|start| known.into_iter().flat_map(move |consumer| consumer.pending_from(start)));
    for delivery in ids.filter_map(|id| Some(group.pending(id)?.0)).take(count) {
        if let Some(entry) = stream.get(delivery.id) {
            write_entry(&mut context.out, &entry);
            let count = delivery.count.saturating_add(1);
            put_delivery(&mut deliveries, Delivery { delivered_ms: now_ms, count, ..delivery });
        } else {
            // Deleted before it was acknowledged.
            context.out.array_header(2);
            write_id(&mut context.out, delivery.id);
            context.out.null_array();
        }
        written += 1;
    }
    context.out.insert_array_header(position, written);
    let known = known.is_some();
    let (database, group, consumer) = (context.database, reader.group, reader.consumer);
    if !known {
        context.store.change(database, key, StreamChange::SetConsumer { group, consumer, seen_ms: now_ms });
    }
    if deliveries.len() > head {
        context.store.change(database, key, StreamChange::Pend { group, deliveries: &deliveries });
    }
    context.store.see_consumer(database, key, group, consumer);
    Ok(true)
}

/// `XREAD [COUNT count] [BLOCK ms] STREAMS key [key …] id [id …]` and
/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK ms] [NOACK] STREAMS key [key …] id [id …]` on one shard
pub(in super::super) fn xread(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = read(context, args);
    answer(context, outcome);
}

fn read(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let request = Request::parse(args)?;
    let places = resolve(context, &request, Command::of(args))?;
    if !serve_all(context, &request, &places)? {
        context.nothing(Nil::Array);
    }
    Ok(())
}

/// Replies with what the streams have of what is wanted. False, and no reply, if none has anything.
pub(in super::super) fn serve_all(
    context: &mut Context<'_>,
    request: &Request<'_, '_>,
    places: &[From],
) -> Result<bool, Failure> {
    let start = context.out.position();
    write_header(&mut context.out, request.keys.len());
    let body = context.out.position();
    let mut served = 0;
    for (bytes, from) in request.keys.iter().zip(places) {
        let before = context.out.position();
        write_pair(&mut context.out);
        if serve(context, key(bytes), *from, request.count, request.reader)? {
            served += 1;
        } else {
            context.out.truncate(before);
        }
    }
    if served < request.keys.len() {
        let written = context.out.written_since(body).to_vec();
        context.out.truncate(start);
        if served > 0 {
            write_header(&mut context.out, served);
            context.out.raw(&written);
        }
    }
    Ok(served > 0)
}

/// What so many streams with their entries begin with: a map, of which RESP2 makes an array of pairs.
fn write_header(out: &mut Encoder<'_>, streams: usize) {
    match out.version() {
        Version::Resp2 => out.array_header(streams),
        Version::Resp3 => out.map_header(streams),
    }
}

/// What a stream with its entries begins with.
fn write_pair(out: &mut Encoder<'_>) {
    if out.version() == Version::Resp2 {
        out.array_header(2);
    }
}

/// XREAD and XREADGROUP between shards: a round of looks, in which all errors show, and one of reads.
pub(in super::super) fn plan(hop: &Hop<'_>) -> HopStep {
    let request = match Request::parse(hop.args) {
        Ok(request) => request,
        Err(error) => return refuse(hop, error),
    };
    match hop.round {
        0 => HopStep::Send(look_requests(&request)),
        1 => match read_requests(hop, &request) {
            Ok(requests) => HopStep::Send(requests),
            Err(step) => step,
        },
        _ => gather(hop, &request),
    }
}

fn look_requests(request: &Request<'_, '_>) -> Vec<HopRequest> {
    let looks = request.keys.iter().map(|key| {
        let mut args = vec![b"annulus.xlook".to_vec(), key.to_vec()];
        args.extend(request.reader.map(|reader| reader.group.to_vec()));
        HopRequest { args }
    });
    looks.collect()
}

fn read_requests(hop: &Hop<'_>, request: &Request<'_, '_>) -> Result<Vec<HopRequest>, HopStep> {
    let command = Command::of(hop.args);
    let mut requests = Vec::with_capacity(request.keys.len());
    for ((key, id), look) in request.keys.iter().zip(request.ids).zip(hop.replies) {
        if look.starts_with(b"-") {
            return Err(HopStep::Reply(look.clone()));
        }
        let last = bulk_reply(look).and_then(|id| ids::strict(id, Missing::First).ok()).unwrap_or_default();
        let from = from(id, last, command).map_err(|error| refuse(hop, error))?;
        let place = match from {
            From::Behind(id) => IdText::new(id).as_ref().to_vec(),
            From::Undelivered => b">".to_vec(),
        };
        let count = i64::try_from(request.count).unwrap_or(0);
        let version = hop.version.number();
        let mut args = vec![b"annulus.xread".to_vec(), key.to_vec(), place];
        args.extend([count, version].map(|number| number.to_string().into_bytes()));
        if let Some(reader) = request.reader {
            args.extend([reader.group.to_vec(), reader.consumer.to_vec()]);
            args.push(if reader.no_ack { b"NOACK".to_vec() } else { b"ACK".to_vec() });
        }
        requests.push(HopRequest { args });
    }
    Ok(requests)
}

fn gather(hop: &Hop<'_>, request: &Request<'_, '_>) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    let parts: Vec<&[u8]> = hop.replies.iter().filter_map(|reply| bulk_reply(reply)).collect();
    if parts.is_empty() {
        let looks = hop.earlier.first().map_or(&[][..], Vec::as_slice);
        let last = |look: &Vec<u8>| bulk_reply(look).and_then(|id| ids::strict(id, Missing::First).ok());
        let lasts: Vec<StreamId> = looks.iter().map(|look| last(look).unwrap_or_default()).collect();
        let with = with_ids(hop.args, request, &lasts);
        return hop.nothing(request.keys, Kind::Stream, Some(with), Nil::Array);
    }
    end(hop, |out| {
        write_header(out, parts.len());
        for part in parts {
            write_pair(out);
            out.raw(part);
        }
    })
}

/// `annulus.xlook key [group]`: the last id of a stream, or the error that reading it gives
pub(in super::super) fn xlook(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match *args {
        [_, bytes, ref group @ ..] => {
            let key = context.first_key(bytes);
            look(context.store, context.database, key, group.first().copied())
        }
        _ => Err(unreachable_arity("annulus.xlook")),
    };
    let outcome = outcome.map(|last| write_id(&mut context.out, last));
    answer(context, outcome);
}

/// `annulus.xread key id|> count version [group consumer ACK|NOACK]`: the key and its entries, encoded in that version of the protocol, or
/// null
pub(in super::super) fn xread_one(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = read_one(context, args);
    answer(context, outcome);
}

fn read_one(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, bytes, place, count, version, ref reader @ ..] = args else {
        return Err(unreachable_arity("annulus.xread"));
    };
    let key = context.first_key(bytes);
    let from = match place {
        b">" => From::Undelivered,
        id => From::Behind(ids::strict(id, Missing::First)?),
    };
    let count = usize::try_from(integer(count)?).ok().filter(|count| *count > 0).unwrap_or(usize::MAX);
    let version = Version::from_number(integer(version)?).unwrap_or_default();
    let reader = match *reader {
        [group, consumer, ack] => Some(Reader { group, consumer, no_ack: is(ack, "NOACK") }),
        _ => None,
    };
    let (outer, start) = (context.out.version(), context.out.position());
    context.out.set_version(version);
    let served = serve(context, key, from, count, reader);
    context.out.set_version(outer);
    let part = context.out.written_since(start).to_vec();
    context.out.truncate(start);
    if served? {
        context.out.bulk(part);
    } else {
        context.out.null();
    }
    Ok(())
}
