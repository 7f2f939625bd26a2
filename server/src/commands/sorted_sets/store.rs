//! Results that become the value of a key.

use annulus_storage::value::codec;
use annulus_storage::{Entry, Key};

use super::super::errors::{Failure, Outcome};
use super::super::replies::{bulk_reply, error_among};
use super::super::{Context, Hop, HopRequest, HopStep, answer, unreachable_arity};

/// Makes the destination hold these members, or nothing if there are none; replies with their number.
pub(in super::super) fn put<M: AsRef<[u8]>>(
    context: &mut Context<'_>,
    destination: Key<'_>,
    members: impl Iterator<Item = (M, f64)>,
) -> Outcome {
    put_encoded(context, destination, &encode(members))
}

/// Members as a value on its way to a key; nothing if there are none.
pub(in super::super) fn encode<M: AsRef<[u8]>>(members: impl Iterator<Item = (M, f64)>) -> Vec<u8> {
    let mut members = members.peekable();
    if members.peek().is_none() { Vec::new() } else { codec::encode_sorted_set(members) }
}

/// Makes the destination hold an encoded sorted set; replies with the number of its members.
pub(in super::super) fn put_encoded(
    context: &mut Context<'_>,
    destination: Key<'_>,
    value: &[u8],
) -> Outcome {
    let database = context.database;
    if value.is_empty() {
        context.store.delete(database, destination);
        context.out.integer(0);
        return Ok(());
    }
    let value = codec::decode(value).map_err(|fault| Failure::Owned(format!("ERR {fault}").into_bytes()))?;
    context.store.put_value(database, destination, value, None);
    let now = context.store.now();
    let entry = context.store.get_for_update(database, destination);
    let len = entry.as_ref().and_then(Entry::sorted_set).map_or(0, |set| set.at(now).len());
    context.out.integer(len as i64);
    Ok(())
}

/// `annulus.zstore destination value command`: the number of its members; an empty value deletes the key. Whose result it is is
/// for those who are told of it.
pub(in super::super) fn zstore(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match *args {
        [_, destination, value, _] => {
            let destination = context.first_key(destination);
            put_encoded(context, destination, value)
        }
        _ => Err(unreachable_arity("annulus.zstore")),
    };
    answer(context, outcome);
}

/// Asks the destination's shard to store a value.
pub(in super::super) fn request(hop: &Hop<'_>, destination: &[u8], value: Vec<u8>) -> HopStep {
    let name = hop.args.first().copied().unwrap_or_default();
    let args = vec![b"annulus.zstore".to_vec(), destination.to_vec(), value, name.to_vec()];
    HopStep::Send(vec![HopRequest { args }])
}

/// A command between shards that stores what another command, `picker`, makes of a source and the rest of the arguments.
pub(in super::super) fn pick_and_store(
    hop: &Hop<'_>,
    picker: &str,
    destination: &[u8],
    rest: &[&[u8]],
) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    let first = hop.replies.first().map_or(&[][..], Vec::as_slice);
    match hop.round {
        0 => {
            let mut args = vec![picker.as_bytes().to_vec()];
            args.extend(rest.iter().map(|arg| arg.to_vec()));
            HopStep::Send(vec![HopRequest { args }])
        }
        1 => request(hop, destination, bulk_reply(first).unwrap_or_default().to_vec()),
        _ => HopStep::Reply(first.to_vec()),
    }
}
