use proptest::prelude::*;
use redis_protocol::{resp2, resp3};

use super::*;
use crate::{Value, reply_len};

fn encode(version: Version, write: impl FnOnce(&mut Encoder<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Encoder::new(&mut out, version));
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn assert_encoded(write: impl Fn(&mut Encoder<'_>), resp2: &str, resp3: &str) {
    assert_eq!(encode(Version::Resp2, &write), resp2);
    assert_eq!(encode(Version::Resp3, &write), resp3);
}

#[test]
fn values_that_only_resp3_has_become_what_redis_makes_of_them_in_resp2() {
    assert_encoded(
        |out| {
            out.null();
            out.null_array();
        },
        "$-1\r\n*-1\r\n",
        "_\r\n_\r\n",
    );
    assert_encoded(|out| out.map_header(6), "*12\r\n", "%6\r\n");
    assert_encoded(|out| out.set_header(2), "*2\r\n", "~2\r\n");
    assert_encoded(|out| out.push_header(3), "*3\r\n", ">3\r\n");
    assert_encoded(|out| out.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
    assert_encoded(|out| out.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    assert_encoded(|out| out.double(3.0), "$1\r\n3\r\n", ",3\r\n");
    assert_encoded(|out| out.boolean(true), ":1\r\n", "#t\r\n");
    assert_encoded(|out| out.boolean(false), ":0\r\n", "#f\r\n");
    assert_encoded(|out| out.big_number("12345"), "$5\r\n12345\r\n", "(12345\r\n");
    assert_encoded(
        |out| out.verbatim(*b"txt", "some text"),
        "$9\r\nsome text\r\n",
        "=13\r\ntxt:some text\r\n",
    );
    assert_encoded(
        |out| {
            out.attribute(1, |out| {
                out.simple("ttl");
                out.integer(3);
            });
            out.bulk("x");
        },
        "$1\r\nx\r\n",
        "|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n",
    );
}

#[test]
fn values_of_both_versions_are_the_same_in_both() {
    for version in [Version::Resp2, Version::Resp3] {
        let text = encode(version, |out| {
            out.ok();
            out.simple("QUEUED");
            out.error("ERR syntax error");
            out.bulk("");
            out.bulk_integer(-12);
            out.array_header(1000);
        });
        assert_eq!(text, "+OK\r\n+QUEUED\r\n-ERR syntax error\r\n$0\r\n\r\n$3\r\n-12\r\n*1000\r\n");
    }
}

#[test]
fn lines_cannot_be_broken_by_what_is_written_on_them() {
    assert_encoded(|out| out.error("ERR a\r\n+OK"), "-ERR a  +OK\r\n", "-ERR a  +OK\r\n");
    assert_encoded(|out| out.simple("a\nb"), "+a b\r\n", "+a b\r\n");
}

#[test]
fn a_header_can_be_put_before_what_is_already_there() {
    let text = encode(Version::Resp2, |out| {
        out.ok();
        let position = out.position();
        for value in 0..12 {
            out.integer(value);
        }
        out.insert_array_header(position, 12);
        let position = out.position();
        out.integer(99);
        out.truncate(position);
        out.insert_array_header(position, 0);
    });
    let elements = (0..12).map(|value| format!(":{value}\r\n")).collect::<Vec<_>>().concat();
    assert_eq!(text, format!("+OK\r\n*12\r\n{elements}*0\r\n"));
}

#[test]
fn versions_are_numbered_as_hello_numbers_them() {
    for version in [Version::Resp2, Version::Resp3] {
        assert_eq!(Version::from_number(version.number()), Some(version));
    }
    assert_eq!(Version::from_number(1), None);
    assert_eq!(Version::from_number(4), None);
}

fn write(value: &Value, out: &mut Encoder<'_>) {
    match value {
        Value::Null => out.null(),
        Value::Simple(text) => out.simple(text),
        Value::Error(text) => out.error(text),
        Value::Integer(value) => out.integer(*value),
        Value::Bulk(bytes) => out.bulk(bytes),
        Value::Boolean(value) => out.boolean(*value),
        Value::Double(value) => out.double(*value),
        Value::BigNumber(digits) => out.big_number(digits),
        Value::Verbatim { format, text } => out.verbatim(*format, text),
        Value::Array(values) => {
            out.array_header(values.len());
            write_all(values, out);
        }
        Value::Set(values) => {
            out.set_header(values.len());
            write_all(values, out);
        }
        Value::Push(values) => {
            out.push_header(values.len());
            write_all(values, out);
        }
        Value::Map(pairs) => {
            out.map_header(pairs.len());
            for (key, value) in pairs {
                write(key, out);
                write(value, out);
            }
        }
        Value::Attributed { attributes, value } => {
            out.attribute(attributes.len(), |out| {
                for (key, value) in attributes {
                    write(key, out);
                    write(value, out);
                }
            });
            write(value, out);
        }
    }
}

fn write_all(values: &[Value], out: &mut Encoder<'_>) {
    for value in values {
        write(value, out);
    }
}

/// What RESP2 leaves of a value.
fn in_resp2(value: &Value) -> Value {
    let all = |values: &[Value]| Value::Array(values.iter().map(in_resp2).collect());
    match value {
        Value::Boolean(value) => Value::Integer(i64::from(*value)),
        Value::Double(value) => Value::Bulk(format_double(*value).to_vec()),
        Value::BigNumber(text) | Value::Verbatim { text, .. } => Value::Bulk(text.clone()),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => all(values),
        Value::Map(pairs) => {
            Value::Array(pairs.iter().flat_map(|(key, value)| [in_resp2(key), in_resp2(value)]).collect())
        }
        Value::Attributed { value, .. } => in_resp2(value),
        other => other.clone(),
    }
}

fn from_resp2(frame: resp2::types::OwnedFrame) -> Value {
    use resp2::types::OwnedFrame as Frame;
    match frame {
        Frame::SimpleString(text) => Value::Simple(text),
        Frame::Error(text) => Value::Error(text.into_bytes()),
        Frame::Integer(value) => Value::Integer(value),
        Frame::BulkString(bytes) => Value::Bulk(bytes),
        Frame::Array(frames) => Value::Array(frames.into_iter().map(from_resp2).collect()),
        Frame::Null => Value::Null,
    }
}

/// Maps and sets come back in no order; see [`in_order`].
fn from_resp3(frame: resp3::types::OwnedFrame) -> Value {
    use resp3::types::OwnedFrame as Frame;
    match frame {
        Frame::BlobString { data, .. } => Value::Bulk(data),
        Frame::BlobError { data, .. } => Value::Error(data),
        Frame::SimpleString { data, .. } => Value::Simple(data),
        Frame::SimpleError { data, .. } => Value::Error(data.into_bytes()),
        Frame::Boolean { data, .. } => Value::Boolean(data),
        Frame::Null => Value::Null,
        Frame::Number { data, .. } => Value::Integer(data),
        Frame::Double { data, .. } => Value::Double(data),
        Frame::BigNumber { data, .. } => Value::BigNumber(data),
        Frame::VerbatimString { data, .. } => Value::Verbatim { format: *b"txt", text: data },
        Frame::Array { data, .. } => Value::Array(data.into_iter().map(from_resp3).collect()),
        Frame::Push { data, .. } => Value::Push(data.into_iter().map(from_resp3).collect()),
        Frame::Set { data, .. } => Value::Set(data.into_iter().map(from_resp3).collect()),
        Frame::Map { data, .. } => {
            Value::Map(data.into_iter().map(|(key, value)| (from_resp3(key), from_resp3(value))).collect())
        }
        other => panic!("the encoder never writes {other:?}"),
    }
}

fn in_order(value: Value) -> Value {
    let all = |values: Vec<Value>| values.into_iter().map(in_order).collect::<Vec<_>>();
    match value {
        Value::Array(values) => Value::Array(all(values)),
        Value::Push(values) => Value::Push(all(values)),
        Value::Set(values) => {
            let mut values = all(values);
            values.sort_by_key(|value| format!("{value:?}"));
            Value::Set(values)
        }
        Value::Map(pairs) => {
            let mut pairs: Vec<_> =
                pairs.into_iter().map(|(key, value)| (in_order(key), in_order(value))).collect();
            pairs.sort_by_key(|pair| format!("{pair:?}"));
            Value::Map(pairs)
        }
        other => other,
    }
}

fn value() -> impl Strategy<Value = Value> {
    let line = "[ -~]{0,20}".prop_map(String::into_bytes);
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    let finite = any::<f64>().prop_filter("a number", |value| !value.is_nan());
    let leaf = prop_oneof![
        Just(Value::Null),
        line.clone().prop_map(Value::Simple),
        line.prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        (-20..200_i64).prop_map(Value::Integer),
        bytes().prop_map(Value::Bulk),
        any::<bool>().prop_map(Value::Boolean),
        finite.prop_map(Value::Double),
        "-?[1-9][0-9]{0,40}".prop_map(|digits| Value::BigNumber(digits.into_bytes())),
        bytes().prop_map(|text| Value::Verbatim { format: *b"txt", text }),
    ];
    // Keys and members are told apart, because the oracle keeps them in hash tables.
    let numbered = |(at, value): (usize, Value)| (Value::Integer(at as i64), value);
    leaf.prop_recursive(4, 60, 15, move |inner| {
        let values = prop::collection::vec(inner, 0..15);
        prop_oneof![
            values.clone().prop_map(Value::Array),
            values.clone().prop_map(Value::Push),
            values
                .clone()
                .prop_map(move |values| Value::Map(values.into_iter().enumerate().map(numbered).collect())),
            (0..20_i64).prop_map(|count| Value::Set((0..count).map(Value::Integer).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_in_resp3_is_read_back(value in value()) {
        let mut out = Vec::new();
        write(&value, &mut Encoder::new(&mut out, Version::Resp3));
        prop_assert_eq!(reply_len(&out), Ok(Some(out.len())));
        prop_assert_eq!(Value::parse(&out).unwrap(), Some((value.clone(), out.len())));
        let (frame, bytes) = resp3::decode::complete::decode(&out).unwrap().unwrap();
        prop_assert_eq!(bytes, out.len());
        prop_assert_eq!(in_order(from_resp3(frame)), in_order(value));
    }

    #[test]
    fn what_is_written_in_resp2_is_read_back_as_its_plain_form(value in value()) {
        let mut out = Vec::new();
        write(&value, &mut Encoder::new(&mut out, Version::Resp2));
        let plain = in_resp2(&value);
        prop_assert_eq!(reply_len(&out), Ok(Some(out.len())));
        prop_assert_eq!(Value::parse(&out).unwrap(), Some((plain.clone(), out.len())));
        let (frame, bytes) = resp2::decode::decode(&out).unwrap().unwrap();
        prop_assert_eq!(bytes, out.len());
        prop_assert_eq!(from_resp2(frame), plain);
    }

    #[test]
    fn an_unfinished_reply_is_no_value(value in value(), cut in any::<prop::sample::Index>()) {
        let mut out = Vec::new();
        write(&value, &mut Encoder::new(&mut out, Version::Resp3));
        out.truncate(cut.index(out.len()));
        prop_assert_eq!(Value::parse(&out), Ok(None));
        prop_assert_eq!(reply_len(&out), Ok(None));
    }

    #[test]
    fn any_bytes_are_a_reply_or_refused(bytes in prop::collection::vec(
        prop_oneof![3 => prop::sample::select(&b"*$:+-_#,(!=~>%|0123456789\r\n"[..]), 1 => any::<u8>()], 0..60,
    )) {
        let length = reply_len(&bytes);
        if let Ok(Some((_, taken))) = Value::parse(&bytes) {
            prop_assert_eq!(length, Ok(Some(taken)));
        }
        for element in crate::elements(&bytes).into_iter().flatten() {
            prop_assert!(element.map_or(0, <[u8]>::len) <= bytes.len());
        }
    }
}

#[test]
fn nesting_beyond_reason_is_refused() {
    let deep = [&b"*1\r\n".repeat(200)[..], b":1\r\n"].concat();
    assert_eq!(Value::parse(&deep), Err(crate::ReplyError::TooDeep));
    let fine = [&b"*1\r\n".repeat(100)[..], b":1\r\n"].concat();
    assert!(Value::parse(&fine).unwrap().is_some());
}

#[test]
fn attributes_are_read_with_their_value() {
    let (value, _) = Value::parse(b"|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n").unwrap().unwrap();
    let attributes = vec![(Value::Simple(b"ttl".to_vec()), Value::Integer(3))];
    assert_eq!(value, Value::Attributed { attributes, value: Box::new(Value::Bulk(b"x".to_vec())) });
}
