//! Chunks (RFC 9112, 7.1).

use crate::wire::case::{Case, Piece, Table, bytes, chunked};
use crate::wire::seen::{get, post};
use crate::wire::turn::{cut, incomplete};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = good().cases();
    cases.extend(sizes().cases());
    cases.extend(ends().cases());
    cases.extend(extensions().cases());
    cases
}

fn good() -> Table {
    let hello = chunked(b"5\r\nhello\r\n0\r\n\r\n");
    let next = b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = [&b"493e0\r\n"[..], &[b'x'; 300_000], b"\r\n0\r\n\r\n"].concat();
    let small: Vec<u8> = b"1\r\nx\r\n".repeat(2000);
    Table::under("RFC 9112, 7.1: content in chunks", post("hello"))
        .raw("several chunks", chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"))
        .expect("no chunks", chunked(b"0\r\n\r\n"), post(""))
        .expect("a size in lower case", chunked(b"b\r\nhello world\r\n0\r\n\r\n"), post("hello world"))
        .expect("a size in upper case", chunked(b"B\r\nhello world\r\n0\r\n\r\n"), post("hello world"))
        .raw("a size with leading zeros", chunked(b"0005\r\nhello\r\n000\r\n\r\n"))
        .expect("chunks that look like chunks", chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"), post("0\r\n\r\n"))
        .expect("a chunk of 300,000 bytes", chunked(long), post(vec![b'x'; 300_000]))
        .expect("two thousand chunks", chunked([&small[..], b"0\r\n\r\n"].concat()), post(vec![b'x'; 2000]))
        .steps(
            "chunks byte by byte",
            vec![bytes(chunked(b"")), Piece::Drip(b"5\r\nhello\r\n0\r\n\r\n".to_vec())],
            post("hello"),
        )
        .expect("a request after chunks", [&hello[..], next].concat(), post("hello").next(get("/2")))
        .expect("a chunk that is a request", chunked([b"1c\r\n", &next[..], b"\r\n0\r\n\r\n"].concat()), post(next))
}

fn sizes() -> Table {
    let mut table = Table::under("RFC 9112, 7.1: a size is hexadecimal digits, and not too many", cut(&[400]));
    for (name, chunks) in [
        ("an empty size", &b"\r\nhello\r\n0\r\n\r\n"[..]),
        ("a size with a plus sign", b"+5\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", b"-5\r\nhello\r\n0\r\n\r\n"),
        ("minus nothing for the last chunk", b"5\r\nhello\r\n-0\r\n\r\n"),
        ("a size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("a last size with 0x", b"5\r\nhello\r\n0x0\r\n\r\n"),
        ("a size with a low line", b"0_5\r\nhello\r\n0\r\n\r\n"),
        ("a size that is no number", b"g\r\nhello\r\n0\r\n\r\n"),
        ("a size with a letter after it", b"5g\r\nhello\r\n0\r\n\r\n"),
        ("a size with a point", b"5.0\r\nhello\r\n0\r\n\r\n"),
        ("a size in quotes", b"\"5\"\r\nhello\r\n0\r\n\r\n"),
        ("a size with NUL", b"5\0\r\nhello\r\n0\r\n\r\n"),
        ("a size with a space before it", b" 5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a space after it", b"5 \r\nhello\r\n0\r\n\r\n"),
        ("a size with a tab after it", b"5\t\r\nhello\r\n0\r\n\r\n"),
        ("a size with a space inside", b"0 5\r\nhello\r\n0\r\n\r\n"),
        ("a size of 2 to the 64th and five", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a size of twenty digits", b"fffffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
        ("a size that is a comma apart", b"5,5\r\nhello\r\n0\r\n\r\n"),
    ] {
        table = table.raw(name, chunked(chunks));
    }
    table
}

fn ends() -> Table {
    let mut table = Table::under("RFC 9112, 7.1: sizes and chunks end in CRLF", cut(&[400]));
    for (name, chunks) in [
        ("a size that ends in LF", &b"5\nhello\r\n0\r\n\r\n"[..]),
        ("a size that ends in CR", b"5\rhello\r\n0\r\n\r\n"),
        ("a size that ends in CR CR LF", b"5\r\r\nhello\r\n0\r\n\r\n"),
        ("a chunk that ends in LF", b"5\r\nhello\n0\r\n\r\n"),
        ("a chunk that ends in CR", b"5\r\nhello\r0\r\n\r\n"),
        ("a chunk without an end", b"5\r\nhello0\r\n\r\n"),
        ("a chunk that ends in two other bytes", b"5\r\nhelloXX0\r\n\r\n"),
        ("a chunk longer than its size", b"5\r\nhello, you\r\n0\r\n\r\n"),
        ("a chunk shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
        ("an empty line between chunks", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
        ("a last size that ends in LF", b"5\r\nhello\r\n0\n\r\n"),
        ("a last line that is LF", b"5\r\nhello\r\n0\r\n\n"),
        ("a last line that is CR CR LF", b"5\r\nhello\r\n0\r\n\r\r\n"),
        ("content that is not in chunks", b"hello"),
    ] {
        let chunks = [chunks, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        table = table.raw(name, chunked(chunks));
    }
    let unfinished =
        |table: Table, name, chunks: &[u8]| table.steps(name, vec![bytes(chunked(chunks)), Piece::End], incomplete());
    table = table.and("RFC 9112, 8: chunks without the last one are not all", incomplete());
    table = table
        .expect(
            "a size of forty zeros",
            chunked(b"0000000000000000000000000000000000000000\r\n\r\n"),
            post("").or(cut(&[400])),
        )
        .steps(
            "a size of 2 to the 64th less one",
            vec![bytes(chunked(b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n")), Piece::End],
            incomplete().or(cut(&[413])),
        );
    table = unfinished(table, "no chunk where some were said", b"");
    table = unfinished(table, "half a chunk", b"5\r\nhel");
    table = unfinished(table, "no last chunk", b"5\r\nhello\r\n");
    table = unfinished(table, "half of the last chunk", b"5\r\nhello\r\n0");
    table = unfinished(table, "a last chunk without a last line", b"5\r\nhello\r\n0\r\n");
    unfinished(table, "a last line without its LF", b"5\r\nhello\r\n0\r\n\r")
}

fn extensions() -> Table {
    let long = |length: usize| chunked([b"5;", &vec![b'x'; length][..], b"\r\nhello\r\n0\r\n\r\n"].concat());
    let each: Vec<u8> = b"1;x=0123456789012345678901234567890123456789\r\nx\r\n".repeat(20_000);
    Table::under("RFC 9112, 7.1.1: extensions that nobody knows are ignored, and go no further", post("hello"))
        .raw("an extension", chunked(b"5;a\r\nhello\r\n0\r\n\r\n"))
        .raw("an extension with a value", chunked(b"5;a=b;c\r\nhello\r\n0\r\n\r\n"))
        .raw("an extension with a quoted value", chunked(b"5;a=\"b; c\"\r\nhello\r\n0\r\n\r\n"))
        .raw("an extension of the last chunk", chunked(b"5\r\nhello\r\n0;a=b\r\n\r\n"))
        .and("RFC 9112, 7.1.1: extensions that are not quite", post("hello").or(cut(&[400])))
        .raw("spaces around an extension", chunked(b"5 ; a = b\r\nhello\r\n0\r\n\r\n"))
        .raw("a bare semicolon", chunked(b"5;\r\nhello\r\n0\r\n\r\n"))
        .raw("a value without a name", chunked(b"5;=b\r\nhello\r\n0\r\n\r\n"))
        .raw("a name without its value", chunked(b"5;a=\r\nhello\r\n0\r\n\r\n"))
        .raw("a quote that does not close", chunked(b"5;a=\"b\r\nhello\r\n0\r\n\r\n"))
        .raw("a byte above ASCII in an extension", chunked(b"5;\xe9\r\nhello\r\n0\r\n\r\n"))
        .and("RFC 9112, 7.1.1: no extension has CR, LF or another control character", cut(&[400]))
        .raw("a bare LF in an extension", chunked(b"5;a\nhello\r\n0\r\n\r\n"))
        .raw("a bare CR in an extension", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n"))
        .raw("a bare LF in a quoted extension", chunked(b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"))
        .raw("NUL in an extension", chunked(b"5;a\0\r\nhello\r\n0\r\n\r\n"))
        .raw("an escape in an extension", chunked(b"5;\x1b\r\nhello\r\n0\r\n\r\n"))
        .raw("a bare LF after an extension of the last chunk", chunked(b"5\r\nhello\r\n0;a\n\r\n"))
        .and("RFC 9112, 7.1.1: extensions are limited", cut(&[400, 413, 431]))
        .raw("an extension of 100,000 bytes", long(100_000))
        .raw("twenty times more extensions than content", chunked([&each[..], b"0\r\n\r\n"].concat()))
}
