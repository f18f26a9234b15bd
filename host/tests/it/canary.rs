//! The canary of a release: who decides for whom, how it is stepped up and ended, and what it keeps waiting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Request;
use serde_json::{Value, json};
use switchback_plugins as plugins;
use switchback_plugins::faulty;

use crate::command_line::switchback;
use crate::process::Site;
use crate::support::{Answer, BY_GROUP, Host, Member, Setup, in_time, send, send_on, until, whole};

/// Blue serves; green is there to be tried out.
async fn blue_and_green() -> (Setup, [Member; 2]) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "pool = \"blue\"");
    (setup, [blue, green])
}

/// Those of 200 users whose requests the canary decides.
async fn in_canary(host: &Host) -> BTreeSet<u32> {
    let mut green = BTreeSet::new();
    for user in 0..200 {
        let cookie = format!("a=b; uid=user-{user}");
        if host.get("/", &[("cookie", &cookie)]).await.body == "green" {
            green.insert(user);
        }
    }
    green
}

async fn try_green(host: &Host, share: &str) -> Value {
    let body = json!({"pool": "green", "share": share, "key": "cookie:uid", "why": "carefully"});
    let (status, receipt) = host.control("PUT", "/v1/vips/web", body.to_string()).await;
    assert_eq!(status, 200, "{receipt}");
    receipt
}

fn numbers(receipt: &Value) -> (&Value, u64, u64) {
    let number = |end: &str| receipt[end]["number"].as_u64().unwrap();
    (&receipt["action"], number("from"), number("to"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_keeps_its_share_of_clients_and_those_it_has_stay_in_as_it_grows() {
    let (setup, _members) = blue_and_green().await;
    let host = setup.start().await;
    let receipt = try_green(&host, "20%").await;
    assert_eq!(numbers(&receipt), (&json!("canary"), 1, 2));
    assert_eq!((&receipt["why"], host.current()), (&json!("20 % by cookie:uid: carefully"), 1));
    let few = in_canary(&host).await;
    // 20 % of 200, and four standard deviations of a binomial on either side.
    assert!((18..=62).contains(&few.len()), "{few:?}");
    assert_eq!(in_canary(&host).await, few);

    let (_, receipt) = host.control("POST", "/v1/releases/r2/activate", r#"{"share": 0.6}"#).await;
    assert_eq!((numbers(&receipt), &receipt["why"]), ((&json!("canary"), 1, 2), &json!("60 % by cookie:uid")));
    let more = in_canary(&host).await;
    assert!(more.is_superset(&few) && (93..=147).contains(&more.len()), "{more:?}");

    let (_, receipt) = host.control("POST", "/v1/releases/r2/activate", "").await;
    assert_eq!((numbers(&receipt), host.app().switch.trail().steps()), ((&json!("activate"), 1, 2), &[1, 2][..]));
    assert_eq!(in_canary(&host).await.len(), 200);
    let (_, receipt) = host.control("POST", "/v1/back", "").await;
    assert_eq!((numbers(&receipt), in_canary(&host).await.len()), ((&json!("back"), 2, 1), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_is_the_current_releases() {
    let (setup, _members) = blue_and_green().await;
    let host = setup.start().await;
    try_green(&host, "99.9%").await;
    for _ in 0..20 {
        assert_eq!(host.get("/", &[("cookie", "uid2=a")]).await.body, "blue");
    }
    // By the client's address unless told otherwise: here, all or nobody.
    host.control("POST", "/v1/back", "").await;
    host.control("PUT", "/v1/vips/web", r#"{"pool": "green", "share": "50%"}"#).await;
    let first = host.get("/", &[]).await.body;
    for _ in 0..20 {
        assert_eq!(host.get("/", &[]).await.body, first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn back_ends_a_canary_at_once_and_leaves_the_trail_alone() {
    let (setup, _members) = blue_and_green().await;
    let host = setup.start().await;
    try_green(&host, "50%").await;
    // Nothing that is journalled gets through: back waits for no disk.
    let other = rusqlite::Connection::open(host.state_path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (status, receipt) = host.control("POST", "/v1/back", r#"{"why": "no good"}"#).await;
    assert_eq!((status.as_u16(), numbers(&receipt)), (200, (&json!("back"), 2, 1)), "{receipt}");
    assert_eq!((&receipt["durable"], in_canary(&host).await.len()), (&json!(false), 0));
    other.execute_batch("ROLLBACK").unwrap();
    host.wait_for_entry("back", "no good").await;
    assert_eq!(host.app().switch.trail().steps(), [1]);
    // It is no canary any more: its content comes back as a new release, as any other.
    let (_, receipt) = host.control("POST", "/v1/releases/2/activate", "").await;
    assert_eq!((numbers(&receipt), &*host.get("/", &[]).await.body), ((&json!("activate"), 1, 3), "green"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_canary_is_under_way_nothing_else_is_changed() {
    let (setup, _members) = blue_and_green().await;
    let host = setup.start().await;
    try_green(&host, "5%").await;
    let refused = json!("r2 is a canary at 5 %: step it up, or go back first");
    let push = format!("/v1/policies/extra?share={}", "50%25");
    for (method, path, body) in [
        ("PUT", "/v1/policies/extra", plugins::LABEL.to_vec()),
        ("PUT", &push, plugins::LABEL.to_vec()),
        ("DELETE", "/v1/pools/green/members/127.0.0.1:1", Vec::new()),
        ("POST", "/v1/forward", Vec::new()),
    ] {
        let (status, answer) = host.control(method, path, body).await;
        // A change that is none is refused for what it is.
        let expected = if method == "DELETE" { 422 } else { 409 };
        assert_eq!(status, expected, "{path}: {answer}");
        assert!(method == "DELETE" || answer["error"] == "canary" && answer["message"] == refused, "{path}: {answer}");
    }
    // What serves already is no change, and the same content with another share is a step.
    let (_, receipt) = host.control("PUT", "/v1/vips/web", r#"{"pool": "blue"}"#).await;
    assert_eq!(receipt["changed"], false);
    assert_eq!(numbers(&try_green(&host, "7%").await), (&json!("canary"), 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_and_the_file_wait_until_a_canary_is_over() {
    let (setup, _members) = blue_and_green().await;
    let host = setup.start().await;
    try_green(&host, "5%").await;
    host.drop_in("extra", plugins::CANARY);
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    std::fs::write(host.config_path(), text.replace("[vips.web]\n", "[vips.web]\nrequests_max = 77\n")).unwrap();
    host.wait_for_entry("refuse", "r2 is a canary at 5 %").await;
    let refused = async || host.history().await.iter().filter(|entry| entry["kind"] == "refuse").count();
    in_time("both are refused", async {
        while refused().await < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // They look again every five seconds, and say so once each.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!((refused().await, host.current()), (2, 1));
    host.control("POST", "/v1/back", "").await;

    until("both are taken in", || host.app().switch.trail().steps().len() == 3).await;
    let (_, release) = host.control("GET", "/v1/releases/current", "").await;
    assert_eq!(release["content"]["vips"]["web"]["limits"]["requests_max"], 77);
    assert!(release["content"]["policies"]["extra"]["digest"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_taken_up_after_a_restart() {
    let (setup, _members) = blue_and_green().await;
    let mut host = setup.start().await;
    try_green(&host, "30%").await;
    let before = in_canary(&host).await;
    host.restart().await;
    assert_eq!((host.current(), in_canary(&host).await), (1, before));
    let (_, receipt) = host.control("POST", "/v1/releases/r2/activate", "").await;
    assert_eq!((numbers(&receipt), &*host.get("/", &[]).await.body), ((&json!("activate"), 1, 2), "green"));
    host.restart().await;
    assert_eq!((host.current(), host.app().switch.trail().steps()), (2, &[1, 2][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_takes_over_goes_on_with_the_canary() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"10s\"");
    let mut host = site.start(&[]).await;
    let asked = site.ask(&["switch", "web", "green", "--share", "30%", "--key", "cookie:uid"]).await.unwrap();
    assert_eq!(numbers(&asked), (&json!("canary"), 1, 2));
    let _new = site.start(&["--take-over"]).await;
    assert_eq!(host.ended().await, Some(0));
    let canary = &site.ask(&["status"]).await.unwrap()["canary"];
    assert_eq!((&canary["number"], &canary["share"], &canary["key"]), (&json!(2), &json!(0.3), &json!("cookie:uid")));
    let asked = site.ask(&["activate", "r2", "--share", "60%"]).await.unwrap();
    assert_eq!((numbers(&asked), &asked["why"]), ((&json!("canary"), 1, 2), &json!("60 % by cookie:uid")));
    assert_eq!(numbers(&site.ask(&["activate", "r2"]).await.unwrap()), (&json!("activate"), 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smoke_test_names_its_release_and_is_told_which_it_was() {
    let (setup, _members) = blue_and_green().await;
    let host = setup.top("release_header_from = [\"127.0.0.0/8\"]").start().await;
    try_green(&host, "0%").await;
    assert_eq!(in_canary(&host).await.len(), 0);
    let ask = async |release: &str| host.get("/", &[("x-switchback-release", release)]).await;
    for (release, expected) in [("r2", "green"), ("2", "green"), ("r1", "blue")] {
        let answer = ask(release).await;
        assert_eq!(
            (&*answer.body, answer.header("x-switchback-release").trim_start_matches('r')),
            (expected, release.trim_start_matches('r'))
        );
    }
    for release in ["r3", "", "green", "r1, r2"] {
        let answer = ask(release).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-switchback-release")), (421, ""), "{}", answer.body);
        assert!(answer.body.contains(&format!("release `{release}` is not ready here")), "{}", answer.body);
    }
    // Any that is ready: the one that `back` would bring, or `forward`.
    host.control("POST", "/v1/releases/r2/activate", "").await;
    assert_eq!(ask("r1").await.body, "blue");
    host.control("POST", "/v1/back", "").await;
    assert_eq!(ask("r2").await.body, "green");
    assert_eq!(host.get("/", &[]).await.header("x-switchback-release"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_say_of_a_release_is_neither_believed_nor_passed_on() {
    let member = Member::echoing().await;
    let check = async |setup: Setup, fields: &[(&str, &str)], expected: u16| {
        let host = setup.start().await;
        let answer = host.get("/", &[&[("x-switchback-release", "r9")], fields].concat()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-switchback-release")), (expected, ""));
        assert!(!answer.body.contains("switchback-release: "), "{}", answer.body);
    };
    let plain = || Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"");
    check(plain(), &[], 200).await;
    check(plain().top("release_header_from = [\"10.0.0.0/8\"]"), &[("x-forwarded-for", "10.0.0.1")], 200).await;
    // A proxy that is trusted speaks for its client, and not for itself.
    let behind = |from: &str| {
        let top = format!("release_header_from = [\"{from}\"]");
        let front = "trusted = [\"127.0.0.0/8\"]";
        Host::with().pool("blue", &[&member]).top(&top).front(front, "pool = \"blue\"")
    };
    check(behind("127.0.0.0/8"), &[("x-forwarded-for", "192.0.2.1")], 200).await;
    check(behind("192.0.2.0/24"), &[("x-forwarded-for", "192.0.2.1")], 421).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_serves_alone_where_nobody_else_listens() {
    let (setup, _members) = blue_and_green().await;
    let host = setup.start().await;
    let address = host.address();
    let (text, socket) = (std::fs::read_to_string(host.config_path()).unwrap(), host.folder.path().join("more.sock"));
    let more = format!("[vips.more]\nlisten = \"unix:{}\"\npool = \"green\"\n", socket.display());
    std::fs::write(host.config_path(), text + &more).unwrap();
    until("the edit serves", || host.current() == 2).await;
    host.control("POST", "/v1/back", "").await;
    until("nobody listens", || !socket.exists()).await;

    let share = r#"{"share": "1%", "key": "cookie:uid"}"#;
    let (_, receipt) = host.control("POST", "/v1/releases/2/activate", share).await;
    assert_eq!(numbers(&receipt), (&json!("canary"), 1, 3));
    let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let request = || Request::get("/").header("host", "a").body(whole("")).unwrap();
    assert_eq!(Answer::of(send_on(stream, request()).await).await.body, "green");
    assert_eq!(Answer::of(send(address, request()).await).await.body, "blue");
    host.control("POST", "/v1/back", "").await;
    until("nobody listens", || !socket.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_releases_are_counted_side_by_side() {
    let failing = Member::answering(|_| async {
        let mut answer = hyper::Response::new(whole("green"));
        *answer.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
    .await;
    let blue = Member::named("blue").await;
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&failing]).vip("web", "pool = \"blue\"");
    let host = setup.start().await;
    try_green(&host, "40%").await;
    let green = in_canary(&host).await.len() as u64;
    let ended = async || {
        let (_, status) = host.control("GET", "/v1/status", "").await;
        status["decided"][1]["answers"]["5xx"] == green && status["decided"][0]["answers"]["2xx"] == 200 - green
    };
    let end = tokio::time::Instant::now() + crate::support::PATIENCE;
    while !ended().await {
        assert!(tokio::time::Instant::now() < end, "the counts do not come");
    }
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!((&status["canary"]["number"], &status["canary"]["share"]), (&json!(2), &json!(0.4)));
    assert_eq!((&status["back"], &status["forward"]), (&json!({"number": 1, "ready": true}), &json!(null)));
    let [current, canary] = [0, 1].map(|at| status["decided"][at].clone());
    assert_eq!(
        (&current["release"], &current["requests"], &current["failed"]),
        (&json!(1), &json!(200 - green), &json!(0))
    );
    assert_eq!((&canary["release"], &canary["requests"], &canary["failed"]), (&json!(2), &json!(green), &json!(green)));
    assert!(canary["p99_micros"].as_u64().is_some_and(|micros| micros > 0));

    let (_, page) = host.control("GET", "/metrics", "").await;
    let page = page.as_str().unwrap();
    for line in [
        "switchback_canary_share{release=\"r2\"} 0.4".to_owned(),
        format!("switchback_release_requests_total{{release=\"r1\"}} {}", 200 - green),
        format!("switchback_release_answers_total{{release=\"r2\",status=\"5xx\"}} {green}"),
        format!("switchback_release_failed_total{{release=\"r2\"}} {green}"),
    ] {
        assert!(page.lines().any(|there| there == line), "no {line}");
    }
    let shown = String::from_utf8(switchback(&host, &["status"]).await.stdout).unwrap();
    assert!(
        shown.contains(" at 40 % by cookie uid\n") && shown.contains(&format!("r2: {green} requests, ")),
        "{shown}"
    );

    host.control("POST", "/v1/back", "").await;
    let (_, page) = host.control("GET", "/metrics", "").await;
    assert!(!page.as_str().unwrap().contains("release=\"r2\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_whose_policy_fails_is_ended_by_the_host() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).config(BY_GROUP);
    let setup = setup.vip("web", "policy = \"web\"").policy("web", plugins::BY_HEADER);
    let host = setup.start().await;
    let push = "/v1/policies/web?share=0.5&key=header:x-user&config=";
    let (status, receipt) = host.control("PUT", push, faulty::TRAP.to_vec()).await;
    assert_eq!((status.as_u16(), numbers(&receipt)), (200, (&json!("canary"), 1, 2)), "{receipt}");
    // The release before answers what the canary fails on, every now and then.
    for user in 0..600 {
        assert_eq!(host.get("/", &[("x-user", &user.to_string())]).await.body, "blue");
    }
    host.wait_for_entry("back", "policy `web` failed 5 times").await;
    assert!(host.app().switch.canary().is_none());
    assert_eq!((host.current(), host.app().switch.trail().steps()), (1, &[1][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_a_canary_comes_steps_and_goes() {
    let (setup, _members) = blue_and_green().await;
    let host = setup.start().await;
    let (address, stop) = (host.address(), Arc::new(AtomicBool::default()));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let io = hyper_util::rt::TokioIo::new(stream);
                let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                let mut asked = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    sender.ready().await.expect("the connection is kept through every step");
                    let cookie = format!("uid={client}-{asked}");
                    let request = Request::get("/").header("host", "a").header("cookie", cookie);
                    let request = request.body(whole("")).unwrap();
                    let answer = Answer::of(sender.send_request(request).await.expect("an answer")).await;
                    assert!(answer.status == 200 && ["blue", "green"].contains(&&*answer.body), "{answer:?}");
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for turn in 0..10 {
        let number = numbers(&try_green(&host, "5%").await).2;
        for share in ["0.5", "0", "0.9"] {
            let path = format!("/v1/releases/{number}/activate");
            assert_eq!(host.control("POST", &path, format!(r#"{{"share": {share}}}"#)).await.0, 200);
        }
        if turn % 2 == 0 {
            assert_eq!(host.control("POST", &format!("/v1/releases/{number}/activate"), "").await.0, 200);
        }
        assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.expect("no request failed") > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_or_key_that_is_none_is_refused() {
    let (setup, _members) = blue_and_green().await;
    let host = setup.start().await;
    let check = async |body: &str, expected: &str| {
        let (status, answer) = host.control("PUT", "/v1/vips/web", body.to_owned()).await;
        let message = answer["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(expected), "{body}: {answer}");
    };
    check(r#"{"pool": "green", "key": "client"}"#, "expected `share` beside `key`").await;
    check(r#"{"pool": "green", "share": "5"}"#, "expected a share such as `5%` or `0.05`, up to 100%, got `5`").await;
    check(r#"{"pool": "green", "share": 1.5}"#, "up to 100%, got `1.5`").await;
    let key = "expected `header:NAME`, `cookie:NAME` or `client-address`, got `uid`";
    check(r#"{"pool": "green", "share": "5%", "key": "uid"}"#, key).await;
    // All of them is a switch like any other.
    assert_eq!(numbers(&try_green(&host, "100%").await), (&json!("activate"), 1, 2));
}
