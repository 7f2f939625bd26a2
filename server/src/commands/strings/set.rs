//! Commands that set one string.

use annulus_storage::{DatabaseId, Expiry, Key};

use super::super::arguments::{Base, Unit};
use super::super::errors::Outcome;
use super::super::{Context, ShardStore, answer, unreachable_arity, values};
use super::options::{Condition, Moment, SetOptions};

/// `SET key value [options]`
pub(in super::super) fn set(context: &mut Context<'_>, args: &[&[u8]]) {
    // Nearly all SETs have no options; nothing is parsed or looked up for them.
    if let &[_, key, value] = args {
        let key = context.first_key(key);
        context.store.set(context.database, key, value, Expiry::None);
        context.out.ok();
    } else {
        let outcome = set_with_options(context, args);
        answer(context, outcome);
    }
}

fn set_with_options(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, value, options @ ..] = args else { return Err(unreachable_arity("set")) };
    let options = SetOptions::parse(options)?;
    let expiry = options.lifetime.expiry(context.store.now(), "set")?;
    let key = context.first_key(key);
    let Context { store, out, database, .. } = context;
    let holds = if options.get {
        let old = store.get(*database, key).map(values::string).transpose()?;
        match old {
            Some(old) => out.bulk(old),
            None => out.null(),
        }
        options.condition.holds(old)
    } else if options.condition == Condition::None {
        true
    } else {
        let old = store.get_for_update(*database, key);
        if options.condition.compares() {
            options.condition.holds(old.map(values::string).transpose()?)
        } else {
            options.condition.holds(old.map(|_| &b""[..]))
        }
    };
    if holds {
        store_value(store, *database, key, value, expiry);
    }
    match (options.get, holds) {
        (true, _) => {}
        (false, true) => out.ok(),
        (false, false) => out.null(),
    }
    Ok(())
}

/// Sets a string; one that has expired already is the same as none, and is not kept for a moment.
pub(super) fn store_value(
    store: &mut ShardStore,
    database: DatabaseId,
    key: Key<'_>,
    value: &[u8],
    expiry: Expiry,
) {
    match expiry {
        Expiry::At(at) if at <= store.now() => {
            store.delete(database, key);
        }
        _ => store.set(database, key, value, expiry),
    }
}

/// `SETEX key seconds value`
pub(in super::super) fn setex(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_for(context, args, Unit::Seconds, "setex");
    answer(context, outcome);
}

/// `PSETEX key milliseconds value`
pub(in super::super) fn psetex(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_for(context, args, Unit::Milliseconds, "psetex");
    answer(context, outcome);
}

fn set_for(context: &mut Context<'_>, args: &[&[u8]], unit: Unit, name: &'static str) -> Outcome {
    let &[_, key, amount, value] = args else { return Err(unreachable_arity(name)) };
    let at = Moment { amount, unit, base: Base::Now }.resolve(context.store.now(), name)?;
    let key = context.first_key(key);
    store_value(context.store, context.database, key, value, Expiry::At(at));
    context.out.ok();
    Ok(())
}

/// `SETNX key value`
pub(in super::super) fn setnx(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key, value] = args else { return answer(context, Err(unreachable_arity("setnx"))) };
    let key = context.first_key(key);
    let absent = context.store.get_for_update(context.database, key).is_none();
    if absent {
        context.store.set(context.database, key, value, Expiry::None);
    }
    context.out.integer(i64::from(absent));
}

/// `GETSET key value`
pub(in super::super) fn getset(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key, value] = args else { return answer(context, Err(unreachable_arity("getset"))) };
    let key = context.first_key(key);
    let outcome = super::get::reply_with(context, key).map(|_| ());
    if outcome.is_err() {
        return answer(context, outcome);
    }
    context.store.set(context.database, key, value, Expiry::None);
}
