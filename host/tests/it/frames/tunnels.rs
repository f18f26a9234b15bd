//! CONNECT: refused in its plain form, and malformed in more ways than it is well-formed.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

const CONNECT: [(&str, &str); 2] = [(":method", "CONNECT"), (":authority", "www.example.com:443")];
const EXTENDED: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":protocol", "nonsense"),
    (":scheme", "http"),
    (":authority", "www.example.com"),
    (":path", "/"),
];

pub(crate) fn cases() -> Vec<Case> {
    let refused = |name, clause, flags, fields: &[(&str, &str)]| {
        case(name, clause)
            .send(headers(1, flags, &block(fields)))
            .stream_error(1, &[PROTOCOL_ERROR, REFUSED_STREAM, CANCEL, CONNECT_ERROR])
            .answered(1, 400)
            .answered(1, 405)
            .answered(1, 501)
            .unseen()
    };
    let malformed = |name, clause, fields: &[(&str, &str)]| {
        case(name, clause)
            .send(headers(1, END_HEADERS, &block(fields)))
            .stream_error(1, &[PROTOCOL_ERROR])
            .answered(1, 400)
            .answered(1, 501)
            .unseen()
    };
    vec![
        refused("CONNECT", "RFC 9113, 8.5", END_HEADERS, &CONNECT),
        refused("CONNECT that ends at once", "RFC 9113, 8.5", WHOLE, &CONNECT),
        refused(
            "CONNECT to no port",
            "RFC 9113, 8.5",
            END_HEADERS,
            &but(&CONNECT, &[(":authority", "www.example.com")]),
        ),
        malformed("CONNECT with :path", "RFC 9113, 8.5", &with(&CONNECT, &[(":path", "/")])),
        malformed("CONNECT with :scheme", "RFC 9113, 8.5", &with(&CONNECT, &[(":scheme", "http")])),
        malformed("CONNECT with both", "RFC 9113, 8.5", &with(&CONNECT, &[(":scheme", "http"), (":path", "/")])),
        malformed("CONNECT to nobody", "RFC 9113, 8.5", &without(&CONNECT, ":authority")),
        malformed(
            "CONNECT to nobody but a host",
            "RFC 9113, 8.5",
            &[(":method", "CONNECT"), ("host", "www.example.com:443")],
        ),
        // A member that answers and does not switch: passed on, its success would look like a tunnel.
        case("extended CONNECT of a protocol that the member does not speak", "RFC 8441, 4")
            .send(headers(1, END_HEADERS, &block(&EXTENDED)))
            .answered(1, 501),
        refused("extended CONNECT of no protocol", "RFC 8441, 4", END_HEADERS, &but(&EXTENDED, &[(":protocol", "")])),
        malformed("extended CONNECT of two words", "RFC 8441, 4", &but(&EXTENDED, &[(":protocol", "web socket")])),
        malformed(
            "extended CONNECT with a line end",
            "RFC 8441, 4",
            &but(&EXTENDED, &[(":protocol", "a\r\nx-smuggled: 1")]),
        ),
        malformed("extended CONNECT without :path", "RFC 8441, 4", &without(&EXTENDED, ":path")),
        malformed("extended CONNECT without :scheme", "RFC 8441, 4", &without(&EXTENDED, ":scheme")),
        malformed("extended CONNECT to nobody", "RFC 8441, 4", &without(&EXTENDED, ":authority")),
        malformed(
            "extended CONNECT of two protocols",
            "RFC 9113, 8.3",
            &with(&EXTENDED, &[(":protocol", "websocket")]),
        ),
        malformed(
            "extended CONNECT with connection and upgrade",
            "RFC 8441, 4",
            &with(
                &but(&EXTENDED, &[(":protocol", "websocket")]),
                &[("connection", "upgrade"), ("upgrade", "websocket")],
            ),
        ),
        case("CONNECT with content sent ahead", "RFC 9113, 8.5")
            .send(headers(1, END_HEADERS, &block(&CONNECT)))
            .send(data(1, NONE, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
            .send(headers(3, WHOLE, &get()))
            .answered(3, 200)
            .connection_error(&[PROTOCOL_ERROR])
            .seen(&["GET / HTTP/1.1\n"], &["smuggled"]),
    ]
}
