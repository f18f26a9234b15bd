//! How a connection begins, and how it must not.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    // Over plain TCP such a connection may be taken for HTTP/1.1 and refused in its words, then closed.
    let refused = |name, bytes: &[u8]| {
        let clause = "RFC 9113, 3.4";
        case(name, clause).ungreeted().send(bytes).connection_error(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]).unseen()
    };
    let request = headers(1, WHOLE, &get());
    vec![
        refused("a preface of other words", b"INVALID CONNECTION PREFACE\r\n\r\n"),
        refused("a preface that goes wrong in its last line", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
        refused("a preface of another version", b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n"),
        refused("the preface in lower case", b"pri * http/2.0\r\n\r\nsm\r\n\r\n"),
        refused(
            "a request by the method PRI",
            b"PRI / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 0\r\n\r\nSM\r\n\r\n",
        ),
        refused("the preface twice", &[PREFACE, PREFACE].concat()),
        refused("HEADERS in place of the first SETTINGS", &[PREFACE, &request].concat()),
        refused("PING in place of the first SETTINGS", &[PREFACE, &ping(NONE, b"8 octets")].concat()),
        refused("first SETTINGS on a stream", &[PREFACE, &frame(SETTINGS, NONE, 1, b"")].concat()),
        refused("first SETTINGS of a wrong length", &[PREFACE, &frame(SETTINGS, NONE, 0, &[0; 5])].concat()),
        refused("HTTP/1.1 after the preface", &[PREFACE, b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"].concat()),
        refused("half a preface, then the end", &PREFACE[..12]).finish(),
        refused("a preface, then the end", PREFACE).finish(),
        refused("half a frame, then the end", &[PREFACE, &settings(&[]), &request[..20]].concat()).finish(),
        case("a request that does not wait for the host's SETTINGS", "RFC 9113, 3.4")
            .ungreeted()
            .send([PREFACE, &settings(&[]), &request].concat())
            .answered(1, 200)
            .seen(&["GET / HTTP/1.1\n"], &[]),
        case("HTTP/1.1 in the middle of HTTP/2", "RFC 9113, 4.2")
            .send(&b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"[..])
            .unpinged()
            .connection_error(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])
            .unseen(),
    ]
}
