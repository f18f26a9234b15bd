//! Field lines (RFC 9112, 5; RFC 9110, 5).

use crate::wire::case::{Case, Table, get_with};
use crate::wire::seen::get;
use crate::wire::turn::refused;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = malformed().cases();
    cases.extend(values().cases());
    cases.extend(many().cases());
    cases
}

fn malformed() -> Table {
    Table::under("RFC 9112, 5.1: no white space between name and colon", refused(&[400]))
        .field("a space before the colon", b"X-A : b")
        .field("a tab before the colon", b"X-A\t: b")
        .field("a line that is a name alone", b"X-A")
        .field("an empty name", b": b")
        .field("a colon alone", b":")
        .and("RFC 9110, 5.1: a name is a token", refused(&[400]))
        .field("a name with a space", b"X A: b")
        .field("a name with brackets", b"X(A): b")
        .field("a name with an at sign", b"X@A: b")
        .field("a name with a slash", b"X/A: b")
        .field("a name with a quote", b"\"X-A\": b")
        .field("a name with a semicolon", b"X;A: b")
        .field("a name with NUL", b"X\0A: b")
        .field("a name with a control character", b"X\x01A: b")
        .field("a name with a byte above ASCII", b"X\xe9A: b")
        .field("a name with DEL", b"X\x7fA: b")
        .and("RFC 9112, 5.2: a folded line is refused", refused(&[400]))
        .field("a line folded with a space", b"X-A: b\r\n c")
        .field("a line folded with a tab", b"X-A: b\r\n\tc")
        .field("a line folded to nothing", b"X-A: b\r\n  ")
        .field("a value that begins on the folded line", b"X-A:\r\n b")
        .field("a length on a folded line", b"X-A: b\r\n Content-Length: 5")
        .and("RFC 9112, 2.2: no white space before the first field", refused(&[400]))
        .raw("a space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n")
        .raw("a tab before the first field", b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n")
        .raw("a line of spaces before the first field", b"GET / HTTP/1.1\r\n  \r\nHost: a\r\n\r\n")
        .and("RFC 9112, 2.2: a bare LF or CR ends nothing here", refused(&[400]))
        .field("a field line that ends in LF", b"X-A: b\nX-B: c")
        .field("a field line that ends in CR", b"X-A: b\rX-B: c")
        .field("a field line that ends in CR CR LF", b"X-A: b\r\r\nX-B: c")
        .field("a bare CR in a value", b"X-A: b\rc")
        .field("a bare CR before a name", b"\rX-A: b")
        .raw("a head that ends in CRLF LF", b"GET / HTTP/1.1\r\nHost: a\r\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a head that ends in LF CRLF", b"GET / HTTP/1.1\r\nHost: a\n\r\n")
        .raw("a head that ends in LF LF", b"GET / HTTP/1.1\r\nHost: a\n\n")
        .raw("a head that ends in CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n")
        .and("RFC 9110, 5.5: a value with CR, LF, NUL or another control character", refused(&[400]))
        .field("NUL in a value", b"X-A: b\0c")
        .field("NUL for a value", b"X-A: \0")
        .field("the control character 1 in a value", b"X-A: b\x01c")
        .field("a backspace in a value", b"X-A: b\x08c")
        .field("a vertical tab in a value", b"X-A: b\x0bc")
        .field("a form feed in a value", b"X-A: b\x0cc")
        .field("an escape in a value", b"X-A: b\x1b[31mc")
        .field("DEL in a value", b"X-A: b\x7fc")
}

fn values() -> Table {
    let with = |value: &'static [u8]| get("/").with("x-a", value);
    Table::under("RFC 9110, 5.5: a value is visible characters, white space inside, and bytes above ASCII", with(b"b"))
        .field("a value without white space", b"X-A:b")
        .field("a value with white space around it", b"X-A: \t b\t \t")
        .field("a name in lower case", b"x-a: b")
        .field("a name in upper case", b"X-A: b")
        .expect("an empty value", get_with(b"X-A:"), with(b""))
        .expect("a value of white space", get_with(b"X-A: \t "), with(b""))
        .expect("a value with colons", get_with(b"X-A: b: c:"), with(b"b: c:"))
        .expect("a value with a tab inside", get_with(b"X-A: b\tc"), with(b"b\tc"))
        .expect("a value with spaces inside", get_with(b"X-A: b  c"), with(b"b  c"))
        .expect("a value in UTF-8", get_with(b"X-A: \xc3\xa9"), with(b"\xc3\xa9"))
        .expect("a value in Latin-1", get_with(b"X-A: caf\xe9 \xff"), with(b"caf\xe9 \xff"))
        .expect("a value with quotes", get_with(b"X-A: \"b, \\\"c\""), with(b"\"b, \\\"c\""))
        .expect("a name of odd characters", get_with(b"!#$%&'*+.^`|~: b"), get("/").with("!#$%&'*+.^`|~", b"b"))
        .expect("two lines of one name keep their order", get_with(b"X-A: b\r\nX-B: 1\r\nX-A: c"), with(b"b, c"))
        .and("RFC 6265, 5.4: one Cookie for who asks one question", get("/").with("cookie", b"a=1; b=2; c=3"))
        .field("a cookie line", b"Cookie: a=1; b=2; c=3")
        .field("several cookie lines", b"Cookie: a=1\r\nCookie: b=2; c=3")
        .and(
            "RFC 7239, 8.1: what a stranger says of others is not believed",
            get("/").with("x-forwarded-for", b"127.0.0.1"),
        )
        .field("a forwarded address", b"X-Forwarded-For: 6.6.6.6")
        .field("two forwarded addresses", b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7")
}

fn many() -> Table {
    let lines = |count: usize| (0..count).map(|at| format!("X-{at}: y")).collect::<Vec<_>>().join("\r\n");
    let long = |length: usize| format!("X-A: {}", "b".repeat(length));
    Table::under("RFC 9110, 5.4: what fields may come to is limited", refused(&[400, 431]))
        .field("two hundred fields", lines(200))
        .field("ten thousand fields", lines(10_000))
        .field("a field of 70,000 bytes", long(70_000))
        .field("a name of 70,000 bytes", format!("{}: b", "X".repeat(70_000)))
        .field("a field of a megabyte", long(1_000_000))
        .expect("ninety fields", get_with(lines(90)), get("/").with("x-89", b"y"))
        .expect("a field of 8,000 bytes", get_with(long(8000)), get("/").or(refused(&[431])))
}
