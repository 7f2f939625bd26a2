//! `string.find`, `match`, `gmatch` and `gsub`: Lua's patterns, with bounds.
//!
//! Lua's own matcher runs in C, where nothing can interrupt it: a pattern of a few bytes can take it longer than the universe lasts,
//! and one of many bytes more stack than there is. This one counts its steps and pauses as other code does, and refuses to nest deep.

#![expect(clippy::needless_pass_by_value, reason = "the binding hands over the arguments of a function")]

mod matcher;

use std::cell::Cell;

use mlua::{Function, Lua, LuaString, Table, Value, Variadic};

use self::matcher::{Capture, Matcher};
use super::convert::{as_bytes, as_number};
use super::number::{format_general, to_integer};
use super::raise::{argument, expected, message, type_name};

/// Adds the functions.
pub(super) fn add(lua: &Lua, server: &Table) -> mlua::Result<()> {
    server.raw_set("find", lua.create_function(|lua, args: Variadic<Value>| search(lua, &args, "find"))?)?;
    server
        .raw_set("match", lua.create_function(|lua, args: Variadic<Value>| search(lua, &args, "match"))?)?;
    let gmatch = lua.create_function(gmatch)?;
    server.raw_set("gfind", &gmatch)?;
    server.raw_set("gmatch", gmatch)?;
    server.raw_set("gsub", lua.create_function(gsub)?)
}

/// A string argument: most are strings already and are not copied.
fn text(lua: &Lua, args: &[Value], index: usize, function: &str) -> mlua::Result<LuaString> {
    match args.get(index) {
        Some(Value::String(text)) => Ok(text.clone()),
        value => match value.and_then(|value| as_bytes(lua, value)) {
            Some(bytes) => lua.create_string(bytes),
            None => Err(expected(lua, index + 1, function, "string", value)),
        },
    }
}

fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

/// `find` and `match`.
fn search(lua: &Lua, args: &[Value], function: &'static str) -> mlua::Result<Variadic<Value>> {
    let (source, pattern) = (text(lua, args, 0, function)?, text(lua, args, 1, function)?);
    let (source, pattern) = (source.as_bytes(), pattern.as_bytes());
    let first = match args.get(2) {
        None | Some(Value::Nil) => 1,
        Some(value) => as_number(lua, value)
            .map(to_integer)
            .ok_or_else(|| expected(lua, 3, function, "number", Some(value)))?,
    };
    // Negative positions count from the end.
    let length = source.len() as i64;
    let first = if first < 0 { (first + length).max(0) } else { (first - 1).clamp(0, length) } as usize;
    let finds = function == "find";
    let wants_plain = args.get(3).is_some_and(|value| !matches!(value, Value::Nil | Value::Boolean(false)));
    if finds && (wants_plain || is_plain(&pattern)) {
        let found = memchr::memmem::find(&source[first..], &pattern).map(|at| first + at);
        return Ok(found.map_or_else(
            || Variadic::from(vec![Value::Nil]),
            |at| span(at, at + pattern.len()).into_iter().collect::<Vec<_>>().into(),
        ));
    }
    let anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(lua, &source, &pattern[usize::from(anchored)..]);
    for start in first..=source.len() {
        if let Some(end) = matcher.run(start)? {
            let mut values = Vec::new();
            if finds {
                values.extend(span(start, end));
            }
            values.extend(captures(lua, &matcher, start, end, !finds)?);
            return Ok(Variadic::from(values));
        }
        if anchored {
            break;
        }
    }
    Ok(Variadic::from(vec![Value::Nil]))
}

fn span(start: usize, end: usize) -> [Value; 2] {
    [Value::Number((start + 1) as f64), Value::Number(end as f64)]
}

fn capture(lua: &Lua, matcher: &Matcher<'_>, capture: Capture) -> mlua::Result<Value> {
    match capture {
        Capture::Position(at) => Ok(Value::Number((at + 1) as f64)),
        Capture::Text(start, end) => lua.create_string(&matcher.source()[start..end]).map(Value::String),
        Capture::Open(_) => Err(message(lua, "unfinished capture")),
    }
}

/// All captures; the whole match if there are none and it is wanted then.
fn captures(
    lua: &Lua,
    matcher: &Matcher<'_>,
    start: usize,
    end: usize,
    whole: bool,
) -> mlua::Result<Vec<Value>> {
    if matcher.captures().is_empty() && whole {
        return Ok(vec![capture(lua, matcher, Capture::Text(start, end))?]);
    }
    matcher.captures().iter().map(|it| capture(lua, matcher, *it)).collect()
}

fn gmatch(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Function> {
    let (source, pattern) = (text(lua, &args, 0, "gmatch")?, text(lua, &args, 1, "gmatch")?);
    let next = Cell::new(0);
    lua.create_function(move |lua, _: Variadic<Value>| {
        let (source, pattern) = (source.as_bytes(), pattern.as_bytes());
        let mut matcher = Matcher::new(lua, &source, &pattern);
        for start in next.get()..=source.len() {
            if let Some(end) = matcher.run(start)? {
                // An empty match would be found again.
                next.set(end + usize::from(end == start));
                return Ok(Variadic::from(captures(lua, &matcher, start, end, true)?));
            }
        }
        next.set(source.len() + 1);
        Ok(Variadic::from(vec![Value::Nil]))
    })
}

/// What `gsub` puts in place of a match.
enum Replacement {
    Text(Vec<u8>),
    Table(Table),
    Function(Function),
}

fn gsub(lua: &Lua, args: Variadic<Value>) -> mlua::Result<(Value, Value)> {
    let (source, pattern) = (text(lua, &args, 0, "gsub")?, text(lua, &args, 1, "gsub")?);
    let (source, pattern) = (source.as_bytes(), pattern.as_bytes());
    let replacement = match args.get(2) {
        Some(Value::Table(table)) => Replacement::Table(table.clone()),
        Some(Value::Function(function)) => Replacement::Function(function.clone()),
        other => match other.and_then(|value| as_bytes(lua, value)) {
            Some(text) => Replacement::Text(text),
            None => return Err(argument(lua, 3, "gsub", "string/function/table expected")),
        },
    };
    let most = match args.get(3) {
        None | Some(Value::Nil) => source.len() as i64 + 1,
        Some(value) => as_number(lua, value)
            .map(to_integer)
            .ok_or_else(|| expected(lua, 4, "gsub", "number", Some(value)))?,
    };
    let anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(lua, &source, &pattern[usize::from(anchored)..]);
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    while count < most {
        let found = matcher.run(at)?;
        if let Some(end) = found {
            count += 1;
            replace(lua, &matcher, &replacement, at, end, &mut out)?;
        }
        match found {
            Some(end) if end > at => at = end,
            _ if at < source.len() => {
                out.push(source[at]);
                at += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    out.extend_from_slice(&source[at..]);
    Ok((Value::String(lua.create_string(out)?), Value::Number(count as f64)))
}

fn replace(
    lua: &Lua,
    matcher: &Matcher<'_>,
    replacement: &Replacement,
    start: usize,
    end: usize,
    out: &mut Vec<u8>,
) -> mlua::Result<()> {
    let value = match replacement {
        Replacement::Text(text) => return expand(lua, matcher, text, start, end, out),
        Replacement::Table(table) => {
            let key = captures(lua, matcher, start, end, true)?.swap_remove(0);
            table.get::<Value>(key)?
        }
        Replacement::Function(function) => {
            function.call::<Value>(Variadic::from(captures(lua, matcher, start, end, true)?))?
        }
    };
    match &value {
        Value::Nil | Value::Boolean(false) => out.extend_from_slice(&matcher.source()[start..end]),
        Value::String(text) => out.extend_from_slice(&text.as_bytes()),
        Value::Integer(_) | Value::Number(_) => {
            out.extend_from_slice(&as_bytes(lua, &value).unwrap_or_default());
        }
        other => {
            let text = format!("invalid replacement value (a {})", type_name(other));
            return Err(message(lua, text));
        }
    }
    Ok(())
}

/// A replacement text, with `%1` and its like filled in.
fn expand(
    lua: &Lua,
    matcher: &Matcher<'_>,
    text: &[u8],
    start: usize,
    end: usize,
    out: &mut Vec<u8>,
) -> mlua::Result<()> {
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => out.extend_from_slice(&matcher.source()[start..end]),
            Some(digit @ b'1'..=b'9') => {
                let index = usize::from(digit - b'1');
                let captured = match matcher.captures().get(index) {
                    None if index == 0 => Capture::Text(start, end),
                    None => return Err(message(lua, "invalid capture index")),
                    Some(captured) => *captured,
                };
                match captured {
                    Capture::Text(start, end) => out.extend_from_slice(&matcher.source()[start..end]),
                    Capture::Position(at) => {
                        out.extend_from_slice(format_general((at + 1) as f64, 14).as_bytes());
                    }
                    Capture::Open(_) => return Err(message(lua, "unfinished capture")),
                }
            }
            Some(other) => out.push(other),
            None => out.push(0),
        }
    }
    Ok(())
}
