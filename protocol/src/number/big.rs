//! Just enough arithmetic on large natural numbers to read and write decimals exactly.

use std::cmp::Ordering;

/// A natural number; the least significant limb first, the last limb not zero.
#[derive(Clone, Debug)]
pub(super) struct Big {
    limbs: Vec<u64>,
}

/// The largest power of ten in a limb.
pub(super) const LIMB_POWER: u64 = 10_u64.pow(LIMB_DIGITS as u32);
/// The decimal digits that always fit a limb.
pub(super) const LIMB_DIGITS: usize = 19;

impl Big {
    pub(super) fn from_u64(value: u64) -> Self {
        let mut big = Self { limbs: vec![value] };
        big.trim();
        big
    }

    /// Reads decimal digits.
    pub(super) fn from_digits(digits: impl Iterator<Item = u8>) -> Self {
        let mut big = Self::from_u64(0);
        let (mut chunk, mut chunk_power) = (0_u64, 1_u64);
        for digit in digits {
            chunk = chunk * 10 + u64::from(digit);
            chunk_power *= 10;
            if chunk_power == LIMB_POWER {
                big.multiply_add(chunk_power, chunk);
                (chunk, chunk_power) = (0, 1);
            }
        }
        big.multiply_add(chunk_power, chunk);
        big
    }

    pub(super) fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = u128::from(addend);
        for limb in &mut self.limbs {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry != 0 {
            self.limbs.push(carry as u64);
        }
    }

    pub(super) fn multiply_power_of_ten(&mut self, mut exponent: usize) {
        while exponent >= LIMB_DIGITS {
            self.multiply_add(LIMB_POWER, 0);
            exponent -= LIMB_DIGITS;
        }
        self.multiply_add(10_u64.pow(exponent as u32), 0);
    }

    pub(super) fn shift_left(&mut self, bits: usize) {
        let (limbs, bits) = (bits / 64, bits % 64);
        if bits > 0 {
            self.multiply_add(1 << bits, 0);
        }
        self.limbs.splice(0..0, std::iter::repeat_n(0, limbs));
        self.trim();
    }

    pub(super) fn bits(&self) -> usize {
        self.limbs.last().map_or(0, |last| self.limbs.len() * 64 - last.leading_zeros() as usize)
    }

    /// The most significant 128 bits, the exponent of their last bit, and whether anything follows them.
    pub(super) fn top(&self) -> (u128, i32, bool) {
        let mut top = 0_u128;
        let mut kept = self.limbs.iter().rev();
        for limb in kept.by_ref().take(2) {
            top = top << 64 | u128::from(*limb);
        }
        let exponent = 64 * self.limbs.len().saturating_sub(2) as i32;
        (top, exponent, kept.any(|&limb| limb != 0))
    }

    /// The first `fraction_bits + 1` binary digits of `numerator / denominator`: the quotient, the exponent of its last bit, and
    /// whether there is a remainder. Both must not be zero; `fraction_bits` is below 128.
    pub(super) fn quotient(
        mut numerator: Self,
        mut denominator: Self,
        fraction_bits: u32,
    ) -> (u128, i32, bool) {
        let shift = denominator.bits() as i32 - numerator.bits() as i32;
        if shift >= 0 {
            numerator.shift_left(shift as usize);
        } else {
            denominator.shift_left(-shift as usize);
        }
        // Equally long now, so that the quotient's first digit is the only one before its point.
        let mut quotient = 0_u128;
        for step in 0..=fraction_bits {
            if step > 0 {
                numerator.multiply_add(2, 0);
            }
            quotient <<= 1;
            if numerator.compare(&denominator) != Ordering::Less {
                numerator.subtract(&denominator);
                quotient |= 1;
            }
        }
        (quotient, -(fraction_bits as i32) - shift, !numerator.limbs.is_empty())
    }

    /// Appends the decimal digits.
    pub(super) fn write_decimal(mut self, out: &mut Vec<u8>) {
        let mut chunks = Vec::new();
        while !self.limbs.is_empty() {
            let mut rest = 0_u128;
            for limb in self.limbs.iter_mut().rev() {
                rest = rest << 64 | u128::from(*limb);
                *limb = (rest / u128::from(LIMB_POWER)) as u64;
                rest %= u128::from(LIMB_POWER);
            }
            self.trim();
            chunks.push(rest as u64);
        }
        let first = chunks.pop().unwrap_or(0);
        out.extend_from_slice(itoa::Buffer::new().format(first).as_bytes());
        for chunk in chunks.into_iter().rev() {
            let mut text = itoa::Buffer::new();
            let text = text.format(chunk).as_bytes();
            out.extend(std::iter::repeat_n(b'0', LIMB_DIGITS - text.len()));
            out.extend_from_slice(text);
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_length = self.limbs.len().cmp(&other.limbs.len());
        by_length.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }

    /// Takes away `other`, which must not be larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (at, limb) in self.limbs.iter_mut().enumerate() {
            let taken = other.limbs.get(at).copied().unwrap_or(0);
            (*limb, borrow) = limb.borrowing_sub(taken, borrow);
        }
        debug_assert!(!borrow);
        self.trim();
    }

    fn trim(&mut self) {
        let zeros = self.limbs.iter().rev().take_while(|&&limb| limb == 0).count();
        self.limbs.truncate(self.limbs.len() - zeros);
    }
}
