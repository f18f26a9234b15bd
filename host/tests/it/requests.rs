//! The request line: what members get, what clients get, and what happens when one of them does not behave.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Answer, Body, Host, Member, fed, nobody, send, send_raw, until, whole};

async fn echo_host() -> (Host, Member) {
    let member = Member::echoing().await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    (host, member)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_told_who_asked_and_how() {
    let (host, _member) = echo_host().await;
    let answer = host.get("/a?b=c", &[("x-forwarded-for", "6.6.6.6"), ("connection", "x-mine"), ("x-mine", "1")]).await;
    assert!(answer.body.starts_with("GET /a?b=c HTTP/1.1\n"), "{}", answer.body);
    let expected =
        ["host: web.example", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "via: 1.1 switchback"];
    expected.iter().for_each(|line| assert!(answer.body.contains(line), "{line} in {}", answer.body));
    assert!(answer.body.contains("x-forwarded-host: web.example") && answer.body.contains("x-request-id: "));
    assert!(!answer.body.contains("x-mine") && !answer.body.contains("6.6.6.6"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_before_either_ends() {
    let member = Member::answering(|request: Request<Incoming>| async move {
        Response::new(request.into_body().map_err(std::io::Error::other).boxed())
    })
    .await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    let (feed, body) = fed();
    let request = Request::post("/").header("host", "a").body(body).unwrap();
    feed.send("one").await.unwrap();
    let mut answer = send(host.address(), request).await.into_body();
    let piece = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(piece, "one");
    feed.send("two").await.unwrap();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    drop(feed);
    assert!(answer.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_carries_one_request_after_another() {
    let (host, _member) = echo_host().await;
    let both = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answers = send_raw(host.address(), both.as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.find("GET /1").unwrap() < answers.find("GET /2").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_an_answer_and_an_end() {
    let (host, _member) = echo_host().await;
    let answer = send_raw(host.address(), b"GET /old HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("GET /old HTTP/1.1"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_content_stay_without() {
    let member = Member::answering(|request: Request<Incoming>| async move {
        let status = request.uri().path()[1..].parse().unwrap_or(StatusCode::OK);
        Response::builder().status(status).header("etag", "x").body(whole("")).unwrap()
    })
    .await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    for path in ["/204", "/304"] {
        let answer = host.get(path, &[]).await;
        assert_eq!((answer.status.as_str(), &*answer.body, answer.header("etag")), (&path[1..], "", "x"));
    }
    let head = Request::head("/").header("host", "a").body(whole("")).unwrap();
    assert_eq!(host.send(head).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_heads_are_refused_with_an_id() {
    let (host, _member) = echo_host().await;
    let check = async |head: &str, status: &str| {
        let answer = send_raw(host.address(), head.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?} got {answer}");
    };
    check("GET / HTTP/1.1\r\n\r\n", "400").await;
    check("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400").await;
    check("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", "400").await;
    check("GET foo HTTP/1.1\r\nhost: a\r\n\r\n", "400").await;
    check("CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", "501").await;
    let answer = send_raw(host.address(), b"GET / HTTP/1.1\r\n\r\n").await;
    let id = answer.split("x-request-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert!(id.len() == 32 && answer.ends_with(&format!("request {id}\n")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vips_are_found_by_host_and_path() {
    let (shop, cart) = (Member::named("shop").await, Member::named("cart").await);
    let host = Host::with()
        .pool("shop", &[&shop])
        .pool("cart", &[&cart])
        .vip("shop", "pool = \"shop\"\nhosts = [\"shop.example\"]")
        .vip("cart", "pool = \"cart\"\nhosts = [\"shop.example\"]\npaths = [\"/cart\"]")
        .start()
        .await;
    let ask = async |authority: &str, path: &str| {
        let request = Request::get(path).header("host", authority).body(whole("")).unwrap();
        host.send(request).await
    };
    assert_eq!(ask("shop.example", "/").await.body, "shop");
    assert_eq!(ask("SHOP.example:80", "/cart/1").await.body, "cart");
    let unknown = ask("other.example", "/").await;
    assert_eq!((unknown.status.as_u16(), unknown.header("x-request-id").len()), (404, 32));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_take_turns_and_one_that_is_gone_is_passed_over() {
    let (one, two) = (Member::named("one").await, Member::named("two").await);
    let members = [one.address, nobody(), two.address];
    let host = Host::with().pool_at("blue", &members, "").vip("web", "pool = \"blue\"").start().await;
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..30 {
        let answer = host.get("/", &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        *counts.entry(answer.body).or_insert(0) += 1;
    }
    assert!(counts["one"] >= 8 && counts["two"] >= 8, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_cannot_be_reached_is_a_502() {
    let host = Host::with().pool_at("blue", &[nobody()], "").vip("web", "pool = \"blue\"").start().await;
    let answer = host.get("/", &[]).await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.body.contains("no member of the pool can be reached") && !answer.body.contains("127.0.0.1"),
        "{}",
        answer.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_members_is_a_503() {
    let host = Host::with().pool_at("blue", &[], "").vip("web", "pool = \"blue\"").start().await;
    assert_eq!(host.get("/", &[]).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_answer_in_time_is_a_504() {
    let silent = Member::answering(|_| std::future::pending::<Response<Body>>()).await;
    let host = Host::with()
        .pool_at("blue", &[silent.address], "response_timeout = \"50ms\"")
        .vip("web", "pool = \"blue\"")
        .start()
        .await;
    assert_eq!(host.get("/", &[]).await.status, 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_speak_http_is_a_502() {
    for answer in
        [&b"garbage\r\n\r\n"[..], b"", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"]
    {
        let member = Member::raw(answer).await;
        let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
        assert_eq!(host.get("/", &[]).await.status, 502, "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let member = Member::raw(answer).await;
        let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
        let request = Request::get("/").header("host", "a").body(whole("")).unwrap();
        let mut body = send(host.address(), request).await.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        assert!(body.frame().await.unwrap().is_err(), "the client cannot tell that the answer is not whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_a_coding_is_not_passed_off_as_an_answer() {
    let both = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n8\r\nthewhole\r\n0\r\n\r\n";
    let member = Member::raw(both).await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    assert_eq!(host.get("/", &[]).await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_no_request_behind() {
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let member = Member::answering(move |_| {
        let body = body.lock().unwrap().take().unwrap_or_else(|| whole("again"));
        async move { Response::new(body) }
    })
    .await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    let request = Request::get("/").header("host", "a").body(whole("")).unwrap();
    let answer = send(host.address(), request).await;
    assert_eq!(host.app().switch.current.get().flights.in_flight(), 1);
    drop(answer);
    until("the flight ends", || host.app().switch.current.get().flights.in_flight() == 0).await;
    until("the member is told", || feed.is_closed()).await;
    assert_eq!(host.get("/", &[]).await.body, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_ended_its_side_gets_its_answer() {
    // RFC 9112, 9.6: it may well wait for it.
    let member = Member::answering(|_| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Response::new(whole("late"))
    })
    .await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    let mut stream = TcpStream::connect(host.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("late"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_a_connection_that_the_member_closed_is_sent_again() {
    // Answers once on each connection as if it were kept, and closes it.
    let member = Member::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    for _ in 0..50 {
        assert_eq!(host.get("/", &[]).await.body, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_members_are_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = Host::with()
        .pool_at("blue", &[listener.local_addr().unwrap()], "")
        .vip("web", "pool = \"blue\"")
        .config("")
        .start()
        .await;
    // One client connection stays on one worker, so one connection to the member serves all its requests.
    let client = tokio::spawn({
        let address = host.address();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut buffer = [0; 1024];
            for _ in 0..3 {
                stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"ok") {
                    let read = stream.read(&mut buffer).await.unwrap();
                    assert!(read > 0);
                    answer.extend_from_slice(&buffer[..read]);
                }
            }
        }
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 4096];
    for _ in 0..3 {
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    }
    client.await.unwrap();
    let another = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
    assert!(another.is_err(), "a second connection was opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_lets_requests_in_flight_end() {
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let member = Member::answering(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let mut host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    let address = host.address();
    feed.send("begun").await.unwrap();
    let answer = send(address, Request::get("/").header("host", "a").body(whole("")).unwrap()).await;
    let app = host.app.take().unwrap();
    let left = tokio::spawn(app.leave());
    until("nobody listens any more", || std::net::TcpStream::connect(address).is_err()).await;
    assert!(!left.is_finished());
    feed.send(", ended").await.unwrap();
    drop(feed);
    assert_eq!(Answer::of(answer).await.body, "begun, ended");
    assert!(left.await.unwrap(), "everybody left in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_may_take_longer_than_an_answer_may() {
    let member = Member::echoing().await;
    let host = Host::with()
        .pool_at("blue", &[member.address], "response_timeout = \"150ms\"")
        .vip("web", "pool = \"blue\"")
        .start()
        .await;
    let (feed, body) = fed();
    let sending = tokio::spawn(send(host.address(), Request::post("/").header("host", "a").body(body).unwrap()));
    for piece in ["a", "b", "c", "d", "e", "f"] {
        // The client's own pace: each piece within the limit, all of them beyond it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        feed.send(piece).await.unwrap();
    }
    drop(feed);
    let answer = Answer::of(sending.await.unwrap()).await;
    assert!(answer.status == 200 && answer.body.ends_with("\nabcdef"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_coding_is_refused_in_both_directions() {
    let (host, _member) = echo_host().await;
    let request = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let answer = send_raw(host.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");

    let member = Member::raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n").await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    assert_eq!(host.get("/", &[]).await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_without_a_length_arrives_whatever_the_method() {
    let (host, _member) = echo_host().await;
    for method in ["GET", "DELETE", "POST"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
        );
        let answer = send_raw(host.address(), request.as_bytes()).await;
        assert!(answer.contains("\n\nbody"), "{method}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_http_1_0_does_not_end_the_clients_connection() {
    let member = Member::raw(b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold").await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").start().await;
    let both = "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answers = send_raw(host.address(), both.as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_is_not_its_members_failure() {
    let (host, _member) = echo_host().await;
    let mut stream = TcpStream::connect(host.address()).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    until("the request is under way", || host.app().switch.current.get().flights.in_flight() == 1).await;
    drop(stream);
    until("the flight ends", || host.app().switch.current.get().flights.in_flight() == 0).await;
    let (_, pools) = host.control("GET", "/v1/pools", "").await;
    assert_eq!((&pools[0]["errors"], &pools[0]["members"][0]["failures"]), (&0.into(), &0.into()), "{pools}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_closes_every_connection_is_a_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host =
        Host::with().pool_at("blue", &[listener.local_addr().unwrap()], "").vip("web", "pool = \"blue\"").start().await;
    let closing = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    assert_eq!(host.get("/", &[]).await.status, 502);
    closing.abort();
}
