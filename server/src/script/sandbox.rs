//! The sandbox: which functions scripts have, and tables that they cannot change.
//!
//! Most of it is Lua (`sandbox.lua`); what has to look behind a protected table, or must not run for long, is here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value, Variadic};

use super::convert::as_number;
use super::number::to_integer;
use super::raise::{OWN_SOURCE, Raise, argument, error_table, expected, message, origin, raised, visible};
use super::random::Random;
use super::{bits, cjson, msgpack, packing, patterns};

/// The real tables behind the protected ones.
pub(super) type Protected = Rc<RefCell<HashMap<*const c_void, Table>>>;

/// What the sandbox is made of.
pub(super) struct Sandbox {
    /// The globals of scripts, read-only.
    pub(super) front: Table,
    /// What is behind them.
    pub(super) globals: Table,
    /// The globals of function libraries.
    pub(super) library_front: Table,
    /// Makes a table read-only.
    pub(super) protect: Function,
    /// Runs a script: whether it succeeded, and its result or the table that its error has become.
    pub(super) run: Function,
    /// The same with the two arguments of a function.
    pub(super) run_function: Function,
    /// The same for the text of a library.
    pub(super) while_loading: Function,
    /// Makes the table of an error that nobody has caught.
    pub(super) handler: Function,
}

/// A Lua state without anything that leads out of it.
pub(super) fn new_lua() -> mlua::Result<Lua> {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
    Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))
}

/// Builds the sandbox. `loading` is the library `redis` as libraries of functions see it while they load.
pub(super) fn build(lua: &Lua, loading: Table, killed: &Rc<Cell<bool>>) -> mlua::Result<Sandbox> {
    let native = lua.globals();
    let server = lua.create_table()?;
    let protected = Protected::default();
    add_tables(lua, &server, &protected, &native)?;
    add_loading(lua, &server)?;
    add_random(lua, &server)?;
    add_errors(lua, &server, killed)?;
    patterns::add(lua, &server)?;
    server.raw_set("bit", bits::library(lua)?)?;
    server.raw_set("struct", packing::library(lua)?)?;
    server.raw_set("cjson", cjson::library(lua)?)?;
    server.raw_set("cmsgpack", msgpack::library(lua)?)?;
    server.raw_set("loading", loading)?;
    let made: Table = lua.load(include_str!("sandbox.lua")).set_name(OWN_SOURCE).call((native, server))?;
    let sandbox = Sandbox {
        front: made.raw_get("front")?,
        globals: made.raw_get("globals")?,
        library_front: made.raw_get("library_front")?,
        protect: made.raw_get("protect")?,
        run: made.raw_get("run")?,
        run_function: made.raw_get("run_function")?,
        while_loading: made.raw_get("while_loading")?,
        handler: made.raw_get("handler")?,
    };
    lua.set_globals(sandbox.front.clone())?;
    Ok(sandbox)
}

const READ_ONLY: &str = "Attempt to modify a readonly table";

fn read_only<T>() -> mlua::Result<T> {
    Err(Raise::Message(READ_ONLY.into()).into())
}

/// Functions that look at tables without asking their metatables.
fn add_tables(lua: &Lua, server: &Table, protected: &Protected, native: &Table) -> mlua::Result<()> {
    let known = Protected::clone(protected);
    let note = move |_: &Lua, (front, real): (Table, Table)| {
        known.borrow_mut().insert(front.to_pointer(), real);
        Ok(())
    };
    server.raw_set("protected", lua.create_function(note)?)?;
    add_readers(lua, server, protected, native)?;
    add_writers(lua, server, protected, native)?;
    let native_get: Function = native.raw_get("getmetatable")?;
    let get_metatable = move |lua: &Lua, args: Variadic<Value>| match args.first() {
        None => Err(argument(lua, 1, "getmetatable", "value expected")),
        Some(value) => Ok(match native_get.call::<Value>(value)? {
            // What protects a table is not for looking at.
            Value::Boolean(false) => Value::Nil,
            metatable => metatable,
        }),
    };
    server.raw_set("getmetatable", lua.create_function(get_metatable)?)
}

/// Finds the table that stands behind a protected one.
fn behind(protected: &Protected) -> impl Fn(&Table) -> Option<Table> + use<> {
    let protected = Protected::clone(protected);
    move |table: &Table| protected.borrow().get(&table.to_pointer()).cloned()
}

/// What reads tables reads behind what protects them.
fn add_readers(lua: &Lua, server: &Table, protected: &Protected, native: &Table) -> mlua::Result<()> {
    let real = behind(protected);
    let next: Function = native.raw_get("next")?;
    let pairs = move |lua: &Lua, args: Variadic<Value>| {
        let Some(Value::Table(table)) = args.first() else {
            return Err(expected(lua, 1, "pairs", "table", args.first()));
        };
        match real(table) {
            None => Ok((next.clone(), table.clone(), Value::Nil)),
            Some(real) => Ok((walk(lua, &real)?, table.clone(), Value::Nil)),
        }
    };
    server.raw_set("pairs", lua.create_function(pairs)?)?;

    let real = behind(protected);
    let raw_get = move |lua: &Lua, args: Variadic<Value>| {
        let Some(Value::Table(table)) = args.first() else {
            return Err(expected(lua, 1, "rawget", "table", args.first()));
        };
        let key = args.get(1).cloned().unwrap_or(Value::Nil);
        real(table).as_ref().unwrap_or(table).raw_get::<Value>(key)
    };
    server.raw_set("rawget", lua.create_function(raw_get)?)
}

/// What writes tables refuses those that are protected.
fn add_writers(lua: &Lua, server: &Table, protected: &Protected, native: &Table) -> mlua::Result<()> {
    let real = behind(protected);
    let native_set: Function = native.raw_get("rawset")?;
    let raw_set = move |lua: &Lua, args: Variadic<Value>| {
        let Some(Value::Table(table)) = args.first() else {
            return Err(expected(lua, 1, "rawset", "table", args.first()));
        };
        if real(table).is_some() { read_only() } else { native_set.call::<Value>(args) }
    };
    server.raw_set("rawset", lua.create_function(raw_set)?)?;

    let real = behind(protected);
    let native_set: Function = native.raw_get("setmetatable")?;
    let set_metatable = move |lua: &Lua, args: Variadic<Value>| {
        let Some(Value::Table(table)) = args.first() else {
            return Err(expected(lua, 1, "setmetatable", "table", args.first()));
        };
        if real(table).is_some() {
            return read_only();
        }
        native_set.call::<Value>(args).map_err(|error| match raised(&error) {
            Raise::Message(text) => message(lua, text),
            other => other.into(),
        })
    };
    server.raw_set("setmetatable", lua.create_function(set_metatable)?)
}

/// An iterator over a protected table that does not give the table away.
fn walk(lua: &Lua, real: &Table) -> mlua::Result<Function> {
    let mut entries = Vec::new();
    real.for_each(|key: Value, value: Value| {
        entries.push((key, value));
        Ok(())
    })?;
    let entries = RefCell::new(entries.into_iter());
    lua.create_function(move |_, _: Variadic<Value>| {
        Ok(entries.borrow_mut().next().unwrap_or((Value::Nil, Value::Nil)))
    })
}

/// `load` and `loadstring`: text only, for what is compiled elsewhere could do anything.
fn add_loading(lua: &Lua, server: &Table) -> mlua::Result<()> {
    let load_string = |lua: &Lua, args: Variadic<Value>| {
        let Some(text) = args.first().and_then(|value| super::convert::as_bytes(lua, value)) else {
            return Err(expected(lua, 1, "loadstring", "string", args.first()));
        };
        let name = chunk_name(&args).unwrap_or_else(|| String::from_utf8_lossy(&text).into_owned());
        compile(lua, &text, name)
    };
    server.raw_set("loadstring", lua.create_function(load_string)?)?;
    let load = |lua: &Lua, args: Variadic<Value>| {
        let Some(Value::Function(pieces)) = args.first() else {
            return Err(expected(lua, 1, "load", "function", args.first()));
        };
        let mut text = Vec::new();
        loop {
            match pieces.call::<Value>(())? {
                Value::String(piece) if !piece.as_bytes().is_empty() => {
                    text.extend_from_slice(&piece.as_bytes());
                }
                Value::String(_) | Value::Nil => break,
                _ => {
                    let error = lua.create_string("reader function must return a string")?;
                    return Ok((Value::Nil, Value::String(error)));
                }
            }
            if text.len() > lua.used_memory().max(TEXT_BYTES_MAX) {
                return Err(message(lua, "not enough memory"));
            }
        }
        compile(lua, &text, chunk_name(&args).unwrap_or_else(|| "=(load)".to_owned()))
    };
    server.raw_set("load", lua.create_function(load)?)
}

/// Text that `load` gathers outside of Lua's memory.
const TEXT_BYTES_MAX: usize = 1 << 20;

fn chunk_name(args: &[Value]) -> Option<String> {
    match args.get(1)? {
        Value::String(name) => Some(String::from_utf8_lossy(&name.as_bytes()).into_owned()),
        _ => None,
    }
}

fn compile(lua: &Lua, text: &[u8], name: String) -> mlua::Result<(Value, Value)> {
    const BINARY: u8 = 0x1B;
    let refused = |text: &[u8]| Ok((Value::Nil, Value::String(lua.create_string(text)?)));
    if text.first() == Some(&BINARY) {
        return refused(b"attempt to load a binary chunk");
    }
    match lua.load(text).set_name(name).set_mode(ChunkMode::Text).into_function() {
        Ok(function) => Ok((Value::Function(function), Value::Nil)),
        Err(error) => match raised(&error) {
            Raise::Message(text) | Raise::Reply(text) => refused(&text),
            Raise::Killed => Err(error),
        },
    }
}

fn add_random(lua: &Lua, server: &Table) -> mlua::Result<()> {
    let generator = Rc::new(RefCell::new(Random::default()));
    let seeded = Rc::clone(&generator);
    let random = move |lua: &Lua, args: Variadic<Value>| {
        let fraction = generator.borrow_mut().fraction();
        let bound = |index: usize| {
            let number = args.get(index).and_then(|value| as_number(lua, value)).map(to_integer);
            number.ok_or_else(|| expected(lua, index + 1, "random", "number", args.get(index)))
        };
        let (low, high, last) = match args.len() {
            0 => return Ok(fraction),
            1 => (1, bound(0)?, 1),
            2 => (bound(0)?, bound(1)?, 2),
            _ => return Err(message(lua, "wrong number of arguments")),
        };
        if low > high {
            return Err(argument(lua, last, "random", "interval is empty"));
        }
        Ok((fraction * (high as f64 - low as f64 + 1.0)).floor() + low as f64)
    };
    server.raw_set("random", lua.create_function(random)?)?;
    let seed = move |lua: &Lua, args: Variadic<Value>| {
        let Some(seed) = args.first().and_then(|value| as_number(lua, value)) else {
            return Err(expected(lua, 1, "randomseed", "number", args.first()));
        };
        seeded.borrow_mut().seed(to_integer(seed) as i32);
        Ok(())
    };
    server.raw_set("randomseed", lua.create_function(seed)?)
}

fn add_errors(lua: &Lua, server: &Table, killed: &Rc<Cell<bool>>) -> mlua::Result<()> {
    server.raw_set("visible", lua.create_function(visible)?)?;
    // A script that is to end cannot catch that, wherever it hears of it.
    let ends = Rc::clone(killed);
    let caught = move |lua: &Lua, error: Value| {
        if ends.get() { Err(Raise::Killed.into()) } else { visible(lua, error) }
    };
    server.raw_set("caught", lua.create_function(caught)?)?;
    // As `pcall` of Redis: an error of a command is the text of it.
    let ends = Rc::clone(killed);
    let plain = move |lua: &Lua, error: Value| match visible(lua, error)? {
        _ if ends.get() => Err(Raise::Killed.into()),
        Value::Table(table) => match table.raw_get::<Value>("err")? {
            Value::String(text) => Ok(Value::String(text)),
            _ => Ok(Value::Table(table)),
        },
        other => Ok(other),
    };
    server.raw_set("plain", lua.create_function(plain)?)?;
    server.raw_set("handler", lua.create_function(handle)?)
}

/// What becomes of an error that nobody has caught: a table with its text and where it was raised.
fn handle(lua: &Lua, error: Value) -> mlua::Result<Table> {
    let origin = origin(lua);
    let table = match visible(lua, error)? {
        Value::Table(table) => table,
        other => {
            let text = match &other {
                Value::String(text) => text.as_bytes().to_vec(),
                other => other.to_string().unwrap_or_default().into_bytes(),
            };
            error_table(lua, &[b"ERR ", &text[..]].concat())?
        }
    };
    if let Some((source, line)) = origin {
        table.raw_set("source", source)?;
        table.raw_set("line", line)?;
    }
    Ok(table)
}
