//! A thousand of everything that costs a client little: all of it is served, or the client is told to calm down.
//!
//! Whichever it is, others are served meanwhile; every case is judged beside a request of somebody else.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

const MANY: usize = 1000;
/// A stream after those of any flood here.
const LAST: u32 = 4 * 1000 + 1;

pub(crate) fn cases() -> Vec<Case> {
    [of_frames(), of_streams(), of_blocks()].into_iter().flatten().collect()
}

fn flood(name: &'static str, clause: &'static str, frames: impl Into<Vec<u8>>) -> Case {
    case(name, clause)
        .send(frames)
        .send(headers(LAST, WHOLE, &get()))
        .answered(LAST, 200)
        .connection_error(&[ENHANCE_YOUR_CALM])
}

/// The same for every stream of a thousand.
fn each(frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..1000).flat_map(|number| frames(2 * number + 1)).collect()
}

fn of_frames() -> Vec<Case> {
    let open = || headers(1, END_HEADERS, &post());
    let on_open = |frame: Vec<u8>| [open(), times(MANY, &frame)].concat();
    let clause = "RFC 9113, 10.5";
    vec![
        flood("PINGs", clause, times(MANY, &ping(NONE, b"a flood!"))),
        flood("answers to no PING", clause, times(MANY, &ping(ACK, b"a flood!"))),
        flood("SETTINGS", clause, times(MANY, &settings(&[(INITIAL_WINDOW_SIZE, 65_535)]))),
        flood("SETTINGS without values", clause, times(MANY, &settings(&[]))),
        flood(
            "SETTINGS that change the table",
            clause,
            times(MANY / 2, &[settings(&[(HEADER_TABLE_SIZE, 0)]), settings(&[(HEADER_TABLE_SIZE, 4096)])].concat()),
        ),
        flood("SETTINGS with a thousand values", clause, settings(&[(INITIAL_WINDOW_SIZE, 65_535); MANY])),
        flood("PRIORITY of one stream", clause, times(MANY, &priority(1, 0, 15))),
        flood("PRIORITY of idle streams", clause, each(|stream| priority(LAST + 2 * stream, stream, 15))),
        flood("unknown frames", clause, times(MANY, &frame(0xbe, NONE, 0, b"grease"))),
        flood("small windows for the connection", clause, times(MANY, &window_update(0, 1))),
        flood("small windows for a stream", clause, on_open(window_update(1, 1))),
        flood("empty DATA", clause, on_open(data(1, NONE, b""))),
        flood("DATA of padding alone", clause, on_open(data(1, PADDED, &padded(0, b"", b"")))),
        flood("DATA of one octet", clause, on_open(data(1, NONE, b"x"))),
    ]
}

fn of_streams() -> Vec<Case> {
    let clause = "RFC 9113, 10.5";
    let malformed = block(&with(&GET, &[("X-Upper", "1")]));
    vec![
        flood(
            "requests that are cancelled at once",
            clause,
            each(|stream| [headers(stream, WHOLE, &get()), rst_stream(stream, CANCEL)].concat()),
        ),
        flood(
            "requests with content that are cancelled at once",
            clause,
            each(|stream| [headers(stream, END_HEADERS, &post()), rst_stream(stream, CANCEL)].concat()),
        ),
        // The host resets these itself, so the client's own resets need not be counted.
        flood("requests that are malformed", clause, each(|stream| headers(stream, WHOLE, &malformed)))
            .connection_error(&[PROTOCOL_ERROR]),
        flood(
            "requests that are made the host's to reset by a window",
            clause,
            each(|stream| [headers(stream, END_HEADERS, &post()), window_update(stream, 0)].concat()),
        )
        .connection_error(&[PROTOCOL_ERROR]),
        flood(
            "requests that are made the host's to reset by a length",
            clause,
            each(|stream| [headers(stream, END_HEADERS, &post()), frame(PRIORITY, NONE, stream, b"four")].concat()),
        )
        .connection_error(&[FRAME_SIZE_ERROR]),
        flood(
            "resets of one stream",
            clause,
            [headers(1, END_HEADERS, &post()), times(MANY, &rst_stream(1, CANCEL))].concat(),
        )
        .connection_error(&[STREAM_CLOSED]),
        flood("requests past the limit", clause, each(|stream| headers(stream, END_HEADERS, &post())))
            .connection_error(&[PROTOCOL_ERROR])
            .stream_error(LAST, &[REFUSED_STREAM]),
        flood(
            "DATA on a stream that was cancelled",
            clause,
            [headers(1, END_HEADERS, &post()), rst_stream(1, CANCEL), times(MANY, &data(1, NONE, b"x"))].concat(),
        )
        .connection_error(&[STREAM_CLOSED]),
    ]
}

fn of_blocks() -> Vec<Case> {
    let clause = "RFC 9113, 10.5.1";
    let fragments = |name, fragment: &[u8]| {
        case(name, clause)
            .send(headers(1, END_STREAM, &get()))
            .send(times(MANY, &continuation(1, NONE, fragment)))
            .send(continuation(1, END_HEADERS, b""))
            .answered(1, 200)
            .answered(1, 431)
            .answered(1, 400)
            .stream_error(1, &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR])
    };
    let endless = |name, fragment: &[u8]| {
        case(name, clause)
            .send(headers(1, END_STREAM, &get()))
            .send(times(MANY, &continuation(1, NONE, fragment)))
            .unpinged()
            .connection_error(&[ENHANCE_YOUR_CALM, PROTOCOL_ERROR, COMPRESSION_ERROR])
            .unseen()
    };
    let long = literal(WITHOUT_INDEXING, b"x-long", &[b'v'; 16_000]);
    let name_less = literal(WITHOUT_INDEXING, b"", b"");
    vec![
        fragments("empty CONTINUATIONs", b""),
        fragments("CONTINUATIONs of a small field", &literal(WITHOUT_INDEXING, b"x", b"1")),
        endless("CONTINUATIONs of 16 MB without an end", &long),
        flood("fields without name or value", clause, headers(1, WHOLE, &[get(), times(MANY, &name_less)].concat()))
            .connection_error(&[PROTOCOL_ERROR]),
        flood("changes of the table's size", clause, headers(1, WHOLE, &[times(MANY, &table_size(0)), get()].concat()))
            .connection_error(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
    ]
}
