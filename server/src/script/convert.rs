//! Replies as Lua values, and Lua values as replies, as Redis converts them.

use annulus_protocol::{Encoder, Version};
use bstr::BStr;
use mlua::{IntoLua, Lua, LuaString, Table, Value};

use super::number::{format_general, to_integer};
use super::raise::error_table;

/// Tables within tables that become a reply; what is nested deeper becomes an error in its place.
const DEPTH_MAX: usize = 500;
const TOO_DEEP: &str = "ERR reached lua stack limit";

/// The Lua value of a reply that one of our handlers has written, and the bytes after it.
pub(super) fn from_reply<'r>(
    lua: &Lua,
    names: &FieldNames,
    reply: &'r [u8],
) -> mlua::Result<(Value, &'r [u8])> {
    let Some(end) = memchr::memchr(b'\n', reply).filter(|end| *end > 1) else { return Ok((Value::Nil, b"")) };
    let (kind, line, rest) = (reply[0], &reply[1..end - 1], &reply[end + 1..]);
    let number = || annulus_protocol::parse_i64(line).unwrap_or(0);
    let single = |name: &str, value: Value| -> mlua::Result<Value> {
        let table = lua.create_table_with_capacity(0, 1)?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    };
    let string = |bytes: &[u8]| lua.create_string(bytes).map(Value::String);
    let value = match kind {
        b'$' | b'=' => {
            let Ok(length) = usize::try_from(number()) else { return Ok((Value::Boolean(false), rest)) };
            let (bytes, rest) = rest.split_at(length.min(rest.len()));
            let rest = rest.get(2..).unwrap_or_default();
            if kind == b'$' {
                return Ok((string(bytes)?, rest));
            }
            let inner = lua.create_table()?;
            inner.raw_set("format", string(bytes.get(..3).unwrap_or_default())?)?;
            inner.raw_set("string", string(bytes.get(4..).unwrap_or_default())?)?;
            return Ok((single("verbatim_string", Value::Table(inner))?, rest));
        }
        b':' => Value::Number(number() as f64),
        b'+' => {
            let table = lua.create_table_with_capacity(0, 1)?;
            table.raw_set(&names.ok, BStr::new(line))?;
            Value::Table(table)
        }
        b'-' => {
            let table = error_table(lua, line)?;
            table.raw_set("ignore_error_stats_update", true)?;
            Value::Table(table)
        }
        b'*' | b'>' => return array_from(lua, names, number(), rest),
        b'%' => return map_from(lua, names, number(), rest),
        b'~' => return set_from(lua, names, number(), rest),
        b'#' => Value::Boolean(line == b"t"),
        b',' => {
            let text = std::str::from_utf8(line).unwrap_or("nan");
            single("double", Value::Number(text.parse().unwrap_or(f64::NAN)))?
        }
        b'(' => single("big_number", string(line)?)?,
        // `_`, and what no handler writes.
        _ => Value::Nil,
    };
    Ok((value, rest))
}

fn array_from<'r>(
    lua: &Lua,
    names: &FieldNames,
    count: i64,
    mut rest: &'r [u8],
) -> mlua::Result<(Value, &'r [u8])> {
    let Ok(count) = usize::try_from(count) else { return Ok((Value::Boolean(false), rest)) };
    let table = lua.create_table_with_capacity(count, 0)?;
    for index in 1..=count {
        let (value, tail) = from_reply(lua, names, rest)?;
        table.raw_set(index, value)?;
        rest = tail;
    }
    Ok((Value::Table(table), rest))
}

fn map_from<'r>(
    lua: &Lua,
    names: &FieldNames,
    pairs: i64,
    mut rest: &'r [u8],
) -> mlua::Result<(Value, &'r [u8])> {
    let map = lua.create_table()?;
    for _ in 0..pairs {
        let (key, tail) = from_reply(lua, names, rest)?;
        let (value, tail) = from_reply(lua, names, tail)?;
        map.raw_set(key, value)?;
        rest = tail;
    }
    let table = lua.create_table()?;
    table.raw_set("map", map)?;
    Ok((Value::Table(table), rest))
}

fn set_from<'r>(
    lua: &Lua,
    names: &FieldNames,
    count: i64,
    mut rest: &'r [u8],
) -> mlua::Result<(Value, &'r [u8])> {
    let set = lua.create_table()?;
    for _ in 0..count {
        let (value, tail) = from_reply(lua, names, rest)?;
        set.raw_set(value, true)?;
        rest = tail;
    }
    let table = lua.create_table()?;
    table.raw_set("set", set)?;
    Ok((Value::Table(table), rest))
}

/// The names of fields that make a table more than an array, made once for each machine.
#[derive(Clone)]
pub(super) struct FieldNames {
    err: LuaString,
    ok: LuaString,
    double: LuaString,
    map: LuaString,
    set: LuaString,
    big_number: LuaString,
    verbatim_string: LuaString,
}

impl FieldNames {
    pub(super) fn new(lua: &Lua) -> mlua::Result<Self> {
        Ok(FieldNames {
            err: lua.create_string("err")?,
            ok: lua.create_string("ok")?,
            double: lua.create_string("double")?,
            map: lua.create_string("map")?,
            set: lua.create_string("set")?,
            big_number: lua.create_string("big_number")?,
            verbatim_string: lua.create_string("verbatim_string")?,
        })
    }
}

/// Writes what a script has returned. `script` is the version that it has asked for with `redis.setresp`.
pub(super) fn to_reply(
    names: &FieldNames,
    value: &Value,
    script: Version,
    out: &mut Encoder<'_>,
    depth: usize,
) -> mlua::Result<()> {
    match value {
        Value::String(text) => out.bulk(text.as_bytes()),
        Value::Integer(number) => out.integer(*number),
        Value::Number(number) => out.integer(to_integer(*number)),
        Value::Boolean(value) if script == Version::Resp3 => out.boolean(*value),
        Value::Boolean(true) => out.integer(1),
        Value::Table(table) => return table_to_reply(names, table, script, out, depth + 1),
        _ => out.null(),
    }
    Ok(())
}

fn table_to_reply(
    names: &FieldNames,
    table: &Table,
    script: Version,
    out: &mut Encoder<'_>,
    depth: usize,
) -> mlua::Result<()> {
    if depth > DEPTH_MAX {
        out.error(TOO_DEEP);
        return Ok(());
    }
    let field = |name: &LuaString| table.raw_get::<Value>(name);
    if let Value::String(text) = field(&names.err)? {
        out.error(text.as_bytes());
        return Ok(());
    }
    if let Value::String(text) = field(&names.ok)? {
        out.simple(text.as_bytes());
        return Ok(());
    }
    let double = match field(&names.double)? {
        Value::Number(number) => Some(number),
        Value::Integer(number) => Some(number as f64),
        _ => None,
    };
    if let Some(double) = double {
        double_to_reply(double, out);
        return Ok(());
    }
    if let Value::Table(map) = field(&names.map)? {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        map.for_each(|key: Value, value: Value| {
            pairs.push((key, value));
            Ok(())
        })?;
        out.map_header(pairs.len());
        for (key, value) in &pairs {
            to_reply(names, key, script, out, depth)?;
            to_reply(names, value, script, out, depth)?;
        }
        return Ok(());
    }
    if let Value::Table(set) = field(&names.set)? {
        let mut members: Vec<Value> = Vec::new();
        set.for_each(|key: Value, _: Value| {
            members.push(key);
            Ok(())
        })?;
        out.set_header(members.len());
        return members.iter().try_for_each(|member| to_reply(names, member, script, out, depth));
    }
    if let Value::String(digits) = field(&names.big_number)? {
        let digits: Vec<u8> =
            digits.as_bytes().iter().map(|it| if b"\r\n".contains(it) { b' ' } else { *it }).collect();
        out.big_number(digits);
        return Ok(());
    }
    if let Value::Table(verbatim) = field(&names.verbatim_string)?
        && let (Value::String(format), Value::String(text)) =
            (verbatim.raw_get("format")?, verbatim.raw_get("string")?)
    {
        let mut name = *b"   ";
        name.iter_mut().zip(format.as_bytes().iter()).for_each(|(to, from)| *to = *from);
        out.verbatim(name, text.as_bytes());
        return Ok(());
    }
    array_to_reply(names, table, script, out, depth)
}

/// The elements up to the first nil.
fn array_to_reply(
    names: &FieldNames,
    table: &Table,
    script: Version,
    out: &mut Encoder<'_>,
    depth: usize,
) -> mlua::Result<()> {
    let start = out.position();
    let mut count = 0;
    loop {
        let value: Value = table.raw_get(count + 1)?;
        if value.is_nil() {
            break;
        }
        to_reply(names, &value, script, out, depth)?;
        count += 1;
    }
    out.insert_array_header(start, count);
    Ok(())
}

fn double_to_reply(value: f64, out: &mut Encoder<'_>) {
    let text = format_general(value, 17);
    if out.version() == Version::Resp3 {
        out.raw(format!(",{text}\r\n").as_bytes());
    } else {
        out.bulk(text);
    }
}

/// A number as a command gets it.
pub(super) fn number_argument(value: f64, push: impl FnOnce(&[u8])) {
    const EXACT: f64 = 1e15;
    if value.fract() == 0.0 && value.abs() < EXACT && !(value == 0.0 && value.is_sign_negative()) {
        push(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        push(format_general(value, 17).as_bytes());
    }
}

/// Reads a value as a number as Lua does: strings that look like one are taken for it.
pub(super) fn as_number(lua: &Lua, value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(_) => lua.coerce_number(value.clone().into_lua(lua).ok()?).ok().flatten(),
        _ => None,
    }
}

/// Reads a value as a string as Lua does: numbers are written as text.
pub(super) fn as_bytes(lua: &Lua, value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(_) | Value::Number(_) => Some(format_general(as_number(lua, value)?, 14).into_bytes()),
        _ => None,
    }
}
