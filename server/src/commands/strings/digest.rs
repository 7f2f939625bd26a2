//! Digests of strings, by which clients compare without sending the whole: XXH3 of 64 bits, as 16 hexadecimal digits.

use super::super::errors::{Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity, values};

const DIGITS: usize = 16;

/// The digest of a string.
pub(super) fn of(value: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(value)
}

/// A digest as a client writes it: 16 hexadecimal digits, upper or lower case.
pub(super) fn parse(digits: &[u8]) -> Result<u64, Failure> {
    let digest = digits.iter().try_fold(0_u64, |digest, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(digest << 4 | u64::from(digit))
    });
    digest
        .filter(|_| digits.len() == DIGITS)
        .ok_or(fail("ERR digest must be exactly 16 hexadecimal characters"))
}

/// `DIGEST key`
pub(in super::super) fn digest(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = reply_with_digest(context, args);
    answer(context, outcome);
}

fn reply_with_digest(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key] = args else { return Err(unreachable_arity("digest")) };
    let key = context.first_key(key);
    match values::read(context, key, values::string)?.map(of) {
        Some(digest) => context.out.bulk(format!("{digest:016x}")),
        None => context.out.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_the_documented_example() {
        assert_eq!(of(b"Hello world"), 0xb6ac_b9d8_4a38_ff74);
    }

    #[test]
    fn digests_have_sixteen_digits() {
        assert_eq!(parse(b"b6acB9d84a38FF74").unwrap(), 0xb6ac_b9d8_4a38_ff74);
        for wrong in [
            &b""[..],
            b"1",
            b"b6acb9d84a38ff7",
            b"b6acb9d84a38ff741",
            b"b6acb9d84a38ff7g",
            b"+6acb9d84a38ff74",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
