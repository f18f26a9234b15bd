//! Content-Length (RFC 9110, 8.6; RFC 9112, 6.2 and 6.3).

use crate::wire::case::{Case, Piece, Table, bytes, get_with, post_with};
use crate::wire::seen::{get, post, seen};
use crate::wire::turn::{incomplete, refused};

/// What follows a message of five bytes, for whoever reads its length differently.
const FIVE: &[u8] = b"helloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = malformed().cases();
    cases.extend(contents().cases());
    cases
}

fn malformed() -> Table {
    let mut table = Table::under("RFC 9110, 8.6: digits, and one value only", refused(&[400]));
    for (name, lines) in [
        ("a length with a plus sign", &b"Content-Length: +5"[..]),
        ("a negative length", b"Content-Length: -5"),
        ("minus nothing", b"Content-Length: -0"),
        ("a hexadecimal length", b"Content-Length: 0x5"),
        ("a length with a low line", b"Content-Length: 0_5"),
        ("a length with a space inside", b"Content-Length: 5 5"),
        ("a length with a decimal point", b"Content-Length: 5.0"),
        ("a length with an exponent", b"Content-Length: 5e0"),
        ("a length in quotes", b"Content-Length: \"5\""),
        ("a length with a semicolon", b"Content-Length: 5;"),
        ("a length with a comma after it", b"Content-Length: 5,"),
        ("a length with a comma before it", b"Content-Length: ,5"),
        ("a length in words", b"Content-Length: five"),
        ("a length in letters beyond digits", b"Content-Length: 5h"),
        ("a length in Arabic digits", b"Content-Length: \xd9\xa5"),
        ("a length with NUL", b"Content-Length: 5\0"),
        ("a length with a vertical tab before it", b"Content-Length: \x0b5"),
        ("an empty length", b"Content-Length:"),
        ("a list of equal lengths", b"Content-Length: 5, 5"),
        ("a list of equal lengths without a space", b"Content-Length: 5,5"),
        ("a list of different lengths", b"Content-Length: 5, 6"),
        ("two equal lengths", b"Content-Length: 5\r\nContent-Length: 5"),
        ("two different lengths", b"Content-Length: 5\r\nContent-Length: 6"),
        ("two different lengths, none first", b"Content-Length: 0\r\nContent-Length: 5"),
        ("two different lengths apart", b"Content-Length: 5\r\nX-A: b\r\ncontent-length: 0"),
        ("a good length and an empty one", b"Content-Length: 5\r\nContent-Length:"),
        ("a good length and a bad one", b"Content-Length: 5\r\nContent-Length: x"),
        ("three equal lengths", b"Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 5"),
        ("a length of 2 to the 64th", b"Content-Length: 18446744073709551616"),
        ("a length of 2 to the 64th and five", b"Content-Length: 18446744073709551621"),
        ("a length of 2 to the 32nd and a letter", b"Content-Length: 4294967301x"),
        ("a length of forty digits", b"Content-Length: 1000000000000000000000000000000000000005"),
        ("a space before the colon of a length", b"Content-Length : 5"),
        ("a length on a fold", b"Content-Length:\r\n 5"),
        ("a length folded in two", b"Content-Length: 5\r\n 5"),
    ] {
        table = table.raw(name, post_with(lines, FIVE));
    }
    table
        .and("RFC 9110, 8.6: also where content is not expected", refused(&[400]))
        .raw("a negative length with GET", [&get_with(b"Content-Length: -1")[..], FIVE].concat())
        .raw("two lengths of nothing with GET", get_with(b"Content-Length: 0\r\nContent-Length: 0"))
}

fn contents() -> Table {
    let five = |lines: &[u8]| post_with(lines, b"hello");
    let next = b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    Table::under("RFC 9112, 6.2: content of so many bytes", post("hello"))
        .raw("a length", five(b"Content-Length: 5"))
        .raw("a length with white space before it", five(b"Content-Length: \t 5"))
        .expect("a length with white space after it", five(b"Content-Length: 5 "), post("hello").or(refused(&[400])))
        .expect("a length with a leading zero", five(b"Content-Length: 05"), post("hello").or(refused(&[400])))
        .expect(
            "a length with thirty leading zeros",
            five(b"Content-Length: 0000000000000000000000000000005"),
            post("hello").or(refused(&[400])),
        )
        .expect("a length of nothing", post_with(b"Content-Length: 0", b""), post(""))
        .expect("no length and no content", b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", post(""))
        .expect("GET with content", [&get_with(b"Content-Length: 5")[..], b"hello"].concat(), get("/").body("hello"))
        .expect(
            "HEAD with content",
            b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            seen("HEAD", "/").body("hello"),
        )
        .expect(
            "DELETE with content",
            b"DELETE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            seen("DELETE", "/x").body("hello"),
        )
        .raw(
            "a length beside a field that looks like a coding",
            five(b"Content-Length: 5\r\nX-Transfer-Encoding: chunked"),
        )
        .expect(
            "a length beside a coding spelt with a low line",
            five(b"Content-Length: 5\r\nTransfer_Encoding: chunked"),
            post("hello").or(refused(&[400])),
        )
        .expect("content of every byte", post_with(b"Content-Length: 256", every_byte()), post(every_byte()))
        .expect(
            "content of 300,000 bytes",
            post_with(b"Content-Length: 300000", vec![b'x'; 300_000]),
            post(vec![b'x'; 300_000]),
        )
        .steps(
            "content byte by byte",
            vec![bytes(post_with(b"Content-Length: 5", b"")), Piece::Drip(b"hello".to_vec())],
            post("hello"),
        )
        .and("RFC 9112, 6.3: what follows is another message", post("hello").next(get("/2")))
        .raw("a request after content", [&five(b"Content-Length: 5"), &next[..]].concat())
        .expect(
            "an empty line after content",
            [&five(b"Content-Length: 5"), &b"\r\n"[..], next].concat(),
            post("hello").next(get("/2")),
        )
        .expect("content that is a request", post_with(b"Content-Length: 28", next), post(next))
        .expect(
            "more content than was said",
            post_with(b"Content-Length: 5", b"hello, you\r\n\r\n"),
            post("hello").next(refused(&[400])),
        )
        .expect(
            "content after a GET that has none",
            [&get_with(b"X-A: b")[..], b"hello\r\n\r\n"].concat(),
            get("/").next(refused(&[400])),
        )
        .and("RFC 9112, 8: less content than was said", incomplete())
        .steps(
            "less content than was said",
            vec![bytes(post_with(b"Content-Length: 10", b"hello")), Piece::End],
            incomplete(),
        )
        .steps(
            "no content where some was said",
            vec![bytes(post_with(b"Content-Length: 10", b"")), Piece::End],
            incomplete(),
        )
        .steps(
            "less content than the highest length there is",
            vec![bytes(post_with(b"Content-Length: 9223372036854775807", b"hello")), Piece::End],
            incomplete().or(refused(&[400, 413])),
        )
}

fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}
