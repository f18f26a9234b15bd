//! Settings: the values there may be, how they are acknowledged, and that answers keep to them.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [wrong(), fine(), tables()].into_iter().flatten().collect()
}

fn wrong() -> Vec<Case> {
    let value =
        |name, id, value, codes| case(name, "RFC 9113, 6.5.2").send(settings(&[(id, value)])).connection_error(codes);
    let framed = |name, frame: Vec<u8>, codes| case(name, "RFC 9113, 6.5").send(frame).connection_error(codes);
    const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
    const SIZE: &[u32] = &[FRAME_SIZE_ERROR];
    vec![
        framed("an acknowledgement with a payload", frame(SETTINGS, ACK, 0, &[0; 6]), SIZE),
        framed("an acknowledgement with one octet", frame(SETTINGS, ACK, 0, &[0]), SIZE),
        framed("SETTINGS on a stream", frame(SETTINGS, NONE, 1, &[0, 3, 0, 0, 0, 100]), PROTOCOL),
        framed("an acknowledgement on a stream", frame(SETTINGS, ACK, 1, b""), PROTOCOL),
        framed("SETTINGS of 3 octets", frame(SETTINGS, NONE, 0, &[0, 3, 0]), SIZE),
        framed("SETTINGS of 7 octets", frame(SETTINGS, NONE, 0, &[0, 3, 0, 0, 0, 100, 0]), SIZE),
        value("ENABLE_PUSH of 2", ENABLE_PUSH, 2, PROTOCOL),
        value("ENABLE_PUSH of the largest value", ENABLE_PUSH, u32::MAX, PROTOCOL),
        value("INITIAL_WINDOW_SIZE of 2^31", INITIAL_WINDOW_SIZE, WINDOW_MAX + 1, &[FLOW_CONTROL_ERROR]),
        value("INITIAL_WINDOW_SIZE of the largest value", INITIAL_WINDOW_SIZE, u32::MAX, &[FLOW_CONTROL_ERROR]),
        value("MAX_FRAME_SIZE of 0", MAX_FRAME_SIZE, 0, PROTOCOL),
        value("MAX_FRAME_SIZE of 2^14 - 1", MAX_FRAME_SIZE, 16_383, PROTOCOL),
        value("MAX_FRAME_SIZE of 2^24", MAX_FRAME_SIZE, 1 << 24, PROTOCOL),
        case("a wrong value after good ones", "RFC 9113, 6.5.2")
            .send(settings(&[(ENABLE_PUSH, 0), (HEADER_TABLE_SIZE, 100), (MAX_FRAME_SIZE, 1)]))
            .connection_error(PROTOCOL),
    ]
}

fn fine() -> Vec<Case> {
    let taken = |name, values: &[(u16, u32)]| {
        case(name, "RFC 9113, 6.5.2").send([settings(values), headers(1, WHOLE, &get())].concat()).answered(1, 200)
    };
    vec![
        taken("no settings at all", &[]),
        taken("an unknown setting", &[(0xff, 1)]),
        taken("unknown settings of every kind", &[(0, 0), (0x0a0a, u32::MAX), (0xffff, 7)]),
        taken("ENABLE_PUSH of 0", &[(ENABLE_PUSH, 0)]),
        taken("ENABLE_PUSH of 1, and nothing is pushed", &[(ENABLE_PUSH, 1)]),
        taken("no streams for pushes", &[(MAX_CONCURRENT_STREAMS, 0)]),
        taken("the largest frames", &[(MAX_FRAME_SIZE, (1 << 24) - 1)]),
        taken("the largest window", &[(INITIAL_WINDOW_SIZE, WINDOW_MAX)]),
        taken("one setting twice", &[(INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 65_535)]),
        taken("header lists of any size", &[(MAX_HEADER_LIST_SIZE, u32::MAX)]),
        taken("extended CONNECT, as a client may say it", &[(ENABLE_CONNECT_PROTOCOL, 1)]),
        case("each SETTINGS is acknowledged", "RFC 9113, 6.5.3")
            .send(times(5, &settings(&[(MAX_HEADER_LIST_SIZE, 10_000)])))
            .holds("five more acknowledgements", |seen| seen.acks == 6),
        case("settings in the preface count", "RFC 9113, 3.4")
            .settings(&[(INITIAL_WINDOW_SIZE, 4), (ENABLE_PUSH, 0), (MAX_HEADER_LIST_SIZE, 65_536)])
            .send(headers(1, WHOLE, &get()))
            .until("4 octets", |seen| seen.content(1) == 4)
            .send(window_update(1, 1000))
            .answered(1, 200),
        case("the last of several values counts", "RFC 9113, 6.5.3")
            .send(settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)]))
            .send(headers(1, WHOLE, &get()))
            .until("1 octet", |seen| seen.content(1) == 1)
            .send(window_update(1, 1000))
            .answered(1, 200),
    ]
}

/// What we say of the table is for the blocks that the host writes; the decoder behind the ledger keeps to it.
fn tables() -> Vec<Case> {
    let sized = |name, size| {
        case(name, "RFC 7541, 4.2")
            .send(headers(1, WHOLE, &get()))
            .until("an answer", |seen| seen.answer(1).ended)
            .send(settings(&[(HEADER_TABLE_SIZE, size)]))
            .until("an acknowledgement", |seen| seen.acks == 2)
            .send([headers(3, WHOLE, &get()), headers(5, WHOLE, &get())].concat())
            .until("another answer", |seen| seen.answer(3).ended)
            .answered(5, 200)
    };
    vec![
        sized("no table for answers", 0),
        sized("a small table for answers", 64),
        sized("the largest table for answers", u32::MAX),
        case("no table, then one again", "RFC 7541, 4.2")
            .send(headers(1, WHOLE, &get()))
            .until("an answer", |seen| seen.answer(1).ended)
            .send([settings(&[(HEADER_TABLE_SIZE, 0)]), settings(&[(HEADER_TABLE_SIZE, 4096)])].concat())
            .until("acknowledgements", |seen| seen.acks == 3)
            .send([headers(3, WHOLE, &get()), headers(5, WHOLE, &get())].concat())
            .until("another answer", |seen| seen.answer(3).ended)
            .answered(5, 200),
    ]
}
