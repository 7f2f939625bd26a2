//! XADD.

use annulus_storage::value::StreamChange;
use annulus_storage::value::codec::put_element;
use annulus_storage::value::stream::{StreamFields, StreamId};

use super::super::errors::{Failure, Outcome, arity, fail};
use super::super::lookup::lookup;
use super::super::{Context, answer, unreachable_arity};
use super::ids::NewId;
use super::trim::{Of, Options};
use super::{read_to_change, write_id};

/// Most bytes of the names and values of an entry, as in Redis.
const FIELDS_BYTES_MAX: usize = 1 << 30;

/// `XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value [field value …]`
pub(in super::super) fn xadd(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = add(context, args);
    answer(context, outcome);
}

fn add(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, ..] = args else { return Err(unreachable_arity("xadd")) };
    let options = Options::parse(args, Of::Add)?;
    let fields = options.id.and_then(|(_, start)| args.get(start..)).unwrap_or_default();
    let Some((id, _)) = options.id.filter(|_| fields.len() >= 2 && fields.len().is_multiple_of(2)) else {
        return Err(wrong_arity());
    };
    if id == NewId::Exactly(StreamId::MIN) {
        return Err(fail("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let key = context.first_key(key);
    let now_ms = context.store.now();
    let last = match read_to_change(context, key)? {
        Some(stream) => stream.last(),
        None if options.no_stream => {
            context.out.null();
            return Ok(());
        }
        None => StreamId::MIN,
    };
    if last == StreamId::MAX {
        return Err(fail("ERR The stream has exhausted the last possible ID, unable to add more items"));
    }
    let id = id
        .after(last, now_ms)
        .ok_or(fail("ERR The ID specified in XADD is equal or smaller than the target stream top item"))?;
    if fields.iter().map(|element| element.len()).sum::<usize>() > FIELDS_BYTES_MAX {
        return Err(fail("ERR Elements are too large to be stored"));
    }
    let mut encoded = Vec::with_capacity(fields.iter().map(|element| element.len() + 5).sum());
    for element in fields {
        put_element(&mut encoded, element);
    }
    let fields = StreamFields::new(&encoded).map_err(|_| wrong_arity())?;
    context.store.change(context.database, key, StreamChange::Add { id, fields });
    options.trim(context, key)?;
    write_id(&mut context.out, id);
    Ok(())
}

/// There is no id, or a field without a value.
fn wrong_arity() -> Failure {
    lookup(b"xadd").map_or(fail("ERR"), |command| Failure::Owned(arity(command).into_bytes()))
}
