//! Switches to pools that cannot serve: refused with the reason unless forced, and what is known of members before and
//! after.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::{Response, StatusCode};
use serde_json::Value;
use switchback_plugins as plugins;

use crate::command_line::switchback;
use crate::patients::{CHECK, Patient};
use crate::support::{Host, Member, in_time, nobody, until, whole};

/// `web` is served by `blue`, of one member; `green` has one, too.
async fn blue_and_green(blue: &Patient, green: &Patient) -> Host {
    let setup = Host::with().pool_at("blue", &[blue.address()], CHECK).pool_at("green", &[green.address()], CHECK);
    setup.vip("web", "pool = \"blue\"").start().await
}

async fn well_and_sick() -> (Host, Patient, Patient) {
    let (blue, green) = (Patient::well("blue").await, Patient::sick("green").await);
    let host = blue_and_green(&blue, &green).await;
    host.wait_for_state("blue", blue.address(), "fit").await;
    host.wait_for_state("green", green.address(), "sick").await;
    (host, blue, green)
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

/// Waits until one member is not probed any more, while the other is.
async fn left_in_peace(one: &Patient, other: &Patient) {
    let settled = async {
        loop {
            let (of_one, of_other) = (one.probes(), other.probes());
            until("the other is probed", || other.probes() > of_other + 5).await;
            if one.probes() == of_one {
                break;
            }
        }
    };
    in_time("it is left in peace", settled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_to_a_sick_pool_is_refused_with_the_reason_unless_forced() {
    let (host, _blue, green) = well_and_sick().await;
    let (status, answer) = host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    let why = format!(
        "no member of pool `green` is fit ({}: expected status 200-299, got 503); hint: force it if it is wanted all the same",
        green.address()
    );
    assert_eq!((status.as_u16(), &answer["error"], message(&answer)), (409, &"sick".into(), &*why));
    host.wait_for_entry("refuse", &why).await;
    let told = switchback(&host, &["switch", "web", "green"]).await;
    let stderr = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.code() == Some(1) && stderr.contains("no member of pool `green` is fit"), "{told:?}");
    assert_eq!((host.current(), host.bodies(2).await), (1, vec!["blue".to_owned(); 2]));

    let told = switchback(&host, &["switch", "web", "green", "--force"]).await;
    assert!(told.status.success(), "{told:?}");
    assert_eq!((host.current(), host.bodies(1).await), (2, vec!["green".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn back_and_forward_to_a_sick_pool_are_refused_unless_forced() {
    let (blue, green) = (Patient::well("blue").await, Patient::well("green").await);
    let host = blue_and_green(&blue, &green).await;
    let (status, answer) = host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    assert_eq!(status, 200, "{answer}");
    blue.falls_sick();
    let reason = host.wait_for_state("blue", blue.address(), "sick").await;
    let (status, answer) = host.control("POST", "/v1/back", "").await;
    assert_eq!((status.as_u16(), &answer["error"]), (409, &"sick".into()), "{answer}");
    assert!(message(&answer).contains(&reason), "{answer}");
    assert_eq!((host.current(), host.bodies(1).await), (2, vec!["green".to_owned()]));
    let told = switchback(&host, &["back", "--force"]).await;
    assert!(told.status.success(), "{told:?}");
    assert_eq!((host.current(), host.bodies(1).await), (1, vec!["blue".to_owned()]));
    green.falls_sick();
    host.wait_for_state("green", green.address(), "sick").await;
    assert_eq!(host.control("POST", "/v1/forward", "").await.0, 409);
    assert_eq!(host.control("POST", "/v1/forward", r#"{"force":true}"#).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_release_whose_pool_is_sick_is_not_activated_unless_forced() {
    let (blue, green) = (Patient::well("blue").await, Patient::well("green").await);
    let host = blue_and_green(&blue, &green).await;
    host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    blue.falls_sick();
    host.wait_for_state("blue", blue.address(), "sick").await;
    let (status, answer) = host.control("POST", "/v1/releases/1/activate", "").await;
    assert_eq!((status.as_u16(), &answer["error"]), (409, &"sick".into()), "{answer}");
    assert_eq!(host.control("POST", "/v1/releases/1/activate", r#"{"force":true}"#).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_of_a_pool_long_ago_is_found_out_anew() {
    // Each edit gives `blue` another member: after two of them, nobody looks at the first any more.
    let members = [Patient::well("one").await, Patient::well("two").await, Patient::well("three").await];
    let address = |at: usize| members[at].address().to_string();
    let setup = Host::with().pool_at("blue", &[members[0].address()], CHECK).vip("web", "pool = \"blue\"");
    let host = setup.start().await;
    host.wait_for_state("blue", members[0].address(), "fit").await;
    host.edit(&address(0), &address(1));
    host.wait_for_members("blue", &[&address(1)]).await;
    host.wait_for_state("blue", members[1].address(), "fit").await;
    members[0].falls_sick();
    host.wait_for_event("sick", "3 probes in a row were bad").await;
    host.edit(&address(1), &address(2));
    host.wait_for_members("blue", &[&address(2)]).await;
    left_in_peace(&members[0], &members[2]).await;
    members[0].gets_well();
    let (status, answer) = host.control("POST", "/v1/releases/1/activate", "").await;
    assert_eq!((status.as_u16(), host.bodies(1).await), (200, vec!["one".to_owned()]), "{answer}");
    // And the other way round: the second was well when it was last looked at.
    members[1].falls_sick();
    let (status, answer) = host.control("POST", "/v1/releases/2/activate", "").await;
    assert_eq!((status.as_u16(), &answer["error"]), (409, &"sick".into()), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_to_what_nobody_looked_at_lately_are_not_held_up() {
    let members = [Patient::well("one").await, Patient::well("two").await, Patient::well("three").await];
    let address = |at: usize| members[at].address().to_string();
    let setup = Host::with().pool_at("blue", &[members[0].address()], CHECK).vip("web", "pool = \"blue\"");
    let host = setup.start().await;
    host.edit(&address(0), &address(1));
    host.wait_for_members("blue", &[&address(1)]).await;
    members[0].falls_sick();
    host.wait_for_event("sick", "3 probes in a row were bad").await;
    host.edit(&address(1), &address(2));
    host.wait_for_members("blue", &[&address(2)]).await;
    left_in_peace(&members[0], &members[2]).await;
    members[0].gets_well();
    assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
    assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
    host.wait_for_body("one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_was_refused_is_taken_in_when_the_file_is_touched_and_the_member_well() {
    let (host, blue, green) = well_and_sick().await;
    let probes = green.probes();
    host.edit("pool = \"blue\"", "pool = \"green\"");
    host.wait_for_entry("refuse", "no member of pool `green` is fit").await;
    until("it is still probed", || green.probes() > probes + 3).await;
    assert_eq!((host.current(), host.bodies(1).await), (1, vec!["blue".to_owned()]));
    green.gets_well();
    host.wait_for_state("green", green.address(), "fit").await;
    host.edit("pool = \"green\"", "pool = \"green\"");
    until("it is taken in", || host.current() == 2).await;
    assert_eq!(host.bodies(1).await, ["green"]);
    drop(blue);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_looks_after_a_release_that_was_refused() {
    let (blue, red) = (Patient::well("blue").await, Patient::sick("red").await);
    let setup = Host::with().pool_at("blue", &[blue.address()], CHECK).vip("web", "pool = \"blue\"");
    let host = setup.start().await;
    host.wait_for_state("blue", blue.address(), "fit").await;
    host.edit(&blue.address().to_string(), &red.address().to_string());
    host.wait_for_entry("refuse", "no member of pool `blue` is fit").await;
    host.wait_for_members("blue", &[&blue.address().to_string()]).await;
    left_in_peace(&red, &blue).await;
    assert_eq!(host.bodies(1).await, ["blue"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_are_never_refused() {
    let blue = Patient::sick("blue").await;
    let setup = Host::with().pool_at("blue", &[blue.address()], CHECK).pool_at("green", &[nobody()], "");
    let mut host = setup.vip("web", "pool = \"blue\"").start().await;
    assert_eq!((host.current(), host.bodies(1).await), (1, vec!["blue".to_owned()]));
    host.restart().await;
    assert_eq!((host.current(), host.bodies(1).await), (1, vec!["blue".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pools_that_a_policy_may_choose_must_be_fit() {
    let (host, _blue, _green) = well_and_sick().await;
    let config = r#"{"rules":[{"header":"x-group","value":"green","pool":"green"}],"otherwise":"blue"}"#;
    let path = |config: &str| format!("/v1/policies/web?config={}", encoded(config));
    let (status, answer) = host.control("PUT", &path(config), plugins::BY_HEADER.to_vec()).await;
    assert_eq!(status, 200, "no vip asks it: {answer}");
    let (status, answer) = host.control("PUT", "/v1/vips/web", r#"{"policy":"web"}"#).await;
    assert_eq!((status.as_u16(), &answer["error"]), (409, &"sick".into()), "{answer}");
    // The same policy, told to choose among fit ones; and then, while it is asked, told otherwise.
    let only_blue = r#"{"rules":[],"otherwise":"blue"}"#;
    assert_eq!(host.control("PUT", &path(only_blue), plugins::BY_HEADER.to_vec()).await.0, 200);
    assert_eq!(host.control("PUT", "/v1/vips/web", r#"{"policy":"web"}"#).await.0, 200);
    let (status, answer) = host.control("PUT", &path(config), plugins::BY_HEADER.to_vec()).await;
    assert_eq!((status.as_u16(), &answer["error"]), (409, &"sick".into()), "{answer}");
    let path = format!("{}&force=true", path(config));
    assert_eq!(host.control("PUT", &path, plugins::BY_HEADER.to_vec()).await.0, 200);
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_checks_a_pool_is_fit_that_can_be_reached() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
    let setup = setup.pool_at("red", &[nobody()], "").pool_at("empty", &[], "");
    let host = setup.vip("web", "pool = \"blue\"").start().await;
    let (status, answer) = host.control("PUT", "/v1/vips/web", r#"{"pool":"red"}"#).await;
    assert_eq!((status.as_u16(), &answer["error"]), (409, &"sick".into()));
    assert!(message(&answer).contains("Connection refused"), "{answer}");
    assert_eq!(host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await.0, 200);
    assert_eq!(host.bodies(1).await, ["green"]);
    // It answered a moment ago, and is gone.
    assert_eq!(host.control("PUT", "/v1/vips/web", r#"{"pool":"blue"}"#).await.0, 200);
    drop(green);
    let (status, answer) = host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    assert_eq!((status.as_u16(), &answer["error"]), (409, &"sick".into()), "{answer}");
    // An empty pool is nobody's mistake.
    assert_eq!(host.control("PUT", "/v1/vips/web", r#"{"pool":"empty"}"#).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_way_to_speak_to_members_must_be_one_they_understand() {
    let blue = Patient::well("blue").await;
    let setup = Host::with().pool_at("blue", &[blue.address()], CHECK).vip("web", "pool = \"blue\"");
    let host = setup.start().await;
    host.wait_for_state("blue", blue.address(), "fit").await;
    host.edit("[pools.blue]", "[pools.blue]\nprotocol = \"http2\"");
    host.wait_for_entry("refuse", "no member of pool `blue` is fit").await;
    assert_eq!((host.current(), host.bodies(1).await), (1, vec!["blue".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_does_not_touch_members_is_taken_in_while_all_are_sick() {
    let blue = Patient::sick("blue").await;
    let setup = Host::with().pool_at("blue", &[blue.address()], CHECK).vip("web", "pool = \"blue\"");
    let host = setup.start().await;
    host.wait_for_state("blue", blue.address(), "sick").await;
    host.edit("[pools.blue]", "[pools.blue]\nconnect_timeout = \"1s\"");
    until("it is taken in", || host.current() == 2).await;
    assert_eq!(host.standing("blue", blue.address()).await.0, "sick");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_nobody_knows_is_probed_before_it_is_asked() {
    for round in 0..5 {
        let (blue, green) = (Patient::well("blue").await, Patient::well("green").await);
        let setup = Host::with().pool_at("blue", &[blue.address()], CHECK).vip("web", "pool = \"blue\"");
        let host = setup.start().await;
        host.edit(&format!("\"{}\"", blue.address()), &format!("\"{}\", \"{}\"", blue.address(), green.address()));
        // Asked all the while, from before the edit is seen until the new member answers.
        host.wait_for_body("green").await;
        assert_eq!((blue.untimely(), green.untimely()), (0, 0), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_member_outlives_switches() {
    let (one, two) = (Patient::well("one").await, Patient::well("two").await);
    let setup = Host::with().pool_at("blue", &[one.address(), two.address()], CHECK);
    let setup = setup.pool_at("green", &[one.address(), two.address()], CHECK).vip("web", "pool = \"blue\"");
    let host = setup.start().await;
    one.falls_sick();
    host.wait_for_state("blue", one.address(), "sick").await;
    let before = one.requests();
    // To another pool, another time-out, and back again: it gets nothing all the while.
    assert_eq!(host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await.0, 200);
    assert_eq!((host.standing("green", one.address()).await.0.as_str(), host.bodies(6).await.len()), ("sick", 6));
    host.edit("[pools.green]", "[pools.green]\nconnect_timeout = \"1s\"");
    until("the edit serves", || host.current() == 3).await;
    assert_eq!((host.standing("green", one.address()).await.0.as_str(), host.bodies(6).await.len()), ("sick", 6));
    for _ in 0..2 {
        assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
        assert_eq!(host.bodies(6).await, ["two"; 6]);
    }
    assert_eq!(one.requests(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_left_alone_stays_so_over_switches() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = asked.clone();
    let failing = Member::answering(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        let mut answer = Response::new(whole("failing"));
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        async move { answer }
    })
    .await;
    let good = Member::named("good").await;
    let breaker = "breaker = { failures = 2, rest = \"1h\" }\nretries = { tries_max = 1 }";
    let setup = Host::with().pool_at("blue", &[failing.address, good.address], breaker);
    let setup = setup.pool_at("green", &[failing.address, good.address], breaker).vip("web", "pool = \"blue\"");
    let host = setup.start().await;
    host.bodies(8).await;
    host.wait_for_state("blue", failing.address, "left-alone").await;
    let before = asked.load(Ordering::SeqCst);
    assert_eq!(host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await.0, 200);
    assert_eq!(host.bodies(4).await, ["good"; 4]);
    host.edit("[pools.green]", "[pools.green]\nconnect_timeout = \"1s\"");
    until("the edit serves", || host.current() == 3).await;
    assert_eq!(host.bodies(4).await, ["good"; 4]);
    assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
    assert_eq!(host.bodies(4).await, ["good"; 4]);
    assert_eq!(asked.load(Ordering::SeqCst), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_back_overtakes_a_change_whose_members_are_slow_to_answer() {
    let (blue, green) = (Patient::well("blue").await, Patient::well("green").await);
    let probed = Arc::new(AtomicUsize::new(0));
    let seen = probed.clone();
    let slow = Member::accepting(move |stream| {
        seen.fetch_add(1, Ordering::SeqCst);
        async move {
            let _held = stream;
            std::future::pending::<()>().await;
        }
    })
    .await;
    let host = blue_and_green(&blue, &green).await;
    assert_eq!(host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await.0, 200);
    // The change waits for the first answer of its member, and somebody goes back meanwhile.
    let path = format!("/v1/pools/green/members/{}", slow.address);
    let (changed, stepped) = tokio::join!(host.control("PUT", &path, ""), async {
        until("the new member is probed", || probed.load(Ordering::SeqCst) > 0).await;
        host.control("POST", "/v1/back", "").await
    });
    assert_eq!(stepped.0, 200, "{}", stepped.1);
    assert!(changed.0 == 409 && message(&changed.1).starts_with("overtaken"), "{}", changed.1);
    assert_eq!((host.current(), host.bodies(1).await), (1, vec!["blue".to_owned()]));
}
