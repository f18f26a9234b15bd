//! Answers that have no content, whatever they say (RFC 9110, 6.4.1; RFC 9112, 6.3).

use crate::wire::answers::{chunked, ok};
use crate::wire::case::{Case, Table};
use crate::wire::seen::gets;
use crate::wire::turn::failed;

pub(super) fn cases() -> Vec<Case> {
    Table::under("RFC 9110, 9.3.2: an answer to HEAD", gets(200, ""))
        .ask(b"HEAD /case HTTP/1.1\r\nHost: a\r\n\r\n")
        .answer_expect("a length to HEAD", ok(b"Content-Length: 5", b""), gets(200, "").with("content-length", b"5"))
        .answer("chunks to HEAD", chunked(b""))
        .answer("neither length nor chunks to HEAD", ok(b"X-A: b", b""))
        .answer_expect(
            "a 404 to HEAD",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n",
            gets(404, "").with("content-length", b"5"),
        )
        .answer_expect(
            "a length beside a coding to HEAD",
            ok(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b""),
            failed(),
        )
        .answer_expect("two lengths to HEAD", ok(b"Content-Length: 5\r\nContent-Length: 6", b""), failed())
        .answer_expect("no length to HEAD", ok(b"Content-Length: x", b""), failed())
        .and("RFC 9112, 6.3: content in answer to HEAD is nobody's", gets(200, "").spent().or(failed()))
        .answer("content to HEAD", ok(b"Content-Length: 5", b"hello"))
        .answer("content in chunks to HEAD", chunked(b"5\r\nhello\r\n0\r\n\r\n"))
        .answer(
            "content that is an answer to HEAD",
            ok(b"Content-Length: 42", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"),
        )
        .ask(b"GET /case HTTP/1.1\r\nHost: a\r\n\r\n")
        .and("RFC 9110, 15.3.5 and 8.6: a 204 has no content and no length", gets(204, ""))
        .answer("a 204", b"HTTP/1.1 204 No Content\r\nETag: b\r\n\r\n")
        .answer_expect(
            "a 204 with a length",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            gets(204, "").or(failed()),
        )
        .answer_expect(
            "a 204 with a length of nothing",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            gets(204, "").without("content-length").or(failed()),
        )
        .and(
            "RFC 9112, 6.3: content of a 204 is nobody's",
            gets(204, "").without("content-length").spent().or(failed()),
        )
        .answer("a 204 with a length and content", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello")
        .answer(
            "a 204 with chunks",
            b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .answer("a 204 with content", b"HTTP/1.1 204 No Content\r\n\r\nhello")
        .answer(
            "a 204 and an answer",
            b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray",
        )
        .and("RFC 9110, 15.4.5: a 304 has no content, and says of what", gets(304, "").with("etag", b"\"b\""))
        .answer("a 304", b"HTTP/1.1 304 Not Modified\r\nETag: \"b\"\r\n\r\n")
        .answer("a 304 with a length", b"HTTP/1.1 304 Not Modified\r\nETag: \"b\"\r\nContent-Length: 5\r\n\r\n")
        .answer(
            "a 304 with a coding",
            b"HTTP/1.1 304 Not Modified\r\nETag: \"b\"\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .and("RFC 9112, 6.3: content of a 304 is nobody's", gets(304, "").spent().or(failed()))
        .answer("a 304 with content", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello")
        .answer(
            "a 304 with chunks",
            b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .and("RFC 9110, 15.3.6: a 205 has no content but says so", gets(205, ""))
        .answer("a 205", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n")
        .answer("a 205 in no chunks", b"HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .cases()
}
