//! Doubles: how a command reads one, and how a reply writes it.

use smallvec::SmallVec;

use super::literal::Literal;
use super::parse_i64;
use super::rounding::{DOUBLE, Rounded};

/// The text of a double. No double needs more than 32 bytes.
pub type DoubleText = SmallVec<[u8; 32]>;

/// Magnitude up to which an integral double is written with all its digits: half of `i64::MAX`, as in Redis.
const INTEGRAL_MAX: f64 = (i64::MAX / 2) as f64;

/// Writes a double as Redis 7.2 and later do: the shortest digits that read back to the same value, integers without a
/// fraction, `inf`, `-inf`, `nan`, and an exponent (`1.5e+300`) where plain notation would be long.
///
/// Redis finds the digits with Grisu2, which in fewer than 0.1 % of all doubles misses the shortest by one digit; ours
/// are always the shortest. Both read back to the same double.
pub fn format_double(value: f64) -> DoubleText {
    if value.is_nan() {
        return DoubleText::from_slice(b"nan");
    }
    if value.is_infinite() {
        return DoubleText::from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    }
    if value == 0.0 {
        return DoubleText::from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    }
    if value.abs() <= INTEGRAL_MAX && value.fract() == 0.0 {
        return DoubleText::from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    }
    let (digits, exponent) = shortest_digits(value.abs());
    let mut text = DoubleText::new();
    if value < 0.0 {
        text.push(b'-');
    }
    lay_out(&mut text, &digits, exponent);
    text
}

/// The significant digits of a positive finite double, and the power of ten of the last one.
fn shortest_digits(value: f64) -> (SmallVec<[u8; 32]>, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let mut digits = SmallVec::new();
    let mut exponent = 0;
    let mut fraction_digits = 0;
    let mut in_fraction = false;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                digits.push(byte);
                fraction_digits += i32::from(in_fraction);
            }
            b'.' => in_fraction = true,
            _ => {
                let written = text.get(at + 1..).and_then(parse_i64);
                exponent = written.expect("ryu writes a decimal exponent") as i32;
                break;
            }
        }
    }
    exponent -= fraction_digits;
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
        exponent += 1;
    }
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    digits.drain(..zeros);
    (digits, exponent)
}

/// Chooses between plain and scientific notation exactly where Redis's `fpconv_dtoa` does; clients compare these texts.
fn lay_out(text: &mut DoubleText, digits: &[u8], exponent: i32) {
    let count = digits.len() as i32;
    let scientific = exponent + count - 1;
    if exponent >= 0 && scientific < count + 7 {
        text.extend_from_slice(digits);
        text.extend(std::iter::repeat_n(b'0', exponent as usize));
    } else if exponent < 0 && (exponent > -7 || scientific.abs() < 4) {
        let whole = count + exponent;
        if whole <= 0 {
            text.extend_from_slice(b"0.");
            text.extend(std::iter::repeat_n(b'0', -whole as usize));
            text.extend_from_slice(digits);
        } else {
            let (whole, fraction) = digits.split_at(whole as usize);
            text.extend_from_slice(whole);
            text.push(b'.');
            text.extend_from_slice(fraction);
        }
    } else {
        let (first, rest) = digits.split_at(1);
        text.extend_from_slice(first);
        if !rest.is_empty() {
            text.push(b'.');
            text.extend_from_slice(rest);
        }
        text.push(b'e');
        text.push(if scientific < 0 { b'-' } else { b'+' });
        text.extend_from_slice(itoa::Buffer::new().format(scientific.unsigned_abs()).as_bytes());
    }
}

/// Reads a double as Redis's commands do, with C's `strtod`: decimal or hexadecimal (`0x1.8p3`), `inf` and `infinity` in any
/// case, no space around it. `None` for anything else, for NaN, and for what is too large or too near zero for a double.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let magnitude = match Literal::parse(text)? {
        Literal::Infinite { negative } => {
            return Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        // The standard library reads the same decimals, correctly rounded.
        Literal::Decimal(digits) => {
            let value: f64 = str::from_utf8(text).ok()?.parse().ok()?;
            let lost = value.is_infinite() || (value == 0.0 && !digits.is_zero());
            return (!lost).then_some(value);
        }
        Literal::Hexadecimal(digits) => {
            let magnitude = double(digits.round_hexadecimal(&DOUBLE)?);
            if digits.negative { -magnitude } else { magnitude }
        }
    };
    Some(magnitude)
}

/// The double with this mantissa (below 2^53) and exponent (of its last bit), which the rounding has made representable.
fn double(rounded: Rounded) -> f64 {
    const MANTISSA_BITS: u32 = 52;
    let hidden = 1 << MANTISSA_BITS;
    if rounded.mantissa < hidden {
        return f64::from_bits(rounded.mantissa);
    }
    let biased = (rounded.exponent - DOUBLE.exponent_min + 1) as u64;
    f64::from_bits((biased << MANTISSA_BITS) | (rounded.mantissa - hidden))
}
