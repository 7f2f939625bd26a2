//! Rounding of an exact binary value to a floating-point format: to nearest, ties to even, gradual underflow.

/// A binary floating-point format. Exponents are those of the mantissa's last bit.
#[derive(Debug)]
pub(super) struct Format {
    pub(super) mantissa_bits: i32,
    pub(super) exponent_min: i32,
    pub(super) exponent_max: i32,
}

/// IEEE 754 binary64.
pub(super) const DOUBLE: Format = Format { mantissa_bits: 53, exponent_min: -1074, exponent_max: 971 };

/// The 80-bit format of the x87, which is `long double` on x86-64 Linux.
pub(super) const EXTENDED: Format = Format { mantissa_bits: 64, exponent_min: -16_445, exponent_max: 16_320 };

/// A magnitude that the format can hold: `mantissa × 2^exponent`, normalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rounded {
    pub(super) mantissa: u64,
    pub(super) exponent: i32,
}

impl Format {
    /// Rounds `mantissa × 2^exponent`, plus something smaller than the mantissa's last bit if `sticky`. `None` when the
    /// format has no number so large.
    ///
    /// A sticky mantissa must be longer than the format's, or its rounding would be undecided.
    pub(super) fn round(&self, mantissa: u128, sticky: bool, exponent: i32) -> Option<Rounded> {
        if mantissa == 0 {
            return Some(Rounded { mantissa: 0, exponent: 0 });
        }
        let bits = 128 - mantissa.leading_zeros() as i32;
        debug_assert!(!sticky || bits > self.mantissa_bits);
        let shift = (bits - self.mantissa_bits).max(self.exponent_min - exponent);
        let mut mantissa = if shift <= 0 {
            mantissa << -shift
        } else {
            match 1_u128.checked_shl(shift as u32 - 1) {
                None => 0,
                Some(half) => {
                    let kept = mantissa.checked_shr(shift as u32).unwrap_or(0);
                    let rest = mantissa & (half | (half - 1));
                    let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
                    kept + u128::from(up)
                }
            }
        };
        let mut exponent = exponent + shift;
        if mantissa >> self.mantissa_bits != 0 {
            // Rounding up carried into a new bit; the mantissa is a power of two now.
            mantissa >>= 1;
            exponent += 1;
        }
        match mantissa as u64 {
            0 => Some(Rounded { mantissa: 0, exponent: 0 }),
            mantissa => (exponent <= self.exponent_max).then_some(Rounded { mantissa, exponent }),
        }
    }
}
