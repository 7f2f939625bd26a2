//! Lengths and parts of strings.

use annulus_storage::{Expiry, Kind};

use super::super::arguments::integer;
use super::super::errors::{self, Outcome, fail};
use super::super::{Context, answer, unreachable_arity, values};

/// `STRLEN key`
pub(in super::super) fn strlen(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = reply_with_length(context, args);
    answer(context, outcome);
}

fn reply_with_length(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key] = args else { return Err(unreachable_arity("strlen")) };
    let key = context.first_key(key);
    let length = values::read(context, key, values::string)?.map_or(0, <[u8]>::len);
    context.out.integer(length as i64);
    Ok(())
}

/// `GETRANGE key start end`, and `SUBSTR`, its old name
pub(in super::super) fn getrange(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = reply_with_part(context, args);
    answer(context, outcome);
}

fn reply_with_part(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, start, end] = args else { return Err(unreachable_arity("getrange")) };
    let (start, end) = (integer(start)?, integer(end)?);
    let key = context.first_key(key);
    match context.store.get(context.database, key) {
        Some(entry) => context.out.bulk(part(values::string(entry)?, start, end)),
        None => context.out.bulk(b""),
    }
    Ok(())
}

/// The bytes from `start` to `end`, both included; negative positions count from the end. What lies outside is left out.
fn part(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let length = value.len() as i64;
    let position = |index: i64| if index < 0 { length.saturating_add(index).max(0) } else { index };
    let (start, end) = (position(start), position(end).min(length - 1));
    if start > end || length == 0 {
        return b"";
    }
    value.get(start as usize..=end as usize).unwrap_or_default()
}

/// `APPEND key value`
pub(in super::super) fn append(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = append_value(context, args);
    answer(context, outcome);
}

fn append_value(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, value] = args else { return Err(unreachable_arity("append")) };
    let key = context.first_key(key);
    let old = values::read_to_change(context, key, values::string)?.map(<[u8]>::len);
    let length = if let Some(old) = old {
        check_length(context, old as u64, value.len())?;
        if value.is_empty() {
            context.store.tell_in_vain(context.database, key, Kind::String);
        }
        context.store.set_range(context.database, key, old, value)
    } else {
        context.store.set(context.database, key, value, Expiry::None);
        value.len()
    };
    context.out.integer(length as i64);
    Ok(())
}

/// `SETRANGE key offset value`
pub(in super::super) fn setrange(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = overwrite_part(context, args);
    answer(context, outcome);
}

fn overwrite_part(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, offset, value] = args else { return Err(unreachable_arity("setrange")) };
    let offset = u64::try_from(integer(offset)?).map_err(|_| fail(errors::OFFSET_OUT_OF_RANGE))?;
    let key = context.first_key(key);
    let old = values::read_to_change(context, key, values::string)?.map_or(0, <[u8]>::len);
    let length = if value.is_empty() {
        // Nothing to write: no gap is filled and no key is made.
        old
    } else {
        check_length(context, offset, value.len())?;
        context.store.set_range(context.database, key, offset as usize, value)
    };
    context.out.integer(length as i64);
    Ok(())
}

/// Refuses what would make a string longer than allowed, before any memory is taken for it.
fn check_length(context: &Context<'_>, offset: u64, added: usize) -> Outcome {
    match offset.checked_add(added as u64) {
        Some(length) if length <= context.bulk_bytes_max => Ok(()),
        _ => Err(fail(errors::STRING_TOO_LONG)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_at_both_ends() {
        let value = b"0123456789";
        let cases: [(i64, i64, &[u8]); 12] = [
            (0, 3, b"0123"),
            (-3, -1, b"789"),
            (0, -1, value),
            (5, 3, b""),
            (-1, -3, b""),
            (-100, 1, b"01"),
            (8, 100, b"89"),
            (10, 20, b""),
            (i64::MIN, i64::MAX, value),
            (i64::MAX, i64::MAX, b""),
            (i64::MIN, i64::MIN, b"0"),
            (3, i64::MIN, b""),
        ];
        for (start, end, expected) in cases {
            assert_eq!(part(value, start, end), expected, "{start} {end}");
        }
        assert_eq!(part(b"", 0, -1), b"");
    }
}
