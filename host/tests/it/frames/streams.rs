//! Stream numbers, how many there may be, what they depend on, and how errors end them.

use super::blocks::*;
use super::case::{Case, case};
use super::ledger::Ledger;
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [numbers(), limits(), dependencies(), errors()].into_iter().flatten().collect()
}

fn numbers() -> Vec<Case> {
    let request = |stream| headers(stream, WHOLE, &get());
    let wrong = |name, frames: Vec<u8>| case(name, "RFC 9113, 5.1.1").send(frames).connection_error(&[PROTOCOL_ERROR]);
    vec![
        wrong("HEADERS on an even stream", request(2)).unseen(),
        wrong("HEADERS on stream 0", request(0)).unseen(),
        wrong("HEADERS on a stream that was passed over", [request(5), request(3)].concat()),
        wrong("a POST on a stream that was passed over", [request(5), headers(3, END_HEADERS, &post())].concat()),
        case("streams may be left out", "RFC 9113, 5.1.1").send(request(1)).send(request(101)).answered(101, 200),
        case("the last stream there can be", "RFC 9113, 5.1.1").send(request(WINDOW_MAX)).answered(WINDOW_MAX, 200),
    ]
}

/// The stream after as many as the host takes at a time.
fn one_too_many(seen: &Ledger) -> u32 {
    2 * seen.setting(MAX_CONCURRENT_STREAMS, 0) + 1
}

/// Requests that stay open, one more than the host takes.
fn too_many(seen: &Ledger) -> Vec<u8> {
    (0..=seen.setting(MAX_CONCURRENT_STREAMS, 0))
        .flat_map(|number| headers(2 * number + 1, END_HEADERS, &post()))
        .collect()
}

fn limits() -> Vec<Case> {
    vec![
        case("the host says how many streams it takes", "RFC 9113, 10.5")
            .holds("a MAX_CONCURRENT_STREAMS from 1 to 1000", |seen| {
                (1..=1000).contains(&seen.setting(MAX_CONCURRENT_STREAMS, 0))
            }),
        case("one stream more than the host takes", "RFC 9113, 5.1.2")
            .send_for(too_many)
            .holds("REFUSED_STREAM or PROTOCOL_ERROR on the last", |seen| {
                matches!(seen.answer(one_too_many(seen)).reset, Some(REFUSED_STREAM | PROTOCOL_ERROR))
            })
            .connection_error(&[PROTOCOL_ERROR, ENHANCE_YOUR_CALM])
            .unfinished(),
        case("a stream that ended makes room for another", "RFC 9113, 5.1.2")
            .send_for(|seen| {
                let full = too_many(seen);
                let frame = headers(1, END_HEADERS, &post()).len();
                [&full[..full.len() - frame], &data(1, END_STREAM, b"content")].concat()
            })
            .until("an answer", |seen| seen.answer(1).ended)
            .send_for(|seen| headers(one_too_many(seen), WHOLE, &get()))
            .holds("200 on the last stream", |seen| {
                let answer = seen.answer(one_too_many(seen));
                answer.ended && answer.status == Some(200)
            }),
    ]
}

fn dependencies() -> Vec<Case> {
    vec![
        case("HEADERS that depend on their own stream", "RFC 7540, 5.3.1")
            .send(headers(1, WHOLE | PRIORITIZED, &[depends(false, 1, 255), get()].concat()))
            .stream_error(1, &[PROTOCOL_ERROR])
            .unseen(),
        case("PRIORITY that depends on its own stream", "RFC 7540, 5.3.1")
            .send(priority(1, 1, 255))
            .stream_error(1, &[PROTOCOL_ERROR]),
    ]
}

fn errors() -> Vec<Case> {
    vec![
        case("after a connection error the host closes", "RFC 9113, 5.4.1")
            .send(frame(PING, NONE, 0, b"short"))
            .until("the connection is closed", |seen| seen.closed)
            .unpinged()
            .connection_error(&[FRAME_SIZE_ERROR]),
        case("a connection error is named by GOAWAY", "RFC 9113, 5.4.1")
            .send(frame(PING, NONE, 1, b"8 octets"))
            .until("GOAWAY with PROTOCOL_ERROR", |seen| seen.goaways.last() == Some(&PROTOCOL_ERROR))
            .unpinged()
            .connection_error(&[PROTOCOL_ERROR]),
        case("a stream error leaves other streams alone", "RFC 9113, 5.4.2")
            .send(headers(1, END_HEADERS, &post()))
            .send(headers(3, WHOLE, &block(&with(&GET, &[("X-Upper", "1")]))))
            .send(data(1, END_STREAM, b"content"))
            .answered(1, 200)
            .connection_error(&[PROTOCOL_ERROR])
            .never(&["GET"]),
        case("RST_STREAM with an unknown code", "RFC 9113, 7")
            .send(headers(1, END_HEADERS, &post()))
            .send(rst_stream(1, 0xff))
            .send(headers(3, WHOLE, &get()))
            .answered(3, 200),
        case("GOAWAY with an unknown code", "RFC 9113, 7")
            .send(goaway(0, 0xff))
            .holds("PING came back", |_| true)
            .connection_error(&[NO_ERROR]),
        case("a client that ends its half gets its answer or a close", "RFC 9113, 9.1")
            .send(headers(1, WHOLE, &get()))
            .finish()
            .answered(1, 200)
            .connection_error(&[NO_ERROR]),
    ]
}
