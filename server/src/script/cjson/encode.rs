//! Lua values to JSON.

use mlua::{Lua, Table, Value};

use super::super::number::format_general;
use super::super::raise::{message, type_name};
use super::{DEPTH_MAX, Invalid, Options};

pub(super) fn encode(lua: &Lua, value: &Value, options: &Options) -> mlua::Result<Vec<u8>> {
    let mut encoder = Encoder { lua, options, out: Vec::new() };
    encoder.value(value, 0)?;
    Ok(encoder.out)
}

struct Encoder<'a> {
    lua: &'a Lua,
    options: &'a Options,
    out: Vec<u8>,
}

impl Encoder<'_> {
    fn refuse<T>(&self, value: &Value, why: &str) -> mlua::Result<T> {
        Err(message(self.lua, format!("Cannot serialise {}: {why}", type_name(value))))
    }

    fn value(&mut self, value: &Value, depth: i64) -> mlua::Result<()> {
        match value {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Integer(number) => return self.number(*number as f64, value),
            Value::Number(number) => return self.number(*number, value),
            Value::Boolean(value) => self.out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(data) if data.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::Table(table) => return self.table(table, depth + 1),
            _ => return self.refuse(value, "type not supported"),
        }
        Ok(())
    }

    fn number(&mut self, number: f64, value: &Value) -> mlua::Result<()> {
        if number.is_finite() {
            let text = format_general(number, self.options.precision as usize);
            self.out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        match self.options.encode_invalid {
            Invalid::Refuse => return self.refuse(value, "must not be NaN or Inf"),
            Invalid::Null => self.out.extend_from_slice(b"null"),
            Invalid::Allow if number.is_nan() => self.out.extend_from_slice(b"nan"),
            Invalid::Allow => self.out.extend_from_slice(if number < 0.0 { b"-inf" } else { b"inf" }),
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for byte in text {
            match byte {
                b'"' | b'\\' | b'/' => self.out.extend_from_slice(&[b'\\', *byte]),
                8 => self.out.extend_from_slice(b"\\b"),
                12 => self.out.extend_from_slice(b"\\f"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                0..32 | 127 => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => self.out.push(*byte),
            }
        }
        self.out.push(b'"');
    }

    fn table(&mut self, table: &Table, depth: i64) -> mlua::Result<()> {
        if depth > self.options.encode_depth_max.min(DEPTH_MAX) {
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(message(self.lua, text));
        }
        match self.array_length(table)? {
            Some(length @ 1..) => {
                self.out.push(b'[');
                for index in 1..=length {
                    if index > 1 {
                        self.out.push(b',');
                    }
                    self.value(&table.raw_get::<Value>(index)?, depth)?;
                }
                self.out.push(b']');
                Ok(())
            }
            _ => self.object(table, depth),
        }
    }

    /// The highest index, if all keys are indexes and not too few of them.
    fn array_length(&self, table: &Table) -> mlua::Result<Option<i64>> {
        let (mut highest, mut count, mut is_array) = (0, 0, true);
        table.for_each(|key: Value, _: Value| {
            count += 1;
            match key {
                Value::Integer(index @ 1..) => highest = highest.max(index),
                _ => is_array = false,
            }
            Ok(())
        })?;
        if !is_array {
            return Ok(None);
        }
        let Options { sparse_ratio, sparse_safe, sparse_convert, .. } = *self.options;
        let sparse =
            sparse_ratio > 0 && highest > sparse_ratio.saturating_mul(count) && highest > sparse_safe;
        if sparse && !sparse_convert {
            return Err(message(self.lua, "Cannot serialise table: excessively sparse array"));
        }
        Ok((!sparse).then_some(highest))
    }

    fn object(&mut self, table: &Table, depth: i64) -> mlua::Result<()> {
        let mut entries: Vec<(Value, Value)> = Vec::new();
        table.for_each(|key: Value, value: Value| {
            entries.push((key, value));
            Ok(())
        })?;
        self.out.push(b'{');
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            match key {
                Value::String(text) => self.string(&text.as_bytes()),
                Value::Integer(number) => self.key(*number as f64, key)?,
                Value::Number(number) => self.key(*number, key)?,
                _ => return self.refuse(key, "table key must be a number or string"),
            }
            self.out.push(b':');
            self.value(value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn key(&mut self, number: f64, key: &Value) -> mlua::Result<()> {
        self.out.push(b'"');
        self.number(number, key)?;
        self.out.push(b'"');
        Ok(())
    }
}
