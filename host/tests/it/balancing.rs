//! Which member gets a request: turns, weights, load, keys, zones, and members on their way back.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::join_all;
use hyper::Request;
use switchback::proxy::events::EventKind;
use switchback_plugins as plugins;

use crate::doubles::Double;
use crate::support::{Host, Member, in_time, nobody, send, until, whole};

/// A host whose pool is all of this text.
async fn host(pool: &str, top: &str) -> Host {
    let pool = format!("[pools.blue]\n{pool}\n");
    Host::with().workers(1).top(top).vip("web", "pool = \"blue\"").config(&pool).start().await
}

/// Members as tables, with what is said beside their addresses.
fn members(members: &[(SocketAddr, &str)]) -> String {
    let tables: Vec<_> = members.iter().map(|(at, rest)| format!("{{ at = \"{at}\"{rest} }}")).collect();
    format!("members = [{}]", tables.join(", "))
}

async fn named(names: &[&'static str]) -> Vec<Double> {
    join_all(names.iter().map(|name| Double::named(name))).await
}

/// Who answers how many requests.
async fn counts(host: &Host, requests: usize, headers: &[(&str, &str)]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = host.get("/", headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        *counts.entry(answer.body).or_insert(0) += 1;
    }
    counts
}

/// Who answers each of a hundred keys.
async fn owners(host: &Host, header: &str, value: impl Fn(u32) -> String) -> Vec<String> {
    let mut owners = Vec::new();
    for key in 0..100 {
        owners.push(host.get("/", &[(header, &value(key))]).await.body);
    }
    owners
}

#[tokio::test(flavor = "multi_thread")]
async fn members_get_their_part_by_weight() {
    let doubles = named(&["light", "heavy"]).await;
    let weighted = members(&[(doubles[0].address(), ""), (doubles[1].address(), ", weight = 3")]);
    let host = host(&weighted, "").await;
    assert_eq!(counts(&host, 40, &[]).await, [("heavy".into(), 30), ("light".into(), 10)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_worker_gives_members_their_part() {
    let doubles = named(&["light", "heavy"]).await;
    let weighted = members(&[(doubles[0].address(), ""), (doubles[1].address(), ", weight = 3")]);
    let pool = format!("[pools.blue]\n{weighted}\n");
    let host = Host::with().workers(4).vip("web", "pool = \"blue\"").config(&pool).start().await;
    let counts = counts(&host, 400, &[]).await;
    // A round of each worker is off by three at most.
    assert!(counts["light"].abs_diff(100) <= 12, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_less_to_do_gets_the_next_request() {
    let doubles = named(&["a", "b"]).await;
    let pool = members(&[(doubles[0].address(), ""), (doubles[1].address(), "")]);
    let host = host(&format!("{pool}\nbalance = \"least-requests\""), "").await;
    doubles.iter().for_each(Double::holds);
    let request = || Request::get("/").header("host", "a").body(whole("")).unwrap();
    let held: Vec<_> = (0..2).map(|_| tokio::spawn(send(host.address(), request()))).collect();
    until("each has one", || doubles.iter().all(|double| double.has() == 1)).await;
    doubles[1].lets_go(1);
    until("one is free", || doubles[1].has() == 0).await;
    until("and the host knows", || host.in_flight() == 1).await;
    doubles[1].holds_no_more();
    assert_eq!(counts(&host, 20, &[]).await, [("b".into(), 20)].into());
    doubles[0].holds_no_more();
    for held in held {
        assert_eq!(in_time("an answer", held).await.unwrap().status(), 200);
    }
    // Where both have nothing to do, both get some.
    let counts = counts(&host, 40, &[]).await;
    assert!(counts["a"] >= 5 && counts["b"] >= 5, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_keys_meet_the_same_member() {
    let doubles = named(&["a", "b", "c"]).await;
    let pool = members(&[(doubles[0].address(), ""), (doubles[1].address(), ""), (doubles[2].address(), "")]);
    for (key, header, prefix) in [
        ("header:X-User", "x-user", ""),
        ("cookie:uid", "cookie", "a=b; uid="),
        ("client-address", "x-forwarded-for", "192.0.2."),
    ] {
        let text = format!("[pools.blue]\n{pool}\nkey = \"{key}\"\n");
        let host = Host::with().config(&text).front("trusted = [\"127.0.0.1\"]", "pool = \"blue\"").start().await;
        let value = |number: u32| format!("{prefix}{number}");
        let first = owners(&host, header, value).await;
        assert_eq!(owners(&host, header, value).await, first, "{key}");
        for name in ["a", "b", "c"] {
            let part = first.iter().filter(|owner| *owner == name).count();
            assert!((15..=55).contains(&part), "{key}: {part} of 100 for {name}");
        }
        // Who has none takes turns; a client always has an address.
        let others = counts(&host, 9, &[]).await;
        assert_eq!(others.len(), if key == "client-address" { 1 } else { 3 }, "{key}: {others:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policys_key_goes_before_the_pools() {
    let doubles = named(&["a", "b", "c"]).await;
    let addresses: Vec<_> = doubles.iter().map(Double::address).collect();
    let policy = "[policies.web.config]\npool = \"blue\"\nheader = \"x-ms\"\nkey = \"x-user\"\n";
    for pool in ["", "key = \"header:x-other\""] {
        let host = Host::with().pool_at("blue", &addresses, pool).vip("web", "policy = \"web\"").config(policy);
        let host = host.policy("web", plugins::TIME_LIMIT).start().await;
        let value = |number: u32| number.to_string();
        let first = owners(&host, "x-user", value).await;
        assert_eq!(owners(&host, "x-user", value).await, first);
        assert!(["a", "b", "c"].iter().all(|name| first.iter().any(|owner| owner == name)));
        let both = counts(&host, 6, &[("x-user", "1"), ("x-other", "2")]).await;
        assert_eq!(both, [(first[1].clone(), 6)].into());
        let spread = owners(&host, "x-other", value).await;
        assert_eq!(owners(&host, "x-other", value).await == spread, !pool.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_other_order_and_another_host_give_keys_to_the_same_members() {
    let doubles = named(&["a", "b", "c"]).await;
    let at = |order: [usize; 3]| members(&order.map(|number| (doubles[number].address(), "")));
    let key = "key = \"header:x-user\"";
    let (first, second) =
        (host(&format!("{}\n{key}", at([0, 1, 2])), "").await, host(&format!("{}\n{key}", at([2, 0, 1])), "").await);
    let value = |number: u32| number.to_string();
    assert_eq!(owners(&first, "x-user", value).await, owners(&second, "x-user", value).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_leave_a_member_that_is_left_alone_and_no_other_and_come_back() {
    let doubles = named(&["a", "b", "c", "d"]).await;
    let all: Vec<_> = doubles.iter().map(|double| (double.address(), "")).collect();
    let keys = "key = \"header:x-user\"\nbreaker = { failures = 1, rest = \"300ms\" }";
    let host = host(&format!("{}\n{keys}", members(&all)), "").await;
    let value = |number: u32| number.to_string();
    let before = owners(&host, "x-user", value).await;
    let (bad, name) = (&doubles[0], "a");
    bad.answers(503);
    let key = value(before.iter().position(|owner| owner == name).unwrap() as u32);
    host.get("/", &[("x-user", &key)]).await;
    host.wait_for_events(EventKind::LeftAlone, 1).await;
    let during = owners(&host, "x-user", value).await;
    for (before, during) in before.iter().zip(&during) {
        assert!(during != name && (before == name || before == during), "{before} {during}");
    }
    bad.answers(200);
    host.wait_for_blue(bad.address(), "on-trial").await;
    host.get("/", &[("x-user", &key)]).await;
    host.wait_for_blue(bad.address(), "fit").await;
    assert_eq!(owners(&host, "x-user", value).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_leave_a_member_that_is_drained_and_no_other() {
    let doubles = named(&["a", "b", "c"]).await;
    let at = |first: &str| {
        let members = members(&[(doubles[0].address(), first), (doubles[1].address(), ""), (doubles[2].address(), "")]);
        format!("{members}\nkey = \"header:x-user\"")
    };
    let (all, drained) = (host(&at(""), "").await, host(&at(", drain = true"), "").await);
    let value = |number: u32| number.to_string();
    let (before, after) = (owners(&all, "x-user", value).await, owners(&drained, "x-user", value).await);
    let moved = before.iter().zip(&after).filter(|(before, after)| *before != "a" && before != after).count();
    assert!(!after.contains(&"a".to_owned()));
    // Maglev moves few of the others (Eisenbud 2016, 5.3), not none.
    assert!(moved <= 10, "{moved} of 100 moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_own_zone_get_all_while_they_are_fit() {
    let doubles = named(&["near", "far"]).await;
    let pool = members(&[(doubles[0].address(), ", zone = \"a\""), (doubles[1].address(), ", zone = \"b\"")]);
    let keys = "breaker = { failures = 1, rest = \"1m\" }";
    let host = host(&format!("{pool}\n{keys}"), "zone = \"a\"").await;
    assert_eq!(counts(&host, 20, &[]).await, [("near".into(), 20)].into());
    doubles[0].answers(500);
    host.get("/", &[]).await;
    host.wait_for_events(EventKind::LeftAlone, 1).await;
    assert_eq!(counts(&host, 20, &[]).await, [("far".into(), 20)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_may_go_to_another_zone() {
    let far = Double::named("far").await;
    let pool = members(&[(nobody(), ", zone = \"a\""), (far.address(), ", zone = \"b\"")]);
    let host = host(&pool, "zone = \"a\"").await;
    assert_eq!(counts(&host, 3, &[]).await, [("far".into(), 3)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_came_back_gets_its_part_step_by_step() {
    let doubles = named(&["back", "other"]).await;
    let pool = members(&[(doubles[0].address(), ""), (doubles[1].address(), "")]);
    let keys = "slow_start = \"1h\"\nbreaker = { failures = 1, rest = \"1ms\" }";
    let host = host(&format!("{pool}\n{keys}"), "").await;
    assert_eq!(counts(&host, 20, &[]).await["back"], 10);
    doubles[0].answers(500);
    while host.get("/", &[]).await.status == 200 {}
    doubles[0].answers(200);
    while host.events_of(EventKind::CameBack).is_empty() {
        host.get("/", &[]).await;
    }
    host.wait_for_blue(doubles[0].address(), "fit").await;
    // The roster is made anew a few times a second.
    in_time("it gets little", async {
        while counts(&host, 20, &[]).await.get("back").is_some_and(|back| *back > 4) {}
    })
    .await;
    let counts = counts(&host, 200, &[]).await;
    assert!(counts.get("back").is_none_or(|back| *back <= 40), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_drained_altogether_takes_nothing() {
    let doubles = named(&["a", "b"]).await;
    let pool = members(&[(doubles[0].address(), ", drain = true"), (doubles[1].address(), ", drain = true")]);
    let host = host(&pool, "").await;
    assert_eq!(host.get("/", &[]).await.status, 503);
    assert_eq!(doubles.iter().map(Double::times).sum::<usize>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_two_pools_is_one() {
    let only = Double::named("only").await;
    let host = Host::with().pool_at("blue", &[only.address()], "").pool_at("green", &[only.address()], "");
    let host = host.vip("web", "pool = \"blue\"").start().await;
    only.holds();
    let request = Request::get("/").header("host", "a").body(whole("")).unwrap();
    let held = tokio::spawn(send(host.address(), request));
    until("it is held", || only.has() == 1).await;
    assert_eq!(host.pool("green").await["members"][0]["in_flight"], 1);
    only.lets_go(1);
    held.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_pools_are_spread_as_well() {
    let counted: Vec<Member> = join_all((0..40).map(|_| Member::named("one of many"))).await;
    let all: Vec<_> = counted.iter().map(|member| (member.address, "")).collect();
    let host = host(&members(&all), "").await;
    counts(&host, 80, &[]).await;
    let pool = host.pool("blue").await;
    assert!(pool["members"].as_array().unwrap().iter().all(|member| member["requests"] == 2), "{pool}");
}
