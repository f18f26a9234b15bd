//! Fields: names and values as they may be, those of HTTP/1.1's connections that may not, and how many are too many.

use super::blocks::*;
use super::case::{Case, case};
use super::ledger::Ledger;
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [malformed(), refused(), passed(), too_many()].into_iter().flatten().collect()
}

fn malformed() -> Vec<Case> {
    let names: [(&'static str, &[u8]); 12] = [
        ("a name in upper case", b"X-Test"),
        ("a name with one letter in upper case", b"x-tesT"),
        ("an empty name", b""),
        ("a name with a space", b"x test"),
        ("a name that ends with a space", b"x-test "),
        ("a name with a colon", b"x:test"),
        ("a name with CR LF", b"x-test: 1\r\nx-smuggled"),
        ("a name with NUL", b"x\0test"),
        ("a name with DEL", b"x\x7ftest"),
        ("a name past ASCII", b"x-t\xe9st"),
        ("a name with a tab", b"x\ttest"),
        ("a name with a bracket", b"x(test)"),
    ];
    let connection: [(&'static str, &str, &str); 9] = [
        ("connection", "connection", "close"),
        ("connection that names a field", "connection", "x-test"),
        ("keep-alive", "keep-alive", "timeout=5"),
        ("proxy-connection", "proxy-connection", "keep-alive"),
        ("transfer-encoding", "transfer-encoding", "chunked"),
        ("upgrade", "upgrade", "websocket"),
        ("te other than trailers", "te", "gzip"),
        ("te of trailers and more", "te", "trailers, deflate"),
        ("te that is empty", "te", ""),
    ];
    let of = |name, clause, field: Vec<u8>| {
        case(name, clause).send(headers(1, WHOLE, &[get(), field].concat())).stream_error(1, &[PROTOCOL_ERROR]).unseen()
    };
    let names = names.map(|(name, octets)| of(name, "RFC 9113, 8.2.1", literal(WITHOUT_INDEXING, octets, b"ok")));
    let connection = connection.map(|(name, field, value)| of(name, "RFC 9113, 8.2.2", block(&[(field, value)])));
    names.into_iter().chain(connection).collect()
}

/// Values that are malformed, and lengths that are none; 400 says so as well.
fn refused() -> Vec<Case> {
    let rows: [(_, _, Vec<(&str, &str)>); 14] = [
        ("a value with CR", "RFC 9113, 8.2.1", vec![("x-test", "a\rb")]),
        ("a value with LF", "RFC 9113, 8.2.1", vec![("x-test", "a\nb")]),
        ("a value with NUL", "RFC 9113, 8.2.1", vec![("x-test", "a\0b")]),
        ("a value with a field behind it", "RFC 9113, 8.2.1", vec![("x-test", "a\r\nx-smuggled: 1")]),
        ("a value that begins with a space", "RFC 9113, 8.2.1", vec![("x-test", " a")]),
        ("a value that ends with a space", "RFC 9113, 8.2.1", vec![("x-test", "a ")]),
        ("a value that begins with a tab", "RFC 9113, 8.2.1", vec![("x-test", "\ta")]),
        ("a value that ends with a tab", "RFC 9113, 8.2.1", vec![("x-test", "a\t")]),
        ("a cookie with a line end", "RFC 9113, 8.2.1", vec![("cookie", "a=b\r\n")]),
        ("a length of letters", "RFC 9110, 8.6", vec![("content-length", "ten")]),
        ("a length with a sign", "RFC 9110, 8.6", vec![("content-length", "+0")]),
        ("a length past all bounds", "RFC 9110, 8.6", vec![("content-length", "18446744073709551616")]),
        ("a length that is empty", "RFC 9110, 8.6", vec![("content-length", "")]),
        ("two lengths that disagree", "RFC 9110, 8.6", vec![("content-length", "0"), ("content-length", "1")]),
    ];
    rows.map(|(name, clause, fields)| {
        case(name, clause)
            .send(headers(1, WHOLE, &block(&with(&POST, &fields))))
            .stream_error(1, &[PROTOCOL_ERROR])
            .answered(1, 400)
            .unseen()
    })
    .into()
}

fn passed() -> Vec<Case> {
    let asked = |name, clause, fields: &[(&str, &str)], has, lacks| {
        case(name, clause).send(headers(1, WHOLE, &block(&with(&GET, fields)))).answered(1, 200).seen(has, lacks)
    };
    vec![
        asked("te of trailers", "RFC 9113, 8.2.2", &[("te", "trailers")], &["\nte: trailers\n"], &[]),
        asked(
            "crumbs of a cookie are joined",
            "RFC 9113, 8.2.3",
            &[("cookie", "a=b"), ("x-between", "1"), ("cookie", "c=d"), ("cookie", "e=f")],
            &["\ncookie: a=b; c=d; e=f\n"],
            &[],
        ),
        asked(
            "one cookie stays as it is",
            "RFC 9113, 8.2.3",
            &[("cookie", "a=b; c=d")],
            &["\ncookie: a=b; c=d\n"],
            &[],
        ),
        asked(
            "a name that repeats keeps its order",
            "RFC 9110, 5.3",
            &[("x-test", "one"), ("x-test", "two"), ("x-test", "")],
            &["\nx-test: one\nx-test: two\nx-test: \n"],
            &[],
        ),
        asked("spaces and tabs within a value", "RFC 9110, 5.5", &[("x-test", "a \t b")], &["\nx-test: a \t b\n"], &[]),
        asked("a value past ASCII", "RFC 9110, 5.5", &[("x-test", "caf\u{e9}")], &["\nx-test: caf\u{e9}\n"], &[]),
        asked(
            "every letter of a token",
            "RFC 9110, 5.6.2",
            &[("!#$%&'*+-.^_`|~09az", "1")],
            &["\n!#$%&'*+-.^_`|~09az: 1\n"],
            &[],
        ),
        asked(
            "a length of 0 without content",
            "RFC 9113, 8.1.1",
            &[("content-length", "0")],
            &["GET / HTTP/1.1\n"],
            &[],
        ),
    ]
}

/// A request with many fields, in as many frames as they need.
fn spread(block: &[u8]) -> Vec<u8> {
    let mut pieces = block.chunks(FRAME_MAX);
    let first = headers(1, END_STREAM, pieces.next().unwrap_or_default());
    let rest = pieces.flat_map(|piece| continuation(1, NONE, piece));
    first.into_iter().chain(rest).chain(continuation(1, END_HEADERS, b"")).collect()
}

/// Twice as many octets as the host says it takes, or a megabyte if it does not say.
fn excess(seen: &Ledger) -> usize {
    2 * seen.setting(MAX_HEADER_LIST_SIZE, 1 << 19) as usize
}

fn too_many() -> Vec<Case> {
    let large = |name, bytes: fn(&Ledger) -> Vec<u8>| {
        case(name, "RFC 9113, 10.5.1")
            .send_for(bytes)
            .answered(1, 431)
            .answered(1, 400)
            .stream_error(1, &[PROTOCOL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM, CANCEL])
            .connection_error(&[COMPRESSION_ERROR])
            .unseen()
    };
    vec![
        case("the host says how many octets of fields it takes", "RFC 9113, 10.5.1")
            .holds("a MAX_HEADER_LIST_SIZE up to a megabyte", |seen| {
                seen.setting(MAX_HEADER_LIST_SIZE, u32::MAX) <= 1 << 20
            }),
        large("a value that is too long", |seen| {
            spread(&[get(), literal(WITHOUT_INDEXING, b"x-long", &vec![b'v'; excess(seen)])].concat())
        }),
        large("a name that is too long", |seen| {
            spread(&[get(), literal(WITHOUT_INDEXING, &vec![b'n'; excess(seen)], b"1")].concat())
        }),
        large("too many long fields", |seen| {
            let field = literal(WITHOUT_INDEXING, b"x-long", &[b'v'; 1000]);
            spread(&[get(), times(excess(seen) / 1000, &field)].concat())
        }),
        // Few octets on the wire, megabytes once unpacked.
        large("a bomb of one entry", |seen| {
            let entry = literal(WITH_INDEXING, b"x-bomb", &[b'v'; 4000]);
            spread(&[get(), entry, times(excess(seen) / 4000 + 1000, &indexed(62))].concat())
        }),
        large("too many fields without a word", |seen| {
            spread(&[get(), times(excess(seen) / 32, &literal(WITHOUT_INDEXING, b"x", b""))].concat())
        }),
        case("as many fields as a browser might send", "RFC 9113, 10.5.1")
            .send({
                let field = literal(WITHOUT_INDEXING, b"x-some", &[b'v'; 60]);
                spread(&[get(), times(50, &field)].concat())
            })
            .answered(1, 200),
    ]
}
