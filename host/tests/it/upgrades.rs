//! Connections that become something else: WebSocket and other protocols, over either version on either side.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::peers::{PAIRS, Speaks, dial, http2, in_front, in_front_of};
use crate::support::{Answer, Body, Host, Member, Wire, echo, in_time, read_head, send_raw, whole};

/// Sends back what it gets.
async fn echo_messages(mut socket: WebSocketStream<impl Wire>) {
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_close() && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// A member that sends back what it gets over WebSocket.
async fn web_socket_member(speaks: Speaks) -> Member {
    match speaks {
        Speaks::Http1 => {
            Member::accepting(|stream| async move {
                if let Ok(socket) = accept_async(stream).await {
                    echo_messages(socket).await;
                }
            })
            .await
        }
        Speaks::Http2 => Member::speaking(speaks, accept_over_http2).await,
    }
}

async fn accept_over_http2(mut request: Request<Incoming>) -> Response<Body> {
    // RFC 8441, 5: the handshake's own fields are left out.
    let is_asked = request.extensions().get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
        && !request.headers().contains_key("sec-websocket-key")
        && request.headers()["sec-websocket-version"] == "13";
    if !is_asked {
        return Response::builder().status(400).body(whole(format!("{request:?}"))).unwrap();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrade.await.unwrap());
        echo_messages(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await;
    });
    Response::new(whole(""))
}

/// Opens a tunnel by an extended CONNECT (RFC 8441, 4).
async fn connect(host: &Host, protocol: &'static str) -> Response<Incoming> {
    let mut client = http2(dial(host.address()).await).await;
    // The settings say whether it may be asked for; they have come when an answer has.
    let request = Request::get("http://web.example/").body(whole("")).unwrap();
    let _ = Answer::of(in_time("an answer", client.send_request(request)).await.unwrap()).await;
    let request = Request::builder().method(Method::CONNECT).uri("http://web.example/chat");
    let request = request.extension(Protocol::from_static(protocol)).header("sec-websocket-version", "13");
    let answer = in_time("an answer", client.send_request(request.body(whole("")).unwrap())).await.unwrap();
    // The connection lasts as long as its sender.
    tokio::spawn(async move {
        let _client = client;
        std::future::pending::<()>().await;
    });
    answer
}

async fn open(client: Speaks, host: &Host) -> WebSocketStream<Box<dyn Wire>> {
    match client {
        Speaks::Http1 => {
            let stream: Box<dyn Wire> = Box::new(dial(host.address()).await);
            in_time("a web socket", client_async("ws://web.example/chat", stream)).await.unwrap().0
        }
        Speaks::Http2 => {
            let answer = connect(host, "websocket").await;
            assert_eq!(answer.status(), 200);
            assert!(
                !answer.headers().contains_key("sec-websocket-accept") && !answer.headers().contains_key("upgrade")
            );
            let stream: Box<dyn Wire> = Box::new(TokioIo::new(hyper::upgrade::on(answer).await.unwrap()));
            WebSocketStream::from_raw_socket(stream, Role::Client, None).await
        }
    }
}

async fn exchange(socket: &mut WebSocketStream<Box<dyn Wire>>, message: Message) {
    socket.send(message.clone()).await.unwrap();
    assert_eq!(in_time("a message", socket.next()).await.unwrap().unwrap(), message);
}

#[tokio::test(flavor = "multi_thread")]
async fn web_sockets_pass_whatever_either_side_speaks() {
    for (client, speaks) in PAIRS {
        let member = web_socket_member(speaks).await;
        let host = in_front(&member, speaks).await;
        let mut socket = open(client, &host).await;
        exchange(&mut socket, Message::text("hello")).await;
        exchange(&mut socket, Message::binary(vec![7; 1_000_000])).await;
        exchange(&mut socket, Message::text("again")).await;
        socket.close(None).await.unwrap();
        let end = in_time("the end", socket.next()).await;
        assert!(end.is_none_or(|end| end.is_ok_and(|message| message.is_close())), "{client:?} to {speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_leaves_tunnels_alone() {
    for client in [Speaks::Http1, Speaks::Http2] {
        let (blue, green) = (web_socket_member(Speaks::Http1).await, Member::named("green").await);
        let host = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
        let host = host.vip("web", "pool = \"blue\"").start().await;
        let mut socket = open(client, &host).await;
        exchange(&mut socket, Message::text("before")).await;
        let (status, _) = host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
        assert_eq!((status, &*host.get("/", &[]).await.body), (StatusCode::OK, "green"));
        exchange(&mut socket, Message::text("after")).await;
        host.control("POST", "/v1/back", "").await;
        exchange(&mut socket, Message::text("back")).await;
    }
}

const ASK: &[u8] = b"GET /chat HTTP/1.1\r\nhost: web.example\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

/// A member that answers plain requests, switches to `echo`, says `hello`, and then does as it is told.
pub(crate) async fn switching<F, A>(then: F) -> Member
where
    F: Fn(tokio::net::TcpStream) -> A + Copy + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    Member::accepting(move |mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            if head.contains("upgrade: echo\r\n") {
                // Both at once: what follows the head is the tunnel's already.
                stream.write_all(&[SWITCH, b"hello"].concat()).await.unwrap();
                return then(stream).await;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await
}

/// Opens a tunnel of `echo`, having sent `early` ahead of the switch.
pub(crate) async fn tunnel(client: Speaks, host: &Host, early: &[u8]) -> Box<dyn Wire> {
    let mut stream: Box<dyn Wire> = match client {
        Speaks::Http1 => {
            let mut stream = dial(host.address()).await;
            stream.write_all(&[ASK, early].concat()).await.unwrap();
            let head = in_time("a switch", read_head(&mut stream)).await.unwrap();
            assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nupgrade: echo\r\n"), "{head}");
            Box::new(stream)
        }
        Speaks::Http2 => {
            let answer = connect(host, "echo").await;
            assert_eq!(answer.status(), 200);
            let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
            stream.write_all(early).await.unwrap();
            Box::new(stream)
        }
    };
    let mut hello = [0; 5];
    in_time("a greeting", stream.read_exact(&mut hello)).await.unwrap();
    assert_eq!(&hello, b"hello");
    stream
}

async fn rest(mut stream: impl Wire) -> String {
    let mut rest = String::new();
    in_time("the end", stream.read_to_string(&mut rest)).await.unwrap();
    rest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_ended_its_side_of_a_tunnel_gets_the_rest() {
    let member = switching(|mut stream| async move {
        let mut got = String::new();
        stream.read_to_string(&mut got).await.unwrap();
        stream.write_all(format!("got {got}").as_bytes()).await.unwrap();
    })
    .await;
    let host = in_front(&member, Speaks::Http1).await;
    for client in [Speaks::Http1, Speaks::Http2] {
        let mut stream = tunnel(client, &host, b"early").await;
        stream.write_all(b" and late").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(rest(stream).await, "got early and late", "{client:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_has_ended_its_side_of_a_tunnel_gets_the_rest() {
    let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let told: &'static _ = Box::leak(Box::new(told));
    let member = switching(move |mut stream| async move {
        stream.shutdown().await.unwrap();
        told.send(rest(stream).await).unwrap();
    })
    .await;
    let host = in_front(&member, Speaks::Http1).await;
    for client in [Speaks::Http1, Speaks::Http2] {
        let mut stream = tunnel(client, &host, b"").await;
        assert_eq!(in_time("the member's end", stream.read(&mut [0])).await.unwrap(), 0);
        stream.write_all(b"still here").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(in_time("the rest", seen.recv()).await.unwrap(), "still here", "{client:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_lasts_as_long_as_something_passes_and_a_time_beyond() {
    let timeout = Duration::from_millis(200);
    let member = switching(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"\ntunnel_timeout = \"200ms\"");
    let host = host.start().await;
    for client in [Speaks::Http1, Speaks::Http2] {
        let mut stream = tunnel(client, &host, b"").await;
        let began = Instant::now();
        while began.elapsed() < timeout * 2 {
            stream.write_all(b"x").await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'x');
        }
        let silent = Instant::now();
        assert!(matches!(in_time("the end", stream.read(&mut [0])).await, Ok(0) | Err(_)), "{client:?}");
        assert!(silent.elapsed() >= timeout - Duration::from_millis(20), "{:?}", silent.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_upgrade_is_refused_goes_on() {
    let (host, _member) = in_front_of(Speaks::Http1, |request: Request<Incoming>| async move {
        let status = request.uri().path()[1..].parse().unwrap_or(StatusCode::OK);
        Response::builder().status(status).body(whole("no")).unwrap()
    })
    .await;
    for status in ["403", "200"] {
        let both = format!(
            "GET /{status} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\
             GET /404 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        );
        let answers = send_raw(host.address(), both.as_bytes()).await;
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")) && answers.contains("HTTP/1.1 404 "), "{answers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extended_connect_that_is_not_taken_up_does_not_look_like_a_tunnel() {
    // RFC 8441, 4: any 2xx would be one.
    for (path, expected) in [(StatusCode::FORBIDDEN, 403), (StatusCode::OK, 501)] {
        let (host, _member) =
            in_front_of(
                Speaks::Http1,
                move |_| async move { Response::builder().status(path).body(whole("no")).unwrap() },
            )
            .await;
        let answer = connect(&host, "websocket").await;
        assert_eq!(answer.status(), expected);
        assert!(!in_time("the content", Answer::of(answer)).await.body.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_beside_an_upgrade_arrives() {
    // RFC 9110, 7.8: a request may have content and offer to switch; the member need not.
    let (host, _member) = in_front_of(Speaks::Http1, echo).await;
    let request = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: echo\r\ncontent-length: 7\r\n\r\ncontent";
    let answer = send_raw(host.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\n\ncontent"), "{answer}");
}
