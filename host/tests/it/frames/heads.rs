//! Pseudo-fields: those a request must have, may have and must not have, and what they may say.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [malformed(), refused(), accepted()].into_iter().flatten().collect()
}

type Fields = Vec<(&'static str, &'static str)>;

fn malformed() -> Vec<Case> {
    let rows: Vec<(&'static str, &'static str, Fields)> = vec![
        ("no :method", "RFC 9113, 8.3.1", without(&GET, ":method")),
        ("no :scheme", "RFC 9113, 8.3.1", without(&GET, ":scheme")),
        ("no :path", "RFC 9113, 8.3.1", without(&GET, ":path")),
        ("no pseudo-fields at all", "RFC 9113, 8.3.1", vec![("host", "www.example.com")]),
        ("no fields at all", "RFC 9113, 8.3.1", vec![]),
        ("an empty :path", "RFC 9113, 8.3.1", but(&GET, &[(":path", "")])),
        (":method twice", "RFC 9113, 8.3", with(&GET, &[(":method", "GET")])),
        (":scheme twice", "RFC 9113, 8.3", with(&GET, &[(":scheme", "http")])),
        (":path twice", "RFC 9113, 8.3", with(&GET, &[(":path", "/")])),
        (":path twice, and different", "RFC 9113, 8.3", with(&GET, &[(":path", "/other")])),
        (":authority twice", "RFC 9113, 8.3", with(&GET, &[(":authority", "www.example.com")])),
        ("an unknown pseudo-field", "RFC 9113, 8.3", with(&GET, &[(":test", "ok")])),
        ("a pseudo-field of answers", "RFC 9113, 8.3.1", with(&GET, &[(":status", "200")])),
        ("a pseudo-field without a name", "RFC 9113, 8.3", with(&GET, &[(":", "ok")])),
        (":method after a field", "RFC 9113, 8.3", with(&[("x-test", "ok")], &GET)),
        (":path after a field", "RFC 9113, 8.3", with(&without(&GET, ":path"), &[("x-test", "ok"), (":path", "/")])),
        (
            ":authority after a field",
            "RFC 9113, 8.3",
            with(&without(&GET, ":authority"), &[("x-test", "ok"), (":authority", "www.example.com")]),
        ),
        (":protocol without CONNECT", "RFC 8441, 4", with(&GET, &[(":protocol", "websocket")])),
    ];
    let of = |(name, clause, fields): (_, _, Fields)| {
        case(name, clause).send(headers(1, WHOLE, &block(&fields))).stream_error(1, &[PROTOCOL_ERROR]).unseen()
    };
    rows.into_iter().map(of).collect()
}

/// What is wrong with a value may be said by 400 as well (RFC 9113, 8.1.1).
fn refused() -> Vec<Case> {
    let rows: Vec<(&'static str, &'static str, Fields)> = vec![
        ("an empty :method", "RFC 9110, 9.1", but(&GET, &[(":method", "")])),
        (":method of two words", "RFC 9110, 9.1", but(&GET, &[(":method", "GET /")])),
        (":method with a line end", "RFC 9113, 8.2.1", but(&GET, &[(":method", "GET\r\n")])),
        (":method that is no token", "RFC 9110, 9.1", but(&GET, &[(":method", "GE{T}")])),
        (":path without a slash", "RFC 9113, 8.3.1", but(&GET, &[(":path", "index.html")])),
        (":path of a whole URL", "RFC 9113, 8.3.1", but(&GET, &[(":path", "http://www.example.com/")])),
        (":path of * without OPTIONS", "RFC 9113, 8.3.1", but(&GET, &[(":path", "*")])),
        (":path that begins with *", "RFC 9113, 8.3.1", but(&GET, &[(":method", "OPTIONS"), (":path", "*/a")])),
        (":path of a query alone", "RFC 9113, 8.3.1", but(&GET, &[(":path", "?a=b")])),
        (":path with a space", "RFC 9113, 8.3.1", but(&GET, &[(":path", "/a b")])),
        (":path with a version", "RFC 9113, 10.3", but(&GET, &[(":path", "/ HTTP/1.1\r\nx-smuggled: 1\r\n\r\n")])),
        (":path with CR", "RFC 9113, 8.2.1", but(&GET, &[(":path", "/a\rb")])),
        (":path with LF", "RFC 9113, 8.2.1", but(&GET, &[(":path", "/a\nb")])),
        (":path with NUL", "RFC 9113, 8.2.1", but(&GET, &[(":path", "/a\0b")])),
        (":path with a tab", "RFC 9113, 8.3.1", but(&GET, &[(":path", "/a\tb")])),
        (":path with DEL", "RFC 9113, 8.3.1", but(&GET, &[(":path", "/a\x7fb")])),
        (":path with a space before it", "RFC 9113, 8.2.1", but(&GET, &[(":path", " /")])),
        (":scheme that is empty", "RFC 9113, 8.3.1", but(&GET, &[(":scheme", "")])),
        (":scheme that is none", "RFC 3986, 3.1", but(&GET, &[(":scheme", "ht tp")])),
        (":scheme with an authority in it", "RFC 9113, 10.3", but(&GET, &[(":scheme", "http://other.example/?")])),
        ("neither :authority nor host", "RFC 9113, 8.3.1", without(&GET, ":authority")),
        (":authority that is empty", "RFC 9113, 8.3.1", but(&GET, &[(":authority", "")])),
        (":authority with a user", "RFC 9113, 8.3.1", but(&GET, &[(":authority", "user@www.example.com")])),
        (":authority with a space", "RFC 3986, 3.2", but(&GET, &[(":authority", "www.example.com other")])),
        (":authority with a path", "RFC 3986, 3.2", but(&GET, &[(":authority", "www.example.com/other")])),
        (":authority with LF", "RFC 9113, 8.2.1", but(&GET, &[(":authority", "www.example.com\nx-smuggled: 1")])),
        (":authority of two", "RFC 3986, 3.2", but(&GET, &[(":authority", "www.example.com,other")])),
        (":authority with a port of letters", "RFC 3986, 3.2", but(&GET, &[(":authority", "www.example.com:http")])),
        (":authority with two ports", "RFC 3986, 3.2", but(&GET, &[(":authority", "www.example.com:80:80")])),
        (":authority with half an address", "RFC 3986, 3.2", but(&GET, &[(":authority", "[::1")])),
        (":authority with a query", "RFC 3986, 3.2", but(&GET, &[(":authority", "www.example.com?a")])),
        ("host that disagrees with :authority", "RFC 9113, 8.3.1", with(&GET, &[("host", "other.example")])),
        ("host that is empty beside :authority", "RFC 9113, 8.3.1", with(&GET, &[("host", "")])),
        (
            "two hosts that disagree",
            "RFC 9110, 7.2",
            with(&without(&GET, ":authority"), &[("host", "www.example.com"), ("host", "other.example")]),
        ),
        (
            "two hosts, the second one unlike :authority",
            "RFC 9110, 7.2",
            with(&GET, &[("host", "www.example.com"), ("host", "other.example")]),
        ),
        ("host with a user", "RFC 9110, 7.2", with(&without(&GET, ":authority"), &[("host", "user@www.example.com")])),
        (
            "host with a space",
            "RFC 9110, 7.2",
            with(&without(&GET, ":authority"), &[("host", "www.example.com other")]),
        ),
    ];
    let of = |(name, clause, fields): (_, _, Fields)| {
        case(name, clause)
            .send(headers(1, WHOLE, &block(&fields)))
            .stream_error(1, &[PROTOCOL_ERROR])
            .answered(1, 400)
            .unseen()
    };
    rows.into_iter().map(of).collect()
}

fn accepted() -> Vec<Case> {
    let asked = |name, clause, fields: Fields, has, lacks| {
        case(name, clause).send(headers(1, WHOLE, &block(&fields))).answered(1, 200).seen(has, lacks)
    };
    vec![
        asked(
            "host in place of :authority",
            "RFC 9113, 8.3.1",
            with(&without(&GET, ":authority"), &[("host", "a.example")]),
            &["\nhost: a.example\n"],
            &[],
        ),
        asked(
            "host beside the same :authority",
            "RFC 9113, 8.3.1",
            with(&GET, &[("host", "www.example.com")]),
            &["\nhost: www.example.com\n"],
            &[],
        ),
        asked(
            "pseudo-fields in any order",
            "RFC 9113, 8.3",
            GET.into_iter().rev().collect(),
            &["GET / HTTP/1.1\n"],
            &[],
        ),
        asked(
            "an address and a port",
            "RFC 3986, 3.2",
            but(&GET, &[(":authority", "[::1]:8080")]),
            &["\nhost: [::1]:8080\n"],
            &[],
        ),
        asked(
            "a path with a query",
            "RFC 9113, 8.3.1",
            but(&GET, &[(":path", "/a/%20/b;c=d?e=f&g=//h?")]),
            &["GET /a/%20/b;c=d?e=f&g=//h? HTTP/1.1\n"],
            &[],
        ),
        asked(
            "a path of two slashes",
            "RFC 9113, 8.3.1",
            but(&GET, &[(":path", "//other.example/")]),
            &["GET //other.example/ HTTP/1.1\n", "\nhost: www.example.com\n"],
            &[],
        ),
        asked("a method of its own", "RFC 9110, 9.1", but(&GET, &[(":method", "PURGE")]), &["PURGE / HTTP/1.1\n"], &[]),
        asked("a method in lower case", "RFC 9110, 9.1", but(&GET, &[(":method", "get")]), &["get / HTTP/1.1\n"], &[]),
        // It asks the proxy itself.
        case("OPTIONS of everything", "RFC 9113, 8.3.1")
            .send(headers(1, END_STREAM | END_HEADERS, &block(&but(&GET, &[(":method", "OPTIONS"), (":path", "*")]))))
            .answered(1, 200)
            .unseen(),
        // Its `#` must not reach the member, which has no word for it either.
        case(":path with a fragment", "RFC 9113, 8.3.1")
            .send(headers(1, WHOLE, &block(&but(&GET, &[(":path", "/a#b")]))))
            .answered(1, 200)
            .answered(1, 400)
            .stream_error(1, &[PROTOCOL_ERROR])
            .never(&["#", "b HTTP"]),
        case("another scheme than the connection's", "RFC 9113, 8.3.1")
            .send(headers(1, WHOLE, &block(&but(&GET, &[(":scheme", "gopher")]))))
            .answered(1, 200)
            .answered(1, 400)
            .answered(1, 421)
            .stream_error(1, &[PROTOCOL_ERROR]),
    ]
}
