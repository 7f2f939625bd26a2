//! Some members of a set: chosen at random, taken or not, or step by step.

use annulus_storage::Key;
use annulus_storage::value::{Element, SetChange};

use super::super::arguments::positive;
use super::super::draw::{self, Draw};
use super::super::errors::{self, Outcome, fail};
use super::super::scan::ElementScan;
use super::super::values::read_to_change;
use super::super::{Context, answer, unreachable_arity};
use super::{reply_with_all, set};

/// `SPOP key [count]`
pub(in super::super) fn spop(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match *args {
        [_, key] => pop(context, key),
        [_, key, count] => pop_many(context, key, count),
        _ => Err(fail(errors::SYNTAX)),
    };
    answer(context, outcome);
}

fn pop(context: &mut Context<'_>, key: &[u8]) -> Outcome {
    let key = context.first_key(key);
    let now = context.store.now();
    let exists = read_to_change(context, key, set(now))?.is_some();
    if !(exists && take(context, key)) {
        context.out.null();
    }
    Ok(())
}

/// Takes a member and replies with it; false, and no reply, if there is none.
fn take(context: &mut Context<'_>, key: Key<'_>) -> bool {
    let Context { store, out, random, database, .. } = context;
    let now = store.now();
    let set = store.get_for_update(*database, key).and_then(|entry| entry.set());
    let chosen = set.and_then(|set| set.at(now).sample(&mut || random.next_u64()));
    let Some(member) = chosen.map(|member| member.to_vec()) else { return false };
    out.bulk(&member);
    store.change(*database, key, SetChange::Remove { member: &member });
    true
}

fn pop_many(context: &mut Context<'_>, key: &[u8], count: &[u8]) -> Outcome {
    let count = positive(count)?;
    let key = context.first_key(key);
    let now = context.store.now();
    let len = read_to_change(context, key, set(now))?.map_or(0, |set| set.len());
    if len > 0 && count >= len {
        let Context { store, out, database, .. } = context;
        reply_with_all(store.get_for_update(*database, key).map(set(now)).transpose()?, out);
        store.delete(*database, key);
        return Ok(());
    }
    context.out.set_header(count.min(len));
    (0..count.min(len)).all(|_| take(context, key));
    Ok(())
}

/// `SRANDMEMBER key [count]`
pub(in super::super) fn srandmember(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match *args {
        [_, key] => random_member(context, key),
        [_, key, count] => random_members(context, key, count),
        _ => Err(fail(errors::SYNTAX)),
    };
    answer(context, outcome);
}

fn random_member(context: &mut Context<'_>, key: &[u8]) -> Outcome {
    let key = context.first_key(key);
    let now = context.store.now();
    let Context { store, out, random, database, .. } = context;
    let set = store.get(*database, key).map(set(now)).transpose()?;
    match set.and_then(|set| set.sample(&mut || random.next_u64())) {
        Some(member) => out.bulk(member),
        None => out.null(),
    }
    Ok(())
}

fn random_members(context: &mut Context<'_>, key: &[u8], count: &[u8]) -> Outcome {
    let draw = Draw::parse(count)?;
    let key = context.first_key(key);
    let now = context.store.now();
    let Context { store, out, random, database, .. } = context;
    let start = out.position();
    let mut drawn = 0;
    if let Some(set) = store.get(*database, key).map(set(now)).transpose()? {
        let each = &mut |member: Element<'_>| {
            out.bulk(member);
            drawn += 1;
        };
        let sample = |random: &mut dyn FnMut() -> u64| set.sample(random);
        // Members whose time has passed are in the way of drawing single ones.
        let shape = (set.len(), set.has_lapsed());
        draw::draw(draw, shape, || set.iter(), sample, |member| member.to_vec(), random, each);
    }
    out.insert_array_header(start, drawn);
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
pub(in super::super) fn sscan(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = scan(context, args);
    answer(context, outcome);
}

fn scan(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, cursor, options @ ..] = args else { return Err(unreachable_arity("sscan")) };
    let cursor = ElementScan::cursor(cursor)?;
    let key = context.first_key(key);
    let now = context.store.now();
    let Context { store, out, database, .. } = context;
    let Some(set) = store.get(*database, key).map(set(now)).transpose()? else {
        ElementScan::reply_empty(out);
        return Ok(());
    };
    let scan = ElementScan::parse(options, None)?;
    scan.reply(out, |count, out| {
        let mut told = 0;
        let next = set.scan(cursor, count, &mut |member| {
            if scan.wants(&member) {
                out.bulk(member);
                told += 1;
            }
        });
        (next, told)
    });
    Ok(())
}
