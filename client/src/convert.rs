//! From replies to Rust types, over both protocols: what RESP3 says with a type, RESP2 says with a text or a number.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, Hash},
};

use bytes::Bytes;

use crate::{Error, Result, Value};

/// A type that a reply can become.
pub trait FromValue: Sized {
    /// Converts; [`Error::Unexpected`] if the reply is of another type.
    fn from_value(value: Value) -> Result<Self>;
}

/// The result of a command: an error at the top level is the command's error.
pub(crate) fn result_of<T: FromValue>(reply: Value) -> Result<T> {
    match reply {
        Value::Error(text) => Err(Error::from_reply(&text)),
        value => T::from_value(value),
    }
}

fn unexpected<T>(expected: &'static str, found: &Value) -> Result<T> {
    Err(match found {
        // Where an element should be, such as in the replies of a script.
        Value::Error(text) => Error::from_reply(text),
        other => Error::Unexpected { expected, found: other.kind().to_owned() },
    })
}

fn parse<T: std::str::FromStr>(expected: &'static str, value: &Value) -> Result<T> {
    let text = value.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
    match text.and_then(|text| text.parse().ok()) {
        Some(parsed) => Ok(parsed),
        None => unexpected(expected, value),
    }
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self> {
        Ok(value)
    }
}

/// Any success will do.
impl FromValue for () {
    fn from_value(_: Value) -> Result<Self> {
        Ok(())
    }
}

impl FromValue for Bytes {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Bulk(bytes) | Value::Simple(bytes) | Value::Big(bytes) => Ok(bytes),
            other => unexpected("string", &other),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self> {
        let bytes = Bytes::from_value(value)?;
        Self::from_utf8(bytes.into()).map_err(|_| Error::Unexpected {
            expected: "text in UTF-8",
            found: "a string of other bytes".to_owned(),
        })
    }
}

impl FromValue for i64 {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Integer(number) => Ok(number),
            Value::Boolean(boolean) => Ok(Self::from(boolean)),
            other => parse("integer", &other),
        }
    }
}

impl FromValue for u64 {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Integer(number) => {
                Self::try_from(number).or_else(|_| unexpected("unsigned integer", &Value::Integer(number)))
            }
            other => parse("unsigned integer", &other),
        }
    }
}

impl FromValue for u16 {
    fn from_value(value: Value) -> Result<Self> {
        let number = u64::from_value(value)?;
        Self::try_from(number)
            .map_err(|_| Error::Unexpected { expected: "number of 16 bits", found: number.to_string() })
    }
}

impl FromValue for f64 {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Double(number) => Ok(number),
            Value::Integer(number) => Ok(number as Self),
            other => parse("number", &other),
        }
    }
}

/// 1 and 0; also `OK` and null, with which commands say whether they did what was asked.
impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Boolean(boolean) => Ok(boolean),
            Value::Integer(number @ (0 | 1)) => Ok(number == 1),
            Value::Simple(text) if text.as_ref() == b"OK" => Ok(true),
            Value::Null => Ok(false),
            other => unexpected("boolean", &other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Array(values) | Value::Set(values) | Value::Push(values) => {
                values.into_iter().map(T::from_value).collect()
            }
            other => unexpected("array", &other),
        }
    }
}

impl<T: FromValue + Ord> FromValue for BTreeSet<T> {
    fn from_value(value: Value) -> Result<Self> {
        Vec::from_value(value).map(|values| values.into_iter().collect())
    }
}

/// An array of so many values.
pub(crate) fn array<const N: usize>(value: Value) -> Result<[Value; N]> {
    let values = Vec::<Value>::from_value(value)?;
    values.try_into().map_err(|values: Vec<Value>| Error::Unexpected {
        expected: "array of the right length",
        found: format!("{} instead of {N} values", values.len()),
    })
}

impl<A: FromValue, B: FromValue> FromValue for (A, B) {
    fn from_value(value: Value) -> Result<Self> {
        let [first, second] = array(value)?;
        Ok((A::from_value(first)?, B::from_value(second)?))
    }
}

impl<A: FromValue, B: FromValue, C: FromValue> FromValue for (A, B, C) {
    fn from_value(value: Value) -> Result<Self> {
        let [first, second, third] = array(value)?;
        Ok((A::from_value(first)?, B::from_value(second)?, C::from_value(third)?))
    }
}

/// The pairs of a map, of an array of pairs, or of the flat array that RESP2 has instead. No key is an array.
pub(crate) fn pairs<K: FromValue, V: FromValue>(value: Value) -> Result<Vec<(K, V)>> {
    let convert = |(key, value)| Ok((K::from_value(key)?, V::from_value(value)?));
    match value {
        Value::Map(pairs) => pairs.into_iter().map(convert).collect(),
        Value::Array(pairs) if pairs.iter().all(|pair| matches!(pair, Value::Array(_))) => {
            pairs.into_iter().map(<(K, V)>::from_value).collect()
        }
        Value::Array(flat) if flat.len().is_multiple_of(2) => {
            let mut found = Vec::with_capacity(flat.len() / 2);
            let mut flat = flat.into_iter();
            while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                found.push(convert((key, value))?);
            }
            Ok(found)
        }
        other => unexpected("map", &other),
    }
}

/// A map whose keys are known: a description of something. What is not asked for is let pass, since later servers tell more.
pub(crate) struct Described(Vec<(String, Value)>);

impl Described {
    pub(crate) fn new(value: Value) -> Result<Self> {
        pairs(value).map(Self)
    }

    /// What is said under a name; as null if it isn't.
    pub(crate) fn take<T: FromValue>(&mut self, name: &str) -> Result<T> {
        let found = self.0.iter_mut().find(|(known, _)| known == name);
        T::from_value(found.map_or(Value::Null, |(_, value)| std::mem::replace(value, Value::Null)))
    }
}

impl<K: FromValue + Eq + Hash, V: FromValue, S: BuildHasher + Default> FromValue for HashMap<K, V, S> {
    fn from_value(value: Value) -> Result<Self> {
        Ok(pairs(value)?.into_iter().collect())
    }
}

impl<K: FromValue + Ord, V: FromValue> FromValue for BTreeMap<K, V> {
    fn from_value(value: Value) -> Result<Self> {
        Ok(pairs(value)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &'static str) -> Value {
        Value::Bulk(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn both_protocols_forms_of_a_value_convert_to_the_same() {
        assert_eq!(f64::from_value(Value::Double(1.5)), f64::from_value(bulk("1.5")));
        assert_eq!(bool::from_value(Value::Boolean(true)), bool::from_value(Value::Integer(1)));
        let map = Value::Map(vec![(bulk("a"), bulk("1")), (bulk("b"), bulk("2"))]);
        let flat = Value::Array(vec![bulk("a"), bulk("1"), bulk("b"), bulk("2")]);
        let expected = BTreeMap::from([("a".to_owned(), 1_i64), ("b".to_owned(), 2)]);
        assert_eq!(BTreeMap::from_value(map), Ok(expected.clone()));
        assert_eq!(BTreeMap::from_value(flat), Ok(expected));
    }

    #[test]
    fn pairs_come_as_a_map_as_pairs_or_flat() {
        let two = |key, value| Value::Array(vec![bulk(key), value]);
        let expected = vec![("a".to_owned(), 1_i64), ("b".to_owned(), 2)];
        for value in [
            Value::Map(vec![(bulk("a"), Value::Integer(1)), (bulk("b"), Value::Integer(2))]),
            Value::Array(vec![two("a", Value::Integer(1)), two("b", Value::Integer(2))]),
            Value::Array(vec![bulk("a"), Value::Integer(1), bulk("b"), Value::Integer(2)]),
        ] {
            assert_eq!(pairs::<String, i64>(value), Ok(expected.clone()));
        }
        assert_eq!(pairs::<String, i64>(Value::Array(Vec::new())), Ok(Vec::new()));
        // Values that are arrays do not make a flat array one of pairs.
        let flat = Value::Array(vec![bulk("a"), Value::Array(vec![bulk("x"), bulk("y")])]);
        assert_eq!(
            pairs::<String, Vec<String>>(flat),
            Ok(vec![("a".to_owned(), vec!["x".to_owned(), "y".to_owned()])])
        );
        assert!(pairs::<String, i64>(Value::Array(vec![two("a", Value::Null)])).is_err());
        assert!(pairs::<String, i64>(Value::Integer(1)).is_err());
    }

    #[test]
    fn a_description_is_read_by_name_and_may_say_more_or_less() {
        let value = Value::Map(vec![(bulk("length"), Value::Integer(3)), (bulk("new"), Value::Null)]);
        let mut described = Described::new(value).unwrap();
        assert_eq!(described.take("length"), Ok(3_i64));
        assert_eq!(described.take("lag"), Ok(None::<i64>));
        assert!(described.take::<i64>("lag").is_err());
    }

    #[test]
    fn a_reply_of_another_type_is_an_error_that_says_both() {
        let wrong = Vec::<Bytes>::from_value(Value::Integer(7));
        assert_eq!(wrong, Err(Error::Unexpected { expected: "array", found: "an integer".to_owned() }));
        assert!(i64::from_value(bulk("x")).is_err());
        assert!(u64::from_value(Value::Integer(-1)).is_err());
        assert!(bool::from_value(Value::Integer(2)).is_err());
        assert!(String::from_value(Value::Bulk(Bytes::from_static(b"\xff"))).is_err());
        assert!(<(i64, i64)>::from_value(Value::Array(vec![Value::Integer(1)])).is_err());
        assert!(HashMap::<String, String>::from_value(Value::Array(vec![bulk("odd")])).is_err());
        assert!(Bytes::from_value(Value::Null).is_err());
        let inner = Value::Array(vec![Value::Error(Bytes::from_static(b"WRONGTYPE x"))]);
        assert_eq!(Vec::<i64>::from_value(inner), Err(Error::WrongType("WRONGTYPE x".to_owned())));
        assert_eq!(Option::<Bytes>::from_value(Value::Null), Ok(None));
    }
}
