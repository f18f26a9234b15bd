//! Listeners that come and go with releases: nobody who was let in is turned out.

use std::net::SocketAddr;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::peers::{Speaks, dial, http2};
use crate::support::{Answer, Body, Host, Member, fed, in_time, nobody, read_head, until, whole};

/// A host whose vip is reached at these addresses beside its own.
async fn host(member: &Member, more: &[SocketAddr]) -> Host {
    let listen: Vec<_> = more.iter().map(|address| format!(", \"{address}\"")).collect();
    let vip = format!("[vips.web]\npool = \"blue\"\nlisten = [\"127.0.0.1:0\"{}]", listen.concat());
    Host::with().pool("blue", &[member]).config(&vip).start().await
}

fn edit(host: &Host, from: &str, to: &str) {
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(host.config_path(), text.replace(from, to)).unwrap();
}

fn listens(address: SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

fn get() -> Request<Body> {
    Request::get("http://web.example/").body(whole("")).unwrap()
}

/// A member that answers with what is fed to it, one body a request.
async fn feeding() -> (Member, mpsc::UnboundedReceiver<mpsc::Sender<&'static str>>) {
    let (feeds, fed_by) = mpsc::unbounded_channel();
    let member = Member::answering(move |_: Request<Incoming>| {
        let (feed, body) = fed();
        feeds.send(feed).unwrap();
        async move { Response::new(body) }
    })
    .await;
    (member, fed_by)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_there_before_the_release_that_has_it() {
    let (member, address) = (Member::named("blue").await, nobody());
    let host = host(&member, &[]).await;
    assert!(!listens(address));
    edit(&host, "listen = [\"127.0.0.1:0\"", &format!("listen = [\"127.0.0.1:0\", \"{address}\""));
    // Whoever connects as soon as that is possible waits until the release serves.
    let mut stream = std::net::TcpStream::connect(address);
    until("somebody listens", || {
        stream = std::net::TcpStream::connect(address);
        stream.is_ok()
    })
    .await;
    let stream = stream.unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    assert_eq!(Answer::of(Speaks::Http1.ask_on(stream, get()).await).await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_at_a_listener_that_goes_are_finished() {
    for client in [Speaks::Http1, Speaks::Http2] {
        let ((member, mut feeds), address) = (feeding().await, nobody());
        let host = host(&member, &[address]).await;
        let asked = tokio::spawn(client.ask(address, get()));
        let feed = in_time("a request", feeds.recv()).await.unwrap();
        feed.send("before, ").await.unwrap();
        let mut answer = asked.await.unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "before, ");
        edit(&host, &format!(", \"{address}\""), "");
        until("nobody listens there", || !listens(address)).await;
        feed.send("after").await.unwrap();
        drop(feed);
        assert_eq!(in_time("the rest", answer.collect()).await.unwrap().to_bytes(), "after", "{client:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_a_listener_that_goes_are_closed_and_others_are_not() {
    let (member, address) = (Member::named("blue").await, nobody());
    let host = host(&member, &[address]).await;
    let (mut going, mut staying) = (dial(address).await, dial(host.app().address("web").unwrap()).await);
    let ask = async |stream: &mut tokio::net::TcpStream| {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let head = in_time("an answer", read_head(stream)).await.unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && &body == b"blue", "{head}");
    };
    ask(&mut going).await;
    ask(&mut staying).await;
    let mut over_http2 = http2(dial(address).await).await;
    assert_eq!(over_http2.send_request(get()).await.unwrap().status(), 200);
    edit(&host, &format!(", \"{address}\""), "");
    assert_eq!(in_time("the end", going.read(&mut [0])).await.unwrap(), 0);
    in_time("the end", async { while over_http2.send_request(get()).await.is_ok() {} }).await;
    ask(&mut staying).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn back_brings_a_listener_back() {
    let (member, address) = (Member::named("blue").await, nobody());
    let host = host(&member, &[address]).await;
    edit(&host, &format!(", \"{address}\""), "");
    until("nobody listens there", || !listens(address)).await;
    assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
    assert_eq!(Answer::of(Speaks::Http1.ask(address, get()).await).await.body, "blue");
    assert_eq!(host.control("POST", "/v1/forward", "").await.0, 200);
    until("nobody listens there again", || !listens(address)).await;
}
