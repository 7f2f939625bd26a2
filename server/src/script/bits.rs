//! The library `bit`: operations on 32-bit numbers, as in Lua BitOp (<https://bitop.luajit.org>).

#![expect(clippy::needless_pass_by_value, reason = "the binding hands over the arguments of a function")]

use mlua::{Lua, Table, Value, Variadic};

use super::convert::as_number;
use super::raise::expected;

/// A number modulo 2³², rounded to the nearest (to the even one of two); what is no number at all is 0.
fn to_bits(value: f64) -> i32 {
    const MODULUS: f64 = 4_294_967_296.0;
    if value.is_finite() { value.round_ties_even().rem_euclid(MODULUS) as u64 as u32 as i32 } else { 0 }
}

fn bits(lua: &Lua, args: &[Value], index: usize, function: &str) -> mlua::Result<i32> {
    let value = args.get(index);
    match value.and_then(|value| as_number(lua, value)) {
        Some(number) => Ok(to_bits(number)),
        None => Err(expected(lua, index + 1, function, "number", value)),
    }
}

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    type One = fn(i32) -> i32;
    type Many = fn(i32, i32) -> i32;
    type Shift = fn(i32, u32) -> i32;
    let library = lua.create_table()?;
    let one: [(_, One); 3] = [("tobit", |value| value), ("bnot", |value| !value), ("bswap", i32::swap_bytes)];
    for (name, operation) in one {
        let function = move |lua: &Lua, args: Variadic<Value>| bits(lua, &args, 0, name).map(operation);
        library.raw_set(name, lua.create_function(function)?)?;
    }
    let many: [(_, Many); 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, operation) in many {
        let function = move |lua: &Lua, args: Variadic<Value>| {
            let first = bits(lua, &args, 0, name)?;
            (1..args.len())
                .try_fold(first, |value, index| Ok(operation(value, bits(lua, &args, index, name)?)))
        };
        library.raw_set(name, lua.create_function(function)?)?;
    }
    let shifts: [(_, Shift); 5] = [
        ("lshift", |value, by| ((value as u32) << by) as i32),
        ("rshift", |value, by| ((value as u32) >> by) as i32),
        ("arshift", |value, by| value >> by),
        ("rol", |value, by| value.rotate_left(by)),
        ("ror", |value, by| value.rotate_right(by)),
    ];
    for (name, operation) in shifts {
        let function = move |lua: &Lua, args: Variadic<Value>| {
            Ok(operation(bits(lua, &args, 0, name)?, bits(lua, &args, 1, name)? as u32 & 31))
        };
        library.raw_set(name, lua.create_function(function)?)?;
    }
    library.raw_set("tohex", lua.create_function(to_hex)?)?;
    Ok(library)
}

fn to_hex(lua: &Lua, args: Variadic<Value>) -> mlua::Result<String> {
    const DIGITS: usize = 8;
    let value = bits(lua, &args, 0, "tohex")?;
    let digits =
        if args.get(1).is_none_or(Value::is_nil) { DIGITS as i32 } else { bits(lua, &args, 1, "tohex")? };
    let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    Ok(text[DIGITS - (digits.unsigned_abs() as usize).min(DIGITS)..].to_owned())
}
