//! Replies, as a client reads them: the scanner finds the same ends in whatever pieces the bytes come, and what it calls whole can
//! be taken apart.
#![no_main]

use annulus_protocol::{
    ReplyScanner, Value, elements, parse_bulk_reply, parse_error_reply, parse_f64, parse_i64,
    parse_integer_reply, reply_len,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = reply_len(data);
    let mut scanner = ReplyScanner::default();
    let mut scanned = Ok(None);
    for end in 0..=data.len() {
        scanned = scanner.scan(&data[..end]);
        if !matches!(scanned, Ok(None)) {
            break;
        }
    }
    assert_eq!(whole.as_ref().ok(), scanned.as_ref().ok(), "{whole:?} as a whole, {scanned:?} byte by byte");
    let value = Value::parse(data);
    if let Ok(Some(bytes)) = whole {
        let reply = &data[..bytes];
        let parsed = value.as_ref().ok().and_then(Option::as_ref);
        assert!(parsed.is_none_or(|(_, own)| *own == bytes), "{bytes} bytes scanned, {parsed:?} parsed");
        let _ = (parse_integer_reply(reply), parse_error_reply(reply), parse_bulk_reply(reply));
        if let Ok(elements) = elements(reply) {
            // What the scanner calls whole has whole elements.
            let total: usize =
                elements.map(|element| element.expect("elements of a whole reply").len()).sum();
            assert!(total <= bytes, "elements of {total} bytes in a reply of {bytes}");
        }
    } else {
        assert!(!matches!(value, Ok(Some(_))), "{whole:?}, but it can be parsed");
    }
    let _ = (parse_i64(data), parse_f64(data));
});
