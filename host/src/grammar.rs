//! What fields of HTTP are made of (RFC 9110, 5.5 and 5.6).

/// Whether a token may hold this byte: `tchar`.
pub const fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Whether this is a token. The name of a cookie is one, too (RFC 6265, 4.1.1).
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_of_token(*byte))
}

/// As much of a text as is a token, and the rest.
pub fn split_token(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !is_of_token(*byte)).unwrap_or(text.len()))
}

/// What may stand between two parts: `SP` and `HTAB`.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether a value may hold this byte: space, what is visible, and what is beyond ASCII (`obs-text`).
pub const fn is_of_text(byte: u8) -> bool {
    // Without a branch, so that many bytes are looked at at once.
    (byte == b'\t') | (byte >= b' ') & (byte != 0x7f)
}

/// How many bytes no value may hold; a line's end has two of them.
pub fn controls(bytes: &[u8]) -> usize {
    /// So many are counted at once, without a branch and in bytes.
    const MANY: usize = 64;
    let count = |many: &[u8; MANY]| many.iter().fold(0_u8, |controls, byte| controls + u8::from(!is_of_text(*byte)));
    let (whole, rest) = bytes.as_chunks();
    let mut last = [b' '; MANY];
    last[..rest.len()].copy_from_slice(rest);
    whole.iter().chain([&last]).map(|many| usize::from(count(many))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_and_controls_are_in_no_token() {
        assert!(is_token(b"!#$%&'*+-.^_`|~09azAZ"));
        for byte in (0..=b' ').chain(*b"\"(),/:;<=>?@[\\]{}").chain(0x7f..=0xff) {
            assert!(!is_of_token(byte), "{byte:#x}");
        }
        assert!(!is_token(b""));
        assert_eq!(split_token(b"for=x"), (&b"for"[..], &b"=x"[..]));
    }

    #[test]
    fn controls_are_in_no_value() {
        let controls = (0..b' ').chain([0x7f]).filter(|byte| *byte != b'\t');
        assert!(controls.clone().all(|byte| !is_of_text(byte)));
        assert_eq!(super::controls(&controls.cycle().take(1000).collect::<Vec<_>>()), 1000);
        assert!((b' '..0x7f).chain(0x80..=0xff).chain([b'\t']).all(is_of_text));
    }
}
