//! How long an answer says that it is (RFC 9112, 6.1 to 6.3).

use crate::wire::answers::{chunked, ok};
use crate::wire::case::{Case, Table};
use crate::wire::script::says;
use crate::wire::seen::gets;
use crate::wire::turn::failed;

const CHUNKS: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = bad().cases();
    cases.extend(good().cases());
    cases
}

fn bad() -> Table {
    let mut table = Table::under("RFC 9112, 6.3: 502 for lengths that cannot be read one way only", failed());
    for (name, lines) in [
        ("an answer's two equal lengths", &b"Content-Length: 5\r\nContent-Length: 5"[..]),
        ("an answer's two different lengths", b"Content-Length: 5\r\nContent-Length: 3"),
        ("an answer's two different lengths, none first", b"Content-Length: 0\r\nContent-Length: 5"),
        ("an answer's list of lengths", b"Content-Length: 5, 5"),
        ("an answer's list of different lengths", b"Content-Length: 3, 5"),
        ("an answer's length with a sign", b"Content-Length: +5"),
        ("an answer's negative length", b"Content-Length: -5"),
        ("an answer's hexadecimal length", b"Content-Length: 0x5"),
        ("an answer's length with a letter", b"Content-Length: 5h"),
        ("an answer's length with a space inside", b"Content-Length: 5 0"),
        ("an answer's length with a point", b"Content-Length: 5.0"),
        ("an answer's length in words", b"Content-Length: five"),
        ("an answer's empty length", b"Content-Length:"),
        ("an answer's length of 2 to the 64th and five", b"Content-Length: 18446744073709551621"),
        ("an answer's length of forty digits", b"Content-Length: 1000000000000000000000000000000000000005"),
    ] {
        table = table.answer(name, ok(lines, b"hello"));
    }
    table = table.and("RFC 9112, 6.1: 502 for a length beside a coding", failed());
    for (name, lines) in [
        ("an answer's length before a coding", &b"Content-Length: 5\r\nTransfer-Encoding: chunked"[..]),
        ("an answer's coding before a length", b"Transfer-Encoding: chunked\r\nContent-Length: 15"),
        ("an answer's coding and a length of nothing", b"Transfer-Encoding: chunked\r\nContent-Length: 0"),
        ("an answer's coding and a bad length", b"Transfer-Encoding: chunked\r\nContent-Length: x"),
    ] {
        table = table.answer(name, ok(lines, CHUNKS));
    }
    table = table.and("RFC 9112, 6.1 and 6.3: 502 for codings other than chunked, once and last", failed());
    for (name, coding) in [
        ("an answer in gzip", &b"gzip"[..]),
        ("an answer in gzip and chunks", b"gzip, chunked"),
        ("an answer in chunks and gzip", b"chunked, gzip"),
        ("an answer chunked twice", b"chunked, chunked"),
        ("an answer chunked on two lines", b"chunked\r\nTransfer-Encoding: chunked"),
        ("an answer of two codings on two lines", b"gzip\r\nTransfer-Encoding: chunked"),
        ("an answer in identity", b"identity"),
        ("an answer in identity and chunks", b"identity, chunked"),
        ("an answer in a coding like chunked", b"xchunked"),
        ("an answer in a coding that begins like chunked", b"chunkedx"),
        ("an answer in chunks with a parameter", b"chunked;a=b"),
        ("an answer in quoted chunks", b"\"chunked\""),
        ("an answer in no coding", b""),
        ("an answer in chunks behind a vertical tab", b"\x0bchunked"),
    ] {
        table = table.answer(name, ok([b"Transfer-Encoding: ", coding].concat(), CHUNKS));
    }
    table
        .and("RFC 9112, 6.1: a coding in HTTP/1.0 is faulty framing", failed())
        .answer(
            "an answer of HTTP/1.0 in chunks",
            says([b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS].concat()).closes(),
        )
        .answer(
            "an answer of HTTP/1.0 in chunks and with a length",
            says([b"HTTP/1.0 200 OK\r\nContent-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS].concat())
                .closes(),
        )
}

fn good() -> Table {
    let long = vec![b'x'; 1_000_000];
    let long_chunks = [b"f4240\r\n", &long[..], b"\r\n0\r\n\r\n"].concat();
    let until_close = "RFC 9112, 6.3: without a length, content goes on until the end";
    Table::under("RFC 9112, 6.2: an answer of so many bytes", gets(200, "hello"))
        .answer("an answer with a length", ok(b"Content-Length: 5", b"hello"))
        .answer_expect("an answer with a length of nothing", ok(b"Content-Length: 0", b""), gets(200, ""))
        .answer_expect(
            "an answer's length with a leading zero",
            ok(b"Content-Length: 05", b"hello"),
            gets(200, "hello").or(failed()),
        )
        .answer_expect("an answer of a megabyte", ok(b"Content-Length: 1000000", &long), gets(200, &long))
        .and("RFC 9112, 7.1: an answer in chunks", gets(200, "hello"))
        .answer("an answer's chunks", chunked(CHUNKS))
        .answer("an answer's coding in capitals", ok(b"TRANSFER-ENCODING: CHUNKED", CHUNKS))
        .answer("an answer's chunk with an extension", chunked(b"5;a=b\r\nhello\r\n0;c\r\n\r\n"))
        .answer("an answer's several chunks", chunked(b"2\r\nhe\r\n003\r\nllo\r\n0\r\n\r\n"))
        .answer("an answer's chunks byte by byte", says(chunked(b"")).drips(CHUNKS))
        .answer_expect("an answer's no chunks", chunked(b"0\r\n\r\n"), gets(200, ""))
        .answer_expect("an answer in chunks of a megabyte", chunked(long_chunks), gets(200, &long))
        .and(
            "RFC 9112, 7.1.1: an answer's chunk sizes with white space",
            failed().or(gets(200, "hello")).or(crate::wire::turn::Turn::Aborted(b"")),
        )
        .answer("a space after an answer's chunk size", chunked(b"5 \r\nhello\r\n0\r\n\r\n"))
        .answer("a bare semicolon in an answer's chunk", chunked(b"5;\r\nhello\r\n0\r\n\r\n"))
        .and(until_close, gets(200, "hello"))
        .answer("an answer until the end", says(ok(b"X-A: b", b"hello")).closes())
        .answer("an answer of HTTP/1.0 until the end", says(b"HTTP/1.0 200 OK\r\n\r\nhello").closes())
        .answer("an answer until the end with close", says(ok(b"Connection: close", b"hello")).closes())
        .answer_expect("an empty answer until the end", says(ok(b"X-A: b", b"")).closes(), gets(200, ""))
        .answer_expect(
            "an answer until the end that looks like two",
            says(ok(b"X-A: b", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")).closes(),
            gets(200, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        )
        .answer("an answer of HTTP/1.0 with a length", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        .answer(
            "an answer of HTTP/1.0 that is kept",
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        )
        .and("RFC 9112, 9.3: a member of HTTP/1.0 that does not say so is not kept", gets(200, "hello").spent())
        .answer("an answer of HTTP/1.0 whose connection stays", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        .answer("an answer with close whose connection stays", ok(b"Content-Length: 5\r\nConnection: close", b"hello"))
}
