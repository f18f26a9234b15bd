//! Several requests on one connection (RFC 9112, 9.3.2): answers in order, and each its own.

use crate::wire::case::{Case, Piece, Table, bytes};
use crate::wire::seen::{get, post, seen};
use crate::wire::turn::{Then, refused};

fn ask(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into()
}

pub(super) fn cases() -> Vec<Case> {
    let [one, two, three] = ["/1", "/2", "/3"].map(ask);
    let content = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunks = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let many = |count: usize| (0..count).flat_map(|at| ask(&format!("/{at}"))).collect::<Vec<u8>>();
    let all = |count: usize| (1..count).fold(Then::from(get("/0")), |then, at| then.next(get(format!("/{at}"))));
    let both = get("/1").next(get("/2"));
    Table::under("RFC 9112, 9.3.2: answers come in the order of requests", both.clone())
        .raw("two requests", [&one[..], &two].concat())
        .raw("an empty line between two requests", [&one[..], b"\r\n", &two].concat())
        .expect("three requests", [&one[..], &two, &three].concat(), both.clone().next(get("/3")))
        .expect("fifty requests", many(50), all(50))
        .expect(
            "content between requests",
            [&one[..], content, &two].concat(),
            get("/1").next(post("hello")).next(get("/2")),
        )
        .expect(
            "chunks between requests",
            [&one[..], chunks, &two].concat(),
            get("/1").next(post("hello")).next(get("/2")),
        )
        .expect(
            "HEAD between requests",
            [&one[..], b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", &two].concat(),
            get("/1").next(seen("HEAD", "/")).next(get("/2")),
        )
        .steps("a second request that comes late", vec![bytes(&one), Piece::Await, bytes(&two)], both.clone())
        .steps(
            "a second request split in its line",
            vec![bytes([&one[..], &two[..8]].concat()), Piece::Await, bytes(&two[8..])],
            both.clone(),
        )
        .steps(
            "a second request split between CR and LF",
            vec![bytes([&one[..], &two[..16]].concat()), Piece::Await, bytes(&two[16..])],
            both.clone(),
        )
        .steps("two requests byte by byte", vec![Piece::Drip([&one[..], &two].concat())], both.clone())
        .steps("two requests, and no more to come", vec![bytes([&one[..], &two].concat()), Piece::End], both.clone())
        .steps("one request, and no more to come", vec![bytes(&one), Piece::End], get("/1"))
        .and("RFC 9112, 9.6: after close there is nothing", get("/1").next(get("/2").closing()))
        .raw(
            "close in the second of three requests",
            [&one[..], b"GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &three].concat(),
        )
        .and(
            "RFC 9112, 9.3.2 and 2.2: what is bad ends it, and what came before has its answer",
            get("/1").next(refused(&[400])),
        )
        .raw("garbage after a request", [&one[..], b"garbage\r\n\r\n"].concat())
        .raw("a request without Host between two", [&one[..], b"GET /2 HTTP/1.1\r\n\r\n", &three].concat())
        .raw("a request that begins with a space", [&one[..], b" ", &two].concat())
        .raw("a request that begins with NUL", [&one[..], b"\0", &two].concat())
        .raw(
            "a length beside a coding in the second request",
            [
                &one[..],
                b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                &three,
            ]
            .concat(),
        )
        .expect(
            "bad chunks in the second request",
            [&one[..], b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n", &three].concat(),
            get("/1").next(crate::wire::turn::cut(&[400])),
        )
        .cases()
}
