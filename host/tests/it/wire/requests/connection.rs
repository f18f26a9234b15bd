//! What is for one connection only (RFC 9110, 7.6.1, 7.8 and 10.1.4; RFC 9112, 9).

use crate::wire::case::{Case, Table, get_with};
use crate::wire::seen::{get, seen};
use crate::wire::turn::refused;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = named().cases();
    cases.extend(ours().cases());
    cases.extend(persistence().cases());
    cases.extend(upgrades().cases());
    cases
}

fn named() -> Table {
    Table::under("RFC 9110, 7.6.1: what Connection names goes no further", get("/").without("x-a").without("x-b"))
        .field("a field that Connection names", b"Connection: x-a\r\nX-A: 1")
        .field("a field that is named after it", b"X-A: 1\r\nConnection: X-A")
        .field("two fields in a list", b"Connection: X-A, x-b\r\nX-A: 1\r\nX-B: 2")
        .field("two fields on two lines", b"Connection: x-a\r\nX-A: 1\r\nConnection: x-b\r\nX-B: 2")
        .field("a field on several lines", b"Connection: x-a\r\nX-A: 1\r\nX-A: 2\r\nX-A: 3")
        .field("a list without spaces", b"Connection: keep-alive,x-a,x-b\r\nX-A: 1\r\nX-B: 2")
        .field("a list with empty elements", b"Connection: , ,x-a,, x-b,\r\nX-A: 1\r\nX-B: 2")
        .field("a list with tabs", b"Connection: x-a\t,\tx-b\r\nX-A: 1\r\nX-B: 2")
        .field("Connection in odd case", b"cOnNeCtIoN: x-a\r\nX-A: 1")
        .field("a field that is not there", b"Connection: x-a")
        .field("an empty Connection", b"Connection:")
        .expect(
            "a field that begins like one that is named",
            get_with(b"Connection: x-a\r\nX-Ab: 1"),
            get("/").with("x-ab", b"1"),
        )
        .and("RFC 9110, 7.6.1: what is for all recipients cannot be named away", get("/").or(refused(&[400])))
        .field("Connection names Host", b"Connection: host")
        .expect(
            "Connection names Authorization",
            get_with(b"Connection: authorization\r\nAuthorization: Basic eDp5"),
            get("/").with("authorization", b"Basic eDp5").or(refused(&[400])),
        )
        .expect(
            "Connection names what we add",
            get_with(b"Connection: x-forwarded-for, via, x-forwarded-proto, x-request-id"),
            get("/").with("x-forwarded-for", b"127.0.0.1").with("x-forwarded-proto", b"http").or(refused(&[400])),
        )
        .and("RFC 9110, 7.6.1: an option is a token", get("/").without("x-a").or(refused(&[400])))
        .field("an option that is no token", b"Connection: \"x-a\", @, x-a\r\nX-A: 1")
        .expect("an option of two words", get_with(b"Connection: x a\r\nX-A: 1"), get("/").or(refused(&[400])))
}

fn ours() -> Table {
    Table::under("RFC 9110, 7.6.1: fields that are known to be for one connection", get("/").without("x-a"))
        .field("Keep-Alive", b"Keep-Alive: timeout=5, max=100")
        .field("Keep-Alive that is named", b"Connection: keep-alive\r\nKeep-Alive: timeout=5")
        .field("Proxy-Connection", b"Proxy-Connection: keep-alive")
        .field("Proxy-Connection that names a field", b"Proxy-Connection: x-b\r\nX-B: 1")
        .and("RFC 9110, 10.1.4: of TE, only trailers are for others too, and we say so anew", get("/"))
        .expect("TE with trailers", get_with(b"TE: trailers\r\nConnection: TE"), get("/").with("te", b"trailers"))
        .expect("TE with trailers and a coding", get_with(b"TE: gzip;q=0.5, trailers\r\nConnection: TE"), get("/"))
        .field("TE with a coding", b"TE: gzip\r\nConnection: TE")
        .field("TE with a coding that Connection does not name", b"TE: gzip;q=0.5, deflate")
        .field("an empty TE", b"TE:\r\nConnection: TE")
        .field("TE with trailers that Connection does not name", b"TE: trailers")
}

fn persistence() -> Table {
    Table::under("RFC 9112, 9.6: close closes", get("/").closing())
        .field("Connection with close", b"Connection: close")
        .field("Connection with Close in capitals", b"Connection: CLOSE")
        .field("close in a list", b"Connection: x-a, close, x-b")
        .field("close on a second line", b"Connection: x-a\r\nConnection: close")
        .field("close beside keep-alive", b"Connection: close, keep-alive")
        .field("keep-alive beside close", b"Connection: keep-alive, close")
        .raw(
            "requests after close are nobody's",
            [&get_with(b"Connection: close")[..], &get_with(b"X-A: b")[..]].concat(),
        )
        .raw("garbage after close is nobody's", [&get_with(b"Connection: close")[..], b"garbage\r\n\r\n"].concat())
        .and("RFC 9112, 9.3: HTTP/1.1 goes on by itself", get("/").staying())
        .field("no Connection", b"X-A: b")
        .field("Connection with keep-alive", b"Connection: keep-alive")
        .field("Connection with a word like close", b"Connection: closed")
        .field("Proxy-Connection with close", b"Proxy-Connection: close")
        .field("close in another field", b"X-Connection: close")
        .and("RFC 9110, 9.3.2: HEAD has no content, and says how much there would be", seen("HEAD", "/").staying())
        .raw("HEAD", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn upgrades() -> Table {
    let asks = |seen: crate::wire::seen::Seen| seen.with("upgrade", b"websocket");
    Table::under("RFC 9110, 7.8: Upgrade without its option is ignored", get("/").without("upgrade"))
        .field("Upgrade that Connection does not name", b"Upgrade: websocket")
        .and("RFC 9113, 3.1: h2c is not asked of members", get("/").without("upgrade").without("http2-settings"))
        .field(
            "an upgrade to h2c",
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        )
        .field(
            "an upgrade to h2c whose settings are not named",
            b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        )
        .field("an upgrade to h2c in capitals", b"Connection: upgrade\r\nUpgrade: H2C")
        .field("Connection with an upgrade to nothing", b"Connection: upgrade")
        .and("RFC 9110, 7.8: an upgrade may be declined", asks(get("/")))
        .field("an upgrade that the member declines", b"Connection: Upgrade\r\nUpgrade: websocket")
        .field("an upgrade beside keep-alive", b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket")
}
