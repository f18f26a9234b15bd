//! Clients that are bound to a member by the proxy's cookie.

use std::net::SocketAddr;

use futures_util::future::join_all;
use hyper::Request;

use crate::doubles::Double;
use crate::support::{Answer, Host, Member, until, whole};

const STICKY: &str = "sticky = { cookie = \"m\" }";

async fn three() -> (Vec<Double>, Vec<SocketAddr>) {
    let doubles = join_all(["a", "b", "c"].map(Double::named)).await;
    let addresses = doubles.iter().map(Double::address).collect();
    (doubles, addresses)
}

async fn host(members: &[SocketAddr], keys: &str) -> Host {
    Host::with()
        .workers(2)
        .pool_at("blue", members, &format!("{STICKY}\n{keys}"))
        .vip("web", "pool = \"blue\"")
        .start()
        .await
}

/// The cookie that an answer sets, as it is sent back.
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

async fn ask(host: &Host, cookie: &str) -> Answer {
    host.get("/", &[("cookie", cookie)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_keeps_the_member_that_it_met_first() {
    let (_doubles, members) = three().await;
    let host = host(&members, "").await;
    for _ in 0..6 {
        let first = host.get("/", &[]).await;
        let cookie = cookie(&first);
        assert!(cookie.starts_with("m=") && cookie.len() == 2 + 32, "{cookie}");
        assert!(first.header("set-cookie").ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{first:?}");
        for _ in 0..4 {
            let again = ask(&host, &format!("x=y; {cookie}")).await;
            assert_eq!((&again.body, again.header("set-cookie")), (&first.body, ""));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_says_how_long_it_is_kept_and_that_it_is_for_tls() {
    let (_doubles, members) = three().await;
    let host = Host::with().pool_at("blue", &members, "sticky = { cookie = \"m\", max_age = \"90s\" }");
    let host = host.front("trusted = [\"127.0.0.1\"]", "pool = \"blue\"").start().await;
    for (scheme, rest) in [("http", "; Max-Age=90"), ("https", "; Secure; Max-Age=90")] {
        let answer = host.get("/", &[("x-forwarded-proto", scheme)]).await;
        let expected = format!("; Path=/; HttpOnly; SameSite=Lax{rest}");
        assert!(answer.header("set-cookie").ends_with(&expected), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_the_proxy_did_not_make_binds_to_nobody() {
    let (_doubles, members) = three().await;
    let host = host(&members, "").await;
    let good = cookie(&host.get("/", &[]).await);
    let mut forged: Vec<String> = (2..good.len())
        .map(|at| {
            let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &good[..at], &good[at + 1..])
        })
        .collect();
    forged.extend(["m=".into(), "m=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(), good[..20].into(), format!("{good}AA")]);
    forged.push(format!("m=\"{}\"", &good[2..]));
    for forged in forged {
        let answer = ask(&host, &forged).await;
        assert_eq!((answer.status.as_u16(), answer.header("set-cookie").is_empty()), (200, false), "{forged}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_good_for_its_pool_alone() {
    let (_doubles, members) = three().await;
    let host = Host::with()
        .pool_at("blue", &members, STICKY)
        .pool_at("green", &members, STICKY)
        .vip("web", "pool = \"blue\"")
        .start()
        .await;
    let blue = cookie(&host.get("/", &[]).await);
    host.control("PUT", "/v1/vips/web", "{\"pool\": \"green\"}").await;
    let other = ask(&host, &blue).await;
    assert!(!other.header("set-cookie").is_empty());
    // Back at its pool, it is good again.
    host.control("POST", "/v1/back", "").await;
    assert_eq!(ask(&host, &blue).await.header("set-cookie"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_outlives_switches_edits_and_restarts() {
    let (_doubles, members) = three().await;
    let mut host = host(&members, "").await;
    let first = host.get("/", &[]).await;
    let cookie = cookie(&first);
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    let before = host.current();
    std::fs::write(host.config_path(), text.replace(STICKY, &format!("{STICKY}\nbalance = \"least-requests\"")))
        .unwrap();
    until("the edit serves", || host.current() > before).await;
    assert_eq!(
        (ask(&host, &cookie).await.body, ask(&host, &cookie).await.header("set-cookie")),
        (first.body.clone(), "")
    );
    host.restart().await;
    let again = ask(&host, &cookie).await;
    assert_eq!((&again.body, again.header("set-cookie")), (&first.body, ""));
    // Nobody else can make it: the key is the host's own.
    let other = self::host(&members, "").await;
    assert!(!ask(&other, &cookie).await.header("set-cookie").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_member_fails_is_bound_to_another() {
    let (doubles, members) = three().await;
    let host = host(&members, "breaker = { failures = 1, rest = \"1m\" }").await;
    let first = host.get("/", &[]).await;
    let bound = doubles.iter().find(|double| double.times() == 1).unwrap();
    bound.answers(503);
    let again = ask(&host, &cookie(&first)).await;
    assert!(again.status == 200 && again.body != first.body && !again.header("set-cookie").is_empty(), "{again:?}");
    // While its member is left alone it stays with the new one.
    let new = cookie(&again);
    for _ in 0..4 {
        let answer = ask(&host, &new).await;
        assert_eq!((&answer.body, answer.header("set-cookie")), (&again.body, ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_member_keeps_those_that_are_bound_to_it_until_the_limit() {
    let (doubles, members) = three().await;
    let host = host(&members, "drain_limit = \"1m\"").await;
    let first = host.get("/", &[]).await;
    let bound = doubles.iter().find(|double| double.times() == 1).unwrap();
    let edit = async |from: &str, to: &str| {
        let text = std::fs::read_to_string(host.config_path()).unwrap();
        let before = host.current();
        std::fs::write(host.config_path(), text.replace(from, to)).unwrap();
        until("the edit serves", || host.current() > before).await;
    };
    let plain = format!("\"{}\"", bound.address());
    edit(&plain, &format!("{{ at = {plain}, drain = true }}")).await;
    assert_eq!(host.blue(bound.address()).await["state"], "drained");
    let before = bound.times();
    for _ in 0..12 {
        assert_ne!(host.get("/", &[]).await.body, first.body);
    }
    assert_eq!(bound.times(), before);
    let cookie = cookie(&first);
    for _ in 0..4 {
        let answer = ask(&host, &cookie).await;
        assert_eq!((&answer.body, answer.header("set-cookie")), (&first.body, ""));
    }
    // The time goes on through an edit, and is over now.
    edit("drain_limit = \"1m\"", "drain_limit = \"1ms\"").await;
    let moved = ask(&host, &cookie).await;
    assert!(moved.body != first.body && !moved.header("set-cookie").is_empty(), "{moved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_member_shows_what_it_still_holds() {
    let (doubles, members) = three().await;
    let host = host(&members[..1], "").await;
    doubles[0].holds();
    let request = Request::get("/").header("host", "a").body(whole("")).unwrap();
    let held = tokio::spawn(crate::support::send(host.address(), request));
    until("it is held", || doubles[0].has() == 1).await;
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    let before = host.current();
    let plain = format!("\"{}\"", members[0]);
    std::fs::write(
        host.config_path(),
        text.replace(&plain, &format!("{{ at = {plain}, drain = true }}, \"{}\"", members[1])),
    )
    .unwrap();
    until("the edit serves", || host.current() > before).await;
    let member = host.blue(members[0]).await;
    assert_eq!((&member["state"], &member["in_flight"]), (&"drained".into(), &1.into()));
    assert_eq!(host.get("/", &[]).await.status, 200);
    assert_eq!(doubles[0].times(), 1);
    doubles[0].lets_go(1);
    assert_eq!(held.await.unwrap().status(), 200);
    // The release before decided it: the current one's flights say nothing.
    until("it holds nothing", || host.app().switch.ground.counts.requests_in_flight() == 0).await;
    assert_eq!(host.blue(members[0]).await["in_flight"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_own_cookies_stay() {
    let member = Member::answering(|_| async {
        hyper::Response::builder().header("set-cookie", "own=1").body(whole("")).unwrap()
    })
    .await;
    let host = host(&[member.address], "").await;
    let answer = host.get("/", &[]).await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert!(cookies.len() == 2 && cookies[0] == "own=1" && cookies[1].starts_with("m="), "{cookies:?}");
}
