//! The library `struct`: numbers and strings to bytes and back, by the format letters of Redis's scripts
//! (<https://redis.io/docs/latest/develop/programmability/lua-api/#struct-library>).

#![expect(clippy::needless_pass_by_value, reason = "the binding hands over the arguments of a function")]

use mlua::{Lua, Table, Value, Variadic};

use super::convert::{as_bytes, as_number};
use super::number::to_integer;
use super::raise::{argument, expected, message};

/// Bytes of an integer at most.
const INTEGER_BYTES_MAX: usize = 32;
/// Alignment of `!` without a number.
const ALIGNMENT: usize = 8;

/// A format, read from left to right.
struct Format<'f> {
    lua: &'f Lua,
    function: &'static str,
    rest: &'f [u8],
    big: bool,
    alignment: usize,
}

/// A letter with its size, and the padding before it.
struct Item {
    letter: u8,
    bytes: usize,
}

impl<'f> Format<'f> {
    fn new(lua: &'f Lua, function: &'static str, text: &'f [u8]) -> Self {
        Format { lua, function, rest: text, big: false, alignment: 1 }
    }

    fn number(&mut self, default: usize) -> mlua::Result<usize> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (text, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i32>().ok());
        number.map(|it| it as usize).ok_or_else(|| message(self.lua, "integral size overflow"))
    }

    /// The next letter that stands for something.
    fn next(&mut self) -> mlua::Result<Option<Item>> {
        while let Some((&letter, rest)) = self.rest.split_first() {
            self.rest = rest;
            let bytes = match letter {
                b' ' => continue,
                b'<' | b'>' => {
                    self.big = letter == b'>';
                    continue;
                }
                b'!' => {
                    let alignment = self.number(ALIGNMENT)?;
                    if !alignment.is_power_of_two() {
                        let text = format!("alignment {alignment} is not a power of 2");
                        return Err(message(self.lua, text));
                    }
                    self.alignment = alignment;
                    continue;
                }
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'f' => 4,
                b'c' => self.number(1)?,
                b's' => 0,
                b'i' | b'I' => {
                    let bytes = self.number(4)?;
                    if bytes > INTEGER_BYTES_MAX {
                        let text =
                            format!("integral size {bytes} is larger than limit of {INTEGER_BYTES_MAX}");
                        return Err(message(self.lua, text));
                    }
                    bytes
                }
                other => {
                    let what = format!("invalid format option '{}'", char::from(other));
                    return Err(argument(self.lua, 1, self.function, what));
                }
            };
            return Ok(Some(Item { letter, bytes }));
        }
        Ok(None)
    }

    fn padding(&self, position: usize, item: &Item) -> usize {
        if item.bytes == 0 || item.letter == b'c' {
            return 0;
        }
        let to = item.bytes.min(self.alignment);
        to.wrapping_sub(position & to.wrapping_sub(1)) & to.wrapping_sub(1)
    }

    fn order(&self, bytes: &mut [u8]) {
        if self.big {
            bytes.reverse();
        }
    }
}

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("pack", lua.create_function(pack)?)?;
    library.raw_set("unpack", lua.create_function(unpack)?)?;
    library.raw_set("size", lua.create_function(size)?)?;
    Ok(library)
}

fn text(lua: &Lua, args: &[Value], index: usize, function: &str) -> mlua::Result<Vec<u8>> {
    let value = args.get(index);
    value
        .and_then(|value| as_bytes(lua, value))
        .ok_or_else(|| expected(lua, index + 1, function, "string", value))
}

fn pack(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Value> {
    let text = text(lua, &args, 0, "pack")?;
    let mut format = Format::new(lua, "pack", &text);
    let mut out = Vec::new();
    let mut next = 1;
    // An argument that is missing counts as nil.
    let nil = Value::Nil;
    while let Some(item) = format.next()? {
        out.resize(out.len() + format.padding(out.len(), &item), 0);
        if item.letter == b'x' {
            out.push(0);
            continue;
        }
        let value = args.get(next).unwrap_or(&nil);
        next += 1;
        if let b's' | b'c' = item.letter {
            let bytes =
                as_bytes(lua, value).ok_or_else(|| expected(lua, next, "pack", "string", Some(value)))?;
            let length = if item.bytes == 0 { bytes.len() } else { item.bytes };
            let Some(bytes) = bytes.get(..length) else {
                return Err(argument(lua, next + 1, "pack", "string too short"));
            };
            out.extend_from_slice(bytes);
            if item.letter == b's' {
                out.push(0);
            }
            continue;
        }
        let Some(number) = as_number(lua, value) else {
            return Err(expected(lua, next, "pack", "number", Some(value)));
        };
        let start = out.len();
        match item.letter {
            b'f' => out.extend_from_slice(&(number as f32).to_le_bytes()),
            b'd' => out.extend_from_slice(&number.to_le_bytes()),
            _ => {
                let integer = if number < 0.0 { to_integer(number) as u64 } else { number as u64 };
                let bytes = integer.to_le_bytes();
                out.extend((0..item.bytes).map(|index| bytes.get(index).copied().unwrap_or(0)));
            }
        }
        format.order(&mut out[start..]);
    }
    lua.create_string(out).map(Value::String)
}

fn unpack(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Variadic<Value>> {
    let pattern = text(lua, &args, 0, "unpack")?;
    let data = text(lua, &args, 1, "unpack")?;
    let first = match args.get(2) {
        None | Some(Value::Nil) => 1,
        Some(value) => as_number(lua, value)
            .map(to_integer)
            .ok_or_else(|| expected(lua, 3, "unpack", "number", Some(value)))?,
    };
    let too_short = || argument(lua, 2, "unpack", "data string too short");
    let mut position = usize::try_from(first - 1).map_err(|_| too_short())?;
    let mut format = Format::new(lua, "unpack", &pattern);
    let mut values: Vec<Value> = Vec::new();
    while let Some(item) = format.next()? {
        position += format.padding(position, &item);
        let rest = data.get(position..).ok_or_else(too_short)?;
        let mut length = item.bytes;
        if item.letter == b's' {
            let Some(end) = memchr::memchr(0, rest) else {
                return Err(message(lua, "unfinished string in data"));
            };
            values.push(Value::String(lua.create_string(&rest[..end])?));
            position += end + 1;
            continue;
        }
        if item.letter == b'c' && length == 0 {
            let size = values.pop().and_then(|value| as_number(lua, &value));
            let Some(size) = size else { return Err(message(lua, "format 'c0' needs a previous size")) };
            length = usize::try_from(to_integer(size)).map_err(|_| too_short())?;
        }
        let bytes = rest.get(..length).ok_or_else(too_short)?;
        position += length;
        match item.letter {
            b'x' => {}
            b'c' => values.push(Value::String(lua.create_string(bytes)?)),
            letter => {
                let mut bytes = bytes.to_vec();
                format.order(&mut bytes);
                values.push(Value::Number(number_from(letter, &bytes)));
            }
        }
    }
    values.push(Value::Number((position + 1) as f64));
    Ok(Variadic::from(values))
}

/// A number from its bytes, the lowest first.
fn number_from(letter: u8, bytes: &[u8]) -> f64 {
    let mut word = [0; 8];
    word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    match letter {
        b'f' => f64::from(f32::from_bits(u64::from_le_bytes(word) as u32)),
        b'd' => f64::from_le_bytes(word),
        _ => {
            let value = u64::from_le_bytes(word);
            if !letter.is_ascii_lowercase() || bytes.is_empty() {
                return value as f64;
            }
            let unused = 64 - 8 * bytes.len().min(8) as u32;
            ((value << unused) as i64 >> unused) as f64
        }
    }
}

fn size(lua: &Lua, args: Variadic<Value>) -> mlua::Result<f64> {
    let text = text(lua, &args, 0, "size")?;
    let mut format = Format::new(lua, "size", &text);
    let mut position = 0;
    while let Some(item) = format.next()? {
        position += format.padding(position, &item);
        match item.letter {
            b's' => return Err(argument(lua, 1, "size", "option 's' has no fixed size")),
            b'c' if item.bytes == 0 => {
                return Err(argument(lua, 1, "size", "option 'c0' has no fixed size"));
            }
            _ => position += item.bytes,
        }
    }
    Ok(position as f64)
}
