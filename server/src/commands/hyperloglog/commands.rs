//! `PFADD`, `PFCOUNT` and `PFMERGE`.

use annulus_storage::{Expiry, Key};

use super::super::errors::Outcome;
use super::super::replies::{bulk_reply, error_among};
use super::super::transfer::end;
use super::super::{Context, Hop, HopRequest, HopStep, answer, key, string_of, unreachable_arity};
use super::dense;
use super::estimate::Histogram;
use super::hash::{REGISTERS, place};
use super::value::{Form, HEADER_BYTES, Registers, STALE, STALE_AT, Sketch, add, empty, mark_stale, raise};
use crate::commands::errors::Failure;

/// Up to so many elements are put into a dense value one by one, each with a record of its register in the log (about 30
/// bytes); from there on the whole value (12 KiB) is the smaller record.
const ELEMENTS_ONE_BY_ONE_MAX: usize = 400;

/// `PFADD key [element …]`
pub(in super::super) fn pfadd(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = add_elements(context, args);
    answer(context, outcome);
}

fn add_elements(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, elements @ ..] = args else { return Err(unreachable_arity("pfadd")) };
    let key = context.first_key(key);
    let bytes = string_of(context.store.get_for_update(context.database, key))?;
    let (old, created) = match bytes {
        None => (empty(), true),
        Some(bytes) => match Sketch::parse(bytes)?.form {
            Form::Dense(_) if elements.len() <= ELEMENTS_ONE_BY_ONE_MAX => {
                return add_to_dense(context, key, elements);
            }
            _ => (bytes.to_vec(), false),
        },
    };
    let mut new = old.clone();
    let mut changed = created;
    for element in elements {
        changed |= add(&mut new, element, context.hll_sparse_bytes_max)?;
    }
    if changed {
        mark_stale(&mut new);
        if created {
            context.store.set(context.database, key, &new, Expiry::None);
        } else {
            replace(context, key, &old, &new);
        }
    }
    context.out.integer(i64::from(changed));
    Ok(())
}

/// Changes only the registers in question, which are a byte or two each.
fn add_to_dense(context: &mut Context<'_>, key: Key<'_>, elements: &[&[u8]]) -> Outcome {
    let mut changed = false;
    for element in elements {
        let bytes = string_of(context.store.get_for_update(context.database, key))?.unwrap_or_default();
        let registers = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let (index, rank) = place(element);
        if dense::register(registers, index) < rank {
            let (at, register, count) = dense::with_register(registers, index, rank);
            let register = &register[..count];
            context.store.set_range(context.database, key, HEADER_BYTES + at, register);
            changed = true;
        }
    }
    if changed {
        let bytes = string_of(context.store.get_for_update(context.database, key))?.unwrap_or_default();
        let last = bytes.get(STALE_AT).copied().unwrap_or(0);
        if last & STALE == 0 {
            context.store.set_range(context.database, key, STALE_AT, &[last | STALE]);
        }
    }
    context.out.integer(i64::from(changed));
    Ok(())
}

/// Makes the string at a key another one, and logs the bytes from the first to the last difference where that is less.
fn replace(context: &mut Context<'_>, key: Key<'_>, old: &[u8], new: &[u8]) {
    if new.len() < old.len() {
        return context.store.set(context.database, key, new, Expiry::Keep);
    }
    // The flag in the header lies before the registers, and is rarely what changes.
    for (from, to) in [(0, HEADER_BYTES), (HEADER_BYTES, new.len())] {
        let (before, after) = (old.get(from..to.min(old.len())).unwrap_or_default(), &new[from..to]);
        let same = before.iter().zip(after).take_while(|(a, b)| a == b).count();
        let alike = if before.len() == after.len() {
            before[same..].iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count()
        } else {
            0
        };
        let changed = &after[same..after.len() - alike];
        if !changed.is_empty() {
            context.store.set_range(context.database, key, from + same, changed);
        }
    }
}

/// `PFCOUNT key [key …]` with all keys on this shard
pub(in super::super) fn pfcount(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = count(context, args);
    answer(context, outcome);
}

fn count(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let Some(keys) = args.get(1..) else { return Err(unreachable_arity("pfcount")) };
    let mut union = Union::new(keys.len());
    for name in keys {
        union.add(string_of(context.store.get(context.database, key(name)))?)?;
    }
    context.out.integer(union.cardinality() as i64);
    Ok(())
}

/// `PFCOUNT` between shards
pub(in super::super) fn pfcount_plan(hop: &Hop<'_>) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    let keys = hop.args.get(1..).unwrap_or_default();
    if hop.round == 0 {
        return read(keys);
    }
    let mut union = Union::new(keys.len());
    let added = hop.replies.iter().try_for_each(|reply| union.add(bulk_reply(reply)));
    end(hop, |out| match added {
        Ok(()) => out.integer(union.cardinality() as i64),
        Err(error) => out.error(error),
    })
}

fn read(keys: &[&[u8]]) -> HopStep {
    let get = |key: &&[u8]| HopRequest { args: vec![b"get".to_vec(), key.to_vec()] };
    HopStep::Send(keys.iter().map(get).collect())
}

/// What several values say together. Of a single one the stored cardinality is believed.
struct Union {
    of_one: bool,
    cardinality: u64,
    registers: Box<Registers>,
}

impl Union {
    fn new(values: usize) -> Self {
        Self { of_one: values == 1, cardinality: 0, registers: Box::new([0; REGISTERS]) }
    }

    fn add(&mut self, value: Option<&[u8]>) -> Result<(), Failure> {
        let Some(value) = value else { return Ok(()) };
        let sketch = Sketch::parse(value)?;
        if self.of_one {
            self.cardinality = sketch.cardinality()?;
            return Ok(());
        }
        sketch.merge_into(&mut self.registers)
    }

    fn cardinality(&self) -> u64 {
        if self.of_one {
            return self.cardinality;
        }
        self.registers.iter().copied().collect::<Histogram>().estimate()
    }
}

/// `PFMERGE destination [source …]` with all keys on this shard
pub(in super::super) fn pfmerge(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = merge_keys(context, args);
    answer(context, outcome);
}

fn merge_keys(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, keys @ ..] = args else { return Err(unreachable_arity("pfmerge")) };
    let [destination, ..] = keys else { return Err(unreachable_arity("pfmerge")) };
    let mut merged = Merged::new();
    // The destination first: of several wrong keys, the first says what is wrong.
    for source in keys {
        let entry = context.store.get(context.database, key(source));
        if let Some(value) = string_of(entry)? {
            merged.add(value)?;
        }
    }
    let destination = context.first_key(destination);
    merged.put(context, destination)
}

/// `PFMERGE` between shards: what the sources hold goes to the destination's shard.
pub(in super::super) fn pfmerge_plan(hop: &Hop<'_>) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    let [_, destination, sources @ ..] = hop.args else {
        return end(hop, |out| out.error(unreachable_arity("pfmerge")));
    };
    match hop.round {
        0 => read(sources),
        1 => {
            let mut args = vec![b"annulus.pfmerge".to_vec(), destination.to_vec()];
            args.extend(hop.replies.iter().filter_map(|reply| bulk_reply(reply)).map(<[u8]>::to_vec));
            HopStep::Send(vec![HopRequest { args }])
        }
        _ => HopStep::Reply(hop.replies.first().cloned().unwrap_or_default()),
    }
}

/// `annulus.pfmerge destination [value …]`: merges values into a key
pub(in super::super) fn pfmerge_values(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = merge_values(context, args);
    answer(context, outcome);
}

fn merge_values(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, destination, values @ ..] = args else { return Err(unreachable_arity("annulus.pfmerge")) };
    let mut merged = Merged::new();
    let destination = context.first_key(destination);
    if let Some(old) = string_of(context.store.get(context.database, destination))? {
        merged.add(old)?;
    }
    values.iter().try_for_each(|value| merged.add(value))?;
    merged.put(context, destination)
}

/// The greatest of each register.
struct Merged {
    registers: Box<Registers>,
    /// One of the values is dense, and so is the result.
    dense: bool,
}

impl Merged {
    fn new() -> Self {
        Self { registers: Box::new([0; REGISTERS]), dense: false }
    }

    fn add(&mut self, value: &[u8]) -> Outcome {
        let sketch = Sketch::parse(value)?;
        self.dense |= matches!(sketch.form, Form::Dense(_));
        sketch.merge_into(&mut self.registers)
    }

    /// Makes the destination, whose value is among those that were merged, hold the result.
    fn put(self, context: &mut Context<'_>, destination: Key<'_>) -> Outcome {
        let old = string_of(context.store.get_for_update(context.database, destination))?;
        let mut bytes = old.map_or_else(empty, <[u8]>::to_vec);
        if self.dense {
            bytes = Sketch::parse(&bytes)?.to_dense()?;
        }
        for (index, rank) in self.registers.iter().enumerate().filter(|(_, rank)| **rank > 0) {
            raise(&mut bytes, index, *rank, context.hll_sparse_bytes_max)?;
        }
        mark_stale(&mut bytes);
        context.store.set(context.database, destination, &bytes, Expiry::Keep);
        context.out.ok();
        Ok(())
    }
}
