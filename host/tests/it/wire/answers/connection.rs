//! What is for the member's connection only (RFC 9110, 7.6.1), and trailers (RFC 9110, 6.5).

use crate::wire::answers::{chunked, ok};
use crate::wire::case::{Case, Table};
use crate::wire::script::says;
use crate::wire::seen::{Gets, gets};
use crate::wire::turn::{broken, failed};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = named().cases();
    cases.extend(trailers().cases());
    cases
}

fn hello() -> Gets {
    gets(200, "hello")
}

fn named() -> Table {
    let with = |lines: &[u8]| ok([b"Content-Length: 5\r\n", lines].concat(), b"hello");
    Table::under(
        "RFC 9110, 7.6.1: what an answer's Connection names goes no further",
        hello().without("x-a").without("x-b"),
    )
    .answer("a field that an answer's Connection names", with(b"Connection: x-a\r\nX-A: 1"))
    .answer("two fields that an answer's Connection names", with(b"X-A: 1\r\nX-B: 2\r\nConnection: X-A,\t x-b, ,"))
    .answer("two lines of an answer's Connection", with(b"Connection: x-a\r\nX-A: 1\r\nConnection: x-b\r\nX-B: 2"))
    .answer("an answer's Keep-Alive", with(b"Connection: keep-alive\r\nKeep-Alive: timeout=5"))
    .answer("an answer's Keep-Alive that is not named", with(b"Keep-Alive: timeout=5"))
    .answer("an answer's Proxy-Connection", with(b"Proxy-Connection: keep-alive"))
    .answer("an answer's close", says(with(b"Connection: close")).closes())
    .answer("an answer's close in a list", says(with(b"Connection: x-a, CLOSE\r\nX-A: 1")).closes())
    .answer("an answer's Upgrade", with(b"Connection: Upgrade\r\nUpgrade: h2c"))
    .answer("an answer's Connection that names its length", with(b"Connection: content-length"))
    .answer(
        "an answer's Connection that names its coding",
        ok(b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    )
    .answer_expect(
        "an answer's Connection that names its date",
        with(b"Connection: date\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT"),
        hello(),
    )
    .answer_expect(
        "an answer's Connection that is no list",
        with(b"Connection: \"x\", x-a\r\nX-A: 1"),
        hello().without("x-a").or(failed()),
    )
}

fn trailers() -> Table {
    let with = |lines: &[u8]| {
        ok(b"Trailer: X-Sum\r\nTransfer-Encoding: chunked", [b"5\r\nhello\r\n0\r\n", lines, b"\r\n\r\n"].concat())
    };
    let plain = |lines: &[u8]| chunked([b"5\r\nhello\r\n0\r\n", lines, b"\r\n\r\n"].concat());
    let mut table =
        Table::under("RFC 9110, 6.5.1: trailers are for who asked for them", hello().trailer("x-sum", b"5"))
            .ask(b"GET /case HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
            .answer("a trailer that is welcome", plain(b"X-Sum: 5"))
            .answer("a trailer that is announced and welcome", with(b"X-Sum: 5"))
            .answer_expect(
                "two trailers that are welcome",
                plain(b"X-Sum: 5\r\ngrpc-status: 0"),
                hello().trailer("x-sum", b"5").trailer("grpc-status", b"0"),
            )
            .answer("a trailer beside one that says how long", plain(b"X-Sum: 5\r\nContent-Length: 3"))
            .and("RFC 9110, 6.5.1: a trailer must not frame or route", hello().or(broken(b"hello")));
    for (name, lines) in [
        ("a length in an answer's trailers", &b"Content-Length: 3"[..]),
        ("a coding in an answer's trailers", b"Transfer-Encoding: chunked"),
        ("Connection in an answer's trailers", b"Connection: close"),
        ("a cookie in an answer's trailers", b"Set-Cookie: a=1"),
        ("a content type in an answer's trailers", b"Content-Type: text/html"),
    ] {
        table = table.answer(name, plain(lines));
    }
    table
        .ask(b"GET /case HTTP/1.1\r\nHost: a\r\n\r\n")
        .and("RFC 9110, 6.5.1: who did not ask for trailers does without", hello())
        .answer("a trailer that is not welcome", plain(b"X-Sum: 5"))
        .answer("a trailer that is announced and not welcome", with(b"X-Sum: 5"))
}
