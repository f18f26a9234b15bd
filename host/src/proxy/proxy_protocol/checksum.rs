//! CRC32c (RFC 9260, appendix A), as the PROXY protocol has it.

/// One step for each byte: of the polynomial 0x1EDC6F41, reflected.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0x82F6_3B78 } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};

/// The checksum of these bytes, one part after the other.
pub(super) fn crc32c(parts: [&[u8]; 3]) -> u32 {
    let bytes = parts.into_iter().flatten();
    !bytes.fold(!0, |sum, byte| (sum >> 8) ^ TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_checksum_of_the_rfc() {
        // RFC 3720, B.4, and the check value that catalogues of CRCs give.
        assert_eq!(crc32c([b"123456789", b"", b""]), 0xE306_9283);
        assert_eq!(crc32c([b"12", b"3456", b"789"]), 0xE306_9283);
        assert_eq!(crc32c([&[0; 32], b"", b""]), 0x8A91_36AA);
        assert_eq!(crc32c([&[0xff; 32], b"", b""]), 0x62A8_AB43);
    }
}
