//! Transfer-Encoding (RFC 9112, 6.1), the field by which requests are smuggled.

use crate::wire::case::{Case, Table, get_with, post_with};
use crate::wire::seen::{get, post};
use crate::wire::turn::refused;

/// Content in chunks; whoever takes it for content of five bytes finds a request behind it.
const CHUNKS: &[u8] = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const HELLO: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = ambiguous().cases();
    cases.extend(codings().cases());
    cases
}

fn ambiguous() -> Table {
    let mut table = Table::under("RFC 9112, 6.1: a length beside a coding is refused", refused(&[400]));
    for (name, lines) in [
        ("a length before a coding", &b"Content-Length: 5\r\nTransfer-Encoding: chunked"[..]),
        ("a coding before a length", b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("a coding and a length of nothing", b"Transfer-Encoding: chunked\r\nContent-Length: 0"),
        ("a coding and a length apart", b"Transfer-Encoding: chunked\r\nX-A: b\r\nX-B: c\r\ncontent-length: 5"),
        ("a coding and a malformed length", b"Transfer-Encoding: chunked\r\nContent-Length: x"),
        ("a coding and an empty length", b"Transfer-Encoding: chunked\r\nContent-Length:"),
        ("a coding in capitals and a length", b"TRANSFER-ENCODING: CHUNKED\r\nContent-Length: 5"),
        (
            "a length that Connection names, and a coding",
            b"Connection: content-length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        ),
        (
            "a coding that Connection names, and a length",
            b"Connection: transfer-encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        ),
        ("a space before a coding's colon, and a length", b"Content-Length: 5\r\nTransfer-Encoding : chunked"),
        ("a space before a coding's colon", b"Transfer-Encoding : chunked"),
        ("a folded coding", b"Transfer-Encoding:\r\n chunked"),
        ("a folded coding, and a length", b"Content-Length: 5\r\nTransfer-Encoding:\r\n chunked"),
        ("a coding behind a bare LF", b"X-A: b\nTransfer-Encoding: chunked"),
        ("a coding behind a bare CR", b"X-A: b\rTransfer-Encoding: chunked"),
        ("a coding with a vertical tab before it", b"Transfer-Encoding: \x0bchunked"),
        ("a coding with a form feed after it", b"Transfer-Encoding: chunked\x0c"),
        ("a coding with NUL", b"Transfer-Encoding: chunked\0"),
        ("a name with NUL before its colon", b"Transfer-Encoding\0: chunked"),
    ] {
        table = table.raw(name, post_with(lines, CHUNKS));
    }
    table = table.and("RFC 9112, 6.1: chunked once, last, and without parameters", refused(&[400]));
    for (name, lines) in [
        ("chunked twice", &b"Transfer-Encoding: chunked, chunked"[..]),
        ("chunked on two lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("chunked, then nothing, then chunked", b"Transfer-Encoding: chunked,, chunked"),
        ("an empty coding", b"Transfer-Encoding:"),
        ("an empty coding beside a good one", b"Transfer-Encoding:\r\nTransfer-Encoding: chunked"),
    ] {
        table = table.raw(name, post_with(lines, CHUNKS));
    }
    table = table.and("RFC 9112, 6.1 and 7: neither chunked alone nor a coding that we know", refused(&[400, 501]));
    for (name, lines) in [
        ("chunked before another coding", &b"Transfer-Encoding: chunked, gzip"[..]),
        ("chunked before another coding on two lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip"),
        ("chunked before identity", b"Transfer-Encoding: chunked, identity"),
        ("identity before chunked", b"Transfer-Encoding: identity, chunked"),
        ("identity on a line before chunked", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        ("identity", b"Transfer-Encoding: identity"),
        ("chunked with a parameter", b"Transfer-Encoding: chunked;a=b"),
        ("chunked with a weight", b"Transfer-Encoding: chunked;q=0.5"),
        ("chunked with a semicolon", b"Transfer-Encoding: chunked;"),
        ("chunked in quotes", b"Transfer-Encoding: \"chunked\""),
        ("chunked in two words", b"Transfer-Encoding: chun ked"),
        ("chunked and another word", b"Transfer-Encoding: chunked identity"),
        ("chunked with a byte above ASCII", b"Transfer-Encoding: chunked\xa0"),
        ("a list that is not separated by commas", b"Transfer-Encoding: gzip;chunked"),
    ] {
        table = table.raw(name, post_with(lines, CHUNKS));
    }
    table
}

fn codings() -> Table {
    let mut table = Table::under("RFC 9112, 6.1: 501 to a coding that we do not know", refused(&[501]));
    for (name, lines) in [
        ("gzip", &b"Transfer-Encoding: gzip"[..]),
        ("gzip before chunked", b"Transfer-Encoding: gzip, chunked"),
        ("gzip on a line before chunked", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
        ("a coding that looks like chunked", b"Transfer-Encoding: xchunked"),
        ("a coding that begins like chunked", b"Transfer-Encoding: chunkedx"),
        ("a coding that is half of chunked", b"Transfer-Encoding: chunk"),
    ] {
        table = table.raw(name, post_with(lines, CHUNKS));
    }
    table
        .and("RFC 9112, 6.1: a coding in HTTP/1.0 is faulty framing", refused(&[400]))
        .raw(
            "chunked in HTTP/1.0",
            [b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS].concat(),
        )
        .raw(
            "chunked in HTTP/1.0 that would be kept",
            [b"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS]
                .concat(),
        )
        .raw(
            "chunked and a length in HTTP/1.0",
            [b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS].concat(),
        )
        .and("RFC 9112, 7: names of codings have no case", post("hello"))
        .raw("chunked", post_with(b"Transfer-Encoding: chunked", HELLO))
        .raw("chunked in capitals", post_with(b"Transfer-Encoding: CHUNKED", HELLO))
        .raw("chunked in mixed case", post_with(b"transfer-ENCODING: cHuNkEd", HELLO))
        .raw("chunked with white space around it", post_with(b"Transfer-Encoding:\t chunked \t", HELLO))
        .expect(
            "GET with chunks",
            [&get_with(b"Transfer-Encoding: chunked")[..], HELLO].concat(),
            get("/").body("hello"),
        )
        .and("RFC 9110, 5.6.1: empty elements of a list", post("hello").or(refused(&[400, 501])))
        .raw("chunked and a comma", post_with(b"Transfer-Encoding: chunked,", HELLO))
        .raw("a comma and chunked", post_with(b"Transfer-Encoding: , chunked", HELLO))
        .and("RFC 9110, 7.6.1: framing is not a connection's option", post("hello").or(refused(&[400])))
        .raw(
            "Connection names the coding",
            post_with(b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked", HELLO),
        )
        .raw("Connection names the length", post_with(b"Connection: content-length\r\nContent-Length: 5", b"hello"))
}
