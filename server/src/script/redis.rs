//! The library `redis`, as far as it needs no command.

#![expect(clippy::needless_pass_by_value, reason = "the binding hands over the arguments of a function")]

use annulus_protocol::Version;
use mlua::{Lua, Table, Value, Variadic};

use super::convert::{as_bytes, as_number, number_argument};
use super::exchange::Exchange;
use super::hex_digest;
use super::machine::SharedExchange;
use super::number::to_integer;
use super::raise::{Raise, error_table};

/// The version of Redis whose scripting this is.
const VERSION: &str = "7.0.15";
const VERSION_NUMBER: u32 = 0x0007_000F;

/// Levels of `redis.log`.
const LEVELS: [&str; 4] = ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"];
const REPLICATION: [(&str, i64); 5] =
    [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", 3)];

fn fail<T>(text: &str) -> mlua::Result<T> {
    Err(Raise::Reply(format!("ERR {text}").into_bytes()).into())
}

/// Puts the arguments of `redis.call` into the exchange.
pub(super) fn take_command<'v>(
    lua: &Lua,
    args: impl ExactSizeIterator<Item = &'v Value>,
    exchange: &mut Exchange,
) -> mlua::Result<()> {
    if args.len() == 0 {
        return fail("Please specify at least one argument for this redis lib call");
    }
    exchange.clear();
    for arg in args {
        match arg {
            Value::String(text) => exchange.push(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                number_argument(as_number(lua, arg).unwrap_or_default(), |text| exchange.push(text));
            }
            _ => return fail("Lua redis lib command arguments must be strings or integers"),
        }
    }
    Ok(())
}

/// Adds what every kind of script may use.
pub(super) fn add_common(lua: &Lua, redis: &Table, exchange: &SharedExchange) -> mlua::Result<()> {
    add_constants(redis)?;
    redis.raw_set("log", lua.create_function(log)?)?;
    redis.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    redis.raw_set("error_reply", lua.create_function(error_reply)?)?;
    redis.raw_set("status_reply", lua.create_function(status_reply)?)?;
    redis.raw_set("set_repl", lua.create_function(set_replication)?)?;
    let exchange = SharedExchange::clone(exchange);
    redis.raw_set(
        "setresp",
        lua.create_function(move |lua, args: Variadic<Value>| {
            let [version] = args.as_slice() else { return fail("redis.setresp() requires one argument.") };
            let number = as_number(lua, version).map_or(0, to_integer);
            match Version::from_number(number) {
                Some(version) => exchange.borrow_mut().version = version,
                None => return fail("RESP version must be 2 or 3."),
            }
            Ok(())
        })?,
    )
}

/// Adds what only scripts of EVAL may use.
pub(super) fn add_for_eval(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    redis.raw_set("replicate_commands", lua.create_function(|_, _: Variadic<Value>| Ok(true))?)?;
    redis.raw_set("breakpoint", lua.create_function(|_, _: Variadic<Value>| Ok(false))?)?;
    redis.raw_set("debug", lua.create_function(|_, _: Variadic<Value>| Ok(()))?)
}

fn add_constants(redis: &Table) -> mlua::Result<()> {
    for (level, name) in LEVELS.into_iter().enumerate() {
        redis.raw_set(name, level)?;
    }
    for (name, value) in REPLICATION {
        redis.raw_set(name, value)?;
    }
    redis.raw_set("REDIS_VERSION", VERSION)?;
    redis.raw_set("REDIS_VERSION_NUM", VERSION_NUMBER)
}

/// What a library may use while it loads.
pub(super) fn add_for_loading(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    add_constants(redis)?;
    redis.raw_set("log", lua.create_function(log)?)
}

fn log(lua: &Lua, args: Variadic<Value>) -> mlua::Result<()> {
    let [level, words @ ..] = args.as_slice() else {
        return fail("redis.log() requires two arguments or more.");
    };
    if words.is_empty() {
        return fail("redis.log() requires two arguments or more.");
    }
    if !matches!(level, Value::Integer(_) | Value::Number(_)) {
        return fail("First argument must be a number (log level).");
    }
    let level = as_number(lua, level).map_or(-1, to_integer);
    let words: Vec<Vec<u8>> = words.iter().filter_map(|word| as_bytes(lua, word)).collect();
    let text = words.join(&b' ');
    let text = String::from_utf8_lossy(&text);
    match level {
        0 => tracing::trace!(script = true, "{text}"),
        1 => tracing::debug!(script = true, "{text}"),
        2 => tracing::info!(script = true, "{text}"),
        3 => tracing::warn!(script = true, "{text}"),
        _ => return fail("Invalid debug level."),
    }
    Ok(())
}

fn sha1hex(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Value> {
    let [text] = args.as_slice() else { return fail("wrong number of arguments") };
    let digest = hex_digest(&as_bytes(lua, text).unwrap_or_default());
    lua.create_string(digest).map(Value::String)
}

fn one_text(args: &[Value]) -> Option<mlua::BorrowedBytes> {
    match args {
        [Value::String(text)] => Some(text.as_bytes()),
        _ => None,
    }
}

const WRONG_ARGUMENTS: &[u8] = b"ERR wrong number or type of arguments";

fn error_reply(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Table> {
    let Some(text) = one_text(&args) else { return error_table(lua, WRONG_ARGUMENTS) };
    // One word is no code: it becomes the text behind the general one.
    match text.strip_prefix(b"-") {
        Some(text) => error_table(lua, text),
        None if text.contains(&b' ') => error_table(lua, &text),
        None => error_table(lua, &[b"ERR ", &text[..]].concat()),
    }
}

fn status_reply(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Table> {
    let Some(text) = one_text(&args) else { return error_table(lua, WRONG_ARGUMENTS) };
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set("ok", lua.create_string(&text[..])?)?;
    Ok(table)
}

/// There is nothing to choose: effects are logged, and what is logged is everything.
fn set_replication(lua: &Lua, args: Variadic<Value>) -> mlua::Result<()> {
    let [flags] = args.as_slice() else { return fail("redis.set_repl() requires two arguments.") };
    match as_number(lua, flags).map_or(0, to_integer) {
        0..=3 => Ok(()),
        _ => fail("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."),
    }
}

/// `redis.acl_check_cmd`: whether the user of the connection may run a command. There is one user, who may run all.
pub(super) fn add_acl(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    let check = |lua: &Lua, args: Variadic<Value>| {
        let mut exchange = Exchange::default();
        take_command(lua, args.iter(), &mut exchange)?;
        let args = exchange.args();
        match crate::commands::resolve(&args) {
            Err(
                crate::commands::Refusal::UnknownCommand | crate::commands::Refusal::UnknownSubcommand(_),
            ) => fail("Invalid command passed to redis.acl_check_cmd()"),
            _ => Ok(true),
        }
    };
    redis.raw_set("acl_check_cmd", lua.create_function(check)?)
}
