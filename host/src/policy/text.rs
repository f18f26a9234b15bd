//! Text that came from a guest, made safe to show: a name, a reason or a log line may hold anything.

use std::borrow::Cow;

/// The longest text of a guest that is shown; the rest is cut.
pub const LINE_BYTES_MAX: usize = 1024;

/// The text on one line, without control characters (they are escaped as Rust would write them), cut at
/// [`LINE_BYTES_MAX`].
pub fn printable(text: &str) -> Cow<'_, str> {
    let end = text.floor_char_boundary(LINE_BYTES_MAX);
    let cut = &text[..end];
    if end == text.len() && !cut.chars().any(misleads) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(end + 16);
    for c in cut.chars() {
        if misleads(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if end < text.len() {
        out.push('…');
    }
    Cow::Owned(out)
}

/// Control characters move the cursor or start a new line; the bidirectional ones reorder what a person reads.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(printable("pool `grün`"), Cow::Borrowed(_)));
    }

    #[test]
    fn terminal_codes_and_line_ends_are_escaped() {
        assert_eq!(printable("a\r\nb\x1b[31m\u{202e}"), "a\\r\\nb\\u{1b}[31m\\u{202e}");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let long = "é".repeat(LINE_BYTES_MAX);
        let shown = printable(&long);
        assert!(shown.len() <= LINE_BYTES_MAX + '…'.len_utf8() && shown.ends_with('…'));
    }
}
