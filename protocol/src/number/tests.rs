use proptest::prelude::*;

use super::*;

fn double_text(value: f64) -> String {
    String::from_utf8(format_double(value).to_vec()).unwrap()
}

fn sum(value: &str, increment: &str) -> Option<String> {
    let sum = LongDouble::parse(value.as_bytes())?.checked_add(LongDouble::parse(increment.as_bytes())?)?;
    Some(String::from_utf8(sum.to_text()).unwrap())
}

/// `%.17f` without the zeros at the end; the standard library's is exact.
fn seventeen_decimals(value: f64) -> String {
    let text = format!("{value:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// All digits of a double, none lost.
fn all_digits(value: f64) -> String {
    format!("{value:.1100}")
}

#[test]
fn integers_are_read_as_redis_reads_them() {
    for (text, value) in [
        ("0", 0),
        ("7", 7),
        ("-1", -1),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("1000000000000000000", 1_000_000_000_000_000_000),
    ] {
        assert_eq!(parse_i64(text.as_bytes()), Some(value), "{text}");
    }
    for text in [
        "",
        "-",
        "+1",
        "01",
        "-0",
        "-01",
        "00",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x1",
        "a",
        "1a",
        "--1",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999",
    ] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn doubles_are_written_in_the_notation_of_redis() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1e15, "1000000000000000"),
        (4e18, "4000000000000000000"),
        (1e19, "1e+19"),
        (123_456_789_012_345_680_000.0, "123456789012345680000"),
        (1.5e300, "1.5e+300"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (0.000_001, "0.000001"),
        (1e-7, "1e-7"),
        (1.234e-9, "1.234e-9"),
        (0.001_234_567_89, "0.00123456789"),
        (2.345_678_901_234_567, "2.345678901234567"),
        (12_345.678, "12345.678"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(double_text(value), text);
    }
}

#[test]
fn doubles_are_read_as_strtod_reads_them() {
    for (text, value) in [
        ("1", 1.0),
        ("+1.5", 1.5),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("1e5", 1e5),
        ("1E-5", 1e-5),
        ("0x10", 16.0),
        ("-0X1.8p1", -3.0),
        ("0x1p-1074", 5e-324),
        ("0x1.fffffffffffffp1023", f64::MAX),
        ("0x1.00000000000008p0", 1.0),
        ("0x1.000000000000081p0", 1.0 + f64::EPSILON),
        ("inf", f64::INFINITY),
        ("-INFINITY", f64::NEG_INFINITY),
        ("0e999999999999", 0.0),
        ("1e-320", 1e-320),
    ] {
        assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
    }
    for text in [
        "",
        ".",
        "+",
        "e1",
        "1e",
        "1e+",
        " 1",
        "1 ",
        "1_0",
        "nan",
        "nan(1)",
        "infinit",
        "0x",
        "0x.p1",
        "0x1p",
        "1\0",
        "1e309",
        "1e-400",
        "0x1p1024",
        "0x1p-1080",
        "--1",
        "1e5.5",
        "0x1e-400p-1",
    ] {
        assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
    }
}

/// Each pair with what redis-server 7.0.15 answered on x86-64; `None` for its refusals.
#[test]
fn sums_are_those_of_redis() {
    for (value, increment, expected) in [
        ("10.5", "0.1", Some("10.6")),
        ("3.0", "1.1", Some("4.1")),
        ("0.1", "0.2", Some("0.3")),
        ("0x10", "1", Some("17")),
        ("0x1p3", ".5", Some("8.5")),
        ("1", "0X1.8p-1", Some("1.75")),
        ("5.", ".5", Some("5.5")),
        ("1e5", "1e-5", Some("100000.00001000000000317")),
        ("-0", "-0", Some("0")),
        ("0", "-0.0000000000000000000001", Some("0")),
        ("17.5", "-17.500000000000000001", Some("0")),
        ("0", "1e18", Some("1000000000000000000")),
        ("0", "123456789012345678901234567890", Some("123456789012345678899921813504")),
        ("0", "0.000000000000000005", Some("0")),
        ("0", "0.000000000000000015", Some("0.00000000000000002")),
        ("1e-4940", "0", Some("0")),
        ("1e-4951", "0", None),
        ("1e5000", "0", None),
        ("1e4932", "1e4932", None),
        ("inf", "1", None),
        ("1", "-Infinity", None),
        ("1", "nan", None),
        (" 1", "1", None),
        ("1 ", "1", None),
        ("", "1", None),
    ] {
        assert_eq!(sum(value, increment).as_deref(), expected, "{value} + {increment}");
    }
}

#[test]
fn texts_are_refused_from_the_length_at_which_redis_refuses_them() {
    let zeros = "0".repeat(5118);
    assert_eq!(sum(&format!("{zeros}1"), "1").as_deref(), Some("2"));
    assert_eq!(sum(&format!("{zeros}01"), "1"), None);
}

#[test]
fn the_largest_number_is_written_out() {
    let text = sum("1.18e4932", "0").unwrap();
    assert_eq!(text.len(), 4933);
    assert!(text.starts_with(
        "118000000000000000000065281291809369920269043714016047172983124006183652772844699601208149"
    ));
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |value| value.is_finite()),
        (any::<i64>(), 0..20).prop_map(|(value, decimals)| value as f64 / 10_f64.powi(decimals)),
    ]
}

proptest! {
    #[test]
    fn every_integer_is_read_back(value in any::<i64>()) {
        prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
    }

    #[test]
    fn what_is_no_integer_is_refused(text in "[-+0-9 ]{0,22}") {
        let canonical = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
        prop_assert_eq!(parse_i64(text.as_bytes()), canonical);
    }

    #[test]
    fn every_double_is_read_back(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        let text = format_double(value);
        prop_assert_eq!(parse_f64(&text).map(f64::to_bits), Some(value.to_bits()), "{}", text.escape_ascii());
    }

    #[test]
    fn hexadecimal_doubles_are_read_exactly(mantissa in 0..1_u64 << 53, exponent in -1074..971_i32) {
        let value = mantissa as f64 * 2_f64.powi(exponent / 2) * 2_f64.powi(exponent - exponent / 2);
        let text = format!("0x{mantissa:x}p{exponent}");
        prop_assert_eq!(parse_f64(text.as_bytes()), Some(value));
    }

    /// A double fits the extended format, so it must come out with exactly the decimals that it has.
    #[test]
    fn doubles_pass_through_the_extended_format_unchanged(value in finite()) {
        let number = LongDouble::parse(all_digits(value).as_bytes()).unwrap();
        prop_assert_eq!(String::from_utf8(number.to_text()).unwrap(), seventeen_decimals(value));
        let short = LongDouble::parse(format!("{value:e}").as_bytes());
        prop_assert!(short.is_some() || value == 0.0);
    }

    /// Sums of integers below 2^63 need no rounding at all.
    #[test]
    fn sums_of_integers_are_exact(a in any::<i64>(), b in any::<i64>()) {
        let exact = i128::from(a) + i128::from(b);
        prop_assert_eq!(sum(&a.to_string(), &b.to_string()), Some(exact.to_string()));
    }

    /// Numbers of few bits: all that the sum of two of them can need is in the 64 bits of the format.
    #[test]
    fn sums_of_short_fractions_are_exact(a in -1_i64 << 40..1 << 40, b in -1_i64 << 40..1 << 40, shift in 0..12_i32) {
        let scale = 2_f64.powi(-shift);
        let (left, right) = (a as f64 * scale, b as f64 * scale);
        let exact = seventeen_decimals(left + right);
        prop_assert_eq!(sum(&all_digits(left), &all_digits(right)), Some(exact));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-+.0-9a-fxpein ]{0,40}") {
        let number = LongDouble::parse(text.as_bytes());
        let double = parse_f64(text.as_bytes());
        // The wider format reads whatever the narrower one does.
        prop_assert!(number.is_some() || double.is_none(), "{:?}", double);
        if let Some(number) = number {
            number.to_text();
            prop_assert!(number.checked_add(number).is_some() || !number.to_text().is_empty());
        }
    }
}
