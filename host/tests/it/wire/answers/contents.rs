//! Content that is not what an answer said (RFC 9112, 7.1 and 8), and answers that nobody asked for.

use crate::wire::answers::{chunked, ok};
use crate::wire::case::{Case, Piece, Table, bytes, post_with};
use crate::wire::script::says;
use crate::wire::seen::gets;
use crate::wire::turn::{Turn, broken, failed};

/// An answer that must never reach anybody.
const STRAY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Serial: 1\r\n\r\nstray";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = short().cases();
    cases.extend(bad_chunks().cases());
    cases.extend(too_much().cases());
    cases.extend(early().cases());
    cases
}

fn short() -> Table {
    Table::under("RFC 9112, 8: an answer that ends too early is not passed off as whole", broken(b"hello"))
        .answer("less than an answer's length", says(ok(b"Content-Length: 10", b"hello")).closes())
        .answer("nothing of an answer's length", says(ok(b"Content-Length: 10", b"")).closes())
        .answer("less than an answer's length, and a reset", says(ok(b"Content-Length: 10", b"hello")).resets())
        .answer("less than the highest length", says(ok(b"Content-Length: 9223372036854775807", b"hello")).closes())
        .answer("an answer without its last chunk", says(chunked(b"5\r\nhello\r\n")).closes())
        .answer("an answer with half of its last chunk", says(chunked(b"5\r\nhello\r\n0\r\n")).closes())
        .answer("an answer with half a chunk", says(chunked(b"5\r\nhel")).closes())
        .answer("an answer with half a chunk size", says(chunked(b"5\r\nhello\r\n1")).closes())
        .answer("an answer that promises chunks", says(chunked(b"")).closes())
        .answer("an answer that ends in its trailers", says(chunked(b"5\r\nhello\r\n0\r\nX-Sum: 5\r\n")).closes())
        .answer("chunks and a reset", says(chunked(b"5\r\nhello\r\n")).resets())
        .answer("content until a reset", says(ok(b"X-A: b", b"hello")).resets())
}

fn bad_chunks() -> Table {
    let mut table = Table::under("RFC 9112, 7.1: an answer whose chunks cannot be read", broken(b"hello"));
    for (name, chunks) in [
        ("an answer's empty chunk size", &b"\r\nhello\r\n0\r\n\r\n"[..]),
        ("an answer's negative chunk size", b"-5\r\nhello\r\n0\r\n\r\n"),
        ("an answer's chunk size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("an answer's chunk size with a plus sign", b"+5\r\nhello\r\n0\r\n\r\n"),
        ("an answer's chunk size that is no number", b"x\r\nhello\r\n0\r\n\r\n"),
        ("an answer's chunk size of 2 to the 64th and five", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a space before an answer's chunk size", b" 5\r\nhello\r\n0\r\n\r\n"),
        ("an answer's chunk size that ends in LF", b"5\nhello\r\n0\r\n\r\n"),
        ("an answer's chunk size that ends in CR", b"5\rhello\r\n0\r\n\r\n"),
        ("an answer's chunk that ends in LF", b"5\r\nhello\n0\r\n\r\n"),
        ("an answer's chunk without an end", b"5\r\nhello0\r\n\r\n"),
        ("an answer's chunk longer than its size", b"5\r\nhello, you\r\n0\r\n\r\n"),
        ("a bare LF in an answer's extension", b"5;a\nhello\r\n0\r\n\r\n"),
        ("NUL in an answer's extension", b"5;\0\r\nhello\r\n0\r\n\r\n"),
        ("a bad size after a good chunk", b"5\r\nhello\r\nx\r\n\r\n"),
        ("an answer's last line that is LF", b"5\r\nhello\r\n0\r\n\n"),
        ("an answer's trailer without a colon", b"5\r\nhello\r\n0\r\nX-Sum\r\n\r\n"),
        ("an answer's folded trailer", b"5\r\nhello\r\n0\r\nX-Sum: 5\r\n 6\r\n\r\n"),
        ("NUL in an answer's trailer", b"5\r\nhello\r\n0\r\nX-Sum: \0\r\n\r\n"),
        ("content for an answer's chunks", b"hello hello hello\r\n\r\n"),
    ] {
        table = table.answer(name, chunked(chunks));
    }
    table.answer(
        "an answer's trailers of two megabytes",
        chunked([b"5\r\nhello\r\n0\r\nX-Sum: ", &[b'5'; 2_000_000][..], b"\r\n\r\n"].concat()),
    )
}

fn too_much() -> Table {
    let whole = ok(b"Content-Length: 5", b"hello");
    let chunks = chunked(b"5\r\nhello\r\n0\r\n\r\n");
    Table::under("RFC 9112, 6.3: what comes after an answer is nobody's", gets(200, "hello").spent().or(failed()))
        .answer("more than an answer's length", [&whole[..], b", you"].concat())
        .answer("a second answer", [&whole[..], STRAY].concat())
        .answer("three answers", [&whole[..], STRAY, STRAY].concat())
        .answer("an empty line after an answer", [&whole[..], b"\r\n"].concat())
        .answer("bytes after the last chunk", [&chunks[..], b"hello"].concat())
        .answer("a second answer after the last chunk", [&chunks[..], STRAY].concat())
        .answer("a second answer that is whole, and the end", says([&whole[..], STRAY].concat()).closes())
        .and("RFC 9112, 6.3: an answer on an idle connection answers nothing", gets(200, "hello").spent())
        .answer("a second answer that comes late", says(&whole).later().says(STRAY))
        .answer("a second answer after chunks that comes late", says(&chunks).later().says(STRAY))
        .answer("garbage that comes late", says(&whole).later().says(b"\0"))
        .answer(
            "a 408 that comes late, and the end",
            says(&whole)
                .later()
                .says(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .closes(),
        )
        .answer(
            "an interim answer that comes late",
            says(&whole).later().says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        )
}

fn early() -> Table {
    let half = vec![bytes(post_case(b"Content-Length: 10", b"hello")), Piece::Await, Piece::End];
    let chunk = vec![bytes(post_case(b"Transfer-Encoding: chunked", b"5\r\nhello\r\n")), Piece::Await, Piece::End];
    let refusal = b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    let refused = || gets(413, "no").spent();
    Table::under("RFC 9112, 9.5 and RFC 9110, 7.5: an answer may come while content still flows", refused())
        .exchange("an answer before the rest of the content", half.clone(), says(refusal).at_head(), refused())
        .exchange("an answer before the rest of the chunks", chunk, says(refusal).at_head(), refused())
        .exchange(
            "an answer before the rest of the content, and the end",
            half,
            says(refusal).at_head().closes(),
            refused().or(Turn::Failed(&[502])),
        )
        .exchange(
            "an answer before content that comes then",
            vec![bytes(post_case(b"Content-Length: 10", b"hello")), Piece::Await, bytes(b"hello")],
            says(refusal).at_head(),
            refused(),
        )
        .and("RFC 9110, 9.2.2: what may do harm twice is not sent twice", failed())
        .ask(b"POST /case HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        .answer("no answer to POST", says(b"").closes())
        .answer("garbage for an answer to POST", b"garbage\r\n\r\n")
        .answer_expect("half an answer to POST", says(ok(b"Content-Length: 10", b"hello")).closes(), broken(b"hello"))
        .answer_expect("an answer to POST", ok(b"Content-Length: 5", b"hello"), gets(200, "hello"))
}

fn post_case(lines: &[u8], content: &[u8]) -> Vec<u8> {
    let bytes = post_with(lines, content);
    [b"POST /case", &bytes[6..]].concat()
}
