//! Deletion of what is as expected.

use super::super::errors::{Outcome, arity_of, fail};
use super::super::{Context, answer, values};
use super::options::comparison;

/// `DELEX key [IFEQ match-value | IFNE match-value | IFDEQ match-digest | IFDNE match-digest]`
pub(in super::super) fn delex(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = delete_if(context, args);
    answer(context, outcome);
}

fn delete_if(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let (key, condition) = match *args {
        [_, key] => (key, None),
        [_, key, option, operand] => (key, Some((option, operand))),
        _ => return Err(arity_of("delex")),
    };
    let key = context.first_key(key);
    let Some(entry) = context.store.get_for_update(context.database, key) else {
        context.out.integer(0);
        return Ok(());
    };
    let holds = match condition {
        None => true,
        Some((option, operand)) => {
            let value = values::string(entry)
                .map_err(|_| fail("ERR Key should be of string type if conditions are specified"))?;
            let unknown = "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE";
            comparison(option, operand, unknown)?.holds(Some(value))
        }
    };
    let deleted = holds && context.store.delete(context.database, key);
    context.out.integer(i64::from(deleted));
    Ok(())
}
