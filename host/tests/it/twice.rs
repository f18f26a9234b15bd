//! Two at once: changes that are wanted of one release only, and changes that are asked for twice.

use hyper::Request;
use serde_json::{Value, json};
use switchback_plugins as plugins;

use crate::kills::call;
use crate::process::{Process, Site};
use crate::support::{Answer, Host, Member, in_time, nobody, send, until, whole};

async fn blue_then_green() -> (Host, Member, Member) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let host = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "pool = \"blue\"").start().await;
    host.control("PUT", "/v1/vips/web", r#"{"pool":"green","why":"ship it"}"#).await;
    (host, blue, green)
}

/// A change with more header fields than usual.
async fn ask(
    host: &Host,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: impl Into<hyper::body::Bytes>,
) -> Answer {
    let token = std::fs::read_to_string(host.state_path().join("control.token")).unwrap();
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.header("authorization", format!("Bearer {token}")).body(whole(body)).unwrap();
    Answer::of(in_time("an answer", send(host.app().control, request)).await).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_another_release_than_the_current_one_is_refused() {
    let (host, _blue, _green) = blue_then_green().await;
    let calls = [
        ("POST", "/v1/back", ""),
        ("POST", "/v1/forward", ""),
        ("POST", "/v1/releases/1/activate", ""),
        ("PUT", "/v1/vips/web", r#"{"pool":"blue"}"#),
        ("PUT", "/v1/pools/blue/members/127.0.0.1:1", "{}"),
        ("DELETE", "/v1/pools/blue/members/127.0.0.1:1", ""),
    ];
    for (method, path, body) in calls {
        for tag in ["\"r1\"", "W/\"r1\"", "r1", "\"r7\", \"r1\""] {
            let answer = ask(&host, method, path, &[("if-match", tag)], body).await;
            let error = json_of(&answer);
            assert_eq!((answer.status.as_u16(), &error["error"]), (412, &json!("precondition_failed")), "{path} {tag}");
            assert!(error["message"].as_str().unwrap().starts_with("r2 is current, not r"), "{error}");
            assert!(error["entry"].is_u64(), "{error}");
        }
    }
    let push = ask(&host, "PUT", "/v1/policies/x", &[("if-match", "r1")], plugins::CANARY.to_vec()).await;
    assert_eq!((push.status.as_u16(), host.current()), (412, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_current_release_is_made_and_says_which_is_current_then() {
    let (host, _blue, _green) = blue_then_green().await;
    let status = ask(&host, "GET", "/v1/status", &[], "").await;
    assert_eq!(status.header("etag"), "\"r2\"");
    let back = ask(&host, "POST", "/v1/back", &[("if-match", status.header("etag"))], "").await;
    assert_eq!((back.status.as_u16(), back.header("etag")), (200, "\"r1\""));
    let any = ask(&host, "PUT", "/v1/vips/web", &[("if-match", "*")], r#"{"pool":"green"}"#).await;
    assert_eq!((any.status.as_u16(), any.header("etag")), (200, "\"r3\""));
    let wrong = ask(&host, "POST", "/v1/back", &[("if-match", "\"now\"")], "").await;
    assert_eq!((wrong.status.as_u16(), host.current()), (400, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_to_change_the_same_release_one_does() {
    let (host, _blue, _green) = blue_then_green().await;
    let calls = (0..12).map(|turn| {
        let host = &host;
        async move {
            let (path, body) = if turn % 2 == 0 { ("/v1/back", "") } else { ("/v1/releases/1/activate", "") };
            ask(host, "POST", path, &[("if-match", "\"r2\"")], body).await.status.as_u16()
        }
    });
    let mut statuses = futures_util::future::join_all(calls).await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1..].iter().all(|status| *status == 412)), (200, true), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_repeated_is_done_once() {
    let (mut host, _blue, _green) = blue_then_green().await;
    let key = [("idempotency-key", "night-1")];
    let first = ask(&host, "POST", "/v1/back", &key, r#"{"why":"errors"}"#).await;
    assert_eq!((first.status.as_u16(), host.current()), (200, 1));
    ask(&host, "POST", "/v1/forward", &[], "").await;
    for _ in 0..2 {
        let again = ask(&host, "POST", "/v1/back", &key, r#"{"why":"errors"}"#).await;
        assert_eq!((again.status.as_u16(), json_of(&again)), (200, json_of(&first)));
        assert_eq!((again.header("etag"), host.current()), ("\"r1\"", 2));
        host.restart().await;
    }
    for (path, body) in [("/v1/back", ""), ("/v1/forward", r#"{"why":"errors"}"#)] {
        let other = ask(&host, "POST", path, &key, body).await;
        assert_eq!((other.status.as_u16(), &json_of(&other)["error"]), (422, &json!("key_reused")));
    }
    assert_eq!(host.current(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_changed_nothing_changes_nothing_when_it_is_repeated() {
    let (mut host, _blue, _green) = blue_then_green().await;
    let key = [("idempotency-key", "same")];
    let first = ask(&host, "PUT", "/v1/vips/web", &key, r#"{"pool":"green"}"#).await;
    assert_eq!(json_of(&first)["changed"], false);
    ask(&host, "PUT", "/v1/vips/web", &[], r#"{"pool":"blue"}"#).await;
    host.restart().await;
    let again = ask(&host, "PUT", "/v1/vips/web", &key, r#"{"pool":"green"}"#).await;
    assert_eq!((json_of(&again), host.current()), (json_of(&first), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_repeats_a_call_that_is_under_way_waits_for_it() {
    let (host, _blue, _green) = blue_then_green().await;
    // Compiling takes a while.
    let calls =
        (0..6).map(|_| ask(&host, "PUT", "/v1/policies/web", &[("idempotency-key", "push")], plugins::CANARY.to_vec()));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body), "{answers:?}");
    assert_eq!(host.current(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_may_be_asked_for_again() {
    let (host, _blue, _green) = blue_then_green().await;
    let key = [("idempotency-key", "later")];
    assert_eq!(ask(&host, "POST", "/v1/forward", &key, "").await.status, 409);
    ask(&host, "POST", "/v1/back", &[], "").await;
    assert_eq!(ask(&host, "POST", "/v1/forward", &key, "").await.status, 200);
    for key in [String::new(), "with space".into(), "x".repeat(256)] {
        assert_eq!(ask(&host, "POST", "/v1/back", &[("idempotency-key", &key)], "").await.status, 400, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_said_is_said_once_and_of_the_release_that_is_meant() {
    let (mut host, _blue, _green) = blue_then_green().await;
    let fence = r#"{"why":"orders were migrated"}"#;
    let other = ask(&host, "PUT", "/v1/releases/2/fence", &[("if-match", "r1")], fence).await;
    assert_eq!(other.status, 412, "{other:?}");
    let key = [("idempotency-key", "fence-2")];
    let first = ask(&host, "PUT", "/v1/releases/2/fence", &key, fence).await;
    assert_eq!((first.status.as_u16(), &json_of(&first)["kind"]), (200, &json!("fence")), "{first:?}");
    host.restart().await;
    let again = ask(&host, "PUT", "/v1/releases/2/fence", &key, fence).await;
    assert_eq!((again.status.as_u16(), &json_of(&again)["id"]), (200, &json_of(&first)["id"]), "{again:?}");
    let fences = host.history().await.iter().filter(|entry| entry["kind"] == "fence").count();
    assert_eq!(fences, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_overtaken_after_it_was_journalled_may_be_asked_for_again() {
    let member = Member::named("blue").await;
    let site = Site::new(&format!("\"{}\"", nobody()), member.address, "");
    let mut command = site.command();
    command.env("SWITCHBACK_HOLD_UP", "journalled=500ms");
    let host = Process::serving(command).await;
    site.ask(&["switch", "web", "green"]).await.unwrap();
    let state = site.path("state");
    let drain = async || {
        let path = "/v1/pools/blue/members/127.0.0.1:1";
        call(&state, "PUT", path, "idempotency-key: drain\r\n", r#"{"drain":true,"force":true}"#).await.unwrap()
    };
    let (overtaken, back) = tokio::join!(drain(), async {
        until("it is journalled", || host.log().matches("held up: journalled").count() == 2).await;
        site.ask(&["back"]).await.unwrap()
    });
    assert_eq!((&overtaken["error"], &back["to"]["number"]), (&json!("conflict"), &json!(1)), "{overtaken}");
    let done = drain().await;
    assert_eq!((&done["changed"], &done["from"]["number"]), (&json!(true), &json!(1)), "{done}");
    assert_eq!(drain().await, done);
    // The number of what was journalled and overtaken is no other release's.
    assert_eq!(site.ask(&["journal", "verify"]).await.unwrap()["whole"], true);
}
