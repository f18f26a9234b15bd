//! Members that are left alone for what they did to requests, and how they come back.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::{Request, Response, StatusCode};
use switchback::proxy::events::EventKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::client_async;

use crate::doubles::{Double, vanish};
use crate::peers::dial;
use crate::support::{Host, Member, fed, in_time, nobody, read_head, send, until, whole};

/// No tries, so that each request tells what its first member did.
const ONE_TRY: &str = "retries = { tries_max = 1 }";

async fn host(members: &[SocketAddr], keys: &str) -> Host {
    Host::with().workers(1).pool_at("blue", members, keys).vip("web", "pool = \"blue\"").start().await
}

/// A host whose breakers have these keys.
async fn breaking(members: &[SocketAddr], breaker: &str) -> Host {
    host(members, &format!("{ONE_TRY}\nbreaker = {{ {breaker} }}")).await
}

/// Asks until a member has failed so often.
async fn fail(host: &Host, double: &Double, times: usize) {
    let before = double.times();
    while double.times() < before + times {
        host.get("/", &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_fails_in_a_row_is_left_alone_until_a_trial_goes_well() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = breaking(&[bad.address(), good.address()], "failures = 3, rest = \"100ms\"").await;
    bad.answers(503);
    fail(&host, &bad, 3).await;
    let reasons = host.wait_for_events(EventKind::LeftAlone, 1).await;
    assert_eq!(reasons, ["3 failures in a row, the last: answered 503; left alone for 100ms"]);
    // Who is left alone gets nothing, and its rest is over sometime.
    while host.blue(bad.address()).await["state"] == "left-alone" {
        let answer = host.get("/", &[]).await;
        assert!(answer.status == 200 || bad.times() > 3, "{answer:?}");
    }
    // The next trial fails, and the rest is twice as long.
    fail(&host, &bad, 1).await;
    let reasons = host.wait_for_events(EventKind::LeftAlone, 2).await;
    assert_eq!(reasons[1], "1 failures in a row, the last: answered 503; left alone for 200ms");
    bad.answers(200);
    host.wait_for_blue(bad.address(), "on-trial").await;
    fail(&host, &bad, 1).await;
    host.wait_for_blue(bad.address(), "fit").await;
    let reasons = host.wait_for_events(EventKind::CameBack, 1).await;
    assert_eq!(reasons, ["a request was answered as it should be"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_between_its_failures_is_not_left_alone() {
    let bad = Double::named("bad").await;
    let host = breaking(&[bad.address(), Double::named("good").await.address()], "failures = 3").await;
    for _ in 0..5 {
        bad.answers(500);
        fail(&host, &bad, 2).await;
        bad.answers(404);
        fail(&host, &bad, 1).await;
    }
    assert_eq!(host.blue(bad.address()).await["state"], "fit");
    assert_eq!(host.blue(bad.address()).await["failures"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_request_at_a_time_is_a_trial_and_none_is_lost_with_its_client() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = breaking(&[bad.address(), good.address()], "failures = 1, rest = \"1ms\"").await;
    bad.answers(503);
    fail(&host, &bad, 1).await;
    host.wait_for_blue(bad.address(), "on-trial").await;
    bad.answers(200);
    bad.holds();
    let ask = async || {
        let mut client = dial(host.address()).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        client
    };
    for _ in 0..3 {
        // One of a few requests is the trial; the others are answered by the other member.
        let mut clients = Vec::new();
        while bad.has() == 0 {
            let served = good.times();
            clients.push(ask().await);
            until("it is somewhere", || bad.has() == 1 || good.times() > served).await;
        }
        let mut client = ask().await;
        assert!(in_time("an answer", read_head(&mut client)).await.unwrap().starts_with("HTTP/1.1 200 "));
        assert_eq!(bad.has(), 1, "two trials at once");
        clients.into_iter().for_each(vanish);
        until("the member is told", || bad.has() == 0).await;
        assert_eq!(host.blue(bad.address()).await["state"], "on-trial");
    }
    bad.holds_no_more();
    fail(&host, &bad, 1).await;
    host.wait_for_blue(bad.address(), "fit").await;
}

fn get() -> Request<crate::support::Body> {
    Request::get("/").header("host", "a").body(whole("")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_is_over_when_its_answer_begins() {
    // Answers `/chat` with a connection that stays, and all else with the status it is told.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let good = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_good = good.clone();
    let serving = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(head) = read_head(&mut stream).await else { continue };
            let is_good = is_good.load(std::sync::atomic::Ordering::SeqCst);
            let answer = match (head.starts_with("GET /chat "), is_good) {
                (true, _) => &b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"[..],
                (_, true) => b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                _ => b"HTTP/1.1 500 Oh\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            };
            stream.write_all(answer).await.unwrap();
            if answer.starts_with(b"HTTP/1.1 101") {
                kept.push(stream);
            }
        }
    });
    // All members may be left alone, and nobody panics: only trials get through.
    let breaker = "panic_below = 0\nbreaker = { failures = 2, rest = \"1ms\", share_max = 100 }";
    let host = host(&[address], &format!("{ONE_TRY}\n{breaker}")).await;
    for _ in 0..2 {
        assert_eq!(host.get("/", &[]).await.status, 500);
    }
    host.wait_for_blue(address, "on-trial").await;
    let mut tunnel = dial(host.address()).await;
    let upgrade = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    tunnel.write_all(upgrade).await.unwrap();
    assert!(in_time("101", read_head(&mut tunnel)).await.unwrap().starts_with("HTTP/1.1 101 "));
    host.wait_for_blue(address, "fit").await;
    // While the tunnel stays, it fails again, and comes back again.
    for _ in 0..2 {
        assert_eq!(host.get("/", &[]).await.status, 500);
    }
    good.store(true, std::sync::atomic::Ordering::SeqCst);
    host.wait_for_blue(address, "on-trial").await;
    assert_eq!(host.get("/", &[]).await.status, 200);
    host.wait_for_blue(address, "fit").await;
    // The end of the tunnel is no failure of a trial that went well long ago.
    serving.abort();
    let _ = in_time("the end", tunnel.read_to_end(&mut Vec::new())).await;
    drop(tunnel);
    host.wait_until_idle().await;
    assert_eq!(host.blue(address).await["state"], "fit");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_a_share_is_left_alone_for_its_answers() {
    let doubles = join_all(["a", "b", "c", "d", "e"].map(Double::named)).await;
    let addresses: Vec<_> = doubles.iter().map(Double::address).collect();
    let host = breaking(&addresses, "failures = 1, share_max = 50").await;
    doubles.iter().for_each(|double| double.answers(500));
    for _ in 0..20 {
        assert_eq!(host.get("/", &[]).await.status, 500);
    }
    let pool = host.pool("blue").await;
    let left_alone = |member: &&serde_json::Value| member["state"] == "left-alone";
    assert_eq!(pool["members"].as_array().unwrap().iter().filter(left_alone).count(), 2, "{pool}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_cannot_be_reached_are_left_alone_and_used_where_too_few_are_left() {
    let good = Double::named("good").await;
    let gone = [nobody(), nobody(), nobody(), nobody()];
    let members: Vec<_> = gone.iter().copied().chain([good.address()]).collect();
    let host = breaking(&members, "failures = 1, rest = \"1m\", share_max = 0").await;
    for _ in 0..12 {
        host.get("/", &[]).await;
    }
    let reasons = host.wait_for_events(EventKind::Panic, 1).await;
    assert_eq!(reasons, ["1 of 5 members are fit"]);
    assert_eq!(host.pool("blue").await["panics"], true);
    for address in &gone {
        assert_eq!(host.blue(*address).await["state"], "left-alone");
    }
    let before = good.times();
    let mut failed = 0;
    for _ in 0..10 {
        failed += usize::from(host.get("/", &[]).await.status == StatusCode::BAD_GATEWAY);
    }
    assert_eq!((good.times() - before, failed), (2, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_members_are_all_left_alone_is_asked_all_the_same() {
    let host = breaking(&[nobody(), nobody()], "failures = 1, rest = \"1m\"").await;
    // 502 is what the members did; 503 would be that nobody was asked.
    for _ in 0..50 {
        assert_eq!(host.get("/", &[]).await.status, 502);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_member_is_back_as_soon_as_it_can_be_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let host = breaking(&[address], "failures = 1, rest = \"1m\"").await;
    assert_eq!(host.get("/", &[]).await.status, 502);
    host.wait_for_events(EventKind::Panic, 1).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    assert_eq!(host.get("/", &[]).await.status, 200);
    host.wait_for_blue(address, "fit").await;
    host.wait_for_events(EventKind::Calm, 1).await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_only_member_is_on_trial_others_are_not_turned_away() {
    let only = Double::named("only").await;
    let host = breaking(&[only.address()], "failures = 1, rest = \"1ms\", share_max = 100").await;
    only.answers(500);
    fail(&host, &only, 1).await;
    host.wait_for_blue(only.address(), "on-trial").await;
    only.answers(200);
    only.holds();
    let asked: Vec<_> = (0..5).map(|_| tokio::spawn(send(host.address(), get()))).collect();
    until("all are asked", || only.has() == 5).await;
    only.holds_no_more();
    for answer in asked {
        assert_eq!(in_time("an answer", answer).await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_fails_too_often_is_left_alone_though_it_answers_between() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = breaking(&[bad.address(), good.address()], "failures = 0, failure_percent = 60, rest = \"1m\"").await;
    let mut round = 0;
    until_async("it is left alone", async || {
        for _ in 0..10 {
            // Two of three.
            bad.answers(if round % 3 == 0 { 200 } else { 502 });
            host.get("/", &[]).await;
            host.get("/", &[]).await;
            round += 1;
        }
        host.blue(bad.address()).await["state"] == "left-alone"
    })
    .await;
    let reasons = host.wait_for_events(EventKind::LeftAlone, 1).await;
    assert!(reasons[0].contains(" requests failed; left alone for 1m"), "{reasons:?}");
    assert_eq!(host.blue(good.address()).await["state"], "fit");
}

async fn until_async(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    in_time(what, async { while !holds().await {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_came_back_is_not_judged_by_what_it_did_before() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = breaking(&[bad.address(), good.address()], "failures = 30, rest = \"1ms\"").await;
    bad.answers(502);
    fail(&host, &bad, 30).await;
    bad.answers(200);
    host.wait_for_blue(bad.address(), "on-trial").await;
    fail(&host, &bad, 1).await;
    host.wait_for_blue(bad.address(), "fit").await;
    // Long enough for it to be judged again.
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_millis(1200) {
        assert_eq!(host.get("/", &[]).await.status, 200);
        assert_eq!(host.events_of(EventKind::LeftAlone).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_slow_beside_the_others_is_left_alone() {
    let slow = Member::answering(|_| async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        Response::new(whole("slow"))
    })
    .await;
    let good = Double::named("good").await;
    let host = breaking(&[slow.address, good.address()], "slow_factor = 3, rest = \"1m\"").await;
    until_async("it is left alone", async || {
        join_all((0..10).map(|_| host.get("/", &[]))).await;
        host.blue(slow.address).await["state"] == "left-alone"
    })
    .await;
    let reasons = host.wait_for_events(EventKind::LeftAlone, 1).await;
    assert!(reasons[0].starts_with("answers take ") && reasons[0].contains(" are usual; "), "{reasons:?}");
    assert_eq!(host.blue(good.address()).await["state"], "fit");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_do_is_no_failure_of_a_member() {
    let only = Double::named("only").await;
    let vip = "pool = \"blue\"\nclient_timeout = \"400ms\"\nclient_rate_min = 0\nrequest_body_max = \"1KiB\"";
    let keys = format!("{ONE_TRY}\nbreaker = {{ failures = 1, share_max = 100 }}");
    let host = Host::with().workers(1).pool_at("blue", &[only.address()], &keys).vip("web", vip).start().await;
    // Gone in the middle, too slow, too long, and content that is none.
    for end in ["", "\r\nzz"] {
        let mut stream = dial(host.address()).await;
        stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx").await.unwrap();
        until("it is under way", || host.in_flight() == 1).await;
        stream.write_all(end.as_bytes()).await.unwrap();
        drop(stream);
        host.wait_until_idle().await;
    }
    let (feed, body) = fed();
    feed.send("x").await.unwrap();
    let slow = Request::post("/").header("host", "a").body(body).unwrap();
    assert_eq!(send(host.address(), slow).await.status(), 408);
    let pieces = [Ok(hyper::body::Frame::data("x".repeat(1025).into()))];
    let long = http_body_util::StreamBody::new(futures_util::stream::iter(pieces));
    let long = Request::post("/").header("host", "a").body(http_body_util::BodyExt::boxed(long)).unwrap();
    assert_eq!(send(host.address(), long).await.status(), 413);
    host.wait_until_idle().await;
    assert_eq!(
        (&host.blue(only.address()).await["failures"], host.events_of(EventKind::LeftAlone).len()),
        (&0.into(), 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_takes_the_whole_time_is_no_failure_of_a_member() {
    let only = Double::named("only").await;
    let keys = format!("{ONE_TRY}\nwhole_timeout = \"100ms\"\nbreaker = {{ failures = 1, share_max = 100 }}");
    let host = host(&[only.address()], &keys).await;
    let (feed, body) = fed();
    let slow = tokio::spawn(send(host.address(), Request::post("/").header("host", "a").body(body).unwrap()));
    // Moves all the time.
    while feed.send("x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(slow.await.unwrap().status(), 504);
    host.wait_until_idle().await;
    assert_eq!(host.blue(only.address()).await["failures"], 0);
    // One that has the request and says nothing is another matter.
    only.holds();
    assert_eq!(host.get("/", &[]).await.status, 504);
    assert_eq!(host.blue(only.address()).await["failures"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_or_falls_silent_is_a_failure() {
    let broken = Member::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let silent = Member::accepting(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    for member in [broken, silent] {
        let host = host(
            &[member.address],
            "between_bytes_timeout = \"30ms\"\nbreaker = { failures = 2, share_max = 100, rest = \"1m\" }",
        )
        .await;
        for _ in 0..2 {
            let answer = send(host.address(), get()).await;
            assert!(http_body_util::BodyExt::collect(answer.into_body()).await.is_err());
        }
        host.wait_for_events(EventKind::LeftAlone, 1).await;
        assert_eq!(host.blue(member.address).await["failures"], 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_survives_an_edit_of_its_pool() {
    let (bad, good) = (Double::named("bad").await, Double::named("good").await);
    let host = breaking(&[bad.address(), good.address()], "failures = 1, rest = \"1m\"").await;
    bad.answers(500);
    fail(&host, &bad, 1).await;
    host.wait_for_events(EventKind::LeftAlone, 1).await;
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    let before = host.current();
    std::fs::write(host.config_path(), text.replace("tries_max = 1", "tries_max = 2")).unwrap();
    until("the edit serves", || host.current() > before).await;
    assert_eq!(host.blue(bad.address()).await["state"], "left-alone");
    for _ in 0..6 {
        assert_eq!(host.get("/", &[]).await.body, "good");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_may_be_a_trial() {
    let (bad, keys) =
        (Double::named("bad").await, "panic_below = 0\nbreaker = { failures = 1, rest = \"1ms\", share_max = 100 }");
    let host = host(&[bad.address()], &format!("{ONE_TRY}\n{keys}")).await;
    bad.answers(500);
    fail(&host, &bad, 1).await;
    host.wait_for_blue(bad.address(), "on-trial").await;
    bad.answers(400);
    // It says no, which is an answer.
    let stream = dial(host.address()).await;
    assert!(client_async("ws://a/chat", stream).await.is_err());
    host.wait_for_blue(bad.address(), "fit").await;
}
