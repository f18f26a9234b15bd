//! Interim answers and upgrades (RFC 9110, 7.8 and 15.2; RFC 8297).

use crate::wire::answers::ok;
use crate::wire::case::{Case, Piece, Table, bytes};
use crate::wire::script::says;
use crate::wire::seen::{Gets, gets};
use crate::wire::turn::{Turn, failed};

const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = interim().cases();
    cases.extend(upgrades().cases());
    cases
}

fn hello() -> Gets {
    gets(200, "hello")
}

fn interim() -> Table {
    let last = ok(b"Content-Length: 5", b"hello");
    let after = |first: &[u8]| [first, &last[..]].concat();
    // Whether or not it is passed on: who did not ask for it may do without.
    let unasked: &[&[u16]] = &[&[], &[100]];
    Table::under("RFC 9110, 15.2: interim answers are passed on", hello().interim(&[&[103]]))
        .answer("hints", after(HINTS))
        .answer("hints and their answer later", says(HINTS).drips(&last))
        .answer("hints byte by byte", says(b"").drips(after(HINTS)))
        .answer_expect("hints twice", after(&HINTS.repeat(2)), hello().interim(&[&[103, 103]]))
        .answer_expect("102 Processing", after(b"HTTP/1.1 102 Processing\r\n\r\n"), hello().interim(&[&[102], &[]]))
        .answer_expect(
            "an interim answer that nobody knows",
            after(b"HTTP/1.1 199 What\r\n\r\n"),
            hello().interim(&[&[199], &[]]),
        )
        .answer_expect("a 100 that nobody expects", after(b"HTTP/1.1 100 Continue\r\n\r\n"), hello().interim(unasked))
        .answer(
            "hints with fields of their connection",
            after(b"HTTP/1.1 103 Early Hints\r\nConnection: x-a\r\nX-A: b\r\nKeep-Alive: 5\r\n\r\n"),
        )
        .and("RFC 9110, 8.6: an interim answer has no length", failed().or(hello().interim(&[&[103], &[]])))
        .answer("hints with a length of nothing", after(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n"))
        .answer("hints with a length", after(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"))
        .answer("hints with a coding", after(b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"))
        .and("RFC 9110, 15.2: an interim answer is not the answer", failed())
        .answer("hints, and the end", says(HINTS).closes())
        .answer("a 100, and the end", says(b"HTTP/1.1 100 Continue\r\n\r\n").closes())
        .answer("hints, and garbage", [HINTS, b"garbage\r\n\r\n"].concat())
        .answer("hints with content", [HINTS, b"hello", &last].concat())
        .answer("hints whose fields cannot be read", after(b"HTTP/1.1 103 Early Hints\r\nX-A b\r\n\r\n"))
        .answer("hints whose lines end in LF", after(b"HTTP/1.1 103 Early Hints\nLink: </a>\n\n"))
        .answer("interim answers without an end", HINTS.repeat(40_000))
        .ask(b"POST /case HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        .answer_expect(
            "a 417 to who does not wait",
            b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno",
            gets(417, "no").interim(unasked),
        )
        .exchange(
            "a 413 to who waits",
            vec![
                bytes(b"POST /case HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
                Piece::Await,
                Piece::End,
            ],
            says(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").at_head(),
            gets(413, "no").spent(),
        )
}

fn upgrades() -> Table {
    const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let asks = vec![
        bytes(b"GET /case HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        Piece::Await,
        bytes(b"ping"),
    ];
    let another = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";
    let switched = |content: &str| gets(101, content).with("upgrade", b"websocket").spent();
    Table::under("RFC 9110, 7.8: 502 for a switch that nobody asked for", failed())
        .answer("an unasked 101", SWITCH)
        .answer("an unasked 101 and an answer", [SWITCH, &ok(b"Content-Length: 5", b"hello")[..]].concat())
        .answer("a bare 101", b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        .ask(b"GET /case HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .answer("a 101 to HTTP/1.0", SWITCH)
        .ask(b"GET /case HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .answer("a 101 to h2c", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .exchange("a 101 to another protocol", asks[..1].to_vec(), another, failed())
        .exchange(
            "a 101 to no protocol",
            asks[..1].to_vec(),
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
            failed().or(Turn::Relayed(gets(101, "").spent())),
        )
        .and("RFC 9110, 7.8: who asked is switched, and bytes flow both ways", switched("pong"))
        .exchange("a switch", asks.clone(), says(SWITCH).hears(b"ping").says(b"pong").closes(), switched("pong"))
        .exchange(
            "a switch whose member speaks first",
            asks.clone(),
            says([SWITCH, b"hello, "].concat()).hears(b"ping").says(b"pong").closes(),
            switched("hello, pong"),
        )
        .exchange("a switch and the end", asks.clone(), says(SWITCH).hears(b"ping").closes(), switched(""))
        .exchange(
            "a switch that is declined",
            asks[..1].to_vec(),
            ok(b"Content-Length: 5", b"hello"),
            hello().without("upgrade"),
        )
        .exchange(
            "a switch after hints",
            asks,
            says([HINTS, SWITCH].concat()).hears(b"ping").says(b"pong").closes(),
            switched("pong").interim(&[&[103]]),
        )
}
