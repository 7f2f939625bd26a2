//! The grammar of C's `strtod`, and the exact value of what it accepts.

use super::big::{Big, LIMB_DIGITS};
use super::rounding::{Format, Rounded};

/// A number as written. NaN, which no command accepts, is none.
#[derive(Debug)]
pub(super) enum Literal<'a> {
    Infinite { negative: bool },
    Decimal(Digits<'a>),
    Hexadecimal(Digits<'a>),
}

/// The digits before and after the point, and the exponent: a power of ten, or of two in hexadecimal.
#[derive(Debug)]
pub(super) struct Digits<'a> {
    pub(super) negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

/// Written exponents are cut here, far beyond what any format and any length of text can reach.
const EXPONENT_MAX: i32 = 1 << 24;

impl<'a> Literal<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let (negative, unsigned) = take_sign(text);
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::Infinite { negative });
        }
        if let [b'0', b'x' | b'X', rest @ ..] = unsigned {
            return Digits::parse(negative, rest, u8::is_ascii_hexdigit, b'p').map(Self::Hexadecimal);
        }
        Digits::parse(negative, unsigned, u8::is_ascii_digit, b'e').map(Self::Decimal)
    }
}

impl<'a> Digits<'a> {
    fn parse(
        negative: bool,
        text: &'a [u8],
        is_digit: impl Fn(&u8) -> bool,
        exponent_mark: u8,
    ) -> Option<Self> {
        let (whole, rest) = take_while(text, &is_digit);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => take_while(rest, &is_digit),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [mark, rest @ ..] if mark.to_ascii_lowercase() == exponent_mark => parse_exponent(rest)?,
            _ => return None,
        };
        Some(Self { negative, whole, fraction, exponent })
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits().all(|digit| digit == 0)
    }

    fn digits(&self) -> impl DoubleEndedIterator<Item = u8> {
        let both = self.whole.iter().chain(self.fraction);
        both.map(|&digit| (digit as char).to_digit(16).map_or(0, |value| value as u8))
    }

    /// The magnitude of decimal digits in `format`. `None` when it is too large for it, or rounds to zero and isn't.
    pub(super) fn round_decimal(&self, format: &Format) -> Option<Rounded> {
        let leading = self.digits().take_while(|&digit| digit == 0).count();
        let written = self.whole.len() + self.fraction.len();
        if leading == written {
            return format.round(0, false, 0);
        }
        let trailing = self.digits().rev().take_while(|&digit| digit == 0).count();
        let count = written - leading - trailing;
        let digits = self.digits().skip(leading).take(count);
        let exponent = self.exponent - self.fraction.len() as i32 + trailing as i32;

        // Decimal orders of magnitude beyond the widest format; what is computed below stays of bounded size.
        const MAGNITUDE_MAX: i32 = 5000;
        if (count as i32 + exponent).abs() > MAGNITUDE_MAX {
            return None;
        }
        let rounded = match (count, exponent) {
            (..=LIMB_DIGITS, 0..=18) => {
                format.round(u128::from(number(digits)) * 10_u128.pow(exponent as u32), false, 0)
            }
            (..=LIMB_DIGITS, -18..0) => {
                // Filled up to 128 bits, the quotient keeps at least 68.
                let numerator = u128::from(number(digits));
                let shift = numerator.leading_zeros();
                let denominator = 10_u128.pow(exponent.unsigned_abs());
                let (quotient, rest) =
                    ((numerator << shift) / denominator, (numerator << shift) % denominator);
                format.round(quotient, rest != 0, -(shift as i32))
            }
            (_, 0..) => {
                let mut big = Big::from_digits(digits);
                big.multiply_power_of_ten(exponent as usize);
                let (top, exponent, sticky) = big.top();
                format.round(top, sticky, exponent)
            }
            _ => {
                let mut denominator = Big::from_u64(1);
                denominator.multiply_power_of_ten(exponent.unsigned_abs() as usize);
                let (quotient, exponent, rest) = Big::quotient(Big::from_digits(digits), denominator, 100);
                format.round(quotient, rest, exponent)
            }
        };
        rounded.filter(|rounded| rounded.mantissa != 0)
    }

    /// The magnitude of hexadecimal digits in `format`. `None` when it is too large for it, or rounds to zero and isn't.
    pub(super) fn round_hexadecimal(&self, format: &Format) -> Option<Rounded> {
        const NIBBLES_KEPT: usize = 30;
        let mut significant = self.digits().skip_while(|&digit| digit == 0);
        let mantissa = significant
            .by_ref()
            .take(NIBBLES_KEPT)
            .fold(0_u128, |value, digit| value << 4 | u128::from(digit));
        if mantissa == 0 {
            return format.round(0, false, 0);
        }
        let (mut left_out, mut sticky) = (0_i64, false);
        for digit in significant {
            left_out += 1;
            sticky |= digit != 0;
        }
        let exponent = i64::from(self.exponent) + 4 * (left_out - self.fraction.len() as i64);
        let bound = i64::from(EXPONENT_MAX);
        format
            .round(mantissa, sticky, exponent.clamp(-bound, bound) as i32)
            .filter(|rounded| rounded.mantissa != 0)
    }
}

fn number(digits: impl Iterator<Item = u8>) -> u64 {
    digits.fold(0, |value, digit| value * 10 + u64::from(digit))
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = take_sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude =
        digits.iter().fold(0, |value: i32, &digit| (value * 10 + i32::from(digit - b'0')).min(EXPONENT_MAX));
    Some(if negative { -magnitude } else { magnitude })
}

fn take_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn take_while(text: &[u8], wanted: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|&byte| wanted(byte)).count();
    text.split_at(count)
}
