//! Method, target and version, and what may stand before them (RFC 9112, 2.2 and 3).

use crate::wire::case::{Case, Piece, Table, bytes};
use crate::wire::seen::{get, seen};
use crate::wire::turn::{answered, closed, incomplete, refused};

/// A TLS client's first bytes, as they come to a plain port.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03\
    0123456789abcdef0123456789abcdef\x00\x00\x02\x13\x01\x01\x00\x00\x00\r\n\r\n";

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = spaces().cases();
    cases.extend(methods().cases());
    cases.extend(arrivals().cases());
    cases
}

fn spaces() -> Table {
    Table::under("RFC 9112, 2.2: an empty line before the request line", get("/"))
        .raw("an empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("ten empty lines first", [&b"\r\n".repeat(10), GET].concat(), get("/").or(refused(&[400])))
        .expect("a bare LF first", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", get("/").or(refused(&[400])))
        .expect("a bare CR first", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", refused(&[400]))
        .and("RFC 9112, 3: single spaces, and nothing else, between its parts", refused(&[400]))
        .raw("a tab after the method", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a tab before the version", b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("two spaces after the method", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n")
        .raw("a tab after the version", b"GET / HTTP/1.1\t\r\nHost: a\r\n\r\n")
        .raw("a space before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a vertical tab for a space", b"GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a form feed for a space", b"GET /\x0cHTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a bare CR for a space", b"GET /\rHTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a no-break space for a space", b"GET\xa0/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("no target but its space", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a method alone", b"GET\r\nHost: a\r\n\r\n")
        .raw("no method", b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a target and a version alone", b"/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a field where the request line should be", b"Host: a\r\n\r\n")
        .and("RFC 9112, 2.2: a line ends in CRLF; a bare CR is no end", refused(&[400]))
        .raw("a request line that ends in LF", b"GET / HTTP/1.1\nHost: a\r\n\r\n")
        .raw("a request line that ends in CR", b"GET / HTTP/1.1\rHost: a\r\n\r\n")
        .raw("a request line that ends in CR CR LF", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n")
        .raw("a head whose lines end in LF", b"GET / HTTP/1.1\nHost: a\n\n")
        .raw("a NUL after the request line", b"GET / HTTP/1.1\0\r\nHost: a\r\n\r\n")
}

fn methods() -> Table {
    Table::under("RFC 9110, 9.1: a method is a token", refused(&[400]))
        .raw("a method with brackets", b"G(E)T / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a method with an at sign", b"GE@T / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a method with a colon", b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a method in quotes", b"\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a method with a slash", b"GET/ / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a method with NUL", b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("a method with a byte above ASCII", b"G\xcbT / HTTP/1.1\r\nHost: a\r\n\r\n")
        .and("RFC 9110, 9.1: methods are case-sensitive, and others than the known ones exist", seen("get", "/"))
        .raw("get in lower case is another method", b"get / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect(
            "head in lower case has an answer with content",
            b"head / HTTP/1.1\r\nHost: a\r\n\r\n",
            seen("head", "/"),
        )
        .expect("a method nobody knows", b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", seen("BREW", "/pot"))
        .expect("a method with a hyphen", b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", seen("M-SEARCH", "/"))
        .expect(
            "a method of every byte that a token may have",
            b"!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: a\r\n\r\n",
            seen("!#$%&'*+-.^_`|~09azAZ", "/").or(refused(&[400, 501])),
        )
        .expect(
            "an unknown method with content",
            b"REPORT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            seen("REPORT", "/").body("hi"),
        )
        .expect(
            "a method of 5,000 letters",
            [&b"A".repeat(5000), &GET[3..]].concat(),
            refused(&[400, 414, 431, 501]).or(answered(&[400, 405, 501])).or(seen("A".repeat(5000), "/")),
        )
        .and("RFC 9110, 9.3.6: we are no tunnel", refused(&[501, 405]))
        .raw("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
        .expect("CONNECT to a path", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", refused(&[400, 405, 501]))
        .expect("CONNECT without a port", b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", refused(&[400, 405, 501]))
        .raw("CONNECT, and a request in the tunnel", [b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", GET].concat())
}

fn arrivals() -> Table {
    let longest = format!("/{}", "a".repeat(7980));
    let long = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length));
    Table::under("RFC 9112, 3: 8000 bytes of request line are to be expected", get(longest))
        .raw("a long target", long(7980))
        .and("RFC 9110, 15.5.15: a target longer than we interpret", refused(&[414, 431]))
        .raw("a target of 70,000 bytes", long(70_000))
        .raw("a target of a megabyte", long(1_000_000))
        .and("RFC 9112, 2.2: a message is a sequence of bytes, however they arrive", get("/"))
        .steps("a head byte by byte", vec![Piece::Drip(GET.to_vec())], get("/"))
        .steps("a head split between CR and LF", vec![bytes(&GET[..15]), Piece::Drip(GET[15..].to_vec())], get("/"))
        .steps("a head split before its last LF", vec![bytes(&GET[..26]), Piece::Drip(GET[26..].to_vec())], get("/"))
        .and("RFC 9112, 8: an incomplete request", incomplete())
        .steps("no bytes at all", vec![Piece::End], closed())
        .steps("an empty line and the end", vec![bytes("\r\n"), Piece::End], incomplete())
        .steps("half a request line", vec![bytes("GET / HT"), Piece::End], incomplete())
        .steps("a request line and the end", vec![bytes("GET / HTTP/1.1\r\n"), Piece::End], incomplete())
        .steps("a head without its last LF", vec![bytes(&GET[..26]), Piece::End], incomplete())
        .and("RFC 9112, 2.2: what is no request", refused(&[400]))
        .raw("garbage", b"\x01\x02\x03\xff\xfe\r\n\r\n")
        .raw("an answer where a request should be", b"HTTP/1.1 200 OK\r\nHost: a\r\n\r\n")
        .expect("a TLS client at the plain port", CLIENT_HELLO, refused(&[400]).or(closed()))
}
