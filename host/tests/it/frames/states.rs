//! What may be said on a stream that is idle, half-closed or closed.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [idle(), half_closed(), ended(), reset_by_client(), reset_by_host()].into_iter().flatten().collect()
}

const CLOSED: &[u32] = &[STREAM_CLOSED];
/// CONTINUATION that continues nothing is wrong in two ways.
const CLOSED_OR_PROTOCOL: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];

fn idle() -> Vec<Case> {
    let wrong = [
        ("DATA on an idle stream", data(1, END_STREAM, b"content")),
        ("RST_STREAM on an idle stream", rst_stream(1, CANCEL)),
        ("WINDOW_UPDATE on an idle stream", window_update(1, 100)),
        ("CONTINUATION on an idle stream", continuation(1, END_HEADERS, &get())),
        ("DATA on an even idle stream", data(2, END_STREAM, b"content")),
        ("WINDOW_UPDATE on an even idle stream", window_update(2, 100)),
        ("RST_STREAM on an even idle stream", rst_stream(2, CANCEL)),
    ];
    let mut cases: Vec<_> = wrong
        .map(|(name, frame)| case(name, "RFC 9113, 5.1").send(frame).connection_error(&[PROTOCOL_ERROR]).unseen())
        .into();
    cases.push(
        case("DATA on a stream that was passed over", "RFC 9113, 5.1.1")
            .send(headers(5, END_HEADERS, &post()))
            .send(data(3, END_STREAM, b"content"))
            .stream_error(3, CLOSED_OR_PROTOCOL)
            .unfinished(),
    );
    cases
}

fn half_closed() -> Vec<Case> {
    let after = |name, frame: Vec<u8>| case(name, "RFC 9113, 5.1").send(headers(1, WHOLE, &get())).send(frame);
    vec![
        after("DATA after END_STREAM", data(1, END_STREAM, b"content")).stream_error(1, CLOSED),
        after("empty DATA after END_STREAM", data(1, NONE, b"")).stream_error(1, CLOSED),
        after("HEADERS after END_STREAM", headers(1, WHOLE, &get())).stream_error(1, CLOSED),
        after("trailers after END_STREAM", headers(1, WHOLE, &block(&[("x-sum", "7")]))).stream_error(1, CLOSED),
        after("CONTINUATION after END_STREAM", continuation(1, END_HEADERS, &get()))
            .connection_error(CLOSED_OR_PROTOCOL),
        after("WINDOW_UPDATE after END_STREAM", window_update(1, 100)).answered(1, 200),
        after("PRIORITY after END_STREAM", priority(1, 0, 15)).answered(1, 200),
        after("RST_STREAM after END_STREAM", [rst_stream(1, CANCEL), headers(3, WHOLE, &get())].concat())
            .answered(3, 200),
        case("DATA after END_STREAM on DATA", "RFC 9113, 6.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(data(1, END_STREAM, b"con"))
            .send(data(1, END_STREAM, b"tent"))
            .stream_error(1, CLOSED),
    ]
}

fn ended() -> Vec<Case> {
    let after = |name, frame: Vec<u8>| {
        case(name, "RFC 9113, 5.1")
            .send(headers(1, WHOLE, &get()))
            .until("the answer", |seen| seen.answer(1).ended)
            .send(frame)
    };
    let ignored = |name, frame: Vec<u8>| after(name, [frame, headers(3, WHOLE, &get())].concat()).answered(3, 200);
    vec![
        after("DATA on a closed stream", data(1, END_STREAM, b"content")).stream_error(1, CLOSED),
        after("HEADERS on a closed stream", headers(1, WHOLE, &get()))
            .connection_error(CLOSED_OR_PROTOCOL)
            .seen(&["GET /"], &[]),
        after("CONTINUATION on a closed stream", continuation(1, END_HEADERS, &get()))
            .connection_error(CLOSED_OR_PROTOCOL),
        ignored("WINDOW_UPDATE on a closed stream", window_update(1, 100)),
        ignored("RST_STREAM on a closed stream", rst_stream(1, CANCEL)),
        ignored("PRIORITY on a closed stream", priority(1, 0, 15)),
    ]
}

fn reset_by_client() -> Vec<Case> {
    let after = |name, frame: Vec<u8>| {
        case(name, "RFC 9113, 5.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(rst_stream(1, CANCEL))
            .send(frame)
            .unfinished()
    };
    let ignored = |name, frame: Vec<u8>| {
        case(name, "RFC 9113, 5.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(rst_stream(1, CANCEL))
            .send(frame)
            .send(headers(3, WHOLE, &get()))
            .answered(3, 200)
    };
    vec![
        after("DATA after RST_STREAM", data(1, END_STREAM, b"content")).stream_error(1, CLOSED),
        after("HEADERS after RST_STREAM", headers(1, WHOLE, &get())).stream_error(1, CLOSED_OR_PROTOCOL),
        after("CONTINUATION after RST_STREAM", continuation(1, END_HEADERS, &get()))
            .connection_error(CLOSED_OR_PROTOCOL),
        ignored("PRIORITY after RST_STREAM", priority(1, 0, 15)),
        ignored("WINDOW_UPDATE after RST_STREAM", window_update(1, 100)).stream_error(1, CLOSED),
        ignored("RST_STREAM after RST_STREAM", rst_stream(1, CANCEL)).stream_error(1, CLOSED),
    ]
}

/// What was on its way when the host reset a stream, here for a name in upper case, is to be ignored.
fn reset_by_host() -> Vec<Case> {
    let late = [
        ("DATA on its way to a stream that the host reset", data(1, END_STREAM, b"content")),
        ("trailers on their way to a stream that the host reset", headers(1, WHOLE, &block(&[("x-sum", "7")]))),
        ("WINDOW_UPDATE on its way to a stream that the host reset", window_update(1, 100)),
        ("RST_STREAM on its way to a stream that the host reset", rst_stream(1, CANCEL)),
        ("PRIORITY on its way to a stream that the host reset", priority(1, 0, 15)),
    ];
    late.map(|(name, frame)| {
        case(name, "RFC 9113, 5.1")
            .send(headers(1, END_HEADERS, &block(&with(&POST, &[("X-Upper", "1")]))))
            .send(frame)
            .send(headers(3, WHOLE, &get()))
            .answered(3, 200)
            .connection_error(&[PROTOCOL_ERROR])
            .never(&["POST", "x-upper"])
    })
    .into()
}
