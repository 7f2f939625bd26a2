//! Numbers as text, by Redis's rules: what a command accepts as an integer or a float, and how a reply writes one.

mod big;
mod double;
mod literal;
mod long_double;
mod rounding;

pub use double::{DoubleText, format_double, parse_f64};
pub use long_double::LongDouble;

/// Reads a decimal integer as Redis's `string2ll` does: an optional `-`, no `+`, no spaces, no leading zeros, no `-0`,
/// and nothing that does not fit 64 bits.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    // Nineteen digits fit u64; the sign decides the bound.
    let mut magnitude = 0_u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests;
