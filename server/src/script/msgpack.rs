//! The library `cmsgpack`: MessagePack (<https://github.com/msgpack/msgpack/blob/master/spec.md>) with the choices that Redis's
//! scripts know: numbers in the shortest form, tables as arrays when their keys are 1 to n. As there, types that came later (binary data,
//! extensions) are bad data.

#![expect(clippy::needless_pass_by_value, reason = "the binding hands over the arguments of a function")]

use mlua::{Lua, Table, Value, Variadic};

use super::convert::{as_bytes, as_number};
use super::number::to_integer;
use super::raise::{argument, expected, message};

/// Tables nested deeper than this are packed as nil.
const PACK_DEPTH_MAX: usize = 16;
/// Tables nested deeper than this are not unpacked.
const UNPACK_DEPTH_MAX: usize = 1000;
const MISSING: &str = "Missing bytes in input.";
const BAD: &str = "Bad data format in input.";

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("_NAME", "cmsgpack")?;
    library.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    library.raw_set("_DESCRIPTION", "MessagePack for Lua")?;
    library.raw_set("pack", lua.create_function(pack)?)?;
    library.raw_set(
        "unpack",
        lua.create_function(|lua, args: Variadic<Value>| unpack(lua, &args, "unpack", 0, 0, false))?,
    )?;
    let unpack_one = |lua: &Lua, args: Variadic<Value>| {
        let offset = integer(lua, &args, 1, "unpack_one", Some(0))?;
        unpack(lua, &args, "unpack_one", 1, offset, true)
    };
    library.raw_set("unpack_one", lua.create_function(unpack_one)?)?;
    let unpack_limit = |lua: &Lua, args: Variadic<Value>| {
        let limit = integer(lua, &args, 1, "unpack_limit", None)?;
        let offset = integer(lua, &args, 2, "unpack_limit", Some(0))?;
        unpack(lua, &args, "unpack_limit", limit, offset, true)
    };
    library.raw_set("unpack_limit", lua.create_function(unpack_limit)?)?;
    Ok(library)
}

fn integer(lua: &Lua, args: &[Value], index: usize, name: &str, default: Option<i64>) -> mlua::Result<i64> {
    match (args.get(index), default) {
        (None | Some(Value::Nil), Some(default)) => Ok(default),
        (value, _) => value
            .and_then(|value| as_number(lua, value))
            .map(to_integer)
            .ok_or_else(|| expected(lua, index + 1, name, "number", value)),
    }
}

fn pack(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Value> {
    if args.is_empty() {
        return Err(argument(lua, 0, "pack", "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for value in args.iter() {
        pack_value(value, &mut out, 0)?;
    }
    lua.create_string(out).map(Value::String)
}

fn pack_value(value: &Value, out: &mut Vec<u8>, depth: usize) -> mlua::Result<()> {
    match value {
        Value::Boolean(value) => out.push(if *value { 0xC3 } else { 0xC2 }),
        Value::Integer(number) => pack_integer(*number, out),
        Value::Number(number) => pack_number(*number, out),
        Value::String(text) => pack_string(&text.as_bytes(), out),
        Value::Table(table) if depth < PACK_DEPTH_MAX => return pack_table(table, out, depth + 1),
        _ => out.push(0xC0),
    }
    Ok(())
}

fn pack_number(number: f64, out: &mut Vec<u8>) {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number) {
        pack_integer(number as i64, out);
    } else if !number.is_nan() && f64::from(number as f32).to_bits() == number.to_bits() {
        out.push(0xCA);
        out.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        out.push(0xCB);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn pack_integer(number: i64, out: &mut Vec<u8>) {
    let mut put = |head: u8, bytes: &[u8]| {
        out.push(head);
        out.extend_from_slice(bytes);
    };
    match number {
        -32..=0x7F => put(number as u8, &[]),
        0x80..=0xFF => put(0xCC, &[number as u8]),
        0x100..=0xFFFF => put(0xCD, &(number as u16).to_be_bytes()),
        0x1_0000..=0xFFFF_FFFF => put(0xCE, &(number as u32).to_be_bytes()),
        0x1_0000_0000.. => put(0xCF, &number.to_be_bytes()),
        -0x80..=-33 => put(0xD0, &[number as u8]),
        -0x8000..=-0x81 => put(0xD1, &(number as i16).to_be_bytes()),
        -0x8000_0000..=-0x8001 => put(0xD2, &(number as i32).to_be_bytes()),
        _ => put(0xD3, &number.to_be_bytes()),
    }
}

/// A header with a count: `short` for few, and three ones with their counts in 1 (if there is such), 2 and 4 bytes.
fn pack_count(count: usize, (short, short_max): (u8, usize), heads: [Option<u8>; 3], out: &mut Vec<u8>) {
    match (count, heads) {
        (0.., _) if count <= short_max => out.push(short | count as u8),
        (0..=0xFF, [Some(head), ..]) => out.extend_from_slice(&[head, count as u8]),
        (0..=0xFFFF, [_, Some(head), _]) => {
            out.push(head);
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        (_, [.., head]) => {
            out.extend(head);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
}

fn pack_string(bytes: &[u8], out: &mut Vec<u8>) {
    pack_count(bytes.len(), (0xA0, 31), [Some(0xD9), Some(0xDA), Some(0xDB)], out);
    out.extend_from_slice(bytes);
}

fn pack_table(table: &Table, out: &mut Vec<u8>, depth: usize) -> mlua::Result<()> {
    let mut entries: Vec<(Value, Value)> = Vec::new();
    let (mut highest, mut is_array) = (0, true);
    table.for_each(|key: Value, value: Value| {
        match &key {
            Value::Integer(index @ 1..) => highest = highest.max(*index),
            _ => is_array = false,
        }
        entries.push((key, value));
        Ok(())
    })?;
    if is_array && highest as usize == entries.len() {
        pack_count(entries.len(), (0x90, 15), [None, Some(0xDC), Some(0xDD)], out);
        return (1..=highest).try_for_each(|index| pack_value(&table.raw_get::<Value>(index)?, out, depth));
    }
    pack_count(entries.len(), (0x80, 15), [None, Some(0xDE), Some(0xDF)], out);
    for (key, value) in &entries {
        pack_value(key, out, depth)?;
        pack_value(value, out, depth)?;
    }
    Ok(())
}

fn unpack(
    lua: &Lua,
    args: &[Value],
    name: &str,
    limit: i64,
    offset: i64,
    tells_offset: bool,
) -> mlua::Result<Variadic<Value>> {
    let Some(data) = args.first().and_then(|value| as_bytes(lua, value)) else {
        return Err(expected(lua, 1, name, "string", args.first()));
    };
    let length = data.len();
    let (Ok(limit), Ok(offset)) = (usize::try_from(limit), usize::try_from(offset)) else {
        let text = format!("Invalid request to unpack with offset of {offset} and limit of {length}.");
        return Err(message(lua, text));
    };
    let Some(mut rest) = data.get(offset..) else {
        let text = format!("Start offset {offset} greater than input length {length}.");
        return Err(message(lua, text));
    };
    let mut values = Vec::new();
    while !rest.is_empty() && (limit == 0 || values.len() < limit) {
        values.push(unpack_value(lua, &mut rest, 0)?);
    }
    if tells_offset {
        let next = if rest.is_empty() { -1 } else { (length - rest.len()) as i64 };
        values.insert(0, Value::Number(next as f64));
    }
    Ok(Variadic::from(values))
}

fn take<'d>(lua: &Lua, rest: &mut &'d [u8], bytes: usize) -> mlua::Result<&'d [u8]> {
    let (taken, tail) = rest.split_at_checked(bytes).ok_or_else(|| message(lua, MISSING))?;
    *rest = tail;
    Ok(taken)
}

/// A big-endian number of 1 to 8 bytes.
fn take_number(lua: &Lua, rest: &mut &[u8], bytes: usize) -> mlua::Result<u64> {
    Ok(take(lua, rest, bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn unpack_value(lua: &Lua, rest: &mut &[u8], depth: usize) -> mlua::Result<Value> {
    let head = take(lua, rest, 1)?[0];
    let count = |rest: &mut &[u8], bytes| take_number(lua, rest, bytes).map(|count| count as usize);
    let string = |rest: &mut &[u8], bytes| lua.create_string(take(lua, rest, bytes)?).map(Value::String);
    let signed = |rest: &mut &[u8], bytes: usize| {
        let unused = 64 - 8 * bytes as u32;
        Ok(Value::Number(((take_number(lua, rest, bytes)? << unused) as i64 >> unused) as f64))
    };
    match head {
        0x00..=0x7F => Ok(Value::Number(f64::from(head))),
        0xE0..=0xFF => Ok(Value::Number(f64::from(head as i8))),
        0x80..=0x8F => unpack_map(lua, rest, usize::from(head & 15), depth),
        0x90..=0x9F => unpack_array(lua, rest, usize::from(head & 15), depth),
        0xA0..=0xBF => string(rest, usize::from(head & 31)),
        0xC0 => Ok(Value::Nil),
        0xC2 | 0xC3 => Ok(Value::Boolean(head == 0xC3)),
        0xCA => Ok(Value::Number(f64::from(f32::from_bits(take_number(lua, rest, 4)? as u32)))),
        0xCB => Ok(Value::Number(f64::from_bits(take_number(lua, rest, 8)?))),
        0xCC..=0xCF => Ok(Value::Number(take_number(lua, rest, 1 << (head - 0xCC))? as f64)),
        0xD0..=0xD3 => signed(rest, 1 << (head - 0xD0)),
        0xD9..=0xDB => {
            let length = count(rest, 1 << (head - 0xD9))?;
            string(rest, length)
        }
        0xDC | 0xDD => {
            let length = count(rest, 2 << (head - 0xDC))?;
            unpack_array(lua, rest, length, depth)
        }
        0xDE | 0xDF => {
            let length = count(rest, 2 << (head - 0xDE))?;
            unpack_map(lua, rest, length, depth)
        }
        _ => Err(message(lua, BAD)),
    }
}

fn check_depth(lua: &Lua, depth: usize) -> mlua::Result<()> {
    if depth < UNPACK_DEPTH_MAX {
        Ok(())
    } else {
        Err(message(lua, "stack overflow (too many nested values)"))
    }
}

fn unpack_array(lua: &Lua, rest: &mut &[u8], count: usize, depth: usize) -> mlua::Result<Value> {
    check_depth(lua, depth)?;
    // What is announced need not come: room is made for what can be there.
    let table = lua.create_table_with_capacity(count.min(rest.len()), 0)?;
    for index in 1..=count {
        table.raw_set(index, unpack_value(lua, rest, depth + 1)?)?;
    }
    Ok(Value::Table(table))
}

fn unpack_map(lua: &Lua, rest: &mut &[u8], count: usize, depth: usize) -> mlua::Result<Value> {
    check_depth(lua, depth)?;
    let table = lua.create_table()?;
    for _ in 0..count {
        let key = unpack_value(lua, rest, depth + 1)?;
        let value = unpack_value(lua, rest, depth + 1)?;
        match key {
            Value::Nil => return Err(message(lua, "table index is nil")),
            Value::Number(number) if number.is_nan() => return Err(message(lua, "table index is NaN")),
            key => table.raw_set(key, value)?,
        }
    }
    Ok(Value::Table(table))
}
