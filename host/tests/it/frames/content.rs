//! Messages as a whole: how long the content is, what follows it, and what the member may make of either.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [lengths(), trailers(), whole()].into_iter().flatten().collect()
}

fn post_of(length: &str) -> Vec<u8> {
    block(&with(&POST, &[("content-length", length)]))
}

/// The member may have seen such a request begin, but never one that it takes for whole.
fn lengths() -> Vec<Case> {
    let wrong = |name, frames: Vec<Vec<u8>>| {
        case(name, "RFC 9113, 8.1.1").send(frames.concat()).stream_error(1, &[PROTOCOL_ERROR]).unfinished()
    };
    let open = |length| headers(1, END_HEADERS, &post_of(length));
    vec![
        wrong("a length, and no content", vec![headers(1, WHOLE, &post_of("1"))]),
        wrong(
            "a GET with a length and no content",
            vec![headers(1, WHOLE, &block(&with(&GET, &[("content-length", "5")])))],
        ),
        wrong("a length, and an empty frame", vec![open("1"), data(1, END_STREAM, b"")]),
        wrong("less content than the length", vec![open("10"), data(1, END_STREAM, b"content")]),
        wrong("more content than the length", vec![open("1"), data(1, END_STREAM, b"content")]),
        wrong("content where the length is 0", vec![open("0"), data(1, END_STREAM, b"content")]),
        wrong(
            "less content than the length, in frames",
            vec![open("10"), data(1, NONE, b"con"), data(1, END_STREAM, b"tent")],
        ),
        wrong(
            "more content than the length, in frames",
            vec![open("4"), data(1, NONE, b"con"), data(1, END_STREAM, b"tent")],
        ),
        wrong(
            "a request behind the content",
            vec![open("1"), data(1, END_STREAM, b"xGET /smuggled HTTP/1.1\r\nHost: www.example.com\r\n\r\n")],
        ),
        wrong(
            "less content than the length, then trailers",
            vec![open("10"), data(1, NONE, b"content"), headers(1, WHOLE, &block(&[("x-sum", "7")]))],
        ),
        wrong("a length, and trailers alone", vec![open("1"), headers(1, WHOLE, &block(&[("x-sum", "7")]))]),
        case("content of its length, padded", "RFC 9113, 8.1.1")
            .send(open("7"))
            .send(data(1, END_STREAM | PADDED, &padded(20, b"content", &[0; 20])))
            .answered(1, 200)
            .seen(&["\ncontent"], &[]),
        case("a length that is said twice", "RFC 9110, 8.6")
            .send(headers(1, END_HEADERS, &block(&with(&POST, &[("content-length", "7"), ("content-length", "7")]))))
            .send(data(1, END_STREAM, b"content"))
            .answered(1, 200)
            .answered(1, 400)
            .stream_error(1, &[PROTOCOL_ERROR]),
    ]
}

fn trailers() -> Vec<Case> {
    let ending = |name, clause, flags, fields: &[(&str, &str)]| {
        case(name, clause).send(headers(1, END_HEADERS, &post())).send(data(1, NONE, b"content")).send(headers(
            1,
            flags,
            &block(fields),
        ))
    };
    let wrong = |name, clause, flags, fields: &[(&str, &str)]| {
        ending(name, clause, flags, fields).stream_error(1, &[PROTOCOL_ERROR]).unfinished()
    };
    vec![
        wrong("a pseudo-field in trailers", "RFC 9113, 8.1", WHOLE, &[("x-sum", "7"), (":method", "GET")]),
        wrong("a pseudo-field first in trailers", "RFC 9113, 8.1", WHOLE, &[(":path", "/"), ("x-sum", "7")]),
        wrong("a status in trailers", "RFC 9113, 8.1", WHOLE, &[(":status", "200")]),
        wrong("trailers that do not end the stream", "RFC 9113, 8.1", END_HEADERS, &[("x-sum", "7")]),
        wrong("a second request's fields as trailers", "RFC 9113, 8.1", END_HEADERS, &POST),
        wrong("a name in upper case in trailers", "RFC 9113, 8.2.1", WHOLE, &[("X-Sum", "7")]),
        wrong("a connection's field in trailers", "RFC 9113, 8.2.2", WHOLE, &[("transfer-encoding", "chunked")]),
        wrong("a line end in trailers", "RFC 9113, 8.2.1", WHOLE, &[("x-sum", "7\r\nx-smuggled: 1")]),
        wrong("a space before a value in trailers", "RFC 9113, 8.2.1", WHOLE, &[("x-sum", " 7")]),
        ending("trailers without a field", "RFC 9113, 8.1", WHOLE, &[]).answered(1, 200).seen(&["\ncontent"], &[]),
        ending("trailers of several fields", "RFC 9113, 8.1", WHOLE, &[("x-sum", "7"), ("x-more", "8")])
            .answered(1, 200)
            .seen(&["\ncontent", "\nx-sum: 7\nx-more: 8\n"], &[]),
        // Such fields mean something only in a head; they may be dropped or the request refused.
        ending(
            "fields of a head in trailers",
            "RFC 9110, 6.5.1",
            WHOLE,
            &[("content-length", "7"), ("host", "other.example")],
        )
        .answered(1, 200)
        .answered(1, 400)
        .stream_error(1, &[PROTOCOL_ERROR]),
        ending("DATA after trailers", "RFC 9113, 8.1", WHOLE, &[("x-sum", "7")])
            .send(data(1, END_STREAM, b"more"))
            .stream_error(1, &[STREAM_CLOSED]),
        ending("trailers twice", "RFC 9113, 8.1", WHOLE, &[("x-sum", "7")])
            .send(headers(1, WHOLE, &block(&[("x-sum", "8")])))
            .stream_error(1, &[STREAM_CLOSED]),
        case("trailers in two frames", "RFC 9113, 8.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(data(1, NONE, b"content"))
            .send(headers(1, END_STREAM, &block(&[("x-sum", "7")])))
            .send(continuation(1, END_HEADERS, &block(&[("x-more", "8")])))
            .answered(1, 200)
            .seen(&["\ncontent", "\nx-sum: 7\nx-more: 8\n"], &[]),
        case("trailers without content", "RFC 9113, 8.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(headers(1, WHOLE, &block(&[("x-sum", "7")])))
            .answered(1, 200)
            .seen(&["POST / HTTP/1.1\n", "\nx-sum: 7\n"], &[]),
    ]
}

fn whole() -> Vec<Case> {
    let frames =
        |fields: &[(&str, &str)]| [headers(1, END_HEADERS, &block(fields)), data(1, END_STREAM, b"content")].concat();
    vec![
        case("a GET with content", "RFC 9110, 9.3.1")
            .send(frames(&GET))
            .answered(1, 200)
            .seen(&["GET / HTTP/1.1\n", "\ncontent"], &[]),
        case("content that looks like chunks", "RFC 9113, 8.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(data(1, NONE, b"0\r\n\r\n"))
            .send(data(1, END_STREAM, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
            .answered(1, 200)
            .seen(&["POST / HTTP/1.1\n", "0\r\n\r\nGET /smuggled"], &[]),
        case("a POST without content or length", "RFC 9113, 8.1")
            .send(headers(1, WHOLE, &post()))
            .answered(1, 200)
            .seen(&["POST / HTTP/1.1\n"], &[]),
        case("a client that waits for 100", "RFC 9110, 10.1.1")
            .send(frames(&with(&POST, &[("expect", "100-continue"), ("content-length", "7")])))
            .answered(1, 200)
            .seen(&["\ncontent"], &[]),
        case("content that is cut off by the client", "RFC 9113, 8.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(data(1, NONE, b"content"))
            .send(rst_stream(1, CANCEL))
            .holds("PING came back", |_| true)
            .unfinished(),
        case("content that is cut off by the connection's end", "RFC 9113, 8.1")
            .send(headers(1, END_HEADERS, &post_of("10")))
            .send(data(1, NONE, b"content"))
            .finish()
            .connection_error(&[NO_ERROR, PROTOCOL_ERROR])
            .unfinished(),
    ]
}
