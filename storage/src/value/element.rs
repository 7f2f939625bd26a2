//! Elements of collections as readers see them, and the integers among them.

use std::ops::Deref;

/// Longest text of a 64-bit integer: `-9223372036854775808`.
const DIGITS_MAX: usize = 20;

/// An element of a collection: bytes in place, or the text of an integer that is kept as one.
#[derive(Clone, Copy)]
pub struct Element<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Bytes(&'a [u8]),
    Digits { text: [u8; DIGITS_MAX], len: u8 },
}

impl<'a> Element<'a> {
    /// Bytes in place.
    pub const fn bytes(bytes: &'a [u8]) -> Self {
        Self(Form::Bytes(bytes))
    }

    /// The text of an integer.
    pub(crate) fn integer(value: i64) -> Self {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(value).as_bytes();
        let mut text = [0; DIGITS_MAX];
        text[..digits.len()].copy_from_slice(digits);
        Self(Form::Digits { text, len: digits.len() as u8 })
    }
}

impl Deref for Element<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Bytes(bytes) => bytes,
            Form::Digits { text, len } => &text[..usize::from(*len)],
        }
    }
}

impl AsRef<[u8]> for Element<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Element<'_> {}

impl PartialOrd for Element<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Element<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialEq<[u8]> for Element<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

/// The integer that prints as exactly these bytes: no sign but a minus, no leading zero, 64 bits.
pub(crate) fn canonical_i64(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        _ => (false, bytes),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() < DIGITS_MAX => {}
        _ => return None,
    }
    let mut value = 0_i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Downwards, since the least number has no counterpart above zero.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_prints_back_is_an_integer() {
        for text in ["0", "7", "-1", "9223372036854775807", "-9223372036854775808"] {
            let value = canonical_i64(text.as_bytes()).expect(text);
            assert_eq!(&*Element::integer(value), text.as_bytes());
        }
        for text in
            ["", "-", "-0", "01", "+1", "1.0", " 1", "9223372036854775808", "-9223372036854775809", "1x"]
        {
            assert_eq!(canonical_i64(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn integers_agree_with_the_standard_library(value in any::<i64>(), text in "-?[0-9]{1,21}") {
            prop_assert_eq!(canonical_i64(value.to_string().as_bytes()), Some(value));
            let expected = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(canonical_i64(text.as_bytes()), expected);
        }
    }
}
