//! Whether `back` can be pressed is known before it is.

use serde_json::{Value, json};
use switchback_plugins as plugins;

use crate::support::{BY_GROUP, Host, Member, until_async};

async fn way_back(host: &Host) -> Value {
    host.control("GET", "/v1/status", "").await.1["way_back"].clone()
}

async fn until_ready(host: &Host, to: u64) {
    let ready = json!({ "to": to, "ready": true, "reasons": [] });
    until_async("back is ready", async || way_back(host).await == ready).await;
}

async fn until_not_ready(host: &Host, to: u64, why: &str) {
    let is_not = async || {
        let way = way_back(host).await;
        let says_why = way["reasons"].to_string().contains(why);
        way["to"] == to && way["ready"] == false && says_why
    };
    until_async(why, is_not).await;
}

async fn assign(host: &Host, pool: &str) {
    let (status, receipt) = host.control("PUT", "/v1/vips/web", format!("{{\"pool\":\"{pool}\"}}")).await;
    assert_eq!(status, 200, "{receipt}");
}

async fn event(host: &Host, kind: &str, reason: &str) {
    let is_told = async || {
        let (_, events) = host.control("GET", "/v1/events", "").await;
        let events = events.as_array().unwrap().clone();
        events.iter().any(|event| event["kind"] == kind && event["reason"].as_str().unwrap().starts_with(reason))
    };
    until_async(reason, is_told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn back_is_ready_once_everything_it_needs_is() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).config(BY_GROUP);
    let host = setup.vip("web", "policy = \"web\"").policy("web", plugins::BY_HEADER).start().await;
    assert_eq!(way_back(&host).await, json!({ "to": null, "ready": false, "reasons": [] }));
    assign(&host, "green").await;
    // Whoever asks at once is told how it is, not how it was.
    let at_once = way_back(&host).await;
    let reasons = at_once["reasons"].to_string();
    assert!(at_once["to"] == 1 && !reasons.contains("looked at"), "{at_once}");
    until_ready(&host, 1).await;
    event(&host, "back-ready", "back: ready -> r1").await;
    let (_, metrics) = host.control("GET", "/metrics", "").await;
    assert!(metrics.as_str().unwrap().contains("switchback_back_ready 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_sick_or_cannot_be_reached_is_in_the_way() {
    for (check, why) in [
        ("check = { kind = \"tcp\", interval = \"100ms\", fall = 1 }", "pool blue has no fit member ("),
        ("", "pool blue has no open connection to a fit member"),
    ] {
        let (blue, green) = (Member::named("blue").await, Member::named("green").await);
        let setup = Host::with().pool_at("blue", &[blue.address], check).pool("green", &[&green]);
        let host = setup.vip("web", "pool = \"blue\"").start().await;
        assign(&host, "green").await;
        until_ready(&host, 1).await;
        drop(blue);
        until_not_ready(&host, 1, why).await;
        event(&host, "back-not-ready", "back: not ready -> r1: pool blue").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_keep_no_connections_are_not_in_the_way() {
    // Closes after each answer, and so does a connection that is opened ahead.
    let blue = Member::accepting(|stream| async move { drop(stream) }).await;
    let (never, green) = (Member::named("never").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).pool_at(
        "never",
        &[never.address],
        "keep_alive = { idle_max = 0 }",
    );
    let host = setup.vip("web", "pool = \"blue\"").start().await;
    assign(&host, "green").await;
    until_ready(&host, 1).await;
    assign(&host, "never").await;
    until_ready(&host, 2).await;
    assign(&host, "green").await;
    until_ready(&host, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_staged_is_in_the_way() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).config(BY_GROUP);
    let mut host = setup.vip("web", "policy = \"web\"").policy("web", plugins::BY_HEADER).start().await;
    assign(&host, "green").await;
    until_ready(&host, 1).await;
    host.stop().await;
    for folder in ["blobs", "compiled"] {
        std::fs::remove_dir_all(host.state_path().join(folder)).unwrap();
    }
    host.restart().await;
    until_not_ready(&host, 1, "policy `web`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_of_no_return_is_in_the_way() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
    let host = setup.vip("web", "pool = \"blue\"").start().await;
    assign(&host, "green").await;
    until_ready(&host, 1).await;
    let (status, answer) = host.control("PUT", "/v1/releases/2/fence", "{\"why\":\"new tables\"}").await;
    assert_eq!(status, 200, "{answer}");
    until_not_ready(&host, 1, "r2 is a point of no return (new tables)").await;
}
