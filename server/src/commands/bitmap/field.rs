//! `BITFIELD`: a list of operations on integers of any width within one string.

use annulus_storage::Key;

use super::super::arguments::{integer, is};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, string_of, unreachable_arity};
use super::integer::{Overflow, Type};
use super::{BYTE_BITS, bit_offset, length_for_update};

/// `BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | INCRBY type offset increment …]`
pub(in super::super) fn bitfield(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = run(context, args, Writes::Allowed);
    answer(context, outcome);
}

/// `BITFIELD_RO key [GET type offset …]`
pub(in super::super) fn bitfield_ro(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = run(context, args, Writes::Refused);
    answer(context, outcome);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    Allowed,
    Refused,
}

/// What to do with a field.
#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

/// One operation.
#[derive(Clone, Copy, Debug)]
struct Operation {
    field: Type,
    offset: u64,
    action: Action,
}

impl Operation {
    /// The last byte of its field, if it may write.
    fn last_written(&self) -> Option<u64> {
        let last_bit = self.offset + u64::from(self.field.bits) - 1;
        (!matches!(self.action, Action::Get)).then_some(last_bit / BYTE_BITS)
    }
}

fn run(context: &mut Context<'_>, args: &[&[u8]], writes: Writes) -> Outcome {
    let [_, key, words @ ..] = args else { return Err(unreachable_arity("bitfield")) };
    let operations = parse(words, context.bulk_bytes_max)?;
    let key = context.first_key(key);
    let Some(last) = operations.iter().filter_map(Operation::last_written).max() else {
        return read_all(context, key, &operations);
    };
    if writes == Writes::Refused {
        return Err(fail(errors::BITFIELD_READ_ONLY));
    }
    // As in Redis, the string has room for every field before the first operation, whatever becomes of them.
    if length_for_update(context, key)? as u64 <= last {
        context.store.set_range(context.database, key, last as usize, &[0]);
    }
    context.out.array_header(operations.len());
    for operation in &operations {
        apply(context, key, operation)?;
    }
    Ok(())
}

fn read_all(context: &mut Context<'_>, key: Key<'_>, operations: &[Operation]) -> Outcome {
    let bytes = string_of(context.store.get(context.database, key))?.unwrap_or_default();
    context.out.array_header(operations.len());
    for operation in operations {
        context.out.integer(operation.field.read(bytes, operation.offset));
    }
    Ok(())
}

fn apply(context: &mut Context<'_>, key: Key<'_>, operation: &Operation) -> Outcome {
    let Operation { field, offset, action } = *operation;
    let bytes = string_of(context.store.get_for_update(context.database, key))?.unwrap_or_default();
    let old = field.read(bytes, offset);
    let (new, told) = match action {
        Action::Get => (Some(old), Some(old)),
        Action::Set(value, overflow) => {
            let new = field.assigned(value, overflow);
            (new, new.map(|_| old))
        }
        Action::Add(increment, overflow) => {
            let new = field.added(old, increment, overflow);
            (new, new)
        }
    };
    if let Some(new) = new.filter(|new| *new != old) {
        let (at, written) = field.write(bytes, offset, new);
        context.store.set_range(context.database, key, at as usize, written.as_slice());
    }
    match told {
        Some(told) => context.out.integer(told),
        None => context.out.null(),
    }
    Ok(())
}

fn parse(words: &[&[u8]], bulk_bytes_max: u64) -> Result<Vec<Operation>, Failure> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::default();
    let mut rest = words;
    loop {
        let (kind, offset, action, tail) = match rest {
            [] => return Ok(operations),
            [word, how, tail @ ..] if is(word, "OVERFLOW") => {
                overflow = parse_overflow(how)?;
                rest = tail;
                continue;
            }
            [word, kind, offset, tail @ ..] if is(word, "GET") => (kind, offset, None, tail),
            [word, kind, offset, value, tail @ ..] if is(word, "SET") => {
                (kind, offset, Some((Action::Set as fn(_, _) -> _, value)), tail)
            }
            [word, kind, offset, increment, tail @ ..] if is(word, "INCRBY") => {
                (kind, offset, Some((Action::Add as fn(_, _) -> _, increment)), tail)
            }
            _ => return Err(fail(errors::SYNTAX)),
        };
        let field = Type::parse(kind).ok_or(fail(errors::BITFIELD_TYPE))?;
        let offset = field_offset(offset, field, bulk_bytes_max)?;
        let action = match action {
            None => Action::Get,
            Some((action, value)) => action(integer(value)?, overflow),
        };
        operations.push(Operation { field, offset, action });
        rest = tail;
    }
}

fn parse_overflow(word: &[u8]) -> Result<Overflow, Failure> {
    match word {
        word if is(word, "WRAP") => Ok(Overflow::Wrap),
        word if is(word, "SAT") => Ok(Overflow::Saturate),
        word if is(word, "FAIL") => Ok(Overflow::Fail),
        _ => Err(fail(errors::BITFIELD_OVERFLOW)),
    }
}

/// `#n` is the place of the n-th field of this width.
fn field_offset(text: &[u8], field: Type, bulk_bytes_max: u64) -> Result<u64, Failure> {
    match text.strip_prefix(b"#") {
        Some(index) => bit_offset(index, u64::from(field.bits), bulk_bytes_max),
        None => bit_offset(text, 1, bulk_bytes_max),
    }
}
