use std::borrow::Borrow;
use std::sync::Arc;

use h2::server;
use hyper::Response;
use hyper::header::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::spec::check::{CheckMethod, CheckSpec, HttpCheck};

/// For what must come in time, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// For what never comes.
const TIMEOUT: Duration = Duration::from_millis(300);

fn pair(kind: CheckKind, protocol: Protocol) -> Pair<()> {
    let check = CheckSpec { kind, timeout: PATIENCE, ..CheckSpec::default() };
    check.verify().unwrap();
    Pair { member: (), check: check.into(), protocol, is_tls: false, authority: Arc::from("member.example:80") }
}

fn http(check: HttpCheck) -> Pair<()> {
    pair(CheckKind::Http(check), Protocol::Http1)
}

fn impatient(mut pair: Pair<()>) -> Pair<()> {
    pair.check = CheckSpec { timeout: TIMEOUT, ..CheckSpec::clone(&pair.check) }.into();
    pair
}

fn with_body(text: &str) -> HttpCheck {
    HttpCheck { body: Some(text.into()), ..HttpCheck::default() }
}

/// Probes a member that does this with its only connection; answers what is said of it.
async fn ask<F>(pair: impl Borrow<Pair<()>>, member: impl FnOnce(TcpStream) -> F) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async { member(listener.accept().await.unwrap().0).await };
    let serve = async {
        serve.await;
        std::future::pending().await
    };
    let said = tokio::select! {
        said = probe(pair.borrow(), TcpStream::connect(address)) => said,
        () = serve => unreachable!("it goes on after its end"),
    };
    said.map_or_else(|sick| sick.to_string(), |()| "healthy".into())
}

/// Probes a member that reads a request and answers this, however it is cut into pieces, and closes.
async fn check(check: HttpCheck, answer: &str, expected: &str) {
    let pair = http(check);
    for piece in [1, 7, 100_000] {
        // A byte at a time would take too long for large bodies.
        if answer.len() / piece > 500 {
            continue;
        }
        let answer = answer.as_bytes().to_vec();
        let said = ask(&pair, async move |mut stream: TcpStream| {
            read_request(&mut stream).await;
            for piece in answer.chunks(piece) {
                if stream.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(said.await, expected, "by {piece}");
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn an_answer_of_an_expected_status_is_good() {
    check(HttpCheck::default(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "healthy").await;
    check(HttpCheck::default(), "HTTP/1.1 204\r\n\r\n", "healthy").await;
    check(HttpCheck::default(), "HTTP/1.0 200 Fine\r\n\r\nold", "healthy").await;
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    check(HttpCheck::default(), interim, "healthy").await;
}

#[tokio::test]
async fn another_status_is_not() {
    let (not_found, unavailable) = ("HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n\r\n");
    check(HttpCheck::default(), unavailable, "expected status 200-299, got 503").await;
    let statuses = HttpCheck { statuses: "200, 404".parse().unwrap(), ..HttpCheck::default() };
    check(statuses.clone(), not_found, "healthy").await;
    check(statuses, "HTTP/1.1 204 No Content\r\n\r\n", "expected status 200, 404, got 204").await;
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
    check(HttpCheck::default(), switched, "expected status 200-299, got 101").await;
}

#[tokio::test]
async fn a_member_is_asked_as_the_check_says() {
    let asked = async |check: HttpCheck| {
        let (sender, received) = tokio::sync::oneshot::channel();
        ask(http(check), async move |mut stream: TcpStream| {
            sender.send(read_request(&mut stream).await).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        })
        .await;
        received.await.unwrap()
    };
    let rest = "User-Agent: switchback-check\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    assert_eq!(asked(HttpCheck::default()).await, format!("GET / HTTP/1.1\r\nHost: member.example:80\r\n{rest}"));
    let other = HttpCheck {
        path: "/up?deep=1".into(),
        host: Some("app.example".into()),
        method: CheckMethod::Head,
        ..HttpCheck::default()
    };
    assert_eq!(asked(other).await, format!("HEAD /up?deep=1 HTTP/1.1\r\nHost: app.example\r\n{rest}"));
}

#[tokio::test]
async fn a_text_is_found_however_the_body_is_framed() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall good",
        "HTTP/1.1 200 OK\r\n\r\nall good",
        "HTTP/1.0 200 OK\r\n\r\nall good",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nall g\r\n3\r\nood\r\n0\r\n\r\n",
        // What follows the text does not matter any more.
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nall good\r\nnonsense",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nall good",
    ] {
        check(with_body("good"), answer, "healthy").await;
    }
}

#[tokio::test]
async fn a_body_without_the_text_is_not_good() {
    let missing = "body does not contain \"ok\"";
    check(with_body("ok"), "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", missing).await;
    check(with_body("ok"), "HTTP/1.1 200 OK\r\n\r\nfine", missing).await;
    check(with_body("ok"), "HTTP/1.1 204 No Content\r\n\r\n", missing).await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=ok\r\no-\r\n1\r\nk\r\n0\r\nok: ok\r\n\r\n";
    check(with_body("ok"), chunked, missing).await;
    // What is beyond the length is not of the body.
    check(with_body("ok"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno ok", missing).await;
}

#[tokio::test]
async fn of_a_huge_body_only_the_beginning_is_read() {
    let huge = |before: usize| format!("HTTP/1.1 200 OK\r\n\r\n{}ok{}", "a".repeat(before), "b".repeat(4_000_000));
    check(with_body("ok"), &huge(BODY_BYTES_MAX - 2), "healthy").await;
    let missing = "body does not contain \"ok\" in its first 64 KiB";
    check(with_body("ok"), &huge(BODY_BYTES_MAX - 1), missing).await;
    // Nor is it read without a text: the head says all.
    check(HttpCheck::default(), &huge(0), "healthy").await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_good() {
    let early = "the answer broke off: the body ends too early";
    check(with_body("ok"), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine", early).await;
    check(with_body("ok"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n", early).await;
    let size = "the answer broke off: a chunk's size is not one";
    check(with_body("ok"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnope\r\n", size).await;
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok";
    check(with_body("ok"), both, "the answer cannot be read: it has both Content-Length and Transfer-Encoding").await;
    let closed = "closed the connection before an answer";
    for part in
        ["", "HTTP", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "HTTP/1.1 100 Continue\r\n\r\n"]
    {
        check(HttpCheck::default(), part, closed).await;
    }
}

#[tokio::test]
async fn garbage_is_shown_as_it_came() {
    let refused = |got: &str, why: &str| format!("expected an HTTP/1 answer, got \"{got}\": {why}");
    let no_status = "the status line is not one";
    let banner = "SSH-2.0-OpenSSH_9.2\r\n";
    // By its first byte already where it comes in pieces.
    for (answer, got) in [(banner, r"SSH-2.0-OpenSSH_9.2\r\n"), ("\x1b[31m\0\u{7f}", r"\x1b[31m\x00\x7f")] {
        let said = ask(http(HttpCheck::default()), async move |mut stream: TcpStream| {
            stream.write_all(answer.as_bytes()).await.unwrap();
            read_request(&mut stream).await;
        });
        assert_eq!(said.await, refused(got, no_status));
    }
    check(HttpCheck::default(), "HTTP/1.1 OK\r\n\r\n", &refused(r"HTTP/1.1 OK\r\n\r\n", no_status)).await;
    let bare = "HTTP/1.1 200 OK\n\n";
    let said = ask(http(HttpCheck::default()), async move |mut stream: TcpStream| {
        read_request(&mut stream).await;
        stream.write_all(bare.as_bytes()).await.unwrap();
    });
    assert_eq!(said.await, refused(r"HTTP/1.1 200 OK\n\n", "a line does not end in CRLF"));
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(20_000));
    let too_long =
        refused(&format!(r"HTTP/1.1 200 OK\r\nA: {}", "a".repeat(12)), "the header fields are too many or too long");
    check(HttpCheck::default(), &long, &too_long).await;
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20);
    check(HttpCheck::default(), &interim, "expected an answer, got 17 interim ones").await;
}

#[tokio::test]
async fn one_that_takes_too_long_is_told_by_how_far_it_came() {
    let late = async |answer: &'static str| {
        ask(impatient(http(with_body("ok"))), async move |mut stream: TcpStream| {
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending().await
        })
        .await
    };
    assert_eq!(late("").await, "answered nothing within 300ms");
    assert_eq!(late("H").await, "answered only in part within 300ms");
    assert_eq!(late("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\no").await, "answered only in part within 300ms");
    let connecting =
        probe(&impatient(http(HttpCheck::default())), std::future::pending::<io::Result<TcpStream>>()).await;
    assert_eq!(connecting.unwrap_err().to_string(), "not connected within 300ms");
}

#[tokio::test]
async fn one_that_drips_has_no_more_time_than_others() {
    let began = Instant::now();
    let said = ask(impatient(http(HttpCheck::default())), async move |mut stream: TcpStream| {
        for byte in b"HTTP/1.1 200 OK\r\nA: ".iter().chain(std::iter::repeat(&b'a')) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    assert_eq!(said.await, "answered only in part within 300ms");
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_member_may_end_its_side_once_it_has_answered() {
    let said = ask(http(with_body("ok")), async move |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").await.unwrap();
        stream.shutdown().await.unwrap();
        read_request(&mut stream).await;
    });
    assert_eq!(said.await, "healthy");
}

#[tokio::test]
async fn one_that_resets_the_connection_is_not_good() {
    let said = ask(http(HttpCheck::default()), async move |mut stream: TcpStream| {
        read_request(&mut stream).await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(said.await, "the connection broke: connection reset by peer");
}

#[tokio::test]
async fn a_connection_is_all_that_tcp_takes() {
    let tcp = pair(CheckKind::Tcp, Protocol::Http1);
    assert_eq!(ask(&tcp, async |_| ()).await, "healthy");
    // Where no other test listens.
    let free = TcpListener::bind("127.0.0.9:0").await.unwrap().local_addr().unwrap();
    assert_eq!(probe(&tcp, TcpStream::connect(free)).await, Err(Sick::Refused));
    let nowhere = probe(&tcp, tokio::net::UnixStream::connect("/nowhere")).await;
    assert_eq!(nowhere.unwrap_err().to_string(), "cannot be connected to: no such file or directory");
}

/// A member that speaks HTTP/2 and answers each request with this head, body and these trailers. Answers what was asked.
async fn http2(
    pair: &Pair<()>,
    head: Response<()>,
    body: &'static [u8],
    trailers: &[(&'static str, &str)],
) -> (String, String) {
    let trailers: HeaderMap =
        trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let (asked, was_asked) = tokio::sync::oneshot::channel();
    let said = ask(pair, async move |stream: TcpStream| {
        let mut connection = server::handshake(stream).await.unwrap();
        let (request, mut answer) = connection.accept().await.unwrap().unwrap();
        let (parts, mut content) = request.into_parts();
        let driving = tokio::spawn(async move { while connection.accept().await.is_some() {} });
        let mut bytes = Vec::new();
        while let Some(Ok(piece)) = content.data().await {
            bytes.extend_from_slice(&piece);
        }
        let _ = asked.send(format!("{} {} {}", parts.method, parts.uri, bytes.escape_ascii()));
        let ends = body.is_empty() && trailers.is_empty();
        let mut sending = answer.send_response(head, ends).unwrap();
        if !ends {
            sending.send_data(body.into(), trailers.is_empty()).unwrap();
            if !trailers.is_empty() {
                sending.send_trailers(trailers).unwrap();
            }
        }
        let _ = driving.await;
    });
    (said.await, was_asked.await.unwrap())
}

fn head(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut head = Response::builder().status(status);
    for (name, value) in fields {
        head = head.header(*name, *value);
    }
    head.body(()).unwrap()
}

#[tokio::test]
async fn a_pool_of_http2_is_asked_in_http2() {
    let over_http2 = |check: HttpCheck| pair(CheckKind::Http(check), Protocol::Http2);
    let (said, asked) = http2(&over_http2(HttpCheck::default()), head(200, &[]), b"fine", &[]).await;
    assert_eq!((&*said, &*asked), ("healthy", "GET http://member.example:80/ "));
    let (said, _) = http2(&over_http2(HttpCheck::default()), head(503, &[]), b"", &[]).await;
    assert_eq!(said, "expected status 200-299, got 503");
    let check = HttpCheck { host: Some("app.example".into()), path: "/up?a".into(), ..with_body("ok") };
    let (said, asked) = http2(&over_http2(check), head(200, &[]), b"it is ok", &[("x-sum", "1")]).await;
    assert_eq!((&*said, &*asked), ("healthy", "GET http://app.example/up?a "));
    let (said, _) = http2(&over_http2(with_body("ok")), head(200, &[]), b"fine", &[]).await;
    assert_eq!(said, "body does not contain \"ok\"");
    let (said, _) = http2(&over_http2(with_body("ok")), head(200, &[]), &[b'a'; 200_000], &[]).await;
    assert_eq!(said, "body does not contain \"ok\" in its first 64 KiB");
}

#[tokio::test]
async fn a_grpc_service_says_whether_it_serves() {
    let grpc = |service: &str| pair(CheckKind::Grpc { service: service.into() }, Protocol::Http2);
    let call = [("content-type", "application/grpc")];
    let good = [("grpc-status", "0")];
    let (said, asked) = http2(&grpc("shop"), head(200, &call), b"\0\0\0\0\x02\x08\x01", &good).await;
    let path = "POST http://member.example:80/grpc.health.v1.Health/Check";
    assert_eq!((said, asked), ("healthy".into(), format!(r"{path} \x00\x00\x00\x00\x06\n\x04shop")));
    let (said, _) = http2(&grpc(""), head(200, &call), b"\0\0\0\0\x02\x08\x02", &good).await;
    assert_eq!(said, "expected grpc status SERVING, got NOT_SERVING");
    let (said, _) = http2(&grpc(""), head(200, &call), b"\0\0\0\0\0", &good).await;
    assert_eq!(said, "expected grpc status SERVING, got UNKNOWN");
    let alone = [call[0], ("grpc-status", "5"), ("grpc-message", "no such service")];
    let (said, _) = http2(&grpc("shop"), head(200, &alone), b"", &[]).await;
    assert_eq!(said, "grpc-status 5 NOT_FOUND: no such service");
    let (said, _) = http2(&grpc(""), head(200, &call), b"\0\0\0\0\x02\x08\x01", &[("grpc-status", "14")]).await;
    assert_eq!(said, "grpc-status 14 UNAVAILABLE");
}

#[tokio::test]
async fn what_is_no_answer_to_a_call_is_said() {
    let grpc = pair(CheckKind::Grpc { service: String::new() }, Protocol::Http2);
    let call = [("content-type", "application/grpc")];
    let refused = async |head, body, trailers: &[(&'static str, &str)]| {
        let (said, _) = http2(&grpc, head, body, trailers).await;
        said.strip_prefix("expected a gRPC answer, got ").map(str::to_owned).ok_or(said).unwrap()
    };
    let good = [("grpc-status", "0")];
    assert_eq!(refused(head(404, &[]), b"nothing here", &[]).await, "status 404");
    let page = head(200, &[("content-type", "text/html")]);
    assert_eq!(refused(page, b"<html>", &[]).await, "content of type \"text/html\"");
    assert_eq!(refused(head(200, &call), b"\0\0\0\0\x02\x08\x01", &[]).await, "no grpc-status");
    assert_eq!(refused(head(200, &call), b"\x01\0\0\0\x02\x08\x01", &good).await, "a message that cannot be read");
    assert_eq!(refused(head(200, &call), &[b'a'; 8000], &good).await, "more than 4096 bytes");
}

#[tokio::test]
async fn what_speaks_no_http2_is_found_out() {
    let grpc = pair(CheckKind::Grpc { service: String::new() }, Protocol::Http1);
    let said = ask(&grpc, async |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 1000]).await;
    });
    let said = said.await;
    assert!(said.starts_with("expected an HTTP/2 answer, got: "), "{said}");
    let closed = ask(&grpc, async |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 1000]).await;
    });
    let closed = closed.await;
    assert!(closed.starts_with("the connection broke") || closed.starts_with("closed"), "{closed}");
    let silent = ask(impatient(grpc), async |_stream: TcpStream| std::future::pending().await);
    assert_eq!(silent.await, "answered nothing within 300ms");
}
