//! Bytes as hexadecimal digits, two for each, in lower case.

/// Writes `bytes` to `digits`, as far as there is room.
pub(crate) fn write(digits: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(*byte)];
    }
}

/// The digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_digits() {
        let mut digits = [0; 8];
        write(&mut digits, &[0x00, 0x0f, 0xa0, 0xff]);
        assert_eq!(&digits, b"000fa0ff");
    }
}
