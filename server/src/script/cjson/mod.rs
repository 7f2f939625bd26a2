//! The library `cjson`: JSON as Redis's scripts know it, with its options and its error texts
//! (<https://github.com/mpx/lua-cjson/blob/master/manual.adoc>).

mod decode;
mod encode;

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Lua, Table, Value, Variadic};

use super::convert::{as_bytes, as_number};
use super::number::to_integer;
use super::raise::{argument, expected};

/// What to do with numbers that JSON has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invalid {
    Refuse,
    Allow,
    Null,
}

/// The options.
#[derive(Clone, Debug)]
struct Options {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth_max: i64,
    decode_depth_max: i64,
    encode_invalid: Invalid,
    decode_invalid: Invalid,
    keep_buffer: bool,
    precision: i64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            encode_invalid: Invalid::Refuse,
            decode_invalid: Invalid::Allow,
            keep_buffer: true,
            precision: 14,
        }
    }
}

/// Nesting is refused beyond this whatever the option says: it takes native stack.
const DEPTH_MAX: i64 = 2000;

type Shared = Rc<RefCell<Options>>;

/// The library, with options of its own.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    let options = Shared::default();
    library.raw_set("_NAME", "cjson")?;
    library.raw_set("_VERSION", "2.1.0")?;
    library.raw_set("null", Value::NULL)?;
    library.raw_set("new", lua.create_function(|lua, _: Variadic<Value>| library_again(lua))?)?;
    let shared = Rc::clone(&options);
    let encode = move |lua: &Lua, args: Variadic<Value>| {
        let [value] = args.as_slice() else { return Err(argument(lua, 1, "encode", "expected 1 argument")) };
        let text = encode::encode(lua, value, &shared.borrow())?;
        lua.create_string(text)
    };
    library.raw_set("encode", lua.create_function(encode)?)?;
    let shared = Rc::clone(&options);
    let decode = move |lua: &Lua, args: Variadic<Value>| {
        let [value] = args.as_slice() else { return Err(argument(lua, 1, "decode", "expected 1 argument")) };
        let Some(text) = as_bytes(lua, value) else {
            return Err(expected(lua, 1, "decode", "string", Some(value)));
        };
        decode::decode(lua, &text, &shared.borrow())
    };
    library.raw_set("decode", lua.create_function(decode)?)?;
    add_options(lua, &library, &options)?;
    Ok(library)
}

fn library_again(lua: &Lua) -> mlua::Result<Table> {
    library(lua)
}

/// An option with a number: its function's name, the range, and where it is kept.
type Number = (&'static str, i64, i64, fn(&mut Options) -> &mut i64);

/// One of the options.
type Field = fn(&mut Options) -> &mut Invalid;

fn add_options(lua: &Lua, library: &Table, options: &Shared) -> mlua::Result<()> {
    const INT_MAX: i64 = i32::MAX as i64;
    let numbers: [Number; 3] = [
        ("encode_max_depth", 1, INT_MAX, |options| &mut options.encode_depth_max),
        ("decode_max_depth", 1, INT_MAX, |options| &mut options.decode_depth_max),
        ("encode_number_precision", 1, 14, |options| &mut options.precision),
    ];
    for (name, low, high, field) in numbers {
        let shared = Rc::clone(options);
        let function = move |lua: &Lua, args: Variadic<Value>| {
            check_count(lua, &args, 1, name)?;
            let mut options = shared.borrow_mut();
            let field = field(&mut options);
            if let Some(number) = number(lua, &args, 0, name, low, high)? {
                *field = number;
            }
            Ok(*field as f64)
        };
        library.raw_set(name, lua.create_function(function)?)?;
    }
    let shared = Rc::clone(options);
    let keep_buffer = move |lua: &Lua, args: Variadic<Value>| {
        check_count(lua, &args, 1, "encode_keep_buffer")?;
        let choice = choice(lua, &args, "encode_keep_buffer", false)?;
        let mut options = shared.borrow_mut();
        options.keep_buffer = choice.map_or(options.keep_buffer, |it| it == Invalid::Allow);
        Ok(options.keep_buffer)
    };
    library.raw_set("encode_keep_buffer", lua.create_function(keep_buffer)?)?;
    let invalid: [(_, _, Field); 2] = [
        ("encode_invalid_numbers", true, |options| &mut options.encode_invalid),
        ("decode_invalid_numbers", false, |options| &mut options.decode_invalid),
    ];
    for (name, null, field) in invalid {
        let shared = Rc::clone(options);
        let function = move |lua: &Lua, args: Variadic<Value>| {
            check_count(lua, &args, 1, name)?;
            let choice = choice(lua, &args, name, null)?;
            let mut options = shared.borrow_mut();
            let field = field(&mut options);
            *field = choice.unwrap_or(*field);
            match *field {
                Invalid::Null => lua.create_string("null").map(Value::String),
                other => Ok(Value::Boolean(other == Invalid::Allow)),
            }
        };
        library.raw_set(name, lua.create_function(function)?)?;
    }
    let shared = Rc::clone(options);
    let sparse = move |lua: &Lua, args: Variadic<Value>| {
        const NAME: &str = "encode_sparse_array";
        check_count(lua, &args, 3, NAME)?;
        let convert = choice(lua, &args, NAME, false)?;
        let ratio = number(lua, &args, 1, NAME, 0, INT_MAX)?;
        let safe = number(lua, &args, 2, NAME, 0, INT_MAX)?;
        let mut options = shared.borrow_mut();
        options.sparse_convert = convert.map_or(options.sparse_convert, |it| it == Invalid::Allow);
        options.sparse_ratio = ratio.unwrap_or(options.sparse_ratio);
        options.sparse_safe = safe.unwrap_or(options.sparse_safe);
        Ok((options.sparse_convert, options.sparse_ratio as f64, options.sparse_safe as f64))
    };
    library.raw_set("encode_sparse_array", lua.create_function(sparse)?)
}

fn check_count(lua: &Lua, args: &[Value], most: usize, name: &str) -> mlua::Result<()> {
    if args.len() <= most { Ok(()) } else { Err(argument(lua, most + 1, name, "found too many arguments")) }
}

fn number(
    lua: &Lua,
    args: &[Value],
    index: usize,
    name: &str,
    low: i64,
    high: i64,
) -> mlua::Result<Option<i64>> {
    let Some(value) = args.get(index).filter(|value| !value.is_nil()) else { return Ok(None) };
    let Some(number) = as_number(lua, value) else {
        return Err(expected(lua, index + 1, name, "number", Some(value)));
    };
    let number = to_integer(number);
    if (low..=high).contains(&number) {
        return Ok(Some(number));
    }
    let what = format!("expected integer between {low} and {high}");
    Err(argument(lua, index + 1, name, what))
}

/// A switch: a boolean or its name.
fn choice(lua: &Lua, args: &[Value], name: &str, null: bool) -> mlua::Result<Option<Invalid>> {
    match args.first() {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::Boolean(on)) => Ok(Some(if *on { Invalid::Allow } else { Invalid::Refuse })),
        Some(value) => {
            let Some(text) = as_bytes(lua, value) else {
                return Err(expected(lua, 1, name, "string", Some(value)));
            };
            match text.as_slice() {
                b"off" => Ok(Some(Invalid::Refuse)),
                b"on" => Ok(Some(Invalid::Allow)),
                b"null" if null => Ok(Some(Invalid::Null)),
                _ => {
                    let what = format!("invalid option '{}'", String::from_utf8_lossy(&text));
                    Err(argument(lua, 1, name, what))
                }
            }
        }
    }
}
