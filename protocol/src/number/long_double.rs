//! The arithmetic of `INCRBYFLOAT` and `HINCRBYFLOAT`.
//!
//! Redis computes them in C's `long double`, which on x86-64 has 64 bits of mantissa, and answers with 17 decimals: on
//! doubles, 10.5 + 0.1 would show as 10.59999999999999964. So the same format is computed here in software, rounding where
//! the hardware rounds; results are those of Redis on x86-64, to the last digit.

use std::cmp::Ordering;

use super::big::Big;
use super::literal::Literal;
use super::rounding::{EXTENDED, Rounded};

/// A number in the 80-bit extended format, or an infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    /// `None` for an infinity.
    magnitude: Option<Rounded>,
}

/// Redis's buffer for the text of such a number, including its end mark.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

const DECIMALS: usize = 17;
const DECIMALS_POWER: u64 = 10_u64.pow(DECIMALS as u32);

impl LongDouble {
    /// Reads a number as Redis does, with C's `strtold`: decimal or hexadecimal, `inf` and `infinity` in any case, no
    /// space around it. `None` for anything else, for NaN, and for what is too large or too near zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, magnitude) = match Literal::parse(text)? {
            Literal::Infinite { negative } => (negative, None),
            Literal::Decimal(digits) => (digits.negative, Some(digits.round_decimal(&EXTENDED)?)),
            Literal::Hexadecimal(digits) => (digits.negative, Some(digits.round_hexadecimal(&EXTENDED)?)),
        };
        Some(Self { negative, magnitude })
    }

    /// The largest finite one.
    pub const MAX: Self = Self {
        negative: false,
        magnitude: Some(Rounded { mantissa: u64::MAX, exponent: EXTENDED.exponent_max }),
    };

    /// Zero.
    pub const ZERO: Self = Self { negative: false, magnitude: Some(Rounded { mantissa: 0, exponent: 0 }) };

    /// With the other sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self { negative: !self.negative, ..self }
    }

    /// Which of two is larger; both zeros are equal.
    pub fn compare(self, other: Self) -> Ordering {
        // Mantissas are normalized, but for those of zero and of what is too near zero, which have the least exponent.
        let size = |number: Self| match number.magnitude {
            None => (2, 0, 0),
            Some(Rounded { mantissa: 0, .. }) => (0, 0, 0),
            Some(Rounded { mantissa, exponent }) => (1, exponent, mantissa),
        };
        let (ours, theirs) = (size(self), size(other));
        let below_zero = |number: Self| number.negative && size(number).0 != 0;
        match (below_zero(self), below_zero(other)) {
            (false, false) => ours.cmp(&theirs),
            (true, true) => theirs.cmp(&ours),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }

    /// Whether it is no infinity.
    pub const fn is_finite(self) -> bool {
        self.magnitude.is_some()
    }

    /// The sum, rounded to the format. `None` when it is no finite number.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (mut high, mut low) = ((self.negative, self.magnitude?), (other.negative, other.magnitude?));
        // Mantissas are normalized, so the larger exponent is the larger magnitude.
        let order = |(_, magnitude): &(bool, Rounded)| {
            (magnitude.mantissa != 0, magnitude.exponent, magnitude.mantissa)
        };
        if order(&high) < order(&low) {
            (high, low) = (low, high);
        }
        let ((negative, high), (low_negative, low)) = (high, low);
        // With this many bits below the last one, a smaller number that is shifted out altogether still decides the
        // rounding as a single sticky bit.
        const GUARD_BITS: i32 = 62;
        let distance = if low.mantissa == 0 { 0 } else { (high.exponent - low.exponent) as u32 };
        let high_mantissa = u128::from(high.mantissa) << GUARD_BITS;
        let low_mantissa = u128::from(low.mantissa) << GUARD_BITS;
        let shifted = low_mantissa.checked_shr(distance).unwrap_or(0);
        let lost = shifted.checked_shl(distance).unwrap_or(0) != low_mantissa;
        let addend = shifted | u128::from(lost);
        let sum = if negative == low_negative { high_mantissa + addend } else { high_mantissa - addend };
        let magnitude = EXTENDED.round(sum, false, high.exponent - GUARD_BITS)?;
        // As in the hardware, numbers that cancel out leave a positive zero; the text of both zeros is the same.
        let negative = negative && magnitude.mantissa != 0;
        Some(Self { negative, magnitude: Some(magnitude) })
    }

    /// The text of Redis's replies: 17 decimals, correctly rounded, without the zeros at the end, and never an exponent.
    pub fn to_text(self) -> Vec<u8> {
        let mut text = Vec::with_capacity(48);
        let Some(Rounded { mantissa, exponent }) = self.magnitude else {
            text.extend_from_slice(if self.negative { b"-inf" } else { b"inf" });
            return text;
        };
        let scaled =
            if exponent < 0 { scale(mantissa, exponent.unsigned_abs()) } else { u128::from(mantissa) };
        if scaled == 0 {
            // No sign, also where a negative number is rounded away.
            text.push(b'0');
            return text;
        }
        if self.negative {
            text.push(b'-');
        }
        if exponent >= 0 {
            let mut whole = Big::from_u64(mantissa);
            whole.shift_left(exponent as usize);
            whole.write_decimal(&mut text);
            return text;
        }
        let (whole, fraction) = (scaled / u128::from(DECIMALS_POWER), scaled % u128::from(DECIMALS_POWER));
        text.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
        if fraction != 0 {
            text.push(b'.');
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(fraction).as_bytes();
            text.extend(std::iter::repeat_n(b'0', DECIMALS - digits.len()));
            text.extend_from_slice(without_trailing_zeros(digits));
        }
        text
    }
}

/// `mantissa × 10^17 / 2^shift`, to nearest, ties to even as `printf` has it.
fn scale(mantissa: u64, shift: u32) -> u128 {
    let exact = u128::from(mantissa) * u128::from(DECIMALS_POWER);
    let Some(half) = 1_u128.checked_shl(shift - 1) else {
        return 0;
    };
    let kept = exact.checked_shr(shift).unwrap_or(0);
    let rest = exact & (half | (half - 1));
    kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
}

fn without_trailing_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    digits.split_at(digits.len() - zeros).0
}
