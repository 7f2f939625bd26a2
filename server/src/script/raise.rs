//! Errors that scripts see: raised in Rust, caught or not in Lua.
//!
//! What a Rust function raises arrives in Lua as a value of the binding's own; wherever a script could get hold of it
//! (`pcall`, `xpcall`, `coroutine.resume`) it is first made into what Redis would have raised.

use std::fmt;

use mlua::{Lua, Table, Value};

/// The name under which the sandbox's own Lua is loaded; scripts' line numbers are never looked for in it.
pub(super) const OWN_SOURCE: &str = "=annulus";

/// An error that a Rust function raises in a script.
#[derive(Clone, Debug)]
pub(super) enum Raise {
    /// A plain message.
    Message(Vec<u8>),
    /// A table with the field `err`, as errors of commands are.
    Reply(Vec<u8>),
    /// The script is to end.
    Killed,
}

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raise::Message(text) | Raise::Reply(text) => f.write_str(&String::from_utf8_lossy(text)),
            Raise::Killed => f.write_str(KILLED),
        }
    }
}

impl std::error::Error for Raise {}

/// What a killed script's client is told.
pub(super) const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";

impl From<Raise> for mlua::Error {
    fn from(raise: Raise) -> Self {
        mlua::Error::external(raise)
    }
}

/// A plain message, with the position of the script's line that called the running function in front.
pub(super) fn message(lua: &Lua, text: impl AsRef<[u8]>) -> mlua::Error {
    let mut message = position(lua, 1).into_bytes();
    message.extend_from_slice(text.as_ref());
    Raise::Message(message).into()
}

/// An argument of a library function is wrong.
pub(super) fn argument(lua: &Lua, number: usize, function: &str, what: impl fmt::Display) -> mlua::Error {
    message(lua, format!("bad argument #{number} to '{function}' ({what})"))
}

/// An argument has another type.
pub(super) fn expected(
    lua: &Lua,
    number: usize,
    function: &str,
    what: &str,
    value: Option<&Value>,
) -> mlua::Error {
    let got = value.map_or("no value", type_name);
    argument(lua, number, function, format_args!("{what} expected, got {got}"))
}

/// A type's name as Lua has it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::LightUserData(_) | Value::UserData(_) | Value::Error(_) => "userdata",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        Value::Other(_) => "other",
    }
}

/// `user_script:1: ` for the function at a level of the stack, or nothing if it has no lines.
fn position(lua: &Lua, level: usize) -> String {
    lua.inspect_stack(level, |debug| {
        let source = debug.source();
        match (source.short_src.as_deref(), debug.current_line()) {
            (Some(name), Some(line)) => format!("{name}:{line}: "),
            _ => String::new(),
        }
    })
    .unwrap_or_default()
}

/// Where an error was raised: source and line of the innermost function that is a script's.
pub(super) fn origin(lua: &Lua) -> Option<(String, usize)> {
    const LEVELS_MAX: usize = 6;
    (1..LEVELS_MAX)
        .map_while(|level| {
            lua.inspect_stack(level, |debug| {
                let source = debug.source().source.map(std::borrow::Cow::into_owned);
                (source.filter(|it| it.starts_with('@') && it != "@"), debug.current_line())
            })
        })
        .find_map(|(source, line)| Some((source?, line?)))
}

/// What a raised value of the binding's own stands for.
pub(super) fn raised(error: &mlua::Error) -> Raise {
    if let Some(raise) = error.downcast_ref::<Raise>() {
        return raise.clone();
    }
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => raised(cause),
        mlua::Error::MemoryError(_) => Raise::Message(b"not enough memory".to_vec()),
        mlua::Error::RuntimeError(text) | mlua::Error::SyntaxError { message: text, .. } => {
            Raise::Message(text.split("\nstack traceback:").next().unwrap_or_default().into())
        }
        other => Raise::Message(other.to_string().into_bytes()),
    }
}

/// An error as scripts see it: strings and tables as they are, ours as what it stands for.
pub(super) fn visible(lua: &Lua, error: Value) -> mlua::Result<Value> {
    let Value::Error(error) = error else { return Ok(error) };
    match raised(&error) {
        Raise::Message(text) => lua.create_string(text).map(Value::String),
        Raise::Reply(text) => error_table(lua, &text).map(Value::Table),
        Raise::Killed => error_table(lua, KILLED.as_bytes()).map(Value::Table),
    }
}

/// An error reply as Lua has it.
pub(super) fn error_table(lua: &Lua, text: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(text)?)?;
    Ok(table)
}
