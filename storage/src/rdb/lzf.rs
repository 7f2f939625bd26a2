//! LZF, as compressed strings in RDB files have it.
//!
//! ```text
//! 000nnnnn           n + 1 bytes follow as they are
//! nnnooooo o         n + 2 bytes again from o + 1 bytes back; n from 1 to 6
//! 111ooooo n o       n + 9 bytes again
//! ```

/// What a byte of compressed text can give at most: three bytes give 264.
const GROWTH_MAX: usize = 88;

/// The bytes that were compressed, of which there are `len`.
pub(super) fn decompress(mut compressed: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > compressed.len().saturating_mul(GROWTH_MAX) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    while let Some((&control, rest)) = compressed.split_first() {
        let control = usize::from(control);
        if control < 32 {
            let (literal, rest) = rest.split_at_checked(control + 1)?;
            out.extend_from_slice(literal);
            compressed = rest;
        } else {
            let (long, rest) = if control >> 5 == 7 { split(rest)? } else { (0, rest) };
            let (low, rest) = split(rest)?;
            let count = (control >> 5) + long + 2;
            let back = ((control & 0x1f) << 8 | low) + 1;
            let from = out.len().checked_sub(back)?;
            if out.len() + count > len {
                return None;
            }
            // Source and copy may overlap: then the copy repeats itself.
            for index in from..from + count {
                out.push(*out.get(index)?);
            }
            compressed = rest;
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

fn split(bytes: &[u8]) -> Option<(usize, &[u8])> {
    bytes.split_first().map(|(first, rest)| (usize::from(*first), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn copies_may_overlap_what_they_make() {
        assert_eq!(decompress(&[0, b'a', 0x20, 0], 4), Some(b"aaaa".to_vec()));
        assert_eq!(decompress(&[0, b'a', 0xe0, 255, 0], 1 + 264), Some(vec![b'a'; 265]));
        assert_eq!(decompress(&[2, b'a', b'b', b'c', 0x20, 2], 6), Some(b"abcabc".to_vec()));
    }

    #[test]
    fn what_is_cut_off_or_reaches_too_far_is_refused() {
        for wrong in [&[5, b'a'][..], &[0x20, 0], &[0, b'a', 0x20, 1], &[0, b'a', 0xe0, 1], &[0, b'a', 0x20]]
        {
            assert_eq!(decompress(wrong, 4), None, "{wrong:?}");
        }
        assert_eq!(decompress(&[0, b'a'], usize::MAX), None);
        assert_eq!(decompress(&[0, b'a'], 2), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40), len in 0_usize..400) {
            prop_assert!(decompress(&bytes, len).is_none_or(|text| text.len() == len));
        }
    }
}
