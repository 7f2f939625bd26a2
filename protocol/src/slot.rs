//! Hash slots, as Redis Cluster deals them: CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384.

/// The number of hash slots.
pub const SLOT_COUNT: u16 = 16_384;

/// CRC-16/XMODEM: no reflection, initial value 0.
const POLYNOMIAL: u16 = 0x1021;

/// Entry `[n][b]` is the checksum of byte `b` followed by `n` zero bytes, so that eight bytes take eight independent
/// look-ups instead of a chain of eight. 4 KiB, an eighth of a first-level cache.
const TABLES: [[u16; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[zeros - 1][byte];
            tables[zeros][byte] = (shorter << 8) ^ tables[0][(shorter >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
};

/// The slot of a key, below [`SLOT_COUNT`].
///
/// When the key has a `{`, and after it a `}` with at least one byte between, only that part counts: keys that share
/// the tag share the slot.
#[inline]
pub fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOT_COUNT
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    let tagged = key.get(open + 1..).unwrap_or_default();
    match memchr::memchr(b'}', tagged) {
        None | Some(0) => key,
        Some(close) => tagged.get(..close).unwrap_or_default(),
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    let (chunks, tail) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let [high, low] = crc.to_be_bytes();
        let [b0, b1, b2, b3, b4, b5, b6, b7] = *chunk;
        crc = TABLES[7][usize::from(b0 ^ high)]
            ^ TABLES[6][usize::from(b1 ^ low)]
            ^ TABLES[5][usize::from(b2)]
            ^ TABLES[4][usize::from(b3)]
            ^ TABLES[3][usize::from(b4)]
            ^ TABLES[2][usize::from(b5)]
            ^ TABLES[1][usize::from(b6)]
            ^ TABLES[0][usize::from(b7)];
    }
    for &byte in tail {
        let [high, low] = crc.to_be_bytes();
        crc = TABLES[0][usize::from(high ^ byte)] ^ u16::from_be_bytes([low, 0]);
    }
    crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, a bit at a time.
    fn crc16_by_bits(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ u16::from(byte) << 8, |crc: u16, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ POLYNOMIAL }
            })
        })
    }

    #[test]
    fn the_checksum_has_the_published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn slots_are_those_of_redis() {
        // From `CLUSTER KEYSLOT` of redis-server 7.0.
        for (key, expected) in [
            (&b""[..], 0),
            (b"foo", 12182),
            (b"bar", 5061),
            (b"hello", 866),
            (b"somekey", 11058),
            (b"foo{hash_tag}", 2515),
            (b"bar{hash_tag}", 2515),
            (b"{user1000}.following", 3443),
            (b"{user1000}.followers", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
            (b"{", 4092),
            (b"}{", 12793),
        ] {
            assert_eq!(slot(key), expected, "{}", key.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn tables_agree_with_the_definition(key in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(crc16(&key), crc16_by_bits(&key));
        }

        #[test]
        fn keys_with_the_same_tag_share_a_slot(before in "[^{]{0,9}", tag in "[^}]{1,20}", after in ".{0,9}") {
            prop_assert_eq!(slot(format!("{before}{{{tag}}}{after}").as_bytes()), crc16(tag.as_bytes()) % SLOT_COUNT);
        }
    }
}
