//! Copies of requests for another pool: whole, bounded, and never in the way of the originals.

use futures_util::future::join_all;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use tokio::time::Instant;

use crate::doubles::{BlackHole, Double};
use crate::peers::{PAIRS, dial};
use crate::support::{Answer, Body, Host, fed, in_time, nobody, send, until, whole};

/// A pool, another that gets copies, and how they are made.
async fn host(blue: &Double, copies: std::net::SocketAddr, mirror: &str) -> Host {
    let mirror = format!("pool = \"blue\"\nmirror = {{ pool = \"shadow\"{mirror} }}");
    let host = Host::with().workers(1).pool_at("blue", &[blue.address()], "");
    host.pool_at("shadow", &[copies], "keep_alive = { idle_max = 0 }").vip("web", &mirror).start().await
}

/// Copies made, and left out.
async fn copies(host: &Host) -> (u64, u64) {
    let (_, vips) = host.control("GET", "/v1/vips", "").await;
    let count = |name: &str| vips[0][name].as_u64().unwrap_or_else(|| panic!("{vips}"));
    (count("copies"), count("copies_left_out"))
}

fn unknown_length(pieces: Vec<Bytes>) -> Body {
    BodyExt::boxed(StreamBody::new(stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_request_with_all_of_its_content() {
    for (client, member) in PAIRS {
        let (blue, shadow) = (Double::speaking(member, "blue").await, Double::speaking(member, "shadow").await);
        let keys = member.keys();
        let host = Host::with().pool_at("blue", &[blue.address()], keys).pool_at("shadow", &[shadow.address()], keys);
        let host = host.vip("web", "pool = \"blue\"\nmirror = { pool = \"shadow\" }").start().await;
        let contents =
            [whole(""), whole("content"), unknown_length(vec!["con".into(), "tent".into()]), unknown_length(vec![])];
        for (number, content) in contents.into_iter().enumerate() {
            let request = Request::post("http://web.example/a?b=c").header("x-mine", "1").header("cookie", "a=b");
            let answer = Answer::of(client.ask(host.address(), request.body(content).unwrap()).await).await;
            assert_eq!(answer.body, "blue");
            until("the copy is there", || shadow.times() == number + 1).await;
            let (original, copy) = (blue.asked().pop().unwrap(), shadow.asked().pop().unwrap());
            assert_eq!(
                (&copy.method, &copy.path, &copy.content),
                (&original.method, &original.path, &original.content)
            );
            for field in ["x-mine", "cookie", "host", "x-forwarded-for", "x-request-id"] {
                assert_eq!(copy.headers.get(field), original.headers.get(field), "{field}");
            }
        }
        host.wait_until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_copied() {
    let (blue, shadow) = (Double::named("blue").await, Double::named("shadow").await);
    let host = host(&blue, shadow.address(), ", percent = 25").await;
    for _ in 0..400 {
        assert_eq!(host.get("/", &[]).await.body, "blue");
    }
    let (made, left_out) = copies(&host).await;
    // Binomial: a quarter of 400, and five standard deviations on either side.
    assert!((57..=143).contains(&made) && left_out == 0, "{made}");
    until("all copies are there", || shadow.times() as u64 == made).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_too_long_is_not_copied_and_arrives_all_the_same() {
    let (blue, shadow) = (Double::named("blue").await, Double::named("shadow").await);
    let host = host(&blue, shadow.address(), ", body_max = \"1KiB\"").await;
    let bytes = |count: usize| Bytes::from("x".repeat(count));
    let contents = [
        (whole(bytes(1024)), 1024, true),
        (whole(bytes(1025)), 1025, false),
        (unknown_length(vec![bytes(1000), bytes(24)]), 1024, true),
        (unknown_length(vec![bytes(1000), bytes(25)]), 1025, false),
        (unknown_length(vec![bytes(100_000)]), 100_000, false),
    ];
    let (mut made, mut left_out) = (0, 0);
    for (content, length, is_copied) in contents {
        let request = Request::post("/").header("host", "a").body(content).unwrap();
        assert_eq!(send(host.address(), request).await.status(), 200);
        assert_eq!(blue.asked().pop().unwrap().content.len(), length);
        (made, left_out) = (made + u64::from(is_copied), left_out + u64::from(!is_copied));
        until("the copy is there", || shadow.times() as u64 == made).await;
        assert_eq!(copies(&host).await, (made, left_out));
    }
    assert!(shadow.asked().iter().all(|asked| asked.content.len() == 1024));
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_never_wait_for_copies() {
    let (blue, shadow) = (Double::named("blue").await, Double::named("shadow").await);
    shadow.holds();
    let hole = BlackHole::open().await;
    for address in [shadow.address(), hole.address, nobody()] {
        let host = host(&blue, address, ", requests_max = 10").await;
        let began = Instant::now();
        for _ in 0..30 {
            assert_eq!(host.get("/", &[]).await.body, "blue");
            let request = Request::post("/").header("host", "a").body(whole("content")).unwrap();
            assert_eq!(send(host.address(), request).await.status(), 200);
        }
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
        let (made, left_out) = copies(&host).await;
        assert_eq!(made + left_out, 60);
        assert!(shadow.most() <= 10);
    }
    shadow.holds_no_more();
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_wait_for_their_content_count_as_well() {
    let (blue, shadow) = (Double::named("blue").await, Double::named("shadow").await);
    let host = host(&blue, shadow.address(), ", requests_max = 2").await;
    let uploads = join_all((0..5).map(|_| async {
        let (feed, body) = fed();
        feed.send("some").await.unwrap();
        let request = Request::post("/").header("host", "a").body(body).unwrap();
        (feed, tokio::spawn(send(host.address(), request)))
    }))
    .await;
    until("all are under way", || host.in_flight() == 5).await;
    let mut feeds = Vec::new();
    for (feed, answer) in uploads {
        feeds.push((feed, answer));
    }
    for (feed, answer) in feeds {
        drop(feed);
        assert_eq!(in_time("an answer", answer).await.unwrap().status(), 200);
    }
    until("both copies are there", || shadow.times() == 2).await;
    assert_eq!(copies(&host).await, (2, 3));
    // Their places are free again.
    host.wait_until_idle().await;
    host.get("/", &[]).await;
    until("the copy is there", || shadow.times() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_not_finish_is_not_copied() {
    use tokio::io::AsyncWriteExt;
    let (blue, shadow) = (Double::named("blue").await, Double::named("shadow").await);
    let host = host(&blue, shadow.address(), ", requests_max = 1").await;
    for _ in 0..3 {
        let mut stream = dial(host.address()).await;
        stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        until("it is under way", || host.in_flight() == 1).await;
        drop(stream);
        host.wait_until_idle().await;
    }
    host.get("/", &[]).await;
    until("the copy is there", || shadow.times() == 1).await;
    assert_eq!(shadow.asked()[0].method, "GET");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_copies_is_said_of_their_pool_alone() {
    let (blue, shadow) = (Double::named("blue").await, Double::named("shadow").await);
    shadow.answers(500);
    let host = host(&blue, shadow.address(), "").await;
    for _ in 0..5 {
        assert_eq!(host.get("/", &[]).await.status, 200);
    }
    until("all copies are there", || shadow.times() == 5).await;
    host.wait_until_idle().await;
    let (blue, shadow): (Value, Value) = (host.pool("blue").await, host.pool("shadow").await);
    assert_eq!((&blue["members"][0]["failures"], &blue["requests"]), (&0.into(), &5.into()));
    assert_eq!((&shadow["members"][0]["failures"], &shadow["requests"]), (&5.into(), &5.into()));
    let (_, vips) = host.control("GET", "/v1/vips", "").await;
    assert_eq!(vips[0]["requests"], 5, "{vips}");
}
