//! Field lines of members (RFC 9112, 5), as strictly as those of clients.

use crate::wire::answers::ok;
use crate::wire::case::{Case, Table};
use crate::wire::script::says;
use crate::wire::seen::gets;
use crate::wire::turn::failed;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = malformed().cases();
    cases.extend(values().cases());
    cases.extend(long().cases());
    cases
}

fn with(lines: impl AsRef<[u8]>) -> Vec<u8> {
    ok([b"Content-Length: 5\r\n", lines.as_ref()].concat(), "hello")
}

fn malformed() -> Table {
    let mut table =
        Table::under("RFC 9112, 5 and RFC 9110, 5.5: 502 for a head that cannot be read one way only", failed());
    for (name, lines) in [
        ("an answer's line without a colon", &b"X-A"[..]),
        ("an answer's field without a name", b": b"),
        ("an answer's name with a space", b"X A: b"),
        ("an answer's name with brackets", b"X(A): b"),
        ("an answer's name with NUL", b"X\0A: b"),
        ("an answer's name with a byte above ASCII", b"X\xe9: b"),
        ("an answer's line that ends in LF", b"X-A: b\nX-B: c"),
        ("an answer's line that ends in CR", b"X-A: b\rX-B: c"),
        ("an answer's line that ends in CR CR LF", b"X-A: b\r\r\nX-B: c"),
        ("an answer's value with NUL", b"X-A: b\0c"),
        ("an answer's value with a backspace", b"X-A: b\x08c"),
        ("an answer's value with an escape", b"X-A: \x1b[31mb"),
        ("an answer's value with DEL", b"X-A: b\x7f"),
    ] {
        table = table.answer(name, with(lines));
    }
    table
        .and("RFC 9112, 5.2: 502 for a folded line", failed())
        .answer("an answer's folded line", with(b"X-A: b\r\n c"))
        .answer("an answer's line folded with a tab", with(b"X-A: b\r\n\tc"))
        .answer("an answer's length on a fold", ok(b"X-A: b\r\n Content-Length: 3", b"hello"))
        .answer(
            "white space before an answer's first field",
            b"HTTP/1.1 200 OK\r\n X-A: b\r\nContent-Length: 5\r\n\r\nhello",
        )
        .and(
            "RFC 9112, 5.1: a space before the colon is removed, or the answer is",
            failed().or(gets(200, "hello").with("x-a", b"b")),
        )
        .answer("a space before the colon in an answer", with(b"X-A : b"))
        .answer("a tab before the colon in an answer", with(b"X-A\t: b"))
        .and("RFC 9112, 6.3: a length whose name has a space is none, or one", failed())
        .answer("a space before the colon of an answer's length", ok(b"Content-Length : 3", b"hello"))
        .and("RFC 9112, 2.2: a head ends in CRLF CRLF", failed())
        .answer("an answer's head that ends in LF LF", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")
        .answer("an answer's head that ends in CRLF LF", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello")
}

fn values() -> Table {
    let has = |value: &'static [u8]| gets(200, "hello").with("x-a", value);
    Table::under("RFC 9110, 5: an answer's fields are passed on as they are", has(b"b"))
        .answer("an answer's field", with(b"X-A: b"))
        .answer("an answer's value with white space around it", with(b"X-A:\t b \t"))
        .answer("an answer's name in odd case", with(b"x-A: b"))
        .answer_expect("an answer's value with a tab inside", with(b"X-A: b\tc"), has(b"b\tc"))
        .answer_expect("an answer's empty value", with(b"X-A:"), has(b""))
        .answer_expect("an answer's value with bytes above ASCII", with(b"X-A: caf\xe9 \xff"), has(b"caf\xe9 \xff"))
        .answer_expect("an answer's value with colons", with(b"X-A: b: c"), has(b"b: c"))
        .answer_expect("an answer's lines of one name", with(b"X-A: b\r\nX-B: 1\r\nX-A: c"), has(b"b, c"))
        .answer_expect(
            "an answer's cookies",
            with(b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2"),
            gets(200, "hello").with("set-cookie", b"a=1; Path=/, b=2"),
        )
        .answer_expect("an answer's entity tag", with(b"ETag: W/\"b\""), gets(200, "hello").with("etag", b"W/\"b\""))
        .answer_expect(
            "an answer's coding of content",
            with(b"Content-Encoding: gzip"),
            gets(200, "hello").with("content-encoding", b"gzip"),
        )
        .and("RFC 9110, 6.6.1: the date is the member's, or ours", gets(200, "hello"))
        .answer_expect(
            "an answer's date",
            with(b"Date: Tue, 15 Nov 1994 08:12:31 GMT"),
            gets(200, "hello").with("date", b"Tue, 15 Nov 1994 08:12:31 GMT"),
        )
        .answer("an answer without a date", with(b"X-A: b"))
        .answer("an answer byte by byte", says(b"").drips(with(b"X-A: b")))
        .answer(
            "an answer split between CR and LF",
            says(b"HTTP/1.1 200 OK\r").drips(b"\nContent-Length: 5\r\n\r\nhello"),
        )
}

fn long() -> Table {
    let line = |length: usize| format!("X-A: {}", "b".repeat(length));
    let lines = |count: usize| (0..count).map(|at| format!("X-{at}: y")).collect::<Vec<_>>().join("\r\n");
    Table::under("RFC 9110, 5.4: what an answer's head may come to is limited", failed())
        .answer("an answer's field of two megabytes", with(line(2_000_000)))
        .answer("a hundred thousand fields in an answer", with(lines(100_000)))
        .answer(
            "an answer's status line of two megabytes",
            format!("HTTP/1.1 200 {}\r\n\r\n", "O".repeat(2_000_000)).into_bytes(),
        )
        .answer("an answer's head without an end", vec![b'x'; 2_000_000])
        .answer_expect("an answer's field of 8,000 bytes", with(line(8000)), gets(200, "hello"))
        .answer_expect("sixty fields in an answer", with(lines(60)), gets(200, "hello").with("x-59", b"y"))
}
