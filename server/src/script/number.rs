//! Numbers as C's printf writes them, for Lua has no other number than a double.

/// As `%.<precision>g`.
pub(super) fn format_general(value: f64, precision: usize) -> String {
    if value.is_nan() {
        return if value.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// As C converts a double to a 64-bit integer on this hardware: what does not fit becomes the smallest one.
pub(super) fn to_integer(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_by_printf() {
        for (value, precision, text) in [
            (0.0, 17, "0"),
            (-0.0, 17, "-0"),
            (3.24, 17, "3.2400000000000002"),
            (1e17, 17, "1e+17"),
            (3e15, 17, "3000000000000000"),
            (1.0 / 3.0, 17, "0.33333333333333331"),
            (1.5, 14, "1.5"),
            (1e15, 14, "1e+15"),
            (1e14, 14, "1e+14"),
            (123_456_789_012_345.0, 14, "1.2345678901234e+14"),
            (1e-5, 14, "1e-05"),
            (0.0001, 14, "0.0001"),
            (1e300, 17, "1.0000000000000001e+300"),
            (1.0 / 3.0, 3, "0.333"),
            (f64::NEG_INFINITY, 14, "-inf"),
        ] {
            assert_eq!(format_general(value, precision), text);
        }
    }
}
