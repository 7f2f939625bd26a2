//! Reading the replies of shards: only what our own handlers write in RESP2, so anything else is `None`.

use annulus_protocol::parse_i64;

/// The first error among replies.
pub(super) fn error_among(replies: &[Vec<u8>]) -> Option<&[u8]> {
    replies.iter().map(Vec::as_slice).find(|reply| reply.starts_with(b"-"))
}

/// The number of an integer reply.
pub(super) fn integer_reply(reply: &[u8]) -> Option<i64> {
    parse_i64(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes of a bulk reply.
pub(super) fn bulk_reply(reply: &[u8]) -> Option<&[u8]> {
    let (length, rest) = line(reply.strip_prefix(b"$")?)?;
    rest.get(..usize::try_from(length).ok()?)
}

/// The elements of an array of simple values; nothing if it is null.
pub(super) fn elements(reply: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (count, mut rest) = reply.strip_prefix(b"*").and_then(line).unwrap_or((0, b""));
    (0..count).map_while(move |_| {
        let (element, tail) = split_value(rest)?;
        rest = tail;
        Some(element)
    })
}

/// The number at the start of a header, and what follows its line.
fn line(text: &[u8]) -> Option<(i64, &[u8])> {
    let end = memchr::memchr(b'\r', text)?;
    let (digits, rest) = text.split_at_checked(end)?;
    Some((parse_i64(digits)?, rest.get(2..)?))
}

fn split_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let line_end = memchr::memchr(b'\n', text)? + 1;
    let bytes = match text.strip_prefix(b"$").map(line) {
        Some(Some((length @ 0.., _))) => {
            line_end.checked_add(usize::try_from(length).ok()?)?.checked_add(2)?
        }
        Some(None) => return None,
        _ => line_end,
    };
    text.split_at_checked(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_apart_and_broken_replies_end_early() {
        let reply = b"*3\r\n$3\r\na\r\n\r\n:-7\r\n$-1\r\n";
        assert_eq!(elements(reply).collect::<Vec<_>>(), [&b"$3\r\na\r\n\r\n"[..], b":-7\r\n", b"$-1\r\n"]);
        assert_eq!(elements(b"*-1\r\n").count(), 0);
        assert_eq!(elements(b"_\r\n").count(), 0);
        assert_eq!(elements(b"*2\r\n:1\r\n").count(), 1);
        assert_eq!(elements(b"*2\r\n$99999999999999999\r\n").count(), 0);
        assert_eq!(bulk_reply(b"$3\r\na\r\n\r\n"), Some(&b"a\r\n"[..]));
        assert_eq!(bulk_reply(b"$-1\r\n"), None);
        assert_eq!(integer_reply(b":-12\r\n"), Some(-12));
        assert_eq!(integer_reply(b"+OK\r\n"), None);
    }
}
