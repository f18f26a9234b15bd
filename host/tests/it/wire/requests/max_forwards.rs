//! TRACE, OPTIONS and Max-Forwards (RFC 9110, 7.6.2, 9.3.7 and 9.3.8).

use crate::wire::case::{Case, Table, get_with};
use crate::wire::seen::{Seen, get, seen};
use crate::wire::turn::{answered, refused};

pub(super) fn cases() -> Vec<Case> {
    let ask = |method: &str, target: &str, lines: &str| format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let left = |method, target: &str, value| seen(method, target).with("max-forwards", value);
    let odd = |seen: Seen| seen.or(refused(&[400])).or(answered(&[200, 204, 400]));
    Table::under("RFC 9110, 7.6.2: who may not forward answers", answered(&[200, 204]))
        .raw("OPTIONS with no forwards left", ask("OPTIONS", "/", "Max-Forwards: 0\r\n"))
        .raw("OPTIONS of the server with no forwards left", ask("OPTIONS", "*", "Max-Forwards: 0\r\n"))
        .expect("TRACE with no forwards left", ask("TRACE", "/", "Max-Forwards: 0\r\n"), answered(&[200]))
        .expect(
            "TRACE with many zeros of forwards left",
            ask("TRACE", "/", "Max-Forwards: 000\r\n"),
            answered(&[200, 400]).or(refused(&[400])),
        )
        .and("RFC 9110, 7.6.2: who forwards takes one off", left("OPTIONS", "/", b"0"))
        .raw("OPTIONS with one forward left", ask("OPTIONS", "/", "Max-Forwards: 1\r\n"))
        .expect(
            "OPTIONS with ten forwards left",
            ask("OPTIONS", "/", "Max-Forwards: 10\r\n"),
            left("OPTIONS", "/", b"9"),
        )
        .expect("TRACE with five forwards left", ask("TRACE", "/x", "Max-Forwards: 5\r\n"), left("TRACE", "/x", b"4"))
        .expect("TRACE with any number of forwards", ask("TRACE", "/", ""), seen("TRACE", "/").without("max-forwards"))
        .and("RFC 9110, 7.6.2: other methods have nothing to do with it", left("GET", "/", b"0"))
        .field("GET with no forwards left", b"Max-Forwards: 0")
        .expect("GET with five forwards left", get_with(b"Max-Forwards: 5"), left("GET", "/", b"5"))
        .expect("GET with forwards that are no number", get_with(b"Max-Forwards: x"), get("/"))
        .and("RFC 9110, 7.6.2: a number, once", odd(seen("OPTIONS", "/")))
        .raw("forwards that are no number", ask("OPTIONS", "/", "Max-Forwards: x\r\n"))
        .raw("forwards below none", ask("OPTIONS", "/", "Max-Forwards: -1\r\n"))
        .raw("no number of forwards", ask("OPTIONS", "/", "Max-Forwards:\r\n"))
        .raw("more forwards than a number holds", ask("OPTIONS", "/", "Max-Forwards: 99999999999999999999999\r\n"))
        .raw("two numbers of forwards", ask("OPTIONS", "/", "Max-Forwards: 1\r\nMax-Forwards: 5\r\n"))
        .and("RFC 9110, 9.3.8: TRACE has no content", refused(&[400]))
        .raw("TRACE with content", ask("TRACE", "/", "Content-Length: 5\r\n") + "hello")
        .raw("TRACE with chunks", ask("TRACE", "/", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n")
        .raw(
            "TRACE with content and no forwards left",
            ask("TRACE", "/", "Max-Forwards: 0\r\nContent-Length: 5\r\n") + "hello",
        )
        .expect(
            "OPTIONS with content and no forwards left",
            ask("OPTIONS", "/", "Max-Forwards: 0\r\nContent-Length: 5\r\n") + "hello",
            answered(&[200, 204]),
        )
        .cases()
}
