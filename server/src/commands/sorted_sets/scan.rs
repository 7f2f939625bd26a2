//! `ZSCAN`.

use annulus_protocol::format_double;

use super::super::errors::Outcome;
use super::super::scan::ElementScan;
use super::super::{Context, answer, unreachable_arity};
use super::sorted_set;

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`
pub(in super::super) fn zscan(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = scan(context, args);
    answer(context, outcome);
}

fn scan(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, cursor, options @ ..] = args else { return Err(unreachable_arity("zscan")) };
    let cursor = ElementScan::cursor(cursor)?;
    let key = context.first_key(key);
    let Context { store, database, out, .. } = context;
    let now = store.now();
    let Some(set) = store.get(*database, key).map(sorted_set(now)).transpose()? else {
        ElementScan::reply_empty(out);
        return Ok(());
    };
    let step = ElementScan::parse(options, None)?;
    step.reply(out, |count, out| {
        let mut values = 0;
        let next = set.scan(cursor, count, &mut |member, score| {
            if step.wants(&member) {
                out.bulk(member);
                out.bulk(format_double(score));
                values += 2;
            }
        });
        (next, values)
    });
    Ok(())
}
