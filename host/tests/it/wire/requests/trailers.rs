//! Trailers of requests (RFC 9112, 7.1.2; RFC 9110, 6.5).

use crate::wire::case::{Case, Table, chunked};
use crate::wire::seen::{get, post};
use crate::wire::turn::cut;

pub(super) fn cases() -> Vec<Case> {
    let with = |lines: &[u8]| chunked([b"5\r\nhello\r\n0\r\n", lines, b"\r\n\r\n"].concat());
    let many = |count: usize| (0..count).map(|at| format!("X-{at}: y")).collect::<Vec<_>>().join("\r\n");
    let mut table = Table::under("RFC 9110, 6.5.1: trailers are passed on apart, or dropped", post("hello"))
        .raw("a trailer", with(b"X-Sum: 5"))
        .raw("several trailers", with(b"X-Sum: 5\r\nX-Other: 6"))
        .raw("a trailer that was announced", announced())
        .expect(
            "a request after trailers",
            [&with(b"X-Sum: 5")[..], b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
            post("hello").next(get("/2")),
        )
        .and("RFC 9110, 6.5.1: a trailer must not frame, route, or say who asks", post("hello").or(cut(&[400])));
    for (name, lines) in [
        ("a length in the trailers", &b"Content-Length: 50"[..]),
        ("a coding in the trailers", b"Transfer-Encoding: chunked"),
        ("Host in the trailers", b"Host: b"),
        ("Authorization in the trailers", b"Authorization: Basic eDp5"),
        ("Connection in the trailers", b"Connection: close"),
        ("TE in the trailers", b"TE: gzip"),
        ("Cookie in the trailers", b"Cookie: a=1"),
        ("Content-Type in the trailers", b"Content-Type: text/plain"),
        ("Content-Encoding in the trailers", b"Content-Encoding: gzip"),
        ("Expect in the trailers", b"Expect: 100-continue"),
        ("Max-Forwards in the trailers", b"Max-Forwards: 0"),
        ("Trailer in the trailers", b"Trailer: x"),
        ("Upgrade in the trailers", b"Upgrade: websocket"),
    ] {
        table = table.raw(name, with(lines));
    }
    table = table.and("RFC 9112, 7.1.2: trailers are field lines", cut(&[400]));
    for (name, lines) in [
        ("a trailer without a colon", &b"X-Sum"[..]),
        ("a space before a trailer's colon", b"X-Sum : 5"),
        ("a trailer without a name", b": 5"),
        ("a trailer whose name is no token", b"X Sum: 5"),
        ("a folded trailer", b"X-Sum: 5\r\n 6"),
        ("white space before the first trailer", b" X-Sum: 5"),
        ("a trailer that ends in LF", b"X-Sum: 5\nX-Other: 6"),
        ("a bare CR in a trailer", b"X-Sum: 5\rX-Other: 6"),
        ("NUL in a trailer", b"X-Sum: \0"),
        ("a control character in a trailer", b"X-Sum: 5\x08"),
        ("a request for trailers", b"GET /smuggled HTTP/1.1\r\nHost: a"),
    ] {
        table = table.raw(name, with(lines));
    }
    table
        .and("RFC 9110, 5.4: what trailers may come to is limited", cut(&[400, 431]))
        .raw("two thousand trailers", with(many(2000).as_bytes()))
        .raw("a trailer of 100,000 bytes", with(format!("X-Sum: {}", "5".repeat(100_000)).as_bytes()))
        .cases()
}

fn announced() -> Vec<u8> {
    b"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n".to_vec()
}
