//! `PFDEBUG` and `PFSELFTEST`, for those who look into values.

use annulus_protocol::Encoder;
use annulus_storage::Expiry;

use super::super::arguments::is;
use super::super::errors::{Outcome, fail};
use super::super::{Context, answer, string_of, unreachable_arity};
use super::hash::REGISTERS;
use super::sparse;
use super::value::{Form, Sketch, add, empty, mark_stale};

/// `PFDEBUG GETREG | DECODE | ENCODING | TODENSE key`
pub(in super::super) fn pfdebug(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = look(context, args);
    answer(context, outcome);
}

fn look(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, what, key] = args else { return Err(unreachable_arity("pfdebug")) };
    let key = context.first_key(key);
    let bytes = string_of(context.store.get_for_update(context.database, key))?;
    let sketch = Sketch::parse(bytes.ok_or(fail("ERR The specified key does not exist"))?)?;
    if is(what, "ENCODING") {
        context.out.simple(if matches!(sketch.form, Form::Dense(_)) { "dense" } else { "sparse" });
    } else if is(what, "DECODE") {
        let Form::Sparse(runs) = sketch.form else { return Err(fail("ERR HLL encoding is not sparse")) };
        let mut words = Vec::new();
        // Of a corrupted value this shows what can be read of it.
        let _ = sparse::visit(runs, |_, run| words.push(run.describe()));
        context.out.bulk(words.join(" "));
    } else if is(what, "GETREG") || is(what, "TODENSE") {
        let mut registers = [0; REGISTERS];
        sketch.merge_into(&mut registers)?;
        let converts = matches!(sketch.form, Form::Sparse(_));
        if converts {
            let dense = sketch.to_dense()?;
            context.store.set(context.database, key, &dense, Expiry::Keep);
        }
        if is(what, "TODENSE") {
            context.out.integer(i64::from(converts));
        } else {
            context.out.array_header(registers.len());
            for register in registers {
                context.out.integer(i64::from(register));
            }
        }
    } else {
        let mut text = b"ERR Unknown PFDEBUG subcommand '".to_vec();
        text.extend_from_slice(what);
        text.push(b'\'');
        return Err(text.into());
    }
    Ok(())
}

/// `PFSELFTEST`: counts what is known in both forms.
pub fn self_test(out: &mut Encoder<'_>) {
    /// So that the shard is not held for more than a fraction of a millisecond.
    const ELEMENTS: u64 = 4096;
    /// Four standard errors of 16384 registers.
    const ERROR_MAX: f64 = 4.0 * 1.04 / 128.0;
    let (mut sparse, mut dense) = (empty(), empty());
    for number in 0..ELEMENTS {
        let element = number.to_le_bytes();
        let added = add(&mut sparse, &element, usize::MAX).and(add(&mut dense, &element, 0));
        if let Err(error) = added {
            return out.error(error);
        }
    }
    mark_stale(&mut sparse);
    mark_stale(&mut dense);
    let told = [&sparse, &dense].map(|bytes| Sketch::parse(bytes).and_then(Sketch::cardinality));
    match told {
        [Ok(sparse), Ok(dense)] if sparse != dense => {
            out.error(format!("TESTFAILED sparse values tell {sparse} and dense ones {dense}"));
        }
        [Ok(told), Ok(_)] if (told as f64 - ELEMENTS as f64).abs() > ELEMENTS as f64 * ERROR_MAX => {
            out.error(format!("TESTFAILED too big an error: {told} of {ELEMENTS}"));
        }
        [Ok(_), Ok(_)] => out.ok(),
        [Err(error), _] | [_, Err(error)] => out.error(error),
    }
}
