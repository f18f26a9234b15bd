//! Expect (RFC 9110, 10.1.1): the member says whether to go on.

use crate::wire::case::{Case, Piece, Table, bytes, post_with};
use crate::wire::seen::{get, post};
use crate::wire::turn::{answered, cut, incomplete, refused};

const GOES_ON: &[&[u16]] = &[&[100]];
/// Who sends content without waiting needs not be told to.
const MAY_GO_ON: &[&[u16]] = &[&[], &[100]];

pub(super) fn cases() -> Vec<Case> {
    let waits = |lines: &[u8], content: &[u8]| vec![bytes(post_with(lines, b"")), Piece::Await, bytes(content)];
    let length = b"Expect: 100-continue\r\nContent-Length: 5";
    let chunked = b"Expect: 100-continue\r\nTransfer-Encoding: chunked";
    let unknown = |seen: crate::wire::seen::Seen| seen.or(refused(&[400, 417])).or(answered(&[417]));
    Table::under("RFC 9110, 10.1.1: 100 Continue before the content", post("hello").interim(GOES_ON))
        .steps("a client that waits with content", waits(length, b"hello"), post("hello").interim(GOES_ON))
        .steps(
            "a client that waits with chunks",
            waits(chunked, b"5\r\nhello\r\n0\r\n\r\n"),
            post("hello").interim(GOES_ON),
        )
        .steps(
            "an expectation in capitals",
            waits(b"Expect: 100-CONTINUE\r\nContent-Length: 5", b"hello"),
            post("hello").interim(GOES_ON),
        )
        .steps("a client that waits with bad chunks", waits(chunked, b"x\r\nhello\r\n0\r\n\r\n"), cut(&[400]))
        .steps(
            "a client that waits and then leaves",
            vec![bytes(post_with(length, b"")), Piece::Await, Piece::End],
            incomplete(),
        )
        .and("RFC 9110, 10.1.1: who does not wait", post("hello").interim(MAY_GO_ON))
        .raw("a client that expects and does not wait", post_with(length, b"hello"))
        .raw("a client that expects and does not wait with chunks", post_with(chunked, b"5\r\nhello\r\n0\r\n\r\n"))
        .expect(
            "a client that does not wait, and asks again",
            [&post_with(length, b"hello")[..], b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
            post("hello").interim(MAY_GO_ON).next(get("/2")),
        )
        .expect(
            "an expectation without content",
            b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
            get("/").interim(MAY_GO_ON),
        )
        .expect(
            "an expectation with content of nothing",
            post_with(b"Expect: 100-continue\r\nContent-Length: 0", b""),
            post("").interim(MAY_GO_ON),
        )
        .and("RFC 9110, 10.1.1: other expectations may be refused with 417", unknown(post("hello").interim(MAY_GO_ON)))
        .raw("an unknown expectation", post_with(b"Expect: cake\r\nContent-Length: 5", b"hello"))
        .raw("two expectations", post_with(b"Expect: 100-continue, cake\r\nContent-Length: 5", b"hello"))
        .raw("an expectation with a value", post_with(b"Expect: 100-continue=yes\r\nContent-Length: 5", b"hello"))
        .raw("an empty expectation", post_with(b"Expect:\r\nContent-Length: 5", b"hello"))
        .and("RFC 9112, 6.3: an expectation changes no framing", refused(&[400]))
        .raw(
            "an expectation beside two lengths",
            post_with(b"Expect: 100-continue\r\nContent-Length: 5\r\nContent-Length: 5", b"hello"),
        )
        .raw(
            "an expectation, a length and a coding",
            post_with(b"Expect: 100-continue\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
        )
        .cases()
}
