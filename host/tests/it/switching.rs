//! The switch: back and forward, what they leave alone, and what they answer.

use std::sync::Arc;

use hyper::{Request, Response};
use serde_json::{Value, json};
use switchback_plugins as plugins;

use crate::support::{Answer, Host, Member, fed, send, until, whole};

async fn blue_then_green() -> (Host, Member, Member) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let host = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "pool = \"blue\"").start().await;
    let (status, receipt) = host.control("PUT", "/v1/vips/web", r#"{"pool":"green","why":"ship it"}"#).await;
    assert_eq!(status, 200, "{receipt}");
    (host, blue, green)
}

fn numbers(receipt: &Value) -> (u64, u64) {
    (receipt["from"]["number"].as_u64().unwrap(), receipt["to"]["number"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pool_is_assigned_at_a_time_and_taken_back() {
    let (host, _blue, _green) = blue_then_green().await;
    assert_eq!(host.get("/", &[]).await.body, "green");
    let (_, receipt) = host.control("POST", "/v1/back", r#"{"why":"errors"}"#).await;
    assert_eq!(host.get("/", &[]).await.body, "blue");
    assert_eq!((numbers(&receipt), &receipt["action"], &receipt["durable"]), ((2, 1), &json!("back"), &json!(true)));
    assert_eq!(
        (&receipt["who"], &receipt["why"], &receipt["door"]),
        (&json!("tester"), &json!("errors"), &json!("api"))
    );
    let (_, receipt) = host.control("POST", "/v1/forward", "").await;
    assert_eq!((numbers(&receipt), &*host.get("/", &[]).await.body), ((1, 2), "green"));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_ends_there_is_nowhere_to_go() {
    let (host, _blue, _green) = blue_then_green().await;
    let (status, answer) = host.control("POST", "/v1/forward", "").await;
    assert_eq!((status.as_u16(), &answer["message"]), (409, &json!("there is no release to go forward to")));
    host.control("POST", "/v1/back", "").await;
    let (status, _) = host.control("POST", "/v1/back", "").await;
    assert_eq!(status, 409);
    assert_eq!(host.current(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_to_what_is_there_makes_no_release() {
    let (host, _blue, _green) = blue_then_green().await;
    let (_, receipt) = host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    assert_eq!((&receipt["changed"], host.current()), (&json!(false), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_left_can_be_activated_again() {
    let (host, _blue, _green) = blue_then_green().await;
    host.control("POST", "/v1/back", "").await;
    host.control("PUT", "/v1/policies/extra", plugins::CANARY.to_vec()).await;
    assert_eq!(host.control("POST", "/v1/forward", "").await.0, 409);
    let (_, receipt) = host.control("POST", "/v1/releases/r2/activate", "").await;
    assert_eq!((numbers(&receipt), &*host.get("/", &[]).await.body), ((3, 4), "green"));
    let (status, _) = host.control("POST", "/v1/releases/99/activate", "").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_began_before_a_switch_ends_whole_and_keeps_no_release() {
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let slow = Member::answering(move |_| {
        let body = body.lock().unwrap().take().unwrap_or_else(|| whole("blue"));
        async move { Response::new(body) }
    })
    .await;
    let green = Member::named("green").await;
    let host = Host::with().pool("blue", &[&slow]).pool("green", &[&green]).vip("web", "pool = \"blue\"").start().await;
    feed.send("begun in blue").await.unwrap();
    let answer = send(host.address(), Request::get("/").header("host", "a").body(whole("")).unwrap()).await;

    let first = Arc::downgrade(&host.app().switch.current.get());
    let flights = host.app().switch.current.get().flights.clone();
    let (_, receipt) = host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    assert_eq!(receipt["in_flight_on_old"], 1);
    // More switches than are kept ready, so that only the body could still hold the first release.
    for turn in 0..10 {
        let pool = if turn % 2 == 0 { "blue" } else { "green" };
        host.control("PUT", "/v1/vips/web", format!(r#"{{"pool":"{pool}"}}"#)).await;
    }
    until("the first release is let go", || first.strong_count() == 0).await;
    assert_eq!(flights.in_flight(), 1);
    feed.send(", ended in blue").await.unwrap();
    drop(feed);
    assert_eq!(Answer::of(answer).await.body, "begun in blue, ended in blue");
    until("nothing is in flight", || flights.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn back_reaches_releases_that_are_no_longer_kept_ready() {
    let (host, _blue, _green) = blue_then_green().await;
    for turn in 0..12 {
        let pool = if turn % 2 == 0 { "blue" } else { "green" };
        host.control("PUT", "/v1/vips/web", format!(r#"{{"pool":"{pool}"}}"#)).await;
    }
    for expected in (1..14).rev() {
        let (status, receipt) = host.control("POST", "/v1/back", "").await;
        assert_eq!((status.as_u16(), numbers(&receipt).1), (200, expected));
    }
    assert_eq!(host.get("/", &[]).await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_the_host_switches() {
    let (host, _blue, _green) = blue_then_green().await;
    let address = host.address();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let io = hyper_util::rt::TokioIo::new(stream);
                let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                let mut asked = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    sender.ready().await.expect("the connection is kept through every switch");
                    let request = Request::get("/").header("host", "a").body(whole("")).unwrap();
                    let answer = Answer::of(sender.send_request(request).await.expect("an answer")).await;
                    assert!(answer.status == 200 && ["blue", "green"].contains(&&*answer.body), "{answer:?}");
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for turn in 0..60 {
        let (status, _) = match turn % 4 {
            0 => host.control("POST", "/v1/back", "").await,
            1 => host.control("POST", "/v1/forward", "").await,
            2 => host.control("PUT", "/v1/vips/web", r#"{"pool":"blue"}"#).await,
            _ => host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await,
        };
        assert_eq!(status, 200);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for client in clients {
        assert!(client.await.expect("no request failed") > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_agrees_with_what_serves_however_changes_and_steps_meet() {
    let (mut host, _blue, _green) = blue_then_green().await;
    for turn in 0..40 {
        let pool = if turn % 2 == 0 { r#"{"pool":"blue"}"# } else { r#"{"pool":"green"}"# };
        let direction = if turn % 3 == 0 { "/v1/forward" } else { "/v1/back" };
        let ((assigned, answer), _) =
            tokio::join!(host.control("PUT", "/v1/vips/web", pool), host.control("POST", direction, ""));
        assert!(assigned == 200 || assigned == 409, "{answer}");
    }
    let trail = host.app().switch.trail();
    assert_eq!(trail.current(), host.current());
    host.restart().await;
    assert_eq!(host.app().switch.trail(), trail);
}

#[tokio::test(flavor = "multi_thread")]
async fn back_does_not_wait_for_the_disk_and_the_journal_catches_up() {
    let (mut host, _blue, _green) = blue_then_green().await;
    // Somebody else writes to the journal and does not end: for us, a disk that hangs.
    let other = rusqlite::Connection::open(host.state_path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (status, receipt) = host.control("POST", "/v1/back", r#"{"why":"at night"}"#).await;
    assert_eq!((status.as_u16(), numbers(&receipt)), (200, (2, 1)), "{receipt}");
    assert_eq!((&receipt["durable"], &receipt["id"]), (&json!(false), &json!(3)));
    assert!(receipt["troubles"][0].as_str().unwrap().contains("did not answer within 500ms"), "{receipt}");
    assert_eq!(host.get("/", &[]).await.body, "blue");
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!((&status["current"]["number"], &status["recent"][0]["why"]), (&json!(1), &json!("at night")));
    assert!(status["journal"]["waiting"].as_u64().unwrap() > 0, "{}", status["journal"]);
    let (_, kept) = host.control("GET", "/v1/receipts/3", "").await;
    assert_eq!((&kept["durable"], &kept["receipt"]["why"]), (&json!(false), &json!("at night")));
    other.execute_batch("ROLLBACK").unwrap();
    host.wait_for_entry("back", "at night").await;
    host.restart().await;
    assert_eq!((host.current(), &*host.get("/", &[]).await.body), (1, "blue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_take_turns() {
    let (host, _blue, _green) = blue_then_green().await;
    let calls = (0..20).map(|turn| {
        let host = &host;
        async move {
            let pool = if turn % 2 == 0 { "blue" } else { "green" };
            host.control("PUT", "/v1/vips/web", format!(r#"{{"pool":"{pool}"}}"#)).await
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let (_, history) = host.control("GET", "/v1/history", "").await;
    let mut trail: Vec<u64> = serde_json::from_value(history["trail"].clone()).unwrap();
    assert_eq!(trail.last(), Some(&host.current()));
    trail.dedup();
    assert!(trail.is_sorted());
}
