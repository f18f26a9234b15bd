//! Clients of HTTP/1.0 (RFC 9112, 2.3, 9.3 and C.2): no Host needed, no chunks, no interim answers, and the end.

use crate::wire::case::{Case, Table};
use crate::wire::seen::{get, post, seen};
use crate::wire::turn::refused;

pub(super) fn cases() -> Vec<Case> {
    Table::under("RFC 9112, 9.3: HTTP/1.0 ends after an answer", get("/").closing())
        .raw("HTTP/1.0 with Host", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        .raw("HTTP/1.0 with Host and close", b"GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n")
        .raw(
            "HTTP/1.0 with close and keep-alive",
            b"GET / HTTP/1.0\r\nHost: a\r\nConnection: close, keep-alive\r\n\r\n",
        )
        .raw("HTTP/1.0 with Proxy-Connection", b"GET / HTTP/1.0\r\nHost: a\r\nProxy-Connection: keep-alive\r\n\r\n")
        .raw(
            "a request after HTTP/1.0 is nobody's",
            b"GET / HTTP/1.0\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\n\r\n",
        )
        .expect("HTTP/1.0 with an absolute target", b"GET http://a/x HTTP/1.0\r\n\r\n", get("/x").closing())
        .expect("HEAD of HTTP/1.0", b"HEAD / HTTP/1.0\r\nHost: a\r\n\r\n", seen("HEAD", "/").closing())
        .and("RFC 9112, 3.2: Host is not demanded of HTTP/1.0, but must be good", get("/").hosts(&[]))
        .raw("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n")
        .expect(
            "HTTP/1.0 with an empty Host",
            b"GET / HTTP/1.0\r\nHost:\r\n\r\n",
            get("/").hosts(&[]).or(refused(&[400])),
        )
        .expect("HTTP/1.0 with two Hosts", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", refused(&[400]))
        .expect("HTTP/1.0 with a bad Host", b"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", refused(&[400]))
        .expect(
            "HTTP/1.0 with another Host than its target's",
            b"GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n",
            refused(&[400]),
        )
        .and("RFC 9112, C.2.2: keep-alive in HTTP/1.0", get("/"))
        .raw("HTTP/1.0 with keep-alive", b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        .raw(
            "HTTP/1.0 with Keep-Alive in capitals",
            b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\nKeep-Alive: 5\r\n\r\n",
        )
        .and("RFC 9112, 6.3: content in HTTP/1.0 has a length", post("hello"))
        .raw("content in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        .expect(
            "content in HTTP/1.0 without a length",
            b"POST / HTTP/1.0\r\nHost: a\r\n\r\n",
            post("").or(refused(&[400, 411])),
        )
        .expect(
            "two lengths in HTTP/1.0",
            b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            refused(&[400]),
        )
        .and("RFC 9110, 10.1.1: an expectation in HTTP/1.0 is ignored", post("hello"))
        .raw(
            "an expectation in HTTP/1.0",
            b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        )
        .and("RFC 9110, 7.8: an upgrade in HTTP/1.0 is ignored", get("/").without("upgrade"))
        .raw(
            "an upgrade in HTTP/1.0",
            b"GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .and("RFC 9110, 7.6.1: Connection in HTTP/1.0 names fields too", get("/").without("x-a"))
        .raw(
            "a field that Connection names in HTTP/1.0",
            b"GET / HTTP/1.0\r\nHost: a\r\nConnection: x-a\r\nX-A: 1\r\n\r\n",
        )
        .and("RFC 9110, 7.6.3: Via says what we were asked in", get("/").with("via", b"1.0 switchback"))
        .raw("Via of HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        .expect("Via of HTTP/1.1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", get("/").with("via", b"1.1 switchback"))
        .expect(
            "Via after others",
            b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 fred\r\n\r\n",
            get("/").with("via", b"1.0 fred, 1.1 switchback"),
        )
        .and("RFC 9112, 2.3 and 5: HTTP/1.0 is read as strictly", refused(&[400]))
        .raw("bare LF in HTTP/1.0", b"GET / HTTP/1.0\nHost: a\n\n")
        .raw("a folded line in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n")
        .cases()
}
