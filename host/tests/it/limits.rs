//! What clients may take, and what becomes of those that take more: others are not kept waiting for them.

use std::sync::Arc;

use futures_util::stream;
use h2::Reason;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::peers::{PAIRS, Speaks, dial, http2, in_front_of, streams};
use crate::support::{Answer, Body, Host, Member, fed, in_time, send_raw, until, whole};

/// Shorter than any default, and long enough for a busy machine.
const IMPATIENT: &str = "pool = \"blue\"\nclient_timeout = \"400ms\"\nclient_rate_min = 0";

async fn host(member: &Member, vip: &str) -> Host {
    Host::with().workers(1).pool("blue", &[member]).vip("web", vip).start().await
}

/// Content without end; tells when nobody wants it any more.
struct Endless(mpsc::UnboundedSender<()>);

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A member that answers `/endless` without end, and all else at once.
async fn endless() -> (Member, mpsc::UnboundedReceiver<()>) {
    let (told, ended) = mpsc::unbounded_channel();
    let member = Member::answering(move |request: Request<Incoming>| {
        let told = told.clone();
        async move {
            if request.uri().path() != "/endless" {
                return Response::new(whole("at once"));
            }
            let pieces = stream::repeat_with({
                let endless = Endless(told);
                move || {
                    let _ = &endless;
                    Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))
                }
            });
            Response::new(BodyExt::boxed(StreamBody::new(pieces)))
        }
    })
    .await;
    (member, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_so_and_those_before_it_are_served() {
    let member = Member::named("blue").await;
    for limits in ["connections_max = 1", "connections_max = 9\nconnections_per_client_max = 1"] {
        let listener = format!("[listeners.few]\naddress = \"127.0.0.1:0\"\n{limits}\n");
        let vip = "[vips.web]\nlisten = \"few\"\npool = \"blue\"\n";
        let host = Host::with().workers(1).pool("blue", &[&member]).config(&(listener + vip)).start().await;
        let mut first = TcpStream::connect(host.address()).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        first.write_all(request).await.unwrap();
        first.readable().await.unwrap();

        let refused = send_raw(host.address(), request).await;
        let (head, content) = refused.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nretry-after: 1\r\n"), "{refused}");
        assert!(head.ends_with(&format!("\r\ncontent-length: {}", content.len())), "{refused}");
        let last = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        first.write_all(last).await.unwrap();
        let mut answers = String::new();
        first.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_as_they_are_sent() {
    for (client, member) in PAIRS {
        let (feed, events) = fed();
        let events = Arc::new(std::sync::Mutex::new(Some(events)));
        let (host, _member) = in_front_of(member, move |_| {
            let events: Body = events.lock().unwrap().take().expect("one request");
            let response = Response::builder().header("content-type", "text/event-stream").body(events).unwrap();
            async move { response }
        })
        .await;
        let request = Request::get("http://web.example/events").body(whole("")).unwrap();
        let mut answer = client.ask(host.address(), request).await.into_body();
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            feed.send(event).await.unwrap();
            let piece = in_time("an event", answer.frame()).await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(piece, event, "{client:?} to {member:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_ended_and_nobody_waits_for_it() {
    let (member, mut ended) = endless().await;
    let host = host(&member, IMPATIENT).await;
    let mut stream = dial(host.address()).await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until("it is served", || host.app().switch.current.get().flights.in_flight() == 1).await;
    while ended.try_recv().is_err() {
        assert_eq!(host.get("/", &[]).await.body, "at once");
    }
    until("the request is over", || host.app().switch.current.get().flights.in_flight() == 0).await;
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_read_is_ended_and_others_of_its_connection_go_on() {
    let (member, mut ended) = endless().await;
    let host = host(&member, IMPATIENT).await;
    let mut client = streams(dial(host.address()).await).await;
    let get = |path: &str| Request::get(format!("http://web.example{path}")).body(()).unwrap();
    let (answer, _) = client.send_request(get("/endless"), true).unwrap();
    let mut unread = in_time("the answer's head", answer).await.unwrap().into_body();
    while ended.try_recv().is_err() {
        let (answer, _) = client.send_request(get("/"), true).unwrap();
        let mut content = in_time("an answer", answer).await.unwrap().into_body();
        assert_eq!(content.data().await.unwrap().unwrap(), "at once");
        content.flow_control().release_capacity(7).unwrap();
    }
    let error = in_time("the end", async {
        loop {
            match unread.data().await {
                Some(Ok(_)) => {}
                other => return other.map(|data| data.map(drop)),
            }
        }
    });
    assert_eq!(error.await.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stops_is_a_408() {
    let member = Member::echoing().await;
    let host = host(&member, IMPATIENT).await;
    let began = Instant::now();
    let half = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf";
    let answer = send_raw(host.address(), half).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(began.elapsed().as_millis() >= 400);

    let (feed, body) = fed();
    feed.send("half").await.unwrap();
    let request = Request::post("http://web.example/").body(body).unwrap();
    assert_eq!(Speaks::Http2.ask(host.address(), request).await.status(), 408);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_too_long_is_a_413() {
    let member = Member::echoing().await;
    let host = host(&member, "pool = \"blue\"\nrequest_body_max = \"1KiB\"").await;
    for client in [Speaks::Http1, Speaks::Http2] {
        for (bytes, status) in [(1024, 200), (1025, 413)] {
            let known = whole("x".repeat(bytes));
            let pieces = [Ok(Frame::data(Bytes::from("x".repeat(bytes - 1)))), Ok(Frame::data("x".into()))];
            let unknown: Body = BodyExt::boxed(StreamBody::new(stream::iter(pieces)));
            for body in [known, unknown] {
                let request = Request::post("http://web.example/").body(body).unwrap();
                assert_eq!(client.ask(host.address(), request).await.status(), status, "{client:?}, {bytes} bytes");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_too_long_is_refused_before_it_is_sent() {
    let member = Member::echoing().await;
    let host = host(&member, "pool = \"blue\"\nrequest_body_max = \"1KiB\"").await;
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\nexpect: 100-continue\r\n\r\n";
    let answer = send_raw(host.address(), head).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_too_many_is_told_to_come_again() {
    let gate = Arc::new(Notify::new());
    let opens = gate.clone();
    let member = Member::answering(move |request: Request<Incoming>| {
        let gate = gate.clone();
        async move {
            if request.uri().path() == "/wait" {
                gate.notified().await;
            }
            Response::new(whole("served"))
        }
    })
    .await;
    let host = host(&member, "pool = \"blue\"\nrequests_max = 1").await;
    let mut client = http2(dial(host.address()).await).await;
    let get = |path: &str| Request::get(format!("http://web.example{path}")).body(whole("")).unwrap();
    let waiting = tokio::spawn(client.send_request(get("/wait")));
    until("it is served", || host.app().switch.current.get().flights.in_flight() == 1).await;
    for client in [Speaks::Http1, Speaks::Http2] {
        let answer = Answer::of(client.ask(host.address(), get("/")).await).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    }
    opens.notify_one();
    assert_eq!(Answer::of(waiting.await.unwrap().unwrap()).await.body, "served");
    until("it is over", || host.app().switch.current.get().flights.in_flight() == 0).await;
    assert_eq!(host.get("/", &[]).await.body, "served");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_head_is_a_408_and_silence_an_end() {
    let member = Member::echoing().await;
    let keys = "head_timeout = \"300ms\"\nidle_timeout = \"300ms\"";
    let host = Host::with().pool("blue", &[&member]).front(keys, "pool = \"blue\"").start().await;
    let answer = send_raw(host.address(), b"GET / HTTP/1.1\r\nho").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(send_raw(host.address(), b"").await, "");
    // After an answer, the connection may be idle for as long.
    let answer = send_raw(host.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    let (_asks, silent) = h2::client::handshake(dial(host.address()).await).await.unwrap();
    in_time("an end", silent).await.unwrap();
}
