//! The checksum of RDB files: CRC-64 with the polynomial of Jones, bits reflected, from 0.

#![expect(clippy::indexing_slicing, reason = "a byte is always within a table of 256")]

/// The polynomial `0xad93d23594c935a9`, its bits in the other order.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// What a byte does, by its distance from the end of eight: so that eight take one step.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The checksum of these bytes.
pub fn crc64(bytes: &[u8]) -> u64 {
    crc64_more(0, bytes)
}

/// The checksum of bytes of which the first have the checksum `crc`, and these are the others.
pub(super) fn crc64_more(mut crc: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mixed = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
        crc = mixed
            .iter()
            .zip(TABLES.iter().rev())
            .fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)]);
    }
    rest.iter().fold(crc, |crc, byte| crc >> 8 ^ TABLES[0][usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_have_the_known_checksums() {
        assert_eq!(crc64(b""), 0);
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64_more(crc64(b"123"), b"456789"), 0xe9c6_d914_c4b8_d9ca);
    }
}
