//! Of whatever a client sends on an HTTP/1 connection, the member gets one request or a part of one, which says what the
//! client said, and nothing that only the proxy may say.

#![no_main]

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use httparse::{EMPTY_HEADER, Status};
use hyper::header::{HeaderMap, HeaderName, UPGRADE};
use hyper::Version;
use libfuzzer_sys::fuzz_target;
use switchback::proxy::alarm::Alarm;
use switchback::proxy::exchange::{Client, ExchangeId};
use switchback::proxy::h1::conn::SharedConn;
use switchback::proxy::h1::framing::{Framing, of_request};
use switchback::proxy::h1::head::HeadLimits;
use switchback::proxy::h1::member::Exchange;
use switchback::proxy::h1::wire::Wire;
use switchback::proxy::h1::{decoder, encoder};
use switchback::proxy::head::{Head, is_authority};
use switchback::proxy::header_rules::HeaderRules;
use switchback::proxy::headers::to_member;
use switchback::proxy::message::RequestHead;
use switchback::proxy::request_body::RequestBody;
use switchback_fuzz::reference::{self, Fields, NoBody, SLOTS, plain, sorted};
use switchback_fuzz::{client, connection, run};
use tokio::io::AsyncReadExt;

const LIMITS: HeadLimits = HeadLimits { bytes: 8 * 1024, fields: 32 };

/// Room for what the proxy adds.
const ROOM: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 48 };

const FOREVER: Duration = Duration::from_secs(3600);

/// Fields that the proxy writes, whatever the client says in them.
const OURS: [&str; 12] = [
    "connection",
    "content-length",
    "forwarded",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Fields that a client cannot take away by naming them in `Connection`.
const FOR_ALL: [&str; 6] = ["authorization", "cache-control", "content-encoding", "content-type", "cookie", "range"];

fuzz_target!(|bytes: &[u8]| {
    for client in [client(false), client(true)] {
        let Some(sent) = run(pass(bytes, &client)) else { continue };
        let Some(got) = Message::read(&sent, ROOM) else {
            // What is wrong with the content showed before anything was written.
            assert!(sent.is_empty());
            assert!(Message::read(bytes, LIMITS).is_none_or(|said| content(&said, bytes).is_err()));
            continue;
        };
        check_fields(&got);
        // Of another minor version, the other parser does not read it.
        if let Some(said) = Message::read(bytes, LIMITS) {
            check_same(&said, &got);
        }
        check_content(bytes, &sent);
        check_again(&sent, &client);
    }
});

/// What the member gets of the first request in `bytes`, after which the client ends its side.
async fn pass(bytes: &[u8], client: &Client) -> Option<Vec<u8>> {
    let (stream, other) = connection();
    drop(other);
    let conn = SharedConn::new(Wire::new(stream, BytesMut::from(bytes)), LIMITS);
    let head = conn.next_head(&Alarm::after(FOREVER), FOREVER).await.ok()?;
    let framing = of_request(head.version, &head.fields).ok()?;
    conn.begin(framing, encoder::is_modern(head.version), false);
    let is_empty = framing == Framing::Length(0) && !head.fields.contains(UPGRADE);
    let body = if is_empty { RequestBody::Empty } else { RequestBody::H1(conn) };

    let mut head = Head::new(head, client).ok()?;
    to_member(&mut head, client, &ExchangeId::Own(1, 2), &HeaderRules::default(), None);
    Some(sent(&head.into_request(), body).await)
}

async fn sent(head: &RequestHead, body: RequestBody) -> Vec<u8> {
    let (stream, mut other) = connection();
    let wire = Rc::new(RefCell::new(Wire::new(stream, BytesMut::new())));
    let mut exchange = Exchange::begin(wire, head, body);
    let mut sent = Vec::new();
    let send = poll_fn(|cx| {
        exchange.drive(cx);
        if exchange.is_request_done() {
            return Poll::Ready(());
        }
        // Nobody tells when what was left for the end of the round is written.
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    send.await;
    drop(exchange);
    other.read_to_end(&mut sent).await.expect("what is written can be read");
    sent
}

/// A request as another parser reads it.
struct Message {
    line: (String, String, Version),
    fields: Fields,
    head_length: usize,
}

impl Message {
    fn read(bytes: &[u8], limits: HeadLimits) -> Option<Self> {
        let mut fields = [EMPTY_HEADER; SLOTS];
        let mut request = httparse::Request::new(&mut fields);
        let Ok(Status::Complete(head_length)) = request.parse(bytes) else { return None };
        assert!(head_length <= limits.bytes && request.headers.len() <= limits.fields);
        let version = if request.version? == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
        let line = (request.method?.to_owned(), request.path?.to_owned(), version);
        Some(Self { line, fields: sorted(plain(request.headers)), head_length })
    }

    fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|field| field.0 == name).map(|field| &*field.1).collect()
    }

    fn only(&self, name: &str) -> Option<&[u8]> {
        let all = self.all(name);
        assert!(all.len() < 2, "more than one {name}");
        all.first().copied()
    }

    /// The elements of a field that is a list, in lower case.
    fn list(&self, name: &str) -> Vec<String> {
        let elements = self.all(name).into_iter().flat_map(|value| value.split(|byte| *byte == b','));
        elements.map(|element| String::from_utf8_lossy(element.trim_ascii()).to_ascii_lowercase()).collect()
    }
}

/// What a member may always count on.
fn check_fields(got: &Message) {
    assert_eq!(got.line.2, Version::HTTP_11);
    assert!(got.line.1.starts_with('/') || got.line.1 == "*" && got.line.0 == "OPTIONS", "{:?}", got.line);
    let host = got.only("host").expect("it has one");
    assert!(is_authority(host) && !host.iter().any(u8::is_ascii_uppercase));
    let (connection, upgrade, te) = (got.only("connection"), got.only("upgrade"), got.only("te"));
    assert!(match connection {
        None => upgrade.is_none() && te.is_none(),
        Some(b"upgrade") => upgrade.is_some() && te.is_none(),
        Some(b"te") => upgrade.is_none() && te == Some(b"trailers"),
        Some(_) => false,
    });
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        assert_eq!(got.only(name), None);
    }
    for name in ["x-forwarded-for", "x-forwarded-proto", "forwarded", "x-request-id"] {
        assert!(got.only(name).is_some(), "{name}");
    }
    let (length, coding) = (got.only("content-length"), got.only("transfer-encoding"));
    assert!(length.is_none() || coding.is_none());
    assert!(coding.is_none_or(|coding| coding == b"chunked"));
    got.only("cookie");
}

/// What the member gets is what the client said, but for what is not for the member.
fn check_same(said: &Message, got: &Message) {
    assert_eq!(said.line.0, got.line.0);
    assert!(said.line.1.ends_with(&got.line.1) || ["/", "*"].contains(&&*got.line.1) || got.line.1.starts_with("/?"));
    let named = said.list("connection");
    let is_ours = |name: &str| OURS.contains(&name);
    let is_of_connection = |name: &str| {
        ["keep-alive", "proxy-connection", "http2-settings"].contains(&name)
            || named.iter().any(|named| named == name) && !FOR_ALL.contains(&name)
    };
    let is_passed_on = |name: &str| !is_ours(name) && !is_of_connection(name) && name != "cookie";
    let passed_on =
        |fields: &Fields| -> Fields { fields.iter().filter(|field| is_passed_on(&field.0)).cloned().collect() };
    let without = |fields: Fields, name: &str| -> Fields {
        fields.into_iter().filter(|field| !field.0.starts_with(name)).collect()
    };
    // Those of a certificate are for whom they come from to say.
    let (mut expected, mut passed) = (passed_on(&said.fields), passed_on(&got.fields));
    (expected, passed) = (without(expected, "client-cert"), without(passed, "client-cert"));
    assert_eq!(passed, expected);
    for (name, _) in &got.fields {
        assert!(is_ours(name) || !is_of_connection(name), "{name}");
    }
    let mut cookies = said.all("cookie");
    let has_cookies = !cookies.is_empty();
    cookies.retain(|cookie| !cookie.is_empty());
    assert_eq!(got.only("cookie"), has_cookies.then(|| cookies.join(&b"; "[..])).as_deref());
}

/// Whatever the client says of its content, the member learns where it ends, and of nothing behind it.
fn check_content(bytes: &[u8], sent: &[u8]) {
    let got = Message::read(sent, ROOM).expect("it was read before");
    let got_content = content(&got, sent);
    if let Ok((.., length)) = got_content {
        assert_eq!(length, sent.len(), "it was sent more than one request");
    }
    let Some(said) = Message::read(bytes, LIMITS) else { return };
    let said_content = content(&said, bytes);
    match (said_content, got_content) {
        (Ok((said, trailers, _)), Ok((got, got_trailers, _))) => assert_eq!((got, got_trailers), (said, trailers)),
        (Err(_), Err(NoBody::Incomplete)) => {}
        (said, got) => panic!("of {said:?} came {got:?}"),
    }
}

/// Content, trailers that may be, and where it ends.
fn content(message: &Message, bytes: &[u8]) -> Result<(Vec<u8>, HeaderMap, usize), NoBody> {
    let rest = &bytes[message.head_length..];
    if message.only("transfer-encoding").is_some() {
        let body = reference::chunked(rest, LIMITS)?;
        let mut trailers = HeaderMap::new();
        for (name, value) in body.trailers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("httparse checks names");
            trailers.append(name, value.try_into().expect("httparse checks values"));
        }
        return Ok((body.content, decoder::allowed(trailers), message.head_length + body.length));
    }
    let length = message.only("content-length").map_or("0", |length| std::str::from_utf8(length).expect("digits"));
    let content = length.parse().ok().and_then(|length: usize| rest.get(..length)).ok_or(NoBody::Incomplete)?;
    Ok((content.to_vec(), HeaderMap::new(), message.head_length + content.len()))
}

/// Coming through once more, it stays as it is, but for the lists to which every proxy adds.
fn check_again(sent: &[u8], client: &Client) {
    let Some(again) = run(pass(sent, client)) else {
        let once = Message::read(sent, ROOM).expect("it was read before");
        let is_too_large = once.head_length > LIMITS.bytes || once.fields.len() > LIMITS.fields;
        assert!(is_too_large || once.list("via").len() > 16, "what was accepted once is refused");
        return;
    };
    let but_lists = |bytes: &[u8]| {
        let message = Message::read(bytes, ROOM).expect("what a member gets has a head");
        let lists = ["via", "x-forwarded-for", "forwarded"];
        let fields: Fields = message.fields.iter().filter(|field| !lists.contains(&&*field.0)).cloned().collect();
        (message.line.clone(), fields)
    };
    assert_eq!(but_lists(&again), but_lists(sent));
    check_content(sent, &again);
}
