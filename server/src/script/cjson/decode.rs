//! JSON to Lua values.

use mlua::{Lua, Value};

use super::super::raise::message;
use super::{DEPTH_MAX, Invalid, Options};

pub(super) fn decode(lua: &Lua, text: &[u8], options: &Options) -> mlua::Result<Value> {
    // Two bytes of UTF-8 JSON are never zero.
    if let [0, _, ..] | [_, 0, ..] = text {
        return Err(message(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    // To the parser that Redis has, a zero byte is the end.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut decoder = Decoder { lua, options, text, at: 0 };
    let token = decoder.token();
    let value = decoder.value(token, 0)?;
    match decoder.token() {
        Token { kind: Kind::End, .. } => Ok(value),
        other => decoder.unexpected("the end", &other),
    }
}

enum Kind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::ObjectBegin => "T_OBJ_BEGIN",
            Kind::ObjectEnd => "T_OBJ_END",
            Kind::ArrayBegin => "T_ARR_BEGIN",
            Kind::ArrayEnd => "T_ARR_END",
            Kind::String(_) => "T_STRING",
            Kind::Number(_) => "T_NUMBER",
            Kind::Boolean(_) => "T_BOOLEAN",
            Kind::Null => "T_NULL",
            Kind::Colon => "T_COLON",
            Kind::Comma => "T_COMMA",
            Kind::End => "T_END",
            Kind::Error(what) => what,
        }
    }
}

struct Token {
    kind: Kind,
    /// Where it begins, or where it went wrong.
    at: usize,
}

struct Decoder<'a> {
    lua: &'a Lua,
    options: &'a Options,
    text: &'a [u8],
    at: usize,
}

impl Decoder<'_> {
    fn unexpected<T>(&self, wanted: &str, token: &Token) -> mlua::Result<T> {
        let found = token.kind.name();
        let text = format!("Expected {wanted} but found {found} at character {}", token.at + 1);
        Err(message(self.lua, text))
    }

    fn value(&mut self, token: Token, depth: i64) -> mlua::Result<Value> {
        match token.kind {
            Kind::String(text) => self.lua.create_string(text).map(Value::String),
            Kind::Number(number) => Ok(Value::Number(number)),
            Kind::Boolean(value) => Ok(Value::Boolean(value)),
            Kind::Null => Ok(Value::NULL),
            Kind::ObjectBegin => self.object(depth + 1),
            Kind::ArrayBegin => self.array(depth + 1),
            _ => self.unexpected("value", &token),
        }
    }

    fn descend(&self, depth: i64) -> mlua::Result<()> {
        if depth <= self.options.decode_depth_max.min(DEPTH_MAX) {
            return Ok(());
        }
        let text = format!("Found too many nested data structures ({depth}) at character {}", self.at);
        Err(message(self.lua, text))
    }

    fn object(&mut self, depth: i64) -> mlua::Result<Value> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if let Kind::ObjectEnd = token.kind {
            return Ok(Value::Table(table));
        }
        loop {
            let Kind::String(key) = token.kind else { return self.unexpected("object key string", &token) };
            let colon = self.token();
            if !matches!(colon.kind, Kind::Colon) {
                return self.unexpected("colon", &colon);
            }
            let value = self.token();
            let value = self.value(value, depth)?;
            table.raw_set(self.lua.create_string(key)?, value)?;
            token = self.token();
            match token.kind {
                Kind::ObjectEnd => return Ok(Value::Table(table)),
                Kind::Comma => token = self.token(),
                _ => return self.unexpected("comma or object end", &token),
            }
        }
    }

    fn array(&mut self, depth: i64) -> mlua::Result<Value> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if let Kind::ArrayEnd = token.kind {
            return Ok(Value::Table(table));
        }
        for index in 1.. {
            let value = self.value(token, depth)?;
            table.raw_set(index, value)?;
            let next = self.token();
            match next.kind {
                Kind::ArrayEnd => break,
                Kind::Comma => token = self.token(),
                _ => return self.unexpected("comma or array end", &next),
            }
        }
        Ok(Value::Table(table))
    }

    fn token(&mut self) -> Token {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        let at = self.at;
        let Some(&first) = self.text.get(at) else { return Token { kind: Kind::End, at } };
        let single = match first {
            b'{' => Kind::ObjectBegin,
            b'}' => Kind::ObjectEnd,
            b'[' => Kind::ArrayBegin,
            b']' => Kind::ArrayEnd,
            b':' => Kind::Colon,
            b',' => Kind::Comma,
            b'"' => return self.string(),
            _ => return Token { kind: self.word(first), at },
        };
        self.at += 1;
        Token { kind: single, at }
    }

    fn word(&mut self, first: u8) -> Kind {
        let rest = &self.text[self.at..];
        for (word, kind) in
            [("true", Kind::Boolean(true)), ("false", Kind::Boolean(false)), ("null", Kind::Null)]
        {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return kind;
            }
        }
        let invalid = is_invalid_number(rest);
        let allowed = self.options.decode_invalid != Invalid::Refuse;
        match first {
            b'-' | b'0'..=b'9' if !allowed && invalid => Kind::Error("invalid number"),
            b'-' | b'0'..=b'9' => self.number(),
            _ if allowed && invalid => self.number(),
            _ => Kind::Error("invalid token"),
        }
    }

    fn number(&mut self) -> Kind {
        match parse_number(&self.text[self.at..]) {
            Some((number, length)) => {
                self.at += length;
                Kind::Number(number)
            }
            None => Kind::Error("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        let begin = self.at;
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let at = self.at;
            let error = |what| Token { kind: Kind::Error(what), at };
            match self.text.get(at) {
                None => return error("unexpected end of string"),
                Some(b'"') => {
                    self.at += 1;
                    return Token { kind: Kind::String(out), at: begin };
                }
                Some(b'\\') => {
                    let simple = match self.text.get(at + 1) {
                        Some(it @ (b'"' | b'\\' | b'/')) => *it,
                        Some(b'b') => 8,
                        Some(b'f') => 12,
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        Some(b'u') => match self.unicode() {
                            Some(character) => {
                                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                                continue;
                            }
                            None => return error("invalid unicode escape code"),
                        },
                        _ => return error("invalid escape code"),
                    };
                    out.push(simple);
                    self.at += 2;
                }
                Some(byte) => {
                    out.push(*byte);
                    self.at += 1;
                }
            }
        }
    }

    /// `\uXXXX`, or two of them that are one character.
    fn unicode(&mut self) -> Option<char> {
        let unit = |at: usize| {
            let escape = self.text.get(at..at + 6)?;
            let digits = escape.strip_prefix(b"\\u").filter(|it| it.iter().all(u8::is_ascii_hexdigit))?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let first = unit(self.at)?;
        let code = if let 0xD800..0xDC00 = first {
            let second = unit(self.at + 6).filter(|it| (0xDC00..0xE000).contains(it))?;
            self.at += 6;
            0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
        } else {
            first
        };
        self.at += 6;
        char::from_u32(code)
    }
}

/// Whether it begins like a number that JSON has not: signs in front, leading zeros, hexadecimal, not finite.
fn is_invalid_number(text: &[u8]) -> bool {
    let rest = match text.first() {
        Some(b'+') => return true,
        Some(b'-') => &text[1..],
        _ => text,
    };
    let starts = |word: &[u8]| rest.get(..3).is_some_and(|it| it.eq_ignore_ascii_case(word));
    match rest {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
        [b'0'..=b'9', ..] => false,
        _ => starts(b"inf") || starts(b"nan"),
    }
}

/// As C's `strtod`: the number at the start of a text, and its length.
fn parse_number(text: &[u8]) -> Option<(f64, usize)> {
    let signed = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let negative = text.first() == Some(&b'-');
    let rest = &text[signed..];
    let with_sign = |value: f64| if negative { -value } else { value };
    let starts = |word: &[u8]| rest.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word));
    for (word, value) in [(&b"infinity"[..], f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)] {
        if starts(word) {
            return Some((with_sign(value), signed + word.len()));
        }
    }
    if starts(b"0x") && rest.get(2).is_some_and(u8::is_ascii_hexdigit) {
        let digits = rest[2..].iter().take_while(|it| it.is_ascii_hexdigit()).count();
        let value = rest[2..2 + digits]
            .iter()
            .fold(0.0, |value, digit| value * 16.0 + f64::from(char::from(*digit).to_digit(16).unwrap_or(0)));
        return Some((with_sign(value), signed + 2 + digits));
    }
    let digits_at =
        |from: usize| rest[from.min(rest.len())..].iter().take_while(|it| it.is_ascii_digit()).count();
    let whole = digits_at(0);
    let mut end = whole;
    if rest.get(end) == Some(&b'.') {
        let decimals = digits_at(end + 1);
        if whole + decimals == 0 {
            return None;
        }
        end += 1 + decimals;
    } else if whole == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = rest.get(end) {
        let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
        let digits = digits_at(end + 1 + sign);
        if digits > 0 {
            end += 1 + sign + digits;
        }
    }
    let value: f64 = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((with_sign(value), signed + end))
}
