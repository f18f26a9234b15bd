//! What each type of frame must not be: on the wrong stream, of the wrong length, badly padded, out of place.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [data_frames(), headers_frames(), short_frames(), pings(), continuations()].into_iter().flatten().collect()
}

fn data_frames() -> Vec<Case> {
    let post_then = |name, frame: Vec<u8>| {
        case(name, "RFC 9113, 6.1").send(headers(1, END_HEADERS, &post())).send(frame).unfinished()
    };
    vec![
        case("DATA on stream 0", "RFC 9113, 6.1")
            .send(data(0, END_STREAM, b"content"))
            .connection_error(&[PROTOCOL_ERROR]),
        post_then("DATA padded by its whole length", data(1, END_STREAM | PADDED, &padded(7, b"", b"seven!")))
            .connection_error(&[PROTOCOL_ERROR]),
        post_then("DATA padded by more than it has", data(1, END_STREAM | PADDED, &padded(200, b"content", b"")))
            .connection_error(&[PROTOCOL_ERROR]),
        post_then("DATA that is padded and empty", data(1, END_STREAM | PADDED, b""))
            .connection_error(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
    ]
}

fn headers_frames() -> Vec<Case> {
    let wrong = |name, flags, payload: &[u8]| {
        case(name, "RFC 9113, 6.2")
            .send(headers(1, WHOLE | flags, payload))
            .connection_error(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR])
            .unseen()
    };
    let one_short = u8::try_from(get().len() + 1).expect("a short block");
    vec![
        wrong("HEADERS padded by their whole length", PADDED, &padded(one_short, &get(), b"")),
        wrong("HEADERS padded by more than they have", PADDED, &padded(255, &get(), b"")),
        wrong("HEADERS that are padded and empty", PADDED, b""),
        wrong("HEADERS with half a priority", PRIORITIZED, &[0, 0, 0]),
        wrong(
            "HEADERS whose padding reaches into the priority",
            PADDED | PRIORITIZED,
            &padded(4, &depends(false, 0, 15), &[0; 2]),
        ),
        case("PUSH_PROMISE from a client", "RFC 9113, 8.4")
            .send(headers(1, END_HEADERS, &post()))
            .send(frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &get()].concat()))
            .connection_error(&[PROTOCOL_ERROR])
            .unfinished(),
        case("PUSH_PROMISE on stream 0", "RFC 9113, 6.6")
            .send(frame(PUSH_PROMISE, END_HEADERS, 0, &[&[0, 0, 0, 2][..], &get()].concat()))
            .connection_error(&[PROTOCOL_ERROR])
            .unseen(),
    ]
}

fn short_frames() -> Vec<Case> {
    let on_zero = |name, frame: Vec<u8>| case(name, "RFC 9113, 6").send(frame).connection_error(&[PROTOCOL_ERROR]);
    let resized = |name, clause, kind, length: usize| {
        case(name, clause)
            .send(headers(1, END_HEADERS, &post()))
            .send(frame(kind, NONE, 1, &vec![0; length]))
            .stream_error(1, &[FRAME_SIZE_ERROR])
            .unfinished()
    };
    vec![
        on_zero("PRIORITY on stream 0", priority(0, 1, 15)),
        on_zero("RST_STREAM on stream 0", rst_stream(0, CANCEL)),
        on_zero("GOAWAY on a stream", frame(GOAWAY, NONE, 1, &[0; 8])),
        resized("PRIORITY of 4 octets", "RFC 9113, 6.3", PRIORITY, 4),
        resized("PRIORITY of 6 octets", "RFC 9113, 6.3", PRIORITY, 6),
        resized("an empty PRIORITY", "RFC 9113, 6.3", PRIORITY, 0),
        resized("RST_STREAM of 3 octets", "RFC 9113, 6.4", RST_STREAM, 3),
        resized("RST_STREAM of 5 octets", "RFC 9113, 6.4", RST_STREAM, 5),
        resized("an empty RST_STREAM", "RFC 9113, 6.4", RST_STREAM, 0),
        case("GOAWAY of 7 octets", "RFC 9113, 4.2")
            .send(frame(GOAWAY, NONE, 0, &[0; 7]))
            .connection_error(&[FRAME_SIZE_ERROR]),
        case("an empty GOAWAY", "RFC 9113, 4.2")
            .send(frame(GOAWAY, NONE, 0, b""))
            .connection_error(&[FRAME_SIZE_ERROR]),
        case("GOAWAY that says why", "RFC 9113, 6.8")
            .send(headers(1, END_HEADERS, &post()))
            .send(frame(GOAWAY, NONE, 0, &[&[0; 8][..], b"going home"].concat()))
            .send(data(1, END_STREAM, b"content"))
            .unpinged()
            .answered(1, 200),
    ]
}

fn pings() -> Vec<Case> {
    let resized = |name, length: usize| {
        case(name, "RFC 9113, 6.7").send(frame(PING, NONE, 0, &vec![0; length])).connection_error(&[FRAME_SIZE_ERROR])
    };
    vec![
        case("PING on a stream", "RFC 9113, 6.7")
            .send(frame(PING, NONE, 1, &[0; 8]))
            .connection_error(&[PROTOCOL_ERROR]),
        resized("an empty PING", 0),
        resized("PING of 6 octets", 6),
        resized("PING of 9 octets", 9),
        // The ledger notes an answer to anything but a PING.
        case("an answer to no PING", "RFC 9113, 6.7")
            .send(ping(ACK, b"unasked!"))
            .send(ping(NONE, b"8 octets"))
            .holds("only PING came back", |seen| seen.pongs.first() == Some(b"8 octets")),
        case("PINGs come back in order", "RFC 9113, 6.7")
            .send([ping(NONE, b"first..."), ping(NONE, b"second..")].concat())
            .holds("both came back", |seen| seen.pongs.starts_with(&[*b"first...", *b"second.."])),
    ]
}

fn continuations() -> Vec<Case> {
    let nowhere = |name, frames: Vec<Vec<u8>>| {
        case(name, "RFC 9113, 6.10").send(frames.concat()).unpinged().connection_error(&[PROTOCOL_ERROR])
    };
    let rest = || continuation(1, END_HEADERS, &block(&[("x-late", "1")]));
    let open = || headers(1, END_HEADERS, &post());
    vec![
        nowhere("CONTINUATION on stream 0", vec![headers(1, END_STREAM, &get()), continuation(0, END_HEADERS, b"")])
            .unseen(),
        nowhere("CONTINUATION after a whole block", vec![open(), rest()]).unfinished(),
        nowhere(
            "CONTINUATION after the last CONTINUATION",
            vec![headers(1, NONE, &post()[..9]), continuation(1, END_HEADERS, &post()[9..]), rest()],
        )
        .unfinished(),
        nowhere("CONTINUATION after DATA", vec![open(), data(1, NONE, b"content"), rest()]).unfinished(),
        nowhere(
            "CONTINUATIONs, then DATA, then the last one",
            vec![
                headers(1, NONE, &post()),
                continuation(1, NONE, &block(&[("x-one", "1")])),
                data(1, NONE, b"content"),
                rest(),
            ],
        )
        .unseen(),
        nowhere(
            "CONTINUATION on another stream",
            vec![headers(1, END_STREAM, &get()), continuation(3, END_HEADERS, b"")],
        )
        .unseen(),
    ]
}
