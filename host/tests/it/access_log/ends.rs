//! Every way an exchange can end has its line, and its fault.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt, stream};
use h2::Reason;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Request, Response};
use serde_json::Value;
use socket2::SockRef;
use switchback_plugins as plugins;
use switchback_plugins::faulty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use super::{LOG, wait_for};
use crate::peers::{PAIRS, dial, http2, streams};
use crate::support::{Host, Member, Setup, fed, in_time, nobody, send_raw, until, whole};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: web.example\r\nconnection: close\r\n\r\n";

fn logging(member: &Member, vip: &str) -> Setup {
    Host::with().workers(1).pool("blue", &[member]).vip("web", vip).config(LOG)
}

/// A member that takes requests and never answers.
async fn silent() -> Member {
    Member::accepting(|stream| async move {
        let _stream = stream;
        std::future::pending().await
    })
    .await
}

/// The last line says this; answers it whole.
async fn ends(host: &Host, lines: usize, ended: &str, fault: &str, status: impl Into<Value>) -> Value {
    let line = wait_for(host, lines).await.pop().unwrap();
    let expected = (&Value::from(ended), &Value::from(fault), &status.into());
    assert_eq!((&line["ended"], &line["fault"], &line["status"]), expected, "{line:#}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_or_none_for_us() {
    let member = Member::named("blue").await;
    let vip = "pool = \"blue\"\nhosts = [\"web.example\"]\nrequest_body_max = \"1KiB\"";
    let host = logging(&member, vip).start().await;
    for (at, (request, ended, status)) in [
        (&b"NO REQUEST\r\n\r\n"[..], "malformed", 400),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed", 400),
        (b"GET / HTTP/1.1\r\nhost: web.example\r\ncontent-length: x\r\n\r\n", "malformed", 400),
        (b"GET / HTTP/1.1\r\nhost: other.example\r\nconnection: close\r\n\r\n", "no_vip", 404),
        (b"POST / HTTP/1.1\r\nhost: web.example\r\ncontent-length: 1025\r\n\r\n", "too_large", 413),
        (b"POST / HTTP/1.1\r\nhost: web.example\r\ntransfer-encoding: chunked\r\n\r\nno chunk\r\n", "malformed", 400),
    ]
    .into_iter()
    .enumerate()
    {
        send_raw(host.address(), request).await;
        let line = ends(&host, at + 1, ended, "client", status).await;
        assert!(!line["error"].is_null() && line["request_id"].as_str().unwrap().len() == 32, "{line:#}");
    }
    send_raw(host.address(), format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(70_000)).as_bytes()).await;
    ends(&host, 7, "too_large", "client", 431).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_here() {
    let member = Member::named("blue").await;
    let host = logging(&member, "pool = \"blue\"\nredirect_to_https = true").start().await;
    send_raw(host.address(), b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    ends(&host, 1, "answered_here", "nobody", 200).await;
    send_raw(host.address(), GET).await;
    assert_eq!(ends(&host, 2, "answered_here", "nobody", 308).await["vip"], "web");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_answers_or_cannot_decide() {
    let member = Member::named("blue").await;
    let config = "[policies.web.config]\ntexts = [\"evil\"]\npool = \"blue\"\n";
    let host = logging(&member, "policy = \"web\"").config(config).policy("web", plugins::BLOCK).start().await;
    host.get("/", &[("x-a", "evil")]).await;
    let line = ends(&host, 1, "policy_answered", "nobody", 403).await;
    assert_eq!((&line["reason"], &line["policy"]), (&"blocked by what x-a holds".into(), &"web".into()));
    assert!(line["pool"].is_null() && line["decision_time"].as_f64().unwrap() > 0.0, "{line:#}");

    let host = logging(&member, "policy = \"web\"").policy("web", faulty::TRAP).start().await;
    // It decides well for as long as it is looked at.
    let mut asked = 1;
    while host.get("/", &[]).await.status != 503 {
        asked += 1;
    }
    assert_eq!(ends(&host, asked, "undecided", "policy", 503).await["policy"], "web");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_cannot_be_reached_do_not_answer_or_break_off() {
    let closed = nobody();
    let blue = Member::named("blue").await;
    let to = async |members: &[std::net::SocketAddr]| {
        let setup = Host::with().workers(1).pool_at("blue", members, "response_timeout = \"300ms\"");
        setup.vip("web", "pool = \"blue\"").config(LOG).start().await
    };
    let host = to(&[]).await;
    assert_eq!(host.get("/", &[]).await.status, 503);
    ends(&host, 1, "no_member", "host", 503).await;

    let host = to(&[closed]).await;
    assert_eq!(host.get("/", &[]).await.status, 502);
    let line = ends(&host, 1, "member_unreached", "member", 502).await;
    assert_eq!((&line["tries"][0]["came"], &line["member"]), (&"unreached".into(), &closed.to_string().into()));
    assert!(line["error"].as_str().unwrap().contains("cannot be reached: "), "{line:#}");

    let host = to(&[closed, blue.address]).await;
    assert_eq!(host.get("/", &[]).await.body, "blue");
    let line = ends(&host, 1, "whole", "nobody", 200).await;
    let tries: Vec<_> = line["tries"].as_array().unwrap().iter().map(|tried| tried["came"].as_str().unwrap()).collect();
    assert_eq!((tries, &line["member"]), (vec!["unreached", "answered"], &blue.address.to_string().into()));

    let silent = silent().await;
    let host = to(&[silent.address]).await;
    assert_eq!(host.get("/", &[]).await.status, 504);
    assert_eq!(ends(&host, 1, "member_timeout", "member", 504).await["tries"][0]["came"], "late");

    let nonsense = Member::raw(b"nonsense\r\n\r\n").await;
    let host = to(&[nonsense.address]).await;
    assert_eq!(host.get("/", &[]).await.status, 502);
    assert_eq!(ends(&host, 1, "member_broke", "member", 502).await["tries"][0]["came"], "broke");

    let half = Member::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let host = to(&[half.address]).await;
    send_raw(host.address(), GET).await;
    let line = ends(&host, 1, "member_broke", "member", 200).await;
    assert_eq!((&line["sent_bytes"], &line["tries"][0]["came"]), (&4.into(), &"answered".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_break_off_over_either_version() {
    for (client, speaks) in PAIRS {
        let breaks = Arc::new(Notify::new());
        let told = breaks.clone();
        let member = Member::speaking(speaks, move |_| {
            let told = told.clone();
            let pieces =
                stream::iter([Ok(Frame::data(Bytes::from_static(b"piece")))]).chain(stream::once(async move {
                    told.notified().await;
                    Err(std::io::Error::other("broken"))
                }));
            async move { Response::new(BodyExt::boxed(StreamBody::new(Box::pin(pieces)))) }
        })
        .await;
        let setup = Host::with().workers(1).pool_at("blue", &[member.address], speaks.keys());
        let host = setup.vip("web", "pool = \"blue\"").config(LOG).start().await;
        let request = Request::get("http://web.example/").body(whole("")).unwrap();
        let mut answer = client.ask(host.address(), request).await.into_body();
        let piece = in_time("a piece", answer.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, "piece");
        breaks.notify_one();
        assert!(in_time("the end", answer.frame()).await.unwrap().is_err(), "{client:?} to {speaks:?}");
        let line = ends(&host, 1, "member_broke", "member", 200).await;
        assert_eq!(line["sent_bytes"], 5, "{client:?} to {speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_or_a_vip_that_has_no_room() {
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let member = Member::answering(move |_| {
        let body = body.lock().unwrap().take().expect("one request");
        async move { Response::new(body) }
    })
    .await;
    let host = logging(&member, "pool = \"blue\"\nrequests_max = 1").start().await;
    let mut first = dial(host.address()).await;
    first.write_all(GET).await.unwrap();
    first.readable().await.unwrap();
    assert_eq!(host.get("/", &[]).await.status, 503);
    ends(&host, 1, "overload", "host", 503).await;
    drop(feed);
    let mut rest = Vec::new();
    in_time("the end", first.read_to_end(&mut rest)).await.unwrap();
    ends(&host, 2, "whole", "nobody", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away() {
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let member = Member::answering(move |request: Request<_>| {
        let body = (request.uri().path() == "/fed").then(|| body.lock().unwrap().take().expect("one request"));
        async move {
            match body {
                Some(body) => Response::new(body),
                None => std::future::pending().await,
            }
        }
    })
    .await;
    let host = logging(&member, "pool = \"blue\"").start().await;

    // Before the answer, in the middle of it, and in the middle of the request.
    let mut stream = dial(host.address()).await;
    stream.write_all(GET).await.unwrap();
    until("it is served", || host.app().switch.current.get().flights.in_flight() == 1).await;
    reset(stream);
    let line = ends(&host, 1, "client_gone", "client", Value::Null).await;
    assert_eq!(line["tries"][0]["came"], "abandoned");

    let mut stream = dial(host.address()).await;
    stream.write_all(b"GET /fed HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    feed.send("piece").await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"piece\r\n") {
        in_time("a piece", stream.read_buf(&mut seen)).await.unwrap();
    }
    reset(stream);
    ends(&host, 2, "client_gone", "client", 200).await;

    let mut stream = dial(host.address()).await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
    stream.shutdown().await.unwrap();
    let line = ends(&host, 3, "client_gone", "client", 400).await;
    assert_eq!((&line["received_bytes"], &line["tries"][0]["came"]), (&4.into(), &"client_fault".into()));
}

/// Closes so that the other side is told at once.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http2_that_gives_up() {
    let silent = silent().await;
    let host = logging(&silent, "pool = \"blue\"").start().await;
    let mut client = streams(dial(host.address()).await).await;
    let request = Request::get("http://web.example/").body(()).unwrap();
    let (_answer, mut stream) = client.send_request(request, true).unwrap();
    until("it is served", || host.app().switch.current.get().flights.in_flight() == 1).await;
    stream.send_reset(Reason::CANCEL);
    ends(&host, 1, "client_gone", "client", Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_too_slow() {
    let member = Member::echoing().await;
    let vip = "pool = \"blue\"\nclient_timeout = \"100ms\"\nclient_rate_min = 0";
    let host = logging(&member, vip).start().await;
    send_raw(host.address(), b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await;
    assert_eq!(ends(&host, 1, "client_slow", "client", 408).await["received_bytes"], 4);

    let listener = "[listeners.front]\naddress = \"127.0.0.1:0\"\nhead_timeout = \"100ms\"\n";
    let setup = Host::with().pool("blue", &[&member]).config(LOG).config(listener);
    let host = setup.config("[vips.web]\nlisten = \"front\"\npool = \"blue\"").start().await;
    send_raw(host.address(), b"GET / HTT").await;
    ends(&host, 1, "client_slow", "client", 408).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read() {
    let piece = "x".repeat(1 << 20);
    let member = Member::answering(move |_| {
        let body = whole(piece.repeat(32));
        async move { Response::new(body) }
    })
    .await;
    let vip = "pool = \"blue\"\nclient_timeout = \"100ms\"\nclient_rate_min = 0";
    let host = logging(&member, vip).start().await;
    let mut stream = dial(host.address()).await;
    stream.write_all(GET).await.unwrap();
    let line = ends(&host, 1, "client_slow", "client", 200).await;
    assert!(line["sent_bytes"].as_u64().unwrap() < 32 << 20, "{line:#}");
    let mut client = http2(dial(host.address()).await).await;
    let answer = client.send_request(Request::get("http://web.example/").body(whole("")).unwrap()).await.unwrap();
    ends(&host, 2, "client_slow", "client", 200).await;
    drop((stream, answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_answers_that_are_whole() {
    // Each has room between proxy and client, and is left for the end of the round. All of them have not.
    let member = Member::answering(|_| {
        let answer = Response::builder().header("x-long", "x".repeat(20 << 10));
        async { answer.body(whole("")).unwrap() }
    })
    .await;
    let vip = "pool = \"blue\"\nclient_timeout = \"100ms\"\nclient_rate_min = 0";
    let host = logging(&member, vip).start().await;
    let mut stream = dial(host.address()).await;
    let mut asked = 0;
    let last = loop {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: web.example\r\n\r\n").await.unwrap();
        asked += 1;
        let line = wait_for(&host, asked).await.pop().unwrap();
        if line["ended"] != "whole" {
            break line;
        }
        assert!(asked < 5000, "{line:#}");
    };
    assert_eq!(
        (&last["ended"], &last["fault"], &last["status"]),
        (&"client_slow".into(), &"client".into(), &200.into())
    );
    assert!(asked > 1);
    // What it did not take is lost, and it is told so.
    let mut read = Vec::new();
    let ended = in_time("the end", stream.read_to_end(&mut read)).await;
    assert!(ended.is_err() || read.len() < asked * (20 << 10), "{}", read.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_ends_or_falls_silent() {
    let member = Member::accepting(|stream| async move {
        let Ok(mut socket) = accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_close() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let host = logging(&member, "pool = \"blue\"\ntunnel_timeout = \"300ms\"").start().await;
    let open = async || in_time("a web socket", client_async("ws://a/", dial(host.address()).await)).await.unwrap().0;
    let mut socket = open().await;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(in_time("a message", socket.next()).await.unwrap().unwrap(), Message::text("hello"));
    socket.close(None).await.unwrap();
    while in_time("the end", socket.next()).await.is_some() {}
    drop(socket);
    let line = ends(&host, 1, "whole", "nobody", 101).await;
    // A frame has two bytes before its text, a client's four more; and each side closes.
    let bytes = ["received_bytes", "sent_bytes"].map(|name| line[name].as_u64().unwrap());
    assert!(bytes[0] >= 11 && bytes[1] >= 7, "{line:#}");
    let socket = open().await;
    ends(&host, 2, "tunnel_silent", "nobody", 101).await;
    drop(socket);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_answered_early() {
    let member = Member::raw(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno").await;
    let host = logging(&member, "pool = \"blue\"").start().await;
    let mut stream = dial(host.address()).await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\nhalf").await.unwrap();
    let line = ends(&host, 1, "whole", "nobody", 401).await;
    assert_eq!((&line["sent_bytes"], &line["received_bytes"]), (&2.into(), &4.into()));
    drop(stream);
}
