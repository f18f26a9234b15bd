//! What may be under way at once, and requests that wait for it.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::doubles::{BlackHole, Double, vanish};
use crate::peers::{Speaks, dial};
use crate::support::{Answer, Body, Host, in_time, read_head, send, until, whole};

async fn host(workers: usize, members: &[SocketAddr], keys: &str) -> Host {
    Host::with().workers(workers).pool_at("blue", members, keys).vip("web", "pool = \"blue\"").start().await
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "a").body(whole("")).unwrap()
}

/// How many wait.
async fn waiting(host: &Host) -> u64 {
    host.pool("blue").await["waiting"].as_u64().unwrap()
}

async fn wait_until_waiting(host: &Host, requests: u64) {
    in_time("they wait", async {
        while waiting(host).await != requests {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// All of these at once; how many of them were answered 200.
async fn all_at_once(host: &Host, requests: usize) -> usize {
    let answers = join_all((0..requests).map(|_| tokio::spawn(send(host.address(), get("/"))))).await;
    let answers = join_all(answers.into_iter().map(|answer| Answer::of(answer.unwrap()))).await;
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_never_has_more_requests_than_it_may_and_serves_all() {
    let doubles = [Double::named("a").await, Double::named("b").await];
    let limits = "limits = { requests_max = 3, queue_timeout = \"20s\" }";
    let host = host(4, &doubles.each_ref().map(Double::address), limits).await;
    assert_eq!(all_at_once(&host, 200).await, 200);
    let most: usize = doubles.iter().map(Double::most).sum();
    assert!(most <= 6 && doubles.iter().map(Double::times).sum::<usize>() == 200);
    host.wait_until_idle().await;
    let one = &doubles[0];
    let single = self::host(4, &[one.address()], limits).await;
    let before = one.most();
    assert_eq!(all_at_once(&single, 200).await, 200);
    assert!(one.most() <= before.max(3), "{}", one.most());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_never_has_more_requests_than_it_may() {
    for (max, speaks) in [(1, Speaks::Http1), (2, Speaks::Http2)] {
        let doubles = [Double::speaking(speaks, "a").await, Double::speaking(speaks, "b").await];
        let limits = format!("{}\nlimits = {{ member_requests_max = {max}, queue_timeout = \"20s\" }}", speaks.keys());
        let host = host(4, &doubles.each_ref().map(Double::address), &limits).await;
        doubles.iter().for_each(Double::holds);
        let full = async {
            until("both have what they may", || doubles.iter().all(|double| double.has() == max)).await;
            doubles.iter().for_each(Double::holds_no_more);
        };
        let (served, ()) = tokio::join!(all_at_once(&host, 200), full);
        assert_eq!(served, 200);
        assert_eq!(doubles.each_ref().map(Double::most), [max; 2]);
        host.wait_until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_never_has_more_connections_than_it_may() {
    for (workers, max) in [(1, 1), (2, 3), (4, 5)] {
        let double = Double::named("a").await;
        let limits = format!("limits = {{ member_connections_max = {max}, queue_timeout = \"20s\" }}");
        let host = host(workers, &[double.address()], &limits).await;
        assert_eq!(all_at_once(&host, 100).await, 100);
        assert!(double.most_connections() <= max, "{} of {max}", double.most_connections());
        host.wait_until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_not_kept_count_while_they_are_there() {
    let double = Double::named("a").await;
    let keys = "keep_alive = { idle_max = 0 }\nlimits = { member_connections_max = 2, queue_timeout = \"20s\" }";
    let host = host(2, &[double.address()], keys).await;
    let asking = all_at_once(&host, 100);
    let looking = async {
        // As the host counts them: the member may learn late that one was closed.
        loop {
            let connections = host.blue(double.address()).await["connections"].as_u64().unwrap();
            assert!(connections <= 2, "{connections}");
        }
    };
    tokio::select! {
        served = asking => assert_eq!(served, 100),
        () = looking => {}
    }
    host.wait_until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_of_http_2_carries_all() {
    let double = Double::speaking(Speaks::Http2, "a").await;
    let keys = "protocol = \"http2\"\nlimits = { member_connections_max = 1, queue_timeout = \"20s\" }";
    let host = host(1, &[double.address()], keys).await;
    // More than it takes at once on one connection (hyper: 200).
    assert_eq!(all_at_once(&host, 300).await, 300);
    assert_eq!(double.most_connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_being_opened_counts() {
    let hole = BlackHole::open().await;
    let keys = "connect_timeout = \"10s\"\nlimits = { member_connections_max = 1, queue_timeout = \"50ms\" }";
    let host = host(1, &[hole.address], keys).await;
    let mut opening = dial(host.address()).await;
    opening.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until("it is under way", || host.in_flight() == 1).await;
    assert_eq!(host.get("/", &[]).await.status, 503);
    assert_eq!(host.blue(hole.address).await["connections"], 1);
    vanish(opening);
    host.wait_until_idle().await;
    assert_eq!(host.blue(hole.address).await["connections"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_room_to_wait_is_told_to_come_again() {
    let double = Double::named("a").await;
    double.holds();
    let host =
        host(2, &[double.address()], "limits = { requests_max = 1, queue_max = 2, queue_timeout = \"20s\" }").await;
    let asked: Vec<_> = (0..3).map(|_| tokio::spawn(send(host.address(), get("/")))).collect();
    wait_until_waiting(&host, 2).await;
    let answer = host.get("/", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    let (_, metrics) = host.control("GET", "/metrics", "").await;
    assert!(metrics.as_str().unwrap().contains("switchback_limit_exceeded_total{limit=\"queue\"} 1"), "{metrics}");
    double.holds_no_more();
    double.lets_go(3);
    for answer in asked {
        assert_eq!(in_time("an answer", answer).await.unwrap().status(), 200);
    }
    host.wait_until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_long_enough_is_told_so() {
    let double = Double::named("a").await;
    double.holds();
    for limits in ["requests_max = 1", "member_requests_max = 1", "member_connections_max = 1"] {
        let host = host(1, &[double.address()], &format!("limits = {{ {limits}, queue_timeout = \"30ms\" }}")).await;
        let held = tokio::spawn(send(host.address(), get("/")));
        until("it is held", || double.has() == 1).await;
        let began = Instant::now();
        let answers = join_all((0..4).map(|_| host.get("/", &[]))).await;
        for answer in answers {
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(30) && took < Duration::from_secs(5), "{took:?}");
        double.lets_go(1);
        assert_eq!(held.await.unwrap().status(), 200);
        host.wait_until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_worker_who_came_first_is_served_first() {
    let double = Double::named("a").await;
    double.holds();
    let host = host(1, &[double.address()], "limits = { requests_max = 1, queue_timeout = \"20s\" }").await;
    let mut asked = Vec::new();
    for number in 0..10 {
        asked.push(tokio::spawn(send(host.address(), get(&format!("/{number}")))));
        until("it is held", || double.has() == 1).await;
        wait_until_waiting(&host, number).await;
        // Longer than those that wait take to look again: they keep their places.
        tokio::time::sleep(Duration::from_millis(12)).await;
    }
    double.lets_go(10);
    for answer in asked {
        in_time("an answer", answer).await.unwrap();
    }
    let paths: Vec<_> = double.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, (0..10).map(|number| format!("/{number}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_take_turns() {
    let double = Double::named("a").await;
    double.holds();
    let host = host(2, &[double.address()], "limits = { requests_max = 1, queue_timeout = \"20s\" }").await;
    // Connections are the kernel's to spread: of so many, each worker has some.
    let asked: Vec<_> = (0..40).map(|_| tokio::spawn(send(host.address(), get("/")))).collect();
    wait_until_waiting(&host, 39).await;
    for served in 1..=40 {
        until("one is held", || double.times() == served).await;
        double.lets_go(1);
    }
    for answer in asked {
        assert_eq!(in_time("an answer", answer).await.unwrap().status(), 200);
    }
    assert_eq!(double.most(), 1);
    host.wait_until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_while_it_waits_leaves_its_place_to_others() {
    let double = Double::named("a").await;
    double.holds();
    let host =
        host(2, &[double.address()], "limits = { requests_max = 1, queue_max = 8, queue_timeout = \"20s\" }").await;
    let held = tokio::spawn(send(host.address(), get("/held")));
    until("it is held", || double.has() == 1).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut stream = dial(host.address()).await;
        stream.write_all(b"GET /gone HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        clients.push(stream);
    }
    wait_until_waiting(&host, 8).await;
    clients.into_iter().for_each(vanish);
    wait_until_waiting(&host, 0).await;
    let last = tokio::spawn(send(host.address(), get("/last")));
    wait_until_waiting(&host, 1).await;
    double.lets_go(2);
    assert_eq!(in_time("the held one", held).await.unwrap().status(), 200);
    assert_eq!(in_time("the last one", last).await.unwrap().status(), 200);
    assert_eq!(double.asked().iter().filter(|asked| asked.path == "/gone").count(), 0);
    host.wait_until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_its_place_until_its_answer_has_ended() {
    let double = Double::named("a").await;
    let host = host(1, &[double.address()], "limits = { requests_max = 1, queue_timeout = \"30ms\" }").await;
    // Larger than what is taken ahead of a client that does not read.
    let member =
        crate::support::Member::answering(|_| async { hyper::Response::new(whole("x".repeat(16 << 20))) }).await;
    let large = self::host(1, &[member.address], "limits = { requests_max = 1, queue_timeout = \"30ms\" }").await;
    let mut slow = dial(large.address()).await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(in_time("a head", read_head(&mut slow)).await.unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(large.get("/", &[]).await.status, 503);
    in_time("all of it", slow.read_exact(&mut vec![0; 16 << 20])).await.unwrap();
    large.wait_until_idle().await;
    assert_eq!(large.get("/", &[]).await.status, 200);
    assert_eq!(host.get("/", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_kept_through_tries_and_given_back_after_errors() {
    let doubles = [Double::named("a").await, Double::named("b").await];
    doubles.iter().for_each(|double| double.answers(503));
    let gone = crate::support::nobody();
    let members = [doubles[0].address(), gone, doubles[1].address()];
    let keys =
        "breaker = { failures = 0 }\nlimits = { requests_max = 2, member_requests_max = 1, queue_timeout = \"20s\" }";
    let host = host(2, &members, keys).await;
    let answers = join_all((0..40).map(|_| tokio::spawn(send(host.address(), get("/"))))).await;
    for answer in answers {
        let status = Answer::of(answer.unwrap()).await.status;
        assert!(matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY), "{status}");
    }
    host.wait_until_idle().await;
    assert!(doubles.iter().all(|double| double.most() == 1));
    doubles.iter().for_each(|double| double.answers(200));
    // The budget may be spent, for a moment.
    in_time("an answer", async { while host.get("/", &[]).await.status != 200 {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_time_counts_while_a_request_waits() {
    let double = Double::named("a").await;
    double.holds();
    let keys =
        "whole_timeout = \"60ms\"\nlimits = { requests_max = 1, queue_timeout = \"20s\" }\nresponse_timeout = \"20s\"";
    let host = host(1, &[double.address()], keys).await;
    let long = Request::get("/").header("host", "a").body(whole("")).unwrap();
    let held = tokio::spawn(send(host.address(), long));
    until("it is held", || double.has() == 1).await;
    let began = Instant::now();
    let status = host.get("/", &[]).await.status;
    assert!(status.is_server_error() && began.elapsed() < Duration::from_secs(5), "{status} {:?}", began.elapsed());
    assert_eq!(held.await.unwrap().status(), 504);
}
