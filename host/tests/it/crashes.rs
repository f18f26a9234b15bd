//! Why a policy failed can be read afterwards, and the request was decided by the same all the same.

use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use switchback_plugins::{self as plugins, faulty};

use crate::support::{Host, Member, send, until_async, whole};

/// A host whose vip is decided by the policy of the first release, and then by this one, until it fails.
async fn failing(guest: &[u8], before: &[u8], config: &str) -> (Host, Member) {
    let blue = Member::named("blue").await;
    let host = Host::with()
        .workers(1)
        .pool("blue", &[&blue])
        .config(config)
        .vip("web", "policy = \"web\"\nfallback = \"blue\"")
        .policy("web", before)
        .start()
        .await;
    host.activate_from_folder("web", guest).await;
    (host, blue)
}

async fn crashes(host: &Host) -> Vec<Value> {
    let (status, crashes) = host.control("GET", "/v1/crashes", "").await;
    assert_eq!(status, 200, "{crashes}");
    crashes.as_array().unwrap().clone()
}

async fn crash(host: &Host, occasion: &str) -> Value {
    let found = async || crashes(host).await.into_iter().find(|crash| crash["occasion"] == occasion);
    until_async("a crash bundle is kept", async || found().await.is_some()).await;
    let id = found().await.unwrap()["id"].as_str().unwrap().to_owned();
    host.control("GET", &format!("/v1/crashes/{id}"), "").await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_holds_all_that_the_policy_decided_by() {
    let config = "[policies.web]\nconfig = { pool = \"blue\" }\n";
    let (host, _blue) = failing(faulty::TRAP, plugins::LABEL, config).await;
    until_async("the policy has failed", async || {
        let fields = [("cookie", "uid=7"), ("authorization", "Basic eDp5"), ("x-odd", "a")];
        host.get("/cart?x=1", &fields).await;
        !crashes(&host).await.is_empty()
    })
    .await;
    let crash = crash(&host, "first-fall").await;
    let request = &crash["request"];
    let asked = ["method", "scheme", "authority", "path", "query", "version", "client"].map(|name| &request[name]);
    assert_eq!(json!(asked), json!(["GET", "http", "web.example", "/cart", "x=1", "HTTP/1.1", "127.0.0.1"]), "{crash}");
    for (name, value) in [("cookie", "uid=7"), ("authorization", "Basic eDp5"), ("x-odd", "a")] {
        assert!(request["fields"].as_array().unwrap().contains(&json!({ "name": name, "value": value })), "{crash}");
    }
    assert_eq!(json!([crash["release"], crash["vip"], crash["policy"]]), json!([2, "web", "web"]));
    assert_eq!((&crash["config"], &crash["manifest"]), (&json!("{\"pool\":\"blue\"}"), &json!(["blue"])));
    assert!(crash["fault"].as_str().unwrap().starts_with("trapped"), "{crash}");
    assert!(crash["backtrace"].to_string().contains("panic"), "{crash}");
    assert!(crash["now_nanos"].as_u64().unwrap() > 1_600_000_000_000_000_000 && crash["seed"].is_u64(), "{crash}");
    assert_eq!(crash["limits"]["memory_bytes"], 16 * 1024 * 1024);
    let entry = host.wait_for_entry("fall", "trapped").await;
    assert!(entry["why"].as_str().unwrap().ends_with(crash["id"].as_str().unwrap()), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_back_names_its_bundle_and_strangers_cannot_read_it() {
    let (host, _blue) = failing(faulty::TRAP, plugins::CANARY, "").await;
    until_async("the host goes back", async || {
        host.get("/", &[]).await;
        host.current() == 1
    })
    .await;
    let crash = crash(&host, "went-back").await;
    let entry = host.wait_for_entry("back", "failed 5 times").await;
    assert!(entry["why"].as_str().unwrap().ends_with(crash["id"].as_str().unwrap()), "{entry}");
    for path in ["/v1/crashes".into(), format!("/v1/crashes/{}", crash["id"].as_str().unwrap())] {
        let request = Request::get(path).header("host", "localhost").body(whole("")).unwrap();
        assert_eq!(send(host.app().control, request).await.status(), StatusCode::UNAUTHORIZED);
    }
    let (status, _) = host.control("GET", "/v1/crashes/1-1", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

/// The previous release's policy is the same witness, with more patience: what it tells is what the other was told.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_before_decides_by_the_same_clock_chance_and_load() {
    let blue = Member::named("blue").await;
    let setup = Host::with().workers(1).pool("blue", &[&blue]).vip("web", "policy = \"web\"");
    let setup = setup.config("[policies.web]\nconfig = { after = 1000000 }\n").policy("web", faulty::WITNESS);
    let host = setup.start().await;
    let told = "/v1/policies/web?config=%7B%22after%22%3A16%7D";
    let (status, receipt) = host.control("PUT", told, faulty::WITNESS.to_vec()).await;
    assert_eq!(status, 200, "{receipt}");
    let mut testimonies = Vec::new();
    until_async("the policy has failed", async || {
        let answer = host.get("/", &[]).await;
        assert_eq!(answer.status, 200);
        testimonies.push(answer.header("x-witness").to_owned());
        !crashes(&host).await.is_empty()
    })
    .await;
    let crash = crash(&host, "first-fall").await;
    let told = crash["log"][0].as_str().unwrap();
    assert!(testimonies.iter().any(|testimony| testimony == told), "{told} is none of {testimonies:?}");
    assert_eq!(told.split(' ').next().unwrap(), crash["now_nanos"].to_string());
    assert_eq!(crash["loads"], json!([{ "pool": 0, "members": 1, "in_flight": crash["loads"][0]["in_flight"] }]));
    assert!(crash["log"].to_string().contains("this witness is tired"), "{crash}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_fault_the_policy_before_decides_the_request() {
    let patient = "[policies.web]\nmemory = \"2MiB\"\ndeadline = \"500ms\"\nconfig = { pool = \"blue\" }\n";
    let usual = "[policies.web]\nconfig = { pool = \"blue\" }\n";
    for (guest, config, fault) in [
        (faulty::TRAP, usual, "trapped"),
        (faulty::ENDLESS_LOOP, usual, "overran its deadline"),
        (faulty::MEMORY_HOARD, patient, "ran out of memory"),
        (faulty::UNKNOWN_POOL, usual, "its manifest names"),
    ] {
        let (host, _blue) = failing(guest, plugins::LABEL, config).await;
        until_async("the policy has failed", async || {
            assert_eq!(host.get("/", &[]).await.status, 200);
            !crashes(&host).await.is_empty()
        })
        .await;
        let crash = crash(&host, "first-fall").await;
        assert!(crash["fault"].as_str().unwrap().contains(fault), "{crash}");
        let (_, status) = host.control("GET", "/v1/status", "").await;
        let vip = &status["vips"][0];
        assert!(vip["by_previous"].as_u64() >= Some(1) && vip["by_fallback"] == 0, "{status}");
    }
}
