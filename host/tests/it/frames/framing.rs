//! Frames as such: their size, what is unknown in them, and header blocks that nothing may interrupt.

use super::blocks::*;
use super::case::{Case, case};
use super::ledger::Ledger;
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [unknown(), sizes(), blocks()].into_iter().flatten().collect()
}

fn unknown() -> Vec<Case> {
    let ignored = |name, clause, frames: Vec<Vec<u8>>| {
        case(name, clause).send(frames.concat()).answered(1, 200).seen(&["GET / HTTP/1.1\n"], &[])
    };
    let request = || headers(1, WHOLE, &get());
    let ping_came = |name, frame: Vec<u8>| {
        case(name, "RFC 9113, 4.1").send(frame).holds("PING came back", |seen| seen.pongs.contains(b"8 octets"))
    };
    vec![
        ignored("a frame of an unknown type", "RFC 9113, 5.5", vec![frame(0x16, NONE, 0, &[0; 8]), request()]),
        ignored(
            "an unknown frame of the largest size",
            "RFC 9113, 5.5",
            vec![frame(0xf0, 0xff, 0, &[7; FRAME_MAX]), request()],
        ),
        ignored(
            "an unknown frame on an idle stream",
            "RFC 9113, 5.5",
            vec![frame(0xbe, NONE, 5, b"grease"), request()],
        ),
        ignored("an unknown frame on an open stream", "RFC 9113, 5.5", vec![request(), frame(0xbe, 0xff, 1, b"")]),
        ignored("PRIORITY_UPDATE", "RFC 9218, 7.1", vec![frame(0x10, NONE, 0, b"\0\0\0\x01u=1"), request()]),
        ignored("HEADERS with unknown flags", "RFC 9113, 4.1", vec![headers(1, WHOLE | 0xd2, &get())]),
        ignored(
            "WINDOW_UPDATE with unknown flags",
            "RFC 9113, 4.1",
            vec![frame(WINDOW_UPDATE, 0xff, 0, &[0, 0, 0, 1]), request()],
        ),
        ignored("SETTINGS with unknown flags", "RFC 9113, 4.1", vec![frame(SETTINGS, 0xfe, 0, b""), request()]),
        ping_came("PING with unknown flags", frame(PING, 0x16, 0, b"8 octets")),
        ping_came("PING with the reserved bit", frame(PING, NONE, 0x8000_0000, b"8 octets")),
        ignored("HEADERS with the reserved bit", "RFC 9113, 4.1", vec![frame(HEADERS, WHOLE, 0x8000_0001, &get())]),
        ignored(
            "an increment with the reserved bit",
            "RFC 9113, 6.9",
            vec![frame(WINDOW_UPDATE, NONE, 0, &[0x80, 0, 0, 1]), request()],
        ),
        case("DATA with unknown flags", "RFC 9113, 4.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(data(1, !PADDED, b"content"))
            .answered(1, 200)
            .seen(&["\ncontent"], &[]),
    ]
}

/// One octet more than the other side takes in a frame.
fn too_much(seen: &Ledger) -> Vec<u8> {
    vec![0; seen.setting(MAX_FRAME_SIZE, 16_384) as usize + 1]
}

fn sizes() -> Vec<Case> {
    let oversized = |name, bytes: fn(&Ledger) -> Vec<u8>| {
        case(name, "RFC 9113, 4.2").send_for(bytes).unpinged().connection_error(&[FRAME_SIZE_ERROR])
    };
    vec![
        case("DATA of the largest size", "RFC 9113, 4.2")
            .send(headers(1, END_HEADERS, &post()))
            .send(data(1, END_STREAM, &[b'x'; FRAME_MAX]))
            .answered(1, 200),
        case("HEADERS of the largest size", "RFC 9113, 4.2")
            .send({
                let fill = FRAME_MAX - 256 - block(&with(&GET, &[("x-fill", "")])).len() - 2;
                let block = block(&with(&GET, &[("x-fill", &"v".repeat(fill))]));
                headers(1, WHOLE | PADDED, &padded(255, &block, &[0; 255]))
            })
            .answered(1, 200)
            .answered(1, 431),
        case("DATA that is too large", "RFC 9113, 4.2")
            .send(headers(1, END_HEADERS, &post()))
            .send_for(|seen| data(1, END_STREAM, &too_much(seen)))
            .unpinged()
            .stream_error(1, &[FRAME_SIZE_ERROR])
            .unfinished(),
        oversized("HEADERS that are too large", |seen| headers(1, WHOLE, &[get(), too_much(seen)].concat())).unseen(),
        oversized("CONTINUATION that is too large", |seen| {
            [headers(1, END_STREAM, &get()), continuation(1, END_HEADERS, &too_much(seen))].concat()
        })
        .unseen(),
        oversized("SETTINGS that are too large", |seen| frame(SETTINGS, NONE, 0, &too_much(seen)[..].repeat(6))),
        oversized("GOAWAY that is too large", |seen| frame(GOAWAY, NONE, 0, &too_much(seen))),
        oversized("an unknown frame that is too large", |seen| frame(0xee, NONE, 0, &too_much(seen))),
    ]
}

fn blocks() -> Vec<Case> {
    let inside = [
        ("PRIORITY inside a header block", priority(1, 0, 15)),
        ("HEADERS of another stream inside a header block", headers(3, WHOLE, &get())),
        ("HEADERS of the same stream inside a header block", headers(1, WHOLE, &get())),
        ("CONTINUATION of another stream inside a header block", continuation(3, END_HEADERS, &get()[9..])),
        ("DATA inside a header block", data(1, END_STREAM, b"content")),
        ("PING inside a header block", ping(NONE, b"8 octets")),
        ("SETTINGS inside a header block", settings(&[])),
        ("WINDOW_UPDATE inside a header block", window_update(0, 1)),
        ("RST_STREAM inside a header block", rst_stream(1, CANCEL)),
        ("GOAWAY inside a header block", goaway(0, NO_ERROR)),
        ("an unknown frame inside a header block", frame(0x16, NONE, 0, b"")),
    ];
    let mut cases = vec![
        case("a header block that cannot be read", "RFC 9113, 4.3")
            .send(headers(1, WHOLE, &[&get()[..], &[0x40, 0x05, b'n', b'a']].concat()))
            .connection_error(&[COMPRESSION_ERROR])
            .unseen(),
        case("an interrupted block after a whole one", "RFC 9113, 6.2")
            .send(headers(1, END_HEADERS, &post()))
            .send(headers(3, END_STREAM, &get()[..9]))
            .send(data(1, END_STREAM, b"content"))
            .unpinged()
            .connection_error(&[PROTOCOL_ERROR])
            .unfinished(),
    ];
    cases.extend(inside.map(|(name, frame)| {
        case(name, "RFC 9113, 4.3")
            .send(headers(1, END_STREAM, &get()[..9]))
            .send(frame)
            .send(continuation(1, END_HEADERS, &get()[9..]))
            .unpinged()
            .connection_error(&[PROTOCOL_ERROR])
            .unseen()
    }));
    cases
}
