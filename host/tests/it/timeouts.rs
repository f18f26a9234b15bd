//! How long members may take: to be reached, to answer, between bytes, for the whole; and whose time goes before.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Request, Response};
use serde_json::Value;
use switchback_plugins as plugins;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::doubles::{BlackHole, Double};
use crate::peers::{PAIRS, Speaks, in_front_of};
use crate::support::{Answer, Body, Host, Member, echo, fed, in_time, read_head, send, whole};

async fn host(member: &Member, pool: &str, vip: &str) -> Host {
    let vip = format!("pool = \"blue\"\n{vip}");
    Host::with().workers(1).pool_at("blue", &[member.address], pool).vip("web", &vip).start().await
}

fn get() -> Request<Body> {
    Request::get("http://web.example/").body(whole("")).unwrap()
}

/// How often a limit was met.
async fn met(host: &Host, limit: &str) -> u64 {
    let (_, metrics) = host.control("GET", "/metrics", "").await;
    let Value::String(metrics) = metrics else { panic!("{metrics}") };
    let line = format!("switchback_limit_exceeded_total{{limit=\"{limit}\"}} ");
    metrics.lines().find_map(|metric| metric.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_falls_silent_in_mid_answer_is_given_up() {
    for (client, member) in PAIRS {
        let (feed, body) = fed();
        let body = std::sync::Mutex::new(Some(body));
        let member_of = Member::speaking(member, move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async move { Response::new(body) }
        })
        .await;
        let host = host(&member_of, &format!("between_bytes_timeout = \"150ms\"\n{}", member.keys()), "").await;
        let mut answer = client.ask(host.address(), get()).await.into_body();
        // As long as it says something, and longer in all.
        for piece in ["a", "b", "c", "d", "e", "f"] {
            tokio::time::sleep(Duration::from_millis(30)).await;
            feed.send(piece).await.unwrap();
            assert_eq!(in_time("a piece", answer.frame()).await.unwrap().unwrap().into_data().unwrap(), piece);
        }
        let silent = Instant::now();
        assert!(in_time("the end", answer.frame()).await.is_none_or(|end| end.is_err()), "{client:?} {member:?}");
        assert!(silent.elapsed() >= Duration::from_millis(100));
        in_time("the member is told", feed.closed()).await;
        host.wait_until_idle().await;
        // Nobody knows whether it had more to say.
        assert_eq!(
            (met(&host, "between_bytes_timeout").await, &host.blue(member_of.address).await["failures"]),
            (1, &0.into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_owes_a_part_of_its_answer_has_failed() {
    let member = Member::accepting(|mut stream| async move {
        let _ = read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        // Open until the host has had enough.
        let _ = stream.read_u8().await;
    })
    .await;
    let host = host(&member, "between_bytes_timeout = \"50ms\"", "").await;
    let mut answer = Speaks::Http1.ask(host.address(), get()).await.into_body();
    assert_eq!(in_time("a piece", answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "half");
    assert!(in_time("the end", answer.frame()).await.is_none_or(|end| end.is_err()));
    host.wait_until_idle().await;
    assert_eq!(host.blue(member.address).await["failures"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_may_be_silent_while_an_upload_goes_on() {
    for (client, member) in PAIRS {
        let (host, member_of) = in_front_of(member, |request| async move {
            let body = request.into_body();
            // Answers at once, and says the rest when it has everything.
            let whole = futures_util::stream::once(async move {
                let content = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
                Ok(hyper::body::Frame::data(content))
            });
            Response::new(BodyExt::boxed(http_body_util::StreamBody::new(whole)))
        })
        .await;
        drop(host);
        let host = self::host(&member_of, &format!("between_bytes_timeout = \"150ms\"\n{}", member.keys()), "").await;
        let (feed, body) = fed();
        let request = Request::post("http://web.example/").body(body).unwrap();
        let asked = tokio::spawn(async move { Answer::of(client.ask(host.address(), request).await).await });
        for piece in ["a", "b", "c", "d", "e", "f"] {
            tokio::time::sleep(Duration::from_millis(30)).await;
            feed.send(piece).await.unwrap();
        }
        drop(feed);
        assert_eq!(in_time("an answer", asked).await.unwrap().body, "abcdef", "{client:?} {member:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_has_its_time_however_much_comes() {
    for (client, member) in PAIRS {
        let (feed, body) = fed();
        let body = std::sync::Mutex::new(Some(body));
        let trickling = Member::speaking(member, move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async move { Response::new(body) }
        })
        .await;
        let host = host(&trickling, &format!("whole_timeout = \"100ms\"\n{}", member.keys()), "").await;
        let began = Instant::now();
        let answer = client.ask(host.address(), get()).await.into_body();
        let reading = tokio::spawn(answer.collect());
        while feed.send("x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert!(began.elapsed() < Duration::from_secs(10), "{client:?} {member:?}");
        }
        assert!(reading.await.unwrap().is_err());
        assert!(began.elapsed() >= Duration::from_millis(100));
        host.wait_until_idle().await;
        // It was not silent: others may be served well by it.
        assert_eq!(
            (met(&host, "whole_timeout").await, &host.blue(trickling.address).await["failures"]),
            (1, &0.into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_time_bounds_connecting_and_all_tries() {
    let hole = BlackHole::open().await;
    let keys = "connect_timeout = \"20s\"\nwhole_timeout = \"80ms\"\nbreaker = { failures = 1 }";
    let host = Host::with().pool_at("blue", &[hole.address], keys).vip("web", "pool = \"blue\"").start().await;
    let began = Instant::now();
    let answer = host.get("/", &[]).await;
    assert_eq!(answer.status, 504);
    assert!(began.elapsed() >= Duration::from_millis(80) && began.elapsed() < Duration::from_secs(10));
    // It could have been reached later, for all that is known.
    assert_eq!((met(&host, "whole_timeout").await, &host.blue(hole.address).await["failures"]), (1, &0.into()));
    host.wait_until_idle().await;

    let doubles = [Double::named("a").await, Double::named("b").await, Double::named("c").await];
    doubles.iter().for_each(Double::holds);
    let keys = "response_timeout = \"60ms\"\nwhole_timeout = \"100ms\"";
    let host = Host::with().pool_at("blue", &doubles.each_ref().map(Double::address), keys);
    let host = host.vip("web", "pool = \"blue\"").start().await;
    let began = Instant::now();
    assert_eq!(host.get("/", &[]).await.status, 504);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(doubles.iter().map(Double::times).sum::<usize>() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_not_reached_in_time_is_given_up() {
    let (hole, good) = (BlackHole::open().await, Double::named("good").await);
    let keys = "connect_timeout = \"30ms\"";
    let host = Host::with().workers(1).pool_at("blue", &[hole.address, good.address()], keys);
    let host = host.vip("web", "pool = \"blue\"").start().await;
    for _ in 0..4 {
        assert_eq!(host.get("/", &[]).await.body, "good");
    }
    assert_eq!(host.blue(hole.address).await["connections"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vip_has_its_own_times() {
    let double = Double::named("a").await;
    double.holds();
    let pool = "response_timeout = \"20s\"\nconnect_timeout = \"20s\"";
    for (vip, limit) in
        [("response_timeout = \"40ms\"", "response_timeout"), ("whole_timeout = \"40ms\"", "whole_timeout")]
    {
        let host = host(&double.member, pool, vip).await;
        assert_eq!(host.get("/", &[]).await.status, 504);
        assert_eq!(met(&host, limit).await, 1, "{limit}");
    }
    let hole = BlackHole::open().await;
    let host = Host::with().pool_at("blue", &[hole.address], pool);
    let host = host.vip("web", "pool = \"blue\"\nconnect_timeout = \"40ms\"").start().await;
    assert_eq!(host.get("/", &[]).await.status, 502);
    // Longer than the pool's.
    double.holds();
    let host = self::host(&double.member, "response_timeout = \"10ms\"", "response_timeout = \"20s\"").await;
    let asked = tokio::spawn(send(host.address(), Request::get("/").header("host", "a").body(whole("")).unwrap()));
    crate::support::until("it is held", || double.has() == 1).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    double.lets_go(1);
    assert_eq!(in_time("an answer", asked).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_has_its_own_times_within_the_vips_bounds() {
    let double = Double::named("a").await;
    let policy = "[policies.web.config]\npool = \"blue\"\nheader = \"x-ms\"\n";
    let host = async |pool: &str, vip: &str| {
        let vip = format!("policy = \"web\"\nfallback = \"blue\"\n{vip}");
        let host = Host::with().workers(1).pool_at("blue", &[double.address()], pool).vip("web", &vip).config(policy);
        host.policy("web", plugins::TIME_LIMIT).start().await
    };
    double.holds();
    // Shorter than the vip's.
    let patient = host("response_timeout = \"20s\"", "response_timeout = \"20s\"").await;
    assert_eq!(patient.get("/", &[("x-ms", "40")]).await.status, 504);
    // Longer than the vip allows.
    let bounded = host("response_timeout = \"20s\"", "policy_timeout_max = \"40ms\"").await;
    assert_eq!(bounded.get("/", &[("x-ms", "4000000")]).await.status, 504);
    assert_eq!(met(&bounded, "whole_timeout").await + met(&bounded, "response_timeout").await, 1);
    // Longer than the vip's.
    let hasty = host("response_timeout = \"10ms\"", "response_timeout = \"20ms\"").await;
    assert_eq!(hasty.get("/", &[]).await.status, 504);
    let before = double.times();
    let request = Request::get("/").header("host", "a").header("x-ms", "20000").body(whole("")).unwrap();
    let asked = tokio::spawn(send(hasty.address(), request));
    crate::support::until("it is held", || double.times() > before).await;
    tokio::time::sleep(Duration::from_millis(40)).await;
    double.holds_no_more();
    assert_eq!(in_time("an answer", asked).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_is_no_silence_of_its_member() {
    let member = Member::answering(|_| async { Response::new(whole("x".repeat(8 << 20))) }).await;
    let host = host(&member, "between_bytes_timeout = \"30ms\"", "").await;
    let mut stream = crate::peers::dial(host.address()).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    // Nothing can be passed on meanwhile.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut answer = Vec::new();
    in_time("all of it", stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.len() > 8 << 20, "{}", answer.len());
    host.wait_until_idle().await;
    assert_eq!(host.blue(member.address).await["failures"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_not_limited_where_a_connection_was_upgraded() {
    let member = Member::accepting(|mut stream| async move {
        read_head(&mut stream).await;
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        let _ = stream.write_all(switch).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        let _ = stream.write_all(b"late").await;
    })
    .await;
    let keys = "between_bytes_timeout = \"30ms\"\nwhole_timeout = \"50ms\"\nresponse_timeout = \"30s\"";
    let host = host(&member, keys, "").await;
    let mut stream = crate::peers::dial(host.address()).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 101 "));
    let mut late = [0; 4];
    in_time("what comes late", stream.read_exact(&mut late)).await.unwrap();
    assert_eq!(&late, b"late");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_between_http_versions_is_found_alike() {
    // The head comes, and nothing after it.
    let silent = Member::streaming(|_, mut respond| async move {
        let mut content = respond.send_response(Response::new(()), false).unwrap();
        let _ = std::future::poll_fn(|cx| content.poll_reset(cx)).await;
    })
    .await;
    let host = host(&silent, "protocol = \"http2\"\nbetween_bytes_timeout = \"30ms\"", "").await;
    let answer = Speaks::Http2.ask(host.address(), get()).await;
    assert!(in_time("the end", answer.into_body().collect()).await.is_err());
    let echoing = Member::answering(echo).await;
    let host = self::host(&echoing, "", "").await;
    assert_eq!(host.get("/", &[]).await.status, 200);
}
