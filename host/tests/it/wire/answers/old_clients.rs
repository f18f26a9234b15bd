//! Members' answers to clients of HTTP/1.0 (RFC 9112, 6.1, 7 and 8): no chunks, no interim answers.

use crate::wire::answers::{chunked, ok};
use crate::wire::case::{Case, Table};
use crate::wire::script::says;
use crate::wire::seen::gets;
use crate::wire::turn::{broken, failed};

pub(super) fn cases() -> Vec<Case> {
    let chunks = chunked(b"5\r\nhello\r\n0\r\n\r\n");
    Table::under("RFC 9112, 6.1: HTTP/1.0 gets content by its length or until the end", gets(200, "hello"))
        .ask(b"GET /case HTTP/1.0\r\nHost: a\r\n\r\n")
        .answer("a length to HTTP/1.0", ok(b"Content-Length: 5", b"hello"))
        .answer("chunks to HTTP/1.0", &chunks[..])
        .answer("trailers to HTTP/1.0", chunked(b"5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"))
        .answer("content until the end to HTTP/1.0", says(ok(b"X-A: b", b"hello")).closes())
        .and("RFC 9110, 15.2: HTTP/1.0 knows no interim answers", gets(200, "hello"))
        .answer(
            "hints to HTTP/1.0",
            [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", &ok(b"Content-Length: 5", b"hello")[..]].concat(),
        )
        .answer("a 100 to HTTP/1.0", [b"HTTP/1.1 100 Continue\r\n\r\n", &chunks[..]].concat())
        .and("RFC 9112, 8: HTTP/1.0 can tell too that an answer is not whole", broken(b"hello"))
        .answer("less than its length to HTTP/1.0", says(ok(b"Content-Length: 10", b"hello")).closes())
        .answer("no last chunk to HTTP/1.0", says(chunked(b"5\r\nhello\r\n")).closes())
        .answer("a bad chunk to HTTP/1.0", chunked(b"5\r\nhello\r\nx\r\n\r\n"))
        .answer("content until a reset to HTTP/1.0", says(ok(b"X-A: b", b"hello")).resets())
        .and("RFC 9112, 4: 502 for HTTP/1.0 too", failed())
        .answer("garbage to HTTP/1.0", b"garbage\r\n\r\n")
        .answer("no answer to HTTP/1.0", says(b"").closes())
        .ask(b"GET /case HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        .and("RFC 9112, C.2.2: HTTP/1.0 that would be kept", gets(200, "hello"))
        .answer("a length to HTTP/1.0 that would be kept", ok(b"Content-Length: 5", b"hello"))
        .answer("chunks to HTTP/1.0 that would be kept", &chunks[..])
        .ask(b"HEAD /case HTTP/1.0\r\nHost: a\r\n\r\n")
        .and("RFC 9110, 9.3.2: HEAD of HTTP/1.0", gets(200, ""))
        .answer("a length to HEAD of HTTP/1.0", ok(b"Content-Length: 5", b""))
        .answer("chunks to HEAD of HTTP/1.0", chunked(b""))
        .cases()
}
