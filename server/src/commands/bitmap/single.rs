//! Commands on one bit.

use super::super::errors::{self, Outcome, fail};
use super::super::{Context, answer, string_of, unreachable_arity};
use super::{BYTE_BITS, bit_offset, byte_at};

/// `SETBIT key offset value`
pub(in super::super) fn setbit(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_bit(context, args);
    answer(context, outcome);
}

fn set_bit(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, offset, value] = args else { return Err(unreachable_arity("setbit")) };
    let offset = bit_offset(offset, 1, context.bulk_bytes_max)?;
    let on = match annulus_protocol::parse_i64(value) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(fail(errors::BIT_VALUE)),
    };
    let key = context.first_key(key);
    let (at, mask) = (offset / BYTE_BITS, mask(offset));
    let entry = context.store.get_for_update(context.database, key);
    let bytes = string_of(entry)?.unwrap_or_default();
    let old = byte_at(bytes, at);
    let new = if on { old | mask } else { old & !mask };
    if new != old || at >= bytes.len() as u64 {
        context.store.set_range(context.database, key, at as usize, &[new]);
    }
    context.out.integer(i64::from(old & mask != 0));
    Ok(())
}

/// `GETBIT key offset`
pub(in super::super) fn getbit(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_bit(context, args);
    answer(context, outcome);
}

fn tell_bit(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, offset] = args else { return Err(unreachable_arity("getbit")) };
    let offset = bit_offset(offset, 1, context.bulk_bytes_max)?;
    let key = context.first_key(key);
    let bytes = string_of(context.store.get(context.database, key))?.unwrap_or_default();
    let set = byte_at(bytes, offset / BYTE_BITS) & mask(offset) != 0;
    context.out.integer(i64::from(set));
    Ok(())
}

/// The bit at an offset, within its byte.
const fn mask(offset: u64) -> u8 {
    0x80 >> (offset % BYTE_BITS)
}
