//! A release that does worse than the one before is taken back, and nothing else is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Request, Response};
use serde_json::Value;
use switchback_plugins::faulty::TRAP;
use tokio::task::JoinSet;

use crate::support::{Host, Member, Setup, until, until_async, whole};

/// How many of ten requests a member fails; can be changed.
type Failing = Arc<AtomicU64>;

async fn member(of_ten: u64) -> (Member, Failing) {
    let failing = Failing::new(of_ten.into());
    let (asked, fails) = (AtomicU64::new(0), failing.clone());
    let member = Member::answering(move |_| {
        // Spread: a breaker is for those that fail in a row.
        let turn = asked.fetch_add(1, Ordering::Relaxed) * 3 % 10;
        let status = if turn < fails.load(Ordering::Relaxed) { 500 } else { 200 };
        async move { Response::builder().status(status).body(whole("")).unwrap() }
    })
    .await;
    (member, failing)
}

/// Breakers would leave such members alone before anybody could judge.
const NO_BREAKER: &str = "breaker = { failures = 0, failure_percent = 0 }\nretries = { tries_max = 1 }";

fn setup(pools: &[(&str, &Member)]) -> Setup {
    pools.iter().fold(Host::with(), |setup, (name, member)| setup.pool_at(name, &[member.address], NO_BREAKER))
}

/// Has clients ask for each of these hosts, a few hundred times a second in all, until dropped.
fn clients(host: &Host, names: &[&'static str]) -> (JoinSet<()>, Arc<AtomicU64>) {
    let (address, answered) = (host.address(), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for name in names.iter().cycle().take(4) {
        let (answered, name) = (answered.clone(), *name);
        clients.spawn(async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            loop {
                let request = Request::get("/").header("host", name).body(whole("")).unwrap();
                let answer = sender.send_request(request).await.expect("there is an answer");
                http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(8)).await;
            }
        });
    }
    (clients, answered)
}

async fn more(answered: &AtomicU64, many: u64) {
    let wanted = answered.load(Ordering::Relaxed) + many;
    until("requests are answered", || answered.load(Ordering::Relaxed) >= wanted).await;
}

async fn assign(host: &Host, pool: &str) {
    let (status, receipt) = host.control("PUT", "/v1/vips/web", format!("{{\"pool\":\"{pool}\"}}")).await;
    assert_eq!(status, 200, "{receipt}");
}

async fn event(host: &Host, kind: &str) -> Value {
    let found = || async {
        let (_, events) = host.control("GET", "/v1/events", "").await;
        events.as_array().unwrap().iter().find(|event| event["kind"] == kind).cloned()
    };
    until_async("it is told", async || found().await.is_some()).await;
    found().await.expect("events are kept")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_is_taken_back_once_and_then_a_person_is_waited_for() {
    let ((blue, _), (green, _)) = (member(0).await, member(3).await);
    let host = setup(&[("blue", &blue), ("green", &green)]).vip("web", "pool = \"blue\"").start().await;
    let (_clients, answered) = clients(&host, &["web.example"]);
    more(&answered, 100).await;
    assign(&host, "green").await;
    until("it is taken back", || host.current() == 1).await;
    let entry = host.wait_for_entry("back", "Fisher's exact test").await;
    assert_eq!((&entry["door"], &entry["from"], &entry["to"]), (&"host".into(), &2.into(), &1.into()));
    let why = entry["why"].as_str().unwrap();
    assert!(why.starts_with("r2 is worse than before: vip `web`: failed "), "{why}");
    let is_latched = async || !host.control("GET", "/v1/status", "").await.1["auto_back"]["latch"].is_null();
    until_async("it is latched", is_latched).await;
    let (_, metrics) = host.control("GET", "/metrics", "").await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("switchback_latched 1\n"), "{metrics}");
    assert!(metrics.contains("switchback_verdicts_total{sentence=\"went_back\"} 1\n"), "{metrics}");
    event(&host, "went-back").await;

    // The same again by a person: they have the say, and the latch is open.
    host.control("POST", "/v1/forward", "").await;
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!((&status["auto_back"]["latch"], &status["auto_back"]["watching"]), (&Value::Null, &Value::Null));
    more(&answered, 200).await;
    assert_eq!(host.current(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latch_survives_a_restart() {
    let ((blue, _), (green, _)) = (member(0).await, member(3).await);
    let mut host = setup(&[("blue", &blue), ("green", &green)]).vip("web", "pool = \"blue\"").start().await;
    let (mut clients, answered) = clients(&host, &["web.example"]);
    more(&answered, 100).await;
    assign(&host, "green").await;
    until("it is latched", || host.app().switch.is_latched()).await;
    clients.shutdown().await;
    host.restart().await;
    assert!(host.app().switch.is_latched() && host.current() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_latched_the_host_does_not_go_back_for_falls_either() {
    let ((blue, _), (green, _)) = (member(0).await, member(3).await);
    let host = setup(&[("blue", &blue), ("green", &green)])
        .workers(1)
        .vip("web", "policy = \"web\"\nfallback = \"blue\"")
        .config("[policies.web]\nconfig = { after = 1000000 }\n")
        .policy("web", TRAP)
        .start()
        .await;
    let (status, receipt) = host.control("PUT", "/v1/policies/web?config=%7B%22after%22%3A200%7D", TRAP).await;
    assert_eq!(status, 200, "{receipt}");
    let (_clients, answered) = clients(&host, &["web.example"]);
    more(&answered, 100).await;
    assign(&host, "green").await;
    until("it is taken back", || host.app().switch.is_latched()).await;
    assert_eq!(host.current(), 2);
    // Now the policy of the release that it went back to fails, and there is one before it that would not.
    host.wait_for_entry("fall", "trapped").await;
    let falls = async || host.control("GET", "/v1/status", "").await.1["vips"][0]["by_previous"].as_u64() > Some(20);
    until_async("it has failed often", falls).await;
    assert_eq!(host.current(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_as_often_as_before_is_left() {
    let ((blue, _), (green, _)) = (member(1).await, member(1).await);
    let host = setup(&[("blue", &blue), ("green", &green)]).vip("web", "pool = \"blue\"").start().await;
    let (_clients, answered) = clients(&host, &["web.example"]);
    more(&answered, 200).await;
    assign(&host, "green").await;
    event(&host, "watched").await;
    more(&answered, 1000).await;
    assert_eq!(host.current(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_only_reports() {
    let ((blue, _), (green, _)) = (member(0).await, member(3).await);
    let host = setup(&[("blue", &blue), ("green", &green)])
        .vip("web", "pool = \"blue\"\nauto_back = { mode = \"report\" }")
        .start()
        .await;
    let (_clients, answered) = clients(&host, &["web.example"]);
    more(&answered, 100).await;
    assign(&host, "green").await;
    let worse = event(&host, "worse").await;
    assert!(worse["reason"].as_str().unwrap().starts_with("r2 is worse than r1: vip `web`: failed "), "{worse}");
    more(&answered, 200).await;
    assert_eq!(host.current(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_everything_fails_it_is_not_the_release() {
    let ((blue, of_blue), (green, of_green), (calm, of_calm)) = (member(0).await, member(0).await, member(0).await);
    let host = setup(&[("blue", &blue), ("green", &green), ("calm", &calm)])
        .front("", "pool = \"blue\"\n[vips.calm]\nlisten = \"front\"\npool = \"calm\"\nhosts = [\"calm.example\"]")
        .start()
        .await;
    let (_clients, answered) = clients(&host, &["web.example", "calm.example"]);
    more(&answered, 200).await;
    [of_blue, of_green, of_calm].iter().for_each(|failing| failing.store(5, Ordering::Relaxed));
    assign(&host, "green").await;
    let excused = event(&host, "excused").await;
    assert!(excused["reason"].as_str().unwrap().contains("vips that it did not change are worse as well"), "{excused}");
    more(&answered, 200).await;
    assert_eq!(host.current(), 2);
}
