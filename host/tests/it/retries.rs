//! Requests whose member fails: which are sent again, to whom, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::{accept_async, client_async};

use crate::doubles::{BlackHole, Double, vanish};
use crate::peers::{PAIRS, Speaks, dial};
use crate::support::{Answer, Host, Member, fed, in_time, nobody, read_head, send, send_raw, whole};

/// No breaker, so that nobody is left alone meanwhile; and keys, so that a test says who is asked first.
const STEADY: &str = "key = \"header:x-key\"\nbreaker = { failures = 0, failure_percent = 0 }";

async fn host(members: &[std::net::SocketAddr], keys: &str) -> Host {
    let keys = format!("{STEADY}\n{keys}");
    Host::with().workers(1).pool_at("blue", members, &keys).vip("web", "pool = \"blue\"").start().await
}

/// A key whose requests this member gets.
async fn key_of(host: &Host, double: &Double) -> String {
    for key in 0..100 {
        let (key, before) = (format!("k{key}"), double.times());
        host.get("/", &[("x-key", &key)]).await;
        if double.times() > before {
            return key;
        }
    }
    panic!("no key leads to the member");
}

/// A key for each of two members, found while both are well.
async fn keys_of(host: &Host, doubles: [&Double; 2]) -> [String; 2] {
    [key_of(host, doubles[0]).await, key_of(host, doubles[1]).await]
}

async fn ask(host: &Host, method: &str, key: &str, content: &'static str) -> Answer {
    let request = Request::builder().method(method).uri("/").header("host", "a").header("x-key", key);
    host.send(request.body(whole(content)).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_could_not_be_sent_is_sent_to_another_member() {
    let good = Double::named("good").await;
    let host = host(&[nobody(), good.address()], "").await;
    // No more than the budget pays for, should all keys lead to the one that is gone.
    for method in ["GET", "POST", "PUT", "PATCH"] {
        for key in 0..3 {
            let answer = ask(&host, method, &format!("k{key}"), "content").await;
            assert_eq!((answer.status.as_u16(), &*answer.body), (200, "good"), "{method}");
        }
    }
    assert!(good.asked().iter().all(|asked| asked.content == "content"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_repeated_is_repeated_after_an_answer_that_says_so() {
    for (client, member) in PAIRS {
        let (bad, good) = (Double::speaking(member, "bad").await, Double::speaking(member, "good").await);
        let host = host(&[bad.address(), good.address()], member.keys()).await;
        let [key, _] = keys_of(&host, [&bad, &good]).await;
        bad.answers(503);
        for (method, status, times) in
            [("GET", 200, 2), ("HEAD", 200, 2), ("DELETE", 200, 2), ("POST", 503, 1), ("PATCH", 503, 1)]
        {
            let before = bad.times() + good.times();
            let request = Request::builder().method(method).uri("http://a/").header("x-key", &key);
            let answer = client.ask(host.address(), request.body(whole("")).unwrap()).await;
            assert_eq!(answer.status(), status, "{method} {client:?} {member:?}");
            let answer = Answer::of(answer).await;
            assert_eq!(
                answer.body,
                if method == "HEAD" {
                    ""
                } else if status == 200 {
                    "good"
                } else {
                    "bad"
                }
            );
            assert_eq!(bad.times() + good.times() - before, times, "{method}");
        }
        host.wait_until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_answers_that_are_named_are_tried_again() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = host(&[bad.address(), good.address()], "retries = { statuses = [404] }").await;
    let [key, _] = keys_of(&host, [&bad, &good]).await;
    for (status, expected) in [(404, 200), (503, 503), (500, 500), (429, 429)] {
        bad.answers(status);
        assert_eq!(ask(&host, "GET", &key, "").await.status, expected, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_tried_again_where_that_does_no_harm() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = host(&[bad.address(), good.address()], "keep_alive = { idle_max = 0 }").await;
    let [key, _] = keys_of(&host, [&bad, &good]).await;
    bad.hangs_up(true);
    for (method, status) in [("GET", 200), ("PUT", 200), ("HEAD", 200), ("POST", 502)] {
        assert_eq!(ask(&host, method, &key, "").await.status, status, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_tried_again_where_that_does_no_harm() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = host(&[bad.address(), good.address()], "response_timeout = \"50ms\"").await;
    let [key, _] = keys_of(&host, [&bad, &good]).await;
    bad.holds();
    for (method, status) in [("GET", 200), ("POST", 504)] {
        assert_eq!(ask(&host, method, &key, "").await.status, status, "{method}");
    }
    host.wait_until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_its_content_is_not_sent_again() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = host(&[bad.address(), good.address()], "").await;
    let [key, _] = keys_of(&host, [&bad, &good]).await;
    let before = good.times();
    bad.answers(503);
    let answer = ask(&host, "PUT", &key, "content").await;
    assert_eq!((answer.status.as_u16(), &*answer.body, good.times()), (503, "bad", before));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_to_an_upload_is_passed_on_and_nothing_is_sent_twice() {
    // Answers before it has the content, and takes no more of it.
    let early = Member::accepting(|mut stream| async move {
        if read_head(&mut stream).await.is_some() {
            let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 5\r\n\r\nearly").await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let good = Double::named("good").await;
    let host = host(&[early.address, good.address()], "").await;
    for method in ["PUT", "POST", "PUT", "POST"] {
        let (feed, body) = fed();
        feed.send("all of it").await.unwrap();
        let request = Request::builder().method(method).uri("/").header("host", "a").body(body).unwrap();
        let answer = tokio::spawn(send(host.address(), request));
        drop(feed);
        let _ = Answer::of(answer.await.unwrap()).await;
    }
    // Whoever had content had all that there was.
    assert_eq!(good.asked().iter().map(|asked| &*asked.content).collect::<Vec<_>>(), ["all of it"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_the_client_holds_back_is_still_there_for_another_member() {
    // Refuses by the head alone, as a member does that has no room.
    let refusing = Member::accepting(|mut stream| async move {
        if read_head(&mut stream).await.is_some() {
            let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let good = Double::named("good").await;
    let host = host(&[refusing.address, good.address()], "").await;
    let mut served = 0;
    for key in 0..8 {
        let mut stream = dial(host.address()).await;
        let head = format!(
            "PUT / HTTP/1.1\r\nhost: a\r\nx-key: {key}\r\nexpect: 100-continue\r\ncontent-length: 7\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(in_time("100", read_head(&mut stream)).await.unwrap().starts_with("HTTP/1.1 100 "));
        stream.write_all(b"content").await.unwrap();
        let mut answer = String::new();
        in_time("an answer", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("good"), "{answer}");
        served += 1;
    }
    assert_eq!(good.asked().iter().filter(|asked| asked.content == "content").count(), served);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_try_is_on_another_member() {
    let doubles = [Double::named("a").await, Double::named("b").await, Double::named("c").await];
    let addresses: Vec<_> = doubles.iter().map(Double::address).collect();
    let host = host(&addresses, "retries = { tries_max = 10 }").await;
    doubles.iter().for_each(|double| double.answers(502));
    for round in 1..=3 {
        assert_eq!(host.get("/", &[]).await.status, 502);
        assert_eq!(doubles.each_ref().map(Double::times), [round; 3]);
    }
    let few = self::host(&addresses, "retries = { tries_max = 2 }").await;
    assert_eq!(few.get("/", &[]).await.status, 502);
    assert_eq!(doubles.iter().map(Double::times).sum::<usize>(), 9 + 2);
    let none = self::host(&addresses, "retries = { tries_max = 1 }").await;
    assert_eq!(none.get("/", &[]).await.status, 502);
    assert_eq!(doubles.iter().map(Double::times).sum::<usize>(), 9 + 2 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_fails_altogether_gets_a_fifth_more_requests_at_most() {
    let doubles = [Double::named("a").await, Double::named("b").await, Double::named("c").await];
    let addresses: Vec<_> = doubles.iter().map(Double::address).collect();
    doubles.iter().for_each(|double| double.answers(503));
    let host = host(&addresses, "").await;
    let (began, requests) = (Instant::now(), 300);
    let mut client = in_time("a connection", TcpStream::connect(host.address())).await.unwrap();
    for _ in 0..requests {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let head = in_time("an answer", read_head(&mut client)).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        client.read_exact(&mut [0; 1]).await.unwrap();
    }
    let tries: usize = doubles.iter().map(Double::times).sum();
    // Its share, what it begins with, and ten a second.
    let most = requests * 6 / 5 + 10 + began.elapsed().as_secs_f64().ceil() as usize * 10;
    assert!(tries > requests + 10 && tries <= most, "{tries} tries of {requests} requests");
    let pool = host.pool("blue").await;
    assert_eq!((&pool["requests"], &pool["retries"]), (&requests.into(), &(tries - requests).into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_budget_only_the_first_try_is_made() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = host(&[bad.address(), good.address()], "retries = { budget = 0 }").await;
    let [key, _] = keys_of(&host, [&bad, &good]).await;
    bad.answers(503);
    let mut again = 0;
    let began = Instant::now();
    for _ in 0..40 {
        again += usize::from(ask(&host, "GET", &key, "").await.status == 200);
    }
    // What it begins with, and what time brings.
    assert!(again >= 10 && again <= 10 + began.elapsed().as_secs_f64().ceil() as usize * 10, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_says_when_to_come_again_gets_no_tries_until_then() {
    let doubles = [Double::named("busy").await, Double::named("bad").await, Double::named("good").await];
    let [busy, bad, good] = &doubles;
    let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
    for (method, after) in [("GET", "30"), ("GET", &*in_a_minute), ("POST", "30")] {
        let host = host(&doubles.each_ref().map(Double::address), "").await;
        doubles.iter().for_each(|double| double.answers(200));
        let key = key_of(&host, bad).await;
        let first = key_of(&host, busy).await;
        busy.answers(503);
        busy.adds("retry-after", after);
        bad.answers(503);
        let answer = ask(&host, method, &first, "").await;
        assert_eq!(answer.status, if method == "POST" { 503 } else { 200 });
        let before = busy.times();
        for _ in 0..8 {
            assert_eq!(ask(&host, "GET", &key, "").await.body, "good", "{method} {after}");
        }
        assert_eq!(busy.times(), before, "{method} {after}");
        // Its own requests it still gets.
        assert_eq!(ask(&host, "POST", &first, "").await.status, 503);
        assert_eq!(busy.times(), before + 1);
    }
    assert!(good.times() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_over_or_none_keeps_no_tries_away() {
    let doubles = [Double::named("busy").await, Double::named("bad").await];
    let [busy, bad] = &doubles;
    for after in ["0", "-1", "soon", "Thu, 01 Jan 1970 00:00:00 GMT", ""] {
        let host = host(&doubles.each_ref().map(Double::address), "").await;
        doubles.iter().for_each(|double| double.answers(200));
        let [first, key] = keys_of(&host, [busy, bad]).await;
        busy.answers(503);
        busy.adds("retry-after", after);
        assert_eq!(ask(&host, "GET", &first, "").await.body, "bad");
        busy.answers(200);
        bad.answers(503);
        assert_eq!(ask(&host, "GET", &key, "").await.body, "busy", "{after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_refused_was_not_seen() {
    let refused = Arc::new(AtomicUsize::new(0));
    let refusing = refused.clone();
    let bad = Member::streaming(move |_, mut respond| {
        refusing.fetch_add(1, SeqCst);
        async move { respond.send_reset(h2::Reason::REFUSED_STREAM) }
    })
    .await;
    let good = Double::speaking(Speaks::Http2, "good").await;
    let host = host(&[bad.address, good.address()], "protocol = \"http2\"").await;
    for key in 0..12 {
        let answer = ask(&host, "POST", &format!("k{key}"), "").await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "good"));
    }
    assert!(refused.load(SeqCst) > 0);
    assert_eq!(good.times(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_tried_again_like_any_other_request() {
    let (bad, chat) = (Double::named("bad").await, web_sockets().await);
    bad.answers(503);
    let gone = nobody();
    let host = host(&[bad.address(), gone, chat.address], "").await;
    for _ in 0..6 {
        let stream = dial(host.address()).await;
        let (mut socket, _) = in_time("a web socket", client_async("ws://a/chat", stream)).await.unwrap();
        socket.close(None).await.unwrap();
    }
    assert!(bad.times() > 0);
    host.wait_until_idle().await;
}

async fn web_sockets() -> Member {
    use futures_util::StreamExt;
    Member::accepting(|stream| async move {
        if let Ok(mut socket) = accept_async(stream).await {
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_during_a_try_leaves_nothing_behind() {
    let (hole, held) = (BlackHole::open().await, Double::named("held").await);
    held.holds();
    let bad = Double::named("bad").await;
    bad.answers(503);
    let addresses = [hole.address, held.address(), bad.address()];
    // Whatever the ports, and so the keys' members, are: all that get a 503 may be tried again.
    let keys = "connect_timeout = \"10s\"\nlimits = { requests_max = 100 }\nretries = { budget = 100 }";
    let host = host(&addresses, keys).await;
    let mut clients = Vec::new();
    for key in 0..30 {
        let mut stream = dial(host.address()).await;
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-key: {key}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        clients.push(stream);
    }
    crate::support::until("all are under way", || held.has() > 0 && host.in_flight() == 30).await;
    clients.into_iter().for_each(vanish);
    host.wait_until_idle().await;
    let pool = host.pool("blue").await;
    assert_eq!(host.blue(hole.address).await["failures"], 0, "{pool}");
    assert_eq!(host.blue(held.address()).await["failures"], 0, "{pool}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_used_are_tried_again() {
    for garbage in [&b"garbage\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"] {
        let (bad, good) = (Member::raw(garbage).await, Double::named("good").await);
        let host = host(&[bad.address, good.address()], "").await;
        for key in 0..6 {
            assert_eq!(ask(&host, "GET", &format!("k{key}"), "").await.body, "good");
        }
        let failures = host.blue(bad.address).await["failures"].as_u64().unwrap();
        let requests = host.blue(bad.address).await["requests"].as_u64().unwrap();
        assert_eq!(failures, requests);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_fails_once_whatever_else_is_wrong_with_its_answer() {
    // Says that it failed, and breaks off.
    let bad = Member::raw(b"HTTP/1.1 500 Oh\r\ncontent-length: 10\r\n\r\nhalf").await;
    let host = host(&[bad.address], "").await;
    for _ in 0..3 {
        send_raw(host.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    }
    host.wait_until_idle().await;
    assert_eq!(host.blue(bad.address).await["failures"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_grpc_are_sent_again_where_no_member_saw_them() {
    let good = Member::speaking(Speaks::Http2, |_| async {
        Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "0")
            .body(whole(""))
            .unwrap()
    })
    .await;
    let host = host(&[nobody(), good.address], "protocol = \"http2\"").await;
    for key in 0..6 {
        let request =
            Request::post("http://a/t.T/Do").header("content-type", "application/grpc").header("te", "trailers");
        let request = request.header("x-key", key).body(whole("")).unwrap();
        let answer = Speaks::Http2.ask(host.address(), request).await;
        assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"0".parse().unwrap()));
    }
}
