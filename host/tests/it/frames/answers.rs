//! What the client gets: answers as HTTP/2 words them, whatever the member said in HTTP/1.1.

use super::blocks::*;
use super::case::{Case, case};
use super::ledger::Ledger;
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [translated(), side_by_side()].into_iter().flatten().collect()
}

fn ask(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, WHOLE, &block(&but(&GET, &[(":path", path)])))
}

/// Whether a stream's answer is the one to this request.
fn is_own(seen: &Ledger, stream: u32, text: &str) -> bool {
    let answer = seen.answer(stream);
    answer.ended && answer.status == Some(200) && answer.body == text.as_bytes()
}

fn translated() -> Vec<Case> {
    vec![
        // Lower case and fields of the connection are the ledger's to judge.
        case("names in lower case, and no field of the connection", "RFC 9113, 8.2").send(ask(1, "/")).holds(
            "x-mixed-case, and not x-hop",
            |seen| {
                let answer = seen.answer(1);
                answer.ended && answer.field("x-mixed-case") == Some("yes") && answer.field("x-hop").is_none()
            },
        ),
        case("an answer without content", "RFC 9113, 8.1").send(ask(1, "/empty")).answered(1, 204),
        case("an answer to HEAD has no content", "RFC 9110, 9.3.2")
            .send(headers(1, WHOLE, &block(&but(&GET, &[(":method", "HEAD")]))))
            .holds("an empty answer", |seen| seen.answer(1).ended && seen.content(1) == 0),
        case("early hints come first", "RFC 9113, 8.1").send(ask(1, "/hints")).holds("103, then 200", |seen| {
            let answer = seen.answer(1);
            answer.ended && answer.hints == [103] && answer.status == Some(200)
        }),
        case("trailers come last", "RFC 9113, 8.1")
            .send(headers(1, WHOLE, &block(&with(&but(&GET, &[(":path", "/trailers")]), &[("te", "trailers")]))))
            .holds("content, then x-sum", |seen| {
                let answer = seen.answer(1);
                answer.ended && answer.body == b"hi" && answer.trailers == [("x-sum".into(), "7".into())]
            }),
        case("an answer that the member cut off is no whole answer", "RFC 9113, 8.1")
            .send(ask(1, "/truncated"))
            .holds("RST_STREAM", |seen| {
                seen.answer(1).reset.is_some_and(|code| code != NO_ERROR) && !seen.answer(1).ended
            }),
        case("an answer that is not HTTP", "RFC 9110, 15.6.3").send(ask(1, "/garbage")).answered(1, 502),
    ]
}

fn side_by_side() -> Vec<Case> {
    vec![
        case("many requests at once get their own answers", "RFC 9113, 5")
            .send((0..50).flat_map(|number| ask(2 * number + 1, &format!("/own/{number}"))).collect::<Vec<_>>())
            .holds("50 answers", |seen| {
                (0..50).all(|number| is_own(seen, 2 * number + 1, &format!("GET /own/{number} 0\n")))
            }),
        case("requests one after the other get their own answers", "RFC 9113, 5")
            .send(ask(1, "/own/1"))
            .until("an answer", |seen| is_own(seen, 1, "GET /own/1 0\n"))
            .send(ask(3, "/own/3"))
            .until("another answer", |seen| is_own(seen, 3, "GET /own/3 0\n"))
            .send(ask(5, "/own/5"))
            .holds("a third answer", |seen| is_own(seen, 5, "GET /own/5 0\n")),
        case("contents that take turns are kept apart", "RFC 9113, 5")
            .send([headers(1, END_HEADERS, &post()), headers(3, END_HEADERS, &post())].concat())
            .send([data(1, NONE, b"a"), data(3, NONE, b"bb"), data(1, NONE, b"a"), data(3, END_STREAM, b"bb")].concat())
            .send(data(1, END_STREAM, b"a"))
            .holds("3 and 4 octets", |seen| is_own(seen, 1, "POST / 3\n") && is_own(seen, 3, "POST / 4\n")),
        case("a later request may be answered first", "RFC 9113, 5")
            .send(headers(1, END_HEADERS, &post()))
            .send(ask(3, "/own/3"))
            .until("the later answer", |seen| is_own(seen, 3, "GET /own/3 0\n"))
            .send(data(1, END_STREAM, b"content"))
            .holds("the earlier answer", |seen| is_own(seen, 1, "POST / 7\n")),
        case("a request that is cancelled takes no other with it", "RFC 9113, 5.4.2")
            .settings(&[(INITIAL_WINDOW_SIZE, 10)])
            .send(ask(1, "/big/100000"))
            .until("content", |seen| seen.content(1) == 10)
            .send([rst_stream(1, CANCEL), ask(3, "/own/3"), window_update(3, 1000)].concat())
            .holds("its own answer", |seen| is_own(seen, 3, "GET /own/3 0\n")),
    ]
}
