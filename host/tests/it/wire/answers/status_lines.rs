//! Status lines of members (RFC 9112, 4).

use crate::wire::case::{Case, Table};
use crate::wire::script::says;
use crate::wire::seen::gets;
use crate::wire::turn::failed;

pub(super) fn cases() -> Vec<Case> {
    let with = |line: &[u8]| [line, b"\r\nContent-Length: 5\r\n\r\nhello"].concat();
    let mut table =
        Table::under("RFC 9112, 4: version, space, three digits, space, perhaps a reason", gets(200, "hello"))
            .answer("a plain answer", with(b"HTTP/1.1 200 OK"))
            .answer("no reason", with(b"HTTP/1.1 200 "))
            .answer("a long reason", with(b"HTTP/1.1 200 All is well: we have \"it\" here"))
            .answer("a reason with bytes above ASCII", with(b"HTTP/1.1 200 \xc3\xa0 la carte"))
            .answer_expect("no reason and no space", with(b"HTTP/1.1 200"), gets(200, "hello").or(failed()))
            .answer_expect("a status that nobody knows", with(b"HTTP/1.1 299 Fine"), gets(299, "hello"))
            .answer_expect("a status of an unknown class", with(b"HTTP/1.1 600 What"), gets(600, "hello").or(failed()))
            .answer_expect("the highest status", with(b"HTTP/1.1 999 What"), gets(999, "hello").or(failed()))
            .answer_expect("version 1.2 of a member", with(b"HTTP/1.2 200 OK"), gets(200, "hello").or(failed()))
            .answer_expect(
                "an empty line first in an answer",
                with(b"\r\nHTTP/1.1 200 OK"),
                gets(200, "hello").or(failed()),
            )
            .and("RFC 9110, 15: statuses are passed on", gets(404, "hello"))
            .answer("a member's 404", with(b"HTTP/1.1 404 Not Found"))
            .answer_expect("a member's 500", with(b"HTTP/1.1 500 Oh"), gets(500, "hello"))
            .answer_expect("a member's 502", with(b"HTTP/1.1 502 Bad"), gets(502, "hello"))
            .answer_expect(
                "a member's 401",
                with(b"HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic"),
                gets(401, "hello").with("www-authenticate", b"Basic"),
            )
            .answer_expect(
                "a member's redirect",
                with(b"HTTP/1.1 302 Found\r\nLocation: http://b/c#d"),
                gets(302, "hello").with("location", b"http://b/c#d"),
            )
            .and("RFC 9112, 4: 502 for what is no status line", failed());
    for (name, line) in [
        ("a status of two digits", &b"HTTP/1.1 20 OK"[..]),
        ("a status of four digits", b"HTTP/1.1 2000 OK"),
        ("a status below 100", b"HTTP/1.1 099 OK"),
        ("a status of zeros", b"HTTP/1.1 000 OK"),
        ("a status with a sign", b"HTTP/1.1 +20 OK"),
        ("a negative status", b"HTTP/1.1 -20 OK"),
        ("a status with a letter", b"HTTP/1.1 2x0 OK"),
        ("a status in words", b"HTTP/1.1 OK"),
        ("no status", b"HTTP/1.1"),
        ("no status but its space", b"HTTP/1.1 "),
        ("a status with a point", b"HTTP/1.1 200.1 OK"),
        ("two spaces before the status", b"HTTP/1.1  200 OK"),
        ("a tab before the status", b"HTTP/1.1\t200 OK"),
        ("a tab after the status", b"HTTP/1.1 200\tOK"),
        ("a space before the version of an answer", b" HTTP/1.1 200 OK"),
        ("no version", b"200 OK"),
        ("a version in lower case", b"http/1.1 200 OK"),
        ("version 2.0 of a member", b"HTTP/2.0 200 OK"),
        ("version 2 of a member", b"HTTP/2 200 OK"),
        ("version 0.9 of a member", b"HTTP/0.9 200 OK"),
        ("version 1.10 of a member", b"HTTP/1.10 200 OK"),
        ("version 01.1 of a member", b"HTTP/01.1 200 OK"),
        ("version 1. of a member", b"HTTP/1. 200 OK"),
        ("another protocol of a member", b"ICY 200 OK"),
        ("a request where an answer should be", b"GET / HTTP/1.1"),
        ("a reason with NUL", b"HTTP/1.1 200 O\0K"),
        ("a reason with a bare CR", b"HTTP/1.1 200 O\rK"),
        ("a reason with a control character", b"HTTP/1.1 200 \x1b[31mOK"),
        ("a reason with DEL", b"HTTP/1.1 200 O\x7fK"),
        ("a status line that ends in LF", b"HTTP/1.1 200 OK\nX-A: b"),
        ("a status line that ends in CR CR LF", b"HTTP/1.1 200 OK\r"),
    ] {
        table = table.answer(name, with(line));
    }
    table
        .and("RFC 9112, 8: 502 for who says nothing that is an answer", failed())
        .answer("nothing, and the end", says(b"").closes())
        .answer("nothing, and a reset", says(b"").resets())
        .answer("half a status line", says(b"HTTP/1.1 2").closes())
        .answer("a status line and the end", says(b"HTTP/1.1 200 OK\r\n").closes())
        .answer("half a head", says(b"HTTP/1.1 200 OK\r\nContent-Le").closes())
        .answer("a head without its last line", says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n").closes())
        .answer("half a head and a reset", says(b"HTTP/1.1 200 OK\r\nContent-Le").resets())
        .answer("content without a head", says(b"<html>hello</html>").closes())
        .answer("garbage for an answer", b"\x00\x01\x02\xff\r\n\r\n")
        .answer("a TLS alert for an answer", says(b"\x15\x03\x01\x00\x02\x02\x28").closes())
        .cases()
}
