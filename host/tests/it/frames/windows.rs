//! Flow control: the host sends no more than it may, goes on when it may, and gives back what it took.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [updates(), kept(), changed(), given_back()].into_iter().flatten().collect()
}

fn updates() -> Vec<Case> {
    let asked = |name, clause, frame: Vec<u8>| {
        case(name, clause).send(headers(1, END_HEADERS, &post())).send(frame).unfinished()
    };
    let of_connection = |name, clause, frame: Vec<u8>, codes| case(name, clause).send(frame).connection_error(codes);
    vec![
        of_connection("an increment of 0 for the connection", "RFC 9113, 6.9", window_update(0, 0), &[PROTOCOL_ERROR]),
        asked("an increment of 0 for a stream", "RFC 9113, 6.9", window_update(1, 0))
            .stream_error(1, &[PROTOCOL_ERROR]),
        asked("an increment of 0 but for the reserved bit", "RFC 9113, 6.9", window_update(1, 1 << 31))
            .stream_error(1, &[PROTOCOL_ERROR]),
        of_connection(
            "WINDOW_UPDATE of 3 octets",
            "RFC 9113, 6.9",
            frame(WINDOW_UPDATE, NONE, 0, &[0, 0, 1]),
            &[FRAME_SIZE_ERROR],
        ),
        of_connection(
            "WINDOW_UPDATE of 5 octets",
            "RFC 9113, 6.9",
            frame(WINDOW_UPDATE, NONE, 0, &[0, 0, 0, 1, 0]),
            &[FRAME_SIZE_ERROR],
        ),
        asked("WINDOW_UPDATE of 3 octets on a stream", "RFC 9113, 6.9", frame(WINDOW_UPDATE, NONE, 1, &[0, 0, 1]))
            .connection_error(&[FRAME_SIZE_ERROR]),
        of_connection(
            "a connection's window past its end",
            "RFC 9113, 6.9.1",
            window_update(0, WINDOW_MAX),
            &[FLOW_CONTROL_ERROR],
        ),
        of_connection(
            "a connection's window past its end in two steps",
            "RFC 9113, 6.9.1",
            [window_update(0, WINDOW_MAX - 65_535), window_update(0, 1)].concat(),
            &[FLOW_CONTROL_ERROR],
        ),
        asked("a stream's window past its end", "RFC 9113, 6.9.1", times(2, &window_update(1, WINDOW_MAX)))
            .stream_error(1, &[FLOW_CONTROL_ERROR]),
        case("both windows as large as can be", "RFC 9113, 6.9.1")
            .send(window_update(0, WINDOW_MAX - 65_535))
            .send(headers(1, END_HEADERS, &post()))
            .send(window_update(1, WINDOW_MAX - 65_535))
            .send(data(1, END_STREAM, b"content"))
            .answered(1, 200),
        asked(
            "a setting takes a stream's window past its end",
            "RFC 9113, 6.9.2",
            [window_update(1, WINDOW_MAX - 65_535), settings(&[(INITIAL_WINDOW_SIZE, 65_536)])].concat(),
        )
        .connection_error(&[FLOW_CONTROL_ERROR]),
    ]
}

fn ask_for(octets: &'static str) -> Vec<u8> {
    headers(1, WHOLE, &block(&but(&GET, &[(":path", octets)])))
}

/// That no more comes than may is the ledger's to judge; the PING gives it the time to come.
fn kept() -> Vec<Case> {
    let halfway = || ping(NONE, b"halfway!");
    vec![
        case("an answer stops at the end of both windows", "RFC 9113, 6.9.1")
            .send(ask_for("/big/200000"))
            .until("a window of content", |seen| seen.content(1) == 65_535)
            .send(halfway())
            .until("PING came back", |seen| seen.pongs.contains(b"halfway!"))
            .send([window_update(0, 200_000), window_update(1, 200_000)].concat())
            .answered(1, 200),
        case("an answer stops at the end of the connection's window", "RFC 9113, 6.9.1")
            .settings(&[(INITIAL_WINDOW_SIZE, WINDOW_MAX)])
            .send(ask_for("/big/200000"))
            .until("a window of content", |seen| seen.content(1) == 65_535)
            .send([halfway(), window_update(0, 100_000)].concat())
            .until("another window of content", |seen| seen.content(1) == 165_535)
            .send(window_update(0, 100_000))
            .answered(1, 200),
        case("an answer stops at the end of its stream's window", "RFC 9113, 6.9.1")
            .settings(&[(INITIAL_WINDOW_SIZE, 1000)])
            .send([window_update(0, 1 << 30), ask_for("/big/3000")].concat())
            .until("a window of content", |seen| seen.content(1) == 1000)
            .send([halfway(), window_update(1, 1)].concat())
            .until("one octet more", |seen| seen.content(1) == 1001)
            .send(window_update(1, 1999))
            .answered(1, 200),
        case("a blocked stream does not hold up another", "RFC 9113, 5.2.1")
            .settings(&[(INITIAL_WINDOW_SIZE, 100)])
            .send(ask_for("/big/3000"))
            .until("a window of content", |seen| seen.content(1) == 100)
            .send(headers(3, WHOLE, &get()))
            .answered(3, 200),
        case("an answer without content needs no window", "RFC 9113, 6.9.1")
            .settings(&[(INITIAL_WINDOW_SIZE, 0)])
            .send(headers(1, WHOLE, &block(&but(&GET, &[(":path", "/empty")]))))
            .answered(1, 204),
        case("an octet at a time", "RFC 9113, 6.9.1")
            .settings(&[(INITIAL_WINDOW_SIZE, 0)])
            .send(headers(1, WHOLE, &get()))
            .send(times(50, &window_update(1, 1)))
            .answered(1, 200),
        case("a million octets", "RFC 9113, 6.9.1")
            .settings(&[(INITIAL_WINDOW_SIZE, WINDOW_MAX)])
            .send([window_update(0, 1 << 30), ask_for("/big/1000000")].concat())
            .holds("all of them", |seen| seen.answer(1).ended && seen.content(1) == 1_000_000),
    ]
}

fn changed() -> Vec<Case> {
    let window = |octets| settings(&[(INITIAL_WINDOW_SIZE, octets)]);
    vec![
        case("one octet of window brings one octet", "RFC 9113, 6.9.1")
            .send([window(1), headers(1, WHOLE, &get())].concat())
            .until("1 octet", |seen| seen.content(1) == 1)
            .send(window(1000))
            .answered(1, 200),
        case("a larger initial window counts for open streams", "RFC 9113, 6.9.2")
            .send([window(0), headers(1, WHOLE, &get())].concat())
            .until("a status", |seen| seen.answer(1).status.is_some())
            .send(window(1))
            .until("1 octet", |seen| seen.content(1) == 1)
            .send(window_update(1, 1000))
            .answered(1, 200),
        case("a window can be below zero", "RFC 9113, 6.9.2")
            .send([window(3), headers(1, WHOLE, &get())].concat())
            .until("3 octets", |seen| seen.content(1) == 3)
            .send([window(2), window_update(1, 2)].concat())
            .until("1 octet more", |seen| seen.content(1) == 4)
            .send(window_update(1, 1000))
            .answered(1, 200),
        case("a window far below zero", "RFC 9113, 6.9.2")
            .send(ask_for("/big/100000"))
            .until("a window of content", |seen| seen.content(1) == 65_535)
            .send([window(0), window_update(0, 100_000), window_update(1, 65_535), ping(NONE, b"halfway!")].concat())
            .until("PING came back", |seen| seen.pongs.contains(b"halfway!"))
            .send(window(34_465))
            .answered(1, 200),
    ]
}

fn given_back() -> Vec<Case> {
    let half = || {
        [data(1, NONE, &[b'x'; FRAME_MAX]), data(1, NONE, &[b'x'; FRAME_MAX]), data(1, NONE, &[b'x'; FRAME_MAX])]
            .concat()
    };
    vec![
        case("more content than one window", "RFC 9113, 6.9")
            .send(headers(1, END_HEADERS, &post()))
            .upload(1, 300_000)
            .answered(1, 200),
        case("padding is given back", "RFC 9113, 6.9.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(times(200, &data(1, PADDED, &padded(254, b"x", &[0; 254]))))
            .upload(1, 60_000)
            .answered(1, 200),
        case("content of a request that was cancelled is given back", "RFC 9113, 6.9")
            .send(
                [headers(1, END_HEADERS, &post()), half(), rst_stream(1, CANCEL), headers(3, END_HEADERS, &post())]
                    .concat(),
            )
            .upload(3, 60_000)
            .answered(3, 200),
        case("content of a request that was refused is given back", "RFC 9113, 6.9")
            .send(headers(1, END_HEADERS, &block(&with(&POST, &[("X-Upper", "1")]))))
            .send([half(), headers(3, END_HEADERS, &post())].concat())
            .upload(3, 60_000)
            .answered(3, 200)
            .connection_error(&[PROTOCOL_ERROR])
            .never(&["x-upper"]),
        // What the member has taken meanwhile makes room, so the host need not find too much.
        case("more content at once than there is room for", "RFC 9113, 6.9.1")
            .send(headers(1, END_HEADERS, &post()))
            .send_for(|seen| {
                let credit = usize::try_from(seen.credit_of(1)).unwrap_or(0);
                [times(credit / FRAME_MAX + 2, &data(1, NONE, &[b'x'; FRAME_MAX])), data(1, END_STREAM, b"")].concat()
            })
            .stream_error(1, &[FLOW_CONTROL_ERROR])
            .answered(1, 200),
    ]
}
