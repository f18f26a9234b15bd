//! What a line of many parts gets wrong where two of them meet: back-pressure, tunnels, drains, and members that refuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::certificates::Authority;
use crate::support::{Host, Member, PATIENCE, fed, whole};

const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
const OFFER: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";

/// Reads up to the end of a head, and no byte more.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.expect("a head comes").expect("the head is whole"));
    }
    String::from_utf8(head).unwrap()
}

async fn exactly(stream: &mut (impl AsyncRead + Unpin), length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("bytes come").expect("they are all there");
    bytes
}

/// A member that hands out its connections, to be played by the test.
async fn played() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A host with one pool that has only this member.
async fn before(member: SocketAddr, pool: &str, vip: &str) -> Host {
    let vip = format!("pool = \"blue\"\n{vip}");
    Host::with().pool_at("blue", &[member], pool).vip("web", &vip).workers(1).start().await
}

/// A member that speaks HTTP/2 in plain text.
async fn http2<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> A + Clone + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = played().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                let mut connection = builder.enable_connect_protocol().handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond));
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_may_be_silent_for_longer_than_a_request() {
    let (member, address) = played().await;
    let host = before(address, "response_timeout = \"200ms\"", "client_timeout = \"200ms\"\nclient_rate_min = 0").await;
    let mut client = TcpStream::connect(host.address()).await.unwrap();
    client.write_all(OFFER).await.unwrap();
    let (mut stream, _) = member.accept().await.unwrap();
    head(&mut stream).await;
    stream.write_all(SWITCHED).await.unwrap();
    head(&mut client).await;
    // Nothing is to be seen of a tunnel that is not cut but that it goes on.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stream.write_all(b"late").await.unwrap();
    assert_eq!(exactly(&mut client, 4).await, b"late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_goes_on_after_a_client_that_was_full() {
    const BYTES: usize = 32 * 1024 * 1024;
    let (member, address) = played().await;
    let host = before(address, "", "").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut client = socket.connect(host.address()).await.unwrap();
    client.write_all(OFFER).await.unwrap();
    let (mut stream, _) = member.accept().await.unwrap();
    head(&mut stream).await;
    stream.write_all(SWITCHED).await.unwrap();
    head(&mut client).await;
    tokio::spawn(async move { stream.write_all(&vec![b'a'; BYTES]).await });
    exactly(&mut client, BYTES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_offers_an_upgrade_keeps_its_content() {
    let (member, address) = played().await;
    let host = before(address, "", "").await;
    let mut client = TcpStream::connect(host.address()).await.unwrap();
    let request =
        b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\ncontent-length: 4\r\n\r\nbody";
    client.write_all(&[request, &b"ahead"[..]].concat()).await.unwrap();
    let (mut stream, _) = member.accept().await.unwrap();
    let head_of_request = head(&mut stream).await;
    assert!(head_of_request.contains("content-length: 4\r\n"), "{head_of_request}");
    assert_eq!(exactly(&mut stream, 4).await, b"body");
    stream.write_all(&[SWITCHED, b"hello"].concat()).await.unwrap();
    assert_eq!(exactly(&mut stream, 5).await, b"ahead");
    head(&mut client).await;
    assert_eq!(exactly(&mut client, 5).await, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_http2_switches_no_protocols_unasked() {
    let address = http2(|_, mut respond| async move {
        let _ = respond.send_informational(Response::builder().status(101).body(()).unwrap());
        let _ = respond.send_response(Response::new(()), true);
    })
    .await;
    let host = before(address, "protocol = \"http2\"", "").await;
    assert_eq!(host.get("/", &[]).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_http2_gives_a_final_answer_after_some_interim_ones() {
    let address = http2(|_, mut respond| async move {
        for _ in 0..100 {
            let _ = respond.send_informational(Response::builder().status(103).body(()).unwrap());
        }
        let _ = respond.send_response(Response::new(()), true);
    })
    .await;
    let host = before(address, "protocol = \"http2\"", "").await;
    assert_eq!(host.get("/", &[]).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_refuses_every_stream_is_not_asked_for_ever() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let address = http2(move |request, mut respond| {
        let counted = counted.clone();
        async move {
            if request.uri().path() == "/first" {
                let _ = respond.send_response(Response::new(()), true);
            } else {
                counted.fetch_add(1, Ordering::Relaxed);
                respond.send_reset(Reason::REFUSED_STREAM);
            }
        }
    })
    .await;
    let host = before(address, "protocol = \"http2\"", "").await;
    assert_eq!(host.get("/first", &[]).await.status, StatusCode::OK);
    let refused = timeout(PATIENCE, host.get("/", &[])).await.expect("there is an answer").status;
    assert_eq!(refused, StatusCode::BAD_GATEWAY);
    assert!(asked.load(Ordering::Relaxed) < 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_to_a_member_of_http2_may_be_an_upgrade() {
    let address = http2(|_, mut respond| async move {
        let mut sending = respond.send_response(Response::new(()), false).unwrap();
        let _ = sending.send_data(Bytes::from_static(b"hello"), true);
    })
    .await;
    let host = before(address, "protocol = \"http2\"", "").await;
    for protocol in ["websocket", "chat"] {
        let mut client = TcpStream::connect(host.address()).await.unwrap();
        let offer = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        client.write_all(offer.as_bytes()).await.unwrap();
        let answer = head(&mut client).await;
        assert!(
            answer.starts_with("HTTP/1.1 101 ") && answer.contains(&format!("upgrade: {protocol}\r\n")),
            "{answer}"
        );
        assert_eq!(exactly(&mut client, 5).await, b"hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_one_connection_together_and_not_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new().ca_path(folder.path());
    // Accepts, and never speaks.
    let (_member, address) = played().await;
    let pool = format!("protocol = \"http2\"\nconnect_timeout = \"1s\"\n[pools.blue.tls]\nca = {ca:?}");
    let host = before(address, &pool, "").await;
    let began = Instant::now();
    let address = host.address();
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        asking.spawn(crate::support::send_raw(address, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
    }
    assert!(asking.join_all().await.iter().all(|answer| answer.starts_with("HTTP/1.1 502 ")));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_sent_ahead_is_served_before_the_host_leaves() {
    let (feed, content) = fed();
    let content = Arc::new(std::sync::Mutex::new(Some(content)));
    let member = Member::answering(move |_: Request<Incoming>| {
        let content = content.lock().unwrap().take().unwrap_or_else(|| whole("second"));
        async move { Response::new(content) }
    })
    .await;
    let mut host = before(member.address, "", "").await;
    let mut client = TcpStream::connect(host.address()).await.unwrap();
    client.write_all(&b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".repeat(2)).await.unwrap();
    head(&mut client).await;
    feed.send("first").await.unwrap();
    let address = host.address();
    let app = host.app.take().unwrap();
    let leaving = tokio::spawn(app.leave());
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(feed);
    let mut rest = String::new();
    timeout(PATIENCE, client.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert!(rest.ends_with("second"), "{rest}");
    assert!(leaving.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_said_nothing_does_not_keep_the_host() {
    let member = Member::named("blue").await;
    let mut host = before(member.address, "", "").await;
    let _silent = TcpStream::connect(host.address()).await.unwrap();
    assert_eq!(host.get("/", &[]).await.body, "blue");
    let began = Instant::now();
    host.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pauses_is_not_the_members_fault() {
    let (http1, echo2) = (Member::echoing().await, http2(read_all).await);
    for (address, protocol) in [(http1.address, "http1"), (echo2, "http2")] {
        let pool = format!("protocol = \"{protocol}\"\nresponse_timeout = \"300ms\"");
        let host = before(address, &pool, "").await;
        let mut client = TcpStream::connect(host.address()).await.unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.write_all(b"b").await.unwrap();
        let answer = head(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{protocol}: {answer}");
    }
}

async fn read_all(mut request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    while request.body_mut().data().await.is_some() {}
    let _ = respond.send_response(Response::new(()), true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_takes_no_streams_cannot_be_reached() {
    let (member, address) = played().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = member.accept().await.unwrap();
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                let mut connection = builder.max_concurrent_streams(0).handshake::<_, Bytes>(stream).await.unwrap();
                while connection.accept().await.is_some() {}
            });
        }
    });
    let host = before(address, "protocol = \"http2\"\nresponse_timeout = \"5s\"", "").await;
    assert_eq!(host.get("/", &[]).await.status, StatusCode::BAD_GATEWAY);
}

/// A client's end of an HTTP/2 connection.
async fn http2_client(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests.ready().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_counted_in_http2_as_well_and_crumbs_of_cookies_are_not() {
    let host = before(http2(read_all).await, "protocol = \"http2\"", "").await;
    let mut client = http2_client(host.address()).await;
    for (name, status) in [("x-a", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), ("cookie", StatusCode::OK)] {
        let mut request = Request::get("http://a/").body(()).unwrap();
        for number in 0..150 {
            request.headers_mut().append(name, format!("a{number}=1").parse().unwrap());
        }
        let (answer, _) = client.send_request(request, true).unwrap();
        assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), status, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http2_that_sleeps_does_not_keep_the_host() {
    let member = Member::named("blue").await;
    let mut host = before(member.address, "", "").await;
    let mut client = TcpStream::connect(host.address()).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Its SETTINGS: it serves.
    exactly(&mut client, 9).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_http2_is_told_how_its_connection_is_secured() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (cert, key) = authority.issue(folder.path(), "blue", &["127.0.0.1"]);
    let (cert, key) = (CertificateDer::from_pem_file(cert).unwrap(), PrivateKeyDer::from_pem_file(key).unwrap());
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key);
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (member, address) = played().await;
    let pool = format!("protocol = \"http2\"\n[pools.blue.tls]\nca = {:?}", authority.ca_path(folder.path()));
    let host = before(address, &pool, "").await;
    let played = tokio::spawn(async move {
        let (stream, _) = member.accept().await.unwrap();
        let stream = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_response(Response::new(()), true).unwrap();
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        request.uri().to_string()
    });
    assert_eq!(host.get("/", &[]).await.status, StatusCode::OK);
    assert_eq!(played.await.unwrap(), "https://web.example/");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_needs_a_host() {
    let member = Member::named("blue").await;
    let host = before(member.address, "", "redirect_to_https = true").await;
    for request in
        ["GET /evil.example/ HTTP/1.0\r\n\r\n", "GET /evil.example/ HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n"]
    {
        let answer = crate::support::send_raw(host.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("location"), "{answer}");
    }
}
